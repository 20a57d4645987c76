//! Properties of a goal's progress, for any finite input.
//!
//! The strategies below mix everyday numbers with the extremes of `f64` and with numbers that are
//! equal or next to each other; `the_strategy_reaches_every_edge` proves that they meet.
#![allow(clippy::unwrap_used, reason = "a helper that cannot do its work fails the test")]
#![allow(clippy::float_cmp, reason = "where figures are compared, they must be equal to the bit")]

use num_rational::BigRational;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use sesari_db::progress::{
    Counted, Excluded, GoalProgress, KpiProgress, KpiProgressInput, Progress, goal_progress,
};

/// The smallest number above 0, `2^-1074`.
const TINY: f64 = f64::from_bits(1);

const EXTREMES: &[f64] = &[
    0.0,
    -0.0,
    TINY,
    -TINY,
    f64::MIN_POSITIVE,
    f64::EPSILON,
    1.0 - f64::EPSILON / 2.0,
    1e-300,
    1e300,
    9_007_199_254_740_993.0,
];

/// Their sums and differences overflow.
const HUGE: &[f64] = &[f64::MAX, f64::MIN, f64::MAX / 2.0, f64::MIN / 2.0, 1.7e308, -1.1e308];

fn number() -> impl Strategy<Value = f64> {
    use proptest::num::f64::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
    prop_oneof![
        4 => (-20_i32..=20).prop_map(f64::from),
        3 => -1e6..1e6,
        3 => select(EXTREMES),
        3 => select(HUGE),
        1 => POSITIVE | NEGATIVE | SUBNORMAL,
        2 => POSITIVE | NEGATIVE | NORMAL | SUBNORMAL | ZERO,
    ]
}

fn weight() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (1_u32..=5).prop_map(f64::from),
        1 => Just(0.0),
        3 => number().prop_map(|n| if n < 0.0 { -n } else { n }),
    ]
}

/// A number, or one that `other` has already, or its neighbour.
fn near(other: f64, number: f64, how: u8) -> f64 {
    match how {
        0 | 1 => other,
        2 => other.next_up().min(f64::MAX),
        3 => other.next_down().max(f64::MIN),
        _ => number,
    }
}

prop_compose! {
    fn kpi()(
        numbers in (number(), number(), number()),
        how in (0_u8..16, 0_u8..16, 0_u8..8, 0_u8..8),
        weight in weight(),
    ) -> KpiProgressInput {
        let baseline = (how.2 > 0).then_some(numbers.0);
        let target = near(baseline.unwrap_or(0.0), numbers.1, how.0);
        let current = (how.3 != 1).then_some(near(target, numbers.2, how.1));
        let target = (how.3 > 0).then_some(target);
        KpiProgressInput { kpi_id: "kpi".parse().unwrap(), current, target, baseline, weight }
    }
}

/// Up to eight KPIs, each with an id of its own.
fn kpis() -> impl Strategy<Value = Vec<KpiProgressInput>> {
    prop::collection::vec(kpi(), 0..=8).prop_map(|mut kpis| {
        for (i, kpi) in kpis.iter_mut().enumerate() {
            kpi.kpi_id = format!("kpi{i}").parse().unwrap();
        }
        kpis
    })
}

fn compute(kpis: &[KpiProgressInput]) -> GoalProgress {
    goal_progress(kpis).unwrap()
}

fn counted(goal: &GoalProgress) -> Vec<Counted> {
    goal.kpis.iter().filter_map(KpiProgress::counted).collect()
}

fn baseline(kpi: &KpiProgressInput) -> f64 {
    kpi.baseline.unwrap_or(0.0)
}

/// The figures as bits, so that 0 and -0 differ.
fn bits(progress: Option<Progress>) -> Option<(u64, u64)> {
    progress.map(|p| (p.raw.to_bits(), p.clamped.to_bits()))
}

// The model: the formula in exact rational arithmetic, written once more.

type Exact = BigRational;

fn exact(number: f64) -> Exact {
    Exact::from_float(number).unwrap()
}

fn abs(number: Exact) -> Exact {
    if number < exact(0.0) { -number } else { number }
}

/// The KPI has a target and a value.
fn exact_raw(kpi: &KpiProgressInput) -> Exact {
    let current = kpi.current.unwrap();
    let (baseline, target) = (exact(baseline(kpi)), exact(kpi.target.unwrap()));
    if baseline == target {
        return exact(f64::from(u8::from(current >= kpi.target.unwrap())));
    }
    let raw = (exact(current) - &baseline) / (target - baseline);
    raw.clamp(exact(f64::MIN), exact(f64::MAX))
}

/// Fails unless `actual` is within `roundings` of `2^-53`, relative to `scale`, of `expected`; or
/// within `absolute`, for what falls below the normal range and has no relative precision.
fn close(
    actual: f64,
    expected: &Exact,
    roundings: f64,
    scale: &Exact,
    absolute: &Exact,
) -> Result<(), TestCaseError> {
    let bound = exact(roundings * f64::EPSILON / 2.0) * scale + absolute;
    let off = abs(exact(actual) - expected);
    prop_assert!(off <= bound, "{actual:e} is not {expected}");
    Ok(())
}

/// A raw figure is rounded three times (two differences, one quotient) and a share four (the
/// weight over the largest; each such quotient in the total, and the total; their quotient);
/// multiplying and adding up make it nine for a mean. Each rounding is off by at most `2^-53` of
/// its result or, below the normal range, by `2^-1075`; the tenth is for their products.
fn agrees_with_the_model(kpis: &[KpiProgressInput]) -> Result<(), TestCaseError> {
    let goal = compute(kpis);
    let (mut total, mut raw, mut clamped) = (exact(0.0), exact(0.0), exact(0.0));
    let (mut raw_scale, mut greatest) = (exact(0.0), exact(1.0));
    let counts =
        |kpi: &&KpiProgressInput| kpi.target.and(kpi.current).is_some() && kpi.weight > 0.0;
    for kpi in kpis.iter().filter(counts) {
        let (weight, figure) = (exact(kpi.weight), exact_raw(kpi));
        total += &weight;
        raw += &weight * &figure;
        raw_scale += &weight * abs(figure.clone());
        clamped += &weight * figure.clone().clamp(exact(0.0), exact(1.0));
        greatest = greatest.max(abs(figure));
    }
    let Some(overall) = goal.overall else {
        prop_assert_eq!(total, exact(0.0));
        return Ok(());
    };
    // At most eight KPIs, each a few times off by TINY, in a share that multiplies the figure.
    let absolute = exact(64.0 * TINY);
    close(overall.raw, &(raw / &total), 10.0, &(raw_scale / &total), &(&absolute * greatest))?;
    close(overall.clamped, &(&clamped / &total), 10.0, &(&clamped / &total), &absolute)?;

    for (kpi, input) in goal.kpis.iter().zip(kpis) {
        let Some(part) = kpi.counted() else { continue };
        let (raw, share) = (exact_raw(input), exact(input.weight) / &total);
        close(part.progress.raw, &raw, 3.5, &abs(raw.clone()), &exact(TINY))?;
        close(part.share, &share, 4.5, &share, &exact(2.0 * TINY))?;
        let contribution = share * raw.clamp(exact(0.0), exact(1.0));
        close(part.contribution, &contribution, 9.0, &contribution, &exact(4.0 * TINY))?;
    }
    Ok(())
}

fn config() -> ProptestConfig {
    // No file of seeds in the source tree: a case worth keeping is worth a test of its own.
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_figure_is_finite_and_in_range(kpis in kpis()) {
        let goal = compute(&kpis);
        let parts = counted(&goal);
        for progress in parts.iter().map(|part| part.progress).chain(goal.overall) {
            prop_assert!(progress.raw.is_finite());
            prop_assert!((0.0..=1.0).contains(&progress.clamped));
            prop_assert_eq!(progress.clamped.is_sign_negative(), false);
            prop_assert!(progress.raw != 0.0 || progress.raw.is_sign_positive());
        }
        for part in &parts {
            prop_assert_eq!(part.progress.clamped, part.progress.raw.clamp(0.0, 1.0));
            prop_assert!((0.0..=1.0).contains(&part.share));
            prop_assert!((0.0..=part.share).contains(&part.contribution));
        }
    }

    #[test]
    fn a_better_kpi_never_lowers_the_goal(
        kpis in prop::collection::vec(kpi(), 1..=8),
        which in any::<Index>(),
        (number, how) in (number(), 0_u8..8),
    ) {
        let i = which.index(kpis.len());
        let Some(current) = kpis[i].current else { return Ok(()) };
        let mut changed = kpis.clone();
        changed[i].current = Some(near(current, number, how));
        let rises = kpis[i].target.is_none_or(|target| baseline(&kpis[i]) <= target);
        let better = (changed[i].current >= kpis[i].current) == rises;
        let (worse, better) = if better { (kpis, changed) } else { (changed, kpis) };

        let (worse, better) = (compute(&worse), compute(&better));
        let of_kpi = |goal: &GoalProgress| goal.kpis[i].counted().map(|part| part.progress);
        for (worse, better) in
            [(of_kpi(&worse), of_kpi(&better)), (worse.overall, better.overall)]
        {
            prop_assert!(worse.map(|p| p.raw) <= better.map(|p| p.raw));
            prop_assert!(worse.map(|p| p.clamped) <= better.map(|p| p.clamped));
        }
    }

    #[test]
    fn a_goal_whose_kpis_are_all_met_is_at_exactly_one(mut kpis in kpis(), beyond in number()) {
        for kpi in &mut kpis {
            if let Some(target) = kpi.target {
                let falls = baseline(kpi) > target;
                kpi.current = Some(if falls { target.min(beyond) } else { target.max(beyond) });
            }
        }
        let goal = compute(&kpis);
        for part in counted(&goal) {
            prop_assert!(part.progress.raw >= 1.0);
        }
        prop_assert!(goal.progress().is_none_or(|progress| progress == 1.0));
    }

    #[test]
    fn the_order_of_the_kpis_changes_nothing(
        (kpis, shuffled) in kpis().prop_flat_map(|kpis| (Just(kpis.clone()), Just(kpis).prop_shuffle()))
    ) {
        let (mut goal, mut other) = (compute(&kpis), compute(&shuffled));
        prop_assert_eq!(bits(goal.overall), bits(other.overall));
        for (kpi, given) in other.kpis.iter().zip(&shuffled) {
            prop_assert_eq!(&kpi.kpi_id, &given.kpi_id);
        }
        goal.kpis.sort_by(|a, b| a.kpi_id.cmp(&b.kpi_id));
        other.kpis.sort_by(|a, b| a.kpi_id.cmp(&b.kpi_id));
        prop_assert_eq!(goal.kpis, other.kpis);
    }

    /// Times a power of two no weight is rounded, so nothing else may be.
    #[test]
    fn weights_have_no_scale(
        mut kpis in kpis(),
        weights in prop::array::uniform8(0_u32..1 << 20),
        power in prop_oneof![Just(-1074), Just(1003), -1074_i32..=1003],
    ) {
        for (kpi, weight) in kpis.iter_mut().zip(weights) {
            kpi.weight = f64::from(weight);
        }
        let mut scaled = kpis.clone();
        for kpi in &mut scaled {
            kpi.weight *= 2_f64.powi(power / 2);
            kpi.weight *= 2_f64.powi(power - power / 2);
        }
        let (goal, scaled) = (compute(&kpis), compute(&scaled));
        prop_assert_eq!(bits(goal.overall), bits(scaled.overall));
        prop_assert_eq!(counted(&goal), counted(&scaled));
    }

    /// Times any other factor each weight is rounded once, and each result a few times more.
    #[test]
    fn any_common_factor_of_the_weights_cancels(
        mut kpis in kpis(),
        weights in prop::array::uniform8(1e-3..1e3),
        factor in prop_oneof![1e-300..1e-290, 1e-3..1e3, 1e290..1e300],
    ) {
        for (kpi, weight) in kpis.iter_mut().zip(weights) {
            kpi.weight = weight;
        }
        let mut scaled = kpis.clone();
        for kpi in &mut scaled {
            kpi.weight *= factor;
        }
        let (goal, scaled) = (compute(&kpis), compute(&scaled));
        prop_assert_eq!(goal.progress().is_some(), scaled.progress().is_some());
        if let (Some(progress), Some(scaled)) = (goal.progress(), scaled.progress()) {
            let off = (progress - scaled).abs();
            prop_assert!(off <= 8.0 * f64::EPSILON * progress + TINY, "{progress} is not {scaled}");
        }
    }

    #[test]
    fn the_result_agrees_with_exact_arithmetic(mut kpis in kpis()) {
        kpis.truncate(4); // the exact fractions of more grow long, and the test slow
        agrees_with_the_model(&kpis)?;
    }

    /// Shares are rounded, so that together they may be a little more than 1.
    #[test]
    fn the_mean_of_the_largest_figures_does_not_overflow(
        mut kpis in kpis(),
        numbers in prop::array::uniform8((0.1..1.0, select(HUGE), select(&[1.0, -1.0, 0.5][..]))),
        (one_sided, huge) in (any::<bool>(), select(&[f64::MAX, f64::MIN][..])),
    ) {
        for (kpi, (weight, current, target)) in kpis.iter_mut().zip(numbers) {
            (kpi.weight, kpi.baseline) = (weight, None);
            (kpi.current, kpi.target) =
                if one_sided { (Some(huge), Some(1.0)) } else { (Some(current), Some(target)) };
        }
        agrees_with_the_model(&kpis)?;
    }

    /// To the last bit: no number is nearer to the exact sum, unless it is outside the KPIs' range.
    #[test]
    fn contributions_add_up_to_the_progress(kpis in kpis()) {
        let goal = compute(&kpis);
        let parts = counted(&goal);
        let Some(overall) = goal.overall else { return Ok(()) };
        let figures = || parts.iter().map(|part| part.progress.clamped);
        let least = figures().reduce(f64::min).unwrap();
        let greatest = figures().reduce(f64::max).unwrap();
        prop_assert!((least..=greatest).contains(&overall.clamped));
        prop_assert!(parts.iter().any(|part| part.progress.raw <= overall.raw));
        prop_assert!(parts.iter().any(|part| part.progress.raw >= overall.raw));

        let sum = |figure: fn(&Counted) -> f64| {
            parts.iter().fold(exact(0.0), |sum, part| sum + exact(figure(part)))
        };
        let held = sum(|part| part.contribution).clamp(exact(least), exact(greatest));
        let off = |number: f64| abs(exact(number) - &held);
        prop_assert!(off(overall.clamped) <= off(overall.clamped.next_up()));
        prop_assert!(off(overall.clamped) <= off(overall.clamped.next_down()));
        close(1.0, &sum(|part| part.share), 8.0, &exact(1.0), &exact(0.0))?;
    }

    #[test]
    fn what_is_left_out_has_no_influence(kpis in kpis()) {
        let goal = compute(&kpis);
        let (mut rest, mut inputs) = (Vec::new(), Vec::new());
        prop_assert_eq!(goal.kpis.len(), kpis.len());
        for (kpi, input) in goal.kpis.iter().zip(&kpis) {
            prop_assert_eq!((&kpi.kpi_id, kpi.weight), (&input.kpi_id, input.weight));
            let reason = match (input.target, input.weight, input.current) {
                (None, _, _) => Some(Excluded::NoTarget),
                (Some(_), 0.0, _) => Some(Excluded::ZeroWeight),
                (Some(_), _, None) => Some(Excluded::NotMeasured),
                _ => None,
            };
            prop_assert_eq!(kpi.excluded(), reason);
            prop_assert_eq!(kpi.counted().is_none(), reason.is_some());
            if reason.is_none() {
                rest.push(kpi.clone());
                inputs.push(input.clone());
            }
        }
        let alone = compute(&inputs);
        prop_assert_eq!(bits(goal.overall), bits(alone.overall));
        prop_assert_eq!(goal.overall.is_none(), rest.is_empty());
        prop_assert_eq!(rest, alone.kpis);
    }

    #[test]
    fn bad_input_is_an_error_that_names_it(
        mut kpis in prop::collection::vec(kpi(), 1..=8),
        which in any::<Index>(),
        (field, bad) in prop_oneof![
            (0..4_usize, select(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY][..])),
            (Just(3), number().prop_map(|n| -n.abs().max(TINY))),
        ],
    ) {
        let i = which.index(kpis.len());
        let kpi = &mut kpis[i];
        kpi.kpi_id = "culprit".parse().unwrap();
        let name = ["current", "target", "baseline", "weight"][field];
        match field {
            0 => kpi.current = Some(bad),
            1 => kpi.target = Some(bad),
            2 => kpi.baseline = Some(bad),
            _ => kpi.weight = bad,
        }
        let error = goal_progress(&kpis).unwrap_err();
        prop_assert_eq!((error.kpi_id().as_str(), error.field()), ("culprit", name));
        prop_assert_eq!(
            error.to_string(),
            format!("kpi culprit: {name} is not usable: numbers must be finite, and weights 0 or more")
        );
    }
}

#[test]
fn differences_and_ratios_that_overflow_stay_finite() {
    let raw_of = |baseline, current, target| {
        let kpi_id = "kpi".parse().unwrap();
        let kpi =
            KpiProgressInput { kpi_id, current: Some(current), target, baseline, weight: 1.0 };
        compute(&[kpi]).overall.unwrap().raw
    };
    assert_eq!(raw_of(Some(f64::MIN), 0.0, Some(f64::MAX)), 0.5);
    assert_eq!(raw_of(Some(f64::MIN), f64::MAX, Some(0.0)), 2.0);
    assert_eq!(raw_of(None, f64::MAX, Some(TINY)), f64::MAX);
    assert_eq!(raw_of(None, f64::MAX, Some(-TINY)), f64::MIN);
    assert_eq!(raw_of(Some(TINY), 3.0 * TINY, Some(2.0 * TINY)), 2.0);
}

#[test]
fn nothing_left_is_not_computable_and_not_zero() {
    assert_eq!(compute(&[]).overall, None);
    let kpi_id: sesari_db::id::KpiId = "kpi".parse().unwrap();
    let aimless =
        KpiProgressInput { kpi_id, current: Some(1.0), target: None, baseline: None, weight: 1.0 };
    let unweighted = KpiProgressInput { target: Some(2.0), weight: -0.0, ..aimless.clone() };
    let unmeasured = KpiProgressInput { target: Some(2.0), current: None, ..aimless.clone() };
    assert_eq!(compute(&[aimless, unweighted, unmeasured]).progress(), None);
}

#[test]
fn the_result_survives_serialization() {
    let kpi = |target| KpiProgressInput {
        kpi_id: "kpi".parse().unwrap(),
        current: Some(1.0),
        target,
        baseline: None,
        weight: 1.0,
    };
    let kpis = vec![kpi(Some(2.0)), kpi(None)];
    let json = serde_json::to_string(&kpis).unwrap();
    assert_eq!(serde_json::from_str::<Vec<KpiProgressInput>>(&json).unwrap(), kpis);

    let goal = compute(&kpis);
    let json = serde_json::to_string(&goal).unwrap();
    assert!(json.contains(r#""outcome":{"excluded":"no_target"}"#), "{json}");
    assert_eq!(serde_json::from_str::<GoalProgress>(&json).unwrap(), goal);
}

/// Each edge, met in at least one of a hundred KPIs.
#[test]
fn the_strategy_reaches_every_edge() {
    type Edge = fn(&KpiProgressInput) -> bool;
    let edges: &[(&str, Edge)] = &[
        ("rises", |k| k.target.is_some_and(|target| target > baseline(k))),
        ("falls", |k| k.target.is_some_and(|target| target < baseline(k))),
        ("no way to go", |k| k.target == Some(baseline(k))),
        ("at the target", |k| k.target.is_some() && k.target == k.current),
        ("no target", |k| k.target.is_none()),
        ("no value", |k| k.target.is_some() && k.current.is_none()),
        ("no baseline", |k| k.baseline.is_none()),
        ("no weight", |k| k.weight == 0.0),
        ("subnormal weight", |k| k.weight.is_subnormal()),
        ("weight whose double overflows", |k| (k.weight * 2.0).is_infinite()),
        ("difference overflows", |k| {
            k.target.is_some_and(|target| (target - baseline(k)).is_infinite())
                || k.current.is_some_and(|current| (current - baseline(k)).is_infinite())
        }),
        ("ratio overflows", |k| {
            k.target.zip(k.current).is_some_and(|(target, current)| {
                let (done, way) = (current - baseline(k), target - baseline(k));
                done.is_finite() && way != 0.0 && (done / way).is_infinite()
            })
        }),
        ("subnormal way", |k| k.target.is_some_and(|target| (target - baseline(k)).is_subnormal())),
    ];
    let mut runner = TestRunner::deterministic();
    let kpis: Vec<_> = (0..5_000).map(|_| kpi().new_tree(&mut runner).unwrap().current()).collect();
    for (name, edge) in edges {
        let met = kpis.iter().filter(|kpi| edge(kpi)).count();
        assert!(met >= 50, "{name}: met by {met} of 5000");
    }
}
