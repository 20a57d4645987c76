//! Servers without connections, without room, busy with a migration, and clocks that jump.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use sesari_db::PgConnection;
use sesari_db::clock::Clock;
use sesari_db::repo::NewKpi;
use sesari_db::{Error, migrations};

use crate::support::server::Server;
use crate::support::{Tenant, World};
use crate::writers::{Log, store};

#[test]
fn a_server_without_a_connection_left_is_a_typed_error_until_there_is_one() {
    let server = Server::new(&["max_connections=12"]);
    let tenant = Tenant::furnish(&server.builder().build().unwrap(), "acme");
    let builder = || server.builder().pool_timeout(Duration::from_millis(500));
    let db = builder().build().unwrap();
    let mut taken = Vec::new();
    while let Ok(conn) = PgConnection::establish(&server.tenant_url()) {
        taken.push(conn);
        assert!(taken.len() < 12);
    }
    for _ in 0..3 {
        let start = Instant::now();
        let refused = db.tenant(&tenant.owner, &tenant.workspace).map(drop).unwrap_err();
        assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
        assert!(matches!(refused, Error::PoolTimeout { .. }), "{refused:?}");
        assert!(refused.is_retryable());
    }
    let refused = builder().build().map(drop).unwrap_err();
    assert!(matches!(refused, Error::TooManyConnections { .. }), "{refused:?}");
    assert!(refused.is_retryable());
    taken.clear();
    let start = Instant::now();
    while let Err(error) = store(&db, &tenant, "after") {
        assert!(matches!(error, Error::PoolTimeout { .. }), "{error:?}");
        assert!(start.elapsed() < Duration::from_secs(5), "does not heal");
    }
}

#[test]
fn callers_beyond_the_pool_wait_as_long_as_agreed_and_are_served_as_soon_as_one_is_free() {
    let world = World::new();
    let a = &world.a;
    let db = world.test.builder().pool_size(1).pool_timeout(Duration::from_millis(400));
    let db = db.build().unwrap();
    let held = db.tenant(&a.owner, &a.workspace).unwrap();
    std::thread::scope(|scope| {
        let waiting = [(); 5].map(|()| scope.spawn(|| store(&db, a, "waited")));
        for waiting in waiting {
            let refused = waiting.join().unwrap().unwrap_err();
            assert!(matches!(refused, Error::PoolTimeout { .. }), "{refused:?}");
        }
        let waiting = [(); 5].map(|()| scope.spawn(|| store(&db, a, "waited")));
        drop(held);
        for waiting in waiting {
            waiting.join().unwrap().unwrap();
        }
    });
}

#[test]
fn what_ran_into_a_limit_leaves_a_pool_that_works() {
    let world = World::new();
    let a = &world.a;
    let db = world
        .test
        .builder()
        .pool_size(1)
        .statement_timeout(Duration::from_millis(400))
        .lock_timeout(Duration::from_millis(200))
        .idle_in_transaction_timeout(Duration::from_millis(300))
        .build()
        .unwrap();
    let mut admin = world.test.admin().unwrap();
    for round in 0..3 {
        let mut slow = db.tenant(&a.owner, &a.workspace).unwrap();
        let slept = diesel::sql_query("SELECT pg_sleep(5)").execute(slow.connection());
        assert!(matches!(Error::from(slept.unwrap_err()), Error::StatementTimeout));
        drop(slow);
        admin.batch_execute("BEGIN; LOCK TABLE kpis IN ACCESS EXCLUSIVE MODE").unwrap();
        let waited = store(&db, &world.b, "limits").unwrap_err();
        admin.batch_execute("COMMIT").unwrap();
        assert!(matches!(waited, Error::LockTimeout), "{waited:?}");
        let mut idle = db.tenant(&a.owner, &a.workspace).unwrap();
        idle.kpis().create(&NewKpi::new("limits".parse().unwrap())).unwrap();
        std::thread::sleep(Duration::from_millis(600));
        let ended = if round == 0 {
            let late = idle.kpis().find(&a.kpi).unwrap_err();
            assert!(late.is_retryable());
            drop(idle);
            late
        } else {
            idle.commit().unwrap_err()
        };
        assert!(matches!(ended, Error::IdleInTransactionTimeout), "{ended:?}");
        store(&db, &world.b, &format!("round {round}")).unwrap();
    }
}

#[test]
fn a_migration_under_traffic_makes_callers_wait_and_loses_nothing() {
    let world = World::new();
    let db = world.test.builder().pool_size(6).build().unwrap();
    let log = Log::default();
    let mut admin = world.test.admin().unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (log, db) = (&log, &db);
            let tenant = [&world.a, &world.b][writer % 2];
            scope.spawn(move || log.write(db, tenant, &format!("w{writer}")));
        }
        let migrated = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..3 {
                log.next();
                admin
                    .batch_execute(
                        "BEGIN; ALTER TABLE kpis ADD COLUMN later text; SELECT pg_sleep(0.3); COMMIT",
                    )
                    .unwrap();
                log.next();
                migrations::run(&mut admin).unwrap();
                admin
                    .batch_execute(
                        "BEGIN; ALTER TABLE kpis DROP COLUMN later; SELECT pg_sleep(0.1); COMMIT",
                    )
                    .unwrap();
            }
        }));
        log.stop();
        migrated.unwrap();
    });
    let errors = log.errors().clone();
    assert!(errors.is_empty(), "a short migration is waited for: {errors:?}");
    log.check(&mut admin);
}

/// Contexts are stamped with the server's time as a connection learned it, plus what has passed here.
#[test]
fn a_clock_that_jumps_shows_nothing_rather_than_too_much_and_for_a_minute_at_most() {
    let world = World::new();
    let (a, b) = (&world.a, &world.b);
    // A second ahead to begin with, so that it can jump back.
    let (ahead, origin) = (Arc::new(AtomicU64::new(1_000)), Instant::now());
    let offset = ahead.clone();
    let clock = Clock::from_fn(move || {
        origin + origin.elapsed() + Duration::from_millis(offset.load(SeqCst))
    });
    let db = world.test.builder().pool_size(1).clock(clock).build().unwrap();
    let sees = |own: &Tenant, other: &Tenant| {
        let mut guard = db.tenant(&own.owner, &own.workspace).unwrap();
        match guard.kpis().find(&other.kpi) {
            Ok(found) => assert!(found.is_none()),
            Err(Error::ContextExpired) => return false,
            Err(error) => panic!("{error:?}"),
        }
        guard.kpis().find(&own.kpi).unwrap().is_some()
    };
    assert!(sees(a, b) && sees(b, a));
    // Within what the server puts up with.
    for milliseconds in [2_500, 1_000, 0] {
        ahead.store(milliseconds, SeqCst);
        assert!(sees(a, b), "{milliseconds}");
    }
    // Beyond: contexts from the future are worth nothing, and a write is refused.
    for milliseconds in [5_000, 30_000, 55_000] {
        ahead.store(milliseconds, SeqCst);
        assert!(!sees(a, b) && !sees(b, a), "{milliseconds}");
        let refused = store(&db, a, "from the future").unwrap_err();
        assert!(matches!(refused, Error::ContextExpired), "{refused:?}");
    }
    // After a minute of that clock the connection asks the server again.
    ahead.store(65_000, SeqCst);
    assert!(sees(a, b) && sees(b, a));
}

#[test]
#[ignore = "mounts a file system of its own, which takes root and `unshare`"]
fn a_full_disk_is_a_typed_error_and_nothing_confirmed_is_lost() {
    let server = Server::on_a_small_disk("160m", &["max_wal_size=4MB", "min_wal_size=2MB"]);
    let db = server.builder().pool_timeout(Duration::from_secs(1)).build().unwrap();
    let tenants = [Tenant::furnish(&db, "acme"), Tenant::furnish(&db, "globex")];
    let log = Log::default();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (log, db, tenant) = (&log, &db, &tenants[writer % 2]);
            scope.spawn(move || log.write(db, tenant, &format!("w{writer}")));
        }
        let filled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..2 {
                log.next();
                server.tell("fill");
                let (start, before) = (Instant::now(), log.errors().values().sum::<usize>());
                while log.errors().values().sum::<usize>() < before + 20 {
                    assert!(start.elapsed() < Duration::from_mins(1), "the disk is not full");
                    std::thread::sleep(Duration::from_millis(50));
                }
                // Where there was no room for its log, the server has crashed, and cannot come back.
                server.tell("free");
                server.start_unless_running();
                println!("writes returned after {:?}", log.next());
            }
        }));
        log.stop();
        filled.unwrap();
    });
    println!("{} confirmed, errors {:?}", log.confirmed.lock().unwrap().len(), log.errors());
    log.check(&mut server.admin());
}
