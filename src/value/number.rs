//! Numbers and times within range.

use chrono::{DateTime, Datelike, Utc};
use diesel::pg::{Pg, PgValue};
use diesel::sql_types::{Double, Timestamptz};

use super::Invalid;

macro_rules! number_values {
    ($($(#[$doc:meta])* $name:ident($field:literal, $rule:literal): $check:expr;)*) => {$(
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, PartialOrd,
            diesel::expression::AsExpression, diesel::deserialize::FromSqlRow,
            serde::Serialize, serde::Deserialize,
        )]
        #[diesel(sql_type = Double)]
        #[serde(try_from = "f64", into = "f64")]
        pub struct $name(f64);

        impl $name {
            /// Checks the number. -0 becomes 0.
            ///
            /// # Errors
            /// [`Invalid`] when it is out of range, infinite or not a number.
            pub fn new(value: f64) -> Result<Self, Invalid> {
                let check: fn(f64) -> bool = $check;
                // -0 is stored as 0: equal numbers are written alike.
                if check(value) { Ok(Self(value + 0.0)) } else { Err(Invalid::new($field, $rule)) }
            }

            /// The number.
            #[must_use]
            pub fn get(self) -> f64 {
                self.0
            }
        }

        impl TryFrom<f64> for $name {
            type Error = Invalid;

            fn try_from(value: f64) -> Result<Self, Invalid> {
                Self::new(value)
            }
        }

        impl From<$name> for f64 {
            fn from(value: $name) -> f64 {
                value.0
            }
        }

        impl diesel::serialize::ToSql<Double, Pg> for $name {
            fn to_sql<'b>(
                &'b self,
                out: &mut diesel::serialize::Output<'b, '_, Pg>,
            ) -> diesel::serialize::Result {
                <f64 as diesel::serialize::ToSql<Double, Pg>>::to_sql(&self.0, out)
            }
        }

        impl diesel::deserialize::FromSql<Double, Pg> for $name {
            fn from_sql(value: PgValue<'_>) -> diesel::deserialize::Result<Self> {
                Ok(Self(diesel::deserialize::FromSql::<Double, Pg>::from_sql(value)?))
            }
        }
    )*};
}

number_values! {
    /// A number that is neither infinite nor NaN.
    Finite("value", "expected a finite number"): f64::is_finite;
    /// The weight of a KPI in a goal, 0 to 1 000 000. Only ratios count; 0 leaves the KPI out.
    Weight("weight", "expected a number from 0 to 1000000"): |w| (0.0..=1_000_000.0).contains(&w);
}

impl Default for Weight {
    /// 1, as in the database.
    fn default() -> Self {
        Self(1.0)
    }
}

/// Midnight of UTC on 1 January 2000, from which PostgreSQL counts in its binary format, in
/// microseconds of Unix time.
pub(crate) const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

/// A moment in UTC, in the years 1 to 9999, to the millisecond: what the tables store, RFC 3339 can
/// write, and clients whose times hold no more, such as JavaScript's, send back unchanged. A finer
/// part is cut off, towards the past: two moments of one millisecond are the same.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    diesel::expression::AsExpression,
    diesel::deserialize::FromSqlRow,
    serde::Serialize,
    serde::Deserialize,
)]
#[diesel(sql_type = Timestamptz)]
#[serde(try_from = "DateTime<Utc>", into = "DateTime<Utc>")]
pub struct Timestamp(DateTime<Utc>);

impl Timestamp {
    /// The last one: the end of the year 9999.
    pub(crate) const MAX: Self = match DateTime::from_timestamp_millis(253_402_300_799_999) {
        Some(moment) => Self(moment),
        None => Self(DateTime::<Utc>::MAX_UTC),
    };

    /// Checks the moment and cuts it to the millisecond.
    ///
    /// # Errors
    /// [`Invalid`] outside of the years 1 to 9999.
    pub fn new(moment: DateTime<Utc>) -> Result<Self, Invalid> {
        // Through the number, which counts a leap second as the next one, as the database does.
        DateTime::from_timestamp_millis(moment.timestamp_millis())
            .filter(|moment| (1..=9999).contains(&moment.year()))
            .map(Self)
            .ok_or_else(|| Invalid::new("timestamp", "expected a time in the years 1 to 9999"))
    }

    /// The moment.
    #[must_use]
    pub fn get(self) -> DateTime<Utc> {
        self.0
    }
}

impl TryFrom<DateTime<Utc>> for Timestamp {
    type Error = Invalid;

    fn try_from(moment: DateTime<Utc>) -> Result<Self, Invalid> {
        Self::new(moment)
    }
}

impl From<Timestamp> for DateTime<Utc> {
    fn from(moment: Timestamp) -> DateTime<Utc> {
        moment.0
    }
}

impl diesel::serialize::ToSql<Timestamptz, Pg> for Timestamp {
    fn to_sql<'b>(
        &'b self,
        out: &mut diesel::serialize::Output<'b, '_, Pg>,
    ) -> diesel::serialize::Result {
        <DateTime<Utc> as diesel::serialize::ToSql<Timestamptz, Pg>>::to_sql(&self.0, out)
    }
}

impl diesel::deserialize::FromSql<Timestamptz, Pg> for Timestamp {
    fn from_sql(value: PgValue<'_>) -> diesel::deserialize::Result<Self> {
        Ok(Self(diesel::deserialize::FromSql::<Timestamptz, Pg>::from_sql(value)?))
    }
}

/// The shortest text that is this number and no other: with an exponent where digits would be zeros
/// that the number does not have.
pub(crate) struct Shortest(pub(crate) f64);

impl std::fmt::Display for Shortest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == 0.0 || (1e-5..1e15).contains(&self.0.abs()) {
            write!(f, "{}", self.0)
        } else {
            write!(f, "{:e}", self.0)
        }
    }
}
