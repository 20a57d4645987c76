//! The report as operators and pipelines have it: severities, remedies, hardening, fingerprints.

use super::{Role, TestDatabase, assert_rules, findings_for, value};
use diesel::connection::SimpleConnection;
use sesari_db::Error;
use sesari_db::database::{
    HardeningState, IsolationOptions, IsolationReport, Severity, rule, rules,
};

fn check(test: &TestDatabase) -> IsolationReport {
    IsolationReport::check(&test.tenant_url(), &IsolationOptions::tenant()).unwrap()
}

#[test]
fn a_login_is_checked_without_keys_and_without_a_pool() {
    let test = TestDatabase::new().unwrap();
    let tenant = check(&test);
    assert!(tenant.is_empty() && tenant.is_safe(), "{tenant}");
    let service =
        IsolationReport::check(&test.service_url(), &IsolationOptions::service()).unwrap();
    assert!(service.is_empty(), "{service}");
    // Equal schemas, equal fingerprints, whichever login looks.
    assert_eq!(tenant.fingerprint(), IsolationReport::expected_fingerprint());
    assert_eq!(service.fingerprint(), tenant.fingerprint());
    let nowhere = IsolationReport::check("postgres://x@127.0.0.1:1/x", &IsolationOptions::tenant());
    assert!(matches!(nowhere, Err(Error::Connect { .. })), "{nowhere:?}");
}

#[test]
fn each_finding_says_what_it_means_and_what_to_type() {
    let test = TestDatabase::new().unwrap();
    let spoil = "ALTER TABLE public.kpis NO FORCE ROW LEVEL SECURITY";
    test.admin().unwrap().batch_execute(spoil).unwrap();
    let report = check(&test);
    let finding = report.findings().iter().find(|f| f.rule == "table-not-forced").unwrap();
    assert_eq!(finding.severity, Severity::Critical);
    assert_eq!(finding.remedy, "ALTER TABLE public.kpis FORCE ROW LEVEL SECURITY");
    // The remedy is one.
    test.admin().unwrap().batch_execute(&finding.remedy).unwrap();
    assert_rules(&findings_for(&test, &test.tenant_url()), &[]);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["findings"][0]["severity"], "critical", "{json}");
    assert!(json["hardening"].is_array() && json["fingerprint"].is_string(), "{json}");
}

#[test]
fn a_grant_on_what_will_be_made_is_a_warning_and_refuses_nothing() {
    let test = TestDatabase::new().unwrap();
    let grant = "ALTER DEFAULT PRIVILEGES FOR ROLE sesari_owner IN SCHEMA public \
                 GRANT SELECT ON TABLES TO sesari_tenant";
    test.admin().unwrap().batch_execute(grant).unwrap();
    let report = check(&test);
    assert_rules(&report, &["default-grant"]);
    assert!(report.is_safe(), "{report}");
    test.database().unwrap();
}

#[test]
fn a_running_service_notices_drift() {
    let test = TestDatabase::new().unwrap();
    let database = test.database().unwrap();
    assert!(database.check_isolation().unwrap().is_empty());
    assert_eq!(database.live_fingerprint().unwrap(), database.fingerprint());
    for drift in [
        "ALTER POLICY kpis_tenant_select ON public.kpis USING (true)",
        "ALTER TABLE public.goals ADD COLUMN more text",
        "CREATE OR REPLACE FUNCTION sesari.current_workspace_id() RETURNS text LANGUAGE sql STABLE AS 'SELECT ''wa'' '",
        "GRANT SELECT ON sesari.context_keys TO sesari_tenant",
        "ALTER TABLE public.kpis DISABLE TRIGGER kpis_audit",
    ] {
        let before = database.live_fingerprint().unwrap();
        test.admin().unwrap().batch_execute(drift).unwrap();
        assert_ne!(database.live_fingerprint().unwrap(), before, "{drift}");
        let report = database.check_isolation().unwrap();
        assert!(report.has("fingerprint-changed") && !report.is_safe(), "{drift}\n{report}");
    }
}

#[test]
fn a_recorded_fingerprint_is_insisted_on() {
    let test = TestDatabase::new().unwrap();
    let recorded = check(&test).fingerprint().to_owned();
    test.builder().expect_fingerprint(&recorded).build().unwrap();
    let Err(Error::Unsafe(report)) = test.builder().expect_fingerprint("0").build() else {
        panic!("built")
    };
    assert_rules(&report, &["fingerprint-changed"]);
    let options = IsolationOptions::tenant().expect_fingerprint("0");
    let report = IsolationReport::check(&test.tenant_url(), &options).unwrap();
    assert_rules(&report, &["fingerprint-changed"]);
}

fn hardened(report: &IsolationReport, measure: &str) -> HardeningState {
    let found = report.hardening().iter().find(|hardening| hardening.rule == measure);
    found.unwrap_or_else(|| panic!("{measure} is not measured")).state
}

/// What is typed for the login, or for the database it is in: off before, on after.
#[test]
fn hardening_is_seen_off_and_on() {
    let test = TestDatabase::new().unwrap();
    let login = Role::tenant(&test, "hard");
    let mut admin = test.admin().unwrap();
    let older_than_18 =
        value(&mut admin, "current_setting('server_version_num')::integer < 180000") == "true";
    let look = || IsolationReport::check(login.url(), &IsolationOptions::tenant()).unwrap();
    for (measure, off, on) in [
        (
            "hardening-activity",
            "ALTER ROLE {login} SET track_activities = on",
            "ALTER ROLE {login} SET track_activities = off",
        ),
        (
            "hardening-statements",
            "ALTER ROLE {login} SET pg_stat_statements.track_utility = on",
            "ALTER ROLE {login} SET pg_stat_statements.track_utility = off",
        ),
        (
            "hardening-log-statements",
            "ALTER ROLE {login} SET log_statement = 'all'",
            "ALTER ROLE {login} SET log_statement = 'none'",
        ),
        (
            "hardening-log-statements",
            "ALTER ROLE {login} SET log_min_duration_statement = 100",
            "ALTER ROLE {login} SET log_min_duration_statement = -1",
        ),
        (
            "hardening-log-values",
            "ALTER ROLE {login} SET log_parameter_max_length = -1",
            "ALTER ROLE {login} SET log_parameter_max_length = 0",
        ),
        (
            "hardening-statement-timeout",
            "ALTER ROLE {login} SET statement_timeout = 0",
            "ALTER ROLE {login} SET statement_timeout = '60s'",
        ),
        (
            "hardening-connection-limit",
            "ALTER ROLE {login} CONNECTION LIMIT -1",
            "ALTER ROLE {login} CONNECTION LIMIT 50",
        ),
        (
            "hardening-temp-files",
            "ALTER ROLE {login} SET temp_file_limit = -1",
            "ALTER ROLE {login} SET temp_file_limit = '2GB'",
        ),
        (
            "hardening-signals",
            "GRANT EXECUTE ON FUNCTION pg_cancel_backend(integer) TO PUBLIC",
            "REVOKE EXECUTE ON FUNCTION pg_terminate_backend(integer, bigint), pg_cancel_backend(integer) FROM PUBLIC",
        ),
        (
            "hardening-large-objects",
            "GRANT EXECUTE ON FUNCTION lo_creat(integer) TO PUBLIC",
            "REVOKE EXECUTE ON FUNCTION lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea) FROM PUBLIC",
        ),
        (
            "hardening-ddl",
            "DROP EVENT TRIGGER IF EXISTS sesari_refuse_ddl",
            include_str!("../../../docs/refuse_ddl.sql"),
        ),
        (
            "hardening-isolation-level",
            "ALTER ROLE {login} SET default_transaction_isolation = 'repeatable read'",
            "ALTER ROLE {login} RESET default_transaction_isolation",
        ),
    ] {
        admin.batch_execute(&off.replace("{login}", &login.name)).expect(off);
        // Up to PostgreSQL 17; later ones keep no values.
        if measure != "hardening-statements" || older_than_18 {
            assert_eq!(hardened(&look(), measure), HardeningState::Off, "{off}");
        }
        admin.batch_execute(&on.replace("{login}", &login.name)).expect(on);
        assert_eq!(hardened(&look(), measure), HardeningState::On, "{on}");
    }
    let report = look();
    assert_rules(&report, &[]);
    assert_eq!(hardened(&report, "hardening-passwords"), HardeningState::Unknown);
    let measured = report.hardening().iter().map(|hardening| hardening.rule.as_str());
    let listed = rules().iter().map(|rule| rule.id).filter(|id| id.starts_with("hardening-"));
    assert!(measured.eq(listed), "{:?}", report.hardening());
    for hardening in report.hardening() {
        assert!(!hardening.detail.is_empty() && !hardening.remedy.is_empty(), "{hardening:?}");
        assert_eq!(hardening.login, login.name);
    }
}

/// The event trigger is known by what it does, not by its name.
#[test]
fn an_event_trigger_under_the_name_of_ours_is_a_finding() {
    let test = TestDatabase::new().unwrap();
    let mut admin = test.admin().unwrap();
    admin.batch_execute(include_str!("../../../docs/refuse_ddl.sql")).unwrap();
    let report = check(&test);
    assert_rules(&report, &[]);
    assert_eq!(hardened(&report, "hardening-ddl"), HardeningState::On);
    let other = "CREATE OR REPLACE FUNCTION public.sesari_refuse_ddl() RETURNS event_trigger \
                 LANGUAGE plpgsql AS 'BEGIN NULL; END'";
    admin.batch_execute(other).unwrap();
    let report = check(&test);
    assert_rules(&report, &["event-trigger"]);
    assert_eq!(hardened(&report, "hardening-ddl"), HardeningState::Off);
}

/// `doctor | head`.
#[test]
fn a_reader_who_leaves_is_no_failure_of_who_prints() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    drop(reader);
    super::print::line_to(&mut writer, format_args!("nobody reads this"));
}

/// One function left to everybody is a measure that is off, whichever it is.
#[test]
fn every_function_that_takes_a_lock_by_a_call_counts() {
    let test = TestDatabase::new().unwrap();
    let mut admin = test.admin().unwrap();
    let revoke = include_str!("../../../docs/revoke_locks.sql");
    let names = "string_agg(oid::regprocedure::text, ';' ORDER BY oid) FROM pg_proc \
                 WHERE pronamespace = 'pg_catalog'::regnamespace AND proname ~ \
                 '^pg_(try_)?advisory_|^pg_logical_emit_message$|^lo_(creat|create|from_bytea)$'";
    let names = value(&mut admin, &format!("(SELECT {names})"));
    assert!(names.split(';').count() >= 26, "{names}");
    let off = |report: &IsolationReport| -> Vec<String> {
        let measures =
            ["hardening-advisory-locks", "hardening-large-objects", "hardening-logical-messages"];
        let off = measures.iter().filter(|measure| hardened(report, measure) != HardeningState::On);
        off.map(|measure| (*measure).to_owned()).collect()
    };
    assert_eq!(off(&check(&test)).len(), 3);
    admin.batch_execute(revoke).unwrap();
    for name in names.split(';') {
        assert!(off(&check(&test)).is_empty(), "before {name}");
        admin.batch_execute(&format!("GRANT EXECUTE ON FUNCTION {name} TO PUBLIC")).unwrap();
        assert_eq!(off(&check(&test)).len(), 1, "{name}");
        admin.batch_execute(revoke).unwrap();
    }
    // And what is revoked is no finding.
    assert_rules(&check(&test), &[]);
}

#[test]
fn the_documentation_lists_every_rule() {
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/tenancy.md"));
    let docs = docs.unwrap();
    let listed: Vec<&str> = docs
        .lines()
        .filter(|line| {
            line.starts_with("| `") && line.contains("` | critical |")
                || line.contains("` | warning |")
                || line.contains("` | info |")
        })
        .collect();
    let expected: Vec<String> = rules()
        .iter()
        .map(|rule| {
            let remedy = rule.remedy.replace('|', "\\|").replace("{object}", "…");
            format!("| `{}` | {} | {} | `{}` |", rule.id, rule.severity, rule.meaning, remedy)
        })
        .collect();
    assert_eq!(listed, expected, "\n{}", expected.join("\n"));
    assert!(rule("no-such-rule").is_none());
}
