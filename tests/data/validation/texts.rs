//! Texts and ids.

use std::cell::RefCell;

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Array, Integer, Text};
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
    invitations_email_check: value::Email, 254, |text| format!("a@{text}"),
        "INSERT INTO invitations (workspace_id, role, invited_by, expires_at, email) \
         VALUES ('{workspace}', 'member', '{user}', now(), $1)";
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
        "INSERT INTO idempotency_keys (workspace_id, actor_kind, actor_id, membership, operation, key) \
         VALUES ('{workspace}', 'user', 'u', 'member m1', 'o', $1)";
    users_id_check: id::UserId, 32, |text| format!("a{text}"),
        "INSERT INTO users (provider, provider_id, email, id) VALUES ('google', 'p', 'e@e', $1)";
    workspaces_id_check: id::WorkspaceId, 32, |text| format!("a{text}"),
        "INSERT INTO workspaces (slug, name, id) VALUES ('slug', 'name', $1)";
    workspace_users_id_check: id::MembershipId, 32, |text| format!("a{text}"),
        "INSERT INTO workspace_users (workspace_id, user_id, id) VALUES ('{workspace}', '{user}', $1)";
    subscriptions_id_check: id::SubscriptionId, 32, |text| format!("a{text}"),
        "INSERT INTO subscriptions (user_id, status, plan_type, id) \
         VALUES ('{user}', 'active', 'pro', $1)";
    invitations_id_check: id::InvitationId, 32, |text| format!("a{text}"),
        "INSERT INTO invitations (workspace_id, email, role, invited_by, expires_at, id) \
         VALUES ('{workspace}', 'e@e', 'member', '{user}', now(), $1)";
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
    /// How newtype and database differ on these texts, where they do.
    fn disagreements_on(&self, judge: &mut Judge, texts: &[String]) -> Vec<String> {
        // A newtype may change a text, as that of e-mail addresses does: the database must take
        // the text as changed, and refuse it as it came.
        let parsed: Vec<_> = texts.iter().map(|text| (self.parse)(text)).collect();
        let as_they_came: Vec<_> = texts.iter().map(String::as_str).collect();
        let verdicts = judge.verdicts(self.insert, &as_they_came);
        let changed: Vec<_> = (parsed.iter().zip(texts))
            .filter_map(|(parsed, text)| parsed.as_deref().filter(|parsed| parsed != text))
            .collect();
        let of_changed = judge.verdicts(self.insert, &changed);

        let mut differ: Vec<_> = (texts.iter().zip(&parsed).zip(&verdicts))
            .filter(|((text, parsed), verdict)| {
                let taken_as_it_came = parsed.as_ref() == Some(text);
                !match verdict {
                    Verdict::Accepted => taken_as_it_came,
                    Verdict::Refused(by) => !taken_as_it_came && by == self.constraint,
                    Verdict::Impossible => parsed.is_none() && text.contains('\0'),
                }
            })
            .map(|((text, parsed), verdict)| self.shown(text, parsed.is_some(), verdict))
            .collect();
        let refused = changed.iter().zip(&of_changed).filter(|(_, of)| **of != Verdict::Accepted);
        differ.extend(refused.map(|(text, verdict)| self.shown(text, true, verdict)));
        differ
    }

    fn shown(&self, text: &str, taken: bool, verdict: &Verdict) -> String {
        let start: String = text.chars().take(60).collect();
        format!("{}: {start:?}: newtype {taken}, {verdict:?}", self.constraint)
    }

    fn disagreements(&self, judge: &mut Judge) -> Vec<String> {
        let plain = texts(self.max);
        let dressed = plain.iter().map(|text| (self.dress)(text));
        // So long that, dressed, each is just within or just beyond the limit.
        let room = self.max - (self.dress)("").chars().count();
        let edges = [room - 1, room, room + 1].map(|length| (self.dress)(&"a".repeat(length)));
        let all: Vec<_> = plain.iter().cloned().chain(dressed).chain(edges).collect();
        self.disagreements_on(judge, &all)
    }
}

#[test]
fn newtype_and_database_agree_on_every_text_of_the_corpus() {
    let mut judge = Judge::new();
    let differ: Vec<_> = FIELDS.iter().flat_map(|field| field.disagreements(&mut judge)).collect();
    assert!(differ.is_empty(), "{differ:#?}");
}

/// Its name, what such a text may begin with, and whether the newtype takes a text as it is.
type Kind = (&'static str, &'static str, fn(&str) -> bool);

/// Every character there is in the planes with letters, some of the others.
#[test]
fn newtype_and_database_agree_on_every_character() {
    let mut judge = Judge::new();
    let kinds: [Kind; 4] = [
        ("label", "a", |text| parse::<value::KpiName>(text).as_deref() == Some(text)),
        ("prose", "a", |text| parse::<value::Description>(text).as_deref() == Some(text)),
        ("address", "https://a", |text| parse::<value::ImageUrl>(text).as_deref() == Some(text)),
        ("mailbox", "a", |text| {
            let address = format!("{text}@x");
            parse::<value::Email>(&address) == Some(address)
        }),
    ];
    let asked =
        |c: u32| c != u32::from('@') && (c < 0x2_0000 || c.is_multiple_of(61) || c >> 8 == 0xe01);
    for (kind, before, takes) in kinds {
        let query = format!(
            "ARRAY(SELECT c FROM generate_series(1, 1114111) AS c \
                    WHERE c <> 64 AND (c < 131072 OR c % 61 = 0 OR c >> 8 = 3585) \
                      AND c NOT BETWEEN 55296 AND 57343 \
                      AND sesari.is_text('{before}' || chr(c) || 'a', '{kind}') ORDER BY c)"
        );
        let stored: Vec<i32> =
            diesel::select(sql::<Array<Integer>>(&query)).get_result(judge.conn()).unwrap();
        let parsed: Vec<i32> = (1..=0x10_ffff_u32)
            .filter(|c| asked(*c))
            .filter_map(char::from_u32)
            .filter(|c| takes(&format!("{before}{c}a")))
            .map(|c| u32::from(c).try_into().unwrap())
            .collect();
        assert!(parsed.len() > 50_000, "{kind}: {}", parsed.len());
        let differ: Vec<_> = (stored.iter().filter(|c| parsed.binary_search(c).is_err()))
            .chain(parsed.iter().filter(|c| stored.binary_search(c).is_err()))
            .map(|c| format!("{c:x}"))
            .take(20)
            .collect();
        assert!(stored == parsed, "{kind}: {differ:?}");
    }
}

#[test]
fn one_address_is_written_in_one_way() {
    for (one, other) in [
        ("É@x", "é@x"),
        ("e\u{301}@x", "é@x"),
        ("ＡＮＮ＠ｘ．ｃｏｍ", "ann@x.com"),
        ("\u{212a}@x", "k@x"),
        ("ΟΔΟΣ@x", "οδος@x"),
        ("ann@BÜCHER.de", "ann@xn--bcher-kva.de"),
        ("ann@bu\u{308}cher.de", "ann@xn--bcher-kva.de"),
        ("Ann@XN--BCHER-KVA.de", "ann@xn--bcher-kva.de"),
    ] {
        let both = [one, other].map(|text| parse::<value::Email>(text).unwrap());
        assert_eq!(both[0], both[1], "{one}");
    }
    // Other letters are other people.
    for (one, other) in [("ß@x", "SS@x"), ("I@x", "ı@x"), ("а@x", "a@x")] {
        let both = [one, other].map(|text| parse::<value::Email>(text).unwrap());
        assert_ne!(both[0], both[1], "{one}");
    }
}

#[test]
fn an_address_holds_nothing_that_is_not_shown() {
    for hidden in
        NOT_SHOWN.iter().chain(&['\u{a0}', '\u{3000}', '\u{200c}', '\u{200d}', '\u{fe0f}'])
    {
        for text in ["{}ann@x.com", "an{}n@x.com", "ann{}@x.com", "ann@{}x.com", "ann@x.com{}"] {
            let text = text.replace("{}", &hidden.to_string());
            assert_eq!(parse::<value::Email>(&text), None, "{text:?}");
        }
    }
    let long = format!("{}@x.com", "é".repeat(124));
    assert_eq!(long.len(), 254);
    assert!(parse::<value::Email>(&long).is_some());
    assert_eq!(parse::<value::Email>(&format!("a{long}")), None, "bytes are counted");
}

/// Nothing, a joiner's neighbour or a mark of direction: two names that look alike.
const NOT_SHOWN: &[char] = &[
    '\u{ad}',
    '\u{34f}',
    '\u{61c}',
    '\u{180e}',
    '\u{200b}',
    '\u{200e}',
    '\u{200f}',
    '\u{202a}',
    '\u{202e}',
    '\u{2028}',
    '\u{2060}',
    '\u{2066}',
    '\u{2069}',
    '\u{206f}',
    '\u{3164}',
    '\u{feff}',
    '\u{fff9}',
    '\u{e0001}',
    '\u{e000}',
    '\u{ffff}',
    '\u{378}',
    '\u{85}',
];

#[test]
fn a_name_keeps_its_emoji_and_scripts_and_holds_nothing_else_that_is_not_shown() {
    for kept in [
        "👩‍👩‍👧‍👦",
        "Acme ❤️‍🔥",
        "1️⃣ 🏳️‍🌈",
        "🏴󠁧󠁢󠁥󠁮󠁧󠁿",
        "می\u{200c}خواهم",
        "क्\u{200d}ष",
        "葛\u{e0100}城",
        "José",
        "ﬁ ½ ™",
    ] {
        assert_eq!(parse::<value::PersonName>(kept).as_deref(), Some(kept), "{kept}");
    }
    assert_eq!(parse::<value::PersonName>("Jose\u{301}").as_deref(), Some("José"));
    assert_eq!(parse::<value::KpiName>("a\u{a0}b\u{3000}c").as_deref(), Some("a b c"));
    for hidden in NOT_SHOWN {
        for text in ["{}ab", "a{}b", "ab{}", "{}"] {
            let text = text.replace("{}", &hidden.to_string());
            assert_eq!(parse::<value::WorkspaceName>(&text), None, "{text:?}");
        }
    }
    for odd in [
        "\u{a0}a",
        "a\u{a0}",
        "\u{301}a",
        "a \u{301}",
        "a\u{200d}b",
        "a\u{200d}",
        "\u{200d}👩",
        "👩\u{200d}",
        "a\u{fe0f}",
        "a\u{e0100}",
        "a\u{e0067}",
        "\u{2800}",
    ] {
        assert_eq!(parse::<value::PersonName>(odd), None, "{odd:?}");
    }
    let prose = "\tA\u{ad}b\r\nc \u{2067}אבג\u{2069}\u{200f} ";
    assert_eq!(parse::<value::Description>(prose).as_deref(), Some(prose));
    for odd in ["a\u{202e}b", "a\u{1b}b", "a\u{0}b", "a\u{e000}b", "a\u{85}b"] {
        assert_eq!(parse::<value::Description>(odd), None, "{odd:?}");
    }
}

/// The same text in databases of different locales.
#[test]
fn the_rules_of_text_do_not_depend_on_the_locale() {
    let mut judge = Judge::new();
    let function = "pg_get_functiondef('sesari.is_text'::regproc)";
    let function: String = diesel::select(sql::<Text>(function)).get_result(judge.conn()).unwrap();
    let taken = "ARRAY(SELECT md5(string_agg(sesari.is_text(chr(c) || 'a', kind)::text, '' ORDER BY c)) \
                   FROM generate_series(1, 12000) AS c, unnest('{label,prose,address,mailbox}'::text[]) AS kind \
                  GROUP BY kind ORDER BY kind)";
    let expected: Vec<String> =
        diesel::select(sql::<Array<Text>>(taken)).get_result(judge.conn()).unwrap();
    let name: String =
        diesel::select(sql::<Text>("current_database()::text")).get_result(judge.conn()).unwrap();
    for (place, locale) in ["C", "C.UTF-8"].into_iter().enumerate() {
        let other = format!("{name}_locale_{place}");
        let create = format!(
            "CREATE DATABASE {other} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE '{locale}' LC_CTYPE '{locale}'"
        );
        judge.conn().batch_execute(&create).unwrap();
        {
            let mut conn = judge.connect_to(&other);
            conn.batch_execute(&format!("CREATE SCHEMA sesari; {function}")).unwrap();
            let found: Vec<String> =
                diesel::select(sql::<Array<Text>>(taken)).get_result(&mut conn).unwrap();
            assert_eq!(found, expected, "{locale}");
        }
        judge.conn().batch_execute(&format!("DROP DATABASE {other} WITH (FORCE)")).unwrap();
    }
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
                let both = [(field.dress)(&text), text];
                let differ = field.disagreements_on(&mut judge.borrow_mut(), &both);
                prop_assert!(differ.is_empty(), "{differ:?}");
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
