-- What a login is, could become and can reach. The rules are appended.
-- $1: the database role that the login is for, sesari_tenant or sesari_service.
-- $2: tenant tables that were declared, $3: shared tables that were declared, $4: the crate's own, each as schema.name.
WITH
login AS (
    SELECT r.oid, r.rolname::text AS name FROM pg_catalog.pg_roles AS r WHERE r.rolname = session_user
),
-- Itself and every role that it could become: what any of them may, the login may.
roles AS (
    SELECT r.* FROM pg_catalog.pg_roles AS r WHERE pg_has_role(session_user, r.oid, 'MEMBER')
),
superuser AS (
    SELECT FROM pg_catalog.pg_roles WHERE rolname = session_user AND rolsuper
),
-- Everything outside of PostgreSQL itself. Reached is what the login may name, and what a view or a function
-- elsewhere has named for it: that one needs no USAGE any more. Grants to everybody in other schemas, as
-- extensions make them, give nothing.
namespaces AS (
    SELECT n.oid, n.nspname, n.nspowner,
           EXISTS (SELECT FROM roles AS r WHERE has_schema_privilege(r.oid, n.oid, 'USAGE'))
           OR EXISTS (SELECT FROM pg_catalog.pg_class AS c
                        JOIN pg_catalog.pg_depend AS d ON d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = c.oid
                        LEFT JOIN pg_catalog.pg_rewrite AS w ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND w.oid = d.objid
                        LEFT JOIN pg_catalog.pg_class AS v ON v.oid = w.ev_class
                        LEFT JOIN pg_catalog.pg_proc AS p ON d.classid = 'pg_catalog.pg_proc'::regclass AND p.oid = d.objid
                       WHERE c.relnamespace = n.oid AND coalesce(v.relnamespace, p.pronamespace) <> n.oid) AS reached
      FROM pg_catalog.pg_namespace AS n
     WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
),
relations AS (
    SELECT c.oid, c.relkind, c.relrowsecurity, c.relforcerowsecurity, c.relowner, c.reloptions,
           n.nspname || '.' || c.relname AS name, format('%I.%I', n.nspname, c.relname) AS quoted,
           (SELECT array_agg(verb ORDER BY verb) FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS verb
             WHERE own.reached AND EXISTS (
                           SELECT FROM roles AS r
                            WHERE has_table_privilege(r.oid, c.oid, verb)
                               OR verb <> 'DELETE' AND has_any_column_privilege(r.oid, c.oid, verb))) AS verbs,
           (SELECT array_agg(verb ORDER BY verb) FROM unnest(ARRAY['TRUNCATE', 'REFERENCES', 'TRIGGER', 'MAINTAIN']) AS verb
             WHERE own.reached AND EXISTS (
                           SELECT FROM roles AS r
                            WHERE CASE WHEN verb <> 'MAINTAIN' THEN has_table_privilege(r.oid, c.oid, verb) END
                               OR verb = 'REFERENCES' AND has_any_column_privilege(r.oid, c.oid, verb)
                               -- Unknown to has_table_privilege before PostgreSQL 17.
                               OR verb = 'MAINTAIN' AND EXISTS (
                                   SELECT FROM aclexplode(c.relacl) AS a
                                    WHERE a.privilege_type = verb AND a.grantee IN (0, r.oid)))) AS strays
      FROM pg_catalog.pg_class AS c
      JOIN namespaces AS n ON n.oid = c.relnamespace
     CROSS JOIN LATERAL (
           SELECT n.reached OR EXISTS (
                      SELECT FROM (SELECT c.relacl UNION ALL
                                   SELECT a.attacl FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = c.oid) AS acls (acl)
                       CROSS JOIN LATERAL aclexplode(acl) AS a JOIN roles AS r ON r.oid = a.grantee) AS reached) AS own
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
),
