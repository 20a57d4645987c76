//! Data points to record, what identifies them, and spans of time: values, without a database.

use chrono::{DateTime, Utc};

use crate::id::KpiId;
use crate::value::{Finite, Invalid, Source, Timestamp};

/// What identifies a point among those of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PointKey {
    /// The KPI measured.
    #[serde(alias = "kpiId")]
    pub kpi_id: KpiId,
    /// When.
    pub timestamp: Timestamp,
    /// Where it came from; none is a source of its own.
    pub source: Option<Source>,
}

/// A data point to record.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewDataPoint {
    /// The KPI measured.
    #[serde(alias = "kpiId")]
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
            kpi_id,
            value: Finite::new(value)?,
            timestamp: Timestamp::new(timestamp)?,
            source: None,
        })
    }

    /// Whether both are of one KPI, time and source.
    pub(crate) fn has_key_of(&self, other: &Self) -> bool {
        (&self.kpi_id, self.timestamp, &self.source)
            == (&other.kpi_id, other.timestamp, &other.source)
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
    /// Keep the value that is there. Of several in one batch, the first. [`Recorded::collided`] counts
    /// those of another value.
    Keep,
    /// Take the new value. Of several in one batch, the last; [`Recorded::collided`] counts those of
    /// another value.
    Replace,
    /// Fail with [`Error::Conflict`](crate::Error::Conflict) and record nothing.
    Fail,
}

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Recorded {
    /// Points that are new.
    pub inserted: usize,
    /// Points whose value was replaced by another.
    pub replaced: usize,
    /// Points that changed nothing: kept, already of this value, or overtaken within the batch.
    pub kept: usize,
    /// Those among the kept whose value is not the one that is stored now: of two payments in one
    /// minute one is lost. A repeat of the same value is none.
    pub collided: usize,
    /// The places in the batch of the first 100 of them, from 0.
    pub collisions: Vec<usize>,
}

impl Recorded {
    /// Points that were written.
    pub(crate) fn written(&self) -> usize {
        self.inserted + self.replaced
    }
}

/// A span of time: from its start, up to but without its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "UncheckedRange")]
pub struct TimeRange {
    from: Timestamp,
    to: Timestamp,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
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

    /// A span between two moments as chrono has them.
    ///
    /// # Errors
    /// [`Invalid`] when it ends before it starts, or for a time outside of the years 1 to 9999.
    pub fn between(from: DateTime<Utc>, to: DateTime<Utc>) -> Result<Self, Invalid> {
        Self::new(Timestamp::new(from)?, Timestamp::new(to)?)
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
