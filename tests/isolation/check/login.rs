//! Logins that are, or could become, more than a tenant's.

use super::{Role, TestDatabase, assert_rules, findings_for, report};
use diesel::connection::SimpleConnection;
use sesari_db::Database;

/// Makes a login that is a member of `sesari_tenant`, a role, and a role that does not inherit, runs
/// the SQL, in which they are `{login}`, `{role}` and `{between}`, and expects exactly these
/// findings for the login.
fn assert_refused(sql: &str, rules: &[&str]) {
    let test = TestDatabase::new().unwrap();
    let login = Role::tenant(&test, "login");
    let role = Role::new(&test, "role", "NOLOGIN");
    let between = Role::new(&test, "between", "NOINHERIT");
    let sql = [("{login}", &login), ("{role}", &role), ("{between}", &between)]
        .iter()
        .fold(sql.to_owned(), |sql, (placeholder, role)| sql.replace(placeholder, &role.name));
    test.admin().unwrap().batch_execute(&sql).expect(&sql);
    assert_rules(&findings_for(&test, login.url()), rules);
}

macro_rules! refused {
    ($($name:ident: $sql:literal => [$($rule:literal),+ $(,)?];)+) => {$(
        #[test]
        fn $name() {
            assert_refused($sql, &[$($rule),+]);
        }
    )+};
}

refused! {
    a_login_that_bypasses_row_level_security_is_refused:
        "ALTER ROLE {login} BYPASSRLS" => ["login-bypasses-rls"];
    a_member_of_a_role_that_bypasses_row_level_security_is_refused:
        "ALTER ROLE {role} BYPASSRLS; GRANT {role} TO {login}" => ["login-bypasses-rls"];
    a_member_that_does_not_inherit_is_refused_as_it_can_set_the_role:
        "ALTER ROLE {role} BYPASSRLS; GRANT {role} TO {between}; GRANT {between} TO {login}"
        => ["login-bypasses-rls"];
    a_login_that_makes_roles_is_refused:
        "ALTER ROLE {login} CREATEROLE" => ["login-can-make-roles"];
    a_login_that_makes_databases_is_refused:
        "ALTER ROLE {login} CREATEDB" => ["login-can-make-roles"];
    a_login_that_replicates_is_refused:
        "ALTER ROLE {login} REPLICATION" => ["login-can-make-roles"];
    a_member_of_a_role_that_makes_roles_is_refused:
        "ALTER ROLE {role} CREATEROLE; GRANT {role} TO {login}" => ["login-can-make-roles"];
    a_login_that_reads_all_data_is_refused:
        "GRANT pg_read_all_data TO {login}"
        => [
            "index-across-tenants", "login-is-privileged",
            "table-without-policy", "table-without-rls",
        ];
    a_login_that_sees_other_sessions_statements_is_refused:
        "GRANT pg_monitor TO {login}" => ["login-is-privileged"];
    a_login_that_ends_other_sessions_is_refused:
        "GRANT pg_signal_backend TO {login}" => ["login-is-privileged"];
    a_login_with_both_roles_is_refused:
        "GRANT sesari_service TO {login}"
        => ["index-across-tenants", "login-has-both-roles"];
    a_login_that_owns_a_table_is_refused:
        "CREATE TABLE public.mine (); ALTER TABLE public.mine OWNER TO {login}"
        => ["login-owns", "stray-grant", "table-without-rls"];
    a_member_of_a_tables_owner_is_refused:
        "CREATE TABLE public.mine (); ALTER TABLE public.mine OWNER TO {role}; GRANT {role} TO {login}"
        => ["login-owns", "stray-grant", "table-without-rls"];
    a_login_that_owns_a_function_is_refused:
        "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1';
         ALTER FUNCTION public.f() OWNER TO {login}" => ["login-owns"];
    a_login_that_owns_a_schema_is_refused:
        "CREATE SCHEMA mine AUTHORIZATION {login}" => ["login-owns", "schema-writable"];
    a_login_that_may_create_in_a_schema_is_refused:
        "GRANT CREATE ON SCHEMA public TO {login}" => ["schema-writable"];
    a_grant_of_truncate_to_the_login_itself_is_refused:
        "GRANT TRUNCATE ON public.kpis TO {login}" => ["grant-changed", "stray-grant"];
    // The guard sets the tenant's role; text injected into a statement can reset it.
    a_grant_of_a_secret_column_to_the_login_itself_is_refused:
        "GRANT SELECT (credentials) ON public.integrations TO {login}" => ["grant-changed"];
    a_grant_of_a_table_to_a_role_of_the_login_is_refused:
        "GRANT SELECT ON public.integrations TO {role}; GRANT {role} TO {login}" => ["grant-changed"];
    a_table_reached_only_by_setting_a_role_is_refused:
        "CREATE TABLE public.leak (workspace_id text);
         GRANT {role} TO {between}; GRANT {between} TO {login};
         GRANT SELECT ON public.leak TO {role}" => ["table-without-rls"];
}

#[test]
fn a_superuser_is_refused() {
    let test = TestDatabase::new().unwrap();
    let login = Role::new(&test, "login", "LOGIN SUPERUSER");
    let report = findings_for(&test, login.url());
    assert!(report.has("login-is-superuser"), "{report}");
    // A superuser is a member of all roles without a grant; that is not a mistake of its own.
    assert!(!report.has("login-has-both-roles") && !report.has("login-has-no-role"), "{report}");
}

#[test]
fn a_member_of_a_superuser_is_refused() {
    let test = TestDatabase::new().unwrap();
    let login = Role::tenant(&test, "login");
    let role = Role::new(&test, "role", "SUPERUSER");
    test.admin().unwrap().batch_execute(&format!("GRANT {role} TO {login}")).unwrap();
    let report = findings_for(&test, login.url());
    assert!(report.has("login-bypasses-rls"), "{report}");
}

#[test]
fn the_administrator_of_the_tests_is_refused() {
    let test = TestDatabase::new().unwrap();
    assert!(!findings_for(&test, &test.admin_url()).is_empty());
}

#[test]
fn a_member_of_the_owner_is_refused() {
    let test = TestDatabase::new().unwrap();
    let login = Role::tenant(&test, "login");
    test.admin().unwrap().batch_execute(&format!("GRANT sesari_owner TO {login}")).unwrap();
    let report = findings_for(&test, login.url());
    assert!(report.has("login-owns"), "{report}");
    let owned =
        |object| report.findings().iter().any(|f| f.rule == "login-owns" && f.object == object);
    assert!(owned("public.kpis") && owned("sesari.context_keys") && owned("sesari"), "{report}");
}

#[test]
fn the_databases_owner_is_refused() {
    let test = TestDatabase::new().unwrap();
    let login = Role::tenant(&test, "login");
    let sql = format!("ALTER DATABASE {} OWNER TO {login}", test.name());
    test.admin().unwrap().batch_execute(&sql).unwrap();
    let report = findings_for(&test, login.url());
    assert!(report.findings().iter().any(|f| f.rule == "login-owns" && f.object == test.name()));
}

#[test]
fn a_login_without_the_role_is_told_so_and_nothing_else() {
    let test = TestDatabase::new().unwrap();
    let login = Role::new(&test, "login", "LOGIN");
    assert_rules(&findings_for(&test, login.url()), &["login-has-no-role"]);
}

#[test]
fn a_login_that_inherits_nothing_is_told_so() {
    let test = TestDatabase::new().unwrap();
    let login = Role::new(&test, "login", "LOGIN NOINHERIT");
    test.admin().unwrap().batch_execute(&format!("GRANT sesari_tenant TO {login}")).unwrap();
    let report = findings_for(&test, login.url());
    assert!(!report.has("migration-pending"), "the schema is up to date:\n{report}");
}

#[test]
fn a_service_login_is_held_to_the_same_rules() {
    for (sql, rule) in [
        ("ALTER ROLE {login} BYPASSRLS", "login-bypasses-rls"),
        ("GRANT sesari_tenant TO {login}", "login-has-both-roles"),
        ("REVOKE sesari_service FROM {login}", "login-has-no-role"),
        ("GRANT DELETE ON public.audit_log TO sesari_service", "table-without-policy"),
    ] {
        let test = TestDatabase::new().unwrap();
        let login = Role::new(&test, "login", "LOGIN");
        let sql =
            format!("GRANT sesari_service TO {{login}}; {sql}").replace("{login}", &login.name);
        test.admin().unwrap().batch_execute(&sql).unwrap();
        let keys = test.context_key().clone();
        let built = Database::builder(test.tenant_url(), keys).service_url(login.url()).build();
        assert!(report(built).has(rule), "{sql}");
    }
}
