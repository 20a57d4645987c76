//! A workspace from inside.

use sesari_db::repo::WorkspaceChanges;

use super::tools::{assert_conflict, assert_missing, parse};
use crate::support::World;

/// Every table with a column for the workspace, but the log that outlives it.
const CONTENTS: &str = "SELECT table_name FROM information_schema.columns \
    WHERE table_schema = 'public' AND column_name = 'workspace_id' AND table_name <> 'audit_log'";

#[test]
fn owners_and_admins_rename_and_others_do_not_find_it() {
    let world = World::shared();
    for mut tenant in [world.as_owner(&world.a), world.as_admin(&world.a)] {
        let before = tenant.workspace().find().unwrap().unwrap();
        assert_eq!(tenant.workspace().update(&WorkspaceChanges::default()).unwrap(), before);
        let renamed = tenant.workspace().rename(parse("New name")).unwrap();
        assert_eq!((renamed.name.as_str(), &renamed.slug), ("New name", &before.slug));
        assert!(renamed.updated_at > before.updated_at);
        let moved = tenant.workspace().change_slug(parse("new-slug")).unwrap();
        assert_eq!((moved.name.as_str(), moved.slug.as_str()), ("New name", "new-slug"));
    }
    let mut member = world.as_member(&world.a);
    assert!(member.workspace().find().unwrap().is_some());
    assert_missing(member.workspace().rename(parse("New name")), "workspace");
    assert_missing(member.workspace().change_slug(parse("new-slug")), "workspace");
    assert_missing(member.workspace().delete(), "workspace");
    let mut stranger = world.db.tenant(&world.stranger, &world.a.workspace).unwrap();
    assert_eq!(stranger.workspace().find().unwrap(), None);
    assert_missing(stranger.workspace().update(&WorkspaceChanges::default()), "workspace");
    assert_missing(stranger.workspace().rename(parse("New name")), "workspace");
    assert_missing(stranger.workspace().delete(), "workspace");
}

#[test]
fn a_slug_is_unique_among_all_workspaces() {
    let world = World::shared();
    let mut tenant = world.as_owner(&world.a);
    let result = tenant.workspace().change_slug(parse(&world.b.slug));
    assert_conflict(result, "workspaces_slug_key");
}

#[test]
fn only_owners_delete_a_workspace_and_all_but_the_log_goes() {
    let world = World::new();
    assert_missing(world.as_admin(&world.a).workspace().delete(), "workspace");
    let id = &world.a.workspace;
    world.arrange(&format!(
        "INSERT INTO integrations (workspace_id, provider, credentials) VALUES \
         ('{id}', 'stripe', 'v1.k1.0123456789abcdef.0123456789abcdef012345'); \
         INSERT INTO idempotency_keys (workspace_id, actor_kind, actor_id, membership, key, operation) \
         VALUES ('{id}', 'service', 'sync', 'service', 'k', 'o'); \
         INSERT INTO invitations (workspace_id, email, role, invited_by, expires_at) \
         VALUES ('{id}', 'x@example.com', 'member', '{}', now()); \
         INSERT INTO kpi_targets (workspace_id, kpi_id, effective_from, value) \
         SELECT '{id}', id, '2026-01-01', 1 FROM kpis WHERE workspace_id = '{id}'; \
         INSERT INTO kpi_packed_points (workspace_id, kpi_id, starts_at, ends_at, points, point_offsets, \
                                        point_values, point_sources) \
         SELECT '{id}', id, '2025-11-01Z', '2025-11-01 00:00:00.007Z', 8, '{{0,1,2,3,4,5,6,7}}', \
                '{{1,2,3,4,5,6,7,8}}', '{{x}}' FROM kpis WHERE workspace_id = '{id}'",
        world.a.owner
    ));
    let tables: Vec<String> = {
        use diesel::prelude::*;
        let query = format!("ARRAY({CONTENTS})::text[]");
        diesel::select(diesel::dsl::sql::<diesel::sql_types::Array<diesel::sql_types::Text>>(
            &query,
        ))
        .get_result(&mut world.test.admin().unwrap())
        .unwrap()
    };
    assert!(tables.len() >= 6, "{tables:?}");
    for table in &tables {
        assert!(world.rows(&format!("{table} WHERE workspace_id = '{id}'")) > 0, "{table}");
    }
    let logged = world.rows(&format!("audit_log WHERE workspace_id = '{id}'"));
    let others = world.rows(&format!("kpi_data_points WHERE workspace_id <> '{id}'"));
    let mut tenant = world.as_owner(&world.a);
    tenant.workspace().delete().unwrap();
    assert_eq!(tenant.workspace().find().unwrap(), None);
    tenant.commit().unwrap();
    for table in &tables {
        assert_eq!(world.rows(&format!("{table} WHERE workspace_id = '{id}'")), 0, "{table}");
    }
    assert_eq!(world.rows(&format!("kpi_data_points WHERE workspace_id <> '{id}'")), others);
    assert_eq!(world.rows(&format!("users WHERE id = '{}'", world.a.member)), 1);
    // One entry for the workspace, and none for what went with it.
    assert_eq!(world.rows(&format!("audit_log WHERE workspace_id = '{id}'")), logged + 1);
    let entry = format!(
        "audit_log WHERE workspace_id = '{id}' AND action = 'workspace.delete' AND row_id = '{id}' \
         AND table_name = 'workspaces' AND actor_kind = 'user' AND actor_id = '{}'",
        world.a.owner
    );
    assert_eq!(world.rows(&entry), 1);
}
