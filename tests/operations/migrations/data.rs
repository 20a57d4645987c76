//! The migrations with rows in every table.

use std::collections::BTreeMap;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use sesari_db::PgConnection;
use sesari_db::migrations;

use super::{assert_same, difference, dump, empty, lines, value, without_bookkeeping};
use crate::support::World;

/// The tables of the crate that keep anything, from the catalogue. What is unlogged is empty between
/// transactions.
fn tables(conn: &mut PgConnection) -> Vec<String> {
    lines(
        conn,
        "SELECT c.oid::regclass::text AS line FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname IN ('public', 'sesari') AND c.relkind = 'r' AND c.relpersistence = 'p' \
           AND c.relname <> '__diesel_schema_migrations' ORDER BY 1",
    )
}

/// How many rows each table has, and a digest of all of them.
fn contents(conn: &mut PgConnection) -> BTreeMap<String, String> {
    let digest = |conn: &mut PgConnection, table: &String| {
        value(
            conn,
            &format!(
                "SELECT count(*) || ' ' || coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') \
                 FROM {table} t"
            ),
        )
    };
    tables(conn).into_iter().map(|table| (table.clone(), digest(conn, &table))).collect()
}

/// Two furnished workspaces, and rows in the tables that furnishing leaves empty.
fn furnished() -> World {
    let world = World::new();
    let mut conn = world.test.admin().unwrap();
    let (workspace, owner) = (&world.a.workspace, &world.a.owner);
    conn.batch_execute(&format!(
        "INSERT INTO public.subscriptions (user_id, status, plan_type) VALUES ('{owner}', 'active', 'pro'); \
         INSERT INTO public.integrations (workspace_id, provider, credentials) \
         VALUES ('{workspace}', 'stripe', 'v1.k1.' || repeat('a', 16) || '.' || repeat('b', 40)); \
         INSERT INTO public.idempotency_keys (workspace_id, actor_kind, actor_id, membership, key, operation, result) \
         VALUES ('{workspace}', 'user', '{owner}', 'owner m1', 'k', 'o', '1'); \
         INSERT INTO public.invitations (workspace_id, email, role, invited_by, expires_at) \
         VALUES ('{workspace}', 'x@example.com', 'member', '{owner}', now()); \
         INSERT INTO sesari.invitation_tokens (workspace_id, invitation_id, token_hash) \
         SELECT workspace_id, id, decode(repeat('ab', 32), 'hex') FROM public.invitations; \
         INSERT INTO public.kpi_targets (workspace_id, kpi_id, effective_from, value) \
         SELECT workspace_id, id, '2026-01-01', 1 FROM public.kpis; \
         INSERT INTO public.kpi_packed_points (workspace_id, kpi_id, starts_at, ends_at, points, \
                                               point_offsets, point_values, point_sources) \
         SELECT workspace_id, id, '2025-11-01Z', '2025-11-01 00:00:00.007Z', 8, '{{0,1,2,3,4,5,6,7}}', \
                '{{1,2,3,4,5,6,7,8}}', '{{x}}' FROM public.kpis; \
         INSERT INTO sesari.sealing_salts (workspace_id, salt) \
         VALUES ('{workspace}', decode(repeat('ab', 32), 'hex'))"
    ))
    .unwrap();
    for (table, rows) in contents(&mut conn) {
        assert!(!rows.starts_with("0 "), "{table} has no row: furnish it here");
    }
    world
}

#[test]
fn reverting_the_newest_and_running_it_again_leaves_all_other_data_unharmed() {
    let world = furnished();
    let mut conn = world.test.admin().unwrap();
    let (before, schema) = (contents(&mut conn), dump(&mut conn));
    migrations::revert_last(&mut conn).unwrap();
    let between = contents(&mut conn);
    migrations::run(&mut conn).unwrap();
    let after = contents(&mut conn);
    let lost: Vec<_> = before.keys().filter(|table| !between.contains_key(*table)).collect();
    assert_eq!(lost, [""; 0], "the tables of the newest migration");
    for (table, rows) in &before {
        if lost.contains(&table) {
            assert_eq!(after[table], "0 ", "{table} comes back empty");
        } else {
            assert_eq!((&between[table], &after[table]), (rows, rows), "{table}");
        }
    }
    assert_same("the schema afterwards", &schema, &dump(&mut conn));
    world.test.database().expect("it serves again");
}

#[test]
fn each_down_loses_its_own_tables_and_no_other_row_until_nothing_of_ours_is_left() {
    let world = furnished();
    let mut conn = world.test.admin().unwrap();
    let mut before = contents(&mut conn);
    while let Some(version) = migrations::revert_last(&mut conn).unwrap() {
        let after = contents(&mut conn);
        for (table, rows) in &after {
            assert_eq!(before.get(table), Some(rows), "{table}, by the down of {version}");
        }
        before = after;
    }
    assert_eq!(before, BTreeMap::new());
    let untouched = empty();
    let untouched = dump(&mut untouched.admin().unwrap());
    let left = without_bookkeeping(&dump(&mut conn));
    // A clone's own privileges are written out where a new database has the defaults; both dumps
    // write them out.
    assert_eq!(difference(&untouched, &left), "");
    migrations::run(&mut conn).unwrap();
}

/// Why the migrations run with `row_security` off.
#[test]
fn a_data_migration_as_the_owner_fails_loudly_instead_of_changing_nothing() {
    let world = furnished();
    let mut conn = world.test.admin().unwrap();
    let rename = |conn: &mut PgConnection, row_security: &str| {
        conn.transaction::<usize, diesel::result::Error, _>(|conn| {
            conn.batch_execute(&format!(
                "SET LOCAL ROLE sesari_owner; SET LOCAL row_security = {row_security}"
            ))?;
            diesel::sql_query("UPDATE public.goals SET title = 'Renamed'").execute(conn)
        })
    };
    assert_eq!(rename(&mut conn, "on"), Ok(0), "two goals are there, and hidden from the owner");
    let error = rename(&mut conn, "off").unwrap_err().to_string();
    assert!(error.contains("row-level security"), "{error}");
}

#[test]
fn the_migrations_run_with_row_security_off_and_a_search_path_of_their_own() {
    let test = empty();
    let mut conn = test.admin().unwrap();
    conn.batch_execute(
        "CREATE SCHEMA watch;
         CREATE TABLE watch.seen (settings text);
         GRANT USAGE ON SCHEMA watch TO PUBLIC;
         GRANT INSERT ON watch.seen TO PUBLIC;
         CREATE FUNCTION watch.look() RETURNS event_trigger LANGUAGE plpgsql AS $$
         BEGIN
             INSERT INTO watch.seen VALUES (current_setting('row_security') || ' '
                 || current_setting('search_path'));
         END $$;
         CREATE EVENT TRIGGER look ON ddl_command_end EXECUTE FUNCTION watch.look();
         SET search_path = watch",
    )
    .unwrap();
    migrations::run(&mut conn).unwrap();
    let seen = "SELECT DISTINCT settings AS line FROM watch.seen ORDER BY 1";
    // The first is the pinned one of the function that has statistics forgotten.
    assert_eq!(lines(&mut conn, seen), ["off pg_catalog, pg_temp", "off sesari_migrations"]);
    assert_eq!(value(&mut conn, "current_setting('row_security')"), "on", "for the run alone");
}
