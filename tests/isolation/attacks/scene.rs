//! What the other workspace has and does, and what the attacked one gets back after each attack.

use super::harness::NUMBER;
use crate::support::World;

/// What B does on any day, in all tables, undone. It waits for nobody.
pub const WORK_OF_B: &str = "SAVEPOINT work; SET LOCAL lock_timeout = 250;
    INSERT INTO kpis (id, name) VALUES ('bwork', 'Globex works');
    INSERT INTO kpi_data_points (kpi_id, value) VALUES ('bwork', 1);
    INSERT INTO goals (id, title) VALUES ('bwork', 'Globex works');
    INSERT INTO goal_kpis (goal_id, kpi_id) VALUES ('bwork', 'bwork');
    INSERT INTO idempotency_keys (actor_kind, actor_id, key, operation)
        SELECT actor_kind, actor_id, 'bwork', 'Globex works' FROM sesari.current_actor();
    UPDATE idempotency_keys SET result = '1' WHERE key = 'bwork';
    UPDATE kpis SET unit = unit; UPDATE goals SET description = description;
    UPDATE kpi_data_points SET value = value + 1; UPDATE goal_kpis SET weight = weight;
    UPDATE workspaces SET name = name; UPDATE workspace_users SET role = role;
    UPDATE integrations SET is_active = is_active;
    DELETE FROM kpis WHERE id = 'bwork'; SELECT count(*) FROM audit_log; SELECT count(*) FROM workspace_users;
    ROLLBACK TO SAVEPOINT work";

/// Marks B's rows, fills the tables that the world leaves empty, and gathers statistics.
pub fn marks(world: &World) -> String {
    let (a, b) = (&world.a, &world.b);
    let (workspace, owner) = (&b.workspace, &b.owner);
    format!(
        "UPDATE kpis SET name = 'Globex revenue', description = 'globex', unit = 'globex',
                category = 'globex', target_value = {NUMBER} WHERE workspace_id = '{workspace}';
         UPDATE kpi_data_points SET value = {NUMBER}, source = 'globex'
          WHERE workspace_id = '{workspace}';
         UPDATE goals SET title = 'Globex grows', description = 'globex'
          WHERE workspace_id = '{workspace}';
         UPDATE goal_kpis SET weight = {NUMBER}, baseline = {NUMBER}
          WHERE workspace_id = '{workspace}';
         INSERT INTO kpi_packed_points (workspace_id, kpi_id, starts_at, ends_at, points, point_offsets, point_values, point_sources)
         SELECT '{workspace}', id, '2025-11-01Z', '2025-11-01 00:00:00.007Z', 8, '{{0,1,2,3,4,5,6,7}}',
                array_fill({NUMBER}::float8, ARRAY[8]), '{{globex}}' FROM kpis WHERE workspace_id = '{workspace}';
         INSERT INTO integrations (workspace_id, id, provider, credentials, error_message)
         VALUES ('{workspace}', 'bintegration', 'stripe', 'v1.globex.AAAAAAAAAAAAAAAA.globexAAAAAAAAAAAAAAAAAA',
                 'globex');
         INSERT INTO integrations (workspace_id, provider, credentials)
         VALUES ('{}', 'stripe', 'v1.k1.AAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAA');
         INSERT INTO subscriptions (user_id, status, plan_type) VALUES ('{owner}', 'active', 'pro');
         INSERT INTO idempotency_keys (workspace_id, actor_kind, actor_id, membership, key, operation, result)
         VALUES ('{workspace}', 'user', '{owner}', 'owner m1', 'globex', 'globex', '{NUMBER}'),
                ('{workspace}', 'user', '{owner}', 'owner m1', 'open', 'globex', NULL);
         ANALYZE",
        a.workspace
    )
}

/// Gives A back what it may have deleted.
pub fn stock(world: &World) -> String {
    let a = &world.a;
    let (workspace, kpi, goal) = (&a.workspace, &a.kpi, &a.goal);
    format!(
        "INSERT INTO kpis (workspace_id, id, name) VALUES ('{workspace}', '{kpi}', 'Revenue')
         ON CONFLICT DO NOTHING;
         INSERT INTO goals (workspace_id, id, title) VALUES ('{workspace}', '{goal}', 'Grow')
         ON CONFLICT DO NOTHING;
         INSERT INTO goal_kpis (workspace_id, id, goal_id, kpi_id)
         VALUES ('{workspace}', 'alink', '{goal}', '{kpi}') ON CONFLICT DO NOTHING;
         INSERT INTO kpi_data_points (workspace_id, kpi_id, value, timestamp)
         VALUES ('{workspace}', '{kpi}', 7, '2026-01-09'),
                ('{workspace}', '{kpi}', 8, '2026-01-10') ON CONFLICT DO NOTHING"
    )
}

pub fn rows_of(world: &World) -> String {
    let b = &world.b;
    let people = [&b.owner, &b.admin, &b.member].map(|user| format!("'{user}'")).join(",");
    let mut arms = vec![
        format!("SELECT t::text FROM users AS t WHERE id IN ({people})"),
        format!("SELECT t::text FROM subscriptions AS t WHERE user_id IN ({people})"),
        format!("SELECT t::text FROM workspaces AS t WHERE id = '{}'", b.workspace),
    ];
    for table in [
        "workspace_users",
        "kpis",
        "kpi_data_points",
        "kpi_packed_points",
        "kpi_rollups",
        "goals",
        "goal_kpis",
        "integrations",
        "idempotency_keys",
        "audit_log",
    ] {
        arms.push(format!(
            "SELECT t::text FROM {table} AS t WHERE workspace_id = '{}'",
            b.workspace
        ));
    }
    format!(
        "SELECT md5(string_agg(t, E'\\n' ORDER BY t)) AS line FROM ({}) AS rows (t)",
        arms.join(" UNION ALL ")
    )
}

/// Writes the query that reads everything a tenant has a grant to read.
pub const VIEW: &str = "
    SELECT 'SELECT coalesce(string_agg(line, E''\\n'' ORDER BY line), '''') AS line FROM ('
           || string_agg(format('SELECT %L || ROW(%s)::text AS line FROM public.%I',
                                relname, columns, relname), ' UNION ALL ')
           || ') AS lines' AS line
      FROM (SELECT c.relname, string_agg(quote_ident(a.attname), ',' ORDER BY a.attnum) AS columns
              FROM pg_class AS c
              JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
             WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
               AND has_column_privilege('sesari_tenant', c.oid, a.attnum, 'SELECT')
             GROUP BY c.relname) AS tables";
