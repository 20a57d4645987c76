//! Goals' progress as of a moment, against a naive record of every edit.

use sesari_db::TenantConnection;
use sesari_db::id::{GoalId, KpiId};
use sesari_db::progress::{GoalProgress, KpiProgressInput, goal_progress};
use sesari_db::repo::{
    GoalKpiChanges, KpiChanges, NewDataPoint, NewGoal, NewGoalKpi, NewKpi, OnExisting,
};
use sesari_db::value::{Finite, Timestamp, Weight};

use super::tools::{assert_missing, parse};
use crate::support::World;
use crate::support::random::{Random, long_or};

fn finite(number: f64) -> Finite {
    Finite::new(number).unwrap()
}

fn stamp(moment: chrono::DateTime<chrono::Utc>) -> Timestamp {
    Timestamp::new(moment).unwrap()
}

/// A moment after all that the server has written so far, and before all that it will: the history's clock may be
/// ahead of the server's by as many milliseconds as there were changes of one thing within one.
fn server_now(tenant: &mut TenantConnection) -> Timestamp {
    use diesel::prelude::*;
    let now = "(SELECT greatest(clock_timestamp(), max(changed_at)) FROM kpi_history)";
    let now = diesel::select(diesel::dsl::sql::<diesel::sql_types::Timestamptz>(now))
        .get_result(tenant.connection())
        .unwrap();
    let now = stamp(now);
    while diesel::select(diesel::dsl::sql::<diesel::sql_types::Timestamptz>("clock_timestamp()"))
        .get_result::<chrono::DateTime<chrono::Utc>>(tenant.connection())
        .unwrap()
        <= now.get() + chrono::TimeDelta::milliseconds(1)
    {}
    now
}

/// The weight and the baseline of a link.
type Link = (f64, Option<f64>);

/// What a goal counts, kept by hand.
#[derive(Clone, Default)]
struct Naive {
    /// Target and link of each KPI.
    kpis: Vec<(KpiId, Option<f64>, Option<Link>)>,
}

impl Naive {
    fn progress(&self, value_of: impl Fn(&KpiId) -> Option<f64>) -> GoalProgress {
        let inputs: Vec<_> = self
            .kpis
            .iter()
            .filter_map(|(kpi, target, link)| {
                let (weight, baseline) = (*link)?;
                let (kpi_id, current, target) = (kpi.clone(), value_of(kpi), *target);
                Some(KpiProgressInput { kpi_id, current, target, baseline, weight })
            })
            .collect();
        goal_progress(&inputs).unwrap()
    }
}

fn edit(tenant: &mut TenantConnection, goal: &GoalId, naive: &mut Naive, random: &mut Random) {
    let number = |random: &mut Random| f64::from(i32::try_from(random.below(21)).unwrap() - 10);
    let place = random.below(naive.kpis.len());
    let (kpi, target, link) = &mut naive.kpis[place];
    match (random.below(5), &link) {
        (0, _) => {
            *target = (!random.one_in(4)).then(|| number(random));
            let changes =
                KpiChanges { target_value: Some(target.map(finite)), ..KpiChanges::default() };
            tenant.kpis().update(kpi, &changes).unwrap();
        }
        // Nothing that a goal counts.
        (1, _) => {
            let changes = KpiChanges { name: Some(parse("Renamed")), ..KpiChanges::default() };
            tenant.kpis().update(kpi, &changes).unwrap();
        }
        (_, None) => {
            let (weight, baseline) =
                (number(random).abs(), random.one_in(2).then(|| number(random)));
            let new = NewGoalKpi {
                weight: Weight::new(weight).unwrap(),
                baseline: baseline.map(finite),
                ..NewGoalKpi::new(goal.clone(), kpi.clone())
            };
            tenant.goal_kpis().link(&new).unwrap();
            *link = Some((weight, baseline));
        }
        (2, Some(_)) => {
            tenant.goal_kpis().unlink(goal, kpi).unwrap();
            *link = None;
        }
        (3, Some((_, baseline))) => {
            let weight = number(random).abs();
            tenant.goal_kpis().reweigh(goal, kpi, Weight::new(weight).unwrap()).unwrap();
            *link = Some((weight, *baseline));
        }
        (_, Some((weight, _))) => {
            let baseline = random.one_in(2).then(|| number(random));
            let changes = GoalKpiChanges { baseline: Some(baseline.map(finite)), weight: None };
            tenant.goal_kpis().update(goal, kpi, &changes).unwrap();
            *link = Some((*weight, baseline));
        }
    }
}

#[test]
fn progress_as_of_any_moment_is_that_of_a_naive_record_of_the_edits() {
    let (seed, mut random) = Random::seeded();
    let world = World::new();
    for round in 0..long_or(3) {
        let mut tenant = world.as_member(&world.a);
        let goal = tenant.goals().create(&NewGoal::new(parse("Goal"))).unwrap().id;
        let mut naive = Naive::default();
        for n in 0..4 {
            let target = (n > 0).then_some(8.0);
            let new = NewKpi { target_value: target.map(finite), ..NewKpi::new(parse("KPI")) };
            naive.kpis.push((tenant.kpis().create(&new).unwrap().id, target, None));
        }
        let before = server_now(&mut tenant);
        let mut record = Vec::new();
        for _ in 0..30 {
            edit(&mut tenant, &goal, &mut naive, &mut random);
            record.push((server_now(&mut tenant), naive.clone()));
        }
        // Points of all times, recorded after the edits: as of a moment those before it count.
        let mut points = Vec::new();
        let first = record[0].0.get();
        let span = record[record.len() - 1].0.get() - first;
        for (kpi, ..) in &naive.kpis[..3] {
            for n in -1..5 {
                let value = f64::from(i32::try_from(random.below(12)).unwrap());
                points.push(NewDataPoint::new(kpi.clone(), value, first + span / 4 * n).unwrap());
            }
        }
        tenant.data_points().record_many(&points, OnExisting::Replace).unwrap();
        let value_at = |kpi: &KpiId, at: Timestamp| {
            let of_kpi = points.iter().filter(|p| p.kpi_id == *kpi && p.timestamp < at);
            of_kpi.max_by_key(|point| point.timestamp).map(|point| point.value.get())
        };
        let mut expected = vec![(before, Naive::default())];
        expected.extend(record.iter().cloned());
        for (n, (at, naive)) in expected.iter().enumerate() {
            let answer = tenant.goals().progress_as_of(&goal, *at).unwrap();
            let progress = naive.progress(|kpi| value_at(kpi, *at));
            assert_eq!(answer.progress, progress, "seed {seed}, round {round}, edit {n}");
            assert_eq!(goal_progress(&answer.inputs).unwrap(), answer.progress);
        }
        // As of now, and of any later moment, it is the live one.
        let live = tenant.goals().progress(&goal).unwrap();
        let later = stamp(record[record.len() - 1].0.get() + span + chrono::TimeDelta::days(1));
        assert_eq!(tenant.goals().progress_as_of(&goal, later).unwrap().progress, live);
    }
}

#[test]
fn what_was_deleted_since_counts_and_what_was_purged_is_gone() {
    let world = World::new();
    let mut tenant = world.as_owner(&world.a);
    let goal = world.a.goal.clone();
    let before = server_now(&mut tenant);
    let count = |tenant: &mut TenantConnection, at| {
        tenant.goals().progress_as_of(&goal, at).unwrap().inputs.len()
    };
    assert_eq!(count(&mut tenant, before), 1);
    tenant.commit().unwrap();
    let mut tenant = world.as_owner(&world.a);
    tenant.kpis().delete(&world.a.kpi).unwrap();
    let after = server_now(&mut tenant);
    assert_eq!((count(&mut tenant, before), count(&mut tenant, after)), (1, 0));
    tenant.kpis().purge(&world.a.kpi).unwrap();
    assert_eq!(count(&mut tenant, before), 0);
    // With the goal its history goes down.
    tenant.goals().delete(&goal).unwrap();
    assert_missing(tenant.goals().progress_as_of(&goal, before), "goal");
    tenant.goals().purge(&goal).unwrap();
    assert_missing(tenant.goals().progress_as_of(&world.b.goal, before), "goal");
}
