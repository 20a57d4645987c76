//! What the database keeps right for a client that does not use the repositories.

use diesel::prelude::*;
use diesel::sql_types::{Array, Text};
use sesari_db::Error;
use sesari_db::PgConnection;

use super::tools::{assert_invalid, count, raw, scalar};
use crate::support::World;

fn tables_with(world: &World, column: &str) -> Vec<String> {
    let query = format!(
        "ARRAY(SELECT table_name::text FROM information_schema.columns \
         WHERE table_schema = 'public' AND column_name = '{column}' ORDER BY 1)"
    );
    scalar::<Array<Text>, _>(&mut world.test.admin().unwrap(), &query)
}

/// Gives the tables that the furniture leaves empty a row.
fn furnish(world: &World) {
    world.arrange(&format!(
        "INSERT INTO integrations (workspace_id, provider, credentials) VALUES \
         ('{workspace}', 'stripe', 'v1.k1.0123456789abcdef.0123456789abcdef012345'); \
         INSERT INTO subscriptions (user_id, status, plan_type) VALUES ('{owner}', 'active', 'pro'); \
         INSERT INTO idempotency_keys (workspace_id, actor_kind, actor_id, membership, key, operation) \
         VALUES ('{workspace}', 'user', '{owner}', 'owner m1', 'k', 'o'); \
         INSERT INTO invitations (workspace_id, email, role, invited_by, expires_at) \
         VALUES ('{workspace}', 'x@example.com', 'member', '{owner}', now())",
        workspace = world.a.workspace,
        owner = world.a.owner
    ));
}

#[test]
fn updated_at_is_right_for_any_client_and_any_table_that_has_it() {
    let world = World::new();
    furnish(&world);
    let admin = &mut world.test.admin().unwrap();
    let tables = tables_with(&world, "updated_at");
    assert_eq!(tables, ["goals", "integrations", "kpis", "subscriptions", "users", "workspaces"]);
    for table in tables {
        let rows = count(admin, &table);
        assert!(rows > 0, "{table}");
        let stamped =
            format!("{table} WHERE updated_at > statement_timestamp() - interval '1 hour'");
        let run = |conn: &mut PgConnection, sql: &str| {
            diesel::sql_query(sql).execute(conn).unwrap();
        };
        // A change of nothing leaves it; a time of the client's choosing is not taken.
        let old = format!(
            "ALTER TABLE {table} DISABLE TRIGGER {table}_times; \
             UPDATE {table} SET updated_at = '2001-01-01', created_at = '2001-01-01'; \
             ALTER TABLE {table} ENABLE TRIGGER {table}_times"
        );
        diesel::connection::SimpleConnection::batch_execute(admin, &old).unwrap();
        run(admin, &format!("UPDATE {table} SET created_at = created_at"));
        assert_eq!(count(admin, &stamped), 0, "{table}");
        run(
            admin,
            &format!("UPDATE {table} SET created_at = '2002-01-01', updated_at = '2002-01-01'"),
        );
        assert_eq!(count(admin, &stamped), rows, "{table}");
    }
}

/// What a client of another making would send: some fill in every time with every row.
#[test]
fn times_that_a_client_sends_are_not_taken_and_no_update_changes_when_a_row_was_made() {
    let world = World::new();
    let own = &world.a;
    let old = "'2001-01-01', '2001-01-01'";
    let rows = [
        ("kpis", "created_at", format!("(name, created_at, updated_at) VALUES ('x', {old})")),
        ("goals", "created_at", format!("(title, created_at, updated_at) VALUES ('x', {old})")),
        (
            "integrations",
            "created_at",
            format!(
                "(provider, credentials, created_at, updated_at) \
                 VALUES ('sheets', 'v1.k1.0123456789abcdef.0123456789abcdef012345', {old})"
            ),
        ),
    ];
    let mut tenant = world.as_owner(own);
    for (table, made, row) in &rows {
        raw(&mut tenant, &format!("INSERT INTO {table} {row}")).unwrap();
        let wrong = format!("{table} WHERE {made} < '2002-01-01' OR updated_at < '2002-01-01'");
        assert_eq!(count(tenant.connection(), &wrong), 0, "{table}");
        raw(
            &mut tenant,
            &format!("UPDATE {table} SET {made} = '2001-01-01', updated_at = '2001-01-01'"),
        )
        .unwrap();
        assert_eq!(count(tenant.connection(), &wrong), 0, "{table}");
    }
    raw(&mut tenant, "UPDATE workspaces SET created_at = '2001-01-01'").unwrap();
    raw(&mut tenant, "UPDATE workspace_users SET joined_at = '2001-01-01'").unwrap();
    for (table, made) in [("workspaces", "created_at"), ("workspace_users", "joined_at")] {
        assert_eq!(count(tenant.connection(), &format!("{table} WHERE {made} < '2002-01-01'")), 0);
    }
    // Nothing else changed, and so it is no change.
    let before = tenant.kpis().find(&own.kpi).unwrap().unwrap();
    raw(&mut tenant, "UPDATE kpis SET created_at = '2001-01-01', updated_at = '2001-01-01'")
        .unwrap();
    assert_eq!(tenant.kpis().find(&own.kpi).unwrap().unwrap(), before);

    let mut service = world.as_service();
    let conn = service.connection();
    for sql in [
        format!(
            "INSERT INTO users (provider, provider_id, email, created_at, updated_at) \
             VALUES ('google', 'times', 'times@x', {old})"
        ),
        format!(
            "INSERT INTO subscriptions (user_id, status, plan_type, created_at, updated_at) \
             VALUES ('{}', 'active', 'pro', {old})",
            own.owner
        ),
        "UPDATE users SET created_at = '2001-01-01', updated_at = '2001-01-01'".to_owned(),
        "UPDATE subscriptions SET created_at = '2001-01-01', updated_at = '2001-01-01'".to_owned(),
    ] {
        diesel::sql_query(sql).execute(conn).unwrap();
        for table in ["users", "subscriptions"] {
            let wrong = format!("{table} WHERE least(created_at, updated_at) < '2002-01-01'");
            assert_eq!(count(conn, &wrong), 0, "{table}");
        }
    }
}

#[test]
fn whoever_administers_the_schema_restores_rows_with_their_times() {
    let world = World::new();
    world.arrange(&format!(
        "INSERT INTO kpis (workspace_id, name, created_at, updated_at) \
         VALUES ('{}', 'restored', '2001-01-01', '2001-01-02')",
        world.a.workspace
    ));
    let restored = "kpis WHERE created_at = '2001-01-01' AND updated_at = '2001-01-02'";
    assert_eq!(world.rows(restored), 1);
}

#[test]
fn zero_has_one_form_in_every_column_of_numbers() {
    let world = World::shared();
    let mut tenant = world.as_owner(&world.a);
    let (kpi, goal) = (&world.a.kpi, &world.a.goal);
    for sql in [
        "INSERT INTO kpis (name, target_value, current_value) VALUES ('x', '-0', '-0')".to_owned(),
        "UPDATE kpis SET target_value = '-0', current_value = current_value * CASE current_value \
         WHEN 0 THEN -1 ELSE 1 END"
            .to_owned(),
        format!("INSERT INTO kpi_data_points (kpi_id, value) VALUES ('{kpi}', '-0')"),
        format!("UPDATE kpi_data_points SET value = '-0' WHERE kpi_id = '{kpi}'"),
        format!("UPDATE goal_kpis SET weight = '-0', baseline = '-0' WHERE goal_id = '{goal}'"),
    ] {
        raw(&mut tenant, &sql).unwrap();
    }
    for (table, columns) in [
        ("kpis", "target_value, current_value"),
        ("kpi_data_points", "value"),
        ("goal_kpis", "weight, baseline"),
        ("kpi_rollups", "sum, min, max, first, last"),
    ] {
        let of = format!("{table} WHERE '-0' = ANY (ARRAY[{columns}]::text[])");
        assert_eq!(count(tenant.connection(), &of), 0, "{table}");
        let zeros = format!("{table} WHERE 0 = ANY (ARRAY[{columns}])");
        assert!(count(tenant.connection(), &zeros) > 0, "{table}");
    }
    assert_eq!(sesari_db::value::Finite::new(-0.0).unwrap().get().to_bits(), 0);
    assert_eq!(sesari_db::value::Weight::new(-0.0).unwrap().get().to_bits(), 0);
}

#[test]
fn a_row_without_a_workspace_gets_that_of_the_context() {
    let world = World::new();
    let mut tenant = world.as_owner(&world.b);
    for sql in [
        "INSERT INTO kpis (name) VALUES ('x')".to_owned(),
        "INSERT INTO goals (title) VALUES ('x')".to_owned(),
        format!(
            "INSERT INTO kpi_targets (kpi_id, effective_from, value) VALUES ('{}', '2026-01-01', 1)",
            world.b.kpi
        ),
        format!("INSERT INTO kpi_data_points (kpi_id, value) VALUES ('{}', 1)", world.b.kpi),
        "INSERT INTO integrations (provider, credentials) VALUES \
         ('sheets', 'v1.k1.0123456789abcdef.0123456789abcdef012345')"
            .to_owned(),
        format!(
            "INSERT INTO goal_kpis (goal_id, kpi_id) SELECT id, '{}' FROM goals WHERE title = 'x'",
            world.b.kpi
        ),
        format!(
            "INSERT INTO idempotency_keys (actor_kind, actor_id, key, operation) \
             VALUES ('user', '{}', 'x', 'x')",
            world.b.owner
        ),
    ] {
        assert_eq!(raw(&mut tenant, &sql).unwrap(), 1, "{sql}");
    }
    let mut tables = tables_with(&world, "workspace_id");
    // By triggers and functions alone.
    let written = [
        "audit_log",
        "invitations",
        "kpi_history",
        "kpi_points",
        "kpi_packed_points",
        "kpi_rollups",
        "workspace_users",
    ];
    tables.retain(|table| !written.contains(&table.as_str()));
    assert_eq!(tables.len(), 7, "each is inserted into above: {tables:?}");
}

#[test]
fn columns_that_identify_a_row_cannot_be_changed() {
    let world = World::new();
    furnish(&world);
    let admin = &mut world.test.admin().unwrap();
    for column in ["id", "workspace_id", "user_id", "kpi_id", "goal_id"] {
        for table in tables_with(&world, column) {
            let skipped = [
                "audit_log",
                "kpi_history",
                "kpi_packed_points",
                "kpi_points",
                "kpi_rollups",
                "kpi_targets",
            ];
            if skipped.contains(&&*table) {
                continue; // append-only; written by nobody who could name another
            }
            let sql = format!("UPDATE {table} SET {column} = 'x' || substr({column}, 2, 20)");
            let result = diesel::sql_query(&sql).execute(admin).map_err(Error::from);
            assert_invalid(result, "id");
            let same = format!("UPDATE {table} SET {column} = {column}");
            assert!(diesel::sql_query(&same).execute(admin).unwrap() > 0);
        }
    }
}

#[test]
fn not_even_the_superuser_rewrites_the_audit_log() {
    let world = World::new();
    let admin = &mut world.test.admin().unwrap();
    let before = count(admin, "audit_log");
    for sql in ["UPDATE audit_log SET action = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log"]
    {
        let result = diesel::sql_query(sql).execute(admin).map_err(Error::from);
        assert!(matches!(result, Err(Error::Denied)), "{sql}: {result:?}");
    }
    assert_eq!(count(admin, "audit_log"), before);
}
