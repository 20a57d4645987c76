//! `Database` is not built on a login or a schema that would not isolate tenants.
//!
//! Each test makes one thing unsafe in a database of its own and expects exactly the findings that
//! name it: a rule that misses, and a rule that cries wolf, both fail.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's set-up fails loudly")]

#[path = "../../examples/support/print.rs"]
#[allow(unused_macros, dead_code, reason = "the examples use the rest")]
mod print;

mod login;
mod product;
mod schema;
mod system;
mod tenant_tables;

use std::collections::BTreeSet;
use std::time::Instant;

use diesel::Connection;
use diesel::connection::SimpleConnection;
use sesari_db::PgConnection;
use sesari_db::database::IsolationReport;
use sesari_db::testing::TestDatabase;
use sesari_db::{Database, Error};

use crate::support::logins::{Role, value};

/// What `build` refuses, or nothing.
fn report(built: Result<Database, Error>) -> IsolationReport {
    match built {
        Ok(_) => IsolationReport::default(),
        Err(error) => match IsolationReport::in_error(&error) {
            Some(report) => report.clone(),
            None => panic!("not a finding: {error}"),
        },
    }
}

fn findings_for(test: &TestDatabase, tenant_url: &str) -> IsolationReport {
    report(Database::builder(tenant_url, test.context_key().clone()).build())
}

/// Expects findings of these rules and no other.
fn assert_rules(report: &IsolationReport, rules: &[&str]) {
    let found: BTreeSet<&str> = report.findings().iter().map(|f| f.rule.as_str()).collect();
    assert_eq!(found, rules.iter().copied().collect(), "\n{report}");
}

#[test]
fn a_freshly_migrated_database_and_plain_logins_are_accepted() {
    let test = TestDatabase::new().unwrap();
    let started = Instant::now();
    let built = test.builder().build();
    println!("two logins opened and checked in {:?}", started.elapsed());
    assert_rules(&report(built), &[]);
}

#[test]
fn the_check_takes_one_connection_and_no_more_than_the_logins_rights() {
    let test = TestDatabase::new().unwrap();
    let login = Role::new(&test, "one", "LOGIN CONNECTION LIMIT 1");
    test.admin().unwrap().batch_execute(&format!("GRANT sesari_tenant TO {login}")).unwrap();
    assert_rules(&findings_for(&test, login.url()), &[]);
    // While the only connection is taken there is nothing to check with. The server takes a moment
    // to notice that the one of the check is closed.
    let started = Instant::now();
    let taken = loop {
        match PgConnection::establish(login.url()) {
            Ok(conn) => break conn,
            Err(error) => assert!(started.elapsed().as_secs() < 30, "{error}"),
        }
    };
    let built = Database::builder(login.url(), test.context_key().clone()).build();
    assert!(matches!(built, Err(Error::TooManyConnections { .. })), "{built:?}");
    drop(taken);
}

#[test]
fn the_check_leaves_no_trace() {
    let test = TestDatabase::new().unwrap();
    let mut admin = test.admin().unwrap();
    let written = "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_all_tables \
                   WHERE schemaname IN ('public', 'sesari')";
    let before = value(&mut admin, written);
    drop(test.database().unwrap());
    assert_eq!(value(&mut admin, written), before);
}

#[test]
fn every_reason_is_listed_at_once() {
    let test = TestDatabase::new().unwrap();
    let login = Role::new(&test, "bad", "LOGIN CREATEDB BYPASSRLS");
    test.admin()
        .unwrap()
        .batch_execute(&format!(
            "GRANT sesari_tenant, sesari_service TO {login};
             GRANT CREATE ON SCHEMA public TO PUBLIC;
             CREATE TABLE public.leak (workspace_id text);
             GRANT SELECT, TRUNCATE ON public.leak TO sesari_tenant;
             ALTER TABLE public.kpis NO FORCE ROW LEVEL SECURITY;
             DROP POLICY goals_tenant_update ON public.goals;
             ALTER TABLE public.goals DISABLE TRIGGER goals_audit"
        ))
        .unwrap();
    let report = findings_for(&test, login.url());
    assert_rules(
        &report,
        &[
            "index-across-tenants",
            "login-bypasses-rls",
            "login-can-make-roles",
            "login-has-both-roles",
            "policy-changed",
            "schema-writable",
            "stray-grant",
            "table-changed",
            "table-not-forced",
            "table-without-policy",
            "table-without-rls",
            "trigger-changed",
        ],
    );
    let message = Error::from(report.clone()).to_string();
    for finding in report.findings() {
        assert!(!finding.object.is_empty() && !finding.explanation.is_empty(), "{finding:?}");
        assert!(message.contains(&format!("{}: {}", finding.rule, finding.object)), "{message}");
    }
}

#[test]
fn both_logins_are_checked_and_the_findings_of_both_are_listed() {
    let test = TestDatabase::new().unwrap();
    let tenant = Role::tenant(&test, "tenant");
    let service = Role::new(&test, "service", "LOGIN CREATEDB");
    let mut admin = test.admin().unwrap();
    admin.batch_execute(&format!("GRANT sesari_service TO {service}")).unwrap();
    let build = || {
        let keys = test.context_key().clone();
        report(Database::builder(tenant.url(), keys).service_url(service.url()).build())
    };
    assert_rules(&build(), &["login-can-make-roles"]);
    admin.batch_execute(&format!("ALTER ROLE {tenant} BYPASSRLS")).unwrap();
    assert_rules(&build(), &["login-bypasses-rls", "login-can-make-roles"]);
}

#[test]
fn a_login_cannot_be_used_at_the_other_door() {
    let test = TestDatabase::new().unwrap();
    let keys = || test.context_key().clone();
    let swapped = Database::builder(test.service_url(), keys()).build();
    assert!(report(swapped).has("login-has-no-role"));
    let same = Database::builder(test.tenant_url(), keys()).service_url(test.tenant_url()).build();
    assert!(report(same).has("login-has-no-role"));
}

#[test]
fn an_unmigrated_database_is_refused() {
    let _roles = TestDatabase::new().unwrap();
    let test = TestDatabase::empty().unwrap();
    let report = report(test.builder().build());
    // The first migration revokes what a new database gives to everybody.
    assert_rules(&report, &["database-writable", "migration-pending"]);
    let pending = report.findings().iter().filter(|f| f.rule == "migration-pending");
    let versions: Vec<_> = pending.map(|f| f.object.clone()).collect();
    assert_eq!(versions, sesari_db::migrations::versions().unwrap());
}

#[test]
fn a_schema_one_migration_behind_is_refused() {
    let test = TestDatabase::new().unwrap();
    let last = sesari_db::migrations::revert_last(&mut test.admin().unwrap()).unwrap().unwrap();
    let report = findings_for(&test, &test.tenant_url());
    assert_rules(&report, &["migration-pending"]);
    assert_eq!(report.findings()[0].object, last);
}

#[test]
fn a_schema_of_a_newer_version_is_refused() {
    let test = TestDatabase::new().unwrap();
    let newer = "INSERT INTO sesari_migrations.__diesel_schema_migrations (version) VALUES ('29991231000000')";
    test.admin().unwrap().batch_execute(newer).unwrap();
    let report = findings_for(&test, &test.tenant_url());
    assert_rules(&report, &["migration-unknown"]);
    assert_eq!(report.findings()[0].object, "29991231000000");
}
