//! [`DatabaseBuilder`]: the settings, and the check that nothing is served from an unsafe database.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::fair_queue::Limits;
use super::isolation::{Declared, IsolationOptions, IsolationReport};
use super::login_pool::{LoginPool, REPLICA};
use super::replica::Replica;
use super::{Database, Inner, pooler};
use crate::clock::Clock;
use crate::connection::{PgConnection, Target};
use crate::credentials::SealingKeyRing;
use crate::error::{Error, Result};
use crate::observe;
use crate::tenancy::ContextKeyRing;
use crate::tenancy::session::SessionManager;
use crate::tenancy::transaction::{DatabaseRole, Timeouts};

/// More connections than any server takes.
const MAX_POOL: u32 = 10_000;
/// The longest that anything waits for.
pub(super) const MAX_TIMEOUT: Duration = Duration::from_hours(24);

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
/// | [`slow_operation`](Self::slow_operation) | 1 s |
/// | [`unit_deadline`](Self::unit_deadline) | 30 s |
/// | [`unit_attempts`](Self::unit_attempts) | 10 |
/// | [`workspace_share`](Self::workspace_share) | 0.5 |
/// | [`actor_share`](Self::actor_share) | 0.5 |
/// | [`queue_limit`](Self::queue_limit) | 1 000 callers for each login |
/// | [`replica_timeout`](Self::replica_timeout) | 0.5 s |
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
    units: Units,
    workspace_share: f64,
    actor_share: f64,
    queue_limit: usize,
    replica_url: Option<String>,
    replica_timeout: Duration,
    transaction_pooler: bool,
    clock: Clock,
    sealing_keys: Option<SealingKeyRing>,
    tables: Declared,
    fingerprint: Option<String>,
    slow_operation: Option<Duration>,
}

/// What units of work have unless their scope says otherwise.
#[derive(Debug, Clone, Copy)]
pub(super) struct Units {
    pub(super) deadline: Duration,
    pub(super) attempts: u32,
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
    pub(super) fn new(tenant_url: String, keys: ContextKeyRing) -> Self {
        Self {
            tenant_url,
            service_url: None,
            keys,
            pool_size: 10,
            pool_timeout: Duration::from_secs(5),
            connection_lifetime: Duration::from_mins(30),
            timeouts: Timeouts {
                statement: Duration::from_secs(30),
                lock: Duration::from_secs(5),
                idle: Duration::from_mins(1),
            },
            units: Units { deadline: Duration::from_secs(30), attempts: 10 },
            workspace_share: 0.5,
            actor_share: 0.5,
            queue_limit: 1000,
            replica_url: None,
            replica_timeout: Duration::from_millis(500),
            transaction_pooler: false,
            clock: Clock::system(),
            sealing_keys: None,
            tables: Declared::default(),
            fingerprint: None,
            slow_operation: None,
        }
    }

    /// URL of the service login, for [`Database::service`]. Without it there is no service scope.
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

    /// How long a [unit of work](Database::run) may take until its commit is sent, attempts and waiting
    /// included. The statements of an attempt are limited to what is left of it.
    pub fn unit_deadline(mut self, deadline: Duration) -> Self {
        self.units.deadline = deadline;
        self
    }

    /// How often a [unit of work](Database::run) is tried at most, at least once. Ten attempts bridge
    /// about three seconds, which a failover may take.
    pub fn unit_attempts(mut self, attempts: u32) -> Self {
        self.units.attempts = attempts;
        self
    }

    /// The largest share of the tenants' connections that one workspace may use at a time, above 0 and up
    /// to 1, rounded down to at least one connection, and its share of the queue; 0.5 unless set. It bounds
    /// what a workspace that floods the service takes from the others. A service with a single workspace
    /// that matters may set 1. Users outside of any workspace have such a share together.
    ///
    /// A thread that holds so many guards of one workspace and asks for another waits for itself.
    pub fn workspace_share(mut self, share: f64) -> Self {
        self.workspace_share = share;
        self
    }

    /// The same for one actor, in all workspaces together: a user, or a background service by its name;
    /// 0.5 unless set. Which workspace a caller asks for says nothing about membership, so a share of
    /// workspaces alone would not bound one who asks for many. Services outside of any workspace have a
    /// pool of their own, and all of it.
    pub fn actor_share(mut self, share: f64) -> Self {
        self.actor_share = share;
        self
    }

    /// How many callers may wait for a connection of a login. When so many do, the newest caller of the
    /// actor who waits most often is turned away with [`Error::Overloaded`], or the one who asks.
    pub fn queue_limit(mut self, callers: usize) -> Self {
        self.queue_limit = callers;
        self
    }

    /// URL of the tenant login on a standby, for [units of work](Database::run) that
    /// [ask for it](crate::Scope::from_replica). It gets a pool of its own, of the same size, and the same check
    /// as the primary before it is used. It is opened in the background, and need not be there when
    /// the database is built: until it is, the primary answers.
    pub fn replica_url(mut self, url: impl Into<String>) -> Self {
        self.replica_url = Some(url.into());
        self
    }

    /// How long a read may wait for the replica to catch up, before the primary answers it.
    pub fn replica_timeout(mut self, timeout: Duration) -> Self {
        self.replica_timeout = timeout;
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

    /// How long an operation of a repository takes that is [told of](crate::observe) as slow, to the
    /// microsecond; 1 second unless set. It holds for the whole process: of several databases, the one
    /// that was built last with this setting decides.
    pub fn slow_operation(mut self, threshold: Duration) -> Self {
        self.slow_operation = Some(threshold);
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
        for (name, duration) in [
            ("pool_timeout", self.pool_timeout),
            ("unit_deadline", self.units.deadline),
            ("replica_timeout", self.replica_timeout),
        ] {
            if duration > MAX_TIMEOUT {
                return Err(Error::Config(format!("{name} exceeds a day")));
            }
        }
        if self.units.deadline.is_zero() || self.units.attempts == 0 {
            return Err(Error::Config("unit_deadline or unit_attempts is 0".into()));
        }
        for (name, share) in
            [("workspace_share", self.workspace_share), ("actor_share", self.actor_share)]
        {
            if !(share > 0.0 && share <= 1.0) {
                return Err(Error::Config(format!("{name} is not above 0 and up to 1")));
            }
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
        if let Some(threshold) = self.slow_operation {
            observe::set_slow(threshold);
        }
        let fingerprint = report.fingerprint().to_owned();
        let tenant = Arc::new(self.pool("tenant", DatabaseRole::Tenant, tenant)?);
        let service = service.map(|opened| self.pool("service", DatabaseRole::Service, opened));
        Ok(Database(Arc::new(Inner {
            tenant,
            service: service.transpose()?.map(Arc::new),
            replica: self.replica(&fingerprint),
            timeouts: self.timeouts,
            pool_timeout: self.pool_timeout,
            units: self.units,
            sealing_keys: self.sealing_keys,
            tables: self.tables,
            fingerprint,
            is_draining: AtomicBool::new(false),
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
        let target = Target::parse(url).map_err(|error| Error::Config(error.to_string()))?;
        let manager = SessionManager {
            target: Arc::new(target),
            keys: Arc::new(self.keys.clone()),
            clock: self.clock.clone(),
            role,
            timeouts: self.timeouts,
            connect_within: self.pool_timeout,
            pooled_elsewhere: self.transaction_pooler,
        };
        let mut conn = manager.open()?;
        if self.transaction_pooler {
            pooler::refuse_statement_mode(&mut conn)?;
        } else {
            pooler::refuse_transaction_mode(&manager, &mut conn, self.pool_timeout)?;
        }
        let options = IsolationOptions::new(role, self.tables.clone());
        report.extend(IsolationReport::check_connection(&mut conn, &options)?);
        Ok((manager, conn))
    }

    fn pool(
        &self,
        name: &'static str,
        role: DatabaseRole,
        opened: (SessionManager, PgConnection),
    ) -> Result<LoginPool> {
        LoginPool::open(
            name,
            role,
            opened,
            self.limits(),
            self.pool_timeout,
            self.connection_lifetime,
        )
    }

    fn limits(&self) -> Limits {
        let connections = self.pool_size as usize;
        let part = |of: usize, share: f64| if share < 1.0 { part(of, share).max(1) } else { of };
        Limits {
            connections,
            connections_each: part(connections, self.workspace_share),
            connections_actor: part(connections, self.actor_share),
            queue: self.queue_limit,
            queue_each: part(self.queue_limit, self.workspace_share),
            queue_actor: part(self.queue_limit, self.actor_share),
        }
    }

    fn replica(&self, fingerprint: &str) -> Option<Replica> {
        let (url, builder) = (self.replica_url.clone()?, self.clone());
        let fingerprint = fingerprint.to_owned();
        let open = move || {
            let mut report = IsolationReport::default();
            let opened = builder.check(&url, DatabaseRole::Tenant, &mut report)?;
            report.expect_fingerprint(&fingerprint);
            if report.is_safe() {
                builder.pool(REPLICA, DatabaseRole::Tenant, opened)
            } else {
                Err(Error::Unsafe(report))
            }
        };
        Some(Replica::new(open, self.replica_timeout))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a share of a number is no larger than it"
)]
fn part(of: usize, share: f64) -> usize {
    (of as f64 * share) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What isolates tenants from each other's load is on unless it is turned off.
    #[test]
    fn half_of_the_connections_is_anybodys_share_unless_set() {
        let keys = crate::tenancy::ContextKey::generate("k1");
        let builder = DatabaseBuilder::new("postgres://u@h/d".into(), keys.unwrap().into());
        let limits = builder.clone().limits();
        assert_eq!((limits.connections_each, limits.connections_actor), (5, 5));
        assert_eq!((limits.queue_each, limits.queue_actor), (500, 500));
        for (connections, each) in [(1, 1), (2, 1), (3, 1), (4, 2)] {
            let limits = builder.clone().pool_size(connections).limits();
            assert_eq!((limits.connections_each, limits.connections_actor), (each, each));
        }
        assert_eq!(builder.workspace_share(1.0).limits().connections_each, 10);
    }
}
