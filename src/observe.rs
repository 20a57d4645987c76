//! Spans, events and metrics.
//!
//! With the feature `tracing` (on by default) every unit of work and every operation of a repository
//! is a span, with the attribute names that OpenTelemetry has for databases; what is slow and what
//! is refused is an event. With the feature `metrics` the same comes as figures through the
//! [`metrics`](https://docs.rs/metrics) facade, for whichever exporter the service installs. Without
//! the features nothing of it is compiled.
//!
//! # What is never recorded
//! Values and ids of rows, texts of the server, statements, and who a user is. A span of a unit of work names its workspace. The labels of metrics are names from
//! this crate's and the caller's source code: their number does not grow with the data.
//!
//! # Spans
//! Target `sesari_db`. Fields of a span that have no value are left out.
//!
//! | span | level | field | value |
//! |---|---|---|---|
//! | `sesari_db.unit` | INFO | `db.system.name` | `postgresql` |
//! | | | `sesari.unit`, also `otel.name` | name of the unit of work, as its caller gave it |
//! | | | `sesari.scope` | `tenant`, `user` or `service` |
//! | | | `sesari.actor_kind` | `user` or `service` |
//! | | | `sesari.workspace_id` | the workspace, in the tenant scope |
//! | | | `sesari.read_only` | whether it could write |
//! | | | `sesari.retries` | how many times it was run again |
//! | | | `sesari.pool_wait_ms` | how long it waited for connections, in milliseconds |
//! | | | `error.type` | [`Error::kind`](crate::Error::kind), `caller` for an error of the caller's, or `abandoned` after a panic or by a future that was dropped |
//! | `sesari_db.operation` | DEBUG | `db.system.name` | `postgresql` |
//! | | | `db.operation.name`, also `otel.name` | such as `kpi.create`: the audit log's word where it has one |
//! | | | `db.collection.name` | the table |
//! | | | `db.response.returned_rows` | rows returned, or changed by a write that returns none |
//! | | | `error.type` | [`Error::kind`](crate::Error::kind) |
//!
//! # Events
//! | event | level | when | fields |
//! |---|---|---|---|
//! | `slow operation` | WARN | an operation took as long as [`slow_operation`](crate::DatabaseBuilder::slow_operation) says, or longer | `db.operation.name`, `sesari.duration_ms` |
//! | `refused` | WARN | the database refused an actor or a context | `db.operation.name`, `error.type` |
//! | `running again` | INFO | a unit of work is run again | `sesari.unit`, `error.type` |
//!
//! A read, or a change, of a row that is not the actor's is not among the refusals: it cannot be told
//! from one of a row that does not exist.
//!
//! # Metrics
//! | metric | kind | labels |
//! |---|---|---|
//! | `sesari_db_operation_seconds` | histogram | `operation`, `outcome` |
//! | `sesari_db_slow_operations_total` | counter | `operation` |
//! | `sesari_db_refusals_total` | counter | `operation`, `reason` |
//! | `sesari_db_units_total` | counter | `unit`, `outcome` |
//! | `sesari_db_unit_seconds` | histogram | `unit`, `outcome` |
//! | `sesari_db_retries_total` | counter | `unit`, `reason` |
//! | `sesari_db_pool_wait_seconds` | histogram | `pool`: that of the pool, `tenant`, `service` or `replica` |
//! | `sesari_db_pool_connections` | gauge | `pool`, `state`: `in_use` or `max` |
//! | `sesari_db_pool_waiting` | gauge | `pool` |
//! | `sesari_db_overloaded_total` | counter | `pool` |
//!
//! An outcome is `ok`, `caller`, `abandoned` or an [`Error::kind`](crate::Error::kind), and a reason is the latter. An
//! operation of a refusal is its name, or `begin` where a context was refused.
//!
//! Guarded by `tests/observe`.

#[cfg(feature = "metrics")]
mod figures;
#[cfg(not(feature = "metrics"))]
#[path = "observe/no_figures.rs"]
mod figures;
#[cfg(feature = "tracing")]
mod spans;
#[cfg(not(feature = "tracing"))]
#[path = "observe/no_spans.rs"]
mod spans;
mod unit;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[cfg(feature = "metrics")]
pub use figures::describe_metrics;
pub(crate) use figures::{overloaded, pool};
pub(crate) use unit::Unit;

use crate::error::{AsError, Error, Result};

/// In microseconds, for the whole process: an operation does not know its [`Database`](crate::Database).
static SLOW: AtomicU64 = AtomicU64::new(1_000_000);

/// Sets how long an operation takes that is slow.
pub(crate) fn set_slow(threshold: Duration) {
    SLOW.store(u64::try_from(threshold.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
}

/// Runs an operation of a repository, `<entity>.<verb>`, that returns or changes one row, and records it.
///
/// Operations do not nest: one that calls another leaves the record to that one.
pub(crate) fn operation<T>(name: &'static str, body: impl FnOnce() -> Result<T>) -> Result<T> {
    counted(name, |_| 1, body)
}

/// The rows of an operation that returns a row or none.
#[expect(clippy::ref_option, reason = "what `counted` calls it with")]
pub(crate) fn if_some<T>(row: &Option<T>) -> usize {
    usize::from(row.is_some())
}

/// Runs an operation as [`operation`] does; `rows` says how many rows its result has.
pub(crate) fn counted<T>(
    name: &'static str,
    rows: impl FnOnce(&T) -> usize,
    body: impl FnOnce() -> Result<T>,
) -> Result<T> {
    recorded(name, |value| Some(rows(value)), body)
}

/// Runs an operation of your own, such as on a table of your own, in a span and with the metrics that a
/// repository's operations have. `name` is `<entity>.<verb>`, such as `invoice.issue`, the same each time.
///
/// Operations do not nest: within a repository's method, or another call of this one, it would be
/// counted twice. It is no unit of work: it runs in the guard that `body` has.
///
/// ```
/// # fn count(tenant: &mut sesari_db::TenantConnection) -> sesari_db::Result<i64> {
/// use sesari_db::diesel::prelude::*;
/// use sesari_db::schema::goals;
///
/// sesari_db::observe::record("goal.count_all", || {
///     Ok(goals::table.count().get_result(tenant.connection())?)
/// })
/// # }
/// ```
///
/// # Errors
/// Those of `body`, which are recorded by their [kind](crate::Error::kind), or as `caller` where they are your own.
pub fn record<T, E: AsError>(
    name: &'static str,
    body: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    recorded(name, |_| None, body)
}

fn recorded<T, E: AsError>(
    name: &'static str,
    rows: impl FnOnce(&T) -> Option<usize>,
    body: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    // Reading the clock costs most: skip it while nothing listens.
    let begun = (cfg!(feature = "metrics") || spans::heard()).then(Instant::now);
    spans::operation(name, |span| {
        let result = body();
        if let Some(begun) = begun {
            timed(name, outcome(&result), begun.elapsed());
        }
        match &result {
            Ok(value) => {
                if let Some(rows) = rows(value) {
                    span.rows(rows);
                }
            }
            Err(error) => {
                span.error(kind_of(error));
                if let Some(error) = error.as_error() {
                    refused(name, error);
                }
            }
        }
        result
    })
}

fn timed(name: &'static str, outcome: &'static str, took: Duration) {
    figures::operation(name, outcome, took);
    if took.as_micros() >= SLOW.load(Ordering::Relaxed).into() {
        spans::slow(name, took);
        figures::slow(name);
    }
}

/// Records a refusal, if the error is one. A refused context is recorded once, where the transaction begins, and
/// not again by the operation that began it.
pub(crate) fn refused(operation: &'static str, error: &Error) {
    let is_refusal = match error {
        Error::ContextExpired | Error::ContextKeyUnknown => operation == "begin",
        error => matches!(error, Error::Denied),
    };
    if is_refusal {
        spans::refused(operation, error.kind());
        figures::refused(operation, error.kind());
    }
}

fn outcome<T, E: AsError>(result: &Result<T, E>) -> &'static str {
    result.as_ref().err().map_or("ok", kind_of)
}

fn kind_of<E: AsError>(error: &E) -> &'static str {
    error.as_error().map_or("caller", Error::kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_what_the_database_refused_and_not_what_it_hid() {
        for (error, reason) in [
            (Error::Denied, "denied"),
            (Error::ContextExpired, "context_expired"),
            (Error::ContextKeyUnknown, "context_key_unknown"),
        ] {
            assert_eq!(error.kind(), reason);
        }
        assert_eq!(outcome::<(), Error>(&Err(Error::not_found("kpi"))), "not_found");
        assert_eq!(outcome::<_, Error>(&Ok(())), "ok");
    }
}
