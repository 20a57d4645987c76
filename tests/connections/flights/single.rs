//! Units of a single statement.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use sesari_db::idempotency::IdempotencyKey;
use sesari_db::repo::NewKpi;
use sesari_db::{Error, Result, TenantConnection};

use super::{Scene, note, number, scope};
use crate::support::line::in_short;
use crate::support::logins::value;

#[test]
fn a_second_statement_is_refused_and_the_first_is_committed() {
    let scene = Scene::new();
    let mut second = None;
    let refused = scene.db.run("note", scene.scope().single_statement(), |tenant| {
        note(tenant)?;
        let again = note(tenant);
        second = Some(matches!(again, Err(Error::TransactionAborted)));
        assert!(matches!(tenant.kpis().find(&scene.world.a.kpi), Err(Error::TransactionAborted)));
        again
    });
    assert!(matches!(refused, Err(Error::TransactionAborted)), "{refused:?}");
    assert_eq!((second, scene.notes()), (Some(true), 1));
}

#[test]
fn a_statement_that_fails_commits_nothing_and_nothing_follows_it() {
    let scene = Scene::new();
    let fails = "WITH n AS (INSERT INTO notes VALUES ('x') RETURNING 1) SELECT 1/0 FROM n";
    let failed = scene.db.run("note", scene.scope().single_statement(), |tenant| {
        let failed: Error =
            diesel::sql_query(fails).execute(tenant.connection()).unwrap_err().into();
        let further = note(tenant).unwrap_err();
        assert!(matches!(further, Error::TransactionAborted), "{further:?}");
        Err::<(), _>(failed)
    });
    assert!(matches!(failed, Err(Error::Database(_))), "{failed:?}");
    assert_eq!(scene.notes(), 0);
    // Nor where the body takes no notice.
    let ignored = scene.db.run("note", scene.scope().single_statement(), |tenant| {
        assert!(diesel::sql_query(fails).execute(tenant.connection()).is_err());
        Ok::<_, Error>(())
    });
    assert!(matches!(ignored, Err(Error::TransactionAborted)), "{ignored:?}");
    // A statement that cannot be sent is none.
    let unsent = scene.db.run("note", scene.scope().single_statement(), |tenant| {
        let nul = tenant.connection().batch_execute("SELECT 'a\0b'");
        assert!(matches!(Error::from(nul.unwrap_err()), Error::Invalid(_)));
        note(tenant)
    });
    unsent.unwrap();
    assert_eq!(scene.notes(), 1);
}

/// What is deferred fails in the commit, upon which there is no transaction any more.
#[test]
fn a_commit_that_fails_commits_nothing_and_nothing_runs_after_it() {
    let scene = Scene::new();
    let deferred = "CREATE TABLE pairs (a int UNIQUE DEFERRABLE INITIALLY DEFERRED); \
                    INSERT INTO pairs VALUES (1); GRANT ALL ON pairs TO PUBLIC";
    let mut admin = scene.world.test.admin().unwrap();
    admin.batch_execute(deferred).unwrap();
    for swallowed in [false, true] {
        let failed = scene.db.run("pair", scene.scope().single_statement(), |tenant| {
            let insert = diesel::sql_query("INSERT INTO pairs VALUES (1)");
            let failed: Error = insert.execute(tenant.connection()).unwrap_err().into();
            let further = note(tenant);
            assert!(matches!(further, Err(Error::TransactionAborted)), "{further:?}");
            if swallowed { Ok(()) } else { Err(failed) }
        });
        if swallowed {
            assert!(matches!(failed, Err(Error::TransactionAborted)), "{failed:?}");
        } else {
            assert!(failed.as_ref().is_err_and(Error::is_conflict), "{failed:?}");
        }
        assert_eq!(number(&mut admin, "SELECT count(*) FROM pairs"), 1);
        assert_eq!(scene.notes(), 0);
    }
    scene.db.run("note", scene.scope().single_statement(), note).unwrap();
}

#[test]
fn an_error_of_the_body_after_the_statement_comes_too_late() {
    let scene = Scene::new();
    let mut runs = 0;
    let failed = scene.db.run("note", scene.scope().single_statement(), |tenant| {
        runs += 1;
        note(tenant)?;
        Err::<(), _>(Error::LastOwner)
    });
    assert!(matches!(failed, Err(Error::LastOwner)), "{failed:?}");
    assert_eq!((runs, scene.notes()), (1, 1));
}

#[test]
fn a_savepoint_is_a_statement_so_that_nothing_is_done_inside() {
    let scene = Scene::new();
    let refused =
        scene.db.run("note", scene.scope().single_statement(), |tenant| tenant.transaction(note));
    assert!(matches!(refused, Err(Error::TransactionAborted)), "{refused:?}");
    assert_eq!(scene.notes(), 0);
    scene.db.run("note", scene.scope().single_statement(), note).unwrap();
}

/// A key that were taken without an answer would be in use for ever.
#[test]
fn an_idempotency_key_is_never_left_without_an_answer() {
    let scene = Scene::new();
    let key: IdempotencyKey = "4711".parse().unwrap();
    let create = |tenant: &mut TenantConnection| -> Result<String> {
        let kpi = tenant.kpis().create(&NewKpi::new("Churn".parse()?))?;
        Ok(kpi.id.as_str().to_owned())
    };
    let single = || scene.scope().single_statement();
    let first = scene.db.run_once("create", single(), &key, create);
    let keys = "SELECT count(*) FROM idempotency_keys WHERE result IS NULL";
    assert_eq!(number(&mut scene.world.test.admin().unwrap(), keys), 0, "{first:?}");
    let again = scene.db.run_once("create", single(), &key, create).unwrap();
    assert!(first.is_err() || first.unwrap() == again);
    let created = "SELECT count(*) FROM kpis WHERE name = 'Churn'";
    assert_eq!(number(&mut scene.world.test.admin().unwrap(), created), 1);

    let other: IdempotencyKey = "4712".parse().unwrap();
    let inside = scene.db.run("create", single(), |tenant| tenant.once("create", &other, create));
    assert!(matches!(inside, Err(Error::TransactionAborted)), "{inside:?}");
    assert_eq!(number(&mut scene.world.test.admin().unwrap(), keys), 0);
    scene.db.run("create", scene.scope(), |tenant| tenant.once("create", &other, create)).unwrap();
}

#[test]
fn a_connection_that_was_lent_is_clean_for_the_next_tenant() {
    let scene = Scene::new();
    let b = &scene.world.b;
    let pid = |tenant: &mut TenantConnection| value(tenant.connection(), "pg_backend_pid()");
    let before = scene.db.run("pid", scene.scope(), |t| Ok::<_, Error>(pid(t))).unwrap();
    for leave in [
        "SET search_path = 'mine'",
        "SELECT set_config('app.secret', 'mine', false)",
        "SELECT pg_advisory_lock(4711)",
        "LISTEN mine",
        "PREPARE mine AS SELECT 1",
        "DECLARE mine CURSOR WITH HOLD FOR SELECT 1",
        "SET statement_timeout = 1",
    ] {
        let seen = scene.line.watch(false, 2, || {
            let lent = scene.db.run("leave", scene.scope().single_statement(), |tenant| {
                Ok::<_, Error>(tenant.connection().batch_execute(leave)?)
            });
            lent.unwrap_or_else(|error| panic!("{leave}: {error:?}"));
        });
        let short: Vec<_> = seen.flights.iter().map(|flight| in_short(flight)).collect();
        assert_eq!(short, ["begin context statement commit", "cleaning"], "{leave}");
        let left = scene.db.run("look", scope(b), |tenant| {
            let conn = tenant.connection();
            Ok::<_, Error>(value(
                conn,
                "SELECT concat_ws(',', current_setting('search_path'), \
                    current_setting('app.secret', true), current_setting('statement_timeout') <> '1ms', \
                    (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()), \
                    (SELECT count(*) FROM pg_listening_channels()), \
                    (SELECT count(*) FROM pg_prepared_statements WHERE name = 'mine'), \
                    (SELECT count(*) FROM pg_cursors WHERE name = 'mine'))",
            ))
        });
        let left = left.unwrap().replace(",,", ",");
        assert_eq!(left, "public, pg_temp,t,0,0,0,0", "{leave}");
    }
    let after = scene.db.run("pid", scope(b), |t| Ok::<_, Error>(pid(t))).unwrap();
    assert_eq!(after, before, "the same connection all along");
}

#[test]
fn several_statements_in_one_text_are_not_single() {
    let scene = Scene::new();
    let both = "INSERT INTO notes VALUES ('x'); INSERT INTO notes VALUES ('y')";
    let run = |sql: &'static str| {
        scene.db.run("note", scene.scope().single_statement(), move |tenant| {
            Ok::<_, Error>(tenant.connection().batch_execute(sql)?)
        })
    };
    run(both).unwrap();
    assert_eq!(scene.notes(), 2);
    assert!(run("INSERT INTO notes VALUES ('x'); SELECT 1/0").is_err());
    assert_eq!(scene.notes(), 2);
}

/// `COPY` asks for what the crate does not send, with a commit under way behind it.
#[test]
fn a_copy_is_refused_and_the_pool_goes_on() {
    let scene = Scene::new();
    for copy in ["COPY notes FROM STDIN", "COPY notes FROM STDIN;"] {
        for scope in [scene.scope(), scene.scope().single_statement()] {
            let what = format!("{copy} {scope:?}");
            let refused = scene.db.run("copy", scope.attempts(1), |tenant| {
                Ok::<_, Error>(tenant.connection().batch_execute(copy)?)
            });
            assert!(refused.is_err(), "{what}");
            // Each gets its own answer afterwards.
            for _ in 0..3 {
                let kpi = scene.db.run("read", scene.scope().read_only(), |tenant| {
                    tenant.kpis().find(&scene.world.a.kpi)
                });
                assert_eq!(kpi.unwrap().unwrap().id, scene.world.a.kpi, "{what}");
            }
            assert_eq!(scene.notes(), 0, "{what}");
        }
    }
}
