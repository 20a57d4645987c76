//! Grids of any range and step.

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use proptest::sample::select;
use sesari_db::Error;
use sesari_db::repo::TimeRange;
use sesari_db::series::{Grid, SeriesError, Step, Unit, Zone};
use sesari_db::value::Timestamp;

use super::{at, config, range};

fn unit() -> impl Strategy<Value = Unit> {
    select(&[Unit::Hour, Unit::Day, Unit::Week, Unit::Month, Unit::Quarter, Unit::Year][..])
}

fn zone() -> impl Strategy<Value = Zone> {
    prop_oneof![Just(Zone::UTC), select(Zone::all().collect::<Vec<_>>())]
}

fn moment(from: &'static str, to: &'static str) -> impl Strategy<Value = Timestamp> {
    let micros = |text| at(text).get().timestamp_micros();
    (micros(from)..=micros(to)).prop_map(|micros| {
        Timestamp::new(DateTime::from_timestamp_micros(micros).unwrap()).unwrap()
    })
}

fn any_moment() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        4 => moment("1970-01-01T00:00:00Z", "2040-01-01T00:00:00Z"),
        1 => moment("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"),
        1 => select(vec![at("0001-01-01T00:00:00Z"), at("9999-12-31T23:59:59.999999Z")]),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let micros = prop_oneof![1_i64..10_000_000, 1_i64..100_000_000_000_000, Just(i64::MAX)];
    prop_oneof![
        (micros, any_moment()).prop_map(|(micros, origin)| {
            Step::fixed(TimeDelta::microseconds(micros), origin).unwrap()
        }),
        (unit(), zone()).prop_map(|(unit, zone)| Step::Calendar(unit, zone)),
    ]
}

prop_compose! {
    fn any_range()(
        from in any_moment(),
        length in prop_oneof![Just(0), 0_i64..1_000_000_000_000, 0..200_000_000_000_000_000_i64],
        back in any::<bool>(),
    ) -> TimeRange {
        let length = TimeDelta::microseconds(if back { -length } else { length });
        let other = Timestamp::new(from.get() + length).unwrap_or(from);
        TimeRange::new(from.min(other), from.max(other)).unwrap()
    }
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn a_grid_covers_its_range_and_nothing_else(range in any_range(), step in step()) {
        let Ok(grid) = Grid::new(range, step) else { return Ok(()) };
        prop_assert!(grid.edges().is_sorted_by(|a, b| a < b));
        prop_assert_eq!(grid.is_empty(), range.from() == range.to());
        prop_assert!(grid.len() <= Grid::MAX_BUCKETS);
        if let (Some(first), Some(last)) = (grid.edges().first(), grid.edges().last()) {
            prop_assert_eq!((*first, *last), (range.from(), range.to()));
        }
    }

    /// Cutting a grid's range elsewhere moves no edge that is within both.
    #[test]
    fn edges_do_not_depend_on_the_range(range in any_range(), step in step(), part in 0.0..1.0) {
        let Ok(grid) = Grid::new(range, step) else { return Ok(()) };
        let length = (range.to().get() - range.from().get()).num_microseconds().unwrap();
        #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
        let later = TimeDelta::microseconds((length as f64 * part) as i64);
        let from = Timestamp::new(range.from().get() + later).unwrap();
        let rest = Grid::new(TimeRange::new(from, range.to()).unwrap(), step).unwrap();
        let within: Vec<_> = grid.edges().iter().filter(|edge| **edge > from).collect();
        prop_assert_eq!(rest.edges().iter().skip(1).collect::<Vec<_>>(), within);
    }

    #[test]
    fn a_whole_grid_begins_and_ends_with_a_step(range in any_range(), step in step()) {
        let (Ok(grid), Ok(whole)) = (Grid::new(range, step), Grid::whole(range, step)) else {
            return Ok(());
        };
        if grid.is_empty() {
            prop_assert!(whole.is_empty());
            return Ok(());
        }
        prop_assert_eq!(whole.len(), grid.len());
        let inner = |grid: &Grid| grid.edges()[1..grid.len()].to_vec();
        prop_assert_eq!(inner(&whole), inner(&grid));
        let (outer, given) = (whole.range(), grid.range());
        prop_assert!(outer.from() <= given.from() && outer.to() >= given.to());
        prop_assert_eq!(Grid::whole(outer, step), Ok(whole));
    }

    #[test]
    fn the_period_before_ends_before_and_is_as_long(range in any_range(), step in step()) {
        let Ok(grid) = Grid::new(range, step) else { return Ok(()) };
        let Ok(before) = grid.before() else { return Ok(()) };
        prop_assert!(before.range().to() <= grid.range().from());
        if let Step::Fixed(_) | Step::Calendar(Unit::Hour, _) = step {
            let length = |grid: &Grid| grid.range().to().get() - grid.range().from().get();
            prop_assert_eq!(length(&before), length(&grid));
        }
        if let Step::Fixed(_) = step {
            prop_assert_eq!(before.len(), grid.len());
        }
    }
}

#[test]
fn this_month_until_now_is_compared_with_the_last_until_then() {
    let zone = "Europe/Berlin".parse().unwrap();
    let november = range("2026-10-31T23:00:00Z", "2026-11-24T09:30:00Z");
    let by_month = Grid::new(november, Step::month(zone)).unwrap().before().unwrap();
    assert_eq!(by_month.range(), range("2026-09-30T22:00:00Z", "2026-10-24T08:30:00Z"));
    let by_day = Grid::new(november, Step::day(zone)).unwrap();
    assert_eq!((by_day.len(), by_day.before().unwrap().len()), (24, 24));
    let march = Grid::new(range("2026-02-28T23:00:00Z", "2026-03-31T10:00:00Z"), Step::month(zone));
    // February has no 31st.
    assert_eq!(march.unwrap().before().unwrap().range().to(), at("2026-02-28T11:00:00Z"));
    let hour = Grid::new(range("2026-01-01T00:30:00Z", "2026-01-01T01:30:00Z"), Step::hour(zone));
    assert_eq!(
        hour.unwrap().before().unwrap().range(),
        range("2025-12-31T23:30:00Z", "2026-01-01T00:30:00Z")
    );
}

#[test]
fn a_million_buckets_are_refused_and_ten_thousand_are_not() {
    let second = Step::fixed(TimeDelta::seconds(1), at("2026-01-01T00:00:00Z")).unwrap();
    let from = at("2026-01-01T00:00:00Z");
    let of = |seconds, step| {
        let to = Timestamp::new(from.get() + TimeDelta::seconds(seconds)).unwrap();
        Grid::new(TimeRange::new(from, to).unwrap(), step)
    };
    assert_eq!(of(10_000, second).unwrap().len(), 10_000);
    assert_eq!(of(10_001, second), Err(SeriesError::TooManyBuckets));
    assert_eq!(of(1_000_000, second), Err(SeriesError::TooManyBuckets));
    let hour = Step::hour("Asia/Kolkata".parse().unwrap());
    assert_eq!(of(3600 * 1_000_000, hour), Err(SeriesError::TooManyBuckets));
    let all = range("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z");
    let micro = Step::fixed(TimeDelta::microseconds(1), from).unwrap();
    assert_eq!(Grid::new(all, micro), Err(SeriesError::TooManyBuckets));
    assert_eq!(Grid::whole(all, micro), Err(SeriesError::TooManyBuckets));
    let error = Error::from(SeriesError::TooManyBuckets);
    assert_eq!(error.to_string(), "invalid grid: expected at most 10000 buckets");
}

#[test]
fn the_ends_of_time_are_grids_like_any_other() {
    let all = range("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z");
    for zone in ["UTC", "America/Juneau"] {
        let grid = Grid::whole(all, Step::year(zone.parse().unwrap())).unwrap();
        assert_eq!(grid.len(), 9_999, "{zone}");
        assert_eq!(grid.before(), Err(SeriesError::OutOfRange));
    }
    // Its clocks show the years 0 and 10000 as well.
    let manila = Step::year("Asia/Manila".parse().unwrap());
    assert_eq!(Grid::whole(all, manila), Err(SeriesError::TooManyBuckets));
    let huge = Step::fixed(TimeDelta::microseconds(i64::MAX), at("2026-01-01T00:00:00Z")).unwrap();
    assert_eq!(Grid::new(all, huge).unwrap().len(), 2);
    assert_eq!(Grid::whole(all, huge).unwrap().range(), all);
    assert_eq!(Grid::new(all, huge).unwrap().before(), Err(SeriesError::OutOfRange));
}

#[test]
fn a_width_is_whole_microseconds_above_0() {
    let from = at("2026-01-01T00:00:00Z");
    for wrong in [
        TimeDelta::zero(),
        TimeDelta::seconds(-1),
        TimeDelta::nanoseconds(1_001),
        TimeDelta::MIN,
        TimeDelta::MAX,
    ] {
        assert_eq!(Step::fixed(wrong, from), Err(SeriesError::Width), "{wrong:?}");
    }
    assert!(Step::fixed(TimeDelta::microseconds(1), from).is_ok());
}

#[test]
fn empty_and_reversed_ranges() {
    let moment = at("2026-01-01T00:30:00Z");
    let empty = TimeRange::new(moment, moment).unwrap();
    for step in [Step::day(Zone::UTC), Step::hour(Zone::UTC)] {
        for grid in [Grid::new(empty, step).unwrap(), Grid::whole(empty, step).unwrap()] {
            assert!(grid.is_empty() && grid.edges().is_empty());
            assert!(grid.before().unwrap().is_empty());
        }
    }
    assert!(TimeRange::new(at("2026-01-02T00:00:00Z"), moment).is_err());
}

#[test]
fn steps_survive_serialization() {
    let from: DateTime<Utc> = at("2026-01-01T00:00:00Z").get();
    for step in [
        Step::week("Europe/Berlin".parse().unwrap()),
        Step::fixed(TimeDelta::minutes(15), Timestamp::new(from).unwrap()).unwrap(),
    ] {
        let json = serde_json::to_string(&step).unwrap();
        assert_eq!(serde_json::from_str::<Step>(&json).unwrap(), step);
    }
    let wrong = r#"{"fixed":[0,"2026-01-01T00:00:00Z"]}"#;
    assert!(serde_json::from_str::<Step>(wrong).is_err());
}
