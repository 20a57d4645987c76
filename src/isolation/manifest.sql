-- The catalogue of this crate's schema, one fact a line. $1: its tables, as schema.name.
WITH
tables AS (
    SELECT c.oid, c.relowner, c.relacl, c.relkind, c.relrowsecurity, c.relforcerowsecurity,
           n.nspname || '.' || c.relname AS name
      FROM pg_catalog.pg_class AS c
      JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
       AND (n.nspname = 'sesari' OR n.nspname || '.' || c.relname = ANY ($1))
),
indexes AS (
    SELECT i.indrelid, i.indisvalid, c.relname AS name, d.definition,
           replace(d.definition, ' INDEX ' || quote_ident(c.relname) || ' ON ', ' INDEX ON ') AS nameless
      FROM tables AS t
      JOIN pg_catalog.pg_index AS i ON i.indrelid = t.oid
      JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
     CROSS JOIN LATERAL pg_catalog.pg_get_indexdef(i.indexrelid) AS d (definition)
),
functions AS (
    SELECT p.*, n.nspname || '.' || p.proname || '('
                || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')' AS name
      FROM pg_catalog.pg_proc AS p
      JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
     WHERE n.nspname = 'sesari'
        -- What the tables' triggers and policies call.
        OR p.oid IN (SELECT g.tgfoid FROM tables AS t
                       JOIN pg_catalog.pg_trigger AS g ON g.tgrelid = t.oid AND NOT g.tgisinternal
                     UNION ALL
                     SELECT d.refobjid FROM tables AS t
                       JOIN pg_catalog.pg_policy AS c ON c.polrelid = t.oid
                       JOIN pg_catalog.pg_depend AS d
                         ON d.classid = 'pg_catalog.pg_policy'::regclass AND d.objid = c.oid
                        AND d.refclassid = 'pg_catalog.pg_proc'::regclass)
),
-- Grants to bystanders do no harm: without a policy for them they see nothing. Whatever the login is
-- a member of is no bystander.
grantees AS (
    SELECT 0::oid AS oid, 'PUBLIC' AS name
    UNION ALL
    SELECT r.oid, r.rolname::text FROM pg_catalog.pg_roles AS r
     WHERE r.rolname IN ('sesari_tenant', 'sesari_service')
        OR pg_has_role(session_user, r.oid, 'MEMBER') AND r.rolname <> 'sesari_owner' AND NOT r.rolsuper
           AND NOT (SELECT s.rolsuper FROM pg_catalog.pg_roles AS s WHERE s.rolname = session_user)
)
SELECT 'table ' || name || ' kind ' || relkind::text || ' owner ' || pg_catalog.pg_get_userbyid(relowner)
       || ' rls ' || relrowsecurity || ' forced ' || relforcerowsecurity AS line
  FROM tables
UNION ALL
SELECT 'column ' || t.name || '.' || a.attname || ' ' || pg_catalog.format_type(a.atttypid, a.atttypmod)
       || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END
       || coalesce(' default ' || pg_catalog.pg_get_expr(d.adbin, d.adrelid), '')
  FROM tables AS t
  JOIN pg_catalog.pg_attribute AS a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
UNION ALL
SELECT 'constraint ' || t.name || '.' || c.conname || ' ' || pg_catalog.pg_get_constraintdef(c.oid)
  FROM tables AS t
  JOIN pg_catalog.pg_constraint AS c ON c.conrelid = t.oid AND c.contype IN ('p', 'u', 'f', 'c', 'x')
UNION ALL
SELECT 'index ' || t.name || ' ' || i.definition || CASE WHEN i.indisvalid THEN '' ELSE ' invalid' END
  FROM tables AS t
  JOIN indexes AS i ON i.indrelid = t.oid
 -- REINDEX CONCURRENTLY makes a copy, and leaves it behind where it fails.
 WHERE NOT (NOT i.indisvalid AND i.name ~ '_cc(new|old)[0-9]*$'
            AND EXISTS (SELECT FROM indexes AS o
                         WHERE o.indrelid = i.indrelid AND o.indisvalid AND o.nameless = i.nameless))
UNION ALL
-- A question with several answers is written on several lines.
SELECT 'policy ' || t.name || '.' || p.polname
       || CASE WHEN p.polpermissive THEN '' ELSE ' RESTRICTIVE' END
       || ' for ' || p.polcmd::text || ' to '
       || (SELECT string_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(r) END, ',' ORDER BY r)
             FROM unnest(p.polroles) AS r)
       || pg_catalog.regexp_replace(
              coalesce(' using ' || pg_catalog.pg_get_expr(p.polqual, p.polrelid), '')
              || coalesce(' check ' || pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid), ''),
              '\s*\n\s*', ' ', 'g')
  FROM tables AS t
  JOIN pg_catalog.pg_policy AS p ON p.polrelid = t.oid
UNION ALL
SELECT 'trigger ' || t.name || '.' || g.tgname || ' enabled ' || g.tgenabled::text || ' '
       || pg_catalog.pg_get_triggerdef(g.oid)
  FROM tables AS t
  JOIN pg_catalog.pg_trigger AS g ON g.tgrelid = t.oid AND NOT g.tgisinternal
UNION ALL
-- Foreign keys are triggers too, and can be switched off.
SELECT 'trigger ' || t.name || ' internal, of ' || c.conname || ', enabled ' || g.tgenabled::text
  FROM tables AS t
  JOIN pg_catalog.pg_trigger AS g ON g.tgrelid = t.oid AND g.tgisinternal AND g.tgenabled <> 'O'
  JOIN pg_catalog.pg_constraint AS c ON c.oid = g.tgconstraint
UNION ALL
SELECT 'rule ' || t.name || ' ' || pg_catalog.pg_get_ruledef(w.oid)
  FROM tables AS t
  JOIN pg_catalog.pg_rewrite AS w ON w.ev_class = t.oid
UNION ALL
SELECT 'grant ' || t.name || ' ' || a.privilege_type || ' to ' || g.name || CASE WHEN a.is_grantable THEN ' grantable' ELSE '' END
  FROM tables AS t
  CROSS JOIN LATERAL pg_catalog.aclexplode(t.relacl) AS a
  JOIN grantees AS g ON g.oid = a.grantee
UNION ALL
SELECT 'grant ' || t.name || '.' || c.attname || ' ' || a.privilege_type || ' to ' || g.name || CASE WHEN a.is_grantable THEN ' grantable' ELSE '' END
  FROM tables AS t
  JOIN pg_catalog.pg_attribute AS c ON c.attrelid = t.oid AND c.attacl IS NOT NULL
  CROSS JOIN LATERAL pg_catalog.aclexplode(c.attacl) AS a
  JOIN grantees AS g ON g.oid = a.grantee
UNION ALL
SELECT 'function ' || f.name || ' returns ' || pg_catalog.pg_get_function_result(f.oid)
       || ' owner ' || pg_catalog.pg_get_userbyid(f.proowner)
       || CASE WHEN f.prosecdef THEN ' definer' ELSE ' invoker' END
       || ' ' || f.provolatile::text || f.proparallel::text
       || ' config ' || coalesce(array_to_string(f.proconfig, ';'), '')
       || ' body ' || pg_catalog.md5(f.prosrc)
  FROM functions AS f
UNION ALL
SELECT 'grant ' || f.name || ' ' || a.privilege_type || ' to ' || g.name || CASE WHEN a.is_grantable THEN ' grantable' ELSE '' END
  FROM functions AS f
  CROSS JOIN LATERAL pg_catalog.aclexplode(
      coalesce(f.proacl, pg_catalog.acldefault('f', f.proowner))) AS a
  JOIN grantees AS g ON g.oid = a.grantee
UNION ALL
SELECT 'grant ' || n.nspname || ' ' || a.privilege_type || ' to ' || g.name || CASE WHEN a.is_grantable THEN ' grantable' ELSE '' END
  FROM pg_catalog.pg_namespace AS n
  CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) AS a
  JOIN grantees AS g ON g.oid = a.grantee
 WHERE n.nspname = 'sesari'
ORDER BY 1
