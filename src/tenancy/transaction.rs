//! What the three guards share: one pooled connection, in one transaction, under one context.

use std::marker::PhantomData;
#[cfg(feature = "tokio")]
use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::pg::PgConnection;
use r2d2::PooledConnection;

use super::context::Actor;
use super::session::{Session, SessionManager};
#[cfg(feature = "tokio")]
use super::watch::Watch;
use crate::database::door::Door;
use crate::database::fair_queue::Permit;
use crate::error::{Error, Result};
use crate::id::WorkspaceId;

/// The server accepts a context for 10 seconds between signing and the start of the transaction
/// (`sesari.verified_context`). Where the begin took longer than this, it may have come too late,
/// and every row would be missing without a word.
const BEGIN_WITHIN: Duration = Duration::from_secs(8);

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

/// Limits that the server enforces, each set for the transaction alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    pub(crate) statement: Duration,
    pub(crate) lock: Duration,
    pub(crate) idle: Duration,
}

/// How a transaction begins, whoever begins it.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) access: Access,
    pub(crate) timeouts: Timeouts,
    /// Until when to wait for a connection.
    pub(crate) until: Instant,
    #[cfg(feature = "tokio")]
    pub(crate) watch: Option<Arc<Watch>>,
}

/// An open transaction under a context. Rolls back when dropped.
pub(crate) struct Transaction {
    /// Given back before the permit is.
    session: PooledConnection<SessionManager>,
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
    /// Begins, sets role, limits and context: one message to the server. A connection that turns
    /// out to be dead is dropped and another one taken, as nothing has happened yet.
    pub(crate) fn begin(
        door: &Door,
        permit: Permit,
        terms: &Terms,
        actor: &Actor,
        workspace: Option<&WorkspaceId>,
    ) -> Result<Self> {
        let mut attempts_left = door.pool.max_size() + 1;
        loop {
            let mut session = door.connection(terms.until)?;
            attempts_left -= 1;
            match Self::begin_on(&mut session, door, terms, actor, workspace) {
                Ok(()) => {
                    let begun = Self {
                        session,
                        #[cfg(feature = "tokio")]
                        watch: terms.watch.clone(),
                        _permit: permit,
                        ended: false,
                        _not_send: PhantomData,
                    };
                    #[cfg(feature = "tokio")]
                    if let Some(watch) = &begun.watch {
                        watch.begun(begun.session.cancellable())?;
                    }
                    return Ok(begun);
                }
                // The pool drops both: one leads nowhere, the other to a server that cannot help.
                Err(Error::ConnectionLost(_) | Error::ReadOnlyServer) if attempts_left > 0 => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn begin_on(
        session: &mut Session,
        door: &Door,
        terms: &Terms,
        actor: &Actor,
        workspace: Option<&WorkspaceId>,
    ) -> Result<()> {
        let (manager, timeouts) = (&door.manager, terms.timeouts);
        // Until the begin has succeeded: where it fails half-way, the pool drops the connection.
        session.doubtful = true;
        if manager.is_refresh_due(session) {
            manager.learn(session)?;
        }
        let (context, signed_at) = manager.sign(session, actor, workspace)?;
        let set_context = if session.discretion.set_is_recorded {
            format!("SELECT pg_catalog.set_config('sesari.context','{context}',true)")
        } else {
            format!("SET LOCAL sesari.context='{context}'")
        };
        let sql = format!(
            "{blanks}BEGIN ISOLATION LEVEL READ COMMITTED {access};\
             SET LOCAL ROLE {role};\
             SET LOCAL search_path=public,pg_temp;\
             SET LOCAL row_security=on;\
             SET LOCAL statement_timeout={statement};\
             SET LOCAL lock_timeout={lock};\
             SET LOCAL idle_in_transaction_session_timeout={idle};\
             {set_context}",
            blanks = session.discretion.blanks,
            access = match terms.access {
                Access::ReadWrite => "READ WRITE",
                Access::ReadOnly => "READ ONLY",
            },
            role = door.role.name(),
            statement = timeouts.statement.as_millis(),
            lock = timeouts.lock.as_millis(),
            idle = timeouts.idle.as_millis(),
        );
        AnsiTransactionManager::begin_transaction_sql(&mut session.conn, &sql)?;
        if manager.clock.now().saturating_duration_since(signed_at) > BEGIN_WITHIN {
            AnsiTransactionManager::rollback_transaction(&mut session.conn)?;
            session.doubtful = false;
            return Err(Error::ContextExpired);
        }
        session.doubtful = false;
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
        // No transaction: the caller ended it by hand. More than one: a panic inside a savepoint
        // was caught. Neither is what the caller believes to commit.
        if self.depth() != Some(1) {
            return Err(Error::TransactionAborted);
        }
        // From here on it happens, or fails by itself.
        #[cfg(feature = "tokio")]
        if let Some(watch) = &self.watch {
            watch.committing()?;
        }
        // PostgreSQL answers the COMMIT of a failed transaction with a silent rollback. A savepoint
        // is refused there, and ends the message before the COMMIT.
        let cleaning = self.session.cleaning();
        // What a caller's table defers to the commit runs under the context, before it is cleaned
        // away.
        let deferred = if cleaning.is_empty() { "" } else { "SET CONSTRAINTS ALL IMMEDIATE;" };
        let committed = self
            .conn()
            .batch_execute(&format!("SAVEPOINT sesari_commit;{deferred}{cleaning}COMMIT"));
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
        let cleaning = self.session.cleaning();
        self.session.doubtful = true;
        self.conn().batch_execute(&format!("ROLLBACK;{cleaning}"))?;
        self.session.doubtful = false;
        self.ended();
        Ok(())
    }

    fn ended(&mut self) {
        self.ended = true;
        if self.session.lent {
            self.session.cleaned();
        }
    }
}

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
            /// They run in this transaction under this context, with the rights of this door and no
            /// more, so row-level security holds for them as for the repositories. Filter on
            /// `workspace_id` yourself all the same: the planner makes better use of it.
            ///
            /// Lending has a price: at the end of the transaction the connection's session state is
            /// discarded, prepared statements included.
            pub fn connection(&mut self) -> &mut diesel::pg::PgConnection {
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
