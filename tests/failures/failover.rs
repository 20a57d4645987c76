//! A primary that dies, and a standby that takes its place.

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use sesari_db::repo::NewKpi;
use sesari_db::{Error, TenantConnection};

use crate::support::proxy::Proxy;
use crate::support::server::Server;
use crate::support::{Tenant, number, until};
use crate::writers::{Log, store};

const LONG: Duration = Duration::from_secs(30);

/// A primary and a standby that has everything that is confirmed.
fn pair() -> (Server, Server) {
    let primary = Server::new(&[]);
    let standby = primary.standby();
    let mut admin = primary.admin();
    until(LONG, "the standby follows", || {
        number(&mut admin, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")
            == 1
    });
    admin.batch_execute("ALTER SYSTEM SET synchronous_standby_names = '*'").unwrap();
    admin.batch_execute("SELECT pg_reload_conf()").unwrap();
    until(LONG, "the primary waits for it", || {
        number(&mut admin, "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'")
            == 1
    });
    (primary, standby)
}

fn port(guard: &mut TenantConnection) -> i64 {
    number(guard.connection(), "SELECT inet_server_port()::bigint")
}

#[test]
fn writes_return_by_themselves_after_a_promotion_and_nothing_confirmed_is_lost() {
    let (primary, standby) = pair();
    let addresses = format!("{},{}", primary.address(), standby.address());
    let db = primary.builder_at(&addresses, "target_session_attrs=read-write");
    let db = db.pool_timeout(Duration::from_secs(2)).build().unwrap();
    let tenants = [Tenant::furnish(&db, "acme"), Tenant::furnish(&db, "globex")];
    let log = Log::default();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (log, db, tenant) = (&log, &db, &tenants[writer % 2]);
            scope.spawn(move || log.write(db, tenant, &format!("w{writer}")));
        }
        let promoted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            log.next();
            std::thread::sleep(Duration::from_millis(300));
            let died = Instant::now();
            primary.kill();
            standby.promote();
            let took = died.elapsed();
            log.next();
            println!(
                "writes returned {:?} after the crash, of which the promotion took {took:?}",
                died.elapsed()
            );
        }));
        log.stop();
        promoted.unwrap();
    });
    println!("{} writes confirmed, errors {:?}", log.confirmed.lock().unwrap().len(), log.errors());
    log.check(&mut standby.admin());
}

#[test]
fn a_connection_to_a_server_that_only_reads_is_given_up_and_the_next_one_writes() {
    let (primary, standby) = pair();
    // Nothing in this URL tells the two apart: as with a name that leads to either.
    let addresses = format!("{},{}", standby.address(), primary.address());
    let setting_up = primary.builder().build().unwrap();
    let tenant = Tenant::furnish(&setting_up, "acme");
    drop(setting_up);
    let db = primary.builder_at(&addresses, "connect_timeout=2").pool_size(1).build().unwrap();
    let reader = || db.tenant_read_only(&tenant.owner, &tenant.workspace).unwrap();
    let pid = |guard: &mut TenantConnection| {
        number(guard.connection(), "SELECT pg_backend_pid()::bigint")
    };

    // What a read-only guard is told is the caller's mistake, and the connection is as good as before.
    let mut reading = reader();
    assert_eq!(port(&mut reading), i64::from(standby.port));
    let backend = pid(&mut reading);
    assert!(reading.kpis().find(&tenant.kpi).unwrap().is_some());
    let new = NewKpi::new("Churn".parse().unwrap());
    let refused = reading.transaction(|guard| guard.kpis().create(&new)).unwrap_err();
    assert!(matches!(refused, Error::ReadOnly), "{refused:?}");
    assert!(!refused.is_retryable());
    drop(reading);
    assert_eq!(pid(&mut reader()), backend);

    // What a guard that may write is told is the server's condition, and its connection is given up.
    let refused = store(&db, &tenant, "w-0").unwrap_err();
    assert!(matches!(refused, Error::ReadOnlyServer), "{refused:?}");
    assert!(refused.is_retryable());
    let mut admin = standby.admin();
    let kept = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {backend}");
    until(LONG, "the connection is closed", || number(&mut admin, &kept) == 0);

    // Without the standby the same URL leads to the primary.
    primary.admin().batch_execute("ALTER SYSTEM RESET synchronous_standby_names").unwrap();
    primary.admin().batch_execute("SELECT pg_reload_conf()").unwrap();
    standby.kill();
    store(&db, &tenant, "w-1").unwrap();
    let mut writing = db.tenant(&tenant.owner, &tenant.workspace).unwrap();
    assert_eq!(port(&mut writing), i64::from(primary.port));
}

/// The address itself moves, while the pool still has connections to the server that it led to before.
#[test]
fn a_pool_full_of_connections_to_a_standby_writes_at_once_when_the_address_moves() {
    let (primary, standby) = pair();
    let tenant = Tenant::furnish(&primary.builder().build().unwrap(), "acme");
    let line = Proxy::before(&standby.address());
    let db = primary.builder_at(&line.address, "connect_timeout=2").pool_size(3).build().unwrap();
    let readers: Vec<_> =
        (0..3).map(|_| db.tenant_read_only(&tenant.owner, &tenant.workspace).unwrap()).collect();
    drop(readers);
    line.lead_to(&primary.address());
    store(&db, &tenant, "w-1").unwrap();
}
