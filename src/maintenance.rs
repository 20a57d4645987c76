//! Upkeep of a database in production: context keys, the audit log, idempotency keys, packed
//! history, rollups and time zones. For the
//! login that runs the [`migrations`](crate::migrations); the services' logins may do none of it.

mod packing;
mod rollups;
mod zones;

use chrono::{DateTime, Utc};
use diesel::connection::LoadConnection;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Bool, Integer, Nullable, Text, Timestamptz};

use crate::error::Result;
use crate::id::WorkspaceId;
use crate::tenancy::ContextKey;
use crate::value::Timestamp;

pub use self::packing::{DEFAULT_PACKING_BATCH, Packing, pack_points};
pub use self::rollups::{
    RollupDifference, RollupPart, RollupReport, rebuild_rollups, verify_rollups,
};
pub use self::zones::{ZoneDifference, verify_time_zones};

/// Installs a context key, so that contexts signed with it are valid. Installing the same key again
/// changes nothing.
///
/// Run it with the login that runs the migrations. The key travels as a bind parameter; a server
/// that logs parameters (`log_parameter_max_length`) logs it.
///
/// # Errors
/// [`Error::Conflict`](crate::Error::Conflict) when another key is installed under this id; [`Error::Denied`](crate::Error::Denied) when the
/// login may not.
pub fn install_context_key(
    conn: &mut impl LoadConnection<Backend = Pg>,
    key: &ContextKey,
) -> Result<()> {
    diesel::sql_query("SELECT sesari.install_context_key($1, $2)")
        .bind::<Text, _>(key.id())
        .bind::<Binary, _>(key.secret())
        .execute(conn)?;
    Ok(())
}

/// Retires a context key: from the next statement on, contexts signed with it are worth nothing.
/// Returns whether it was installed.
///
/// # Errors
/// [`Error::Denied`](crate::Error::Denied) when the login may not.
pub fn retire_context_key(conn: &mut impl LoadConnection<Backend = Pg>, id: &str) -> Result<bool> {
    Ok(diesel::select(
        diesel::dsl::sql::<Bool>("sesari.retire_context_key(").bind::<Text, _>(id).sql(")"),
    )
    .get_result(conn)?)
}

/// Entries of the audit log, or idempotency keys, dropped in one transaction.
const PRUNE_BATCH: i32 = 10_000;

/// Drops the entries of a workspace's audit log from before a moment, to the microsecond as the log
/// counts, or of the log of no workspace, the oldest first and in transactions of at most 10 000. Returns
/// how many went.
///
/// What is left stays verifiable: the database remembers the number and the hash of the last entry
/// dropped, and each transaction leaves an entry, `audit_log.prune`, that says the same. Verify the
/// log and keep the checkpoint elsewhere before: nothing can be said later about what was dropped.
///
/// For the login that runs the migrations, outside of a transaction. Interrupted, it may be started
/// again.
///
/// # Errors
/// [`Error::Denied`](crate::Error::Denied) when the login may not;
/// [`Error::Invalid`](crate::Error::Invalid) for a moment outside of the years 1 to 9999; otherwise those
/// of any query. What was dropped before stays dropped.
pub fn prune_audit_log(
    conn: &mut impl LoadConnection<Backend = Pg>,
    workspace: Option<&WorkspaceId>,
    before: DateTime<Utc>,
) -> Result<u64> {
    Timestamp::new(before)?;
    in_batches(|| {
        diesel::select(
            diesel::dsl::sql::<BigInt>("sesari.prune_audit_log(")
                .bind::<Text, _>(workspace.map_or("", WorkspaceId::as_str))
                .sql(", ")
                .bind::<Timestamptz, _>(before)
                .sql(", ")
                .bind::<Integer, _>(PRUNE_BATCH)
                .sql(")"),
        )
        .get_result(conn)
    })
}

/// Drops the idempotency keys of all workspaces that were made before a moment, the oldest first and
/// in transactions of at most 10 000. Returns how many went. A key that a transaction is just asking
/// for stays until the next time.
///
/// What was done under a dropped key is done again when it is asked for again: keep keys for longer
/// than any caller retries, such as a week.
///
/// For the login that runs the migrations, outside of a transaction. Interrupted, it may be started
/// again.
///
/// # Errors
/// [`Error::Denied`](crate::Error::Denied) when the login may not; otherwise those of any query. What was dropped before
/// stays dropped.
pub fn prune_idempotency_keys(
    conn: &mut impl LoadConnection<Backend = Pg>,
    before: Timestamp,
) -> Result<u64> {
    let mut pruned = 0;
    let mut workspace = Some(String::new());
    while let Some(after) = workspace {
        let batch: KeyBatch = diesel::sql_query(
            "SELECT pruned, last_workspace FROM sesari.prune_idempotency_keys($1, $2, $3)",
        )
        .bind::<Timestamptz, _>(before)
        .bind::<Text, _>(&after)
        .bind::<Integer, _>(PRUNE_BATCH)
        .get_result(conn)?;
        pruned += batch.pruned.unsigned_abs();
        workspace = batch.last_workspace;
    }
    Ok(pruned)
}

#[derive(QueryableByName)]
struct KeyBatch {
    #[diesel(sql_type = BigInt)]
    pruned: i64,
    /// After which the next batch goes on.
    #[diesel(sql_type = Nullable<Text>)]
    last_workspace: Option<String>,
}

/// Prunes until a batch is not full, and adds up.
fn in_batches(mut prune: impl FnMut() -> QueryResult<i64>) -> Result<u64> {
    let mut pruned = 0;
    loop {
        let batch = prune()?;
        pruned += batch.unsigned_abs();
        if batch < i64::from(PRUNE_BATCH) {
            return Ok(pruned);
        }
    }
}
