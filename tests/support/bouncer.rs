//! A `PgBouncer` before the server of a test's database, with the configuration of the documentation.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's set-up fails loudly")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use diesel::Connection;
use sesari_db::PgConnection;
use sesari_db::testing::{Companion, TestDatabase};
use sesari_db::{Database, DatabaseBuilder};

use super::logins::value;

const INI: &str = include_str!("../../docs/pgbouncer.ini");
/// Server connections for each login, and fewer than any test has clients.
pub const SERVERS: usize = 4;

/// The program, or `None` with a word on standard error: a developer's machine need not have it.
/// Where `SESARI_TEST_PGBOUNCER` is `required`, as in `.ci/run`, its absence is a failure.
pub fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/bin"];
    let found = std::env::split_paths(&path)
        .chain(usual.map(PathBuf::from))
        .map(|dir| dir.join("pgbouncer"))
        .find(|program| program.is_file());
    if found.is_none() {
        skip("no PgBouncer is installed (Debian: apt-get install pgbouncer)");
    }
    found
}

/// Says so past the test harness, which shows the output of failed tests only.
pub fn skip(why: &str) {
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    let required = std::env::var("SESARI_TEST_PGBOUNCER").is_ok_and(|wish| wish == "required");
    assert!(!required, "{why}");
    let _ = writeln!(std::io::stderr(), "SKIPPED {name}: {why}");
}

pub struct Bouncer {
    pub companion: Companion,
    pub dir: PathBuf,
    address: String,
}

/// A change to the documented configuration, `name = value`: in place of the line with this name, or
/// as a new one.
pub type Change<'a> = (&'a str, &'a str);

impl Bouncer {
    /// Starts one that lets in the two logins of the database, with its own copies of their secrets.
    pub fn start(test: &TestDatabase, changes: &[Change<'_>]) -> Option<Self> {
        let mut admin = test.admin().unwrap();
        if value(&mut admin, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") != "true"
        {
            skip("only a superuser reads the secrets of logins");
            return None;
        }
        let userlist = value(
            &mut admin,
            "SELECT string_agg(format('\"%s\" \"%s\"', rolname, rolpassword), E'\\n') FROM pg_authid
              WHERE rolname IN ('sesari_test_tenant', 'sesari_test_service')",
        );
        Self::start_with(test, changes, &userlist)
    }

    pub fn start_with(test: &TestDatabase, changes: &[Change<'_>], userlist: &str) -> Option<Self> {
        let program = program()?;
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let random: u64 =
            std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), port);
        let dir = PathBuf::from(format!("/tmp/sesari-pgbouncer-{random:016x}"));
        let server = test.admin_url();
        let server = split(&server).1;
        let (host, server_port) = server.rsplit_once(':').unwrap_or((server, "5432"));
        if host.is_empty() {
            skip("the server's URL names no host");
            return None;
        }
        let mut ini = INI.to_owned();
        set(&mut ini, "*", &format!("host={host} port={server_port}"));
        set(&mut ini, "listen_port", &port.to_string());
        set(&mut ini, "auth_file", "userlist.txt");
        set(&mut ini, "default_pool_size", &SERVERS.to_string());
        ini.push_str("\nunix_socket_dir =\n");
        for (name, value) in changes {
            if ini.contains(&format!("\n{name} =")) {
                set(&mut ini, name, value);
            } else {
                writeln!(ini, "{name} = {value}").unwrap();
            }
        }
        let mut companion = Companion::start(
            include_str!("bouncer.sh"),
            &[dir.to_str().unwrap(), program.to_str().unwrap()],
            &[("INI", &ini), ("USERLIST", userlist)],
        )
        .unwrap();
        let address = format!("127.0.0.1:{port}");
        let start = Instant::now();
        while std::net::TcpStream::connect(&address).is_err() {
            let log = || std::fs::read_to_string(dir.join("log")).unwrap_or_default();
            assert!(!companion.has_ended().unwrap(), "PgBouncer ended");
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "PgBouncer does not listen: {}",
                log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(Self { companion, dir, address })
    }

    /// The same URL, by way of this pooler.
    pub fn url(&self, url: &str) -> String {
        let (login, _, rest) = split(url);
        format!("{login}{}{rest}", self.address)
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Both scopes by way of this pooler, as somebody would build it who does not know.
    pub fn unaware(&self, test: &TestDatabase) -> DatabaseBuilder {
        Database::builder(self.url(&test.tenant_url()), test.context_key().clone())
            // Tests hold several guards of one workspace.
            .workspace_share(1.0)
            .actor_share(1.0)
            .service_url(self.url(&test.service_url()))
            .pool_size(4)
    }

    /// Both scopes by way of this pooler.
    pub fn builder(&self, test: &TestDatabase) -> DatabaseBuilder {
        self.unaware(test).behind_transaction_pooler()
    }

    /// The tenant login's connection by way of this pooler, without this crate.
    pub fn connect(&self, test: &TestDatabase) -> PgConnection {
        PgConnection::establish(&self.url(&test.tenant_url())).unwrap()
    }

    /// Changes the running pooler's configuration.
    pub fn reconfigure(&self, name: &str, value: &str) {
        let path = self.dir.join("pgbouncer.ini");
        let mut ini = std::fs::read_to_string(&path).unwrap();
        set(&mut ini, name, value);
        std::fs::write(&path, ini).unwrap();
        self.signal("-HUP");
        std::thread::sleep(Duration::from_millis(200));
    }

    pub fn pid(&self) -> String {
        std::fs::read_to_string(self.dir.join("pid")).unwrap().trim().to_owned()
    }

    /// Sends the pooler's process a signal.
    pub fn signal(&self, signal: &str) {
        let sent = std::process::Command::new("kill").args([signal, &self.pid()]).status();
        assert!(sent.unwrap().success());
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

/// A URL in three: up to the host, `host:port`, and the rest.
pub fn split(url: &str) -> (&str, &str, &str) {
    let at = url.rfind('@').unwrap() + 1;
    let end = at + url[at..].find('/').unwrap();
    (&url[..at], &url[at..end], &url[end..])
}

/// Replaces the value in the one line with this name.
fn set(ini: &mut String, name: &str, value: &str) {
    let start = format!("\n{name} = ");
    assert_eq!(ini.matches(&start).count(), 1, "{name} in docs/pgbouncer.ini");
    let at = ini.find(&start).unwrap() + start.len();
    let end = at + ini[at..].find('\n').unwrap();
    ini.replace_range(at..end, value);
}
