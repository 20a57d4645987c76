//! Tables, columns, names, comments, owners, grants and functions.

use std::fs;
use std::path::{Path, PathBuf};

use diesel::connection::SimpleConnection;
use sesari_db::testing::TestDatabase;

use super::rules;

rules! {
    every_table_belongs_to_the_owner:
        "SELECT full_name || ' of ' || pg_get_userbyid(relowner) AS line FROM tables
          WHERE pg_get_userbyid(relowner) <> 'sesari_owner'
         UNION ALL SELECT name || ' of ' || pg_get_userbyid(proowner) FROM functions
          WHERE pg_get_userbyid(proowner) <> 'sesari_owner'
         UNION ALL SELECT nspname || ' of ' || pg_get_userbyid(nspowner) FROM pg_namespace
          WHERE nspname = 'sesari' AND pg_get_userbyid(nspowner) <> 'sesari_owner'",
        broken by "CREATE TABLE public.more ()",
        "ALTER TABLE public.goals OWNER TO CURRENT_USER",
        "ALTER FUNCTION sesari.audit() OWNER TO CURRENT_USER",
        "ALTER SCHEMA sesari OWNER TO CURRENT_USER";

    the_owner_and_the_roles_cannot_log_in_and_have_no_powers:
        "SELECT rolname::text AS line FROM pg_roles
          WHERE rolname IN ('sesari_owner', 'sesari_tenant', 'sesari_service')
            AND (rolcanlogin OR rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication)
         UNION ALL SELECT 'a role is missing' WHERE 3 <> (SELECT count(*) FROM pg_roles
          WHERE rolname IN ('sesari_owner', 'sesari_tenant', 'sesari_service'))
         UNION ALL SELECT member::regrole || ' is in ' || roleid::regrole FROM pg_auth_members
          WHERE member::regrole::text IN ('sesari_owner', 'sesari_tenant', 'sesari_service')",
        broken by "ALTER ROLE sesari_tenant LOGIN",
        "ALTER ROLE sesari_owner BYPASSRLS",
        "GRANT sesari_tenant TO sesari_service";

    every_column_is_of_a_type_whose_comparison_is_leakproof:
        "SELECT c.full_name || '.' || c.name || ' ' || c.type AS line FROM columns AS c
          WHERE c.type NOT IN ('text', 'timestamp with time zone', 'timestamp(3) with time zone', 'date', 'double precision', 'integer', 'bigint', 'boolean', 'bytea')
            -- Read whole, and compared with nothing.
            AND c.name NOT IN ('point_offsets', 'point_values', 'point_sources')
            AND (c.full_name, c.name) NOT IN (('public.audit_log', 'changes'), ('sesari.audit_pending', 'changes'))
         UNION ALL SELECT 'stale exception: audit_log.changes' WHERE NOT EXISTS (
            SELECT FROM columns AS c WHERE c.full_name = 'public.audit_log' AND c.name = 'changes' AND c.type = 'jsonb')
         UNION ALL SELECT 'type ' || t.oid::regtype FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace
          WHERE n.nspname IN ('public', 'sesari') AND t.typtype IN ('e', 'd', 'r', 'm')",
        broken by "ALTER TABLE public.kpis ADD COLUMN more numeric",
        "ALTER TABLE public.kpis ADD COLUMN more jsonb",
        "ALTER TABLE public.kpis ADD COLUMN more varchar(10)",
        "CREATE TYPE public.mood AS ENUM ('good')",
        "CREATE DOMAIN public.word AS text",
        "ALTER TABLE public.audit_log DROP COLUMN changes";

    every_table_and_function_and_every_column_of_a_public_table_has_a_comment:
        "SELECT full_name AS line FROM tables WHERE coalesce(obj_description(oid, 'pg_class'), '') = ''
         UNION ALL SELECT full_name || '.' || name FROM columns
          WHERE coalesce(col_description(table_oid, attnum), '') = '' AND full_name <> 'sesari.context_keys'
         UNION ALL SELECT name FROM functions WHERE coalesce(obj_description(oid, 'pg_proc'), '') = ''",
        broken by "COMMENT ON TABLE public.kpis IS NULL",
        "COMMENT ON COLUMN public.kpis.name IS NULL",
        "COMMENT ON FUNCTION sesari.new_id() IS NULL";

    every_constraint_is_named_after_its_table_and_columns:
        "SELECT t.full_name || ' ' || c.conname AS line
           FROM pg_constraint AS c JOIN tables AS t ON t.oid = c.conrelid
          WHERE c.contype <> 'n'
            AND (t.full_name, c.conname) <> ('sesari.workspace_slugs', 'workspaces_slug_key') -- what callers know
            AND c.conname <> CASE c.contype
                WHEN 'p' THEN t.name || '_pkey'
                ELSE t.name || '_' || (SELECT string_agg(a.attname, '_' ORDER BY k.n)
                       FROM unnest(c.conkey) WITH ORDINALITY AS k (attnum, n)
                       JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = k.attnum)
                     || CASE c.contype WHEN 'u' THEN '_key' WHEN 'f' THEN '_fkey' WHEN 'c' THEN '_check' ELSE '?' END
                END",
        broken by "ALTER TABLE public.kpis ADD UNIQUE (workspace_id, name), ADD CHECK (name <> unit)",
        "ALTER TABLE public.kpis RENAME CONSTRAINT kpis_name_check TO kpis_name_length",
        "ALTER TABLE public.goal_kpis RENAME CONSTRAINT goal_kpis_workspace_id_kpi_id_fkey TO goal_kpis_kpi_id_fkey";

    every_index_is_a_constraints_or_named_after_its_table:
        "SELECT i.relname::text AS line
           FROM pg_index AS x JOIN tables AS t ON t.oid = x.indrelid JOIN pg_class AS i ON i.oid = x.indexrelid
          WHERE NOT EXISTS (SELECT FROM pg_constraint AS c WHERE c.conindid = i.oid AND c.conname = i.relname)
            AND NOT starts_with('idx_' || t.name || '_' || (SELECT string_agg(a.attname, '_' ORDER BY k.n)
                       FROM unnest(x.indkey::int2[]) WITH ORDINALITY AS k (attnum, n)
                       JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = k.attnum), i.relname)",
        broken by "CREATE INDEX more ON public.kpis (workspace_id, name)",
        "CREATE INDEX idx_kpis_name ON public.kpis (workspace_id, name)",
        "ALTER INDEX public.idx_kpis_workspace_id RENAME TO idx_goals_workspace";

    the_indexes_of_the_reference_document_are_there:
        "SELECT wanted AS line FROM unnest(ARRAY['idx_kpis_workspace_id', 'idx_goals_workspace_id',
                'kpi_data_points_pkey', -- in the place of idx_kpi_data_points_kpi_timestamp
                'user_workspaces_pkey']) AS wanted -- in the place of idx_workspace_users_user_id
          WHERE NOT EXISTS (SELECT FROM pg_index AS x
                   JOIN tables AS t ON t.oid = x.indrelid JOIN pg_class AS i ON i.oid = x.indexrelid
                  WHERE i.relname = wanted AND x.indisvalid)",
        broken by "DROP INDEX public.idx_kpis_workspace_id",
        "ALTER INDEX sesari.user_workspaces_pkey RENAME TO user_workspaces_key";

    row_level_security_is_enabled_and_forced_on_every_public_table:
        "SELECT full_name AS line FROM public_tables
          WHERE relkind <> 'r' OR NOT relrowsecurity OR NOT relforcerowsecurity
         UNION ALL SELECT full_name || ' has a parent' FROM tables JOIN pg_inherits ON inhrelid = oid",
        broken by "ALTER TABLE public.kpis DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE public.kpis NO FORCE ROW LEVEL SECURITY",
        "CREATE VIEW public.v AS SELECT 1 AS a",
        "CREATE MATERIALIZED VIEW public.m AS SELECT 1 AS a",
        "CREATE TABLE public.more (id text)",
        "CREATE TABLE sesari.child () INHERITS (public.kpis)";

    nobody_but_the_owner_reaches_the_private_tables:
        "SELECT t.full_name || ' ' || a.privilege_type AS line
           FROM tables AS t CROSS JOIN LATERAL aclexplode(t.relacl) AS a
          WHERE t.schema = 'sesari' AND a.grantee <> t.relowner
         UNION ALL SELECT full_name || '.' || name FROM columns
          WHERE attacl IS NOT NULL AND starts_with(full_name, 'sesari.')",
        broken by "GRANT SELECT ON sesari.context_keys TO sesari_tenant",
        "GRANT SELECT (key_id) ON sesari.context_keys TO PUBLIC";

    only_the_four_verbs_are_granted_and_only_to_the_two_roles:
        "SELECT t.full_name || ' ' || a.privilege_type || ' to ' || a.grantee::regrole AS line
           FROM tables AS t CROSS JOIN LATERAL aclexplode(t.relacl) AS a
          WHERE a.grantee <> t.relowner
            AND (a.privilege_type NOT IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE') OR a.is_grantable
                 OR a.grantee::regrole::text NOT IN ('sesari_tenant', 'sesari_service'))
         UNION ALL
         SELECT c.full_name || '.' || c.name || ' ' || a.privilege_type
           FROM columns AS c CROSS JOIN LATERAL aclexplode(c.attacl) AS a
          WHERE a.privilege_type NOT IN ('SELECT', 'INSERT', 'UPDATE') OR a.is_grantable
             OR a.grantee::regrole::text NOT IN ('sesari_tenant', 'sesari_service')
         UNION ALL
         SELECT n.nspname || ' ' || a.privilege_type || ' to ' || a.grantee::regrole
           FROM pg_namespace AS n CROSS JOIN LATERAL aclexplode(n.nspacl) AS a
          WHERE n.nspname IN ('public', 'sesari') AND a.privilege_type <> 'USAGE'
            AND a.grantee <> n.nspowner AND a.grantee::regrole::text <> 'sesari_owner'
         UNION ALL
         SELECT 'PUBLIC may ' || a.privilege_type || ' in the database'
           FROM pg_database AS d
          CROSS JOIN LATERAL aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS a
          WHERE d.datname = current_database() AND a.grantee = 0 AND a.privilege_type <> 'CONNECT'",
        broken by "GRANT TRUNCATE ON public.kpis TO sesari_tenant",
        "GRANT ALL ON public.kpis TO sesari_service",
        "GRANT SELECT ON public.kpis TO PUBLIC",
        "GRANT SELECT ON public.kpis TO sesari_tenant WITH GRANT OPTION",
        "GRANT REFERENCES (id) ON public.kpis TO sesari_tenant",
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
        "GRANT CREATE ON SCHEMA sesari TO sesari_tenant",
        "DO $$ BEGIN EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO PUBLIC', current_database()); END $$";

    a_definer_function_looks_into_pg_catalog_alone:
        "SELECT name AS line FROM functions
          WHERE prosecdef AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (proconfig), false)",
        broken by "ALTER FUNCTION sesari.audit() RESET search_path",
        "ALTER FUNCTION sesari.audit() SET search_path = pg_catalog",
        "ALTER FUNCTION sesari.audit() SET search_path = pg_catalog, public, pg_temp",
        "ALTER FUNCTION sesari.new_id() RESET search_path; ALTER FUNCTION sesari.new_id() SECURITY DEFINER";

    /// `verified_context` is called only by functions that are pinned.
    every_other_function_is_pinned_too:
        "SELECT name AS line FROM functions
          WHERE NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (proconfig), false)
            AND name NOT IN ('sesari.verified_context()', 'sesari.key_of(text)',
                'sesari.points_of_span(timestamp with time zone,integer[],double precision[],text[])',
                'sesari.points_between(text,text,timestamp with time zone,timestamp with time zone)',
                'sesari.last_point_between(text,text,timestamp with time zone,timestamp with time zone)',
                'sesari.first_point_between(text,text,timestamp with time zone,timestamp with time zone)')
         UNION ALL SELECT 'stale exception: ' || wanted
           FROM unnest(ARRAY['sesari.verified_context()', 'sesari.key_of(text)',
                'sesari.points_of_span(timestamp with time zone,integer[],double precision[],text[])',
                'sesari.points_between(text,text,timestamp with time zone,timestamp with time zone)',
                'sesari.last_point_between(text,text,timestamp with time zone,timestamp with time zone)',
                'sesari.first_point_between(text,text,timestamp with time zone,timestamp with time zone)']) AS wanted
          WHERE NOT EXISTS (SELECT FROM functions WHERE name = wanted AND proconfig IS NULL)
         -- Inlined, and so without a path of their own: every name of theirs says its schema, and they read as who asks.
         UNION ALL SELECT name || ' is not part of the statement that calls it' FROM functions
          WHERE name ~ '^sesari\\.(points_of_span|(points|last_point|first_point)_between)\\(' AND (prosecdef OR provolatile <> 's')
         UNION ALL SELECT 'key_of is not what the planner puts in its place' FROM functions
          WHERE name = 'sesari.key_of(text)' AND NOT (prosrc ~ '^ SELECT pg_catalog\\.jsonb_set\\(''\\{\\}'', '
                'pg_catalog\\.string_to_array\\(workspace, ''\\.''\\), ''true''\\) $' AND NOT prosecdef)
         UNION ALL SELECT name || ' calls verified_context' FROM functions
          WHERE prosrc ~ 'verified_context' AND NOT prosecdef",
        broken by "ALTER FUNCTION sesari.new_id() RESET search_path",
        "ALTER FUNCTION sesari.verified_context() SET search_path = pg_catalog, pg_temp",
        "ALTER FUNCTION sesari.key_of(text) SECURITY DEFINER",
        "ALTER FUNCTION sesari.points_between(text, text, timestamptz, timestamptz) SECURITY DEFINER",
        "ALTER FUNCTION sesari.current_user_id() SECURITY INVOKER";

    no_function_is_executable_by_everyone:
        "SELECT f.name AS line FROM functions AS f
          CROSS JOIN LATERAL aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) AS a
          WHERE a.grantee = 0 OR a.is_grantable AND a.grantee <> f.proowner",
        broken by "GRANT EXECUTE ON FUNCTION sesari.audit() TO PUBLIC",
        "CREATE FUNCTION sesari.more() RETURNS int LANGUAGE sql AS 'SELECT 1'";

    a_function_made_later_is_not_executable_by_everyone_either:
        "SELECT 'the owner''s new functions are for PUBLIC' AS line WHERE NOT EXISTS (
            SELECT FROM pg_default_acl AS d
             WHERE d.defaclrole = 'sesari_owner'::regrole AND d.defaclobjtype = 'f' AND d.defaclnamespace = 0
               AND NOT EXISTS (SELECT FROM aclexplode(d.defaclacl) AS a WHERE a.grantee = 0))",
        broken by "ALTER DEFAULT PRIVILEGES FOR ROLE sesari_owner GRANT EXECUTE ON FUNCTIONS TO PUBLIC";

    /// Once a statement, and in a query that runs in parallel.
    the_functions_of_the_context_are_stable_and_parallel_restricted:
        "SELECT name AS line FROM functions
          WHERE prosrc ~ 'verified_context|sesari\\.context''' AND prorettype <> 'trigger'::regtype
            AND proname NOT IN ('create_workspace', 'write_audit')
            AND (provolatile <> 's' OR proparallel <> 'r')
         UNION ALL SELECT 'only ' || count(*) || ' are found' FROM functions
          WHERE prosrc ~ 'verified_context|sesari\\.context''' AND provolatile = 's' HAVING count(*) < 7",
        broken by "ALTER FUNCTION sesari.current_workspace_id() VOLATILE",
        "ALTER FUNCTION sesari.verified_context() PARALLEL UNSAFE",
        "ALTER FUNCTION sesari.current_user_id() IMMUTABLE";

    /// A distributed table's shards have other names.
    a_trigger_function_is_told_its_table_by_argument:
        "SELECT name AS line FROM functions WHERE prosrc ~* 'TG_(TABLE_NAME|RELNAME|RELID|TABLE_SCHEMA)'
         UNION ALL SELECT g.tgname || ' on ' || t.name FROM pg_trigger AS g
           JOIN tables AS t ON t.oid = g.tgrelid JOIN functions AS f ON f.oid = g.tgfoid
          WHERE f.prosrc ~ 'TG_ARGV\\[0\\]' AND NOT g.tgisinternal
            AND NOT starts_with(encode(g.tgargs, 'escape'), t.name || '\\000')",
        broken by "CREATE FUNCTION sesari.more() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''%'', TG_TABLE_NAME; END'",
        "CREATE TRIGGER more BEFORE UPDATE ON public.kpis FOR EACH ROW EXECUTE FUNCTION sesari.refuse_change('goals', 'x')";

    no_function_uses_merge:
        "SELECT name AS line FROM functions WHERE prosrc ~* '\\mMERGE\\M'",
        broken by "CREATE FUNCTION sesari.more() RETURNS void LANGUAGE plpgsql AS 'BEGIN
            MERGE INTO public.kpis USING (SELECT 1) AS s ON true WHEN MATCHED THEN DELETE; END'";

    every_trigger_is_enabled:
        "SELECT t.name || ' ' || g.tgname AS line FROM pg_trigger AS g JOIN tables AS t ON t.oid = g.tgrelid
          WHERE g.tgenabled <> 'O'",
        broken by "ALTER TABLE public.kpis DISABLE TRIGGER kpis_audit",
        "ALTER TABLE public.goal_kpis DISABLE TRIGGER ALL",
        "ALTER TABLE public.kpis ENABLE ALWAYS TRIGGER kpis_audit";

    /// Before each row, on insert and update. The private tables are their functions' alone.
    every_time_of_making_and_changing_is_kept_by_a_trigger:
        "SELECT c.full_name || '.' || c.name AS line FROM columns AS c
           JOIN public_tables AS t ON t.oid = c.table_oid
          WHERE c.name IN ('created_at', 'joined_at', 'installed_at', 'updated_at') AND NOT EXISTS (
            SELECT FROM pg_trigger AS g WHERE g.tgrelid = c.table_oid AND g.tgqual IS NULL
               AND g.tgfoid = 'sesari.keep_times'::regproc AND g.tgtype = 1 | 2 | 4 | 16
               AND position('\\000' || c.name || '\\000' IN encode(g.tgargs, 'escape')) > 0)",
        broken by "DROP TRIGGER kpis_times ON public.kpis",
        "DROP TRIGGER workspace_users_times ON public.workspace_users",
        "DROP TRIGGER idempotency_keys_times ON public.idempotency_keys",
        "CREATE OR REPLACE TRIGGER goals_times BEFORE INSERT OR UPDATE ON public.goals
            FOR EACH ROW EXECUTE FUNCTION sesari.keep_times('goals', 'created_at')",
        "CREATE OR REPLACE TRIGGER goals_times BEFORE UPDATE ON public.goals
            FOR EACH ROW EXECUTE FUNCTION sesari.keep_times('goals', 'created_at', 'updated_at')";

    /// Rollups are made of points, and the history of KPIs and links.
    no_number_is_stored_as_negative_zero:
        "SELECT c.full_name || '.' || c.name AS line FROM columns AS c
           JOIN public_tables AS t ON t.oid = c.table_oid
          WHERE c.type IN ('double precision', 'real') AND c.table_name NOT IN ('kpi_rollups', 'kpi_history') AND NOT EXISTS (
            SELECT FROM pg_trigger AS g WHERE g.tgrelid = c.table_oid
               AND g.tgfoid = 'sesari.drop_negative_zero'::regproc AND g.tgtype = 1 | 2 | 4 | 16
               AND position('new.' || c.name || ' = ' IN pg_get_triggerdef(g.oid)) > 0)",
        broken by "DROP TRIGGER kpi_data_points_negative_zero ON public.kpi_data_points",
        "CREATE OR REPLACE TRIGGER goal_kpis_negative_zero BEFORE INSERT OR UPDATE ON public.goal_kpis
            FOR EACH ROW WHEN (NEW.weight = 0) EXECUTE FUNCTION sesari.drop_negative_zero('goal_kpis')";
}

#[test]
fn every_statement_in_a_file_can_be_pasted_and_prepared() {
    fn below(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                below(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "sql") {
                found.push(path);
            }
        }
    }
    let (database, mut files) = (TestDatabase::new().unwrap(), Vec::new());
    below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/repo"), &mut files);
    assert!(!files.is_empty());
    let mut admin = database.admin().unwrap();
    for file in files {
        let mut sql = fs::read_to_string(&file).unwrap();
        // What several statements begin with.
        if sql.ends_with("\n)\n") {
            sql.push_str("SELECT 1");
        }
        let prepared = admin.batch_execute(&format!("PREPARE pasted AS {sql}; DEALLOCATE pasted"));
        assert!(prepared.is_ok(), "{}: {prepared:?}", file.display());
    }
}
