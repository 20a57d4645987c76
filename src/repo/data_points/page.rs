//! A page of a range, column by column in one row: rows of their own cost as much to send and to take
//! apart as to find.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bytea, Nullable, Text, Timestamptz};

use super::rows::source_of;
use crate::id::{KpiId, WorkspaceId};
use crate::page::ListPage;
use crate::point::TimeRange;
use crate::repo::statement;
use crate::value::{POSTGRES_EPOCH, Source, Timestamp};

pub(super) struct PageOf<'a> {
    workspace: &'a WorkspaceId,
    kpi: &'a KpiId,
    from: Timestamp,
    to: Timestamp,
    after: (DateTime<Utc>, &'a str),
    limit: i64,
}

impl<'a> PageOf<'a> {
    pub(super) fn new(
        workspace: &'a WorkspaceId,
        kpi: &'a KpiId,
        range: TimeRange,
        page: ListPage<'a, DateTime<Utc>>,
    ) -> Self {
        let (from, to) = (range.from(), range.to());
        let after = match page.after() {
            Some(last) => (last.key, last.id),
            None => (from.get() - TimeDelta::microseconds(1), ""),
        };
        Self { workspace, kpi, from, to, after, limit: page.fetch() }
    }
}

statement!(PageOf: (Nullable<Bytea>, Nullable<Bytea>, Nullable<Text>), include_str!("page.sql"), |query| [
    query.workspace => Text,
    query.kpi => Text,
    &query.from => Timestamptz,
    &query.to => Timestamptz,
    &query.after.0 => Timestamptz,
    query.after.1 => Text,
    &query.limit => BigInt,
]);

/// The times, values and sources of a page, or none of a page without points.
pub(super) type Columns = (Option<Vec<u8>>, Option<Vec<u8>>, Option<String>);

/// Time, source and value of a point.
pub(super) type Point = (DateTime<Utc>, Option<Source>, f64);

/// The points of a page, in its order.
pub(super) fn unpack(columns: &Columns) -> QueryResult<Vec<Point>> {
    let (Some(times), Some(values), Some(sources)) = columns else { return Ok(Vec::new()) };
    let (times, more_times) = times.as_chunks::<8>();
    let (values, more_values) = values.as_chunks::<8>();
    let count = sources.bytes().filter(|byte| *byte == b',').count() + 1;
    let whole = more_times.is_empty() && more_values.is_empty();
    if !whole || times.len() != count || values.len() != count {
        return Err(unreadable("columns of different lengths"));
    }
    let point = |((time, value), source): ((&[u8; 8], &[u8; 8]), &str)| {
        let moment = i64::from_be_bytes(*time)
            .checked_add(POSTGRES_EPOCH)
            .and_then(DateTime::from_timestamp_micros)
            .ok_or_else(|| unreadable("a time out of range"))?;
        Ok((moment, source_of(source), f64::from_be_bytes(*value)))
    };
    times.iter().zip(values).zip(sources.split(',')).map(point).collect()
}

fn unreadable(why: &str) -> diesel::result::Error {
    diesel::result::Error::DeserializationError(why.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_put_together() {
        let times = [0_i64, -1].iter().flat_map(|time| time.to_be_bytes()).collect();
        let values = [1.5, -0.0].iter().flat_map(|value: &f64| value.to_be_bytes()).collect();
        let points = unpack(&(Some(times), Some(values), Some(",stripe".into()))).unwrap();
        let epoch: DateTime<Utc> = "2000-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(points[0], (epoch, None, 1.5));
        let source = "stripe".parse().unwrap();
        assert_eq!(points[1], (epoch - TimeDelta::microseconds(1), Some(source), -0.0));
    }

    #[test]
    fn columns_that_do_not_fit_are_refused() {
        let word = [0; 8];
        let of = |times: &[u8], values: &[u8], sources: &str| {
            unpack(&(Some(times.to_vec()), Some(values.to_vec()), Some(sources.to_owned())))
        };
        assert!(of(&word, &word, "").is_ok());
        for (times, values, sources) in [
            (&word[..7], &word[..], ""),
            (&word[..], &word[..7], ""),
            (&[0; 16][..], &word[..], ""),
            (&word[..], &word[..], ","),
            (&i64::MAX.to_be_bytes()[..], &word[..], ""),
        ] {
            assert!(of(times, values, sources).is_err(), "{times:?}, {values:?}, {sources:?}");
        }
    }
}
