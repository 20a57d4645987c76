//! A server of a test's own, to be killed, stopped, filled up, copied and promoted. Nothing of it is
//! left behind, however the test ends.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use sesari_db::PgConnection;
use sesari_db::id::UserId;
use sesari_db::tenancy::ContextKey;
use sesari_db::testing::{Companion, place_for_a_server};
use sesari_db::{Database, DatabaseBuilder, maintenance, migrations};

const TIMEOUT: Duration = Duration::from_mins(1);

pub(crate) struct Server {
    pub(crate) port: u16,
    dir: PathBuf,
    password: String,
    key: ContextKey,
    /// With the number of commands it was given.
    companion: Mutex<(Companion, u32)>,
}

/// Where the data lies.
#[derive(Clone, Copy)]
enum Disk {
    Shared,
    /// Of its own, this large.
    Small(&'static str),
}

impl Server {
    /// Starts a server with these settings (`name=value`), its database migrated.
    pub(crate) fn new(settings: &[&str]) -> Self {
        Self::fresh(Disk::Shared, settings)
    }

    /// The same on a disk of its own, which takes root.
    pub(crate) fn on_a_small_disk(size: &'static str, settings: &[&str]) -> Self {
        Self::fresh(Disk::Small(size), settings)
    }

    fn fresh(disk: Disk, settings: &[&str]) -> Self {
        let (password, key) = (secret(), ContextKey::generate("test").unwrap());
        let server = Self::make(disk, None, password, key, settings);
        server.start();
        let mut admin = server.admin();
        migrations::run(&mut admin).unwrap();
        maintenance::install_context_key(&mut admin, &server.key).unwrap();
        admin
            .batch_execute(
                "CREATE ROLE tenant_login LOGIN PASSWORD 'secret'; GRANT sesari_tenant TO tenant_login; \
                 CREATE ROLE service_login LOGIN PASSWORD 'secret'; GRANT sesari_service TO service_login",
            )
            .unwrap();
        server
    }

    /// A copy that follows this one and answers questions meanwhile. Stops this one for a moment.
    pub(crate) fn standby(&self) -> Self {
        self.tell("stop");
        let (password, key) = (self.password.clone(), self.key.clone());
        let standby = Self::make(Disk::Shared, Some((&self.dir, self.port)), password, key, &[]);
        standby.start();
        self.start();
        standby
    }

    fn make(
        disk: Disk,
        primary: Option<(&Path, u16)>,
        password: String,
        key: ContextKey,
        settings: &[&str],
    ) -> Self {
        let (bin, parent, port) = place_for_a_server().unwrap();
        let dir = parent.join(format!("sesari-test-{}", &secret()[..12]));
        let (from, from_port) = primary.unwrap_or((Path::new(""), 0));
        let (port_text, from_port) = (port.to_string(), from_port.to_string());
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let (dir_text, bin, from) = (text(&dir), text(&bin), text(from));
        let script = include_str!("server.sh");
        let mut arguments: Vec<&str> = vec![&dir_text, &bin, &port_text, &from, &from_port];
        arguments.extend(settings);
        let mut companion = match disk {
            Disk::Shared => Companion::start(script, &arguments, &[]),
            Disk::Small(size) => {
                arguments.splice(0..0, [script, size]);
                Companion::start_as_ourselves(include_str!("disk.sh"), &arguments)
            }
        }
        .unwrap();
        companion.tell(&password).unwrap();
        let server = Self { port, dir, password, key, companion: Mutex::new((companion, 0)) };
        server.await_done(0);
        assert!(!server.dir.join("failed").exists(), "{}", server.log());
        server
    }

    /// Gives a command, and waits until it is done.
    pub(crate) fn tell(&self, command: &str) {
        let mut companion = self.companion.lock().unwrap();
        companion.0.tell(command).unwrap();
        companion.1 += 1;
        self.await_done(companion.1);
    }

    fn await_done(&self, count: u32) {
        let (done, start) = (self.dir.join(format!("done.{count}")), Instant::now());
        while !done.exists() {
            assert!(
                start.elapsed() < TIMEOUT,
                "the server's keeper does not answer: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn log(&self) -> String {
        let log = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Starts it, and waits until it lets somebody in.
    pub(crate) fn start(&self) {
        self.tell("start");
        self.await_ready();
    }

    /// Starts it if it went down by itself, and waits until it lets somebody in.
    pub(crate) fn start_unless_running(&self) {
        self.tell("start-unless-running");
        self.await_ready();
    }

    fn await_ready(&self) {
        let start = Instant::now();
        while let Err(error) = PgConnection::establish(&self.admin_url()) {
            assert!(start.elapsed() < TIMEOUT, "{error}: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// `kill -9` of every process of it.
    pub(crate) fn kill(&self) {
        self.tell("kill");
    }

    pub(crate) fn promote(&self) {
        self.admin().batch_execute("SELECT pg_promote()").unwrap();
    }

    /// Where the server listens.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn admin_url(&self) -> String {
        let Self { password, port, .. } = self;
        format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres?connect_timeout=5")
    }

    pub(crate) fn admin(&self) -> PgConnection {
        self.try_admin().unwrap_or_else(|e| panic!("{e}: {}", self.log()))
    }

    pub(crate) fn try_admin(&self) -> ConnectionResult<PgConnection> {
        PgConnection::establish(&self.admin_url())
    }

    pub(crate) fn tenant_url(&self) -> String {
        format!("postgres://tenant_login:secret@{}/postgres?connect_timeout=5", self.address())
    }

    /// Both logins, by way of these addresses, with these parameters.
    pub(crate) fn builder_at(&self, addresses: &str, parameters: &str) -> DatabaseBuilder {
        let url = |login| format!("postgres://{login}:secret@{addresses}/postgres?{parameters}");
        Database::builder(url("tenant_login"), self.key.clone())
            // Tests hold several guards of one workspace.
            .workspace_share(1.0)
            .actor_share(1.0)
            .service_url(url("service_login"))
            .pool_size(4)
    }

    pub(crate) fn builder(&self) -> DatabaseBuilder {
        self.builder_at(&self.address(), "sslmode=prefer")
    }
}

fn secret() -> String {
    UserId::generate().as_str().to_owned()
}
