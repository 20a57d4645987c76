use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use sesari_db::idempotency::IdempotencyKey;
use sesari_db::repo::{KpiFilter, NewKpi};
use sesari_db::{AsyncDatabase, Database, Error, Result, Scope, TenantConnection};
use tokio::runtime::{Builder, Runtime};

use super::{LONG, number, until};
use crate::support::proxy::{Fault, Proxy};
use crate::support::server::Server;
use crate::support::{Tenant, World};

/// One thread for all futures: whatever blocks it is noticed.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

fn scope(tenant: &Tenant) -> Scope<TenantConnection> {
    Scope::tenant(&tenant.owner, &tenant.workspace)
}

fn asynchronous(db: &Database) -> AsyncDatabase {
    db.clone().into()
}

fn sleep(tenant: &mut TenantConnection, seconds: f64) -> Result<()> {
    Ok(tenant.connection().batch_execute(&format!("SELECT pg_sleep({seconds})"))?)
}

/// Statements that sleep on the server.
const SLEEPING: &str = "SELECT count(*) FROM pg_stat_activity \
     WHERE query LIKE '%pg_sleep%' AND state = 'active' AND pid <> pg_backend_pid()";
const IN_TRANSACTION: &str = "SELECT count(*) FROM pg_stat_activity WHERE usename <> current_user AND xact_start IS NOT NULL";

#[test]
fn many_callers_share_a_small_pool_and_the_runtime_goes_on() {
    let world = World::new();
    let db = asynchronous(&world.db);
    let inside = Arc::new(AtomicUsize::new(0));
    runtime().block_on(async {
        let units: Vec<_> = (0..40)
            .map(|_| {
                let (db, scope, inside) = (db.clone(), scope(&world.a), inside.clone());
                tokio::spawn(async move {
                    db.run("sleep", scope, move |tenant| {
                        assert!(inside.fetch_add(1, SeqCst) < 4, "a pool of four");
                        let slept = sleep(tenant, 0.01);
                        inside.fetch_sub(1, SeqCst);
                        slept
                    })
                    .await
                })
            })
            .collect();
        // The only thread is free for others meanwhile.
        let mut ticks = 0;
        while !units.iter().all(tokio::task::JoinHandle::is_finished) {
            tokio::time::sleep(Duration::from_millis(1)).await;
            ticks += 1;
        }
        assert!(ticks > 10, "{ticks}");
        for unit in units {
            unit.await.unwrap().unwrap();
        }
    });
}

#[test]
fn a_dropped_future_cancels_its_statement_and_leaves_no_transaction() {
    let world = World::new();
    let db = asynchronous(&world.db);
    let mut admin = world.test.admin().unwrap();
    runtime().block_on(async {
        let unit = db.run("sleep", scope(&world.a), |tenant| {
            tenant.kpis().create(&NewKpi::new("dropped".parse()?))?;
            sleep(tenant, 60.0)
        });
        let given_up = tokio::time::timeout(Duration::from_millis(500), unit).await;
        assert!(given_up.is_err());
        let start = Instant::now();
        while number(&mut admin, SLEEPING) + number(&mut admin, IN_TRANSACTION) > 0 {
            assert!(start.elapsed() < LONG, "it goes on");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // The pool is whole.
        for _ in 0..8 {
            db.run("sleep", scope(&world.a), |tenant| sleep(tenant, 0.0)).await.unwrap();
        }
    });
    assert_eq!(number(&mut admin, "SELECT count(*) FROM public.kpis WHERE name = 'dropped'"), 0);
}

#[test]
fn a_unit_whose_future_was_dropped_between_statements_does_not_commit() {
    let world = World::new();
    let db = asynchronous(&world.db);
    let (begun, go_on) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    runtime().block_on(async {
        let (tell, wait) = (begun.clone(), go_on.clone());
        let unit = db.run("kpi.create", scope(&world.a), move |tenant| {
            tenant.kpis().create(&NewKpi::new("between".parse()?))?;
            tell.store(1, SeqCst);
            until(LONG, "the future is gone", || wait.load(SeqCst) == 1);
            Ok::<_, Error>(())
        });
        let unit = tokio::spawn(unit);
        while begun.load(SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        unit.abort();
        assert!(unit.await.unwrap_err().is_cancelled());
        go_on.store(1, SeqCst);
    });
    let mut admin = world.test.admin().unwrap();
    until(LONG, "it is rolled back", || number(&mut admin, IN_TRANSACTION) == 0);
    assert_eq!(number(&mut admin, "SELECT count(*) FROM public.kpis WHERE name = 'between'"), 0);
}

#[test]
fn a_future_that_waits_for_its_turn_can_be_dropped_and_a_full_queue_is_told_at_once() {
    let world = World::new();
    let db = world.test.builder().pool_size(1).queue_limit(1).build().unwrap();
    let db = asynchronous(&db);
    let guard = db.database().tenant(&world.a.owner, &world.a.workspace).unwrap();
    runtime().block_on(async {
        let short = Duration::from_millis(50);
        let first = db
            .run("kpi.count", scope(&world.a), |tenant| tenant.kpis().count(&KpiFilter::default()));
        let waiting = tokio::spawn({
            let (db, scope) = (db.clone(), scope(&world.b));
            async move { db.run("me", scope, TenantConnection::role).await }
        });
        tokio::time::sleep(short).await;
        assert!(matches!(first.await, Err(Error::Overloaded { .. })));
        waiting.abort();
        let _ = waiting.await;
        assert_eq!(db.health().await.unwrap().tenant.waiting, 0);
        drop(guard);
        db.run("me", scope(&world.b), TenantConnection::role).await.unwrap();
    });
}

#[test]
fn a_panic_comes_through() {
    let world = World::new();
    let db = asynchronous(&world.db);
    runtime().block_on(async {
        let (db, scope) = (db.clone(), scope(&world.a));
        let panicked = tokio::spawn(async move {
            db.run("panic", scope, |_| -> Result<()> { panic!("a caller's mistake") }).await
        });
        assert!(panicked.await.unwrap_err().is_panic());
    });
}

#[test]
fn what_is_run_again_and_what_is_done_once_is_so_for_futures_too() {
    let world = World::new();
    let db = asynchronous(&world.db);
    let attempts = Arc::new(AtomicUsize::new(0));
    runtime().block_on(async {
        let counted = attempts.clone();
        let done = db
            .run("kpi.count", scope(&world.a), move |tenant| {
                if counted.fetch_add(1, SeqCst) == 0 {
                    return Err(Error::SerializationFailure);
                }
                tenant.kpis().count(&KpiFilter::default())
            })
            .await;
        assert_eq!((done.unwrap(), attempts.load(SeqCst)), (1, 2));
        let key = IdempotencyKey::generate();
        let mut ids = Vec::new();
        for _ in 0..2 {
            let created = db.run_once("kpi.create", scope(&world.a), key.clone(), |tenant| {
                Ok::<_, Error>(tenant.kpis().create(&NewKpi::new("once".parse()?))?.id)
            });
            ids.push(created.await.unwrap());
        }
        assert_eq!(ids[0], ids[1]);
    });
}

/// A thread may hang on a peer that says nothing any more; its caller does not.
#[test]
fn no_caller_waits_past_its_deadline_for_a_peer_that_is_silent() {
    let server = Server::new(&[]);
    let proxy = Proxy::before(&server.address());
    let db = server.builder_at(&proxy.address, "sslmode=disable").build().unwrap();
    let acme = Tenant::furnish(&db, "acme");
    let db = asynchronous(&db);
    let runtime = runtime();
    runtime.block_on(async {
        let within = Duration::from_millis(500);
        let start = Instant::now();
        let fault = proxy.fault();
        let hung = db.run("kpi.count", scope(&acme).within(within), move |tenant| {
            fault.set(Fault::Silence);
            tenant.kpis().count(&KpiFilter::default())
        });
        let hung = hung.await;
        assert!(matches!(hung, Err(Error::DeadlineExceeded)), "{hung:?}");
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    });
    // The thread comes back once the line breaks.
    drop(proxy);
    runtime.shutdown_timeout(LONG);
}
