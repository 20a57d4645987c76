//! Errors and constraints that would tell of rows that nobody is shown.

use super::harness::{Attack, Form::*, Outcome::*};

pub const ATTACKS: &[Attack] = &[
    attack!(
        "a point on B's KPI",
        Statement,
        Refused("kpi_data_points_workspace_id_kpi_id_fkey"),
        "INSERT INTO kpi_data_points (kpi_id, value) VALUES ('{b_kpi}', 1)"
    ),
    attack!(
        "a link to B's KPI",
        Statement,
        Refused("row-level security"),
        "INSERT INTO goal_kpis (workspace_id, goal_id, kpi_id) VALUES ('{b}', 'g1', '{b_kpi}')"
    ),
    attack!(
        "the id of B's KPI for one's own",
        Statement,
        Refused(""),
        "WITH one AS (INSERT INTO kpis (id, name) VALUES ('{b_kpi}', 'Twin') RETURNING id)
         INSERT INTO kpi_data_points (kpi_id, value) SELECT '{b_kpi}', 1 / 0 FROM one"
    ),
    attack!(
        "division by zero on B's numbers",
        Statement,
        Runs,
        "SELECT * FROM kpis
         WHERE 1 / (CASE WHEN target_value = {number} THEN 0 ELSE 1 END) = 1"
    ),
    attack!(
        "division by zero on B's points",
        Statement,
        Runs,
        "SELECT * FROM kpi_data_points
         WHERE 1 / (CASE WHEN value = {number} THEN 0 ELSE 1 END) = 1"
    ),
    attack!(
        "division by zero in an update",
        Statement,
        Runs,
        "UPDATE kpi_data_points SET value = 1
         WHERE 1 / (CASE WHEN value = {number} THEN 0 ELSE 1 END) = 1"
    ),
    attack!(
        "a cast that repeats what it cannot read",
        Statement,
        Refused("invalid input syntax"),
        "SELECT id FROM workspace_users WHERE user_id::int > 0"
    ),
    attack!(
        "a cast that is reached by B's rows alone",
        Statement,
        Runs,
        "SELECT * FROM kpis WHERE CASE WHEN workspace_id <> '{a}' THEN name::int ELSE 1 END > 0"
    ),
    attack!(
        "a cast in an aggregate's filter",
        Statement,
        Runs,
        "SELECT count(*) FILTER (WHERE workspace_id <> '{a}' AND name::int > 0) FROM kpis"
    ),
    attack!(
        "deferred checks",
        Batch,
        Refused("row-level security"),
        "SET CONSTRAINTS ALL DEFERRED; INSERT INTO goals (workspace_id, title) VALUES ('{b}', 'x')"
    ),
    attack!("a name as the name of a table", Statement, Runs,
        "SELECT id FROM kpis WHERE workspace_id = '{b}' AND name::regclass IS NOT NULL"),
    attack!("a name as a date", Statement, Runs,
        "SELECT id FROM kpis WHERE workspace_id = '{b}' AND name::date IS NOT NULL"),
    attack!("a name as JSON", Statement, Runs,
        "SELECT id FROM kpis WHERE workspace_id = '{b}' AND name::jsonb IS NOT NULL"),
    attack!("a name as XML", Statement, Runs,
        "SELECT id FROM kpis WHERE workspace_id = '{b}' AND xmlparse(DOCUMENT name) IS NOT NULL"),
    attack!("a name as a pattern", Statement, Runs,
        "SELECT id FROM kpis WHERE workspace_id = '{b}' AND 'x' ~ ('(' || name)"),
    attack!("a name as bytes", Statement, Runs,
        "SELECT id FROM kpis WHERE workspace_id = '{b}' AND decode(name, 'hex') IS NOT NULL"),
    attack!("a name as an array", Statement, Runs,
        "SELECT id FROM kpis WHERE workspace_id = '{b}' AND name::int[] IS NOT NULL"),
    attack!("a root of what is negative", Statement, Runs,
        "SELECT id FROM kpis WHERE workspace_id = '{b}' AND sqrt(-target_value) > 0"),
    attack!("a number out of range", Statement, Runs,
        "SELECT id FROM kpis WHERE workspace_id = '{b}' AND power(target_value, 999) > 0"),
    attack!("a number as a short one", Statement, Runs,
        "SELECT id FROM kpis WHERE workspace_id = '{b}' AND (target_value * 1e9)::smallint > 0"),
    attack!("a sub-select with too many rows", Statement, Runs,
        "SELECT id FROM kpis WHERE workspace_id = '{b}' AND (SELECT p.kpi_id FROM kpi_data_points AS p, generate_series(1, 2) WHERE p.kpi_id = kpis.id) IS NOT NULL"),
    attack!("a block that watches for an error", Batch, Runs,
        "DO $$ BEGIN PERFORM 1 / (target_value - {number})::int FROM kpis;
         EXCEPTION WHEN division_by_zero THEN RAISE 'globex'; END $$"),
    attack!("a sum that would overflow", Statement, Runs,
        "SELECT sum(CASE WHEN value = {number} THEN 9223372036854775807 ELSE 0 END)::bigint FROM kpi_data_points"),
    attack!("a window over all", Statement, Runs,
        "SELECT name, lag(name) OVER w, count(*) OVER w, rank() OVER w FROM kpis WINDOW w AS (ORDER BY name)"),
    attack!("an ordered-set aggregate over all", Statement, Runs,
        "SELECT percentile_disc(0.99) WITHIN GROUP (ORDER BY value), mode() WITHIN GROUP (ORDER BY source) FROM kpi_data_points"),
    attack!("grouping sets over all", Statement, Runs,
        "SELECT workspace_id, name, count(*) FROM kpis GROUP BY CUBE (workspace_id, name)"),
    attack!("a name that a check refuses", Statement, Refused("kpis_name_check"),
        "UPDATE kpis SET name = ''"),
    attack!("a column that must not be empty", Statement, Refused("null value in column"),
        "UPDATE kpis SET name = NULL"),
    attack!("an upsert by the name of the key", Statement, Refused("row-level security"),
        "INSERT INTO kpis (workspace_id, id, name) VALUES ('{b}', '{b_kpi}', 'x')
         ON CONFLICT ON CONSTRAINT kpis_pkey DO UPDATE SET name = excluded.name WHERE 1 / (kpis.target_value - {number}) > 0"),
    attack!("an upsert with a condition on the hidden row", Statement, Refused("row-level security"),
        "INSERT INTO goal_kpis (workspace_id, goal_id, kpi_id) VALUES ('{b}', 'g1', '{b_kpi}')
         ON CONFLICT (workspace_id, goal_id, kpi_id) DO UPDATE SET weight = 1 / (goal_kpis.weight - {number})"),
    attack!("a semi-join with a leaky condition", Statement, Runs,
        "SELECT k.id FROM kpis AS k WHERE EXISTS (SELECT FROM kpi_data_points AS p WHERE p.kpi_id = k.id AND 1 / (p.value - {number}) > 9)"),
    attack!("a leaky condition below OFFSET 0", Statement, Runs,
        "SELECT * FROM (SELECT * FROM kpis OFFSET 0) AS k WHERE 1 / (k.target_value - {number}) > 9"),
    attack!("a leaky condition before the policy, by its cost", Batch, Runs,
        "SET LOCAL enable_seqscan = off; SET LOCAL cpu_operator_cost = 1000000;
         UPDATE kpis SET unit = 'x' WHERE 1 / (CASE WHEN target_value = {number} THEN 0 ELSE 1 END) = 1"),
    attack!("the address of somebody of B", Statement, Refused("permission denied"),
        "UPDATE users SET email = 'globex-owner@example.com'"),
];
