//! Value to date against target to date, for any finite input, and periods around changes of clocks.
#![allow(clippy::unwrap_used, reason = "a helper that cannot do its work fails the test")]
#![allow(clippy::float_cmp, reason = "where figures are compared, they must be equal to the bit")]

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use sesari_db::progress::{
    Direction, PaceInput, PaceStatus, Period, Thresholds, goal_progress, pace,
};
use sesari_db::series::{Grid, Step, Unit, Zone};
use sesari_db::value::{Aggregation, Timestamp};

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-20_i32..=20).prop_map(f64::from),
        3 => -1e6..1e6,
        1 => prop::num::f64::NORMAL,
        1 => prop::sample::select(&[f64::MAX, f64::MIN, 1e300, -1e300][..]),
    ]
}

fn aggregation() -> impl Strategy<Value = Aggregation> {
    prop::sample::select(Aggregation::ALL)
}

prop_compose! {
    fn input()(
        aggregation in aggregation(), actual in number(), target in number(),
        baseline in prop::option::of(number()), elapsed in prop_oneof![0.0..=1.0, Just(0.0), Just(1.0)],
    ) -> PaceInput {
        PaceInput { aggregation, actual: Some(actual), target: Some(target), baseline, elapsed }
    }
}

fn rank(status: PaceStatus) -> u8 {
    match status {
        PaceStatus::OffTrack => 0,
        PaceStatus::AtRisk => 1,
        PaceStatus::OnTrack => 2,
        other => panic!("{other:?} of a KPI that has all"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_figure_is_finite_and_what_is_expected_lies_on_the_way(input in input()) {
        let pace = pace(&input, Thresholds::default()).unwrap();
        let (expected, target) = (pace.expected.unwrap(), input.target.unwrap());
        prop_assert!(expected.is_finite() && pace.ratio.is_none_or(f64::is_finite));
        let start = match (&input.aggregation, input.baseline) {
            (Aggregation::Sum, _) => 0.0,
            (Aggregation::Last, Some(baseline)) => baseline,
            _ => target,
        };
        prop_assert!(start.min(target) <= expected && expected <= start.max(target));
        prop_assert_eq!(pace.direction == Some(Direction::Down), target < input.baseline.unwrap_or(0.0));
    }

    #[test]
    fn better_never_counts_as_worse(input in input(), other in number()) {
        let better = |a: f64, b: f64, down| if down { a.min(b) } else { a.max(b) };
        let of = |actual| pace(&PaceInput { actual: Some(actual), ..input.clone() }, Thresholds::default()).unwrap();
        let actual = input.actual.unwrap();
        let down = of(actual).direction == Some(Direction::Down);
        let best = better(actual, other, down);
        let worst = if best == actual { other } else { actual };
        prop_assert!(of(best).ratio >= of(worst).ratio);
        prop_assert!(rank(of(best).status) >= rank(of(worst).status));
    }

    /// At the end of a period what is expected is the target, to the bit: with thresholds of 1 on track is
    /// met, but for what is too small beside the way for an `f64` to show.
    #[test]
    fn at_the_end_of_a_period_it_is_the_plain_comparison(input in input()) {
        let input = PaceInput { elapsed: 1.0, ..input };
        let pace = pace(&input, Thresholds::new(1.0, 0.0).unwrap()).unwrap();
        let (actual, target) = (input.actual.unwrap(), input.target.unwrap());
        prop_assert_eq!(pace.expected, Some(target));
        let met = if pace.direction == Some(Direction::Down) { actual <= target } else { actual >= target };
        if met {
            prop_assert_eq!(pace.status, PaceStatus::OnTrack);
        } else if pace.status == PaceStatus::OnTrack {
            let start = if input.aggregation == Aggregation::Sum { 0.0 } else { input.baseline.unwrap_or(0.0) };
            let missing = (target / 2.0 - actual / 2.0).abs() / (target / 2.0 - start / 2.0).abs();
            prop_assert!(missing <= f64::EPSILON, "{} is missing", missing);
        }
    }

    /// The KPI's unit does not matter: dollars or thousands of them, here by powers of two, which are exact.
    #[test]
    fn the_unit_of_the_values_cancels(
        actual in -1000_i32..1000, target in -1000_i32..1000, baseline in prop::option::of(-1000_i32..1000),
        aggregation in aggregation(), elapsed in 0.0..=1.0, power in -100_i32..100,
    ) {
        let of = |scale: f64| {
            let number = |n: i32| f64::from(n) * scale;
            let input = PaceInput {
                aggregation: aggregation.clone(), actual: Some(number(actual)), target: Some(number(target)),
                baseline: baseline.map(number), elapsed,
            };
            let pace = pace(&input, Thresholds::default()).unwrap();
            (pace.ratio, pace.status)
        };
        prop_assert_eq!(of(1.0), of(2_f64.powi(power)));
    }

    /// A level that starts from a baseline is, at the end, where `goal_progress` says.
    #[test]
    fn the_ratio_of_a_level_at_the_end_is_its_progress(
        actual in -1000_i32..1000, target in -1000_i32..1000, baseline in prop::option::of(-1000_i32..1000),
    ) {
        let [actual, target] = [actual, target].map(f64::from);
        let baseline = baseline.map(f64::from);
        let input = PaceInput {
            aggregation: Aggregation::Last, actual: Some(actual), target: Some(target), baseline, elapsed: 1.0,
        };
        let kpi = sesari_db::progress::KpiProgressInput {
            kpi_id: "kpi".parse().unwrap(), current: Some(actual), target: Some(target), baseline, weight: 1.0,
        };
        let raw = goal_progress(&[kpi]).unwrap().overall.unwrap().raw;
        let ratio = pace(&input, Thresholds::default()).unwrap().ratio;
        prop_assert!(ratio.is_none_or(|ratio| (ratio - raw).abs() <= 1e-9 * raw.abs().max(1.0)));
    }

    /// In any zone: a period is a whole bucket of a grid, and time in it passes from 0 to 1.
    #[test]
    fn a_period_passes_from_0_to_1(
        zone in prop::sample::select(Zone::all().collect::<Vec<_>>()), day in 0_i64..80_000,
        unit in prop::sample::select(&[Unit::Month, Unit::Quarter, Unit::Year][..]),
        minutes in prop::collection::vec(0_i64..527_040, 2..20),
    ) {
        let at = at("1900-01-05T00:00:00Z", day * 24 * 60);
        let period = Period::of(unit, zone, at).unwrap();
        prop_assert!(period.from() <= at && at < period.to());
        let range = sesari_db::repo::TimeRange::new(at, Timestamp::new(at.get() + TimeDelta::milliseconds(1)).unwrap());
        let grid = Grid::whole(range.unwrap(), Step::Calendar(unit, zone)).unwrap();
        prop_assert_eq!(grid.edges(), &[period.from(), period.to()]);
        prop_assert_eq!((period.elapsed(period.from()), period.elapsed(period.to())), (0.0, 1.0));
        let mut moments: Vec<_> = minutes.iter().map(|n| period.from().get() + TimeDelta::minutes(*n)).collect();
        moments.sort();
        let elapsed: Vec<_> = moments.iter().map(|at| period.elapsed(Timestamp::new(*at).unwrap())).collect();
        prop_assert!(elapsed.is_sorted() && elapsed.iter().all(|part| (0.0..=1.0).contains(part)));
    }
}

fn at(text: &str, minutes: i64) -> Timestamp {
    let moment: DateTime<Utc> = text.parse().unwrap();
    Timestamp::new(moment + TimeDelta::minutes(minutes)).unwrap()
}

/// Clocks go forward on 29 March and back on 25 October 2026: each midnight is a whole number of days in.
#[test]
fn days_count_the_same_over_both_changes_of_the_clock() {
    let berlin: Zone = "Europe/Berlin".parse().unwrap();
    for (first, days) in [("2026-02-28T23:00:00Z", 31), ("2026-09-30T22:00:00Z", 31)] {
        let month = Period::of(Unit::Month, berlin, at(first, 60)).unwrap();
        assert_eq!(month.from(), at(first, 0));
        let range = sesari_db::repo::TimeRange::new(month.from(), month.to()).unwrap();
        let grid = Grid::new(range, Step::day(berlin)).unwrap();
        assert_eq!(grid.len(), days);
        let hours: Vec<_> =
            grid.edges().windows(2).map(|d| (d[1].get() - d[0].get()).num_hours()).collect();
        assert!(hours.contains(&23) || hours.contains(&25), "{hours:?}");
        for (n, midnight) in grid.edges().iter().enumerate() {
            let expected = f64::from(u32::try_from(n).unwrap()) / 31.0;
            assert_eq!(month.elapsed(*midnight), expected, "{midnight:?}");
        }
    }
    // Noon by the clock of the day of 23 hours is 11 hours in.
    let march = Period::of(Unit::Month, berlin, at("2026-03-29T10:00:00Z", 0)).unwrap();
    assert_eq!(march.elapsed(at("2026-03-29T10:00:00Z", 0)), (28.0 + 11.0 / 23.0) / 31.0);
    // A date that Samoa skipped is no day of its December.
    let december =
        Period::of(Unit::Month, "Pacific/Apia".parse().unwrap(), at("2011-12-20T00:00:00Z", 0))
            .unwrap();
    assert_eq!(december.elapsed(at("2011-12-30T10:00:00Z", 0)), 29.0 / 30.0);
}

#[test]
fn what_is_not_known_has_no_number_and_bad_input_is_named() {
    let good = PaceInput {
        aggregation: Aggregation::Sum,
        actual: Some(1.0),
        target: Some(2.0),
        baseline: None,
        elapsed: 0.5,
    };
    let of = |input: &PaceInput| pace(input, Thresholds::default());
    let none = of(&PaceInput { actual: None, ..good.clone() }).unwrap();
    assert_eq!(
        (none.status, none.ratio, none.expected),
        (PaceStatus::NotMeasured, None, Some(1.0))
    );
    let none = of(&PaceInput { target: None, ..good.clone() }).unwrap();
    assert_eq!((none.status, none.expected, none.direction), (PaceStatus::NoTarget, None, None));
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let bad_of = |change: fn(&mut PaceInput, f64)| {
            let mut input = good.clone();
            change(&mut input, bad);
            of(&input).unwrap_err().field()
        };
        assert_eq!(bad_of(|input, bad| input.actual = Some(bad)), "actual");
        assert_eq!(bad_of(|input, bad| input.target = Some(bad)), "target");
        assert_eq!(bad_of(|input, bad| input.baseline = Some(bad)), "baseline");
        assert_eq!(bad_of(|input, bad| input.elapsed = bad), "elapsed");
        assert!(Thresholds::new(bad, 0.0).is_err() && Thresholds::new(1.0, bad).is_err());
    }
    assert!(of(&PaceInput { elapsed: 1.0_f64.next_up(), ..good }).is_err());
    assert!(Thresholds::new(0.5, 0.6).is_err() && Thresholds::new(0.5, -0.1).is_err());
    assert!(serde_json::from_str::<Thresholds>("[0.5, 0.6]").is_err());
}

/// The figures of docs/kpis-and-goals.md.
#[test]
fn the_documents_figures_are_these() {
    use Aggregation::{Last, Mean, Sum};
    use PaceStatus::{AtRisk, OffTrack, OnTrack};

    let of = |aggregation, actual, target, baseline, days: f64| {
        let input = PaceInput {
            aggregation,
            actual: Some(actual),
            target: Some(target),
            baseline,
            elapsed: days / 31.0,
        };
        let pace = pace(&input, Thresholds::default()).unwrap();
        (
            (pace.expected.unwrap() * 10.0).round() / 10.0,
            (pace.ratio.unwrap() * 1000.0).round() / 1000.0,
            pace.status,
        )
    };
    assert_eq!(of(Sum, 18_000.0, 62_000.0, None, 10.0), (20_000.0, 0.9, OnTrack));
    assert_eq!(of(Sum, 11_500.0, 31_000.0, Some(40_000.0), 10.0), (10_000.0, 0.85, AtRisk));
    assert_eq!(of(Last, 5.5, 3.0, Some(6.1), 10.0), (5.1, 0.6, OffTrack));
    assert_eq!(of(Last, 930.0, 1000.0, None, 10.0), (1000.0, 0.93, OnTrack));
    assert_eq!(of(Mean, 240.0, 200.0, Some(300.0), 10.0), (200.0, 0.6, OffTrack));
}
