//! Data points as callers see them, and how they are stored.

use diesel::pg::{Pg, PgValue};
use diesel::prelude::*;
use diesel::sql_types::Text;

use crate::id::{KpiId, WorkspaceId};
use crate::point::PointKey;
use crate::schema::kpi_data_points as points;
use crate::value::{Source, Timestamp};

/// A source as it is stored: text in any case, since it is part of a key, and empty for none.
pub(super) fn stored(source: Option<&Source>) -> &str {
    source.map_or("", Source::as_str)
}

/// The source that is stored like this.
pub(super) fn source_of(stored: &str) -> Option<Source> {
    (!stored.is_empty()).then(|| Source::from_stored(stored))
}

/// A source read back.
#[derive(Debug, diesel::deserialize::FromSqlRow)]
pub struct StoredSource(Option<Source>);

impl diesel::deserialize::FromSql<Text, Pg> for StoredSource {
    fn from_sql(value: PgValue<'_>) -> diesel::deserialize::Result<Self> {
        Ok(Self(source_of(std::str::from_utf8(value.as_bytes())?)))
    }
}

impl From<StoredSource> for Option<Source> {
    fn from(stored: StoredSource) -> Self {
        stored.0
    }
}

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
#[non_exhaustive]
pub struct DataPoint {
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// The KPI measured.
    pub kpi_id: KpiId,
    /// When it was measured.
    pub timestamp: Timestamp,
    /// Where it came from.
    #[diesel(deserialize_as = StoredSource)]
    pub source: Option<Source>,
    /// Value, in the KPI's unit.
    pub value: f64,
}

impl DataPoint {
    /// What identifies the point.
    #[must_use]
    pub fn key(&self) -> PointKey {
        PointKey {
            kpi_id: self.kpi_id.clone(),
            timestamp: self.timestamp,
            source: self.source.clone(),
        }
    }
}
