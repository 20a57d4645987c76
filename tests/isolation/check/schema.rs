//! Schemas that differ from what the migrations make, each in one thing, and relations beside it
//! that leak.

use super::{TestDatabase, assert_rules, findings_for};
use diesel::connection::SimpleConnection;

/// Runs the SQL as the administrator and expects exactly these findings for a plain login.
fn assert_refused(sql: &str, rules: &[&str]) {
    let test = TestDatabase::new().unwrap();
    test.admin().unwrap().batch_execute(sql).expect(sql);
    assert_rules(&findings_for(&test, &test.tenant_url()), rules);
}

macro_rules! refused {
    ($($name:ident: $sql:literal => [$($rule:literal),+ $(,)?];)+) => {$(
        #[test]
        fn $name() {
            assert_refused($sql, &[$($rule),+]);
        }
    )+};
}

// Tables.
refused! {
    a_table_without_row_level_security_is_refused:
        "ALTER TABLE public.kpis DISABLE ROW LEVEL SECURITY" => ["table-changed", "table-without-rls"];
    a_table_that_is_not_forced_is_refused:
        "ALTER TABLE public.goals NO FORCE ROW LEVEL SECURITY" => ["table-changed", "table-not-forced"];
    a_table_of_another_owner_is_refused:
        "ALTER TABLE public.goals OWNER TO CURRENT_USER" => ["table-changed"];
    a_table_that_is_missing_is_refused:
        "DROP TABLE public.goal_kpis" => [
            "column-changed", "constraint-changed", "grant-changed", "index-changed",
            "policy-changed", "table-changed", "trigger-changed",
        ];
    a_strange_table_with_a_grant_is_refused:
        "CREATE TABLE public.leak (); GRANT SELECT ON public.leak TO sesari_tenant" => ["table-without-rls"];
    a_strange_table_open_to_everyone_is_refused:
        "CREATE TABLE public.leak (); GRANT INSERT ON public.leak TO PUBLIC" => ["table-without-rls"];
    a_strange_table_with_a_column_grant_is_refused:
        "CREATE TABLE public.leak (a text); GRANT SELECT (a) ON public.leak TO sesari_tenant"
        => ["table-without-rls"];
    a_strange_table_in_another_schema_is_refused:
        "CREATE SCHEMA other; CREATE TABLE other.leak (); GRANT SELECT ON other.leak TO sesari_tenant"
        => ["table-without-rls"];
    a_strange_table_in_the_private_schema_is_refused:
        "CREATE TABLE sesari.more (a text)" => ["column-changed", "table-changed"];
    a_partition_that_can_be_read_directly_is_refused:
        "CREATE TABLE public.child () INHERITS (public.kpis); GRANT SELECT ON public.child TO sesari_tenant"
        => ["statistics-across-tenants", "table-without-rls"];
    a_changed_default_is_refused:
        "ALTER TABLE public.kpis ALTER COLUMN workspace_id DROP DEFAULT" => ["column-changed"];
    a_column_that_may_be_null_is_refused:
        "ALTER TABLE public.workspace_users ALTER COLUMN role DROP NOT NULL" => ["column-changed"];
    a_strange_column_is_refused:
        "ALTER TABLE public.kpis ADD COLUMN more text" => ["column-changed", "statistics-across-tenants"];
    a_dropped_check_is_refused:
        "ALTER TABLE public.workspace_users DROP CONSTRAINT workspace_users_role_check"
        => ["constraint-changed"];
    a_dropped_unique_key_is_refused:
        "ALTER TABLE public.workspace_users DROP CONSTRAINT workspace_users_workspace_id_user_id_key"
        => ["constraint-changed", "index-changed"];
    a_foreign_key_without_the_workspace_is_refused:
        "ALTER TABLE public.kpis ADD CONSTRAINT kpis_id_key UNIQUE (id);
         ALTER TABLE public.goal_kpis DROP CONSTRAINT goal_kpis_workspace_id_kpi_id_fkey;
         ALTER TABLE public.goal_kpis ADD CONSTRAINT goal_kpis_workspace_id_kpi_id_fkey
             FOREIGN KEY (kpi_id) REFERENCES public.kpis (id) ON DELETE CASCADE"
        => ["constraint-changed", "index-across-tenants", "index-changed"];
    a_foreign_key_that_is_not_validated_is_refused:
        "ALTER TABLE public.goal_kpis DROP CONSTRAINT goal_kpis_workspace_id_kpi_id_fkey;
         ALTER TABLE public.goal_kpis ADD CONSTRAINT goal_kpis_workspace_id_kpi_id_fkey
             FOREIGN KEY (workspace_id, kpi_id) REFERENCES public.kpis (workspace_id, id)
             ON DELETE CASCADE NOT VALID" => ["constraint-changed"];
    a_dropped_index_is_refused:
        "DROP INDEX public.idx_goals_workspace_id" => ["index-changed"];
    an_index_that_finds_rows_of_all_tenants_is_refused:
        "CREATE INDEX more ON public.kpis (name)" => ["index-across-tenants", "index-changed"];
    an_index_of_workspaces_that_their_id_does_not_lead_is_refused:
        "CREATE INDEX more ON public.workspaces (slug)" => ["index-across-tenants", "index-changed"];
    an_index_of_a_table_that_nobody_declared_is_refused:
        "CREATE TABLE public.more (workspace_id text, name text);
         SELECT sesari.forget_statistics('public.more');
         ALTER TABLE public.more ENABLE ROW LEVEL SECURITY;
         ALTER TABLE public.more FORCE ROW LEVEL SECURITY;
         CREATE POLICY more ON public.more FOR SELECT TO sesari_tenant USING (false);
         GRANT SELECT (workspace_id) ON public.more TO sesari_tenant;
         CREATE INDEX ON public.more (name)" => ["index-across-tenants", "table-undeclared"];
    statistics_of_a_column_are_refused:
        "ALTER TABLE public.kpis ALTER COLUMN category SET STATISTICS -1" => ["statistics-across-tenants"];
    statistics_of_several_columns_together_are_refused:
        "CREATE STATISTICS public.more ON name, category FROM public.kpis" => ["statistics-extended"];
    a_tenant_who_reads_users_is_refused:
        "GRANT SELECT (id, email) ON public.users TO sesari_tenant;
         CREATE POLICY users_tenant_select ON public.users FOR SELECT TO sesari_tenant USING (false)"
        => ["grant-changed", "index-across-tenants", "policy-changed"];
    a_rewriting_rule_is_refused:
        "CREATE RULE detour AS ON DELETE TO public.goals DO INSTEAD NOTHING" => ["rule-changed"];
}

// Policies.
refused! {
    a_dropped_policy_is_refused:
        "DROP POLICY kpis_tenant_select ON public.kpis" => ["policy-changed", "table-without-policy"];
    an_altered_policy_is_refused:
        "ALTER POLICY kpis_tenant_select ON public.kpis USING (true)" => ["policy-changed"];
    an_altered_check_is_refused:
        "ALTER POLICY kpis_tenant_update ON public.kpis WITH CHECK (true)" => ["policy-changed"];
    an_additional_policy_is_refused:
        "CREATE POLICY more ON public.kpis FOR SELECT TO sesari_tenant USING (true)" => ["policy-changed"];
    a_policy_that_takes_the_actor_from_the_row_is_refused:
        "ALTER POLICY idempotency_keys_tenant_select ON public.idempotency_keys
             USING ((workspace_id, actor_kind, actor_id)
                 = (SELECT a.workspace_id, a.actor_kind, idempotency_keys.actor_id FROM sesari.current_actor() AS a))"
        => ["policy-changed"];
    a_policy_for_everyone_is_refused:
        "ALTER POLICY kpis_tenant_select ON public.kpis TO PUBLIC" => ["policy-changed"];
    a_policy_of_another_role_is_refused:
        "ALTER POLICY kpis_tenant_select ON public.kpis TO sesari_service"
        => ["policy-changed", "table-without-policy"];
    a_policy_made_restrictive_is_refused:
        "DROP POLICY kpis_tenant_select ON public.kpis;
         CREATE POLICY kpis_tenant_select ON public.kpis AS RESTRICTIVE FOR SELECT TO sesari_tenant
             USING (workspace_id = (SELECT sesari.current_workspace_id()))"
        => ["policy-changed", "policy-restrictive", "table-without-policy"];
    an_additional_restrictive_policy_is_refused:
        "CREATE POLICY more ON public.kpis AS RESTRICTIVE USING (true)"
        => ["policy-changed", "policy-restrictive"];
}

// Grants.
refused! {
    a_grant_of_truncate_is_refused:
        "GRANT TRUNCATE ON public.kpis TO sesari_tenant" => ["grant-changed", "stray-grant"];
    a_grant_of_references_is_refused:
        "GRANT REFERENCES ON public.kpis TO sesari_tenant" => ["grant-changed", "stray-grant"];
    a_grant_of_references_to_a_column_is_refused:
        "GRANT REFERENCES (id) ON public.kpis TO sesari_tenant" => ["grant-changed", "stray-grant"];
    a_grant_of_trigger_is_refused:
        "GRANT TRIGGER ON public.kpis TO sesari_tenant" => ["grant-changed", "stray-grant"];
    a_grant_to_everyone_is_refused:
        "GRANT SELECT ON public.goals TO PUBLIC" => ["grant-changed"];
    a_grant_without_a_policy_is_refused:
        "GRANT INSERT ON public.subscriptions TO sesari_tenant" => ["grant-changed", "table-without-policy"];
    a_grant_of_a_secret_column_is_refused:
        "GRANT SELECT (credentials) ON public.integrations TO sesari_tenant" => ["grant-changed"];
    a_grant_of_a_column_to_write_is_refused:
        "GRANT UPDATE (email) ON public.users TO sesari_tenant" => ["grant-changed", "table-without-policy"];
    a_grant_of_the_keys_is_refused:
        "GRANT SELECT ON sesari.context_keys TO sesari_tenant" => ["grant-changed", "table-without-rls"];
    a_missing_grant_is_refused:
        "REVOKE DELETE ON public.goals FROM sesari_tenant" => ["grant-changed"];
    a_schema_in_which_everyone_may_create_is_refused:
        "GRANT CREATE ON SCHEMA public TO PUBLIC" => ["schema-writable"];
    a_private_schema_in_which_a_tenant_may_create_is_refused:
        "GRANT CREATE ON SCHEMA sesari TO sesari_tenant" => ["grant-changed", "schema-writable"];
}

// Views and others that stand in front of tables.
refused! {
    a_view_that_reads_as_its_owner_is_refused:
        "CREATE VIEW public.v AS SELECT * FROM public.kpis; GRANT SELECT ON public.v TO sesari_tenant"
        => ["view-without-invoker"];
    a_view_that_says_it_does_not_read_as_its_invoker_is_refused:
        "CREATE VIEW public.v WITH (security_invoker = false) AS SELECT * FROM public.kpis;
         GRANT SELECT ON public.v TO sesari_tenant" => ["view-without-invoker"];
    a_materialized_view_is_refused:
        "CREATE MATERIALIZED VIEW public.m AS SELECT * FROM public.kpis;
         GRANT SELECT ON public.m TO sesari_tenant" => ["relation-outside-rls"];
    a_foreign_table_is_refused:
        "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;
         CREATE FOREIGN TABLE public.f (a text) SERVER s; GRANT SELECT ON public.f TO sesari_tenant"
        => ["relation-outside-rls"];
}

// Functions and triggers.
refused! {
    a_definer_function_without_a_search_path_is_refused:
        "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'"
        => ["definer-function", "function-unpinned"];
    a_definer_function_that_looks_into_temporary_tables_first_is_refused:
        "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql SECURITY DEFINER
             SET search_path = pg_catalog AS 'SELECT 1'" => ["definer-function", "function-unpinned"];
    a_search_path_that_only_sounds_like_it_is_refused:
        "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql SECURITY DEFINER
             SET search_path = not_pg_temp AS 'SELECT 1'" => ["definer-function", "function-unpinned"];
    a_function_marked_leakproof_is_refused:
        "CREATE FUNCTION public.f(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE LEAKPROOF
             AS 'BEGIN RAISE ''%'', $1; END'" => ["function-leakproof"];
    a_changed_function_body_is_refused:
        "CREATE OR REPLACE FUNCTION sesari.current_member_role() RETURNS text
             LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER
             SET search_path = pg_catalog, pg_temp AS 'BEGIN RETURN ''owner''; END'"
        => ["function-changed"];
    a_function_that_lost_its_search_path_is_refused:
        "ALTER FUNCTION sesari.current_workspace_id() RESET search_path"
        => ["function-changed", "function-unpinned"];
    a_function_that_became_volatile_is_refused:
        "ALTER FUNCTION sesari.current_workspace_id() VOLATILE" => ["function-changed"];
    a_function_of_another_owner_is_refused:
        "ALTER FUNCTION sesari.verified_context() OWNER TO CURRENT_USER" => ["function-changed"];
    a_function_open_to_everyone_is_refused:
        "GRANT EXECUTE ON FUNCTION sesari.install_context_key(text, bytea) TO PUBLIC" => ["grant-changed"];
    a_strange_function_in_the_private_schema_is_refused:
        "SET ROLE sesari_owner; CREATE FUNCTION sesari.more() RETURNS int LANGUAGE sql AS 'SELECT 1'"
        => ["function-changed"];
    a_disabled_trigger_is_refused:
        "ALTER TABLE public.workspace_users DISABLE TRIGGER workspace_users_last_owner_delete"
        => ["trigger-changed"];
    a_trigger_that_fires_for_replicas_only_is_refused:
        "ALTER TABLE public.workspace_users ENABLE REPLICA TRIGGER workspace_users_last_owner_delete"
        => ["trigger-changed"];
    a_dropped_trigger_is_refused:
        "DROP TRIGGER kpis_audit ON public.kpis" => ["trigger-changed"];
    a_strange_trigger_is_refused:
        "CREATE TRIGGER more BEFORE UPDATE ON public.kpis FOR EACH ROW
             EXECUTE FUNCTION sesari.keep_times()" => ["trigger-changed"];
}

/// Foreign keys are enforced by triggers of PostgreSQL's own.
#[test]
fn a_foreign_key_whose_triggers_are_disabled_is_refused() {
    assert_refused(
        "DO $$
         DECLARE
             name text;
         BEGIN
             FOR name IN SELECT tgname FROM pg_trigger
                          WHERE tgrelid = 'public.goal_kpis'::regclass AND tgisinternal LOOP
                 EXECUTE format('ALTER TABLE public.goal_kpis DISABLE TRIGGER %I', name);
             END LOOP;
         END $$",
        &["trigger-changed"],
    );
}

/// A setting of the database can switch every trigger and foreign key off.
#[test]
fn a_database_in_which_triggers_do_not_fire_is_refused() {
    assert_refused(
        "DO $$ BEGIN
             EXECUTE format('ALTER DATABASE %I SET session_replication_role = replica', current_database());
         END $$",
        &["setting-changed"],
    );
}
