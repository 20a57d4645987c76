//! Values of a bucket put together, and buckets in a row.

use chrono::SecondsFormat;
use serde::{Deserialize, Serialize};

use super::downsample::Sample;
use super::fill::{Cell, Fill, fill};
use super::statistics::Change;
use crate::id::KpiId;
use crate::point::TimeRange;
use crate::value::{Shortest, Timestamp};

/// How the values of a bucket become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// The arithmetic mean.
    Avg,
    /// The sum.
    Sum,
    /// The least value.
    Min,
    /// The greatest value.
    Max,
    /// The earliest value.
    First,
    /// The latest value.
    Last,
    /// How many points there are; 0 where there are none.
    Count,
}

/// Values of this size, up or down, have no sum. As in the table of rollups.
const SUMMED: f64 = 1e290;

/// What is known of the points of a bucket, of which there is one at least.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How many points there are.
    pub points: u64,
    /// Their sum. `None` where a value is 1e290 or larger, up or down, so that no sum is infinite.
    pub sum: Option<f64>,
    /// The least value.
    pub min: f64,
    /// The greatest value.
    pub max: f64,
    /// The earliest value; of several at one moment, that of the first source by name.
    pub first: f64,
    /// The latest value; of several at one moment, that of the last source by name.
    pub last: f64,
}

impl Summary {
    /// The summary of values in the order of time; `None` of none.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let single = |value: f64| Self {
            points: 1,
            sum: (value.abs() < SUMMED).then_some(value),
            min: value,
            max: value,
            first: value,
            last: value,
        };
        values.iter().map(|value| single(*value)).reduce(Self::and_later)
    }

    /// Together with the summary of later points.
    #[must_use]
    pub fn and_later(self, later: Self) -> Self {
        Self {
            points: self.points + later.points,
            sum: self.sum.zip(later.sum).map(|(sum, later)| sum + later),
            min: self.min.min(later.min),
            max: self.max.max(later.max),
            first: self.first,
            last: later.last,
        }
    }

    /// The arithmetic mean, never outside of the least and the greatest value. `None` where there
    /// is no sum.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "2^53 points are more than there will be")]
    pub fn avg(&self) -> Option<f64> {
        self.sum.map(|sum| (sum / self.points as f64).clamp(self.min, self.max))
    }

    /// One of the aggregates; `None` for the sum or the mean where there is no sum.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "2^53 points are more than there will be")]
    pub fn get(&self, aggregate: Aggregate) -> Option<f64> {
        match aggregate {
            Aggregate::Avg => self.avg(),
            Aggregate::Sum => self.sum,
            Aggregate::Min => Some(self.min),
            Aggregate::Max => Some(self.max),
            Aggregate::First => Some(self.first),
            Aggregate::Last => Some(self.last),
            Aggregate::Count => Some(self.points as f64),
        }
    }
}

/// A span of time and what was measured in it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    /// The span.
    pub range: TimeRange,
    /// What was measured; `None` where nothing was.
    pub summary: Option<Summary>,
}

/// The buckets of one KPI, in the order of time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// The KPI.
    pub kpi_id: KpiId,
    /// The last value before the first bucket; `None` where nothing was measured until then.
    pub before: Option<f64>,
    /// Its buckets, also those without points.
    pub buckets: Vec<Bucket>,
}

impl Series {
    /// One value for each bucket, with gaps filled. A count is 0 where there are no points and has
    /// no gaps. A bucket that has points is never filled: without a sum it has no sum and no mean, and
    /// no gap beside it is filled from it.
    ///
    /// For [`Fill::Previous`] the value [before](Self::before) the first bucket counts as a bucket of its
    /// own, but not for a sum, which is that of a bucket and no state that goes on.
    #[must_use]
    pub fn values(&self, aggregate: Aggregate, how: Fill) -> Vec<Option<f64>> {
        let how = if aggregate == Aggregate::Count { Fill::Zero } else { how };
        let values: Vec<_> = self
            .buckets
            .iter()
            .map(|bucket| match bucket.summary {
                Some(summary) => summary.get(aggregate).map_or(Cell::Unknown, Cell::Known),
                None => Cell::Gap,
            })
            .collect();
        let starts = self.buckets.iter().map(|bucket| bucket.range.from().get());
        let before = self.before.filter(|_| aggregate != Aggregate::Sum);
        fill(&starts.collect::<Vec<_>>(), before, &values, how)
    }

    /// The buckets that have points, each as a sample at its start.
    #[must_use]
    pub fn samples(&self, aggregate: Aggregate) -> Vec<Sample> {
        let sample = |bucket: &Bucket| {
            Some(Sample { at: bucket.range.from().get(), value: bucket.summary?.get(aggregate)? })
        };
        self.buckets.iter().filter_map(sample).collect()
    }

    /// Writes the buckets as CSV: start, end, points, sum, mean, least, greatest, first and last value.
    /// A figure that there is not is blank. Numbers are written so that they are read back to the bit.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_csv(&self, mut writer: impl std::io::Write) -> std::io::Result<()> {
        let time = |at: Timestamp| at.get().to_rfc3339_opts(SecondsFormat::AutoSi, true);
        let number =
            |value: Option<f64>| value.map_or_else(String::new, |v| Shortest(v).to_string());
        writeln!(writer, "from,to,points,sum,mean,min,max,first,last")?;
        for bucket in &self.buckets {
            let (from, to) = (time(bucket.range.from()), time(bucket.range.to()));
            let points = bucket.summary.map_or(0, |summary| summary.points);
            write!(writer, "{from},{to},{points}")?;
            let figures = [
                Aggregate::Sum,
                Aggregate::Avg,
                Aggregate::Min,
                Aggregate::Max,
                Aggregate::First,
                Aggregate::Last,
            ];
            for figure in figures {
                let value = bucket.summary.and_then(|summary| summary.get(figure));
                write!(writer, ",{}", number(value))?;
            }
            writeln!(writer)?;
        }
        writer.flush()
    }

    /// All buckets together.
    #[must_use]
    pub fn total(&self) -> Option<Summary> {
        self.buckets.iter().filter_map(|bucket| bucket.summary).reduce(Summary::and_later)
    }
}

/// A KPI now, and in the period before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The period asked for.
    pub now: Series,
    /// The period before, with [`Grid::before`](super::Grid::before).
    pub before: Series,
}

impl Comparison {
    /// How the whole period changed; `None` where one of the two has no points.
    #[must_use]
    pub fn change(&self, aggregate: Aggregate) -> Option<Change> {
        let total = |series: &Series| series.total()?.get(aggregate);
        Some(Change::between(total(&self.before)?, total(&self.now)?))
    }
}
