//! [`Database`]: the pools, the limits, and the check that nothing is served from an unsafe
//! database.

mod import;
pub(crate) mod isolation;
mod pooler;
mod retention;
mod rotation;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use diesel::pg::PgConnection;

use crate::clock::Clock;
use crate::credentials::SealingKeyRing;
use crate::error::{Error, Result};
use crate::id::{UserId, WorkspaceId};
use crate::tenancy::session::SessionManager;
use crate::tenancy::transaction::{Access, DatabaseRole, Timeouts, Transaction};
use crate::tenancy::{
    Actor, ContextKeyRing, ServiceConnection, ServiceName, TenantConnection, UserConnection,
};

use isolation::Declared;
pub use isolation::{
    Finding, Hardening, HardeningState, IsolationOptions, IsolationReport, Rule, Severity, rule,
    rules,
};
pub use rotation::Rotation;

/// More connections than any server takes.
const MAX_POOL: u32 = 10_000;
const MAX_POOL_TIMEOUT: Duration = Duration::from_hours(24);

/// The way in: holds the connection pools and hands out guards. Cheap to clone, and shared between
/// threads.
///
/// ```no_run
/// use sesari_db::Database;
/// use sesari_db::tenancy::ContextKeyRing;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys: ContextKeyRing = std::env::var("SESARI_CONTEXT_KEYS")?.parse()?;
/// let db = Database::builder(std::env::var("SESARI_TENANT_URL")?, keys)
///     .service_url(std::env::var("SESARI_SERVICE_URL")?)
///     .pool_size(16)
///     .build()?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Database(Arc<Inner>);

struct Inner {
    tenant: Door,
    service: Option<Door>,
    timeouts: Timeouts,
    sealing_keys: Option<SealingKeyRing>,
    tables: Declared,
    fingerprint: String,
}

/// One login and its pool.
struct Door {
    pool: r2d2::Pool<SessionManager>,
    // r2d2 keeps its manager to itself, and signing needs one.
    manager: SessionManager,
    role: DatabaseRole,
}

/// Configures a [`Database`].
///
/// | setting | default |
/// |---|---|
/// | [`pool_size`](Self::pool_size) | 10 connections for each login |
/// | [`pool_timeout`](Self::pool_timeout) | 5 s |
/// | [`statement_timeout`](Self::statement_timeout) | 30 s |
/// | [`lock_timeout`](Self::lock_timeout) | 5 s |
/// | [`idle_in_transaction_timeout`](Self::idle_in_transaction_timeout) | 60 s |
/// | [`connection_lifetime`](Self::connection_lifetime) | 30 min |
#[must_use = "a builder does nothing until `build`"]
#[derive(Clone)]
pub struct DatabaseBuilder {
    tenant_url: String,
    service_url: Option<String>,
    keys: ContextKeyRing,
    pool_size: u32,
    pool_timeout: Duration,
    connection_lifetime: Duration,
    timeouts: Timeouts,
    transaction_pooler: bool,
    clock: Clock,
    sealing_keys: Option<SealingKeyRing>,
    tables: Declared,
    fingerprint: Option<String>,
}

impl Database {
    /// Configures a database from the URL of the tenant login (`postgres://...`) and the keys to
    /// sign contexts with.
    pub fn builder(
        tenant_url: impl Into<String>,
        keys: impl Into<ContextKeyRing>,
    ) -> DatabaseBuilder {
        DatabaseBuilder {
            tenant_url: tenant_url.into(),
            service_url: None,
            keys: keys.into(),
            pool_size: 10,
            pool_timeout: Duration::from_secs(5),
            connection_lifetime: Duration::from_mins(30),
            timeouts: Timeouts {
                statement: Duration::from_secs(30),
                lock: Duration::from_secs(5),
                idle: Duration::from_mins(1),
            },
            transaction_pooler: false,
            clock: Clock::system(),
            sealing_keys: None,
            tables: Declared::default(),
            fingerprint: None,
        }
    }

    /// Begins a transaction of an actor in a workspace.
    ///
    /// Somebody who is not a member gets a guard through which there is nothing to see.
    ///
    /// # Errors
    /// [`Error::PoolTimeout`], [`Error::ConnectionLost`], [`Error::ContextExpired`] and
    /// [`Error::ContextKeyUnknown`]; [`Error::Config`] when a pooler's mode has been changed since the
    /// database was built.
    pub fn tenant(
        &self,
        actor: impl Into<Actor>,
        workspace: &WorkspaceId,
    ) -> Result<TenantConnection> {
        self.begin_tenant(actor.into(), workspace, Access::ReadWrite)
    }

    /// Like [`tenant`](Self::tenant), in a transaction that cannot write.
    ///
    /// # Errors
    /// As [`tenant`](Self::tenant); a write is [`Error::ReadOnly`].
    pub fn tenant_read_only(
        &self,
        actor: impl Into<Actor>,
        workspace: &WorkspaceId,
    ) -> Result<TenantConnection> {
        self.begin_tenant(actor.into(), workspace, Access::ReadOnly)
    }

    /// Begins a transaction of a signed-in user outside of any workspace.
    ///
    /// # Errors
    /// As [`tenant`](Self::tenant).
    pub fn user(&self, user: &UserId) -> Result<UserConnection> {
        self.begin_user(user, Access::ReadWrite)
    }

    /// Like [`user`](Self::user), in a transaction that cannot write.
    ///
    /// # Errors
    /// As [`tenant`](Self::tenant); a write is [`Error::ReadOnly`].
    pub fn user_read_only(&self, user: &UserId) -> Result<UserConnection> {
        self.begin_user(user, Access::ReadOnly)
    }

    /// Begins a transaction of a service of yours outside of any workspace, with the service login.
    ///
    /// # Errors
    /// As [`tenant`](Self::tenant), and [`Error::Config`] when no service login is configured.
    pub fn service(&self, service: &ServiceName) -> Result<ServiceConnection> {
        self.begin_service(service, Access::ReadWrite)
    }

    /// Like [`service`](Self::service), in a transaction that cannot write.
    ///
    /// # Errors
    /// As [`service`](Self::service); a write is [`Error::ReadOnly`].
    pub fn service_read_only(&self, service: &ServiceName) -> Result<ServiceConnection> {
        self.begin_service(service, Access::ReadOnly)
    }

    /// Runs the check of start-up again, by a new connection for each login, and compares the
    /// fingerprint with the one of start-up. For a health check every few minutes, or a pipeline.
    ///
    /// # Errors
    /// [`Error::Connect`] when the server cannot be reached or does not let a login in. What is found
    /// is not an error but the report.
    pub fn check_isolation(&self) -> Result<IsolationReport> {
        let mut report = IsolationReport::default();
        for door in std::iter::once(&self.0.tenant).chain(&self.0.service) {
            let options = IsolationOptions::new(door.role, self.0.tables.clone());
            report.extend(IsolationReport::check_connection(&mut door.manager.open()?, &options)?);
        }
        report.expect_fingerprint(&self.0.fingerprint);
        Ok(report)
    }

    /// The fingerprint of the schema as it is now, see [`IsolationReport::fingerprint`]: the quick half
    /// of [`check_isolation`](Self::check_isolation).
    ///
    /// # Errors
    /// As [`check_isolation`](Self::check_isolation).
    pub fn live_fingerprint(&self) -> Result<String> {
        isolation::live_fingerprint(&mut self.0.tenant.manager.open()?, &self.0.tables)
    }

    /// The fingerprint that the schema had at start-up.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.0.fingerprint
    }

    fn begin_tenant(
        &self,
        actor: Actor,
        workspace: &WorkspaceId,
        access: Access,
    ) -> Result<TenantConnection> {
        let transaction = self.0.tenant.begin(self.0.timeouts, access, &actor, Some(workspace))?;
        let keys = self.0.sealing_keys.clone();
        Ok(TenantConnection::new(transaction, actor, workspace.clone(), keys))
    }

    fn begin_user(&self, user: &UserId, access: Access) -> Result<UserConnection> {
        let transaction = self.0.tenant.begin(self.0.timeouts, access, &user.into(), None)?;
        Ok(UserConnection::new(transaction, user.clone()))
    }

    fn begin_service(&self, service: &ServiceName, access: Access) -> Result<ServiceConnection> {
        let door = self
            .0
            .service
            .as_ref()
            .ok_or_else(|| Error::Config("no service_url is configured".into()))?;
        let transaction = door.begin(self.0.timeouts, access, &service.into(), None)?;
        Ok(ServiceConnection::new(transaction, service.clone()))
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("tenant", &self.0.tenant.pool.state())
            .field("service", &self.0.service.as_ref().map(|door| door.pool.state()))
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for DatabaseBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URLs have passwords in them.
        f.debug_struct("DatabaseBuilder")
            .field("keys", &self.keys)
            .field("pool_size", &self.pool_size)
            .field("timeouts", &self.timeouts)
            .finish_non_exhaustive()
    }
}

impl DatabaseBuilder {
    /// URL of the service login, for [`Database::service`]. Without it that door stays shut.
    pub fn service_url(mut self, url: impl Into<String>) -> Self {
        self.service_url = Some(url.into());
        self
    }

    /// Keys to seal and open the credentials of integrations with. Without them both are
    /// [`Error::Config`].
    pub fn sealing_keys(mut self, keys: SealingKeyRing) -> Self {
        self.sealing_keys = Some(keys);
        self
    }

    /// How many connections to keep at most, for each login. The sum over all processes must stay
    /// under the server's `max_connections`.
    pub fn pool_size(mut self, connections: u32) -> Self {
        self.pool_size = connections;
        self
    }

    /// How long to wait for a free connection, and for a new one to open.
    pub fn pool_timeout(mut self, timeout: Duration) -> Self {
        self.pool_timeout = timeout;
        self
    }

    /// How long one statement may run, to the millisecond; zero for no limit.
    pub fn statement_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.statement = timeout;
        self
    }

    /// How long one statement may wait for a lock, to the millisecond; zero for no limit.
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.lock = timeout;
        self
    }

    /// How long a guard may sit between two statements before the server ends its transaction, to
    /// the millisecond; zero for no limit.
    pub fn idle_in_transaction_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.idle = timeout;
        self
    }

    /// How long a connection is kept before it is replaced.
    pub fn connection_lifetime(mut self, lifetime: Duration) -> Self {
        self.connection_lifetime = lifetime;
        self
    }

    /// The URLs lead to a pooler in transaction mode, such as `PgBouncer` or Supabase's: contexts
    /// are not bound to a backend, and no statement is prepared by name.
    ///
    /// A context is then protected by its signature and its short life alone. Read
    /// `docs/tenancy.md` before.
    pub fn behind_transaction_pooler(mut self) -> Self {
        self.transaction_pooler = true;
        self
    }

    /// Declares a tenants' table of your own beside ours, such as `public.invoices`, so that it is held
    /// to the rules that ours are held to. A table that a login reaches and nobody declared is refused.
    ///
    /// `docs/tenancy.md` has a template for its migration.
    pub fn tenant_table(mut self, table: impl Into<String>) -> Self {
        self.tables.tenant.push(Declared::name(table.into()));
        self
    }

    /// Declares a table of your own that all tenants may read, such as a list of countries. Nothing but
    /// `SELECT` may be granted on it, and row-level security must be on and forced.
    pub fn shared_table(mut self, table: impl Into<String>) -> Self {
        self.tables.shared.push(Declared::name(table.into()));
        self
    }

    /// The fingerprint that the schema must have, as recorded from
    /// [`IsolationReport::fingerprint`] with the same tables declared. Any other is refused.
    pub fn expect_fingerprint(mut self, fingerprint: impl Into<String>) -> Self {
        self.fingerprint = Some(fingerprint.into());
        self
    }

    /// The clock to measure elapsed time with, for tests.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Opens a connection for each login, checks that login and schema isolate tenants, and builds
    /// the pools.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting that makes no sense, for a pooler in statement mode, and for one in
    /// transaction mode without [`behind_transaction_pooler`](Self::behind_transaction_pooler); [`Error::Connect`] when the server cannot
    /// be reached or does not let a login in; [`Error::ContextKeyUnknown`] when none of the keys is installed;
    /// [`Error::Unsafe`] with every reason why this database would not isolate tenants.
    pub fn build(self) -> Result<Database> {
        for (name, duration) in [
            ("statement_timeout", self.timeouts.statement),
            ("lock_timeout", self.timeouts.lock),
            ("idle_in_transaction_timeout", self.timeouts.idle),
        ] {
            if i32::try_from(duration.as_millis()).is_err() {
                return Err(Error::Config(format!("{name} exceeds 24 days")));
            }
            if !duration.is_zero() && duration.as_millis() == 0 {
                return Err(Error::Config(format!("{name} is under a millisecond")));
            }
        }
        if !(1..=MAX_POOL).contains(&self.pool_size) {
            return Err(Error::Config(format!("pool_size is not within 1 to {MAX_POOL}")));
        }
        if self.pool_timeout > MAX_POOL_TIMEOUT {
            return Err(Error::Config("pool_timeout exceeds a day".into()));
        }
        if self.pool_timeout.is_zero() || self.connection_lifetime.is_zero() {
            return Err(Error::Config("pool_timeout or connection_lifetime is 0".into()));
        }
        let mut report = IsolationReport::default();
        let tenant = self.check(&self.tenant_url, DatabaseRole::Tenant, &mut report)?;
        let service = match &self.service_url {
            Some(url) => Some(self.check(url, DatabaseRole::Service, &mut report)?),
            None => None,
        };
        if let Some(expected) = &self.fingerprint {
            report.expect_fingerprint(expected);
        }
        if !report.is_safe() {
            return Err(Error::Unsafe(report));
        }
        let fingerprint = report.fingerprint().to_owned();
        let tenant = self.door(tenant, DatabaseRole::Tenant)?;
        let service = service.map(|door| self.door(door, DatabaseRole::Service)).transpose()?;
        Ok(Database(Arc::new(Inner {
            tenant,
            service,
            timeouts: self.timeouts,
            sealing_keys: self.sealing_keys,
            tables: self.tables,
            fingerprint,
        })))
    }

    /// Opens one connection by hand, as the pool would hide why it cannot be, and checks what the
    /// login could do with it.
    fn check(
        &self,
        url: &str,
        role: DatabaseRole,
        report: &mut IsolationReport,
    ) -> Result<(SessionManager, PgConnection)> {
        let manager = SessionManager {
            url: with_limits(url, self.pool_timeout)?,
            keys: Arc::new(self.keys.clone()),
            clock: self.clock.clone(),
            pooled_elsewhere: self.transaction_pooler,
        };
        let mut conn = manager.open()?;
        if self.transaction_pooler {
            pooler::refuse_statement_mode(&mut conn)?;
        } else {
            pooler::refuse_transaction_mode(&manager.url, &mut conn, self.pool_timeout)?;
        }
        let options = IsolationOptions::new(role, self.tables.clone());
        report.extend(IsolationReport::check_connection(&mut conn, &options)?);
        Ok((manager, conn))
    }

    fn door(
        &self,
        (manager, conn): (SessionManager, PgConnection),
        role: DatabaseRole,
    ) -> Result<Door> {
        // Finds out whether the database knows one of the keys.
        let session = manager.session(conn)?;
        manager.sign(&session, &Actor::from(UserId::generate()), None)?;
        let pool = r2d2::Pool::builder()
            .max_size(self.pool_size)
            .min_idle(Some(0))
            .connection_timeout(self.pool_timeout)
            .max_lifetime(Some(self.connection_lifetime))
            // A round trip for every check-out; see `SessionManager::is_valid`.
            .test_on_check_out(false)
            .build_unchecked(manager.clone());
        Ok(Door { pool, manager, role })
    }
}

impl Door {
    fn begin(
        &self,
        timeouts: Timeouts,
        access: Access,
        actor: &Actor,
        workspace: Option<&WorkspaceId>,
    ) -> Result<Transaction> {
        Transaction::begin(&self.pool, &self.manager, timeouts, self.role, access, actor, workspace)
    }
}

/// Limits that libpq does not have by itself, each unless the URL sets it. Without them it waits for a
/// silent server for as long as the kernel does: minutes to connect, two hours for an answer.
///
/// A host that is gone is noticed within half a minute, whether bytes are on their way to it (the last
/// setting) or an answer is awaited (the others). libpq leaves out what the system does not know.
fn with_limits(url: &str, connect: Duration) -> Result<String> {
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(Error::Config("expected a URL that starts with postgres://".into()));
    }
    // libpq takes whole seconds, and 1 as 2.
    let connect = connect.as_secs().max(2).to_string();
    let mut limited = url.to_owned();
    for (name, value) in [
        ("connect_timeout", connect.as_str()),
        ("keepalives_idle", "15"),
        ("keepalives_interval", "5"),
        ("keepalives_count", "3"),
        ("tcp_user_timeout", "30000"),
    ] {
        let set = url.split_once('?').is_some_and(|(_, parameters)| {
            parameters.split('&').any(|set| set.split('=').next() == Some(name))
        });
        if !set {
            limited.push(if limited.contains('?') { '&' } else { '?' });
            limited.extend([name, "=", value]);
        }
    }
    Ok(limited)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_added_unless_the_url_has_its_own() {
        let url = with_limits("postgres://u@h/d", Duration::from_millis(100)).unwrap();
        assert_eq!(
            url,
            "postgres://u@h/d?connect_timeout=2&keepalives_idle=15&keepalives_interval=5\
             &keepalives_count=3&tcp_user_timeout=30000"
        );
        let url = "postgres://u:keepalives_idle=@h,i/d?tcp_user_timeout=0&connect_timeout=9";
        let limited = with_limits(url, Duration::from_secs(5)).unwrap();
        assert_eq!(
            limited,
            format!("{url}&keepalives_idle=15&keepalives_interval=5&keepalives_count=3")
        );
    }
}
