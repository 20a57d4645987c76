//! Typed ids: one newtype per table, parsed before use, so that a KPI's id cannot be passed where
//! a goal's belongs.
//!
//! An id is a [CUID](https://github.com/paralleldrive/cuid2): 2 to 32 characters, a lower-case
//! ASCII letter first, then lower-case ASCII letters and digits. New ids are CUID2 (24 characters
//! from a cryptographic hash, so they tell nothing about time, volume or other tenants); the older
//! 25-character CUIDs that Prisma makes parse as well. The database holds every id column to the
//! same rule with a `CHECK`.

use std::fmt;

/// The longest id accepted, in bytes.
const MAX_LEN: usize = 32;

/// A text that is not a well-formed id.
///
/// The message does not repeat the text: ids arrive from outside, and errors end up in logs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {entity} id: expected 2 to 32 lower-case letters and digits, a letter first")]
pub struct ParseIdError {
    entity: &'static str,
}

impl ParseIdError {
    /// The entity whose id was expected, such as `"kpi"`.
    #[must_use]
    pub fn entity(&self) -> &'static str {
        self.entity
    }
}

fn is_well_formed(text: &str) -> bool {
    let bytes = text.as_bytes();
    (2..=MAX_LEN).contains(&bytes.len())
        && bytes[0].is_ascii_lowercase()
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

macro_rules! typed_ids {
    ($($(#[$doc:meta])* $name:ident = $entity:literal;)*) => {$(
        $(#[$doc])*
        #[derive(
            Clone, PartialEq, Eq, Hash, PartialOrd, Ord,
            diesel::expression::AsExpression, diesel::deserialize::FromSqlRow,
            serde::Serialize, serde::Deserialize,
        )]
        #[diesel(sql_type = diesel::sql_types::Text)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// What the id identifies, as it appears in errors.
            pub const ENTITY: &'static str = $entity;

            /// Makes a new, unique id. No database is asked.
            #[must_use]
            pub fn generate() -> Self {
                Self(cuid2::create_id().into_boxed_str())
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                if is_well_formed(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(ParseIdError { entity: $entity })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseIdError;

            fn try_from(text: String) -> Result<Self, ParseIdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.into_string()
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

        impl diesel::deserialize::FromSql<diesel::sql_types::Text, diesel::pg::Pg> for $name {
            fn from_sql(value: diesel::pg::PgValue<'_>) -> diesel::deserialize::Result<Self> {
                Ok(std::str::from_utf8(value.as_bytes())?.parse()?)
            }
        }
    )*};
}

typed_ids! {
    /// Identifies a user.
    UserId = "user";
    /// Identifies a workspace, the unit of isolation.
    WorkspaceId = "workspace";
    /// Identifies a membership: one user in one workspace.
    MembershipId = "membership";
    /// Identifies an invitation. Unique within its workspace.
    InvitationId = "invitation";
    /// Identifies a KPI. Unique within its workspace.
    KpiId = "kpi";
    /// Identifies a goal. Unique within its workspace.
    GoalId = "goal";
    /// Identifies the link of a KPI to a goal. Unique within its workspace.
    GoalKpiId = "goal link";
    /// Identifies an integration. Unique within its workspace.
    IntegrationId = "integration";
    /// Identifies a worker's claim on integrations.
    LeaseId = "lease";
    /// Identifies a subscription.
    SubscriptionId = "subscription";
    /// Identifies an entry of the audit log. Unique within its workspace.
    AuditEntryId = "audit entry";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_id_parses_as_itself() {
        let id = KpiId::generate();
        assert_eq!(id.as_str().parse::<KpiId>().unwrap(), id);
        assert_eq!(id.as_str().len(), 24);
    }

    #[test]
    fn generated_ids_differ() {
        let ids: std::collections::HashSet<_> = (0..10_000).map(|_| KpiId::generate()).collect();
        assert_eq!(ids.len(), 10_000);
    }

    #[test]
    fn cuids_of_either_version_parse() {
        assert!("cjld2cjxh0000qzrmn831i7rn".parse::<UserId>().is_ok());
        assert!("tz4a98xxat96iws9zmbrgj3a".parse::<UserId>().is_ok());
    }

    #[test]
    fn anything_else_is_refused_without_being_repeated() {
        let huge = "a".repeat(1 << 20);
        for bad in ["", "a", "A1", "1a", "a-b", "a b", "a\0b", "é1", "a'; drop table kpis", &huge]
        {
            let error = bad.parse::<KpiId>().unwrap_err();
            assert_eq!(error.entity(), "kpi");
            assert!(bad.len() < 2 || !error.to_string().contains(bad));
        }
    }

    #[test]
    fn serde_validates() {
        assert!(serde_json::from_str::<KpiId>("\"abc\"").is_ok());
        assert!(serde_json::from_str::<KpiId>("\"x y\"").is_err());
    }
}
