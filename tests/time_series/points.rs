//! What the triggers keep of the points, `kpi_rollups` and `current_value`, is what Rust makes of the
//! points themselves, whatever was written in whichever way.
#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use sesari_db::TenantConnection;
use sesari_db::id::KpiId;
use sesari_db::repo::NewKpi;
use sesari_db::schema::{kpi_data_points as points, kpi_rollups as rollups, kpis};

use crate::support::World;

const DAY: i64 = 86_400_000_000;

type Rollup = (i64, i64, Option<f64>, f64, f64, f64, f64);

/// The rows of `kpi_rollups` as they should be, and the current value.
fn naive(tenant: &mut TenantConnection, kpi: &KpiId) -> (Vec<Rollup>, f64, Option<DateTime<Utc>>) {
    let all: Vec<(DateTime<Utc>, String, f64)> = points::table
        .filter(points::kpi_id.eq(kpi))
        .select((points::timestamp, points::source, points::value))
        .load(tenant.connection())
        .unwrap();
    let mut days: BTreeMap<i64, BTreeMap<(DateTime<Utc>, String), f64>> = BTreeMap::new();
    for (at, source, value) in all {
        let day = at.timestamp_micros().div_euclid(DAY) * DAY;
        days.entry(day).or_default().insert((at, source), value);
    }
    let newest = days.values().next_back().and_then(|day| day.iter().next_back());
    let (current, at) = newest.map_or((0.0, None), |((at, _), value)| (*value, Some(*at)));
    let rows = days.iter().map(|(day, of_day)| {
        let values: Vec<f64> = of_day.values().copied().collect();
        let small = values.iter().all(|value| value.abs() < 1e290);
        (
            *day,
            i64::try_from(values.len()).unwrap(),
            small.then(|| values[1..].iter().fold(values[0], |sum, value| sum + value)),
            values.iter().copied().fold(f64::INFINITY, f64::min),
            values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            values[0],
            values[values.len() - 1],
        )
    });
    (rows.collect(), current, at)
}

fn kept(tenant: &mut TenantConnection, kpi: &KpiId) -> (Vec<Rollup>, f64, Option<DateTime<Utc>>) {
    type Row = (DateTime<Utc>, i64, Option<f64>, f64, f64, f64, f64);
    let rows: Vec<Row> = rollups::table
        .filter(rollups::kpi_id.eq(kpi))
        .order(rollups::day)
        .select((
            rollups::day,
            rollups::points,
            rollups::sum,
            rollups::min,
            rollups::max,
            rollups::first,
            rollups::last,
        ))
        .load(tenant.connection())
        .unwrap();
    let (current, at) = kpis::table
        .filter(kpis::id.eq(kpi))
        .select((kpis::current_value, kpis::current_value_at))
        .first(tenant.connection())
        .unwrap();
    let rows = rows.into_iter().map(|r| (r.0.timestamp_micros(), r.1, r.2, r.3, r.4, r.5, r.6));
    (rows.collect(), current, at)
}

/// A statement; `{k}` and `{l}` are two KPIs.
fn statements() -> impl Strategy<Value = String> {
    // Sums of tenths depend on their order.
    let value = prop_oneof![
        8 => (-50..50_i32).prop_map(|n| format!("{:e}", f64::from(n) / 10.0)),
        1 => prop::sample::select(vec!["1e300", "-1e300", "1e290", "1e-310"]).prop_map(String::from),
    ];
    let hour = 0..96_i32;
    let source = prop::sample::select(vec!["", "manual", "stripe"]);
    let at = |hour: i32| format!("'2026-03-27 22:00+00'::timestamptz + {hour} * interval '1 hour'");
    let insert = "INSERT INTO kpi_data_points (kpi_id, timestamp, source, value)";
    prop_oneof![
        4 => (hour.clone(), source.clone(), value.clone()).prop_map(move |(h, s, v)| format!(
            "{insert} VALUES ('{{k}}', {}, '{s}', {v}) ON CONFLICT DO NOTHING", at(h))),
        2 => value.clone().prop_map(move |v| format!(
            "{insert} SELECT '{{k}}', coalesce(max(timestamp), '2026-03-28') + interval '1 hour', '', {v}
               FROM kpi_data_points WHERE kpi_id = '{{k}}'")),
        2 => (hour.clone(), 1..40_i32, source, value.clone()).prop_map(move |(h, n, s, v)| format!(
            "{insert} SELECT k, {} + i * interval '40 minutes', '{s}', {v} + i / 10.0
               FROM generate_series(1, {n}) AS i, unnest(ARRAY['{{k}}', '{{l}}']) AS k
             ON CONFLICT (workspace_id, kpi_id, timestamp, source) DO UPDATE SET value = excluded.value",
            at(h))),
        1 => value.clone().prop_map(|v| format!(
            "UPDATE kpi_data_points SET value = {v} WHERE extract(hour FROM timestamp) = 3")),
        1 => (hour.clone(), 1..40_i32).prop_map(move |(h, n)| format!(
            "UPDATE kpi_data_points SET timestamp = timestamp + {n} * interval '1 day'
              WHERE kpi_id = '{{k}}' AND timestamp > {} AND source <> 'stripe'
                AND NOT EXISTS (SELECT FROM kpi_data_points AS p WHERE p.timestamp > {} + interval '4 days')",
            at(h), at(h))),
        1 => hour.clone().prop_map(move |h| format!(
            "DELETE FROM kpi_data_points WHERE kpi_id = '{{k}}' AND timestamp >= {}", at(h))),
        1 => (hour, value).prop_map(move |(h, v)| format!(
            "WITH gone AS (DELETE FROM kpi_data_points WHERE timestamp < {0} RETURNING 1)
             {insert} SELECT '{{k}}', {0} + interval '9 days', '', {v} ON CONFLICT DO NOTHING", at(h))),
    ]
}

fn follow(world: &World, cases: u32) -> Result<(), String> {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&prop::collection::vec(statements(), 1..12), |statements| {
            let mut tenant = world.db.tenant(&world.a.member, &world.a.workspace).unwrap();
            let [k, l] = ["One", "Two"]
                .map(|name| tenant.kpis().create(&NewKpi::new(name.parse().unwrap())).unwrap().id);
            for sql in &statements {
                let sql = sql.replace("{k}", k.as_str()).replace("{l}", l.as_str());
                tenant
                    .connection()
                    .batch_execute(&sql)
                    .map_err(|error| TestCaseError::fail(format!("{error}: {sql}")))?;
                for kpi in [&k, &l] {
                    prop_assert_eq!(kept(&mut tenant, kpi), naive(&mut tenant, kpi), "{}", sql);
                }
            }
            Ok(())
        })
        .map_err(|error| error.to_string())
}

/// `SESARI_LONG=1` tries fifty times as many streams.
#[test]
fn rollups_and_current_value_are_what_the_points_say() {
    let cases = if std::env::var_os("SESARI_LONG").is_some() { 2000 } else { 40 };
    follow(&World::new(), cases).unwrap();
}

#[test]
fn a_trigger_that_is_missing_is_noticed() {
    for verb in ["insert", "update", "delete"] {
        let world = World::new();
        let spoil = format!("DROP TRIGGER kpi_data_points_follow_{verb} ON kpi_data_points");
        world.test.admin().unwrap().batch_execute(&spoil).unwrap();
        assert!(follow(&world, 100).is_err(), "{verb}");
    }
}
