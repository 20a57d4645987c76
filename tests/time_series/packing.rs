//! Packed history: whatever is packed reads and writes as if it were not, and nothing that somebody writes
//! meanwhile is lost or doubled.
#![allow(clippy::unwrap_used, reason = "a test fails loudly")]
#![allow(clippy::disallowed_methods, reason = "the date of points")]
#![allow(
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::float_cmp,
    reason = "small numbers"
)]

use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use sesari_db::id::KpiId;
use sesari_db::maintenance::{Packing, RollupPart, pack_points, verify_rollups};
use sesari_db::page::PageRequest;
use sesari_db::repo::{
    KpiChanges, NewDataPoint, NewGoal, NewGoalKpi, NewKpi, OnExisting, PointKey, SeriesQuery,
    TimeRange,
};
use sesari_db::series::{Grid, Step, Unit, Zone};
use sesari_db::value::{Finite, Timestamp};
use sesari_db::{Error, Result, Scope, TenantConnection};

use crate::support::random::{Random, long_or};
use crate::support::{Tenant, World, number};

const BATCH: u32 = 1000;

/// A minute of 2025, which is over.
fn minute(n: usize) -> DateTime<Utc> {
    "2025-01-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::minutes(n as i64)
}

fn at(n: usize) -> Timestamp {
    Timestamp::new(minute(n)).unwrap()
}

fn point(kpi: &KpiId, n: usize, value: f64) -> NewDataPoint {
    NewDataPoint::new(kpi.clone(), value, minute(n)).unwrap()
}

fn span(from: usize, to: usize) -> TimeRange {
    TimeRange::new(at(from), at(to)).unwrap()
}

fn as_owner(world: &World, tenant: &Tenant) -> TenantConnection {
    world.db.tenant(&tenant.owner, &tenant.workspace).unwrap()
}

fn new_kpi(world: &World, tenant: &Tenant) -> KpiId {
    let mut guard = as_owner(world, tenant);
    let kpi = guard.kpis().create(&NewKpi::new("Packed".parse().unwrap())).unwrap().id;
    guard.commit().unwrap();
    kpi
}

/// Packs the workspace of `a` up to this minute.
fn pack(world: &World, before: usize) -> Packing {
    let conn = &mut world.test.admin().unwrap();
    pack_points(conn, Some(&world.a.workspace), at(before), BATCH, |_| ()).unwrap()
}

/// Points of a KPI that are packed.
fn packed(world: &World, kpi: &KpiId) -> i64 {
    let sql =
        format!("SELECT coalesce(sum(points), 0) FROM kpi_packed_points WHERE kpi_id = '{kpi}'");
    number(&mut world.test.admin().unwrap(), &sql)
}

/// Nothing overlaps, and no row lies in a span.
fn assert_in_order(world: &World) {
    let conn = &mut world.test.admin().unwrap();
    let overlaps = "SELECT count(*) FROM kpi_packed_points AS s JOIN kpi_packed_points AS t \
        ON (t.workspace_id, t.kpi_id) = (s.workspace_id, s.kpi_id) AND t.starts_at > s.starts_at \
        AND t.starts_at <= s.ends_at";
    assert_eq!(number(conn, overlaps), 0);
    let within = "SELECT count(*) FROM kpi_packed_points AS s JOIN kpi_data_points AS p \
        ON (p.workspace_id, p.kpi_id) = (s.workspace_id, s.kpi_id) \
        AND p.\"timestamp\" BETWEEN s.starts_at AND s.ends_at";
    assert_eq!(number(conn, within), 0);
    let report = verify_rollups(conn, None).unwrap();
    assert!(report.is_clean(), "{report:?}");
}

/// What two KPIs with one history have to say alike, and their mean as a part of the largest value, which
/// depends on the order in which the server adds.
fn told(tenant: &mut TenantConnection, kpi: &KpiId, random: &mut Random) -> (String, f64) {
    let mut told = Vec::new();
    let from = random.below(3000);
    let range = span(from, from + 1 + random.below(6000));
    let mut page = PageRequest::first(u32::try_from(1 + random.below(300)).unwrap()).unwrap();
    loop {
        let read = tenant.data_points().range(kpi, range, &page).unwrap();
        told.push(format!("{:?}", read.items.iter().map(key_and_value).collect::<Vec<_>>()));
        let Some(next) = read.next else { break };
        page = page.after(next);
    }
    told.push(format!("{}", tenant.data_points().count(kpi, range).unwrap()));
    let latest = tenant.data_points().latest(kpi).unwrap();
    told.push(format!("{:?}", latest.as_ref().map(key_and_value)));
    let key = PointKey { kpi_id: kpi.clone(), timestamp: at(from), source: None };
    told.push(format!("{:?}", tenant.data_points().find(&key).unwrap().map(|p| p.value)));
    let mut csv = Vec::new();
    tenant.data_points().export_csv(kpi, range, &mut csv).unwrap();
    told.push(String::from_utf8(csv).unwrap().replace(kpi.as_str(), "kpi"));
    let zone: Zone = "Europe/Berlin".parse().unwrap();
    for step in [Step::day(Zone::UTC), Step::Calendar(Unit::Hour, zone), Step::day(zone)] {
        let query = SeriesQuery::new(Grid::new(range, step).unwrap());
        for query in [query.clone(), query.from_points_alone()] {
            let series = tenant.series().read(std::slice::from_ref(kpi), &query).unwrap().remove(0);
            told.push(format!("{:?} {:?}", series.before, series.buckets));
        }
    }
    let figures = tenant.series().statistics(std::slice::from_ref(kpi), range, &[0.5, 0.9]);
    let figures = figures.unwrap().remove(0);
    let mean = figures.as_ref().map_or(0.0, |s| s.mean / s.min.abs().max(s.max.abs()).max(1.0));
    let exact = figures.map(|s| (s.points, s.min, s.max, s.percentiles, s.first, s.last));
    told.push(format!("{exact:?}"));
    let row = tenant.kpis().get(kpi).unwrap();
    told.push(format!("{} {:?}", row.current_value, row.current_value_at));
    (told.join("\n"), mean)
}

fn key_and_value(point: &sesari_db::repo::DataPoint) -> (Timestamp, Option<String>, u64) {
    (point.timestamp, point.source.as_ref().map(ToString::to_string), point.value.to_bits())
}

#[derive(Debug, Clone)]
enum Act {
    Record(usize, f64, Option<&'static str>),
    Many(Vec<(usize, f64, Option<&'static str>)>, OnExisting),
    Correct(usize, f64),
    Delete(usize),
    DeleteNewest,
    DeleteBefore(usize, u32),
    Pack(usize),
}

fn act(random: &mut Random) -> Act {
    let value = |random: &mut Random| match random.below(20) {
        0 => 1e300,
        1 => -1e290,
        n => (n as f64 - 10.0) / 10.0 + random.below(7) as f64,
    };
    let source =
        |random: &mut Random| *random.pick(&[None, None, None, Some("manual"), Some("stripe")]);
    let existing = [OnExisting::Keep, OnExisting::Replace, OnExisting::Fail];
    match random.below(16) {
        0..=2 => {
            let n = random.below(9000);
            Act::Record(n, value(random), source(random))
        }
        3..=7 => {
            let (start, step) = (random.below(8000), 1 + random.below(60));
            let all = (0..=random.below(600))
                .map(|i| (start + i * step, value(random), source(random)))
                .collect();
            Act::Many(all, *random.pick(&existing))
        }
        8 => Act::Correct(random.below(9000), value(random)),
        9 => Act::Delete(random.below(9000)),
        10 => Act::DeleteNewest,
        11 => Act::DeleteBefore(random.below(3000), 1 + u32::try_from(random.below(500)).unwrap()),
        _ => Act::Pack(random.below(40_000)),
    }
}

/// The same to the KPI of either workspace; answers what came of it.
fn carry_out(tenant: &mut TenantConnection, kpi: &KpiId, act: &Act) -> Result<String> {
    let new = |(n, value, source): (usize, f64, Option<&str>)| NewDataPoint {
        source: source.map(|source| source.parse().unwrap()),
        ..point(kpi, n, value)
    };
    let key = |timestamp| PointKey { kpi_id: kpi.clone(), timestamp, source: None };
    let mut points = tenant.data_points();
    Ok(match act {
        Act::Record(n, value, source) => {
            format!("{:?}", points.record(&new((*n, *value, *source)))?.value)
        }
        Act::Many(all, existing) => {
            let all: Vec<_> = all.iter().copied().map(new).collect();
            format!("{:?}", points.record_many(&all, *existing)?)
        }
        Act::Correct(n, value) => {
            let value = Finite::new(*value).unwrap();
            format!("{:?}", points.correct(&key(at(*n)), value)?.value)
        }
        Act::Delete(n) => format!("{:?}", points.delete(&key(at(*n)))?),
        Act::DeleteNewest => {
            let Some(newest) = points.latest(kpi)? else { return Ok(String::new()) };
            format!("{:?}", points.delete(&newest.key())?)
        }
        // How many go at once depends on what is packed.
        Act::DeleteBefore(n, batch) => {
            while tenant.data_points().delete_before(Some(kpi), at(*n), *batch)? > 0 {}
            String::new()
        }
        Act::Pack(_) => String::new(),
    })
}

/// `SESARI_LONG` says how many programs.
#[test]
fn packed_points_read_and_write_as_if_they_were_not() {
    let world = World::new();
    let (seed, mut random) = Random::seeded();
    let (mut met, mut in_all) = (0, 0);
    for program in 0..long_or(12) {
        let kpis = [&world.a, &world.b].map(|tenant| (tenant, new_kpi(&world, tenant)));
        for step in 0..12 {
            let act = act(&mut random);
            if let Act::Pack(before) = act {
                in_all += pack(&world, before).points;
                met += u64::from(packed(&world, &kpis[0].1) > 0);
            }
            let reads = Random::new(seed ^ program << 8 ^ step);
            let [with, without] = kpis.each_ref().map(|(tenant, kpi)| {
                let mut guard = as_owner(&world, tenant);
                let outcome = carry_out(&mut guard, kpi, &act).map_err(|error| error.to_string());
                if outcome.is_ok() {
                    guard.commit().unwrap();
                } else {
                    drop(guard);
                }
                (outcome, told(&mut as_owner(&world, tenant), kpi, &mut reads.clone()))
            });
            assert_eq!(with.0, without.0, "seed {seed}, program {program}: {act:?}");
            let ((with, mean), (without, expected)) = (with.1, without.1);
            for (with, without) in with.lines().zip(without.lines()) {
                assert_eq!(with, without, "seed {seed}, program {program}: {act:?}");
            }
            assert!((mean - expected).abs() < 1e-12, "seed {seed}, program {program}: {mean}");
        }
        assert_in_order(&world);
    }
    assert!(in_all > 1000 && met > 5, "{in_all} points were packed, {met} times");
}

const PACKED: u64 = 551;

/// Hours of points, of which the last days do not fill a span.
fn packed_hours(world: &World) -> KpiId {
    let kpi = new_kpi(world, &world.a);
    let mut guard = as_owner(world, &world.a);
    let all: Vec<_> = (0..600).map(|n| point(&kpi, 60 * n, n as f64)).collect();
    guard.data_points().record_many(&all, OnExisting::Fail).unwrap();
    guard.commit().unwrap();
    assert_eq!(pack(world, 200_000).points, PACKED);
    kpi
}

#[test]
fn a_span_is_as_small_as_promised_and_read_by_sql() {
    let world = World::new();
    let kpi = packed_hours(&world);
    let conn = &mut world.test.admin().unwrap();
    let bytes = number(conn, "SELECT sum(pg_column_size(s.*)) FROM kpi_packed_points AS s");
    assert!(bytes < 551 * 20, "{bytes} bytes");
    let mut guard = as_owner(&world, &world.a);
    let sql = format!(
        "SELECT count(*) FROM kpi_points WHERE kpi_id = '{kpi}' AND value = extract(epoch FROM \
         \"timestamp\" - '2025-01-01Z') / 3600 AND source = ''"
    );
    assert_eq!(number(guard.connection(), &sql), 600);
    let mut other = as_owner(&world, &world.b);
    assert_eq!(number(other.connection(), &sql), 0);
    for sql in ["DELETE FROM kpi_packed_points", "UPDATE kpi_packed_points SET points = 8"] {
        let refused = diesel::sql_query(sql).execute(other.connection()).map_err(Error::from);
        assert!(matches!(refused, Err(Error::Denied)), "{refused:?}");
        other = as_owner(&world, &world.b);
    }
}

#[test]
fn a_goal_as_it_was_is_the_same_once_its_points_are_packed() {
    let world = World::new();
    let kpi = new_kpi(&world, &world.a);
    let mut guard = as_owner(&world, &world.a);
    let target = KpiChanges {
        target_value: Some(Some(Finite::new(1000.0).unwrap())),
        ..KpiChanges::default()
    };
    guard.kpis().update(&kpi, &target).unwrap();
    let goal = guard.goals().create(&NewGoal::new("Grow".parse().unwrap())).unwrap().id;
    guard.goal_kpis().link(&NewGoalKpi::new(goal.clone(), kpi.clone())).unwrap();
    let all: Vec<_> = (0..600).map(|n| point(&kpi, 60 * n, n as f64)).collect();
    guard.data_points().record_many(&all, OnExisting::Fail).unwrap();
    guard.commit().unwrap();
    // As if the goal were as old as the points.
    let conn = &mut world.test.admin().unwrap();
    conn.batch_execute(
        "SET session_replication_role = replica; UPDATE kpi_history SET changed_at = '2024-12-01Z'",
    )
    .unwrap();
    let as_of = || {
        let progress =
            as_owner(&world, &world.a).goals().progress_as_of(&goal, at(60 * 200)).unwrap();
        progress.inputs[0].current
    };
    assert_eq!(as_of(), Some(199.0));
    assert_eq!(pack(&world, 200_000).points, PACKED);
    assert_eq!(as_of(), Some(199.0));
}

#[test]
fn a_unit_that_is_one_statement_unpacks_nothing() {
    let world = World::new();
    let kpi = packed_hours(&world);
    let unit = || Scope::tenant(&world.a.owner, &world.a.workspace).single_statement().attempts(1);
    let record = |n| {
        world.db.run("record", unit(), |tenant| tenant.data_points().record(&point(&kpi, n, 1.0)))
    };
    record(60 * 700).unwrap();
    let refused = record(30);
    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    let deleted = world.db.run("delete", unit(), |tenant| {
        tenant.data_points().delete_before(Some(&kpi), at(200_000), 1000)
    });
    // What is not packed.
    assert_eq!(deleted.unwrap(), 50);
    assert_in_order(&world);
}

#[test]
fn own_sql_is_refused_within_a_span_and_goes_on_once_it_is_unpacked() {
    let world = World::new();
    let kpi = packed_hours(&world);
    let insert = format!(
        "INSERT INTO kpi_data_points (kpi_id, value, \"timestamp\") VALUES ('{kpi}', -1, '2025-01-02 00:00:30Z')"
    );
    for sql in [
        &insert,
        // One that is there, under its key.
        &insert.replace(":30Z", ":00Z").replacen("')", "') ON CONFLICT DO NOTHING", 1),
        // The newest, moved into a span.
        &format!(
            "UPDATE kpi_data_points SET \"timestamp\" = '2025-01-02 00:00:30Z' WHERE kpi_id = '{kpi}' AND value = 599"
        ),
    ] {
        let mut guard = as_owner(&world, &world.a);
        let refused = guard.connection().batch_execute(sql).map_err(Error::from);
        let Err(Error::Conflict { constraint }) = refused else { panic!("{sql}: {refused:?}") };
        assert_eq!(constraint, "kpi_packed_points_no_overlap");
    }
    let mut guard = as_owner(&world, &world.a);
    let unpack = format!("SELECT sesari.unpack_points('{{{kpi}}}', '{{2025-01-02 00:00:30Z}}')");
    assert!((8..=116).contains(&number(guard.connection(), &unpack)));
    guard.connection().batch_execute(&insert).unwrap();
    guard.commit().unwrap();
    assert_in_order(&world);
    // Another workspace's ids unpack nothing.
    let mut other = as_owner(&world, &world.b);
    assert_eq!(number(other.connection(), &unpack.replace("02 00", "09 00")), 0);
    let all = format!("SELECT sesari.unpack_range('{kpi}', '-infinity', 'infinity', 1000)");
    assert_eq!(number(other.connection(), &all), 0);
    let mut guard = as_owner(&world, &world.a);
    assert!(number(guard.connection(), &all) > 400);
}

#[test]
fn the_newest_point_is_never_packed() {
    let world = World::new();
    let kpi = packed_hours(&world);
    let mut guard = as_owner(&world, &world.a);
    let newest = format!("DELETE FROM kpi_data_points WHERE kpi_id = '{kpi}'");
    assert_eq!(diesel::sql_query(newest).execute(guard.connection()).unwrap(), 49);
    assert_eq!(guard.data_points().latest(&kpi).unwrap().unwrap().value, 550.0);
    assert_eq!(guard.kpis().get(&kpi).unwrap().current_value, 550.0);
    guard.commit().unwrap();
    assert_in_order(&world);
    assert!((1..551).contains(&packed(&world, &kpi)));
}

#[test]
fn a_span_that_does_not_fit_is_refused() {
    let world = World::new();
    packed_hours(&world);
    let conn = &mut world.test.admin().unwrap();
    for (change, check) in [
        ("ends_at = ends_at + interval '1 ms'", "points_point_offsets_starts_at_ends_at"),
        ("point_offsets[1] = 1", "points_point_offsets_starts_at_ends_at"),
        ("point_offsets[2] = NULL", "points_point_offsets_starts_at_ends_at"),
        (
            "ends_at = starts_at + interval '24 days', point_offsets[points] = 2073600000",
            "starts_at_ends_at",
        ),
        ("points = 7", "points"),
        ("points = 1001", "points"),
        ("point_values = point_values || 1.0", "points_point_values"),
        ("point_sources = '{a,b}'", "points_point_sources"),
        ("point_values[2] = NULL", "point_values"),
        ("point_values[2] = 'NaN'", "point_values"),
        ("point_values[2] = '-Infinity'", "point_values"),
        ("point_sources[1] = NULL", "point_sources"),
    ] {
        let sql = format!("UPDATE kpi_packed_points SET {change}");
        let refused = conn.batch_execute(&sql).unwrap_err().to_string();
        assert!(
            refused.contains(&format!("kpi_packed_points_{check}_check")),
            "{change}: {refused}"
        );
    }
}

#[test]
fn what_was_spoilt_in_a_span_is_named() {
    let world = World::new();
    packed_hours(&world);
    let conn = &mut world.test.admin().unwrap();
    conn.batch_execute(
        "UPDATE kpi_packed_points SET point_values[3] = point_values[3] + 1 \
         WHERE starts_at = (SELECT min(starts_at) FROM kpi_packed_points)",
    )
    .unwrap();
    let report = verify_rollups(conn, Some(&world.a.workspace)).unwrap();
    assert_eq!(report.count, 1);
    assert_eq!(report.differences[0].part, RollupPart::Day(minute(0)));
}

#[test]
fn what_cannot_be_packed_is_refused() {
    let world = World::new();
    let conn = &mut world.test.admin().unwrap();
    for batch in [0, 999, 1_000_001, u32::MAX] {
        let refused = pack_points(conn, None, at(0), batch, |_| ());
        assert!(matches!(refused, Err(Error::Invalid(_))), "{batch}: {refused:?}");
    }
    let young = Timestamp::new(Utc::now() - TimeDelta::days(6)).unwrap();
    let refused = pack_points(conn, None, young, BATCH, |_| ());
    assert!(matches!(refused, Err(Error::Database(_))), "{refused:?}");
    let mut guard = as_owner(&world, &world.a);
    let refused = pack_points(guard.connection(), None, at(0), BATCH, |_| ());
    assert!(matches!(refused, Err(Error::Denied)), "{refused:?}");
}

/// Its snapshot has the points as they were, and no spans to be refused by.
#[test]
fn who_began_before_points_were_packed_writes_none_between_them() {
    let world = World::new();
    let kpi = new_kpi(&world, &world.a);
    let mut guard = as_owner(&world, &world.a);
    let all: Vec<_> = (0..600).map(|n| point(&kpi, n * 60, n as f64)).collect();
    guard.data_points().record_many(&all, OnExisting::Fail).unwrap();
    guard.commit().unwrap();

    for value in ["-1", "-2"] {
        let mut late = as_owner(&world, &world.a);
        let level = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT FROM kpis LIMIT 1";
        late.connection().batch_execute(level).unwrap();
        assert!(pack(&world, 600 * 60).points > 0 || value == "-2");
        let write = format!(
            "INSERT INTO kpi_data_points (kpi_id, value, \"timestamp\") \
             SELECT '{kpi}', {value}, '2025-01-01'::timestamptz + n * interval '30 minutes' \
               FROM generate_series(1, 9) AS n \
             ON CONFLICT (workspace_id, kpi_id, \"timestamp\", source) DO UPDATE SET value = {value}"
        );
        let refused = late.connection().batch_execute(&write).map_err(Error::from);
        let refused = refused.and_then(|()| late.commit()).unwrap_err();
        assert!(
            matches!(refused, Error::SerializationFailure | Error::Conflict { .. }),
            "{refused:?}"
        );
    }
    assert_in_order(&world);
}

/// What has one time is one run, whatever a batch holds: so there is a most for it.
#[test]
fn of_a_moment_with_too_many_points_none_is_packed() {
    let world = World::new();
    for (many, spans) in [(999, 3), (1000, 2), (1001, 2), (2500, 2)] {
        let kpi = new_kpi(&world, &world.a);
        let mut guard = as_owner(&world, &world.a);
        // A month apart, so that each is a span of its own.
        let fill = format!(
            "INSERT INTO kpi_data_points (kpi_id, value, source, \"timestamp\") \
             SELECT '{kpi}', n, 's' || n, '2024-01-01'::timestamptz FROM generate_series(1, 20) AS n UNION ALL \
             SELECT '{kpi}', n, 's' || n, '2024-03-01' FROM generate_series(1, {many}) AS n UNION ALL \
             SELECT '{kpi}', n, 's' || n, '2024-05-01' FROM generate_series(1, 20) AS n UNION ALL \
             SELECT '{kpi}', n, 's' || n, '2024-07-01' FROM generate_series(1, 2) AS n"
        );
        guard.connection().batch_execute(&fill).unwrap();
        let view = format!(
            "SELECT count(*) * 1000000 + count(DISTINCT source) FROM kpi_points WHERE kpi_id = '{kpi}'"
        );
        let before = number(guard.connection(), &view);
        guard.commit().unwrap();
        pack(&world, 0);
        let conn = &mut world.test.admin().unwrap();
        let made = format!("SELECT count(*) FROM kpi_packed_points WHERE kpi_id = '{kpi}'");
        assert_eq!(number(conn, &made), spans, "{many}");
        assert_eq!(number(conn, &view), before, "{many}");
        assert_in_order(&world);
    }
}

/// Writers of points, old and new, beside two who pack: each point that was confirmed is there once, with
/// the value that was written last.
#[test]
fn nothing_is_lost_or_doubled_while_others_write() {
    let world = World::new();
    let kpi = packed_hours(&world);
    let done = AtomicBool::new(false);
    let written: Vec<Vec<(usize, f64)>> = std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    pack(&world, 200_000);
                }
            });
        }
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                let (world, kpi) = (&world, &kpi);
                scope.spawn(move || {
                    let mut random = Random::new(writer as u64);
                    let mut written = Vec::new();
                    for n in 0..40 {
                        // Each writer has minutes of its own.
                        let minute = 60 * random.below(600) + 1 + writer;
                        let value = (n * 10 + writer) as f64;
                        let new = [point(kpi, minute, value)];
                        let scope = Scope::tenant(&world.a.owner, &world.a.workspace).attempts(20);
                        let write = |tenant: &mut TenantConnection| {
                            tenant.data_points().record_many(&new, OnExisting::Replace)
                        };
                        world.db.run("write", scope, write).unwrap();
                        written.push((minute, value));
                    }
                    written
                })
            })
            .collect();
        let written = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        done.store(true, Ordering::Relaxed);
        written
    });
    assert_in_order(&world);
    let last: std::collections::BTreeMap<_, _> = written.into_iter().flatten().collect();
    let mut guard = as_owner(&world, &world.a);
    let points: Vec<_> = guard
        .data_points()
        .iter(&kpi, span(0, 40_000))
        .map(|point| point.map(|point| (point.timestamp, point.value)))
        .collect::<Result<_>>()
        .unwrap();
    assert_eq!(points.len(), 600 + last.len());
    for (minute, value) in last {
        assert!(points.contains(&(at(minute), value)), "minute {minute}");
    }
}
