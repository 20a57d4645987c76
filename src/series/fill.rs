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
    /// The value before, also the one before the range (see
    /// [`Series::values`](super::Series::values)); nothing before the first of all.
    Previous,
    /// The straight line from the value before to the one after, by the buckets' starts; nothing
    /// before the first and after the last.
    Linear,
    /// 0.
    Zero,
}

/// What is known of a bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Cell {
    /// It has no points.
    Gap,
    /// It has points, and no such figure.
    Unknown,
    Known(f64),
}

impl Cell {
    fn known(self) -> Option<f64> {
        match self {
            Self::Known(value) => Some(value),
            Self::Gap | Self::Unknown => None,
        }
    }
}

/// Fills the gaps of `cells`, each of which belongs to the moment at its place.
/// `before` is the value before the first.
pub(super) fn fill(
    moments: &[DateTime<Utc>],
    before: Option<f64>,
    cells: &[Cell],
    how: Fill,
) -> Vec<Option<f64>> {
    match how {
        Fill::Null => cells.iter().map(|cell| cell.known()).collect(),
        Fill::Zero => cells
            .iter()
            .map(|cell| if *cell == Cell::Gap { Some(0.0) } else { cell.known() })
            .collect(),
        Fill::Previous => cells
            .iter()
            .scan(before, |previous, cell| {
                if *cell != Cell::Gap {
                    *previous = cell.known();
                }
                Some(*previous)
            })
            .collect(),
        Fill::Linear => linear(moments, cells),
    }
}

fn linear(moments: &[DateTime<Utc>], cells: &[Cell]) -> Vec<Option<f64>> {
    let mut filled: Vec<_> = cells.iter().map(|cell| cell.known()).collect();
    let measured: Vec<_> =
        cells.iter().enumerate().filter(|(_, cell)| **cell != Cell::Gap).collect();
    for pair in measured.windows(2) {
        let ((left, Cell::Known(low)), (right, Cell::Known(high))) = (pair[0], pair[1]) else {
            continue;
        };
        for i in left + 1..right {
            let part = share(moments[left], moments[i], moments[right]);
            // Not `low + part * (high - low)`, whose difference may overflow. Held between the two:
            // each product of the smallest numbers is rounded.
            let value = low * (1.0 - part) + high * part;
            filled[i] = Some(value.clamp(low.min(*high), low.max(*high)));
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
