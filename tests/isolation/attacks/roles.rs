//! Taking another role, or making the own one more.

use super::harness::{Attack, Form::*, Outcome::*};

pub const ATTACKS: &[Attack] = &[
    attack!(
        "the owner's role",
        Statement,
        Refused("permission denied to set role"),
        "SET ROLE sesari_owner"
    ),
    attack!(
        "the services' role",
        Statement,
        Refused("permission denied to set role"),
        "SET ROLE sesari_service"
    ),
    attack!(
        "the superuser's role",
        Batch,
        Refused("permission denied to set role"),
        "DO $$ BEGIN EXECUTE format('SET ROLE %I',
            (SELECT rolname FROM pg_roles WHERE rolsuper LIMIT 1)); END $$"
    ),
    attack!(
        "the owner's role in a statement",
        Statement,
        Refused("permission denied to set role"),
        "SELECT set_config('role', 'sesari_owner', true), k.* FROM kpis AS k"
    ),
    attack!(
        "another session user",
        Statement,
        Refused("permission denied to set session auth"),
        "SET SESSION AUTHORIZATION sesari_owner"
    ),
    attack!("back to the login", Batch, Runs, "RESET ROLE; UPDATE kpis SET name = 'Mine'"),
    attack!("no role at all", Batch, Runs, "SET ROLE NONE; DELETE FROM goal_kpis"),
    attack!(
        "row-level security off",
        Batch,
        Refused("would be affected by row-level security"),
        "SET LOCAL row_security = off; UPDATE kpis SET name = 'stolen'"
    ),
    attack!(
        "triggers off",
        Statement,
        Refused("permission denied to set parameter"),
        "SET LOCAL session_replication_role = replica"
    ),
    attack!(
        "membership of the owner",
        Statement,
        Refused(""),
        "GRANT sesari_owner TO sesari_tenant"
    ),
    attack!("a grant of what one has, to all", Batch, Runs, "GRANT SELECT ON kpis TO PUBLIC"),
    attack!(
        "all that the tenant role holds",
        Batch,
        Refused("permission denied"),
        "DROP OWNED BY CURRENT_USER"
    ),
    attack!(
        "all that the tenant role holds, as the login",
        Batch,
        Refused("permission denied"),
        "RESET ROLE; DROP OWNED BY sesari_tenant CASCADE"
    ),
    attack!(
        "all that the login holds",
        Batch,
        Runs,
        "RESET ROLE; DROP OWNED BY CURRENT_USER CASCADE"
    ),
    attack!(
        "all that is the owner's",
        Statement,
        Refused("permission denied to"),
        "DROP OWNED BY sesari_owner CASCADE"
    ),
    attack!(
        "the owner's things made one's own",
        Statement,
        Refused("permission denied to"),
        "REASSIGN OWNED BY sesari_owner TO CURRENT_USER"
    ),
    attack!(
        "default privileges of one's own",
        Statement,
        Runs,
        "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC"
    ),
    attack!("a role", Statement, Refused("permission denied to create role"), "CREATE ROLE mine"),
    attack!("one's own role made more", Batch, Refused(""), "ALTER ROLE CURRENT_USER BYPASSRLS"),
    attack!(
        "the role pg_read_all_data",
        Statement,
        Refused("permission denied to set role"),
        "SET LOCAL ROLE pg_read_all_data"
    ),
    attack!(
        "the role pg_signal_backend",
        Statement,
        Refused("permission denied to set role"),
        "SET LOCAL ROLE pg_signal_backend"
    ),
    attack!(
        "the role pg_execute_server_program",
        Statement,
        Refused("permission denied to set role"),
        "SET LOCAL ROLE pg_execute_server_program"
    ),
    attack!(
        "the role pg_monitor",
        Statement,
        Refused("permission denied to set role"),
        "SET LOCAL ROLE pg_monitor"
    ),
    attack!("the own session user again", Statement, Runs, "SET SESSION AUTHORIZATION DEFAULT"),
    attack!(
        "a superuser as session user",
        Batch,
        Refused("permission denied to set session auth"),
        "DO $$ BEGIN EXECUTE format('SET SESSION AUTHORIZATION %I', (SELECT rolname FROM pg_roles WHERE rolsuper LIMIT 1)); END $$"
    ),
    attack!(
        "a role for reading everything",
        Statement,
        Refused("permission denied|must have admin option"),
        "GRANT pg_read_all_data TO CURRENT_USER"
    ),
    attack!(
        "the tenant role made a superuser",
        Statement,
        Refused("permission denied|must be superuser"),
        "ALTER ROLE sesari_tenant SUPERUSER"
    ),
    attack!(
        "the login made a creator of roles",
        Batch,
        Refused("permission denied"),
        "RESET ROLE; ALTER ROLE CURRENT_USER CREATEROLE"
    ),
    attack!(
        "default privileges of the owner",
        Statement,
        Refused("permission denied|must be"),
        "ALTER DEFAULT PRIVILEGES FOR ROLE sesari_owner GRANT ALL ON TABLES TO PUBLIC"
    ),
    attack!(
        "a security label",
        Statement,
        Refused("no security label providers"),
        "SECURITY LABEL ON TABLE kpis IS 'anything'"
    ),
    attack!(
        "another language",
        Statement,
        Refused("does not exist"),
        "DO LANGUAGE plperlu 'elog(ERROR, 1)'"
    ),
    attack!(
        "a language of one's own",
        Statement,
        Refused("permission denied|must be superuser|is not available"),
        "CREATE LANGUAGE plpython3u"
    ),
    attack!(
        "the setting session_preload_libraries",
        Statement,
        Refused("permission denied to set parameter"),
        "SET LOCAL session_preload_libraries = 'x'"
    ),
    attack!(
        "the setting dynamic_library_path",
        Statement,
        Refused("permission denied to set parameter"),
        "SET LOCAL dynamic_library_path = '/tmp'"
    ),
    attack!(
        "the setting allow_system_table_mods",
        Statement,
        Refused("permission denied to set parameter"),
        "SET LOCAL allow_system_table_mods = on"
    ),
    attack!(
        "the setting lo_compat_privileges",
        Statement,
        Refused("permission denied to set parameter"),
        "SET LOCAL lo_compat_privileges = on"
    ),
    attack!(
        "the setting zero_damaged_pages",
        Statement,
        Refused("permission denied to set parameter"),
        "SET LOCAL zero_damaged_pages = on"
    ),
    attack!(
        "the setting track_activities",
        Statement,
        Refused("permission denied to set parameter"),
        "SET LOCAL track_activities = off"
    ),
    attack!(
        "the setting log_statement",
        Statement,
        Refused("permission denied to set parameter"),
        "SET LOCAL log_statement = 'none'"
    ),
];
