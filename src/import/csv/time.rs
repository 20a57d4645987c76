//! Times as files write them.

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};

use crate::series::Zone;
use crate::value::{Invalid, Timestamp};

/// How the times of a file are written: as in RFC 3339, and without an offset once a zone is stated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Times {
    zone: Option<Zone>,
    pattern: Option<String>,
}

fn fault(rule: &'static str) -> Invalid {
    Invalid::new("timestamp", rule)
}

impl Times {
    pub(super) fn zone(&mut self, zone: Zone) {
        self.zone = Some(zone);
    }

    pub(super) fn pattern(&mut self, zone: Zone, pattern: &str) -> Result<(), Invalid> {
        // A pattern that is wrong would refuse each row, and one without a date read nothing.
        let known = StrftimeItems::new(pattern).all(|item| !matches!(item, Item::Error));
        let date = NaiveDate::from_ymd_opt(2026, 11, 26).unwrap_or_default();
        let example = date.and_hms_opt(17, 31, 0).unwrap_or_default();
        let written = known.then(|| example.format(pattern).to_string());
        if written.is_none_or(|text| local(&text, pattern).is_none_or(|read| read.date() != date)) {
            return Err(Invalid::new("pattern", "expected a date in strftime's form, as %d/%m/%Y"));
        }
        (self.zone, self.pattern) = (Some(zone), Some(pattern.to_owned()));
        Ok(())
    }

    pub(super) fn read(&self, text: &str) -> Result<Timestamp, Invalid> {
        let text = text.trim();
        if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
            return Timestamp::new(moment.with_timezone(&Utc));
        }
        let Some(zone) = self.zone else {
            return Err(fault(if iso(text).is_some() {
                "a time without an offset; state the file's zone"
            } else {
                "expected a time such as 2026-01-31T23:59:59+01:00"
            }));
        };
        let read = match &self.pattern {
            Some(pattern) => local(text, pattern).map(|at| (at, !has_time(pattern))),
            None => iso(text),
        };
        let (at, is_date) = read.ok_or_else(|| {
            fault("expected a date or time in the stated form, by default as 2026-01-31 23:59")
        })?;
        // The first moment of a date is one, even where midnight is skipped or shown twice.
        let moment = if is_date { zone.first_at(at) } else { zone.only_at(at)? };
        Timestamp::new(moment)
    }
}

/// A date or time of this pattern.
fn local(text: &str, pattern: &str) -> Option<NaiveDateTime> {
    let date =
        || NaiveDate::parse_from_str(text, pattern).ok().map(|date| date.and_time(NaiveTime::MIN));
    NaiveDateTime::parse_from_str(text, pattern).ok().or_else(date)
}

fn has_time(pattern: &str) -> bool {
    let noon = |hour| {
        NaiveDate::from_ymd_opt(2026, 1, 1)
            .and_then(|date| date.and_hms_opt(hour, 0, 0))
            .unwrap_or_default()
    };
    noon(3).format(pattern).to_string() != noon(16).format(pattern).to_string()
}

/// A date, or date and time, as ISO 8601 writes them, in the long or the short form; and whether it is a
/// date alone.
pub(super) fn iso(text: &str) -> Option<(NaiveDateTime, bool)> {
    // chrono reads more and fewer digits than these forms have.
    let digits = |range: std::ops::Range<usize>| {
        text.get(range).is_some_and(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let (long, short) = (digits(0..4) && digits(5..7) && digits(8..10), digits(0..8));
    let midnight = |date: NaiveDate| (date.and_time(NaiveTime::MIN), true);
    match text.len() {
        8 if short => NaiveDate::parse_from_str(text, "%Y%m%d").ok().map(midnight),
        10 if long => NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().map(midnight),
        16.. if long => {
            ["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"]
                .iter()
                .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
                .map(|at| (at, false))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(times: &Times, text: &str) -> Option<String> {
        times
            .read(text)
            .ok()
            .map(|at| at.get().to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
    }

    fn at(zone: &str) -> Times {
        let mut times = Times::default();
        times.zone(zone.parse().unwrap());
        times
    }

    #[test]
    fn a_time_without_an_offset_wants_a_zone() {
        let none = Times::default();
        assert_eq!(
            read(&none, "2026-01-31T23:59:00+01:00").as_deref(),
            Some("2026-01-31T22:59:00Z")
        );
        for naive in ["2026-01-31", "2026-01-31 23:59", "20260131"] {
            assert_eq!(read(&none, naive), None, "{naive}");
        }
        for (text, expected) in [
            ("2026-01-31", "2026-01-30T23:00:00Z"),
            ("20260131", "2026-01-30T23:00:00Z"),
            ("2026-01-31 23:59", "2026-01-31T22:59:00Z"),
            ("2026-07-31T23:59:07", "2026-07-31T21:59:07Z"),
            ("2026-07-31 23:59:07.250", "2026-07-31T21:59:07.250Z"),
            ("2026-07-31T00:00:00Z", "2026-07-31T00:00:00Z"),
        ] {
            assert_eq!(read(&at("Europe/Berlin"), text).as_deref(), Some(expected), "{text}");
        }
        for bad in
            ["2026-1-31", "26-01-31", "2026-02-30", "31.01.2026", "2026-01-31 25:00", "", "2026"]
        {
            assert_eq!(read(&at("UTC"), bad), None, "{bad}");
        }
    }

    #[test]
    fn a_time_that_the_clock_skips_or_shows_twice_is_refused_and_a_date_is_not() {
        let berlin = at("Europe/Berlin");
        assert_eq!(read(&berlin, "2026-03-29 02:30"), None);
        assert_eq!(read(&berlin, "2026-10-25 02:30"), None);
        assert_eq!(read(&berlin, "2026-10-25 03:00").as_deref(), Some("2026-10-25T02:00:00Z"));
        // No midnight there on that day.
        assert_eq!(
            read(&at("Africa/Cairo"), "2026-04-24").as_deref(),
            Some("2026-04-23T22:00:00Z")
        );
        assert_eq!(
            read(&at("America/Havana"), "2026-11-01").as_deref(),
            Some("2026-11-01T04:00:00Z")
        );
    }

    #[test]
    fn a_stated_pattern_is_the_only_one_without_an_offset() {
        let mut times = Times::default();
        times.pattern(Zone::UTC, "%d/%m/%Y").unwrap();
        assert_eq!(read(&times, "03/04/2026").as_deref(), Some("2026-04-03T00:00:00Z"));
        assert_eq!(read(&times, "2026-04-03"), None);
        times.pattern(Zone::UTC, "%m/%d/%Y %I:%M %p").unwrap();
        assert_eq!(read(&times, "03/04/2026 01:30 PM").as_deref(), Some("2026-03-04T13:30:00Z"));
        for bad in ["", "%Q", "%d/%m", "%H:%M", "%d/%m/%y %"] {
            assert!(Times::default().pattern(Zone::UTC, bad).is_err(), "{bad}");
        }
    }
}
