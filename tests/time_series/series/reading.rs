//! Through rollups, point by point, and recomputed here from what was written: the same answer.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta};
use chrono_tz::Tz;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestRunner;
use sesari_db::TenantConnection;
use sesari_db::id::{GoalId, KpiId};
use sesari_db::progress::{GoalProgress, KpiProgressInput, goal_progress};
use sesari_db::repo::{
    NewDataPoint, NewGoal, NewGoalKpi, NewKpi, OnExisting, PointKey, SeriesQuery, TimeRange,
};
use sesari_db::series::{Grid, Statistics, Step, Summary, Unit};
use sesari_db::value::{Finite, Timestamp, Weight};

use super::zones::{UNITS, edges_by_the_clock};
use super::{at, config};
use crate::support::World;

/// KPI, microseconds, source; and the value.
type Model = BTreeMap<(usize, i64, Option<&'static str>), f64>;

#[derive(Debug, Clone)]
enum Edit {
    Write(Vec<(usize, i64, Option<&'static str>, f64)>, OnExisting),
    Correct(Index, f64),
    Delete(Index),
}

const START: &str = "2026-03-20T00:00:00Z";
const HOUR: i64 = 3_600_000_000;

/// Within 20 days, in which Europe changes its clocks, and often at full hours and days.
fn moment() -> impl Strategy<Value = i64> {
    let start = at(START).get().timestamp_micros();
    prop_oneof![
        (0_i64..480).prop_map(|hours| hours * HOUR),
        (0_i64..20).prop_map(|days| days * 24 * HOUR),
        (1_i64..20).prop_map(|days| days * 24 * HOUR - 1),
        0_i64..480 * HOUR,
    ]
    .prop_map(move |micros| start + micros)
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![9 => (-1000_i32..1000).prop_map(f64::from), 1 => select(vec![1e300, -1e290])]
}

fn edit() -> impl Strategy<Value = Edit> {
    let source = select(vec![None, None, Some("a"), Some("stripe")]);
    let existing = select(vec![OnExisting::Keep, OnExisting::Replace]);
    let point = (0_usize..2, moment(), source, value());
    prop_oneof![
        3 => (prop::collection::vec(point, 1..60), existing)
            .prop_map(|(points, existing)| Edit::Write(points, existing)),
        1 => (any::<Index>(), value()).prop_map(|(which, value)| Edit::Correct(which, value)),
        1 => any::<Index>().prop_map(Edit::Delete),
    ]
}

#[derive(Debug, Clone)]
struct Case {
    edits: Vec<Edit>,
    /// The workspace's zone at first.
    home: Tz,
    /// After so many edits it moves to another zone, and so many rollups are made anew.
    moves: Option<(Index, Tz, i64)>,
    /// The report's.
    zone: Tz,
    unit: Unit,
    /// Instead of the unit, so many minutes.
    fixed: Option<i64>,
    /// Minutes from the start.
    range: (i64, i64),
}

fn case() -> impl Strategy<Value = Case> {
    let zone = || {
        prop_oneof![
            2 => Just(Tz::UTC),
            3 => select(vec![
                Tz::Europe__Berlin, Tz::America__New_York, Tz::Asia__Kathmandu,
                Tz::Australia__Lord_Howe, Tz::Pacific__Apia, Tz::Africa__Casablanca,
                Tz::America__Asuncion,
            ]),
            2 => select(chrono_tz::TZ_VARIANTS.to_vec()),
        ]
    };
    let moves = prop::option::of((any::<Index>(), zone(), 0_i64..60));
    // As often as not the report is in the workspace's zone.
    let zones = (zone(), moves, zone(), 0_u8..3).prop_map(|(home, moves, other, which)| {
        let zone = match (which, &moves) {
            (0, _) => other,
            (1, Some((_, then, _))) => *then,
            _ => home,
        };
        (home, moves, zone)
    });
    let fixed =
        prop_oneof![2 => Just(None), 1 => select(vec![5, 60, 90, 1440, 2880, 4000]).prop_map(Some)];
    let range = (-1500_i64..27_000, 0_i64..30_000).prop_map(|(from, length)| (from, from + length));
    let whole = (0_i64..5, 6_i64..21).prop_map(|(from, to)| (from * 1440, to * 1440));
    (
        prop::collection::vec(edit(), 1..8),
        zones,
        select(UNITS.to_vec()),
        fixed,
        prop_oneof![range, whole],
    )
        .prop_map(|(edits, (home, moves, zone), unit, fixed, range)| Case {
            edits,
            home,
            moves,
            zone,
            unit,
            fixed,
            range,
        })
}

fn stamp(micros: i64) -> Timestamp {
    Timestamp::new(DateTime::from_timestamp_micros(micros).unwrap()).unwrap()
}

fn key(kpis: &[KpiId], (kpi, micros, source): (usize, i64, Option<&str>)) -> PointKey {
    PointKey {
        kpi_id: kpis[kpi].clone(),
        timestamp: stamp(micros),
        source: source.map(|source| source.parse().unwrap()),
    }
}

/// Whether the server has the zone too: a change to another is left out.
fn move_to(tenant: &mut TenantConnection, zone: Tz) {
    let known = "EXISTS (SELECT FROM pg_timezone_names WHERE name = ";
    let known = diesel::dsl::sql::<diesel::sql_types::Bool>(known)
        .bind::<diesel::sql_types::Text, _>(zone.name())
        .sql(")");
    if diesel::select(known).get_result(tenant.connection()).unwrap() {
        tenant.workspace().change_time_zone(zone.name().parse().unwrap()).unwrap();
    }
}

/// What is edited in the one zone, then in the other.
fn write(tenant: &mut TenantConnection, kpis: &[KpiId], case: &Case) -> Model {
    let mut model = Model::new();
    move_to(tenant, case.home);
    let (first, then) = match &case.moves {
        Some((at, _, _)) => case.edits.split_at(at.index(case.edits.len() + 1)),
        None => case.edits.split_at(case.edits.len()),
    };
    apply(tenant, kpis, first, &mut model);
    if let Some((_, zone, rezoned)) = &case.moves {
        move_to(tenant, *zone);
        if *rezoned > 0 {
            let sql = format!("SELECT * FROM sesari.rezone_rollups('', '-infinity', {rezoned})");
            tenant.connection().batch_execute(&sql).unwrap();
        }
        apply(tenant, kpis, then, &mut model);
    }
    model
}

/// Through the repository, and into the model.
fn apply(tenant: &mut TenantConnection, kpis: &[KpiId], edits: &[Edit], model: &mut Model) {
    let finite = |value| Finite::new(value).unwrap();
    for edit in edits {
        match edit {
            Edit::Write(points, existing) => {
                let mut batch = Vec::new();
                for (kpi, micros, source, value) in points {
                    let at = DateTime::from_timestamp_micros(*micros).unwrap();
                    let new = NewDataPoint::new(kpis[*kpi].clone(), *value, at).unwrap();
                    batch.push(match source {
                        Some(source) => new.from_source(source.parse().unwrap()),
                        None => new,
                    });
                    let key = (*kpi, *micros, *source);
                    if *existing == OnExisting::Replace {
                        model.insert(key, *value);
                    } else {
                        model.entry(key).or_insert(*value);
                    }
                }
                tenant.data_points().record_many(&batch, *existing).unwrap();
            }
            Edit::Correct(which, value) if !model.is_empty() => {
                let chosen = *model.keys().nth(which.index(model.len())).unwrap();
                tenant.data_points().correct(&key(kpis, chosen), finite(*value)).unwrap();
                model.insert(chosen, *value);
            }
            Edit::Delete(which) if !model.is_empty() => {
                let chosen = *model.keys().nth(which.index(model.len())).unwrap();
                tenant.data_points().delete(&key(kpis, chosen)).unwrap();
                model.remove(&chosen);
            }
            _ => {}
        }
    }
}

/// A KPI's values from one moment up to another, in the order of time and source.
fn values(model: &Model, kpi: usize, from: i64, to: i64) -> Vec<f64> {
    let of_kpi =
        model.iter().filter(|((k, micros, _), _)| *k == kpi && (from..to).contains(micros));
    of_kpi.map(|(_, value)| *value).collect()
}

fn naive(values: &[f64]) -> Option<Summary> {
    let (first, last) = (*values.first()?, *values.last()?);
    let mut summary = Summary { points: 0, sum: Some(0.0), min: first, max: first, first, last };
    for value in values {
        summary.points += 1;
        summary.sum = summary.sum.filter(|_| value.abs() < 1e290).map(|sum| sum + value);
        summary.min = summary.min.min(*value);
        summary.max = summary.max.max(*value);
    }
    Some(summary)
}

/// The case's buckets, found without the crate, in microseconds.
fn naive_edges(case: &Case, range: TimeRange) -> Vec<i64> {
    let (from, to) = (range.from().get().timestamp(), range.to().get().timestamp());
    if from == to {
        return Vec::new();
    }
    let edges: Vec<i64> = if let Some(minutes) = case.fixed {
        let origin = at(START).get().timestamp();
        let is_edge = |second: &i64| *second == from || (second - origin) % (minutes * 60) == 0;
        (from..to).step_by(60).filter(is_edge).chain([to]).collect()
    } else {
        let mut clock: Vec<_> = (from..to)
            .step_by(60)
            .map(|second| (second, super::zones::clock(case.zone, second)))
            .collect();
        // What the clock showed before the range may be shown again within.
        clock.dedup();
        let mut edges = edges_by_the_clock(&clock, case.unit);
        edges.push(to);
        edges
    };
    edges.into_iter().map(|second| second * 1_000_000).collect()
}

fn kpis_and_goal(tenant: &mut TenantConnection) -> (Vec<KpiId>, GoalId) {
    let goal = tenant.goals().create(&NewGoal::new("Grow".parse().unwrap())).unwrap().id;
    let mut kpis = Vec::new();
    for (target, weight) in [(500.0, 1.0), (-300.0, 2.5)] {
        let new = NewKpi {
            target_value: Some(Finite::new(target).unwrap()),
            ..NewKpi::new("KPI".parse().unwrap())
        };
        let kpi = tenant.kpis().create(&new).unwrap().id;
        let link = NewGoalKpi {
            weight: Weight::new(weight).unwrap(),
            ..NewGoalKpi::new(goal.clone(), kpi.clone())
        };
        tenant.goal_kpis().link(&link).unwrap();
        kpis.push(kpi);
    }
    (kpis, goal)
}

fn naive_progress(model: &Model, kpis: &[KpiId], before: i64) -> GoalProgress {
    let inputs: Vec<_> = kpis
        .iter()
        .enumerate()
        .map(|(i, kpi)| KpiProgressInput {
            kpi_id: kpi.clone(),
            current: values(model, i, i64::MIN, before).last().copied(),
            target: Some([500.0, -300.0][i]),
            baseline: None,
            weight: [1.0, 2.5][i],
        })
        .collect();
    goal_progress(&inputs).unwrap()
}

fn holds(tenant: &mut TenantConnection, case: &Case) -> Result<(), TestCaseError> {
    let (kpis, goal) = kpis_and_goal(tenant);
    let model = write(tenant, &kpis, case);
    let start = at(START).get();
    let minute = |minutes| Timestamp::new(start + TimeDelta::minutes(minutes)).unwrap();
    let range = TimeRange::new(minute(case.range.0), minute(case.range.1)).unwrap();
    let step = case
        .fixed
        .map_or(Step::Calendar(case.unit, case.zone.name().parse().unwrap()), |minutes| {
            Step::fixed(TimeDelta::minutes(minutes), at(START)).unwrap()
        });
    let grid = Grid::new(range, step).unwrap();
    let edges: Vec<_> = grid.edges().iter().map(|edge| edge.get().timestamp_micros()).collect();
    prop_assert_eq!(&edges, &naive_edges(case, range));
    let home = tenant.workspace().find().unwrap().unwrap().time_zone;
    if case.fixed.is_none() && home.as_str() == case.zone.name() {
        prop_assert_eq!(&tenant.series().grid(range, case.unit).unwrap(), &grid);
    }

    let query = SeriesQuery::new(grid.clone());
    let read = tenant.series().read(&kpis, &query).unwrap();
    let raw = tenant.series().read(&kpis, &query.clone().from_points_alone()).unwrap();
    prop_assert_eq!(&read, &raw);
    for (i, series) in read.iter().enumerate() {
        prop_assert_eq!(&series.kpi_id, &kpis[i]);
        prop_assert_eq!(series.buckets.len(), grid.len());
        let before =
            edges.first().and_then(|from| values(&model, i, i64::MIN, *from).last().copied());
        prop_assert_eq!(series.before, before);
        for (bucket, pair) in series.buckets.iter().zip(edges.windows(2)) {
            prop_assert_eq!(
                (bucket.range.from(), bucket.range.to()),
                (stamp(pair[0]), stamp(pair[1]))
            );
            prop_assert_eq!(bucket.summary, naive(&values(&model, i, pair[0], pair[1])));
        }
    }
    let before = grid.before().unwrap();
    let earlier = SeriesQuery::new(before);
    let earlier = tenant.series().read(&kpis, &earlier).unwrap();
    let compared = tenant.series().compare(&kpis, &query).unwrap();
    let (now, then): (Vec<_>, Vec<_>) =
        compared.into_iter().map(|both| (both.now, both.before)).unzip();
    prop_assert_eq!((&now, &then), (&read, &earlier));

    let moments = tenant.series().goal_progress(&goal, &grid).unwrap();
    prop_assert_eq!(moments.len(), grid.len());
    for (moment, end) in moments.iter().zip(&edges[1.min(edges.len())..]) {
        prop_assert_eq!(&moment.progress, &naive_progress(&model, &kpis, *end));
    }
    prop_assert_eq!(
        tenant.goals().progress(&goal).unwrap(),
        naive_progress(&model, &kpis, i64::MAX)
    );
    statistics_hold(tenant, &kpis, &model, range)
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

fn statistics_hold(
    tenant: &mut TenantConnection,
    kpis: &[KpiId],
    model: &Model,
    range: TimeRange,
) -> Result<(), TestCaseError> {
    let parts = [0.5, 0.0, 0.95, 1.0];
    let read = tenant.series().statistics(kpis, range, &parts).unwrap();
    let micros = |moment: Timestamp| moment.get().timestamp_micros();
    for (i, read) in read.iter().enumerate() {
        let all = values(model, i, micros(range.from()), micros(range.to()));
        let expected = Statistics::of(&all, &parts).unwrap();
        prop_assert_eq!(read.is_some(), expected.is_some());
        let (Some(read), Some(expected)) = (read, expected) else { continue };
        prop_assert_eq!(
            (read.points, read.min, read.max, read.first, read.last),
            (expected.points, expected.min, expected.max, expected.first, expected.last)
        );
        prop_assert!(close(read.mean, expected.mean), "{read:?} {expected:?}");
        prop_assert_eq!(read.standard_deviation.is_some(), expected.standard_deviation.is_some());
        if let (Some(a), Some(b)) = (read.standard_deviation, expected.standard_deviation) {
            prop_assert!(close(a, b), "{read:?} {expected:?}");
        }
        for (a, b) in read.percentiles.iter().zip(&expected.percentiles) {
            prop_assert!(close(*a, *b), "{read:?} {expected:?}");
        }
    }
    Ok(())
}

/// Whatever is written and edited, in any zone, step and range.
#[test]
fn rollups_points_and_a_recomputation_agree() {
    let world = World::new();
    let mut runner = TestRunner::new(config(60));
    let result = runner.run(&case(), |case| {
        // Rolled back: every case begins with nothing.
        let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
        holds(&mut tenant, &case)
    });
    result.unwrap();
}

/// The 28th of March from five o'clock on: a month before there is no such stretch, as February had no
/// 29th.
#[test]
fn a_period_before_that_is_empty_takes_nothing_from_the_one_asked_for() {
    let world = World::shared();
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    let range = TimeRange::new(at("2026-03-28T05:15:00Z"), at("2026-03-29T00:00:00Z")).unwrap();
    let grid = Grid::new(range, Step::month(sesari_db::series::Zone::UTC)).unwrap();
    assert!(grid.before().unwrap().is_empty());
    let query = SeriesQuery::new(grid);
    let kpis = [world.a.kpi.clone()];
    let both = tenant.series().compare(&kpis, &query).unwrap().remove(0);
    assert!(both.now.before.is_some());
    assert_eq!(both.now, tenant.series().read(&kpis, &query).unwrap().remove(0));
    assert_eq!((both.before.before, both.before.buckets.len()), (None, 0));
}

fn grid() -> Grid {
    let range = TimeRange::new(at("2025-12-31T00:00:00Z"), at("2026-01-03T00:00:00Z")).unwrap();
    Grid::new(range, Step::day(sesari_db::series::Zone::UTC)).unwrap()
}

#[test]
fn ids_of_nobody_and_of_others_read_as_empty_and_deleted_ones_keep_their_history() {
    let world = World::shared();
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    let query = SeriesQuery::new(grid());
    let points = |tenant: &mut TenantConnection, id: &KpiId| {
        let series = tenant.series().read(std::slice::from_ref(id), &query).unwrap().remove(0);
        series.total().map(|total| total.points)
    };
    for id in [&world.b.kpi, &KpiId::generate()] {
        assert_eq!(points(&mut tenant, id), None);
        let statistics = tenant.series().statistics(std::slice::from_ref(id), grid().range(), &[]);
        assert_eq!(statistics.unwrap(), [None]);
    }
    let own = world.a.kpi.clone();
    assert_eq!(points(&mut tenant, &own), Some(3));
    // An id asked for twice is answered twice.
    let twice = tenant.series().read(&[own.clone(), own.clone()], &query).unwrap();
    assert_eq!(twice[0], twice[1]);
    assert!(tenant.series().read(&[], &query).unwrap().is_empty());
    tenant.kpis().delete(&own).unwrap();
    assert_eq!(points(&mut tenant, &own), Some(3));
    // A goal is measured by what is there.
    let moments = tenant.series().goal_progress(&world.a.goal, &grid()).unwrap();
    assert!(moments[2].progress.kpis.is_empty());
    for goal in [world.b.goal.clone(), GoalId::generate()] {
        assert!(tenant.series().goal_progress(&goal, &grid()).unwrap_err().is_not_found());
    }
    tenant.goals().delete(&world.a.goal).unwrap();
    assert!(tenant.series().goal_progress(&world.a.goal, &grid()).unwrap_err().is_not_found());
}

/// How many KPIs a goal has is known to the server alone.
#[test]
fn a_goal_of_too_many_kpis_is_refused_before_its_history_is_held() {
    let world = World::new();
    let link = |kpis: std::ops::RangeInclusive<i32>| {
        let mut admin = world.test.admin().unwrap();
        let (workspace, goal) = (&world.a.workspace, &world.a.goal);
        let (first, last) = (kpis.start(), kpis.end());
        diesel::connection::SimpleConnection::batch_execute(
            &mut admin,
            &format!(
                "INSERT INTO kpis (workspace_id, id, name) \
                 SELECT '{workspace}', 'many' || n, 'KPI' FROM generate_series({first}, {last}) AS n; \
                 INSERT INTO goal_kpis (workspace_id, goal_id, kpi_id) \
                 SELECT '{workspace}', '{goal}', 'many' || n FROM generate_series({first}, {last}) AS n"
            ),
        )
        .unwrap();
    };
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    let range = TimeRange::new(at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z")).unwrap();
    let hours = Grid::new(range, Step::hour(sesari_db::series::Zone::UTC)).unwrap();
    // The fixture has one.
    link(1..=27);
    let moments = tenant.series().goal_progress(&world.a.goal, &hours).unwrap();
    assert_eq!((moments.len(), moments[0].progress.kpis.len()), (8760, 28));
    link(28..=28);
    let error = tenant.series().goal_progress(&world.a.goal, &hours).unwrap_err();
    assert_eq!(error.to_string(), "invalid grid: expected at most 250000 buckets for all KPIs");
    link(29..=10_001);
    assert_eq!(tenant.goal_kpis().list(&world.a.goal).unwrap_err().kind(), "invalid");
    assert_eq!(tenant.goals().find_with_kpis(&world.a.goal).unwrap_err().kind(), "invalid");
    assert!(tenant.goals().progress(&world.a.goal).is_ok());
}

#[test]
fn too_much_at_once_is_refused_before_the_server_is_asked() {
    let world = World::shared();
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    let range = TimeRange::new(at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z")).unwrap();
    let hours = Grid::new(range, Step::hour(sesari_db::series::Zone::UTC)).unwrap();
    let query = SeriesQuery::new(hours);
    let kpis: Vec<_> = (0..29).map(|_| KpiId::generate()).collect();
    let error = tenant.series().read(&kpis, &query).unwrap_err();
    assert_eq!(error.to_string(), "invalid grid: expected at most 250000 buckets for all KPIs");
    assert!(tenant.series().compare(&kpis[..15], &query).is_err());
    assert_eq!(tenant.series().read(&kpis[..28], &query).unwrap().len(), 28);
    let many = vec![0.5; Grid::MAX_CELLS / 29 + 1];
    assert!(tenant.series().statistics(&kpis, range, &many).is_err());
    let wrong = tenant.series().statistics(&kpis, range, &[2.0]).unwrap_err();
    assert_eq!(wrong.to_string(), "invalid percentile: expected a fraction from 0 to 1");
}

#[test]
fn the_ends_of_f64_and_of_time_are_read_like_any_other() {
    let world = World::shared();
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    let kpi = tenant.kpis().create(&NewKpi::new("Extremes".parse().unwrap())).unwrap().id;
    let (first, last) = (at("0001-01-01T00:00:00Z"), at("9999-12-31T23:59:59.999999Z"));
    for (value, moment) in
        [(f64::MAX, first), (f64::MIN, last), (5e-324, at("2026-01-01T00:00:00Z"))]
    {
        let new = NewDataPoint::new(kpi.clone(), value, moment.get()).unwrap();
        tenant.data_points().record(&new).unwrap();
    }
    let all = TimeRange::new(first, last).unwrap();
    let query = SeriesQuery::new(Grid::new(all, Step::year(sesari_db::series::Zone::UTC)).unwrap());
    let series = tenant.series().read(std::slice::from_ref(&kpi), &query).unwrap().remove(0);
    let total = series.total().unwrap();
    // The end of a range is not within it.
    assert_eq!((total.points, total.sum, total.max), (2, None, f64::MAX));
    assert_eq!(series.buckets[2025].summary.unwrap().sum, Some(5e-324));
    let figures = tenant.series().statistics(std::slice::from_ref(&kpi), all, &[0.0, 1.0]).unwrap();
    let figures = figures[0].as_ref().unwrap();
    assert_eq!(figures.percentiles, [5e-324, f64::MAX]);
    assert!(figures.mean.is_finite() && figures.standard_deviation.unwrap().is_finite());
}
