//! Something is done once, however often it is asked for, and whoever asks at the same moment.

#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

mod access;
mod answers;
mod pruning;
mod races;

use sesari_db::TenantConnection;
use sesari_db::error::Result;
use sesari_db::id::KpiId;
use sesari_db::idempotency::IdempotencyKey;
use sesari_db::repo::{KpiFilter, NewKpi};

use crate::support::World;

/// The work that is asked for: makes a KPI and gives its id.
fn make_kpi(tenant: &mut TenantConnection) -> Result<KpiId> {
    Ok(tenant.kpis().create(&NewKpi::new("Once".parse()?))?.id)
}

/// Asks for it as the owner of `a`, in a transaction of its own.
fn ask(world: &World, key: &IdempotencyKey) -> Result<KpiId> {
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace)?;
    let kpi = tenant.once("make a kpi", key, make_kpi)?;
    tenant.commit()?;
    Ok(kpi)
}

/// How many KPIs `a` has besides those that it came with.
fn made(world: &World) -> i64 {
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    tenant.kpis().count(&KpiFilter::default()).unwrap() - 1
}

/// A world with room for eight at once.
fn world() -> World {
    let test = sesari_db::testing::TestDatabase::new().unwrap();
    let db = test.builder().pool_size(8).build().unwrap();
    World::on(test, db)
}

/// That work under this key would do something: nothing under it is seen.
fn is_fresh(tenant: &mut TenantConnection, key: &IdempotencyKey) -> Result<bool> {
    let mut done = false;
    tenant.once("make a kpi", key, |tenant| {
        done = true;
        make_kpi(tenant)
    })?;
    Ok(done)
}

fn key() -> IdempotencyKey {
    IdempotencyKey::generate()
}
