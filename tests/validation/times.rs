//! Times.

use chrono::{DateTime, SubsecRound, Utc};
use diesel::sql_types::Timestamptz;
use sesari_db::value::Timestamp;

use super::database::{Judge, Verdict};

pub(crate) const FIELDS: &[(&str, &str)] = &[
    (
        "subscriptions_current_period_end_check",
        "INSERT INTO subscriptions (user_id, status, plan_type, current_period_end) \
         VALUES ('{user}', 'active', 'pro', $1)",
    ),
    (
        "subscriptions_last_event_at_check",
        "INSERT INTO subscriptions (user_id, status, plan_type, last_event_at) \
         VALUES ('{user}', 'active', 'pro', $1)",
    ),
    (
        "kpi_data_points_timestamp_check",
        "INSERT INTO kpi_data_points (workspace_id, kpi_id, value, \"timestamp\") \
         VALUES ('{workspace}', '{kpi}', 1, $1)",
    ),
    (
        "goals_target_date_check",
        "INSERT INTO goals (workspace_id, title, target_date) VALUES ('{workspace}', 't', $1)",
    ),
];

fn moment(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

#[test]
fn newtype_and_database_agree_on_the_edges_of_time() {
    let mut judge = Judge::new();
    let year_ten_thousand = moment("9999-12-31T23:59:59Z").timestamp() + 1;
    let at = |seconds, nanos| DateTime::from_timestamp(seconds, nanos).unwrap();
    let edges = [
        DateTime::UNIX_EPOCH,
        moment("1969-12-31T23:59:59.999999999Z"),
        moment("2000-01-01T00:00:00Z"),
        moment("2024-02-29T12:00:00.123456789Z"),
        moment("0001-01-01T00:00:00Z"),
        moment("0000-12-31T23:59:59.999999Z"),
        moment("0000-12-31T23:59:59.999999999Z"),
        moment("0000-01-01T00:00:00Z"),
        moment("-0001-06-01T00:00:00Z"),
        moment("9999-12-31T23:59:59.999999Z"),
        moment("9999-12-31T23:59:59.999999999Z"),
        at(year_ten_thousand, 0),
        at(year_ten_thousand, 1),
        // A leap second, which PostgreSQL does not know.
        moment("2016-12-31T23:59:60Z"),
        at(year_ten_thousand - 1, 1_000_000_000),
        at(year_ten_thousand - 1, 1_999_999_999),
        DateTime::<Utc>::MAX_UTC,
        DateTime::<Utc>::MIN_UTC,
    ];
    let mut differ = Vec::new();
    for moment in edges {
        let parsed = Timestamp::new(moment);
        for (constraint, insert) in FIELDS {
            // PostgreSQL knows no finer part than a microsecond; the newtype has cut it off.
            let sent = parsed.as_ref().map_or(moment.trunc_subsecs(6), |timestamp| timestamp.get());
            let verdict = judge.verdict::<Timestamptz, _>(insert, sent);
            let agreed = match &verdict {
                Verdict::Accepted => parsed.is_ok(),
                Verdict::Refused(by) => parsed.is_err() && by == constraint,
                Verdict::Impossible => parsed.is_err(),
            };
            if !agreed {
                differ.push(format!("{constraint}: {moment}: {parsed:?}, {verdict:?}"));
            }
        }
    }
    assert!(differ.is_empty(), "{differ:#?}");
}

#[test]
fn the_database_refuses_times_that_rust_cannot_even_write() {
    let mut judge = Judge::new();
    for literal in [
        "'infinity'",
        "'-infinity'",
        "'294276-12-31 23:59:59+00'",
        "'4713-01-01 00:00:00+00 BC'",
        "'0001-12-31 23:59:59.999999+00 BC'",
        "'10000-01-01 00:00:00+00'",
    ] {
        for (constraint, insert) in FIELDS {
            let verdict = judge.verdict_on_literal(insert, literal);
            assert_eq!(verdict, Verdict::Refused((*constraint).to_owned()), "{literal}");
        }
    }
}
