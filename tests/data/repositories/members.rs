//! Who is in a workspace, as what.

use std::cell::Cell;

use sesari_db::Error;
use sesari_db::id::UserId;
use sesari_db::repo::{KpiFilter, MemberFilter, NewKpi};
use sesari_db::value::Role;

use super::tools::{assert_conflict, assert_invalid, assert_missing, walk};
use crate::support::{World, add_member, service, sign_up};

#[test]
fn a_member_is_added_found_promoted_and_removed() {
    let world = World::new();
    let added = add_member(&world.db, &world.a.workspace, &world.stranger, Role::Member);
    let mut tenant = world.as_owner(&world.a);
    assert_eq!((&added.user_id, &added.role), (&world.stranger, &Role::Member));
    let found = tenant.members().find(&world.stranger).unwrap().unwrap();
    assert_eq!((&found.membership, found.email.as_str()), (&added, "stranger@example.com"));
    assert_eq!(found.name.unwrap().as_str(), "stranger");
    let promoted = tenant.members().change_role(&world.stranger, Role::Admin).unwrap();
    assert_eq!((&promoted.id, &promoted.role), (&added.id, &Role::Admin));
    assert_eq!(promoted.joined_at, added.joined_at);
    tenant.members().remove(&world.stranger).unwrap();
    assert_eq!(tenant.members().find(&world.stranger).unwrap(), None);
    assert_missing(tenant.members().remove(&world.stranger), "member");
    assert_missing(tenant.members().change_role(&world.stranger, Role::Admin), "member");
}

#[test]
fn one_user_is_one_member_and_nobody_is_none() {
    let world = World::shared();
    let a = &world.a;
    let mut service = world.as_service();
    let again = service
        .transaction(|service| service.memberships().add(&a.workspace, &a.member, Role::Admin));
    assert_conflict(again, "workspace_users_workspace_id_user_id_key");
    let nobody = service.transaction(|service| {
        service.memberships().add(&a.workspace, &UserId::generate(), Role::Member)
    });
    assert_missing(nobody, "user");
    let nowhere = "nowhere".parse().unwrap();
    assert_missing(service.memberships().add(&nowhere, &world.stranger, Role::Member), "workspace");
}

#[test]
fn list_and_count_agree_and_pages_give_each_member_once() {
    let world = World::shared();
    let mut tenant = world.as_owner(&world.a);
    for (i, role) in (0..7).zip(Role::ALL.iter().cycle()) {
        let user = sign_up(&world.db, &format!("joiner-{i}"));
        add_member(&world.db, &world.a.workspace, &user, role.clone());
    }
    let all = walk(1000, |page| tenant.members().list(&MemberFilter::default(), page));
    assert_eq!(all.len(), 10);
    assert!(all.is_sorted_by_key(|member| member.membership.joined_at));
    assert!(all.iter().all(|member| member.name.is_some()));
    for role in Role::ALL.iter().cloned().map(Some).chain([None]) {
        let filter = MemberFilter { role, ..MemberFilter::default() };
        let expected: Vec<_> = all
            .iter()
            .filter(|one| filter.role.as_ref().is_none_or(|role| *role == one.membership.role))
            .cloned()
            .collect();
        for limit in [1, 3, 10, 11] {
            let listed = walk(limit, |page| tenant.members().list(&filter, page));
            assert_eq!(listed, expected, "{filter:?}");
        }
        let count = tenant.members().count(&filter).unwrap();
        assert_eq!(count, i64::try_from(expected.len()).unwrap(), "{filter:?}");
    }
}

#[test]
fn admins_manage_members_and_admins_but_no_owners() {
    let world = World::shared();
    let mut admin = world.as_admin(&world.a);
    let (member, owner) = (&world.a.member, &world.a.owner);
    admin.members().change_role(member, Role::Admin).unwrap();
    admin.members().change_role(member, Role::Member).unwrap();
    let raised = admin.transaction(|admin| admin.members().change_role(member, Role::Owner));
    assert!(raised.unwrap_err().is_denied());
    assert_missing(admin.members().change_role(owner, Role::Admin), "member");
    assert_missing(admin.members().remove(owner), "member");
    admin.members().remove(member).unwrap();
    let own = admin.transaction(|admin| admin.members().change_role(&world.a.admin, Role::Owner));
    assert!(own.unwrap_err().is_denied());
}

#[test]
fn members_manage_nobody_and_may_leave() {
    let world = World::shared();
    let mut member = world.as_member(&world.a);
    for user in [&world.a.owner, &world.a.admin, &world.a.member] {
        assert_missing(member.members().change_role(user, Role::Admin), "member");
    }
    for user in [&world.a.owner, &world.a.admin] {
        assert_missing(member.members().remove(user), "member");
    }
    member.members().leave().unwrap();
    assert_eq!(member.kpis().find(&world.a.kpi).unwrap(), None, "access ended with the statement");
    assert_missing(member.members().leave(), "member");
    member.commit().unwrap();
    assert_eq!(world.as_member(&world.a).role().unwrap(), None);
}

#[test]
fn the_last_owner_neither_leaves_nor_steps_down() {
    let world = World::shared();
    let owner = &world.a.owner;
    let mut tenant = world.as_owner(&world.a);
    let left = tenant.transaction(|tenant| tenant.members().leave());
    assert!(matches!(left, Err(Error::LastOwner)), "{left:?}");
    let removed = tenant.transaction(|tenant| tenant.members().remove(owner));
    assert!(matches!(removed, Err(Error::LastOwner)), "{removed:?}");
    for role in [Role::Admin, Role::Member] {
        let down = tenant.transaction(|tenant| tenant.members().change_role(owner, role.clone()));
        assert!(matches!(down, Err(Error::LastOwner)), "{down:?}");
    }
    assert_eq!(tenant.members().change_role(owner, Role::Owner).unwrap().role, Role::Owner);
    tenant.members().change_role(&world.a.admin, Role::Owner).unwrap();
    tenant.members().change_role(owner, Role::Member).unwrap();
    assert_missing(tenant.members().change_role(owner, Role::Owner), "member");
}

#[test]
fn a_service_is_no_member() {
    let world = World::shared();
    let mut tenant = world.db.tenant(service(), &world.a.workspace).unwrap();
    assert_missing(tenant.members().leave(), "member");
    assert_eq!(tenant.members().count(&MemberFilter::default()).unwrap(), 3);
    assert_missing(tenant.members().remove(&world.a.member), "member");
}

/// Who may what: the first who may, and what is said to those who may not.
#[test]
fn a_requirement_tells_a_stranger_from_a_member_who_may_less() {
    use sesari_db::Scope;
    use sesari_db::tenancy::{Actor, MemberRole};
    use sesari_db::value::Role::{Admin, Member, Owner};

    let world = World::shared();
    let a = &world.a;
    let actors: [(Actor, usize); 4] = [
        ((&a.member).into(), 1),
        ((&a.admin).into(), 2),
        ((&a.owner).into(), 3),
        ((&crate::support::service()).into(), 1),
    ];
    for (actor, allowed) in actors {
        for (n, role) in [Member, Admin, Owner].into_iter().enumerate() {
            let asked = world.db.tenant(actor.clone(), &a.workspace).unwrap().require(&role);
            let ran = Cell::new(false);
            let scope = Scope::tenant(actor.clone(), &a.workspace).require(role.clone());
            let unit = world.db.run("kpi.count", scope, |tenant| {
                ran.set(true);
                tenant.kpis().count(&KpiFilter::default())
            });
            if n < allowed {
                assert!(asked.is_ok(), "{actor:?} {role}: {asked:?}");
                assert_eq!(unit.unwrap(), 1);
            } else {
                assert!(asked.unwrap_err().is_denied(), "{actor:?} {role}");
                assert!(unit.unwrap_err().is_denied() && !ran.get(), "{actor:?} {role}");
            }
        }
    }
    let found = world.as_owner(a).require(&Member).unwrap();
    assert_eq!(found, MemberRole::Member(Owner));
    assert_invalid(world.as_owner(a).require(&Role::Unknown("chief".into())), "role");

    // A workspace of others is as good as none.
    for workspace in [&world.b.workspace, &sesari_db::id::WorkspaceId::generate()] {
        let scope = Scope::tenant(&a.owner, workspace).require(Member);
        let unit =
            world.db.run("kpi.count", scope, |tenant| tenant.kpis().count(&KpiFilter::default()));
        assert_missing(unit, "workspace");
    }
}

/// The requirement is a statement of its own, and so the unit is not one of a single statement.
#[test]
fn a_required_role_and_a_single_statement_go_together() {
    use sesari_db::Scope;

    let world = World::shared();
    let scope = || Scope::tenant(&world.a.owner, &world.a.workspace).single_statement();
    let new = NewKpi::new("Orders".parse().unwrap());
    let made = world
        .db
        .run("kpi.create", scope().require(Role::Owner), |tenant| tenant.kpis().create(&new));
    assert_eq!(made.unwrap().id, new.id);
}

#[test]
fn what_is_not_found_is_an_error_of_get() {
    let world = World::shared();
    let mut tenant = world.as_member(&world.a);
    assert_eq!(tenant.kpis().get(&world.a.kpi).unwrap().id, world.a.kpi);
    assert_missing(tenant.kpis().get(&world.b.kpi), "kpi");
    assert_missing(tenant.goals().get(&world.b.goal), "goal");
    assert_missing(tenant.members().get(&world.b.owner), "member");
    assert_missing(tenant.goal_kpis().get(&world.b.goal, &world.b.kpi), "goal link");
    assert_eq!(tenant.workspace().get().unwrap().id, world.a.workspace);
    drop(tenant);
    let mut user = world.as_user(&world.stranger);
    assert_eq!(user.me().get().unwrap().id, world.stranger);
    assert_missing(user.my_workspaces().get(&world.a.workspace), "workspace");
    assert_missing(user.my_subscription().get(), "subscription");
}
