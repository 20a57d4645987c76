-- What no login of a service may be, and what nothing that it can reach may be. Follows reach.sql.
-- Tables that tenants' SQL may read, with what inherits from them or is a partition of them. Its conditions
-- are asked of indexes and statistics before the policy says which rows it may see, so that neither may be
-- of more than one tenant.
readable AS (
    WITH RECURSIVE tables (oid, name, workspace_column) AS (
        SELECT r.oid, r.name, CASE r.name WHEN 'public.workspaces' THEN 'id' ELSE 'workspace_id' END
          FROM relations AS r
         WHERE $1 = 'sesari_tenant' AND r.relkind IN ('r', 'p') AND r.name <> ALL ($3)
           AND ('SELECT' = ANY (r.verbs) OR r.name = ANY ($2)) AND NOT EXISTS (SELECT FROM superuser)
           AND r.relrowsecurity -- All see all of the others.
        UNION
        SELECT c.oid, n.nspname || '.' || c.relname, t.workspace_column
          FROM tables AS t
          JOIN pg_catalog.pg_inherits AS i ON i.inhparent = t.oid
          JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid
          JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace)
    SELECT * FROM tables
),
findings (rule, object, explanation) AS (
    SELECT 'login-is-superuser', name, 'a superuser is not bound by row-level security; use a plain login'
      FROM login WHERE EXISTS (SELECT FROM superuser)
    UNION ALL
    SELECT 'login-has-no-role', session_user, 'the login does not have the rights of ' || $1 || '; grant it, with INHERIT'
     WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r
                        WHERE r.rolname = $1 AND pg_has_role(session_user, r.oid, 'USAGE'))
    UNION ALL
    SELECT 'login-has-both-roles', session_user, 'one login for tenants and services is one wall less; use two'
     WHERE (SELECT count(*) FROM roles WHERE rolname IN ('sesari_tenant', 'sesari_service')) > 1
       AND NOT EXISTS (SELECT FROM superuser)
    UNION ALL
    SELECT 'prepared-transactions', 'server', 'max_prepared_transactions is not 0: a tenant could leave locks behind that outlive its session'
     WHERE current_setting('max_prepared_transactions') <> '0'
    UNION ALL
    SELECT 'parameter-granted', p.parname, 'the login may SET this superuser''s setting; revoke it'
      FROM pg_catalog.pg_parameter_acl AS p
     WHERE EXISTS (SELECT FROM roles AS r WHERE has_parameter_privilege(r.oid, p.parname, 'SET')
                                             OR has_parameter_privilege(r.oid, p.parname, 'ALTER SYSTEM'))
       AND NOT EXISTS (SELECT FROM superuser)
    UNION ALL
    SELECT 'login-can-grant', r.rolname, 'the login may grant this role to others; revoke the ADMIN OPTION'
      FROM pg_catalog.pg_auth_members AS m
      JOIN pg_catalog.pg_roles AS r ON r.oid = m.roleid
     WHERE m.admin_option AND m.member IN (SELECT oid FROM roles) AND NOT EXISTS (SELECT FROM superuser)
    UNION ALL
    SELECT 'setting-changed', 'server', 'session_replication_role=' || current_setting('session_replication_role')
           || ': triggers and foreign keys would not be applied'
     WHERE current_setting('session_replication_role') <> 'origin'
    UNION ALL
    SELECT 'database-writable', quote_ident(d.datname), 'the login may create schemas or temporary tables here, and shadow others with them; revoke CREATE and TEMPORARY'
      FROM pg_catalog.pg_database AS d
     WHERE d.datname = current_database()
       AND EXISTS (SELECT FROM roles AS r WHERE has_database_privilege(r.oid, d.oid, 'CREATE, TEMPORARY'))
    UNION ALL
    SELECT 'activity-shown', 'server', 'track_activity_query_size is over 64 kB: each transaction hides its context behind as many blanks'
     WHERE pg_size_bytes(current_setting('track_activity_query_size')) > 65536
    UNION ALL
    SELECT 'schema-writable', quote_ident(nspname), 'the login may create objects here, and shadow others with them'
      FROM namespaces AS n
     WHERE EXISTS (SELECT FROM roles AS r WHERE has_schema_privilege(r.oid, n.oid, 'CREATE'))
    UNION ALL
    SELECT 'table-without-rls', quoted, 'the login may ' || array_to_string(verbs, ', ') || ' without row-level security'
      FROM relations WHERE relkind IN ('r', 'p') AND verbs IS NOT NULL AND NOT relrowsecurity
    UNION ALL
    SELECT 'table-without-rls', quoted, 'declared as a tenant''s table, and has no row-level security'
      FROM relations WHERE name = ANY ($2) AND relkind IN ('r', 'p') AND verbs IS NULL AND NOT relrowsecurity
    UNION ALL
    SELECT 'table-not-forced', quoted, 'row-level security does not bind the table''s owner; FORCE it'
      FROM relations
     WHERE relkind IN ('r', 'p') AND (verbs IS NOT NULL OR name = ANY ($2)) AND relrowsecurity AND NOT relforcerowsecurity
    UNION ALL
    SELECT 'table-undeclared', name, 'the login may ' || array_to_string(verbs, ', ') || ', and nobody has said that it is a tenant''s table, so that its policies are not judged'
      FROM relations
     WHERE relkind IN ('r', 'p') AND verbs IS NOT NULL AND relrowsecurity
       AND name <> ALL ($2) AND name <> ALL ($4) AND name !~ '^sesari[.]'
       AND (name <> ALL ($3) OR verbs <> ARRAY['SELECT'])
       AND NOT EXISTS (SELECT FROM superuser)
    UNION ALL
    SELECT 'table-without-policy', t.quoted, 'granted ' || v.verb || ' without a policy for it'
      FROM relations AS t CROSS JOIN LATERAL unnest(t.verbs) AS v (verb)
     WHERE t.relkind IN ('r', 'p') AND t.relrowsecurity
       AND NOT EXISTS (
           SELECT FROM pg_catalog.pg_policy AS p
            WHERE p.polrelid = t.oid AND p.polpermissive
              AND p.polcmd IN ('*', CASE v.verb WHEN 'SELECT' THEN 'r' WHEN 'INSERT' THEN 'a'
                                                WHEN 'UPDATE' THEN 'w' ELSE 'd' END)
              AND EXISTS (SELECT FROM unnest(p.polroles) AS r
                           WHERE r = 0 OR pg_has_role(session_user, r, 'MEMBER')))
    UNION ALL
    SELECT 'policy-restrictive', t.name || '.' || p.polname, 'restrictive policies become permissive on shards; put the condition into the permissive one'
      FROM relations AS t JOIN pg_catalog.pg_policy AS p ON p.polrelid = t.oid
     WHERE NOT p.polpermissive AND t.verbs IS NOT NULL
    UNION ALL
    SELECT 'stray-grant', quoted, array_to_string(strays, ', ') || ' is granted: TRUNCATE is not bound by row-level security, REFERENCES, TRIGGER and MAINTAIN reach past it'
      FROM relations WHERE strays IS NOT NULL
    UNION ALL
    SELECT 'view-without-invoker', quoted, 'reads as its owner; make it WITH (security_invoker = true)'
      FROM relations
     WHERE relkind = 'v' AND verbs IS NOT NULL
       AND NOT coalesce('security_invoker=true' = ANY (reloptions) OR 'security_invoker=on' = ANY (reloptions), false)
    UNION ALL
    SELECT 'relation-outside-rls', quoted, 'materialized views and foreign tables have no row-level security'
      FROM relations WHERE relkind IN ('m', 'f') AND verbs IS NOT NULL
    UNION ALL
    SELECT 'default-grant', g.rolname || coalesce(' in ' || n.nspname, ''),
           'grants ' || string_agg(DISTINCT a.privilege_type, ', ' ORDER BY a.privilege_type)
           || ' on what it will make'
      FROM pg_catalog.pg_default_acl AS d
      JOIN pg_catalog.pg_roles AS g ON g.oid = d.defaclrole
      LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = d.defaclnamespace
     CROSS JOIN LATERAL aclexplode(d.defaclacl) AS a
     WHERE d.defaclobjtype IN ('r', 'S', 'n') AND a.grantee <> d.defaclrole
       AND (a.grantee = 0 OR EXISTS (SELECT FROM roles AS r WHERE r.oid = a.grantee))
       AND NOT EXISTS (SELECT FROM superuser)
     GROUP BY g.rolname, n.nspname
    UNION ALL
    SELECT 'sequence-granted', format('%I.%I', n.nspname, c.relname), 'its values tell how many rows all tenants have made'
      FROM pg_catalog.pg_class AS c
      JOIN namespaces AS n ON n.oid = c.relnamespace AND n.reached
     WHERE c.relkind = 'S' AND NOT EXISTS (SELECT FROM superuser)
       AND EXISTS (SELECT FROM roles AS r
                    WHERE CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(r.oid, c.oid, 'USAGE, SELECT, UPDATE') END)
    UNION ALL
    SELECT 'index-across-tenants', i.indexrelid::regclass::text,
           'an index of ' || t.name || ', which tenants may read, that is not a btree led by ' || t.workspace_column
           || ' in the column''s own collation: how many rows of all tenants a condition finds in it can be counted'
      FROM readable AS t
      JOIN pg_catalog.pg_index AS i ON i.indrelid = t.oid
      JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
     WHERE NOT EXISTS (
           SELECT FROM pg_catalog.pg_attribute AS a
             JOIN pg_catalog.pg_opclass AS o ON o.oid = i.indclass[0]
             JOIN pg_catalog.pg_am AS m ON m.oid = c.relam AND m.amname = 'btree'
             JOIN pg_catalog.pg_amop AS p ON p.amopfamily = o.opcfamily AND p.amopopr = 'pg_catalog.=(text,text)'::regoperator
            WHERE a.attrelid = t.oid AND a.attname = t.workspace_column
              AND a.attnum = i.indkey[0] AND a.attcollation = i.indcollation[0])
    UNION ALL
    SELECT 'statistics-across-tenants', t.name,
           'tenants may read it, and the planner keeps statistics of ' || string_agg(s.what, ', ' ORDER BY s.what)
           || ', sampled from the rows of all tenants: its estimates tell of them'
      FROM readable AS t
      JOIN (SELECT a.attrelid, a.attname::text AS what
              FROM pg_catalog.pg_attribute AS a
             WHERE a.attnum > 0 AND NOT a.attisdropped AND coalesce(a.attstattarget, -1) <> 0
            UNION ALL
            SELECT i.indrelid, a.attname || ' of ' || i.indexrelid::regclass
              FROM pg_catalog.pg_index AS i
              JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indexrelid AND i.indkey[a.attnum - 1] = 0
             WHERE coalesce(a.attstattarget, -1) <> 0) AS s ON s.attrelid = t.oid
     GROUP BY t.name
    UNION ALL
    SELECT 'statistics-extended', n.nspname || '.' || s.stxname,
           'extended statistics of ' || t.name || ', which tenants may read, sampled from the rows of all tenants'
      FROM readable AS t
      JOIN pg_catalog.pg_statistic_ext AS s ON s.stxrelid = t.oid
      JOIN pg_catalog.pg_namespace AS n ON n.oid = s.stxnamespace
)
SELECT rule::text, object::text, explanation::text FROM findings ORDER BY 1, 2, 3
