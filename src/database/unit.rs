//! Units of work: [`Database::run`], what is run again, and when it is given up.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Database;
use super::builder::MAX_TIMEOUT;
use super::replica::{Replica, Source, caught_up};
use super::scope::{Guard, Scope};
use crate::error::{AsError, Error, Result};
use crate::idempotency::IdempotencyKey;
use crate::observe;
use crate::queue::Permit;
use crate::tenancy::TenantConnection;
use crate::tenancy::login_pool::LoginPool;
use crate::tenancy::transaction::{Access, BeginOptions, Timeouts};

/// The first pause before another attempt, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Database {
    /// Runs a unit of work: one transaction, committed when `body` returns `Ok` and rolled back when it
    /// returns `Err` or panics.
    ///
    /// **`body` may run several times**: the whole transaction is run again, on a connection of its own,
    /// after a serialization failure, a deadlock, a connection that was lost before the commit was sent, a
    /// server that takes no writes (in the middle of a failover), or a context that took too long to arrive.
    /// So what it does outside of the transaction must bear being repeated. A jittered pause comes
    /// before each further attempt, from about 10 ms doubling up to a second. An error of `body` itself, one that is not the
    /// database's, is never a reason to repeat.
    ///
    /// `name` is what spans, metrics and logs call the unit, such as `"kpi.create"`.
    ///
    /// ```no_run
    /// # fn example(db: &sesari_db::Database, user: sesari_db::id::UserId, workspace: sesari_db::id::WorkspaceId) -> sesari_db::Result<()> {
    /// use sesari_db::Scope;
    /// use sesari_db::repo::NewKpi;
    ///
    /// let kpi = db.run("kpi.create", Scope::tenant(&user, &workspace), |tenant| {
    ///     tenant.kpis().create(&NewKpi::new("Revenue".parse()?))
    /// })?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The last error of `body`; those of [`tenant`](Self::tenant);
    /// [`Error::DeadlineExceeded`] when its time was over before the commit was sent, so that nothing
    /// was committed; and [`Error::OutcomeUnknown`] when the connection was lost with the commit under
    /// way, which is never run again: use [`run_once`](Self::run_once) where it should be.
    pub fn run<G: Guard, T>(
        &self,
        name: &'static str,
        scope: Scope<G>,
        body: impl FnMut(&mut G) -> Result<T>,
    ) -> Result<T> {
        self.try_run(name, scope, body)
    }

    /// As [`run`](Self::run), with an error of your own: one that implements [`AsError`], or
    /// `anyhow::Error`.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn try_run<G, T, E>(
        &self,
        name: &'static str,
        scope: Scope<G>,
        mut body: impl FnMut(&mut G) -> Result<T, E>,
    ) -> Result<T, E>
    where
        G: Guard,
        E: AsError,
    {
        Unit::new(self, name, scope, Repeat::BeforeCommit).run(&mut body)
    }

    /// Runs a unit of work once and for all: its answer is stored under the key, in its transaction, and
    /// whoever comes again with the key gets the stored answer. So it is also run again where the
    /// connection was lost with the commit under way: what was committed is not done twice.
    ///
    /// The unit's name is part of what the key stands for. Without a key (`None`, where a client sent
    /// none) it is [`run`](Self::run). See
    /// [`TenantConnection::once`] for what is stored, and [`idempotency`](crate::idempotency).
    ///
    /// # Errors
    /// As [`run`](Self::run) and [`TenantConnection::once`]. [`Error::OutcomeUnknown`] when the last attempt
    /// ended so: call again with the same key.
    pub fn run_once<'k, T>(
        &self,
        name: &'static str,
        scope: Scope<TenantConnection>,
        key: impl Into<Option<&'k IdempotencyKey>>,
        body: impl FnMut(&mut TenantConnection) -> Result<T>,
    ) -> Result<T>
    where
        T: serde::Serialize + serde::de::DeserializeOwned,
    {
        self.try_run_once(name, scope, key, body)
    }

    /// As [`run_once`](Self::run_once), with an error of your own as of [`try_run`](Self::try_run).
    ///
    /// # Errors
    /// As [`run_once`](Self::run_once).
    pub fn try_run_once<'k, T, E>(
        &self,
        name: &'static str,
        scope: Scope<TenantConnection>,
        key: impl Into<Option<&'k IdempotencyKey>>,
        mut body: impl FnMut(&mut TenantConnection) -> Result<T, E>,
    ) -> Result<T, E>
    where
        T: serde::Serialize + serde::de::DeserializeOwned,
        E: AsError,
    {
        let key = key.into();
        Unit::new(self, name, scope, Repeat::with(key)).run(&mut |tenant: &mut TenantConnection| {
            match key {
                Some(key) => tenant.once_or_roll_back(name, key, &mut body),
                None => body(tenant),
            }
        })
    }
}

/// What of a unit may be run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// What was certainly not committed.
    BeforeCommit,
    /// What was perhaps committed as well: then it does nothing the second time.
    Always,
}

impl Repeat {
    pub(super) fn with(key: Option<&IdempotencyKey>) -> Self {
        if key.is_some() { Self::Always } else { Self::BeforeCommit }
    }
}

/// A unit of work between its attempts, for threads and futures alike.
pub(super) struct Unit<G> {
    pub(super) db: Database,
    pub(super) scope: Scope<G>,
    repeat: Repeat,
    attempts_left: u32,
    attempts_made: u32,
    pub(super) deadline: Instant,
    pub(super) seen: observe::Unit,
}

/// Why an attempt came to nothing.
pub(super) enum Failure<E> {
    Unit(E),
    /// The replica does not serve.
    Replica,
}

/// What comes after an attempt.
pub(super) enum Next<T, E> {
    Done(Result<T, E>),
    /// Another one, after so long.
    Again(Duration),
}

/// Where an attempt waits for its connection, and until when.
pub(super) struct PoolChoice {
    pub(super) pool: Arc<LoginPool>,
    pub(super) until: Instant,
}

impl PoolChoice {
    /// Nobody was let in here.
    pub(super) fn refused<E: From<Error>>(&self, error: Error) -> Failure<E> {
        if self.pool.is_replica() { Failure::Replica } else { Failure::Unit(error.into()) }
    }
}

impl<G: Guard> Unit<G> {
    pub(super) fn new(db: &Database, name: &'static str, scope: Scope<G>, repeat: Repeat) -> Self {
        let now = Instant::now();
        let within = scope.within.unwrap_or(db.0.units.deadline).min(MAX_TIMEOUT);
        Self {
            db: db.clone(),
            repeat,
            attempts_left: scope.attempts.unwrap_or(db.0.units.attempts).max(1),
            attempts_made: 0,
            deadline: now.checked_add(within).unwrap_or(now),
            seen: observe::Unit::begin(
                name,
                G::NAME,
                scope.actor.kind(),
                scope.workspace.as_ref(),
                scope.access == Access::ReadOnly,
            ),
            scope,
        }
    }

    /// On this thread.
    fn run<T, E: AsError>(mut self, body: &mut impl FnMut(&mut G) -> Result<T, E>) -> Result<T, E> {
        loop {
            let asked = Instant::now();
            let outcome = match self.choice() {
                Ok(choice) => {
                    let entered = choice.pool.enter(self.scope.queue_key(), choice.until);
                    self.seen.waited(choice.pool.queue.name(), asked.elapsed());
                    entered.map_err(|error| choice.refused(error)).and_then(|permit| {
                        let options = self.options(&choice);
                        self.seen.in_span(|| self.attempt(&choice, permit, &options, body))
                    })
                }
                Err(error) => Err(Failure::Unit(error.into())),
            };
            match self.next(outcome) {
                Next::Done(outcome) => {
                    self.seen.finish(kind_of(&outcome));
                    return outcome;
                }
                Next::Again(pause) => std::thread::sleep(pause),
            }
        }
    }

    /// Where to go next: to the replica, where it is asked for and serves, or to the primary.
    pub(super) fn choice(&self) -> Result<PoolChoice> {
        let now = Instant::now();
        if now >= self.deadline {
            return Err(Error::DeadlineExceeded);
        }
        let timeout = self.db.0.pool_timeout;
        let until = |timeout| now.checked_add(timeout).unwrap_or(now).min(self.deadline);
        if G::ON_REPLICA
            && self.scope.source != Source::Primary
            && let Some(pool) = self.db.0.replica.as_ref().and_then(Replica::pool)
        {
            // The primary can still answer afterwards.
            return Ok(PoolChoice { pool, until: until(timeout / 2) });
        }
        Ok(PoolChoice { pool: self.scope.pool(&self.db)?.clone(), until: until(timeout) })
    }

    /// Whether the commit goes with the first statement. Not with a read, whose end nobody waits for
    /// and which can be run again; nor under a key or a
    /// requirement, which take a statement of their own.
    fn is_single(&self) -> bool {
        self.scope.is_single
            && self.scope.access == Access::ReadWrite
            && self.repeat == Repeat::BeforeCommit
            && self.scope.required.is_none()
    }

    pub(super) fn options(&self, choice: &PoolChoice) -> BeginOptions {
        let left = whole_millis(self.deadline.saturating_duration_since(Instant::now()));
        let Timeouts { statement, lock, idle } = self.db.0.timeouts;
        let sooner = |limit: Duration| if limit.is_zero() { left } else { limit.min(left) };
        BeginOptions {
            access: self.scope.access,
            timeouts: Timeouts { statement: sooner(statement), lock, idle },
            until: choice.until,
            is_single: self.is_single(),
            #[cfg(feature = "tokio")]
            watch: None,
        }
    }

    /// One transaction.
    pub(super) fn attempt<T, E: AsError>(
        &self,
        choice: &PoolChoice,
        permit: Permit,
        options: &BeginOptions,
        body: &mut impl FnMut(&mut G) -> Result<T, E>,
    ) -> Result<T, Failure<E>> {
        let failed = |error: Error| Failure::Unit(error.into());
        let on_replica = choice.pool.is_replica();
        let mut transaction = match self.scope.begin(&choice.pool, permit, options) {
            Err(error) if on_replica => {
                return Err(if error.is_outage() {
                    self.replica_is_out()
                } else {
                    Failure::Replica
                });
            }
            begun => begun.map_err(failed)?,
        };
        if let (true, Source::ReplicaAfter(mark)) = (on_replica, self.scope.source) {
            let timeout = self.db.0.replica.as_ref().map_or(Duration::ZERO, Replica::timeout);
            if !caught_up(transaction.conn(), mark, timeout).unwrap_or(false) {
                return Err(Failure::Replica);
            }
        }
        let mut guard = self.scope.guard(transaction, &self.db).map_err(failed)?;
        let admitted = guard.admit(self.scope.required.as_ref()).map_err(E::from);
        let value =
            admitted.and_then(|()| body(&mut guard)).map_err(|error| match error.as_error() {
                // The transaction begins with its first statement.
                Some(cause) if on_replica && cause.is_outage() => self.replica_is_out(),
                _ => Failure::Unit(error),
            })?;
        // A single statement has been committed by now.
        if !self.is_single() && Instant::now() >= self.deadline {
            return Err(failed(Error::DeadlineExceeded));
        }
        guard.end().map_err(failed)?;
        Ok(value)
    }

    fn replica_is_out<E>(&self) -> Failure<E> {
        if let Some(replica) = &self.db.0.replica {
            replica.rest();
        }
        Failure::Replica
    }

    /// Judges an attempt.
    pub(super) fn next<T, E: AsError>(&mut self, outcome: Result<T, Failure<E>>) -> Next<T, E> {
        let error = match outcome {
            Ok(value) => return Next::Done(Ok(value)),
            Err(Failure::Replica) => {
                self.scope.source = Source::Primary;
                return Next::Again(Duration::ZERO);
            }
            Err(Failure::Unit(error)) => error,
        };
        self.attempts_left -= 1;
        let Some(cause) = error.as_error() else { return Next::Done(Err(error)) };
        let late = Instant::now() >= self.deadline;
        if late && is_waiting(cause) {
            return Next::Done(Err(Error::DeadlineExceeded.into()));
        }
        if self.attempts_left == 0 || !self.is_repeatable(cause) {
            return Next::Done(Err(error));
        }
        let pause = pause_after(self.attempts_made);
        if Instant::now() + pause >= self.deadline {
            return Next::Done(Err(error));
        }
        self.attempts_made += 1;
        self.seen.retry(cause);
        // What a replica ended, the primary may not.
        self.scope.source = Source::Primary;
        Next::Again(pause)
    }

    fn is_repeatable(&self, error: &Error) -> bool {
        error.is_conflict_or_loss()
            || self.repeat == Repeat::Always && matches!(error, Error::OutcomeUnknown(_))
    }
}

/// For spans and metrics.
pub(super) fn kind_of<T, E: AsError>(outcome: &Result<T, E>) -> Option<&'static str> {
    let error = outcome.as_ref().err()?;
    Some(error.as_error().map_or("caller", Error::kind))
}

/// Whether the error is that of a wait which the deadline cut short.
fn is_waiting(error: &Error) -> bool {
    matches!(
        error,
        Error::PoolTimeout { .. } | Error::StatementTimeout | Error::LockTimeout | Error::Cancelled
    )
}

/// Rounded up, so that a limit of the server never ends before the deadline that it comes from: its error
/// would read as that of a shorter limit. At least 1 ms, since the server takes 0 for no limit.
fn whole_millis(left: Duration) -> Duration {
    let millis = left.as_nanos().div_ceil(1_000_000).max(1);
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// Doubles with each attempt, and is anything from half of that on: two that were in each other's way are
/// not again.
fn pause_after(attempts: u32) -> Duration {
    let longest = FIRST_PAUSE.saturating_mul(1 << attempts.min(16)).min(LONGEST_PAUSE);
    // The keys of the standard hasher are random.
    let random = RandomState::new().hash_one(attempts) % 1000;
    longest / 2 + (longest / 2).mul_f64(f64::from(u32::try_from(random).unwrap_or(0)) / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_of_the_server_ends_before_the_deadline() {
        for nanos in [0, 1, 999_999, 1_000_000, 1_000_001, 199_700_000] {
            let left = Duration::from_nanos(nanos);
            let limit = whole_millis(left);
            assert!(limit >= left && limit < left + Duration::from_millis(1) || nanos == 0);
            assert_eq!(limit.subsec_nanos() % 1_000_000, 0);
            assert!(!limit.is_zero());
        }
    }

    #[test]
    fn pauses_double_up_to_a_second_and_differ() {
        for attempts in 0..100 {
            let longest = Duration::from_millis(10 << attempts.min(10)).min(LONGEST_PAUSE);
            let pause = pause_after(attempts);
            assert!(pause >= longest / 2 && pause <= longest, "{attempts}: {pause:?}");
        }
        let pauses: std::collections::HashSet<_> = (0..20).map(|_| pause_after(7)).collect();
        assert!(pauses.len() > 1);
    }
}
