//! `goal_kpis`: which KPIs measure which goal.

use sesari_db::TenantConnection;
use sesari_db::id::GoalId;
use sesari_db::repo::{GoalKpiChanges, NewDataPoint, NewGoal, NewGoalKpi, NewKpi};
use sesari_db::value::{Finite, Weight};

use super::tools::{assert_conflict, assert_missing, parse};
use crate::support::{World, hour};

#[test]
fn a_link_is_made_found_reweighed_and_taken_off() {
    let world = World::shared();
    let mut tenant = world.as_member(&world.a);
    let kpi = tenant.kpis().create(&NewKpi::new(parse("Churn"))).unwrap().id;
    let goal = &world.a.goal;
    let new = NewGoalKpi {
        weight: Weight::new(2.5).unwrap(),
        baseline: Some(Finite::new(-3.0).unwrap()),
        ..NewGoalKpi::new(goal.clone(), kpi.clone())
    };
    let link = tenant.goal_kpis().link(&new).unwrap();
    assert_eq!((&link.id, &link.goal_id, &link.kpi_id), (&new.id, goal, &kpi));
    assert_eq!((link.weight, link.baseline), (2.5, Some(-3.0)));
    assert_eq!(link.workspace_id, world.a.workspace);
    assert_eq!(tenant.goal_kpis().find(goal, &kpi).unwrap().as_ref(), Some(&link));
    let mut links = tenant.goal_kpis();
    assert_eq!(links.update(goal, &kpi, &GoalKpiChanges::default()).unwrap(), link);
    let reweighed = links.reweigh(goal, &kpi, Weight::new(0.0).unwrap()).unwrap();
    assert_eq!((reweighed.weight, reweighed.baseline), (0.0, Some(-3.0)));
    let set = GoalKpiChanges { baseline: Some(Some(Finite::new(4.0).unwrap())), weight: None };
    let set = links.update(goal, &kpi, &set).unwrap();
    assert_eq!((set.weight, set.baseline), (0.0, Some(4.0)));
    let emptied = GoalKpiChanges { baseline: Some(None), weight: None };
    assert_eq!(links.update(goal, &kpi, &emptied).unwrap().baseline, None);
    links.unlink(goal, &kpi).unwrap();
    assert_eq!(links.find(goal, &kpi).unwrap(), None);
    assert_missing(links.unlink(goal, &kpi), "goal link");
    assert_missing(links.reweigh(goal, &kpi, Weight::default()), "goal link");
    assert_missing(links.update(goal, &kpi, &GoalKpiChanges::default()), "goal link");
    assert!(tenant.kpis().find(&kpi).unwrap().is_some(), "the KPI stays");
}

#[test]
fn a_kpi_is_linked_to_a_goal_once_and_to_many_goals() {
    let world = World::shared();
    let mut tenant = world.as_member(&world.a);
    let goal = tenant.goals().create(&NewGoal::new(parse("Second"))).unwrap().id;
    let second = NewGoalKpi::new(goal, world.a.kpi.clone());
    let linked = tenant.goal_kpis().link(&second).unwrap();
    assert_eq!((linked.weight, linked.baseline), (1.0, None));
    let again = NewGoalKpi::new(world.a.goal.clone(), world.a.kpi.clone());
    let result = tenant.transaction(|tenant| tenant.goal_kpis().link(&again));
    assert_conflict(result, "goal_kpis_workspace_id_goal_id_kpi_id_key");
}

#[test]
fn the_list_has_the_kpis_oldest_first_and_count_agrees() {
    let world = World::shared();
    let mut tenant = world.as_member(&world.a);
    let goal = tenant.goals().create(&NewGoal::new(parse("Many"))).unwrap().id;
    assert!(tenant.goal_kpis().list(&goal).unwrap().is_empty());
    let mut kpis: Vec<_> = (0..5)
        .map(|i| tenant.kpis().create(&NewKpi::new(parse(&format!("KPI {i}")))).unwrap())
        .collect();
    // Of those of one millisecond the id decides.
    kpis.sort_by_key(|kpi| (kpi.created_at, kpi.id.clone()));
    for kpi in kpis.iter().rev() {
        tenant.goal_kpis().link(&NewGoalKpi::new(goal.clone(), kpi.id.clone())).unwrap();
    }
    let listed = tenant.goal_kpis().list(&goal).unwrap();
    assert_eq!(
        listed.iter().map(|linked| &linked.kpi).collect::<Vec<_>>(),
        kpis.iter().collect::<Vec<_>>()
    );
    assert!(listed.iter().all(|linked| linked.link.kpi_id == linked.kpi.id));
    tenant.kpis().delete(&kpis[2].id).unwrap();
    assert_eq!(tenant.goal_kpis().list(&goal).unwrap().len(), 4);
    assert_eq!(tenant.goal_kpis().count(&goal).unwrap(), 4);
}

/// In one statement what `find`, `list` and `progress` have in three.
#[test]
fn a_goal_with_its_kpis_is_the_goal_and_the_list() {
    let world = World::shared();
    let mut tenant = world.as_member(&world.a);
    let goal = tenant.goals().create(&NewGoal::new(parse("Many"))).unwrap();
    let agree = |tenant: &mut TenantConnection, kpis: usize| {
        let found = tenant.goals().find_with_kpis(&goal.id).unwrap().unwrap();
        assert_eq!(Some(&found.goal), tenant.goals().find(&goal.id).unwrap().as_ref());
        assert_eq!(found.kpis, tenant.goal_kpis().list(&goal.id).unwrap());
        assert_eq!(found.progress().unwrap(), tenant.goals().progress(&goal.id).unwrap());
        assert_eq!(found.kpis.len(), kpis);
    };
    agree(&mut tenant, 0);
    let kpis: Vec<_> = (0..5)
        .map(|i| {
            let target = Some(Finite::new(9.0).unwrap());
            let new = NewKpi { target_value: target, ..NewKpi::new(parse(&format!("KPI {i}"))) };
            tenant.kpis().create(&new).unwrap().id
        })
        .collect();
    for kpi in kpis.iter().rev() {
        tenant.goal_kpis().link(&NewGoalKpi::new(goal.id.clone(), kpi.clone())).unwrap();
    }
    for (kpi, value) in kpis[..3].iter().zip([1.0, 2.0, 3.0]) {
        let point = NewDataPoint::new(kpi.clone(), value, hour(0)).unwrap();
        tenant.data_points().record(&point).unwrap();
    }
    agree(&mut tenant, 5);
    tenant.kpis().delete(&kpis[1]).unwrap();
    agree(&mut tenant, 4);
    for kpi in &kpis {
        let _ = tenant.kpis().delete(kpi);
    }
    agree(&mut tenant, 0);
    tenant.goals().delete(&goal.id).unwrap();
    for id in [&goal.id, &world.b.goal, &GoalId::generate()] {
        assert_eq!(tenant.goals().find_with_kpis(id).unwrap(), None);
    }
}
