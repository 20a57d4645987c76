//! One login: its pool, the queue before it, and a connection beside it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use r2d2::PooledConnection;

use super::fair_queue::{FairQueue, Limits, Permit, QueueKey, timed_out};
use crate::connection::PgConnection;
use crate::error::{Error, Result};
use crate::id::UserId;
use crate::tenancy::Actor;
use crate::tenancy::session::SessionManager;
use crate::tenancy::transaction::DatabaseRole;

/// The name of the replica's pool. The others are `tenant` and `service`.
pub(super) const REPLICA: &str = "replica";

pub(crate) struct LoginPool {
    pub(crate) connections: r2d2::Pool<SessionManager>,
    // r2d2 keeps its manager to itself, and signing needs one.
    pub(crate) manager: SessionManager,
    pub(crate) role: DatabaseRole,
    pub(crate) queue: FairQueue,
    /// A connection outside of the pool, for what must not wait for one: probes.
    side: Mutex<Option<PgConnection>>,
}

impl LoginPool {
    /// The pool over a connection that was checked.
    pub(super) fn open(
        name: &'static str,
        role: DatabaseRole,
        (manager, conn): (SessionManager, PgConnection),
        limits: Limits,
        timeout: Duration,
        lifetime: Duration,
    ) -> Result<Self> {
        // Finds out whether the database knows one of the keys.
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
    pub(super) fn enter(&self, key: QueueKey, until: Instant) -> Result<Permit> {
        self.queue.ask(key)?.wait(until.saturating_duration_since(Instant::now()))
    }

    /// A connection for one who has a permit: one of the pool is free, or may be opened.
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

    /// Asks by the connection beside the pool, one caller after the other. It is opened when it is
    /// wanted, and again where it turns out to be lost.
    pub(super) fn with_side_connection<T>(
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

    pub(super) fn is_replica(&self) -> bool {
        self.queue.name() == REPLICA
    }

    /// Lets nobody in any more. Connections that come back are closed with the pool.
    pub(super) fn close(&self) {
        self.queue.close();
        self.side.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
