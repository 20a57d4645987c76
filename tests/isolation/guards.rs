//! What a guard promises: one transaction, kept or undone as a whole, under the limits and the key
//! that were configured, on a connection that works.
#![allow(clippy::unwrap_used, reason = "a test's set-up fails loudly")]

mod connections;
mod keys;
mod limits;
mod transactions;

use crate::support::{Tenant, World};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use sesari_db::PgConnection;
use sesari_db::repo::NewKpi;
use sesari_db::{Database, TenantConnection};

fn churn() -> NewKpi {
    NewKpi::new("Churn".parse().unwrap())
}

fn number(conn: &mut PgConnection, sql: &str) -> i64 {
    diesel::select(diesel::dsl::sql::<BigInt>(sql)).get_result(conn).unwrap()
}

fn text(conn: &mut PgConnection, sql: &str) -> String {
    diesel::select(diesel::dsl::sql::<Text>(sql)).get_result(conn).unwrap()
}

fn pid(tenant: &mut TenantConnection) -> i64 {
    number(tenant.connection(), "pg_backend_pid()::bigint")
}

/// How many KPIs the tenant has, through a new guard.
fn kpis(db: &Database, tenant: &Tenant) -> i64 {
    let mut guard = db.tenant(&tenant.owner, &tenant.workspace).unwrap();
    guard.kpis().count(&sesari_db::repo::KpiFilter::default()).unwrap()
}

/// Waits until the server no longer knows the backend.
fn wait_until_gone(world: &World, pid: i64) {
    let mut admin = world.test.admin().unwrap();
    let alive = format!("(SELECT count(*) FROM pg_stat_activity WHERE pid = {pid})");
    while number(&mut admin, &alive) > 0 {
        std::thread::yield_now();
    }
}

/// Ends a backend from outside, and waits until it is gone.
fn terminate(world: &World, pid: i64) {
    let mut admin = world.test.admin().unwrap();
    diesel::sql_query(format!("SELECT pg_terminate_backend({pid})")).execute(&mut admin).unwrap();
    wait_until_gone(world, pid);
}
