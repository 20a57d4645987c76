//! Which parts of a range are read from the rollups, and which point by point.

use chrono::TimeDelta;

use crate::value::Timestamp;
use crate::value::zone::Zone;

/// Spans to read, each in order and apart from each other.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Stretches {
    /// Where each span of points starts.
    pub(crate) points_from: Vec<Timestamp>,
    /// Where each ends.
    pub(crate) points_to: Vec<Timestamp>,
    /// Where each span of whole days starts.
    pub(crate) days_from: Vec<Timestamp>,
    /// Where each ends.
    pub(crate) days_to: Vec<Timestamp>,
}

impl Stretches {
    /// The whole days that each bucket has in a zone from the rollups, the rest point by point.
    pub(crate) fn of(
        buckets: impl IntoIterator<Item = (Timestamp, Timestamp)>,
        zone: Zone,
    ) -> Self {
        let mut stretches = Self::default();
        for (from, to) in buckets {
            match whole_days(from, to, zone) {
                Some((first, end)) => {
                    stretches.push_points(from, first);
                    push(&mut stretches.days_from, &mut stretches.days_to, first, end);
                    stretches.push_points(end, to);
                }
                None => stretches.push_points(from, to),
            }
        }
        stretches
    }

    /// Everything point by point.
    pub(crate) fn of_points(buckets: impl IntoIterator<Item = (Timestamp, Timestamp)>) -> Self {
        let mut stretches = Self::default();
        for (from, to) in buckets {
            stretches.push_points(from, to);
        }
        stretches
    }

    fn push_points(&mut self, from: Timestamp, to: Timestamp) {
        push(&mut self.points_from, &mut self.points_to, from, to);
    }
}

/// Adds a span, as part of the last one if they touch.
fn push(starts: &mut Vec<Timestamp>, ends: &mut Vec<Timestamp>, from: Timestamp, to: Timestamp) {
    if from >= to {
        return;
    }
    match ends.last_mut() {
        Some(end) if *end == from => *end = to,
        _ => {
            starts.push(from);
            ends.push(to);
        }
    }
}

/// Buckets that are shorter are not looked at: hardly a day is.
const SHORT: TimeDelta = TimeDelta::hours(20);

/// From the first start of a day within a bucket to the last, if they are not the same.
fn whole_days(from: Timestamp, to: Timestamp, zone: Zone) -> Option<(Timestamp, Timestamp)> {
    if to.get() - from.get() < SHORT {
        return None;
    }
    let (first, end) = (zone.day_from(from.get())?, zone.day_until(to.get()));
    (first < end).then_some((Timestamp::new(first).ok()?, Timestamp::new(end).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::new(format!("2026-03-{text}:00Z").parse().unwrap()).unwrap()
    }

    #[test]
    fn whole_days_come_from_the_rollups_and_their_edges_from_the_points() {
        let edges = ["01T00:00", "02T00:00", "04T22:00", "05T22:00", "08T00:00", "08T06:00"];
        let edges = edges.map(at);
        let buckets = || edges.windows(2).map(|pair| (pair[0], pair[1]));
        assert_eq!(
            Stretches::of(buckets(), Zone::UTC),
            Stretches {
                days_from: vec![at("01T00:00"), at("06T00:00")],
                days_to: vec![at("04T00:00"), at("08T00:00")],
                points_from: vec![at("04T00:00"), at("08T00:00")],
                points_to: vec![at("06T00:00"), at("08T06:00")],
            }
        );
        let points = Stretches::of_points(buckets());
        assert_eq!((points.points_from, points.points_to), (vec![edges[0]], vec![edges[5]]));
        assert!(points.days_from.is_empty());
    }

    /// Between two buckets that do not touch nothing is read.
    #[test]
    fn a_gap_between_buckets_stays_one() {
        let stretches = Stretches::of_points([
            (at("01T00:00"), at("01T05:00")),
            (at("01T06:00"), at("01T07:00")),
        ]);
        assert_eq!(stretches.points_to, [at("01T05:00"), at("01T07:00")]);
        assert_eq!(Stretches::of([], Zone::UTC), Stretches::default());
    }
}
