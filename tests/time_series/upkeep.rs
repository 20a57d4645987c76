//! The rollups' upkeep: whatever a superuser spoils is named by `verify_rollups` and mended by
//! `rebuild_rollups`, while others write.
#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

use std::sync::atomic::{AtomicBool, Ordering};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use sesari_db::Error;
use sesari_db::PgConnection;
use sesari_db::id::KpiId;
use sesari_db::maintenance::{
    RollupDifference, RollupPart, RollupReport, rebuild_rollups, verify_rollups,
};
use sesari_db::repo::{NewDataPoint, NewKpi, OnExisting, PointKey};
use sesari_db::schema::kpi_rollups;

use crate::support::logins::Role;
use crate::support::{Tenant, World, hour};

/// What a superuser does with triggers off, whose rows the triggers would have kept.
fn spoil(world: &World, sql: &str) {
    let sql = sql
        .replace("{a}", world.a.kpi.as_str())
        .replace("{b}", world.b.kpi.as_str())
        .replace("{ws}", world.a.workspace.as_str());
    let off = "SET session_replication_role = replica";
    world.test.admin().unwrap().batch_execute(&format!("{off}; {sql}")).unwrap();
}

fn of(tenant: &Tenant, part: RollupPart) -> RollupDifference {
    let (workspace_id, kpi_id) = (tenant.workspace.clone(), tenant.kpi.clone());
    RollupDifference { workspace_id, kpi_id, part }
}

fn day(hours: i64) -> RollupPart {
    RollupPart::Day(hour(hours))
}

fn key_of(point: &NewDataPoint) -> PointKey {
    PointKey { kpi_id: point.kpi_id.clone(), timestamp: point.timestamp, source: None }
}

fn assert_clean(report: &RollupReport) {
    assert!(report.is_clean(), "{report:?}");
}

/// Verification finds this and nothing else, rebuilding says that it mends it, and then it is gone.
fn assert_mended(world: &World, expected: &[RollupDifference], case: &str) {
    let conn = &mut world.test.admin().unwrap();
    for report in [verify_rollups(conn, None).unwrap(), rebuild_rollups(conn, None).unwrap()] {
        assert_eq!(report.differences, expected, "{case}");
        assert_eq!((report.kpis, report.count), (2, expected.len() as u64), "{case}");
    }
    assert_clean(&verify_rollups(conn, None).unwrap());
    assert_clean(&rebuild_rollups(conn, None).unwrap());
}

/// Points on ten days, the values as the furniture's: ten more for each hour.
fn world() -> World {
    let world = World::new();
    for tenant in [&world.a, &world.b] {
        let mut guard = world.db.tenant(&tenant.owner, &tenant.workspace).unwrap();
        let points: Vec<_> = (1..10)
            .flat_map(|day| [24 * day, 24 * day + 5])
            .map(|hours| NewDataPoint::new(tenant.kpi.clone(), 0.1, hour(hours)).unwrap())
            .collect();
        guard.data_points().record_many(&points, OnExisting::Fail).unwrap();
        guard.commit().unwrap();
    }
    world
}

#[test]
fn what_the_triggers_keep_is_verified() {
    let world = world();
    let conn = &mut world.test.admin().unwrap();
    let report = verify_rollups(conn, None).unwrap();
    assert_clean(&report);
    assert_eq!(report.kpis, 2);
}

#[test]
fn what_was_spoilt_is_named_and_mended() {
    let world = world();
    let each = ["points", "sum", "min", "max", "first", "last"];
    for column in each {
        spoil(
            &world,
            &format!(
                "UPDATE kpi_rollups SET {column} = {column} + 1 \
                 WHERE kpi_id = '{{a}}' AND day = '2026-01-03Z'"
            ),
        );
        assert_mended(&world, &[of(&world.a, day(48))], column);
    }
    for (sql, differences) in [
        (
            "UPDATE kpi_rollups SET sum = NULL WHERE kpi_id = '{a}' AND day = '2026-01-02Z'",
            vec![day(24)],
        ),
        (
            "DELETE FROM kpi_rollups WHERE kpi_id = '{a}' AND day IN ('2026-01-02Z', '2026-01-05Z')",
            vec![day(24), day(96)],
        ),
        (
            "INSERT INTO kpi_rollups VALUES ('2026-02-01Z', 1, 1, 1, 1, 1, 1, '{ws}', '{a}')",
            vec![day(31 * 24)],
        ),
        ("UPDATE kpis SET current_value = 7 WHERE id = '{a}'", vec![RollupPart::CurrentValue]),
        (
            "UPDATE kpis SET current_value_at = NULL WHERE id = '{a}'",
            vec![RollupPart::CurrentValue],
        ),
        // Points that came and went without the triggers.
        (
            "INSERT INTO kpi_data_points VALUES ('2026-01-02 12:00Z', 1e300, '{ws}', '{a}', ''),
                                             ('2026-03-01Z', 5, '{ws}', '{a}', 'manual')",
            vec![day(24), day(59 * 24), RollupPart::CurrentValue],
        ),
        (
            "DELETE FROM kpi_data_points WHERE kpi_id = '{a}' AND timestamp >= '2026-01-03Z'",
            [2, 3, 4, 5, 6, 7, 8, 9, 59]
                .map(|n| day(24 * n))
                .into_iter()
                .chain([RollupPart::CurrentValue])
                .collect(),
        ),
        (
            "DELETE FROM kpi_data_points WHERE kpi_id = '{a}'",
            vec![day(0), day(24), RollupPart::CurrentValue],
        ),
    ] {
        spoil(&world, sql);
        let expected: Vec<_> = differences.into_iter().map(|part| of(&world.a, part)).collect();
        assert_mended(&world, &expected, sql);
    }
}

#[test]
fn a_workspace_alone_can_be_verified_and_mended() {
    let world = world();
    let conn = &mut world.test.admin().unwrap();
    spoil(&world, "DELETE FROM kpi_rollups WHERE day = '2026-01-03Z'");
    let (a, b) = (Some(&world.a.workspace), Some(&world.b.workspace));
    assert_eq!(verify_rollups(conn, a).unwrap().differences, [of(&world.a, day(48))]);
    assert_eq!(rebuild_rollups(conn, a).unwrap().differences, [of(&world.a, day(48))]);
    assert_clean(&verify_rollups(conn, a).unwrap());
    let rest = verify_rollups(conn, b).unwrap();
    assert_eq!((rest.kpis, rest.differences), (1, vec![of(&world.b, day(48))]));
}

#[test]
fn a_deleted_kpi_is_mended_too() {
    let world = world();
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    tenant.kpis().delete(&world.a.kpi).unwrap();
    tenant.commit().unwrap();
    spoil(&world, "DELETE FROM kpi_rollups WHERE kpi_id = '{a}' AND day = '2026-01-03Z'");
    assert_mended(&world, &[of(&world.a, day(48))], "deleted");
}

/// So many KPIs more in the first workspace, each with points on so many days.
fn record_days(world: &World, kpis: usize, days: i64) {
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    let kpis: Vec<KpiId> = (0..kpis)
        .map(|n| tenant.kpis().create(&NewKpi::new(format!("{n}").parse().unwrap())).unwrap().id)
        .collect();
    let at = |kpi: &KpiId, day| NewDataPoint::new(kpi.clone(), 1.0, hour(24 * day)).unwrap();
    let points: Vec<_> =
        kpis.iter().flat_map(|kpi| (0..days).map(move |day| at(kpi, day))).collect();
    tenant.data_points().record_many(&points, OnExisting::Fail).unwrap();
    tenant.commit().unwrap();
}

/// How many rows of the rollups and entries of their index the server has read so far.
fn rollups_read(conn: &mut PgConnection) -> i64 {
    let read = "(SELECT t.seq_tup_read + i.idx_tup_read FROM pg_stat_user_tables AS t \
                JOIN pg_stat_user_indexes AS i USING (relid) WHERE t.relname = 'kpi_rollups')";
    conn.batch_execute("SELECT pg_stat_force_next_flush(), pg_stat_clear_snapshot()").unwrap();
    crate::support::logins::value(conn, read).parse().unwrap()
}

/// Plans are made while the planner believes that there are no rollups. What is read must grow with
/// the rollups and not with their square.
#[test]
fn rebuilding_from_nothing_reads_no_rollup_of_another_kpi() {
    let world = world();
    record_days(&world, 100, 10);
    spoil(&world, "DELETE FROM kpi_rollups");
    let conn = &mut world.test.admin().unwrap();
    conn.batch_execute("VACUUM ANALYZE kpi_rollups").unwrap();
    let before = rollups_read(conn);
    assert_eq!(rebuild_rollups(conn, None).unwrap().count, 102 * 10);
    assert_clean(&verify_rollups(conn, None).unwrap());
    let read = rollups_read(conn) - before;
    assert!(read < 10 * 102 * 10, "{read} reads for {} rollups", 102 * 10);
}

/// Each batch goes on where the one before stopped.
#[test]
fn all_kpis_are_looked_at_and_a_report_is_bounded() {
    let world = world();
    record_days(&world, 250, 41);
    let conn = &mut world.test.admin().unwrap();
    assert_clean(&verify_rollups(conn, None).unwrap());
    spoil(&world, "UPDATE kpi_rollups SET sum = sum + 1");
    for report in [verify_rollups(conn, None).unwrap(), rebuild_rollups(conn, None).unwrap()] {
        assert_eq!((report.kpis, report.count), (252, 250 * 41 + 20));
        assert_eq!(report.differences.len(), RollupReport::MAX_DIFFERENCES);
    }
    assert_clean(&verify_rollups(conn, None).unwrap());
}

/// Writers of new, late and batched points and of deletions, while the rollups are spoilt, verified
/// and mended: nothing fails on either side, and in the end all is right.
#[test]
fn writers_go_on_meanwhile() {
    let world = world();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (world, done) = (&world, &done);
        let writers: Vec<_> = (0..2_i64)
            .map(|writer| {
                scope.spawn(move || {
                    let mut round = 0;
                    while !done.load(Ordering::Relaxed) {
                        round += 1;
                        let mut tenant =
                            world.db.tenant(&world.a.member, &world.a.workspace).unwrap();
                        let at = |hours: i64| {
                            let at = hour(hours) + chrono::TimeDelta::minutes(10 * writer + 1);
                            NewDataPoint::new(world.a.kpi.clone(), 0.1, at).unwrap()
                        };
                        tenant.data_points().record(&at(1000 + round)).unwrap();
                        tenant.data_points().record(&at(-round)).unwrap();
                        let batch: Vec<_> = (0..20).map(|n| at(n * 7 + round)).collect();
                        tenant.data_points().record_many(&batch, OnExisting::Replace).unwrap();
                        let key = key_of(&at(-round));
                        tenant.data_points().delete(&key).unwrap();
                        tenant.commit().unwrap();
                    }
                    round
                })
            })
            .collect();
        let conn = &mut world.test.admin().unwrap();
        for round in 0..15 {
            spoil(world, "UPDATE kpi_rollups SET sum = sum + 1 WHERE kpi_id = '{b}'");
            let report = verify_rollups(conn, None).unwrap();
            assert!(report.differences.iter().all(|d| d.kpi_id == world.b.kpi), "{report:?}");
            assert_eq!(report.count, 10, "{round}");
            spoil(
                world,
                "UPDATE kpi_rollups SET max = max + 1 WHERE kpi_id = '{a}' AND day < '2026-01-02Z'",
            );
            rebuild_rollups(conn, None).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        for writer in writers {
            assert!(writer.join().unwrap() > 1);
        }
        assert_clean(&verify_rollups(conn, None).unwrap());
    });
}

#[test]
fn a_kpi_that_is_right_is_neither_locked_nor_written() {
    let world = world();
    let conn = &mut world.test.admin().unwrap();
    let mut writer = world.db.tenant(&world.a.member, &world.a.workspace).unwrap();
    let point = NewDataPoint::new(world.a.kpi.clone(), 1.0, hour(5000)).unwrap();
    writer.data_points().record(&point).unwrap();
    conn.batch_execute("SET lock_timeout = '1s'").unwrap();
    assert_clean(&rebuild_rollups(conn, None).unwrap());
    spoil(&world, "UPDATE kpi_rollups SET sum = sum + 1 WHERE kpi_id = '{b}'");
    assert_eq!(rebuild_rollups(conn, None).unwrap().count, 10);
    writer.commit().unwrap();
    let rows: i64 = kpi_rollups::table
        .filter(kpi_rollups::kpi_id.eq(&world.a.kpi))
        .count()
        .get_result(conn)
        .unwrap();
    assert_eq!(rows, 11);
}

#[test]
fn no_login_of_a_service_may() {
    let world = world();
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    let refused = verify_rollups(tenant.connection(), None).unwrap_err();
    assert!(refused.is_denied(), "{refused:?}");
    drop(tenant);
    let mut service = world.db.service(&crate::support::service()).unwrap();
    let refused = rebuild_rollups(service.connection(), None).unwrap_err();
    assert!(matches!(refused, Error::Denied), "{refused:?}");
}

#[test]
fn whoever_owns_the_schema_may_without_being_a_superuser() {
    let world = world();
    spoil(&world, "DELETE FROM kpi_rollups WHERE day = '2026-01-03Z'");
    let deployer = Role::new(&world.test, "deployer", "LOGIN");
    let grant = format!("GRANT sesari_owner TO {deployer}");
    world.test.admin().unwrap().batch_execute(&grant).unwrap();
    let conn = &mut deployer.connect();
    assert_eq!(verify_rollups(conn, None).unwrap().count, 2);
    assert_eq!(rebuild_rollups(conn, None).unwrap().count, 2);
    assert_clean(&verify_rollups(conn, None).unwrap());
}
