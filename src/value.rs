//! Values that are checked before they reach the database: text of a known form, finite numbers,
//! times within range, and the closed lists of roles, statuses and plans.
//!
//! Every rule here stands a second time as a named `CHECK` in the database, for clients that do not
//! use this crate; `tests/data/validation.rs` walks both with the same inputs and expects the same
//! verdict. A rejected value never appears in the error: it may be a secret typed into the wrong
//! field.

use std::borrow::Cow;

mod choice;
mod fold;
mod number;
mod text;
mod time_zone;
mod unicode;
pub(crate) mod zone;

pub use choice::{
    ActorKind, Aggregation, AuthProvider, GoalStatus, IntegrationProvider, Plan, Role, ScopeKind,
    SubscriptionStatus, SyncStatus, TargetPeriod,
};
pub(crate) use fold::Folded;
pub use number::{Finite, Timestamp, Weight};
pub(crate) use number::{POSTGRES_EPOCH, Shortest};
pub(crate) use text::is_name;
pub use text::{
    Category, Description, Email, GoalTitle, ImageUrl, KpiName, PersonName, ProviderId, Slug,
    Source, Unit, WorkspaceName,
};
pub use time_zone::TimeZone;

/// Input that breaks a rule: which field, and which rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {field}: {rule}")]
pub struct Invalid {
    field: Cow<'static, str>,
    rule: &'static str,
}

impl Invalid {
    /// An error about this field. The rule is a sentence fragment for people, such as
    /// `"expected 1 to 200 characters"`; it must not repeat the value.
    #[must_use]
    pub fn new(field: impl Into<Cow<'static, str>>, rule: &'static str) -> Self {
        Self { field: field.into(), rule }
    }

    /// The field at fault, such as `"email"`.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }

    /// The rule that it breaks, as a sentence fragment for people.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        self.rule
    }
}
