//! The one error of the crate.
//!
//! # What it tells, and what it does not
//! A row that does not exist, a row of another workspace, and a row that the member's role may not
//! change all read the same: [`Error::NotFound`], or `None` from a `find`. An insert that is not
//! allowed is [`Error::Denied`]. No message repeats a value of a row, a key or a token, so that
//! errors may be logged (one about the header of a CSV file names the column); the server's own text, which may quote values, is kept apart in
//! [`DatabaseError::diesel_error`].
//!
//! After any error from the server the transaction is beyond use: PostgreSQL refuses every further
//! statement, and `commit` answers [`Error::TransactionAborted`]. Do what may fail inside
//! `transaction`, a savepoint, to go on afterwards.

mod classify;
mod condition;

pub(crate) use classify::unnamed_constraint;

use std::fmt;

use crate::credentials::advanced::SaltError;
use crate::credentials::{OpenError, ResealError, SealError};
use crate::id::{ParseIdError, WorkspaceId};
use crate::idempotency::IdempotencyError;
use crate::import::ImportError;
use crate::invitation::InvitationError;
use crate::series::SeriesError;
use crate::value::Invalid;

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A point lies within a span that is packed: from a repository, which asks for that before, one that was
/// packed in between.
const PACKED_MEANWHILE: &str = "kpi_packed_points_no_overlap";

/// Everything that can go wrong. See the [module](self) for what messages contain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such row, or not for this actor. Handle it as a 404.
    #[error("{entity} not found")]
    NotFound {
        /// What was looked for, such as `"kpi"`.
        entity: &'static str,
    },

    /// The actor may not make this insert or change of role. Handle it as a 403.
    #[error("not allowed")]
    Denied,

    /// Another row has the same key, or an exclusion constraint of yours keeps the two apart.
    #[error("conflicts with an existing row ({constraint})")]
    Conflict {
        /// Name of the constraint or unique index, such as `workspaces_slug_key`.
        constraint: String,
    },

    /// A foreign key of a table of yours: the row to be written refers to one that is not there, or not in
    /// this workspace; or the row to be deleted is referred to. A foreign key of ours is
    /// [`NotFound`](Self::NotFound).
    #[error("refers to a row that is not there, or is referred to by another ({constraint})")]
    ForeignKey {
        /// Name of the foreign key, such as `invoices_workspace_id_customer_id_fkey`.
        constraint: String,
    },

    /// Input that breaks a rule, found here or by the database.
    #[error(transparent)]
    Invalid(#[from] Invalid),

    /// The last owner of a workspace cannot leave or be demoted.
    #[error("a workspace keeps at least one owner")]
    LastOwner,

    /// The transaction writes more audit-log entries than one transaction may: at most
    /// [`MAX_ENTRIES`](crate::audit::MAX_ENTRIES) entries, of at most
    /// [`MAX_WORKSPACES`](crate::audit::MAX_WORKSPACES) workspaces and
    /// [`MAX_BYTES`](crate::audit::MAX_BYTES). Do it in several transactions.
    #[error(
        "the transaction makes more than {} audited changes, or in more than {} workspaces, or of more than {} bytes: do it \
         in several transactions",
        crate::audit::MAX_ENTRIES,
        crate::audit::MAX_WORKSPACES,
        crate::audit::MAX_BYTES
    )]
    TooManyChanges,

    /// No connection became free, or none could be opened, within the pool's timeout.
    #[error("no database connection within the pool's timeout: {reason}")]
    PoolTimeout {
        /// The pool's message, with the server's last refusal if there was one.
        reason: String,
    },

    /// The queue for connections is full. Nothing was done; handle it as a 503.
    #[error("too many callers wait for a database connection: {bound}")]
    Overloaded {
        /// Which limit was reached.
        bound: QueueBound,
    },

    /// The deadline of the unit of work passed before its commit was sent. Nothing was committed.
    #[error("the deadline passed before the commit")]
    DeadlineExceeded,

    /// [`Database::shut_down`](crate::Database::shut_down) was called. Nothing was done.
    #[error("the database is shutting down")]
    ShuttingDown,

    /// The server cannot be reached, or does not let the login in.
    #[error("cannot connect to the database: {reason}")]
    Connect {
        /// Why, for each host that was tried: host and port, and what the server said, never a
        /// password.
        reason: String,
    },

    /// The server has no connection left for the login (SQLSTATE 53300).
    #[error("the database server has too many connections: {reason}")]
    TooManyConnections {
        /// As of [`Connect`](Self::Connect).
        reason: String,
    },

    /// The server is starting, shutting down or recovering, and takes no connections (SQLSTATE 57P03).
    #[error("the database server takes no connections now: {reason}")]
    CannotConnectNow {
        /// As of [`Connect`](Self::Connect).
        reason: String,
    },

    /// A statement ran into `statement_timeout`.
    #[error("the statement timed out")]
    StatementTimeout,

    /// A statement waited for a lock longer than `lock_timeout`.
    #[error("waiting for a lock timed out")]
    LockTimeout,

    /// The statement was cancelled by request.
    #[error("the statement was cancelled")]
    Cancelled,

    /// The connection broke before a commit was sent, or the server did not answer in time: nothing was
    /// committed.
    #[error("the database connection was lost")]
    ConnectionLost(#[source] DatabaseError),

    /// The guard sat idle for longer than `idle_in_transaction_timeout`, and the server ended its
    /// connection. Nothing was committed.
    #[error("the transaction was idle for too long")]
    IdleInTransactionTimeout,

    /// The connection broke while the commit was under way: it may or may not have happened. Look
    /// before doing it again.
    #[error("the database connection was lost during commit; whether it happened is unknown")]
    OutcomeUnknown(#[source] DatabaseError),

    /// The transaction could not be serialized with a concurrent one. Run the whole transaction again.
    #[error("could not serialize with a concurrent transaction")]
    SerializationFailure,

    /// Deadlock: the server chose this transaction to fail. Run it again.
    #[error("deadlock with a concurrent transaction")]
    Deadlock,

    /// A write through a read-only guard: the caller's mistake.
    #[error("the transaction is read-only")]
    ReadOnly,

    /// The server takes no writes at all: a standby, which a name or a list of hosts led to. Nothing was
    /// done, and the connection is not used again.
    #[error("the database server takes no writes")]
    ReadOnlyServer,

    /// The server has no room left, on its disk or in memory. Nothing was committed.
    #[error("the database server has no room left")]
    ServerFull(#[source] DatabaseError),

    /// An earlier statement of the transaction failed, or the transaction was ended by hand: there
    /// is nothing left to commit. What the caller's own SQL committed before is not undone.
    #[error("the transaction failed or was ended earlier; there was nothing to commit")]
    TransactionAborted,

    /// Beginning took so long that the signed context was no longer fresh. Nothing was done.
    #[error("the signed context expired before the transaction began")]
    ContextExpired,

    /// None of the configured context keys is installed in the database, or only under the same id
    /// with another secret.
    #[error("no configured context key is installed in the database")]
    ContextKeyUnknown,

    /// The configuration makes no sense, or a pooler in between is in another mode than it says.
    #[error("configuration: {0}")]
    Config(String),

    /// The login or the schema would not isolate tenants. Nothing was opened. Holds an
    /// [`IsolationReport`](crate::database::IsolationReport), which its
    /// [`in_error`](crate::database::IsolationReport::in_error) takes out.
    #[error("the database does not isolate tenants:\n{0}")]
    Unsafe(Box<dyn std::error::Error + Send + Sync>),

    /// A migration failed. All of the run was rolled back.
    #[error("a migration failed, and all of the run was rolled back")]
    Migration(#[source] Box<dyn std::error::Error + Send + Sync>),

    /// Credentials were not sealed.
    #[error("the credentials were not sealed")]
    Seal(#[from] SealError),

    /// Credentials were not opened: see [`OpenError`].
    #[error("the credentials were not opened")]
    Open(#[from] OpenError),

    /// An idempotency key could not be used: see [`IdempotencyError`].
    #[error("idempotency: {0}")]
    Idempotency(#[from] IdempotencyError),

    /// An invitation was not sent or not answered: see [`InvitationError`].
    #[error("invitation: {0}")]
    Invitation(#[from] InvitationError),

    /// A user was not deleted, or not taken out of workspaces: see [`DepartureError`].
    #[error(transparent)]
    Departure(#[from] DepartureError),

    /// An import ended early: see [`ImportError`].
    #[error(transparent)]
    Import(#[from] ImportError),

    /// Anything else that the server or diesel reported.
    #[error(transparent)]
    Database(DatabaseError),
}

/// A limit of the queue for connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QueueBound {
    /// The limit of the queue: [`DatabaseBuilder::queue_limit`](crate::DatabaseBuilder::queue_limit).
    Queue,
    /// The workspace's share of the queue:
    /// [`DatabaseBuilder::workspace_share`](crate::DatabaseBuilder::workspace_share).
    Workspace,
    /// The share of all users outside of any workspace, which is as large as a workspace's.
    Users,
    /// The actor's share of the queue:
    /// [`DatabaseBuilder::actor_share`](crate::DatabaseBuilder::actor_share). Or the queue was full, and no
    /// other actor waited more often.
    Actor,
}

impl fmt::Display for QueueBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queue => "the queue is full",
            Self::Workspace => "the workspace's part of the queue is full",
            Self::Users => "the part of users outside of workspaces is full",
            Self::Actor => "the actor's part of the queue is full",
        })
    }
}

impl Error {
    pub(crate) const fn not_found(entity: &'static str) -> Self {
        Self::NotFound { entity }
    }

    pub(crate) fn transaction_pooler() -> Self {
        Self::Config(
            "the URL leads to a pooler in transaction mode, where no context can be bound to a \
             backend: build with `behind_transaction_pooler`"
                .into(),
        )
    }

    pub(crate) fn outcome_unknown(error: diesel::result::Error) -> Self {
        Self::OutcomeUnknown(DatabaseError::new(error))
    }

    /// Whether the server or its connections failed, rather than what was asked.
    pub(crate) fn is_outage(&self) -> bool {
        matches!(
            self,
            Self::PoolTimeout { .. }
                | Self::Connect { .. }
                | Self::CannotConnectNow { .. }
                | Self::TooManyConnections { .. }
                | Self::ConnectionLost(_)
        )
    }

    /// The error of a `BEGIN`: only a server that takes no writes refuses its access mode.
    pub(crate) fn of_begin(self) -> Self {
        match self {
            Self::ReadOnly => Self::ReadOnlyServer,
            // Feature not supported: to write during recovery.
            Self::Database(error) if error.sqlstate() == Some("0A000") => Self::ReadOnlyServer,
            // Undefined object: what an expired context would be set as.
            Self::Database(error) if error.sqlstate() == Some("42704") => Self::ContextExpired,
            other => other,
        }
    }

    /// What went wrong, in a word that does not change and says nothing of a row: `error.type` of
    /// [spans](crate::observe), and a label of metrics. It is the variant's name in lower case, with
    /// underscores, such as `not_found`, `denied` or `deadlock`, and for an idempotency key, an invitation,
    /// a departure or an import with what is wrong, such as `idempotency_reused`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind_and_status().0
    }

    /// The status that an HTTP service answers with, as the crate's README lists them.
    ///
    /// 4xx is the caller's to mend, 503 and 504 say that nothing was done and it may come again. An
    /// outcome that is unknown is a 500, since clients and proxies take leave to repeat by 502 to 504.
    #[must_use]
    pub fn http_status(&self) -> u16 {
        self.kind_and_status().1
    }

    /// Kind and status share one list, so that every error has both.
    fn kind_and_status(&self) -> (&'static str, u16) {
        match self {
            Self::NotFound { .. } => ("not_found", 404),
            Self::Denied => ("denied", 403),
            Self::Conflict { .. } => ("conflict", 409),
            Self::ForeignKey { .. } => ("foreign_key", 409),
            Self::Invalid(_) => ("invalid", 422),
            Self::LastOwner => ("last_owner", 409),
            Self::TooManyChanges => ("too_many_changes", 413),
            Self::PoolTimeout { .. } => ("pool_timeout", 503),
            Self::Overloaded { .. } => ("overloaded", 503),
            Self::DeadlineExceeded => ("deadline_exceeded", 504),
            Self::ShuttingDown => ("shutting_down", 503),
            Self::Connect { .. } => ("connect", 503),
            Self::TooManyConnections { .. } => ("too_many_connections", 503),
            Self::CannotConnectNow { .. } => ("cannot_connect_now", 503),
            Self::IdleInTransactionTimeout => ("idle_in_transaction_timeout", 503),
            Self::StatementTimeout => ("statement_timeout", 504),
            Self::LockTimeout => ("lock_timeout", 503),
            Self::Cancelled => ("cancelled", 503),
            Self::ConnectionLost(_) => ("connection_lost", 503),
            Self::OutcomeUnknown(_) => ("outcome_unknown", 500),
            Self::SerializationFailure => ("serialization_failure", 503),
            Self::Deadlock => ("deadlock", 503),
            Self::ReadOnly => ("read_only", 500),
            Self::ReadOnlyServer => ("read_only_server", 503),
            Self::ServerFull(_) => ("server_full", 503),
            Self::TransactionAborted => ("transaction_aborted", 500),
            Self::ContextExpired => ("context_expired", 503),
            Self::ContextKeyUnknown => ("context_key_unknown", 500),
            Self::Config(_) => ("config", 500),
            Self::Unsafe(_) => ("unsafe", 500),
            Self::Migration(_) => ("migration", 500),
            Self::Idempotency(error) => error.kind_and_status(),
            Self::Invitation(error) => error.kind_and_status(),
            Self::Departure(error) => error.kind_and_status(),
            Self::Import(error) => error.kind_and_status(),
            Self::Seal(_) => ("seal", 500),
            Self::Open(_) => ("open", 500),
            Self::Database(_) => ("database", 500),
        }
    }

    /// Whether the row does not exist for this actor.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether another row has the same key.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. } | Self::Import(ImportError::KeyTaken { .. }))
    }

    /// Whether the actor may not do this.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Denied)
    }

    /// Whether the transaction has certainly not been committed, and may succeed when it is run again from
    /// its beginning.
    ///
    /// [`Error::OutcomeUnknown`] is not retryable: it may have been committed. A unit of work runs again after these
    /// by itself, except after the limits ([`LockTimeout`](Self::LockTimeout),
    /// [`PoolTimeout`](Self::PoolTimeout), [`Overloaded`](Self::Overloaded),
    /// [`TooManyConnections`](Self::TooManyConnections), [`CannotConnectNow`](Self::CannotConnectNow)): it
    /// has waited for as long as it was told to, and others wait too.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.is_conflict_or_loss()
            || matches!(
                self,
                Self::LockTimeout
                    | Self::PoolTimeout { .. }
                    | Self::Overloaded { .. }
                    | Self::TooManyConnections { .. }
                    | Self::CannotConnectNow { .. }
            )
    }

    /// Whether another transaction, or the loss of a connection, ended this one before its commit.
    pub(crate) fn is_conflict_or_loss(&self) -> bool {
        matches!(
            self,
            Self::SerializationFailure
                | Self::Deadlock
                | Self::ConnectionLost(_)
                | Self::IdleInTransactionTimeout
                | Self::ContextExpired
                | Self::ReadOnlyServer
        ) || matches!(self, Self::Conflict { constraint } if constraint == PACKED_MEANWHILE)
    }
}

/// An error that may hold one of this crate, so that a [unit of work](crate::Database::try_run) can tell
/// whether to run again.
///
/// `anyhow::Error`, and whatever else lends itself as a `dyn Error`, has it: one of this crate is
/// looked for among its sources. For an error of your own:
///
/// ```
/// use sesari_db::error::{AsError, Error};
///
/// #[derive(Debug)]
/// enum Failure {
///     Database(Error),
///     TooMany,
/// }
///
/// impl From<Error> for Failure {
///     fn from(error: Error) -> Self {
///         Self::Database(error)
///     }
/// }
///
/// impl AsError for Failure {
///     fn as_error(&self) -> Option<&Error> {
///         match self {
///             Self::Database(error) => Some(error),
///             Self::TooMany => None,
///         }
///     }
/// }
/// ```
pub trait AsError: From<Error> {
    /// The error of this crate in it, if there is one.
    fn as_error(&self) -> Option<&Error>;
}

impl AsError for Error {
    fn as_error(&self) -> Option<&Error> {
        Some(self)
    }
}

/// For `anyhow::Error`, boxed errors and whatever else holds any error: the first of this crate among it and its
/// sources.
impl<E> AsError for E
where
    E: From<Error> + AsRef<dyn std::error::Error + Send + Sync>,
{
    fn as_error(&self) -> Option<&Error> {
        let outermost: &(dyn std::error::Error + 'static) = self.as_ref();
        std::iter::successors(Some(outermost), |error| error.source())
            .find_map(|error| error.downcast_ref())
    }
}

impl From<ParseIdError> for Error {
    fn from(error: ParseIdError) -> Self {
        Self::Invalid(Invalid::new(error.entity(), "not a well-formed id"))
    }
}

impl From<crate::progress::InvalidInput> for Error {
    fn from(error: crate::progress::InvalidInput) -> Self {
        Self::Invalid(Invalid::new(
            error.field(),
            "expected a finite number, and a weight of 0 or more",
        ))
    }
}

impl From<crate::progress::InvalidPace> for Error {
    fn from(error: crate::progress::InvalidPace) -> Self {
        Self::Invalid(Invalid::new(error.field(), "expected a finite number, and 0 to 1 elapsed"))
    }
}

impl From<SeriesError> for Error {
    fn from(error: SeriesError) -> Self {
        Self::Invalid(error.into())
    }
}

impl From<SaltError> for Error {
    fn from(error: SaltError) -> Self {
        match error {
            SaltError::Randomness => Self::Seal(SealError::Randomness),
            // The database holds salts to their length.
            _ => Self::Open(OpenError::Refused),
        }
    }
}

impl From<ResealError> for Error {
    fn from(error: ResealError) -> Self {
        match error {
            ResealError::Open(error) => Self::Open(error),
            ResealError::Seal(error) => Self::Seal(error),
        }
    }
}

impl From<diesel::result::Error> for Error {
    fn from(error: diesel::result::Error) -> Self {
        classify::classify(error)
    }
}

/// Why a user was not deleted, or was not taken out of workspaces.
///
/// `Debug` shows how many workspaces there are, and not which: errors may be logged.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DepartureError {
    /// Nobody else owns these workspaces, and there is no decision for them, or one for an heir who is
    /// not a member. The first 1000, by id. Nothing was done.
    #[error("{} workspaces would have no owner: decide who owns each, or that it is deleted", workspaces.len())]
    Undecided {
        /// The workspaces.
        workspaces: Vec<WorkspaceId>,
    },
    /// The user is in more than 500 workspaces, which are too many for one transaction. Call
    /// [`leave`](crate::repo::MembershipRepository::leave) first, in transactions of their own, until it answers 0.
    #[error(
        "the user is in more than 500 workspaces: leave them first, in transactions of at most 500"
    )]
    TooManyMemberships,
}

impl fmt::Debug for DepartureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undecided { workspaces } => write!(f, "Undecided({})", workspaces.len()),
            Self::TooManyMemberships => f.write_str("TooManyMemberships"),
        }
    }
}

impl DepartureError {
    fn kind_and_status(&self) -> (&'static str, u16) {
        match self {
            Self::Undecided { .. } => ("departure_undecided", 409),
            Self::TooManyMemberships => ("departure_too_many_memberships", 409),
        }
    }
}

/// An error of the server or of diesel. Shows the SQLSTATE and its name, the constraint, table and column
/// if there are any, and the place in the statement, but not the server's text: that may quote values.
pub struct DatabaseError(diesel::result::Error);

impl DatabaseError {
    pub(crate) fn new(error: diesel::result::Error) -> Self {
        Self(error)
    }

    /// The error of a server that no longer answers.
    #[cfg(feature = "tokio")]
    pub(crate) fn silent() -> Self {
        let kind = diesel::result::DatabaseErrorKind::ClosedConnection;
        Self(diesel::result::Error::DatabaseError(kind, Box::new("no answer".to_owned())))
    }

    /// The SQLSTATE, unless the server named a constraint instead or the error is not the server's.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&str> {
        match &self.0 {
            diesel::result::Error::DatabaseError(_, info) => classify::sqlstate(info.as_ref()),
            _ => None,
        }
    }

    /// The error as diesel reported it. Its text may quote values of rows.
    #[must_use]
    pub fn diesel_error(&self) -> &diesel::result::Error {
        &self.0
    }
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use diesel::result::Error as E;
        match &self.0 {
            E::DatabaseError(kind, info) => {
                let position = info.statement_position().map(|position| position.to_string());
                match self.sqlstate() {
                    Some(code) => {
                        write!(f, "database error: {} (SQLSTATE {code}", condition::name(code))?;
                    }
                    None => write!(f, "database error ({kind:?}")?,
                }
                for (what, name) in [
                    ("constraint", info.constraint_name().filter(|_| self.sqlstate().is_none())),
                    ("table", info.table_name()),
                    ("column", info.column_name()),
                    ("at character", position.as_deref()),
                ] {
                    if let Some(name) = name {
                        write!(f, ", {what} {name}")?;
                    }
                }
                f.write_str(")")
            }
            E::DeserializationError(_) => f.write_str("a stored value could not be read"),
            E::SerializationError(_) => f.write_str("a value could not be sent"),
            E::QueryBuilderError(_) => f.write_str("the query could not be built"),
            _ => f.write_str("database error"),
        }
    }
}

impl fmt::Debug for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseError({self})")
    }
}

impl std::error::Error for DatabaseError {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::import::{ImportError, RowError, RowFault};

    /// One of each kind, in the order of the README.
    fn one_of_each() -> Vec<Error> {
        let database = || DatabaseError::new(crate::connection::error_of("22012", "x"));
        let (text, reason) = (String::new, String::new);
        let too_long = RowError { line: 1, column: None, fault: RowFault::TooLong };
        vec![
            Error::not_found("kpi"),
            Error::Denied,
            Error::Conflict { constraint: text() },
            Error::ForeignKey { constraint: text() },
            Error::Invalid(Invalid::new("name", "required")),
            Error::LastOwner,
            Error::TooManyChanges,
            Error::Idempotency(IdempotencyError::Reused),
            Error::Idempotency(IdempotencyError::InUse),
            Error::Idempotency(IdempotencyError::OtherMembership),
            Error::Idempotency(IdempotencyError::Unreadable),
            Error::Invitation(InvitationError::Unknown),
            Error::Invitation(InvitationError::WrongUser),
            Error::Invitation(InvitationError::Expired),
            Error::Invitation(InvitationError::Revoked),
            Error::Invitation(InvitationError::Declined),
            Error::Invitation(InvitationError::Accepted),
            Error::Invitation(InvitationError::AlreadyMember),
            Error::Invitation(InvitationError::InviterLacksRights),
            Error::Invitation(InvitationError::AlreadyOpen),
            Error::Invitation(InvitationError::TooMany),
            Error::Invitation(InvitationError::Randomness),
            Error::Departure(DepartureError::Undecided { workspaces: Vec::new() }),
            Error::Departure(DepartureError::TooManyMemberships),
            Error::Import(ImportError::NoHeader),
            Error::Import(ImportError::TooManyErrors { refused: 1, first: too_long }),
            Error::Import(ImportError::KeyTaken { line: 1 }),
            Error::Import(ImportError::Read(std::io::ErrorKind::Other.into())),
            Error::Import(ImportError::Write(std::io::ErrorKind::Other.into())),
            Error::PoolTimeout { reason: reason() },
            Error::Overloaded { bound: QueueBound::Queue },
            Error::DeadlineExceeded,
            Error::ShuttingDown,
            Error::Connect { reason: reason() },
            Error::TooManyConnections { reason: reason() },
            Error::CannotConnectNow { reason: reason() },
            Error::StatementTimeout,
            Error::LockTimeout,
            Error::Cancelled,
            Error::ConnectionLost(database()),
            Error::IdleInTransactionTimeout,
            Error::OutcomeUnknown(database()),
            Error::SerializationFailure,
            Error::Deadlock,
            Error::ReadOnly,
            Error::ReadOnlyServer,
            Error::ServerFull(database()),
            Error::TransactionAborted,
            Error::ContextExpired,
            Error::ContextKeyUnknown,
            Error::Config(text()),
            Error::Unsafe("x".into()),
            Error::Migration("x".into()),
            Error::Seal(SealError::Randomness),
            Error::Open(OpenError::Refused),
            Error::Database(database()),
        ]
    }

    #[test]
    fn the_readme_lists_every_error_with_its_status() {
        let row = |error: &Error| {
            let variant = format!("{error:?}");
            let variant = variant.split(|c: char| !c.is_ascii_alphanumeric()).next();
            let again = if error.is_retryable() { "yes" } else { "" };
            let (kind, status) = (error.kind(), error.http_status());
            format!("| `{}` | `{kind}` | {status} | {again} |", variant.unwrap_or_default())
        };
        let rows: Vec<_> = one_of_each().iter().map(row).collect();
        let readme = include_str!("../README.md");
        let listed: Vec<_> = readme
            .lines()
            .skip_while(|line| !line.starts_with("| error | `kind()`"))
            .skip(2)
            .take_while(|line| line.starts_with('|'))
            .collect();
        assert_eq!(listed.join("\n"), rows.join("\n"), "expected:\n{}", rows.join("\n"));
    }

    /// The kinds are read out of the source, where the compiler asks for each variant's.
    #[test]
    fn no_error_is_missing_from_the_list() {
        let sources = [
            include_str!("error.rs"),
            include_str!("idempotency.rs"),
            include_str!("import.rs"),
            include_str!("invitation.rs"),
        ];
        let declared: BTreeSet<_> = sources
            .iter()
            .flat_map(|source| source.lines())
            .filter_map(|line| {
                line.trim()
                    .trim_start_matches("| ")
                    .strip_prefix("Self::")?
                    .split_once(" => (\"")?
                    .1
                    .split_once('"')
            })
            .map(|(kind, _)| kind)
            .collect();
        let listed: BTreeSet<_> = one_of_each().iter().map(Error::kind).collect();
        assert_eq!(declared, listed);
    }

    #[test]
    fn an_error_of_own_sql_says_what_is_wrong_and_where() {
        let shown = |sqlstate, message| {
            Error::from(crate::connection::error_of(sqlstate, message)).to_string()
        };
        assert_eq!(shown("42P01", "x"), "database error: undefined_table (SQLSTATE 42P01)");
        assert_eq!(shown("22ZZZ", "x"), "database error: data_exception (SQLSTATE 22ZZZ)");
        assert!(!shown("22P02", "hunter2").contains("hunter2"));
    }

    /// As `anyhow` has it: any error, below a context.
    #[derive(Debug, thiserror::Error)]
    #[error("importing")]
    struct Context(#[source] Error);

    #[test]
    fn an_error_of_this_crate_is_found_below_others() {
        type Boxed = Box<dyn std::error::Error + Send + Sync>;
        let plain = Boxed::from(Error::Deadlock);
        assert!(matches!(plain.as_error(), Some(Error::Deadlock)));
        let below: Boxed = Context(Error::LockTimeout).into();
        assert!(matches!(below.as_error(), Some(Error::LockTimeout)));
        assert!(Boxed::from("no error of ours").as_error().is_none());
    }
}
