//! Filling, summaries, samples for a chart, statistics and changes.

use chrono::{DateTime, TimeDelta};
use proptest::prelude::*;
use proptest::sample::select;
use sesari_db::progress::Excluded;
use sesari_db::repo::TimeRange;
use sesari_db::series::{
    Aggregate, Bucket, Change, Fill, GoalLink, Sample, Series, SeriesError, Statistics, Summary,
    downsample, goal_series,
};
use sesari_db::value::Timestamp;

use super::config;

/// Any finite number, with the extremes among them.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-20_i32..=20).prop_map(f64::from),
        3 => -1e6..1e6,
        1 => select(vec![f64::MAX, f64::MIN, f64::MIN_POSITIVE, f64::from_bits(1), 0.0, -0.0, 1.7e308]),
    ]
}

fn stamp(hour: usize) -> Timestamp {
    let hours = TimeDelta::hours(i64::try_from(hour).unwrap());
    Timestamp::new(DateTime::UNIX_EPOCH + hours).unwrap()
}

/// Hourly buckets of one value each, or none.
fn series(values: &[Option<f64>]) -> Series {
    let bucket = |(hour, value): (usize, &Option<f64>)| Bucket {
        range: TimeRange::new(stamp(hour), stamp(hour + 1)).unwrap(),
        summary: value.and_then(|value| Summary::of(&[value])),
    };
    Series {
        kpi_id: "kpi".parse().unwrap(),
        before: None,
        buckets: values.iter().enumerate().map(bucket).collect(),
    }
}

fn samples(values: &[f64], pause: &[i64]) -> Vec<Sample> {
    let mut at = DateTime::UNIX_EPOCH;
    values
        .iter()
        .zip(pause)
        .map(|(value, pause)| {
            at += TimeDelta::seconds(*pause);
            Sample { at, value: *value }
        })
        .collect()
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn filling_changes_no_value_that_is_there(
        values in prop::collection::vec(prop::option::of(number()), 0..40),
        how in select(vec![Fill::Null, Fill::Previous, Fill::Linear, Fill::Zero]),
    ) {
        let filled = series(&values).values(Aggregate::Max, how);
        prop_assert_eq!(filled.len(), values.len());
        let known: Vec<_> = values.iter().flatten().copied().collect();
        for (i, (filled, value)) in filled.iter().zip(&values).enumerate() {
            let before = values[..i].iter().rev().flatten().next().copied();
            let after = values[i..].iter().flatten().next().copied();
            match (value, how) {
                (Some(value), _) => prop_assert_eq!(filled, &Some(*value)),
                (None, Fill::Null) => prop_assert_eq!(filled, &None),
                (None, Fill::Zero) => prop_assert_eq!(filled, &Some(0.0)),
                (None, Fill::Previous) => prop_assert_eq!(filled, &before),
                (None, Fill::Linear) => {
                    let Some((low, high)) = before.zip(after) else {
                        prop_assert_eq!(filled, &None);
                        continue;
                    };
                    let filled = filled.unwrap();
                    let (least, most) = (low.min(high), low.max(high));
                    prop_assert!((least..=most).contains(&filled));
                }
            }
        }
        let count = series(&values).values(Aggregate::Count, how);
        prop_assert_eq!(count.iter().flatten().sum::<f64>(), f64::from(u32::try_from(known.len()).unwrap()));
    }

    #[test]
    fn summaries_of_parts_add_up(values in prop::collection::vec(-1000_i32..1000, 1..50), cut in 0.0..1.0) {
        let values: Vec<_> = values.into_iter().map(f64::from).collect();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let cut = (values.len() as f64 * cut) as usize;
        let (left, right) = (Summary::of(&values[..cut]), Summary::of(&values[cut..]));
        let together = match (left, right) {
            (Some(left), Some(right)) => left.and_later(right),
            (left, right) => left.or(right).unwrap(),
        };
        let all = Summary::of(&values).unwrap();
        prop_assert_eq!(together, all);
        prop_assert_eq!(all.get(Aggregate::First), values.first().copied());
        prop_assert_eq!(all.get(Aggregate::Last), values.last().copied());
        prop_assert!((all.min..=all.max).contains(&all.avg().unwrap()));
    }

    #[test]
    fn downsampling_keeps_ends_and_order(
        points in prop::collection::vec((number(), 0_i64..100), 0..300),
        n in 0_usize..320,
    ) {
        let (values, pause): (Vec<_>, Vec<_>) = points.into_iter().unzip();
        let all = samples(&values, &pause);
        let some = downsample(&all, n).unwrap();
        prop_assert_eq!(some.len(), n.min(all.len()));
        // A subsequence.
        let mut rest = all.iter();
        prop_assert!(some.iter().all(|sample| rest.any(|other| other == sample)));
        if n >= 2 {
            prop_assert_eq!((some.first(), some.last()), (all.first(), all.last()));
        }
    }

    #[test]
    fn every_figure_of_a_window_is_finite(
        values in prop::collection::vec(number(), 0..60),
        percentiles in prop::collection::vec(0.0..=1.0, 0..5),
    ) {
        let Some(figures) = Statistics::of(&values, &percentiles).unwrap() else {
            prop_assert!(values.is_empty());
            return Ok(());
        };
        prop_assert_eq!(figures.points, values.len() as u64);
        prop_assert!((figures.min..=figures.max).contains(&figures.mean));
        prop_assert_eq!(figures.standard_deviation.is_none(), values.len() == 1);
        prop_assert!(figures.standard_deviation.is_none_or(|deviation| deviation.is_finite() && deviation >= 0.0));
        for percentile in &figures.percentiles {
            let slack = percentile.abs() * 1e-15;
            prop_assert!(percentile.is_finite());
            prop_assert!((figures.min - slack..=figures.max + slack).contains(percentile));
        }
        let change = figures.change();
        prop_assert!(change.absolute.is_finite());
        prop_assert!(change.relative.is_none_or(f64::is_finite));
    }

    /// Against the textbook's formulas, on numbers that they can do.
    #[test]
    fn statistics_are_the_textbooks(values in prop::collection::vec(-1000_i32..1000, 2..60), part in 0_u8..=100) {
        let values: Vec<_> = values.into_iter().map(f64::from).collect();
        let part = f64::from(part) / 100.0;
        let figures = Statistics::of(&values, &[part]).unwrap().unwrap();
        let count = f64::from(u32::try_from(values.len()).unwrap());
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
        prop_assert!((figures.mean - mean).abs() < 1e-9);
        prop_assert!((figures.standard_deviation.unwrap() - variance.sqrt()).abs() < 1e-9);
        // As many values are at or below it as the fraction says, but for the two it lies between.
        let below = f64::from(u32::try_from(values.iter().filter(|value| **value < figures.percentiles[0]).count()).unwrap());
        let upto = f64::from(u32::try_from(values.iter().filter(|value| **value <= figures.percentiles[0]).count()).unwrap());
        let place = part * (count - 1.0);
        prop_assert!(below <= place.ceil() && upto >= place.floor() + 1.0 - 1e-9 - place.fract().ceil());
    }

    #[test]
    fn a_change_is_what_it_says(from in number(), to in number()) {
        let change = Change::between(from, to);
        prop_assert_eq!(change.relative.is_none(), from == 0.0);
        prop_assert!(change.absolute.is_finite() && change.relative.is_none_or(f64::is_finite));
        prop_assert_eq!(change.absolute > 0.0, to > from);
        prop_assert!(change.relative.is_none_or(|relative| relative == 0.0 || (relative > 0.0) == (to > from)));
    }
}

#[test]
fn changes_by_hand() {
    let of = |from, to| {
        let change = Change::between(from, to);
        (change.absolute, change.relative)
    };
    assert_eq!(of(50.0, 75.0), (25.0, Some(0.5)));
    assert_eq!(of(-50.0, -25.0), (25.0, Some(0.5)));
    assert_eq!(of(0.0, 5.0), (5.0, None));
    assert_eq!(of(-0.0, 0.0), (0.0, None));
    assert_eq!(of(f64::MIN, f64::MAX), (f64::MAX, Some(2.0)));
    assert_eq!(of(f64::from_bits(1), f64::MAX), (f64::MAX, Some(f64::MAX)));
}

#[test]
fn huge_values_have_no_sum() {
    for huge in [1e290, -1e290, f64::MAX] {
        let all = Summary::of(&[huge, 1.0, huge]).unwrap();
        assert_eq!((all.sum, all.avg(), all.get(Aggregate::Sum)), (None, None, None));
        assert_eq!((all.points, all.last), (3, huge));
    }
    assert_eq!(Summary::of(&[9e289, 9e289]).unwrap().sum, Some(1.8e290));
}

#[test]
fn gaps_by_hand() {
    let gap = series(&[None, Some(1.0), None, None, Some(4.0), None]);
    let values = |how| gap.values(Aggregate::Sum, how);
    assert_eq!(values(Fill::Linear), [None, Some(1.0), Some(2.0), Some(3.0), Some(4.0), None]);
    assert_eq!(
        values(Fill::Previous),
        [None, Some(1.0), Some(1.0), Some(1.0), Some(4.0), Some(4.0)]
    );
    assert_eq!(values(Fill::Null), [None, Some(1.0), None, None, Some(4.0), None]);
    assert_eq!(gap.samples(Aggregate::Sum).len(), 2);
    assert_eq!(gap.total().map(|all| (all.points, all.first, all.last)), Some((2, 1.0, 4.0)));
    assert_eq!(series(&[None, None]).values(Aggregate::Avg, Fill::Linear), [None, None]);
}

/// A bucket that has points and no sum is no gap, and nothing beside it is made up from it.
#[test]
fn a_bucket_with_points_is_never_filled() {
    let huge = series(&[Some(1.0), None, Some(1e290), None, Some(4.0)]);
    let values = |aggregate, how| huge.values(aggregate, how);
    let (low, high) = (Some(1.0), Some(4.0));
    assert_eq!(values(Aggregate::Sum, Fill::Zero), [low, Some(0.0), None, Some(0.0), high]);
    assert_eq!(values(Aggregate::Avg, Fill::Previous), [low, low, None, None, high]);
    assert_eq!(values(Aggregate::Sum, Fill::Linear), [low, None, None, None, high]);
    assert_eq!(values(Aggregate::Last, Fill::Zero), [low, Some(0.0), Some(1e290), Some(0.0), high]);
}

#[test]
fn buckets_are_written_as_csv_with_blanks_where_there_is_nothing() {
    let mut csv = Vec::new();
    series(&[Some(1.5), None, Some(1e290)]).write_csv(&mut csv).unwrap();
    let csv = String::from_utf8(csv).unwrap();
    let figures: Vec<_> =
        csv.lines().map(|line| line.splitn(3, ',').nth(2).unwrap_or_default()).collect();
    assert_eq!(
        figures,
        [
            "points,sum,mean,min,max,first,last",
            "1,1.5,1.5,1.5,1.5,1.5,1.5",
            "0,,,,,,",
            "1,,,1e290,1e290,1e290,1e290",
        ]
    );
}

/// By the time between them, not by their number.
#[test]
fn a_line_follows_the_time_between_buckets() {
    let mut uneven = series(&[Some(0.0), None, Some(10.0)]);
    let range = |from, to| TimeRange::new(stamp(from), stamp(to)).unwrap();
    uneven.buckets[0].range = range(0, 9);
    uneven.buckets[1].range = range(9, 10);
    uneven.buckets[2].range = range(10, 11);
    assert_eq!(uneven.values(Aggregate::Avg, Fill::Linear), [Some(0.0), Some(9.0), Some(10.0)]);
}

/// What the method's description asks for, worked out by hand: of the groups (1, 2) and (3, 4) the
/// peaks.
#[test]
fn the_largest_triangles_by_hand() {
    let all = samples(&[0.0, 0.0, 5.0, -4.0, 0.0, 1.0], &[1; 6]);
    let some = downsample(&all, 4).unwrap();
    assert_eq!(some, [all[0], all[2], all[3], all[5]]);
    assert_eq!(downsample(&all, 2).unwrap(), [all[0], all[5]]);
    assert_eq!(downsample(&all, 1).unwrap(), [all[5]]);
    assert!(downsample(&all, 0).unwrap().is_empty());
    assert!(downsample(&[], 5).unwrap().is_empty());
    let flat = samples(&[3.0; 100], &[0; 100]);
    assert_eq!(downsample(&flat, 10).unwrap().len(), 10);
}

#[test]
fn samples_out_of_order_or_not_finite_are_refused() {
    let mut all = samples(&[1.0, 2.0, 3.0], &[1, 1, 1]);
    all.swap(0, 2);
    assert_eq!(downsample(&all, 2), Err(SeriesError::Unsorted));
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let all = samples(&[1.0, bad, 3.0], &[1, 1, 1]);
        assert_eq!(downsample(&all, 9), Err(SeriesError::NotFinite));
        assert_eq!(Statistics::of(&[bad], &[]), Err(SeriesError::NotFinite));
        assert_eq!(Statistics::of(&[1.0], &[bad]), Err(SeriesError::Percentile));
    }
    for bad in [-0.1, 1.1] {
        assert_eq!(Statistics::of(&[1.0], &[bad]), Err(SeriesError::Percentile));
    }
}

#[test]
fn the_value_before_the_range_goes_on_into_it() {
    let series = Series { before: Some(7.0), ..series(&[None, Some(5.0), None]) };
    for aggregate in [Aggregate::Last, Aggregate::First, Aggregate::Avg, Aggregate::Min] {
        let filled = series.values(aggregate, Fill::Previous);
        assert_eq!(filled, [Some(7.0), Some(5.0), Some(5.0)], "{aggregate:?}");
    }
    let sums = series.values(Aggregate::Sum, Fill::Previous);
    assert_eq!(sums, [None, Some(5.0), Some(5.0)]);
    let counts = series.values(Aggregate::Count, Fill::Previous);
    assert_eq!(counts, [Some(0.0), Some(1.0), Some(0.0)]);
    for how in [Fill::Null, Fill::Linear, Fill::Zero] {
        assert_ne!(series.values(Aggregate::Last, how)[0], Some(7.0), "{how:?}");
    }
}

#[test]
fn a_goal_carries_values_forward() {
    let link = GoalLink {
        series: Series { before: Some(2.0), ..series(&[None, Some(5.0), None, Some(20.0)]) },
        target: Some(10.0),
        baseline: None,
        weight: 1.0,
    };
    let other = GoalLink { series: series(&[None; 4]), ..link.clone() };
    let ends: Vec<_> = (1..=4).map(stamp).collect();
    let moments = goal_series(&ends, &[link.clone(), other]).unwrap();
    let progress: Vec<_> = moments.iter().map(|moment| moment.progress.progress()).collect();
    assert_eq!(progress, [Some(0.2), Some(0.5), Some(0.5), Some(1.0)]);
    assert_eq!(moments[3].progress.kpis[1].excluded(), Some(Excluded::NotMeasured));
    // Nothing is known before the first value.
    let late = GoalLink { series: Series { before: None, ..link.series.clone() }, ..link.clone() };
    let moments = goal_series(&ends, &[late]).unwrap();
    assert_eq!(moments[0].progress.progress(), None);
    assert_eq!(moments[1].progress.progress(), Some(0.5));
    assert_eq!(moments[3].at, stamp(4));
    assert_eq!(goal_series(&ends, &[]).unwrap()[0].progress.progress(), None);
    assert!(goal_series(&ends, &[GoalLink { weight: -1.0, ..link }]).is_err());
}
