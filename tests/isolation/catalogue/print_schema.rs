//! `src/schema.rs` is what `diesel print-schema` writes for a migrated database, to the letter:
//! tables, keys, columns, their order and types, nullability, comments, and what joins.

use std::fmt::Write as _;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{Array, Bool, Text};
use sesari_db::PgConnection;
use sesari_db::testing::TestDatabase;

use super::lines;

#[derive(QueryableByName)]
struct Table {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    comment: String,
    #[diesel(sql_type = Array<Text>)]
    key: Vec<String>,
}

#[derive(QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    comment: String,
    #[diesel(sql_type = Text)]
    r#type: String,
    #[diesel(sql_type = Bool)]
    nullable: bool,
}

fn diesel_type(sql: &str) -> &'static str {
    match sql {
        "text" => "Text",
        "timestamp with time zone" | "timestamp(3) with time zone" => "Timestamptz",
        "date" => "Date",
        "integer" => "Int4",
        "integer[]" => "Array<Nullable<Int4>>",
        "double precision[]" => "Array<Nullable<Float8>>",
        "text[]" => "Array<Nullable<Text>>",
        "bigint" => "Int8",
        "double precision" => "Float8",
        "boolean" => "Bool",
        "bytea" => "Bytea",
        "jsonb" => "Jsonb",
        other => panic!("say here what diesel calls {other}"),
    }
}

/// The file, written from the catalogue.
fn print_schema(conn: &mut PgConnection) -> String {
    let tables: Vec<Table> = diesel::sql_query(
        "SELECT c.relname::text AS name, obj_description(c.oid, 'pg_class') AS comment, \
                ARRAY(SELECT a.attname::text FROM pg_constraint k \
                      CROSS JOIN unnest(k.conkey) WITH ORDINALITY AS u (attnum, n) \
                      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.attnum \
                      WHERE k.conrelid = c.oid AND k.contype = 'p' ORDER BY u.n) AS key \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') \
           AND c.relname <> '__diesel_schema_migrations' ORDER BY c.relname COLLATE \"C\"",
    )
    .load(conn)
    .unwrap();
    let mut file = "// @generated automatically by Diesel CLI.\n\n".to_owned();
    for table in &tables {
        let columns: Vec<Column> = diesel::sql_query(
            "SELECT a.attname::text AS name, col_description(a.attrelid, a.attnum) AS comment, \
                    format_type(a.atttypid, a.atttypmod) AS type, NOT a.attnotnull AS nullable \
             FROM pg_attribute a WHERE a.attrelid = ('public.' || $1)::regclass \
               AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        )
        .bind::<Text, _>(&table.name)
        .load(conn)
        .unwrap();
        let (name, comment, key) = (&table.name, &table.comment, table.key.join(", "));
        writeln!(file, "diesel::table! {{\n    /// {comment}\n    {name} ({key}) {{").unwrap();
        for Column { name, comment, r#type, nullable } in &columns {
            let of = diesel_type(r#type);
            let of = if *nullable { format!("Nullable<{of}>") } else { of.to_owned() };
            writeln!(file, "        /// {comment}\n        {name} -> {of},").unwrap();
        }
        file.push_str("    }\n}\n\n");
    }
    // diesel joins by keys of one column.
    for join in lines(
        conn,
        "SELECT format('diesel::joinable!(%s -> %s (%s));', c.conrelid::regclass, c.confrelid::regclass, a.attname) AS line \
         FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1] \
         WHERE c.contype = 'f' AND cardinality(c.conkey) = 1 AND c.connamespace = 'public'::regnamespace ORDER BY 1",
    ) {
        writeln!(file, "{}", join.replace("public.", "")).unwrap();
    }
    file.push_str("\ndiesel::allow_tables_to_appear_in_same_query!(\n");
    for table in &tables {
        writeln!(file, "    {},", table.name).unwrap();
    }
    file.push_str(");\n");
    file
}

/// The first line in which the committed file differs from the catalogue.
fn drift(conn: &mut PgConnection) -> Option<String> {
    let (committed, live) = (include_str!("../../../src/schema.rs"), print_schema(conn));
    if committed == live {
        return None;
    }
    let pairs = committed.lines().zip(live.lines());
    let first = pairs.enumerate().find(|(_, (committed, live))| committed != live).map_or_else(
        || "one of them is longer".to_owned(),
        |(n, (committed, live))| {
            format!("line {}: `{committed}`, in the catalogue: `{live}`", n + 1)
        },
    );
    Some(first)
}

#[test]
fn schema_rs_is_what_diesel_prints_for_the_live_catalogue() {
    let test = TestDatabase::new().unwrap();
    let mut conn = test.admin().unwrap();
    assert_eq!(drift(&mut conn), None, "run `diesel print-schema`");
    for spoil in [
        "ALTER TABLE public.kpis ADD COLUMN more text; COMMENT ON COLUMN public.kpis.more IS 'x'",
        "ALTER TABLE public.kpis ALTER COLUMN name DROP NOT NULL",
        "ALTER TABLE public.kpis ALTER COLUMN is_active DROP DEFAULT, ALTER COLUMN is_active TYPE text",
        "ALTER TABLE public.kpis RENAME COLUMN name TO title",
        "COMMENT ON COLUMN public.kpis.name IS 'other'",
        "COMMENT ON TABLE public.kpis IS 'other'",
        "DROP TABLE public.integrations",
        "ALTER TABLE public.goal_kpis DROP CONSTRAINT goal_kpis_pkey, ADD PRIMARY KEY (id)",
        "ALTER TABLE public.subscriptions DROP CONSTRAINT subscriptions_user_id_fkey",
    ] {
        let outcome = conn.transaction::<(), diesel::result::Error, _>(|conn| {
            conn.batch_execute(spoil)?;
            assert!(drift(conn).is_some(), "not seen: {spoil}");
            Err(diesel::result::Error::RollbackTransaction)
        });
        assert_eq!(outcome, Err(diesel::result::Error::RollbackTransaction), "{spoil}");
    }
}
