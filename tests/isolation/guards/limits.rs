//! Limits: each its own error, and set for the transaction alone.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use sesari_db::Error;
use sesari_db::repo::KpiChanges;

use super::*;
use crate::support::World;

const SHORT: Duration = Duration::from_millis(100);

#[test]
fn a_statement_that_runs_too_long_is_a_statement_timeout() {
    let world = World::new();
    let db = world.test.builder().statement_timeout(SHORT).build().unwrap();
    let mut tenant = db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    let slow = tenant.connection().batch_execute("SELECT pg_sleep(3600)").map_err(Error::from);
    assert!(matches!(slow, Err(Error::StatementTimeout)), "{slow:?}");
    drop(tenant);
    assert_eq!(kpis(&db, &world.a), 1);
}

#[test]
fn a_wait_for_a_lock_that_takes_too_long_is_a_lock_timeout() {
    let world = World::new();
    let a = &world.a;
    let mut admin = world.test.admin().unwrap();
    admin.batch_execute("BEGIN; LOCK TABLE public.kpis IN EXCLUSIVE MODE").unwrap();
    let db = world.test.builder().lock_timeout(SHORT).build().unwrap();
    let mut tenant = db.tenant(&a.owner, &a.workspace).unwrap();
    let changes = KpiChanges { is_active: Some(false), ..KpiChanges::default() };
    let blocked = tenant.kpis().update(&a.kpi, &changes).unwrap_err();
    assert!(matches!(blocked, Error::LockTimeout), "{blocked:?}");
    assert!(blocked.is_retryable());
    drop(tenant);
    admin.batch_execute("ROLLBACK").unwrap();
    let mut tenant = db.tenant(&a.owner, &a.workspace).unwrap();
    tenant.kpis().update(&a.kpi, &changes).unwrap();
    tenant.commit().unwrap();
}

#[test]
fn a_guard_that_sits_idle_too_long_loses_its_connection_and_its_writes() {
    let world = World::new();
    let a = &world.a;
    let db = world.test.builder().pool_size(1).idle_in_transaction_timeout(SHORT).build().unwrap();
    let mut tenant = db.tenant(&a.owner, &a.workspace).unwrap();
    tenant.kpis().create(&churn()).unwrap();
    let backend = pid(&mut tenant);
    wait_until_gone(&world, backend);
    let ended = tenant.kpis().find(&a.kpi).unwrap_err();
    assert!(matches!(ended, Error::IdleInTransactionTimeout), "{ended:?}");
    drop(tenant);
    assert_eq!(kpis(&db, a), 1);
}

#[test]
fn a_guard_that_sat_idle_too_long_cannot_be_committed() {
    let world = World::new();
    let a = &world.a;
    let db = world.test.builder().pool_size(1).idle_in_transaction_timeout(SHORT).build().unwrap();
    let mut tenant = db.tenant(&a.owner, &a.workspace).unwrap();
    tenant.kpis().create(&churn()).unwrap();
    let backend = pid(&mut tenant);
    wait_until_gone(&world, backend);
    let committed = tenant.commit();
    assert!(matches!(committed, Err(Error::IdleInTransactionTimeout)), "{committed:?}");
    assert_eq!(kpis(&db, a), 1);
}

const LIMITS: &str = "current_setting('statement_timeout') || ' ' || \
    current_setting('lock_timeout') || ' ' || \
    current_setting('idle_in_transaction_session_timeout')";

#[test]
fn limits_hold_for_the_transaction_alone() {
    let world = World::new();
    let a = &world.a;
    let db = world
        .test
        .builder()
        .pool_size(1)
        .statement_timeout(Duration::from_secs(11))
        .lock_timeout(Duration::from_millis(2500))
        .idle_in_transaction_timeout(Duration::ZERO)
        .build()
        .unwrap();
    let mut tenant = db.tenant(&a.owner, &a.workspace).unwrap();
    let conn = tenant.connection();
    assert_eq!(text(conn, LIMITS), "11s 2500ms 0");
    conn.batch_execute("SET LOCAL statement_timeout = '1h'; SET LOCAL lock_timeout = 0").unwrap();
    assert_eq!(text(conn, LIMITS), "1h 0 0");
    conn.batch_execute("COMMIT").unwrap();
    assert_eq!(text(conn, LIMITS), "11s 2500ms 0");
    conn.batch_execute("SET statement_timeout = '1h'; SET lock_timeout = 0").unwrap();
    drop(tenant);

    let mut tenant = db.tenant(&a.owner, &a.workspace).unwrap();
    assert_eq!(text(tenant.connection(), LIMITS), "11s 2500ms 0");
}

#[test]
fn limits_are_the_documented_ones_at_every_door_by_default() {
    let world = World::new();
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    assert_eq!(text(tenant.connection(), LIMITS), "30s 5s 1min");
    let mut user = world.db.user(&world.stranger).unwrap();
    assert_eq!(text(user.connection(), LIMITS), "30s 5s 1min");
    let mut service = world.db.service(&crate::support::service()).unwrap();
    assert_eq!(text(service.connection(), LIMITS), "30s 5s 1min");
}
