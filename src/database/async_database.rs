//! [`AsyncDatabase`]: units of work as futures.
//!
//! A unit waits for its turn as a future, and takes one of tokio's blocking threads only once it is admitted:
//! at most as many threads are in use as the pools have connections. Threads and futures share one queue.
//!
//! Alternatives considered: `deadpool-diesel` runs each call on a blocking thread and does not cancel it when
//! its future is dropped; `diesel-async` is a connection of its own and would need a second copy of every
//! repository.

use std::io::{self, Read};
use std::panic::resume_unwind;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout_at};

use super::retention::KPIS;
use super::unit::{Failure, Next, PoolChoice, Repeat, Unit, kind_of};
use super::{Database, Guard, Health, Rezoned, Rotation, Scope, WriteMark};
use crate::actor::{Actor, ServiceName};
use crate::error::{AsError, DatabaseError, Error, Result};
use crate::id::{KpiId, WorkspaceId};
use crate::idempotency::IdempotencyKey;
use crate::import::{CsvOptions, ImportOptions, Imported, RowError};
use crate::isolation::IsolationReport;
use crate::queue::{Permit, QueueKey, timed_out};
use crate::tenancy::TenantConnection;
use crate::tenancy::watch::{Stage, Watch};
use crate::value::Timestamp;

/// How long after the deadline to wait for a thread. The server's own limits end statements at the deadline; a
/// thread that has not returned by then waits for a peer that does not answer.
const GRACE: Duration = Duration::from_millis(500);

/// The first and the longest pause between two cancel requests after the caller has gone. More than one is
/// sent, since the unit may be between two statements.
const CANCEL_EVERY: Duration = Duration::from_millis(50);
const CANCEL_AT_LEAST_EVERY: Duration = Duration::from_secs(1);
/// How long one cancellation may take.
const CANCEL_WITHIN: Duration = Duration::from_secs(5);
/// For how long.
const CANCEL_FOR: Duration = Duration::from_mins(1);

/// A [`Database`] for async callers on tokio. Cheap to clone. Needs a runtime with time enabled.
///
/// Nothing here blocks the runtime. At most as many of its blocking threads are in use as the pools
/// have connections, and callers wait without one, in fair turns.
#[derive(Debug, Clone)]
pub struct AsyncDatabase(Database);

impl From<Database> for AsyncDatabase {
    fn from(database: Database) -> Self {
        Self(database)
    }
}

impl AsyncDatabase {
    /// The database, for threads.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.0
    }

    /// Runs a unit of work as [`Database::run`] does, on a blocking thread.
    ///
    /// **Dropping the future** cancels the statement that runs on the server and rolls back; once the
    /// commit has been sent, it goes on. A pooler has to pass the cancellation on, as PgBouncer does; a
    /// statement that it does not reach goes on until its limit, but nothing is committed.
    ///
    /// ```no_run
    /// # async fn example(db: sesari_db::AsyncDatabase, user: sesari_db::id::UserId, workspace: sesari_db::id::WorkspaceId) -> sesari_db::Result<()> {
    /// use sesari_db::Scope;
    /// use sesari_db::page::PageRequest;
    /// use sesari_db::repo::KpiFilter;
    ///
    /// let scope = Scope::tenant(&user, &workspace).read_only();
    /// let kpis = db.run("kpi.list", scope, |tenant| {
    ///     tenant.kpis().list(&KpiFilter::default(), &PageRequest::default())
    /// }).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Database::run`]. Where the thread does not come back half a second after the deadline,
    /// [`Error::DeadlineExceeded`], or [`Error::OutcomeUnknown`] if the commit had been sent; the
    /// thread and its connection stay in use until the operating system gives the connection up.
    pub fn run<G, T, F>(
        &self,
        name: &'static str,
        scope: Scope<G>,
        body: F,
    ) -> impl Future<Output = Result<T>> + Send + use<G, T, F>
    where
        G: Guard + 'static,
        T: Send + 'static,
        F: FnMut(&mut G) -> Result<T> + Send + 'static,
    {
        self.try_run(name, scope, body)
    }

    /// As [`run`](Self::run), with an error of your own: one that implements [`AsError`], or
    /// `anyhow::Error`.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn try_run<G, T, E, F>(
        &self,
        name: &'static str,
        scope: Scope<G>,
        body: F,
    ) -> impl Future<Output = Result<T, E>> + Send + use<G, T, E, F>
    where
        G: Guard + 'static,
        T: Send + 'static,
        E: AsError + Send + 'static,
        F: FnMut(&mut G) -> Result<T, E> + Send + 'static,
    {
        run(Unit::new(&self.0, name, scope, Repeat::BeforeCommit), body)
    }

    /// Runs a unit of work once and for all, as [`Database::run_once`] does, on a blocking thread. A
    /// future that was dropped leaves nothing in doubt: call again with the same key.
    ///
    /// # Errors
    /// As [`run`](Self::run) and [`Database::run_once`].
    pub fn run_once<K, T, F>(
        &self,
        name: &'static str,
        scope: Scope<TenantConnection>,
        key: K,
        body: F,
    ) -> impl Future<Output = Result<T>> + Send + use<K, T, F>
    where
        K: Into<Option<IdempotencyKey>>,
        T: serde::Serialize + serde::de::DeserializeOwned + Send + 'static,
        F: FnMut(&mut TenantConnection) -> Result<T> + Send + 'static,
    {
        self.try_run_once(name, scope, key, body)
    }

    /// As [`run_once`](Self::run_once), with an error of your own as of [`try_run`](Self::try_run).
    ///
    /// # Errors
    /// As [`run_once`](Self::run_once).
    pub fn try_run_once<K, T, E, F>(
        &self,
        name: &'static str,
        scope: Scope<TenantConnection>,
        key: K,
        mut body: F,
    ) -> impl Future<Output = Result<T, E>> + Send + use<K, T, E, F>
    where
        K: Into<Option<IdempotencyKey>>,
        T: serde::Serialize + serde::de::DeserializeOwned + Send + 'static,
        E: AsError + Send + 'static,
        F: FnMut(&mut TenantConnection) -> Result<T, E> + Send + 'static,
    {
        let key = key.into();
        let unit = Unit::new(&self.0, name, scope, Repeat::with(key.as_ref()));
        run(unit, move |tenant: &mut TenantConnection| match &key {
            Some(key) => tenant.once_or_roll_back(name, key, &mut body),
            None => body(tenant),
        })
    }

    /// As [`Database::write_mark`].
    ///
    /// # Errors
    /// As [`Database::write_mark`].
    pub async fn write_mark(&self) -> Result<WriteMark> {
        self.blocking(Database::write_mark).await?
    }

    /// Deletes old points as [`Database::delete_points_before`] does. Each batch is a unit of work named
    /// `data_point.delete_before`: it has its turn, its deadline and its attempts, and its metrics.
    ///
    /// **Dropping the future** cancels the batch that runs; those before stay deleted.
    ///
    /// # Errors
    /// As [`Database::delete_points_before`] and [`run`](Self::run).
    pub async fn delete_points_before(
        &self,
        actor: impl Into<Actor>,
        workspace: &WorkspaceId,
        kpi: Option<&KpiId>,
        before: Timestamp,
        batch: u32,
        mut progress: impl FnMut(u64),
    ) -> Result<u64> {
        const NAME: &str = "data_point.delete_before";
        let scope = Scope::tenant(actor, workspace);
        let (mut deleted, mut last) = (0, None);
        loop {
            let kpis = if let Some(kpi) = kpi {
                vec![kpi.clone()]
            } else {
                let after = last.take();
                self.run(NAME, scope.clone().read_only(), move |tenant| {
                    tenant.data_points().kpis_before(before, after.as_ref(), KPIS)
                })
                .await?
            };
            for kpi in &kpis {
                loop {
                    let of = kpi.clone();
                    let delete = move |tenant: &mut TenantConnection| {
                        tenant.data_points().delete_before(Some(&of), before, batch)
                    };
                    let points = self.run(NAME, scope.clone(), delete).await?;
                    if points == 0 {
                        break;
                    }
                    deleted += points as u64;
                    progress(deleted);
                }
            }
            last = kpis.last().cloned();
            if kpi.is_some() || last.is_none() {
                return Ok(deleted);
            }
        }
    }

    /// Rolls up anew as [`Database::rezone_rollups`] does. Each batch is a unit of work named
    /// `rollup.rezone`.
    ///
    /// **Dropping the future** cancels the batch that runs; it may be started again.
    ///
    /// # Errors
    /// As [`Database::rezone_rollups`] and [`run`](Self::run).
    pub async fn rezone_rollups(
        &self,
        actor: impl Into<Actor>,
        workspace: &WorkspaceId,
        batch: u32,
        mut progress: impl FnMut(Rezoned),
    ) -> Result<Rezoned> {
        const NAME: &str = "rollup.rezone";
        let scope = Scope::tenant(actor, workspace);
        let counting = scope.clone().read_only();
        let total = self.run(NAME, counting, |tenant| tenant.series().rollups()).await?;
        let mut so_far = Rezoned { total, ..Rezoned::default() };
        let mut last = None;
        loop {
            let after = last.take();
            let rezone =
                move |tenant: &mut TenantConnection| tenant.series().rezone(after.as_ref(), batch);
            let Some(done) = self.run(NAME, scope.clone(), rezone).await? else {
                return Ok(so_far);
            };
            so_far.rollups += done.rollups;
            so_far.rezoned += done.rezoned;
            progress(so_far);
            last = Some(done.last);
        }
    }

    /// Imports CSV as [`Database::import_csv`] does, on one blocking thread, which waits for the reader too: for a
    /// body that arrives as a stream, see [uploads](https://docs.rs/crate/sesari-db/latest/source/docs/operations.md).
    /// `progress` is called on that thread.
    ///
    /// **Dropping the future** ends the import before the next row is read; what was committed before stays, and
    /// the batch that is being written is committed, or all rolled back where it is one transaction.
    ///
    /// # Errors
    /// As [`Database::import_csv`]. [`Error::ShuttingDown`] when the runtime is.
    pub async fn import_csv(
        &self,
        actor: impl Into<Actor>,
        workspace: &WorkspaceId,
        reader: impl Read + Send + 'static,
        csv: &CsvOptions,
        options: &ImportOptions,
        progress: impl FnMut(&Imported, &[RowError]) + Send + 'static,
    ) -> Result<Imported> {
        let (actor, workspace) = (actor.into(), workspace.clone());
        let (csv, options) = (csv.clone(), *options);
        // Whether the future is still there.
        let caller = Arc::new(());
        let reader = Attended { reader, caller: Arc::downgrade(&caller) };
        let imported = self
            .blocking(move |db| db.import_csv(actor, &workspace, reader, &csv, &options, progress))
            .await?;
        drop(caller);
        imported
    }

    /// Rotates as [`Database::rotate_sealing_key`] does, on one blocking thread. Dropping the future does not
    /// end it.
    ///
    /// # Errors
    /// As [`Database::rotate_sealing_key`]. [`Error::ShuttingDown`] when the runtime is.
    pub async fn rotate_sealing_key(
        &self,
        service: &ServiceName,
        batch: u16,
        progress: impl FnMut(&Rotation) + Send + 'static,
    ) -> Result<Rotation> {
        let service = service.clone();
        self.blocking(move |db| db.rotate_sealing_key(&service, batch, progress)).await?
    }

    /// As [`Database::check_isolation`].
    ///
    /// # Errors
    /// As [`Database::check_isolation`]. [`Error::ShuttingDown`] when the runtime is.
    pub async fn check_isolation(&self) -> Result<IsolationReport> {
        self.blocking(Database::check_isolation).await?
    }

    /// As [`Database::live_fingerprint`].
    ///
    /// # Errors
    /// As [`Database::live_fingerprint`]. [`Error::ShuttingDown`] when the runtime is.
    pub async fn live_fingerprint(&self) -> Result<String> {
        self.blocking(Database::live_fingerprint).await?
    }

    /// As [`Database::health`].
    ///
    /// # Errors
    /// [`Error::ShuttingDown`] when the runtime is.
    pub async fn health(&self) -> Result<Health> {
        self.blocking(Database::health).await
    }

    /// As [`Database::shut_down`].
    ///
    /// # Errors
    /// [`Error::ShuttingDown`] when the runtime is; then nobody was waited for.
    pub async fn shut_down(&self, timeout: Duration) -> Result<usize> {
        self.blocking(move |db| db.shut_down(timeout)).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Database) -> T + Send + 'static,
    ) -> Result<T> {
        let db = self.0.clone();
        joined(spawn_blocking(move || ask(&db)).await)
    }
}

/// A reader whose caller may go.
struct Attended<R> {
    reader: R,
    caller: Weak<()>,
}

impl<R: Read> Read for Attended<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.caller.strong_count() == 0 {
            return Err(io::Error::other("the caller has gone"));
        }
        let read = self.reader.read(buffer)?;
        // What was read meanwhile is nobody's wish any more: above all not the end of the rows.
        if self.caller.strong_count() == 0 {
            return Err(io::Error::other("the caller has gone"));
        }
        Ok(read)
    }
}

async fn run<G, T, E, F>(mut unit: Unit<G>, mut body: F) -> Result<T, E>
where
    G: Guard + 'static,
    T: Send + 'static,
    E: AsError + Send + 'static,
    F: FnMut(&mut G) -> Result<T, E> + Send + 'static,
{
    loop {
        let asked = Instant::now();
        let outcome;
        match unit.choice() {
            Ok(choice) => {
                let entered = enter(&choice, unit.scope.queue_key()).await;
                unit.seen.waited(choice.pool.queue.name(), asked.elapsed());
                match entered {
                    Ok(permit) => {
                        (unit, body, outcome) = attempt(unit, body, choice, permit).await?;
                    }
                    Err(error) => outcome = Err(choice.refused(error)),
                }
            }
            Err(error) => outcome = Err(Failure::Unit(error.into())),
        }
        match unit.next(outcome) {
            Next::Done(outcome) => {
                unit.seen.finish(kind_of(&outcome));
                return outcome;
            }
            Next::Again(pause) => sleep(pause).await,
        }
    }
}

async fn enter(choice: &PoolChoice, key: QueueKey) -> Result<Permit> {
    let admission = choice.pool.queue.ask(key)?;
    timeout_at(choice.until.into(), admission).await.unwrap_or_else(|_| Err(timed_out()))
}

/// Runs one transaction on a blocking thread. Returns the unit and its body with the outcome, or an error if the
/// thread does not return.
async fn attempt<G, T, E, F>(
    unit: Unit<G>,
    mut body: F,
    choice: PoolChoice,
    permit: Permit,
) -> Result<(Unit<G>, F, Result<T, Failure<E>>)>
where
    G: Guard + 'static,
    T: Send + 'static,
    E: AsError + Send + 'static,
    F: FnMut(&mut G) -> Result<T, E> + Send + 'static,
{
    let watch = Arc::new(Watch::default());
    let mut options = unit.options(&choice);
    options.watch = Some(watch.clone());
    let mut caller = Caller { watch, waits: true };
    let (until, commits_along) = (unit.deadline + GRACE, options.is_single);
    let thread = spawn_blocking(move || {
        let outcome = unit.seen.in_span(|| unit.attempt(&choice, permit, &options, &mut body));
        (unit, body, outcome)
    });
    match timeout_at(until.into(), thread).await {
        Ok(done) => {
            caller.waits = false;
            joined(done)
        }
        Err(_) => match caller.watch.cancel() {
            Stage::Committing => Err(Error::OutcomeUnknown(DatabaseError::silent())),
            Stage::Running(_) if commits_along => {
                Err(Error::OutcomeUnknown(DatabaseError::silent()))
            }
            _ => Err(Error::DeadlineExceeded),
        },
    }
}

fn joined<T>(done: Result<T, tokio::task::JoinError>) -> Result<T> {
    done.map_err(|error| match error.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        // Only the end of the runtime cancels a blocking thread.
        Err(_) => Error::ShuttingDown,
    })
}

/// A caller that waits for a thread. Dropped before the thread has returned, it cancels the transaction.
struct Caller {
    watch: Arc<Watch>,
    waits: bool,
}

impl Drop for Caller {
    fn drop(&mut self) {
        if !self.waits {
            return;
        }
        if let (Stage::Running(_), Ok(runtime)) = (self.watch.cancel(), Handle::try_current()) {
            let watch = self.watch.clone();
            runtime.spawn_blocking(move || cancel(&watch));
        }
    }
}

/// Sends cancel requests until the transaction has ended.
fn cancel(watch: &Watch) {
    let begun = Instant::now();
    let mut pause = CANCEL_EVERY;
    while begun.elapsed() < CANCEL_FOR {
        // The transaction has ended, or the server cannot be reached.
        if !matches!(watch.while_running(|token| token.cancel(CANCEL_WITHIN)), Some(Ok(()))) {
            return;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(CANCEL_AT_LEAST_EVERY);
    }
}
