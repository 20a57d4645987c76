//! Rollups by the days of a workspace's zone: that series take them from there, and that a change of the
//! zone is caught up with while everything goes on.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Text, Timestamptz};
use sesari_db::Database;
use sesari_db::id::KpiId;
use sesari_db::maintenance::{RollupPart, rebuild_rollups, verify_rollups, verify_time_zones};
use sesari_db::page::PageRequest;
use sesari_db::repo::{AuditFilter, NewDataPoint, NewKpi, OnExisting, SeriesQuery, TimeRange};
use sesari_db::schema::workspaces;
use sesari_db::series::{Grid, Series, Step, Unit, Zone};
use sesari_db::value::{TimeZone, Timestamp};

use super::{long, range};
use crate::support::{Tenant, World};

fn zone(name: &str) -> Zone {
    name.parse().unwrap()
}

fn change_zone(db: &Database, tenant: &Tenant, to: &str) {
    let mut guard = db.tenant(&tenant.admin, &tenant.workspace).unwrap();
    guard.workspace().change_time_zone(zone(to)).unwrap();
    guard.commit().unwrap();
}

fn year() -> TimeRange {
    range("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z")
}

/// KPIs with a point every seven hours of a year and some more.
fn record(world: &World, kpis: usize) -> Vec<KpiId> {
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    let start: DateTime<Utc> = "2025-12-20T00:30:00Z".parse().unwrap();
    let mut ids = Vec::new();
    for n in 0..kpis {
        let new = NewKpi::new(format!("Every seven hours {n}").parse().unwrap());
        let kpi = tenant.kpis().create(&new).unwrap().id;
        let points: Vec<_> = (0..1300)
            .map(|i| {
                let at = start + TimeDelta::hours(7 * i);
                NewDataPoint::new(kpi.clone(), f64::from(i32::try_from(i % 50).unwrap()), at)
            })
            .collect::<Result<_, _>>()
            .unwrap();
        tenant.data_points().record_many(&points, OnExisting::Fail).unwrap();
        ids.push(kpi);
    }
    tenant.commit().unwrap();
    ids
}

fn read(db: &Database, tenant: &Tenant, kpis: &[KpiId], grid: Grid) -> [Vec<Series>; 2] {
    let mut guard = db.tenant(&tenant.member, &tenant.workspace).unwrap();
    let query = SeriesQuery::new(grid);
    let alone = guard.series().read(kpis, &query.clone().from_points_alone()).unwrap();
    [guard.series().read(kpis, &query).unwrap(), alone]
}

fn grid(db: &Database, tenant: &Tenant, unit: Unit) -> Grid {
    let mut guard = db.tenant(&tenant.member, &tenant.workspace).unwrap();
    guard.series().whole_grid(year(), unit).unwrap()
}

/// What a superuser adds to the sums of rollups shows in whatever was read from there.
fn mark_rollups(world: &World) {
    let sql = "SET session_replication_role = replica; UPDATE kpi_rollups SET sum = sum + 1e6";
    world.test.admin().unwrap().batch_execute(sql).unwrap();
}

/// How many rollups a bucket was read from.
fn marks(read: &[Vec<Series>; 2], bucket: usize) -> f64 {
    let sum = |series: &[Series]| series[0].buckets[bucket].summary.unwrap().sum.unwrap();
    (sum(&read[0]) - sum(&read[1])) / 1e6
}

#[test]
fn whole_periods_of_the_workspaces_zone_are_read_from_rollups() {
    let world = World::new();
    for name in ["Europe/Berlin", "Asia/Kathmandu", "America/St_Johns", "Pacific/Apia"] {
        change_zone(&world.db, &world.a, name);
        let kpis = record(&world, 1);
        mark_rollups(&world);
        for (unit, of_a_bucket) in [
            (Unit::Day, 1..=1),
            (Unit::Week, 7..=7),
            (Unit::Month, 28..=31),
            (Unit::Year, 365..=365),
        ] {
            let grid = grid(&world.db, &world.a, unit);
            assert_eq!(grid.step(), Step::Calendar(unit, zone(name)));
            let read = read(&world.db, &world.a, &kpis, grid.clone());
            // The last year is the second: it began at the end of 2026 in UTC.
            for bucket in 1..grid.len() - 1 {
                let marks = marks(&read, bucket);
                assert!(
                    of_a_bucket.clone().any(|days| f64::from(days) == marks),
                    "{marks} rollups in bucket {bucket} by {unit:?} in {name}"
                );
            }
        }
    }
}

/// A report in another zone has the whole days of the workspace's within its buckets from rollups.
#[test]
fn weeks_of_another_zone_take_the_days_that_lie_within() {
    let world = World::new();
    change_zone(&world.db, &world.a, "Europe/Berlin");
    let kpis = record(&world, 1);
    mark_rollups(&world);
    let weeks = Grid::whole(year(), Step::week(zone("America/New_York"))).unwrap();
    let of_weeks = read(&world.db, &world.a, &kpis, weeks);
    assert_eq!([10, 20, 40].map(|week| marks(&of_weeks, week)), [6.0; 3]);
    let days = Grid::whole(year(), Step::day(zone("America/New_York"))).unwrap();
    let [read, points] = read(&world.db, &world.a, &kpis, days);
    assert_eq!(read, points);
}

#[test]
fn a_change_of_the_zone_is_caught_up_with_in_batches() {
    let world = World::new();
    let kpis = record(&world, 3);
    change_zone(&world.db, &world.a, "Europe/Berlin");
    let days = grid(&world.db, &world.a, Unit::Day);
    let check = |step: &str| {
        let [read, points] = read(&world.db, &world.a, &kpis, days.clone());
        assert_eq!(read, points, "{step}");
    };
    check("before");
    let conn = &mut world.test.admin().unwrap();
    let report = verify_rollups(conn, Some(&world.a.workspace)).unwrap();
    // Those of three KPIs, and the two of the furniture.
    assert!(report.differences.iter().all(|d| matches!(d.part, RollupPart::Moved(_))));
    assert_eq!(report.count, 3 * 379 + 1);

    // Interrupted after three batches.
    let mut progress = Vec::new();
    let interrupted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        world.db.rezone_rollups(&world.a.member, &world.a.workspace, 100, |so_far| {
            check("between batches");
            progress.push(so_far);
            assert!(progress.len() < 3, "interrupted");
        })
    }));
    assert!(interrupted.is_err());
    assert_eq!(progress.iter().map(|p| p.rollups).collect::<Vec<_>>(), [100, 200, 300]);
    assert!(progress[2].rezoned > 250, "{progress:?}");
    check("after an interruption");
    let left = verify_rollups(conn, Some(&world.a.workspace)).unwrap().count;
    assert!(left > 0 && left < 3 * 379 - 250, "{left}");
    let done = world
        .db
        .rezone_rollups(&world.a.admin, &world.a.workspace, 500, |_| check("again"))
        .unwrap();
    // What a batch cut of the next rollup may lie in a day that is made with it.
    assert!(done.rezoned + 5 > left && done.rollups + 5 > done.total, "{done:?} {left}");
    assert!(verify_rollups(conn, None).unwrap().is_clean());
    check("after");
    // Nothing is left to do, and the other workspace's were left alone.
    let again = world.db.rezone_rollups(&world.a.owner, &world.a.workspace, 500, |_| {}).unwrap();
    assert_eq!(again.rezoned, 0);
    for batch in [0, 10_001] {
        let refused = world.db.rezone_rollups(&world.a.owner, &world.a.workspace, batch, |_| {});
        assert_eq!(refused.unwrap_err().kind(), "invalid");
    }
}

#[test]
fn an_operator_catches_up_with_a_change_of_the_zone_too() {
    let world = World::new();
    record(&world, 2);
    change_zone(&world.db, &world.a, "Asia/Kathmandu");
    let conn = &mut world.test.admin().unwrap();
    let found = verify_rollups(conn, None).unwrap();
    assert!(found.count > 700);
    assert_eq!(rebuild_rollups(conn, None).unwrap(), found);
    assert!(verify_rollups(conn, None).unwrap().is_clean());
}

/// Writers and readers while the zone changes again and again and rollups are made anew: nobody fails,
/// what is read is what the points say, and in the end all is right.
#[test]
fn writers_and_readers_go_on_while_the_zone_changes() {
    let world = World::new();
    let kpis = record(&world, 2);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (world, kpis, done) = (&world, &kpis, &done);
        let writer = scope.spawn(move || {
            let start: DateTime<Utc> = "2026-03-01T00:00:00Z".parse().unwrap();
            let mut round = 0;
            while !done.load(Ordering::Relaxed) {
                round += 1;
                let mut tenant = world.db.tenant(&world.a.member, &world.a.workspace).unwrap();
                let point = |hours| {
                    let at = start + TimeDelta::hours(hours) + TimeDelta::minutes(round);
                    NewDataPoint::new(kpis[0].clone(), 1.0, at).unwrap()
                };
                tenant.data_points().record(&point(9000 + round)).unwrap();
                let batch: Vec<_> = (0..30).map(|n| point(50 * n)).collect();
                tenant.data_points().record_many(&batch, OnExisting::Replace).unwrap();
                let before = Timestamp::new(start - TimeDelta::days(70) + TimeDelta::hours(round));
                let deleted =
                    tenant.data_points().delete_before(Some(&kpis[0]), before.unwrap(), 20);
                deleted.unwrap();
                tenant.commit().unwrap();
            }
            round
        });
        let reader = scope.spawn(move || {
            let mut round = 0;
            while !done.load(Ordering::Relaxed) {
                round += 1;
                let unit = [Unit::Day, Unit::Week, Unit::Month][round % 3];
                let days = grid(&world.db, &world.a, unit);
                // Nobody writes to this one.
                let [read, points] = read(&world.db, &world.a, &kpis[1..], days);
                assert_eq!(read, points);
            }
            round
        });
        for name in ["Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Apia"] {
            change_zone(&world.db, &world.a, name);
            world.db.rezone_rollups(&world.a.admin, &world.a.workspace, 150, |_| {}).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        assert!(writer.join().unwrap() > 1);
        assert!(reader.join().unwrap() > 1);
    });
    let conn = &mut world.test.admin().unwrap();
    let report = verify_rollups(conn, None).unwrap();
    assert!(
        report.differences.iter().all(|d| matches!(d.part, RollupPart::Moved(_))),
        "{report:?}"
    );
    world.db.rezone_rollups(&world.a.admin, &world.a.workspace, 1000, |_| {}).unwrap();
    assert!(verify_rollups(conn, None).unwrap().is_clean());
}

#[derive(QueryableByName)]
struct Wrong {
    #[diesel(sql_type = BigInt)]
    days: i64,
}

/// The server's days are the grid's, around every change of every zone of which they have the same rules.
#[test]
fn the_servers_days_are_those_of_the_grid() {
    let world = World::new();
    let conn = &mut world.test.admin().unwrap();
    let differing = verify_time_zones(conn, Zone::all()).unwrap();
    let differing: HashSet<_> = differing.iter().map(|difference| difference.zone).collect();
    assert!(differing.len() < 30, "the server's time zone database is another: {differing:?}");
    let (from, to) = if long() { (1970, 2037) } else { (2005, 2028) };
    for zone in Zone::all().filter(|zone| !differing.contains(zone)) {
        let mut starts: Vec<DateTime<Utc>> = Vec::new();
        let mut ends: Vec<DateTime<Utc>> = Vec::new();
        for year in from..to {
            let all =
                range(&format!("{year}-01-02T00:00:00Z"), &format!("{}-01-02T00:00:00Z", year + 1));
            let days = Grid::whole(all, Step::day(zone)).unwrap();
            for pair in days.edges().windows(2) {
                let (start, end) = (pair[0].get(), pair[1].get());
                // Days of another length, their neighbours, and one of each month.
                if end - start != TimeDelta::days(1) || start.day() == 15 {
                    starts.push(start);
                    ends.push(end);
                }
            }
        }
        let wrong: Wrong = diesel::sql_query(
            "SELECT count(*) AS days FROM unnest($1, $2) AS d (day, day_end) \
             CROSS JOIN LATERAL unnest(ARRAY[d.day, d.day + (d.day_end - d.day) / 2, \
                                             d.day_end - interval '1 microsecond']) AS m (moment) \
             CROSS JOIN LATERAL sesari.day_of($3, m.moment) AS s \
             WHERE (s.day, s.day_end) <> (d.day, d.day_end)",
        )
        .bind::<Array<Timestamptz>, _>(&starts)
        .bind::<Array<Timestamptz>, _>(&ends)
        .bind::<Text, _>(zone.name())
        .get_result(conn)
        .unwrap();
        assert_eq!(wrong.days, 0, "{zone}");
    }
}

/// Where the server has other rules than the crate, what is read is what the points say.
#[test]
fn days_of_other_rules_are_read_past() {
    let world = World::new();
    change_zone(&world.db, &world.a, "Europe/Berlin");
    let kpis = record(&world, 1);
    // As if the server's Berlin had had no summer time: its rollups of those days are an hour later.
    let conn = &mut world.test.admin().unwrap();
    change_zone(&world.db, &world.a, "Africa/Algiers");
    world.db.rezone_rollups(&world.a.admin, &world.a.workspace, 1000, |_| {}).unwrap();
    let sql = "SET session_replication_role = replica; \
               UPDATE workspaces SET time_zone = 'Europe/Berlin' WHERE time_zone <> 'Etc/UTC'";
    conn.batch_execute(sql).unwrap();
    for unit in [Unit::Day, Unit::Week, Unit::Month] {
        let days = grid(&world.db, &world.a, unit);
        let [read, points] = read(&world.db, &world.a, &kpis, days);
        assert_eq!(read, points);
    }
    let moved = verify_rollups(conn, None).unwrap();
    assert!(moved.count > 200 && moved.count < 240, "{}", moved.count);
    assert!(moved.differences.iter().all(|d| matches!(d.part, RollupPart::Moved(_))));
}

/// Spelt as in the database of zones, which both have; and for owners and admins.
#[test]
fn the_zone_is_checked_by_both_and_changed_by_admins() {
    let world = World::shared();
    for name in [
        "",
        "europe/berlin",
        "Berlin",
        "CEST",
        "UTC+3",
        "<+03>-3",
        "localtime",
        "posixrules",
        "posix/Europe/Berlin",
        "right/Europe/Berlin",
        "Factory",
        "Europe/Berlin ",
        "Mars/Olympus",
    ] {
        let refused = name.parse::<TimeZone>().err().map(|invalid| invalid.field().to_owned());
        // Not a zone to live in, and the crate may have it.
        assert!(refused.as_deref() == Some("time_zone") || name == "Factory", "{name}");
        let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
        let update = diesel::update(workspaces::table).set(workspaces::time_zone.eq(name));
        let refused = sesari_db::Error::from(update.execute(tenant.connection()).unwrap_err());
        assert_eq!(refused.to_string(), "invalid time_zone: refused by the database", "{name}");
    }
    let mut member = world.db.tenant(&world.a.member, &world.a.workspace).unwrap();
    assert_eq!(member.series().grid(year(), Unit::Year).unwrap().len(), 1);
    let refused = member.workspace().change_time_zone(zone("Europe/Berlin")).unwrap_err();
    assert!(refused.is_not_found());
    drop(member);
    change_zone(&world.db, &world.a, "Europe/Berlin");
    let mut admin = world.db.tenant(&world.a.admin, &world.a.workspace).unwrap();
    assert_eq!(admin.workspace().find().unwrap().unwrap().time_zone.as_str(), "Europe/Berlin");
    let log = admin.audit_log().list(&AuditFilter::default(), &PageRequest::default()).unwrap();
    let change =
        &log.items.iter().find(|entry| entry.action == "workspace.update").unwrap().changes;
    assert_eq!(change["time_zone"], serde_json::json!({"old": "Etc/UTC", "new": "Europe/Berlin"}));
    let mut stranger = world.db.tenant(&world.stranger, &world.a.workspace).unwrap();
    assert!(stranger.series().grid(year(), Unit::Day).unwrap_err().is_not_found());
}

/// A name that this crate does not know hides nothing but the workspace's own grid.
#[test]
fn a_zone_that_is_not_known_yet_is_read_as_such() {
    let world = World::new();
    let sql =
        "SET session_replication_role = replica; UPDATE workspaces SET time_zone = 'Mars/Olympus'";
    world.test.admin().unwrap().batch_execute(sql).unwrap();
    let mut user = world.db.user(&world.a.owner).unwrap();
    let mine = user.my_workspaces().list(&PageRequest::default()).unwrap();
    assert_eq!(mine.items[0].workspace.time_zone, TimeZone::Unknown("Mars/Olympus".to_owned()));
    drop(user);
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    let refused = tenant.series().grid(year(), Unit::Day).unwrap_err();
    assert_eq!(refused.kind(), "invalid");
    let kpis = std::slice::from_ref(&world.a.kpi);
    let days = Grid::whole(year(), Step::day(zone("Asia/Tokyo"))).unwrap();
    assert!(tenant.series().read(kpis, &SeriesQuery::new(days)).is_ok());
}
