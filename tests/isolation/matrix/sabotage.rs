//! Ways to break the wall, and the cell that has to give each away.

pub struct Sabotage {
    pub what: &'static str,
    pub sql: &'static str,
    pub table: &'static str,
    /// How the leak's line begins: table, actor, verb.
    pub seen: &'static str,
}

macro_rules! sabotage {
    ($what:literal, $table:literal, $seen:literal, $sql:expr) => {
        Sabotage { what: $what, sql: $sql, table: $table, seen: $seen }
    };
}

/// Rewrites a function's text.
macro_rules! edit {
    ($function:literal, $from:literal, $to:literal) => {
        concat!(
            "DO $do$ BEGIN EXECUTE replace(pg_get_functiondef('sesari.",
            $function,
            "'::regproc), $from$",
            $from,
            "$from$, $to$",
            $to,
            "$to$); END $do$"
        )
    };
}

pub const SABOTAGES: &[Sabotage] = &[
    sabotage!(
        "a reading policy without a condition",
        "kpis",
        "kpis, no context, select",
        "ALTER POLICY kpis_tenant_select ON kpis USING (true)"
    ),
    sabotage!(
        "an updating policy without a condition",
        "goals",
        "goals, member, update",
        "ALTER POLICY goals_tenant_update ON goals USING (true) WITH CHECK (true)"
    ),
    sabotage!(
        "a deleting policy that forgets the workspace",
        "kpis",
        "kpis, admin, delete",
        "ALTER POLICY kpis_tenant_delete ON kpis
         USING (sesari.current_member_role() IN ('owner', 'admin'))"
    ),
    sabotage!(
        "an inserting policy that forgets the workspace",
        "goal_kpis",
        "goal_kpis, member, insert",
        "ALTER POLICY goal_kpis_tenant_insert ON goal_kpis
         WITH CHECK (sesari.current_workspace_id() IS NOT NULL)"
    ),
    sabotage!(
        "a policy for one's own keys that forgets the workspace",
        "idempotency_keys",
        "idempotency_keys, member of both, select",
        "ALTER POLICY idempotency_keys_tenant_select ON idempotency_keys
         USING ((actor_kind, actor_id) = (SELECT a.actor_kind, a.actor_id FROM sesari.current_actor() AS a))"
    ),
    sabotage!(
        "a key may be claimed anywhere",
        "idempotency_keys",
        "idempotency_keys, member, insert",
        "ALTER POLICY idempotency_keys_tenant_insert ON idempotency_keys WITH CHECK (true)"
    ),
    sabotage!(
        "any key may be answered",
        "idempotency_keys",
        "idempotency_keys, member, update",
        "ALTER POLICY idempotency_keys_tenant_update ON idempotency_keys USING (true) WITH CHECK (true)"
    ),
    sabotage!(
        "rows may be given away",
        "kpi_data_points",
        "kpi_data_points, member, give away",
        "DROP TRIGGER kpi_data_points_key ON kpi_data_points;
         ALTER TABLE kpi_data_points DROP CONSTRAINT kpi_data_points_workspace_id_kpi_id_fkey;
         ALTER POLICY kpi_data_points_tenant_update ON kpi_data_points WITH CHECK (true)"
    ),
    sabotage!(
        "row-level security switched off",
        "integrations",
        "integrations, non-member, select",
        "ALTER TABLE integrations DISABLE ROW LEVEL SECURITY"
    ),
    sabotage!(
        "the tenant owns the table and is not bound by its policies",
        "goals",
        "goals, member, update",
        "ALTER TABLE goals NO FORCE ROW LEVEL SECURITY; ALTER TABLE goals OWNER TO sesari_tenant"
    ),
    sabotage!(
        "one more permissive policy",
        "workspaces",
        "workspaces, user scope, update",
        "CREATE POLICY help_desk ON workspaces USING (true)"
    ),
    sabotage!(
        "memberships of other workspaces shown",
        "workspace_users",
        "workspace_users, member of both, select",
        "ALTER POLICY workspace_users_tenant_select ON workspace_users
         USING (workspace_id = sesari.current_workspace_id()
                OR user_id = sesari.current_user_id())"
    ),
    sabotage!(
        "the service scope opened to a tenant's table",
        "goals",
        "goals, service scope, select",
        "GRANT SELECT ON goals TO sesari_service;
         CREATE POLICY jobs ON goals FOR SELECT TO sesari_service USING (true)"
    ),
    sabotage!(
        "the whole audit log shown to services",
        "audit_log",
        "audit_log, service scope, select",
        "ALTER POLICY audit_log_service_select ON audit_log
         USING (sesari.current_service() IS NOT NULL)"
    ),
    sabotage!(
        "the services' policy without a condition",
        "subscriptions",
        "subscriptions, owner's, service login, select",
        "ALTER POLICY subscriptions_service_select ON subscriptions USING (true)"
    ),
    sabotage!(
        "signatures not compared",
        "kpis",
        "kpis, forged, wrong key, select",
        edit!("verified_context", "hashtextextended(expected, 0) AND parts[8] = expected", "hashtextextended(parts[8], 0)")
    ),
    sabotage!(
        "the workspace not signed",
        "kpis",
        "kpis, workspace replaced, select",
        edit!("verified_context", "hashtextextended(expected, 0) AND parts[8] = expected", "hashtextextended(parts[8], 0)")
    ),
    sabotage!(
        "any key taken for the one named",
        "kpis",
        "kpis, forged key id, select",
        edit!("verified_context", "WHERE key_id = named_key", "LIMIT 1")
    ),
    sabotage!(
        "contexts that do not expire",
        "kpis",
        "kpis, expired, select",
        edit!("verified_context", "interval '10 seconds'", "interval '10 years'")
    ),
    sabotage!(
        "contexts made ahead of time",
        "kpis",
        "kpis, from the future, select",
        edit!("verified_context", "interval '-2 seconds'", "interval '-1 year'")
    ),
    sabotage!(
        "contexts good on every backend",
        "kpis",
        "kpis, other backend, select",
        edit!("verified_context", "parts[7] IN ('0', pg_backend_pid()::text)", "true")
    ),
    sabotage!(
        "membership not looked up",
        "kpis",
        "kpis, removed member, select",
        edit!("current_workspace_id", "CASE WHEN FOUND THEN context[5] END", "context[5]")
    ),
];
