//! What the pure functions of a series refuse.

use crate::value::Invalid;

/// A question about a series that cannot be answered. No message repeats a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum SeriesError {
    /// The width of a step is 0, negative, or has a part finer than a millisecond.
    #[error("the width of a step is not a whole number of milliseconds above 0")]
    Width,

    /// The range has more steps than [`Grid::MAX_BUCKETS`](super::Grid::MAX_BUCKETS).
    #[error("more than 10000 buckets: choose a longer step or a shorter range")]
    TooManyBuckets,

    /// KPIs times buckets are more than [`Grid::MAX_CELLS`](super::Grid::MAX_CELLS).
    #[error("more than 250000 buckets for all KPIs: ask for fewer KPIs or fewer buckets")]
    TooManyCells,

    /// The period before begins before the year 1.
    #[error("the period before begins before the year 1")]
    OutOfRange,

    /// A sample is earlier than the one before it.
    #[error("the samples are not in the order of time")]
    Unsorted,

    /// A value is NaN or infinite.
    #[error("a value is not finite")]
    NotFinite,

    /// A percentile is not within 0 to 1.
    #[error("a percentile is not a fraction from 0 to 1")]
    Percentile,
}

impl From<SeriesError> for Invalid {
    fn from(error: SeriesError) -> Self {
        let (field, rule) = match error {
            SeriesError::Width => ("width", "expected whole milliseconds above 0"),
            SeriesError::TooManyBuckets => ("grid", "expected at most 10000 buckets"),
            SeriesError::TooManyCells => ("grid", "expected at most 250000 buckets for all KPIs"),
            SeriesError::OutOfRange => ("grid", "the period before begins before the year 1"),
            SeriesError::Unsorted => ("samples", "expected the order of time"),
            SeriesError::NotFinite => ("value", "expected a finite number"),
            SeriesError::Percentile => ("percentile", "expected a fraction from 0 to 1"),
        };
        Invalid::new(field, rule)
    }
}
