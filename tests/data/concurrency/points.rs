//! The current value under concurrent writers of points.

use chrono::{DateTime, Utc};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use sesari_db::Error;
use sesari_db::id::{KpiId, WorkspaceId};
use sesari_db::repo::{NewDataPoint, NewKpi, OnExisting, PointKey};
use sesari_db::value::{Finite, Timestamp};

use super::stage::{insert_slowly, isolate, race, while_holding, world};
use crate::support::{World, hour};

fn point(kpi: &KpiId, hours: i64) -> NewDataPoint {
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    NewDataPoint::new(kpi.clone(), hours as f64, hour(hours)).unwrap()
}

fn key(kpi: &KpiId, hours: i64) -> PointKey {
    let timestamp = Timestamp::new(hour(hours)).unwrap();
    PointKey { kpi_id: kpi.clone(), timestamp, source: None }
}

/// A KPI with points at these hours, each of its hour's value.
fn kpi(world: &World, hours: &[i64]) -> KpiId {
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    let kpi = tenant.kpis().create(&NewKpi::new("Raced".parse().unwrap())).unwrap().id;
    let points: Vec<_> = hours.iter().map(|hours| point(&kpi, *hours)).collect();
    tenant.data_points().record_many(&points, OnExisting::Fail).unwrap();
    tenant.commit().unwrap();
    kpi
}

type Current = (f64, Option<DateTime<Utc>>);

/// What the KPI says, and what its points say.
fn current_and_newest(world: &World, workspace: &WorkspaceId, kpi: &KpiId) -> (Current, Current) {
    use sesari_db::schema::{kpi_data_points as points, kpis};
    let conn = &mut world.test.admin().unwrap();
    let current = kpis::table
        .find((workspace, kpi))
        .select((kpis::current_value, kpis::current_value_at))
        .first(conn)
        .unwrap();
    let newest = points::table
        .filter(points::workspace_id.eq(workspace))
        .filter(points::kpi_id.eq(kpi))
        .order((points::timestamp.desc(), points::source.desc()))
        .select((points::value, points::timestamp))
        .first::<(f64, DateTime<Utc>)>(conn)
        .optional()
        .unwrap();
    (current, newest.map_or((0.0, None), |(value, at)| (value, Some(at))))
}

fn assert_current(world: &World, kpi: &KpiId, case: &str) {
    let (current, newest) = current_and_newest(world, &world.a.workspace, kpi);
    assert_eq!(current, newest, "{case}");
}

#[test]
fn many_writers_of_new_and_late_points_leave_the_newest_value() {
    let world = world();
    let kpi = kpi(&world, &[]);
    let recorded = race(4, &world.db, |i, db, barrier| {
        barrier.wait();
        for step in 0..25_i64 {
            let mut tenant = db.tenant(&world.a.member, &world.a.workspace).unwrap();
            // Two threads go up, two come down; none writes another's hour.
            let hours = if i % 2 == 0 { step } else { 24 - step } * 4 + i64::try_from(i).unwrap();
            tenant.data_points().record(&point(&kpi, hours)).unwrap();
            tenant.commit().unwrap();
        }
    });
    assert_eq!(recorded.len(), 4);
    assert_current(&world, &kpi, "after all writers");
    let (current, _) = current_and_newest(&world, &world.a.workspace, &kpi);
    assert_eq!(current, (99.0, Some(hour(99))));
}

/// Opposite orders, overlapping points, values that differ: whatever the mode, batches queue.
#[test]
fn batches_over_the_same_kpis_in_opposite_order_never_deadlock() {
    let world = world();
    for existing in [OnExisting::Keep, OnExisting::Replace] {
        let kpis: Vec<_> = (0..6).map(|_| kpi(&world, &[0, 1, 2, 3])).collect();
        let errors: Vec<_> = race(4, &world.db, |i, db, barrier| {
            let offset = i64::try_from(i).unwrap();
            barrier.wait();
            for round in 0..15_i64 {
                let mut batch: Vec<_> = kpis
                    .iter()
                    .flat_map(|kpi| {
                        let mut own = point(kpi, offset);
                        own.value = Finite::new(f64::from(i32::try_from(round).unwrap())).unwrap();
                        [own, point(kpi, 4 + round), point(kpi, 100 + round * 4 + offset)]
                    })
                    .collect();
                if i % 2 == 1 {
                    batch.reverse();
                }
                let mut tenant = db.tenant(&world.a.member, &world.a.workspace).unwrap();
                tenant.data_points().record_many(&batch, existing)?;
                tenant.commit()?;
            }
            Ok::<_, Error>(())
        });
        assert!(errors.iter().all(Result::is_ok), "{existing:?}: {errors:?}");
        for kpi in &kpis {
            assert_current(&world, kpi, &format!("{existing:?}"));
        }
    }
}

#[test]
fn failing_batches_in_opposite_order_never_deadlock() {
    let world = world();
    let kpis: Vec<_> = (0..6).map(|_| kpi(&world, &[])).collect();
    let results: Vec<_> = race(4, &world.db, |i, db, barrier| {
        barrier.wait();
        for round in 0..15_i64 {
            let hours = round * 4 + i64::try_from(i).unwrap();
            let mut batch: Vec<_> = kpis.iter().map(|kpi| point(kpi, hours)).collect();
            if i % 2 == 1 {
                batch.reverse();
            }
            let mut tenant = db.tenant(&world.a.member, &world.a.workspace).unwrap();
            tenant.data_points().record_many(&batch, OnExisting::Fail)?;
            tenant.commit()?;
        }
        Ok::<_, Error>(())
    });
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    for kpi in &kpis {
        assert_current(&world, kpi, "after all batches");
    }
}

/// The same new points in opposite orders: each insert waits for the other's row of the same key.
#[test]
fn batches_of_the_same_points_in_opposite_order_never_deadlock() {
    let world = world();
    insert_slowly(&world, "kpi_data_points");
    for existing in [OnExisting::Keep, OnExisting::Replace, OnExisting::Fail] {
        let kpis: Vec<_> = (0..3).map(|_| kpi(&world, &[])).collect();
        for round in 0..4_i64 {
            let results = race(3, &world.db, |i, db, barrier| {
                let mut batch: Vec<_> = kpis
                    .iter()
                    .flat_map(|kpi| [point(kpi, round * 2), point(kpi, round * 2 + 1)])
                    .collect();
                if i % 2 == 1 {
                    batch.reverse();
                }
                let mut tenant = db.tenant(&world.a.member, &world.a.workspace).unwrap();
                barrier.wait();
                tenant.data_points().record_many(&batch, existing)?;
                tenant.commit()
            });
            let conflict = |r: &Result<(), Error>| matches!(r, Err(Error::Conflict { .. }));
            let conflicts = results.iter().filter(|result| conflict(result)).count();
            let succeeded = results.iter().filter(|result| result.is_ok()).count();
            let expected = if existing == OnExisting::Fail { (1, 2) } else { (3, 0) };
            assert_eq!((succeeded, conflicts), expected, "{existing:?}: {results:?}");
        }
        for kpi in &kpis {
            assert_current(&world, kpi, &format!("{existing:?}"));
        }
    }
}

/// A second step must not ask for more of the KPI than the first one held beside the other's.
#[test]
fn those_who_record_and_then_correct_points_of_one_kpi_queue() {
    let world = world();
    let kpi = kpi(&world, &[1, 2, 3]);
    for round in 0..15_i64 {
        let results = race(2, &world.db, |i, db, barrier| {
            let i = i64::try_from(i).unwrap();
            let value = Finite::new(f64::from(i32::try_from(round).unwrap())).unwrap();
            let mut tenant = db.tenant(&world.a.member, &world.a.workspace).unwrap();
            barrier.wait();
            // Older than the newest: these do not touch the current value.
            tenant.data_points().record(&point(&kpi, -1 - round * 2 - i))?;
            tenant.data_points().correct(&key(&kpi, 1 + i), value)?;
            tenant.commit()
        });
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        assert_current(&world, &kpi, "after both");
    }
}

#[test]
fn an_insert_that_races_the_deletion_of_the_newest_point_is_not_missed() {
    let world = world();
    for round in 0..40 {
        let kpi = kpi(&world, &[1, 10]);
        let results = race(2, &world.db, |i, db, barrier| {
            let mut tenant = db.tenant(&world.a.member, &world.a.workspace).unwrap();
            barrier.wait();
            if i == 0 {
                tenant.data_points().delete(&key(&kpi, 10))?;
            } else {
                // Late in one round, new in the next.
                tenant.data_points().record(&point(&kpi, if round % 2 == 0 { 5 } else { 20 }))?;
            }
            tenant.commit()
        });
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        assert_current(&world, &kpi, &format!("round {round}"));
    }
}

#[test]
fn a_deletion_waits_for_a_late_point_about_to_be_committed() {
    let world = world();
    let kpi = kpi(&world, &[1, 10]);
    let mut writer = world.db.tenant(&world.a.member, &world.a.workspace).unwrap();
    writer.data_points().record(&point(&kpi, 5)).unwrap();
    while_holding(&world, writer, || {
        let mut tenant = world.db.tenant(&world.a.admin, &world.a.workspace).unwrap();
        tenant.data_points().delete(&key(&kpi, 10)).unwrap();
        tenant.commit().unwrap();
    });
    let (current, _) = current_and_newest(&world, &world.a.workspace, &kpi);
    assert_eq!(current, (5.0, Some(hour(5))));
}

#[test]
fn a_late_point_waits_for_a_deletion_about_to_be_committed() {
    let world = world();
    let kpi = kpi(&world, &[1, 10]);
    let mut eraser = world.db.tenant(&world.a.member, &world.a.workspace).unwrap();
    eraser.data_points().delete(&key(&kpi, 10)).unwrap();
    while_holding(&world, eraser, || {
        let mut tenant = world.db.tenant(&world.a.admin, &world.a.workspace).unwrap();
        tenant.data_points().record(&point(&kpi, 5)).unwrap();
        tenant.commit().unwrap();
    });
    let (current, _) = current_and_newest(&world, &world.a.workspace, &kpi);
    assert_eq!(current, (5.0, Some(hour(5))));
}

/// A snapshot from before the other's commit shows neither its points nor their absence: then the
/// writer fails and can be run again, or gets it right.
#[test]
fn a_snapshot_from_before_never_leaves_a_wrong_value() {
    let world = world();
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        for (delete, other) in [(true, 5), (true, 20), (false, 5), (false, 20)] {
            let case = format!("{level}, delete {delete}, other point at {other}");
            let kpi = kpi(&world, &[1, 10]);
            let mut early = world.db.tenant(&world.a.member, &world.a.workspace).unwrap();
            isolate(&mut early, level);
            let mut tenant = world.db.tenant(&world.a.admin, &world.a.workspace).unwrap();
            tenant.data_points().record(&point(&kpi, other)).unwrap();
            tenant.commit().unwrap();
            let result = if delete {
                early.data_points().delete(&key(&kpi, 10))
            } else {
                early.data_points().record(&point(&kpi, 15)).map(|_| ())
            };
            match result.and_then(|()| early.commit()) {
                Ok(()) => {}
                Err(error) => assert!(error.is_retryable(), "{case}: {error:?}"),
            }
            assert_current(&world, &kpi, &case);
        }
    }
}

/// What the tests above would see if the current value were kept by a client that reads first.
#[test]
fn without_the_trigger_the_current_value_stays_behind() {
    let world = world();
    let kpi = kpi(&world, &[1, 10]);
    let admin = &mut world.test.admin().unwrap();
    admin.batch_execute("DROP TRIGGER kpi_data_points_follow_delete ON kpi_data_points").unwrap();
    let mut tenant = world.db.tenant(&world.a.member, &world.a.workspace).unwrap();
    tenant.data_points().delete(&key(&kpi, 10)).unwrap();
    tenant.commit().unwrap();
    let (current, newest) = current_and_newest(&world, &world.a.workspace, &kpi);
    assert_ne!(current, newest);
}
