//! Time of check, time of use.

use super::harness::{Attack, Form::*, Outcome::*};

pub const ATTACKS: &[Attack] = &[
    attack!(
        "leaving, and reading in the same statement",
        Statement,
        Refused("keeps at least one owner|last_owner"),
        "WITH gone AS (DELETE FROM workspace_users RETURNING *) SELECT gone.*, k.name FROM gone, kpis AS k"
    ),
    attack!(
        "the own role changed in the statement that uses it",
        Statement,
        Refused("keeps at least one owner|last_owner|row-level security"),
        "WITH less AS (UPDATE workspace_users SET role = 'member' RETURNING *) SELECT a.* FROM less, audit_log AS a"
    ),
    attack!(
        "the past, by a transaction of one's own",
        Batch,
        Runs,
        "COMMIT; BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL ROLE sesari_tenant; SET LOCAL sesari.context = '{live}'; DELETE FROM goals"
    ),
    attack!(
        "the past, by a snapshot of another session",
        Batch,
        Refused("invalid snapshot identifier|does not exist"),
        "ROLLBACK; BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '00000003-0000001B-1'"
    ),
    attack!("a snapshot for another session", Statement, Runs, "SELECT pg_export_snapshot()"),
    attack!(
        "another level amid the transaction",
        Batch,
        Refused("must be called before any query"),
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; UPDATE kpis SET unit = 'x'"
    ),
    attack!(
        "the context changed while a row is waited for",
        Statement,
        Runs,
        "SELECT k.name FROM kpis AS k, LATERAL (SELECT set_config('sesari.context', '{live}', true), pg_sleep(0.01)) AS s FOR UPDATE OF k"
    ),
    attack!(
        "a membership of B inserted and used at once",
        Statement,
        Refused("permission denied for table workspace_users"),
        "WITH mine AS (INSERT INTO workspace_users (workspace_id, user_id, role) VALUES ('{b}', '{a_user}', 'owner') RETURNING *) SELECT k.* FROM mine, kpis AS k"
    ),
];
