//! Objects in the way of others.

use super::harness::{Attack, Form::*, Outcome::*};

pub const ATTACKS: &[Attack] = &[
    attack!(
        "a temporary table in the way of kpis",
        Statement,
        Refused("permission denied"),
        "CREATE TEMP TABLE kpis (LIKE public.kpis)"
    ),
    attack!(
        "a temporary table in the way of the memberships",
        Statement,
        Refused("permission denied"),
        "CREATE TEMP TABLE workspace_users AS SELECT '{b}' AS workspace_id, '{a_user}' AS user_id"
    ),
    attack!(
        "a temporary view",
        Statement,
        Refused("permission denied"),
        "CREATE TEMP VIEW kpis AS SELECT 1"
    ),
    attack!(
        "a temporary function",
        Statement,
        Refused("permission denied"),
        "CREATE FUNCTION pg_temp.sha256(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT $1'"
    ),
    attack!(
        "another search_path",
        Batch,
        Runs,
        "SET LOCAL search_path = pg_temp, sesari, public; UPDATE kpis SET name = 'Mine'"
    ),
    attack!("a schema", Statement, Refused("permission denied for database"), "CREATE SCHEMA mine"),
    attack!(
        "a table in public",
        Statement,
        Refused("permission denied for schema public"),
        "CREATE TABLE public.mine (x text)"
    ),
    attack!(
        "a table in sesari",
        Statement,
        Refused("permission denied for schema sesari"),
        "CREATE TABLE sesari.mine (x text)"
    ),
    attack!(
        "a temporary table as the login",
        Batch,
        Refused("permission denied"),
        "RESET ROLE; CREATE TEMP TABLE kpis (x text)"
    ),
    attack!(
        "a temporary copy",
        Statement,
        Refused("permission denied"),
        "SELECT * INTO TEMP kpis FROM public.kpis"
    ),
    attack!(
        "a temporary sequence",
        Statement,
        Refused("permission denied"),
        "CREATE TEMP SEQUENCE s"
    ),
    attack!(
        "a temporary type",
        Statement,
        Refused("permission denied"),
        "CREATE TYPE pg_temp.text AS (x pg_catalog.text)"
    ),
    attack!(
        "a temporary domain",
        Statement,
        Refused("permission denied"),
        "CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (false)"
    ),
    attack!(
        "a temporary aggregate",
        Statement,
        Refused("permission denied"),
        "CREATE AGGREGATE pg_temp.count(*) (SFUNC = int8inc, STYPE = int8, INITCOND = '0')"
    ),
    attack!(
        "a temporary operator",
        Statement,
        Refused("permission denied"),
        "CREATE OPERATOR pg_temp.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq)"
    ),
    attack!(
        "a function in public, in the way of sha256",
        Statement,
        Refused("permission denied for schema public"),
        "CREATE FUNCTION public.sha256(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT $1'"
    ),
    attack!(
        "a schema named like the login",
        Batch,
        Refused("permission denied for database"),
        "RESET ROLE; DO $$ BEGIN EXECUTE format('CREATE SCHEMA %I', session_user); END $$"
    ),
    attack!(
        "the catalogue last",
        Batch,
        Runs,
        "SET LOCAL search_path = public, sesari, pg_catalog; DELETE FROM goals"
    ),
    attack!(
        "no path at all",
        Batch,
        Runs,
        "SET LOCAL search_path = ''; UPDATE public.kpis SET unit = 'x'"
    ),
];
