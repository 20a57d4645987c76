-- What a declared tenant table must be like. Follows reach.sql. Policies are judged in policy.rs.
tenant AS (
    SELECT r.oid, r.name, r.relkind, r.relowner, w.attnum AS workspace
      FROM relations AS r
      LEFT JOIN pg_catalog.pg_attribute AS w
             ON w.attrelid = r.oid AND w.attname = 'workspace_id' AND NOT w.attisdropped
     WHERE r.name = ANY ($2) AND r.relkind IN ('r', 'p')
),
-- What a foreign key may point at.
bound AS (
    SELECT r.oid, a.attnum AS workspace
      FROM relations AS r
      JOIN pg_catalog.pg_attribute AS a ON a.attrelid = r.oid AND NOT a.attisdropped
     WHERE (r.name = ANY ($2) OR r.name = ANY ($4)) AND a.attname = 'workspace_id'
        OR r.name = 'public.workspaces' AND a.attname = 'id'
),
functions AS (
    SELECT p.oid, p.prosecdef, p.proconfig, n.nspname || '.' || p.proname AS name
      FROM pg_catalog.pg_proc AS p
      JOIN namespaces AS n ON n.oid = p.pronamespace
     WHERE n.nspname <> 'sesari'
),
triggers AS (
    SELECT t.name || '.' || g.tgname AS name, g.tgisinternal, g.tgenabled, f.name AS function, f.prosecdef, f.proconfig
      FROM tenant AS t
      JOIN pg_catalog.pg_trigger AS g ON g.tgrelid = t.oid
      LEFT JOIN functions AS f ON f.oid = g.tgfoid
),
grants AS (
    SELECT t.name, a.* FROM tenant AS t
      JOIN pg_catalog.pg_class AS c ON c.oid = t.oid
     CROSS JOIN LATERAL aclexplode(c.relacl) AS a
    UNION ALL
    SELECT t.name || '.' || c.attname, a.* FROM tenant AS t
      JOIN pg_catalog.pg_attribute AS c ON c.attrelid = t.oid
     CROSS JOIN LATERAL aclexplode(c.attacl) AS a
),
findings (rule, object, explanation) AS (
    SELECT 'tenant-table-missing', d.name, 'declared as a tenant''s table, and there is no table of this name'
      FROM unnest($2) AS d (name) WHERE NOT EXISTS (SELECT FROM tenant AS t WHERE t.name = d.name)
    UNION ALL
    SELECT 'tenant-owner', t.name, 'belongs to ' || o.rolname || ', who can log in or is not bound by policies'
      FROM tenant AS t JOIN pg_catalog.pg_roles AS o ON o.oid = t.relowner
     WHERE o.rolcanlogin OR o.rolsuper OR o.rolbypassrls
    UNION ALL
    SELECT 'tenant-workspace-column', t.name, 'has no column workspace_id of type text that is NOT NULL'
      FROM tenant AS t
     WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_attribute AS a
                        WHERE a.attrelid = t.oid AND a.attnum = t.workspace
                          AND a.atttypid = 'pg_catalog.text'::regtype AND a.attnotnull)
    UNION ALL
    SELECT 'tenant-key', i.indexrelid::regclass::text, 'workspace_id does not lead this unique key: its checks see all tenants'' rows, and tell of them'
      FROM tenant AS t JOIN pg_catalog.pg_index AS i ON i.indrelid = t.oid
     WHERE i.indisunique AND i.indkey[0] IS DISTINCT FROM t.workspace
    UNION ALL
    SELECT 'tenant-key', t.name || '.' || c.conname, 'the exclusion does not begin with workspace_id WITH =: it is checked against all tenants'' rows'
      FROM tenant AS t JOIN pg_catalog.pg_constraint AS c ON c.conrelid = t.oid
     WHERE c.contype = 'x'
       AND (c.conkey[1] IS DISTINCT FROM t.workspace
            OR c.conexclop[1] IS DISTINCT FROM 'pg_catalog.=(text,text)'::regoperator::oid)
    UNION ALL
    SELECT 'tenant-foreign-key', t.name || '.' || c.conname,
           CASE WHEN c.convalidated THEN 'does not tie workspace_id to workspace_id of a tenant''s table first: a row could point into another workspace'
                ELSE 'is not validated' END
      FROM tenant AS t JOIN pg_catalog.pg_constraint AS c ON c.conrelid = t.oid
     WHERE c.contype = 'f'
       AND (NOT c.convalidated OR c.conkey[1] IS DISTINCT FROM t.workspace
            OR NOT EXISTS (SELECT FROM bound AS b WHERE b.oid = c.confrelid AND b.workspace = c.confkey[1]))
    UNION ALL
    SELECT 'tenant-default', t.name || '.' || a.attname, 'its default calls ' || f.name || ', which runs as its owner'
      FROM tenant AS t
      JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = t.oid
      JOIN pg_catalog.pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = d.adnum
      JOIN pg_catalog.pg_depend AS p ON p.classid = 'pg_catalog.pg_attrdef'::regclass AND p.objid = d.oid
                                    AND p.refclassid = 'pg_catalog.pg_proc'::regclass
      JOIN functions AS f ON f.oid = p.refobjid
     WHERE f.prosecdef
    UNION ALL
    SELECT 'tenant-sequence', t.name || '.' || a.attname, 'is numbered over all tenants: its values tell how many rows they have made together'
      FROM tenant AS t
      JOIN pg_catalog.pg_attribute AS a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
      LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = t.oid AND d.adnum = a.attnum
     WHERE a.attidentity <> ''
        OR EXISTS (SELECT FROM pg_catalog.pg_depend AS p
                     JOIN pg_catalog.pg_class AS s ON s.oid = p.refobjid AND s.relkind = 'S'
                    WHERE p.classid = 'pg_catalog.pg_attrdef'::regclass AND p.objid = d.oid
                      AND p.refclassid = 'pg_catalog.pg_class'::regclass)
    UNION ALL
    SELECT 'tenant-key-unenforced', name, 'the trigger behind a foreign key is switched off'
      FROM triggers WHERE tgisinternal AND tgenabled <> 'O'
    UNION ALL
    SELECT 'tenant-trigger-definer', name, 'calls ' || function || ', which reads and writes as its owner'
      FROM triggers WHERE prosecdef
    UNION ALL
    SELECT 'tenant-trigger-unpinned', name, 'calls ' || function || ', which looks names up where its caller says'
      FROM triggers
     WHERE function IS NOT NULL
       AND NOT EXISTS (SELECT FROM unnest(proconfig) AS c WHERE c ~ '^search_path=')
    UNION ALL
    SELECT 'tenant-rule', t.name || '.' || w.rulename, 'rewrites statements, and what it adds runs with the rights of the table''s owner'
      FROM tenant AS t JOIN pg_catalog.pg_rewrite AS w ON w.ev_class = t.oid
    UNION ALL
    SELECT 'tenant-inheritance', t.name, 'inherits, or is inherited from: policies and keys of one table do not hold for the other'
      FROM tenant AS t
     WHERE EXISTS (SELECT FROM pg_catalog.pg_inherits AS i
                     JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid AND NOT c.relispartition
                    WHERE t.oid IN (i.inhrelid, i.inhparent))
    UNION ALL
    SELECT 'tenant-grant-option', g.name, g.privilege_type || ' is granted with the right to grant it on'
      FROM grants AS g
     WHERE g.is_grantable AND (g.grantee = 0 OR g.grantee IN (SELECT oid FROM roles))
    UNION ALL
    SELECT 'tenant-policy-overlap', t.name, 'more than one policy lets the login ' || v.verb || ', and the widest counts'
      FROM relations AS t CROSS JOIN LATERAL unnest(t.verbs) AS v (verb)
     WHERE t.name = ANY ($2)
       AND 1 < (SELECT count(*) FROM pg_catalog.pg_policy AS p
                 WHERE p.polrelid = t.oid AND p.polpermissive
                   AND p.polcmd IN ('*', CASE v.verb WHEN 'SELECT' THEN 'r' WHEN 'INSERT' THEN 'a'
                                                     WHEN 'UPDATE' THEN 'w' ELSE 'd' END)
                   AND EXISTS (SELECT FROM unnest(p.polroles) AS r
                                WHERE r = 0 OR pg_has_role(session_user, r, 'MEMBER')))
    UNION ALL
    SELECT 'tenant-policy-function', t.name || '.' || p.polname, 'calls ' || f.name || ', which may see rows before the workspace has been compared'
      FROM tenant AS t
      JOIN pg_catalog.pg_policy AS p ON p.polrelid = t.oid
      JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_catalog.pg_policy'::regclass AND d.objid = p.oid
                                    AND d.refclassid = 'pg_catalog.pg_proc'::regclass
      JOIN functions AS f ON f.oid = d.refobjid
)
SELECT DISTINCT rule::text, object::text, explanation::text FROM findings ORDER BY 1, 2, 3
