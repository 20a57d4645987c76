//! Value to date against target to date.

use serde::{Deserialize, Serialize};

use crate::value::{Aggregation, Invalid};

/// A KPI in a period, as [`pace`] takes it. Every number must be finite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaceInput {
    /// What the points of the period come to.
    pub aggregation: Aggregation,
    /// What they come to so far, in the KPI's unit; `None` where nothing was measured.
    pub actual: Option<f64>,
    /// What they are to come to by the end of the period, in the KPI's unit.
    pub target: Option<f64>,
    /// Where a level starts from; above the target for a KPI that should fall. It is 0 when `None`, as for
    /// [`goal_progress`](super::goal_progress), but for one thing: without it, nothing says where the KPI stood as
    /// the period began, and a level is expected to be at its target throughout.
    pub baseline: Option<f64>,
    /// How much of the period has passed, 0 to 1, as [`Period::elapsed`](super::Period::elapsed) has it; 1 where
    /// there is no period.
    pub elapsed: f64,
}

/// From which share of what is expected on a KPI is on track, and at risk.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "(f64, f64)", into = "(f64, f64)")]
pub struct Thresholds {
    on_track: f64,
    at_risk: f64,
}

impl Thresholds {
    /// On track from the first share on, at risk from the second on, off track below.
    ///
    /// # Errors
    /// [`Invalid`] unless `0 <= at_risk <= on_track`, both finite.
    pub fn new(on_track: f64, at_risk: f64) -> Result<Self, Invalid> {
        if on_track.is_finite() && 0.0 <= at_risk && at_risk <= on_track {
            return Ok(Self { on_track, at_risk });
        }
        Err(Invalid::new("thresholds", "expected 0 <= at risk <= on track, both finite"))
    }

    /// On track from this share on.
    #[must_use]
    pub fn on_track(self) -> f64 {
        self.on_track
    }

    /// At risk from this share on.
    #[must_use]
    pub fn at_risk(self) -> f64 {
        self.at_risk
    }
}

impl Default for Thresholds {
    /// On track from 0.9, at risk from 0.7. There is no standard: these are this crate's.
    fn default() -> Self {
        Self { on_track: 0.9, at_risk: 0.7 }
    }
}

impl TryFrom<(f64, f64)> for Thresholds {
    type Error = Invalid;

    fn try_from((on_track, at_risk): (f64, f64)) -> Result<Self, Invalid> {
        Self::new(on_track, at_risk)
    }
}

impl From<Thresholds> for (f64, f64) {
    fn from(thresholds: Thresholds) -> Self {
        (thresholds.on_track, thresholds.at_risk)
    }
}

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// More is better.
    Up,
    /// Less is better: the target is below the baseline, which is 0 where there is none.
    Down,
}

/// How a KPI does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PaceStatus {
    /// As expected, or nearly.
    OnTrack,
    /// Behind.
    AtRisk,
    /// Far behind.
    OffTrack,
    /// Nothing to compare with.
    NoTarget,
    /// Nothing to compare: the period has no point so far, which is not 0.
    NotMeasured,
}

/// Value to date against target to date.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Pace {
    /// What the period comes to so far.
    pub actual: Option<f64>,
    /// What it is to come to.
    pub target: Option<f64>,
    /// What it was to come to by now.
    pub expected: Option<f64>,
    /// How much of the period has passed, 0 to 1.
    pub elapsed: f64,
    /// Which way is better; `None` without a target.
    pub direction: Option<Direction>,
    /// How much there is of what is expected by now: 1 is all. `None` where nothing is expected yet, or
    /// where it is where the KPI starts from: then it is either met or not.
    pub ratio: Option<f64>,
    /// The verdict.
    pub status: PaceStatus,
}

/// A number of [`PaceInput`] that is not usable. The message names the field and does not repeat the number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is not usable: numbers must be finite, and elapsed 0 to 1")]
pub struct InvalidPace {
    field: &'static str,
}

impl InvalidPace {
    /// The field, by its name in [`PaceInput`].
    #[must_use]
    pub fn field(&self) -> &'static str {
        self.field
    }
}

/// Compares a period's value so far with what was to be expected by now.
///
/// | aggregation | expected by now |
/// |---|---|
/// | sum | `target * elapsed`: the same each day |
/// | last, with a baseline | `baseline + (target - baseline) * elapsed`: the straight line of OKR tools |
/// | last, without one | the target: a level to hold |
/// | mean | the target: a mean does not grow as the period does |
///
/// ```text
/// start = baseline of a last or a mean, 0 where there is none; 0 of a sum
/// ratio = 1 - behind / |expected - start|
/// behind = expected - actual where more is better, actual - expected where less is
/// ```
///
/// Where more is better, and where a level falls from its baseline, the ratio is the way made by the way
/// expected, `(actual - start) / (expected - start)`. A sum that should stay below its target, such as costs, is
/// at 0.9 when it is a tenth beyond what is expected. At the end of the period this is the plain comparison with
/// the target. More in the better direction never gives a smaller ratio.
///
/// # Errors
/// [`InvalidPace`] for the first number that is NaN or infinite, or `elapsed` outside of 0 to 1.
///
/// # Example
/// Revenue is to be 62 000 in March. After ten days it is 18 000.
///
/// ```
/// use sesari_db::progress::{PaceInput, PaceStatus, Thresholds, pace};
/// use sesari_db::value::Aggregation;
///
/// let march = PaceInput {
///     aggregation: Aggregation::Sum,
///     actual: Some(18_000.0),
///     target: Some(62_000.0),
///     baseline: None,
///     elapsed: 10.0 / 31.0,
/// };
/// let march = pace(&march, Thresholds::default())?;
/// assert_eq!(march.expected, Some(20_000.0));
/// assert_eq!((march.ratio, march.status), (Some(0.9), PaceStatus::OnTrack));
/// # Ok::<(), sesari_db::progress::InvalidPace>(())
/// ```
pub fn pace(input: &PaceInput, thresholds: Thresholds) -> Result<Pace, InvalidPace> {
    validate(input)?;
    let PaceInput { actual, target, elapsed, .. } = *input;
    let mut pace = Pace {
        actual,
        target,
        expected: None,
        elapsed,
        direction: None,
        ratio: None,
        status: PaceStatus::NoTarget,
    };
    let Some(target) = target else { return Ok(pace) };
    let down = target < input.baseline.unwrap_or(0.0);
    let start = match input.aggregation {
        Aggregation::Sum => 0.0,
        _ => input.baseline.unwrap_or(0.0),
    };
    let expected = match (&input.aggregation, input.baseline) {
        (Aggregation::Sum, _) | (Aggregation::Last, Some(_)) => between(start, target, elapsed),
        _ => target,
    };
    pace.expected = Some(expected);
    pace.direction = Some(if down { Direction::Down } else { Direction::Up });
    pace.status = PaceStatus::NotMeasured;
    let Some(actual) = actual else { return Ok(pace) };
    // In halves: the difference of huge numbers may be beyond the type.
    let half = |a: f64, b: f64| a / 2.0 - b / 2.0;
    let behind = if down { half(actual, expected) } else { half(expected, actual) };
    let way = half(expected, start).abs();
    pace.ratio = (way > 0.0).then(|| (1.0 - behind / way).clamp(f64::MIN, f64::MAX));
    pace.status = match pace.ratio {
        None if behind <= 0.0 => PaceStatus::OnTrack,
        Some(ratio) if ratio >= thresholds.on_track => PaceStatus::OnTrack,
        Some(ratio) if ratio >= thresholds.at_risk => PaceStatus::AtRisk,
        _ => PaceStatus::OffTrack,
    };
    Ok(pace)
}

fn validate(input: &PaceInput) -> Result<(), InvalidPace> {
    let infinite = |number: Option<f64>| number.is_some_and(|number| !number.is_finite());
    let field = if infinite(input.actual) {
        "actual"
    } else if infinite(input.target) {
        "target"
    } else if infinite(input.baseline) {
        "baseline"
    } else if !(0.0..=1.0).contains(&input.elapsed) {
        "elapsed"
    } else {
        return Ok(());
    };
    Err(InvalidPace { field })
}

/// The place between two numbers; at the ends exactly these.
fn between(start: f64, end: f64, part: f64) -> f64 {
    let place = start * (1.0 - part) + end * part;
    place.clamp(start.min(end), start.max(end)) + 0.0
}
