//! The connection pool of one login, with its queue and a side connection.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use r2d2::PooledConnection;

use crate::actor::Actor;
use crate::connection::PgConnection;
use crate::error::{Error, Result};
use crate::id::UserId;
use crate::queue::{FairQueue, Limits, Permit, QueueKey, timed_out};
use crate::tenancy::session::SessionManager;
use crate::tenancy::transaction::DatabaseRole;

/// The name of the replica's pool. The others are `tenant` and `service`.
pub(crate) const REPLICA: &str = "replica";

pub(crate) struct LoginPool {
    pub(crate) connections: r2d2::Pool<SessionManager>,
    // r2d2 does not expose its manager, and signing needs one.
    pub(crate) manager: SessionManager,
    pub(crate) role: DatabaseRole,
    pub(crate) queue: FairQueue,
    /// A connection outside of the pool, so that health probes do not wait for a pooled one.
    side: Mutex<Option<PgConnection>>,
}

impl LoginPool {
    /// Opens the pool for a login whose first connection passed the isolation check.
    pub(crate) fn open(
        name: &'static str,
        role: DatabaseRole,
        (manager, conn): (SessionManager, PgConnection),
        limits: Limits,
        timeout: Duration,
        lifetime: Duration,
    ) -> Result<Self> {
        // Fails unless the database knows one of the keys.
        let session = manager.session(conn)?;
        manager.sign(&session.facts, &Actor::from(UserId::generate()), None)?;
        let pool = r2d2::Pool::builder()
            .max_size(u32::try_from(limits.connections).unwrap_or(u32::MAX))
            .min_idle(Some(0))
            .connection_timeout(timeout)
            .max_lifetime(Some(lifetime))
            // A round trip for every check-out; see `SessionManager::is_valid`.
            .test_on_check_out(false)
            .build_unchecked(manager.clone());
        Ok(Self {
            connections: pool,
            manager,
            role,
            queue: FairQueue::new(name, limits),
            side: Mutex::new(None),
        })
    }

    /// Waits for a turn.
    pub(crate) fn enter(&self, key: QueueKey, until: Instant) -> Result<Permit> {
        self.queue.ask(key)?.wait(until.saturating_duration_since(Instant::now()))
    }

    /// Takes a connection for the holder of a permit: the pool has an idle one, or may open one.
    pub(crate) fn connection(&self, until: Instant) -> Result<PooledConnection<SessionManager>> {
        if let Some(session) = self.connections.try_get() {
            return Ok(session);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(timed_out());
        }
        let opened = self.connections.get_timeout(left);
        opened.map_err(|error| Error::PoolTimeout { reason: error.to_string() })
    }

    /// Runs `ask` on the side connection, one caller at a time. Opens the connection on first use and after
    /// each loss.
    pub(crate) fn with_side_connection<T>(
        &self,
        ask: impl Fn(&mut PgConnection) -> Result<T>,
    ) -> Result<T> {
        let mut side = self.side.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut conn) = side.take() {
            match ask(&mut conn) {
                Err(Error::ConnectionLost(_)) => {}
                answer => {
                    *side = Some(conn);
                    return answer;
                }
            }
        }
        let mut conn = self.manager.open()?;
        let answer = ask(&mut conn)?;
        *side = Some(conn);
        Ok(answer)
    }

    pub(crate) fn is_replica(&self) -> bool {
        self.queue.name() == REPLICA
    }

    /// Rejects all callers from now on. Connections in use are closed when the pool is dropped.
    pub(crate) fn close(&self) {
        self.queue.close();
        self.side.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
