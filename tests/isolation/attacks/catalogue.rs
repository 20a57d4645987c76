//! What the catalogue, its statistics and a plan tell.

use super::harness::{Attack, Form::*, Outcome::*};

pub const ATTACKS: &[Attack] = &[
    attack!(
        "a query as XML",
        Statement,
        Runs,
        "SELECT query_to_xml('SELECT * FROM kpis', true, true, '')"
    ),
    attack!(
        "a query as XML that changes role first",
        Statement,
        Refused(""),
        "SELECT query_to_xml('SET ROLE sesari_owner; SELECT * FROM kpis', true, true, '')"
    ),
    attack!("a table as XML", Statement, Runs, "SELECT table_to_xml('kpis', true, true, '')"),
    attack!("a schema as XML", Statement, Runs, "SELECT schema_to_xml('public', true, true, '')"),
    attack!("the database as XML", Statement, Runs, "SELECT database_to_xml(true, true, '')"),
    attack!("statistics", Statement, Refused("permission denied"), "SELECT * FROM pg_statistic"),
    attack!(
        "statistics, by the view",
        Statement,
        Runs,
        "SELECT * FROM pg_stats WHERE schemaname = 'public'"
    ),
    attack!(
        "statistics, by the view, as the login",
        Batch,
        Runs,
        "RESET ROLE; DO $$ BEGIN IF EXISTS (SELECT FROM pg_stats WHERE schemaname = 'public'
             AND tablename = 'kpis') THEN RAISE 'globex' ; END IF; END $$"
    ),
    attack!(
        "a plan with its rows",
        Statement,
        Runs,
        "EXPLAIN (ANALYZE, VERBOSE) SELECT * FROM kpis WHERE name LIKE 'G%'"
    ),
    attack!("statistics over several columns", Statement, Runs, "SELECT * FROM pg_stats_ext"),
    attack!(
        "extended statistics of expressions",
        Statement,
        Runs,
        "SELECT * FROM pg_stats_ext_exprs"
    ),
    attack!(
        "the data of extended statistics",
        Statement,
        Refused("permission denied"),
        "SELECT * FROM pg_statistic_ext_data"
    ),
    attack!(
        "how the tables are used",
        Statement,
        Runs,
        "SELECT relname, n_tup_ins FROM pg_stat_user_tables"
    ),
    attack!(
        "how the database is used",
        Statement,
        Runs,
        "SELECT * FROM pg_stat_database WHERE datname = current_database()"
    ),
    attack!(
        "columns, defaults and checks",
        Statement,
        Runs,
        "SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef UNION ALL SELECT pg_get_constraintdef(oid) FROM pg_constraint"
    ),
    attack!(
        "definitions of functions",
        Statement,
        Runs,
        "SELECT pg_get_functiondef(p.oid) FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = pronamespace WHERE nspname = 'sesari'"
    ),
    attack!(
        "the standard view of the schema",
        Statement,
        Runs,
        "SELECT * FROM information_schema.columns WHERE table_schema = 'public'"
    ),
    attack!(
        "the pages of a table",
        Statement,
        Refused("does not exist"),
        "SELECT * FROM get_raw_page('kpis', 0)"
    ),
    attack!(
        "the tuples of a table",
        Statement,
        Refused("does not exist"),
        "SELECT * FROM pgstattuple('kpis')"
    ),
    attack!(
        "the entries of an index",
        Statement,
        Refused("does not exist"),
        "SELECT * FROM bt_page_items('kpis_pkey', 1)"
    ),
    attack!(
        "statistics reset",
        Statement,
        Refused("permission denied for function"),
        "SELECT pg_stat_reset()"
    ),
    attack!(
        "the catalogue written",
        Statement,
        Refused("permission denied"),
        "UPDATE pg_class SET relrowsecurity = false"
    ),
    attack!(
        "a plan of what B has",
        Statement,
        Runs,
        "EXPLAIN (ANALYZE, VERBOSE, BUFFERS) SELECT * FROM kpis WHERE workspace_id = '{b}'"
    ),
    attack!(
        "a plan of an update",
        Statement,
        Runs,
        "EXPLAIN (ANALYZE, VERBOSE) UPDATE kpis SET name = 'stolen' WHERE workspace_id = '{b}' RETURNING *"
    ),
    attack!(
        "every plan to the client",
        Batch,
        Refused("permission denied|access to library|could not access"),
        "LOAD 'auto_explain'; SET LOCAL auto_explain.log_min_duration = 0"
    ),
    attack!(
        "how a plan is thought of, to the client",
        Batch,
        Runs,
        "SET LOCAL client_min_messages = log; SET LOCAL debug_print_plan = on; UPDATE kpis SET unit = 'x'"
    ),
];
