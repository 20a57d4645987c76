//! Goals' progress, as the database has the numbers and `progress` computes with them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use diesel::connection::{Connection, InstrumentationEvent};
use sesari_db::TenantConnection;
use sesari_db::id::GoalId;
use sesari_db::page::PageRequest;
use sesari_db::progress::{Excluded, KpiProgressInput, goal_progress};
use sesari_db::repo::{MemberFilter, NewDataPoint, NewGoal, NewGoalKpi, NewKpi};
use sesari_db::value::{Finite, Timestamp, Weight};

use super::tools::{assert_missing, parse};
use crate::support::{World, hour};

/// Current value, target, baseline and weight of a KPI.
type Numbers = (Option<f64>, Option<f64>, Option<f64>, f64);

fn finite(number: f64) -> Finite {
    Finite::new(number).unwrap()
}

/// Makes a goal of these KPIs, and what `goal_progress` should be given for it.
fn goal(tenant: &mut TenantConnection, numbers: &[Numbers]) -> (GoalId, Vec<KpiProgressInput>) {
    let goal = tenant.goals().create(&NewGoal::new(parse("Goal"))).unwrap().id;
    let inputs = numbers
        .iter()
        .map(|(current, target, baseline, weight)| {
            let new = NewKpi { target_value: target.map(finite), ..NewKpi::new(parse("KPI")) };
            let kpi = tenant.kpis().create(&new).unwrap().id;
            if let Some(current) = current {
                let point = NewDataPoint::new(kpi.clone(), *current, hour(0)).unwrap();
                tenant.data_points().record(&point).unwrap();
            }
            let link = NewGoalKpi {
                weight: Weight::new(*weight).unwrap(),
                baseline: baseline.map(finite),
                ..NewGoalKpi::new(goal.clone(), kpi.clone())
            };
            tenant.goal_kpis().link(&link).unwrap();
            KpiProgressInput {
                kpi_id: kpi,
                current: *current,
                target: *target,
                baseline: *baseline,
                weight: *weight,
            }
        })
        .collect();
    (goal, inputs)
}

fn cases() -> Vec<Vec<Numbers>> {
    vec![
        vec![],
        vec![(Some(50.0), Some(100.0), None, 1.0)],
        vec![(None, Some(100.0), None, 1.0), (Some(3.0), None, None, 1.0)],
        vec![(Some(3.0), Some(2.0), Some(6.0), 1.0), (Some(60.0), Some(80.0), Some(40.0), 3.0)],
        vec![(Some(5.0), Some(5.0), Some(5.0), 2.0), (Some(1.0), Some(9.0), None, 0.0)],
        vec![
            (Some(f64::MAX), Some(-f64::MAX), Some(5e-324), 1e6),
            (Some(-1.0), Some(0.0), None, 0.1),
        ],
        vec![(Some(300.0), Some(100.0), Some(-100.0), 0.5), (Some(-7.0), Some(7.0), None, 0.25)],
    ]
}

#[test]
fn the_databases_progress_is_that_of_the_pure_function() {
    let world = World::shared();
    let mut tenant = world.as_member(&world.a);
    let goals: Vec<_> = cases().iter().map(|numbers| goal(&mut tenant, numbers)).collect();
    let ids: Vec<_> = goals.iter().map(|(id, _)| id.clone()).collect();
    let many = tenant.goals().progress_of_many(&ids).unwrap();
    assert_eq!(many.len(), goals.len());
    for (id, inputs) in &goals {
        let expected = goal_progress(inputs).unwrap();
        assert_eq!(many[id], expected);
        assert_eq!(tenant.goals().progress(id).unwrap(), expected);
    }
    let first = tenant.goals().progress(&ids[1]).unwrap();
    assert_eq!(first.progress(), Some(0.5));
    let excluded = tenant.goals().progress(&ids[2]).unwrap();
    assert_eq!(excluded.kpis[0].excluded(), Some(Excluded::NotMeasured));
    assert_eq!(excluded.kpis[1].excluded(), Some(Excluded::NoTarget));
}

/// 0 would be far beyond the target of a KPI that should fall.
#[test]
fn a_falling_kpi_without_points_makes_no_progress() {
    let world = World::shared();
    let mut tenant = world.as_member(&world.a);
    let (id, inputs) = goal(&mut tenant, &[(None, Some(2.0), Some(6.0), 1.0)]);
    let progress = tenant.goals().progress(&id).unwrap();
    assert_eq!(
        (progress.progress(), progress.kpis[0].excluded()),
        (None, Some(Excluded::NotMeasured))
    );
    // The same once all its points are gone again.
    let kpi = &inputs[0].kpi_id;
    let point = NewDataPoint::new(kpi.clone(), 4.0, hour(0)).unwrap();
    tenant.data_points().record(&point).unwrap();
    assert_eq!(tenant.goals().progress(&id).unwrap().progress(), Some(0.5));
    let before = Timestamp::new(hour(1)).unwrap();
    assert_eq!(tenant.data_points().delete_before(Some(kpi), before, 10).unwrap(), 1);
    assert_eq!(tenant.goals().progress(&id).unwrap().progress(), None);
}

#[test]
fn deleted_kpis_and_absent_goals_are_left_out() {
    let world = World::shared();
    let mut tenant = world.as_member(&world.a);
    let (id, inputs) = goal(
        &mut tenant,
        &[(Some(5.0), Some(10.0), None, 1.0), (Some(9.0), Some(10.0), None, 1.0)],
    );
    tenant.kpis().delete(&inputs[1].kpi_id).unwrap();
    let progress = tenant.goals().progress(&id).unwrap();
    assert_eq!(progress, goal_progress(&inputs[..1]).unwrap());
    tenant.kpis().delete(&inputs[0].kpi_id).unwrap();
    let none = tenant.goals().progress(&id).unwrap();
    assert_eq!((none.progress(), none.kpis.len()), (None, 0));
    let ids = [GoalId::generate(), id.clone(), world.b.goal.clone(), id.clone()];
    let many = tenant.goals().progress_of_many(&ids).unwrap();
    assert_eq!(many.into_keys().collect::<Vec<_>>(), [id]);
    assert!(tenant.goals().progress_of_many(&[]).unwrap().is_empty());
    assert_missing(tenant.goals().progress(&GoalId::generate()), "goal");
}

/// Counts the queries that a guard's connection runs from now on.
fn count_queries(tenant: &mut TenantConnection) -> Arc<AtomicUsize> {
    let queries = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&queries);
    tenant.connection().set_instrumentation(move |event: InstrumentationEvent<'_>| {
        if matches!(event, InstrumentationEvent::StartQuery { .. }) {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    queries
}

#[test]
fn progress_of_any_number_of_goals_is_one_query() {
    let world = World::shared();
    let mut tenant = world.as_member(&world.a);
    let goals: Vec<_> = (0..30).map(|i| goal(&mut tenant, &cases()[i % 7]).0).collect();
    let kpis = tenant.goal_kpis().list(&goals[5]).unwrap();
    let queries = count_queries(&mut tenant);
    for number in [0, 1, 2, 30] {
        queries.store(0, Ordering::SeqCst);
        assert_eq!(tenant.goals().progress_of_many(&goals[..number]).unwrap().len(), number);
        assert_eq!(queries.load(Ordering::SeqCst), 1, "{number} goals");
    }
    // The counter does count: one at a time costs one each.
    queries.store(0, Ordering::SeqCst);
    for goal in &goals {
        tenant.goals().progress(goal).unwrap();
    }
    assert_eq!(queries.load(Ordering::SeqCst), 30);
    queries.store(0, Ordering::SeqCst);
    let ids: Vec<_> = kpis.into_iter().map(|linked| linked.kpi.id).collect();
    tenant.data_points().latest_of_many(&ids).unwrap();
    tenant.goal_kpis().list(&goals[5]).unwrap();
    tenant.members().list(&MemberFilter::default(), &PageRequest::default()).unwrap();
    assert_eq!(queries.load(Ordering::SeqCst), 3, "one for each list");
}
