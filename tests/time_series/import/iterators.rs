//! Points from an iterator.

use std::panic::{AssertUnwindSafe, catch_unwind};

use chrono::{DateTime, TimeDelta, Utc};
use sesari_db::Error;
use sesari_db::id::KpiId;
use sesari_db::import::{Column, ImportOptions, RowFault};
use sesari_db::repo::{NewDataPoint, OnExisting};

use super::tools::{KEEP, count, counts, days, keep, member, new_kpi, point};
use crate::support::{World, hour};

#[test]
fn points_that_cannot_be_made_are_refused_with_their_place() {
    let world = World::shared();
    let mut tenant = member(&world, &world.a);
    let kpi = new_kpi(&mut tenant);
    let times = [DateTime::<Utc>::MIN_UTC, hour(0), DateTime::<Utc>::MAX_UTC, hour(1)];
    let values = [1.0, f64::NAN, f64::INFINITY, f64::MAX];
    let points =
        times.into_iter().zip(values).map(|(at, value)| NewDataPoint::new(kpi.clone(), value, at));
    let imported = tenant.data_points().import(points, &keep(), |_, _| ()).unwrap();
    assert_eq!(counts(&imported), [1, 0, 0, 3]);
    let places: Vec<_> = imported.errors.iter().map(|error| (error.line, error.column)).collect();
    let (timestamp, value) = (Some(Column::Timestamp), Some(Column::Value));
    assert_eq!(places, [(1, timestamp), (2, value), (3, value)]);
    assert_eq!(tenant.kpis().find(&kpi).unwrap().unwrap().current_value, f64::MAX);
}

#[test]
fn another_tenants_a_deleted_and_an_absent_kpi_lose_their_rows_and_no_others() {
    let world = World::shared();
    let mut tenant = member(&world, &world.a);
    let (good, deleted) = (new_kpi(&mut tenant), new_kpi(&mut tenant));
    tenant.kpis().delete(&deleted).unwrap();
    let named = [&world.b.kpi, &good, &deleted, &KpiId::generate(), &good];
    let points = (0..1000).map(|n| point(named[n % named.len()], n.try_into().unwrap(), 1.0));
    let mut batches = 0;
    let imported = tenant
        .data_points()
        .import(points, &keep().batch_rows(99), |_, errors| {
            assert!(errors.iter().all(|error| error.fault == RowFault::NoSuchKpi));
            batches += 1;
        })
        .unwrap();
    assert_eq!((counts(&imported), batches), ([400, 0, 0, 600], 11));
    let first: Vec<_> = imported.errors[..4].iter().map(|error| error.line).collect();
    assert_eq!(first, [1, 3, 4, 6]);
    assert_eq!(count(&mut tenant, &good), 400);
    tenant.commit().unwrap();
    assert_eq!(count(&mut member(&world, &world.b), &world.b.kpi), 3);
}

#[test]
fn unsorted_and_repeated_points_end_as_the_rule_for_existing_ones_says() {
    let world = World::shared();
    for (existing, kept) in [(OnExisting::Keep, 0.0), (OnExisting::Replace, 4.0)] {
        for batch in [1, 2, 9, 50, 1000] {
            let mut tenant = member(&world, &world.a);
            let kpi = new_kpi(&mut tenant);
            // 50 moments five times over, in no order.
            let points = (0..250)
                .map(|n| point(&kpi, n * 37 % 50, f64::from(i32::try_from(n / 50).unwrap())));
            let options = ImportOptions::new(existing).batch_rows(batch);
            let imported = tenant.data_points().import(points, &options, |_, _| ()).unwrap();
            assert_eq!((imported.inserted, imported.rows()), (50, 250));
            let newest = tenant.data_points().latest(&kpi).unwrap().unwrap();
            assert_eq!(
                (newest.timestamp.get(), newest.value),
                (hour(49), kept),
                "{existing:?} {batch}"
            );
            assert_eq!(tenant.kpis().find(&kpi).unwrap().unwrap().current_value, kept);
            assert_eq!(days(&mut tenant, &kpi), [(0, 24), (1, 24), (2, 2)]);
        }
    }
}

#[test]
fn a_key_that_is_taken_fails_the_whole_import_where_it_is_asked_to() {
    let world = World::shared();
    let kpi = &world.a.kpi;
    let options = ImportOptions::new(OnExisting::Fail).batch_rows(2);
    let points = || [100, 101, 102, 103, 100].map(|hours| point(kpi, hours, 1.0));
    let mut tenant = member(&world, &world.a);
    let failed = tenant
        .transaction(|tenant| tenant.data_points().import(points(), &options, |_, _| ()).map(drop));
    assert!(failed.unwrap_err().is_conflict());
    assert_eq!(count(&mut tenant, kpi), 3, "the savepoint took all of it back");
    drop(tenant);
    // Committed batch by batch, what came before stays.
    let (member_of_a, workspace) = (&world.a.member, &world.a.workspace);
    let failed = world.db.import(member_of_a, workspace, points(), &options, |_, _| ());
    assert!(failed.unwrap_err().is_conflict());
    assert_eq!(count(&mut member(&world, &world.a), kpi), 3 + 4);
}

#[test]
fn an_import_in_a_guard_is_all_or_nothing_and_one_on_the_database_commits_each_batch() {
    let world = World::shared();
    let kpi = &world.a.kpi;
    let points = |days: i64| (0..24).map(move |n| point(kpi, 24 * days + n, 1.0));
    let options = keep().batch_rows(10);
    let mut tenant = member(&world, &world.a);
    tenant.data_points().import(points(1), &options, |_, _| ()).unwrap();
    drop(tenant);
    assert_eq!(count(&mut member(&world, &world.a), kpi), 3);

    // Another connection sees each batch at its report.
    let mut seen = Vec::new();
    let (actor, workspace) = (&world.a.member, &world.a.workspace);
    world
        .db
        .import(actor, workspace, points(1), &options, |so_far, _| {
            seen.push((count(&mut member(&world, &world.a), kpi), so_far.rows()));
        })
        .unwrap();
    assert_eq!(seen, [(13, 10), (23, 20), (27, 24)]);

    // Killed after the first batch and run again, it records what is missing.
    let died = catch_unwind(AssertUnwindSafe(|| {
        world.db.import(actor, workspace, points(2), &options, |_, _| panic!("killed"))
    }));
    assert!(died.is_err());
    let again = world.db.import(actor, workspace, points(2), &options, |_, _| ()).unwrap();
    assert_eq!(counts(&again), [14, 0, 10, 0]);
}

#[test]
fn whoever_may_see_nothing_imports_nothing() {
    let world = World::shared();
    let points = || [point(&world.a.kpi, 50, 1.0), point(&world.b.kpi, 50, 1.0)];
    for (user, workspace) in
        [(&world.stranger, &world.a.workspace), (&world.b.owner, &world.a.workspace)]
    {
        let imported = world.db.import(user, workspace, points(), &keep(), |_, _| ()).unwrap();
        assert_eq!(counts(&imported), [0, 0, 0, 2]);
    }
    let mut reading = world
        .db
        .begin(&sesari_db::Scope::tenant(&world.a.member, &world.a.workspace).read_only())
        .unwrap();
    let refused = reading.data_points().import(points(), &keep(), |_, _| ());
    assert!(matches!(refused, Err(Error::ReadOnly)), "{refused:?}");
    assert_eq!(count(&mut member(&world, &world.a), &world.a.kpi), 3);
    assert_eq!(count(&mut member(&world, &world.b), &world.b.kpi), 3);
}

#[test]
fn nothing_to_import_is_no_error_and_reports_nothing() {
    let world = World::shared();
    let mut tenant = member(&world, &world.a);
    let imported = tenant.data_points().import([], &keep(), |_, _| panic!("a report of nothing"));
    assert_eq!(imported.unwrap().rows(), 0);
}

#[test]
fn a_batch_is_never_longer_than_fifty_thousand_rows() {
    let world = World::shared();
    let mut tenant = member(&world, &world.a);
    let kpi = new_kpi(&mut tenant);
    let minute = |n| NewDataPoint::new(kpi.clone(), 1.0, hour(0) + TimeDelta::minutes(n));
    let options = ImportOptions::new(KEEP).batch_rows(usize::MAX);
    let mut reports = 0;
    let imported = tenant
        .data_points()
        .import((0..60_000).map(minute), &options, |_, _| reports += 1)
        .unwrap();
    assert_eq!((imported.inserted, reports), (60_000, 2));
}
