//! Text of a known form.
//!
//! One text is written in one way, so that what looks alike is alike, and what is not shown is not stored:
//!
//! - a label (names, titles, units, categories) is one line in NFC. Blanks of other scripts become spaces;
//!   there is none at either end. A combining mark stands on something, and a joiner, variation selector or
//!   tag is where it shows: in emoji, in Arabic and Indic scripts, after ideographs.
//! - prose (descriptions) is NFC with lines, tabs, blanks of any kind, joiners, and those marks of direction
//!   that end by themselves.
//! - an address of a picture is NFC without blanks or anything that is not shown.
//! - an e-mail address is that in NFKC and lower case, with its domain in ASCII, as IDNA (UTS 46) writes it.
//!
//! None holds controls, overrides of direction, private use, or what Unicode 14 does not know, which is what
//! PostgreSQL 15 normalises by; pictographs and ideographs of later versions pass. The database's
//! `sesari.is_text` holds the same rules for every client, whatever its locale.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use icu_normalizer::ComposingNormalizerBorrowed;
use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use super::Invalid;
use super::unicode::{BLANKS, MARKS, REFUSED};

fn length_within(text: &str, min: usize, max: usize) -> bool {
    // A character has at most four bytes: a huge text is refused without being walked.
    text.len() <= max * 4 && (min..=max).contains(&text.chars().count())
}

fn holds(class: &[(u32, u32)], c: char) -> bool {
    let c = u32::from(c);
    class.partition_point(|range| range.1 < c) < class.len()
        && class[class.partition_point(|range| range.1 < c)].0 <= c
}

fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

fn is_selector(c: char) -> bool {
    matches!(c, '\u{fe0e}' | '\u{fe0f}')
}

fn is_variant(c: char) -> bool {
    matches!(c, '\u{e0100}'..='\u{e01ef}')
}

fn is_tag(c: char) -> bool {
    matches!(c, '\u{e0020}'..='\u{e007f}')
}

/// What shows whether it is joined: pictographs, and letters of scripts that join.
fn is_joined(c: char) -> bool {
    matches!(c,
        '\u{600}'..='\u{dff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{18af}'
        | '\u{1900}'..='\u{1cff}' | '\u{2190}'..='\u{2bff}' | '\u{a800}'..='\u{abff}'
        | '\u{10a00}'..='\u{11fff}' | '\u{1e900}'..='\u{1e95f}' | '\u{1f000}'..='\u{1faff}')
}

/// What may be shown as a picture or as text.
fn is_pictured(c: char) -> bool {
    matches!(c,
        '#' | '*' | '0'..='9' | '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}' | '\u{2122}' | '\u{2139}'
        | '\u{2190}'..='\u{2bff}' | '\u{3030}' | '\u{303d}' | '\u{3297}' | '\u{3299}'
        | '\u{1f000}'..='\u{1faff}')
}

fn is_ideograph(c: char) -> bool {
    matches!(c,
        '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// Whether the character may stand between these two in a label; a space stands for either end.
fn is_in_place(before: char, c: char, after: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    if is_joiner(c) {
        return (is_joined(before) || is_tag(before) || is_selector(before)) && is_joined(after);
    }
    if is_selector(c) {
        return is_pictured(before);
    }
    if is_variant(c) {
        return is_ideograph(before);
    }
    if is_tag(c) {
        return before == '\u{1f3f4}' || is_tag(before);
    }
    !holds(REFUSED, c) && !holds(BLANKS, c) && (before != ' ' || !holds(MARKS, c))
}

/// One line, without blanks at either end.
fn is_label(text: &str, max: usize) -> bool {
    if !length_within(text, 1, max) || text.starts_with(' ') || text.ends_with(' ') {
        return false;
    }
    let before = std::iter::once(' ').chain(text.chars());
    let after = text.chars().skip(1).chain([' ']);
    before.zip(text.chars()).zip(after).all(|((before, c), after)| is_in_place(before, c, after))
}

/// Without blanks, and without anything that is not shown.
fn is_visible(text: &str) -> bool {
    !text.starts_with(|c| holds(MARKS, c))
        && !text.contains(|c: char| {
            c == ' '
                || holds(REFUSED, c)
                || holds(BLANKS, c)
                || is_joiner(c)
                || is_selector(c)
                || is_variant(c)
                || is_tag(c)
        })
}

fn is_domain(text: &str) -> bool {
    text.split('.').all(|label| {
        !label.starts_with('-')
            && !label.ends_with('-')
            && !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    })
}

fn is_email(text: &str) -> bool {
    text.len() <= 254
        && is_visible(text)
        && text
            .split_once('@')
            .is_some_and(|(local, domain)| !local.is_empty() && is_domain(domain))
}

fn is_slug(text: &str) -> bool {
    (2..=63).contains(&text.len())
        && text.split('-').all(|word| {
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        })
}

fn is_https(text: &str) -> bool {
    length_within(text, 9, 2048) && text.starts_with("https://") && is_visible(text)
}

fn is_provider_id(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

fn is_source(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.as_bytes()[0].is_ascii_lowercase()
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// The ids of keys and the names of services: lower-case ASCII letters, digits, hyphens and
/// underscores, a letter or a digit first.
pub(crate) fn is_name(text: &str, max: usize) -> bool {
    let bytes = text.as_bytes();
    (1..=max).contains(&bytes.len())
        && (bytes[0].is_ascii_lowercase() || bytes[0].is_ascii_digit())
        && bytes
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'))
}

fn is_description(text: &str) -> bool {
    let shapes = |c| {
        matches!(
            c,
            '\t' | '\n'
                | '\r'
                | '\u{ad}'
                | '\u{61c}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2060}'
                | '\u{2066}'..='\u{2069}'
        )
    };
    length_within(text, 0, 10_000) && !text.contains(|c| holds(REFUSED, c) && !shapes(c))
}

macro_rules! text_values {
    ($(
        $(#[$doc:meta])*
        $name:ident($field:literal, $rule:literal): $check:expr $(, normalize $normalize:expr)?;
    )*) => {$(
        $(#[$doc])*
        #[derive(
            Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord,
            diesel::expression::AsExpression, diesel::deserialize::FromSqlRow,
            serde::Serialize, serde::Deserialize,
        )]
        #[diesel(sql_type = diesel::sql_types::Text)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = Invalid;

            fn try_from(text: String) -> Result<Self, Invalid> {
                // Longer than any text that is taken, in any form: not worth the work.
                if text.len() > MAX_BYTES {
                    return Err(Invalid::new($field, $rule));
                }
                $(let text = $normalize(text);)?
                let check: fn(&str) -> bool = $check;
                if check(&text) { Ok(Self(text)) } else { Err(Invalid::new($field, $rule)) }
            }
        }

        impl TryFrom<&str> for $name {
            type Error = Invalid;

            fn try_from(text: &str) -> Result<Self, Invalid> {
                text.to_owned().try_into()
            }
        }

        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                text.try_into()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl diesel::serialize::ToSql<diesel::sql_types::Text, diesel::pg::Pg> for $name {
            fn to_sql<'b>(
                &'b self,
                out: &mut diesel::serialize::Output<'b, '_, diesel::pg::Pg>,
            ) -> diesel::serialize::Result {
                <str as diesel::serialize::ToSql<diesel::sql_types::Text, diesel::pg::Pg>>::to_sql(
                    &self.0, out,
                )
            }
        }

        // What is stored is taken as it is: a rule made stricter must not hide rows written before.
        impl diesel::deserialize::FromSql<diesel::sql_types::Text, diesel::pg::Pg> for $name {
            fn from_sql(value: diesel::pg::PgValue<'_>) -> diesel::deserialize::Result<Self> {
                Ok(Self(std::str::from_utf8(value.as_bytes())?.to_owned()))
            }
        }
    )*};
}

/// The longest texts are descriptions. Normalising makes a text at most three times as short.
const MAX_BYTES: usize = 3 * 4 * 10_000;

fn nfc(text: String) -> String {
    match ComposingNormalizerBorrowed::new_nfc().normalize(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(normal) => normal,
    }
}

fn label(text: String) -> String {
    // Blanks first: some are normalised to another blank.
    if text.is_ascii() { text } else { nfc(text.replace(|c| holds(BLANKS, c), " ")) }
}

/// What is no address stays one that is refused.
fn mailbox(mut text: String) -> String {
    if text.is_ascii() {
        text.make_ascii_lowercase();
        return text;
    }
    // Before anything is mapped away.
    if !is_visible(&text) {
        return text;
    }
    let nfkc = ComposingNormalizerBorrowed::new_nfkc();
    let text = nfkc.normalize(&text);
    let Some((local, domain)) = text.rsplit_once('@') else { return String::new() };
    let local = local.to_lowercase();
    let domain = domain.to_ascii_lowercase();
    let domain = if domain.is_ascii() {
        Some(domain.into())
    } else {
        Uts46::new()
            .to_ascii(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::Allow, DnsLength::Ignore)
            .ok()
    };
    domain.map_or_else(String::new, |domain| format!("{}@{domain}", nfkc.normalize(&local)))
}

text_values! {
    /// An e-mail address, at most 254 bytes. It is lowered and brought into NFKC, and its domain into
    /// ASCII (IDNA), so that one address is one user.
    Email("email", "expected an address such as ann@example.com, without blanks or characters that are not shown, at most 254 bytes"):
        is_email, normalize mailbox;
    /// A person's display name: one line of 1 to 200 characters.
    PersonName("name", "expected one line of 1 to 200 characters that are shown, not blank at either end"):
        |text| is_label(text, 200), normalize label;
    /// The `https` address of a picture, at most 2048 characters, none blank or not shown.
    ImageUrl("image", "expected an https address of at most 2048 characters without blanks"):
        is_https, normalize nfc;
    /// A user's id at the sign-in provider: 1 to 255 visible ASCII characters.
    ProviderId("provider_id", "expected 1 to 255 visible ASCII characters"): is_provider_id;
    /// A workspace's display name: one line of 1 to 200 characters.
    WorkspaceName("name", "expected one line of 1 to 200 characters that are shown, not blank at either end"):
        |text| is_label(text, 200), normalize label;
    /// A workspace's name in addresses: 2 to 63 lower-case ASCII letters and digits, with single
    /// hyphens between them.
    Slug("slug", "expected 2 to 63 lower-case letters and digits with single hyphens between them"):
        is_slug;
    /// A KPI's display name: one line of 1 to 200 characters.
    KpiName("name", "expected one line of 1 to 200 characters that are shown, not blank at either end"):
        |text| is_label(text, 200), normalize label;
    /// A goal's display name: one line of 1 to 200 characters.
    GoalTitle("title", "expected one line of 1 to 200 characters that are shown, not blank at either end"):
        |text| is_label(text, 200), normalize label;
    /// Free text of at most 10 000 characters.
    Description("description", "expected at most 10000 characters, none of them a control or an override of direction"):
        is_description, normalize nfc;
    /// A unit such as `$`, `%` or `users`: one line of 1 to 32 characters.
    Unit("unit", "expected one line of 1 to 32 characters that are shown, not blank at either end"):
        |text| is_label(text, 32), normalize label;
    /// A KPI's group, such as `revenue`: one line of 1 to 64 characters.
    Category("category", "expected one line of 1 to 64 characters that are shown, not blank at either end"):
        |text| is_label(text, 64), normalize label;
    /// Where a data point came from, such as `stripe`: 1 to 63 lower-case ASCII letters, digits and
    /// underscores, a letter first.
    Source("source", "expected 1 to 63 lower-case letters, digits and underscores, a letter first"):
        is_source;
}

impl Source {
    /// What is stored, taken as it is.
    pub(crate) fn from_stored(text: &str) -> Self {
        Self(text.to_owned())
    }
}
