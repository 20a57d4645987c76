//! Points that are packed, before somebody writes them: rows again.

use chrono::{TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Text, Timestamptz};

use crate::connection::PgConnection;
use crate::error::Result;
use crate::id::KpiId;
use crate::repo::statement;
use crate::value::Timestamp;

/// Nothing younger than a week is packed. This clock may be so much wrong.
const NEVER_PACKED: TimeDelta = TimeDelta::days(4);

struct Unpack<'a> {
    kpis: &'a [&'a KpiId],
    times: &'a [Timestamp],
}

statement!(Unpack: (), "SELECT u.points FROM sesari.unpack_points($1, $2) AS u (points)", |query| [
    query.kpis => Array<Text>,
    query.times => Array<Timestamptz>,
]);

/// Makes rows of the packed points around those that are about to be written: their KPIs and times. A unit that
/// is one statement has none to spare: there, nothing is unpacked.
pub(super) fn unpack<'k>(
    conn: &mut PgConnection,
    points: impl Iterator<Item = (&'k KpiId, Timestamp)>,
) -> Result<()> {
    #[expect(clippy::disallowed_methods, reason = "the date of points, not the passage of time")]
    let closed = Utc::now() - NEVER_PACKED;
    let (kpis, times): (Vec<_>, Vec<_>) = points.filter(|(_, at)| at.get() < closed).unzip();
    if kpis.is_empty() || conn.commits_along() {
        return Ok(());
    }
    Unpack { kpis: &kpis, times: &times }.execute(conn)?;
    Ok(())
}

struct UnpackBefore<'a> {
    kpi: &'a KpiId,
    before: Timestamp,
    points: i64,
}

statement!(UnpackBefore: (), "SELECT u.points FROM sesari.unpack_range($1, '-infinity', $2, $3::integer) AS u (points)", |query| [
    query.kpi => Text,
    &query.before => Timestamptz,
    &query.points => BigInt,
]);

/// As [`unpack`], the oldest of a KPI before a moment, so many at least where there are.
pub(super) fn unpack_before(
    conn: &mut PgConnection,
    kpi: &KpiId,
    before: Timestamp,
    points: i64,
) -> Result<()> {
    if !conn.commits_along() {
        UnpackBefore { kpi, before, points }.execute(conn)?;
    }
    Ok(())
}
