//! What stands where nothing was measured.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// What stands in a bucket without points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fill {
    /// Nothing.
    #[default]
    Null,
    /// The value before; nothing before the first.
    Previous,
    /// The straight line from the value before to the one after, by the buckets' starts; nothing
    /// before the first and after the last.
    Linear,
    /// 0.
    Zero,
}

/// Fills the gaps of `values`, each of which belongs to the moment at its place.
pub(super) fn fill(
    moments: &[DateTime<Utc>],
    values: &[Option<f64>],
    how: Fill,
) -> Vec<Option<f64>> {
    match how {
        Fill::Null => values.to_vec(),
        Fill::Zero => values.iter().map(|value| value.or(Some(0.0))).collect(),
        Fill::Previous => values
            .iter()
            .scan(None, |previous, value| {
                *previous = value.or(*previous);
                Some(*previous)
            })
            .collect(),
        Fill::Linear => linear(moments, values),
    }
}

fn linear(moments: &[DateTime<Utc>], values: &[Option<f64>]) -> Vec<Option<f64>> {
    let mut filled = values.to_vec();
    let known: Vec<_> =
        values.iter().enumerate().filter_map(|(i, value)| Some((i, (*value)?))).collect();
    for pair in known.windows(2) {
        let ((left, low), (right, high)) = (pair[0], pair[1]);
        for i in left + 1..right {
            let part = share(moments[left], moments[i], moments[right]);
            // Not `low + part * (high - low)`, whose difference may overflow. Held between the two:
            // each product of the smallest numbers is rounded.
            let value = low * (1.0 - part) + high * part;
            filled[i] = Some(value.clamp(low.min(high), low.max(high)));
        }
    }
    filled
}

/// How far a moment is from the first to the last, from 0 to 1.
#[expect(clippy::cast_precision_loss, reason = "a fraction")]
fn share(first: DateTime<Utc>, moment: DateTime<Utc>, last: DateTime<Utc>) -> f64 {
    let micros = |to: DateTime<Utc>| (to.timestamp_micros() - first.timestamp_micros()) as f64;
    if last > first { micros(moment) / micros(last) } else { 0.0 }
}
