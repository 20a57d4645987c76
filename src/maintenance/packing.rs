//! Packing of closed history. Guarded by `tests/time_series/packing`.

use chrono::{DateTime, Utc};
use diesel::connection::LoadConnection;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text, Timestamptz};

use crate::error::Result;
use crate::id::WorkspaceId;
use crate::value::{Invalid, Timestamp};

/// What was packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Packing {
    /// Points.
    pub points: u64,
    /// In so many rows of `kpi_packed_points`.
    pub spans: u64,
    /// How often a KPI was left to the next call, because its writers held it for more than half a
    /// second.
    pub busy: u64,
}

/// Sizes of batches.
const BATCHES: std::ops::RangeInclusive<u32> = 1000..=1_000_000;

/// A size that keeps a KPI's writers waiting for some tenths of a second.
pub const DEFAULT_PACKING_BATCH: u32 = 20_000;

/// Packs the points of a workspace, or of all, from before a moment: about a hundred points of a KPI become
/// one row of `kpi_packed_points`, in a twentieth of the space. Repositories read packed points as any
/// others, and unpack what they write to.
///
/// One KPI after the other, at most `batch` points in a transaction of its own, for which other writers to
/// that KPI wait. `progress` is called after each. Interrupted, or started twice at once, nothing is lost or
/// doubled. A KPI keeps its newest point, runs of fewer than eight points, and, of the last 23 days before
/// the moment, what does not fill a row.
///
/// For the login that runs the migrations, outside of a transaction. The rows that became free are reused
/// after a vacuum.
///
/// # Errors
/// [`Invalid`](crate::Error::Invalid) unless `batch` is 1000 to 1 000 000;
/// [`Error::Database`](crate::Error::Database) for a moment that is not at least seven days ago;
/// [`Error::Denied`](crate::Error::Denied) when the login may not; otherwise those of any query. What was
/// packed before stays packed.
pub fn pack_points(
    conn: &mut impl LoadConnection<Backend = Pg>,
    workspace: Option<&WorkspaceId>,
    before: Timestamp,
    batch: u32,
    mut progress: impl FnMut(&Packing),
) -> Result<Packing> {
    let batch = i32::try_from(batch).ok().filter(|_| BATCHES.contains(&batch));
    let batch = batch.ok_or(Invalid::new("batch", "expected 1000 to 1000000 points"))?;
    let mut done = Packing::default();
    let mut after = (String::new(), String::new(), None);
    loop {
        let row: Row =
            diesel::sql_query("SELECT * FROM sesari.pack_points($1, $2, $3, $4, $5, $6)")
                .bind::<Nullable<Text>, _>(workspace)
                .bind::<Timestamptz, _>(before)
                .bind::<Integer, _>(batch)
                .bind::<Text, _>(&after.0)
                .bind::<Text, _>(&after.1)
                .bind::<Nullable<Timestamptz>, _>(after.2)
                .get_result(conn)?;
        done.points += row.packed.unsigned_abs();
        done.spans += row.spans.unsigned_abs();
        done.busy += u64::from(row.busy);
        let (Some(workspace), Some(kpi)) = (row.after_workspace, row.after_kpi) else {
            return Ok(done);
        };
        after = (workspace, kpi, row.after_time);
        progress(&done);
    }
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Nullable<Text>)]
    after_workspace: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    after_kpi: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    after_time: Option<DateTime<Utc>>,
    #[diesel(sql_type = BigInt)]
    packed: i64,
    #[diesel(sql_type = BigInt)]
    spans: i64,
    #[diesel(sql_type = Bool)]
    busy: bool,
}
