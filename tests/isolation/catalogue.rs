//! The rules of the schema, held against the catalogue of a migrated database.
//!
//! A rule is a query that names what breaks it. Lists of tables come from the catalogue, so a new
//! table is under every rule from its first migration on. Each rule is also shown schemas that
//! break it, in transactions that are rolled back: a query that can find nothing fails.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's set-up fails loudly")]

mod keys;
mod plans;
mod policies;
mod print_schema;
mod shape;
mod statistics;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use sesari_db::testing::TestDatabase;

use crate::support::logins::lines;

/// What every rule may start from. `tables` are all of the crate's, `tenant_tables` those whose
/// rows belong to a workspace.
const COMMON: &str = "
WITH tables AS (
    SELECT c.oid, c.relname AS name, n.nspname AS schema, n.nspname || '.' || c.relname AS full_name,
           c.relowner, c.relacl, c.relrowsecurity, c.relforcerowsecurity, c.relkind, c.reloptions
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE n.nspname IN ('public', 'sesari') AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
       AND c.relname <> '__diesel_schema_migrations'
), public_tables AS (
    -- A view that reads as whoever asks has no rights and rows of its own.
    SELECT * FROM tables WHERE schema = 'public' AND NOT (relkind = 'v' AND coalesce('security_invoker=true' = ANY (reloptions), false))
), columns AS (
    SELECT t.oid AS table_oid, t.full_name, t.name AS table_name, a.attname AS name, a.attnum, a.attnotnull,
           a.atttypid, a.attacl, format_type(a.atttypid, a.atttypmod) AS type
      FROM tables AS t JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
), tenant_tables AS (
    SELECT * FROM public_tables AS t
     WHERE EXISTS (SELECT FROM columns AS c WHERE c.table_oid = t.oid AND c.name = 'workspace_id')
), policies AS (
    SELECT p.*, t.name AS table_name, t.full_name, t.full_name || '.' || p.polname AS name,
           CASE p.polcmd WHEN 'r' THEN 'select' WHEN 'a' THEN 'insert' WHEN 'w' THEN 'update'
                         WHEN 'd' THEN 'delete' ELSE 'all' END AS verb,
           pg_get_expr(p.polqual, p.polrelid) AS using_text,
           pg_get_expr(p.polwithcheck, p.polrelid) AS check_text
      FROM pg_policy AS p JOIN tables AS t ON t.oid = p.polrelid
), functions AS (
    SELECT p.*, p.oid::regprocedure::text AS name
      FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace WHERE n.nspname = 'sesari'
)
";

/// Expects that nothing in a migrated database breaks the rule, and that each of `spoils` does.
fn assert_rule(rule: &str, spoils: &[&str]) {
    let test = TestDatabase::new().unwrap();
    let mut conn = test.admin().unwrap();
    let query = format!("{COMMON} {rule}");
    let broken = lines(&mut conn, &query);
    assert_eq!(broken, [""; 0], "break the rule");
    assert!(!spoils.is_empty(), "show that the rule finds something");
    for spoil in spoils {
        let outcome = conn.transaction::<(), diesel::result::Error, _>(|conn| {
            conn.batch_execute(spoil)?;
            assert!(!lines(conn, &query).is_empty(), "not found: {spoil}");
            Err(diesel::result::Error::RollbackTransaction)
        });
        assert_eq!(outcome, Err(diesel::result::Error::RollbackTransaction), "{spoil}");
    }
}

/// Tests of rules: the name, the query, and what breaks it.
macro_rules! rules {
    ($($(#[$meta:meta])* $name:ident: $rule:expr, broken by $($spoil:literal),+ $(,)?;)+) => {$(
        #[test]
        $(#[$meta])*
        fn $name() {
            $crate::catalogue::assert_rule($rule, &[$($spoil),+]);
        }
    )+};
}
use rules;
