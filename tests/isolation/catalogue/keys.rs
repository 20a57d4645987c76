//! The workspace leads every key, so that no constraint can reach or reveal another's rows.

use super::rules;

/// Keys of tenant tables that do not begin with the workspace, and keys of the tables that are no
/// tenant's, each with its reason. One that is no longer needed fails too.
const EXCEPTIONS: &str = "
, exceptions (table_name, constraint_name, reason) AS (VALUES
    ('users', 'users_pkey', 'a user may belong to many workspaces'),
    ('users', 'users_email_key', 'sign-in is before any workspace'),
    ('users', 'users_provider_provider_id_key', 'sign-in is before any workspace'),
    ('workspaces', 'workspaces_pkey', 'its id is the workspace'),
    ('subscriptions', 'subscriptions_pkey', 'a subscription is a user''s, in no workspace'),
    ('subscriptions', 'subscriptions_user_id_key', 'one a user, in no workspace'),
    ('subscriptions', 'subscriptions_user_id_fkey', 'a subscription is a user''s, in no workspace')
), keys AS (
    SELECT c.*, t.name AS table_name, (SELECT a.attname FROM pg_attribute AS a
                                        WHERE a.attrelid = c.conrelid AND a.attnum = c.conkey[1]) AS leader,
           (SELECT a.attname FROM pg_attribute AS a
             WHERE a.attrelid = c.confrelid AND a.attnum = c.confkey[1]) AS target
      FROM pg_constraint AS c JOIN public_tables AS t ON t.oid = c.conrelid
     WHERE c.contype IN ('p', 'u', 'f', 'x')
), strays AS (
    SELECT table_name, conname FROM keys
     WHERE leader <> 'workspace_id'
        OR contype = 'f' AND target <> 'workspace_id'
           AND (confrelid::regclass::text NOT IN ('workspaces', 'public.workspaces') OR target <> 'id')
)";

#[test]
fn the_workspace_leads_every_key() {
    super::assert_rule(
        &format!(
            "{EXCEPTIONS}
             SELECT table_name || ' ' || conname AS line FROM strays AS s WHERE NOT EXISTS (
                 SELECT FROM exceptions AS e WHERE e.table_name = s.table_name AND e.constraint_name = s.conname)
             UNION ALL
             SELECT 'stale exception: ' || constraint_name FROM exceptions AS e WHERE NOT EXISTS (
                 SELECT FROM strays AS s WHERE e.table_name = s.table_name AND e.constraint_name = s.conname)
             UNION ALL
             SELECT 'no key at all: ' || name FROM tenant_tables AS t WHERE NOT EXISTS (
                 SELECT FROM keys AS k WHERE k.conrelid = t.oid AND k.contype = 'p')"
        ),
        &[
            "ALTER TABLE public.kpis ADD CONSTRAINT kpis_id_key UNIQUE (id)",
            "ALTER TABLE public.kpis ADD CONSTRAINT kpis_id_workspace_id_key UNIQUE (id, workspace_id)",
            "ALTER TABLE public.kpis ADD CONSTRAINT kpis_id_key UNIQUE (id);
             ALTER TABLE public.goal_kpis ADD CONSTRAINT goal_kpis_kpi_id_fkey
                 FOREIGN KEY (kpi_id) REFERENCES public.kpis (id)",
            "ALTER TABLE public.users DROP CONSTRAINT users_email_key",
            "CREATE TABLE public.more (workspace_id text)",
            "CREATE TABLE public.more (id text PRIMARY KEY, workspace_id text)",
        ],
    );
}

rules! {
    /// A condition of the caller's is asked of an index before the policy is, and what it finds can be
    /// counted.
    the_workspace_leads_every_index_of_a_table_that_tenants_read:
        "SELECT x.indexrelid::regclass::text AS line FROM pg_index AS x
           JOIN tables AS t ON t.oid = x.indrelid JOIN pg_class AS i ON i.oid = x.indexrelid
           LEFT JOIN columns AS c ON c.table_oid = t.oid AND c.attnum = x.indkey[0]
          WHERE (t.name IN (SELECT name FROM tenant_tables) OR has_any_column_privilege('sesari_tenant', t.oid, 'SELECT'))
            AND t.schema = 'public'
            AND (c.name IS DISTINCT FROM CASE t.name WHEN 'workspaces' THEN 'id' ELSE 'workspace_id' END
                 OR i.relam <> (SELECT oid FROM pg_am WHERE amname = 'btree')
                 OR x.indcollation[0] <> (SELECT attcollation FROM pg_attribute AS a
                                           WHERE a.attrelid = t.oid AND a.attnum = x.indkey[0]))",
        broken by "CREATE INDEX more ON public.kpis (created_at)",
        "CREATE INDEX more ON public.kpis (lower(workspace_id))",
        "CREATE INDEX more ON public.workspaces (slug)",
        "CREATE INDEX more ON public.kpis (workspace_id COLLATE \"C\", name)",
        "CREATE INDEX more ON public.kpis USING brin (workspace_id, name)",
        "GRANT SELECT (id) ON public.users TO sesari_tenant";

    /// The planner's estimates, which any statement may ask for, tell of what was sampled; those of the
    /// statements in functions too, which a server prints to whoever asks it to.
    no_column_of_ours_has_statistics:
        "SELECT c.full_name || '.' || c.name AS line
           FROM columns AS c JOIN pg_attribute AS a ON a.attrelid = c.table_oid AND a.attnum = c.attnum
          WHERE coalesce(a.attstattarget, -1) <> 0 AND c.full_name <> 'public.kpi_points'
         UNION ALL SELECT 'sampled: ' || starelid::regclass || '.' || staattnum FROM pg_statistic
           JOIN tables AS t ON t.oid = starelid
         UNION ALL SELECT 'an expression of ' || x.indexrelid::regclass
           FROM pg_index AS x JOIN tables AS t ON t.oid = x.indrelid
           JOIN pg_attribute AS a ON a.attrelid = x.indexrelid AND x.indkey[a.attnum - 1] = 0
          WHERE coalesce(a.attstattarget, -1) <> 0
         UNION ALL SELECT stxname::text FROM pg_statistic_ext JOIN tables AS t ON t.oid = stxrelid",
        broken by "ALTER TABLE public.kpis ALTER COLUMN category SET STATISTICS -1",
        "ALTER TABLE sesari.user_workspaces ALTER COLUMN workspace_id SET STATISTICS -1",
        "ALTER TABLE public.kpis ADD COLUMN more text",
        "ALTER TABLE public.goals ALTER COLUMN title SET STATISTICS 10;
         INSERT INTO public.workspaces (id, name, slug) VALUES ('w1', 'W', 'w1');
         INSERT INTO public.goals (workspace_id, title) VALUES ('w1', 'G');
         ANALYZE public.goals; ALTER TABLE public.goals ALTER COLUMN title SET STATISTICS 0",
        "CREATE INDEX more ON public.kpis (workspace_id, lower(name))",
        "CREATE STATISTICS public.more ON name, category FROM public.kpis";

    every_foreign_key_has_an_index_that_leads_with_its_columns:
        "SELECT t.full_name || ' ' || c.conname AS line
           FROM pg_constraint AS c JOIN tables AS t ON t.oid = c.conrelid
          WHERE c.contype = 'f' AND NOT EXISTS (
             SELECT FROM pg_index AS x
              WHERE x.indrelid = c.conrelid AND x.indisvalid AND x.indpred IS NULL
                AND (x.indkey::int2[])[0:cardinality(c.conkey) - 1] @> c.conkey)",
        broken by "DROP INDEX public.idx_goal_kpis_workspace_id_kpi_id",
        "DROP INDEX sesari.idx_user_workspaces_workspace_id",
        "ALTER TABLE public.subscriptions DROP CONSTRAINT subscriptions_user_id_key",
        "DROP INDEX public.idx_goal_kpis_workspace_id_kpi_id;
         CREATE INDEX more ON public.goal_kpis (workspace_id, kpi_id) WHERE weight > 0";

    /// It would set the workspace to null as well.
    no_foreign_key_of_several_columns_sets_null:
        "SELECT t.full_name || ' ' || c.conname AS line
           FROM pg_constraint AS c JOIN tables AS t ON t.oid = c.conrelid
          WHERE c.contype = 'f' AND cardinality(c.conkey) > 1
            AND (c.confdeltype IN ('n', 'd') OR c.confupdtype IN ('n', 'd'))",
        broken by "ALTER TABLE public.goal_kpis ADD CONSTRAINT more FOREIGN KEY (workspace_id, goal_id)
             REFERENCES public.goals (workspace_id, id) ON DELETE SET NULL";

    every_constraint_is_validated_and_immediate:
        "SELECT t.full_name || ' ' || c.conname AS line
           FROM pg_constraint AS c JOIN tables AS t ON t.oid = c.conrelid
          WHERE NOT c.convalidated OR c.condeferrable
            AND c.conname <> 'audit_pending_chain' -- a trigger, which runs at the commit
         UNION ALL SELECT 'stale exception: audit_pending_chain' WHERE NOT EXISTS (
            SELECT FROM pg_constraint WHERE conname = 'audit_pending_chain' AND contype = 't'
               AND condeferrable AND condeferred)",
        broken by "ALTER TABLE public.kpis ADD CONSTRAINT more CHECK (name <> '') NOT VALID",
        "ALTER TABLE public.kpis ADD CONSTRAINT more UNIQUE (workspace_id, name) DEFERRABLE";

    the_workspace_of_a_row_is_never_null_and_by_default_that_of_the_context:
        "SELECT c.full_name AS line FROM columns AS c
           LEFT JOIN pg_attrdef AS d ON d.adrelid = c.table_oid AND d.adnum = c.attnum
          WHERE c.name = 'workspace_id' AND c.full_name <> 'public.kpi_points'
            AND (NOT c.attnotnull OR c.type <> 'text'
                 OR c.full_name <> 'public.audit_log' -- written by a trigger alone
                    AND pg_get_expr(d.adbin, d.adrelid) IS DISTINCT FROM 'sesari.current_workspace_id()')",
        broken by "ALTER TABLE public.kpis ALTER COLUMN workspace_id DROP DEFAULT",
        "ALTER TABLE public.kpis ALTER COLUMN workspace_id SET DEFAULT 'w'",
        "CREATE TABLE public.more (workspace_id text DEFAULT sesari.current_workspace_id())";

    /// The audit log refuses every update, and nobody is granted one of the rollups.
    the_workspace_and_the_id_of_a_row_can_never_change:
        "SELECT t.full_name AS line FROM public_tables AS t
          WHERE t.name NOT IN ('kpi_packed_points', 'kpi_rollups')
            AND NOT EXISTS (SELECT FROM pg_trigger AS g
                 WHERE g.tgrelid = t.oid AND g.tgtype & 19 = 19 -- before update, for each row
                   AND g.tgfoid = 'sesari.refuse_change'::regproc
                   AND pg_get_triggerdef(g.oid) ~ CASE t.name
                       WHEN 'kpi_targets' THEN 'old\\.kpi_id IS DISTINCT FROM new\\.kpi_id.*'
                           'old\\.recorded_at IS DISTINCT FROM new\\.recorded_at'
                       WHEN 'kpi_data_points' THEN 'old\\.kpi_id IS DISTINCT FROM new\\.kpi_id'
                       WHEN 'idempotency_keys' THEN 'old\\.actor_kind IS DISTINCT FROM new\\.actor_kind.*'
                           'old\\.actor_id IS DISTINCT FROM new\\.actor_id.*old\\.key IS DISTINCT FROM new\\.key'
                       ELSE 'old\\.id IS DISTINCT FROM new\\.id' END
                   AND (t.name IN ('users', 'subscriptions', 'workspaces')
                        OR pg_get_triggerdef(g.oid) ~ 'old\\.workspace_id IS DISTINCT FROM new\\.workspace_id'))
            AND NOT EXISTS (SELECT FROM pg_trigger AS g
                 WHERE g.tgrelid = t.oid AND g.tgfoid = 'sesari.refuse_audit_change'::regproc AND g.tgqual IS NULL)",
        broken by "DROP TRIGGER kpis_key ON public.kpis",
        "DROP TRIGGER audit_log_append_only ON public.audit_log",
        "DROP TRIGGER goals_key ON public.goals;
         CREATE TRIGGER goals_key BEFORE UPDATE ON public.goals FOR EACH ROW
             WHEN (OLD.id IS DISTINCT FROM NEW.id) EXECUTE FUNCTION sesari.refuse_change('goals', 'x')";
}
