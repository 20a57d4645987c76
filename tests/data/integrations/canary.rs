//! A secret that is looked for wherever it must not be: in every table, in what the server shows of
//! its sessions, in its log at its most talkative, and in whatever the library prints.

use std::fmt::Write as _;
use std::time::Duration;

use diesel::prelude::*;
use sesari_db::credentials::Secret;
use sesari_db::repo::IntegrationFilter;
use sesari_db::{Database, Error};

use super::tools::{
    as_service, claim, key, moment, page, ring, sealed_world, secret, stripe, with_keys,
};
use crate::support::{Tenant, World};

/// Letters and digits alone, so that no quoting hides them.
const CANARY: &str = "canaryQ7f3ZsecretX91valueK55";
/// The key's 32 bytes, as text and as the server would log a bytea.
const KEY_HEX: &str = "4b4b4b4b4b4b4b4b4b4b";

fn canary() -> Secret {
    secret(&format!(r#"{{"api_key":"{CANARY}"}}"#))
}

/// The canary as it may look elsewhere: plain, in hexadecimal, in base64 at each of three offsets.
fn disguises() -> Vec<String> {
    use base64::Engine as _;
    let hex = CANARY.bytes().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    });
    let mut all = vec![CANARY.to_owned(), hex, KEY_HEX.to_owned(), "KKKKKKKKKKKKKKKK".to_owned()];
    for skip in 0..3 {
        let text = base64::engine::general_purpose::STANDARD_NO_PAD.encode(&CANARY[skip..]);
        // The last letters depend on what follows.
        all.push(text[..text.len() - 4].to_owned());
    }
    all
}

fn seen(text: &str) -> Vec<String> {
    disguises().into_iter().filter(|disguise| text.contains(disguise.as_str())).collect()
}

fn keyed(world: &World) -> Database {
    world.test.builder().sealing_keys(ring(&[("k1", b'K')])).build().unwrap()
}

/// Everything that touches credentials, well and badly. What was printed on the way.
fn exercise(db: &Database, at: &Tenant) -> String {
    let mut printed = String::new();
    let mut print = |what: &dyn std::fmt::Debug| writeln!(printed, "{what:?} {what:#?}").unwrap();
    let new = stripe();
    let mut admin = db.tenant(&at.admin, &at.workspace).unwrap();
    print(&(&new, &canary(), key("k1", b'K'), ring(&[("k1", b'K')]), db));
    print(&admin.integrations().create(&new, &canary()));
    print(&admin.integrations().credentials(&new.id));
    print(&admin.integrations().replace_credentials(&new.id, &canary()));
    // Again: another statement of the same name, and a conflict, whose detail quotes the row.
    print(&admin.transaction(|it| it.integrations().create(&new, &canary()).map(|_| ())));
    print(&admin.integrations().list(&IntegrationFilter::default(), &page(9)));
    admin.commit().unwrap();
    let claims = claim(db, 9, Duration::from_mins(1));
    print(&claims);
    let mut worker = as_service(db, &at.workspace);
    let got = worker.integrations().credentials(&new.id).unwrap();
    let message = format!("the service said {CANARY} is wrong");
    let lease = &claims[0].lease;
    print(&worker.integrations().record_failure(&new.id, lease, &message, &got, moment(0)));
    print(&worker.transaction(|it| {
        it.integrations().record_failure(&new.id, lease, &message, &got, moment(0)).map(|_| ())
    }));
    worker.commit().unwrap();
    // Refusals.
    let mut member = db.tenant(&at.member, &at.workspace).unwrap();
    print(&member.integrations().credentials(&new.id));
    print(&member.transaction(|it| it.integrations().create(&stripe(), &canary()).map(|_| ())));
    let mut reader = db.tenant_read_only(&at.owner, &at.workspace).unwrap();
    print(&reader.transaction(|it| it.integrations().replace_credentials(&new.id, &canary())));
    drop((member, reader));
    let mut owner = db.tenant(&at.owner, &at.workspace).unwrap();
    print(&owner.audit_log().list(&sesari_db::repo::AuditFilter::default(), &page(1000)));
    printed
}

#[test]
fn nothing_that_is_printed_shows_a_secret_or_a_key() {
    let world = sealed_world();
    let db = keyed(&world);
    let mut printed = exercise(&db, &world.a);
    assert!(printed.contains("redacted"), "{printed}");
    // Every error that credentials can end in, with its sources.
    let mut errors: Vec<Error> = Vec::new();
    let id = world.ask("SELECT id FROM integrations").parse().unwrap();
    for keys in [&[("k1", 2)], &[("k2", b'K')]] {
        let wrong = with_keys(&world.test, keys);
        let opened = as_service(&wrong, &world.a.workspace).integrations().credentials(&id);
        errors.push(opened.unwrap_err());
    }
    let long = secret(&CANARY.repeat(10_000));
    let mut owner = db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    errors.push(owner.integrations().replace_credentials(&id, &long).unwrap_err());
    // An open transaction would keep the table from being altered.
    drop(owner);
    world.arrange("ALTER TABLE integrations ADD CHECK (provider = 'none') NOT VALID");
    let mut owner = db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    errors.push(owner.integrations().create(&stripe(), &canary()).unwrap_err());
    for error in &errors {
        let mut source: Option<&dyn std::error::Error> = Some(error);
        while let Some(error) = source {
            writeln!(printed, "{error} {error:?} {error:#?}").unwrap();
            source = error.source();
        }
    }
    assert_eq!(seen(&printed), Vec::<String>::new(), "{printed}");
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = diesel::sql_types::Text)]
    line: String,
}

fn all_rows(world: &World) -> String {
    let mut admin = world.test.admin().unwrap();
    let mut lines = |sql: &str| -> Vec<String> {
        let rows: Vec<Line> = diesel::sql_query(sql).load(&mut admin).unwrap();
        rows.into_iter().map(|row| row.line).collect()
    };
    let tables = lines(
        "SELECT c.oid::regclass::text AS line FROM pg_class AS c \
         WHERE c.relkind IN ('r', 'm', 'p') AND c.relnamespace <> 'information_schema'::regnamespace",
    );
    assert!(tables.iter().any(|table| table == "sesari.sealing_salts"), "{tables:?}");
    assert!(tables.iter().any(|table| table == "pg_proc"), "{tables:?}");
    let mut all = String::new();
    for table in tables {
        for line in lines(&format!("SELECT row_to_json(t)::text AS line FROM {table} AS t")) {
            writeln!(all, "{table} {line}").unwrap();
        }
    }
    all
}

#[test]
fn no_table_of_the_database_holds_a_secret_or_a_key() {
    let world = sealed_world();
    exercise(&keyed(&world), &world.a);
    let rows = all_rows(&world);
    assert!(rows.contains("v1.k1."), "envelopes were looked through");
    assert_eq!(seen(&rows), Vec::<String>::new());
    // As they would be seen.
    world.arrange(&format!("UPDATE integrations SET error_message = 'x {CANARY}'"));
    assert_eq!(seen(&all_rows(&world)), [CANARY]);
}

#[test]
fn no_session_shows_a_secret_while_it_writes_one() {
    let world = sealed_world();
    let db = keyed(&world);
    let mut admin = db.tenant(&world.a.admin, &world.a.workspace).unwrap();
    admin.integrations().create(&stripe(), &canary()).unwrap();
    // The transaction is open; what it ran last stands there.
    let activity = world.ask(
        "SELECT string_agg(row_to_json(a)::text, E'\\n') FROM pg_stat_activity AS a \
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
    assert!(activity.contains("integrations"), "{activity}");
    assert_eq!(seen(&activity), Vec::<String>::new());
}

/// The log of the throw-away server, from where this database's first line is. `None` on a server
/// that logs to where SQL does not reach.
fn server_log(world: &World) -> Option<String> {
    let path = "(SELECT setting || '/../log' FROM pg_settings WHERE name = 'data_directory')";
    if world.ask(&format!("(pg_stat_file({path}, true)).size IS NOT NULL")) != "true" {
        return None;
    }
    Some(world.ask(&format!("SELECT encode(pg_read_binary_file({path}), 'escape')")))
}

/// The most that the server can be made to say about one database's statements.
fn at_its_most_talkative(world: &World) {
    let name = world.test.name();
    for (setting, value) in [
        ("log_statement", "'all'"),
        ("log_min_duration_statement", "0"),
        ("log_duration", "on"),
        ("log_parameter_max_length", "-1"),
        ("log_parameter_max_length_on_error", "-1"),
        ("log_min_error_statement", "'debug5'"),
        ("log_error_verbosity", "'verbose'"),
        ("log_lock_waits", "on"),
        ("debug_print_parse", "on"),
        ("debug_print_plan", "on"),
    ] {
        world.arrange(&format!("ALTER DATABASE {name} SET {setting} = {value}"));
    }
}

#[test]
fn the_server_log_at_its_most_talkative_shows_neither() {
    let world = sealed_world();
    at_its_most_talkative(&world);
    // New connections, so that the settings hold.
    exercise(&keyed(&world), &world.a);
    let Some(log) = server_log(&world) else {
        // A server of somebody else's: its log is not ours to read.
        // One of ours from installed binaries has its data in a directory of this name.
        let ours = world.ask("current_setting('data_directory')").contains("/sesari-");
        assert!(!ours, "the throw-away server's log was not found");
        return;
    };
    assert!(log.contains("v1.k1."), "parameters are logged");
    assert!(log.contains("sesari.read_credentials("), "and functions");
    assert_eq!(seen(&log), Vec::<String>::new());
}

#[test]
fn what_is_sent_in_the_open_would_be_seen_in_the_log() {
    let world = sealed_world();
    at_its_most_talkative(&world);
    let db = keyed(&world);
    let mut admin = db.tenant(&world.a.admin, &world.a.workspace).unwrap();
    let marker = CANARY.to_lowercase();
    let query = diesel::sql_query("SELECT $1").bind::<diesel::sql_types::Text, _>(&marker);
    query.execute(admin.connection()).unwrap();
    if let Some(log) = server_log(&world) {
        assert!(log.contains(&marker));
    }
}
