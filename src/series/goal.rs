//! The progress of a goal, bucket after bucket.

use serde::{Deserialize, Serialize};

use super::summary::{Bucket, Series};
use crate::progress::{GoalProgress, InvalidInput, KpiProgressInput, goal_progress};
use crate::value::Timestamp;

/// A KPI of a goal with its history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoalLink {
    /// The history: the value before, and the last value of each bucket.
    pub series: Series,
    /// The value to reach. Without one the KPI is left out.
    pub target: Option<f64>,
    /// The value it started from; 0 when `None`.
    pub baseline: Option<f64>,
    /// How much it counts.
    pub weight: f64,
}

/// How far a goal was at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GoalMoment {
    /// The end of the bucket. A point of exactly this moment is not counted.
    pub at: Timestamp,
    /// The progress.
    pub progress: GoalProgress,
}

/// The progress of a goal at the end of each bucket, from the KPIs' last values until then. A KPI is
/// left out before its first point, as [not measured](crate::progress::Excluded::NotMeasured).
/// Targets, baselines and weights are the
/// same throughout.
///
/// `ends` are the ends of the series' buckets; a shorter series goes on with its last value.
///
/// # Errors
/// [`InvalidInput`], as [`goal_progress`] has it.
pub fn goal_series(
    ends: &[Timestamp],
    links: &[GoalLink],
) -> Result<Vec<GoalMoment>, InvalidInput> {
    let mut inputs: Vec<_> = links
        .iter()
        .map(|link| KpiProgressInput {
            kpi_id: link.series.kpi_id.clone(),
            current: link.series.before,
            target: link.target,
            baseline: link.baseline,
            weight: link.weight,
        })
        .collect();
    let last = |bucket: &Bucket| bucket.summary.map(|summary| summary.last);
    let mut moments = Vec::with_capacity(ends.len());
    for (i, at) in ends.iter().enumerate() {
        for (input, link) in inputs.iter_mut().zip(links) {
            if let Some(value) = link.series.buckets.get(i).and_then(last) {
                input.current = Some(value);
            }
        }
        moments.push(GoalMoment { at: *at, progress: goal_progress(&inputs)? });
    }
    Ok(moments)
}
