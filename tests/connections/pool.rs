//! What a physical connection carries over from one tenant to the next: nothing.
//!
//! The pool has one connection, so the next guard gets the very one that was misused; its backend's
//! pid proves it. After every misuse the other tenant reads its own rows and no others, typed
//! repositories and their prepared statements work, and the session's settings are the defaults.
#![allow(clippy::unwrap_used, reason = "a test's set-up fails loudly")]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::support::World;
use crate::support::logins::value;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;
use sesari_db::PgConnection;
use sesari_db::page::PageRequest;
use sesari_db::repo::{GoalFilter, KpiFilter, MemberFilter, NewKpi};
use sesari_db::testing::TestDatabase;
use sesari_db::{Database, Error, TenantConnection};

#[derive(QueryableByName)]
struct Pair {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    value: String,
}

fn pairs(conn: &mut PgConnection, sql: &str) -> BTreeMap<String, String> {
    let rows: Vec<Pair> = diesel::sql_query(sql).load(conn).unwrap();
    rows.into_iter().map(|row| (row.name, row.value)).collect()
}

fn count(conn: &mut PgConnection, sql: &str) -> i64 {
    diesel::select(diesel::dsl::sql::<diesel::sql_types::BigInt>(sql)).get_result(conn).unwrap()
}

fn pid(conn: &mut PgConnection) -> i64 {
    count(conn, "pg_backend_pid()::bigint")
}

fn world_of(connections: u32) -> World {
    let test = TestDatabase::new().unwrap();
    let db = test.builder().pool_size(connections).build().unwrap();
    World::on(test, db)
}

/// Every setting with its source: a value that is right by chance is none.
fn settings(conn: &mut PgConnection) -> BTreeMap<String, String> {
    pairs(conn, "SELECT name, source || ' ' || coalesce(setting, '') AS value FROM pg_settings")
}

fn assert_same(now: &BTreeMap<String, String>, fresh: &BTreeMap<String, String>, case: &str) {
    assert!(fresh.len() > 300, "{}", fresh.len());
    let changed: Vec<_> =
        now.iter().filter(|(name, value)| fresh.get(*name) != Some(*value)).collect();
    assert!(changed.is_empty() && now.len() == fresh.len(), "{case}: {changed:?}");
}

/// What a transaction of a connection fresh from the server looks like.
struct Fresh {
    pid: i64,
    in_guard: BTreeMap<String, String>,
    of_session: BTreeMap<String, String>,
}

impl Fresh {
    fn look(db: &Database, world: &World) -> Self {
        let mut tenant = db.tenant(&world.a.owner, &world.a.workspace).unwrap();
        let conn = tenant.connection();
        // Loads plpgsql, which brings settings of its own.
        conn.batch_execute("SELECT sesari.current_user_id()").unwrap();
        let (pid, in_guard) = (pid(conn), settings(conn));
        // Under what is set for the transaction alone lies what the session keeps.
        conn.batch_execute("COMMIT").unwrap();
        Self { pid, in_guard, of_session: settings(conn) }
    }
}

/// The workspaces whose rows raw SQL sees, in every table that has them.
fn workspaces_seen(conn: &mut PgConnection) -> BTreeMap<String, String> {
    let tables = pairs(
        conn,
        "SELECT c.relname::text AS name, a.attname::text AS value FROM pg_class c \
           JOIN pg_attribute a ON a.attrelid = c.oid \
            AND a.attname = CASE c.relname WHEN 'workspaces' THEN 'id' ELSE 'workspace_id' END \
          WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' \
            AND has_any_column_privilege(c.oid, 'SELECT')",
    );
    assert!(tables.len() >= 8, "{tables:?}");
    let union: Vec<String> = tables
        .iter()
        .map(|(table, column)| {
            format!(
                "SELECT '{table}' AS name, string_agg(DISTINCT {column}, ' ') AS value \
                   FROM public.{table} HAVING count(*) > 0"
            )
        })
        .collect();
    pairs(conn, &union.join(" UNION ALL "))
}

fn typed_calls(db: &Database, world: &World, case: &str) {
    let (a, b) = (&world.a, &world.b);
    let mut tenant =
        db.tenant(&b.owner, &b.workspace).unwrap_or_else(|error| panic!("{case}: {error}"));
    let kpis = tenant.kpis().list(&KpiFilter::default(), &PageRequest::default());
    let kpis = kpis.unwrap_or_else(|error| panic!("{case}: {error:?}"));
    assert_eq!(kpis.items.iter().map(|kpi| &kpi.id).collect::<Vec<_>>(), [&b.kpi], "{case}");
    assert!(tenant.kpis().find(&b.kpi).unwrap().is_some(), "{case}");
    assert!(tenant.kpis().find(&a.kpi).unwrap().is_none(), "{case}");
    assert_eq!(tenant.goals().count(&GoalFilter::default()).unwrap(), 1, "{case}");
    assert_eq!(tenant.members().count(&MemberFilter::default()).unwrap(), 3, "{case}");
    assert_eq!(tenant.data_points().latest(&b.kpi).unwrap().unwrap().kpi_id, b.kpi, "{case}");
    tenant.kpis().create(&NewKpi::new("Churn".parse().unwrap())).unwrap();
    tenant.rollback().unwrap();
}

/// Tenant B is served as on a fresh connection.
fn assert_b_is_served(db: &Database, world: &World, fresh: &Fresh, same_backend: bool, case: &str) {
    // Twice: once to prepare the statements, once to use them.
    typed_calls(db, world, case);
    typed_calls(db, world, case);
    let b = &world.b;
    let mut tenant = db.tenant(&b.owner, &b.workspace).unwrap();
    let conn = tenant.connection();
    if same_backend {
        assert_eq!(pid(conn), fresh.pid, "{case}: not the connection that was misused");
    }
    let seen = workspaces_seen(conn);
    assert!(seen.len() >= 7, "{case}: {seen:?}");
    for (table, workspaces) in seen {
        assert_eq!(workspaces, b.workspace.as_str(), "{case}: rows of {table}");
    }
    assert_prepared_once(conn, case);
    for (what, sql) in [
        ("cursors", "(SELECT count(*) FROM pg_cursors WHERE is_holdable)"),
        ("listeners", "(SELECT count(*) FROM pg_listening_channels())"),
        (
            "advisory locks",
            "(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())",
        ),
        (
            "temporary tables",
            "(SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema())",
        ),
    ] {
        assert_eq!(count(conn, sql), 0, "{case}: {what} left behind");
    }
    assert_same(&settings(conn), &fresh.in_guard, case);
    conn.batch_execute("COMMIT").unwrap();
    assert_same(&settings(conn), &fresh.of_session, case);
    let context =
        "(SELECT count(*) WHERE coalesce(current_setting('sesari.context', true), '') = '')";
    assert_eq!(count(conn, context), 1, "{case}: a context outlived its transaction");
    drop(tenant);
    typed_calls(db, world, case);
}

/// The server's prepared statements are those that the typed calls made, each once.
fn assert_prepared_once(conn: &mut PgConnection, case: &str) {
    let prepared = pairs(
        conn,
        "SELECT statement AS name, count(*)::text AS value FROM pg_prepared_statements GROUP BY 1",
    );
    assert!(prepared.len() >= 6, "{case}: {} statements", prepared.len());
    for (statement, times) in &prepared {
        assert_eq!(times, "1", "{case}: prepared anew: {statement}");
        let is_typed = statement.contains("\"public\"") || statement.contains('$');
        let is_end = ["BEGIN ", "COMMIT", "ROLLBACK"].iter().any(|end| statement.starts_with(end));
        assert!(is_typed || is_end, "{case}: {statement}");
    }
}

/// Runs the misuse by A on the pool's one connection, with statements prepared before, and looks
/// at what B gets.
fn after(world: &World, same_backend: bool, case: &str, misuse: impl FnOnce(TenantConnection)) {
    let db = world.test.builder().pool_size(1).build().unwrap();
    let fresh = Fresh::look(&db, world);
    typed_calls(&db, world, case);
    misuse(db.tenant(&world.a.owner, &world.a.workspace).unwrap());
    assert_b_is_served(&db, world, &fresh, same_backend, case);
}

#[test]
fn the_next_tenant_sees_its_own_rows_after_a_commit() {
    let world = world_of(1);
    after(&world, true, "commit", |mut tenant| {
        tenant.kpis().list(&KpiFilter::default(), &PageRequest::default()).unwrap();
        tenant.commit().unwrap();
    });
}

/// What a seed gives is known to who set it, and would be to the next tenant's disadvantage.
#[test]
fn a_seed_of_random_numbers_is_not_the_next_tenants() {
    let world = world_of(1);
    let known = |conn: &mut PgConnection| {
        conn.batch_execute("SELECT setseed(0.25)").unwrap();
        (0..3).map(|_| value(conn, "random()")).collect::<Vec<_>>()
    };
    let expected = known(&mut world.test.admin().unwrap());
    let db = world.test.builder().pool_size(1).build().unwrap();
    for is_committed in [true, false] {
        let mut tenant = db.tenant(&world.a.owner, &world.a.workspace).unwrap();
        assert_eq!(known(tenant.connection()), expected);
        tenant.connection().batch_execute("SELECT setseed(0.25)").unwrap();
        if is_committed {
            tenant.commit().unwrap();
        } else {
            drop(tenant);
        }
        let mut next = db.tenant(&world.b.owner, &world.b.workspace).unwrap();
        assert_ne!(value(next.connection(), "random()"), expected[0]);
    }
}

/// Functions keep the plans of their statements for the session, made under the settings of whoever called
/// them first.
#[test]
fn a_plan_that_a_caller_had_made_is_not_the_next_tenants() {
    let world = world_of(1);
    let db = world.test.builder().pool_size(1).build().unwrap();
    let mut tenant = db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    // A sequential scan is all that is left to choose, it costs nothing, and what is chosen is kept.
    tenant
        .connection()
        .batch_execute(&format!(
            "DISCARD PLANS; SET LOCAL plan_cache_mode = force_generic_plan; \
             SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; \
             SET LOCAL enable_bitmapscan = off; SET LOCAL random_page_cost = 1e9; \
             SET LOCAL seq_page_cost = 0; SET LOCAL cpu_tuple_cost = 0; SET LOCAL cpu_operator_cost = 0; \
             INSERT INTO kpi_data_points (kpi_id, value) VALUES ('{}', 1); \
             SELECT pg_stat_force_next_flush()",
            world.a.kpi
        ))
        .unwrap();
    tenant.commit().unwrap();
    let mut next = db.tenant(&world.b.owner, &world.b.workspace).unwrap();
    let scans = "pg_stat_get_xact_numscans('public.kpis'::regclass)";
    assert_eq!(value(next.connection(), scans), "0", "of what was before");
    // The server makes five plans of its own before it takes the one that it has.
    let record =
        format!("INSERT INTO kpi_data_points (kpi_id, value) VALUES ('{}', 1);", world.b.kpi);
    next.connection().batch_execute(&record.repeat(20)).unwrap();
    assert_eq!(value(next.connection(), scans), "0");
}

/// The server takes it before the first query alone, and the guard's begin is one.
#[test]
fn the_mode_of_a_transaction_is_set_by_its_first_statement_or_the_first_of_a_batch() {
    let world = world_of(1);
    for batch in [
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "set  transaction isolation level repeatable read ; ",
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT 1",
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT 1; SELECT 2",
    ] {
        let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
        tenant.connection().batch_execute(batch).unwrap();
        let level = value(tenant.connection(), "current_setting('transaction_isolation')");
        assert_eq!(level, "repeatable read", "{batch}");
        assert_eq!(value(tenant.connection(), "(SELECT count(*)::text FROM kpis)"), "1", "{batch}");
    }
}

/// PostgreSQL forgets the value of a setting that a caller made up, and not that there was one.
#[test]
fn the_name_of_a_made_up_setting_stays_without_its_value() {
    let world = world_of(1);
    let db = world.test.builder().pool_size(1).build().unwrap();
    let mut tenant = db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    tenant.connection().batch_execute("SET made.up = 'by A'").unwrap();
    tenant.commit().unwrap();
    let mut next = db.tenant(&world.b.owner, &world.b.workspace).unwrap();
    let setting = "coalesce(current_setting('made.up', true), 'unknown')";
    assert_eq!(value(next.connection(), setting), "");
}

#[test]
fn the_next_tenant_sees_its_own_rows_after_a_guard_was_dropped() {
    let world = world_of(1);
    after(&world, true, "drop", |mut tenant| {
        tenant.kpis().create(&NewKpi::new("Churn".parse().unwrap())).unwrap();
        drop(tenant);
    });
}

#[test]
fn the_next_tenant_sees_its_own_rows_after_a_statement_failed() {
    let world = world_of(1);
    after(&world, true, "error", |mut tenant| {
        let taken = NewKpi { id: world.a.kpi.clone(), ..NewKpi::new("Churn".parse().unwrap()) };
        assert!(tenant.kpis().create(&taken).unwrap_err().is_conflict());
        drop(tenant);
    });
    after(&world, true, "error, then commit", |mut tenant| {
        let taken = NewKpi { id: world.a.kpi.clone(), ..NewKpi::new("Churn".parse().unwrap()) };
        assert!(tenant.kpis().create(&taken).unwrap_err().is_conflict());
        assert!(matches!(tenant.commit(), Err(Error::TransactionAborted)));
    });
}

#[test]
fn the_next_tenant_sees_its_own_rows_after_a_panic_inside_the_guard() {
    let world = world_of(1);
    // The connection of a panic is not used again.
    after(&world, false, "panic", |mut tenant| {
        let panicked = catch_unwind(AssertUnwindSafe(move || {
            tenant.kpis().create(&NewKpi::new("Churn".parse().unwrap())).unwrap();
            std::panic::resume_unwind(Box::new("on purpose"));
        }));
        assert!(panicked.is_err());
    });
}

#[test]
fn the_next_tenant_sees_its_own_rows_after_a_thread_panicked() {
    let world = world_of(1);
    let db = &world.db;
    let fresh = Fresh::look(db, &world);
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let mut tenant = db.tenant(&world.a.owner, &world.a.workspace).unwrap();
            tenant.kpis().create(&NewKpi::new("Churn".parse().unwrap())).unwrap();
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        assert!(thread.join().is_err());
    });
    assert_b_is_served(db, &world, &fresh, false, "panic in a thread");
}

#[test]
fn a_forgotten_guard_costs_its_connection_and_never_the_boundary() {
    let world = world_of(1);
    let builder = world.test.builder().pool_size(1).pool_timeout(Duration::from_millis(100));
    // On a busy machine a connection may take longer to open than the pool waits.
    let db = (0..100).find_map(|_| builder.clone().build().ok()).unwrap();
    let tenant = (0..100).find_map(|_| db.tenant(&world.a.owner, &world.a.workspace).ok());
    std::mem::forget(tenant.unwrap());
    let Err(error) = db.tenant(&world.b.owner, &world.b.workspace) else {
        panic!("the forgotten connection was handed out");
    };
    assert!(matches!(error, Error::PoolTimeout { .. }), "{error:?}");
    assert!(error.is_retryable());
}

#[test]
fn a_pool_of_two_goes_on_with_the_connection_that_was_not_forgotten() {
    let world = world_of(2);
    let tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    std::mem::forget(tenant);
    let fresh = Fresh::look(&world.db, &world);
    assert_b_is_served(&world.db, &world, &fresh, true, "forgotten");
}

/// What a caller may do with the lent connection: its statements, one message each, and whether the
/// last is refused.
const MISUSES: &[(&[&str], bool)] = &[
    (&["SELECT set_config('sesari.context', current_setting('sesari.context'), false)"], false),
    (&["SELECT set_config('search_path', 'pg_temp, pg_catalog', false)"], false),
    (&["SET SESSION statement_timeout = '7s'", "SET SESSION lock_timeout = '7s'"], false),
    (&["SET SESSION default_transaction_read_only = on"], false),
    (
        &["SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY"],
        false,
    ),
    (&["SET SESSION TIME ZONE 'Asia/Tokyo'", "SET SESSION datestyle = 'German, DMY'"], false),
    (&["SET SESSION client_encoding = 'LATIN1'"], false),
    (&["SET SESSION row_security = off"], false),
    (&["SET SESSION plan_cache_mode = force_generic_plan", "SET enable_indexscan = off"], false),
    (&["SET SESSION application_name = 'mischief'"], false),
    (&["SET SESSION ROLE sesari_tenant"], false),
    (&["RESET ROLE"], false),
    (&["RESET ALL"], false),
    (&["RESET ALL", "COMMIT"], false),
    (&["COMMIT"], false),
    (&["ROLLBACK"], false),
    (&["BEGIN"], false),
    (&["SAVEPOINT mine", "SET SESSION enable_sort = off", "ROLLBACK TO mine"], false),
    (&["DISCARD ALL"], true),
    (&["COMMIT", "DISCARD ALL"], false),
    (&["DEALLOCATE ALL"], false),
    (
        &[
            "DEALLOCATE ALL",
            "PREPARE __diesel_stmt_0 AS SELECT 1",
            "PREPARE __diesel_stmt_1 AS SELECT 1",
            "PREPARE __diesel_stmt_7 AS SELECT 1",
        ],
        false,
    ),
    (&["PREPARE mine AS SELECT id FROM public.kpis"], false),
    (&["SELECT pg_advisory_lock(42)", "SELECT pg_advisory_lock_shared(43)"], false),
    (&["LISTEN gossip"], false),
    (&["DECLARE mine CURSOR WITH HOLD FOR SELECT id FROM public.kpis"], false),
    (&["DECLARE mine CURSOR FOR SELECT id FROM public.kpis", "FETCH 1 FROM mine"], false),
    (&["COPY (SELECT id FROM public.kpis) TO STDOUT"], false),
    (&["CREATE TEMPORARY TABLE kpis (id text)"], true),
    (&["SELECT 1 / 0"], true),
];

fn misuse(conn: &mut PgConnection, statements: &[&str], last_is_refused: bool) {
    let (last, before) = statements.split_last().unwrap();
    for statement in before {
        conn.batch_execute(statement).unwrap();
    }
    assert_eq!(conn.batch_execute(last).is_err(), last_is_refused, "{statements:?}");
}

#[test]
fn whatever_a_caller_does_to_a_lent_connection_is_gone_after_a_drop() {
    let world = world_of(1);
    for (statements, refused) in MISUSES {
        after(&world, true, &format!("{statements:?}, drop"), |mut tenant| {
            misuse(tenant.connection(), statements, *refused);
        });
    }
}

#[test]
fn whatever_a_caller_does_to_a_lent_connection_is_gone_after_a_commit() {
    let world = world_of(1);
    for (statements, refused) in MISUSES {
        after(&world, true, &format!("{statements:?}, commit"), |mut tenant| {
            misuse(tenant.connection(), statements, *refused);
            let ended_by_hand = statements.iter().any(|s| matches!(*s, "COMMIT" | "ROLLBACK"));
            assert_eq!(tenant.commit().is_err(), *refused || ended_by_hand, "{statements:?}");
        });
    }
}

#[test]
fn a_transaction_begun_by_hand_does_not_reach_the_next_tenant() {
    let world = world_of(1);
    for statements in [
        &["COMMIT", "BEGIN"][..],
        &["ROLLBACK", "BEGIN", "SET LOCAL search_path = pg_temp"],
        &["COMMIT", "BEGIN", "SELECT 1 / 0"],
        &["COMMIT", "BEGIN", "DECLARE mine CURSOR FOR SELECT 1"],
        &["COMMIT AND CHAIN"],
    ] {
        // The connection may be given up: that is for the pool to decide.
        after(&world, false, &format!("{statements:?}, drop"), |mut tenant| {
            misuse(tenant.connection(), statements, statements.contains(&"SELECT 1 / 0"));
        });
        after(&world, false, &format!("{statements:?}, commit"), |mut tenant| {
            misuse(tenant.connection(), statements, statements.contains(&"SELECT 1 / 0"));
            let _ = tenant.commit();
        });
    }
}

#[test]
fn a_transaction_begun_by_hand_is_rolled_back_with_its_guard() {
    let world = world_of(1);
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    let keep = "SELECT set_config('sesari.context', current_setting('sesari.context'), false)";
    tenant.connection().batch_execute(keep).unwrap();
    tenant.connection().batch_execute("COMMIT").unwrap();
    tenant.connection().batch_execute("BEGIN").unwrap();
    tenant.kpis().create(&NewKpi::new("Churn".parse().unwrap())).unwrap();
    drop(tenant);
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    assert_eq!(tenant.kpis().count(&KpiFilter::default()).unwrap(), 1);
}

#[test]
fn a_temporary_table_does_not_reach_the_next_tenant_even_where_it_can_be_made() {
    let world = world_of(1);
    let name = world.test.name();
    after(&world, true, "temporary table", |mut tenant| {
        // After the check at start-up, which refuses such a database.
        let mut admin = world.test.admin().unwrap();
        admin.batch_execute(&format!("GRANT TEMPORARY ON DATABASE \"{name}\" TO PUBLIC")).unwrap();
        let conn = tenant.connection();
        conn.batch_execute("CREATE TEMPORARY TABLE kpis AS SELECT * FROM public.kpis").unwrap();
        tenant.commit().unwrap();
        admin
            .batch_execute(&format!("REVOKE TEMPORARY ON DATABASE \"{name}\" FROM PUBLIC"))
            .unwrap();
    });
}

#[test]
fn these_tests_see_a_leak_where_there_is_one() {
    let world = world_of(1);
    let mut admin = world.test.admin().unwrap();
    admin.batch_execute("ALTER TABLE public.kpis DISABLE ROW LEVEL SECURITY").unwrap();
    let mut tenant = world.db.tenant(&world.b.owner, &world.b.workspace).unwrap();
    let seen = workspaces_seen(tenant.connection());
    assert!(seen["kpis"].contains(world.a.workspace.as_str()), "{seen:?}");
    assert_eq!(seen["goals"], world.b.workspace.as_str());
}
