//! The one server of a process, and the databases on it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::deserialize::QueryableByName;
use diesel::sql_types::Text;
use diesel::{Connection, RunQueryDsl};

use super::janitor::Janitor;
use super::url::ServerUrl;

use super::{
    ContextKey, TestingError, binaries, docker, external, logins, patiently, prepare_template,
    random_hex, variable,
};
use crate::connection::PgConnection;

/// The first half of the advisory lock that says that a run is alive; the second is the run's
/// number. `pg_locks` shows it to every login, in whichever database it is held.
const ALIVE: i32 = 0x5e5a_711e;

/// How long a server may take to accept connections.
const TIMEOUT: Duration = Duration::from_mins(1);

/// A server that accepts connections, and what has to be kept for as long as it is used.
pub(super) struct Started {
    pub(super) url: ServerUrl,
    pub(super) control: PgConnection,
    pub(super) janitor: Janitor,
    pub(super) container: Option<docker::Running>,
    /// How `CREATE DATABASE` copies, where its own choice is not the best.
    pub(super) copying: &'static str,
}

/// For a server that writes nothing to a disk: file by file, which is quicker than by way of the
/// write-ahead log, and takes checkpoints, which cost nothing there.
pub(super) const BY_FILES: &str = "STRATEGY file_copy";

/// The server that this process's databases are on.
pub(super) struct Server {
    /// Of the superuser, in the server's own database.
    url: ServerUrl,
    /// What the names of this run's databases begin with: `sesari_test_` and the run's number.
    run: String,
    key: ContextKey,
    /// Connected to the server's own database; every database is made and dropped through it.
    control: Mutex<PgConnection>,
    template: OnceLock<Result<Template, TestingError>>,
    made: AtomicU32,
    copying: &'static str,
    /// A static is never dropped: these last until the process is gone, which is the signal.
    _kept: Mutex<(Janitor, Option<docker::Running>)>,
}

/// The migrated database that others are cloned from.
struct Template {
    name: String,
    /// What gives a clone the template's own privileges; `{}` stands for the clone's name.
    privileges: String,
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

impl Server {
    /// The process's server, started by the first caller. A failure is final, so that a suite of
    /// tests fails at once and not one timeout after the other.
    pub(super) fn shared() -> Result<&'static Self, TestingError> {
        static SERVER: OnceLock<Result<Server, TestingError>> = OnceLock::new();
        SERVER.get_or_init(Self::start).as_ref().map_err(Clone::clone)
    }

    fn start() -> Result<Self, TestingError> {
        let number = random_hex::<4>()?;
        let run = format!("sesari_test_{number}");
        let Started { url, mut control, janitor, container, copying } = choose(&run)?;
        // Before the first database, so that none is ever without its lock.
        control
            .batch_execute(&format!("SELECT pg_advisory_lock({ALIVE}, x'{number}'::int)"))
            .map_err(TestingError::querying("saying that this run is alive"))?;
        sweep(&mut control)?;
        logins::make(&mut control, &url)?;
        Ok(Self {
            url,
            run,
            key: super::generate_key()?,
            control: Mutex::new(control),
            template: OnceLock::new(),
            made: AtomicU32::new(0),
            copying,
            _kept: Mutex::new((janitor, container)),
        })
    }

    /// The superuser's URL of the server's own database.
    pub(super) fn url(&self) -> &ServerUrl {
        &self.url
    }

    /// The context key that migrated databases have.
    pub(super) fn key(&self) -> &ContextKey {
        &self.key
    }

    fn control(&self) -> MutexGuard<'_, PgConnection> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a database with nothing in it and returns its name.
    pub(super) fn create_empty(&self) -> Result<String, TestingError> {
        let name = self.new_name();
        self.create(&name, "template0")?;
        // The crate's roles may have come since.
        logins::join(&mut self.control())?;
        Ok(name)
    }

    /// Clones the template, which the first caller makes, and returns the clone's name.
    pub(super) fn create_migrated(&self) -> Result<String, TestingError> {
        let template = self.template.get_or_init(|| self.make_template());
        let template = template.as_ref().map_err(Clone::clone)?;
        let name = self.new_name();
        self.create(&name, &template.name)?;
        // PostgreSQL's own defaults need no statement.
        if !template.privileges.is_empty() {
            self.control()
                .batch_execute(&template.privileges.replace("{}", &name))
                .map_err(TestingError::querying("giving the database its privileges"))?;
        }
        Ok(name)
    }

    fn new_name(&self) -> String {
        format!("{}_{}", self.run, self.made.fetch_add(1, Ordering::Relaxed))
    }

    fn create(&self, name: &str, template: &str) -> Result<(), TestingError> {
        // Refused for a moment after somebody was connected to the template.
        let statement = format!("CREATE DATABASE {name} TEMPLATE {template} {}", self.copying);
        patiently(|| self.control().batch_execute(&statement))
            .map_err(TestingError::querying("making a database"))
    }

    fn make_template(&self) -> Result<Template, TestingError> {
        let name = format!("{}_template", self.run);
        self.create(&name, "template0")?;
        let mut conn = PgConnection::establish(&self.url.database(&name).expose())
            .map_err(TestingError::connecting("the template database"))?;
        prepare_template(&mut conn, &self.key)?;
        drop(conn);
        let mut control = self.control();
        logins::join(&mut control)?;
        control
            .batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
            .map_err(TestingError::querying("closing the template"))?;
        let privileges = privileges(&mut control, &name)
            .map_err(TestingError::querying("reading the template's privileges"))?;
        Ok(Template { name, privileges })
    }

    /// Drops a database, whoever is connected to it. Nobody is told of a failure: what is left is
    /// removed when the run ends.
    pub(super) fn drop_database(&self, name: &str) {
        let _ =
            self.control().batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
    }
}

/// What the environment asks for, or else the first kind of server there is.
fn choose(run: &str) -> Result<Started, TestingError> {
    match variable("SESARI_TEST_SERVER").as_deref() {
        Some("url") => external::start(run),
        Some("binaries") => match binaries::find()? {
            Some(bin) => binaries::start(&bin),
            None => Err(TestingError::NoServer(format!(
                "SESARI_TEST_SERVER is `binaries`, but there are none: {}",
                binaries::HOW_TO_INSTALL
            ))),
        },
        Some("docker") => docker::start(),
        Some(other) => Err(TestingError::NoServer(format!(
            "SESARI_TEST_SERVER is `{other}`: set it to `url`, `binaries` or `docker`, or unset it \
             to take the first of these that is there"
        ))),
        None if variable("SESARI_TEST_URL").is_some() => external::start(run),
        None => match binaries::find()? {
            Some(bin) => binaries::start(&bin),
            None => docker::start().map_err(|error| match error {
                TestingError::NoServer(docker) => TestingError::NoServer(format!(
                    "SESARI_TEST_URL is not set; there are no PostgreSQL binaries ({}); {docker}",
                    binaries::HOW_TO_INSTALL
                )),
                other => other,
            }),
        },
    }
}

/// Connects as soon as the server lets us; otherwise says why it did not.
pub(super) fn wait_until_ready(
    url: &ServerUrl,
    gave_up: &mut dyn FnMut() -> bool,
) -> Result<PgConnection, String> {
    let address = format!("{}?connect_timeout=5", url.expose());
    let start = Instant::now();
    loop {
        let ended = gave_up();
        match PgConnection::establish(&address) {
            Ok(conn) => return Ok(conn),
            Err(_) if ended => return Err("the server stopped".to_owned()),
            Err(error) if start.elapsed() > TIMEOUT => {
                return Err(format!("no connection after {} s: {error}", TIMEOUT.as_secs()));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Drops the databases of runs that are gone and could not drop them.
fn sweep(control: &mut PgConnection) -> Result<(), TestingError> {
    let left_behind: Vec<Line> = diesel::sql_query(format!(
        "SELECT format('DROP DATABASE IF EXISTS %I WITH (FORCE)', datname) AS line \
         FROM pg_database \
         WHERE datname ~ '^sesari_test_[0-9a-f]{{8}}_' AND NOT EXISTS ( \
             SELECT FROM pg_locks l \
             WHERE l.locktype = 'advisory' AND l.classid = {ALIVE} AND l.objsubid = 2 \
               AND l.objid = ('x' || substr(datname, 13, 8))::bit(32)::bigint::oid \
         )"
    ))
    .load(control)
    .map_err(TestingError::querying("looking for databases of earlier runs"))?;
    for Line { line } in left_behind {
        // Another run may be sweeping too, and another login's databases are not ours to drop.
        let _ = control.batch_execute(&line);
    }
    Ok(())
}

/// The statements that give a clone the template's privileges on the database itself, such as that
/// PUBLIC may not make temporary tables: `CREATE DATABASE` does not copy those.
fn privileges(control: &mut PgConnection, template: &str) -> diesel::QueryResult<String> {
    let lines: Vec<Line> = diesel::sql_query(
        "WITH template AS ( \
             SELECT datacl FROM pg_database WHERE datname = $1 AND datacl IS NOT NULL \
         ) \
         SELECT 'REVOKE ALL ON DATABASE {} FROM PUBLIC;' AS line FROM template \
         UNION ALL \
         SELECT format('GRANT %s ON DATABASE {} TO %s%s;', acl.privilege_type, \
             CASE acl.grantee WHEN 0 THEN 'PUBLIC' \
                 ELSE quote_ident(pg_get_userbyid(acl.grantee)) END, \
             CASE WHEN acl.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) \
         FROM template, aclexplode(template.datacl) AS acl",
    )
    .bind::<Text, _>(template)
    .load(control)?;
    Ok(lines.into_iter().map(|Line { line }| line).collect())
}
