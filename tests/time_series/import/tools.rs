//! What the modules share.

use chrono::TimeDelta;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use sesari_db::TenantConnection;
use sesari_db::id::KpiId;
use sesari_db::import::{ImportOptions, Imported};
use sesari_db::repo::{NewDataPoint, NewKpi, OnExisting, TimeRange};
use sesari_db::schema::{kpi_data_points, kpi_rollups};
use sesari_db::value::{Invalid, Timestamp};

use crate::support::{Tenant, World, hour};

pub(crate) const KEEP: OnExisting = OnExisting::Keep;

pub(crate) fn keep() -> ImportOptions {
    ImportOptions::new(KEEP)
}

pub(crate) fn at(hours: i64) -> Timestamp {
    Timestamp::new(hour(hours)).unwrap()
}

pub(crate) fn span(from: i64, to: i64) -> TimeRange {
    TimeRange::new(at(from), at(to)).unwrap()
}

pub(crate) fn point(kpi: &KpiId, hours: i64, value: f64) -> Result<NewDataPoint, Invalid> {
    NewDataPoint::new(kpi.clone(), value, hour(hours))
}

pub(crate) fn member(world: &World, of: &Tenant) -> TenantConnection {
    world.db.tenant(&of.member, &of.workspace).unwrap()
}

pub(crate) fn new_kpi(tenant: &mut TenantConnection) -> KpiId {
    tenant.kpis().create(&NewKpi::new("Imported".parse().unwrap())).unwrap().id
}

/// A workspace with a KPI of so many points, one an hour, committed.
pub(crate) fn hourly(world: &World, points: i64) -> KpiId {
    let mut tenant = member(world, &world.a);
    let kpi = new_kpi(&mut tenant);
    let all: Vec<_> = (0..points).map(|i| point(&kpi, i, 1.0).unwrap()).collect();
    tenant.data_points().record_many(&all, OnExisting::Fail).unwrap();
    tenant.commit().unwrap();
    kpi
}

pub(crate) fn counts(imported: &Imported) -> [u64; 4] {
    [imported.inserted, imported.replaced, imported.kept, imported.refused]
}

pub(crate) fn count(tenant: &mut TenantConnection, kpi: &KpiId) -> i64 {
    let ever = TimeRange::new(
        Timestamp::new("0001-01-01T00:00:00Z".parse().unwrap()).unwrap(),
        Timestamp::new("9999-12-31T23:59:59Z".parse().unwrap()).unwrap(),
    );
    tenant.data_points().count(kpi, ever.unwrap()).unwrap()
}

/// The days of a KPI's rollups with how many points each, counted twice: as kept, and by the points.
pub(crate) fn days(tenant: &mut TenantConnection, kpi: &KpiId) -> Vec<(i64, i64)> {
    let kept: Vec<(chrono::DateTime<chrono::Utc>, i64)> = kpi_rollups::table
        .filter(kpi_rollups::kpi_id.eq(kpi))
        .order(kpi_rollups::day)
        .select((kpi_rollups::day, kpi_rollups::points))
        .load(tenant.connection())
        .unwrap();
    let mut counted = std::collections::BTreeMap::new();
    let points: Vec<chrono::DateTime<chrono::Utc>> = kpi_data_points::table
        .filter(kpi_data_points::kpi_id.eq(kpi))
        .select(kpi_data_points::timestamp)
        .load(tenant.connection())
        .unwrap();
    for at in points {
        *counted.entry((at - hour(0)).num_seconds().div_euclid(86_400)).or_insert(0) += 1;
    }
    let kept: Vec<_> =
        kept.into_iter().map(|(day, points)| ((day - hour(0)).num_days(), points)).collect();
    assert_eq!(kept, counted.into_iter().collect::<Vec<_>>());
    kept
}

/// Runs SQL as the superuser.
pub(crate) fn arrange(world: &World, sql: &str) {
    world.test.admin().unwrap().batch_execute(sql).unwrap();
}

pub(crate) fn second(seconds: i64) -> Timestamp {
    Timestamp::new(hour(0) + TimeDelta::seconds(seconds)).unwrap()
}
