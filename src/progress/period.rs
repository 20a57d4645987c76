//! Periods of a calendar, and how much of one has passed.

use chrono::NaiveDate;

use crate::value::Timestamp;
use crate::value::zone::{Unit, Zone};

/// A period of a zone's calendar, such as March 2026 in Berlin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    zone: Zone,
    first: NaiveDate,
    end: NaiveDate,
    from: Timestamp,
    to: Timestamp,
}

impl Period {
    /// The period in which a moment lies; hours are those of a whole day. `None` where it would end
    /// after the year 9999 or begin before the year 1.
    #[must_use]
    pub fn of(unit: Unit, zone: Zone, at: Timestamp) -> Option<Self> {
        let first = unit.start(Self::date(zone, at));
        let end = unit.shift(first, 1)?;
        let begins = |date: NaiveDate| Timestamp::new(zone.first_at(date.into())).ok();
        Some(Self { zone, first, end, from: begins(first)?, to: begins(end)? })
    }

    /// The date of a moment. Where a clock is put back over midnight, what it shows again belongs to the
    /// day that had begun, as in a [`Grid`](crate::series::Grid).
    #[must_use]
    pub fn date(zone: Zone, at: Timestamp) -> NaiveDate {
        zone.shows(zone.day_until(at.get())).date()
    }

    /// Its first date.
    #[must_use]
    pub fn first(&self) -> NaiveDate {
        self.first
    }

    /// When it begins.
    #[must_use]
    pub fn from(&self) -> Timestamp {
        self.from
    }

    /// When it ends, which is when the next begins.
    #[must_use]
    pub fn to(&self) -> Timestamp {
        self.to
    }

    /// How much of it has passed, 0 to 1, in days: each counts the same, 23 or 25 hours long as it may be,
    /// and so does each moment within one. A date that the zone skipped is no day.
    ///
    /// ```
    /// use sesari_db::progress::Period;
    /// use sesari_db::series::Unit;
    /// use sesari_db::value::Timestamp;
    ///
    /// let at = |text: &str| Ok::<_, Box<dyn std::error::Error>>(Timestamp::new(text.parse()?)?);
    /// let march = Period::of(Unit::Month, "Europe/Berlin".parse()?, at("2026-03-10T12:00:00Z")?)
    ///     .ok_or("a month of this century")?;
    /// // The clock went forward on the 29th: two hours to UTC from then on.
    /// assert_eq!(march.elapsed(at("2026-03-29T22:00:00Z")?), 29.0 / 31.0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a period is a few days, of milliseconds")]
    pub fn elapsed(&self, at: Timestamp) -> f64 {
        if at >= self.to {
            return 1.0;
        }
        let (mut days, mut passed, mut part) = (0_u32, 0_u32, 0.0);
        let mut begins = self.from.get();
        for date in self.first.iter_days().skip(1).take_while(|date| *date <= self.end) {
            let ends = self.zone.first_at(date.into());
            if ends <= begins {
                continue;
            }
            days += 1;
            if ends <= at.get() {
                passed += 1;
            } else if begins < at.get() {
                let millis = |span: chrono::TimeDelta| span.num_milliseconds() as f64;
                part = millis(at.get() - begins) / millis(ends - begins);
            }
            begins = ends;
        }
        if days == 0 { 0.0 } else { (f64::from(passed) + part) / f64::from(days) }
    }
}
