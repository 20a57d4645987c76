//! The command `sesari`, as an operator types it.
#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use diesel::connection::SimpleConnection;
use sesari_db::repo::{NewIntegration, NewKpi};
use sesari_db::tenancy::ContextKey;
use sesari_db::testing::TestDatabase;
use sesari_db::value::IntegrationProvider;

use crate::support::{Tenant, World};

/// The command with the environment of an operator, and nothing of ours.
fn sesari(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sesari"));
    for name in ["ADMIN_URL", "TENANT_URL", "SERVICE_URL", "CONTEXT_KEYS", "SEALING_KEYS"] {
        command.env_remove(format!("SESARI_{name}"));
    }
    command.env_remove("DATABASE_URL").args(arguments);
    command
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    text(&output.stdout) + &text(&output.stderr)
}

/// Runs it, and compares the exit code.
fn ended(command: &mut Command, code: i32) -> String {
    let output = command.output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(code), "{command:?}\n{said}");
    said
}

#[test]
fn every_command_explains_itself_and_refuses_what_it_does_not_know() {
    let all = ended(&mut sesari(&["--help"]), 0);
    for command in
        ["doctor", "migrate", "keys", "retire", "import", "verify", "rotate", "rezone", "pack"]
    {
        assert!(all.contains(command), "{all}");
        let help = ended(&mut sesari(&[command, "--help"]), 0);
        assert!(help.contains("Usage: sesari"), "{help}");
    }
    assert!(all.contains("SESARI_TENANT_URL") && all.contains("Exit codes"), "{all}");
    ended(&mut sesari(&[]), 2);
    ended(&mut sesari(&["doctor", "--stern"]), 2);
    ended(&mut sesari(&["doctor", "postgres://u:secret@db.internal/sesari"]), 2);
    let bash = ended(&mut sesari(&["completions", "bash"]), 0);
    assert!(bash.contains("--tenant-table"), "{bash}");
}

#[test]
fn what_is_missing_in_the_environment_is_named() {
    for (arguments, missing) in [
        (["doctor"].as_slice(), "SESARI_TENANT_URL"),
        (&["doctor", "--service"], "SESARI_SERVICE_URL"),
        (&["migrate"], "SESARI_ADMIN_URL"),
        (&["retire", "k1"], "SESARI_ADMIN_URL"),
        (&["rotate"], "SESARI_SERVICE_URL"),
        (&["verify", "audit", "--workspace", "wa", "--user", "ua"], "SESARI_CONTEXT_KEYS"),
    ] {
        let said = ended(&mut sesari(arguments), 3);
        assert!(said.contains(missing), "{arguments:?}: {said}");
    }
    let unreachable = "postgres://u:secret@127.0.0.1:1/d";
    let said = ended(sesari(&["doctor"]).env("SESARI_TENANT_URL", unreachable), 3);
    assert!(!said.contains("secret"), "{said}");
}

#[test]
fn an_empty_database_is_migrated_once_and_its_keys_installed_and_retired() {
    let database = TestDatabase::empty().unwrap();
    let key = ended(&mut sesari(&["keys", "new-context", "k1"]), 0);
    let migrate = || {
        let mut command = sesari(&["migrate"]);
        command
            .env("SESARI_ADMIN_URL", database.admin_url())
            .env("SESARI_CONTEXT_KEYS", key.trim());
        ended(&mut command, 0)
    };
    let first = migrate();
    assert!(first.contains("applied ") && first.contains("key k1 is installed"), "{first}");
    let again = migrate();
    assert!(again.contains("0 of") && !again.contains("applied "), "{again}");
    let mut retire = sesari(&["retire", "k1"]);
    retire.env("SESARI_ADMIN_URL", database.admin_url());
    assert!(ended(&mut retire, 0).contains("k1: retired"));
    assert!(ended(&mut retire, 1).contains("was not installed"));
}

#[test]
fn a_database_that_does_not_isolate_is_told_by_the_exit_code_and_in_json() {
    let database = TestDatabase::new().unwrap();
    let doctor = |arguments: &[&str], code| {
        let mut command = sesari(&["doctor"]);
        ended(command.args(arguments).env("SESARI_TENANT_URL", database.tenant_url()), code)
    };
    let clean = doctor(&[], 0);
    let fingerprint = clean.rsplit_once("Fingerprint: ").unwrap().1.trim().to_owned();
    doctor(&["--fingerprint", &fingerprint], 0);
    let other = doctor(&["--fingerprint", "00"], 1);
    assert!(other.contains("fingerprint-changed"), "{other}");
    let mistake = "ALTER POLICY kpis_tenant_select ON public.kpis USING (true)";
    database.admin().unwrap().batch_execute(mistake).unwrap();
    let broken = doctor(&["--json"], 1);
    let report: serde_json::Value = serde_json::from_str(&broken).unwrap();
    assert_eq!(report["findings"][0]["severity"], "critical", "{broken}");
    // Colours are for terminals.
    assert!(!doctor(&[], 1).contains('\u{1b}'));
}

#[test]
fn a_reader_who_leaves_is_no_failure() {
    let database = TestDatabase::new().unwrap();
    let mut command = sesari(&["doctor", "--json"]);
    command.env("SESARI_TENANT_URL", database.tenant_url());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    let code = output.status.code();
    assert!(matches!(code, Some(0 | 1)) && output.stderr.is_empty(), "{code:?} {}", said(&output));
}

/// As a service is run, with sealing keys.
fn of(world: &World, arguments: &[&str], sealing: &str) -> Command {
    let mut command = sesari(arguments);
    command
        .env("SESARI_ADMIN_URL", world.test.admin_url())
        .env("SESARI_TENANT_URL", world.test.tenant_url())
        .env("SESARI_SERVICE_URL", world.test.service_url())
        .env("SESARI_CONTEXT_KEYS", world.test.context_key().to_secret_string())
        .env("SESARI_SEALING_KEYS", sealing);
    command
}

#[test]
fn a_file_is_imported_checked_and_verified() {
    let world = World::new();
    let Tenant { owner, workspace, .. } = &world.a;
    let mut tenant = world.db.tenant(owner, workspace).unwrap();
    let kpi = tenant.kpis().create(&NewKpi::new("Imported".parse().unwrap())).unwrap().id;
    tenant.commit().unwrap();
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{kpi}.csv"));
    std::fs::write(&file, "timestamp,value\n2026-01-01T00:00:00Z,1.5\n2026-01-02,2\nsoon,3\n")
        .unwrap();
    let import = |more: &[&str], code| {
        let mut arguments = vec!["import", file.to_str().unwrap()];
        arguments.extend(["--workspace", workspace.as_str(), "--kpi", kpi.as_str()]);
        arguments.extend(more);
        ended(&mut of(&world, &arguments, ""), code)
    };
    let user = ["--user", owner.as_str()];
    import(&[], 2);
    let dry = import(&[&user[..], &["--preset", "plain", "--dry-run"]].concat(), 1);
    assert!(dry.contains("Nothing was written") && dry.contains("line 4"), "{dry}");
    let done = import(&[&user[..], &["--preset", "plain"]].concat(), 1);
    assert!(done.contains("2 rows new") && done.contains("1 rows refused"), "{done}");
    let again = import(&[&user[..], &["--preset", "plain"]].concat(), 1);
    assert!(again.contains("2 rows there before"), "{again}");
    // Without a preset the first rows propose one.
    std::fs::write(&file, "Datum;Wert\n26.11.2026;1,5\n27.11.2026;2,25\n").unwrap();
    let proposed = import(&user, 0);
    assert!(proposed.contains("Datum") && proposed.contains("2 rows new"), "{proposed}");
    // Whoever is no member is told so, and not that a file without points was imported.
    import(&["--user", world.b.owner.as_str(), "--preset", "plain"], 3);
    std::fs::remove_file(&file).unwrap();

    let audit = |user: &str, code| {
        let arguments = ["verify", "audit", "--workspace", workspace.as_str(), "--user", user];
        ended(&mut of(&world, &arguments, ""), code)
    };
    assert!(audit(owner.as_str(), 0).contains("intact"));
    assert!(audit(world.b.owner.as_str(), 3).contains("no owner or admin"));
    let rollups = |more: &[&str], code| {
        let arguments = [&["verify", "rollups", "--workspace", workspace.as_str()], more].concat();
        ended(&mut of(&world, &arguments, ""), code)
    };
    rollups(&[], 0);
    let spoil = format!("UPDATE public.kpi_rollups SET sum = sum + 1 WHERE kpi_id = '{kpi}'");
    world.test.admin().unwrap().batch_execute(&spoil).unwrap();
    assert!(rollups(&[], 1).contains(kpi.as_str()));
    rollups(&["--rebuild"], 1);
    rollups(&[], 0);

    let mut tenant = world.db.tenant(owner, workspace).unwrap();
    tenant.workspace().change_time_zone("Asia/Kolkata".parse().unwrap()).unwrap();
    tenant.commit().unwrap();
    rollups(&[], 1);
    let rezone = ["rezone", "--workspace", workspace.as_str(), "--batch", "1"];
    assert!(ended(&mut of(&world, &rezone, ""), 0).contains("made anew"));
    rollups(&[], 0);
    let zones = ended(&mut of(&world, &["verify", "zones", "Etc/UTC"], ""), 0);
    assert!(zones.contains("1 zones, 0 differences"), "{zones}");
    ended(&mut of(&world, &["verify", "zones", "Mars/Olympus"], ""), 2);
}

#[test]
fn credentials_are_moved_to_a_new_key() {
    let world = World::new();
    let [old, new] = ["old", "new"].map(|id| ended(&mut sesari(&["keys", "new-sealing", id]), 0));
    let db = world.test.builder().sealing_keys(old.trim().parse().unwrap()).build().unwrap();
    let mut tenant = db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    let integration = NewIntegration::new(IntegrationProvider::Stripe);
    tenant.integrations().create(&integration, &"sk_live".to_owned().into()).unwrap();
    tenant.commit().unwrap();
    let both = format!("{},{}", new.trim(), old.trim());
    let usage = |keys: &str| ended(&mut of(&world, &["keys", "usage"], keys), 0);
    assert!(usage(&both).contains("old: "));
    let rotated = ended(&mut of(&world, &["rotate", "--batch", "1"], &both), 0);
    assert!(rotated.contains("credentials moved"), "{rotated}");
    assert!(!usage(&both).contains("old: "), "{rotated}");
    ended(&mut of(&world, &["rotate", "--batch", "0"], &both), 2);
    // A key that the server does not know is no reason to sign with it.
    let unknown = ContextKey::generate("unknown").unwrap().to_secret_string();
    ended(of(&world, &["keys", "usage"], &both).env("SESARI_CONTEXT_KEYS", unknown), 3);
}
