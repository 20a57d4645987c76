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
-- Everything outside of PostgreSQL itself.
namespaces AS (
    SELECT n.oid, n.nspname, n.nspowner FROM pg_catalog.pg_namespace AS n
     WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
),
relations AS (
    SELECT c.oid, c.relkind, c.relrowsecurity, c.relforcerowsecurity, c.relowner, c.reloptions,
           n.nspname || '.' || c.relname AS name,
           (SELECT array_agg(verb ORDER BY verb) FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS verb
             WHERE EXISTS (SELECT FROM roles AS r
                            WHERE has_table_privilege(r.oid, c.oid, verb)
                               OR verb <> 'DELETE' AND has_any_column_privilege(r.oid, c.oid, verb))) AS verbs,
           (SELECT array_agg(verb ORDER BY verb) FROM unnest(ARRAY['TRUNCATE', 'REFERENCES', 'TRIGGER', 'MAINTAIN']) AS verb
             WHERE EXISTS (SELECT FROM roles AS r
                            WHERE CASE WHEN verb <> 'MAINTAIN' THEN has_table_privilege(r.oid, c.oid, verb) END
                               OR verb = 'REFERENCES' AND has_any_column_privilege(r.oid, c.oid, verb)
                               -- Unknown to has_table_privilege before PostgreSQL 17.
                               OR verb = 'MAINTAIN' AND EXISTS (
                                   SELECT FROM aclexplode(c.relacl) AS a
                                    WHERE a.privilege_type = verb AND a.grantee IN (0, r.oid)))) AS strays
      FROM pg_catalog.pg_class AS c
      JOIN namespaces AS n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
),
