//! Deleting old points, so many at a time.

use std::time::{Duration, Instant};

use sesari_db::Error;
use sesari_db::id::KpiId;
use sesari_db::page::PageRequest;
use sesari_db::repo::{AuditFilter, NewDataPoint, OnExisting};

use super::tools::{arrange, at, count, days, hourly, member, new_kpi, second};
use crate::support::{World, hour, service};

#[test]
fn batches_end_with_a_day_and_take_the_oldest_first() {
    let world = World::shared();
    let kpi = hourly(&world, 10 * 24);
    let mut tenant = member(&world, &world.a);
    // Before noon of the ninth day.
    let before = at(8 * 24 + 12);
    let mut deleted = Vec::new();
    loop {
        let points = tenant.data_points().delete_before(Some(&kpi), before, 60).unwrap();
        if points == 0 {
            break;
        }
        deleted.push(points);
        days(&mut tenant, &kpi);
    }
    assert_eq!(deleted, [48, 48, 48, 48 + 12]);
    assert_eq!(days(&mut tenant, &kpi), [(8, 12), (9, 24)]);
    let oldest = tenant.data_points().iter(&kpi, super::tools::span(0, 999)).next();
    assert_eq!(oldest.unwrap().unwrap().timestamp, before);
}

#[test]
fn a_day_larger_than_the_batch_is_cut() {
    let world = World::shared();
    let mut tenant = member(&world, &world.a);
    let kpi = new_kpi(&mut tenant);
    // Three sources at each moment, so that a cut falls between two of one moment.
    let all: Vec<_> = (0..90)
        .map(|n| NewDataPoint {
            source: (n % 3 != 0).then(|| format!("s{}", n % 3).parse().unwrap()),
            ..NewDataPoint::new(kpi.clone(), 1.0, second(n / 3).get()).unwrap()
        })
        .collect();
    tenant.data_points().record_many(&all, OnExisting::Fail).unwrap();
    let mut left = 90;
    for expected in [40, 40, 10, 0] {
        let mut points = tenant.data_points();
        assert_eq!(points.delete_before(Some(&kpi), at(24), 40).unwrap(), expected);
        left -= i64::try_from(expected).unwrap();
        assert_eq!(count(&mut tenant, &kpi), left);
        days(&mut tenant, &kpi);
    }
    assert_eq!(count(&mut tenant, &kpi), 0);
}

#[test]
fn a_kpi_without_history_is_at_zero_again() {
    let world = World::shared();
    let kpi = &world.a.kpi;
    let mut tenant = member(&world, &world.a);
    assert_eq!(tenant.data_points().delete_before(Some(kpi), at(2), 9).unwrap(), 2);
    let left = tenant.kpis().find(kpi).unwrap().unwrap();
    assert_eq!((left.current_value, left.current_value_at), (30.0, Some(hour(2))));
    assert_eq!(tenant.data_points().delete_before(Some(kpi), at(3), 9).unwrap(), 1);
    let left = tenant.kpis().find(kpi).unwrap().unwrap();
    assert_eq!((left.current_value, left.current_value_at), (0.0, None));
    assert_eq!(days(&mut tenant, kpi), []);
}

#[test]
fn without_a_kpi_all_of_the_workspace_are_taken_one_after_the_other() {
    let world = World::shared();
    let kept = world.b.kpi.clone();
    let mut kpis = vec![world.a.kpi.clone(), hourly(&world, 30), hourly(&world, 30)];
    let mut tenant = member(&world, &world.a);
    tenant.kpis().delete(&kpis[1]).unwrap();
    tenant.commit().unwrap();
    let mut tenant = member(&world, &world.a);
    kpis.sort();
    for kpi in &kpis {
        assert!(count(&mut tenant, kpi) > 0);
        assert!(tenant.data_points().delete_before(None, at(99), 1000).unwrap() > 0);
        assert_eq!(count(&mut tenant, kpi), 0, "in the order of their ids, deleted ones too");
    }
    assert_eq!(tenant.data_points().delete_before(None, at(99), 1000).unwrap(), 0);
    tenant.commit().unwrap();
    assert_eq!(count(&mut member(&world, &world.b), &kept), 3);
}

#[test]
fn another_tenants_points_are_out_of_reach_and_bounds_are_held_to() {
    let world = World::shared();
    let mut tenant = member(&world, &world.a);
    for kpi in [&world.b.kpi, &KpiId::generate()] {
        assert_eq!(tenant.data_points().delete_before(Some(kpi), at(99), 9).unwrap(), 0);
    }
    for batch in [0, 100_001, u32::MAX] {
        match tenant.data_points().delete_before(None, at(99), batch) {
            Err(Error::Invalid(invalid)) => assert_eq!(invalid.field(), "batch"),
            other => panic!("{other:?}"),
        }
    }
    let mut stranger = world.db.tenant(&world.stranger, &world.a.workspace).unwrap();
    assert_eq!(stranger.data_points().delete_before(None, at(99), 9).unwrap(), 0);
    drop((tenant, stranger));
    for of in [&world.a, &world.b] {
        assert_eq!(count(&mut member(&world, of), &of.kpi), 3);
    }
}

#[test]
fn the_ends_of_time_are_no_trap() {
    let world = World::shared();
    let mut tenant = member(&world, &world.a);
    let kpi = new_kpi(&mut tenant);
    let ends = ["0001-01-01T00:00:00Z", "1999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.998Z"];
    for end in ends {
        let new = NewDataPoint::new(kpi.clone(), 1.0, end.parse().unwrap()).unwrap();
        tenant.data_points().record(&new).unwrap();
    }
    let moment = |text: &str| sesari_db::value::Timestamp::new(text.parse().unwrap()).unwrap();
    for (before, batch, expected) in [
        ("0001-01-01T00:00:00Z", 9, 0),
        ("9999-12-31T23:59:59.999Z", 1, 1),
        ("9999-12-31T23:59:59.999Z", 2, 2),
    ] {
        let deleted =
            tenant.data_points().delete_before(Some(&kpi), moment(before), batch).unwrap();
        assert_eq!(deleted, expected, "{before} {batch}");
    }
}

#[test]
fn the_database_deletes_batch_by_batch_and_says_so_in_the_audit_log() {
    let world = World::shared();
    let kpi = hourly(&world, 20 * 24);
    let mut reports = Vec::new();
    let workspace = &world.a.workspace;
    let deleted = world
        .db
        .delete_points_before(service(), workspace, None, at(10 * 24), 100, |so_far| {
            // Committed: another connection sees it.
            let left = count(&mut member(&world, &world.a), &kpi);
            reports.push((so_far, left));
        })
        .unwrap();
    // And the three points of the other KPI, sooner or later.
    assert_eq!((deleted, reports.len()), (243, 4));
    assert_eq!(reports.last(), Some(&(243, 240)));
    let filter = AuditFilter { row_id: Some(kpi.to_string()), ..AuditFilter::default() };
    let mut owner = world.db.tenant(&world.a.owner, workspace).unwrap();
    let entries = owner.audit_log().list(&filter, &PageRequest::default()).unwrap().items;
    let points: i64 = entries.iter().map(|entry| entry.changes["points"].as_i64().unwrap()).sum();
    assert_eq!((entries.len(), points), (3, 240));
    drop(owner);
    let again = world.db.delete_points_before(service(), workspace, None, at(240), 100, |_| {
        panic!("a report of nothing")
    });
    assert_eq!(again.unwrap(), 0);
}

#[test]
fn nobody_waits_longer_than_a_batch_takes() {
    let world = World::new();
    let kpi = hourly(&world, 1);
    // Six weeks of minutes.
    arrange(
        &world,
        &format!(
            "SET session_replication_role = replica; \
             INSERT INTO kpi_data_points (workspace_id, kpi_id, value, \"timestamp\") \
             SELECT '{}', '{kpi}', 1, '2027-01-01 00:00Z'::timestamptz + n * interval '1 minute' \
               FROM generate_series(1, 60000) AS n; ANALYZE kpi_data_points",
            world.a.workspace
        ),
    );
    let end = second(i64::from(i32::MAX));
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            let mut written = 0;
            while count(&mut member(&world, &world.a), &kpi) > 5000 {
                let started = Instant::now();
                let mut tenant = member(&world, &world.a);
                let late = NewDataPoint::new(
                    kpi.clone(),
                    2.0,
                    end.get() + chrono::TimeDelta::seconds(written),
                );
                tenant.data_points().record(&late.unwrap()).unwrap();
                tenant.commit().unwrap();
                longest = longest.max(started.elapsed());
                written += 1;
            }
            (longest, written)
        });
        let deleted = world.db.delete_points_before(
            &world.a.member,
            &world.a.workspace,
            Some(&kpi),
            end,
            3000,
            |_| std::thread::sleep(Duration::from_millis(5)),
        );
        assert_eq!(deleted.unwrap(), 60_001);
        let (longest, written) = writing.join().unwrap();
        assert!(written > 5, "{written}");
        // Far from the lock timeout, on a slow machine too.
        assert!(longest < Duration::from_secs(3), "{longest:?}");
    });
    let newest = member(&world, &world.a).kpis().find(&kpi).unwrap().unwrap();
    assert_eq!(newest.current_value, 2.0);
}
