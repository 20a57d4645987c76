//! [`Database::health`] for probes, and the shutdown.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Double, Nullable, Text};

use super::Database;
use super::replica::WriteMark;
use crate::connection::PgConnection;
use crate::error::{Error, Result};
use crate::isolation::live_fingerprint;
use crate::tenancy::login_pool::LoginPool;

/// What [`Database::health`] found.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct Health {
    /// The tenants' login.
    pub tenant: PoolHealth,
    /// The services' login, where one is configured.
    pub service: Option<PoolHealth>,
    /// The replica, where one is configured.
    pub replica: Option<ReplicaHealth>,
    /// The newest migration that is applied; `None` where it could not be read.
    pub schema_version: Option<String>,
    /// The isolation fingerprint of the schema as it is now; `None` where it could not be read.
    pub fingerprint: Option<String>,
    /// Whether the schema is still the one that was checked at start-up.
    pub is_schema_unchanged: bool,
    /// Whether [`Database::drain`] or [`Database::shut_down`] has been called.
    pub is_draining: bool,
}

impl Health {
    /// Whether this process should get requests: the primary answers both logins, takes writes and knows a key
    /// that contexts are signed with, and no shutdown has been requested.
    ///
    /// A missing replica, busy pools or a changed schema do not count: a migration would make every process
    /// unready at once. Alert on [`is_schema_unchanged`](Self::is_schema_unchanged), and have
    /// [`check_isolation`](Database::check_isolation) say what changed.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let mut pools = std::iter::once(&self.tenant).chain(&self.service);
        !self.is_draining && pools.all(|pool| pool.takes_writes && pool.context_key.is_some())
    }
}

/// One login and its pool.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct PoolHealth {
    /// Connections that the pool may have.
    pub max_connections: usize,
    /// Open connections that are not in use.
    pub idle: usize,
    /// Guards that are open, or about to be.
    pub in_use: usize,
    /// Callers that wait for a connection.
    pub waiting: usize,
    /// How long the server took to answer, in milliseconds; `None` where it did not.
    pub latency_ms: Option<f64>,
    /// Whether the server takes writes, as a primary does.
    pub takes_writes: bool,
    /// Id of the key that contexts are signed with: the first of those configured that the server
    /// knows. `None` where it knows none, so that every unit of work fails with
    /// [`ContextKeyUnknown`](Error::ContextKeyUnknown).
    pub context_key: Option<String>,
    /// The [kind](Error::kind) of error with which it did not answer, or does not serve.
    pub error: Option<&'static str>,
}

/// The standby.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct ReplicaHealth {
    /// The login and its pool; `None` until the replica has been reached and checked.
    pub pool: Option<PoolHealth>,
    /// How much of the primary's log it has not replayed, in bytes.
    pub lag_bytes: Option<u64>,
    /// How old the last transaction that it replayed is, in seconds; 0 where nothing is missing.
    pub lag_seconds: Option<f64>,
}

impl Database {
    /// Asks each server for its health, by a connection beside the pools, so that a full pool does not
    /// fail a probe. Takes some tens of milliseconds, most of it for the fingerprint; for probes every few seconds.
    ///
    /// Never fails: what fails is in the answer.
    #[must_use]
    pub fn health(&self) -> Health {
        let inner = &self.0;
        let tenant = probe(&inner.tenant);
        let fingerprint =
            inner.tenant.with_side_connection(|conn| live_fingerprint(conn, &inner.tables)).ok();
        Health {
            service: inner.service.as_deref().map(probe),
            replica: inner
                .replica
                .as_ref()
                .map(|replica| self.probe_replica(replica.opened().as_deref())),
            schema_version: inner.tenant.with_side_connection(schema_version).ok().flatten(),
            is_schema_unchanged: fingerprint.as_ref() == Some(&inner.fingerprint),
            fingerprint,
            is_draining: inner.is_draining.load(Ordering::Relaxed),
            tenant,
        }
    }

    fn probe_replica(&self, pool: Option<&LoginPool>) -> ReplicaHealth {
        let mut health =
            ReplicaHealth { pool: pool.map(probe), lag_bytes: None, lag_seconds: None };
        // The primary is asked first: what the replica has replayed by then cannot make its lag too large.
        if let (Some(pool), Ok(mark)) = (pool, self.write_mark())
            && let Ok((replayed, age)) = pool.with_side_connection(replayed)
        {
            let lag = mark.bytes_after(replayed);
            health.lag_bytes = Some(lag);
            health.lag_seconds = if lag == 0 { Some(0.0) } else { age };
        }
        health
    }

    /// Makes [`Health::is_ready`] false from now on, and changes nothing else: for the time between the signal to
    /// stop and the last request.
    pub fn drain(&self) {
        self.0.is_draining.store(true, Ordering::Relaxed);
    }

    /// Shuts down: all waiting and all later callers get [`Error::ShuttingDown`], while open guards go on. Returns
    /// when the last guard is closed, or after `timeout`, and says how many are still open.
    ///
    /// Dropping the last clone of the database then closes the connections.
    pub fn shut_down(&self, timeout: Duration) -> usize {
        self.drain();
        let replica = self.0.replica.as_ref();
        let opened = replica.and_then(super::replica::Replica::opened);
        if let Some(replica) = replica {
            replica.close();
        }
        self.pools().for_each(|pool| pool.close());
        let now = Instant::now();
        let until = now.checked_add(timeout).unwrap_or(now + super::builder::MAX_TIMEOUT);
        self.pools().chain(&opened).map(|pool| pool.queue.drain(until)).sum()
    }
}

fn probe(pool: &LoginPool) -> PoolHealth {
    let asked = Instant::now();
    let answer = pool.with_side_connection(|conn| {
        let standby = diesel::select(sql::<Bool>("pg_catalog.pg_is_in_recovery()"));
        Ok(standby.get_result::<bool>(conn)?)
    });
    let latency = asked.elapsed();
    let key = pool.with_side_connection(|conn| pool.manager.key_in_use(conn));
    let (queue, state) = (pool.queue.stats(), pool.connections.state());
    PoolHealth {
        max_connections: pool.connections.max_size() as usize,
        idle: state.idle_connections as usize,
        in_use: queue.active,
        waiting: queue.waiting,
        latency_ms: answer.is_ok().then_some(latency.as_secs_f64() * 1000.0),
        takes_writes: matches!(answer, Ok(false)),
        error: match (&answer, &key) {
            (Err(error), _) | (Ok(_), Err(error)) => Some(error.kind()),
            (Ok(_), Ok(None)) => Some(Error::ContextKeyUnknown.kind()),
            (Ok(_), Ok(Some(_))) => None,
        },
        context_key: key.ok().flatten(),
    }
}

fn schema_version(conn: &mut PgConnection) -> Result<Option<String>> {
    let newest = sql::<Nullable<Text>>("(SELECT max(v) FROM sesari.applied_migrations() AS v)");
    Ok(diesel::select(newest).get_result(conn)?)
}

fn replayed(conn: &mut PgConnection) -> Result<(WriteMark, Option<f64>)> {
    let (mark, age): (Option<String>, Option<f64>) = diesel::select((
        sql::<Nullable<Text>>("pg_catalog.pg_last_wal_replay_lsn()::text"),
        sql::<Nullable<Double>>(
            "extract(epoch FROM pg_catalog.clock_timestamp() \
             - pg_catalog.pg_last_xact_replay_timestamp())::double precision",
        ),
    ))
    .get_result(conn)?;
    // A promoted server replays nothing, and has no lag.
    let mark = mark.map_or(Ok(WriteMark::LAST), |mark| mark.parse())?;
    Ok((mark, age))
}
