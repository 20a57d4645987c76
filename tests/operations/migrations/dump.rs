//! The catalogue of a database as text, one fact a line: what `pg_dump --schema-only` writes, and
//! privileges, default privileges and settings too. Needs no program of PostgreSQL's.

use std::collections::BTreeSet;

use diesel::connection::SimpleConnection;
use sesari_db::PgConnection;

use crate::support::logins::lines;

/// Every object outside of PostgreSQL's own schemas.
const CATALOGUE: &str = r#"
WITH ns AS (
    SELECT oid, nspname AS name FROM pg_namespace
     WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
), rel AS (
    SELECT c.*, n.name || '.' || c.relname AS name FROM pg_class c JOIN ns n ON n.oid = c.relnamespace
), tab AS (
    SELECT * FROM rel WHERE relkind IN ('r', 'p', 'v', 'm', 'f')
), fun AS (
    SELECT p.*, p.oid::regprocedure::text AS name FROM pg_proc p JOIN ns n ON n.oid = p.pronamespace
), acl AS (
    SELECT 'database' AS what, coalesce(datacl, acldefault('d', datdba)) AS acl
      FROM pg_database WHERE datname = current_database()
    UNION ALL SELECT 'schema ' || nspname, coalesce(nspacl, acldefault('n', nspowner))
      FROM pg_namespace WHERE nspname !~ '^pg_'
    UNION ALL SELECT 'relation ' || name,
                     coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))
      FROM rel WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    UNION ALL SELECT 'column ' || t.name || '.' || a.attname, a.attacl
      FROM tab t JOIN pg_attribute a ON a.attrelid = t.oid WHERE a.attnum > 0
    UNION ALL SELECT 'function ' || name, coalesce(proacl, acldefault('f', proowner)) FROM fun
    UNION ALL SELECT 'default ' || pg_get_userbyid(d.defaclrole) || ' ' || d.defaclobjtype::text || ' '
                     || coalesce((SELECT name FROM ns WHERE oid = d.defaclnamespace), 'everywhere'), d.defaclacl
      FROM pg_default_acl d
    UNION ALL SELECT 'type ' || t.oid::regtype::text, t.typacl FROM pg_type t JOIN ns n ON n.oid = t.typnamespace
)
SELECT 'database settings ' || array_to_string(s.setconfig, '; ') AS line
  FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase AND d.datname = current_database()
UNION ALL SELECT 'schema ' || nspname || ' owner ' || pg_get_userbyid(nspowner)
  FROM pg_namespace WHERE nspname !~ '^pg_'
UNION ALL SELECT 'relation ' || name || ' kind ' || relkind::text || ' owner ' || pg_get_userbyid(relowner)
       || ' rls ' || relrowsecurity || ' forced ' || relforcerowsecurity || ' persistence ' || relpersistence::text
       || ' options ' || coalesce(array_to_string(reloptions, ','), '') || ' identity ' || relreplident::text
  FROM rel
UNION ALL SELECT 'column ' || t.name || ' ' || row_number() OVER (PARTITION BY t.oid ORDER BY a.attnum) || ' '
       || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END
       || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')
       || ' identity ' || a.attidentity::text || ' generated ' || a.attgenerated::text
       || ' collation ' || coalesce(a.attcollation::regcollation::text, '') || ' storage ' || a.attstorage::text
  FROM tab t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
UNION ALL SELECT 'constraint ' || coalesce(t.name, c.contypid::regtype::text) || ' ' || c.conname || ' '
       || pg_get_constraintdef(c.oid)
  FROM pg_constraint c JOIN ns n ON n.oid = c.connamespace LEFT JOIN tab t ON t.oid = c.conrelid
UNION ALL SELECT 'index ' || pg_get_indexdef(i.indexrelid) || ' valid ' || i.indisvalid || ' clustered ' || i.indisclustered
  FROM pg_index i JOIN tab t ON t.oid = i.indrelid
UNION ALL SELECT 'policy ' || t.name || ' ' || p.polname || ' permissive ' || p.polpermissive || ' ' || p.polcmd::text
       || ' to ' || (SELECT string_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r) END, ',')
                       FROM unnest(p.polroles) r)
       || coalesce(' using ' || pg_get_expr(p.polqual, p.polrelid), '')
       || coalesce(' check ' || pg_get_expr(p.polwithcheck, p.polrelid), '')
  FROM pg_policy p JOIN tab t ON t.oid = p.polrelid
UNION ALL SELECT 'trigger ' || t.name || ' ' || g.tgenabled::text || ' '
       || CASE WHEN g.tgisinternal THEN 'of ' || c.conname || ' ' || g.tgfoid::regproc::text ELSE pg_get_triggerdef(g.oid) END
  FROM pg_trigger g JOIN tab t ON t.oid = g.tgrelid LEFT JOIN pg_constraint c ON c.oid = g.tgconstraint
UNION ALL SELECT 'rule ' || t.name || ' ' || pg_get_ruledef(w.oid) FROM pg_rewrite w JOIN tab t ON t.oid = w.ev_class
UNION ALL SELECT 'function ' || name || ' owner ' || pg_get_userbyid(proowner) || ' '
       || CASE WHEN prokind IN ('f', 'p') THEN pg_get_functiondef(oid) ELSE prosrc END FROM fun
UNION ALL SELECT 'type ' || t.oid::regtype::text || ' kind ' || t.typtype::text || ' owner ' || pg_get_userbyid(t.typowner)
       || coalesce((SELECT ' labels ' || string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder)
                      FROM pg_enum e WHERE e.enumtypid = t.oid), '')
  FROM pg_type t JOIN ns n ON n.oid = t.typnamespace
UNION ALL SELECT 'event trigger ' || evtname || ' ' || evtevent FROM pg_event_trigger
UNION ALL SELECT 'extension ' || extname FROM pg_extension
UNION ALL SELECT 'publication ' || pubname FROM pg_publication
UNION ALL SELECT 'statistics ' || stxname FROM pg_statistic_ext
UNION ALL SELECT 'comment ' || d.classoid::regclass::text || ' '
       || (pg_identify_object(d.classoid, d.objoid, d.objsubid)).identity || ' ' || d.description
  FROM pg_description d
 WHERE d.classoid IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_namespace'::regclass, 'pg_constraint'::regclass,
                      'pg_policy'::regclass, 'pg_trigger'::regclass, 'pg_type'::regclass)
   AND (pg_identify_object(d.classoid, d.objoid, d.objsubid)).schema IS DISTINCT FROM 'pg_catalog'
   AND (pg_identify_object(d.classoid, d.objoid, d.objsubid)).identity !~ '^(pg_|information_schema)'
UNION ALL SELECT 'privilege ' || a.what || ' ' || x.privilege_type || ' to '
       || CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(x.grantee) END
       || ' from ' || pg_get_userbyid(x.grantor) || CASE WHEN x.is_grantable THEN ' grantable' ELSE '' END
  FROM acl a CROSS JOIN LATERAL aclexplode(a.acl) x
ORDER BY 1"#;

/// The crate's own roles: they are the server's, and others may use them at the same time. Only
/// what they are is compared, and never while they may be gone.
const ROLES: &str = r"
SELECT 'role ' || r.rolname || ' super ' || r.rolsuper || ' inherit ' || r.rolinherit || ' roles ' || r.rolcreaterole
       || ' databases ' || r.rolcreatedb || ' login ' || r.rolcanlogin || ' replication ' || r.rolreplication
       || ' bypass ' || r.rolbypassrls || ' limit ' || r.rolconnlimit
       || ' until ' || coalesce(r.rolvaliduntil::text, 'ever')
       || ' settings ' || coalesce(array_to_string(r.rolconfig, '; '), '') AS line
  FROM pg_roles r WHERE r.rolname IN ('sesari_owner', 'sesari_tenant', 'sesari_service')
UNION ALL SELECT 'role ' || m.member::regrole::text || ' is a member of ' || m.roleid::regrole::text
  FROM pg_auth_members m
 WHERE m.member::regrole::text IN ('sesari_owner', 'sesari_tenant', 'sesari_service')
ORDER BY 1";

pub(crate) type Dump = BTreeSet<String>;

/// Everything in the database.
pub(crate) fn dump(conn: &mut PgConnection) -> Dump {
    // Names are then written with their schema.
    conn.batch_execute("SET search_path = pg_catalog").unwrap();
    let facts = lines(conn, CATALOGUE);
    conn.batch_execute("RESET search_path").unwrap();
    facts.into_iter().collect()
}

/// What the crate's roles are.
pub(crate) fn roles(conn: &mut PgConnection) -> Dump {
    lines(conn, ROLES).into_iter().collect()
}

/// What is in one dump and not in the other, as text for people.
pub(crate) fn difference(before: &Dump, after: &Dump) -> String {
    let gone = before.difference(after).map(|line| format!("- {line}\n"));
    let new = after.difference(before).map(|line| format!("+ {line}\n"));
    gone.chain(new).collect()
}
