//! Grants, and the login itself.

use super::list::{Defect, Reach::*, defects};

pub const DEFECTS: &[Defect] = defects! {
    "emptying points granted", Leaks, []:
        "GRANT TRUNCATE ON kpi_data_points TO sesari_tenant";
    "references granted", Stays, []:
        "GRANT REFERENCES ON kpis TO sesari_tenant";
    "triggers granted", Stays, []:
        "GRANT TRIGGER ON kpis TO sesari_tenant";
    "sealed credentials granted", Stays, ["integrations"]:
        "GRANT SELECT (credentials) ON integrations TO sesari_tenant";
    "accounts at the provider granted, and no policy", Stays, ["users"]:
        "GRANT SELECT (provider_id) ON users TO sesari_tenant";
    "the whole rollups granted", Stays, ["kpi_rollups"]:
        "GRANT SELECT ON kpi_rollups TO sesari_tenant";
    "the queue of syncs to read", Leaks, []:
        "GRANT SELECT ON sesari.sync_queue TO sesari_tenant";
    "slugs to read", Leaks, []:
        "GRANT SELECT ON sesari.workspace_slugs TO sesari_tenant";
    "memberships by user to read", Leaks, []:
        "GRANT SELECT ON sesari.user_workspaces TO sesari_tenant";
    "goals granted to everybody", Stays, []:
        "GRANT SELECT ON goals TO PUBLIC";
    "writing the audit log granted", Stays, ["audit_log"]:
        "GRANT UPDATE, DELETE ON audit_log TO sesari_tenant";
    "context keys to read", Leaks, []:
        "GRANT SELECT ON sesari.context_keys TO sesari_tenant";
    "context keys to write", Leaks, []:
        "GRANT INSERT ON sesari.context_keys TO sesari_tenant";
    "salts to read", Leaks, []:
        "GRANT SELECT ON sesari.sealing_salts TO sesari_tenant";
    "used ids to read", Leaks, []:
        "GRANT SELECT ON sesari.used_workspace_ids TO sesari_tenant";
    "a schema to write in", Stays, []:
        "GRANT CREATE ON SCHEMA public TO PUBLIC";
    "temporary tables for everybody", Stays, []:
        "GRANT TEMPORARY ON DATABASE {db} TO PUBLIC";
    "a login that bypasses policies", Leaks, []:
        "ALTER ROLE {login} BYPASSRLS";
    "a login that is a superuser", Leaks, []:
        "ALTER ROLE {login} SUPERUSER";
    "a login that may become the owner", Leaks, []:
        "GRANT sesari_owner TO {login}";
    "a login for both scopes", Stays, []:
        "GRANT sesari_service TO {login}";
    "a login that reads everything", Leaks, []:
        "GRANT pg_read_all_data TO {login}";
    "a login that writes everything", Leaks, []:
        "GRANT pg_write_all_data TO {login}";
    "a login that owns a table", Leaks, []:
        "ALTER TABLE kpis OWNER TO {login}; GRANT ALL ON kpis TO sesari_owner";
    "a login that makes roles", Stays, []:
        "ALTER ROLE {login} CREATEROLE";
    // Nobody but a superuser writes it, whatever is granted.
    "writing the catalogue granted", Stays, []:
        "GRANT UPDATE ON pg_proc TO sesari_tenant";
    "a foreign server to use", Stays, []:
        "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;
         GRANT USAGE ON FOREIGN SERVER s TO sesari_tenant";
    "a login that may switch triggers off", Stays, []:
        "GRANT SET ON PARAMETER session_replication_role TO {login}";
    // Settings of a database are those of the sessions opened afterwards.
    "triggers off in the whole database", Leaks, []:
        "ALTER DATABASE {db} SET session_replication_role = replica;
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{db}' AND usename <> current_user";
    "policies off in the whole database", Stays, []:
        "ALTER DATABASE {db} SET row_security = off;
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{db}' AND usename <> current_user";
};
