//! IANA time zones, and where their calendars' periods begin.

use std::fmt;
use std::str::FromStr;

use chrono::{
    DateTime, Datelike, Days, LocalResult, Month, Months, NaiveDate, NaiveDateTime, Offset,
    TimeZone, Utc, Weekday,
};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::Invalid;

/// A time zone of the IANA database, such as `Europe/Berlin`.
///
/// Its rules are those compiled into this crate ([`Zone::DATABASE`]), not the server's. After the
/// year 2099 they end, and a zone keeps the offset it had last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone(Tz);

impl Zone {
    /// Coordinated Universal Time.
    pub const UTC: Self = Self(Tz::UTC);

    /// The same by the name that a workspace has which says nothing else.
    pub(crate) const ETC_UTC: Self = Self(Tz::Etc__UTC);

    /// The version of the IANA database, such as `2025b`.
    pub const DATABASE: &'static str = chrono_tz::IANA_TZDB_VERSION;

    /// All zones and their aliases, by name.
    pub fn all() -> impl Iterator<Item = Self> {
        chrono_tz::TZ_VARIANTS.iter().copied().map(Self)
    }

    /// The name, such as `Europe/Berlin`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// What a clock on the wall shows.
    pub(crate) fn shows(self, moment: DateTime<Utc>) -> NaiveDateTime {
        self.0.from_utc_datetime(&moment.naive_utc()).naive_local()
    }

    /// The first moment at which the clock on the wall shows this time or a later one.
    pub(crate) fn first_at(self, local: NaiveDateTime) -> DateTime<Utc> {
        if let Some(moment) = self.0.from_local_datetime(&local).earliest() {
            return moment.to_utc();
        }
        // Within a gap, which may be a whole day: where it ends. No zone is further from UTC.
        let around = local.and_utc().timestamp();
        let moment =
            first(around - 26 * HOUR, around + 26 * HOUR, |moment| self.shows(at(moment)) >= local);
        at(moment)
    }

    /// When the day began in which this moment lies: the clock may show the date before again.
    pub(crate) fn day_until(self, moment: DateTime<Utc>) -> DateTime<Utc> {
        self.days_around(moment).0
    }

    /// When the first day begins that does not begin before this moment.
    pub(crate) fn day_from(self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let (day, next) = self.days_around(moment);
        if day == moment { Some(day) } else { next }
    }

    /// When the day of this moment began, and when the next does.
    fn days_around(self, moment: DateTime<Utc>) -> (DateTime<Utc>, Option<DateTime<Utc>>) {
        let mut date = self.shows(moment).date();
        let mut day = self.first_at(date.into());
        loop {
            let next = date.succ_opt();
            match next.map(|next| (next, self.first_at(next.into()))) {
                Some((next, begins)) if begins <= moment => (date, day) = (next, begins),
                later => return (day, later.map(|(_, begins)| begins)),
            }
        }
    }

    /// The moment at which the clock on the wall shows this time.
    ///
    /// # Errors
    /// [`Invalid`] for a time that the clock skips or shows twice.
    pub(crate) fn only_at(self, local: NaiveDateTime) -> Result<DateTime<Utc>, Invalid> {
        match self.0.from_local_datetime(&local) {
            LocalResult::Single(moment) => Ok(moment.to_utc()),
            LocalResult::Ambiguous(..) => Err(Invalid::new(
                "timestamp",
                "the zone's clock shows this time twice; write the offset",
            )),
            LocalResult::None => {
                Err(Invalid::new("timestamp", "the zone's clock skips this time; write the offset"))
            }
        }
    }

    /// Seconds east of UTC.
    fn offset(self, seconds: i64) -> i64 {
        self.offset_at(at(seconds)).into()
    }

    /// Seconds east of UTC at a moment.
    pub(crate) fn offset_at(self, moment: DateTime<Utc>) -> i32 {
        self.0.offset_from_utc_datetime(&moment.naive_utc()).fix().local_minus_utc()
    }

    /// When the offset first changes after a moment, if it is another at the end.
    pub(crate) fn first_change(
        self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let (from, to) = (from.timestamp(), to.timestamp());
        (self.offset(from) != self.offset(to)).then(|| at(self.change(from, to)))
    }

    /// When the offset changes, after `from` and up to `to`, between which it changes once.
    fn change(self, from: i64, to: i64) -> i64 {
        let before = self.offset(from);
        first(from + 1, to, |moment| self.offset(moment) != before)
    }

    /// Whether a new hour of the clock begins as the offset changes: it is put back, or jumps to
    /// another hour.
    fn begins_hour(self, change: i64) -> bool {
        let (before, after) = (self.offset(change - 1), self.offset(change));
        after < before
            || (change + after).div_euclid(HOUR) != (change - 1 + before).div_euclid(HOUR)
    }

    /// When the hour of the clock began in which this moment lies.
    pub(crate) fn hour_of(self, moment: DateTime<Utc>) -> DateTime<Utc> {
        let mut moment = moment.timestamp();
        loop {
            let offset = self.offset(moment);
            let full = moment - (moment + offset).rem_euclid(HOUR);
            if self.offset(full) == offset {
                return at(full);
            }
            let change = self.change(full, moment);
            if self.begins_hour(change) {
                return at(change);
            }
            moment = change - 1;
        }
    }

    /// When the next hour of the clock begins.
    pub(crate) fn hour_after(self, moment: DateTime<Utc>) -> DateTime<Utc> {
        let mut moment = moment.timestamp();
        loop {
            let offset = self.offset(moment);
            let full = moment - (moment + offset).rem_euclid(HOUR) + HOUR;
            if self.offset(full) == offset {
                return at(full);
            }
            let change = self.change(moment, full);
            if self.begins_hour(change) {
                return at(change);
            }
            moment = change;
        }
    }
}

const HOUR: i64 = 3600;

/// No moment that is asked for lies outside of chrono's time, which has 262 000 years.
fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap_or_default()
}

/// The first number up to `high` that has what all after it have.
fn first(mut low: i64, mut high: i64, has: impl Fn(i64) -> bool) -> i64 {
    while low < high {
        let middle = low + (high - low) / 2;
        if has(middle) { high = middle } else { low = middle + 1 }
    }
    high
}

impl FromStr for Zone {
    type Err = Invalid;

    fn from_str(name: &str) -> Result<Self, Invalid> {
        name.parse().map(Self).map_err(|_| {
            Invalid::new("zone", "expected a name of the IANA time zone database, as Europe/Berlin")
        })
    }
}

impl TryFrom<String> for Zone {
    type Error = Invalid;

    fn try_from(name: String) -> Result<Self, Invalid> {
        name.parse()
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> String {
        zone.name().to_owned()
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How many months ago this one last began, 0 to 11.
fn months_since(date: NaiveDate, first: Month) -> u32 {
    (date.month() + 12 - first.number_from_month()) % 12
}

/// The first of the month so many months before.
fn months_before(date: NaiveDate, months: u32) -> Option<NaiveDate> {
    date.with_day(1)?.checked_sub_months(Months::new(months))
}

/// A period of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// An hour as the clock shows it. One in which the clock is changed is shorter or longer, and
    /// one that is shown twice is two.
    Hour,
    /// From midnight, or from the first moment of the date where midnight does not exist.
    Day,
    /// An ISO week, from Monday.
    Week,
    /// From the first.
    Month,
    /// From the first of January, April, July or October.
    Quarter,
    /// From the first of January.
    Year,
    /// A week from this day.
    WeekFrom(Weekday),
    /// A quarter of a fiscal year that begins with the first of this month.
    FiscalQuarter(Month),
    /// A fiscal year that begins with the first of this month.
    FiscalYear(Month),
}

impl Unit {
    /// The first date of the period of this date. Hours lie within a day.
    pub(crate) fn start(self, date: NaiveDate) -> NaiveDate {
        let (year, month) = (date.year(), date.month());
        let start = match self {
            Self::Hour | Self::Day => Some(date),
            Self::Week => {
                date.checked_sub_days(Days::new(date.weekday().num_days_from_monday().into()))
            }
            Self::Month => NaiveDate::from_ymd_opt(year, month, 1),
            Self::Quarter => NaiveDate::from_ymd_opt(year, (month - 1) / 3 * 3 + 1, 1),
            Self::Year => NaiveDate::from_ymd_opt(year, 1, 1),
            Self::WeekFrom(first) => {
                date.checked_sub_days(Days::new(date.weekday().days_since(first).into()))
            }
            Self::FiscalQuarter(first) => months_before(date, months_since(date, first) % 3),
            Self::FiscalYear(first) => months_before(date, months_since(date, first)),
        };
        start.unwrap_or(date)
    }

    /// So many periods later, or before where negative. A day that the month does not have is its
    /// last.
    pub(crate) fn shift(self, date: NaiveDate, periods: i64) -> Option<NaiveDate> {
        let days = |each: u64| {
            let days = Days::new(periods.unsigned_abs().checked_mul(each)?);
            if periods < 0 { date.checked_sub_days(days) } else { date.checked_add_days(days) }
        };
        let months = |each: u64| {
            let months = periods.unsigned_abs().checked_mul(each)?;
            let months = Months::new(months.try_into().ok()?);
            if periods < 0 {
                date.checked_sub_months(months)
            } else {
                date.checked_add_months(months)
            }
        };
        match self {
            Self::Hour | Self::Day => days(1),
            Self::Week | Self::WeekFrom(_) => days(7),
            Self::Month => months(1),
            Self::Quarter | Self::FiscalQuarter(_) => months(3),
            Self::Year | Self::FiscalYear(_) => months(12),
        }
    }
}
