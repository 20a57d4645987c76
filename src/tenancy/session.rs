//! A pooled connection and what is known of it: the backend's pid, the server's clock, the key to
//! sign with, and where the server would show the context to others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use diesel::connection::{CacheSize, SimpleConnection};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::r2d2::R2D2Connection;
use diesel::sql_types::{Array, BigInt, Binary, Bool, Integer, Text, Timestamptz};

use super::context::{self, Actor, ContextKeyRing};
use crate::clock::Clock;
use crate::error::{DatabaseError, Error, Result};
use crate::id::WorkspaceId;

/// How long a connection trusts what it learned of the server's clock and keys.
const REFRESH_AFTER: Duration = Duration::from_mins(1);

/// Opens sessions for the pool.
#[derive(Clone)]
pub(crate) struct SessionManager {
    pub(crate) url: String,
    pub(crate) keys: Arc<ContextKeyRing>,
    pub(crate) clock: Clock,
    /// Behind a transaction pooler neither the backend nor prepared statements stay.
    pub(crate) pooled_elsewhere: bool,
}

/// One physical connection.
pub(crate) struct Session {
    pub(crate) conn: PgConnection,
    backend_pid: i32,
    /// The server's clock, in microseconds since 1970, at `learned_at`.
    server_time: i64,
    learned_at: Instant,
    key_index: Option<usize>,
    pub(crate) discretion: Discretion,
    /// The connection was lent to the caller, who may have left settings, prepared statements or
    /// locks behind.
    pub(crate) lent: bool,
    /// The connection is not known to be clean and outside of a transaction. diesel knows of
    /// transactions that it began itself; a caller may have begun another.
    pub(crate) doubtful: bool,
    /// Statements are prepared by name.
    prepares: bool,
    /// What undoes damaging settings of the login, see [`UNDO`].
    undo: String,
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
    #[diesel(sql_type = BigInt)]
    shown: i64,
    #[diesel(sql_type = Bool)]
    recorded: bool,
}

/// How a session keeps its contexts out of the statistics that other sessions of its login may read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Discretion {
    /// As many blanks as `pg_stat_activity` shows of a statement (`track_activity_query_size`, fixed
    /// when the server starts). Put before the `BEGIN`, they are all that it shows.
    pub(crate) blanks: String,
    /// `pg_stat_statements` records a `SET` with its value up to PostgreSQL 17; of a `SELECT` it keeps
    /// the form alone.
    pub(crate) set_is_recorded: bool,
}

impl SessionManager {
    /// Opens a connection.
    pub(crate) fn open(&self) -> Result<PgConnection> {
        let mut conn = PgConnection::establish(&self.url).map_err(|error| match error {
            diesel::ConnectionError::CouldntSetupConfiguration(error) => error.into(),
            // libpq says where and why, never the password.
            other => Error::Connect { reason: other.to_string() },
        })?;
        if self.pooled_elsewhere {
            conn.set_prepared_statement_cache_size(CacheSize::Disabled);
        } else {
            conn.batch_execute(SESSION_SETTINGS)?;
        }
        Ok(conn)
    }

    /// Makes a session of a connection.
    pub(crate) fn session(&self, mut conn: PgConnection) -> Result<Session> {
        let undo = if self.pooled_elsewhere { String::new() } else { undo(&mut conn)? };
        let mut session = Session {
            conn,
            backend_pid: 0,
            server_time: 0,
            learned_at: self.clock.now(),
            key_index: None,
            discretion: Discretion::default(),
            lent: false,
            doubtful: false,
            prepares: !self.pooled_elsewhere,
            undo,
        };
        self.learn(&mut session)?;
        Ok(session)
    }

    /// Whether what the session knows of the server is too old to sign with.
    pub(crate) fn is_refresh_due(&self, session: &Session) -> bool {
        self.clock.now().saturating_duration_since(session.learned_at) > REFRESH_AFTER
    }

    /// Signs a context for the session. The moment of signing comes with it.
    pub(crate) fn sign(
        &self,
        session: &Session,
        actor: &Actor,
        workspace: Option<&WorkspaceId>,
    ) -> Result<(String, Instant)> {
        let key = session
            .key_index
            .and_then(|index| self.keys.get(index))
            .ok_or(Error::ContextKeyUnknown)?;
        let now = self.clock.now();
        let elapsed = now.saturating_duration_since(session.learned_at).as_micros();
        let issued_at =
            session.server_time.saturating_add(i64::try_from(elapsed).unwrap_or(i64::MAX));
        let pid = if self.pooled_elsewhere { 0 } else { session.backend_pid };
        Ok((context::sign(key, actor, workspace, issued_at, pid), now))
    }

    /// Reads pid, clock and keys. The server's time is taken as of the answer's arrival: the
    /// estimate lags by at most a round trip, and never runs ahead.
    pub(crate) fn learn(&self, session: &mut Session) -> Result<()> {
        let conn = &mut session.conn;
        let (learned, learned_at) = if self.pooled_elsewhere {
            // Nothing can be set for the session there.
            conn.transaction(|conn| {
                conn.batch_execute(
                    "SET LOCAL statement_timeout='30s';SET LOCAL lock_timeout='5s'",
                )?;
                self.ask(conn)
            })?
        } else {
            self.ask(conn)?
        };
        if session.backend_pid != 0 && session.backend_pid != learned.pid && !self.pooled_elsewhere
        {
            return Err(Error::transaction_pooler());
        }
        session.backend_pid = learned.pid;
        session.server_time = learned.now.timestamp_micros();
        session.learned_at = learned_at;
        session.key_index = learned.known.iter().position(|known| *known);
        session.discretion = Discretion {
            blanks: " ".repeat(usize::try_from(learned.shown).unwrap_or_default()),
            set_is_recorded: learned.recorded,
        };
        Ok(())
    }

    fn ask(&self, conn: &mut PgConnection) -> QueryResult<(Learned, Instant)> {
        let learned = diesel::sql_query(
            "SELECT pg_catalog.pg_backend_pid() AS pid, pg_catalog.clock_timestamp() AS now, \
             ARRAY(SELECT sesari.has_context_key(id, proof) \
                     FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) WITH ORDINALITY \
                     AS t (id, proof, n) \
                    ORDER BY n) AS known, \
             pg_catalog.pg_size_bytes(pg_catalog.current_setting('track_activity_query_size')) AS shown, \
             coalesce(pg_catalog.current_setting('pg_stat_statements.track_utility', true), 'off') = 'on' \
               AND pg_catalog.current_setting('server_version_num')::integer < 180000 AS recorded",
        )
        .bind::<Array<Text>, _>(self.keys.ids())
        .bind::<Array<Binary>, _>(self.keys.proofs())
        .get_result(conn)?;
        Ok((learned, self.clock.now()))
    }
}

/// Undoes damaging settings of the login, and says how.
fn undo(conn: &mut PgConnection) -> QueryResult<String> {
    let Undo { undo } = diesel::sql_query(UNDO).get_result(conn)?;
    if !undo.is_empty() {
        conn.batch_execute(&undo)?;
    }
    Ok(undo)
}

/// Takes off the session what a caller may have left: what `DISCARD ALL` does, which itself is
/// refused beside other statements, and a seed of `random()`, which nothing resets: it gets one that nobody
/// knows. The names of settings that a caller made up stay, without their values, as PostgreSQL cannot
/// forget them. The settings at the end are those that diesel makes when it connects, and a pooler knows
/// them for the client's.
const CLEANING: &str = "SET SESSION AUTHORIZATION DEFAULT;DEALLOCATE ALL;CLOSE ALL;UNLISTEN *;\
     SELECT sesari.release_advisory_locks(),pg_catalog.setseed(pg_catalog.float8div(pg_catalog.float8(\
     pg_catalog.uuid_hash_extended(pg_catalog.gen_random_uuid(),0)),9223372036854775808.0));\
     DISCARD TEMP;DISCARD SEQUENCES;RESET ALL;SET TIME ZONE 'UTC';SET CLIENT_ENCODING TO 'UTF8';";

/// What holds on a connection between its transactions, for the crate's own questions. A login can
/// change its own defaults, and so can SQL that runs as it.
const SESSION_SETTINGS: &str = "SET ROLE NONE;SET statement_timeout='30s';SET lock_timeout='5s';\
     SET row_security=on;SET quote_all_identifiers=off;";

/// What takes the server's own default where the login has another: settings that end sessions, lose
/// commits, refuse writes, or read a statement otherwise than it was written. One that the server does
/// not know is not there to be set.
const UNDO: &str = "SELECT coalesce(string_agg( \
            format('SELECT pg_catalog.set_config(%L,%L,false);', name, boot_val), ''), '') AS undo \
       FROM pg_catalog.pg_settings \
      WHERE source IN ('user', 'database user') AND context = 'user' \
        AND name IN ('array_nulls', 'backslash_quote', 'default_transaction_deferrable', \
            'default_transaction_isolation', 'default_transaction_read_only', 'exit_on_error', \
            'idle_session_timeout', 'plan_cache_mode', 'search_path', 'standard_conforming_strings', \
            'synchronous_commit', 'transaction_timeout', 'transform_null_equals', 'xmloption')";

impl Session {
    /// What to send along with the end of a transaction: nothing, unless the connection was lent. Behind
    /// a transaction pooler the server's connection is somebody else's next, and keeps no setting of ours.
    pub(crate) fn cleaning(&self) -> String {
        match (self.lent, self.prepares) {
            (false, _) => String::new(),
            (true, true) => format!("{CLEANING}{SESSION_SETTINGS}{}", self.undo),
            (true, false) => CLEANING.to_owned(),
        }
    }

    /// The backend by which another session of this login can cancel what this one runs. Behind a
    /// transaction pooler it is somebody else's in the next moment.
    #[cfg(feature = "tokio")]
    pub(crate) fn cancellable(&self) -> Option<i32> {
        self.prepares.then_some(self.backend_pid)
    }

    /// [`CLEANING`] has run: the server has forgotten its prepared statements, and so must diesel.
    pub(crate) fn cleaned(&mut self) {
        self.lent = false;
        self.conn.set_prepared_statement_cache_size(CacheSize::Disabled);
        if self.prepares {
            self.conn.set_prepared_statement_cache_size(CacheSize::Unbounded);
        }
    }
}

impl r2d2::ManageConnection for SessionManager {
    type Connection = Session;
    type Error = Error;

    fn connect(&self) -> Result<Session> {
        self.session(self.open()?)
    }

    /// Not called by the pool, which would pay a round trip for every check-out: the begin of a
    /// transaction finds a dead connection out and takes another.
    fn is_valid(&self, session: &mut Session) -> Result<()> {
        session.conn.ping().map_err(|error| Error::ConnectionLost(DatabaseError::new(error)))
    }

    fn has_broken(&self, session: &mut Session) -> bool {
        session.doubtful || std::thread::panicking() || session.conn.is_broken()
    }
}
