//! Where the guarantee ends: what somebody with any SQL can do after all. None of it reads or
//! changes another workspace's rows; some of it disturbs. Written down so that a change shows.

use super::harness::{Attack, Form::*, Outcome::*};

pub const ATTACKS: &[Attack] = &[
    attack!(
        "the login's password changed",
        Undone,
        Runs,
        "RESET ROLE; ALTER ROLE CURRENT_USER PASSWORD 'taken'"
    ),
    attack!(
        "the login's settings changed, for connections to come",
        Undone,
        Runs,
        "RESET ROLE; ALTER ROLE CURRENT_USER SET default_transaction_read_only = on"
    ),
    attack!(
        "the tenant role's settings changed, which nobody logs in as",
        Undone,
        Runs,
        "ALTER ROLE CURRENT_USER SET row_security = off"
    ),
    attack!(
        "a table locked for everybody, until the transaction ends",
        Blocks,
        Runs,
        "LOCK TABLE kpis IN ACCESS EXCLUSIVE MODE"
    ),
    attack!(
        "a table that nobody else can change",
        Blocks,
        Runs,
        "LOCK TABLE goals IN EXCLUSIVE MODE"
    ),
    attack!(
        "a table that nobody at all can change",
        Blocks,
        Runs,
        "LOCK TABLE kpi_data_points IN SHARE MODE"
    ),
    attack!(
        "the memberships locked",
        Blocks,
        Runs,
        "LOCK TABLE workspace_users IN SHARE ROW EXCLUSIVE MODE"
    ),
    attack!(
        "the workspaces locked",
        Blocks,
        Runs,
        "RESET ROLE; LOCK TABLE workspaces IN EXCLUSIVE MODE; SET ROLE sesari_tenant"
    ),
    attack!(
        "a table locked in a block that then sleeps without a limit",
        Blocks,
        Runs,
        "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;
         DO $$ BEGIN LOCK TABLE goal_kpis; PERFORM pg_sleep(0.1); END $$"
    ),
    attack!(
        "the lock that a migration waits for",
        Statement,
        Runs,
        "SELECT pg_advisory_xact_lock(126879370244713)"
    ),
    attack!(
        "the statement of another session of the login cancelled, where one runs",
        Batch,
        Runs,
        "RESET ROLE; SELECT pg_cancel_backend({pid}); SET ROLE sesari_tenant"
    ),
    attack!(
        "memory and time, as much as there is",
        Batch,
        Runs,
        "SET LOCAL work_mem = '1GB'; SET LOCAL statement_timeout = 0;
         SELECT count(*) FROM generate_series(1, 10000)"
    ),
    attack!(
        "a notification to whoever listens in the database",
        Statement,
        Runs,
        "NOTIFY anything, 'from somebody'"
    ),
    attack!(
        "names of all databases and roles of the server",
        Statement,
        Shows("sesari_owner"),
        "SELECT string_agg(rolname, ' ') || (SELECT string_agg(datname, ' ') FROM pg_database)
           FROM pg_roles"
    ),
    attack!(
        "how much all tenants write",
        Statement,
        Shows("\n"),
        "SELECT n_tup_ins::text, n_tup_upd::text FROM pg_stat_user_tables WHERE relname = 'kpis'"
    ),
    attack!(
        "when another session of the login began what",
        Batch,
        Runs,
        "RESET ROLE; SELECT xact_start, query FROM pg_stat_activity WHERE pid = {pid};
         SET ROLE sesari_tenant"
    ),
    attack!(
        "a transaction in the past, in which memberships are those of its beginning",
        Batch,
        Runs,
        "COMMIT; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1"
    ),
    attack!(
        "an advisory lock that others may want",
        Statement,
        Runs,
        "SELECT pg_advisory_xact_lock(1)"
    ),
    attack!(
        "how many rows there are in all, roughly",
        Statement,
        Shows("\n"),
        "SELECT reltuples::text, pg_relation_size('kpis')::text FROM pg_class WHERE relname = 'kpis'"
    ),
    attack!(
        "how many rows a plan passed over",
        Batch,
        Refused("passed over"),
        "SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off;
         DO $$ DECLARE plan json; BEGIN
             EXECUTE 'EXPLAIN (ANALYZE, FORMAT JSON) SELECT FROM kpis' INTO plan;
             IF (plan -> 0 -> 'Plan' ->> 'Rows Removed by Filter')::int > 0 THEN
                 RAISE 'passed over'; END IF; END $$"
    ),
    // What fills shared memory with more of them: see `shared_memory.rs`.
    attack!(
        "a lock for each of many numbers",
        Statement,
        Runs,
        "SELECT count(pg_advisory_xact_lock_shared(n)) FROM generate_series(1, 500) AS n"
    ),
    attack!(
        "a lock for each large object made and deleted",
        Statement,
        Runs,
        "SELECT count(lo_unlink(lo_create(0))) FROM generate_series(1, 50)"
    ),
    attack!(
        "savepoints that stay open, with a transaction number each",
        Batch,
        Runs,
        "SAVEPOINT s; UPDATE kpis SET unit = '1'; SAVEPOINT s; UPDATE kpis SET unit = '2';
         SAVEPOINT s; UPDATE kpis SET unit = '3'; SELECT 1"
    ),
    attack!(
        "predicate locks, which whoever uses SERIALIZABLE shares",
        Batch,
        Runs,
        "COMMIT; BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT FROM kpis; SELECT FROM goals"
    ),
    attack!(
        "a queue of notifications that its listener does not take",
        Batch,
        Runs,
        "LISTEN deaf; SELECT pg_notify('deaf', n::text) FROM generate_series(1, 1000) AS n"
    ),
    attack!(
        "a cursor that a commit by hand reads to its end",
        Batch,
        Runs,
        "DECLARE c CURSOR WITH HOLD FOR SELECT generate_series(1, 100000); COMMIT; CLOSE c"
    ),
    attack!(
        "lines of the server's log",
        Batch,
        Runs,
        "DO $$ BEGIN FOR i IN 1..100 LOOP RAISE LOG 'line %', i; END LOOP; END $$"
    ),
    attack!(
        "large objects, which all tenants share",
        Statement,
        Runs,
        "SELECT lo_from_bytea(0, 'anything')"
    ),
    attack!(
        "names and definitions of the whole schema",
        Statement,
        Shows("kpis_tenant_select"),
        "SELECT string_agg(policyname, ' ') FROM pg_policies"
    ),
];

/// Pairs of the same statement on an id of B's and on one of nobody's must read the same.
pub const ORACLES: &[(&str, &str)] = &[
    ("b_kpi", "SELECT * FROM kpis WHERE id = '{id}'"),
    ("b_kpi", "SELECT * FROM kpis WHERE id = '{id}' FOR UPDATE"),
    ("b_kpi", "UPDATE kpis SET name = 'x' WHERE id = '{id}' RETURNING id"),
    ("b_kpi", "DELETE FROM kpis WHERE id = '{id}' RETURNING id"),
    ("b_kpi", "INSERT INTO kpis (id, name) VALUES ('{id}', 'x') RETURNING name"),
    ("b_kpi", "INSERT INTO kpis (id, workspace_id, name) VALUES ('{id}', '{b}', 'x')"),
    (
        "b_kpi",
        "INSERT INTO kpis (id, workspace_id, name) VALUES ('{id}', '{b}', 'x')
               ON CONFLICT DO NOTHING",
    ),
    (
        "b_kpi",
        "INSERT INTO kpis (id, workspace_id, name) VALUES ('{id}', '{b}', 'x')
               ON CONFLICT (workspace_id, id) DO UPDATE SET name = 'y'",
    ),
    ("b_kpi", "INSERT INTO kpi_data_points (kpi_id, value) VALUES ('{id}', 1)"),
    (
        "b_kpi",
        "INSERT INTO kpi_data_points (kpi_id, value, workspace_id) VALUES ('{id}', 1, '{b}')",
    ),
    ("b_kpi", "INSERT INTO goal_kpis (goal_id, kpi_id) SELECT id, '{id}' FROM goals"),
    ("b_kpi", "INSERT INTO goal_kpis (workspace_id, goal_id, kpi_id) VALUES ('{b}', 'g', '{id}')"),
    (
        "b_kpi",
        "MERGE INTO kpis USING (VALUES ('{id}')) AS v (id) ON kpis.id = v.id
               WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN DO NOTHING",
    ),
    ("b_kpi", "SELECT * FROM sesari.read_credentials('{id}')"),
    ("b_kpi", "UPDATE kpis SET id = '{id}'"),
    ("b_goal", "DELETE FROM goals WHERE id = '{id}' RETURNING id"),
    ("b", "SELECT sesari.workspace_id_as(ARRAY['{id}'])"),
    ("b", "INSERT INTO integrations (workspace_id, provider) VALUES ('{id}', 'stripe')"),
    ("b_user", "UPDATE workspace_users SET role = 'member' WHERE user_id = '{id}' RETURNING id"),
    ("b_goal", "INSERT INTO goal_kpis (goal_id, kpi_id) SELECT '{id}', id FROM kpis"),
    ("b_goal", "UPDATE goals SET status = 'paused' WHERE id = '{id}' RETURNING id"),
    ("b", "INSERT INTO kpis (workspace_id, name) VALUES ('{id}', 'x')"),
    ("b", "UPDATE kpis SET workspace_id = '{id}'"),
    ("b", "UPDATE kpis SET name = 'x' WHERE workspace_id = '{id}' RETURNING id"),
    ("b", "SELECT * FROM workspaces WHERE id = '{id}'"),
    ("b", "INSERT INTO workspaces (id, name, slug) VALUES ('{id}', 'x', 'xx')"),
    ("b", "INSERT INTO workspace_users (workspace_id, user_id) VALUES ('{id}', '{a_user}')"),
    ("b", "SELECT count(*)::text FROM audit_log WHERE workspace_id = '{id}'"),
    ("b_user", "SELECT id FROM users WHERE id = '{id}'"),
    ("b_user", "UPDATE users SET name = 'x' WHERE id = '{id}' RETURNING id"),
    ("b_user", "DELETE FROM workspace_users WHERE user_id = '{id}' RETURNING id"),
    ("b_user", "SELECT * FROM subscriptions WHERE user_id = '{id}'"),
];
