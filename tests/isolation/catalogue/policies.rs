//! One permissive policy for each table, role and verb, and what each says.

use super::rules;

rules! {
    exactly_one_policy_for_each_verb_granted_and_none_for_others:
        "SELECT g.full_name || ' ' || g.verb || ' for ' || g.role || ': ' || count(p.oid) AS line
           FROM (SELECT t.oid, t.full_name, r.role, v.verb,
                        has_table_privilege(r.role, t.oid, v.verb)
                        OR v.verb <> 'delete' AND has_any_column_privilege(r.role, t.oid, v.verb) AS granted
                   FROM public_tables AS t
                  CROSS JOIN unnest(ARRAY['sesari_tenant', 'sesari_service']) AS r (role)
                  CROSS JOIN unnest(ARRAY['select', 'insert', 'update', 'delete']) AS v (verb)) AS g
           LEFT JOIN policies AS p ON p.polrelid = g.oid AND p.verb IN (g.verb, 'all')
                AND (0 = ANY (p.polroles) OR g.role::regrole = ANY (p.polroles))
          GROUP BY g.full_name, g.verb, g.role, g.granted
         HAVING count(p.oid) <> g.granted::int",
        broken by "DROP POLICY kpis_tenant_select ON public.kpis",
        "CREATE POLICY more ON public.kpis FOR SELECT TO sesari_tenant USING (true)",
        "CREATE POLICY more ON public.kpis FOR SELECT USING (true)",
        "CREATE POLICY more ON public.kpis FOR SELECT TO sesari_service USING (true)",
        "REVOKE DELETE ON public.goals FROM sesari_tenant",
        "GRANT UPDATE (status) ON public.subscriptions TO sesari_tenant";

    every_policy_is_permissive_and_for_one_verb_of_one_role_and_named_so:
        "SELECT name AS line FROM policies
          WHERE NOT polpermissive OR cardinality(polroles) <> 1 OR 0 = ANY (polroles)
             OR polname <> table_name || '_' || replace(pg_get_userbyid(polroles[1]), 'sesari_', '') || '_' || verb",
        broken by "CREATE POLICY kpis_tenant_select ON public.goals FOR SELECT TO sesari_tenant USING (true)",
        "CREATE POLICY goals_tenant_all ON public.goals TO sesari_tenant, sesari_service USING (true)",
        "ALTER POLICY kpis_tenant_select ON public.kpis TO PUBLIC",
        "CREATE POLICY goals_service_select ON public.goals AS RESTRICTIVE FOR SELECT TO sesari_service USING (true)";

    an_update_has_both_its_conditions_written_out_and_they_are_the_same:
        "SELECT name AS line FROM policies
          WHERE verb = 'update' AND (using_text IS NULL OR check_text IS NULL OR using_text <> check_text)
             OR verb IN ('select', 'delete') AND using_text IS NULL
             OR verb = 'insert' AND check_text IS NULL",
        broken by "DROP POLICY goals_tenant_update ON public.goals;
         CREATE POLICY goals_tenant_update ON public.goals FOR UPDATE TO sesari_tenant
             USING (workspace_id = (SELECT sesari.current_workspace_id()))",
        "ALTER POLICY goals_tenant_update ON public.goals WITH CHECK (true)";

    /// What is added by AND narrows it; the one OR is on the membership's own user, below.
    a_tenants_policy_begins_with_its_workspace:
        "SELECT p.name || ': ' || e AS line
           FROM policies AS p JOIN tenant_tables AS t ON t.oid = p.polrelid
          CROSS JOIN LATERAL unnest(ARRAY[p.using_text, p.check_text]) AS e
          WHERE 'sesari_tenant'::regrole = ANY (p.polroles) AND e IS NOT NULL
            AND p.table_name <> 'workspace_users'
            AND e !~ 'current_actor' -- below
            AND regexp_replace(e, '\\s+', ' ', 'g') !~
                '^\\(('
                '\\(\\(\\( SELECT sesari\\.key_of\\(sesari\\.(current_workspace_id\\(\\)|workspace_id_as\\(''\\{[a-z,]+\\}''::text\\[\\]\\))\\) AS key_of\\)\\)\\[workspace_id\\] IS NOT NULL\\) AND '
                ')?\\(?workspace_id = \\( SELECT sesari\\.(current_workspace_id\\(\\)|workspace_id_as\\(''\\{[a-z,]+\\}''::text\\[\\]\\)) AS \\w+\\)\\)( AND .*\\)|\\))?$'",
        broken by "ALTER POLICY kpis_tenant_select ON public.kpis USING (true)",
        "ALTER POLICY kpis_tenant_select ON public.kpis USING (workspace_id = sesari.current_workspace_id())",
        "ALTER POLICY kpis_tenant_select ON public.kpis
             USING (workspace_id = (SELECT sesari.current_workspace_id()) OR is_active)",
        "ALTER POLICY kpis_tenant_select ON public.kpis
             USING (is_active AND workspace_id = (SELECT sesari.current_workspace_id()))",
        "ALTER POLICY kpis_tenant_insert ON public.kpis WITH CHECK (workspace_id IS NOT NULL)";

    /// What costs the planner nothing is asked first, and in the order of the policies: so nothing of a
    /// statement's own is asked of a row that a policy hides.
    a_tenants_policy_that_reads_looks_its_row_up_first:
        "SELECT p.name || ': ' || p.using_text AS line FROM policies AS p
          WHERE 'sesari_tenant'::regrole = ANY (p.polroles) AND p.verb IN ('select', 'all')
            AND p.using_text !~ '^\\(\\(\\(\\( SELECT sesari\\.key_of\\((sesari\\.\\w+\\([^)]*\\)|a\\.[a-z_., ]+)\\) AS key_of(\\s+FROM sesari.current_actor\\(\\) a\\([a-z_, ]+\\))?\\)\\)\\[(workspace_id|id)\\](\\[\\w+\\])* IS NOT NULL\\) AND '",
        broken by "ALTER POLICY kpis_tenant_select ON public.kpis USING (workspace_id = (SELECT sesari.current_workspace_id()))",
        "ALTER POLICY kpis_tenant_select ON public.kpis USING (workspace_id = (SELECT sesari.current_workspace_id())
             AND (SELECT sesari.key_of(sesari.current_workspace_id()))[workspace_id] IS NOT NULL)";

    /// Workspace and actor in one question: a statement could change its context between two.
    a_policy_on_what_is_one_actors_own_is_this:
        "SELECT p.name || ': ' || e AS line
           FROM policies AS p CROSS JOIN LATERAL unnest(ARRAY[p.using_text, p.check_text]) AS e
          WHERE 'sesari_tenant'::regrole = ANY (p.polroles)
            AND (e ~ 'current_actor' OR p.table_name = 'idempotency_keys')
            AND regexp_replace(e, '\\s+', ' ', 'g') <> CASE WHEN p.verb IN ('select', 'update') THEN
                '(((( SELECT sesari.key_of(a.workspace_id, a.actor_kind, a.actor_id, a.membership) AS key_of '
                'FROM sesari.current_actor() a(workspace_id, actor_kind, actor_id, membership)))'
                '[workspace_id][actor_kind][actor_id][membership] IS NOT NULL) AND ' ELSE '' END ||
                '((workspace_id, actor_kind, actor_id, membership) = ( SELECT a.workspace_id, a.actor_kind, a.actor_id, a.membership '
                'FROM sesari.current_actor() a(workspace_id, actor_kind, actor_id, membership)))'
                || CASE WHEN p.verb IN ('select', 'update') THEN ')' ELSE '' END",
        broken by "ALTER POLICY idempotency_keys_tenant_select ON public.idempotency_keys
             USING (workspace_id = (SELECT sesari.current_workspace_id()))",
        "ALTER POLICY idempotency_keys_tenant_select ON public.idempotency_keys
             USING ((actor_kind, actor_id) = (SELECT a.actor_kind, a.actor_id FROM sesari.current_actor() AS a))",
        "ALTER POLICY idempotency_keys_tenant_insert ON public.idempotency_keys
             WITH CHECK (workspace_id = (SELECT sesari.current_workspace_id())
                 AND (actor_kind, actor_id) = (SELECT a.actor_kind, a.actor_id FROM sesari.current_actor() AS a))",
        "ALTER POLICY idempotency_keys_tenant_update ON public.idempotency_keys
             WITH CHECK ((workspace_id, actor_kind, actor_id, membership)
                 = (SELECT a.workspace_id, a.actor_kind, idempotency_keys.actor_id, a.membership FROM sesari.current_actor() AS a))";

    /// They compare with the workspace, and a membership's with its own user.
    the_policies_of_tables_without_a_workspace_are_these:
        "SELECT p.name || ': ' || coalesce(p.using_text, p.check_text) AS line
           FROM policies AS p
          WHERE 'sesari_tenant'::regrole = ANY (p.polroles)
            AND (p.polrelid NOT IN (SELECT oid FROM tenant_tables) OR p.table_name = 'workspace_users')
            AND (p.polname::text, regexp_replace(replace(coalesce(p.using_text, p.check_text), E'\\n', ''), ' AS \\w+', '', 'g')) NOT IN (VALUES
                ('workspaces_tenant_select', '(((( SELECT sesari.key_of(sesari.current_workspace_id())))[id] IS NOT NULL) AND (id = ( SELECT sesari.current_workspace_id())))'),
                ('workspaces_tenant_update', '(id = ( SELECT sesari.workspace_id_as(''{owner,admin}''::text[])))'),
                ('workspaces_tenant_delete', '(id = ( SELECT sesari.workspace_id_as(''{owner}''::text[])))'),
                ('workspace_users_tenant_select', '(((( SELECT sesari.key_of(sesari.current_workspace_id())))[workspace_id] IS NOT NULL) AND (workspace_id = ( SELECT sesari.current_workspace_id())))'),
                ('workspace_users_tenant_update', '((workspace_id = ( SELECT sesari.workspace_id_as(''{owner}''::text[]))) OR ((workspace_id = ( SELECT sesari.workspace_id_as(''{admin}''::text[]))) AND (role <> ''owner''::text)))'),
                ('workspace_users_tenant_delete', '((workspace_id = ( SELECT sesari.workspace_id_as(''{owner}''::text[]))) OR ((workspace_id = ( SELECT sesari.workspace_id_as(''{admin}''::text[]))) AND (role <> ''owner''::text)) OR ((workspace_id = ( SELECT sesari.current_workspace_id())) AND (user_id = ( SELECT sesari.current_user_id()))))'))",
        broken by "ALTER POLICY workspaces_tenant_select ON public.workspaces USING (true)",
        "ALTER POLICY workspaces_tenant_delete ON public.workspaces USING (id = (SELECT sesari.current_workspace_id()))",
        "CREATE POLICY more ON public.subscriptions FOR DELETE TO sesari_tenant USING (true)";

    a_services_policy_asks_for_a_service:
        "SELECT p.name || ': ' || e AS line
           FROM policies AS p CROSS JOIN LATERAL unnest(ARRAY[p.using_text, p.check_text]) AS e
          WHERE 'sesari_service'::regrole = ANY (p.polroles) AND e IS NOT NULL
            AND regexp_replace(e, '\\s+', ' ', 'g') !~ '^\\(+(.* AND )?\\(*( SELECT sesari\\.current_service\\(\\) AS current_service\\) IS NOT NULL)\\)+$'",
        broken by "ALTER POLICY users_service_select ON public.users USING (true)",
        "ALTER POLICY users_service_select ON public.users USING ((SELECT sesari.current_service()) IS NOT NULL OR true)",
        "ALTER POLICY users_service_select ON public.users USING (sesari.current_service() IS NOT NULL)";

    /// Between two questions a statement can change its context: the workspace of one, the role of
    /// another.
    no_policy_asks_for_the_role_apart_from_the_workspace:
        "SELECT p.name AS line FROM policies AS p
          WHERE coalesce(p.using_text, '') || coalesce(p.check_text, '') ~ 'current_member_role'",
        broken by "ALTER POLICY kpis_tenant_delete ON public.kpis
             USING (workspace_id = (SELECT sesari.current_workspace_id())
                    AND (SELECT sesari.current_member_role()) = 'owner')";

    /// A bare call runs for every row.
    a_policy_calls_functions_only_once_a_statement:
        "SELECT p.name || ': ' || e AS line
           FROM policies AS p CROSS JOIN LATERAL unnest(ARRAY[p.using_text, p.check_text]) AS w
          CROSS JOIN LATERAL regexp_replace(w,
                '\\( SELECT sesari\\.key_of\\(sesari\\.\\w+\\((''\\{[a-z,]+\\}''::text\\[\\])?\\)\\) AS key_of\\)', '') AS e
          WHERE e !~ 'current_actor' -- above
            AND (regexp_replace(e, 'SELECT\\s+sesari\\.\\w+\\((''\\{[a-z,]+\\}''::text\\[\\])?\\)', '', 'g') ~ '\\w\\('
             OR regexp_replace(e, '\\(\\s*SELECT\\s+sesari\\.\\w+\\((''\\{[a-z,]+\\}''::text\\[\\])?\\)\\s+AS\\s+\\w+\\)', '', 'g') ~ 'SELECT')",
        broken by "ALTER POLICY kpis_tenant_select ON public.kpis USING (workspace_id = sesari.current_workspace_id())",
        "ALTER POLICY kpis_tenant_select ON public.kpis
             USING (workspace_id = (SELECT sesari.current_workspace_id()) AND lower(name) <> '')",
        "ALTER POLICY kpis_tenant_select ON public.kpis
             USING (workspace_id IN (SELECT workspace_id FROM public.workspace_users))";

    /// No login is a member of the owner.
    an_owners_policy_serves_a_definer_function_and_strangers_have_none:
        "SELECT p.name AS line FROM policies AS p
          WHERE 'sesari_owner'::regrole = ANY (p.polroles)
            AND (p.verb = 'delete' AND p.full_name NOT IN (
                    'public.kpi_data_points', 'public.kpi_packed_points', 'public.kpi_rollups', 'public.audit_log', 'public.idempotency_keys', 'public.users',
                    'public.workspace_users', 'public.workspaces') OR NOT EXISTS (
                SELECT FROM functions AS f WHERE f.prosecdef AND f.prosrc ~ (p.full_name || '\\M')))
         UNION ALL SELECT DISTINCT name || ' is for a stranger' FROM policies, unnest(polroles) AS r
          WHERE r NOT IN ('sesari_owner'::regrole, 'sesari_tenant'::regrole, 'sesari_service'::regrole)",
        broken by "DROP FUNCTION sesari.my_subscription()",
        "CREATE POLICY kpis_owner_delete ON public.kpis FOR DELETE TO sesari_owner USING (true)",
        "CREATE POLICY more ON public.goals FOR SELECT TO pg_monitor USING (true)";
}
