//! What the three guards share: one pooled connection, in one transaction, under one context.

use std::marker::PhantomData;
#[cfg(feature = "tokio")]
use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use r2d2::PooledConnection;

use super::context::Actor;
use super::session::{Session, SessionManager, SharedFacts};
#[cfg(feature = "tokio")]
use super::watch::Watch;
use crate::connection::{Command, Opening, PgConnection};
use crate::database::fair_queue::Permit;
use crate::database::login_pool::LoginPool;
use crate::error::{Error, Result};
use crate::id::WorkspaceId;
use crate::observe;

/// The server accepts a context from 2 seconds before to 10 seconds after its signing, counted to the
/// start of the transaction (`sesari.verified_context`), in microseconds.
const ACCEPTED_AGES: std::ops::RangeInclusive<i64> = -2_000_000..=10_000_000;

/// The database roles that hold the grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DatabaseRole {
    Tenant,
    Service,
}

impl DatabaseRole {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tenant => "sesari_tenant",
            Self::Service => "sesari_service",
        }
    }
}

/// Whether a transaction may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    ReadWrite,
    ReadOnly,
}

/// Limits that the server enforces.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    pub(crate) statement: Duration,
    pub(crate) lock: Duration,
    pub(crate) idle: Duration,
}

/// How a transaction begins, whoever begins it.
#[derive(Debug, Clone)]
pub(crate) struct BeginOptions {
    pub(crate) access: Access,
    pub(crate) timeouts: Timeouts,
    /// Until when to wait for a connection.
    pub(crate) until: Instant,
    /// The first statement brings the commit along.
    pub(crate) is_single: bool,
    #[cfg(feature = "tokio")]
    pub(crate) watch: Option<Arc<Watch>>,
}

/// A transaction under a context. Begins with its first statement, and rolls back when dropped.
pub(crate) struct Transaction {
    /// Given back before the permit is.
    session: PooledConnection<SessionManager>,
    access: Access,
    #[cfg(feature = "tokio")]
    watch: Option<Arc<Watch>>,
    _permit: Permit,
    /// Committed or rolled back.
    ended: bool,
    /// Not `Send`: a guard held across an `.await` or sent to another thread would keep a
    /// connection for as long as a scheduler likes.
    _not_send: PhantomData<*const ()>,
}

impl Transaction {
    /// Takes a connection. Nothing is sent, but for a question once a minute; a connection that this
    /// shows to be dead is dropped and another one taken.
    pub(crate) fn begin(
        pool: &LoginPool,
        permit: Permit,
        options: &BeginOptions,
        actor: &Actor,
        workspace: Option<&WorkspaceId>,
    ) -> Result<Self> {
        let mut attempts_left = pool.connections.max_size() + 1;
        let mut session = loop {
            let mut session = pool.connection(options.until)?;
            attempts_left -= 1;
            match Self::refresh(&mut session, &pool.manager) {
                Ok(()) => break session,
                Err(Error::ConnectionLost(_)) if attempts_left > 0 => {}
                Err(error) => return Err(error),
            }
        };
        let begin = Begin {
            manager: pool.manager.clone(),
            facts: session.facts.clone(),
            actor: actor.clone(),
            workspace: workspace.cloned(),
            options: options.clone(),
            is_fresh: false,
        };
        // Finds out now, and not with the first statement, whether a context can be signed.
        begin.manager.key(&begin.facts.lock())?;
        session.conn.answer_within(SessionManager::answer_within(options.timeouts.statement));
        session.conn.begin_with(Box::new(begin), options.is_single)?;
        #[cfg(feature = "tokio")]
        if let Some(watch) = &options.watch {
            watch.begun(session.conn.cancel_token().clone())?;
        }
        Ok(Self {
            session,
            access: options.access,
            #[cfg(feature = "tokio")]
            watch: options.watch.clone(),
            _permit: permit,
            ended: false,
            _not_send: PhantomData,
        })
    }

    fn refresh(session: &mut Session, manager: &SessionManager) -> Result<()> {
        if manager.is_refresh_due(session) {
            // Where it fails half-way, the pool drops the connection.
            session.doubtful = true;
            manager.learn(session)?;
            session.doubtful = false;
        }
        Ok(())
    }

    /// For the crate's own statements, which leave nothing behind.
    pub(crate) fn conn(&mut self) -> &mut PgConnection {
        &mut self.session.conn
    }

    /// For the caller's.
    pub(crate) fn lend(&mut self) -> &mut PgConnection {
        self.session.lent = true;
        &mut self.session.conn
    }

    fn depth(&mut self) -> Option<u32> {
        let conn = &mut self.session.conn;
        let status = AnsiTransactionManager::transaction_manager_status_mut(conn);
        status.transaction_depth().ok().flatten().map(u32::from)
    }

    pub(crate) fn commit(mut self) -> Result<()> {
        if self.session.conn.is_finished() {
            // It is committed, whatever becomes of the connection, which stays in doubt.
            let _ = self.leave();
            self.ended = true;
            return Ok(());
        }
        if self.session.conn.is_unopened() {
            return self.leave();
        }
        // No transaction: the caller ended it by hand. More than one: a panic inside a savepoint
        // was caught. Neither is what the caller believes to commit.
        if self.depth() != Some(1) || self.session.conn.has_failed() {
            return Err(Error::TransactionAborted);
        }
        // From here on it happens, or fails by itself.
        #[cfg(feature = "tokio")]
        if let Some(watch) = &self.watch {
            watch.committing()?;
        }
        if !self.session.lent && self.access == Access::ReadOnly {
            // Nothing hangs on the answer.
            self.session.conn.end_ahead("COMMIT");
            self.ended = true;
            return Ok(());
        }
        let committed = if self.session.lent {
            // What a caller's table defers to the commit runs under the context, before it is
            // cleaned away.
            let cleaning = self.session.cleaning();
            self.conn().batch_execute(&format!("SET CONSTRAINTS ALL IMMEDIATE;{cleaning}COMMIT"))
        } else {
            self.conn().end("COMMIT")
        };
        match committed.map_err(Error::from) {
            Ok(()) => {
                self.ended();
                Ok(())
            }
            Err(Error::ConnectionLost(error)) => Err(Error::OutcomeUnknown(error)),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn rollback(mut self) -> Result<()> {
        self.roll_back()
    }

    fn roll_back(&mut self) -> Result<()> {
        #[cfg(feature = "tokio")]
        if let Some(watch) = &self.watch {
            watch.ended();
        }
        let conn = &self.session.conn;
        if conn.is_finished() || conn.is_unopened() || conn.is_idle() && !conn.is_lost() {
            return self.leave();
        }
        if self.access == Access::ReadOnly && !conn.is_lost() && !self.session.lent {
            self.session.conn.end_ahead("ROLLBACK");
            self.ended = true;
            return Ok(());
        }
        self.session.doubtful = true;
        if self.session.lent {
            let cleaning = self.session.cleaning();
            self.conn().leave_transaction();
            self.conn().batch_execute(&format!("ROLLBACK;{cleaning}"))?;
        } else {
            self.conn().end("ROLLBACK")?;
        }
        self.session.doubtful = false;
        self.ended();
        Ok(())
    }

    /// Where no transaction is open on the server.
    fn leave(&mut self) -> Result<()> {
        #[cfg(feature = "tokio")]
        if let Some(watch) = &self.watch {
            watch.ended();
        }
        if self.session.lent {
            self.session.doubtful = true;
            self.conn().leave_transaction();
            let cleaning = self.session.cleaning();
            self.conn().batch_execute(&cleaning)?;
            self.session.doubtful = false;
        }
        self.ended();
        Ok(())
    }

    fn ended(&mut self) {
        self.ended = true;
        self.session.conn.leave_transaction();
        if self.session.lent {
            self.session.cleaned();
        }
    }
}

/// The begin of a guard's transaction.
struct Begin {
    manager: SessionManager,
    facts: SharedFacts,
    actor: Actor,
    workspace: Option<WorkspaceId>,
    options: BeginOptions,
    /// The connection was opened for this transaction.
    is_fresh: bool,
}

impl Opening for Begin {
    fn commands(&mut self) -> Result<Vec<Command>> {
        let signed = self.manager.sign(&self.facts, &self.actor, self.workspace.as_ref())?;
        let begin = match self.options.access {
            Access::ReadWrite => "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
            Access::ReadOnly => "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY",
        };
        let Timeouts { statement, lock, idle } = self.options.timeouts;
        let millis = |limit: Duration| limit.as_millis().to_string();
        let pooled = self.manager.pooled_elsewhere;
        let is_limited = pooled || statement != self.manager.timeouts.statement;
        // As values, settings stay out of what others see of the statement.
        let mut settings = Command::new(match (pooled, is_limited) {
            (true, _) => POOLED_SETTINGS,
            (false, true) => SETTINGS_WITH_LIMIT,
            (false, false) => SETTINGS,
        })
        .bind(signed.context)
        .bind_time(signed.issued_at.saturating_add(*ACCEPTED_AGES.start()))
        .bind_time(signed.issued_at.saturating_add(*ACCEPTED_AGES.end()));
        if is_limited {
            settings = settings.bind(millis(statement));
        }
        if pooled {
            let role = self.manager.role.name();
            settings = settings.bind(millis(lock)).bind(millis(idle)).bind(role);
        }
        Ok(vec![Command::new(begin), settings])
    }

    fn refused(&self, error: Error) -> Error {
        let error = error.of_begin();
        observe::refused("begin", &error);
        error
    }

    fn reopen(&mut self) -> Result<Option<PgConnection>> {
        if self.is_fresh {
            return Ok(None);
        }
        self.is_fresh = true;
        let session = self.manager.session_until(self.options.until)?;
        self.facts.replace(&session.facts);
        #[cfg(feature = "tokio")]
        if let Some(watch) = &self.options.watch {
            watch.begun(session.conn.cancel_token().clone())?;
        }
        Ok(Some(session.conn))
    }
}

/// Sets the context, unless the transaction began outside of the time in which the server accepts it:
/// then the statement fails, and with it all that was sent behind it. There is no other setting of that
/// name.
macro_rules! set_context {
    ($more:literal) => {
        concat!(
            "SELECT pg_catalog.set_config(CASE WHEN \
             pg_catalog.timestamptz_ge(pg_catalog.transaction_timestamp(),$2) AND \
             pg_catalog.timestamptz_le(pg_catalog.transaction_timestamp(),$3) \
             THEN 'sesari.context' ELSE 'sesari_context_expired' END,$1,true)",
            $more
        )
    };
}
const SETTINGS: &str = set_context!("");
const SETTINGS_WITH_LIMIT: &str =
    set_context!(",pg_catalog.set_config('statement_timeout',$4,true)");
const POOLED_SETTINGS: &str = set_context!(
    ",pg_catalog.set_config('statement_timeout',$4,true),\
     pg_catalog.set_config('lock_timeout',$5,true),\
     pg_catalog.set_config('idle_in_transaction_session_timeout',$6,true),\
     pg_catalog.set_config('search_path','public,pg_temp',true),\
     pg_catalog.set_config('row_security','on',true),\
     pg_catalog.set_config('role',$7,true)"
);

impl Drop for Transaction {
    fn drop(&mut self) {
        if !self.ended {
            // Where this fails the connection stays in doubt, and the pool drops it.
            let _ = self.roll_back();
        }
    }
}

/// Runs `body` inside a savepoint of the guard's transaction.
pub(crate) fn savepoint<G, T, E: From<Error>>(
    guard: &mut G,
    transaction: fn(&mut G) -> &mut Transaction,
    body: impl FnOnce(&mut G) -> Result<T, E>,
) -> Result<T, E> {
    let begun = AnsiTransactionManager::begin_transaction(transaction(guard).conn());
    begun.map_err(Error::from)?;
    match body(guard) {
        Ok(value) => {
            let released = AnsiTransactionManager::commit_transaction(transaction(guard).conn());
            released.map_err(Error::from)?;
            Ok(value)
        }
        Err(error) => {
            // The body's error says more than a failing rollback would; after one the whole
            // transaction is beyond use, and says so at its commit.
            let _ = AnsiTransactionManager::rollback_transaction(transaction(guard).conn());
            Err(error)
        }
    }
}

/// What every guard has, beside its repositories.
macro_rules! guard_methods {
    ($guard:ident) => {
        impl $guard {
            /// The connection, for queries of your own: typed with [`schema`](crate::schema) or
            /// raw.
            ///
            /// They run in this transaction under this context, with the rights of this pool and no
            /// more, so row-level security holds for them as for the repositories. Filter on
            /// `workspace_id` yourself all the same: the planner makes better use of it.
            ///
            /// Lending has a price: at the end of the transaction the connection's session state is
            /// discarded, prepared statements included.
            pub fn connection(&mut self) -> &mut crate::PgConnection {
                self.transaction.lend()
            }

            /// Runs `body` in a savepoint: what it did is kept when it returns `Ok`, and undone when
            /// it returns `Err`, and the guard's transaction goes on in either case.
            ///
            /// # Errors
            /// The body's error, or those of any query, see [`Error`](crate::Error).
            pub fn transaction<T, E: From<crate::Error>>(
                &mut self,
                body: impl FnOnce(&mut Self) -> Result<T, E>,
            ) -> Result<T, E> {
                crate::tenancy::transaction::savepoint(self, |guard| &mut guard.transaction, body)
            }

            /// Commits.
            ///
            /// # Errors
            /// [`TransactionAborted`](crate::Error::TransactionAborted) when an earlier statement
            /// failed: then nothing was committed.
            /// [`OutcomeUnknown`](crate::Error::OutcomeUnknown) when the connection was lost on the
            /// way.
            pub fn commit(self) -> crate::Result<()> {
                self.transaction.commit()
            }

            /// Rolls back, as dropping does, and says whether the server confirmed it.
            ///
            /// # Errors
            /// [`ConnectionLost`](crate::Error::ConnectionLost); then the server rolls back by
            /// itself.
            pub fn rollback(self) -> crate::Result<()> {
                self.transaction.rollback()
            }
        }
    };
}
pub(crate) use guard_methods;
