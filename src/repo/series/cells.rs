//! What a bucket or a day comes to, as the server packs it: a row for each, with columns of their
//! own, costs more to send and to read than to find.

use diesel::deserialize::{FromSql, FromSqlRow};
use diesel::pg::{Pg, PgValue};
use diesel::sql_types::Bytea;

use super::Reading;
use crate::series::Summary;
use crate::value::{POSTGRES_EPOCH, Timestamp};

/// Start, end and six figures, as `kpi_rollups.packed` says.
const BYTES: usize = 8 * 8;

/// The cells of a span of a KPI, one after the other in the order of time: at least one.
#[derive(Debug, Clone, FromSqlRow)]
pub(super) struct Cells(Vec<u8>);

impl FromSql<Bytea, Pg> for Cells {
    fn from_sql(value: PgValue<'_>) -> diesel::deserialize::Result<Self> {
        Self::new(value.as_bytes())
    }
}

impl Cells {
    fn new(bytes: &[u8]) -> diesel::deserialize::Result<Self> {
        if bytes.is_empty() || !bytes.len().is_multiple_of(BYTES) {
            return Err(format!("{} bytes are not cells of {BYTES}", bytes.len()).into());
        }
        Ok(Self(bytes.to_vec()))
    }

    /// From the moment of each until its end, in microseconds from PostgreSQL's epoch. What was read
    /// point by point is within its bucket, and ends where it starts.
    fn iter(&self) -> impl Iterator<Item = (i64, i64, Summary)> {
        self.0.as_chunks::<BYTES>().0.iter().map(|cell| {
            let (words, _) = cell.as_chunks::<8>();
            let number = |word: usize| f64::from_be_bytes(words[word]);
            let moment = |word: usize| i64::from_be_bytes(words[word]);
            let summary = Summary {
                points: u64::from_be_bytes(words[2]),
                // No sum is NaN: where it stands there is none.
                sum: Some(number(3)).filter(|sum| !sum.is_nan()),
                min: number(4),
                max: number(5),
                first: number(6),
                last: number(7),
            };
            (moment(0), moment(1), summary)
        })
    }
}

fn micros(moments: &[Timestamp]) -> Vec<i64> {
    let of = |at: &Timestamp| at.get().timestamp_micros().saturating_sub(POSTGRES_EPOCH);
    moments.iter().map(of).collect()
}

/// Puts the spans of a KPI together: for each bucket between two edges what is in it. `None` where a
/// rollup reaches over an edge, or over the end of its span: it is of no day of these buckets' zone, and
/// what of it belongs where only its points say. Rollups do not overlap, and each point is in one, so
/// that where all fit, nothing is missing and nothing is there twice.
pub(super) fn merge(spans: &[Cells], reading: &Reading) -> Option<Vec<Option<Summary>>> {
    let edges = micros(&reading.edges);
    let (starts, ends) = (micros(&reading.stretches.days_from), micros(&reading.stretches.days_to));
    let mut cells: Vec<_> = spans.iter().flat_map(Cells::iter).collect();
    // One before a span is read once more with the span that it is in.
    cells.sort_by_key(|(moment, end, _)| (*moment, *end));
    cells.dedup_by_key(|(moment, end, _)| (*moment, *end));
    let mut merged: Vec<Option<Summary>> = vec![None; edges.len().saturating_sub(1)];
    let (mut place, mut span) = (0, 0);
    for (moment, end, summary) in cells {
        if moment < end {
            while ends.get(span).is_some_and(|end| *end <= moment) {
                span += 1;
            }
            let (Some(starts), Some(ends)) = (starts.get(span), ends.get(span)) else { continue };
            if end <= *starts {
                continue;
            }
            if moment < *starts || end > *ends {
                return None;
            }
        }
        while edges.get(place + 1).is_some_and(|end| *end <= moment) {
            place += 1;
        }
        if edges.get(place + 1).is_some_and(|edge| end > *edge) {
            return None;
        }
        let Some(bucket) = merged.get_mut(place) else { break };
        *bucket = Some(bucket.map_or(summary, |before| before.and_later(summary)));
    }
    Some(merged)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::series::Stretches;

    fn cell(seconds: (i64, i64), points: u64, figures: [f64; 5]) -> Vec<u8> {
        let micros = |second: i64| (second * 1_000_000 - POSTGRES_EPOCH).to_be_bytes();
        let mut bytes = [micros(seconds.0), micros(seconds.1)].concat();
        bytes.extend(points.to_be_bytes());
        bytes.extend(figures.iter().flat_map(|figure| figure.to_be_bytes()));
        bytes
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::new(DateTime::from_timestamp(second, 0).unwrap()).unwrap()
    }

    /// Buckets of ten seconds, of which those from 10 to 30 are read from rollups.
    fn reading() -> Reading {
        let stretches = Stretches {
            days_from: vec![at(10)],
            days_to: vec![at(30)],
            points_from: vec![at(0), at(30)],
            points_to: vec![at(10), at(40)],
        };
        Reading { edges: [0, 10, 20, 30, 40].map(at).to_vec(), starts: vec![at(0)], stretches }
    }

    fn merged(spans: &[&[u8]]) -> Option<Vec<Option<Summary>>> {
        let spans: Vec<_> = spans.iter().map(|bytes| Cells::new(bytes).unwrap()).collect();
        merge(&spans, &reading())
    }

    #[test]
    fn spans_in_any_order_are_put_together() {
        let points = [cell((1, 1), 1, [3.0; 5]), cell((30, 30), 1, [4.0; 5])].concat();
        let days = [cell((12, 14), 2, [1.0, 0.0, 1.0, 0.0, 1.0]), cell((15, 20), 1, [5.0; 5])];
        let merged = merged(&[&points, &days.concat()]).unwrap();
        let expected = [&[3.0][..], &[0.0, 1.0, 5.0], &[], &[4.0]].map(Summary::of);
        assert_eq!(merged, expected);
    }

    #[test]
    fn a_rollup_that_reaches_over_an_edge_or_out_of_its_span_does_not_fit() {
        for bounds in [(5, 11), (19, 21), (25, 31), (5, 35)] {
            assert_eq!(merged(&[&cell(bounds, 1, [1.0; 5])]), None, "{bounds:?}");
        }
        for bounds in [(10, 20), (20, 30), (15, 18)] {
            assert!(merged(&[&cell(bounds, 1, [1.0; 5])]).is_some(), "{bounds:?}");
        }
    }

    #[test]
    fn a_rollup_outside_of_the_spans_or_read_twice_is_not_counted() {
        let before = cell((2, 10), 1, [7.0; 5]);
        let within = cell((10, 20), 1, [1.0; 5]);
        let merged = merged(&[&[&before[..], &within].concat(), &within]).unwrap();
        assert_eq!(merged, [None, Summary::of(&[1.0]), None, None]);
    }

    #[test]
    fn nan_is_no_sum() {
        let huge = cell((10, 20), 1, [f64::NAN, 1e300, 1e300, 1e300, 1e300]);
        let summary = merged(&[&huge]).unwrap()[1].unwrap();
        assert_eq!((summary.sum, summary.first, summary.last), (None, 1e300, 1e300));
    }

    #[test]
    fn what_is_not_made_of_cells_is_refused() {
        let whole = cell((0, 1), 1, [1.0; 5]);
        for bytes in [&whole[..0], &whole[..63], &[&whole[..], &[0]].concat()] {
            assert!(Cells::new(bytes).is_err(), "{} bytes", bytes.len());
        }
    }
}
