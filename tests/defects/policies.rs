//! Policies, and whether they apply at all.

use super::list::{Defect, Reach::*, defects};

pub const DEFECTS: &[Defect] = defects! {
    "reading kpis: no condition", Leaks, ["kpis"]:
        "ALTER POLICY kpis_tenant_select ON kpis USING (true)";
    "reading points: no condition", Leaks, ["kpi_data_points"]:
        "ALTER POLICY kpi_data_points_tenant_select ON kpi_data_points USING (true)";
    "reading goals: no condition", Leaks, ["goals"]:
        "ALTER POLICY goals_tenant_select ON goals USING (true)";
    "reading links: no condition", Leaks, ["goal_kpis"]:
        "ALTER POLICY goal_kpis_tenant_select ON goal_kpis USING (true)";
    "reading integrations: no condition", Leaks, ["integrations"]:
        "ALTER POLICY integrations_tenant_select ON integrations USING (true)";
    "reading memberships: no condition", Leaks, ["workspace_users"]:
        "ALTER POLICY workspace_users_tenant_select ON workspace_users USING (true)";
    "reading workspaces: no condition", Leaks, ["workspaces"]:
        "ALTER POLICY workspaces_tenant_select ON workspaces USING (true)";
    "reading users: opened to tenants", Leaks, ["users"]:
        "GRANT SELECT (id, email, name, image, created_at) ON users TO sesari_tenant;
         CREATE POLICY users_tenant_select ON users FOR SELECT TO sesari_tenant
         USING (sesari.current_user_id() IS NOT NULL)";
    "reading subscriptions: opened to tenants", Leaks, ["subscriptions"]:
        "GRANT SELECT ON subscriptions TO sesari_tenant;
         CREATE POLICY subscriptions_tenant_select ON subscriptions FOR SELECT TO sesari_tenant
         USING (sesari.current_user_id() IS NOT NULL)";
    "reading packed points: no condition", Leaks, ["kpi_packed_points"]:
        "ALTER POLICY kpi_packed_points_tenant_select ON kpi_packed_points USING (true)";
    "packed points granted whole", Stays, ["kpi_packed_points"]:
        "GRANT SELECT ON kpi_packed_points TO sesari_tenant";
    "reading rollups: no condition", Leaks, ["kpi_rollups"]:
        "ALTER POLICY kpi_rollups_tenant_select ON kpi_rollups USING (true)";
    "reading targets: no condition", Leaks, ["kpi_targets"]:
        "ALTER POLICY kpi_targets_tenant_select ON kpi_targets USING (true)";
    "reading the history of kpis: no condition", Leaks, ["kpi_history"]:
        "ALTER POLICY kpi_history_tenant_select ON kpi_history USING (true)";
    "reading invitations: no condition", Leaks, ["invitations"]:
        "ALTER POLICY invitations_tenant_select ON invitations USING (true)";
    "reading invitations: the role forgotten", Stays, ["invitations"]:
        "ALTER POLICY invitations_tenant_select ON invitations
         USING (workspace_id = (SELECT sesari.current_workspace_id()))";
    "reading the audit log: no condition", Leaks, ["audit_log"]:
        "ALTER POLICY audit_log_tenant_select ON audit_log USING (true)";
    "reading idempotency keys: no condition", Leaks, ["idempotency_keys"]:
        "ALTER POLICY idempotency_keys_tenant_select ON idempotency_keys USING (true)";
    "reading idempotency keys: the actor forgotten", Stays, ["idempotency_keys"]:
        "ALTER POLICY idempotency_keys_tenant_select ON idempotency_keys
         USING (workspace_id = (SELECT sesari.current_workspace_id()))";
    "reading kpis: any workspace will do", Leaks, ["kpis"]:
        "ALTER POLICY kpis_tenant_select ON kpis USING (sesari.current_workspace_id() IS NOT NULL)";
    "reading goals: and one workspace for demonstrations", Leaks, ["goals"]:
        "ALTER POLICY goals_tenant_select ON goals
         USING (workspace_id = (SELECT sesari.current_workspace_id()) OR workspace_id = 'wboth')";
    "reading memberships: the user's own everywhere", Stays, ["workspace_users"]:
        "ALTER POLICY workspace_users_tenant_select ON workspace_users
         USING (workspace_id = sesari.current_workspace_id() OR user_id = sesari.current_user_id())";
    "reading kpis: the policy dropped", Stays, ["kpis"]:
        "DROP POLICY kpis_tenant_select ON kpis";
    "updating kpis: no condition", Leaks, ["kpis"]:
        "ALTER POLICY kpis_tenant_update ON kpis USING (true) WITH CHECK (true)";
    "updating workspaces: no condition", Leaks, ["workspaces"]:
        "ALTER POLICY workspaces_tenant_update ON workspaces USING (true) WITH CHECK (true)";
    "updating goals: the check alone loosened", Stays, ["goals"]:
        "ALTER POLICY goals_tenant_update ON goals WITH CHECK (true)";
    "updating goals: the check loosened, the key not fixed", Leaks, ["goals"]:
        "ALTER POLICY goals_tenant_update ON goals WITH CHECK (true); DROP TRIGGER goals_key ON goals;
         ALTER TABLE kpi_history DROP CONSTRAINT kpi_history_workspace_id_goal_id_fkey";
    "updating idempotency keys: no condition, answers not fixed", Leaks, ["idempotency_keys"]:
        "ALTER POLICY idempotency_keys_tenant_update ON idempotency_keys USING (true) WITH CHECK (true);
         DROP TRIGGER idempotency_keys_key ON idempotency_keys";
    "deleting points: no condition", Leaks, ["kpi_data_points"]:
        "ALTER POLICY kpi_data_points_tenant_delete ON kpi_data_points USING (true)";
    "deleting kpis: the workspace forgotten", Leaks, ["kpis"]:
        "ALTER POLICY kpis_tenant_delete ON kpis
         USING (sesari.current_member_role() IN ('owner', 'admin'))";
    "deleting kpis: the role forgotten", Stays, ["kpis"]:
        "ALTER POLICY kpis_tenant_delete ON kpis USING (workspace_id = (SELECT sesari.current_workspace_id()))";
    "inserting kpis: no check", Leaks, ["kpis"]:
        "ALTER POLICY kpis_tenant_insert ON kpis WITH CHECK (true)";
    "inserting targets: no check", Leaks, ["kpi_targets"]:
        "ALTER POLICY kpi_targets_tenant_insert ON kpi_targets WITH CHECK (true)";
    "inserting links: any workspace will do", Leaks, ["goal_kpis"]:
        "ALTER POLICY goal_kpis_tenant_insert ON goal_kpis
         WITH CHECK (sesari.current_workspace_id() IS NOT NULL)";
    "inserting idempotency keys: no check", Leaks, ["idempotency_keys"]:
        "ALTER POLICY idempotency_keys_tenant_insert ON idempotency_keys WITH CHECK (true)";
    "inserting memberships: opened to tenants", Leaks, ["workspace_users"]:
        "GRANT INSERT ON workspace_users TO sesari_tenant;
         CREATE POLICY workspace_users_tenant_insert ON workspace_users FOR INSERT TO sesari_tenant WITH CHECK (true)";
    "inserting integrations: the role forgotten", Stays, ["integrations"]:
        "ALTER POLICY integrations_tenant_insert ON integrations
         WITH CHECK (workspace_id = (SELECT sesari.current_workspace_id()))";
    "a policy for everybody", Stays, ["goals"]:
        "ALTER POLICY goals_tenant_select ON goals TO PUBLIC";
    "one more policy, for all verbs", Leaks, ["workspaces"]:
        "CREATE POLICY help_desk ON workspaces USING (true)";
    "one more policy, for updates", Leaks, ["kpis"]:
        "CREATE POLICY repair ON kpis FOR UPDATE TO sesari_tenant USING (true) WITH CHECK (true)";
    "one more policy, restrictive", Stays, ["kpis"]:
        "CREATE POLICY floor ON kpis AS RESTRICTIVE USING (true)";
    "a restrictive policy in place of the permissive", Stays, ["kpis"]:
        "DROP POLICY kpis_tenant_select ON kpis;
         CREATE POLICY kpis_tenant_select ON kpis AS RESTRICTIVE FOR SELECT TO sesari_tenant
         USING (workspace_id = (SELECT sesari.current_workspace_id()))";
    "the service scope opened to goals", Leaks, ["goals"]:
        "GRANT SELECT ON goals TO sesari_service;
         CREATE POLICY jobs ON goals FOR SELECT TO sesari_service USING (true)";
    "the service scope opened to the whole log", Leaks, ["audit_log"]:
        "ALTER POLICY audit_log_service_select ON audit_log USING (sesari.current_service() IS NOT NULL)";
    "the service scope without a context", Stays, ["subscriptions"]:
        "ALTER POLICY subscriptions_service_select ON subscriptions USING (true)";
    "row-level security off: kpis", Leaks, ["kpis"]:
        "ALTER TABLE kpis DISABLE ROW LEVEL SECURITY";
    "row-level security off: links", Leaks, ["goal_kpis"]:
        "ALTER TABLE goal_kpis DISABLE ROW LEVEL SECURITY";
    "row-level security off: the audit log", Leaks, ["audit_log"]:
        "ALTER TABLE audit_log DISABLE ROW LEVEL SECURITY";
    "row-level security not forced", Stays, ["kpis"]:
        "ALTER TABLE kpis NO FORCE ROW LEVEL SECURITY";
    "not forced, and the tenants' role owns the table", Leaks, ["kpi_targets"]:
        "ALTER TABLE kpi_targets NO FORCE ROW LEVEL SECURITY; ALTER TABLE kpi_targets OWNER TO sesari_tenant";
};
