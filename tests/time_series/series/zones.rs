//! Every zone at every change of its offset. The oracle looks at the clock, minute by minute or
//! second by second, and never asks when a local time is.

use std::collections::HashSet;

use chrono::{
    DateTime, Datelike, Days, Month, NaiveDate, NaiveDateTime, Offset, TimeZone, Timelike, Utc,
    Weekday,
};
use chrono_tz::{TZ_VARIANTS, Tz};
use sesari_db::repo::TimeRange;
use sesari_db::series::{Grid, Step, Unit};
use sesari_db::value::Timestamp;

use super::{at, long, range};

fn moment(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

fn offset(zone: Tz, seconds: i64) -> i64 {
    zone.offset_from_utc_datetime(&moment(seconds).naive_utc()).fix().local_minus_utc().into()
}

pub(crate) fn clock(zone: Tz, seconds: i64) -> NaiveDateTime {
    moment(seconds + offset(zone, seconds)).naive_utc()
}

/// Every moment at which the offset changes, looked for every so many days.
fn changes(zone: Tz, from: i64, to: i64, days: i64) -> Vec<i64> {
    let mut found = Vec::new();
    let (mut low, mut before) = (from, offset(zone, from));
    while low < to {
        let high = low + days * 86_400;
        let after = offset(zone, high);
        if after != before {
            let (mut low, mut high) = (low, high);
            while high - low > 1 {
                let middle = low + (high - low) / 2;
                if offset(zone, middle) == before { low = middle } else { high = middle }
            }
            found.push(high);
        }
        (low, before) = (high, after);
    }
    found
}

/// How many months a date is from the beginning of a fiscal year.
fn months(date: NaiveDate, first: Month) -> i32 {
    date.year() * 12 + i32::try_from(date.month()).unwrap()
        - i32::try_from(first.number_from_month()).unwrap()
}

/// What tells one period from the next, growing with time.
fn period(unit: Unit, date: NaiveDate) -> (i32, u32) {
    match unit {
        Unit::Hour | Unit::Day => (date.year(), date.ordinal()),
        Unit::Week => (date.iso_week().year(), date.iso_week().week()),
        Unit::Month => (date.year(), date.month()),
        Unit::Quarter => (date.year(), date.month0() / 3),
        Unit::Year => (date.year(), 0),
        Unit::WeekFrom(first) => {
            let shifted = date + Days::new((7 - u64::from(first.num_days_from_monday())) % 7);
            (shifted.iso_week().year(), shifted.iso_week().week())
        }
        Unit::FiscalQuarter(first) => (months(date, first).div_euclid(3), 0),
        Unit::FiscalYear(first) => (months(date, first).div_euclid(12), 0),
    }
}

/// Where the clock shows a period that it has not shown before.
pub(crate) fn edges_by_the_clock(clock: &[(i64, NaiveDateTime)], unit: Unit) -> Vec<i64> {
    let mut begun = period(unit, clock[0].1.date());
    let mut edges = vec![clock[0].0];
    for pair in clock.windows(2) {
        let ((_, shown), (seconds, now)) = (pair[0], pair[1]);
        let is_edge = if unit == Unit::Hour {
            now < shown || (now.date(), now.hour()) != (shown.date(), shown.hour())
        } else {
            period(unit, now.date()) > begun
        };
        if is_edge {
            edges.push(seconds);
            begun = period(unit, now.date());
        }
    }
    edges
}

pub(crate) const UNITS: [Unit; 10] = [
    Unit::Hour,
    Unit::Day,
    Unit::Week,
    Unit::Month,
    Unit::Quarter,
    Unit::Year,
    Unit::WeekFrom(Weekday::Sun),
    Unit::WeekFrom(Weekday::Wed),
    Unit::FiscalQuarter(Month::February),
    Unit::FiscalYear(Month::April),
];

/// A grid over the days around a change, with every unit.
fn look_around(zone: Tz, change: i64) {
    // As coarse as all that happens allows.
    let step = [300, 60, 1]
        .into_iter()
        .find(|step| {
            [change, offset(zone, change), offset(zone, change - 1)].iter().all(|n| n % step == 0)
        })
        .unwrap();
    // A range begins in the midst of something, and before any midnight near the change.
    let (from, to) = (change - 40 * 3600 - 15 * 60, change + 40 * 3600 + 10 * 60);
    let seconds = (from..to).step_by(usize::try_from(step).unwrap());
    let clock: Vec<_> = seconds.map(|seconds| (seconds, clock(zone, seconds))).collect();
    let span =
        TimeRange::new(Timestamp::new(moment(from)).unwrap(), Timestamp::new(moment(to)).unwrap())
            .unwrap();
    for unit in UNITS {
        let grid = Grid::new(span, Step::Calendar(unit, zone.name().parse().unwrap())).unwrap();
        let edges: Vec<_> = grid.edges().iter().map(|edge| edge.get().timestamp()).collect();
        let mut expected = edges_by_the_clock(&clock, unit);
        expected.push(to);
        let show =
            |edges: &[i64]| edges.iter().map(|edge| moment(*edge).to_rfc3339()).collect::<Vec<_>>();
        assert_eq!(edges, expected, "{zone} {unit:?} {:?} {:?}", show(&edges), show(&expected));
    }
}

/// In short, since 2005, each kind of change of a zone once, and aliases once.
#[test]
fn buckets_are_those_of_the_clock_around_every_change_of_every_zone() {
    let year = |year: i32| at(&format!("{year}-01-04T00:00:00Z")).get().timestamp();
    let (mut looked_at, mut seen) = (0, HashSet::new());
    for zone in TZ_VARIANTS {
        let mut kinds = HashSet::new();
        let mut found = if long() {
            changes(zone, year(1840), year(2040), 1)
        } else {
            changes(zone, year(2005), year(2028), 12)
        };
        found.retain(|change| {
            let kind = (
                offset(zone, change - 1),
                offset(zone, *change),
                (change + offset(zone, *change)).rem_euclid(86_400),
            );
            kinds.insert(kind) || (long() && kind.0 % 60 == 0 && kind.1 % 60 == 0)
        });
        let kinds: Vec<_> = found.iter().map(|change| (*change, offset(zone, *change))).collect();
        if !seen.insert(kinds) {
            continue;
        }
        for change in found {
            look_around(zone, change);
            looked_at += 1;
        }
    }
    assert!(looked_at > 250, "{looked_at}");
}

/// Of the oldest and the oddest.
#[test]
fn buckets_are_those_of_the_clock_where_zones_are_odd() {
    for (zone, days) in [
        (Tz::Pacific__Apia, &["2011-12-30"][..]),  // a day less
        (Tz::Pacific__Kwajalein, &["1993-08-21"]), // a day less
        (Tz::Asia__Manila, &["1844-12-31"]),       // a day less
        (Tz::America__Juneau, &["1867-10-18"]),    // a day more
        (Tz::Africa__Monrovia, &["1972-01-07"]),   // 44 min 30 s
        (Tz::Australia__Lord_Howe, &["2026-04-04", "2026-10-03"]), // half an hour
        (Tz::Asia__Kathmandu, &["1985-12-31"]),    // from half to three quarters
        (Tz::America__St_Johns, &["2006-10-29"]),  // back at one past midnight
        (Tz::Antarctica__Troll, &["2026-03-29"]),  // two hours
        (Tz::Asia__Pyongyang, &["2018-05-04", "2015-08-14"]),
    ] {
        for day in days {
            let noon = at(&format!("{day}T12:00:00Z")).get().timestamp();
            let found = changes(zone, noon - 2 * 86_400, noon + 86_400, 1);
            assert!(!found.is_empty(), "{zone} {day}");
            for change in found {
                look_around(zone, change);
            }
        }
    }
}

fn lengths(
    zone: &str,
    step: fn(sesari_db::series::Zone) -> Step,
    from: &str,
    to: &str,
) -> Vec<i64> {
    let grid = Grid::new(range(from, to), step(zone.parse().unwrap())).unwrap();
    let minutes = |pair: &[Timestamp]| (pair[1].get() - pair[0].get()).num_minutes();
    grid.edges().windows(2).map(minutes).collect()
}

#[test]
fn days_are_as_long_as_they_were() {
    let day = 24 * 60;
    let (spring, fall) = (
        ("2026-03-27T23:00:00Z", "2026-03-30T22:00:00Z"),
        ("2026-10-23T22:00:00Z", "2026-10-26T23:00:00Z"),
    );
    assert_eq!(lengths("Europe/Berlin", Step::day, spring.0, spring.1), [day, day - 60, day]);
    assert_eq!(lengths("Europe/Berlin", Step::day, fall.0, fall.1), [day, day + 60, day]);
    assert_eq!(lengths("Europe/Berlin", Step::hour, fall.0, fall.1), [60; 73]);
    // Midnight does not exist on 2018-11-04 in São Paulo.
    let midnight = ("2018-11-03T03:00:00Z", "2018-11-06T02:00:00Z");
    assert_eq!(
        lengths("America/Sao_Paulo", Step::day, midnight.0, midnight.1),
        [day, day - 60, day]
    );
    // 2011-12-30 did not happen.
    let skipped = ("2011-12-29T10:00:00Z", "2012-01-01T10:00:00Z");
    assert_eq!(lengths("Pacific/Apia", Step::day, skipped.0, skipped.1), [day; 3]);
    // Half an hour twice.
    let howe = ("2026-04-04T13:00:00Z", "2026-04-04T16:30:00Z");
    assert_eq!(lengths("Australia/Lord_Howe", Step::hour, howe.0, howe.1), [60, 60, 30, 60]);
    let kathmandu = ("2026-01-01T18:15:00Z", "2026-01-02T18:15:00Z");
    assert_eq!(lengths("Asia/Kathmandu", Step::day, kathmandu.0, kathmandu.1), [day]);
    assert_eq!(lengths("Asia/Kathmandu", Step::hour, kathmandu.0, kathmandu.1), [60; 24]);
}

#[test]
fn weeks_begin_on_monday_and_quarters_in_january() {
    let starts = |step: Step, from, to| -> Vec<String> {
        let grid = Grid::whole(range(from, to), step).unwrap();
        grid.edges().iter().map(|edge| edge.get().format("%F %R").to_string()).collect()
    };
    let zone = "America/New_York".parse().unwrap();
    assert_eq!(
        starts(Step::week(zone), "2026-10-28T00:00:00Z", "2026-11-03T00:00:00Z"),
        ["2026-10-26 04:00", "2026-11-02 05:00", "2026-11-09 05:00"]
    );
    assert_eq!(
        starts(Step::quarter(zone), "2026-01-01T00:00:00Z", "2026-07-01T04:00:00Z"),
        ["2025-10-01 04:00", "2026-01-01 05:00", "2026-04-01 04:00", "2026-07-01 04:00"]
    );
    assert_eq!(
        starts(Step::year(zone), "2026-02-01T00:00:00Z", "2026-02-02T00:00:00Z"),
        ["2026-01-01 05:00", "2027-01-01 05:00"]
    );
}

#[test]
fn a_zone_has_a_name_of_the_database() {
    for wrong in
        ["", "Mars/Olympus", "europe/berlin", "CEST", "+02:00", "Europe/Berlin ", "Europe/\0"]
    {
        let error = wrong.parse::<sesari_db::series::Zone>().unwrap_err();
        assert_eq!(error.field(), "zone");
        assert!(serde_json::from_value::<sesari_db::series::Zone>(wrong.into()).is_err());
    }
    for zone in sesari_db::series::Zone::all() {
        assert_eq!(zone.name().parse(), Ok(zone));
        assert_eq!(serde_json::to_value(zone).unwrap(), zone.to_string());
    }
    assert!(sesari_db::series::Zone::all().count() > 590);
}
