//! Reading from a standby: when it may be used, and when the primary answers instead.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};

use super::Database;
use super::login_pool::LoginPool;
use crate::connection::PgConnection;
use crate::error::Result;
use crate::value::Invalid;

/// For how long a replica that failed is left alone.
const REST: Duration = Duration::from_secs(5);
/// How often a replica is asked whether it has caught up, at first; then half as often each time.
const FIRST_LOOK: Duration = Duration::from_millis(2);

/// Where the primary's log was at some moment. What was committed before is on a replica that has
/// come this far.
///
/// Its text form, such as `16/B374D848`, may go to a client in a cookie or a header and come back: it
/// tells how much the server has written, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteMark(u64);

impl WriteMark {
    /// After all others.
    pub(super) const LAST: Self = Self(u64::MAX);

    pub(super) fn bytes_after(self, other: Self) -> u64 {
        self.0.saturating_sub(other.0)
    }
}

impl fmt::Display for WriteMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl FromStr for WriteMark {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let half = |text: &str| {
            let digits =
                (1..=8).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
            digits.then(|| u64::from_str_radix(text, 16).ok()).flatten()
        };
        text.split_once('/')
            .and_then(|(high, low)| Some(Self(half(high)? << 32 | half(low)?)))
            .ok_or_else(|| Invalid::new("write mark", "expected one such as 16/B374D848"))
    }
}

/// Where a read-only unit of work reads from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Source {
    #[default]
    Primary,
    /// The replica, however far behind it is.
    Replica,
    /// The replica, once it has come so far.
    ReplicaAfter(WriteMark),
}

/// The standby, if one is configured. Opened in the background while the primary answers, after the same
/// check as the primary's logins.
#[derive(Clone)]
pub(super) struct Replica(Arc<Inner>);

struct Inner {
    open: Box<dyn Fn() -> Result<LoginPool> + Send + Sync>,
    timeout: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pool: Option<Arc<LoginPool>>,
    is_opening: bool,
    rests_until: Option<Instant>,
    is_closed: bool,
}

impl Replica {
    /// Begins to open it.
    pub(super) fn new(
        open: impl Fn() -> Result<LoginPool> + Send + Sync + 'static,
        timeout: Duration,
    ) -> Self {
        let replica =
            Self(Arc::new(Inner { open: Box::new(open), timeout, state: Mutex::default() }));
        let _ = replica.pool();
        replica
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long to wait for it to catch up.
    pub(super) fn timeout(&self) -> Duration {
        self.0.timeout
    }

    /// The replica's pool, if it is to be used now. Never waits.
    pub(super) fn pool(&self) -> Option<Arc<LoginPool>> {
        let mut state = self.lock();
        if state.is_closed || state.rests_until.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        if state.pool.is_none() && !state.is_opening {
            state.is_opening = true;
            let replica = self.clone();
            std::thread::spawn(move || replica.open());
        }
        state.pool.clone()
    }

    fn open(&self) {
        let opened = (self.0.open)();
        let mut state = self.lock();
        state.is_opening = false;
        match opened {
            Ok(pool) if !state.is_closed => state.pool = Some(Arc::new(pool)),
            Ok(_) => {}
            Err(_) => state.rests_until = Instant::now().checked_add(REST),
        }
    }

    /// It failed: the primary answers for a while.
    pub(super) fn rest(&self) {
        self.lock().rests_until = Instant::now().checked_add(REST);
    }

    pub(super) fn opened(&self) -> Option<Arc<LoginPool>> {
        self.lock().pool.clone()
    }

    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        if let Some(pool) = &state.pool {
            pool.close();
        }
    }
}

/// Whether the standby has come as far as this within the time, asked in its own transaction.
pub(super) fn caught_up(
    conn: &mut PgConnection,
    mark: WriteMark,
    timeout: Duration,
) -> Result<bool> {
    let until = Instant::now().checked_add(timeout);
    let mut pause = FIRST_LOOK;
    loop {
        // Once promoted it is no standby, and has everything that there is.
        let there: bool = diesel::select(
            sql::<Bool>(
                "coalesce(NOT pg_catalog.pg_is_in_recovery() \
                 OR pg_catalog.pg_last_wal_replay_lsn() >= ",
            )
            .bind::<Text, _>(mark.to_string())
            .sql("::pg_catalog.pg_lsn, false)"),
        )
        .get_result(conn)?;
        let left = until.map_or(timeout, |until| until.saturating_duration_since(Instant::now()));
        if there || left.is_zero() {
            return Ok(there);
        }
        std::thread::sleep(pause.min(left));
        pause *= 2;
    }
}

impl Database {
    /// Where the primary's log is now: what was committed before is on a replica that has come this far.
    /// Ask after a commit, and read with [`Scope::from_replica_after`](super::Scope::from_replica_after)
    /// to see it.
    ///
    /// # Errors
    /// [`Error::Connect`](crate::Error::Connect) or
    /// [`Error::ConnectionLost`](crate::Error::ConnectionLost) when the primary cannot be asked.
    pub fn write_mark(&self) -> Result<WriteMark> {
        let text: String = self.0.tenant.with_side_connection(|conn| {
            Ok(diesel::select(sql::<Text>("pg_catalog.pg_current_wal_insert_lsn()::text"))
                .get_result(conn)?)
        })?;
        Ok(text.parse()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_survives_its_text_form() {
        for text in ["0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF"] {
            assert_eq!(text.parse::<WriteMark>().unwrap().to_string(), text);
        }
        assert!("1/0".parse::<WriteMark>().unwrap() > "0/FFFFFFFF".parse().unwrap());
    }

    #[test]
    fn other_texts_are_no_mark() {
        for bad in ["", "/", "1", "1/", "/1", "1/+2", "1/123456789", "1/g", "1/2/3", " 1/2"] {
            assert!(bad.parse::<WriteMark>().is_err(), "{bad}");
        }
    }
}
