//! `kpi_data_points`: the history.

use chrono::{DateTime, Utc};
use sesari_db::Error;
use sesari_db::id::KpiId;
use sesari_db::repo::{NewDataPoint, NewKpi, OnExisting, PointKey, Recorded, TimeRange};
use sesari_db::value::{Finite, Source, Timestamp};

use super::tools::{assert_conflict, assert_missing, parse, walk};
use crate::support::{World, hour};

pub(crate) fn at(hours: i64) -> Timestamp {
    Timestamp::new(hour(hours)).unwrap()
}

pub(crate) fn point(kpi: &KpiId, hours: i64, value: f64) -> NewDataPoint {
    NewDataPoint::new(kpi.clone(), value, hour(hours)).unwrap()
}

pub(crate) fn key(kpi: &KpiId, hours: i64, source: Option<&str>) -> PointKey {
    PointKey { kpi_id: kpi.clone(), timestamp: at(hours), source: source.map(parse::<Source>) }
}

fn span(from: i64, to: i64) -> TimeRange {
    TimeRange::new(at(from), at(to)).unwrap()
}

/// Without collisions.
fn recorded(inserted: usize, replaced: usize, kept: usize) -> Recorded {
    Recorded { inserted, replaced, kept, ..Recorded::default() }
}

fn collided(mut recorded: Recorded, collisions: &[usize]) -> Recorded {
    recorded.collided = collisions.len();
    recorded.collisions = collisions.into();
    recorded
}

#[test]
fn a_point_is_recorded_found_corrected_and_deleted() {
    let world = World::shared();
    let mut tenant = world.as_member(&world.a);
    let kpi = &world.a.kpi;
    let new = point(kpi, 7, 70.0).from_source(parse("stripe"));
    let stored = tenant.data_points().record(&new).unwrap();
    assert_eq!(&stored.kpi_id, kpi);
    assert_eq!((stored.value, stored.timestamp.get()), (70.0, hour(7)));
    assert_eq!((&stored.workspace_id, &stored.source), (&world.a.workspace, &new.source));
    let mut points = tenant.data_points();
    let own = key(kpi, 7, Some("stripe"));
    assert_eq!(points.find(&own).unwrap().as_ref(), Some(&stored));
    assert_eq!(points.find(&key(kpi, 7, None)).unwrap(), None, "no source is one of its own");
    let corrected = points.correct(&own, Finite::new(71.0).unwrap()).unwrap();
    assert_eq!((corrected.timestamp, corrected.value), (stored.timestamp, 71.0));
    points.delete(&own).unwrap();
    assert_eq!(points.find(&own).unwrap(), None);
    assert_missing(points.delete(&own), "data point");
    assert_missing(points.correct(&own, Finite::new(1.0).unwrap()), "data point");
}

#[test]
fn moment_and_source_are_taken_once() {
    let world = World::shared();
    let mut tenant = world.as_member(&world.a);
    let kpi = &world.a.kpi;
    for new in [point(kpi, 1, 5.0), point(kpi, 9, 5.0).from_source(parse("sheets"))] {
        if new.source.is_some() {
            tenant.data_points().record(&new).unwrap();
        }
        let result = tenant.transaction(|tenant| tenant.data_points().record(&new));
        assert_conflict(result, "kpi_data_points_pkey");
    }
}

#[test]
fn a_batch_counts_what_became_of_each_point() {
    let world = World::shared();
    let kpi = &world.a.kpi;
    // The furniture has 10, 20 and 30 at the hours 0, 1 and 2. Unsorted, with duplicates.
    let batch = [
        point(kpi, 5, 1.0),
        point(kpi, 1, 20.0),
        point(kpi, 4, 2.0),
        point(kpi, 5, 3.0),
        point(kpi, 0, 11.0),
        point(kpi, 5, 4.0).from_source(parse("sheets")),
    ];
    let values = |tenant: &mut sesari_db::TenantConnection| -> Vec<(i64, f64)> {
        let page = super::tools::page(100);
        let range = tenant.data_points().range(kpi, span(-9, 99), &page).unwrap();
        range
            .items
            .iter()
            .map(|point| ((point.timestamp.get() - hour(0)).num_hours(), point.value))
            .collect()
    };
    let sorted = |mut values: Vec<(i64, f64)>| {
        values.sort_by(|one, other| one.partial_cmp(other).unwrap());
        values
    };

    let mut tenant = world.as_member(&world.a);
    let kept = tenant.data_points().record_many(&batch, OnExisting::Keep).unwrap();
    assert_eq!(kept, collided(recorded(3, 0, 3), &[3, 4]));
    let expected = vec![(0, 10.0), (1, 20.0), (2, 30.0), (4, 2.0), (5, 1.0), (5, 4.0)];
    assert_eq!(sorted(values(&mut tenant)), expected, "the first of a batch counts");
    let kept = tenant.data_points().record_many(&batch, OnExisting::Keep).unwrap();
    assert_eq!(kept, collided(recorded(0, 0, 6), &[3, 4]));
    drop(tenant);

    let mut tenant = world.as_member(&world.a);
    let replaced = tenant.data_points().record_many(&batch, OnExisting::Replace).unwrap();
    let expected = collided(recorded(3, 1, 2), &[0]);
    assert_eq!(replaced, expected, "one of the same value, one overtaken by another");
    let expected = vec![(0, 11.0), (1, 20.0), (2, 30.0), (4, 2.0), (5, 3.0), (5, 4.0)];
    assert_eq!(sorted(values(&mut tenant)), expected, "the last of a batch counts");
    let replaced = tenant.data_points().record_many(&batch, OnExisting::Replace).unwrap();
    assert_eq!(replaced, collided(recorded(0, 0, 6), &[0]));
    drop(tenant);

    let mut tenant = world.as_member(&world.a);
    let failed =
        tenant.transaction(|tenant| tenant.data_points().record_many(&batch, OnExisting::Fail));
    assert_conflict(failed, "kpi_data_points_pkey");
    assert_eq!(values(&mut tenant), [(0, 10.0), (1, 20.0), (2, 30.0)]);
    let new = [point(kpi, 9, 9.0), point(kpi, 8, 8.0)];
    let all = tenant.data_points().record_many(&new, OnExisting::Fail).unwrap();
    assert_eq!(all, recorded(2, 0, 0));
    for mode in [OnExisting::Keep, OnExisting::Replace, OnExisting::Fail] {
        assert_eq!(tenant.data_points().record_many(&[], mode).unwrap(), recorded(0, 0, 0));
    }
}

#[test]
fn a_hundred_thousand_points_are_one_batch() {
    let world = World::shared();
    let mut tenant = world.as_member(&world.a);
    let kpi = tenant.kpis().create(&NewKpi::new(parse("Large"))).unwrap().id;
    let batch: Vec<_> = (0..100_000).map(|i| point(&kpi, (i * 7919) % 100_000, 1.0)).collect();
    let mut points = tenant.data_points();
    assert_eq!(points.record_many(&batch, OnExisting::Fail).unwrap(), recorded(100_000, 0, 0));
    assert_eq!(points.count(&kpi, span(0, 100_000)).unwrap(), 100_000);
    assert_eq!(points.count(&kpi, span(0, 99_999)).unwrap(), 99_999);
    let kept = points.record_many(&batch, OnExisting::Keep).unwrap();
    assert_eq!(kept, recorded(0, 0, 100_000));
    let newest = tenant.kpis().find(&kpi).unwrap().unwrap().current_value_at;
    assert_eq!(newest, Some(hour(99_999)));
}

#[test]
fn a_batch_that_names_one_wrong_kpi_fails_whole() {
    let world = World::shared();
    let mut tenant = world.as_member(&world.a);
    let deleted = tenant.kpis().create(&NewKpi::new(parse("Deleted"))).unwrap().id;
    tenant.data_points().record(&point(&deleted, 0, 1.0)).unwrap();
    tenant.kpis().delete(&deleted).unwrap();
    for wrong in [deleted, world.b.kpi.clone(), KpiId::generate()] {
        for mode in [OnExisting::Keep, OnExisting::Replace, OnExisting::Fail] {
            let batch = [
                point(&world.a.kpi, 50, 1.0),
                point(&wrong, 50, 1.0),
                point(&world.a.kpi, 51, 1.0),
            ];
            let result =
                tenant.transaction(|tenant| tenant.data_points().record_many(&batch, mode));
            assert_missing(result, "kpi");
        }
    }
    assert_eq!(tenant.data_points().count(&world.a.kpi, span(50, 60)).unwrap(), 0);
    tenant.commit().unwrap();
    assert_eq!(world.rows(&format!("kpi_data_points WHERE kpi_id = '{}'", world.b.kpi)), 3);
}

#[test]
fn numbers_and_times_beyond_reason_are_refused_before_the_database() {
    let kpi = KpiId::generate();
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(NewDataPoint::new(kpi.clone(), value, hour(0)).unwrap_err().field(), "value");
    }
    for moment in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
        assert_eq!(NewDataPoint::new(kpi.clone(), 1.0, moment).unwrap_err().field(), "timestamp");
    }
    assert!(TimeRange::new(at(1), at(0)).is_err());
}

#[test]
fn the_ends_of_the_range_of_times_and_numbers_are_stored_as_they_are() {
    let world = World::shared();
    let mut tenant = world.as_member(&world.a);
    let ends: [DateTime<Utc>; 2] =
        [parse("0001-01-01T00:00:00Z"), parse("9999-12-31T23:59:59.999Z")];
    for (moment, value) in ends.into_iter().zip([f64::MAX, 5e-324]) {
        let new = NewDataPoint::new(world.a.kpi.clone(), value, moment).unwrap();
        let stored = tenant.data_points().record(&new).unwrap();
        assert_eq!((stored.timestamp.get(), stored.value.to_bits()), (moment, value.to_bits()));
    }
    let finer: DateTime<Utc> = parse("2026-06-01T00:00:00.123456789Z");
    let new = NewDataPoint::new(world.a.kpi.clone(), 1.0, finer).unwrap();
    let stored = tenant.data_points().record(&new).unwrap();
    assert_eq!(stored.timestamp, new.timestamp);
}

#[test]
fn a_range_has_its_start_and_not_its_end_and_pages_give_each_point_once() {
    let world = World::shared();
    let mut tenant = world.as_member(&world.a);
    let kpi = tenant.kpis().create(&NewKpi::new(parse("Ranged"))).unwrap().id;
    let sources = [None, Some("manual"), Some("sheets")];
    let batch: Vec<_> = (0..30)
        .map(|i| NewDataPoint {
            source: sources[i % 3].map(parse),
            ..point(&kpi, i64::try_from(i / 3).unwrap(), 1.0)
        })
        .collect();
    tenant.data_points().record_many(&batch, OnExisting::Fail).unwrap();
    for (from, to) in [(0, 10), (3, 5), (3, 3), (-5, 1), (9, 99), (20, 30)] {
        let mut expected: Vec<_> = batch
            .iter()
            .filter(|point| (hour(from)..hour(to)).contains(&point.timestamp.get()))
            .map(|point| (point.timestamp.get(), point.source.clone()))
            .collect();
        expected.sort();
        for limit in [1, 2, 4, 30, 31] {
            let range = span(from, to);
            let read = walk(limit, |page| tenant.data_points().range(&kpi, range, page));
            let read: Vec<_> =
                read.into_iter().map(|point| (point.timestamp.get(), point.source)).collect();
            assert_eq!(read, expected, "{from} to {to}");
        }
        let count = tenant.data_points().count(&kpi, span(from, to)).unwrap();
        assert_eq!(count, i64::try_from(expected.len()).unwrap());
    }
}

#[test]
fn of_several_newest_points_the_last_source_by_name_is_latest() {
    let world = World::shared();
    let mut tenant = world.as_member(&world.a);
    let other = tenant.kpis().create(&NewKpi::new(parse("Other"))).unwrap().id;
    let empty = tenant.kpis().create(&NewKpi::new(parse("Empty"))).unwrap().id;
    let mut points = tenant.data_points();
    assert_eq!(points.latest(&empty).unwrap(), None);
    for (source, value) in [("manual", 1.0), ("stripe", 3.0), ("sheets", 2.0)] {
        points.record(&point(&other, 0, value).from_source(parse(source))).unwrap();
    }
    assert_eq!(points.latest(&other).unwrap().unwrap().value, 3.0);
    points.record(&point(&other, 0, 4.0)).unwrap();
    assert_eq!(points.latest(&other).unwrap().unwrap().value, 3.0);
    let asked =
        [&other, &empty, &world.a.kpi, &world.b.kpi, &other, &KpiId::generate()].map(Clone::clone);
    let latest = points.latest_of_many(&asked).unwrap();
    let mut expected = [(other, 3.0), (world.a.kpi.clone(), 30.0)];
    expected.sort_by(|one, another| one.0.cmp(&another.0));
    assert_eq!(
        latest.into_iter().map(|point| (point.kpi_id, point.value)).collect::<Vec<_>>(),
        expected
    );
    assert!(points.latest_of_many(&[]).unwrap().is_empty());
}

#[test]
fn a_point_of_a_deleted_kpi_can_be_deleted_and_not_corrected() {
    let world = World::shared();
    let mut tenant = world.as_member(&world.a);
    let kpi = &world.a.kpi;
    tenant.kpis().delete(kpi).unwrap();
    let corrected = tenant.transaction(|tenant| {
        tenant.data_points().correct(&key(kpi, 2, None), Finite::new(1.0)?).map(|_| ())
    });
    assert!(matches!(corrected, Err(Error::NotFound { .. })), "{corrected:?}");
    tenant.data_points().delete(&key(kpi, 2, None)).unwrap();
    assert_eq!(tenant.kpis().restore(kpi).unwrap().current_value, 20.0);
}
