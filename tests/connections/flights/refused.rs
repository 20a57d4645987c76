//! Where the transaction or its context is refused, what was sent behind it does not run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;
use sesari_db::clock::Clock;
use sesari_db::page::PageRequest;
use sesari_db::repo::KpiFilter;
use sesari_db::{Database, Error, TenantConnection};

use super::{Scene, note, number, scope};
use crate::support::logins::Role;
use crate::support::server::Server;
use crate::support::{Tenant, World};

/// A clock on which nine seconds pass between any two looks, once it is told to: so also between the
/// signing of a context and the begin of its transaction.
#[derive(Clone, Default)]
struct Leaping(Arc<(AtomicBool, AtomicU64)>);

impl Leaping {
    fn clock(&self) -> Clock {
        let (start, own) = (Instant::now(), self.0.clone());
        Clock::from_fn(move || {
            let leap = u64::from(own.0.load(SeqCst)) * 9;
            Instant::now().max(start) + Duration::from_secs(own.1.fetch_add(leap, SeqCst) + leap)
        })
    }

    fn leaps(&self, leaps: bool) {
        self.0.0.store(leaps, SeqCst);
        self.0.1.store(0, SeqCst);
    }
}

#[test]
fn behind_an_expired_context_nothing_runs_not_even_what_no_policy_protects() {
    let time = Leaping::default();
    let scene = Scene::with(|builder| builder.clock(time.clock()).unit_attempts(3));
    time.leaps(true);
    for scope in [scene.scope(), scene.scope().single_statement()] {
        let what = format!("{scope:?}");
        let (mut first, mut second) = (None, None);
        let refused = scene.db.run("note", scope, |tenant| {
            first = note(tenant).err();
            second = note(tenant).err();
            let read = tenant.kpis().list(&KpiFilter::default(), &PageRequest::default());
            assert!(matches!(read, Err(Error::TransactionAborted)), "{read:?}");
            Err::<(), _>(first.take().unwrap())
        });
        assert!(matches!(refused, Err(Error::ContextExpired)), "{what}: {refused:?}");
        assert!(matches!(second, Some(Error::TransactionAborted)), "{what}: {second:?}");
        assert_eq!(scene.notes(), 0, "{what}");
    }
    // Nor is it an empty answer, to a reader or to a guard.
    let read = scene.db.run("read", scene.scope().read_only(), |tenant| {
        tenant.kpis().list(&KpiFilter::default(), &PageRequest::default())
    });
    assert!(matches!(read, Err(Error::ContextExpired)), "{read:?}");
    let mut guard = scene.guard();
    let read = guard.kpis().find(&scene.world.a.kpi);
    assert!(matches!(read, Err(Error::ContextExpired)), "{read:?}");
    assert!(guard.commit().is_err());
    time.leaps(false);
    // The connection is as good as before.
    for scope in [scene.scope(), scene.scope().single_statement()] {
        scene.db.run("note", scope, note).unwrap();
    }
    assert_eq!(scene.notes(), 2);
}

/// Behind a pooler the role is part of the context, and the server may refuse it.
#[test]
fn behind_a_refused_role_nothing_runs() {
    let world = World::new();
    let login = Role::tenant(&world.test, "revoked");
    let key = world.test.context_key().clone();
    let db = Database::builder(login.url(), key).pool_size(1).behind_transaction_pooler();
    let db = db.build().unwrap();
    let mut admin = world.test.admin().unwrap();
    let notes = |admin: &mut _| number(admin, "SELECT count(*) FROM notes");
    admin.batch_execute(super::NOTES).unwrap();
    let own = || scope(&world.a);
    for (done, scope) in (1..).zip([own(), own().single_statement(), own().read_only()]) {
        let what = format!("{scope:?}");
        db.run("note", own(), note).unwrap();
        admin.batch_execute(&format!("REVOKE sesari_tenant FROM {login}")).unwrap();
        let refused = db.run("note", scope, |tenant| {
            let refused = note(tenant).unwrap_err();
            let further = note(tenant).unwrap_err();
            assert!(matches!(further, Error::TransactionAborted), "{what}: {further:?}");
            Err::<(), _>(refused)
        });
        assert!(refused.as_ref().is_err_and(Error::is_denied), "{what}: {refused:?}");
        assert_eq!(notes(&mut admin), done, "{what}");
        admin.batch_execute(&format!("GRANT sesari_tenant TO {login}")).unwrap();
    }
}

/// A standby refuses a transaction that may write. What is sent behind the begin is a lock that is the
/// session's, and would be seen.
#[test]
fn behind_a_refused_begin_nothing_runs() {
    const LOCKS: &str = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
    let primary = Server::new(&[]);
    let standby = primary.standby();
    let tenant = Tenant::furnish(&primary.builder().build().unwrap(), "acme");
    let mut admin = primary.admin();
    let caught_up =
        "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn >= pg_current_wal_lsn()";
    super::until(super::LONG, "the standby follows", || number(&mut admin, caught_up) == 1);
    let db = standby.builder().pool_size(1).build().unwrap();
    let mut admin = standby.admin();
    let lock = || diesel::sql_query("SELECT pg_advisory_lock(4711)");
    for scope in [scope(&tenant), scope(&tenant).single_statement()] {
        let what = format!("{scope:?}");
        let refused = db.run("lock", scope.attempts(1), |tenant| {
            let refused: Error = lock().execute(tenant.connection()).unwrap_err().into();
            let further: Error = lock().execute(tenant.connection()).unwrap_err().into();
            assert!(matches!(further, Error::TransactionAborted), "{what}: {further:?}");
            assert_eq!(number(&mut admin, LOCKS), 0, "{what}");
            let read = tenant.kpis().list(&KpiFilter::default(), &PageRequest::default());
            assert!(matches!(read, Err(Error::TransactionAborted)), "{what}: {read:?}");
            Err::<(), _>(refused)
        });
        assert!(matches!(refused, Err(Error::ReadOnlyServer)), "{what}: {refused:?}");
    }
    // The lock is what such a statement leaves, where the begin is not refused.
    db.run("lock", scope(&tenant).read_only(), |tenant| {
        lock().execute(tenant.connection())?;
        assert_eq!(number(&mut admin, LOCKS), 1);
        Ok::<_, Error>(())
    })
    .unwrap();
    // It writes as soon as the server does.
    standby.promote();
    let kpi = sesari_db::repo::NewKpi::new("Churn".parse().unwrap());
    db.run("create", scope(&tenant), |tenant| tenant.kpis().create(&kpi).map(drop)).unwrap();
}

#[test]
fn a_key_that_nobody_knows_is_refused_before_anything_is_sent() {
    let world = World::new();
    let key = sesari_db::tenancy::ContextKey::generate("unknown").unwrap();
    let line = crate::support::line::Line::to_server_of(&world.test.tenant_url());
    let db = Database::builder(line.url(&world.test.tenant_url()), key).pool_size(1).build();
    let refused = db.and_then(|db| db.run("note", scope(&world.a).single_statement(), note));
    assert!(matches!(refused, Err(Error::ContextKeyUnknown)), "{refused:?}");
}

/// What a borrower says of the transaction goes before the context. It cannot make a reader write.
#[test]
fn a_reader_whose_borrower_asks_to_write_is_refused() {
    let scene = Scene::new();
    for mode in
        ["SET TRANSACTION READ WRITE", "set transaction isolation level serializable, read write"]
    {
        for scope in [scene.scope().read_only(), scene.scope().read_only().single_statement()] {
            let refused = scene.db.run("note", scope, |tenant| {
                tenant.connection().batch_execute(mode)?;
                note(tenant)
            });
            assert!(matches!(refused, Err(Error::ReadOnly)), "{mode}: {refused:?}");
            assert_eq!(scene.notes(), 0);
        }
        scene
            .db
            .run("read", scene.scope(), |tenant| {
                tenant.connection().batch_execute(mode)?;
                tenant.kpis().find(&scene.world.a.kpi).map(drop)
            })
            .unwrap();
    }
}

/// What was put together and not sent must not go out ahead of what the connection sends next.
#[test]
fn a_statement_that_cannot_be_sent_leaves_no_begin_behind() {
    let scene = Scene::with(|builder| builder);
    let values = vec!["x"; 70_000];
    for ends in [TenantConnection::commit, TenantConnection::rollback] {
        for attempt in ["a zero byte", "too many values"] {
            let mut guard = scene.guard();
            let conn = guard.connection();
            let refused = if attempt == "a zero byte" {
                diesel::sql_query("SELECT '\0'").execute(conn)
            } else {
                let all = values
                    .iter()
                    .fold(diesel::sql_query("SELECT $1").into_boxed(), |query, value| {
                        query.bind::<Text, _>(*value)
                    });
                all.execute(conn)
            };
            assert!(refused.is_err(), "{attempt}");
            ends(guard).unwrap();
            let open = "SELECT count(*) FROM pg_stat_activity WHERE xact_start IS NOT NULL \
                 AND usename = 'sesari_test_tenant' AND datname = current_database()";
            scene.line.settle();
            assert_eq!(number(&mut scene.world.test.admin().unwrap(), open), 0, "{attempt}");
        }
    }
}
