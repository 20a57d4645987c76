//! `audit_log`: who changed what.

use diesel::connection::SimpleConnection;
use serde_json::json;
use sesari_db::TenantConnection;
use sesari_db::repo::{AuditEntry, AuditFilter};
use sesari_db::value::Role;

use super::tools::{page, parse, raw, walk};
use crate::support::{World, add_member, hour, service};

/// Entries are given their place at the commit: here before each look.
fn all(tenant: &mut TenantConnection) -> Vec<AuditEntry> {
    chain(tenant);
    walk(1000, |page| tenant.audit_log().list(&AuditFilter::default(), page))
}

fn chain(tenant: &mut TenantConnection) {
    tenant.connection().batch_execute("SET CONSTRAINTS ALL IMMEDIATE").unwrap();
}

fn newest(tenant: &mut TenantConnection) -> AuditEntry {
    chain(tenant);
    tenant.audit_log().list(&AuditFilter::default(), &page(1)).unwrap().items.remove(0)
}

#[test]
fn changes_of_membership_are_recorded_with_actor_row_and_columns() {
    let world = World::shared();
    let membership = add_member(&world.db, &world.a.workspace, &world.stranger, Role::Member);
    let mut tenant = world.as_admin(&world.a);
    let added = newest(&mut tenant);
    assert_eq!(
        (added.action.as_str(), added.table_name.as_str()),
        ("member.add", "workspace_users")
    );
    assert_eq!(
        (added.actor_kind.as_str(), added.actor_id.as_str()),
        ("service", service().as_str())
    );
    assert_eq!(
        (added.row_id.as_str(), &added.workspace_id),
        (membership.id.as_str(), &Some(world.a.workspace.clone()))
    );
    assert_eq!(added.changes["user_id"], json!({"new": world.stranger}));
    assert_eq!(added.changes["role"], json!({"new": "member"}));
    tenant.members().change_role(&world.stranger, Role::Admin).unwrap();
    let changed = newest(&mut tenant);
    assert_eq!(changed.action, "member.change_role");
    assert_eq!(changed.changes, json!({"role": {"old": "member", "new": "admin"}}));
    tenant.members().remove(&world.stranger).unwrap();
    let removed = newest(&mut tenant);
    assert_eq!((removed.action.as_str(), removed.row_id), ("member.remove", added.row_id));
    assert_eq!(removed.changes["user_id"], json!({"old": world.stranger}));
    let before = all(&mut tenant).len();
    tenant.members().change_role(&world.a.member, Role::Member).unwrap();
    assert_eq!(all(&mut tenant).len(), before, "a change of nothing is no entry");
}

#[test]
fn changes_of_the_workspace_are_recorded() {
    let world = World::shared();
    let mut tenant = world.as_owner(&world.a);
    let created = all(&mut tenant).pop().unwrap();
    assert_eq!(
        (created.action.as_str(), created.row_id.as_str()),
        ("workspace.create", world.a.workspace.as_str())
    );
    assert_eq!(created.actor_id, world.a.owner.to_string());
    tenant.workspace().rename(parse("Renamed")).unwrap();
    let entry = newest(&mut tenant);
    assert_eq!(entry.action, "workspace.update");
    let old = format!("Workspace {}", world.a.slug);
    assert_eq!(entry.changes, json!({"name": {"old": old, "new": "Renamed"}}));
}

#[test]
fn daily_work_is_not_recorded_and_each_purge_is() {
    let world = World::shared();
    let (kpi, goal) = (&world.a.kpi, &world.a.goal);
    let mut tenant = world.as_admin(&world.a);
    let before = all(&mut tenant).len();
    tenant.kpis().deactivate(kpi).unwrap();
    tenant.goals().complete(goal).unwrap();
    tenant.kpis().delete(kpi).unwrap();
    tenant.goals().delete(goal).unwrap();
    assert_eq!(all(&mut tenant).len(), before);
    tenant.kpis().purge(kpi).unwrap();
    let purged = newest(&mut tenant);
    assert_eq!((purged.action.as_str(), purged.row_id.as_str()), ("kpi.purge", kpi.as_str()));
    assert_eq!(
        (purged.table_name.as_str(), purged.actor_id.as_str()),
        ("kpis", world.a.admin.as_str())
    );
    assert_eq!(purged.changes["name"], json!({"old": "Revenue"}));
    tenant.goals().purge(goal).unwrap();
    let purged = newest(&mut tenant);
    assert_eq!((purged.action.as_str(), purged.row_id.as_str()), ("goal.purge", goal.as_str()));
    assert_eq!(purged.changes["title"], json!({"old": "Grow"}));
    assert_eq!(all(&mut tenant).len(), before + 2, "none for points and links");
}

#[test]
fn a_change_without_a_context_is_the_systems() {
    let world = World::new();
    world.arrange(&format!("UPDATE workspaces SET name = 'x' WHERE id = '{}'", world.a.workspace));
    let mut tenant = world.as_owner(&world.a);
    let entry = newest(&mut tenant);
    assert_eq!((entry.action.as_str(), entry.actor_kind.as_str()), ("workspace.update", "system"));
    assert!(!entry.actor_id.is_empty());
}

#[test]
fn a_user_who_is_deleted_leaves_an_entry_in_each_workspace() {
    let world = World::shared();
    let mut service = world.as_service();
    service.users().delete(&world.a.member, &[]).unwrap();
    service.commit().unwrap();
    let entry = newest(&mut world.as_owner(&world.a));
    assert_eq!((entry.action.as_str(), entry.actor_kind.as_str()), ("member.remove", "service"));
    assert_eq!(entry.changes["user_id"], json!({"old": world.a.member}));
}

#[test]
fn what_is_rolled_back_is_not_recorded() {
    let world = World::shared();
    let mut tenant = world.as_owner(&world.a);
    let before = all(&mut tenant).len();
    let undone: Result<(), sesari_db::Error> = tenant.transaction(|tenant| {
        tenant.workspace().rename(parse("Undone"))?;
        Err(sesari_db::Error::Denied)
    });
    assert!(undone.is_err());
    assert_eq!(all(&mut tenant).len(), before);
}

#[test]
fn list_and_count_agree_on_every_filter_newest_first() {
    let world = World::shared();
    let mut tenant = world.as_admin(&world.a);
    for i in 0..6 {
        tenant.workspace().rename(parse(&format!("Name {i}"))).unwrap();
        tenant.members().change_role(&world.a.member, Role::Admin).unwrap();
        tenant.members().change_role(&world.a.member, Role::Member).unwrap();
    }
    let all = all(&mut tenant);
    assert!(
        all.is_sorted_by(|one, next| { (one.occurred_at, &one.id) > (next.occurred_at, &next.id) })
    );
    let middle = all[all.len() / 2].occurred_at;
    let actions = ["member.change_role", "workspace.update", "none"].map(Some);
    for action in actions.into_iter().chain([None]) {
        for actor in [None, Some(world.a.owner.to_string()), Some(world.a.admin.to_string())] {
            for row in
                [None, Some(world.a.workspace.to_string()), Some(world.b.workspace.to_string())]
            {
                for (from, before) in [
                    (None, None),
                    (Some(middle), None),
                    (None, Some(middle)),
                    (Some(hour(0)), Some(middle)),
                ] {
                    let filter = AuditFilter {
                        action: action.map(String::from),
                        actor_id: actor.clone(),
                        row_id: row.clone(),
                        from,
                        before,
                    };
                    let matches = |entry: &&AuditEntry| {
                        action.is_none_or(|action| entry.action == action)
                            && actor.as_ref().is_none_or(|actor| entry.actor_id == *actor)
                            && row.as_ref().is_none_or(|row| entry.row_id == *row)
                            && from.is_none_or(|from| entry.occurred_at >= from)
                            && before.is_none_or(|before| entry.occurred_at < before)
                    };
                    let expected: Vec<_> = all.iter().filter(matches).cloned().collect();
                    let listed = walk(4, |page| tenant.audit_log().list(&filter, page));
                    assert_eq!(listed, expected, "{filter:?}");
                    let count = tenant.audit_log().count(&filter).unwrap();
                    assert_eq!(count, i64::try_from(expected.len()).unwrap(), "{filter:?}");
                }
            }
        }
    }
}

#[test]
fn a_page_stays_as_it_is_when_entries_are_added_between() {
    let world = World::shared();
    let mut tenant = world.as_owner(&world.a);
    for i in 0..9 {
        tenant.workspace().rename(parse(&format!("Before {i}"))).unwrap();
    }
    let before = all(&mut tenant);
    let mut seen = Vec::new();
    let mut next = page(2);
    loop {
        let paged = tenant.audit_log().list(&AuditFilter::default(), &next).unwrap();
        seen.extend(paged.items);
        let Some(cursor) = paged.next else { break };
        next = page(2).after(cursor);
        tenant.workspace().rename(parse(&format!("Name {}", seen.len()))).unwrap();
    }
    assert_eq!(seen, before);
}

#[test]
fn it_is_read_by_owners_and_admins_and_written_by_nobody() {
    let world = World::shared();
    assert!(!all(&mut world.as_owner(&world.a)).is_empty());
    assert!(!all(&mut world.as_admin(&world.a)).is_empty());
    let mut member = world.as_member(&world.a);
    assert!(all(&mut member).is_empty());
    assert_eq!(member.audit_log().count(&AuditFilter::default()).unwrap(), 0);
    let mut owner = world.as_owner(&world.a);
    for sql in [
        "INSERT INTO audit_log SELECT * FROM audit_log LIMIT 1",
        "INSERT INTO sesari.audit_pending DEFAULT VALUES",
        "UPDATE sesari.audit_heads SET sequence = 0",
        "SELECT sesari.prune_audit_log(sesari.current_workspace_id(), now(), 1)",
        "SELECT sesari.write_audit(sesari.current_workspace_id(), 'x', 'x', 'x', '{}')",
        "UPDATE audit_log SET action = 'x'",
        "DELETE FROM audit_log",
    ] {
        assert!(raw(&mut owner, sql).unwrap_err().is_denied(), "{sql}");
    }
    let of_a = owner.workspace_id().clone();
    assert!(all(&mut owner).iter().all(|entry| entry.workspace_id.as_ref() == Some(&of_a)));
}
