//! What PostgreSQL, extensions, roles and settings may give a login beyond what a new database does.
//!
//! Settings and grants of roles that the whole server shares are those of roles of a test's own, or are
//! put back.

use super::{Connection, Role, TestDatabase, assert_rules};
use diesel::connection::SimpleConnection;
use sesari_db::database::{IsolationOptions, IsolationReport, Severity};

fn look(login: &Role) -> IsolationReport {
    IsolationReport::check(login.url(), &IsolationOptions::tenant()).unwrap()
}

/// Runs the SQL, in which `{login}` and `{db}` are the login and its database, expects one finding of the
/// rule and severity, types its remedy, and expects none.
fn assert_found_and_remedied(sql: &str, rule: &str, severity: Severity) {
    let test = TestDatabase::new().unwrap();
    let login = Role::tenant(&test, "login");
    let mut admin = test.admin().unwrap();
    let sql = sql.replace("{login}", &login.name).replace("{db}", test.name());
    admin.batch_execute(&sql).expect(&sql);
    let report = look(&login);
    assert_rules(&report, &[rule]);
    for finding in report.findings() {
        assert_eq!(finding.severity, severity, "{finding:?}");
        admin.batch_execute(&finding.remedy).expect(&finding.remedy);
    }
    assert_rules(&look(&login), &[]);
}

macro_rules! found {
    ($($name:ident: $sql:literal => $rule:literal, $severity:ident;)+) => {$(
        #[test]
        fn $name() {
            assert_found_and_remedied($sql, $rule, Severity::$severity);
        }
    )+};
}

found! {
    reading_the_servers_files_is_found:
        "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO PUBLIC" => "system-function-granted", Critical;
    listing_the_servers_directories_is_found:
        "GRANT EXECUTE ON FUNCTION pg_ls_dir(text) TO {login}" => "system-function-granted", Critical;
    importing_a_file_is_found:
        "GRANT EXECUTE ON FUNCTION lo_import(text) TO sesari_tenant" => "system-function-granted", Critical;
    a_function_that_an_extension_keeps_back_is_found:
        "CREATE SCHEMA hidden; CREATE EXTENSION pg_buffercache SCHEMA hidden;
         GRANT EXECUTE ON FUNCTION hidden.pg_buffercache_pages() TO {login}"
        => "system-function-granted", Critical;
    statistics_of_all_rows_are_found:
        "GRANT SELECT ON pg_statistic TO PUBLIC" => "catalogue-granted", Critical;
    a_column_of_passwords_is_found:
        "GRANT SELECT (rolpassword) ON pg_authid TO {login}" => "catalogue-granted", Critical;
    writing_the_catalogue_is_found:
        "GRANT UPDATE ON pg_proc TO sesari_tenant" => "catalogue-granted", Critical;
    passwords_of_foreign_servers_are_found:
        "GRANT SELECT ON information_schema._pg_user_mappings TO PUBLIC" => "catalogue-granted", Critical;
    a_catalogue_function_made_leakproof_is_found:
        "ALTER FUNCTION textlike(text, text) LEAKPROOF" => "function-leakproof", Critical;
    a_leakproof_function_of_an_extension_is_found:
        "CREATE SCHEMA hidden; CREATE EXTENSION citext SCHEMA hidden;
         ALTER FUNCTION hidden.citext_eq(hidden.citext, hidden.citext) LEAKPROOF"
        => "function-leakproof", Critical;
    a_catalogue_function_with_its_owners_rights_is_found:
        "ALTER FUNCTION lower(text) SECURITY DEFINER" => "system-function-changed", Critical;
    a_function_beside_one_of_postgresqls_own_is_found:
        "CREATE FUNCTION pg_catalog.lower(integer) RETURNS integer LANGUAGE sql AS 'SELECT 1'"
        => "system-function-changed", Critical;
    a_language_that_runs_as_the_server_is_found:
        "UPDATE pg_language SET lanpltrusted = true WHERE lanname = 'c'" => "language-trusted", Critical;
    a_foreign_server_is_found:
        "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER \"Other\" FOREIGN DATA WRAPPER w;
         GRANT USAGE ON FOREIGN SERVER \"Other\" TO sesari_tenant" => "server-granted", Critical;
    a_foreign_data_wrapper_is_found:
        "CREATE FOREIGN DATA WRAPPER w; GRANT USAGE ON FOREIGN DATA WRAPPER w TO PUBLIC"
        => "server-granted", Critical;
    a_user_mapping_is_found:
        "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;
         CREATE USER MAPPING FOR {login} SERVER s" => "server-granted", Critical;
    a_login_that_bypasses_policies_is_told_what_to_type:
        "ALTER ROLE {login} BYPASSRLS" => "login-bypasses-rls", Critical;
    a_predefined_role_is_found:
        "GRANT pg_execute_server_program TO {login}" => "login-is-privileged", Critical;
    policies_off_for_the_login_are_found:
        "ALTER ROLE {login} SET row_security = off" => "setting-changed", Critical;
    another_role_from_the_start_is_found:
        "ALTER ROLE {login} IN DATABASE {db} SET role = 'pg_monitor'" => "setting-changed", Critical;
    sessions_that_end_when_idle_are_found:
        "ALTER ROLE {login} SET idle_session_timeout = 1000" => "setting-damaging", Warning;
    sessions_that_end_at_an_error_are_found:
        "ALTER ROLE {login} SET exit_on_error = on" => "setting-damaging", Warning;
    commits_that_may_be_lost_are_found:
        "ALTER DATABASE {db} SET synchronous_commit = off" => "setting-damaging", Warning;
    a_search_path_of_the_login_is_found:
        "ALTER ROLE {login} IN DATABASE {db} SET search_path = pg_catalog" => "setting-damaging", Warning;
    a_setting_that_nobody_knows_is_found:
        "ALTER ROLE {login} SET plpgsql.extra_errors = 'all'" => "setting-damaging", Warning;
    keys_that_are_published_are_found:
        "CREATE PUBLICATION p FOR TABLE public.kpis, sesari.context_keys" => "publication-private", Warning;
    salts_that_are_published_with_their_schema_are_found:
        "CREATE PUBLICATION p FOR TABLES IN SCHEMA sesari" => "publication-private", Warning;
    an_event_trigger_is_found:
        "CREATE FUNCTION public.f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
         CREATE EVENT TRIGGER \"On all\" ON ddl_command_end EXECUTE FUNCTION public.f()"
        => "event-trigger", Warning;
    a_cast_that_nobody_asks_for_is_found:
        "CREATE CAST (integer AS xml) WITH INOUT AS IMPLICIT" => "cast-added", Warning;
}

#[test]
fn a_publication_of_all_tables_carries_the_keys() {
    let test = TestDatabase::new().unwrap();
    let login = Role::tenant(&test, "login");
    test.admin().unwrap().batch_execute("CREATE PUBLICATION p FOR ALL TABLES").unwrap();
    let report = look(&login);
    assert_rules(&report, &["publication-private"]);
    assert!(report.findings()[0].explanation.contains("context_keys"), "{report}");
}

#[test]
fn an_extension_that_reaches_out_is_a_warning_where_it_can_be_called() {
    let test = TestDatabase::new().unwrap();
    let login = Role::tenant(&test, "login");
    let mut admin = test.admin().unwrap();
    admin.batch_execute("CREATE EXTENSION dblink").unwrap();
    assert_rules(&look(&login), &["extension-reaches-out"]);
    admin.batch_execute("CREATE SCHEMA hidden; ALTER EXTENSION dblink SET SCHEMA hidden").unwrap();
    assert_rules(&look(&login), &[]);
}

#[test]
fn what_everybody_may_by_default_is_no_finding() {
    let test = TestDatabase::new().unwrap();
    let login = Role::tenant(&test, "login");
    let mut admin = test.admin().unwrap();
    for usual in [
        "GRANT EXECUTE ON FUNCTION pg_terminate_backend(integer, bigint) TO {login}",
        // Touched, and as PostgreSQL made it.
        "REVOKE EXECUTE ON FUNCTION texteq(text, text) FROM PUBLIC;
         GRANT EXECUTE ON FUNCTION texteq(text, text) TO PUBLIC",
        "ALTER ROLE {login} SET statement_timeout = '60s'; ALTER ROLE {login} SET lc_messages = 'C';
         ALTER ROLE {login} SET log_statement = 'none'; ALTER ROLE {login} SET TimeZone = 'UTC'",
        "CREATE PUBLICATION p FOR TABLE public.kpis",
        "CREATE EXTENSION pgcrypto",
        "GRANT SELECT ON pg_class TO {login}",
    ] {
        admin.batch_execute(&usual.replace("{login}", &login.name)).expect(usual);
        assert_rules(&look(&login), &[]);
    }
}

/// The roles are the whole server's: within a transaction, which this check shares.
#[test]
fn a_role_of_grants_that_can_log_in_is_found() {
    let test = TestDatabase::new().unwrap();
    let login = Role::tenant(&test, "login");
    let mut admin = test.admin().unwrap();
    for attributes in ["LOGIN", "CREATEROLE", "BYPASSRLS"] {
        let mut found = None;
        let rolled_back: Result<(), _> = admin.transaction(|conn| {
            conn.batch_execute(&format!(
                "ALTER ROLE sesari_owner {attributes}; SET LOCAL SESSION AUTHORIZATION {login}"
            ))?;
            found = IsolationReport::check_connection(conn, &IsolationOptions::tenant()).ok();
            Err(diesel::result::Error::RollbackTransaction)
        });
        assert!(rolled_back.is_err());
        let report = found.unwrap();
        assert_rules(&report, &["role-attributes"]);
        assert!(report.findings()[0].remedy.starts_with("ALTER ROLE sesari_owner NOLOGIN"));
    }
}

#[test]
fn a_membership_in_a_superuser_is_revoked_and_nobody_is_locked_out() {
    let test = TestDatabase::new().unwrap();
    let login = Role::tenant(&test, "login");
    let boss = Role::new(&test, "boss", "SUPERUSER");
    let mut admin = test.admin().unwrap();
    admin.batch_execute(&format!("GRANT {boss} TO {login}")).unwrap();
    let report = look(&login);
    let finding = report.findings().iter().find(|f| f.rule == "login-bypasses-rls").unwrap();
    assert_eq!(finding.remedy, format!("REVOKE {boss} FROM {login}"));
    admin.batch_execute(&finding.remedy).unwrap();
    assert_rules(&look(&login), &[]);
}

#[test]
fn a_superuser_is_told_one_thing() {
    let test = TestDatabase::new().unwrap();
    let report = IsolationReport::check(&test.admin_url(), &IsolationOptions::tenant()).unwrap();
    assert_rules(&report, &["login-is-superuser"]);
    assert_eq!(report.findings().len(), 1, "{report}");
    // Nothing that would lock the administrator out.
    assert!(!report.to_string().contains("ALTER ROLE"), "{report}");
    assert!(report.hardening().is_empty(), "{report:?}");
}

#[test]
fn what_matters_most_comes_first_and_every_name_is_quoted() {
    let test = TestDatabase::new().unwrap();
    let login = Role::tenant(&test, "login");
    let mut admin = test.admin().unwrap();
    admin
        .batch_execute(&format!(
            "CREATE TABLE public.\"Odd Table\" (); GRANT SELECT, TRUNCATE ON public.\"Odd Table\" TO {login};
             CREATE CAST (integer AS xml) WITH INOUT AS IMPLICIT"
        ))
        .unwrap();
    let report = look(&login);
    assert_rules(&report, &["cast-added", "stray-grant", "table-without-rls"]);
    assert_eq!(report.findings()[2].rule, "cast-added", "{report}");
    for finding in report.findings() {
        assert!(!finding.remedy.contains('<'), "{finding:?}");
        admin.batch_execute(&finding.remedy).expect(&finding.remedy);
    }
    let left = look(&login);
    assert!(!left.has("stray-grant") && !left.has("table-without-rls"), "{left}");
}

#[test]
fn objects_in_schemas_that_the_login_may_not_use_are_no_finding() {
    let test = TestDatabase::new().unwrap();
    let login = Role::tenant(&test, "login");
    let mut admin = test.admin().unwrap();
    admin
        .batch_execute(
            "CREATE SCHEMA hidden; CREATE EXTENSION pg_buffercache SCHEMA hidden;
             CREATE TABLE hidden.t (); GRANT SELECT ON hidden.t TO PUBLIC;
             CREATE VIEW hidden.v AS SELECT * FROM public.kpis; GRANT SELECT ON hidden.v TO PUBLIC;
             CREATE SEQUENCE hidden.s; GRANT USAGE ON SEQUENCE hidden.s TO PUBLIC;
             CREATE FUNCTION hidden.f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
        )
        .unwrap();
    assert_rules(&look(&login), &[]);
    // A view elsewhere has named it once and for all.
    admin
        .batch_execute(
            "CREATE VIEW public.w WITH (security_invoker = true) AS SELECT * FROM hidden.t;
             GRANT SELECT ON public.w TO PUBLIC",
        )
        .unwrap();
    assert!(look(&login).has("table-without-rls"));
}

#[test]
fn copies_that_reindex_concurrently_leaves_behind_are_no_finding() {
    let test = TestDatabase::new().unwrap();
    let login = Role::tenant(&test, "login");
    let mut admin = test.admin().unwrap();
    let before = look(&login).fingerprint().to_owned();
    admin
        .batch_execute(
            "CREATE INDEX idx_goals_workspace_id_ccnew ON public.goals (workspace_id);
             CREATE UNIQUE INDEX kpis_pkey_ccold1 ON public.kpis (workspace_id, id);
             UPDATE pg_index SET indisvalid = false
              WHERE indexrelid IN ('public.idx_goals_workspace_id_ccnew'::regclass, 'public.kpis_pkey_ccold1'::regclass)",
        )
        .unwrap();
    let report = look(&login);
    assert!(report.worst() <= Some(Severity::Info), "{report}");
    assert_eq!(report.fingerprint(), before);
    admin.batch_execute("REINDEX TABLE public.goals").unwrap();
    // One of another make does not pass for a copy.
    admin
        .batch_execute(
            "CREATE UNIQUE INDEX kpis_ccnew ON public.kpis (id);
             UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'public.kpis_ccnew'::regclass",
        )
        .unwrap();
    assert!(look(&login).has("index-changed"));
}

#[test]
fn an_index_that_breaks_no_rule_is_no_more_than_information() {
    let test = TestDatabase::new().unwrap();
    let login = Role::tenant(&test, "login");
    let mut admin = test.admin().unwrap();
    let before = look(&login).fingerprint().to_owned();
    admin
        .batch_execute(
            "CREATE INDEX more ON public.kpis (workspace_id, name DESC) INCLUDE (unit);
             CREATE INDEX keys_by_time ON sesari.context_keys (installed_at)",
        )
        .unwrap();
    let report = look(&login);
    assert_rules(&report, &["index-additional"]);
    assert_eq!(report.worst(), Some(Severity::Info));
    assert_eq!(report.fingerprint(), before);
    test.database().unwrap();
    for bad in [
        "CREATE INDEX bad ON public.kpis (name)",
        "CREATE INDEX bad ON public.kpis (workspace_id, lower(name))",
        "CREATE INDEX bad ON public.kpis (workspace_id) WHERE unit = 'x'",
        "CREATE INDEX bad ON public.kpis USING hash (workspace_id)",
        "CREATE UNIQUE INDEX bad ON public.kpis (workspace_id, name)",
    ] {
        admin.batch_execute(bad).expect(bad);
        assert!(!look(&login).is_safe(), "{bad}");
        admin.batch_execute("DROP INDEX public.bad").unwrap();
    }
}

#[test]
fn a_schema_without_its_record_says_what_it_is_and_how_to_go_on() {
    for lost in [
        "DELETE FROM sesari_migrations.__diesel_schema_migrations",
        "DROP SCHEMA sesari_migrations CASCADE",
    ] {
        let test = TestDatabase::new().unwrap();
        let mut admin = test.admin().unwrap();
        admin.batch_execute(lost).unwrap();
        let options = IsolationOptions::tenant();
        let report = IsolationReport::check(&test.tenant_url(), &options).unwrap();
        assert_rules(&report, &["migrations-unrecorded"]);
        let refused = sesari_db::migrations::run(&mut admin).unwrap_err();
        assert!(format!("{refused:?}").contains("migrations::record"), "{refused:?}");
        let recorded = sesari_db::migrations::record(&mut admin).unwrap();
        assert_eq!(recorded, sesari_db::migrations::versions().unwrap());
        assert_rules(&IsolationReport::check(&test.tenant_url(), &options).unwrap(), &[]);
        assert!(sesari_db::migrations::run(&mut admin).unwrap().is_empty());
        assert!(sesari_db::migrations::record(&mut admin).unwrap().is_empty());
    }
}

#[test]
fn nothing_is_recorded_where_there_is_no_schema() {
    let _roles = TestDatabase::new().unwrap();
    let test = TestDatabase::empty().unwrap();
    let mut admin = test.admin().unwrap();
    sesari_db::migrations::record(&mut admin).unwrap_err();
    assert!(!sesari_db::migrations::run(&mut admin).unwrap().is_empty());
}

/// What a tenant's SQL can do to the login for all sessions to come, a connection takes back as it opens.
#[test]
fn a_connection_undoes_damaging_settings_of_its_login() {
    let test = TestDatabase::new().unwrap();
    let login = Role::tenant(&test, "login");
    let mut admin = test.admin().unwrap();
    for setting in [
        "idle_session_timeout = 100000",
        "exit_on_error = on",
        "synchronous_commit = off",
        "default_transaction_read_only = on",
        "standard_conforming_strings = off",
        "transform_null_equals = on",
        "search_path = pg_catalog",
        // What the catalogue is read with.
        "bytea_output = escape",
        "quote_all_identifiers = on",
        "DateStyle = 'SQL, DMY'",
        "IntervalStyle = iso_8601",
    ] {
        admin.batch_execute(&format!("ALTER ROLE {login} SET {setting}")).expect(setting);
    }
    let database =
        sesari_db::Database::builder(login.url(), test.context_key().clone()).pool_size(1).build();
    let database = database.unwrap();
    let service: sesari_db::tenancy::ServiceName = "settings".parse().unwrap();
    // Twice on the same connection, which is cleaned in between.
    for _ in 0..2 {
        let mut guard = database.tenant(&service, &"wa".parse().unwrap()).unwrap();
        let seen = crate::support::logins::value(
            guard.connection(),
            "SELECT string_agg(current_setting(name), ' ' ORDER BY name) FROM pg_settings
              WHERE name IN ('idle_session_timeout', 'exit_on_error', 'synchronous_commit',
                             'default_transaction_read_only', 'standard_conforming_strings', 'transform_null_equals')",
        );
        assert_eq!(seen, "off off 0 on on off");
        guard.commit().unwrap();
    }
}
