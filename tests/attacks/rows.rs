//! Reading or changing rows: detours, functions that see a row before the policy does, errors
//! that repeat what they choked on.

use crate::harness::{Attack, Form::*, Outcome::*};

pub const ATTACKS: &[Attack] = &[
    attack!("everything", Statement, Runs, "SELECT * FROM kpis"),
    attack!("B by name", Statement, Runs, "SELECT * FROM kpis WHERE workspace_id = '{b}'"),
    attack!("one table only", Statement, Runs, "SELECT * FROM ONLY kpi_data_points"),
    attack!(
        "by position",
        Statement,
        Runs,
        "SELECT * FROM kpis WHERE ctid >= '(0,0)' AND ctid <= '(9999,99)'"
    ),
    attack!("a sample", Statement, Runs, "SELECT * FROM kpi_data_points TABLESAMPLE SYSTEM (100)"),
    attack!("system columns", Statement, Runs, "SELECT ctid, xmin, tableoid, k.* FROM kpis AS k"),
    attack!(
        "a recursion",
        Statement,
        Runs,
        "WITH RECURSIVE r AS (SELECT id, name FROM kpis UNION
             SELECT k.id, k.name FROM kpis AS k JOIN r ON true) SELECT * FROM r"
    ),
    attack!(
        "a full join",
        Statement,
        Runs,
        "SELECT * FROM kpis AS k FULL JOIN goal_kpis AS l ON l.kpi_id = k.id"
    ),
    attack!("rows locked", Statement, Runs, "SELECT * FROM kpis FOR UPDATE"),
    attack!(
        "an anonymous block",
        Batch,
        Runs,
        "DO $$ DECLARE r record; BEGIN FOR r IN EXECUTE 'SELECT * FROM kpis' LOOP
             IF r.workspace_id <> '{a}' THEN RAISE 'globex'; END IF; END LOOP; END $$"
    ),
    attack!("an update of everything", Statement, Runs, "UPDATE kpis SET unit = 'EUR'"),
    attack!(
        "an update by B's id",
        Statement,
        Runs,
        "UPDATE kpis SET name = 'stolen' WHERE id = '{b_kpi}' RETURNING *"
    ),
    attack!(
        "an update by a join",
        Statement,
        Runs,
        "UPDATE kpi_data_points AS p SET value = 1 FROM kpis AS k WHERE p.kpi_id = k.id RETURNING *"
    ),
    attack!("a delete of everything", Statement, Runs, "DELETE FROM goals"),
    attack!(
        "a delete by a join",
        Statement,
        Runs,
        "DELETE FROM kpi_data_points AS p USING kpi_data_points AS q WHERE p.id <> q.id RETURNING *"
    ),
    attack!(
        "a merge",
        Statement,
        Runs,
        "MERGE INTO kpis USING (VALUES ('{b_kpi}')) AS v (id) ON kpis.id = v.id
         WHEN MATCHED THEN UPDATE SET name = 'stolen' WHEN NOT MATCHED THEN DO NOTHING"
    ),
    attack!(
        "a merge that inserts",
        Statement,
        Refused("row-level security"),
        "MERGE INTO goals USING (VALUES ('{b}')) AS v (id) ON goals.workspace_id = v.id
         WHEN NOT MATCHED THEN INSERT (workspace_id, title) VALUES (v.id, 'planted')"
    ),
    attack!(
        "an insert for B",
        Statement,
        Refused("row-level security"),
        "INSERT INTO kpis (workspace_id, name) VALUES ('{b}', 'planted')"
    ),
    attack!(
        "an upsert of B's row",
        Statement,
        Refused("row-level security"),
        "INSERT INTO kpis (workspace_id, id, name) VALUES ('{b}', '{b_kpi}', 'stolen')
         ON CONFLICT (workspace_id, id) DO UPDATE SET name = excluded.name RETURNING *"
    ),
    attack!(
        "an upsert that does nothing",
        Statement,
        Refused("row-level security"),
        "INSERT INTO kpis (workspace_id, id, name) VALUES ('{b}', '{b_kpi}', 'x')
         ON CONFLICT DO NOTHING"
    ),
    attack!(
        "an upsert of the own row into B's workspace",
        Statement,
        Refused(""),
        "INSERT INTO workspace_users (user_id, role) VALUES ('{a_user}', 'owner')
         ON CONFLICT (workspace_id, user_id) DO UPDATE SET workspace_id = '{b}'"
    ),
    attack!(
        "membership of B",
        Statement,
        Refused("row-level security"),
        "INSERT INTO workspace_users (workspace_id, user_id, role) VALUES ('{b}', '{a_user}', 'owner')"
    ),
    attack!(
        "the own membership moved to B",
        Statement,
        Refused("cannot be changed"),
        "UPDATE workspace_users SET workspace_id = '{b}' WHERE user_id = '{a_user}'"
    ),
    attack!(
        "a point on B's KPI",
        Statement,
        Refused("kpi_data_points_workspace_id_kpi_id_fkey"),
        "INSERT INTO kpi_data_points (kpi_id, value) VALUES ('{b_kpi}', 1)"
    ),
    attack!(
        "a point moved to B",
        Statement,
        Refused("cannot be changed"),
        "UPDATE kpi_data_points SET workspace_id = '{b}', kpi_id = '{b_kpi}'"
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
        "UPDATE kpi_data_points SET source = 'manual'
         WHERE 1 / (CASE WHEN value = {number} THEN 0 ELSE 1 END) = 1"
    ),
    attack!(
        "a cast that repeats what it cannot read",
        Statement,
        Refused("invalid input syntax"),
        "SELECT id FROM users WHERE email::int > 0"
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
        "a setting that collects what WHERE sees",
        Statement,
        Runs,
        "WITH seen AS MATERIALIZED (SELECT count(*) FROM kpis WHERE set_config('leak.names',
             coalesce(current_setting('leak.names', true), '') || name, true) IS NOT NULL)
         SELECT current_setting('leak.names', true) FROM seen"
    ),
    attack!(
        "a setting that collects what a join sees",
        Statement,
        Runs,
        "WITH seen AS MATERIALIZED (SELECT count(*) FROM kpis AS k JOIN users AS u
             ON set_config('leak.names', coalesce(current_setting('leak.names', true), '')
                || k.name || u.email, true) IS NULL)
         SELECT current_setting('leak.names', true) FROM seen"
    ),
    attack!(
        "a setting that collects what an update sees",
        Batch,
        Runs,
        "UPDATE kpis SET unit = 'x' WHERE set_config('leak.names',
             coalesce(current_setting('leak.names', true), '') || id, true) IS NULL;
         DO $$ BEGIN IF current_setting('leak.names', true) LIKE '%{b_kpi}%' THEN
             RAISE 'globex'; END IF; END $$"
    ),
    attack!(
        "a notification of what WHERE sees",
        Batch,
        Runs,
        "LISTEN leak; SELECT pg_notify('leak', name) FROM kpis
         WHERE pg_notify('leak', name) IS NOT NULL"
    ),
    attack!(
        "a large object of what WHERE sees",
        Batch,
        Runs,
        "SELECT count(*) FROM kpis WHERE lo_from_bytea(0, name::bytea) > 0;
         DO $$ BEGIN IF EXISTS (SELECT FROM pg_largeobject_metadata AS m,
             LATERAL (SELECT convert_from(lo_get(m.oid), 'UTF8') AS t) AS x
             WHERE t ILIKE '%globex%') THEN RAISE 'globex'; END IF; END $$"
    ),
    attack!(
        "a plan with its rows",
        Statement,
        Runs,
        "EXPLAIN (ANALYZE, VERBOSE) SELECT * FROM kpis WHERE name LIKE 'G%'"
    ),
    attack!(
        "a KPI moved under a point of B's",
        Statement,
        Refused("cannot be changed"),
        "UPDATE kpi_data_points SET kpi_id = '{b_kpi}'"
    ),
    attack!(
        "a link moved to B's KPI",
        Statement,
        Refused("cannot be changed"),
        "UPDATE goal_kpis SET kpi_id = '{b_kpi}', workspace_id = '{b}'"
    ),
    attack!(
        "deferred checks",
        Batch,
        Refused("row-level security"),
        "SET CONSTRAINTS ALL DEFERRED; INSERT INTO goals (workspace_id, title) VALUES ('{b}', 'x')"
    ),
    attack!(
        "a cursor moved past its rows",
        Batch,
        Runs,
        "DECLARE c CURSOR FOR SELECT * FROM kpis FOR UPDATE; MOVE 1 IN c;
         UPDATE kpis SET unit = 'x' WHERE CURRENT OF c"
    ),
    attack!(
        "parallel plans",
        Batch,
        Runs,
        "SET LOCAL parallel_setup_cost = 0; SET LOCAL min_parallel_table_scan_size = 0;
         DO $$ BEGIN IF (SELECT count(DISTINCT workspace_id) FROM kpi_data_points) > 1 THEN
             RAISE 'globex'; END IF; END $$"
    ),
];
