//! `kpi_targets`: what KPIs are to reach from a day on, and whether they are on the way.

use std::collections::HashMap;

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, Date, Double, Nullable, Text, Timestamptz};

use super::{SeriesQuery, SeriesRepository, TimeRange, debug_by_name, found, page_of, statement};
use crate::connection::PgConnection;
use crate::error::{Error, Result};
use crate::id::{KpiId, WorkspaceId};
use crate::observe::{counted, operation};
use crate::page::{Page, PageRequest};
use crate::progress::{Pace, PaceInput, Period, Thresholds, pace};
use crate::schema::{kpi_targets, kpis};
use crate::series::{Grid, Step, Unit};
use crate::tenancy::{InWorkspace, TenantConnection};
use crate::value::{Aggregation, Finite, Invalid, TargetPeriod, Timestamp};

debug_by_name!(KpiTargetRepository);

/// What a KPI is to reach from a day on, as it was set.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, serde::Serialize, serde::Deserialize)]
#[diesel(table_name = kpi_targets, check_for_backend(Pg))]
#[non_exhaustive]
pub struct KpiTarget {
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// The KPI.
    pub kpi_id: KpiId,
    /// Over what it is to be reached.
    pub period: TargetPeriod,
    /// The first day on which it holds, in the workspace's calendar.
    pub effective_from: NaiveDate,
    /// When it was set.
    pub recorded_at: DateTime<Utc>,
    /// The value to reach, in the KPI's unit; `None` where no such target holds any more.
    pub value: Option<f64>,
    /// The value from which it is to be reached, in the KPI's unit.
    pub baseline: Option<f64>,
}

/// A target to set.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewKpiTarget {
    /// The KPI.
    #[serde(alias = "kpiId")]
    pub kpi_id: KpiId,
    /// Over what it is to be reached.
    pub period: TargetPeriod,
    /// The first day on which it holds, in the workspace's calendar and the years 1 to 9999. Of a target of
    /// a period the first day of one.
    #[serde(alias = "effectiveFrom")]
    pub effective_from: NaiveDate,
    /// The value to reach, in the KPI's unit. `None` ends what held before: from then on the standing target
    /// holds, or the KPI's plain one.
    pub value: Option<Finite>,
    /// The value from which it is to be reached; above `value` for a KPI that should fall.
    pub baseline: Option<Finite>,
}

impl NewKpiTarget {
    /// A target without a baseline.
    #[must_use]
    pub fn new(
        kpi_id: KpiId,
        period: TargetPeriod,
        effective_from: NaiveDate,
        value: Finite,
    ) -> Self {
        Self { kpi_id, period, effective_from, value: Some(value), baseline: None }
    }

    fn check(&self) -> Result<(), Invalid> {
        if !(1..=9999).contains(&self.effective_from.year()) {
            return Err(Invalid::new("effective_from", "expected a date in the years 1 to 9999"));
        }
        let begins = unit_of(&self.period)?
            .is_none_or(|unit| unit.start(self.effective_from) == self.effective_from);
        if begins {
            return Ok(());
        }
        Err(Invalid::new("effective_from", "expected the first day of a period"))
    }
}

/// The period of the calendar; `None` of a standing target.
fn unit_of(period: &TargetPeriod) -> Result<Option<Unit>, Invalid> {
    match period {
        TargetPeriod::Month => Ok(Some(Unit::Month)),
        TargetPeriod::Quarter => Ok(Some(Unit::Quarter)),
        TargetPeriod::Year => Ok(Some(Unit::Year)),
        TargetPeriod::Standing => Ok(None),
        TargetPeriod::Unknown(_) => {
            Err(Invalid::new("period", "expected standing, month, quarter or year"))
        }
    }
}

/// Of which moment, and against which targets, to read a pace.
#[derive(Debug, Clone, PartialEq)]
pub struct PaceQuery {
    period: TargetPeriod,
    at: Timestamp,
    thresholds: Thresholds,
    known_at: Option<Timestamp>,
}

impl PaceQuery {
    /// Of the period in which a moment lies, until then; of a standing target the newest value before it.
    #[must_use]
    pub fn new(period: TargetPeriod, at: Timestamp) -> Self {
        Self { period, at, thresholds: Thresholds::default(), known_at: None }
    }

    /// With other thresholds.
    #[must_use]
    pub fn thresholds(self, thresholds: Thresholds) -> Self {
        Self { thresholds, ..self }
    }

    /// Against the targets that had been set until a moment, as a report of then shows them. Points and
    /// aggregations are those of now.
    #[must_use]
    pub fn targets_known_at(self, at: Timestamp) -> Self {
        Self { known_at: Some(at), ..self }
    }
}

/// Which target holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TargetSource {
    /// One of the period asked for, from this day on.
    Period(NaiveDate),
    /// A standing one, from this day on: none of the period is in force.
    Standing(NaiveDate),
    /// `kpis.target_value`: no row says otherwise.
    Plain,
}

/// Value to date against target to date of a KPI, and what they were taken from.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct KpiPace {
    /// The KPI.
    pub kpi_id: KpiId,
    /// What its points come to.
    pub aggregation: Aggregation,
    /// The whole period; `None` of a standing target.
    pub period: Option<TimeRange>,
    /// Which target holds; `None` where there is none.
    pub source: Option<TargetSource>,
    /// From which value it is to be reached.
    pub baseline: Option<f64>,
    /// The numbers, and the verdict.
    pub pace: Pace,
}

/// The targets of a workspace's KPIs.
///
/// A target is set and never changed or deleted. Of the rows of a period that start on a day or before, the
/// one that starts last is in force on that day, and of several that start together the one set last. A period
/// has the target that is in force on its first day. Where none is, or it has no value, the standing one holds,
/// and where there is none the KPI's plain `target_value`.
pub struct KpiTargetRepository<'g> {
    conn: &'g mut PgConnection,
    workspace: &'g WorkspaceId,
}

impl TenantConnection {
    /// What the workspace's KPIs are to reach, and whether they are on the way.
    pub fn kpi_targets(&mut self) -> KpiTargetRepository<'_> {
        let InWorkspace { conn, workspace, .. } = self.parts();
        KpiTargetRepository { conn, workspace }
    }
}

#[expect(clippy::missing_errors_doc, reason = "described once, in the module `repo`")]
impl KpiTargetRepository<'_> {
    /// Sets a target. `NotFound` unless the KPI exists and is not deleted; `Invalid` where it does not start
    /// on the first day of its period.
    pub fn set(&mut self, new: &NewKpiTarget) -> Result<KpiTarget> {
        new.check()?;
        operation("kpi_target.set", || {
            let kpi = kpis::table
                .filter(kpis::workspace_id.eq(self.workspace))
                .filter(kpis::id.eq(&new.kpi_id))
                .filter(kpis::deleted_at.is_null())
                .select((
                    kpis::workspace_id,
                    kpis::id,
                    new.period.clone().into_sql::<Text>(),
                    new.effective_from.into_sql::<Date>(),
                    new.value.into_sql::<Nullable<Double>>(),
                    new.baseline.into_sql::<Nullable<Double>>(),
                ));
            let row = diesel::insert_into(kpi_targets::table)
                .values(kpi)
                .into_columns((
                    kpi_targets::workspace_id,
                    kpi_targets::kpi_id,
                    kpi_targets::period,
                    kpi_targets::effective_from,
                    kpi_targets::value,
                    kpi_targets::baseline,
                ))
                .returning(KpiTarget::as_returning())
                .get_result(self.conn);
            found(row, KpiId::ENTITY)
        })
    }

    /// What was set for a KPI, in the order in which it was, also where the KPI is deleted.
    pub fn list(&mut self, kpi: &KpiId, page: &PageRequest) -> Result<Page<KpiTarget>> {
        counted("kpi_target.list", Page::len, || {
            let page = page.of(&["kpi target", self.workspace.as_str(), kpi.as_str()])?;
            let query = kpi_targets::table
                .filter(kpi_targets::workspace_id.eq(self.workspace))
                .filter(kpi_targets::kpi_id.eq(kpi))
                .into_boxed();
            let query = page_of!(query, page, kpi_targets::recorded_at, kpi_targets::kpi_id);
            let rows = query.select(KpiTarget::as_select()).load(self.conn)?;
            Ok(page.cut(rows, |row: &KpiTarget| (row.recorded_at.into(), row.kpi_id.as_str())))
        })
    }

    /// How often a target was set for a KPI.
    pub fn count(&mut self, kpi: &KpiId) -> Result<i64> {
        operation("kpi_target.count", || {
            Ok(kpi_targets::table
                .filter(kpi_targets::workspace_id.eq(self.workspace))
                .filter(kpi_targets::kpi_id.eq(kpi))
                .count()
                .get_result(self.conn)?)
        })
    }

    /// Value to date against target to date of a KPI that is not deleted. As
    /// [`pace_of_many`](Self::pace_of_many).
    pub fn pace(&mut self, kpi: &KpiId, query: &PaceQuery) -> Result<KpiPace> {
        let pace = self.pace_of_many(std::slice::from_ref(kpi), query)?.pop();
        pace.ok_or(Error::not_found(KpiId::ENTITY))
    }

    /// Value to date against target to date of each KPI that is not deleted, in the order of the ids; those
    /// that are not found are left out. Three statements, however many KPIs: the workspace's zone, the targets,
    /// and the points, whose whole days come from the rollups.
    ///
    /// A period's value is that of its points until the moment asked for, one of exactly that moment left out.
    /// A target that is not of the period asked for is compared as it stands: a plain target of 100 is one of
    /// 100 a month for whoever asks for the month. [`KpiPace::source`] says which it was.
    ///
    /// `NotFound` for an actor who is not in the workspace; `Invalid` where this crate does not know its zone, for
    /// a period that it does not know or that is not within the years 1 to 9999, and where there are more KPIs than
    /// [`Grid::MAX_CELLS`].
    pub fn pace_of_many(&mut self, kpis: &[KpiId], query: &PaceQuery) -> Result<Vec<KpiPace>> {
        counted("kpi_target.pace", Vec::len, || {
            let mut points = SeriesRepository { conn: self.conn, workspace: self.workspace };
            let zone = points.time_zone()?.ok_or(Error::not_found(WorkspaceId::ENTITY))?.zone()?;
            let unit = unit_of(&query.period)?;
            let outside = || Invalid::new("at", "expected a period within the years 1 to 9999");
            let period = unit.map(|unit| Period::of(unit, zone, query.at).ok_or_else(outside));
            let period = period.transpose()?;
            // A standing target holds on the day itself, one of a period from the period's first.
            let day = period.map_or_else(|| Period::date(zone, query.at), |period| period.first());
            let targets = InForce {
                kpis,
                workspace: self.workspace,
                period: &query.period,
                day,
                known_at: query.known_at,
            };
            let targets: Vec<InForceRow> = targets.load(points.conn)?;
            let found: Vec<KpiId> = targets.iter().map(|row| row.0.clone()).collect();
            let grid = match period {
                Some(period) => Grid::new(
                    TimeRange::new(period.from(), query.at)?,
                    Step::Calendar(unit.unwrap_or(Unit::Day), zone),
                )?,
                None => moment(query.at)?,
            };
            let mut read: HashMap<_, _> = points
                .of_kpis(&found, &SeriesQuery::new(grid))?
                .into_iter()
                .map(|series| (series.kpi_id.clone(), series))
                .collect();
            let whole =
                period.map(|period| TimeRange::new(period.from(), period.to())).transpose()?;
            let elapsed = period.map_or(1.0, |period| period.elapsed(query.at));
            let mut paces = HashMap::with_capacity(targets.len());
            for (kpi_id, aggregation, of_period, standing, plain) in targets {
                let series = read.remove(&kpi_id);
                let (actual, aggregation_of_value) = match period {
                    Some(_) => {
                        let total = series.and_then(|series| series.total());
                        (total.and_then(|total| total.value(&aggregation)), aggregation.clone())
                    }
                    None => (series.and_then(|series| series.before), Aggregation::Last),
                };
                let (source, target, baseline) = in_force(of_period, standing, plain);
                let input = PaceInput {
                    aggregation: aggregation_of_value,
                    actual,
                    target,
                    baseline,
                    elapsed,
                };
                let pace = pace(&input, query.thresholds)?;
                let kpi = KpiPace {
                    kpi_id: kpi_id.clone(),
                    aggregation,
                    period: whole,
                    source,
                    baseline,
                    pace,
                };
                paces.insert(kpi_id, kpi);
            }
            Ok(kpis.iter().filter_map(|kpi| paces.get(kpi).cloned()).collect())
        })
    }
}

/// The shortest grid at a moment: what is asked for is the value before it.
fn moment(at: Timestamp) -> Result<Grid> {
    let millisecond = chrono::TimeDelta::milliseconds(1);
    let next = Timestamp::new(at.get() + millisecond)
        .map_err(|_| Invalid::new("at", "expected a time before the end of the year 9999"))?;
    Ok(Grid::new(TimeRange::new(at, next)?, Step::fixed(millisecond, at)?)?)
}

/// First day, value and baseline.
type Row = (Option<NaiveDate>, Option<f64>, Option<f64>);

fn in_force(
    of_period: Row,
    standing: Row,
    plain: Option<f64>,
) -> (Option<TargetSource>, Option<f64>, Option<f64>) {
    match (of_period, standing) {
        ((Some(from), Some(value), baseline), _) => {
            (Some(TargetSource::Period(from)), Some(value), baseline)
        }
        (_, (Some(from), Some(value), baseline)) => {
            (Some(TargetSource::Standing(from)), Some(value), baseline)
        }
        _ => (plain.map(|_| TargetSource::Plain), plain, None),
    }
}

struct InForce<'a> {
    kpis: &'a [KpiId],
    workspace: &'a WorkspaceId,
    period: &'a TargetPeriod,
    day: NaiveDate,
    known_at: Option<Timestamp>,
}

/// Of each KPI its aggregation, the target of the period, the standing and the plain one.
type InForceRow = (KpiId, Aggregation, Row, Row, Option<f64>);

type RowSql = (Nullable<Date>, Nullable<Double>, Nullable<Double>);

statement!(InForce: (Text, Text, RowSql, RowSql, Nullable<Double>), include_str!("kpi_targets/in_force.sql"), |query| [
    query.kpis => Array<Text>,
    query.workspace => Text,
    query.period => Text,
    &query.day => Date,
    &query.known_at => Nullable<Timestamptz>,
]);
