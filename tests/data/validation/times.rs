//! Times.

use chrono::{DateTime, SubsecRound, Utc};
use diesel::sql_types::Timestamptz;
use sesari_db::value::Timestamp;

use super::database::{Judge, Verdict};

/// A constraint, and an INSERT of a row that is right but for `$1`.
pub(crate) type Field = (&'static str, &'static str);

macro_rules! times {
    ($($table:ident $columns:literal = $values:literal: $($time:ident)*;)*) => {
        pub(crate) const FIELDS: &[Field] = &[$($((
            concat!(stringify!($table), "_", stringify!($time), "_check"),
            concat!(
                "INSERT INTO ", stringify!($table), " (", $columns, ", ", stringify!($time), ")",
                " VALUES (", $values, ", $1)"
            ),
        ),)*)*];
    };
}

times! {
    users "provider, provider_id, email" = "'google', 'p', 'e@e'": created_at updated_at;
    workspaces "name, slug" = "'name', 'slug'": created_at updated_at;
    workspace_users "workspace_id, user_id" = "'{workspace}', '{user}'": joined_at;
    subscriptions "user_id, status, plan_type" = "'{user}', 'active', 'pro'":
        current_period_end last_event_at created_at updated_at;
    kpis "workspace_id, name" = "'{workspace}', 'n'": created_at updated_at deleted_at;
    kpi_data_points "workspace_id, kpi_id, value" = "'{workspace}', '{kpi}', 1": timestamp;
    kpi_targets "workspace_id, kpi_id, effective_from" = "'{workspace}', '{kpi}', '2026-01-01'":
        recorded_at;
    goals "workspace_id, title" = "'{workspace}', 't'":
        target_date created_at updated_at deleted_at;
    idempotency_keys "workspace_id, actor_kind, actor_id, membership, key, operation" =
        "'{workspace}', 'user', 'u', 'member m1', 'k', 'o'": created_at;
    invitations "workspace_id, email, role, invited_by, expires_at" =
        "'{workspace}', 'e@e', 'member', '{user}', now()":
        created_at resent_at revoked_at declined_at accepted_at;
    integrations "workspace_id, provider, credentials" =
        "'{workspace}', 'stripe', 'v1.k1.0123456789abcdef.0123456789abcdef012345'":
        last_sync_at created_at updated_at;
    audit_log "id, workspace_id, sequence, actor_kind, actor_id, scope, action, table_name, row_id, changes, \
               transaction_id, previous_hash, hash" =
        "'a', '{workspace}', 1 + (SELECT max(sequence) FROM audit_log), 'system', 'a', 'none', 'a', 'a', 'a', '{}', \
         1, '', ''": occurred_at;
}

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
        moment("0000-12-31T23:59:59.999Z"),
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
            // The columns round what is finer than a millisecond; the newtype has cut it off.
            let sent = parsed.as_ref().map_or(moment.trunc_subsecs(3), |timestamp| timestamp.get());
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
        "'0001-12-31 23:59:59.999+00 BC'",
        "'10000-01-01 00:00:00+00'",
    ] {
        for (constraint, insert) in FIELDS {
            let verdict = judge.verdict_on_literal(insert, literal);
            assert_eq!(verdict, Verdict::Refused((*constraint).to_owned()), "{literal}");
        }
    }
}
