//! Figures of a window, and of a change.

use serde::{Deserialize, Serialize};

use super::error::SeriesError;

/// From one value to another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Change {
    /// The value that it started from.
    pub from: f64,
    /// The value that it came to.
    pub to: f64,
    /// `to - from`. Finite: kept at `f64::MAX`, with its sign, where it would be beyond.
    pub absolute: f64,
    /// `absolute / |from|`, so that a rise is above 0 wherever it starts. `None` from 0: there is
    /// nothing to divide by. Finite, as above.
    pub relative: Option<f64>,
}

impl Change {
    /// The change between two finite values.
    #[must_use]
    pub fn between(from: f64, to: f64) -> Self {
        let held = |number: f64| number.clamp(f64::MIN, f64::MAX);
        // Halved where the difference is beyond f64.
        let relative = if (to - from).is_finite() {
            (to - from) / from.abs()
        } else {
            (to / 2.0 - from / 2.0) / from.abs() * 2.0
        };
        Self {
            from,
            to,
            absolute: held(to - from),
            relative: (from != 0.0).then(|| held(relative)),
        }
    }
}

/// Figures of the points of a window, of which there is one at least.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Statistics {
    /// How many points there are.
    pub points: u64,
    /// The least value.
    pub min: f64,
    /// The greatest value.
    pub max: f64,
    /// The arithmetic mean.
    pub mean: f64,
    /// The standard deviation of a sample, which divides by one less than the points
    /// (`stddev_samp` in PostgreSQL). `None` of a single point.
    pub standard_deviation: Option<f64>,
    /// One for each percentile asked for, in that order: between the two values nearest to it by
    /// linear interpolation (`percentile_cont` in PostgreSQL).
    pub percentiles: Vec<f64>,
    /// The earliest value.
    pub first: f64,
    /// The latest value.
    pub last: f64,
}

impl Statistics {
    /// The statistics of values in the order of time; `None` of none. Percentiles are fractions:
    /// 0.5 is the median.
    ///
    /// ```
    /// use sesari_db::series::Statistics;
    ///
    /// let figures = Statistics::of(&[4.0, 1.0, 2.0, 8.0], &[0.5, 0.9])?.ok_or("no values")?;
    /// assert_eq!((figures.min, figures.mean, figures.max), (1.0, 3.75, 8.0));
    /// assert_eq!(figures.percentiles[0], 3.0);
    /// assert_eq!(figures.change().relative, Some(1.0)); // from 4 to 8
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SeriesError::NotFinite`] and [`SeriesError::Percentile`].
    pub fn of(values: &[f64], percentiles: &[f64]) -> Result<Option<Self>, SeriesError> {
        check_percentiles(percentiles)?;
        if values.iter().any(|value| !value.is_finite()) {
            return Err(SeriesError::NotFinite);
        }
        let (Some(first), Some(last)) = (values.first(), values.last()) else {
            return Ok(None);
        };
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (sorted[0], sorted[sorted.len() - 1]);
        let (mean, standard_deviation) = moments(values);
        Ok(Some(Self {
            points: values.len() as u64,
            min,
            max,
            mean: mean.clamp(min, max),
            standard_deviation,
            percentiles: percentiles.iter().map(|part| percentile(&sorted, *part)).collect(),
            first: *first,
            last: *last,
        }))
    }

    /// From the first value of the window to the last.
    #[must_use]
    pub fn change(&self) -> Change {
        Change::between(self.first, self.last)
    }
}

pub(crate) fn check_percentiles(percentiles: &[f64]) -> Result<(), SeriesError> {
    let within = |part: &f64| (0.0..=1.0).contains(part);
    if percentiles.iter().all(within) { Ok(()) } else { Err(SeriesError::Percentile) }
}

/// Mean and standard deviation, scaled so that squares neither overflow nor vanish.
#[expect(clippy::cast_precision_loss, reason = "2^53 values are more than there will be")]
fn moments(values: &[f64]) -> (f64, Option<f64>) {
    let scale = values.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
    if scale == 0.0 {
        return (0.0, (values.len() > 1).then_some(0.0));
    }
    let count = values.len() as f64;
    let mean = values.iter().map(|value| value / scale / count).sum::<f64>();
    let squares: f64 = values.iter().map(|value| (value / scale - mean).powi(2)).sum();
    let deviation = (squares / (count - 1.0)).sqrt() * scale;
    (mean * scale, (values.len() > 1).then_some(deviation.min(f64::MAX)))
}

/// PostgreSQL's `percentile_cont`, of values in ascending order.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a place within the values"
)]
fn percentile(sorted: &[f64], part: f64) -> f64 {
    let place = part * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    let share = place.fract();
    low * (1.0 - share) + high * share
}
