//! A throw-away database for tests: this crate's, and those of the services that embed it.
//!
//! ```no_run
//! # fn main() -> Result<(), sesari_db::testing::TestingError> {
//! let db = sesari_db::testing::TestDatabase::new()?;
//! println!("{}", db.tenant_url());
//! # Ok(())
//! # }
//! ```
//!
//! Each [`TestDatabase`] is a database of its own, migrated, on a server that all those of the
//! process share. The first one starts the server (about a second), migrates a template once and
//! clones it; from then on, a clone takes a tenth of a second at most. Nothing is mocked: tests log
//! in as the plain roles that production has, because a superuser sees through every policy.
//!
//! # Which server
//! The first of these that is there; if none is, the error says what to install or set. There is
//! no skipping.
//!
//! 1. The one that `SESARI_TEST_URL` names, if set. Its user must be a superuser, or may create
//!    databases and roles. Databases are made beside the one named, which is not touched. Two login
//!    roles, `sesari_test_tenant` and `sesari_test_service`, and the crate's own roles stay there.
//!    Runs at the same time do not disturb each other, if they connect as the same user. What a run
//!    that was killed could not drop, for want of `psql`, the next one drops.
//! 2. One started from the PostgreSQL installed on this machine, in a directory of its own: where
//!    `TMPDIR` says, or else in `/dev/shm` if two gigabytes are free there, or else in `/tmp`. This
//!    works as root too.
//! 3. With the feature `testing-docker`, one in a container, by Docker. Without it, the crate builds two
//!    hundred others less.
//!
//! | variable | meaning |
//! |---|---|
//! | `SESARI_TEST_SERVER` | `url`, `binaries` or `docker`: this kind and no other |
//! | `SESARI_TEST_PG_BIN` | the directory of the `initdb` and `postgres` to use |
//! | `SESARI_TEST_IMAGE` | the image to run, instead of `postgres:17`; it must behave like the official one |
//!
//! # Nothing is left behind
//! Dropping a [`TestDatabase`] drops its database. The server goes with the process, however that
//! ends (a panic, Ctrl-C and SIGKILL included): a shell in a process group of its own waits for a
//! pipe to close that only this process holds, then removes everything.
//!
//! On a server of our own, autovacuum is off, so that plans do not change under a test: one that
//! looks at a plan runs `ANALYZE` first.

mod binaries;
#[cfg(feature = "testing-docker")]
mod docker;
#[cfg(not(feature = "testing-docker"))]
#[path = "testing/no_docker.rs"]
mod docker;
mod external;
mod janitor;
mod logins;
mod server;
mod url;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use diesel::Connection;
use ring::rand::{SecureRandom, SystemRandom};

use self::logins::Login;
use self::server::Server;
use self::url::ServerUrl;
use crate::connection::PgConnection;
use crate::tenancy::ContextKey;
use crate::{Database, DatabaseBuilder, Error, migrations};

/// Why there is no test database. Cloned for every test that asks again.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TestingError {
    /// There is no server to use. The text says what to install or set.
    #[error("no PostgreSQL server for the tests: {0}")]
    NoServer(String),
    /// A server was found, but did not start.
    #[error("{server} did not start: {detail}")]
    #[non_exhaustive]
    Start {
        /// Which server.
        server: String,
        /// What happened, with the end of the server's log.
        detail: String,
    },
    /// The server did not let us in.
    #[error("cannot connect to {to}")]
    #[non_exhaustive]
    Connect {
        /// To what.
        to: &'static str,
        /// Why.
        source: Arc<diesel::ConnectionError>,
    },
    /// The server refused a statement that prepares a database.
    #[error("{doing} failed")]
    #[non_exhaustive]
    Query {
        /// What the statement was for.
        doing: &'static str,
        /// Why.
        source: Arc<diesel::result::Error>,
    },
    /// The template could not be migrated.
    #[error("migrating the template failed")]
    #[non_exhaustive]
    Prepare {
        /// Why.
        source: Arc<Error>,
    },
    /// The system's random number generator failed.
    #[error("the system has no random numbers")]
    Random,
}

impl TestingError {
    fn connecting(to: &'static str) -> impl FnOnce(diesel::ConnectionError) -> Self {
        move |error| Self::Connect { to, source: Arc::new(error) }
    }

    fn querying(doing: &'static str) -> impl FnOnce(diesel::result::Error) -> Self {
        move |error| Self::Query { doing, source: Arc::new(error) }
    }
}

/// A database that exists for as long as this value.
///
/// Its name and URLs differ from those of every other test's, this process's and others'.
#[must_use = "the database is dropped together with this value"]
pub struct TestDatabase {
    server: &'static Server,
    name: String,
}

impl TestDatabase {
    /// Makes a migrated database with a context key installed.
    ///
    /// # Errors
    /// Returns [`TestingError`] if there is no server to use, or if it refuses.
    pub fn new() -> Result<Self, TestingError> {
        let server = Server::shared()?;
        Ok(Self { server, name: server.create_migrated()? })
    }

    /// Makes a database with nothing in it, for tests of the migrations themselves.
    ///
    /// On a fresh server the crate's roles do not exist yet, so the logins of
    /// [`tenant_url`](Self::tenant_url) and [`service_url`](Self::service_url) are no members of
    /// them until [`TestDatabase::new`] has been called once.
    ///
    /// # Errors
    /// Returns [`TestingError`] if there is no server to use, or if it refuses.
    pub fn empty() -> Result<Self, TestingError> {
        let server = Server::shared()?;
        Ok(Self { server, name: server.create_empty()? })
    }

    /// The database's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URL for the login that made the database, usually a superuser, whom no policy holds
    /// back: for arranging and inspecting, not for what is tested.
    #[must_use]
    pub fn admin_url(&self) -> String {
        self.url().expose()
    }

    /// The URL for a plain login that is a member of `sesari_tenant`.
    #[must_use]
    pub fn tenant_url(&self) -> String {
        self.member_url(&logins::TENANT)
    }

    /// The URL for a plain login that is a member of `sesari_service`.
    #[must_use]
    pub fn service_url(&self) -> String {
        self.member_url(&logins::SERVICE)
    }

    /// The URL for any other login, which is not made here.
    #[must_use]
    pub fn login_url(&self, user: &str, password: &str) -> String {
        self.url().login(user, password).expose()
    }

    /// The key that is installed in every migrated database of this process. In an
    /// [`empty`](Self::empty) one it can be.
    #[must_use]
    pub fn context_key(&self) -> &ContextKey {
        self.server.key()
    }

    /// Configures a [`Database`] on both logins, with pools of four, all of which one workspace may use.
    pub fn builder(&self) -> DatabaseBuilder {
        Database::builder(self.tenant_url(), self.context_key().clone())
            .service_url(self.service_url())
            .pool_size(4)
            // A test holds several guards of one workspace in one thread.
            .workspace_share(1.0)
            .actor_share(1.0)
    }

    /// Builds a [`Database`] on both logins.
    ///
    /// # Errors
    /// Those of [`DatabaseBuilder::build`].
    pub fn database(&self) -> crate::Result<Database> {
        self.builder().build()
    }

    /// Connects with [`admin_url`](Self::admin_url).
    ///
    /// # Errors
    /// Returns [`TestingError::Connect`] if the server does not accept the connection.
    pub fn admin(&self) -> Result<PgConnection, TestingError> {
        PgConnection::establish(&self.admin_url())
            .map_err(TestingError::connecting("the test database"))
    }

    fn url(&self) -> ServerUrl {
        self.server.url().database(&self.name)
    }

    fn member_url(&self, login: &Login) -> String {
        self.login_url(login.name, &login.password(self.server.url()))
    }
}

/// A process of this crate's own tests that ends with them, however they end: a shell script, run as
/// the account that a server of ours runs as, which does its cleaning once its standard input closes.
#[doc(hidden)]
pub struct Companion(janitor::Janitor);

impl Companion {
    /// Starts the script with these arguments and this environment.
    ///
    /// # Errors
    /// What the system says when it cannot.
    pub fn start(
        script: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> std::io::Result<Self> {
        let account = janitor::Account::for_server()?;
        Ok(Self(janitor::Janitor::start(script, arguments, environment, account, "")?))
    }

    /// Starts a script that needs more than that account may do, as whoever runs the tests.
    ///
    /// # Errors
    /// What the system says when it cannot.
    pub fn start_as_ourselves(script: &str, arguments: &[&str]) -> std::io::Result<Self> {
        Ok(Self(janitor::Janitor::start(script, arguments, &[], None, "")?))
    }

    /// Writes a line to the script's standard input.
    ///
    /// # Errors
    /// What the system says when it cannot.
    pub fn tell(&mut self, line: &str) -> std::io::Result<()> {
        self.0.tell(line)
    }

    /// Whether the script has come to its end.
    ///
    /// # Errors
    /// What the system says when it cannot tell.
    pub fn has_ended(&mut self) -> std::io::Result<bool> {
        Ok(self.0.ended()?.is_some())
    }
}

/// Where the tests of servers of their own find `initdb` and `postgres`, where each may make its
/// directory, and a port that is free.
///
/// # Errors
/// [`TestingError::NoServer`] where PostgreSQL is not installed.
#[doc(hidden)]
pub fn place_for_a_server() -> Result<(std::path::PathBuf, std::path::PathBuf, u16), TestingError> {
    let refused = |error: std::io::Error| TestingError::NoServer(error.to_string());
    let bin = binaries::find()?
        .ok_or_else(|| TestingError::NoServer(binaries::HOW_TO_INSTALL.to_owned()))?;
    let foreign = janitor::Account::for_server().map_err(refused)?.is_some();
    Ok((bin, binaries::parent_dir(foreign), binaries::free_port().map_err(refused)?))
}

impl fmt::Debug for Companion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Companion").finish_non_exhaustive()
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        self.server.drop_database(&self.name);
    }
}

impl fmt::Debug for TestDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestDatabase").field("name", &self.name).finish_non_exhaustive()
    }
}

fn generate_key() -> Result<ContextKey, TestingError> {
    ContextKey::generate("test").map_err(|_| TestingError::Random)
}

/// Brings the template to where a service finds its database: migrated, with a key.
fn prepare_template(conn: &mut PgConnection, key: &ContextKey) -> Result<(), TestingError> {
    let prepared =
        migrations::run(conn).and_then(|_| crate::maintenance::install_context_key(conn, key));
    prepared.map_err(|source| TestingError::Prepare { source: Arc::new(source) })
}

/// A variable of the environment; set to nothing is the same as not set.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// `N` random bytes, in hexadecimal digits.
fn random_hex<const N: usize>() -> Result<String, TestingError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| TestingError::Random)?;
    Ok(hex(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Tries a few times, for what other sessions can be in the way of for a moment.
fn patiently<T, E>(mut attempt: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    for pause in [10, 40, 160, 640] {
        if let Ok(done) = attempt() {
            return Ok(done);
        }
        std::thread::sleep(Duration::from_millis(pause));
    }
    attempt()
}
