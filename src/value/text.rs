//! Text of a known form.

use std::fmt;
use std::str::FromStr;

use super::Invalid;

fn is_control(c: char) -> bool {
    c <= '\u{1f}' || c == '\u{7f}'
}

fn length_within(text: &str, min: usize, max: usize) -> bool {
    // A character has at most four bytes: a huge text is refused without being walked.
    text.len() <= max * 4 && (min..=max).contains(&text.chars().count())
}

/// One line without control characters, and without blanks at either end.
fn is_label(text: &str, max: usize) -> bool {
    length_within(text, 1, max)
        && !text.starts_with(' ')
        && !text.ends_with(' ')
        && !text.contains(is_control)
}

fn is_email(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part
                .contains(|c: char| c <= ' ' || c == '\u{7f}' || c == '@' || c.is_ascii_uppercase())
    };
    length_within(text, 3, 254)
        && text.split_once('@').is_some_and(|(local, domain)| part(local) && part(domain))
}

fn is_slug(text: &str) -> bool {
    (2..=63).contains(&text.len())
        && text.split('-').all(|word| {
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        })
}

fn is_https(text: &str) -> bool {
    length_within(text, 9, 2048)
        && text.strip_prefix("https://").is_some_and(|rest| {
            !rest.is_empty() && !rest.contains(|c: char| c <= ' ' || c == '\u{7f}')
        })
}

fn is_provider_id(text: &str) -> bool {
    length_within(text, 1, 255) && !text.contains(|c: char| c <= ' ' || c == '\u{7f}')
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
    length_within(text, 0, 10_000) && !text.contains('\0')
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

fn lower_ascii(mut text: String) -> String {
    text.make_ascii_lowercase();
    text
}

text_values! {
    /// An e-mail address, at most 254 characters. ASCII letters are lowered, so that one address
    /// is one user.
    Email("email", "expected one @ between two parts without blanks, at most 254 characters"):
        is_email, normalize lower_ascii;
    /// A person's display name: one line of 1 to 200 characters.
    PersonName("name", "expected one line of 1 to 200 characters, not blank at either end"):
        |text| is_label(text, 200);
    /// The `https` address of a picture, at most 2048 characters.
    ImageUrl("image", "expected an https address of at most 2048 characters"): is_https;
    /// A user's id at the sign-in provider: 1 to 255 characters without blanks.
    ProviderId("provider_id", "expected 1 to 255 characters without blanks"): is_provider_id;
    /// A workspace's display name: one line of 1 to 200 characters.
    WorkspaceName("name", "expected one line of 1 to 200 characters, not blank at either end"):
        |text| is_label(text, 200);
    /// A workspace's name in addresses: 2 to 63 lower-case ASCII letters and digits, with single
    /// hyphens between them.
    Slug("slug", "expected 2 to 63 lower-case letters and digits with single hyphens between them"):
        is_slug;
    /// A KPI's display name: one line of 1 to 200 characters.
    KpiName("name", "expected one line of 1 to 200 characters, not blank at either end"):
        |text| is_label(text, 200);
    /// A goal's display name: one line of 1 to 200 characters.
    GoalTitle("title", "expected one line of 1 to 200 characters, not blank at either end"):
        |text| is_label(text, 200);
    /// Free text of at most 10 000 characters.
    Description("description", "expected at most 10000 characters and no NUL"): is_description;
    /// A unit such as `$`, `%` or `users`: one line of 1 to 32 characters.
    Unit("unit", "expected one line of 1 to 32 characters, not blank at either end"):
        |text| is_label(text, 32);
    /// A KPI's group, such as `revenue`: one line of 1 to 64 characters.
    Category("category", "expected one line of 1 to 64 characters, not blank at either end"):
        |text| is_label(text, 64);
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
