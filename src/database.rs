//! [`Database`]: the pools, the limits, and the check that nothing is served from an unsafe
//! database.

#[cfg(feature = "tokio")]
mod async_database;
mod builder;
pub(crate) mod fair_queue;
mod health;
mod import;
pub(crate) mod isolation;
pub(crate) mod login_pool;
mod pooler;
mod replica;
mod retention;
mod rotation;
mod scope;
mod unit;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::credentials::SealingKeyRing;
use crate::error::{Error, Result};
use crate::id::{UserId, WorkspaceId};
use crate::tenancy::transaction::{BeginOptions, Timeouts};
use crate::tenancy::{
    Actor, ContextKeyRing, ServiceConnection, ServiceName, TenantConnection, UserConnection,
};

use builder::Units;
use isolation::Declared;
use login_pool::LoginPool;
use replica::Replica;

#[cfg(feature = "tokio")]
pub use async_database::AsyncDatabase;
pub use builder::DatabaseBuilder;
pub use health::{Health, PoolHealth, ReplicaHealth};
pub use isolation::{
    Finding, Hardening, HardeningState, IsolationOptions, IsolationReport, Rule, Severity, rule,
    rules,
};
pub use replica::WriteMark;
pub use rotation::Rotation;
pub use scope::{Guard, Scope};

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
    tenant: Arc<LoginPool>,
    service: Option<Arc<LoginPool>>,
    replica: Option<Replica>,
    timeouts: Timeouts,
    pool_timeout: Duration,
    units: Units,
    sealing_keys: Option<SealingKeyRing>,
    tables: Declared,
    fingerprint: String,
    is_draining: AtomicBool,
}

impl Database {
    /// Configures a database from the URL of the tenant login (`postgres://...`) and the keys to
    /// sign contexts with.
    pub fn builder(
        tenant_url: impl Into<String>,
        keys: impl Into<ContextKeyRing>,
    ) -> DatabaseBuilder {
        DatabaseBuilder::new(tenant_url.into(), keys.into())
    }

    /// Begins a transaction of an actor in a workspace.
    ///
    /// Somebody who is not a member gets a guard through which there is nothing to see.
    ///
    /// # Errors
    /// [`Error::PoolTimeout`], [`Error::Overloaded`], [`Error::ShuttingDown`], [`Error::ConnectionLost`],
    /// [`Error::ContextExpired`] and [`Error::ContextKeyUnknown`]; [`Error::Config`] when a pooler's mode has been changed since the
    /// database was built.
    pub fn tenant(
        &self,
        actor: impl Into<Actor>,
        workspace: &WorkspaceId,
    ) -> Result<TenantConnection> {
        self.begin(&Scope::tenant(actor, workspace))
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
        self.begin(&Scope::tenant(actor, workspace).read_only())
    }

    /// Begins a transaction of a signed-in user outside of any workspace.
    ///
    /// # Errors
    /// As [`tenant`](Self::tenant).
    pub fn user(&self, user: &UserId) -> Result<UserConnection> {
        self.begin(&Scope::user(user))
    }

    /// Like [`user`](Self::user), in a transaction that cannot write.
    ///
    /// # Errors
    /// As [`tenant`](Self::tenant); a write is [`Error::ReadOnly`].
    pub fn user_read_only(&self, user: &UserId) -> Result<UserConnection> {
        self.begin(&Scope::user(user).read_only())
    }

    /// Begins a transaction of a service of yours outside of any workspace, with the service login.
    ///
    /// # Errors
    /// As [`tenant`](Self::tenant), and [`Error::Config`] when no service login is configured.
    pub fn service(&self, service: &ServiceName) -> Result<ServiceConnection> {
        self.begin(&Scope::service(service))
    }

    /// Like [`service`](Self::service), in a transaction that cannot write.
    ///
    /// # Errors
    /// As [`service`](Self::service); a write is [`Error::ReadOnly`].
    pub fn service_read_only(&self, service: &ServiceName) -> Result<ServiceConnection> {
        self.begin(&Scope::service(service).read_only())
    }

    /// Runs the check of start-up again, by a new connection for each login, and compares the
    /// fingerprint with the one of start-up. For a health check every few minutes, or a pipeline.
    ///
    /// # Errors
    /// [`Error::Connect`] when the server cannot be reached or does not let a login in. What is found
    /// is not an error but the report.
    pub fn check_isolation(&self) -> Result<IsolationReport> {
        let mut report = IsolationReport::default();
        for pool in self.pools() {
            let options = IsolationOptions::new(pool.role, self.0.tables.clone());
            report.extend(IsolationReport::check_connection(&mut pool.manager.open()?, &options)?);
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

    fn begin<G: Guard>(&self, scope: &Scope<G>) -> Result<G> {
        let pool = scope.pool(self)?;
        let now = Instant::now();
        let options = BeginOptions {
            access: scope.access,
            timeouts: self.0.timeouts,
            until: now.checked_add(self.0.pool_timeout).unwrap_or(now),
            is_single: scope.is_single,
            #[cfg(feature = "tokio")]
            watch: None,
        };
        let permit = pool.enter(scope.queue_key(), options.until)?;
        scope.guard(scope.begin(pool, permit, &options)?, self)
    }

    fn service_pool(&self) -> Result<&Arc<LoginPool>> {
        let service = self.0.service.as_ref();
        service.ok_or_else(|| Error::Config("no service_url is configured".into()))
    }

    fn pools(&self) -> impl Iterator<Item = &Arc<LoginPool>> {
        std::iter::once(&self.0.tenant).chain(&self.0.service)
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("tenant", &self.0.tenant.connections.state())
            .field("service", &self.0.service.as_ref().map(|pool| pool.connections.state()))
            .finish_non_exhaustive()
    }
}
