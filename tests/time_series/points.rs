//! What the triggers keep of the points, `kpi_rollups` and `current_value`, is what Rust makes of the
//! points themselves, whatever was written in whichever way, by the days of whichever zone, while the zone
//! changes.
#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDateTime, Offset, TimeZone, Utc};
use chrono_tz::Tz;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use sesari_db::TenantConnection;
use sesari_db::id::KpiId;
use sesari_db::repo::NewKpi;
use sesari_db::schema::{kpi_data_points as points, kpi_rollups as rollups, kpis};

use crate::support::World;

/// Start, end, points, sum, least, greatest, first and last.
type Rollup = (i64, i64, i64, Option<f64>, f64, f64, f64, f64);

/// Where clocks do what they rarely do, and from when statements write around it.
const SCENES: [(Tz, &str); 11] = [
    (Tz::Etc__UTC, "2026-03-27T22:00:00Z"),
    (Tz::Europe__Berlin, "2026-03-27T22:00:00Z"),
    (Tz::America__New_York, "2026-10-30T22:00:00Z"),
    (Tz::Asia__Kathmandu, "2026-03-27T22:00:00Z"),
    (Tz::Australia__Lord_Howe, "2026-04-03T22:00:00Z"),
    // No midnight, and two of them.
    (Tz::America__Asuncion, "2020-10-02T22:00:00Z"),
    (Tz::America__Asuncion, "2020-03-20T22:00:00Z"),
    // Put back from a minute past midnight.
    (Tz::America__St_Johns, "2006-10-27T22:00:00Z"),
    // No 30 December, no 21 August, and 18 October twice.
    (Tz::Pacific__Apia, "2011-12-28T22:00:00Z"),
    (Tz::Pacific__Kwajalein, "1993-08-19T22:00:00Z"),
    (Tz::America__Juneau, "1867-10-17T02:00:00Z"),
];

/// When the days of a zone begin, in microseconds, from half a year before to two years after: found by
/// the stretches of time between changes of the offset.
fn days(zone: Tz, around: DateTime<Utc>) -> Vec<i64> {
    let offset = |second: i64| {
        let utc = DateTime::from_timestamp(second, 0).unwrap().naive_utc();
        i64::from(zone.offset_from_utc_datetime(&utc).fix().local_minus_utc())
    };
    let (from, to) = (around.timestamp() - 180 * 86_400, around.timestamp() + 730 * 86_400);
    let mut stretches = vec![(from, offset(from))];
    for second in (from..to).step_by(900).skip(1) {
        let last = stretches[stretches.len() - 1].1;
        if offset(second) != last {
            let change = (second - 900..=second).find(|s| offset(*s) != last).unwrap();
            stretches.push((change, offset(change)));
        }
    }
    let first_shown = |shown: i64| {
        stretches
            .iter()
            .enumerate()
            .find(|(i, (_, offset))| {
                stretches.get(i + 1).is_none_or(|(end, _)| end + offset > shown)
            })
            .map(|(_, (start, offset))| (shown - offset).max(*start))
            .unwrap()
    };
    let date = DateTime::from_timestamp(from, 0).unwrap().date_naive();
    let midnight = NaiveDateTime::from(date).and_utc().timestamp();
    let mut days: Vec<_> =
        (1..900).map(|n| first_shown(midnight + n * 86_400) * 1_000_000).collect();
    days.dedup();
    days
}

fn naive_of(values: &[f64], (day, end): (i64, i64)) -> Rollup {
    let small = values.iter().all(|value| value.abs() < 1e290);
    (
        day,
        end,
        i64::try_from(values.len()).unwrap(),
        small.then(|| values[1..].iter().fold(values[0], |sum, value| sum + value)),
        values.iter().copied().fold(f64::INFINITY, f64::min),
        values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        values[0],
        values[values.len() - 1],
    )
}

type Points = BTreeMap<(i64, String), f64>;

fn written(tenant: &mut TenantConnection, kpi: &KpiId) -> Points {
    let all: Vec<(DateTime<Utc>, String, f64)> = points::table
        .filter(points::kpi_id.eq(kpi))
        .select((points::timestamp, points::source, points::value))
        .load(tenant.connection())
        .unwrap();
    all.into_iter().map(|(at, source, v)| ((at.timestamp_micros(), source), v)).collect()
}

/// What is in a span.
fn within(points: &Points, (from, to): (i64, i64)) -> Vec<f64> {
    points.range((from, String::new())..(to, String::new())).map(|(_, value)| *value).collect()
}

/// The rows of `kpi_rollups` as they should be by these days.
fn naive(points: &Points, days: &[i64]) -> Vec<Rollup> {
    let spans = days.windows(2).map(|pair| (pair[0], pair[1]));
    spans
        .map(|span| (span, within(points, span)))
        .filter(|(_, values)| !values.is_empty())
        .map(|(span, values)| naive_of(&values, span))
        .collect()
}

fn kept(tenant: &mut TenantConnection, kpi: &KpiId) -> Vec<Rollup> {
    type Row = (DateTime<Utc>, DateTime<Utc>, i64, Option<f64>, f64, f64, f64, f64);
    let rows: Vec<Row> = rollups::table
        .filter(rollups::kpi_id.eq(kpi))
        .order(rollups::day)
        .select((
            rollups::day,
            rollups::day_end,
            rollups::points,
            rollups::sum,
            rollups::min,
            rollups::max,
            rollups::first,
            rollups::last,
        ))
        .load(tenant.connection())
        .unwrap();
    let micros = |at: DateTime<Utc>| at.timestamp_micros();
    rows.into_iter().map(|r| (micros(r.0), micros(r.1), r.2, r.3, r.4, r.5, r.6, r.7)).collect()
}

/// The current value and its time.
fn current(tenant: &mut TenantConnection, kpi: &KpiId) -> (f64, Option<i64>) {
    let (value, at): (f64, Option<DateTime<Utc>>) = kpis::table
        .filter(kpis::id.eq(kpi))
        .select((kpis::current_value, kpis::current_value_at))
        .first(tenant.connection())
        .unwrap();
    (value, at.map(|at| at.timestamp_micros()))
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
    let at = |hour: i32| format!("'{{base}}'::timestamptz + {hour} * interval '1 hour'");
    let insert = "INSERT INTO kpi_data_points (kpi_id, timestamp, source, value)";
    prop_oneof![
        4 => (hour.clone(), source.clone(), value.clone()).prop_map(move |(h, s, v)| format!(
            "{insert} VALUES ('{{k}}', {}, '{s}', {v}) ON CONFLICT DO NOTHING", at(h))),
        2 => value.clone().prop_map(move |v| format!(
            "{insert} SELECT '{{k}}', coalesce(max(timestamp), '{{base}}') + interval '7 hours', '', {v}
               FROM kpi_data_points WHERE kpi_id = '{{k}}'")),
        2 => (hour.clone(), 1..40_i32, source, value.clone()).prop_map(move |(h, n, s, v)| format!(
            "{insert} SELECT k, {} + i * interval '40 minutes', '{s}', {v} + i / 10.0
               FROM generate_series(1, {n}) AS i, unnest(ARRAY['{{k}}', '{{l}}']) AS k
             ON CONFLICT (workspace_id, kpi_id, timestamp, source) DO UPDATE SET value = excluded.value",
            at(h))),
        1 => value.clone().prop_map(|v| format!(
            "UPDATE kpi_data_points SET value = {v} WHERE extract(hour FROM timestamp) = 3")),
        // As far as the span that they are in is long, so that none takes another's place on the way.
        1 => (hour.clone(), 4..40_i32).prop_map(move |(h, n)| format!(
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

#[derive(Debug, Clone)]
enum Act {
    Write(String),
    /// To another of the scenes' zones.
    ChangeZone(usize),
    Rezone,
}

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => statements().prop_map(Act::Write),
        1 => (0..SCENES.len()).prop_map(Act::ChangeZone),
        1 => Just(Act::Rezone),
    ]
}

/// Spans apart from each other, in which all points are, each with what is in it.
fn assert_true_to(kept: &[Rollup], points: &Points) -> Result<(), TestCaseError> {
    prop_assert!(kept.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{:?}", kept);
    for rollup in kept {
        let span = (rollup.0, rollup.1);
        let values = within(points, span);
        prop_assert!(!values.is_empty(), "{:?}", rollup);
        prop_assert_eq!(*rollup, naive_of(&values, span));
    }
    let of_rollups: i64 = kept.iter().map(|rollup| rollup.2).sum();
    prop_assert_eq!(of_rollups, i64::try_from(points.len()).unwrap());
    Ok(())
}

fn follow(world: &World, cases: u32) -> Result<(), String> {
    let days: Vec<_> =
        SCENES.iter().map(|(zone, base)| days(*zone, base.parse().unwrap())).collect();
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&(0..SCENES.len(), prop::collection::vec(acts(), 1..12)), |(scene, acts)| {
            let base = SCENES[scene].1;
            let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
            let zone = SCENES[scene].0.name().parse().unwrap();
            tenant.workspace().change_time_zone(zone).unwrap();
            let [k, l] = ["One", "Two"]
                .map(|name| tenant.kpis().create(&NewKpi::new(name.parse().unwrap())).unwrap().id);
            // Whether all rollups are of days of the zone, and of which.
            let mut zone_days = Some(days[scene].clone());
            for act in &acts {
                match act {
                    Act::Write(sql) => {
                        let sql = sql
                            .replace("{k}", k.as_str())
                            .replace("{l}", l.as_str())
                            .replace("{base}", base);
                        tenant
                            .connection()
                            .batch_execute(&sql)
                            .map_err(|error| TestCaseError::fail(format!("{error}: {sql}")))?;
                    }
                    Act::ChangeZone(other) => {
                        let zone = SCENES[*other].0.name().parse().unwrap();
                        tenant.workspace().change_time_zone(zone).unwrap();
                        zone_days = None;
                    }
                    Act::Rezone => {
                        let zone = tenant.workspace().find().unwrap().unwrap().time_zone;
                        let sql = "SELECT * FROM sesari.rezone_rollups('', '-infinity', 10000)";
                        tenant.connection().batch_execute(sql).unwrap();
                        let zone = zone.as_str().parse().unwrap();
                        zone_days = Some(self::days(zone, base.parse().unwrap()));
                    }
                }
                for kpi in [&k, &l] {
                    let points = written(&mut tenant, kpi);
                    let kept = kept(&mut tenant, kpi);
                    assert_true_to(&kept, &points)?;
                    if let Some(days) = &zone_days {
                        prop_assert_eq!(&kept, &naive(&points, days), "{:?}", act);
                    }
                    let newest = points.last_key_value();
                    let newest = newest.map_or((0.0, None), |((at, _), value)| (*value, Some(*at)));
                    prop_assert_eq!(current(&mut tenant, kpi), newest, "{:?}", act);
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
    follow(&World::shared(), cases).unwrap();
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
