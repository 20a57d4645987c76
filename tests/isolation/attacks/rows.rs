//! Reading or changing rows: detours, and functions that see a row before the policy does.

use super::harness::{Attack, Form::*, Outcome::*};

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
    attack!(
        "an anonymous block",
        Batch,
        Runs,
        "DO $$ DECLARE r record; BEGIN FOR r IN EXECUTE 'SELECT * FROM kpis' LOOP
             IF r.workspace_id <> '{a}' THEN RAISE 'globex'; END IF; END LOOP; END $$"
    ),
    attack!(
        "B's stored answers",
        Statement,
        Runs,
        "SELECT * FROM idempotency_keys WHERE workspace_id = '{b}' OR result IS NOT NULL"
    ),
    attack!(
        "an answer to what B has begun",
        Statement,
        Runs,
        "UPDATE idempotency_keys SET result = '0'"
    ),
    attack!(
        "a key of B's, claimed as B does",
        Statement,
        Refused("row-level security"),
        "INSERT INTO idempotency_keys AS k (workspace_id, actor_kind, actor_id, key, operation)
         SELECT '{b}', actor_kind, actor_id, 'globex', 'globex' FROM sesari.current_actor()
         ON CONFLICT (workspace_id, actor_kind, actor_id, key) DO UPDATE SET result = k.result RETURNING *"
    ),
    attack!(
        "B's keys, pruned",
        Statement,
        Refused("permission denied for function"),
        "SELECT sesari.prune_idempotency_keys(now(), '', 1000)"
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
        "DELETE FROM kpi_data_points AS p USING kpi_data_points AS q WHERE p.timestamp <> q.timestamp RETURNING *"
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
        Refused("permission denied for table workspace_users"),
        "INSERT INTO workspace_users (workspace_id, user_id, role) VALUES ('{b}', '{a_user}', 'owner')"
    ),
    attack!(
        "the own membership moved to B",
        Statement,
        Refused("cannot be changed"),
        "UPDATE workspace_users SET workspace_id = '{b}' WHERE user_id = '{a_user}'"
    ),
    attack!(
        "a point moved to B",
        Statement,
        Refused("cannot be changed"),
        "UPDATE kpi_data_points SET workspace_id = '{b}', kpi_id = '{b_kpi}'"
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
        "WITH seen AS MATERIALIZED (SELECT count(*) FROM kpis AS k JOIN workspace_users AS u
             ON set_config('leak.names', coalesce(current_setting('leak.names', true), '')
                || k.name || u.user_id, true) IS NULL)
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
        "parallel plans",
        Batch,
        Runs,
        "SET LOCAL parallel_setup_cost = 0; SET LOCAL min_parallel_table_scan_size = 0;
         DO $$ BEGIN IF (SELECT count(DISTINCT workspace_id) FROM kpi_data_points) > 1 THEN
             RAISE 'globex'; END IF; END $$"
    ),
    attack!(
        "a natural join across the workspaces",
        Statement,
        Runs,
        "SELECT k.* FROM kpis AS k JOIN goals AS g ON g.workspace_id <> k.workspace_id"
    ),
    attack!(
        "sets of rows",
        Statement,
        Runs,
        "SELECT id, name FROM kpis UNION SELECT id, title FROM goals EXCEPT SELECT id, name FROM kpis WHERE workspace_id = '{a}'"
    ),
    attack!("rows as JSON", Statement, Runs, "SELECT jsonb_agg(to_jsonb(k)) FROM kpis AS k"),
    attack!(
        "a path through JSON",
        Statement,
        Runs,
        "SELECT jsonb_path_query_array(jsonb_agg(to_jsonb(k)), '$[*] ? (@.workspace_id == \"{b}\")') FROM kpis AS k"
    ),
    attack!(
        "rows by their text search",
        Statement,
        Runs,
        "SELECT ts_rank(to_tsvector('simple', name), to_tsquery('simple', 'globex')), name FROM kpis ORDER BY 1 DESC"
    ),
    attack!(
        "words counted by a query in a text",
        Statement,
        Runs,
        "SELECT * FROM ts_stat('SELECT to_tsvector(''simple'', name) FROM kpis')"
    ),
    attack!(
        "a table as the type of a row",
        Statement,
        Runs,
        "SELECT (SELECT array_agg(k) FROM kpis AS k)::text"
    ),
    attack!(
        "an update that moves to B and back",
        Statement,
        Refused("cannot be changed|row-level security"),
        "UPDATE goals SET workspace_id = CASE WHEN workspace_id = '{a}' THEN '{b}' ELSE '{a}' END"
    ),
    attack!(
        "nested changes in one statement",
        Statement,
        Runs,
        "WITH u AS (UPDATE kpis SET unit = 'x' RETURNING *), d AS (DELETE FROM kpi_data_points RETURNING *) SELECT * FROM u FULL JOIN d ON d.kpi_id = u.id"
    ),
];
