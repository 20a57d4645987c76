//! The closed lists.

use std::collections::BTreeSet;

use diesel::sql_types::Text;
use sesari_db::value;

use super::corpus::texts;
use super::database::{Judge, Verdict};

/// A column, and the enum that stands before it.
pub(crate) struct Choice {
    pub(crate) constraint: &'static str,
    insert: &'static str,
    parses: fn(&str) -> bool,
    all: fn() -> Vec<String>,
}

macro_rules! choices {
    ($($constraint:ident: $choice:ident, $insert:literal;)*) => {
        pub(crate) const FIELDS: &[Choice] = &[$(Choice {
            constraint: stringify!($constraint),
            insert: $insert,
            parses: |text| text.parse::<value::$choice>().is_ok(),
            all: || value::$choice::ALL.iter().map(ToString::to_string).collect(),
        }),*];
    };
}

choices! {
    users_provider_check: AuthProvider,
        "INSERT INTO users (provider_id, email, provider) VALUES ('p', 'e@e', $1)";
    workspace_users_role_check: Role,
        "INSERT INTO workspace_users (workspace_id, user_id, role) \
         VALUES ('{workspace}', '{user}', $1)";
    invitations_role_check: Role,
        "INSERT INTO invitations (workspace_id, email, invited_by, expires_at, role) \
         VALUES ('{workspace}', 'e@e', '{user}', now(), $1)";
    subscriptions_status_check: SubscriptionStatus,
        "INSERT INTO subscriptions (user_id, plan_type, status) VALUES ('{user}', 'pro', $1)";
    subscriptions_plan_type_check: Plan,
        "INSERT INTO subscriptions (user_id, status, plan_type) VALUES ('{user}', 'active', $1)";
    kpis_aggregation_check: Aggregation,
        "INSERT INTO kpis (workspace_id, name, aggregation) VALUES ('{workspace}', 'n', $1)";
    kpi_targets_period_check: TargetPeriod,
        "INSERT INTO kpi_targets (workspace_id, kpi_id, effective_from, period) \
         VALUES ('{workspace}', '{kpi}', '2026-01-01', $1)";
    goals_status_check: GoalStatus,
        "INSERT INTO goals (workspace_id, title, status) VALUES ('{workspace}', 't', $1)";
    integrations_provider_check: IntegrationProvider,
        "INSERT INTO integrations (workspace_id, credentials, provider) VALUES ('{workspace}', \
         'v1.k1.0123456789abcdef.0123456789abcdef012345', $1)";
    integrations_sync_status_check: SyncStatus,
        "INSERT INTO integrations (workspace_id, provider, credentials, sync_status) \
         VALUES ('{workspace}', 'stripe', 'v1.k1.0123456789abcdef.0123456789abcdef012345', $1)";
}

#[test]
fn enum_and_database_agree_on_what_is_in_the_list() {
    let mut judge = Judge::new();
    // Each list's values, and those of all others, and what differs from them by a little.
    let known: BTreeSet<String> = FIELDS.iter().flat_map(|field| (field.all)()).collect();
    let near = known.iter().flat_map(|text| {
        [text.to_uppercase(), format!("{text} "), format!(" {text}"), format!("{text}\0")]
    });
    let all: Vec<String> = near.chain(known.clone()).chain(texts(20)).collect();
    for field in FIELDS {
        let mut taken = BTreeSet::new();
        for text in &all {
            let verdict = judge.verdict::<Text, _>(field.insert, text);
            let expected = if (field.parses)(text) {
                taken.insert(text.clone());
                Verdict::Accepted
            } else if text.contains('\0') {
                Verdict::Impossible
            } else {
                Verdict::Refused(field.constraint.to_owned())
            };
            assert_eq!(verdict, expected, "{}: {text:?}", field.constraint);
        }
        assert_eq!(taken, (field.all)().into_iter().collect(), "{}", field.constraint);
    }
}
