//! Deleting old points, so many at a time.

use diesel::sql_types::{BigInt, Text, Timestamptz};

use crate::error::Result;
use crate::id::{KpiId, WorkspaceId};
use crate::repo::statement;
use crate::value::{Invalid, Timestamp};

/// The most points that one statement deletes.
const MAX_BATCH: u32 = 100_000;

/// A size of batches within bounds.
pub(super) fn checked(batch: u32) -> Result<i64> {
    if (1..=MAX_BATCH).contains(&batch) {
        Ok(batch.into())
    } else {
        Err(Invalid::new("batch", "expected 1 to 100000 points").into())
    }
}

/// Up to so many KPIs that have points before a moment, by their ids, after this one.
pub(super) struct KpisBefore<'a> {
    pub(super) workspace: &'a WorkspaceId,
    pub(super) after: &'a str,
    pub(super) before: Timestamp,
    pub(super) limit: i64,
}

statement!(KpisBefore: Text, include_str!("kpis_before.sql"), |query| [
    query.workspace => Text,
    query.after => Text,
    &query.before => Timestamptz,
    &query.limit => BigInt,
]);

/// The oldest points of a KPI that are not packed.
pub(super) struct DeleteBefore<'a> {
    pub(super) workspace: &'a WorkspaceId,
    pub(super) kpi: &'a KpiId,
    pub(super) before: Timestamp,
    pub(super) batch: i64,
}

statement!(DeleteBefore: (), include_str!("delete_before.sql"), |query| [
    query.workspace => Text,
    query.kpi => Text,
    &query.before => Timestamptz,
    &query.batch => BigInt,
]);
