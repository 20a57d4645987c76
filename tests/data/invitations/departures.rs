//! Deleting users, and what becomes of what they own.

use std::slice;

use sesari_db::Error;
use sesari_db::error::DepartureError;
use sesari_db::id::{UserId, WorkspaceId};
use sesari_db::page::PageRequest;
use sesari_db::repo::{AuditFilter, Succession};
use sesari_db::value::Role;

use crate::support::{World, add_member, create_workspace, service, sign_up};

/// Around a set-up that changes more than one transaction may.
const UNAUDITED: &str = "ALTER TABLE workspaces DISABLE TRIGGER workspaces_audit;
    ALTER TABLE workspace_users DISABLE TRIGGER workspace_users_audit;";
const AUDITED: &str = "ALTER TABLE workspaces ENABLE TRIGGER workspaces_audit;
    ALTER TABLE workspace_users ENABLE TRIGGER workspace_users_audit;";

fn heir(workspace: &WorkspaceId, user: &UserId) -> Succession {
    Succession::Heir { workspace: workspace.clone(), user: user.clone() }
}

#[track_caller]
fn undecided<T: std::fmt::Debug>(result: sesari_db::Result<T>) -> Vec<WorkspaceId> {
    match result {
        Err(Error::Departure(DepartureError::Undecided { workspaces })) => workspaces,
        other => panic!("expected undecided workspaces, got {other:?}"),
    }
}

#[test]
fn a_user_goes_when_every_workspace_is_decided_and_nothing_is_half_done() {
    let world = World::new();
    let (owner, a) = (&world.a.owner, &world.a);
    let second = create_workspace(&world.db, owner, "second");
    let shared = create_workspace(&world.db, owner, "shared");
    add_member(&world.db, &shared, &world.b.owner, Role::Owner);
    add_member(&world.db, &world.b.workspace, owner, Role::Member);
    let mut scoped = world.db.service(&service()).unwrap();
    let sole =
        scoped.memberships().sole_ownerships(owner, &PageRequest::first(1).unwrap()).unwrap();
    assert_eq!(sole.items[0].workspace_id, a.workspace);
    let rest = PageRequest::first(9).unwrap().after(sole.next.unwrap());
    let sole = scoped.memberships().sole_ownerships(owner, &rest).unwrap();
    assert_eq!((sole.items.len(), &sole.items[0].workspace_id), (1, &second));
    assert_eq!(sole.items[0].workspace_name.as_str(), "Workspace second");

    let mut both = vec![a.workspace.clone(), second.clone()];
    both.sort();
    assert_eq!(undecided(scoped.users().delete(owner, &[])), both);
    let one = [heir(&a.workspace, &a.member)];
    assert_eq!(undecided(scoped.users().delete(owner, &one)), slice::from_ref(&second));
    // No heir: a stranger, the leaver.
    for nobody in [&world.stranger, owner] {
        let decisions =
            [heir(&a.workspace, nobody), Succession::Delete { workspace: second.clone() }];
        assert_eq!(
            undecided(scoped.users().delete(owner, &decisions)),
            slice::from_ref(&a.workspace)
        );
    }
    assert_eq!(world.count(&format!("workspace_users WHERE user_id = '{owner}'")), 4);
    // Not asked for: others own it, and its deletion is not this user's to decide.
    let decisions = [
        heir(&a.workspace, &a.member),
        Succession::Delete { workspace: second.clone() },
        Succession::Delete { workspace: shared.clone() },
        Succession::Delete { workspace: world.b.workspace.clone() },
    ];
    scoped.users().delete(owner, &decisions).unwrap();
    scoped.commit().unwrap();
    assert_eq!(world.count(&format!("users WHERE id = '{owner}'")), 0);
    assert_eq!(world.count(&format!("workspaces WHERE id = '{second}'")), 0);
    assert_eq!(
        world.count(&format!("workspaces WHERE id IN ('{shared}', '{}')", world.b.workspace)),
        2
    );
    let mut tenant = world.db.tenant(&a.member, &a.workspace).unwrap();
    let role = tenant.members().find(&a.member).unwrap().unwrap().membership.role;
    assert_eq!(role, Role::Owner);
    let log =
        tenant.audit_log().list(&AuditFilter::default(), &PageRequest::default()).unwrap().items;
    let told: Vec<_> = log[..2].iter().map(|e| (e.action.as_str(), e.actor_id.as_str())).collect();
    assert_eq!(told, [("member.remove", "test-service"), ("member.change_role", "test-service")]);
    assert!(tenant.audit_log().verify(None).unwrap().is_intact());
}

#[test]
fn two_decisions_for_one_workspace_are_none() {
    let world = World::new();
    let workspace = &world.a.workspace;
    let decisions =
        [heir(workspace, &world.a.member), Succession::Delete { workspace: workspace.clone() }];
    let mut scoped = world.db.service(&service()).unwrap();
    let refused = scoped.users().delete(&world.a.owner, &decisions).unwrap_err();
    assert!(matches!(&refused, Error::Invalid(invalid) if invalid.field() == "decisions"));
    for at_most in [0, 501] {
        let refused = scoped.memberships().leave(&world.a.member, &[], at_most).unwrap_err();
        assert!(matches!(&refused, Error::Invalid(invalid) if invalid.field() == "at_most"));
    }
}

#[test]
fn somebody_who_is_in_very_many_workspaces_leaves_in_parts() {
    let world = World::new();
    let user = sign_up(&world.db, "joiner");
    world.arrange(&format!(
        "{UNAUDITED}
         INSERT INTO workspaces (id, name, slug) SELECT 'many' || i, 'Many', 'many-' || i FROM generate_series(1, 1200) AS i;
         INSERT INTO workspace_users (id, workspace_id, user_id, role)
         SELECT 'mo', 'many' || i, '{}', 'owner' FROM generate_series(1, 1200) AS i WHERE i <> 7;
         INSERT INTO workspace_users (id, workspace_id, user_id, role)
         SELECT 'mj', 'many' || i, '{user}', 'owner' FROM generate_series(1, 1200) AS i;
         {AUDITED}",
        world.b.owner
    ));
    let mut scoped = world.db.service(&service()).unwrap();
    let refused = scoped.transaction(|scoped| scoped.users().delete(&user, &[]));
    assert!(
        matches!(refused, Err(Error::Departure(DepartureError::TooManyMemberships))),
        "{refused:?}"
    );
    // Of the last part, and told before the first is done.
    let seventh: WorkspaceId = "many7".parse().unwrap();
    assert_eq!(undecided(scoped.memberships().leave(&user, &[], 500)), slice::from_ref(&seventh));
    drop(scoped);
    let decisions = [Succession::Delete { workspace: seventh }];
    let mut parts = Vec::new();
    loop {
        let mut scoped = world.db.service(&service()).unwrap();
        let left = scoped.memberships().leave(&user, &decisions, 500).unwrap();
        scoped.commit().unwrap();
        parts.push(left);
        if left == 0 {
            break;
        }
    }
    assert_eq!(parts, [500, 500, 200, 0]);
    let mut scoped = world.db.service(&service()).unwrap();
    scoped.users().delete(&user, &[]).unwrap();
    scoped.commit().unwrap();
    assert_eq!(world.count("workspaces WHERE id LIKE 'many%'"), 1199);
}

#[test]
fn the_largest_part_fits_into_a_transaction_when_each_workspace_gets_a_heir() {
    let world = World::new();
    let user = sign_up(&world.db, "joiner");
    world.arrange(&format!(
        "{UNAUDITED}
         INSERT INTO workspaces (id, name, slug) SELECT 'many' || i, 'Many', 'many-' || i FROM generate_series(1, 500) AS i;
         INSERT INTO workspace_users (id, workspace_id, user_id, role)
         SELECT v.id, 'many' || i, v.user_id, v.role
           FROM generate_series(1, 500) AS i, (VALUES ('mj', '{user}', 'owner'), ('mo', '{}', 'member')) AS v (id, user_id, role);
         INSERT INTO subscriptions (user_id, status, plan_type) VALUES ('{user}', 'active', 'pro');
         {AUDITED}",
        world.stranger
    ));
    let decisions: Vec<_> =
        (1..=500).map(|i| heir(&format!("many{i}").parse().unwrap(), &world.stranger)).collect();
    let mut scoped = world.db.service(&service()).unwrap();
    scoped.users().delete(&user, &decisions).unwrap();
    scoped.commit().unwrap();
    assert_eq!(
        world.count(&format!(
            "workspace_users WHERE user_id = '{}' AND role = 'owner'",
            world.stranger
        )),
        500
    );
}

#[test]
fn an_only_owner_who_never_agreed_gets_out() {
    let world = World::new();
    let mut scoped = world.db.service(&service()).unwrap();
    let decision = [Succession::Delete { workspace: world.a.workspace.clone() }];
    assert_eq!(scoped.memberships().leave(&world.a.owner, &decision, 1).unwrap(), 1);
    scoped.commit().unwrap();
    assert_eq!(world.count(&format!("workspaces WHERE id = '{}'", world.a.workspace)), 0);
    assert_eq!(world.count(&format!("users WHERE id = '{}'", world.a.owner)), 1);
}

#[test]
fn a_service_deletes_a_workspace_that_nobody_owns_and_no_other() {
    let world = World::new();
    let mut scoped = world.db.service(&service()).unwrap();
    let owned = scoped.memberships().delete_ownerless_workspace(&world.a.workspace).unwrap_err();
    assert!(owned.is_not_found());
    let nowhere = scoped.memberships().delete_ownerless_workspace(&"nowhere".parse().unwrap());
    assert!(nowhere.unwrap_err().is_not_found());
    world.arrange(&format!(
        "ALTER TABLE workspace_users DISABLE TRIGGER USER;
         DELETE FROM workspace_users WHERE user_id = '{}';
         ALTER TABLE workspace_users ENABLE TRIGGER USER",
        world.a.owner
    ));
    scoped.memberships().delete_ownerless_workspace(&world.a.workspace).unwrap();
    scoped.commit().unwrap();
    let told = format!(
        "audit_log WHERE workspace_id = '{}' AND action = 'workspace.delete' AND actor_id = 'test-service'",
        world.a.workspace
    );
    assert_eq!(world.count(&told), 1);
}

#[test]
fn nobody_but_a_service_calls_what_is_a_services() {
    use diesel::connection::SimpleConnection;
    let world = World::shared();
    let mut tenant = world.guard(&world.a.owner, &world.a);
    for call in [
        "add_member('m1', 'w1', 'u1', 'owner')",
        "sole_ownerships('u1', NULL, NULL, 1)",
        "leave_workspaces('u1', '{}', '{}', 1)",
        "delete_user('u1', '{}', '{}')",
        "delete_ownerless_workspace('w1')",
    ] {
        let sql = format!("SELECT sesari.{call}");
        let refused: sesari_db::Result<()> =
            tenant.transaction(|tenant| Ok(tenant.connection().batch_execute(&sql)?));
        assert!(refused.unwrap_err().is_denied(), "{call}");
    }
}
