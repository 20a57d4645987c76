//! `goals`.

use sesari_db::repo::{Deleted, Goal, GoalChanges, GoalFilter, NewGoal, NewGoalKpi, NewKpi};
use sesari_db::value::{GoalStatus, Timestamp};

use super::tools::{assert_conflict, assert_missing, parse, walk};
use crate::support::{World, hour};

fn at(hours: i64) -> Timestamp {
    Timestamp::new(hour(hours)).unwrap()
}

fn full() -> NewGoal {
    NewGoal {
        description: Some(parse("Why")),
        target_date: Some(at(24)),
        ..NewGoal::new(parse("Title"))
    }
}

#[test]
fn a_goal_is_created_active_and_found() {
    let world = World::shared();
    let mut tenant = world.as_member(&world.a);
    let new = full();
    let goal = tenant.goals().create(&new).unwrap();
    assert_eq!((&goal.id, &goal.workspace_id), (&new.id, &world.a.workspace));
    assert_eq!((&goal.title, &goal.description), (&new.title, &new.description));
    assert_eq!((goal.target_date, &goal.status), (Some(at(24)), &GoalStatus::Active));
    assert_eq!(tenant.goals().find(&goal.id).unwrap().as_ref(), Some(&goal));
    assert_conflict(tenant.goals().create(&NewGoal { id: goal.id, ..full() }), "goals_pkey");
}

/// A change, and what it does.
type Case = (GoalChanges, fn(&mut Goal));

#[test]
fn changes_leave_empty_and_set_each_column() {
    let world = World::shared();
    let mut tenant = world.as_member(&world.a);
    let mut expected = tenant.goals().create(&full()).unwrap();
    let id = expected.id.clone();
    assert_eq!(tenant.goals().update(&id, &GoalChanges::default()).unwrap(), expected);
    let default = GoalChanges::default;
    let cases: Vec<Case> = vec![
        (GoalChanges { title: Some(parse("T")), ..default() }, |goal| goal.title = parse("T")),
        (GoalChanges { description: Some(Some(parse("D"))), ..default() }, |goal| {
            goal.description = Some(parse("D"));
        }),
        (GoalChanges { description: Some(None), ..default() }, |goal| goal.description = None),
        (GoalChanges { target_date: Some(Some(at(1))), ..default() }, |goal| {
            goal.target_date = Some(at(1));
        }),
        (GoalChanges { target_date: Some(None), ..default() }, |goal| goal.target_date = None),
        (GoalChanges { status: Some(GoalStatus::Paused), ..default() }, |goal| {
            goal.status = GoalStatus::Paused;
        }),
    ];
    for (changes, change) in cases {
        let changed = tenant.goals().update(&id, &changes).unwrap();
        assert!(changed.updated_at > expected.updated_at, "{changes:?}");
        change(&mut expected);
        expected.updated_at = changed.updated_at;
        assert_eq!(changed, expected, "{changes:?}");
    }
    for (changed, status) in [
        (tenant.goals().complete(&id), GoalStatus::Completed),
        (tenant.goals().pause(&id), GoalStatus::Paused),
        (tenant.goals().resume(&id), GoalStatus::Active),
    ] {
        assert_eq!(changed.unwrap().status, status);
    }
}

#[test]
fn list_and_count_agree_on_every_filter_and_pages_give_each_goal_once() {
    let world = World::new();
    let mut tenant = world.as_member(&world.a);
    for i in 0..11_i64 {
        let target_date = (i % 4 != 3).then(|| at(i));
        let goal = tenant.goals().create(&NewGoal { target_date, ..full() }).unwrap();
        match i % 3 {
            0 => drop(tenant.goals().complete(&goal.id).unwrap()),
            1 => drop(tenant.goals().pause(&goal.id).unwrap()),
            _ => {}
        }
        if i % 5 == 0 {
            tenant.goals().delete(&goal.id).unwrap();
        }
    }
    tenant.commit().unwrap();
    world.arrange(&format!(
        "UPDATE goals SET created_at = '2026-01-01' WHERE status <> 'active' AND workspace_id = '{}'",
        world.a.workspace
    ));
    let mut tenant = world.as_member(&world.a);
    let everything = GoalFilter { deleted: Deleted::Include, ..GoalFilter::default() };
    let all = walk(1000, |page| tenant.goals().list(&everything, page));
    assert_eq!(all.len(), 12);
    for status in GoalStatus::ALL.iter().cloned().map(Some).chain([None]) {
        for due_from in [None, Some(at(0)), Some(at(4)), Some(at(100))] {
            for due_before in [None, Some(at(4)), Some(at(10))] {
                for deleted in [Deleted::Exclude, Deleted::Only, Deleted::Include] {
                    let filter = GoalFilter {
                        status: status.clone(),
                        due_from,
                        due_before,
                        deleted,
                        ..GoalFilter::default()
                    };
                    let due = |goal: &Goal| goal.target_date;
                    let matches = |goal: &&Goal| {
                        status.as_ref().is_none_or(|status| *status == goal.status)
                            && due_from.is_none_or(|from| due(goal).is_some_and(|at| at >= from))
                            && due_before.is_none_or(|to| due(goal).is_some_and(|at| at < to))
                            && match deleted {
                                Deleted::Exclude => goal.deleted_at.is_none(),
                                Deleted::Only => goal.deleted_at.is_some(),
                                Deleted::Include => true,
                            }
                    };
                    let expected: Vec<_> = all.iter().filter(matches).cloned().collect();
                    let listed = walk(3, |page| tenant.goals().list(&filter, page));
                    assert_eq!(listed, expected, "{filter:?}");
                    let count = tenant.goals().count(&filter).unwrap();
                    assert_eq!(count, i64::try_from(expected.len()).unwrap(), "{filter:?}");
                }
            }
        }
    }
}

#[test]
fn a_deleted_goal_is_gone_from_everything_and_comes_back_with_its_links() {
    let world = World::shared();
    let mut tenant = world.as_member(&world.a);
    let id = &world.a.goal;
    tenant.goals().delete(id).unwrap();
    assert_eq!(tenant.goals().find(id).unwrap(), None);
    assert_eq!(tenant.goals().count(&GoalFilter::default()).unwrap(), 0);
    assert_missing(tenant.goals().update(id, &GoalChanges::default()), "goal");
    assert_missing(tenant.goals().complete(id), "goal");
    assert_missing(tenant.goals().delete(id), "goal");
    assert_missing(tenant.goals().progress(id), "goal");
    assert!(tenant.goals().progress_of_many(std::slice::from_ref(id)).unwrap().is_empty());
    let kpi = tenant.kpis().create(&NewKpi::new(parse("Other"))).unwrap().id;
    let link = NewGoalKpi::new(id.clone(), kpi);
    assert_missing(tenant.goal_kpis().link(&link), "goal or kpi");
    assert_eq!(tenant.goals().restore(id).unwrap().deleted_at, None);
    assert_missing(tenant.goals().restore(id), "goal");
    assert_eq!(tenant.goal_kpis().count(id).unwrap(), 1);
    assert!(tenant.goals().progress(id).is_ok());
}

#[test]
fn a_purge_takes_the_links_along_and_is_for_owners_and_admins() {
    let world = World::shared();
    let id = &world.a.goal;
    assert_missing(world.as_owner(&world.a).goals().purge(id), "goal");
    let mut member = world.as_member(&world.a);
    member.goals().delete(id).unwrap();
    assert_missing(member.goals().purge(id), "goal");
    member.commit().unwrap();
    for purge in [World::as_admin, World::as_owner] {
        let mut tenant = purge(&world, &world.a);
        tenant.goals().purge(id).unwrap();
        assert_missing(tenant.goals().purge(id), "goal");
        assert_missing(tenant.goals().restore(id), "goal");
        let conn = tenant.connection();
        assert_eq!(super::tools::count(conn, "goal_kpis"), 0);
        assert_eq!(super::tools::count(conn, "kpis"), 1);
    }
}
