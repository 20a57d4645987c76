//! The rollups' upkeep: what of `kpi_rollups` and of the KPIs' current values is not what the points
//! say, and how to mend it. Guarded by `tests/time_series/upkeep.rs`.

use chrono::{DateTime, Utc};
use diesel::connection::LoadConnection;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, Bool, Integer, Nullable, Text, Timestamptz};

use crate::error::Result;
use crate::id::{KpiId, WorkspaceId};

/// What of a KPI is not what its points say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RollupPart {
    /// The rollup of the day of UTC that starts then: missing, too many, or with other figures.
    Day(DateTime<Utc>),
    /// `current_value`, or the time it is of.
    CurrentValue,
}

/// A part of a KPI that is not what its points say.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RollupDifference {
    /// The KPI's workspace.
    pub workspace_id: WorkspaceId,
    /// The KPI.
    pub kpi_id: KpiId,
    /// What of it.
    pub part: RollupPart,
}

/// What was found, or mended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RollupReport {
    /// How many KPIs were looked at, deleted ones included.
    pub kpis: u64,
    /// How many differences there were.
    pub count: u64,
    /// The first [`MAX_DIFFERENCES`](Self::MAX_DIFFERENCES) of them, by workspace, KPI and day.
    pub differences: Vec<RollupDifference>,
}

impl RollupReport {
    /// How many differences a report lists; all are counted.
    pub const MAX_DIFFERENCES: usize = 10_000;

    /// Whether everything was what the points say.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.count == 0
    }

    fn add(&mut self, row: Row) {
        self.kpis += 1;
        let days = row.days.into_iter().map(RollupPart::Day);
        for part in days.chain(row.current_value.then_some(RollupPart::CurrentValue)) {
            self.count += 1;
            if self.differences.len() < Self::MAX_DIFFERENCES {
                let (workspace_id, kpi_id) = (row.workspace_id.clone(), row.kpi_id.clone());
                self.differences.push(RollupDifference { workspace_id, kpi_id, part });
            }
        }
    }
}

/// A KPI, its days that differ, and whether its current value does.
#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    workspace_id: WorkspaceId,
    #[diesel(sql_type = Text)]
    kpi_id: KpiId,
    #[diesel(sql_type = Array<Timestamptz>)]
    days: Vec<DateTime<Utc>>,
    #[diesel(sql_type = Bool)]
    current_value: bool,
}

/// KPIs read by one statement. Each costs about as much as reading its points once.
const VERIFY_BATCH: i32 = 100;

/// Compares the rollups and current values of a workspace's KPIs, or of all, with what their points
/// say. It takes no lock: each statement reads both under one snapshot, in which they agree
/// whoever is writing.
///
/// For the login that runs the migrations, outside of a transaction.
///
/// # Errors
/// [`Error::Denied`](crate::Error::Denied) when the login may not; otherwise those of any query.
pub fn verify_rollups(
    conn: &mut impl LoadConnection<Backend = Pg>,
    workspace: Option<&WorkspaceId>,
) -> Result<RollupReport> {
    each_batch(|after| {
        diesel::sql_query("SELECT * FROM sesari.verify_rollups($1, $2, $3, $4)")
            .bind::<Nullable<Text>, _>(workspace)
            .bind::<Text, _>(after.0)
            .bind::<Text, _>(after.1)
            .bind::<Integer, _>(VERIFY_BATCH)
            .load(conn)
    })
}

/// Mends what [`verify_rollups`] finds, and says what that was. One KPI after the other, each in a
/// transaction of its own, locked against its writers for as long as reading its points and writing
/// its days takes; where nothing differs, nothing is locked. What is right is not written again.
///
/// For the login that runs the migrations, outside of a transaction. Interrupted, it may be started
/// again. To be run after points were loaded with triggers off, too.
///
/// # Errors
/// [`Error::Denied`](crate::Error::Denied) when the login may not; otherwise those of any query.
/// What was mended before stays mended.
pub fn rebuild_rollups(
    conn: &mut impl LoadConnection<Backend = Pg>,
    workspace: Option<&WorkspaceId>,
) -> Result<RollupReport> {
    each_batch(|after| {
        diesel::sql_query("SELECT * FROM sesari.rebuild_rollups($1, $2, $3)")
            .bind::<Nullable<Text>, _>(workspace)
            .bind::<Text, _>(after.0)
            .bind::<Text, _>(after.1)
            .load(conn)
    })
}

/// Goes on after the last KPI of each batch until there is none.
fn each_batch(mut next: impl FnMut((&str, &str)) -> QueryResult<Vec<Row>>) -> Result<RollupReport> {
    let mut report = RollupReport::default();
    let mut after: Option<(WorkspaceId, KpiId)> = None;
    loop {
        let rows = next(after.as_ref().map_or(("", ""), |(w, k)| (w.as_str(), k.as_str())))?;
        let Some(last) = rows.last() else { return Ok(report) };
        after = Some((last.workspace_id.clone(), last.kpi_id.clone()));
        for row in rows {
            report.add(row);
        }
    }
}
