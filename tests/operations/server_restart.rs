//! The server crashes and comes back, under traffic: directly and behind `PgBouncer`. In a process of
//! its own, since the connection that makes and drops test databases does not outlive it.
#![allow(clippy::unwrap_used, reason = "a test's set-up fails loudly")]
#![allow(unreachable_pub, reason = "a test binary exports nothing")]

use std::io::Write as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::support::bouncer::Bouncer;
use crate::support::logins::value;
use crate::support::{World, alone};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Text;
use sesari_db::repo::NewKpi;
use sesari_db::{Database, Error};

/// Kills one of the server's processes, upon which the server ends all others and recovers: the
/// hardest of restarts. `false` where that is not ours to do.
fn crash(world: &World) -> bool {
    let mut admin = world.test.admin().unwrap();
    let local = value(&mut admin, "SELECT setting FROM pg_settings WHERE name = 'data_directory'");
    let pid = value(&mut admin, "pg_backend_pid()");
    local.contains("sesari-test-")
        && Command::new("kill").args(["-KILL", &pid]).status().unwrap().success()
}

/// One transaction of each tenant. `Ok` is the promise that it saw itself alone.
fn round(db: &Database, world: &World) -> Result<(), Error> {
    for (own, other) in [(&world.a, &world.b), (&world.b, &world.a)] {
        let mut guard = db.tenant(&own.owner, &own.workspace)?;
        assert!(guard.kpis().find(&own.kpi)?.is_some());
        assert!(guard.kpis().find(&other.kpi)?.is_none());
        guard.kpis().create(&NewKpi::new("Made".parse()?))?;
        let seen = "(SELECT string_agg(DISTINCT workspace_id, ' ') FROM kpis)";
        let seen: String = diesel::select(sql::<Text>(seen)).get_result(guard.connection())?;
        assert_eq!(seen, own.workspace.as_str());
        guard.commit()?;
    }
    Ok(())
}

#[test]
fn every_pool_heals_after_the_server_has_crashed_under_traffic() {
    if !alone("server_restart::every_pool_heals_after_the_server_has_crashed_under_traffic") {
        return;
    }
    let world = World::new();
    let bouncer = Bouncer::start(&world.test, &[]);
    let impatient = |builder: sesari_db::DatabaseBuilder| {
        builder.pool_size(8).pool_timeout(Duration::from_secs(2)).build().unwrap()
    };
    let mut pools = vec![("direct", impatient(world.test.builder()))];
    if let Some(bouncer) = &bouncer {
        pools.push(("pooled", impatient(bouncer.builder(&world.test))));
    }
    let (stop, crashed) = (AtomicBool::new(false), AtomicBool::new(false));
    let done: Vec<_> = pools.iter().map(|_| [AtomicUsize::new(0), AtomicUsize::new(0)]).collect();
    let ours = std::thread::scope(|scope| {
        for ((name, db), [before, after]) in pools.iter().zip(&done) {
            for _ in 0..3 {
                let (stop, crashed, world) = (&stop, &crashed, &world);
                scope.spawn(move || {
                    while !stop.load(Relaxed) {
                        let began_after = crashed.load(Relaxed);
                        match round(db, world) {
                            Ok(()) if began_after => after.fetch_add(1, Relaxed),
                            Ok(()) => before.fetch_add(1, Relaxed),
                            Err(
                                Error::ConnectionLost(_)
                                | Error::OutcomeUnknown(_)
                                | Error::PoolTimeout { .. }
                                | Error::TransactionAborted,
                            ) => 0,
                            Err(error) => panic!("{name}: {error:?}"),
                        };
                    }
                });
            }
        }
        let start = Instant::now();
        let until = |condition: &dyn Fn() -> bool| {
            while !condition() && start.elapsed() < Duration::from_secs(40) {
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        until(&|| done.iter().all(|[before, _]| before.load(Relaxed) > 20));
        let ours = crash(&world);
        std::thread::sleep(Duration::from_millis(500));
        crashed.store(true, Relaxed);
        if ours {
            until(&|| done.iter().all(|[_, after]| after.load(Relaxed) > 20));
        }
        stop.store(true, Relaxed);
        ours
    });
    if !ours {
        let _ = writeln!(std::io::stderr(), "SKIPPED: the server is not this machine's to crash");
        return;
    }
    for ((name, db), [before, after]) in pools.iter().zip(&done) {
        assert!(before.load(Relaxed) > 20 && after.load(Relaxed) > 20, "{name} did not heal");
        for _ in 0..20 {
            round(db, &world).unwrap();
        }
    }
}
