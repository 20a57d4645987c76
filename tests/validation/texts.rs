//! Texts and ids.

use std::cell::RefCell;

use diesel::connection::SimpleConnection;
use diesel::sql_types::Text;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sesari_db::id;
use sesari_db::idempotency::IdempotencyKey;
use sesari_db::value;

use super::corpus::{nasty, texts};
use super::database::{Judge, Verdict};

/// A column, and the newtype that stands before it.
pub(crate) struct Field {
    pub(crate) constraint: &'static str,
    /// Inserts a row that is right but for `$1`.
    insert: &'static str,
    /// The text that the newtype would send, if it takes this one.
    parse: fn(&str) -> Option<String>,
    /// The most characters.
    max: usize,
    /// Turns a nasty text into one that gets past the first hurdle.
    dress: fn(&str) -> String,
}

fn parse<T: TryFrom<String> + Into<String>>(text: &str) -> Option<String> {
    T::try_from(text.to_owned()).ok().map(Into::into)
}

fn same(text: &str) -> String {
    text.to_owned()
}

macro_rules! fields {
    ($($constraint:ident: $newtype:ty, $max:literal, $dress:expr, $insert:literal;)*) => {
        pub(crate) const FIELDS: &[Field] = &[$(Field {
            constraint: stringify!($constraint),
            insert: $insert,
            parse: parse::<$newtype>,
            max: $max,
            dress: $dress,
        }),*];
    };
}

fields! {
    users_email_check: value::Email, 254, |text| format!("a@{text}"),
        "INSERT INTO users (provider, provider_id, email) VALUES ('google', 'p', $1)";
    users_name_check: value::PersonName, 200, same,
        "INSERT INTO users (provider, provider_id, email, name) VALUES ('google', 'p', 'e@e', $1)";
    users_image_check: value::ImageUrl, 2048, |text| format!("https://{text}"),
        "INSERT INTO users (provider, provider_id, email, image) VALUES ('google', 'p', 'e@e', $1)";
    users_provider_id_check: value::ProviderId, 255, same,
        "INSERT INTO users (provider, email, provider_id) VALUES ('google', 'e@e', $1)";
    workspaces_name_check: value::WorkspaceName, 200, same,
        "INSERT INTO workspaces (slug, name) VALUES ('slug', $1)";
    workspaces_slug_check: value::Slug, 63, |text| format!("a-{text}"),
        "INSERT INTO workspaces (name, slug) VALUES ('name', $1)";
    kpis_name_check: value::KpiName, 200, same,
        "INSERT INTO kpis (workspace_id, name) VALUES ('{workspace}', $1)";
    kpis_description_check: value::Description, 10000, same,
        "INSERT INTO kpis (workspace_id, name, description) VALUES ('{workspace}', 'n', $1)";
    kpis_unit_check: value::Unit, 32, same,
        "INSERT INTO kpis (workspace_id, name, unit) VALUES ('{workspace}', 'n', $1)";
    kpis_category_check: value::Category, 64, same,
        "INSERT INTO kpis (workspace_id, name, category) VALUES ('{workspace}', 'n', $1)";
    goals_title_check: value::GoalTitle, 200, same,
        "INSERT INTO goals (workspace_id, title) VALUES ('{workspace}', $1)";
    goals_description_check: value::Description, 10000, same,
        "INSERT INTO goals (workspace_id, title, description) VALUES ('{workspace}', 't', $1)";
    kpi_data_points_source_check: value::Source, 63, |text| format!("a{text}"),
        // Stored, the empty text is no source, which the newtype does not stand for.
        "INSERT INTO kpi_data_points (workspace_id, kpi_id, value, source) \
         VALUES ('{workspace}', '{kpi}', 1, coalesce(nullif($1, ''), '-'))";
    idempotency_keys_key_check: IdempotencyKey, 255, same,
        "INSERT INTO idempotency_keys (workspace_id, actor_kind, actor_id, operation, key) \
         VALUES ('{workspace}', 'user', 'u', 'o', $1)";
    users_id_check: id::UserId, 32, |text| format!("a{text}"),
        "INSERT INTO users (provider, provider_id, email, id) VALUES ('google', 'p', 'e@e', $1)";
    workspaces_id_check: id::WorkspaceId, 32, |text| format!("a{text}"),
        "INSERT INTO workspaces (slug, name, id) VALUES ('slug', 'name', $1)";
    workspace_users_id_check: id::MembershipId, 32, |text| format!("a{text}"),
        "INSERT INTO workspace_users (workspace_id, user_id, id) VALUES ('{workspace}', '{user}', $1)";
    subscriptions_id_check: id::SubscriptionId, 32, |text| format!("a{text}"),
        "INSERT INTO subscriptions (user_id, status, plan_type, id) \
         VALUES ('{user}', 'active', 'pro', $1)";
    kpis_id_check: id::KpiId, 32, |text| format!("a{text}"),
        "INSERT INTO kpis (workspace_id, name, id) VALUES ('{workspace}', 'n', $1)";
    goals_id_check: id::GoalId, 32, |text| format!("a{text}"),
        "INSERT INTO goals (workspace_id, title, id) VALUES ('{workspace}', 't', $1)";
    goal_kpis_id_check: id::GoalKpiId, 32, |text| format!("a{text}"),
        "INSERT INTO goal_kpis (workspace_id, goal_id, kpi_id, id) \
         VALUES ('{workspace}', '{goal}', '{unlinked kpi}', $1)";
    integrations_id_check: id::IntegrationId, 32, |text| format!("a{text}"),
        "INSERT INTO integrations (workspace_id, provider, credentials, id) VALUES ('{workspace}', \
         'stripe', 'v1.k1.0123456789abcdef.0123456789abcdef012345', $1)";
    sync_queue_lease_id_check: id::LeaseId, 32, |text| format!("a{text}"),
        "INSERT INTO sesari.sync_queue (workspace_id, integration_id, is_active, leased_until, lease_id) \
         VALUES ('{workspace}', 'i', true, now(), $1)";
}

impl Field {
    /// How newtype and database differ on a text, if they do.
    fn disagreement(&self, judge: &mut Judge, text: &str) -> Option<String> {
        let parsed = (self.parse)(text);
        // A newtype may change a text, as that of e-mail addresses does: the database must take
        // the text as changed, and refuse it as it came.
        let as_it_came = judge.verdict::<Text, _>(self.insert, text);
        let taken_as_it_came = parsed.as_deref() == Some(text);
        let as_expected = match &as_it_came {
            Verdict::Accepted => taken_as_it_came,
            Verdict::Refused(by) => !taken_as_it_came && by == self.constraint,
            Verdict::Impossible => parsed.is_none() && text.contains('\0'),
        };
        let changed = parsed.as_deref().filter(|parsed| *parsed != text);
        let takes_changed = changed
            .is_none_or(|text| judge.verdict::<Text, _>(self.insert, text) == Verdict::Accepted);
        let shown: String = text.chars().take(60).collect();
        (!as_expected || !takes_changed).then(|| {
            format!("{}: {shown:?}: newtype {}, {as_it_came:?}", self.constraint, parsed.is_some())
        })
    }

    fn disagreements(&self, judge: &mut Judge) -> Vec<String> {
        let plain = texts(self.max);
        let dressed = plain.iter().map(|text| (self.dress)(text));
        // So long that, dressed, each is just within or just beyond the limit.
        let room = self.max - (self.dress)("").chars().count();
        let edges = [room - 1, room, room + 1].map(|length| (self.dress)(&"a".repeat(length)));
        let all: Vec<_> = plain.iter().cloned().chain(dressed).chain(edges).collect();
        all.iter().filter_map(|text| self.disagreement(judge, text)).collect()
    }
}

#[test]
fn newtype_and_database_agree_on_every_text_of_the_corpus() {
    let mut judge = Judge::new();
    let differ: Vec<_> = FIELDS.iter().flat_map(|field| field.disagreements(&mut judge)).collect();
    assert!(differ.is_empty(), "{differ:#?}");
}

#[test]
fn the_corpus_holds_texts_that_each_newtype_takes_and_refuses() {
    for field in FIELDS {
        let texts = texts(field.max);
        let dressed = texts.iter().map(|text| (field.dress)(text));
        let (taken, refused): (Vec<_>, Vec<_>) =
            texts.iter().cloned().chain(dressed).partition(|text| (field.parse)(text).is_some());
        assert!(taken.len() > 5 && refused.len() > 5, "{}", field.constraint);
    }
}

#[test]
fn newtype_and_database_agree_on_texts_nobody_thought_of() {
    let judge = RefCell::new(Judge::new());
    for field in FIELDS {
        TestRunner::new(Config { cases: 96, failure_persistence: None, ..Config::default() })
            .run(&nasty(), |text| {
                for text in [(field.dress)(&text), text] {
                    let differ = field.disagreement(&mut judge.borrow_mut(), &text);
                    prop_assert!(differ.is_none(), "{}", differ.unwrap_or_default());
                }
                Ok(())
            })
            .unwrap();
    }
}

/// What the tests above would see if a rule were missing, or another.
#[test]
fn a_rule_that_differs_is_noticed() {
    let mut judge = Judge::new();
    let field = FIELDS.iter().find(|field| field.constraint == "kpis_unit_check").unwrap();
    for rule in ["true", "char_length(unit) BETWEEN 1 AND 33 AND unit = btrim(unit)"] {
        let sql = format!(
            "ALTER TABLE kpis DROP CONSTRAINT kpis_unit_check; \
             ALTER TABLE kpis ADD CONSTRAINT kpis_unit_check CHECK ({rule})"
        );
        judge.conn().batch_execute(&sql).unwrap();
        assert!(!field.disagreements(&mut judge).is_empty(), "{rule}");
    }
}
