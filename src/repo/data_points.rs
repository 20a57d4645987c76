//! `kpi_data_points`: the history of the KPIs.
//!
//! A point is one value of one KPI at one moment from one source. That is its natural key: a
//! synchronisation that runs twice records once.

use chrono::{DateTime, Utc};
use diesel::pg::{Pg, PgConnection};
use diesel::prelude::*;
use diesel::query_builder::AstPass;
use diesel::sql_types::{Array, BigInt, Double, Nullable, Text, Timestamptz};

use super::{changed, debug_by_name, found, page_of, static_query};
use crate::error::Result;
use crate::id::{DataPointId, KpiId, WorkspaceId};
use crate::page::{Page, Paged};
use crate::schema::kpi_data_points as points;
use crate::value::{Finite, Invalid, Source, Timestamp};

debug_by_name!(DataPointRepository);

/// A data point.
#[derive(
    Debug,
    Clone,
    PartialEq,
    Queryable,
    QueryableByName,
    Selectable,
    serde::Serialize,
    serde::Deserialize,
)]
#[diesel(table_name = points, check_for_backend(Pg))]
pub struct DataPoint {
    /// Its id.
    pub id: DataPointId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// The KPI measured.
    pub kpi_id: KpiId,
    /// Value, in the KPI's unit.
    pub value: f64,
    /// When it was measured.
    pub timestamp: DateTime<Utc>,
    /// Where it came from.
    pub source: Option<Source>,
}

impl DataPoint {
    /// What identifies the point.
    ///
    /// # Errors
    /// [`Invalid`] for a time that the database would not have stored.
    pub fn key(&self) -> Result<PointKey, Invalid> {
        Ok(PointKey {
            kpi_id: self.kpi_id.clone(),
            timestamp: Timestamp::new(self.timestamp)?,
            source: self.source.clone(),
        })
    }
}

/// What identifies a point among those of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct PointKey {
    /// The KPI measured.
    pub kpi_id: KpiId,
    /// When.
    pub timestamp: Timestamp,
    /// Where it came from; none is a source of its own.
    pub source: Option<Source>,
}

/// A data point to record.
#[derive(Debug, Clone, PartialEq, Insertable, serde::Serialize, serde::Deserialize)]
#[diesel(table_name = points, treat_none_as_default_value = false)]
pub struct NewDataPoint {
    /// Its id, made here.
    #[serde(default = "DataPointId::generate")]
    pub id: DataPointId,
    /// The KPI measured.
    pub kpi_id: KpiId,
    /// Value, in the KPI's unit.
    pub value: Finite,
    /// When it was measured.
    pub timestamp: Timestamp,
    /// Where it came from.
    pub source: Option<Source>,
}

impl NewDataPoint {
    /// A point without a source.
    ///
    /// # Errors
    /// [`Invalid`] for an infinite value, NaN, or a time outside of the years 1 to 9999.
    pub fn new(kpi_id: KpiId, value: f64, timestamp: DateTime<Utc>) -> Result<Self, Invalid> {
        Ok(Self {
            id: DataPointId::generate(),
            kpi_id,
            value: Finite::new(value)?,
            timestamp: Timestamp::new(timestamp)?,
            source: None,
        })
    }

    /// The same point from this source.
    #[must_use]
    pub fn from_source(self, source: Source) -> Self {
        Self { source: Some(source), ..self }
    }
}

/// What to do with a point whose natural key is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExisting {
    /// Keep the value that is there. Of several in one batch, the first.
    Keep,
    /// Take the new value. Of several in one batch, the last.
    Replace,
    /// Fail with [`Error::Conflict`](crate::Error::Conflict) and record nothing.
    Fail,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Recorded {
    /// Points that are new.
    pub inserted: usize,
    /// Points whose value was replaced by another.
    pub replaced: usize,
    /// Points that changed nothing: kept, already of this value, or overtaken within the batch.
    pub kept: usize,
}

/// A span of time: from its start, up to but without its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "UncheckedRange")]
pub struct TimeRange {
    from: Timestamp,
    to: Timestamp,
}

#[derive(serde::Deserialize)]
struct UncheckedRange {
    from: Timestamp,
    to: Timestamp,
}

impl TryFrom<UncheckedRange> for TimeRange {
    type Error = Invalid;

    fn try_from(range: UncheckedRange) -> Result<Self, Invalid> {
        Self::new(range.from, range.to)
    }
}

impl TimeRange {
    /// A span of time. An empty one contains nothing.
    ///
    /// # Errors
    /// [`Invalid`] when it ends before it starts.
    pub fn new(from: Timestamp, to: Timestamp) -> Result<Self, Invalid> {
        if from <= to {
            Ok(Self { from, to })
        } else {
            Err(Invalid::new("range", "ends before it starts"))
        }
    }

    /// Its start, which belongs to it.
    #[must_use]
    pub fn from(self) -> Timestamp {
        self.from
    }

    /// Its end, which does not.
    #[must_use]
    pub fn to(self) -> Timestamp {
        self.to
    }
}

/// The point of this key.
#[diesel::dsl::auto_type(no_type_alias)]
fn at<'q>(workspace: &'q WorkspaceId, key: &'q PointKey) -> _ {
    let kpi_id: &'q KpiId = &key.kpi_id;
    let timestamp: Timestamp = key.timestamp;
    let source: &'q Option<Source> = &key.source;
    points::table
        .filter(points::workspace_id.eq(workspace))
        .filter(points::kpi_id.eq(kpi_id))
        .filter(points::timestamp.eq(timestamp))
        .filter(points::source.is_not_distinct_from(source))
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
            .filter(points::timestamp.ge(range.from))
            .filter(points::timestamp.lt(range.to))
            .into_boxed()
    }

    /// Records one point. `Conflict` when its key is taken; `NotFound` when the KPI does not exist
    /// or is deleted.
    pub fn record(&mut self, new: &NewDataPoint) -> Result<DataPoint> {
        Ok(diesel::insert_into(points::table)
            .values((new, points::workspace_id.eq(self.workspace)))
            .returning(DataPoint::as_returning())
            .get_result(self.conn)?)
    }

    /// Records any number of points in one statement, all or none. `NotFound` when a KPI does not
    /// exist or is deleted.
    pub fn record_many(&mut self, new: &[NewDataPoint], existing: OnExisting) -> Result<Recorded> {
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
    }

    /// A KPI's points within a span of time, oldest first.
    pub fn range(
        &mut self,
        kpi: &KpiId,
        range: TimeRange,
        page: &Page,
    ) -> Result<Paged<DataPoint>> {
        let query = page_of!(self.within(kpi, range), page, points::timestamp, points::id);
        let rows = query.select(DataPoint::as_select()).load(self.conn)?;
        Ok(page.cut(rows, |point: &DataPoint| (point.timestamp, point.id.as_str())))
    }

    /// How many points [`range`](Self::range) has in all.
    pub fn count(&mut self, kpi: &KpiId, range: TimeRange) -> Result<i64> {
        Ok(self.within(kpi, range).count().get_result(self.conn)?)
    }

    /// A point.
    pub fn find(&mut self, key: &PointKey) -> Result<Option<DataPoint>> {
        Ok(at(self.workspace, key).select(DataPoint::as_select()).first(self.conn).optional()?)
    }

    /// A KPI's newest point. Of several at one moment, that of the last source by name, and one
    /// without a source before any.
    pub fn latest(&mut self, kpi: &KpiId) -> Result<Option<DataPoint>> {
        Ok(points::table
            .filter(points::workspace_id.eq(self.workspace))
            .filter(points::kpi_id.eq(kpi))
            .order((points::timestamp.desc(), points::source.desc()))
            .select(DataPoint::as_select())
            .first(self.conn)
            .optional()?)
    }

    /// The newest point of each of many KPIs, in one query. KPIs without points are left out; the
    /// order is that of the ids.
    pub fn latest_of_many(&mut self, kpis: &[KpiId]) -> Result<Vec<DataPoint>> {
        Ok(LatestOfMany { workspace: self.workspace, kpis }.load(self.conn)?)
    }

    /// Corrects the value of a point.
    pub fn correct(&mut self, key: &PointKey, value: Finite) -> Result<DataPoint> {
        let row = diesel::update(at(self.workspace, key))
            .set(points::value.eq(value))
            .returning(DataPoint::as_returning())
            .get_result(self.conn);
        found(row, DataPointId::ENTITY)
    }

    /// Deletes a point for good.
    pub fn delete(&mut self, key: &PointKey) -> Result<()> {
        let rows = diesel::delete(at(self.workspace, key)).execute(self.conn);
        changed(rows, DataPointId::ENTITY)
    }
}

/// A batch, turned into one array a column: the statement's text is the same for any size, and so
/// is its prepared form.
struct Columns<'a> {
    ids: Vec<&'a DataPointId>,
    kpis: Vec<&'a KpiId>,
    values: Vec<Finite>,
    timestamps: Vec<Timestamp>,
    sources: Vec<Option<&'a Source>>,
}

impl<'a> Columns<'a> {
    fn of(new: &'a [NewDataPoint]) -> Self {
        Self {
            ids: new.iter().map(|point| &point.id).collect(),
            kpis: new.iter().map(|point| &point.kpi_id).collect(),
            values: new.iter().map(|point| point.value).collect(),
            timestamps: new.iter().map(|point| point.timestamp).collect(),
            sources: new.iter().map(|point| point.source.as_ref()).collect(),
        }
    }

    /// `unnest(...)` with one row for each point, in the batch's order.
    fn push_rows<'b>(&'b self, pass: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        pass.push_sql("unnest(");
        pass.push_bind_param::<Array<Text>, _>(&self.ids)?;
        pass.push_sql(",");
        pass.push_bind_param::<Array<Text>, _>(&self.kpis)?;
        pass.push_sql(",");
        pass.push_bind_param::<Array<Double>, _>(&self.values)?;
        pass.push_sql(",");
        pass.push_bind_param::<Array<Timestamptz>, _>(&self.timestamps)?;
        pass.push_sql(",");
        pass.push_bind_param::<Array<Nullable<Text>>, _>(&self.sources)?;
        pass.push_sql(") WITH ORDINALITY AS p (id, kpi_id, value, \"timestamp\", source, n)");
        Ok(())
    }

    /// One statement that inserts the batch and counts the rows inserted and replaced.
    fn push_insert<'b>(
        &'b self,
        workspace: &'b WorkspaceId,
        distinct: &str,
        conflict: &str,
        pass: &mut AstPass<'_, 'b, Pg>,
    ) -> QueryResult<()> {
        pass.push_sql(
            "WITH written AS (INSERT INTO public.kpi_data_points AS t \
             (workspace_id, id, kpi_id, value, \"timestamp\", source) SELECT ",
        );
        pass.push_sql(distinct);
        pass.push_bind_param::<Text, _>(workspace)?;
        pass.push_sql(", id, kpi_id, value, \"timestamp\", source FROM ");
        self.push_rows(pass)?;
        pass.push_sql(conflict);
        pass.push_sql(
            " RETURNING (xmax = 0) AS inserted) \
             SELECT count(*) FILTER (WHERE inserted), count(*) FILTER (WHERE NOT inserted) \
             FROM written",
        );
        Ok(())
    }
}

macro_rules! batch_inserts {
    ($($name:ident: $distinct:literal, $conflict:literal;)*) => {$(
        struct $name<'a> {
            workspace: &'a WorkspaceId,
            columns: Columns<'a>,
        }

        static_query!($name: (BigInt, BigInt), |query, pass| {
            query.columns.push_insert(query.workspace, $distinct, $conflict, &mut pass)?;
        });
    )*};
}

// Rows are written in the order of their key: batches that share points queue, and do not wait for
// each other in a circle.
batch_inserts! {
    // Of several points with one key, the first is kept.
    KeepExisting: "",
        " ORDER BY p.kpi_id, p.\"timestamp\", p.source, p.n \
         ON CONFLICT (workspace_id, kpi_id, \"timestamp\", source) DO NOTHING";
    // One statement may replace a row once: of several points with one key, the last counts.
    ReplaceExisting: "DISTINCT ON (kpi_id, \"timestamp\", source) ",
        " ORDER BY kpi_id, \"timestamp\", source, p.n DESC \
         ON CONFLICT (workspace_id, kpi_id, \"timestamp\", source) \
         DO UPDATE SET value = excluded.value WHERE t.value IS DISTINCT FROM excluded.value";
    FailOnExisting: "", " ORDER BY p.kpi_id, p.\"timestamp\", p.source";
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
            "SELECT p.id, p.workspace_id, p.kpi_id, p.value, p.\"timestamp\", p.source \
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
