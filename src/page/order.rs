//! By what a list is sorted.

use std::fmt;
use std::str::FromStr;

use crate::value::Invalid;

/// By what a list is sorted, and which way. Equal rows are sorted by id, the same way.
///
/// As text it is the key's name, with a minus before it to descend: `name`, `-created_at`. Texts are in
/// the order of the database's collation.
///
/// ```
/// use sesari_db::page::{KpiKey, Order};
///
/// assert_eq!("-name".parse(), Ok(Order::descending(KpiKey::Name)));
/// assert_eq!(Order::default(), Order::ascending(KpiKey::CreatedAt));
/// ```
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(try_from = "String", into = "String", bound = "K: OrderKey")]
pub struct Order<K> {
    by: K,
    is_descending: bool,
}

impl<K: OrderKey> Order<K> {
    /// The smallest, oldest or first in the alphabet first.
    #[must_use]
    pub const fn ascending(by: K) -> Self {
        Self { by, is_descending: false }
    }

    /// The largest, newest or last in the alphabet first.
    #[must_use]
    pub const fn descending(by: K) -> Self {
        Self { by, is_descending: true }
    }

    /// What it sorts by.
    #[must_use]
    pub fn by(self) -> K {
        self.by
    }

    /// Whether it descends.
    #[must_use]
    pub fn is_descending(self) -> bool {
        self.is_descending
    }
}

impl<K: OrderKey> fmt::Display for Order<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minus = if self.is_descending { "-" } else { "" };
        write!(f, "{minus}{}", self.by.as_str())
    }
}

impl<K: OrderKey> FromStr for Order<K> {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (name, is_descending) = match text.strip_prefix('-') {
            Some(name) => (name, true),
            None => (text, false),
        };
        let by = K::named(name).ok_or_else(|| Invalid::new("order", K::RULE))?;
        Ok(Self { by, is_descending })
    }
}

impl<K: OrderKey> TryFrom<String> for Order<K> {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl<K: OrderKey> From<Order<K>> for String {
    fn from(order: Order<K>) -> String {
        order.to_string()
    }
}

/// What a list may be sorted by. Not to be implemented outside of this crate.
pub trait OrderKey: sealed::Sealed + Copy {
    /// Its name, such as `created_at`.
    fn as_str(self) -> &'static str;
}

mod sealed {
    pub trait Sealed: Sized {
        const RULE: &'static str;
        fn named(name: &str) -> Option<Self>;
    }
}

macro_rules! keys {
    ($(
        $(#[$doc:meta])*
        $name:ident($rule:literal) {
            $($(#[$key_doc:meta])* $key:ident = $text:literal $(| $alias:literal)?,)*
        }
    )*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$key_doc])* $key,)*
        }

        impl OrderKey for $name {
            fn as_str(self) -> &'static str {
                match self {
                    $(Self::$key => $text,)*
                }
            }
        }

        impl sealed::Sealed for $name {
            const RULE: &'static str = $rule;

            fn named(name: &str) -> Option<Self> {
                match name {
                    $($text $(| $alias)? => Some(Self::$key),)*
                    _ => None,
                }
            }
        }
    )*};
}

keys! {
    /// What KPIs may be sorted by.
    KpiKey("expected created_at, updated_at, name or category, or one of them after a minus") {
        /// When it was made.
        #[default]
        CreatedAt = "created_at" | "createdAt",
        /// When it last changed.
        UpdatedAt = "updated_at" | "updatedAt",
        /// Its name.
        Name = "name",
        /// Its group; those without come before the others.
        Category = "category",
    }
    /// What goals may be sorted by.
    GoalKey("expected created_at, updated_at, title or target_date, or one of them after a minus") {
        /// When it was made.
        #[default]
        CreatedAt = "created_at" | "createdAt",
        /// When it last changed.
        UpdatedAt = "updated_at" | "updatedAt",
        /// Its title.
        Title = "title",
        /// When it is due; those that never are come after the others.
        TargetDate = "target_date" | "targetDate",
    }
    /// What members may be sorted by.
    MemberKey("expected joined_at or name, or one of them after a minus") {
        /// When the user joined.
        #[default]
        JoinedAt = "joined_at" | "joinedAt",
        /// The user's name, or e-mail address where there is no name.
        Name = "name",
    }
    /// What users may be sorted by.
    UserKey("expected created_at, updated_at, email or name, or one of them after a minus") {
        /// When the user was made.
        #[default]
        CreatedAt = "created_at" | "createdAt",
        /// When the user last changed.
        UpdatedAt = "updated_at" | "updatedAt",
        /// E-mail address.
        Email = "email",
        /// Name; those without come before the others.
        Name = "name",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_survives_its_text_and_takes_either_spelling() {
        for order in [Order::ascending(GoalKey::TargetDate), Order::descending(GoalKey::Title)] {
            assert_eq!(order.to_string().parse(), Ok(order));
        }
        assert_eq!("-targetDate".parse(), Ok(Order::descending(GoalKey::TargetDate)));
        for bad in ["", "-", "--title", "+title", "Title", "title ", "name", "title,created_at"] {
            let error = bad.parse::<Order<GoalKey>>().unwrap_err();
            assert_eq!(error.field(), "order", "{bad}");
        }
    }
}
