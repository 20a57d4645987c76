//! Limits lifted, and locks that hold nobody else up.

use super::harness::{Attack, Form::*, Outcome::*};

pub const ATTACKS: &[Attack] = &[
    attack!("rows locked", Statement, Runs, "SELECT * FROM kpis FOR UPDATE"),
    attack!(
        "no limit on time",
        Batch,
        Runs,
        "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; SELECT 1"
    ),
    attack!(
        "no deadlock found",
        Statement,
        Refused("permission denied to set parameter"),
        "SET LOCAL deadlock_timeout = '1h'"
    ),
    attack!(
        "all tables locked IN ACCESS SHARE MODE",
        Batch,
        Runs,
        "LOCK TABLE kpis, goals, kpi_data_points, goal_kpis IN ACCESS SHARE MODE"
    ),
    attack!(
        "all tables locked IN ROW SHARE MODE",
        Batch,
        Runs,
        "LOCK TABLE kpis, goals, kpi_data_points, goal_kpis IN ROW SHARE MODE"
    ),
    attack!(
        "all tables locked IN ROW EXCLUSIVE MODE",
        Batch,
        Runs,
        "LOCK TABLE kpis, goals, kpi_data_points, goal_kpis IN ROW EXCLUSIVE MODE"
    ),
    attack!("rows locked for a key", Statement, Runs, "SELECT id FROM kpis FOR NO KEY UPDATE"),
    attack!(
        "the rows of B locked",
        Statement,
        Runs,
        "SELECT id FROM kpis WHERE id = '{b_kpi}' FOR UPDATE NOWAIT"
    ),
    attack!(
        "whatever is not locked by others",
        Statement,
        Runs,
        "SELECT kpi_id FROM kpi_data_points FOR UPDATE SKIP LOCKED"
    ),
    attack!("the own workspace held", Statement, Runs, "UPDATE workspaces SET name = 'Held'"),
    attack!("the own people held", Statement, Runs, "UPDATE workspace_users SET role = role"),
    attack!(
        "the keys locked",
        Batch,
        Refused("permission denied"),
        "LOCK TABLE sesari.context_keys IN ACCESS EXCLUSIVE MODE"
    ),
    attack!(
        "the audit log locked",
        Batch,
        Refused("permission denied"),
        "LOCK TABLE audit_log IN ACCESS EXCLUSIVE MODE"
    ),
    attack!(
        "the catalogue locked",
        Batch,
        Refused("permission denied"),
        "LOCK TABLE pg_class IN ACCESS EXCLUSIVE MODE"
    ),
    attack!(
        "subscriptions locked",
        Batch,
        Refused("permission denied"),
        "LOCK TABLE subscriptions IN SHARE MODE"
    ),
    attack!(
        "a commit that goes on for long",
        Batch,
        Refused("at most 10000 entries"),
        "INSERT INTO kpis (name) SELECT 'x' FROM generate_series(1, 10001); DELETE FROM kpis"
    ),
    attack!(
        "the heads of the audit log held",
        Batch,
        Refused("permission denied"),
        "SELECT FROM sesari.audit_heads FOR UPDATE"
    ),
    attack!(
        "an account's first sign-in held up",
        Batch,
        Refused("permission denied"),
        "SELECT sesari.sign_in('cattacker', 'a@example.com', NULL, NULL, 'google', 'victim')"
    ),
    attack!(
        "many savepoints",
        Batch,
        Runs,
        "DO $$ BEGIN FOR i IN 1..200 LOOP BEGIN UPDATE kpis SET unit = i::text; EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; END $$"
    ),
];
