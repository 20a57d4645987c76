//! A pooled connection, with its backend's pid, the server's clock, and the key that signs contexts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::R2D2Connection;
use diesel::sql_types::{Array, Binary, Bool, Integer, Text, Timestamptz};

use super::context::{self, ContextKey, ContextKeyRing};
use super::transaction::{DatabaseRole, Timeouts};
use crate::actor::Actor;
use crate::clock::Clock;
use crate::connection::{PgConnection, Target};
use crate::error::{DatabaseError, Error, Result};
use crate::id::WorkspaceId;

/// How long a connection trusts what it learned of the server's clock and keys.
const REFRESH_AFTER: Duration = Duration::from_mins(1);

/// How much longer than the server's own limit the client waits for an answer. After that it treats the
/// connection as lost.
const ANSWER_GRACE: Duration = Duration::from_secs(5);

/// The `statement_timeout` of the crate's own queries, as in [`SESSION_SETTINGS`].
const OWN_LIMIT: Duration = Duration::from_secs(30);

/// Opens sessions for the pool.
#[derive(Clone)]
pub(crate) struct SessionManager {
    pub(crate) target: Arc<Target>,
    pub(crate) keys: Arc<ContextKeyRing>,
    pub(crate) clock: Clock,
    pub(crate) role: DatabaseRole,
    pub(crate) timeouts: Timeouts,
    pub(crate) connect_within: Duration,
    /// Behind a transaction pooler, backend, settings and prepared statements change between transactions.
    pub(crate) pooled_elsewhere: bool,
}

/// One physical connection.
pub(crate) struct Session {
    pub(crate) conn: PgConnection,
    /// Shared with the begin of a transaction, which may replace the connection.
    pub(crate) facts: SharedFacts,
    /// The connection was lent to the caller, who may have left settings, prepared statements or
    /// locks behind.
    pub(crate) lent: bool,
    /// The connection is not known to be clean and outside of a transaction. diesel knows of
    /// transactions that it began itself; a caller may have begun another.
    pub(crate) doubtful: bool,
    /// Statements are prepared by name, and settings are the session's.
    prepares: bool,
}

#[derive(Clone)]
pub(crate) struct SharedFacts(Arc<Mutex<Facts>>);

/// What the session has learned about its connection.
pub(crate) struct Facts {
    backend_pid: i32,
    /// The server's clock, in microseconds since 1970, at `learned_at`.
    server_time: i64,
    learned_at: Instant,
    key_index: Option<usize>,
    /// The statements that restore the connection's initial state.
    cleaning: String,
}

/// A context, and when it was signed: the server's time in microseconds since 1970.
pub(crate) struct Signed {
    pub(crate) context: String,
    pub(crate) issued_at: i64,
}

impl SharedFacts {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces these with the facts of another connection.
    pub(crate) fn replace(&self, other: &Self) {
        std::mem::swap(&mut *self.lock(), &mut *other.lock());
    }
}

#[derive(QueryableByName)]
struct Undo {
    #[diesel(sql_type = Text)]
    undo: String,
}

#[derive(QueryableByName)]
struct Learned {
    #[diesel(sql_type = Integer)]
    pid: i32,
    #[diesel(sql_type = Timestamptz)]
    now: DateTime<Utc>,
    #[diesel(sql_type = Array<Bool>)]
    known: Vec<bool>,
}

impl SessionManager {
    /// Opens a connection.
    pub(crate) fn open(&self) -> Result<PgConnection> {
        let mut conn = PgConnection::open(&self.target, self.connect_within)?;
        conn.answer_within(Some(OWN_LIMIT + ANSWER_GRACE));
        if self.pooled_elsewhere {
            conn.forget_statements(false);
        } else {
            conn.batch_execute(SESSION_SETTINGS)?;
        }
        Ok(conn)
    }

    /// Makes a session of a connection.
    pub(crate) fn session(&self, mut conn: PgConnection) -> Result<Session> {
        // A transaction pooler gives the server's connection to other clients, so it keeps none of our
        // settings but those that the pooler tracks for each client.
        let (cleaning, settings) = if self.pooled_elsewhere {
            (format!("{CLEANING}{CLIENT_SETTINGS}"), String::new())
        } else {
            let (undo, settings) = (undo(&mut conn)?, self.guard_settings());
            (format!("{CLEANING}{SESSION_SETTINGS}{undo}{settings}"), settings)
        };
        let facts = Facts {
            backend_pid: 0,
            server_time: 0,
            learned_at: self.clock.now(),
            key_index: None,
            cleaning,
        };
        let mut session = Session {
            conn,
            facts: SharedFacts(Arc::new(Mutex::new(facts))),
            lent: false,
            doubtful: false,
            prepares: !self.pooled_elsewhere,
        };
        self.learn(&mut session)?;
        if !settings.is_empty() {
            session.conn.batch_execute(&settings)?;
        }
        Ok(session)
    }

    /// Connects as [`connect`](r2d2::ManageConnection::connect) does, and retries until the deadline while
    /// the server is not reachable. Tries at least once.
    pub(crate) fn session_until(&self, until: Instant) -> Result<Session> {
        let mut pause = Duration::from_millis(50);
        loop {
            let error = match self.open().and_then(|conn| self.session(conn)) {
                Ok(session) => return Ok(session),
                Err(error) => error,
            };
            if !error.is_outage() {
                return Err(error);
            }
            if Instant::now() + pause >= until {
                return Err(Error::PoolTimeout { reason: error.to_string() });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    /// The settings of every transaction of a guard: set once for the session, or in each transaction
    /// behind a pooler.
    fn guard_settings(&self) -> String {
        let Timeouts { statement, lock, idle } = self.timeouts;
        format!(
            "SET ROLE {role};SET search_path=public,pg_temp;SET row_security=on;\
             SET statement_timeout={statement};SET lock_timeout={lock};\
             SET idle_in_transaction_session_timeout={idle};",
            role = self.role.name(),
            statement = statement.as_millis(),
            lock = lock.as_millis(),
            idle = idle.as_millis(),
        )
    }

    /// How long the client waits for the answer to a statement with this server-side limit, if it has one.
    pub(crate) fn answer_within(statement: Duration) -> Option<Duration> {
        (!statement.is_zero()).then(|| statement.saturating_add(ANSWER_GRACE))
    }

    /// Whether what the session knows of the server is too old to sign with.
    pub(crate) fn is_refresh_due(&self, session: &Session) -> bool {
        let learned_at = session.facts.lock().learned_at;
        self.clock.now().saturating_duration_since(learned_at) > REFRESH_AFTER
    }

    /// The key to sign with that the server knows.
    pub(crate) fn key(&self, facts: &Facts) -> Result<&ContextKey> {
        let index = facts.key_index.ok_or(Error::ContextKeyUnknown)?;
        self.keys.get(index).ok_or(Error::ContextKeyUnknown)
    }

    /// Signs a context for the connection.
    pub(crate) fn sign(
        &self,
        facts: &SharedFacts,
        actor: &Actor,
        workspace: Option<&WorkspaceId>,
    ) -> Result<Signed> {
        let facts = facts.lock();
        let key = self.key(&facts)?;
        let elapsed = self.clock.now().saturating_duration_since(facts.learned_at).as_micros();
        let issued_at =
            facts.server_time.saturating_add(i64::try_from(elapsed).unwrap_or(i64::MAX));
        let pid = if self.pooled_elsewhere { 0 } else { facts.backend_pid };
        Ok(Signed { context: context::sign(key, actor, workspace, issued_at, pid), issued_at })
    }

    /// Reads pid, clock and keys. The server's time is taken as of the answer's arrival: the
    /// estimate lags by at most a round trip, and never runs ahead.
    pub(crate) fn learn(&self, session: &mut Session) -> Result<()> {
        let (learned, learned_at) = self.asked(&mut session.conn)?;
        let mut facts = session.facts.lock();
        if facts.backend_pid != 0 && facts.backend_pid != learned.pid && !self.pooled_elsewhere {
            return Err(Error::transaction_pooler());
        }
        facts.backend_pid = learned.pid;
        facts.server_time = learned.now.timestamp_micros();
        facts.learned_at = learned_at;
        facts.key_index = learned.known.iter().position(|known| *known);
        Ok(())
    }

    /// The id of the key that sessions opened now sign with; `None` where the server knows none.
    pub(crate) fn key_in_use(&self, conn: &mut PgConnection) -> Result<Option<String>> {
        let (learned, _) = self.asked(conn)?;
        let index = learned.known.iter().position(|known| *known);
        Ok(index.and_then(|index| self.keys.get(index)).map(|key| key.id().to_owned()))
    }

    fn asked(&self, conn: &mut PgConnection) -> QueryResult<(Learned, Instant)> {
        if !self.pooled_elsewhere {
            return self.ask(conn);
        }
        // Nothing can be set for the session there.
        conn.transaction(|conn| {
            conn.batch_execute("SET LOCAL statement_timeout='30s';SET LOCAL lock_timeout='5s'")?;
            self.ask(conn)
        })
    }

    fn ask(&self, conn: &mut PgConnection) -> QueryResult<(Learned, Instant)> {
        let learned = diesel::sql_query(
            "SELECT pg_catalog.pg_backend_pid() AS pid, pg_catalog.clock_timestamp() AS now, \
             ARRAY(SELECT sesari.has_context_key(id, proof) \
                     FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) WITH ORDINALITY \
                     AS t (id, proof, n) \
                    ORDER BY n) AS known",
        )
        .bind::<Array<Text>, _>(self.keys.ids())
        .bind::<Array<Binary>, _>(self.keys.proofs())
        .get_result(conn)?;
        Ok((learned, self.clock.now()))
    }
}

/// Resets damaging settings of the login, and returns the statements that do.
fn undo(conn: &mut PgConnection) -> QueryResult<String> {
    let Undo { undo } = diesel::sql_query(UNDO).get_result(conn)?;
    if !undo.is_empty() {
        conn.batch_execute(&undo)?;
    }
    Ok(undo)
}

/// Removes the session state that a caller may have left. These are the steps of `DISCARD ALL`, which
/// cannot run together with other statements. PostgreSQL has no reset for the seed of `random()`, so it
/// gets an unpredictable one. Plans come last, as what runs here makes some under the caller's settings.
/// Names of custom settings stay, without values: PostgreSQL cannot drop them.
const CLEANING: &str = "SET SESSION AUTHORIZATION DEFAULT;DEALLOCATE ALL;CLOSE ALL;UNLISTEN *;\
     SELECT sesari.release_advisory_locks(),pg_catalog.setseed(pg_catalog.float8div(pg_catalog.float8(\
     pg_catalog.uuid_hash_extended(pg_catalog.gen_random_uuid(),0)),9223372036854775808.0));\
     DISCARD TEMP;DISCARD SEQUENCES;RESET ALL;DISCARD PLANS;";

/// The settings of the start-up message, which a transaction pooler tracks for each client.
const CLIENT_SETTINGS: &str = "SET TIME ZONE 'UTC';SET CLIENT_ENCODING TO 'UTF8';";

/// Settings of a connection between transactions, for the crate's own queries. Set explicitly, because a
/// login, and SQL that runs as it, can change the login's defaults.
const SESSION_SETTINGS: &str = "SET ROLE NONE;SET statement_timeout='30s';SET lock_timeout='5s';\
     SET row_security=on;SET quote_all_identifiers=off;";

/// Settings that get the server's default where the login has another value: they can end sessions, lose
/// commits, refuse writes, or change the meaning of a statement. Those unknown to the server are left out.
const UNDO: &str = "SELECT coalesce(string_agg( \
            format('SELECT pg_catalog.set_config(%L,%L,false);', name, boot_val), ''), '') AS undo \
       FROM pg_catalog.pg_settings \
      WHERE source IN ('user', 'database user') AND context = 'user' \
        AND name IN ('array_nulls', 'backslash_quote', 'default_transaction_deferrable', \
            'default_transaction_isolation', 'default_transaction_read_only', 'exit_on_error', \
            'idle_session_timeout', 'plan_cache_mode', 'search_path', 'standard_conforming_strings', \
            'synchronous_commit', 'transaction_timeout', 'transform_null_equals', 'xmloption')";

impl Session {
    /// The statements to send with the end of a transaction in which the connection was lent.
    pub(crate) fn cleaning(&self) -> String {
        self.facts.lock().cleaning.clone()
    }

    /// [`CLEANING`] has run: the server has forgotten its prepared statements, and so must the client.
    pub(crate) fn cleaned(&mut self) {
        self.lent = false;
        self.conn.forget_statements(self.prepares);
    }
}

impl r2d2::ManageConnection for SessionManager {
    type Connection = Session;
    type Error = Error;

    fn connect(&self) -> Result<Session> {
        self.session(self.open()?)
    }

    /// Not called by the pool, which would pay a round trip for every check-out: the first statement of
    /// a transaction finds a dead connection out and takes another.
    fn is_valid(&self, session: &mut Session) -> Result<()> {
        session.conn.ping().map_err(|error| Error::ConnectionLost(DatabaseError::new(error)))
    }

    fn has_broken(&self, session: &mut Session) -> bool {
        session.doubtful || std::thread::panicking() || session.conn.is_lost()
    }
}
