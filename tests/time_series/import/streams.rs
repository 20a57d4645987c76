//! Ranges of any length, one point after the other.

use chrono::TimeDelta;
use sesari_db::Error;
use sesari_db::id::KpiId;
use sesari_db::repo::{NewDataPoint, OnExisting};

use super::tools::{hourly, member, new_kpi, point, span};
use crate::support::{World, hour};

#[test]
fn a_stream_has_each_point_of_its_range_once_and_in_order() {
    let world = World::shared();
    let kpi = hourly(&world, 3001);
    let mut tenant = member(&world, &world.a);
    for (from, to) in [(0, 3001), (-5, 9999), (1, 1000), (0, 1000), (7, 1008), (3, 3), (4000, 5000)]
    {
        let points = tenant.data_points().iter(&kpi, span(from, to));
        let read: Vec<_> = points.map(|point| point.unwrap().timestamp.get()).collect();
        let expected: Vec<_> = (from.max(0)..to.min(3001)).map(hour).collect();
        assert_eq!(read, expected, "{from} to {to}");
    }
}

#[test]
fn points_of_one_moment_are_not_lost_where_two_pages_meet() {
    let world = World::shared();
    let mut tenant = member(&world, &world.a);
    let kpi = new_kpi(&mut tenant);
    // More sources at one moment than a page has points, and one without.
    let mut all: Vec<_> = (0..2100)
        .map(|n| point(&kpi, 5, 1.0).unwrap().from_source(format!("s{n}").parse().unwrap()))
        .collect();
    all.extend([4, 5, 6].map(|hours| point(&kpi, hours, 1.0).unwrap()));
    tenant.data_points().record_many(&all, OnExisting::Fail).unwrap();
    let points = tenant.data_points().iter(&kpi, span(0, 9));
    let read: Vec<_> =
        points.map(|point| point.unwrap()).map(|p| (p.timestamp.get(), p.source)).collect();
    assert_eq!(read.len(), 2103);
    assert!(read.is_sorted() && read.windows(2).all(|two| two[0] != two[1]));
}

#[test]
fn a_stream_ends_after_its_first_error() {
    let world = World::new();
    let kpi = hourly(&world, 2500);
    let db = world
        .test
        .builder()
        .idle_in_transaction_timeout(std::time::Duration::from_millis(300))
        .build()
        .unwrap();
    let mut tenant = db.tenant(&world.a.member, &world.a.workspace).unwrap();
    let mut points = tenant.data_points().iter(&kpi, span(0, 2500));
    assert!(points.next().unwrap().is_ok());
    std::thread::sleep(std::time::Duration::from_secs(1));
    let rest: Vec<_> = points.by_ref().collect();
    assert_eq!(rest.len(), 999 + 1, "the page that was read, and one error");
    assert!(matches!(rest.last(), Some(Err(Error::IdleInTransactionTimeout))), "{:?}", rest.last());
    assert!(points.next().is_none());
}

#[test]
fn a_member_who_is_removed_meanwhile_reads_no_further_page() {
    let world = World::shared();
    let kpi = hourly(&world, 2500);
    let mut tenant = member(&world, &world.a);
    let mut points = tenant.data_points().iter(&kpi, span(0, 2500));
    assert!(points.next().unwrap().is_ok());
    let mut owner = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    owner.members().remove(&world.a.member).unwrap();
    owner.commit().unwrap();
    assert_eq!(points.count(), 999);
}

#[test]
fn another_tenants_kpi_streams_like_one_that_never_was() {
    let world = World::shared();
    let mut tenant = member(&world, &world.a);
    for kpi in [world.b.kpi.clone(), KpiId::generate()] {
        assert_eq!(tenant.data_points().iter(&kpi, span(-9, 9)).count(), 0);
    }
    assert_eq!(tenant.data_points().iter(&world.a.kpi, span(-9, 9)).count(), 3);
}

#[test]
fn a_stream_works_behind_a_guard_that_writes_between_two_streams() {
    let world = World::shared();
    let mut tenant = member(&world, &world.a);
    let (from, to) = (world.a.kpi.clone(), new_kpi(&mut tenant));
    let doubled: Vec<_> = tenant
        .data_points()
        .iter(&from, span(0, 9))
        .map(|point| {
            let point = point.unwrap();
            NewDataPoint::new(
                to.clone(),
                point.value * 2.0,
                point.timestamp.get() + TimeDelta::days(1),
            )
        })
        .collect();
    let options = sesari_db::import::ImportOptions::new(OnExisting::Fail);
    tenant.data_points().import(doubled, &options, |_, _| ()).unwrap();
    let sum: f64 = tenant.data_points().iter(&to, span(0, 99)).map(|p| p.unwrap().value).sum();
    assert_eq!(sum, 120.0);
}
