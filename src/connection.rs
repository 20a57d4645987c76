//! [`PgConnection`]: a PostgreSQL connection for diesel that sends a transaction's begin, its context
//! and its first statement together.
//!
//! Written over the socket rather than over a client library, because of what neither libpq nor
//! `tokio-postgres` lets its caller say: several commands before one `Sync`. After an error the server
//! skips everything up to the `Sync`, so where the begin or the context is refused, the statement
//! behind it does not run, neither outside of the transaction nor without its context.

mod cancel;
mod error;
mod flight;
mod message;
mod rows;
mod saslprep;
mod scram;
mod startup;
mod statements;
mod target;
#[cfg(not(feature = "tls"))]
#[path = "connection/no_tls.rs"]
mod tls;
#[cfg(feature = "tls")]
mod tls;
mod transport;
mod wire;

use std::fmt;
use std::time::Duration;

use diesel::connection::{
    AnsiTransactionManager, CacheSize, Connection, ConnectionSealed, DynInstrumentation,
    Instrumentation, InstrumentationEvent, LoadConnection, MultiConnectionHelper, SimpleConnection,
    StrQueryHelper, TransactionManager, TransactionManagerStatus,
};
use diesel::expression::QueryMetadata;
use diesel::migration::{CREATE_MIGRATIONS_TABLE, MigrationConnection};
use diesel::pg::{GetPgMetadataCache, Pg, PgMetadataCache, PgMetadataLookup, TransactionBuilder};
use diesel::query_builder::bind_collector::RawBytesBindCollector;
use diesel::query_builder::{Query, QueryFragment, QueryId};
use diesel::result::{ConnectionError, ConnectionResult, Error, QueryResult};
use diesel::sql_types::TypeMetadata;

pub(crate) use cancel::CancelToken;
#[cfg(test)]
pub(crate) use error::error_of;
pub(crate) use flight::{Command, Opening};
pub use rows::{Cursor, PgField, PgRow};
pub(crate) use startup::ConnectError;
pub(crate) use target::Target;

use flight::{Sendable, Stage};
use message::Status;
use statements::Statements;
use wire::Wire;

/// How long [`PgConnection::establish`] tries unless the URL has a `connect_timeout`.
const CONNECT_WITHIN: Duration = Duration::from_secs(30);

/// A connection to PostgreSQL, without libpq.
///
/// It is what [guards](crate::TenantConnection::connection) lend and what
/// [`migrations`](crate::migrations) take, and can be opened by itself with
/// [`establish`](Connection::establish). The [backend](Connection::Backend) is diesel's [`Pg`], so that every query for
/// PostgreSQL runs on it.
///
/// URLs are those of libpq. Its environment variables and files in home directories are not read, and
/// parameters that are not supported are refused. `COPY` to and from the client is not supported.
///
/// The SQLSTATE of an error is what
/// [`constraint_name`](diesel::result::DatabaseErrorInformation::constraint_name) says, as `SQLSTATE 57014`,
/// where the server does not name a constraint.
///
/// ```no_run
/// use diesel::prelude::*;
/// use sesari_db::PgConnection;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut conn = PgConnection::establish("postgres://sesari_owner@localhost/sesari")?;
/// diesel::sql_query("SELECT 1").execute(&mut conn)?;
/// # Ok(()) }
/// ```
pub struct PgConnection {
    wire: Wire,
    statements: Statements,
    metadata: PgMetadataCache,
    manager: AnsiTransactionManager,
    instrumentation: DynInstrumentation,
    cancel_token: CancelToken,
    stage: Stage,
}

impl PgConnection {
    /// Opens a connection within a time that the URL's `connect_timeout` may shorten for each host.
    pub(crate) fn open(target: &Target, within: Duration) -> Result<Self, ConnectError> {
        let opened = startup::connect(target, within)?;
        Ok(Self {
            cancel_token: CancelToken::new(target, &opened),
            wire: Wire::new(opened.transport, opened.rest),
            statements: Statements::default(),
            metadata: PgMetadataCache::new(),
            manager: AnsiTransactionManager::default(),
            instrumentation: DynInstrumentation::none(),
            stage: Stage::Plain,
        })
    }

    /// Builds a transaction with an isolation level or an access mode.
    pub fn build_transaction(&mut self) -> TransactionBuilder<'_, Self> {
        TransactionBuilder::new(self)
    }

    /// How long the server may take to answer before it counts as lost.
    pub(crate) fn answer_within(&mut self, limit: Option<Duration>) {
        self.wire.answer_within = limit;
    }

    #[cfg_attr(
        not(feature = "tokio"),
        allow(dead_code, reason = "futures alone cancel statements")
    )]
    pub(crate) fn cancel_token(&self) -> &CancelToken {
        &self.cancel_token
    }

    /// Whether the connection is of no more use.
    pub(crate) fn is_lost(&self) -> bool {
        self.wire.is_lost()
    }

    /// The transaction's last statement failed, and nothing runs in it any more.
    pub(crate) fn has_failed(&self) -> bool {
        self.wire.status() == Status::Failed
    }

    /// No transaction is open on the server.
    pub(crate) fn is_idle(&self) -> bool {
        self.wire.status() == Status::Idle
    }

    /// The server has forgotten its prepared statements, or there are to be none.
    pub(crate) fn forget_statements(&mut self, prepares: bool) {
        self.statements.reset(prepares);
    }

    fn manager_status(&mut self) -> &mut TransactionManagerStatus {
        AnsiTransactionManager::transaction_manager_status_mut(self)
    }

    /// Updates diesel's transaction manager with the transaction status that the server reports.
    fn follow_status(&mut self, has_failed: bool) {
        let (is_lost, status) = (self.is_lost(), self.wire.status());
        let manager = self.manager_status();
        let is_outside = matches!(manager, TransactionManagerStatus::Valid(valid) if valid.transaction_depth().is_none());
        match status {
            _ if is_lost => manager.set_in_error(),
            Status::Failed => manager.set_requires_rollback_maybe_up_to_top_level(true),
            Status::Idle => *manager = TransactionManagerStatus::default(),
            // Nobody knows what began it.
            Status::InTransaction if has_failed && is_outside => manager.set_in_error(),
            Status::InTransaction => manager.set_requires_rollback_maybe_up_to_top_level(false),
        }
    }

    /// Runs any number of statements without parameters.
    fn run_simple(&mut self, sql: &str) -> QueryResult<()> {
        if sql.contains('\0') {
            return Err(nul(sql));
        }
        self.open_transaction()?;
        self.wire.compose().query(sql);
        let replies =
            self.wire.out.check().map_err(Error::from).and_then(|()| Ok(self.wire.exchange(&[])?));
        let outcome = replies.and_then(|replies| match replies.error {
            Some(error) => Err(error::refused(*error)),
            None => Ok(()),
        });
        self.follow_status(outcome.is_err());
        outcome
    }

    /// Between the events that instrumentation is told of.
    fn observed<T>(
        &mut self,
        query: &dyn diesel::connection::DebugQuery,
        run: impl FnOnce(&mut Self) -> QueryResult<T>,
    ) -> QueryResult<T> {
        self.instrumentation.on_connection_event(InstrumentationEvent::start_query(query));
        let outcome = run(self);
        let event = InstrumentationEvent::finish_query(query, outcome.as_ref().err());
        self.instrumentation.on_connection_event(event);
        outcome
    }

    fn send<T>(
        &mut self,
        source: &T,
    ) -> QueryResult<(std::sync::Arc<[message::Column]>, wire::Reply)>
    where
        T: QueryFragment<Pg> + QueryId,
    {
        self.observed(&diesel::debug_query::<Pg, _>(source), |conn| {
            let mut binds = RawBytesBindCollector::<Pg>::new();
            source.collect_binds(&mut binds, conn, &Pg)?;
            conn.run(&Sendable::new(T::query_id(), binds, source)?)
        })
    }
}

/// diesel's error for a text with a NUL in it.
fn nul(text: &str) -> Error {
    match std::ffi::CString::new(text) {
        Err(error) => Error::InvalidCString(error),
        Ok(_) => Error::NotFound,
    }
}

impl SimpleConnection for PgConnection {
    fn batch_execute(&mut self, sql: &str) -> QueryResult<()> {
        self.observed(&StrQueryHelper::new(sql), |conn| {
            let sql = match conn.keep_mode(sql) {
                Some("") => return Ok(()),
                Some(rest) => rest,
                None => sql,
            };
            // One statement may go together with the begin.
            if conn.is_unopened() && !sql.contains(';') {
                conn.run(&Sendable::command(sql)).map(drop)
            } else {
                conn.run_simple(sql)
            }
        })
    }
}

impl ConnectionSealed for PgConnection {}

impl Connection for PgConnection {
    type Backend = Pg;
    type TransactionManager = AnsiTransactionManager;

    fn establish(url: &str) -> ConnectionResult<Self> {
        let mut instrumentation = DynInstrumentation::default_instrumentation();
        instrumentation.on_connection_event(InstrumentationEvent::start_establish_connection(url));
        let opened = Target::parse(url)
            .map_err(|error| ConnectionError::InvalidConnectionUrl(error.to_string()))
            .and_then(|target| {
                Self::open(&target, CONNECT_WITHIN)
                    .map_err(|error| ConnectionError::BadConnection(error.to_string()))
            });
        let event = InstrumentationEvent::finish_establish_connection(url, opened.as_ref().err());
        instrumentation.on_connection_event(event);
        let mut conn = opened?;
        conn.instrumentation = instrumentation;
        Ok(conn)
    }

    fn execute_returning_count<T>(&mut self, source: &T) -> QueryResult<usize>
    where
        T: QueryFragment<Pg> + QueryId,
    {
        self.send(source).map(|(_, reply)| reply.count())
    }

    fn transaction_state(&mut self) -> &mut AnsiTransactionManager {
        &mut self.manager
    }

    fn instrumentation(&mut self) -> &mut dyn Instrumentation {
        &mut *self.instrumentation
    }

    fn set_instrumentation(&mut self, instrumentation: impl Instrumentation) {
        self.instrumentation = instrumentation.into();
    }

    fn set_prepared_statement_cache_size(&mut self, size: CacheSize) {
        self.statements.reset(matches!(size, CacheSize::Unbounded));
    }
}

impl LoadConnection for PgConnection {
    type Cursor<'conn, 'query> = Cursor;
    type Row<'conn, 'query> = PgRow;

    fn load<'conn, 'query, T>(&'conn mut self, source: T) -> QueryResult<Cursor>
    where
        T: Query + QueryFragment<Pg> + QueryId + 'query,
        Pg: QueryMetadata<T::SqlType>,
    {
        let (columns, reply) = self.send(&source)?;
        Ok(Cursor::new(columns, reply.rows))
    }
}

impl GetPgMetadataCache for PgConnection {
    fn get_metadata_cache(&mut self) -> &mut PgMetadataCache {
        &mut self.metadata
    }
}

impl MultiConnectionHelper for PgConnection {
    fn to_any<'a>(
        lookup: &mut <Pg as TypeMetadata>::MetadataLookup,
    ) -> &mut (dyn std::any::Any + 'a) {
        lookup.as_any()
    }

    fn from_any(
        lookup: &mut dyn std::any::Any,
    ) -> Option<&mut <Pg as TypeMetadata>::MetadataLookup> {
        lookup.downcast_mut::<Self>().map(|conn| conn as &mut dyn PgMetadataLookup)
    }
}

impl MigrationConnection for PgConnection {
    fn setup(&mut self) -> QueryResult<usize> {
        use diesel::RunQueryDsl as _;
        diesel::sql_query(CREATE_MIGRATIONS_TABLE).execute(self)
    }
}

impl diesel::r2d2::R2D2Connection for PgConnection {
    fn ping(&mut self) -> QueryResult<()> {
        self.batch_execute("SELECT 1")
    }

    fn is_broken(&mut self) -> bool {
        self.is_lost() || AnsiTransactionManager::is_broken_transaction_manager(self)
    }
}

impl fmt::Debug for PgConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgConnection").finish_non_exhaustive()
    }
}
