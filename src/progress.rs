//! Progress of a goal, computed from its KPIs. Pure: no database, no clock.
//!
//! One KPI's progress is its place on the straight line from baseline to target (linear
//! interpolation, as OKR practice grades a key result). A goal's progress is the weighted
//! arithmetic mean of its KPIs:
//!
//! ```text
//! raw     = (current - baseline) / (target - baseline)      baseline 0 when there is none
//! clamped = raw held within 0..=1
//! share   = weight / sum of the counted weights
//! goal    = sum of (share * clamped)
//! ```
//!
//! `current`, `baseline` and `target` are in the KPI's own unit, whatever it is; weights have none
//! and only their ratios matter. Progress is a fraction: 0 is the baseline, 1 the target. A baseline
//! above the target describes a KPI that should fall, and the same formula holds.
//!
//! **The progress of a goal is the mean of the clamped figures** ([`GoalProgress::progress`]), so
//! that one KPI at 300 % does not hide another at 0 %, and a goal is at 1 only when every KPI that
//! counts is (but for one whose missing part is too small for an `f64` to show). The mean of the
//! raw figures stands beside it for those who want to see overshoot and lost ground.
//!
//! A KPI without a target, with weight 0 or without a value is left out, with the
//! [reason](Excluded): what was never measured is not known. When nothing is
//! left the goal has no progress: `None`, which is not 0. Where target and baseline are equal there
//! is no way to go and no direction, so the KPI is either met (1) or not (0), as if it should rise:
//! met when `current >= target`.
//!
//! # Invariants, and the tests that guard them
//!
//! | invariant | test |
//! |---|---|
//! | never NaN or infinite, for any finite input; clamped and shares within 0 to 1 | `every_figure_is_finite_and_in_range`, `the_mean_of_the_largest_figures_does_not_overflow` |
//! | better never counts as worse, for the KPI and for its goal, to the last bit | `a_better_kpi_never_lowers_the_goal` |
//! | at the target or beyond is at least 1; every KPI there makes the goal exactly 1 | `a_goal_whose_kpis_are_all_met_is_at_exactly_one` |
//! | the order of the KPIs changes no bit | `the_order_of_the_kpis_changes_nothing` |
//! | weights have no scale, from subnormal to huge | `weights_have_no_scale`, `any_common_factor_of_the_weights_cancels` |
//! | agrees with exact rational arithmetic | `the_result_agrees_with_exact_arithmetic` |
//! | contributions add up to the progress, rounded once, which lies between its KPIs' | `contributions_add_up_to_the_progress` |
//! | what is left out has a reason and no influence | `what_is_left_out_has_no_influence` |
//! | bad input is an error that names it | `bad_input_is_an_error_that_names_it` |
//!
//! Sums are exact and rounded once, so that neither the order of the KPIs nor how many there are
//! matters: a mean is within ten roundings (`10 * 2^-53`) of the exact one, relative to the mean of
//! the absolute figures. A raw figure beyond what an `f64` holds is kept at `f64::MAX`, with its
//! sign. A weight less than `2^-1022` of the largest loses precision, and in the end counts as 0.
//!
//! # Example
//!
//! Revenue is half way from 40 to 80 thousand and counts three times as much as churn, which should
//! fall from 6 % to 2 % and stands at 3 %.
//!
//! ```
//! use sesari_db::progress::{Excluded, KpiProgressInput, goal_progress};
//!
//! let kpi = |id: &str, baseline, current, target, weight| {
//!     Ok::<_, sesari_db::id::ParseIdError>(KpiProgressInput {
//!         kpi_id: id.parse()?, current: Some(current), target, baseline, weight,
//!     })
//! };
//! let goal = goal_progress(&[
//!     kpi("revenue", Some(40_000.0), 60_000.0, Some(80_000.0), 3.0)?,
//!     kpi("churn", Some(6.0), 3.0, Some(2.0), 1.0)?,
//!     kpi("satisfaction", None, 41.0, None, 1.0)?,
//! ])?;
//!
//! assert_eq!(goal.progress(), Some(0.75 * 0.5 + 0.25 * 0.75)); // 56.25 %
//! let churn = goal.kpis[1].counted().ok_or("churn has a target and a weight")?;
//! assert_eq!((churn.progress.raw, churn.share, churn.contribution), (0.75, 0.25, 0.1875));
//! assert_eq!(goal.kpis[2].excluded(), Some(Excluded::NoTarget));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod pace;
mod period;

use serde::{Deserialize, Serialize};

use crate::id::KpiId;

pub use pace::{Direction, InvalidPace, Pace, PaceInput, PaceStatus, Thresholds, pace};
pub use period::Period;

/// One KPI of a goal, as [`goal_progress`] takes it. Every number must be finite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KpiProgressInput {
    /// The KPI.
    #[serde(alias = "kpiId")]
    pub kpi_id: KpiId,
    /// Its newest value, in the KPI's unit; `None` while nothing was measured, which leaves the KPI
    /// out: not measured is not 0.
    pub current: Option<f64>,
    /// The value to reach, in the KPI's unit. Without one the KPI is left out.
    pub target: Option<f64>,
    /// The value it started from, in the KPI's unit; 0 when `None`.
    pub baseline: Option<f64>,
    /// How much it counts beside the goal's other KPIs; 0 or more, and 0 leaves it out.
    pub weight: f64,
}

/// Progress as a fraction: 0 is the baseline, 1 the target.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Progress {
    /// As computed: below 0 when ground was lost, above 1 when the target was passed. Finite.
    pub raw: f64,
    /// Held within 0 to 1: for one KPI its raw figure, for a goal each KPI's before the mean.
    pub clamped: f64,
}

/// The progress of a goal and what each of its KPIs gave to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GoalProgress {
    /// The weighted means; `None` when no KPI counts.
    pub overall: Option<Progress>,
    /// Every KPI, in the order it was given.
    pub kpis: Vec<KpiProgress>,
}

impl GoalProgress {
    /// The goal's progress, 0 to 1: the weighted mean of the clamped figures. `None` when no KPI
    /// counts, which is not the same as no progress.
    #[must_use]
    pub fn progress(&self) -> Option<f64> {
        self.overall.map(|overall| overall.clamped)
    }
}

/// What one KPI gave to its goal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct KpiProgress {
    /// The KPI.
    pub kpi_id: KpiId,
    /// Its weight, as given.
    pub weight: f64,
    /// Its part in the goal, or why it has none.
    pub outcome: Outcome,
}

impl KpiProgress {
    /// The KPI's part in the goal, if it counts.
    #[must_use]
    pub fn counted(&self) -> Option<Counted> {
        match self.outcome {
            Outcome::Counted(counted) => Some(counted),
            Outcome::Excluded(_) => None,
        }
    }

    /// Why the KPI was left out, if it was.
    #[must_use]
    pub fn excluded(&self) -> Option<Excluded> {
        match self.outcome {
            Outcome::Counted(_) => None,
            Outcome::Excluded(reason) => Some(reason),
        }
    }
}

/// Whether a KPI counts towards its goal.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It counts.
    Counted(Counted),
    /// It was left out.
    Excluded(Excluded),
}

/// The part of a KPI that counts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Counted {
    /// The KPI's own progress.
    pub progress: Progress,
    /// Its share of the counted weight, 0 to 1. The shares of a goal add up to 1.
    pub share: f64,
    /// `share * progress.clamped`, 0 to 1. The contributions add up to the goal's progress.
    pub contribution: f64,
}

/// Why a KPI does not count towards its goal. Of several reasons the first in this order is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Excluded {
    /// The KPI has no target, so there is nothing to measure against.
    NoTarget,
    /// The KPI has weight 0.
    ZeroWeight,
    /// The KPI has no value yet.
    NotMeasured,
}

/// A KPI whose progress cannot be computed because a number in it is not usable: NaN, infinite, or
/// a negative weight. The message names the KPI and the field and does not repeat the number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("kpi {kpi_id}: {field} is not usable: numbers must be finite, and weights 0 or more")]
pub struct InvalidInput {
    kpi_id: KpiId,
    field: &'static str,
}

impl InvalidInput {
    /// The KPI.
    #[must_use]
    pub fn kpi_id(&self) -> &KpiId {
        &self.kpi_id
    }

    /// The field whose number is not usable, by its name in [`KpiProgressInput`].
    #[must_use]
    pub fn field(&self) -> &'static str {
        self.field
    }
}

/// Computes a goal's progress from its KPIs; see the [module](self) for the formula.
///
/// # Errors
/// [`InvalidInput`] for the first KPI, in the order given, with a number that is NaN or infinite or
/// with a negative weight. A KPI that would be left out is checked as well.
pub fn goal_progress(kpis: &[KpiProgressInput]) -> Result<GoalProgress, InvalidInput> {
    kpis.iter().try_for_each(validate)?;
    let measured: Vec<_> = kpis.iter().map(measure).collect();

    // Divided by the largest, weights cannot overflow their sum: 1 <= total <= kpis.len().
    let weights = || kpis.iter().zip(&measured).filter(|(_, m)| m.is_ok()).map(|(k, _)| k.weight);
    let largest = weights().fold(0.0, f64::max);
    let total = exact_sum(weights().map(|weight| weight / largest));

    let kpis: Vec<_> = kpis
        .iter()
        .zip(measured)
        .map(|(kpi, measured)| KpiProgress {
            kpi_id: kpi.kpi_id.clone(),
            weight: kpi.weight,
            outcome: match measured {
                Ok(progress) => {
                    let share = kpi.weight / largest / total;
                    let contribution = share * progress.clamped;
                    Outcome::Counted(Counted { progress, share, contribution })
                }
                Err(reason) => Outcome::Excluded(reason),
            },
        })
        .collect();
    Ok(GoalProgress { overall: mean(&kpis), kpis })
}

fn validate(kpi: &KpiProgressInput) -> Result<(), InvalidInput> {
    let field = if kpi.current.is_some_and(|current| !current.is_finite()) {
        "current"
    } else if kpi.target.is_some_and(|target| !target.is_finite()) {
        "target"
    } else if kpi.baseline.is_some_and(|baseline| !baseline.is_finite()) {
        "baseline"
    } else if !kpi.weight.is_finite() || kpi.weight < 0.0 {
        "weight"
    } else {
        return Ok(());
    };
    Err(InvalidInput { kpi_id: kpi.kpi_id.clone(), field })
}

/// The KPI's own progress, or why it does not count. The KPI is valid.
fn measure(kpi: &KpiProgressInput) -> Result<Progress, Excluded> {
    let target = kpi.target.ok_or(Excluded::NoTarget)?;
    if kpi.weight == 0.0 {
        return Err(Excluded::ZeroWeight);
    }
    let current = kpi.current.ok_or(Excluded::NotMeasured)?;
    let baseline = kpi.baseline.unwrap_or(0.0);
    let (mut done, mut way) = (current - baseline, target - baseline);
    let raw = if way == 0.0 {
        // Only if target and baseline are equal: the difference of unequal numbers is never 0.
        if current >= target { 1.0 } else { 0.0 }
    } else {
        if done.is_infinite() || way.is_infinite() {
            // The baseline is huge, so what halving takes from a tiny number is lost either way.
            let half = baseline / 2.0;
            (done, way) = (current / 2.0 - half, target / 2.0 - half);
        }
        without_sign_of_zero((done / way).clamp(-f64::MAX, f64::MAX))
    };
    Ok(Progress { raw, clamped: raw.clamp(0.0, 1.0) })
}

/// The weighted means over the KPIs that count.
///
/// Rounding could carry a mean past the least or greatest of its figures, or past `f64::MAX`; it is
/// held between them, so that equal figures have exactly that mean.
fn mean(kpis: &[KpiProgress]) -> Option<Progress> {
    let counted = || kpis.iter().filter_map(KpiProgress::counted);
    let between = |mean: f64, figure: fn(Progress) -> f64| {
        let figures = || counted().map(|part| figure(part.progress));
        let (least, greatest) = (figures().reduce(f64::min)?, figures().reduce(f64::max)?);
        Some(without_sign_of_zero(mean.clamp(least, greatest)))
    };
    // Halves, because the shares may add up to a little more than 1 and the figures be f64::MAX.
    let half_raw = exact_sum(counted().map(|part| part.share * (part.progress.raw / 2.0)));
    let clamped = exact_sum(counted().map(|part| part.contribution));
    Some(Progress {
        raw: between(half_raw * 2.0, |progress| progress.raw)?,
        clamped: between(clamped, |progress| progress.clamped)?,
    })
}

/// Turns -0 into 0 and changes no other number.
fn without_sign_of_zero(number: f64) -> f64 {
    number + 0.0
}

/// The sum of the numbers as if computed exactly and rounded once, hence the same in any order and
/// never less when a number grows. (Shewchuk, "Adaptive Precision Floating-Point Arithmetic", 1997:
/// what is kept is a list of numbers that do not overlap, smallest first, with the same exact sum.)
///
/// The numbers are finite, and so must the sum of any of them be.
fn exact_sum(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut parts: Vec<f64> = Vec::new();
    for mut number in numbers {
        let mut kept = 0;
        for i in 0..parts.len() {
            let rest;
            (number, rest) = add(number, parts[i]);
            if rest != 0.0 {
                parts[kept] = rest;
                kept += 1;
            }
        }
        parts.truncate(kept);
        parts.push(number);
    }
    let mut sum = parts.pop().unwrap_or(0.0);
    while let Some(part) = parts.pop() {
        let rest;
        (sum, rest) = add(sum, part);
        if rest != 0.0 {
            // `sum` is rounded. Were that a tie, the parts below decide to which side it goes.
            let beyond = add(sum, rest * 2.0);
            if beyond.1 == 0.0 && parts.last().is_some_and(|below| below * rest.signum() > 0.0) {
                sum = beyond.0;
            }
            break;
        }
    }
    sum
}

/// The rounded sum of two numbers, and what rounding took from it (Knuth's two-sum).
fn add(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let of_b = sum - a;
    (sum, (a - (sum - of_b)) + (b - of_b))
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "every expected figure is exact")]
mod tests {
    use super::*;

    fn kpi(baseline: Option<f64>, current: f64, target: Option<f64>) -> KpiProgressInput {
        let current = Some(current);
        KpiProgressInput { kpi_id: "kpi".parse().unwrap(), current, target, baseline, weight: 1.0 }
    }

    fn raw_of(baseline: Option<f64>, current: f64, target: f64) -> f64 {
        goal_progress(&[kpi(baseline, current, Some(target))]).unwrap().overall.unwrap().raw
    }

    #[test]
    fn progress_is_the_place_between_baseline_and_target() {
        assert_eq!(raw_of(None, 25.0, 100.0), 0.25);
        assert_eq!(raw_of(Some(50.0), 75.0, 100.0), 0.5);
        assert_eq!(raw_of(Some(50.0), 25.0, 100.0), -0.5);
        assert_eq!(raw_of(Some(50.0), 200.0, 100.0), 3.0);
        assert_eq!(raw_of(Some(-4.0), -3.0, 4.0), 0.125);
    }

    #[test]
    fn a_baseline_above_the_target_is_a_kpi_that_should_fall() {
        assert_eq!(raw_of(Some(6.0), 3.0, 2.0), 0.75);
        assert_eq!(raw_of(Some(6.0), 8.0, 2.0), -0.5);
        assert_eq!(raw_of(None, -5.0, -10.0), 0.5);
    }

    #[test]
    fn no_way_to_go_is_met_or_not() {
        assert_eq!(raw_of(Some(5.0), 4.0, 5.0), 0.0);
        assert_eq!(raw_of(Some(5.0), 5.0, 5.0), 1.0);
        assert_eq!(raw_of(Some(5.0), 6.0, 5.0), 1.0);
        assert_eq!(raw_of(None, 0.0, -0.0), 1.0);
        assert_eq!(raw_of(None, -1.0, 0.0), 0.0);
    }

    #[test]
    fn what_was_never_measured_is_left_out_with_the_reason() {
        // 6 down to 2: a value of 0 would be beyond the target.
        let falling = KpiProgressInput { current: None, ..kpi(Some(6.0), 0.0, Some(2.0)) };
        let goal = goal_progress(std::slice::from_ref(&falling)).unwrap();
        assert_eq!(goal.overall, None);
        assert_eq!(goal.kpis[0].excluded(), Some(Excluded::NotMeasured));
        let goal = goal_progress(&[falling, kpi(None, 1.0, Some(2.0))]).unwrap();
        assert_eq!(goal.progress(), Some(0.5));
    }

    #[test]
    fn one_kpi_at_300_percent_does_not_hide_another_at_0() {
        let goal = goal_progress(&[kpi(None, 3.0, Some(1.0)), kpi(None, 0.0, Some(1.0))]).unwrap();
        assert_eq!(goal.overall, Some(Progress { raw: 1.5, clamped: 0.5 }));
        assert_eq!(goal.progress(), Some(0.5));
    }

    #[test]
    fn sums_are_rounded_once() {
        let (ulp, tiny) = (f64::EPSILON, f64::EPSILON.powi(3));
        assert_eq!(exact_sum([1e100, 1.0, -1e100].into_iter()), 1.0);
        assert_eq!(exact_sum([1.0, ulp / 2.0].into_iter()), 1.0);
        assert_eq!(exact_sum([1.0, ulp / 2.0, tiny].into_iter()), 1.0 + ulp);
        assert_eq!(exact_sum([1.0 + ulp, ulp / 2.0, -tiny].into_iter()), 1.0 + ulp);
        assert_eq!(exact_sum([0.1; 10].into_iter()), 1.0);
    }
}
