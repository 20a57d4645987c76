//! Ways out of the database, and replication.

use super::harness::{Attack, Form::*, Outcome::*};

pub const ATTACKS: &[Attack] = &[
    attack!("an extension that connects back", Statement, Refused(""), "CREATE EXTENSION dblink"),
    attack!(
        "a foreign server",
        Statement,
        Refused("nothing"),
        "CREATE SERVER mine FOREIGN DATA WRAPPER nothing"
    ),
    attack!(
        "a publication",
        Statement,
        Refused("permission denied for database"),
        "CREATE PUBLICATION p"
    ),
    attack!(
        "an event trigger",
        Statement,
        Refused("permission denied"),
        "CREATE EVENT TRIGGER t ON ddl_command_start EXECUTE FUNCTION sesari.refuse_change()"
    ),
    attack!(
        "postgres_fdw",
        Statement,
        Refused("permission denied|must be superuser|is not available|could not open"),
        "CREATE EXTENSION postgres_fdw"
    ),
    attack!(
        "an extension that reads files",
        Statement,
        Refused("permission denied|must be superuser|is not available|could not open"),
        "CREATE EXTENSION file_fdw"
    ),
    attack!(
        "an extension that reads pages",
        Statement,
        Refused("permission denied|must be superuser|is not available|could not open"),
        "CREATE EXTENSION pageinspect"
    ),
    attack!(
        "a wrapper for foreign data",
        Statement,
        Refused("permission denied"),
        "CREATE FOREIGN DATA WRAPPER mine"
    ),
    attack!(
        "a mapping for a foreign user",
        Statement,
        Refused("does not exist"),
        "CREATE USER MAPPING FOR CURRENT_USER SERVER mine"
    ),
    attack!(
        "a publication of everything",
        Statement,
        Refused("permission denied|must be superuser"),
        "CREATE PUBLICATION p FOR ALL TABLES"
    ),
    attack!(
        "a subscription",
        Statement,
        Refused("permission denied|must be superuser"),
        "CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1' PUBLICATION p WITH (connect = false)"
    ),
    attack!(
        "a replication slot",
        Statement,
        Refused("permission denied|must be superuser or replication role"),
        "SELECT pg_create_logical_replication_slot('s', 'test_decoding')"
    ),
    attack!(
        "the changes of a slot",
        Statement,
        Refused("permission denied|must be superuser or replication role"),
        "SELECT * FROM pg_logical_slot_get_changes('s', NULL, NULL)"
    ),
    attack!("the replication protocol", Statement, Refused("syntax error"), "IDENTIFY_SYSTEM"),
    attack!(
        "a base backup",
        Statement,
        Refused("permission denied for function"),
        "SELECT pg_backup_start('x')"
    ),
    attack!(
        "a restore point",
        Statement,
        Refused("permission denied for function"),
        "SELECT pg_create_restore_point('x')"
    ),
    attack!(
        "an origin of replication",
        Statement,
        Refused("permission denied for function"),
        "SELECT pg_replication_origin_create('x')"
    ),
    attack!("who replicates", Statement, Runs, "SELECT * FROM pg_stat_replication"),
    attack!(
        "a link to another database",
        Statement,
        Refused("does not exist"),
        "SELECT * FROM dblink('dbname=postgres', 'SELECT 1') AS t (x int)"
    ),
];
