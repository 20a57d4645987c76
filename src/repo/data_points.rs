//! `kpi_data_points`: the history of the KPIs.
//!
//! A point is one value of one KPI at one moment from one source. That is its key, and it has no
//! other id: a synchronisation that runs twice records once.

mod batch;
mod import;
mod iter;
mod packing;
mod page;
mod retention;
mod rows;

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Text, Timestamptz};

use self::batch::{Collisions, Columns, FailOnExisting, FirstTaken, KeepExisting, ReplaceExisting};
use self::page::PageOf;
use self::retention::{DeleteBefore, KpisBefore};
use self::rows::stored;
use super::{changed, debug_by_name, found, statement};
use crate::connection::PgConnection;
use crate::error::Result;
use crate::id::{KpiId, WorkspaceId};
use crate::import::{
    CsvOptions, CsvRows, CsvWriter, ImportError, ImportOptions, Imported, RowError, numbered,
};
use crate::observe::{counted, if_some, operation};
use crate::page::{Page, PageRequest};
use crate::schema::kpi_data_points as points;
use crate::value::{Finite, Invalid, Timestamp};

pub use self::iter::PointIter;
pub use self::rows::DataPoint;
pub use crate::point::{NewDataPoint, OnExisting, PointKey, Recorded, TimeRange};
use crate::tenancy::{InWorkspace, TenantConnection};

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

impl TenantConnection {
    /// The history of the workspace's KPIs.
    pub fn data_points(&mut self) -> DataPointRepository<'_> {
        let InWorkspace { conn, workspace, .. } = self.parts();
        DataPointRepository { conn, workspace }
    }
}

#[expect(clippy::missing_errors_doc, reason = "described once, in the module `repo`")]
impl<'g> DataPointRepository<'g> {
    /// Records one point. `Conflict` when its key is taken; `NotFound` when the KPI does not exist
    /// or is deleted.
    pub fn record(&mut self, new: &NewDataPoint) -> Result<DataPoint> {
        operation("data_point.record", || {
            packing::unpack(self.conn, [(&new.kpi_id, new.timestamp)].into_iter())?;
            // Nothing of the row is made by the server. To return it, the policy for reading would
            // be asked as well, and so the context verified twice.
            diesel::insert_into(points::table)
                .values((
                    points::workspace_id.eq(self.workspace),
                    points::kpi_id.eq(&new.kpi_id),
                    points::timestamp.eq(new.timestamp),
                    points::source.eq(stored(new.source.as_ref())),
                    points::value.eq(new.value),
                ))
                .execute(self.conn)?;
            Ok(DataPoint {
                workspace_id: self.workspace.clone(),
                kpi_id: new.kpi_id.clone(),
                timestamp: new.timestamp,
                source: new.source.clone(),
                value: new.value.get(),
            })
        })
    }

    /// Records any number of points in one statement, all or none. Where some were kept, a second one
    /// tells those of another value from mere repeats. `NotFound` when a KPI does not exist or is
    /// deleted.
    pub fn record_many(&mut self, new: &[NewDataPoint], existing: OnExisting) -> Result<Recorded> {
        counted("data_point.record_many", Recorded::written, || {
            if new.is_empty() {
                return Ok(Recorded::default());
            }
            packing::unpack(self.conn, keys_of(new))?;
            let columns = Columns::of(new);
            let workspace = self.workspace;
            let (inserted, replaced) = match existing {
                OnExisting::Keep => KeepExisting { workspace, columns }.get_result(self.conn),
                OnExisting::Replace => ReplaceExisting { workspace, columns }.get_result(self.conn),
                OnExisting::Fail => FailOnExisting { workspace, columns }.get_result(self.conn),
            }?;
            let count = |rows: i64| usize::try_from(rows).unwrap_or_default();
            let (inserted, replaced) = (count(inserted), count(replaced));
            let kept = new.len() - inserted - replaced;
            if kept == 0 {
                return Ok(Recorded { inserted, replaced, ..Recorded::default() });
            }
            let columns = Columns::of(new);
            let (collided, places): (i64, Vec<i64>) =
                Collisions { workspace, columns }.get_result(self.conn)?;
            let collisions = places.into_iter().map(|place| count(place - 1)).collect();
            Ok(Recorded { inserted, replaced, kept, collided: count(collided), collisions })
        })
    }

    /// The place in the batch of the first point whose key is taken by one that is stored.
    fn first_taken(&mut self, new: &[NewDataPoint]) -> Result<Option<usize>> {
        packing::unpack(self.conn, keys_of(new))?;
        let (workspace, columns) = (self.workspace, Columns::of(new));
        let place: Option<i64> = FirstTaken { workspace, columns }.get_result(self.conn)?;
        Ok(place.and_then(|place| usize::try_from(place - 1).ok()))
    }

    /// Records any number of points in bounded memory, batch by batch in this one transaction. A
    /// point that could not be made, or whose KPI does not exist or is deleted, is refused and
    /// costs no other. `progress` is called after each batch, with the counts so far and all errors
    /// of the batch.
    ///
    /// Under [`OnExisting::Fail`] a key that is taken ends the import with
    /// [`ImportError::KeyTaken`](crate::import::ImportError::KeyTaken), which names the line; or with
    /// `Conflict`, and the transaction with it, where another transaction takes it meanwhile.
    /// `NotFound` when another transaction deletes a KPI between the look-up and the write.
    ///
    /// The transaction holds what it wrote, and so its KPIs against other writers, until it ends.
    /// [`Database::import`](crate::Database::import) commits after each batch.
    ///
    /// ```no_run
    /// # fn example(tenant: &mut sesari_db::TenantConnection, kpi: sesari_db::id::KpiId) -> sesari_db::Result<()> {
    /// use chrono::{DateTime, TimeDelta};
    /// use sesari_db::import::ImportOptions;
    /// use sesari_db::repo::{NewDataPoint, OnExisting};
    ///
    /// let points = (0..1_000_000).map(|minute| {
    ///     let at = DateTime::UNIX_EPOCH + TimeDelta::minutes(minute);
    ///     NewDataPoint::new(kpi.clone(), 20.0, at)
    /// });
    /// let options = ImportOptions::new(OnExisting::Keep);
    /// let imported = tenant.data_points().import(points, &options, |so_far, _| {
    ///     println!("{} rows", so_far.rows());
    /// })?;
    /// # let _ = imported; Ok(()) }
    /// ```
    pub fn import(
        &mut self,
        points: impl IntoIterator<Item = Result<NewDataPoint, Invalid>>,
        options: &ImportOptions,
        progress: impl FnMut(&Imported, &[RowError]),
    ) -> Result<Imported> {
        self.import_rows(numbered(points), options, progress)
    }

    /// Like [`import`](Self::import), from CSV as described in [`import`](crate::import).
    ///
    /// [`Import`](crate::Error::Import) for a header that does not fit, before anything is written,
    /// and for a reader that fails: the batches before are written then, and the guard may still
    /// commit them.
    pub fn import_csv(
        &mut self,
        reader: impl std::io::Read,
        csv: &CsvOptions,
        options: &ImportOptions,
        progress: impl FnMut(&Imported, &[RowError]),
    ) -> Result<Imported> {
        self.import_rows(CsvRows::new(reader, csv)?, options, progress)
    }

    /// A KPI's points within a span of time, oldest first. Of several at one moment, one without a
    /// source comes first, and the others by the name of their source.
    pub fn range(
        &mut self,
        kpi: &KpiId,
        range: TimeRange,
        page: &PageRequest,
    ) -> Result<Page<DataPoint>> {
        counted("data_point.range", Page::len, || {
            let page = page.of(&["data_point", self.workspace.as_str(), kpi.as_str()])?;
            let columns: self::page::Columns =
                PageOf::new(self.workspace, kpi, range, page).get_result(self.conn)?;
            let of = |(timestamp, source, value)| {
                Ok(DataPoint {
                    workspace_id: self.workspace.clone(),
                    kpi_id: kpi.clone(),
                    timestamp: Timestamp::new(timestamp)?,
                    source,
                    value,
                })
            };
            let rows = self::page::unpack(&columns)?
                .into_iter()
                .map(of)
                .collect::<Result<_, Invalid>>()?;
            Ok(page.cut(rows, |point: &DataPoint| {
                (point.timestamp.get().into(), stored(point.source.as_ref()))
            }))
        })
    }

    /// All points of a [`range`](Self::range) of any length, in its order and in bounded memory: a
    /// thousand at a time, one statement for each thousand. It borrows the guard, and ends after
    /// the first error.
    ///
    /// Each statement sees what is committed when it starts, and whether the actor is a member
    /// then. Points recorded or deleted meanwhile behind the place that was reached show. Between
    /// two statements the transaction is idle: whoever takes longer over a thousand points than
    /// `idle_in_transaction_timeout` loses it.
    ///
    /// ```no_run
    /// # fn example(tenant: &mut sesari_db::TenantConnection, kpi: &sesari_db::id::KpiId, year: sesari_db::repo::TimeRange) -> sesari_db::Result<()> {
    /// let mut sum = 0.0;
    /// for point in tenant.data_points().iter(kpi, year) {
    ///     sum += point?.value;
    /// }
    /// # let _ = sum; Ok(()) }
    /// ```
    pub fn iter(self, kpi: &KpiId, range: TimeRange) -> PointIter<'g> {
        PointIter::new(self, kpi.clone(), range)
    }

    /// Writes all points of a [`range`](Self::range) as CSV, reading them as [`iter`](Self::iter) does, and
    /// returns how many. [`import_csv`](Self::import_csv) reads them back to the bit.
    ///
    /// [`ImportError::Write`](crate::import::ImportError::Write) when the writer fails.
    pub fn export_csv(
        self,
        kpi: &KpiId,
        range: TimeRange,
        writer: impl std::io::Write,
    ) -> Result<u64> {
        let mut csv = CsvWriter::new(writer).map_err(ImportError::Write)?;
        for point in self.iter(kpi, range) {
            let DataPoint { timestamp, source, value, .. } = point?;
            csv.point(kpi, timestamp.get(), value, source.as_ref()).map_err(ImportError::Write)?;
        }
        Ok(csv.finish().map_err(ImportError::Write)?)
    }

    /// How many points [`range`](Self::range) has in all.
    pub fn count(&mut self, kpi: &KpiId, range: TimeRange) -> Result<i64> {
        operation("data_point.count", || {
            let (workspace, from, to) = (self.workspace, range.from(), range.to());
            Ok(CountOf { workspace, kpi, from, to }.get_result(self.conn)?)
        })
    }

    /// A point.
    pub fn find(&mut self, key: &PointKey) -> Result<Option<DataPoint>> {
        counted("data_point.find", if_some, || {
            Ok(PointOf { workspace: self.workspace, key }.get_result(self.conn).optional()?)
        })
    }

    /// A point, or [`NotFound`](crate::Error::NotFound).
    pub fn get(&mut self, key: &PointKey) -> Result<DataPoint> {
        self.find(key)?.ok_or(crate::Error::not_found(ENTITY))
    }

    /// A KPI's newest point: the last of its [`range`](Self::range).
    pub fn latest(&mut self, kpi: &KpiId) -> Result<Option<DataPoint>> {
        counted("data_point.latest", if_some, || {
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
        counted("data_point.latest_of_many", Vec::len, || {
            Ok(LatestOfMany { workspace: self.workspace, kpis }.load(self.conn)?)
        })
    }

    /// Corrects the value of a point.
    pub fn correct(&mut self, key: &PointKey, value: Finite) -> Result<DataPoint> {
        operation("data_point.correct", || {
            packing::unpack(self.conn, [(&key.kpi_id, key.timestamp)].into_iter())?;
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
            packing::unpack(self.conn, [(&key.kpi_id, key.timestamp)].into_iter())?;
            let rows = diesel::delete(at(self.workspace, key)).execute(self.conn);
            changed(rows, ENTITY)
        })
    }

    /// Deletes up to `batch` of the oldest points before a moment for good, of one KPI; says how
    /// many, and 0 when none is left. Without a KPI it takes the first that has such points, by the
    /// order of their ids, which it asks for before. Deleted KPIs have theirs deleted too.
    ///
    /// A batch ends with a whole day of the workspace, so that no day is rolled up twice, unless the first
    /// day has more points than the batch. Commit between calls: until then other writers to the
    /// KPI wait. [`Database::delete_points_before`](crate::Database::delete_points_before) does.
    ///
    /// `Invalid` unless `batch` is 1 to 100 000.
    pub fn delete_before(
        &mut self,
        kpi: Option<&KpiId>,
        before: Timestamp,
        batch: u32,
    ) -> Result<usize> {
        counted(
            "data_points.delete_before",
            |deleted| *deleted,
            || {
                let batch = retention::checked(batch)?;
                let first =
                    if kpi.is_none() { self.kpis_before(before, None, 1)?.pop() } else { None };
                let Some(kpi) = kpi.or(first.as_ref()) else { return Ok(0) };
                // One more than the batch, which tells whether the day of its last point is whole.
                packing::unpack_before(self.conn, kpi, before, batch + 1)?;
                Ok(DeleteBefore { workspace: self.workspace, kpi, before, batch }
                    .execute(self.conn)?)
            },
        )
    }

    /// Up to so many KPIs that have points before a moment, by their ids, after this one.
    pub(crate) fn kpis_before(
        &mut self,
        before: Timestamp,
        after: Option<&KpiId>,
        limit: u16,
    ) -> Result<Vec<KpiId>> {
        let (workspace, after) = (self.workspace, after.map_or("", KpiId::as_str));
        Ok(KpisBefore { workspace, after, before, limit: limit.into() }.load(self.conn)?)
    }
}

fn keys_of(new: &[NewDataPoint]) -> impl Iterator<Item = (&KpiId, Timestamp)> {
    new.iter().map(|point| (&point.kpi_id, point.timestamp))
}

struct CountOf<'a> {
    workspace: &'a WorkspaceId,
    kpi: &'a KpiId,
    from: Timestamp,
    to: Timestamp,
}

statement!(CountOf: BigInt, include_str!("data_points/count.sql"), |query| [
    query.workspace => Text,
    query.kpi => Text,
    &query.from => Timestamptz,
    &query.to => Timestamptz,
]);

struct PointOf<'a> {
    workspace: &'a WorkspaceId,
    key: &'a PointKey,
}

statement!(PointOf: diesel::dsl::SqlTypeOf<diesel::dsl::AsSelect<DataPoint, Pg>>, include_str!("data_points/find.sql"), |query| [
    query.workspace => Text,
    &query.key.kpi_id => Text,
    &query.key.timestamp => Timestamptz,
    stored(query.key.source.as_ref()) => Text,
]);

struct LatestOfMany<'a> {
    workspace: &'a WorkspaceId,
    kpis: &'a [KpiId],
}

statement!(LatestOfMany: diesel::dsl::SqlTypeOf<diesel::dsl::AsSelect<DataPoint, Pg>>, include_str!("data_points/latest_of_many.sql"), |query| [
    query.kpis => Array<Text>,
    query.workspace => Text,
]);
