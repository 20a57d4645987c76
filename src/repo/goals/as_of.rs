//! A goal's progress as it was.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Double, Nullable, Text, Timestamptz};

use super::GoalRepository;
use crate::error::{Error, Result};
use crate::id::{GoalId, KpiId, WorkspaceId};
use crate::observe::operation;
use crate::progress::{GoalProgress, KpiProgressInput, goal_progress};
use crate::repo::goal_kpis::check_links;
use crate::repo::statement;
use crate::value::Timestamp;

/// A goal's progress at a moment, and what it was computed from.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct GoalAsOf {
    /// The moment.
    pub at: Timestamp,
    /// Value, target, baseline and weight of each KPI that counted, oldest KPI first.
    pub inputs: Vec<KpiProgressInput>,
    /// The progress, with the contribution of each, in the same order.
    pub progress: GoalProgress,
}

#[expect(clippy::missing_errors_doc, reason = "described once, in the module `repo`")]
impl GoalRepository<'_> {
    /// The progress of a goal that is not deleted, as of a moment: links, weights, baselines and plain targets as
    /// they were then, and the newest value before it of the points as they are now. A point that was recorded late
    /// or corrected since is counted: when a point was recorded is not kept.
    ///
    /// KPIs deleted since then count, those deleted before do not; one that was deleted and restored counts
    /// throughout, and one that was purged is gone. The rule is that of [`progress`](Self::progress), and as of now
    /// the answer is the same. `Invalid` where the goal had more than [`MAX_LINKS`](Self::MAX_LINKS) KPIs.
    pub fn progress_as_of(&mut self, id: &GoalId, at: Timestamp) -> Result<GoalAsOf> {
        operation("goal.progress_as_of", || {
            let limit = Self::MAX_LINKS + 1;
            let rows: Vec<Row> =
                AsOf { workspace: self.workspace, goal: id, at, limit }.load(self.conn)?;
            check_links(rows.len(), Self::MAX_LINKS)?;
            if rows.is_empty() {
                return Err(Error::not_found(GoalId::ENTITY));
            }
            let input = |(_, kpi, current, target, baseline, weight): Row| {
                let (kpi_id, weight) = (kpi?, weight.unwrap_or_default());
                Some(KpiProgressInput { kpi_id, current, target, baseline, weight })
            };
            let inputs: Vec<_> = rows.into_iter().filter_map(input).collect();
            let progress = goal_progress(&inputs)?;
            Ok(GoalAsOf { at, inputs, progress })
        })
    }
}

struct AsOf<'a> {
    workspace: &'a WorkspaceId,
    goal: &'a GoalId,
    at: Timestamp,
    limit: i64,
}

/// The goal, and a KPI with its value, target, baseline and weight.
type Row = (GoalId, Option<KpiId>, Option<f64>, Option<f64>, Option<f64>, Option<f64>);

statement!(AsOf: (Text, Nullable<Text>, Nullable<Double>, Nullable<Double>, Nullable<Double>, Nullable<Double>),
    include_str!("as_of.sql"), |query| [
    query.workspace => Text,
    query.goal => Text,
    &query.at => Timestamptz,
    &query.limit => BigInt,
]);
