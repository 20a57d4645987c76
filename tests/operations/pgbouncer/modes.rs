//! The pooler's modes, its logins, and start-up parameters: what works, and what is refused how.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use sesari_db::Error;
use sesari_db::clock::Clock;
use sesari_db::testing::TestDatabase;

use crate::support::bouncer::Bouncer;
use crate::support::logins;
use crate::support::{Tenant, World, service, sign_up};

fn refusal<T>(built: Result<T, Error>) -> String {
    match built {
        Err(Error::Config(text)) => text,
        Err(error) => panic!("another refusal: {error:?}"),
        Ok(_) => panic!("was built"),
    }
}

#[test]
fn a_pooler_in_transaction_mode_that_nobody_told_of_is_refused() {
    let test = TestDatabase::new().unwrap();
    for changes in [&[][..], &[("server_round_robin", "1")], &[("default_pool_size", "1")]] {
        let Some(bouncer) = Bouncer::start(&test, changes) else { return };
        let reason = refusal(bouncer.unaware(&test).build());
        assert!(reason.contains("behind_transaction_pooler"), "{reason}");
    }
}

#[test]
fn a_pooler_that_is_switched_to_transaction_mode_later_is_noticed_within_a_minute() {
    let world = World::new();
    let Some(bouncer) = Bouncer::start(&world.test, &[("pool_mode", "session")]) else { return };
    let a = &world.a;
    let later = Arc::new(AtomicU64::new(0));
    let (start, seconds) = (Instant::now(), later.clone());
    let clock = Clock::from_fn(move || start + Duration::from_secs(seconds.load(Relaxed)));
    let db = bouncer.unaware(&world.test).clock(clock).pool_size(1).build().unwrap();
    assert!(db.tenant(&a.owner, &a.workspace).unwrap().role().unwrap().is_some());
    bouncer.reconfigure("pool_mode", "transaction");
    // In that mode already, this gives the backend back at its end, and somebody else takes it.
    let _ = db.tenant(&a.owner, &a.workspace).unwrap().role();
    let mut others = [bouncer.connect(&world.test), bouncer.connect(&world.test)];
    for other in &mut others {
        other.batch_execute("BEGIN; SELECT 1").unwrap();
    }
    later.store(61, Relaxed);
    let reason = refusal(db.tenant(&a.owner, &a.workspace));
    assert!(reason.contains("behind_transaction_pooler"), "{reason}");
}

#[test]
fn a_pooler_in_statement_mode_is_refused_by_its_name() {
    let test = TestDatabase::new().unwrap();
    let Some(bouncer) = Bouncer::start(&test, &[("pool_mode", "statement")]) else { return };
    for builder in [bouncer.builder(&test), bouncer.unaware(&test)] {
        let reason = refusal(builder.build());
        assert!(reason.contains("configured for statement pooling"), "{reason}");
    }
}

#[test]
fn a_pooler_in_session_mode_needs_nothing() {
    let world = World::new();
    let Some(bouncer) = Bouncer::start(&world.test, &[("pool_mode", "session")]) else { return };
    let db = bouncer.unaware(&world.test).pool_size(2).build().unwrap();
    for tenant in [&world.a, &world.b, &world.a] {
        let mut guard = db.tenant(&tenant.owner, &tenant.workspace).unwrap();
        for _ in 0..2 {
            assert!(guard.kpis().find(&tenant.kpi).unwrap().is_some());
        }
        let prepared = "SELECT count(*)::text AS line FROM pg_prepared_statements";
        assert_ne!(logins::lines(guard.connection(), prepared), ["0"]);
        let context = "SELECT split_part(current_setting('sesari.context'), '.', 7)
                              = pg_backend_pid()::text";
        assert!(logins::holds(guard.connection(), context));
        guard.commit().unwrap();
    }
    sign_up(&db, "somebody");
}

#[test]
fn a_pooler_in_session_mode_with_one_connection_is_not_waited_for() {
    let test = TestDatabase::new().unwrap();
    let changes = [("pool_mode", "session"), ("default_pool_size", "1")];
    let Some(bouncer) = Bouncer::start(&test, &changes) else { return };
    let start = Instant::now();
    let builder = bouncer.unaware(&test).pool_size(1).pool_timeout(Duration::from_secs(1));
    let db = builder.build().unwrap();
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    sign_up(&db, "somebody");
}

/// The other way to know the logins: asked of the database, by a login that may do nothing else.
#[test]
fn both_logins_are_let_in_by_an_auth_query_too() {
    let test = TestDatabase::new().unwrap();
    let mut admin = test.admin().unwrap();
    let asker = logins::Role::new(&test, "pgbouncer", "LOGIN");
    admin
        .batch_execute(&format!(
            "CREATE SCHEMA pgbouncer;
             CREATE FUNCTION pgbouncer.secret_of(INOUT login text, OUT secret text) RETURNS record
             LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
             AS $$ SELECT rolname::text, rolpassword FROM pg_authid
                    WHERE rolname = login AND rolname LIKE 'sesari%' $$;
             REVOKE EXECUTE ON FUNCTION pgbouncer.secret_of FROM PUBLIC;
             GRANT USAGE ON SCHEMA pgbouncer TO {asker};
             GRANT EXECUTE ON FUNCTION pgbouncer.secret_of TO {asker}"
        ))
        .unwrap();
    let changes = [
        ("auth_user", asker.name.as_str()),
        ("auth_query", "SELECT login, secret FROM pgbouncer.secret_of($1)"),
    ];
    let userlist = format!("\"{asker}\" \"secret\"");
    let Some(bouncer) = Bouncer::start_with(&test, &changes, &userlist) else { return };
    let db = bouncer.builder(&test).build().unwrap();
    let tenant = Tenant::furnish(&db, "acme");
    assert!(db.service(&service()).unwrap().users().find(&tenant.owner).unwrap().is_some());
    drop(db);
    let wrong = test.login_url("sesari_test_tenant", "wrong");
    let refused = sesari_db::Database::builder(bouncer.url(&wrong), test.context_key().clone());
    let refused = refused.behind_transaction_pooler().build();
    assert!(matches!(refused, Err(Error::Connect { .. })), "{refused:?}");
    drop(bouncer);
}

#[test]
fn options_in_the_url_are_refused_unless_the_pooler_is_told_to_ignore_them() {
    let test = TestDatabase::new().unwrap();
    for (changes, works) in [(&[][..], false), (&[("ignore_startup_parameters", "options")], true)]
    {
        let Some(bouncer) = Bouncer::start(&test, changes) else { return };
        let url = bouncer.url(&test.tenant_url());
        let url = format!("{url}?application_name=shop&options=-c%20geqo%3Doff");
        let built = sesari_db::Database::builder(url, test.context_key().clone())
            .behind_transaction_pooler()
            .build();
        match built {
            Ok(_) => assert!(works),
            Err(Error::Connect { reason }) => {
                assert!(!works && reason.contains("unsupported startup parameter"), "{reason}");
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}
