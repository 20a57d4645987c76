//! Series of the KPIs: buckets, statistics, comparisons and the progress of goals over time.
//!
//! A bucket's whole days come from `kpi_rollups`, the rest from the points. Which is which is decided
//! here, by the days of the grid's zone, and sent to the server as spans: each statement makes one scan
//! of an index for each KPI and span, in the order of the key. Whose days the rollups are of is known to
//! them alone: each says when it starts and ends, and where one does not fit into the buckets, the KPI is
//! read again, by the days of the workspace's zone or point by point. So no answer depends on what this
//! crate, the server, or whoever rolled up last year believes about a zone.

mod cells;
mod statements;

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use self::cells::{Cells, merge};
use self::statements::{
    GoalRow, OfGoal, OfKpis, RezoneBatch, RezonedRow, StatisticsOf, StatisticsRow,
};
use super::{TimeRange, debug_by_name};
use crate::connection::PgConnection;
use crate::error::{Error, Result};
use crate::id::{GoalId, KpiId, WorkspaceId};
use crate::observe::{counted, if_some};
use crate::schema::{kpi_rollups, workspaces};
use crate::series::{
    Bucket, Comparison, GoalLink, GoalMoment, Grid, Series, SeriesError, Statistics, Step,
    Stretches, Summary, Unit, Zone, check_percentiles, goal_series,
};
use crate::tenancy::{InWorkspace, TenantConnection};
use crate::value::{Invalid, TimeZone, Timestamp};

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
    pub(super) conn: &'g mut PgConnection,
    pub(super) workspace: &'g WorkspaceId,
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
    /// A range cut into periods of the workspace's calendar, as [`Grid::new`] cuts it. `NotFound` for an
    /// actor who is not in the workspace; `Invalid` where this crate does not know its zone.
    ///
    /// ```no_run
    /// # fn example(tenant: &mut sesari_db::TenantConnection, kpis: &[sesari_db::id::KpiId], range: sesari_db::repo::TimeRange) -> sesari_db::Result<()> {
    /// use sesari_db::repo::SeriesQuery;
    /// use sesari_db::series::Unit;
    ///
    /// let days = tenant.series().grid(range, Unit::Day)?;
    /// let series = tenant.series().read(kpis, &SeriesQuery::new(days))?;
    /// # let _ = series; Ok(()) }
    /// ```
    pub fn grid(&mut self, range: TimeRange, unit: Unit) -> Result<Grid> {
        Ok(Grid::new(range, self.step(unit)?)?)
    }

    /// A range widened to whole periods of the workspace's calendar, and cut, as [`Grid::whole`] does.
    /// `NotFound` and `Invalid` as for [`grid`](Self::grid).
    pub fn whole_grid(&mut self, range: TimeRange, unit: Unit) -> Result<Grid> {
        Ok(Grid::whole(range, self.step(unit)?)?)
    }

    fn step(&mut self, unit: Unit) -> Result<Step> {
        let zone = counted("series.time_zone", if_some, || self.time_zone())?;
        Ok(Step::Calendar(unit, zone.ok_or(Error::not_found(WorkspaceId::ENTITY))?.zone()?))
    }

    /// The series of each KPI, in the order of the ids. `Invalid` where KPIs times buckets are more
    /// than [`Grid::MAX_CELLS`].
    pub fn read(&mut self, kpis: &[KpiId], query: &SeriesQuery) -> Result<Vec<Series>> {
        counted("series.read", Vec::len, || self.of_kpis(kpis, query))
    }

    /// The same as a part of another operation.
    pub(super) fn of_kpis(&mut self, kpis: &[KpiId], query: &SeriesQuery) -> Result<Vec<Series>> {
        check_cells(kpis.len(), query.grid.len())?;
        let read = self.summaries(kpis, &[&query.grid], query.points_only)?;
        Ok(series_of(kpis, &query.grid, &read, 0, 0))
    }

    /// The series of each KPI, and the same of the [period before](Grid::before).
    pub fn compare(&mut self, kpis: &[KpiId], query: &SeriesQuery) -> Result<Vec<Comparison>> {
        counted("series.compare", Vec::len, || {
            let before = query.grid.before()?;
            check_cells(kpis.len(), query.grid.len() + before.len())?;
            let read = self.summaries(kpis, &[&before, &query.grid], query.points_only)?;
            let buckets = read.first().map_or(0, |(summaries, _)| summaries.len());
            let start = buckets.saturating_sub(query.grid.len());
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
            let mut days = Days::OfGrid(grid.zone());
            loop {
                let reading = Reading::of(&[grid], days.zone());
                let query = OfGoal {
                    workspace: self.workspace,
                    goal,
                    reading: &reading,
                    from: grid.range().from(),
                    limit,
                };
                let rows: Vec<GoalRow> = query.load(self.conn)?;
                if let Some(links) = links_of(rows, grid, &reading)? {
                    return Ok(goal_series(grid.edges().get(1..).unwrap_or_default(), &links)?);
                }
                days = self.days_after(days)?;
            }
        })
    }

    /// How many rollups the workspace has.
    pub(crate) fn rollups(&mut self) -> Result<u64> {
        let rollups = kpi_rollups::table.filter(kpi_rollups::workspace_id.eq(self.workspace));
        Ok(rollups.count().get_result::<i64>(self.conn)?.unsigned_abs())
    }

    /// Makes those of the next rollups after a place anew that are of no day of the workspace's zone.
    /// `None` where there are no more.
    pub(crate) fn rezone(
        &mut self,
        after: Option<&(KpiId, DateTime<Utc>)>,
        batch: u32,
    ) -> Result<Option<RezonedBatch>> {
        counted("rollups.rezone", if_some, || {
            let batch = i32::try_from(batch).ok().filter(|batch| (1..=10_000).contains(batch));
            let batch = batch.ok_or(Invalid::new("batch", "expected 1 to 10000 rollups"))?;
            let (kpi, day) = after.map(|(kpi, day)| (kpi, *day)).unzip();
            let (rollups, rezoned, kpi, day): RezonedRow =
                RezoneBatch { kpi, day, batch }.get_result(self.conn)?;
            Ok(kpi.zip(day).map(|last| RezonedBatch {
                rollups: rollups.unsigned_abs(),
                rezoned: rezoned.unsigned_abs(),
                last,
            }))
        })
    }

    /// For each KPI, the summary of each bucket of these grids, in the order of time, and the value before
    /// each grid.
    fn summaries(
        &mut self,
        kpis: &[KpiId],
        grids: &[&Grid],
        points_only: bool,
    ) -> Result<Vec<Read>> {
        let mut days = match grids.first() {
            Some(grid) if !points_only => Days::OfGrid(grid.zone()),
            _ => Days::None,
        };
        let mut all: Vec<Option<Read>> = vec![None; kpis.len()];
        loop {
            let reading = Reading::of(grids, days.zone());
            let left: Vec<_> = (0..kpis.len()).filter(|place| all[*place].is_none()).collect();
            let asked: Vec<_> = left.iter().map(|place| kpis[*place].clone()).collect();
            let spans = self.spans(&asked, &reading)?;
            for (place, (spans, before)) in left.into_iter().zip(spans) {
                all[place] = merge(&spans, &reading).map(|summaries| (summaries, before));
            }
            if all.iter().all(Option::is_some) {
                return Ok(all.into_iter().flatten().collect());
            }
            days = self.days_after(days)?;
        }
    }

    /// What was read of each KPI.
    fn spans(&mut self, kpis: &[KpiId], reading: &Reading) -> Result<Vec<Spans>> {
        let mut spans: Vec<Spans> = vec![Spans::default(); kpis.len()];
        if kpis.is_empty() || reading.edges.is_empty() {
            return Ok(spans);
        }
        let workspace = self.workspace;
        let rows: Vec<(i64, Vec<Option<f64>>, Option<Cells>)> =
            OfKpis { workspace, kpis, reading }.load(self.conn)?;
        for (n, before, cells) in rows {
            if let Some(place) = place_of(n, spans.len()) {
                spans[place].0.extend(cells);
                spans[place].1 = before;
            }
        }
        Ok(spans)
    }

    /// What to try where rollups are of no day of these.
    fn days_after(&mut self, days: Days) -> Result<Days> {
        let Days::OfGrid(zone) = days else { return Ok(Days::None) };
        let of_workspace = self.time_zone()?.and_then(|name| name.zone().ok());
        Ok(match of_workspace {
            Some(workspaces) if workspaces != zone => Days::OfWorkspace(workspaces),
            _ => Days::None,
        })
    }

    /// The workspace's zone; `None` for an actor who is not in it.
    pub(super) fn time_zone(&mut self) -> Result<Option<TimeZone>> {
        let zone = workspaces::table
            .filter(workspaces::id.eq(self.workspace))
            .select(workspaces::time_zone);
        Ok(zone.first(self.conn).optional()?)
    }
}

/// What a batch of rollups came to.
pub(crate) struct RezonedBatch {
    pub(crate) rollups: u64,
    pub(crate) rezoned: u64,
    /// The place that was reached.
    pub(crate) last: (KpiId, DateTime<Utc>),
}

/// Whose days are looked for in the rollups.
#[derive(Debug, Clone, Copy)]
enum Days {
    OfGrid(Zone),
    OfWorkspace(Zone),
    /// All is read point by point.
    None,
}

impl Days {
    fn zone(self) -> Option<Zone> {
        match self {
            Self::OfGrid(zone) | Self::OfWorkspace(zone) => Some(zone),
            Self::None => None,
        }
    }
}

/// The KPIs of a goal with their series; `None` where rollups do not fit.
fn links_of(rows: Vec<GoalRow>, grid: &Grid, reading: &Reading) -> Result<Option<Vec<GoalLink>>> {
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
    Ok(links
        .into_iter()
        .map(|(mut link, spans)| {
            link.series.buckets = buckets_of(grid, &merge(&spans, reading)?);
            Some(link)
        })
        .collect())
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
    /// With whole days of a zone from the rollups.
    fn of(grids: &[&Grid], days: Option<Zone>) -> Self {
        let mut edges: Vec<Timestamp> = Vec::new();
        for grid in grids {
            let touching = edges.last().is_some() && edges.last() == grid.edges().first();
            edges.extend(&grid.edges()[usize::from(touching)..]);
        }
        let buckets =
            grids.iter().flat_map(|grid| grid.edges().windows(2).map(|pair| (pair[0], pair[1])));
        let stretches = match days {
            Some(zone) => Stretches::of(buckets, zone),
            None => Stretches::of_points(buckets),
        };
        let starts = grids.iter().map(|grid| grid.range().from()).collect();
        Self { edges, starts, stretches }
    }
}

/// What was read of a KPI, and the value before each grid.
type Spans = (Vec<Cells>, Vec<Option<f64>>);

/// The summaries of a KPI's buckets, and the value before each grid.
type Read = (Vec<Option<Summary>>, Vec<Option<f64>>);

/// The series of a grid: of those that were read the one of this number, whose first bucket is the
/// one at `start`.
fn series_of(kpis: &[KpiId], grid: &Grid, read: &[Read], start: usize, n: usize) -> Vec<Series> {
    kpis.iter()
        .zip(read)
        .map(|(kpi, (summaries, before))| Series {
            kpi_id: kpi.clone(),
            before: before.get(n).copied().flatten().filter(|_| !grid.is_empty()),
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
