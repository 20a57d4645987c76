//! What newer servers than the oldest supported one can be asked.

use super::harness::{Attack, Form::*, Outcome::*};

/// From these versions on.
pub const SINCE: &[(i32, &[Attack])] =
    &[(160_000, SINCE_16), (170_000, SINCE_17), (180_000, SINCE_18)];

const SINCE_16: &[Attack] = &[
    attack!(
        "a plan for any parameter",
        Batch,
        Runs,
        "EXPLAIN (GENERIC_PLAN, VERBOSE) SELECT * FROM kpis WHERE workspace_id = $1"
    ),
    attack!("who is logged in by what", Statement, Runs, "SELECT system_user, * FROM pg_stat_io"),
    attack!(
        "a role granted to oneself by itself",
        Statement,
        Refused("permission denied"),
        "GRANT sesari_owner TO CURRENT_USER WITH INHERIT TRUE, SET TRUE"
    ),
    attack!(
        "a subscription's password waived",
        Statement,
        Refused("permission denied|does not exist"),
        "ALTER SUBSCRIPTION s SET (password_required = false)"
    ),
    attack!(
        "a message into the write-ahead log",
        Statement,
        Runs,
        "SELECT pg_logical_emit_message(true, 'mine', 'x')::text"
    ),
];

const SINCE_17: &[Attack] = &[
    attack!("a merge that returns", Statement, Runs,
        "MERGE INTO kpis USING (VALUES ('{b_kpi}')) AS v (id) ON kpis.id = v.id
         WHEN MATCHED THEN UPDATE SET name = 'stolen' RETURNING merge_action(), kpis.*"),
    attack!("a merge of what the source lacks", Statement, Runs,
        "MERGE INTO kpi_data_points AS p USING (SELECT '{a}' AS w) AS v ON p.workspace_id = v.w
         WHEN NOT MATCHED BY SOURCE THEN DELETE RETURNING p.*"),
    attack!("a merge that inserts and returns", Statement, Refused("row-level security"),
        "MERGE INTO goals USING (VALUES ('{b}')) AS v (id) ON goals.workspace_id = v.id
         WHEN NOT MATCHED THEN INSERT (workspace_id, title) VALUES (v.id, 'planted') RETURNING goals.*"),
    attack!("rows as a table of JSON", Statement, Runs,
        "SELECT t.* FROM (SELECT jsonb_agg(to_jsonb(k)) AS rows FROM kpis AS k) AS s,
             JSON_TABLE(s.rows, '$[*]' COLUMNS (w text PATH '$.workspace_id', n text PATH '$.name')) AS t"),
    attack!("JSON that fails with what it read", Statement, Runs,
        "SELECT JSON_VALUE(to_jsonb(k), '$.name' RETURNING int ERROR ON ERROR) FROM kpis AS k
          WHERE workspace_id = '{b}'"),
    attack!("whether JSON is in there", Statement, Runs,
        "SELECT JSON_EXISTS(jsonb_agg(to_jsonb(k)), '$[*] ? (@.name like_regex \"lobex re\")')::text
           FROM kpis AS k"),
    attack!("a plan with its memory and its rows written out", Statement, Runs,
        "EXPLAIN (ANALYZE, VERBOSE, MEMORY, SERIALIZE TEXT) SELECT * FROM kpis"),
    attack!("no limit on the transaction", Statement, Runs, "SET LOCAL transaction_timeout = 0"),
    attack!("a copy that passes over errors", Statement, Refused("COPY FROM not supported"),
        "COPY kpis FROM STDIN (ON_ERROR ignore, LOG_VERBOSITY verbose)"),
    attack!("the right to maintain", Statement, Refused("permission denied"),
        "GRANT pg_maintain TO CURRENT_USER"),
];

const SINCE_18: &[Attack] = &[
    attack!(
        "the old row and the new",
        Statement,
        Runs,
        "UPDATE kpis SET unit = 'x' RETURNING old.*, new.*, (SELECT count(*) FROM kpis)"
    ),
    attack!(
        "the old row of an upsert",
        Statement,
        Refused("row-level security"),
        "INSERT INTO kpis (workspace_id, id, name) VALUES ('{b}', '{b_kpi}', 'x')
         ON CONFLICT (workspace_id, id) DO UPDATE SET name = 'y' RETURNING old.*, new.*"
    ),
    attack!(
        "the old row of a delete by a join",
        Statement,
        Runs,
        "DELETE FROM kpi_data_points AS p USING kpis AS k WHERE p.kpi_id = k.id RETURNING old.*, k.*"
    ),
    attack!(
        "the old rows of a merge",
        Statement,
        Runs,
        "MERGE INTO kpis USING (VALUES ('{b_kpi}')) AS v (id) ON kpis.id = v.id
         WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN DO NOTHING RETURNING old.*, new.*"
    ),
    attack!(
        "statistics made up",
        Statement,
        Refused("permission denied"),
        "SELECT pg_restore_relation_stats('schemaname', 'public', 'relname', 'kpis', 'reltuples', 1::real)"
    ),
    attack!(
        "statistics cleared",
        Statement,
        Refused("permission denied"),
        "SELECT pg_clear_attribute_stats('public', 'kpis', 'name', false)"
    ),
    attack!(
        "a virtual column",
        Statement,
        Refused("must be owner"),
        "ALTER TABLE kpis ADD COLUMN seen text GENERATED ALWAYS AS (name) VIRTUAL"
    ),
    attack!(
        "a foreign key that is not enforced",
        Statement,
        Refused("must be owner"),
        "ALTER TABLE kpis ADD FOREIGN KEY (id) REFERENCES kpis (id) NOT ENFORCED"
    ),
    attack!(
        "a key without overlaps",
        Statement,
        Refused("must be owner"),
        "ALTER TABLE kpis ADD UNIQUE (workspace_id, id WITHOUT OVERLAPS)"
    ),
    attack!(
        "an id that tells the time",
        Statement,
        Runs,
        "SELECT uuid_extract_timestamp(uuidv7())::text"
    ),
    attack!(
        "rights as the catalogue has them",
        Statement,
        Runs,
        "SELECT pg_get_acl('pg_class'::regclass, 'kpis'::regclass, 0)::text"
    ),
    attack!(
        "what another session reads and writes",
        Statement,
        Runs,
        "SELECT * FROM pg_stat_get_backend_io({pid})"
    ),
    attack!("reads under way", Statement, Refused("permission denied"), "SELECT * FROM pg_aios"),
    attack!(
        "a copy that gives up late",
        Statement,
        Refused("COPY FROM not supported"),
        "COPY kpis FROM STDIN (ON_ERROR ignore, REJECT_LIMIT 5)"
    ),
    attack!(
        "names folded to what they hide",
        Statement,
        Runs,
        "SELECT casefold(name COLLATE \"pg_c_utf8\"), crc32(name::bytea) FROM kpis"
    ),
];
