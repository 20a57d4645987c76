//! A value that a newer version stored is read as `Unknown`, and panics nowhere.

use sesari_db::repo::{GoalFilter, MemberFilter, NewInvitation, SubscriptionFilter, UserFilter};
use sesari_db::tenancy::MemberRole;
use sesari_db::value::{AuthProvider, GoalStatus, Plan, Role, SubscriptionStatus};

use super::tools::{assert_invalid, page};
use crate::support::World;

fn future() -> String {
    "future".to_owned()
}

fn store(world: &World, table: &str, column: &str, condition: &str) {
    world.arrange(&format!(
        "ALTER TABLE {table} DROP CONSTRAINT {table}_{column}_check; \
         UPDATE {table} SET {column} = 'future' WHERE {condition}"
    ));
}

#[test]
fn an_unknown_status_of_a_goal_is_read_listed_and_filtered() {
    let world = World::new();
    store(&world, "goals", "status", "true");
    let mut tenant = world.as_member(&world.a);
    let unknown = GoalStatus::Unknown(future());
    assert_eq!(tenant.goals().find(&world.a.goal).unwrap().unwrap().status, unknown);
    for (status, expected) in [(unknown, 1), (GoalStatus::Active, 0)] {
        let filter = GoalFilter { status: Some(status), ..GoalFilter::default() };
        assert_eq!(tenant.goals().list(&filter, &page(9)).unwrap().items.len(), expected);
    }
    assert!(tenant.goals().progress(&world.a.goal).is_ok());
    assert_eq!(tenant.goals().resume(&world.a.goal).unwrap().status, GoalStatus::Active);
}

#[test]
fn an_unknown_role_is_read_and_grants_no_more_than_membership() {
    let world = World::new();
    let admin = &world.a.admin;
    store(&world, "workspace_users", "role", &format!("user_id = '{admin}'"));
    let mut tenant = world.as_admin(&world.a);
    assert_eq!(tenant.role().unwrap(), Some(MemberRole::Member(Role::Unknown(future()))));
    let member = tenant.members().find(admin).unwrap().unwrap();
    assert_eq!(member.membership.role, Role::Unknown(future()));
    let filter = MemberFilter { role: Some(Role::Unknown(future())), ..MemberFilter::default() };
    assert_eq!(tenant.members().count(&filter).unwrap(), 1);
    assert!(tenant.workspace().rename("x".parse().unwrap()).unwrap_err().is_not_found());
    let mut user = world.as_user(admin);
    let mine = user.my_workspaces().list(&page(9)).unwrap();
    assert_eq!(mine.items[0].role, Role::Unknown(future()));
}

#[test]
fn unknown_providers_plans_and_states_are_read() {
    let world = World::new();
    world.arrange(&format!(
        "INSERT INTO subscriptions (user_id, status, plan_type) VALUES ('{}', 'active', 'pro')",
        world.stranger
    ));
    store(&world, "users", "provider", "true");
    store(&world, "subscriptions", "status", "true");
    store(&world, "subscriptions", "plan_type", "true");
    let mut service = world.as_service();
    let user = service.users().find(&world.stranger).unwrap().unwrap();
    assert_eq!(user.provider, AuthProvider::Unknown(future()));
    let filter =
        UserFilter { provider: Some(user.provider), created_from: None, ..UserFilter::default() };
    assert_eq!(service.users().list(&filter, &page(9)).unwrap().items.len(), 7);
    let filter = SubscriptionFilter {
        status: Some(SubscriptionStatus::Unknown(future())),
        plan_type: Some(Plan::Unknown(future())),
    };
    assert_eq!(service.subscriptions().list(&filter, &page(9)).unwrap().items.len(), 1);
    let mine = world.as_user(&world.stranger).my_subscription().find().unwrap().unwrap();
    assert_eq!(mine.plan_type, Plan::Unknown(future()));
}

#[test]
fn this_version_cannot_store_what_it_does_not_know() {
    let world = World::new();
    let mut tenant = world.as_owner(&world.a);
    let unknown = Role::Unknown(future());
    let new = NewInvitation::new("new@example.com".parse().unwrap(), unknown);
    let invited = tenant.transaction(|tenant| tenant.invitations().create(&new).map(drop));
    assert_invalid(invited, "role");
    let status = Some(GoalStatus::Unknown(future()));
    let changes = sesari_db::repo::GoalChanges { status, ..Default::default() };
    assert_invalid(tenant.goals().update(&world.a.goal, &changes), "status");
}
