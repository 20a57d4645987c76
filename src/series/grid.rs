//! Which buckets a range is cut into.

use chrono::{DateTime, Month, TimeDelta, Utc, Weekday};
use serde::{Deserialize, Serialize};

use super::error::SeriesError;
use crate::point::TimeRange;
use crate::value::Timestamp;
use crate::value::zone::{Unit, Zone};

/// How long a bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Always the same time, counted from an origin.
    Fixed(FixedWidth),
    /// A period of the calendar in a zone.
    Calendar(Unit, Zone),
}

/// A width and the moment it is counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "(i64, Timestamp)", into = "(i64, Timestamp)")]
pub struct FixedWidth {
    micros: i64,
    origin: Timestamp,
}

impl TryFrom<(i64, Timestamp)> for FixedWidth {
    type Error = SeriesError;

    fn try_from((micros, origin): (i64, Timestamp)) -> Result<Self, SeriesError> {
        Step::fixed(TimeDelta::microseconds(micros), origin)?;
        Ok(Self { micros, origin })
    }
}

impl From<FixedWidth> for (i64, Timestamp) {
    fn from(width: FixedWidth) -> Self {
        (width.micros, width.origin)
    }
}

impl Step {
    /// Steps of one width, counted from a moment: before it as well as after.
    ///
    /// # Errors
    /// [`SeriesError::Width`] unless the width is a whole number of milliseconds above 0.
    pub fn fixed(width: TimeDelta, origin: Timestamp) -> Result<Self, SeriesError> {
        match width.num_microseconds() {
            Some(micros) if micros > 0 && width == TimeDelta::milliseconds(micros / 1000) => {
                Ok(Self::Fixed(FixedWidth { micros, origin }))
            }
            _ => Err(SeriesError::Width),
        }
    }

    /// Hours as the clocks of a zone show them.
    #[must_use]
    pub fn hour(zone: Zone) -> Self {
        Self::Calendar(Unit::Hour, zone)
    }

    /// Days of a zone.
    #[must_use]
    pub fn day(zone: Zone) -> Self {
        Self::Calendar(Unit::Day, zone)
    }

    /// ISO weeks of a zone, from Monday.
    #[must_use]
    pub fn week(zone: Zone) -> Self {
        Self::Calendar(Unit::Week, zone)
    }

    /// Months of a zone.
    #[must_use]
    pub fn month(zone: Zone) -> Self {
        Self::Calendar(Unit::Month, zone)
    }

    /// Quarters of a zone.
    #[must_use]
    pub fn quarter(zone: Zone) -> Self {
        Self::Calendar(Unit::Quarter, zone)
    }

    /// Years of a zone.
    #[must_use]
    pub fn year(zone: Zone) -> Self {
        Self::Calendar(Unit::Year, zone)
    }

    /// Weeks of a zone from this day, such as Sunday.
    #[must_use]
    pub fn week_from(first: Weekday, zone: Zone) -> Self {
        Self::Calendar(Unit::WeekFrom(first), zone)
    }

    /// Quarters of a zone's fiscal years, which begin with the first of this month.
    #[must_use]
    pub fn fiscal_quarter(first: Month, zone: Zone) -> Self {
        Self::Calendar(Unit::FiscalQuarter(first), zone)
    }

    /// Fiscal years of a zone, which begin with the first of this month.
    #[must_use]
    pub fn fiscal_year(first: Month, zone: Zone) -> Self {
        Self::Calendar(Unit::FiscalYear(first), zone)
    }

    /// The starts of the steps, from the one in which a moment lies.
    fn starts(self, from: DateTime<Utc>) -> Box<dyn Iterator<Item = DateTime<Utc>>> {
        match self {
            Self::Fixed(width) => {
                let origin = width.origin.get().timestamp_micros();
                let away = from.timestamp_micros() - origin;
                // In 128 bits, which any product of two numbers of 64 fits.
                let (width, origin) = (i128::from(width.micros), i128::from(origin));
                let begun = i128::from(away).div_euclid(width);
                Box::new((0..).map(move |n: i128| {
                    let micros = origin + (begun + n) * width;
                    let beyond = if micros < 0 {
                        DateTime::<Utc>::MIN_UTC
                    } else {
                        DateTime::<Utc>::MAX_UTC
                    };
                    i64::try_from(micros)
                        .ok()
                        .and_then(DateTime::from_timestamp_micros)
                        .unwrap_or(beyond)
                }))
            }
            Self::Calendar(Unit::Hour, zone) => {
                let first = zone.hour_of(from);
                Box::new(std::iter::successors(Some(first), move |start| {
                    Some(zone.hour_after(*start))
                }))
            }
            Self::Calendar(unit, zone) => {
                let begin = move |date: chrono::NaiveDate| zone.first_at(date.into());
                let mut date = unit.start(zone.shows(from).date());
                // The clock may show a date again whose next had begun.
                while let Some(next) = unit.shift(date, 1)
                    && begin(next) <= from
                {
                    date = next;
                }
                let dates = std::iter::successors(Some(date), move |date| unit.shift(*date, 1));
                Box::new(dates.map(begin))
            }
        }
    }

    /// So many steps back on the clock of the zone.
    fn back(self, moment: Timestamp, steps: i64) -> Result<Timestamp, SeriesError> {
        let time = |each: i64| {
            let micros = steps.checked_mul(each)?;
            moment.get().checked_sub_signed(TimeDelta::microseconds(micros))
        };
        let back = match self {
            Self::Fixed(width) => time(width.micros),
            Self::Calendar(Unit::Hour, _) => time(3_600_000_000),
            Self::Calendar(unit, zone) => {
                let shown = zone.shows(moment.get());
                let date = unit.shift(shown.date(), -steps);
                date.map(|date| zone.first_at(date.and_time(shown.time())))
            }
        };
        let back = back.ok_or(SeriesError::OutOfRange)?;
        Timestamp::new(back).map_err(|_| SeriesError::OutOfRange)
    }
}

/// A range cut into buckets that follow each other without gaps.
///
/// Edges are moments in UTC, found here and not by the server. A bucket contains its start and not
/// its end. A date that a zone skipped, such as 2011-12-30 in `Pacific/Apia`, has no bucket; where
/// a clock is put back over midnight, what it shows again stays with the day that had begun.
///
/// ```
/// use sesari_db::repo::TimeRange;
/// use sesari_db::series::{Grid, Step};
/// use sesari_db::value::Timestamp;
///
/// let at = |text: &str| Ok::<_, Box<dyn std::error::Error>>(Timestamp::new(text.parse()?)?);
/// let range = TimeRange::new(at("2026-03-28T12:00:00Z")?, at("2026-03-31T00:00:00Z")?)?;
/// let days = Grid::new(range, Step::day("Europe/Berlin".parse()?))?;
/// assert_eq!(
///     days.edges(),
///     [
///         at("2026-03-28T12:00:00Z")?, // cut
///         at("2026-03-28T23:00:00Z")?, // Sunday, 23 hours long
///         at("2026-03-29T22:00:00Z")?,
///         at("2026-03-30T22:00:00Z")?,
///         at("2026-03-31T00:00:00Z")?, // cut
///     ]
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grid {
    range: TimeRange,
    step: Step,
    edges: Vec<Timestamp>,
}

impl Grid {
    /// The most buckets that a grid may have.
    pub const MAX_BUCKETS: usize = 10_000;

    /// The most buckets that one question may have for all of its KPIs.
    pub const MAX_CELLS: usize = 250_000;

    /// Cuts a range into steps. Its first and last bucket are as long as the range leaves them. An
    /// empty range has no bucket.
    ///
    /// # Errors
    /// [`SeriesError::TooManyBuckets`].
    pub fn new(range: TimeRange, step: Step) -> Result<Self, SeriesError> {
        let (from, to) = (range.from(), range.to());
        let mut edges = Vec::new();
        if from < to {
            edges.push(from);
            let mut last = from.get();
            // The first step is the one in which the range begins.
            for edge in step.starts(from.get()).skip(1).take_while(|edge| *edge < to.get()) {
                // Steps that never happened are empty.
                if edge > last {
                    edges.push(Timestamp::new(edge).unwrap_or(to));
                    last = edge;
                }
                if edges.len() > Self::MAX_BUCKETS {
                    return Err(SeriesError::TooManyBuckets);
                }
            }
            edges.push(to);
        }
        Ok(Self { range, step, edges })
    }

    /// Widens a range to whole steps, and cuts it. Only the years 1 and 9999 may cut a bucket.
    ///
    /// # Errors
    /// [`SeriesError::TooManyBuckets`].
    pub fn whole(range: TimeRange, step: Step) -> Result<Self, SeriesError> {
        let (from, to) = (range.from(), range.to());
        if from == to {
            return Self::new(range, step);
        }
        let widened = |edge: Option<DateTime<Utc>>, otherwise| {
            edge.and_then(|edge| Timestamp::new(edge).ok()).unwrap_or(otherwise)
        };
        let from = widened(step.starts(from.get()).next(), from);
        let to = widened(step.starts(to.get()).take(2).find(|edge| *edge >= to.get()), to);
        Self::new(TimeRange::new(from, to).unwrap_or(range), step)
    }

    /// The range.
    #[must_use]
    pub fn range(&self) -> TimeRange {
        self.range
    }

    /// In which zone its buckets may be whole days.
    pub(crate) fn zone(&self) -> Zone {
        match self.step {
            Step::Fixed(_) => Zone::UTC,
            Step::Calendar(_, zone) => zone,
        }
    }

    /// The step.
    #[must_use]
    pub fn step(&self) -> Step {
        self.step
    }

    /// The edges of the buckets, in order: one more than there are buckets, or none.
    #[must_use]
    pub fn edges(&self) -> &[Timestamp] {
        &self.edges
    }

    /// How many buckets there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.edges.len().saturating_sub(1)
    }

    /// Whether the range is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.edges.is_empty()
    }

    /// The period before: both ends of the range moved back on the clock of the zone, by as few
    /// steps as it takes to end before the range begins. This month until now is compared with the
    /// last until the same day and hour.
    ///
    /// # Errors
    /// [`SeriesError::OutOfRange`] before the year 1, and [`SeriesError::TooManyBuckets`].
    pub fn before(&self) -> Result<Self, SeriesError> {
        let (from, to) = (self.range.from(), self.range.to());
        // Cut at both ends, a range may have two buckets more than it is steps long.
        let mut steps = i64::try_from(self.len().saturating_sub(2).max(1)).unwrap_or(i64::MAX);
        while self.step.back(to, steps)? > from {
            steps += 1;
        }
        let (before, end) = (self.step.back(from, steps)?, self.step.back(to, steps)?);
        let range = TimeRange::new(before.min(end), end).unwrap_or(self.range);
        Self::new(range, self.step)
    }
}
