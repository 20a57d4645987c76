//! `kpi_data_points`: the history of the KPIs.
//!
//! A point is one value of one KPI at one moment from one source. That is its key, and it has no
//! other id: a synchronisation that runs twice records once.

mod batch;
mod rows;

use diesel::pg::{Pg, PgConnection};
use diesel::prelude::*;
use diesel::sql_types::{Array, Text};

use self::batch::{Columns, FailOnExisting, KeepExisting, ReplaceExisting};
use self::rows::stored;
use super::{changed, debug_by_name, found, page_of, static_query};
use crate::error::Result;
use crate::id::{KpiId, WorkspaceId};
use crate::observe::operation;
use crate::page::{Page, Paged};
use crate::schema::kpi_data_points as points;
use crate::value::{Finite, Timestamp};

pub use self::rows::{DataPoint, NewDataPoint, OnExisting, PointKey, Recorded, TimeRange};

debug_by_name!(DataPointRepository);

const ENTITY: &str = "data point";

/// The point of this key.
#[diesel::dsl::auto_type(no_type_alias)]
fn at<'q>(workspace: &'q WorkspaceId, key: &'q PointKey) -> _ {
    let kpi_id: &'q KpiId = &key.kpi_id;
    let timestamp: Timestamp = key.timestamp;
    let source: &'q str = stored(key.source.as_ref());
    points::table
        .filter(points::workspace_id.eq(workspace))
        .filter(points::kpi_id.eq(kpi_id))
        .filter(points::timestamp.eq(timestamp))
        .filter(points::source.eq(source))
}

/// The data points of a workspace.
pub struct DataPointRepository<'g> {
    conn: &'g mut PgConnection,
    workspace: &'g WorkspaceId,
}

#[expect(clippy::missing_errors_doc, reason = "described once, in the module `repo`")]
impl<'g> DataPointRepository<'g> {
    pub(crate) fn new(conn: &'g mut PgConnection, workspace: &'g WorkspaceId) -> Self {
        Self { conn, workspace }
    }

    fn within<'q>(&self, kpi: &'q KpiId, range: TimeRange) -> points::BoxedQuery<'q, Pg>
    where
        'g: 'q,
    {
        points::table
            .filter(points::workspace_id.eq(self.workspace))
            .filter(points::kpi_id.eq(kpi))
            .filter(points::timestamp.ge(range.from()))
            .filter(points::timestamp.lt(range.to()))
            .into_boxed()
    }

    /// Records one point. `Conflict` when its key is taken; `NotFound` when the KPI does not exist
    /// or is deleted.
    pub fn record(&mut self, new: &NewDataPoint) -> Result<DataPoint> {
        operation("data_point.record", || {
            Ok(diesel::insert_into(points::table)
                .values((
                    points::workspace_id.eq(self.workspace),
                    points::kpi_id.eq(&new.kpi_id),
                    points::timestamp.eq(new.timestamp),
                    points::source.eq(stored(new.source.as_ref())),
                    points::value.eq(new.value),
                ))
                .returning(DataPoint::as_returning())
                .get_result(self.conn)?)
        })
    }

    /// Records any number of points in one statement, all or none. `NotFound` when a KPI does not
    /// exist or is deleted.
    pub fn record_many(&mut self, new: &[NewDataPoint], existing: OnExisting) -> Result<Recorded> {
        operation("data_point.record_many", || {
            let none = Recorded { inserted: 0, replaced: 0, kept: 0 };
            if new.is_empty() {
                return Ok(none);
            }
            let columns = Columns::of(new);
            let workspace = self.workspace;
            let (inserted, replaced) = match existing {
                OnExisting::Keep => KeepExisting { workspace, columns }.get_result(self.conn),
                OnExisting::Replace => ReplaceExisting { workspace, columns }.get_result(self.conn),
                OnExisting::Fail => FailOnExisting { workspace, columns }.get_result(self.conn),
            }?;
            let count = |rows: i64| usize::try_from(rows).unwrap_or_default();
            let (inserted, replaced) = (count(inserted), count(replaced));
            Ok(Recorded { inserted, replaced, kept: new.len() - inserted - replaced })
        })
    }

    /// A KPI's points within a span of time, oldest first. Of several at one moment, one without a
    /// source comes first, and the others by the name of their source.
    pub fn range(
        &mut self,
        kpi: &KpiId,
        range: TimeRange,
        page: &Page,
    ) -> Result<Paged<DataPoint>> {
        operation("data_point.range", || {
            let query = page_of!(self.within(kpi, range), page, points::timestamp, points::source);
            let rows = query.select(DataPoint::as_select()).load(self.conn)?;
            Ok(page.cut(rows, |point: &DataPoint| (point.timestamp, stored(point.source.as_ref()))))
        })
    }

    /// How many points [`range`](Self::range) has in all.
    pub fn count(&mut self, kpi: &KpiId, range: TimeRange) -> Result<i64> {
        operation("data_point.count", || {
            Ok(self.within(kpi, range).count().get_result(self.conn)?)
        })
    }

    /// A point.
    pub fn find(&mut self, key: &PointKey) -> Result<Option<DataPoint>> {
        operation("data_point.find", || {
            Ok(at(self.workspace, key)
                .select(DataPoint::as_select())
                .first(self.conn)
                .optional()?)
        })
    }

    /// A KPI's newest point: the last of its [`range`](Self::range).
    pub fn latest(&mut self, kpi: &KpiId) -> Result<Option<DataPoint>> {
        operation("data_point.latest", || {
            Ok(points::table
                .filter(points::workspace_id.eq(self.workspace))
                .filter(points::kpi_id.eq(kpi))
                .order((points::timestamp.desc(), points::source.desc()))
                .select(DataPoint::as_select())
                .first(self.conn)
                .optional()?)
        })
    }

    /// The newest point of each of many KPIs, in one query. KPIs without points are left out; the
    /// order is that of the ids.
    pub fn latest_of_many(&mut self, kpis: &[KpiId]) -> Result<Vec<DataPoint>> {
        operation("data_point.latest_of_many", || {
            Ok(LatestOfMany { workspace: self.workspace, kpis }.load(self.conn)?)
        })
    }

    /// Corrects the value of a point.
    pub fn correct(&mut self, key: &PointKey, value: Finite) -> Result<DataPoint> {
        operation("data_point.correct", || {
            let row = diesel::update(at(self.workspace, key))
                .set(points::value.eq(value))
                .returning(DataPoint::as_returning())
                .get_result(self.conn);
            found(row, ENTITY)
        })
    }

    /// Deletes a point for good.
    pub fn delete(&mut self, key: &PointKey) -> Result<()> {
        operation("data_points.delete", || {
            let rows = diesel::delete(at(self.workspace, key)).execute(self.conn);
            changed(rows, ENTITY)
        })
    }
}

struct LatestOfMany<'a> {
    workspace: &'a WorkspaceId,
    kpis: &'a [KpiId],
}

static_query!(
    LatestOfMany: diesel::dsl::SqlTypeOf<diesel::dsl::AsSelect<DataPoint, Pg>>,
    |query, pass| {
        // One descent of the index for each KPI, whatever the length of its history.
        pass.push_sql(
            "SELECT p.workspace_id, p.kpi_id, p.\"timestamp\", p.source, p.value \
             FROM (SELECT DISTINCT kpi_id FROM unnest(",
        );
        pass.push_bind_param::<Array<Text>, _>(query.kpis)?;
        pass.push_sql(
            ") AS k (kpi_id)) AS k CROSS JOIN LATERAL (SELECT * FROM public.kpi_data_points AS p \
             WHERE p.workspace_id = ",
        );
        pass.push_bind_param::<Text, _>(query.workspace)?;
        pass.push_sql(
            " AND p.kpi_id = k.kpi_id ORDER BY p.\"timestamp\" DESC, p.source DESC LIMIT 1) AS p \
             ORDER BY p.kpi_id",
        );
    }
);
