//! The login that runs the migrations: no superuser, only CREATEROLE and the database's owner. And
//! that it is too much for a service.

use std::process::Command;

use diesel::connection::SimpleConnection;
use sesari_db::PgConnection;
use sesari_db::tenancy::ContextKey;
use sesari_db::testing::TestDatabase;
use sesari_db::{Database, Error, maintenance, migrations};

use super::{assert_same, difference, dump, empty, lines, without_bookkeeping};
use crate::support::logins::{Role, holds};

fn own(test: &TestDatabase, deployer: &Role) {
    let sql = format!("ALTER DATABASE {} OWNER TO {deployer}", test.name());
    test.admin().unwrap().batch_execute(&sql).unwrap();
}

/// Everything that a deployer does in a database's life.
fn deploy(test: &TestDatabase, conn: &mut PgConnection) {
    assert!(!holds(
        conn,
        "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
    ));
    let key = test.context_key();
    assert_eq!(migrations::run(conn).unwrap(), migrations::versions().unwrap());
    maintenance::install_context_key(conn, key).unwrap();
    maintenance::install_context_key(conn, key).unwrap();
    let other = ContextKey::generate(key.id()).unwrap();
    let conflict = maintenance::install_context_key(conn, &other).unwrap_err();
    assert!(conflict.is_conflict(), "another key under the same id: {conflict:?}");
    assert_eq!(migrations::run(conn).unwrap(), [""; 0]);

    let second = ContextKey::generate("second").unwrap();
    maintenance::install_context_key(conn, &second).unwrap();
    let mut admin = test.admin().unwrap();
    let keys = "SELECT key_id AS line FROM sesari.context_keys ORDER BY 1";
    assert_eq!(lines(&mut admin, keys), ["second", key.id()]);
    assert!(maintenance::retire_context_key(conn, "second").unwrap());
    assert!(!maintenance::retire_context_key(conn, "second").unwrap());
    assert_eq!(lines(&mut admin, keys), [key.id()]);

    let last = migrations::revert_last(conn).unwrap().unwrap();
    assert_eq!(migrations::run(conn).unwrap(), [last]);
}

#[test]
fn a_deployer_who_is_no_superuser_runs_everything() {
    let test = empty();
    let deployer = Role::new(&test, "deployer", "LOGIN CREATEROLE");
    own(&test, &deployer);
    // Another login made the server's roles: since PostgreSQL 16 it has to hand them on.
    let grant = format!("GRANT sesari_owner TO {deployer}");
    test.admin().unwrap().batch_execute(&grant).unwrap();
    let mut conn = deployer.connect();
    let mut admin = test.admin().unwrap();
    let before = without_bookkeeping(&dump(&mut admin));
    deploy(&test, &mut conn);
    test.database().expect("what the deployer made is what the services need");

    // Nothing shows who ran the migrations, but the grants that the database's owner made.
    let other = empty();
    let mut by_superuser = other.admin().unwrap();
    migrations::run(&mut by_superuser).unwrap();
    let difference = difference(&dump(&mut by_superuser), &dump(&mut admin));
    for line in difference.lines() {
        let is_owners = line.contains(" database ") || line.contains(" schema public ");
        assert!(is_owners, "made by a deployer it differs: {line}");
    }
    while migrations::revert_last(&mut conn).unwrap().is_some() {}
    assert_same("a deployer's downs", &before, &without_bookkeeping(&dump(&mut admin)));
}

#[test]
fn a_login_that_may_not_migrate_is_told_and_changes_nothing() {
    let test = empty();
    let login = Role::new(&test, "login", "LOGIN");
    let mut admin = test.admin().unwrap();
    let before = dump(&mut admin);
    let error = migrations::run(&mut login.connect()).unwrap_err();
    assert!(matches!(error, Error::Migration(_)), "{error:?}");
    assert_same("a run that may not", &before, &dump(&mut admin));
}

#[test]
fn the_services_logins_can_neither_migrate_nor_touch_the_keys() {
    let test = TestDatabase::new().unwrap();
    for url in [test.tenant_url(), test.service_url()] {
        let mut conn = <PgConnection as diesel::Connection>::establish(&url).unwrap();
        assert!(migrations::revert_last(&mut conn).is_err());
        let key = ContextKey::generate("mine").unwrap();
        let install = maintenance::install_context_key(&mut conn, &key).unwrap_err();
        assert!(install.is_denied(), "{install:?}");
        let retire =
            maintenance::retire_context_key(&mut conn, test.context_key().id()).unwrap_err();
        assert!(retire.is_denied(), "{retire:?}");
    }
    test.database().expect("nothing happened");
}

#[test]
fn the_deployer_is_refused_as_the_login_of_a_service() {
    let test = empty();
    let deployer = Role::new(&test, "deployer", "LOGIN CREATEROLE");
    own(&test, &deployer);
    let grant = format!("GRANT sesari_owner, sesari_tenant TO {deployer}");
    test.admin().unwrap().batch_execute(&grant).unwrap();
    deploy(&test, &mut deployer.connect());
    let built = Database::builder(deployer.url(), test.context_key().clone()).build();
    let Err(Error::Unsafe(report)) = built else { panic!("{built:?}") };
    for rule in ["login-owns", "login-can-make-roles"] {
        assert!(report.has(rule), "{rule}:\n{report}");
    }
}

/// Set for the process that [`on_a_fresh_server`] starts.
const FRESH: &str = "SESARI_TEST_MIGRATIONS_FRESH";

/// Runs one of the tests below in a process, and so on a server, of its own: here other tests have
/// made the roles. On a server that `DATABASE_URL` names, they may be there all the same.
fn on_a_fresh_server(test: &str) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("migrations::deployer::{test}"), "--ignored", "--nocapture"])
        .env(FRESH, "1")
        .output()
        .unwrap();
    let output_text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && output_text.contains("1 passed"), "{output_text}");
}

#[test]
fn on_a_fresh_server_a_deployer_makes_the_roles() {
    on_a_fresh_server("fresh_server_deployer");
}

#[test]
#[ignore = "run by the test above, on a server of its own"]
fn fresh_server_deployer() {
    assert!(
        std::env::var_os(FRESH).is_some(),
        "run by on_a_fresh_server_a_deployer_makes_the_roles"
    );
    let test = TestDatabase::empty().unwrap();
    let deployer = Role::new(&test, "deployer", "LOGIN CREATEROLE");
    own(&test, &deployer);
    let mut admin = test.admin().unwrap();
    if holds(&mut admin, "EXISTS (SELECT FROM pg_roles WHERE rolname = 'sesari_owner')") {
        admin.batch_execute(&format!("GRANT sesari_owner TO {deployer}")).unwrap();
    }
    let before = without_bookkeeping(&dump(&mut admin));
    let mut conn = deployer.connect();
    deploy(&test, &mut conn);
    while migrations::revert_last(&mut conn).unwrap().is_some() {}
    assert_same("a deployer's downs", &before, &without_bookkeeping(&dump(&mut admin)));
    assert_no_idle_role(&mut admin);
}

#[test]
fn the_roles_go_with_the_last_database() {
    on_a_fresh_server("fresh_server_roles");
}

#[test]
#[ignore = "run by the test above, on a server of its own"]
fn fresh_server_roles() {
    assert!(std::env::var_os(FRESH).is_some(), "run by the_roles_go_with_the_last_database");
    let (first, last) = (TestDatabase::empty().unwrap(), TestDatabase::empty().unwrap());
    let (mut first, mut last) = (first.admin().unwrap(), last.admin().unwrap());
    migrations::run(&mut first).unwrap();
    migrations::run(&mut last).unwrap();
    while migrations::revert_last(&mut first).unwrap().is_some() {}
    let there = "SELECT rolname::text AS line FROM pg_roles WHERE rolname ~ '^sesari_(owner|tenant|service)$' ORDER BY 1";
    assert_eq!(lines(&mut first, there), ["sesari_owner", "sesari_service", "sesari_tenant"]);
    while migrations::revert_last(&mut last).unwrap().is_some() {}
    assert_no_idle_role(&mut last);
    // And they come back.
    migrations::run(&mut first).unwrap();
}

/// No role of the crate's is left that no database needs.
fn assert_no_idle_role(conn: &mut PgConnection) {
    let idle = "SELECT rolname::text AS line FROM pg_roles r \
                WHERE rolname IN ('sesari_owner', 'sesari_tenant', 'sesari_service') \
                  AND NOT EXISTS (SELECT FROM pg_shdepend d WHERE d.refobjid = r.oid)";
    assert_eq!(lines(conn, idle), [""; 0]);
}
