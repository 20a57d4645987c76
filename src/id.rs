//! Typed ids: one newtype per table, parsed before use, so that a KPI's id cannot be passed where
//! a goal's belongs.
//!
//! An id is a [CUID](https://github.com/paralleldrive/cuid2): 2 to 32 characters, a lower-case
//! ASCII letter first, then lower-case ASCII letters and digits. New ids are CUID2 (24 characters
//! from a cryptographic hash, so they tell nothing about time, volume or other tenants); the older
//! 25-character CUIDs that Prisma makes parse as well. The database holds every id column to the
//! same rule with a `CHECK`.

#[doc(hidden)]
pub mod support;

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

/// Makes a type for the ids of a table of your own, with all that [those of this crate](self) have: nothing
/// but a well-formed id is one, in Rust, through serde and from the database.
///
/// The text after `=` is what errors call the entity. The crate `diesel` has to be in scope, or
/// `sesari_db::diesel` under that name. The database holds a column to the same rule by
/// `CHECK (id ~ '^[a-z][a-z0-9]{1,31}$')`.
///
/// ```
/// sesari_db::typed_id! {
///     /// Identifies an invoice.
///     pub InvoiceId = "invoice";
/// }
///
/// let id = InvoiceId::generate();
/// assert_eq!(id.as_str().parse(), Ok(id));
/// assert_eq!("../other".parse::<InvoiceId>().unwrap_err().entity(), "invoice");
/// ```
#[macro_export]
macro_rules! typed_id {
    ($($(#[$doc:meta])* $visibility:vis $name:ident = $entity:literal;)*) => {$(
        $(#[$doc])*
        #[derive(
            Clone, PartialEq, Eq, Hash, PartialOrd, Ord,
            $crate::id::support::diesel::expression::AsExpression, $crate::id::support::diesel::deserialize::FromSqlRow,
        )]
        #[diesel(sql_type = $crate::id::support::diesel::sql_types::Text)]
        $visibility struct $name(::std::boxed::Box<str>);

        impl $name {
            /// What the id identifies, as it appears in errors.
            pub const ENTITY: &'static str = $entity;

            /// Makes a new, unique id. No database is asked.
            #[must_use]
            pub fn generate() -> Self {
                Self($crate::id::support::generate())
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::write!(f, "{}({})", ::std::stringify!($name), self.0)
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl ::std::convert::AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::id::ParseIdError;

            fn from_str(text: &str) -> ::std::result::Result<Self, $crate::id::ParseIdError> {
                $crate::id::support::check(text, $entity).map(Self)
            }
        }

        impl ::std::convert::TryFrom<::std::string::String> for $name {
            type Error = $crate::id::ParseIdError;

            fn try_from(
                text: ::std::string::String,
            ) -> ::std::result::Result<Self, $crate::id::ParseIdError> {
                text.parse()
            }
        }

        impl ::std::convert::From<$name> for ::std::string::String {
            fn from(id: $name) -> ::std::string::String {
                id.0.into_string()
            }
        }

        impl $crate::id::support::Serialize for $name {
            fn serialize<S: $crate::id::support::Serializer>(
                &self,
                serializer: S,
            ) -> ::std::result::Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> $crate::id::support::Deserialize<'de> for $name {
            fn deserialize<D: $crate::id::support::Deserializer<'de>>(
                deserializer: D,
            ) -> ::std::result::Result<Self, D::Error> {
                let text =
                    <::std::string::String as $crate::id::support::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(<D::Error as $crate::id::support::Error>::custom)
            }
        }

        impl $crate::id::support::diesel::serialize::ToSql<$crate::id::support::diesel::sql_types::Text, $crate::id::support::diesel::pg::Pg>
            for $name
        {
            fn to_sql<'b>(
                &'b self,
                out: &mut $crate::id::support::diesel::serialize::Output<'b, '_, $crate::id::support::diesel::pg::Pg>,
            ) -> $crate::id::support::diesel::serialize::Result {
                <str as $crate::id::support::diesel::serialize::ToSql<
                    $crate::id::support::diesel::sql_types::Text,
                    $crate::id::support::diesel::pg::Pg,
                >>::to_sql(&self.0, out)
            }
        }

        impl $crate::id::support::diesel::deserialize::FromSql<$crate::id::support::diesel::sql_types::Text, $crate::id::support::diesel::pg::Pg>
            for $name
        {
            fn from_sql(
                value: $crate::id::support::diesel::pg::PgValue<'_>,
            ) -> $crate::id::support::diesel::deserialize::Result<Self> {
                ::std::result::Result::Ok(::std::str::from_utf8(value.as_bytes())?.parse()?)
            }
        }
    )*};
}

typed_id! {
    /// Identifies a user.
    pub UserId = "user";
    /// Identifies a workspace, the unit of isolation.
    pub WorkspaceId = "workspace";
    /// Identifies a membership: one user in one workspace.
    pub MembershipId = "membership";
    /// Identifies an invitation. Unique within its workspace.
    pub InvitationId = "invitation";
    /// Identifies a KPI. Unique within its workspace.
    pub KpiId = "kpi";
    /// Identifies a goal. Unique within its workspace.
    pub GoalId = "goal";
    /// Identifies the link of a KPI to a goal. Unique within its workspace.
    pub GoalKpiId = "goal link";
    /// Identifies an integration. Unique within its workspace.
    pub IntegrationId = "integration";
    /// Identifies a worker's claim on integrations.
    pub LeaseId = "lease";
    /// Identifies a subscription.
    pub SubscriptionId = "subscription";
    /// Identifies an entry of the audit log. Unique within its workspace.
    pub AuditEntryId = "audit entry";
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
