//! What is left on a connection for the next tenant. All of these commit.

use super::harness::{Attack, Form::*, Outcome::*};

pub const ATTACKS: &[Attack] = &[
    attack!("client_encoding", Statement, Runs, "SET client_encoding = 'LATIN1'"),
    attack!("row_security", Statement, Runs, "SET row_security = off"),
    attack!("read-only from now on", Statement, Runs, "SET default_transaction_read_only = on"),
    attack!("read-only, the standard's way", Statement, Runs,
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"),
    attack!("serializable from now on", Statement, Runs,
        "SET default_transaction_isolation = 'serializable'"),
    attack!("no time for a statement", Statement, Runs, "SET statement_timeout = 1"),
    attack!("no time for a lock", Statement, Runs, "SET lock_timeout = 1"),
    attack!("no time between statements", Statement, Runs,
        "SET idle_in_transaction_session_timeout = 1000"),
    attack!("no time between transactions", Statement, Runs, "SET idle_session_timeout = 1"),
    attack!("search_path", Statement, Runs, "SET search_path = pg_temp, pg_catalog"),
    attack!("time zone and formats", Batch, Runs,
        "SET timezone = 'Asia/Kathmandu'; SET datestyle = 'German'; SET intervalstyle = 'iso_8601';
         SET bytea_output = 'escape'; SET extra_float_digits = -15; SET xmloption = 'document';
         SET array_nulls = off; SET quote_all_identifiers = on"),
    attack!("how text is read", Batch, Runs,
        "SET standard_conforming_strings = off; SET backslash_quote = on;
         SET transform_null_equals = on; SET escape_string_warning = off"),
    attack!("how queries are planned", Batch, Runs,
        "SET enable_indexscan = off; SET enable_seqscan = off; SET plan_cache_mode = 'force_generic_plan';
         SET work_mem = '64kB'; SET from_collapse_limit = 1"),
    attack!("functions unchecked", Statement, Runs, "SET check_function_bodies = off"),
    attack!("the role of the session", Statement, Runs, "SET SESSION ROLE sesari_tenant"),
    attack!("the own context for the session", Statement, Runs,
        "SELECT set_config('sesari.context', current_setting('sesari.context'), false)"),
    attack!("a setting of one's own", Statement, Runs, "SET mine.data = 'left behind'"),
    attack!("a listener", Statement, Runs, "LISTEN everything"),
    attack!("a notification", Statement, Runs, "NOTIFY everything, 'x'"),
    attack!("an advisory lock", Statement, Runs, "SELECT pg_advisory_lock(1), pg_advisory_lock(2, 3)"),
    attack!("a cursor with hold", Statement, Runs,
        "DECLARE left_behind CURSOR WITH HOLD FOR SELECT * FROM kpis"),
    attack!("a prepared statement", Statement, Runs,
        "PREPARE left_behind AS SELECT 'poison' FROM kpis"),
    attack!("diesel's prepared statements poisoned", Batch, Runs,
        "DEALLOCATE ALL;
         PREPARE __diesel_stmt_0 AS SELECT 'poison'; PREPARE __diesel_stmt_1 AS SELECT 'poison';
         PREPARE __diesel_stmt_2 AS SELECT 'poison'; PREPARE __diesel_stmt_3 AS SELECT 'poison';
         PREPARE __diesel_stmt_4 AS SELECT 'poison'; PREPARE __diesel_stmt_5 AS SELECT 'poison'"),
    attack!("no transaction", Statement, Runs, "COMMIT"),
    attack!("no transaction, undone", Statement, Runs, "ROLLBACK"),
    attack!("a transaction of one's own", Batch, Runs, "COMMIT; BEGIN; SELECT 1"),
    attack!("a chained transaction", Statement, Runs, "COMMIT AND CHAIN"),
    attack!("a transaction of one's own that failed", Batch, Refused("division by zero"),
        "COMMIT; BEGIN; SELECT 1 / 0"),
    attack!("a read-only transaction of one's own", Batch, Runs, "ROLLBACK; BEGIN READ ONLY"),
    attack!("a savepoint", Statement, Runs, "SAVEPOINT left_behind"),
    attack!("a two-phase transaction", Statement, Refused("prepared transactions are disabled"),
        "PREPARE TRANSACTION 'left_behind'"),
    attack!("everything discarded", Batch, Runs, "COMMIT; DISCARD PLANS; DISCARD SEQUENCES"),
    attack!("all settings reset", Statement, Runs, "RESET ALL"),
    attack!("a library", Statement, Refused(""), "LOAD 'nothing'"),
    attack!("the own session ended", Batch, Refused("terminating connection|server closed the connection"),
        "RESET ROLE; SELECT pg_terminate_backend(pg_backend_pid())"),
    attack!("the own statement cancelled", Batch, Refused("canceling statement"),
        "RESET ROLE; SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(5)"),
];
