//! What owners and administrators do.

use super::harness::{Attack, Form::*, Outcome::*};

pub const ATTACKS: &[Attack] = &[
    attack!(
        "a setting for everybody",
        Statement,
        Refused("must be owner of database"),
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET row_security = off',
            current_database()); END $$"
    ),
    attack!("a setting of the server", Batch, Refused(""), "ALTER SYSTEM SET row_security = off"),
    attack!(
        "emptying a table",
        Statement,
        Refused("permission denied for table kpis"),
        "TRUNCATE kpis"
    ),
    attack!(
        "emptying all tables",
        Statement,
        Refused("permission denied for table"),
        "TRUNCATE workspaces CASCADE"
    ),
    attack!(
        "the migrations",
        Statement,
        Refused("permission denied"),
        "DELETE FROM sesari_migrations.__diesel_schema_migrations"
    ),
    attack!("the tables' upkeep", Batch, Runs, "ANALYZE kpis; ANALYZE"),
    attack!("a vacuum", Statement, Refused("cannot run inside a transaction block"), "VACUUM kpis"),
    attack!(
        "a vacuum outside of a transaction",
        Batch,
        Refused("cannot run inside a transaction block|cannot be executed from"),
        "COMMIT; VACUUM kpis"
    ),
    attack!(
        "a table rewritten",
        Statement,
        Refused("must be owner|permission denied"),
        "CLUSTER kpis USING kpis_pkey"
    ),
    attack!(
        "an index rebuilt",
        Statement,
        Refused("must be owner|permission denied"),
        "REINDEX TABLE kpis"
    ),
    attack!(
        "a checkpoint",
        Statement,
        Refused("permission denied|must be superuser|must have privileges"),
        "CHECKPOINT"
    ),
    attack!(
        "the configuration read again",
        Statement,
        Refused("permission denied for function"),
        "SELECT pg_reload_conf()"
    ),
    attack!(
        "the log rotated",
        Statement,
        Refused("permission denied for function"),
        "SELECT pg_rotate_logfile()"
    ),
    attack!(
        "a database",
        Statement,
        Refused("cannot run inside a transaction block"),
        "CREATE DATABASE mine"
    ),
    attack!(
        "a tablespace",
        Statement,
        Refused("cannot run inside a transaction block"),
        "CREATE TABLESPACE mine LOCATION '/tmp'"
    ),
];
