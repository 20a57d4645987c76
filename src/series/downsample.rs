//! Fewer samples that look the same.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::error::SeriesError;

/// A value at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The moment.
    pub at: DateTime<Utc>,
    /// The value.
    pub value: f64,
}

/// At most `n` of the samples, chosen so that a line through them looks like one through all:
/// largest triangle three buckets, of Sveinn Steinarsson, *Downsampling Time Series for Visual
/// Representation* (University of Iceland, 2013), section 4.2.
///
/// The first and the last sample stay. The ones between are cut into `n - 2` groups of equal
/// number, and of each the sample stays that spans the largest triangle with the one chosen before
/// and the mean of the next group; of equal ones, the earliest. With `n` of 1 the last sample
/// stays, and with 0 none. Samples of one moment are allowed.
///
/// ```
/// use chrono::{DateTime, TimeDelta};
/// use sesari_db::series::{Sample, downsample};
///
/// let sample = |i: i32| Sample {
///     at: DateTime::UNIX_EPOCH + TimeDelta::hours(i.into()),
///     value: if i == 500 { 9.0 } else { f64::from(i % 2) },
/// };
/// let all: Vec<_> = (0..1000).map(sample).collect();
/// let some = downsample(&all, 50)?;
/// assert_eq!(some.len(), 50);
/// assert!(some.contains(&sample(500))); // the peak is still there
/// # Ok::<(), sesari_db::series::SeriesError>(())
/// ```
///
/// # Errors
/// [`SeriesError::Unsorted`] and [`SeriesError::NotFinite`].
pub fn downsample(samples: &[Sample], n: usize) -> Result<Vec<Sample>, SeriesError> {
    if samples.iter().any(|sample| !sample.value.is_finite()) {
        return Err(SeriesError::NotFinite);
    }
    if !samples.is_sorted_by_key(|sample| sample.at) {
        return Err(SeriesError::Unsorted);
    }
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else {
        return Ok(Vec::new());
    };
    Ok(match n {
        0 => Vec::new(),
        _ if n >= samples.len() => samples.to_vec(),
        1 => vec![*last],
        2 => vec![*first, *last],
        _ => largest_triangles(samples, n),
    })
}

/// With at least three to choose, and more samples than that.
#[expect(clippy::cast_precision_loss, reason = "places on a chart")]
fn largest_triangles(samples: &[Sample], n: usize) -> Vec<Sample> {
    let last = samples.len() - 1;
    let start = samples[0].at.timestamp_micros();
    // Held within 1, so that no area overflows; the largest stays the largest.
    let span = ((samples[last].at.timestamp_micros() - start) as f64).max(1.0);
    let height = samples.iter().fold(0.0, |most: f64, sample| most.max(sample.value.abs()));
    let height = if height > 0.0 { height } else { 1.0 };
    let place = |sample: &Sample| {
        ((sample.at.timestamp_micros() - start) as f64 / span, sample.value / height)
    };
    // Where each group starts; the last sample is the group after the last.
    let bound = |group: usize| 1 + group * (last - 1) / (n - 2);
    let mut chosen = Vec::with_capacity(n);
    chosen.push(samples[0]);
    let mut before = place(&samples[0]);
    for group in 0..n - 2 {
        let next = bound(group + 1)..bound(group + 2).min(last + 1).max(bound(group + 1) + 1);
        let size = next.len() as f64;
        let mean = samples[next]
            .iter()
            .map(place)
            .fold((0.0, 0.0), |mean, (x, y)| (mean.0 + x / size, mean.1 + y / size));
        let mut largest = (-1.0, bound(group));
        for (i, sample) in samples.iter().enumerate().take(bound(group + 1)).skip(bound(group)) {
            let (x, y) = place(sample);
            let area =
                ((before.0 - mean.0) * (y - before.1) - (before.0 - x) * (mean.1 - before.1)).abs();
            if area > largest.0 {
                largest = (area, i);
            }
        }
        before = place(&samples[largest.1]);
        chosen.push(samples[largest.1]);
    }
    chosen.push(samples[last]);
    chosen
}
