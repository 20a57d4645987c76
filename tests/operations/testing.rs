//! The throw-away server itself: its databases are apart from each other, and nothing of it is
//! left when the process that used it is gone, however it went.

#![allow(clippy::expect_used)]

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::deserialize::QueryableByName;
use diesel::sql_types::{Bool, Text};
use diesel::{Connection, RunQueryDsl};
use sesari_db::PgConnection;
use sesari_db::testing::TestDatabase;

fn text(conn: &mut PgConnection, query: &str) -> String {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        value: String,
    }
    let row: Row = diesel::sql_query(format!("SELECT coalesce(({query})::text, '') AS value"))
        .get_result(conn)
        .expect(query);
    row.value
}

fn holds(conn: &mut PgConnection, condition: &str) -> bool {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        value: bool,
    }
    let row: Row = diesel::sql_query(format!("SELECT ({condition}) AS value"))
        .get_result(conn)
        .expect(condition);
    row.value
}

fn connect(url: &str) -> PgConnection {
    PgConnection::establish(url).expect("a connection")
}

/// Whether there are databases whose names begin so.
fn exists(conn: &mut PgConnection, prefix: &str) -> bool {
    holds(conn, &format!("EXISTS (SELECT FROM pg_database WHERE starts_with(datname, '{prefix}'))"))
}

/// Waits for what another process does.
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The directory and the process of the database's server, if it is one that this crate started
/// from installed binaries.
fn local_server(db: &TestDatabase) -> Option<(PathBuf, String)> {
    if std::env::var("SESARI_TEST_SERVER").is_ok_and(|kind| kind == "url") {
        return None;
    }
    let data = text(
        &mut db.admin().expect("a connection"),
        "SELECT setting FROM pg_settings WHERE name = 'data_directory'",
    );
    let data = Path::new(&data);
    let dir = data.parent().filter(|dir| dir.to_string_lossy().contains("sesari-test-"))?;
    let pid = std::fs::read_to_string(data.join("postmaster.pid")).expect("a running server");
    Some((dir.to_owned(), pid.lines().next()?.to_owned()))
}

#[test]
fn two_databases_share_nothing() {
    let (one, other) = (TestDatabase::new().unwrap(), TestDatabase::new().unwrap());
    assert_ne!(one.name(), other.name());
    one.admin().unwrap().batch_execute("CREATE TABLE public.mine ()").unwrap();
    let mut other = other.admin().unwrap();
    assert!(holds(&mut other, "to_regclass('public.mine') IS NULL"));
}

#[test]
fn databases_can_be_made_from_many_threads_at_once() {
    let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(TestDatabase::new)).collect();
    for thread in threads {
        let db = thread.join().unwrap().unwrap();
        assert_eq!(text(&mut db.admin().unwrap(), "current_database()"), db.name());
    }
}

#[test]
fn a_dropped_database_is_gone_even_while_somebody_is_connected() {
    let (db, witness) = (TestDatabase::new().unwrap(), TestDatabase::empty().unwrap());
    let mut witness = witness.admin().unwrap();
    let is_there = format!("EXISTS (SELECT FROM pg_database WHERE datname = '{}')", db.name());
    let _connected = connect(&db.tenant_url());
    assert!(holds(&mut witness, &is_there));
    drop(db);
    assert!(!holds(&mut witness, &is_there));
}

#[test]
fn a_clone_has_the_privileges_that_migrations_give_the_database_itself() {
    let db = TestDatabase::new().unwrap();
    let migrated = TestDatabase::empty().unwrap();
    sesari_db::migrations::run(&mut migrated.admin().unwrap()).unwrap();
    let privileges = |db: &TestDatabase| {
        text(
            &mut db.admin().unwrap(),
            "SELECT string_agg(acl::text, ' ' ORDER BY acl::text) \
             FROM pg_database, unnest(datacl) AS acl WHERE datname = current_database()",
        )
    };
    assert_ne!(privileges(&db), "");
    assert_eq!(privileges(&db), privileges(&migrated));
}

#[test]
fn the_logins_are_plain_members_of_the_roles() {
    let db = TestDatabase::new().unwrap();
    for (url, role) in [(db.tenant_url(), "sesari_tenant"), (db.service_url(), "sesari_service")] {
        let mut conn = connect(&url);
        assert!(holds(&mut conn, &format!("pg_has_role(session_user, '{role}', 'MEMBER')")));
        assert!(holds(
            &mut conn,
            "SELECT rolcanlogin AND NOT (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb) \
             FROM pg_roles WHERE rolname = session_user"
        ));
    }
    assert!(PgConnection::establish(&db.login_url("sesari_test_tenant", "wrong")).is_err());
}

#[test]
fn a_login_of_ones_own_can_be_used() {
    let db = TestDatabase::empty().unwrap();
    let login = format!("{}_login", db.name());
    let mut admin = db.admin().unwrap();
    admin.batch_execute(&format!("CREATE ROLE {login} LOGIN PASSWORD 'p@/:s s'")).unwrap();
    let mut own = connect(&db.login_url(&login, "p@/:s s"));
    assert_eq!(text(&mut own, "session_user"), login);
    drop(own);
    admin.batch_execute(&format!("DROP ROLE {login}")).unwrap();
}

#[test]
fn an_empty_database_has_no_tables_of_ours() {
    let db = TestDatabase::empty().unwrap();
    let mut admin = db.admin().unwrap();
    assert!(holds(
        &mut admin,
        "NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast'))"
    ));
}

#[test]
fn the_debug_output_names_the_database_and_no_password() {
    let db = TestDatabase::empty().unwrap();
    let expected = format!("TestDatabase {{ name: {:?}, .. }}", db.name());
    assert_eq!(format!("{db:?}"), expected);
}

/// This test program again, as a process of its own that runs the helper below.
struct Helper {
    child: Child,
    /// Of the helper's database.
    admin_url: String,
    /// See [`local_server`].
    local: Option<(PathBuf, String)>,
}

impl Helper {
    fn command(mode: &str) -> Command {
        // Whoever started the tests may ignore the signal, as `nohup` and a shell's background do.
        let mut command = Command::new("/usr/bin/env");
        command
            .arg("--default-signal=INT")
            .arg(std::env::current_exe().expect("this program"))
            .args(["--exact", "testing::helper", "--nocapture", "--test-threads=1"])
            .env("SESARI_TESTING_HELPER", mode)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        command
    }

    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the helper");
        let output = BufReader::new(child.stdout.as_mut().expect("its output"));
        let line = output.lines().map_while(Result::ok).find(|line| line.starts_with("database "));
        let Some(line) = line else {
            let mut errors = String::new();
            child.stderr.take().expect("its errors").read_to_string(&mut errors).expect("text");
            panic!("the helper made no database: {errors}");
        };
        let mut words = line.split_whitespace().skip(1);
        let admin_url = words.next().expect("a URL").to_owned();
        let local = words.next().zip(words.next()).map(|(dir, pid)| (dir.into(), pid.to_owned()));
        Self { child, admin_url, local }
    }

    /// The helper's process group, which is what a terminal sends signals to.
    fn group(&self) -> String {
        format!("-{}", self.child.id())
    }

    /// Waits until the helper has ended, and until nothing is left of what it made.
    fn leaves_nothing(mut self) {
        assert!(!self.child.wait().expect("its status").success());
        eventually("its database is out of reach", || {
            PgConnection::establish(&self.admin_url).is_err()
        });
        if let Some((dir, pid)) = self.local {
            eventually("its server is gone", || !is_running(&pid));
            eventually("its directory is gone", || !dir.exists());
        }
    }
}

fn signal(signal: &str, process: &str) {
    let status = Command::new("kill").args([signal, "--", process]).status().expect("kill");
    assert!(status.success());
}

fn is_running(pid: &str) -> bool {
    let status = Command::new("kill").args(["-0", pid]).stderr(Stdio::null()).status();
    status.expect("kill").success()
}

/// Not a test, but what the others run in a process of its own.
#[test]
fn helper() {
    let Ok(mode) = std::env::var("SESARI_TESTING_HELPER") else {
        return;
    };
    let db = match TestDatabase::new() {
        Ok(db) => db,
        Err(error) => {
            eprintln!("\nerror {error}");
            return;
        }
    };
    connect(&db.tenant_url());
    let local = local_server(&db).map(|(dir, pid)| format!("{} {pid}", dir.display()));
    println!("\ndatabase {} {}", db.admin_url(), local.unwrap_or_default());
    match mode.as_str() {
        "panic" => panic!("on purpose"),
        "exit" => std::process::exit(3),
        "orphan" => {
            Command::new("sleep")
                .arg("60")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            std::process::exit(3)
        }
        _ => std::thread::sleep(Duration::from_mins(1)),
    }
}

#[test]
fn a_panic_leaves_nothing_behind() {
    Helper::start(Helper::command("panic")).leaves_nothing();
}

#[test]
fn an_early_exit_leaves_nothing_behind() {
    Helper::start(Helper::command("exit")).leaves_nothing();
}

#[test]
fn a_child_that_outlives_the_process_does_not_keep_the_server() {
    let helper = Helper::start(Helper::command("orphan"));
    let group = helper.group();
    helper.leaves_nothing();
    signal("-KILL", &group);
}

#[test]
fn an_interrupt_leaves_nothing_behind() {
    let helper = Helper::start(Helper::command("wait"));
    signal("-INT", &helper.group());
    helper.leaves_nothing();
}

#[test]
fn a_kill_leaves_nothing_behind() {
    let helper = Helper::start(Helper::command("wait"));
    signal("-KILL", &helper.group());
    helper.leaves_nothing();
}

/// The processes of a server whose first one was killed write for a moment longer.
#[test]
fn a_directory_that_is_still_written_to_is_removed() {
    let helper = Helper::start(Helper::command("wait"));
    let writer = helper.local.clone().map(|(dir, _)| {
        std::thread::spawn(move || {
            let (start, mut names) = (Instant::now(), (0..100).cycle());
            while start.elapsed() < Duration::from_secs(2) {
                let name = format!("data/late.{}", names.next().expect("another"));
                let _ = std::fs::File::create(dir.join(name));
            }
        })
    });
    signal("-KILL", &helper.group());
    helper.leaves_nothing();
    if let Some(writer) = writer {
        writer.join().expect("the writer");
    }
}

#[test]
fn a_kill_while_the_server_is_starting_leaves_nothing_behind() {
    if local_server(&TestDatabase::empty().unwrap()).is_none() {
        return; // There is no directory to watch.
    }
    let parent = std::env::temp_dir().join(format!("sesari-kill-{}", std::process::id()));
    std::fs::create_dir(&parent).unwrap();
    std::fs::set_permissions(&parent, PermissionsExt::from_mode(0o1777)).unwrap();
    let is_empty = || std::fs::read_dir(&parent).unwrap().next().is_none();
    for pause in [0, 300] {
        let mut child = Helper::command("wait").env("TMPDIR", &parent).spawn().unwrap();
        eventually("the server has a directory", || !is_empty());
        std::thread::sleep(Duration::from_millis(pause));
        child.kill().unwrap();
        child.wait().unwrap();
        eventually("the directory is gone", is_empty);
    }
    std::fs::remove_dir(&parent).unwrap();
}

/// A process that uses the server of this one as the one that is there already.
fn beside(db: &TestDatabase, mode: &str) -> Command {
    let mut command = Helper::command(mode);
    command.env("SESARI_TEST_SERVER", "url").env("SESARI_TEST_URL", db.admin_url());
    command
}

#[test]
fn runs_beside_each_other_on_one_server_do_not_disturb_each_other() {
    let db = TestDatabase::new().unwrap();
    let helpers: Vec<_> = std::thread::scope(|scope| {
        let start = || Helper::start(beside(&db, "wait"));
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(start)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut admin = db.admin().unwrap();
    for helper in helpers {
        let run = run(&helper);
        connect(&helper.admin_url);
        signal("-KILL", &helper.group());
        helper.leaves_nothing();
        eventually("its databases are gone", || !exists(&mut admin, &run));
    }
    connect(&db.tenant_url());
}

/// What the names of the helper's databases begin with.
fn run(helper: &Helper) -> String {
    let (_, name) = helper.admin_url.rsplit_once('/').expect("a database");
    name.rsplit_once('_').expect("its number").0.to_owned()
}

#[test]
fn databases_of_a_run_that_is_gone_are_dropped_by_the_next() {
    let db = TestDatabase::new().unwrap();
    let mut admin = db.admin().unwrap();
    // Without psql, nobody drops them when the run ends.
    let mut command = beside(&db, "exit");
    command.env("PATH", "/nonexistent");
    let mut gone = Helper::start(command);
    gone.child.wait().unwrap();

    let next = Helper::start(beside(&db, "exit"));
    assert!(!exists(&mut admin, &run(&gone)));
    assert!(exists(&mut admin, db.name()));
    let run = run(&next);
    next.leaves_nothing();
    eventually("its databases are gone", || !exists(&mut admin, &run));
}

#[test]
fn a_server_that_holds_a_database_in_use_gets_no_logins_of_tests() {
    let db = TestDatabase::new().unwrap();
    let mut admin = db.admin().unwrap();
    let name = format!("in_use_{}", std::process::id());
    admin.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE template0")).unwrap();
    let url = db.admin_url().replace(db.name(), &name);
    sesari_db::migrations::run(&mut PgConnection::establish(&url).unwrap()).unwrap();
    let output = beside(&db, "error").output().unwrap();
    let output = String::from_utf8(output.stderr).unwrap();
    admin.batch_execute(&format!("DROP DATABASE {name}")).unwrap();
    assert!(output.contains(&name) && output.contains("another server"), "{output}");
}

#[test]
fn a_server_that_cannot_be_had_is_an_error_that_says_what_to_do() {
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);
    let cases: [Case<'_>; 5] = [
        (&[("SESARI_TEST_SERVER", "url"), ("SESARI_TEST_URL", "")], &["set SESARI_TEST_URL"]),
        (
            &[("SESARI_TEST_SERVER", "binaries"), ("SESARI_TEST_PG_BIN", "/nonexistent")],
            &["SESARI_TEST_PG_BIN", "`/nonexistent`", "`initdb`"],
        ),
        (
            &[("SESARI_TEST_SERVER", "docker"), ("DOCKER_HOST", "unix:///nonexistent")],
            &["start Docker", "SESARI_TEST_IMAGE", "install PostgreSQL"],
        ),
        (&[("SESARI_TEST_SERVER", "none")], &["`url`, `binaries` or `docker`"]),
        (
            &[
                ("SESARI_TEST_SERVER", "url"),
                ("SESARI_TEST_URL", "postgres://u:secret@127.0.0.1:1/d"),
            ],
            &["cannot connect", "SESARI_TEST_URL"],
        ),
    ];
    for (environment, expected) in cases {
        let output =
            Helper::command("error").envs(environment.iter().copied()).output().expect("output");
        let output = String::from_utf8(output.stderr).expect("text");
        let error = output.lines().find(|line| line.starts_with("error ")).expect(&output);
        for word in expected {
            assert!(error.contains(word), "{environment:?}: no {word} in: {error}");
        }
        assert!(!error.contains("secret"));
    }
}
