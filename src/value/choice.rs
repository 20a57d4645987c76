//! Closed lists, stored as text with a `CHECK`.

use std::fmt;
use std::str::FromStr;

use super::Invalid;

macro_rules! choices {
    ($(
        $(#[$doc:meta])*
        $name:ident($field:literal, $rule:literal) {
            $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)*
        }
    )*) => {$(
        $(#[$doc])*
        ///
        /// A stored value that this version of the crate does not know is read as `Unknown`, so
        /// that one new value never hides a whole list; it cannot be parsed, and the database
        /// refuses to store one that it does not know either.
        #[derive(
            Debug, Clone, PartialEq, Eq, Hash,
            diesel::expression::AsExpression, diesel::deserialize::FromSqlRow,
            serde::Serialize, serde::Deserialize,
        )]
        #[diesel(sql_type = diesel::sql_types::Text)]
        #[serde(try_from = "String", into = "String")]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
            /// A value stored by a newer version.
            Unknown(String),
        }

        impl $name {
            /// Every value that this version knows.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The value as it is stored.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Unknown(text) => text,
                }
            }
        }

        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    _ => Err(Invalid::new($field, $rule)),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = Invalid;

            fn try_from(text: String) -> Result<Self, Invalid> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.as_str().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl diesel::serialize::ToSql<diesel::sql_types::Text, diesel::pg::Pg> for $name {
            fn to_sql<'b>(
                &'b self,
                out: &mut diesel::serialize::Output<'b, '_, diesel::pg::Pg>,
            ) -> diesel::serialize::Result {
                <str as diesel::serialize::ToSql<diesel::sql_types::Text, diesel::pg::Pg>>::to_sql(
                    self.as_str(), out,
                )
            }
        }

        impl diesel::deserialize::FromSql<diesel::sql_types::Text, diesel::pg::Pg> for $name {
            fn from_sql(value: diesel::pg::PgValue<'_>) -> diesel::deserialize::Result<Self> {
                let text = std::str::from_utf8(value.as_bytes())?;
                Ok(text.parse().unwrap_or_else(|_| Self::Unknown(text.to_owned())))
            }
        }
    )*};
}

choices! {
    /// What a member may do in a workspace.
    Role("role", "expected owner, admin or member") {
        /// Everything, including making owners and deleting the workspace.
        Owner = "owner",
        /// Everything but what only owners may.
        Admin = "admin",
        /// Reads everything but the audit log; writes KPIs, points, goals and links.
        Member = "member",
    }
    /// Where a goal stands.
    GoalStatus("status", "expected active, completed or paused") {
        /// Being worked on.
        Active = "active",
        /// Reached.
        Completed = "completed",
        /// Put off.
        Paused = "paused",
    }
    /// What the points of a period come to.
    ///
    /// Of stocks, such as a balance, the last counts; they add up over KPIs and not over time. Of flows, such as
    /// revenue, the sum; of rates the mean. Metric stores call the first semi-additive.
    Aggregation("aggregation", "expected last, sum or mean") {
        /// The last point in the period.
        Last = "last",
        /// The sum of its points.
        Sum = "sum",
        /// The arithmetic mean of its points, each counting the same.
        Mean = "mean",
    }
    /// Over what a target of a KPI is to be reached.
    TargetPeriod("period", "expected standing, month, quarter or year") {
        /// No period: it holds from a day on.
        Standing = "standing",
        /// Each month.
        Month = "month",
        /// Each quarter, from January, April, July and October.
        Quarter = "quarter",
        /// Each year.
        Year = "year",
    }
    /// What made a change that is in the audit log.
    ActorKind("actor_kind", "expected user, service or system") {
        /// A user.
        User = "user",
        /// A service.
        Service = "service",
        /// Whoever administers the schema, without a context.
        System = "system",
    }
    /// By which scope the actor of an entry of the audit log came in.
    ScopeKind("scope", "expected tenant, user, service or none") {
        /// A [`TenantConnection`](crate::TenantConnection).
        Tenant = "tenant",
        /// A [`UserConnection`](crate::UserConnection).
        User = "user",
        /// A [`ServiceConnection`](crate::ServiceConnection).
        Service = "service",
        /// Past all of them: whoever administers the schema.
        None = "none",
    }
    /// A sign-in provider.
    AuthProvider("provider", "expected google") {
        /// Google.
        Google = "google",
    }
    /// A service that KPIs come from.
    IntegrationProvider("provider", "expected stripe, google_analytics or sheets") {
        /// Stripe.
        Stripe = "stripe",
        /// Google Analytics.
        GoogleAnalytics = "google_analytics",
        /// Google Sheets.
        Sheets = "sheets",
    }
    /// How the last synchronisation of an integration went.
    SyncStatus("sync_status", "expected pending, success or error") {
        /// Not run yet.
        Pending = "pending",
        /// Succeeded.
        Success = "success",
        /// Failed.
        Error = "error",
    }
    /// Where a subscription stands, in Stripe's words, which are stored as Stripe says them.
    SubscriptionStatus("status", "expected a status of a subscription as Stripe names them") {
        /// Paid.
        Active = "active",
        /// Ended for good.
        Canceled = "canceled",
        /// A payment is missing, and still being collected.
        PastDue = "past_due",
        /// In use before the first payment is due.
        Trialing = "trialing",
        /// The first payment is missing, and may come within a day.
        Incomplete = "incomplete",
        /// The first payment never came: ended for good.
        IncompleteExpired = "incomplete_expired",
        /// A payment is missing, and not collected any more.
        Unpaid = "unpaid",
        /// The trial ended without a means of payment, and may be taken up again.
        Paused = "paused",
    }
    /// What a subscription buys.
    Plan("plan_type", "expected free, starter or pro") {
        /// Free of charge.
        Free = "free",
        /// The small plan.
        Starter = "starter",
        /// The large plan.
        Pro = "pro",
    }
}

impl Default for Aggregation {
    /// The last point, as in the database.
    fn default() -> Self {
        Self::Last
    }
}

impl SubscriptionStatus {
    /// Whether what the subscription buys is to be given, as Stripe advises: paid, on trial, or with a
    /// payment still being collected. A service may be stricter or more lenient.
    #[must_use]
    pub fn gives_access(&self) -> bool {
        matches!(self, Self::Active | Self::Trialing | Self::PastDue)
    }
}

impl Role {
    /// Whether the role may do what admins and owners may. The database decides; this is for
    /// showing or hiding a button.
    #[must_use]
    pub fn can_administer(&self) -> bool {
        matches!(self, Self::Owner | Self::Admin)
    }
}
