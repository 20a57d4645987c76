//! Messages sent to the server together: the begin of a transaction, its first statement, and the commit
//! of a transaction with one statement.

use std::any::TypeId;
use std::borrow::Cow;
use std::sync::Arc;

use diesel::connection::{TransactionDepthChange, TransactionManagerStatus};
use diesel::pg::{Pg, PgQueryBuilder};
use diesel::query_builder::bind_collector::RawBytesBindCollector;
use diesel::query_builder::{QueryBuilder, QueryFragment};
use diesel::result::{Error, QueryResult};

use super::message::{Column, ServerError, Status};
use super::statements::{Key, Statement};
use super::wire::{Lost, Replies, Reply};
use super::{PgConnection, error, nul};

/// `pg_type.oid` of `text` and of `timestamptz`.
const TEXT: u32 = 25;
const TIMESTAMPTZ: u32 = 1184;

/// PostgreSQL's epoch, 2000-01-01, in microseconds since 1970.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

/// State of a transaction begun by [`PgConnection::begin_with`].
#[derive(Default)]
pub(super) enum Stage {
    /// There is none: diesel begins and ends transactions.
    #[default]
    Plain,
    /// Nothing has been sent.
    Unopened {
        opening: Box<dyn Opening>,
        /// The commit is sent with the first statement.
        commits_along: bool,
        /// A `SET TRANSACTION` of the borrower. The server accepts it only before the first query, hence
        /// before the one that sets the context.
        mode: Option<String>,
    },
    Open,
    /// The commit was sent with its only statement.
    Finished,
    /// Its begin failed, so that no statement may run; or its outcome is unknown.
    Refused,
    /// Its connection was lost before a commit was sent.
    Lost,
}

/// How a transaction begins, ahead of its first statement.
pub(crate) trait Opening: Send {
    /// `BEGIN` and what belongs to it.
    fn commands(&mut self) -> crate::Result<Vec<Command>>;

    /// The error to return when the server refuses one of the commands.
    fn refused(&self, error: crate::Error) -> crate::Error;

    /// Opens a replacement for a connection that is dead or leads to a read-only server. `None` if this
    /// connection is new already.
    fn reopen(&mut self) -> crate::Result<Option<PgConnection>>;
}

/// A statement with its parameters.
#[derive(Debug)]
pub(crate) struct Command {
    sql: Cow<'static, str>,
    types: Vec<u32>,
    values: Vec<Option<Vec<u8>>>,
}

impl Command {
    pub(crate) fn new(sql: impl Into<Cow<'static, str>>) -> Self {
        Self { sql: sql.into(), types: Vec::new(), values: Vec::new() }
    }

    /// A text.
    pub(crate) fn bind(self, value: impl Into<String>) -> Self {
        self.bind_as(TEXT, value.into().into_bytes())
    }

    /// A time, in microseconds since 1970.
    pub(crate) fn bind_time(self, micros: i64) -> Self {
        self.bind_as(TIMESTAMPTZ, micros.saturating_sub(POSTGRES_EPOCH).to_be_bytes().to_vec())
    }

    fn bind_as(mut self, oid: u32, value: Vec<u8>) -> Self {
        self.types.push(oid);
        self.values.push(Some(value));
        self
    }
}

/// A query that can be sent, and sent again.
pub(super) struct Sendable<'q> {
    id: Option<TypeId>,
    types: Vec<u32>,
    values: Vec<Option<Vec<u8>>>,
    source: Source<'q>,
}

enum Source<'q> {
    Query(&'q dyn QueryFragment<Pg>),
    Text(&'q str),
}

impl<'q> Sendable<'q> {
    pub(super) fn new(
        id: Option<TypeId>,
        binds: RawBytesBindCollector<Pg>,
        source: &'q dyn QueryFragment<Pg>,
    ) -> QueryResult<Self> {
        let types = binds.metadata.iter().map(|metadata| Ok(metadata.oid()?));
        let types = types.collect::<Result<_, Box<dyn std::error::Error + Send + Sync>>>();
        Ok(Self {
            id,
            types: types.map_err(Error::SerializationError)?,
            values: binds.binds,
            source: Source::Query(source),
        })
    }

    /// One statement without parameters.
    pub(super) fn command(sql: &'q str) -> Self {
        Self { id: None, types: Vec::new(), values: Vec::new(), source: Source::Text(sql) }
    }

    fn sql(&self) -> QueryResult<String> {
        let sql = match self.source {
            Source::Text(sql) => sql.to_owned(),
            Source::Query(query) => {
                let mut builder = PgQueryBuilder::default();
                query.to_sql(&mut builder, &Pg)?;
                builder.finish()
            }
        };
        if sql.contains('\0') { Err(nul(&sql)) } else { Ok(sql) }
    }

    fn is_cacheable(&self) -> QueryResult<bool> {
        match self.source {
            // Any text at all, and seldom the same again.
            Source::Text(_) => Ok(false),
            Source::Query(query) => query.is_safe_to_cache_prepared(&Pg),
        }
    }
}

/// A statement in the sequence to be sent.
enum Sent {
    Known(Arc<Statement>),
    New(Key, String),
}

impl Sent {
    fn width(&self) -> usize {
        match self {
            Self::Known(statement) => statement.columns.len(),
            Self::New(..) => 0,
        }
    }
}

/// Why a sequence failed.
enum Failure {
    /// Nothing was sent: the connection had been closed while it was idle.
    Stale(Lost),
    Lost(Lost),
    /// The transaction did not begin.
    Opening(crate::Error),
    Statement(Error),
}

/// An error of this crate on its way through diesel. `error::classify` takes it out again.
fn foreign(error: crate::Error) -> Error {
    Error::QueryBuilderError(Box::new(error))
}

impl PgConnection {
    /// Begins a transaction. The begin is sent with the first statement, and with `commits_along` the commit
    /// as well.
    pub(crate) fn begin_with(
        &mut self,
        opening: Box<dyn Opening>,
        commits_along: bool,
    ) -> QueryResult<()> {
        match self.manager_status() {
            TransactionManagerStatus::Valid(status) => {
                status.change_transaction_depth(TransactionDepthChange::IncreaseDepth)?;
            }
            TransactionManagerStatus::InError => return Err(Error::BrokenTransactionManager),
        }
        self.stage = Stage::Unopened { opening, commits_along, mode: None };
        Ok(())
    }

    /// Whether the commit goes with the next statement, so that there can be no other.
    pub(crate) fn commits_along(&self) -> bool {
        matches!(self.stage, Stage::Unopened { commits_along: true, .. })
    }

    /// Keeps a `SET TRANSACTION` to be sent with the begin, if there is one to come, and returns what
    /// follows it.
    pub(super) fn keep_mode<'q>(&mut self, sql: &'q str) -> Option<&'q str> {
        let mut words = sql.split_ascii_whitespace();
        let mut next_is =
            |word| words.next().is_some_and(|next: &str| next.eq_ignore_ascii_case(word));
        match &mut self.stage {
            Stage::Unopened { mode: mode @ None, .. }
                if next_is("SET") && next_is("TRANSACTION") =>
            {
                let (first, rest) = sql.split_once(';').unwrap_or((sql, ""));
                *mode = Some(first.to_owned());
                Some(rest.trim_ascii())
            }
            _ => None,
        }
    }

    /// Nothing has been sent of the transaction.
    pub(crate) fn is_unopened(&self) -> bool {
        matches!(self.stage, Stage::Unopened { .. })
    }

    /// Whether the commit was sent with the transaction's only statement.
    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.stage, Stage::Finished)
    }

    /// Forgets a transaction that is not, or no longer, open on the server.
    pub(crate) fn leave_transaction(&mut self) {
        self.stage = Stage::Plain;
        *self.manager_status() = TransactionManagerStatus::default();
    }

    /// Ends the transaction, by `COMMIT` or `ROLLBACK`.
    pub(crate) fn end(&mut self, sql: &'static str) -> QueryResult<()> {
        self.wire.compose();
        let sent = self.append(&Command::new(sql));
        self.wire.out.sync();
        let replies = self.wire.exchange(&[]);
        self.follow_status(replies.is_err());
        let mut replies = replies?;
        let error = replies.error.take();
        let tag = replies.completed.first().map(|reply| reply.tag.clone());
        self.keep(vec![sent], &mut replies);
        match (error, tag) {
            (Some(error), _) => Err(error::refused(*error)),
            (None, Some(tag)) if tag == sql => {
                self.stage = Stage::Plain;
                Ok(())
            }
            // The commit of a transaction that failed is a rollback, without an error.
            (None, _) => Err(Error::NotInTransaction),
        }
    }

    /// Ends the transaction without waiting for the answer.
    pub(crate) fn end_ahead(&mut self, sql: &'static str) {
        self.wire.compose();
        let sent = self.append(&Command::new(sql));
        self.wire.out.sync();
        if let (Ok(()), Sent::New(key, name)) = (self.wire.send_ahead(), sent) {
            self.statements.keep(key, name, Arc::new([]));
        }
        self.leave_transaction();
    }

    /// Sends the begin alone, ahead of statements that cannot be sent with it.
    pub(super) fn open_transaction(&mut self) -> QueryResult<()> {
        match &mut self.stage {
            Stage::Unopened { commits_along, .. } => {
                *commits_along = false;
                self.run_any(None).map(drop)
            }
            _ => self.check_open(),
        }
    }

    /// Whether the transaction takes a further statement.
    fn check_open(&self) -> QueryResult<()> {
        match self.stage {
            Stage::Lost => Err(Lost::new("the connection was lost earlier").into()),
            Stage::Finished | Stage::Refused => Err(Error::NotInTransaction),
            Stage::Plain | Stage::Unopened { .. } | Stage::Open => Ok(()),
        }
    }

    /// Sends a query with what comes before and after it.
    pub(super) fn run(&mut self, query: &Sendable<'_>) -> QueryResult<(Arc<[Column]>, Reply)> {
        self.run_any(Some(query))
    }

    /// Retries on a new connection if the first was dead before the server could have run anything.
    fn run_any(&mut self, query: Option<&Sendable<'_>>) -> QueryResult<(Arc<[Column]>, Reply)> {
        self.check_open()?;
        loop {
            let failure = match self.fly(query) {
                Ok(reply) => return Ok(reply),
                Err(failure) => failure,
            };
            if !self.reopened(&failure)? {
                return Err(self.give_up(failure));
            }
        }
    }

    /// Replaces the connection where that may help and cannot run a statement twice.
    fn reopened(&mut self, failure: &Failure) -> QueryResult<bool> {
        let Stage::Unopened { opening, commits_along, .. } = &mut self.stage else {
            return Ok(false);
        };
        let may_help = match failure {
            Failure::Stale(_) | Failure::Opening(crate::Error::ReadOnlyServer) => true,
            Failure::Lost(lost) => !lost.is_silent && !*commits_along,
            Failure::Opening(_) | Failure::Statement(_) => false,
        };
        if !may_help {
            return Ok(false);
        }
        let Some(other) = opening.reopen().map_err(foreign)? else { return Ok(false) };
        let answer_within = self.wire.answer_within;
        let Self { wire, statements, cancel_token, .. } = other;
        (self.wire, self.statements, self.cancel_token) = (wire, statements, cancel_token);
        self.wire.answer_within = answer_within;
        Ok(true)
    }

    fn give_up(&mut self, failure: Failure) -> Error {
        let commits_along = matches!(self.stage, Stage::Unopened { commits_along: true, .. });
        let (stage, error) = match failure {
            Failure::Statement(error) => return error,
            Failure::Opening(error) => {
                if matches!(error, crate::Error::ReadOnlyServer) {
                    // The new connection leads to a read-only server as well.
                    self.wire.give_up();
                }
                (Stage::Refused, foreign(error))
            }
            Failure::Lost(lost) if commits_along => {
                (Stage::Refused, foreign(crate::Error::outcome_unknown(lost.into())))
            }
            Failure::Stale(lost) | Failure::Lost(lost) => (Stage::Lost, lost.into()),
        };
        if !matches!(self.stage, Stage::Plain) {
            self.stage = stage;
        }
        self.follow_status(true);
        error
    }

    /// One sequence: the begin if it is due, the query, and the commit if it comes along.
    fn fly(&mut self, query: Option<&Sendable<'_>>) -> Result<(Arc<[Column]>, Reply), Failure> {
        self.wire.compose();
        let commits = matches!(self.stage, Stage::Unopened { commits_along: true, .. });
        // Do not send a commit on a connection that is already dead: its outcome would be unknown.
        if commits && self.wire.is_stale() {
            return Err(Failure::Stale(Lost::new("the server had closed the connection")));
        }
        let mut sent = self.append_opening().map_err(Failure::Opening)?;
        let position = sent.len();
        if let Some(query) = query {
            sent.push(self.append_query(query).map_err(Failure::Statement)?);
        }
        if commits {
            sent.push(self.append(&Command::new("COMMIT")));
        }
        self.wire.out.sync();
        self.wire.out.check().map_err(|error| Failure::Statement(error.into()))?;
        let widths: Vec<usize> = sent.iter().map(Sent::width).collect();
        let mut replies = self.wire.exchange(&widths).map_err(Failure::Lost)?;
        let error = replies.error.take();
        let mut columns = self.keep(sent, &mut replies);
        self.judge_opening(position, &replies, error.as_deref(), commits)?;
        self.follow_status(error.is_some());
        match error {
            Some(error) => Err(Failure::Statement(error::refused(*error))),
            None if query.is_none() => Ok((Arc::new([]), Reply::default())),
            None => Ok((columns.swap_remove(position), replies.completed.swap_remove(position))),
        }
    }

    fn append_opening(&mut self) -> crate::Result<Vec<Sent>> {
        let Stage::Unopened { opening, mode, .. } = &mut self.stage else {
            return Ok(Vec::new());
        };
        let mut commands = opening.commands()?;
        if let Some(mode) = mode {
            commands.insert(1, Command::new(mode.clone()));
            // A read-only transaction stays read-only, whatever the borrower sets.
            if commands.first().is_some_and(|begin| begin.sql.ends_with("READ ONLY")) {
                commands.insert(2, Command::new("SET TRANSACTION READ ONLY"));
            }
        }
        Ok(commands.iter().map(|command| self.append(command)).collect())
    }

    /// Records whether the transaction began: from then on it is open or finished.
    fn judge_opening(
        &mut self,
        commands: usize,
        replies: &Replies,
        error: Option<&ServerError>,
        commits: bool,
    ) -> Result<(), Failure> {
        let Stage::Unopened { opening, .. } = &mut self.stage else { return Ok(()) };
        if replies.completed.len() < commands {
            return Err(match error {
                Some(error) => {
                    Failure::Opening(opening.refused(error::refused(error.clone()).into()))
                }
                None => Failure::Lost(Lost::new("the server left replies out")),
            });
        }
        self.stage = match error {
            _ if !commits || self.wire.status() != Status::Idle => Stage::Open,
            None => Stage::Finished,
            // The commit failed, which ends the transaction.
            Some(_) => Stage::Refused,
        };
        Ok(())
    }

    fn append(&mut self, command: &Command) -> Sent {
        let key = Key::Sql(command.sql.clone(), command.types.clone());
        self.append_known(&key, &command.values)
            .unwrap_or_else(|| self.append_new(key, &command.sql, true, &command.values))
    }

    fn append_query(&mut self, query: &Sendable<'_>) -> QueryResult<Sent> {
        let types = query.types.clone();
        let (key, sql) = if let Some(id) = query.id {
            (Key::Type(id, types), None)
        } else {
            let sql = query.sql()?;
            (Key::Sql(sql.clone().into(), types), Some(sql))
        };
        if let Some(known) = self.append_known(&key, &query.values) {
            return Ok(known);
        }
        let sql = sql.map_or_else(|| query.sql(), Ok)?;
        Ok(self.append_new(key, &sql, query.is_cacheable()?, &query.values))
    }

    fn append_known(&mut self, key: &Key, values: &[Option<Vec<u8>>]) -> Option<Sent> {
        let statement = self.statements.get(key)?;
        self.wire.out.bind(&statement.name, values);
        self.wire.out.execute(0);
        Some(Sent::Known(statement))
    }

    fn append_new(
        &mut self,
        key: Key,
        sql: &str,
        is_cacheable: bool,
        values: &[Option<Vec<u8>>],
    ) -> Sent {
        let name = self.statements.name(sql, is_cacheable);
        let out = &mut self.wire.out;
        out.parse(&name, sql, key.types());
        out.describe(&name);
        out.bind(&name, values);
        out.execute(0);
        Sent::New(key, name)
    }

    /// Remembers what the server has prepared. Returns the columns of each statement.
    fn keep(&mut self, sent: Vec<Sent>, replies: &mut Replies) -> Vec<Arc<[Column]>> {
        let Replies { completed, interrupted, .. } = replies;
        let mut answered = completed.iter_mut().chain(std::iter::once(interrupted));
        let mut keep_one = |sent| match (sent, answered.next()) {
            (Sent::Known(statement), _) => statement.columns.clone(),
            (Sent::New(key, name), Some(Reply { is_parsed: true, columns, .. })) => {
                let Some(columns) = columns.take() else { return Arc::new([]) as Arc<[Column]> };
                let columns: Arc<[Column]> = columns.into();
                self.statements.keep(key, name, columns.clone());
                columns
            }
            (Sent::New(..), _) => Arc::new([]),
        };
        sent.into_iter().map(&mut keep_one).collect()
    }
}
