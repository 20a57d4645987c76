//! Series of the KPIs: buckets, statistics, comparisons and the progress of goals over time.
//!
//! A bucket's whole days in UTC come from `kpi_rollups`, the rest from the points. Which is which is
//! decided here, and sent to the server as spans: each statement makes one scan of an index for
//! each KPI and span, in the order of the key.

mod cells;
mod statements;

use diesel::prelude::*;

use self::cells::{Cells, merge};
use self::statements::{GoalRow, OfGoal, OfKpis, StatisticsOf, StatisticsRow};
use super::{TimeRange, debug_by_name};
use crate::connection::PgConnection;
use crate::error::{Error, Result};
use crate::id::{GoalId, KpiId, WorkspaceId};
use crate::observe::counted;
use crate::series::{
    Bucket, Comparison, GoalLink, GoalMoment, Grid, Series, SeriesError, Statistics, Stretches,
    Summary, check_percentiles, goal_series,
};
use crate::tenancy::{InWorkspace, TenantConnection};
use crate::value::Timestamp;

debug_by_name!(SeriesRepository);

/// What to read of a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesQuery {
    grid: Grid,
    points_only: bool,
}

impl SeriesQuery {
    /// Points, sum, least, greatest, first and last value of each bucket.
    #[must_use]
    pub fn new(grid: Grid) -> Self {
        Self { grid, points_only: false }
    }

    /// Reads no rollups: the same answer, later. For checking one against the other.
    #[must_use]
    pub fn from_points_alone(self) -> Self {
        Self { points_only: true, ..self }
    }

    /// The buckets.
    #[must_use]
    pub fn grid(&self) -> &Grid {
        &self.grid
    }
}

/// The series of a workspace.
///
/// An id of another workspace, of a KPI that is gone or of none at all has buckets without points. A
/// deleted KPI keeps its history until it is purged, and so its series.
pub struct SeriesRepository<'g> {
    conn: &'g mut PgConnection,
    workspace: &'g WorkspaceId,
}

impl TenantConnection {
    /// The history of the workspace's KPIs in buckets, and statistics of it.
    pub fn series(&mut self) -> SeriesRepository<'_> {
        let InWorkspace { conn, workspace, .. } = self.parts();
        SeriesRepository { conn, workspace }
    }
}

#[expect(clippy::missing_errors_doc, reason = "described once, in the module `repo`")]
impl SeriesRepository<'_> {
    /// The series of each KPI, in the order of the ids. `Invalid` where KPIs times buckets are more
    /// than [`Grid::MAX_CELLS`].
    pub fn read(&mut self, kpis: &[KpiId], query: &SeriesQuery) -> Result<Vec<Series>> {
        counted("series.read", Vec::len, || {
            check_cells(kpis.len(), query.grid.len())?;
            let reading = Reading::of(&[&query.grid], query.points_only);
            let read = self.summaries(kpis, &reading)?;
            Ok(series_of(kpis, &query.grid, &read, 0, 0))
        })
    }

    /// The series of each KPI, and the same of the [period before](Grid::before).
    pub fn compare(&mut self, kpis: &[KpiId], query: &SeriesQuery) -> Result<Vec<Comparison>> {
        counted("series.compare", Vec::len, || {
            let before = query.grid.before()?;
            check_cells(kpis.len(), query.grid.len() + before.len())?;
            let reading = Reading::of(&[&before, &query.grid], query.points_only);
            let read = self.summaries(kpis, &reading)?;
            let start = reading.start_of(&query.grid);
            let earlier = series_of(kpis, &before, &read, 0, 0);
            let now = series_of(kpis, &query.grid, &read, start, 1);
            Ok(now
                .into_iter()
                .zip(earlier)
                .map(|(now, before)| Comparison { now, before })
                .collect())
        })
    }

    /// Figures of each KPI's points within a range, in the order of the ids; `None` where there are
    /// none. Percentiles are fractions: 0.5 is the median. Reads the points, as percentiles need.
    /// `Invalid` where KPIs times percentiles are more than [`Grid::MAX_CELLS`].
    pub fn statistics(
        &mut self,
        kpis: &[KpiId],
        range: TimeRange,
        percentiles: &[f64],
    ) -> Result<Vec<Option<Statistics>>> {
        counted("series.statistics", Vec::len, || {
            check_percentiles(percentiles)?;
            check_cells(kpis.len(), percentiles.len().max(1))?;
            let query = StatisticsOf {
                workspace: self.workspace,
                kpis,
                from: range.from(),
                to: range.to(),
                percentiles,
            };
            let rows: Vec<StatisticsRow> = query.load(self.conn)?;
            let mut all = vec![None; kpis.len()];
            for row in rows {
                if let Some(place) = place_of(row.0, all.len()) {
                    all[place] = Some(statistics_of(row));
                }
            }
            Ok(all)
        })
    }

    /// The progress of a goal that is not deleted at the end of each bucket, from the last values of
    /// its KPIs that are not deleted, with targets, baselines and weights as they are now. A value
    /// stands until the next one, from before the first bucket too; before the first of all the KPI is
    /// left out, as not measured. `Invalid` where KPIs times buckets are more than [`Grid::MAX_CELLS`].
    pub fn goal_progress(&mut self, goal: &GoalId, grid: &Grid) -> Result<Vec<GoalMoment>> {
        counted("series.goal_progress", Vec::len, || {
            // How many KPIs the goal has is known to the server alone: one more than may be is read.
            let most = Grid::MAX_CELLS / grid.len().max(1);
            let limit = i64::try_from(most).unwrap_or(i64::MAX).saturating_add(1);
            let reading = Reading::of(&[grid], false);
            let query = OfGoal {
                workspace: self.workspace,
                goal,
                reading: &reading,
                from: grid.range().from(),
                limit,
            };
            let rows: Vec<GoalRow> = query.load(self.conn)?;
            if rows.is_empty() {
                return Err(Error::not_found(GoalId::ENTITY));
            }
            let mut links: Vec<(GoalLink, Vec<Cells>)> = Vec::new();
            for (kpi, target, baseline, weight, before, cells) in rows {
                let Some(kpi_id) = kpi else { continue };
                if links.last().is_none_or(|(link, _)| link.series.kpi_id != kpi_id) {
                    let series = Series { kpi_id, before, buckets: Vec::new() };
                    let weight = weight.unwrap_or_default();
                    links.push((GoalLink { series, target, baseline, weight }, Vec::new()));
                    check_cells(links.len(), grid.len())?;
                }
                if let (Some((_, spans)), Some(cells)) = (links.last_mut(), cells) {
                    spans.push(cells);
                }
            }
            let links: Vec<_> = links
                .into_iter()
                .map(|(mut link, spans)| {
                    link.series.buckets = buckets_of(grid, &merge(spans, grid.edges()));
                    link
                })
                .collect();
            Ok(goal_series(grid.edges().get(1..).unwrap_or_default(), &links)?)
        })
    }

    /// For each KPI, the summary of each bucket of the reading, and the value before each grid.
    fn summaries(&mut self, kpis: &[KpiId], reading: &Reading) -> Result<Vec<Read>> {
        let buckets = reading.edges.len().saturating_sub(1);
        if kpis.is_empty() || buckets == 0 {
            return Ok(vec![(vec![None; buckets], Vec::new()); kpis.len()]);
        }
        let workspace = self.workspace;
        let rows: Vec<(i64, Vec<Option<f64>>, Option<Cells>)> =
            OfKpis { workspace, kpis, reading }.load(self.conn)?;
        let mut read: Vec<(Vec<Cells>, Vec<Option<f64>>)> = vec![Default::default(); kpis.len()];
        for (n, before, cells) in rows {
            if let Some(place) = place_of(n, read.len()) {
                read[place].0.extend(cells);
                read[place].1 = before;
            }
        }
        let merged = |(spans, before)| (merge(spans, &reading.edges), before);
        Ok(read.into_iter().map(merged).collect())
    }
}

fn check_cells(kpis: usize, buckets: usize) -> Result<(), SeriesError> {
    if kpis.saturating_mul(buckets) > Grid::MAX_CELLS {
        return Err(SeriesError::TooManyCells);
    }
    Ok(())
}

/// The place of a KPI in the list that was asked for, from its number in the answer.
fn place_of(n: i64, len: usize) -> Option<usize> {
    usize::try_from(n).ok()?.checked_sub(1).filter(|place| *place < len)
}

/// What to read, for buckets of one or more grids in the order of time.
struct Reading {
    edges: Vec<Timestamp>,
    /// Where each grid starts.
    starts: Vec<Timestamp>,
    stretches: Stretches,
}

impl Reading {
    fn of(grids: &[&Grid], points_only: bool) -> Self {
        let mut edges: Vec<Timestamp> = Vec::new();
        for grid in grids {
            let touching = edges.last().is_some() && edges.last() == grid.edges().first();
            edges.extend(&grid.edges()[usize::from(touching)..]);
        }
        let buckets =
            grids.iter().flat_map(|grid| grid.edges().windows(2).map(|pair| (pair[0], pair[1])));
        let stretches =
            if points_only { Stretches::of_points(buckets) } else { Stretches::of(buckets) };
        let starts = grids.iter().filter_map(|grid| grid.edges().first().copied()).collect();
        Self { edges, starts, stretches }
    }

    /// The number of a grid's first bucket, where the last grid is it.
    fn start_of(&self, grid: &Grid) -> usize {
        self.edges.len().saturating_sub(grid.edges().len())
    }
}

/// The summaries of a KPI's buckets, and the value before each grid.
type Read = (Vec<Option<Summary>>, Vec<Option<f64>>);

/// The series of a grid: of those that were read the one of this number, whose first bucket is the
/// one at `start`.
fn series_of(kpis: &[KpiId], grid: &Grid, read: &[Read], start: usize, n: usize) -> Vec<Series> {
    kpis.iter()
        .zip(read)
        .map(|(kpi, (summaries, before))| Series {
            kpi_id: kpi.clone(),
            before: before.get(n).copied().flatten(),
            buckets: buckets_of(grid, &summaries[start.min(summaries.len())..]),
        })
        .collect()
}

fn buckets_of(grid: &Grid, summaries: &[Option<Summary>]) -> Vec<Bucket> {
    let edges = grid.edges().windows(2);
    let ranges = edges.filter_map(|pair| TimeRange::new(pair[0], pair[1]).ok());
    ranges.zip(summaries).map(|(range, summary)| Bucket { range, summary: *summary }).collect()
}

/// From this size on, squares of values overflow: statistics are computed of scaled values.
const SQUARED: f64 = 1e150;

fn statistics_of(row: StatisticsRow) -> Statistics {
    let (_, points, min, max, (mean, deviation), (scaled_mean, scaled_deviation), rest) = row;
    let (percentiles, first, last) = rest;
    let huge = min <= -SQUARED || max >= SQUARED;
    let scale = |number: f64| (number * statements::SCALE).clamp(f64::MIN, f64::MAX);
    let (mean, standard_deviation) = if huge {
        (scale(scaled_mean), scaled_deviation.map(scale))
    } else {
        (mean.unwrap_or_default(), deviation)
    };
    Statistics {
        points: points.unsigned_abs(),
        min,
        max,
        mean: mean.clamp(min, max),
        standard_deviation,
        percentiles: percentiles.into_iter().map(|value| value.clamp(min, max)).collect(),
        first,
        last,
    }
}
