//! What a bucket or a day comes to, as the server packs it: a row for each, with columns of their
//! own, costs more to send and to read than to find.

use diesel::deserialize::{FromSql, FromSqlRow};
use diesel::pg::{Pg, PgValue};
use diesel::sql_types::Bytea;

use crate::series::Summary;
use crate::value::{POSTGRES_EPOCH, Timestamp};

/// A moment and six figures, as `kpi_rollups.packed` says.
const BYTES: usize = 7 * 8;

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

    /// Each with a moment of its bucket, in microseconds from PostgreSQL's epoch.
    fn iter(&self) -> impl Iterator<Item = (i64, Summary)> {
        self.0.as_chunks::<BYTES>().0.iter().map(|cell| {
            let (words, _) = cell.as_chunks::<8>();
            let number = |word: usize| f64::from_be_bytes(words[word]);
            let summary = Summary {
                points: u64::from_be_bytes(words[1]),
                // No sum is NaN: where it stands there is none.
                sum: Some(number(2)).filter(|sum| !sum.is_nan()),
                min: number(3),
                max: number(4),
                first: number(5),
                last: number(6),
            };
            (i64::from_be_bytes(words[0]), summary)
        })
    }
}

/// Puts the spans of a KPI together: for each bucket between two edges what is in it.
pub(super) fn merge(mut spans: Vec<Cells>, edges: &[Timestamp]) -> Vec<Option<Summary>> {
    let edges: Vec<_> = edges
        .iter()
        .map(|edge| edge.get().timestamp_micros().saturating_sub(POSTGRES_EPOCH))
        .collect();
    let mut merged: Vec<Option<Summary>> = vec![None; edges.len().saturating_sub(1)];
    // Spans do not overlap, so the first moment of each puts them in order.
    spans.sort_by_key(|span| span.iter().next().map(|(moment, _)| moment));
    let mut place = 0;
    for (moment, summary) in spans.iter().flat_map(Cells::iter) {
        while edges.get(place + 1).is_some_and(|end| *end <= moment) {
            place += 1;
        }
        let Some(bucket) = merged.get_mut(place) else { break };
        *bucket = Some(bucket.map_or(summary, |before| before.and_later(summary)));
    }
    merged
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn cell(second: i64, points: u64, figures: [f64; 5]) -> Vec<u8> {
        let mut bytes = (second * 1_000_000 - POSTGRES_EPOCH).to_be_bytes().to_vec();
        bytes.extend(points.to_be_bytes());
        bytes.extend(figures.iter().flat_map(|figure| figure.to_be_bytes()));
        bytes
    }

    fn edges(seconds: &[i64]) -> Vec<Timestamp> {
        let edge = |second: &i64| DateTime::from_timestamp(*second, 0).unwrap();
        seconds.iter().map(|second| Timestamp::new(edge(second)).unwrap()).collect()
    }

    #[test]
    fn spans_in_any_order_are_put_together() {
        let early = [cell(1, 1, [3.0, 3.0, 3.0, 3.0, 3.0]), cell(20, 1, [4.0, 4.0, 4.0, 4.0, 4.0])];
        let late = cell(25, 2, [1.0, 0.0, 1.0, 0.0, 1.0]);
        let spans = vec![Cells::new(&late).unwrap(), Cells::new(&early.concat()).unwrap()];
        let merged = merge(spans, &edges(&[0, 10, 20, 30]));
        assert_eq!(merged[0], Summary::of(&[3.0]));
        assert_eq!(merged[1], None);
        assert_eq!(merged[2], Summary::of(&[4.0, 0.0, 1.0]));
    }

    #[test]
    fn nan_is_no_sum() {
        let huge = cell(0, 1, [f64::NAN, 1e300, 1e300, 1e300, 1e300]);
        let summary = merge(vec![Cells::new(&huge).unwrap()], &edges(&[0, 10]))[0].unwrap();
        assert_eq!((summary.sum, summary.first, summary.last), (None, 1e300, 1e300));
    }

    #[test]
    fn what_is_not_made_of_cells_is_refused() {
        let whole = cell(0, 1, [1.0; 5]);
        for bytes in [&whole[..0], &whole[..55], &[&whole[..], &[0]].concat()] {
            assert!(Cells::new(bytes).is_err(), "{} bytes", bytes.len());
        }
    }
}
