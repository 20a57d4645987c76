//! The zone whose days a workspace goes by.

use std::fmt;
use std::str::FromStr;

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::Text;
use serde::{Deserialize, Serialize};

use super::Invalid;
use super::zone::Zone;

/// The zone of a workspace: a name of the IANA database, spelt as it is there; `Etc/UTC` by default.
///
/// A stored name that this version of the crate does not know, since the server's database is newer, is
/// read as `Unknown`, so that one workspace never hides a whole list. It cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, AsExpression, FromSqlRow, Serialize, Deserialize)]
#[diesel(sql_type = Text)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum TimeZone {
    /// A zone whose rules this crate has.
    Known(Zone),
    /// One that it does not have.
    Unknown(String),
}

impl TimeZone {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(zone) => zone.name(),
            Self::Unknown(name) => name,
        }
    }

    /// The zone with its rules.
    ///
    /// # Errors
    /// [`Invalid`] where this version of the crate does not have it: name another one.
    pub fn zone(&self) -> Result<Zone, Invalid> {
        match self {
            Self::Known(zone) => Ok(*zone),
            Self::Unknown(_) => Err(Invalid::new(
                "time_zone",
                "the workspace's zone is not in this version's time zone database",
            )),
        }
    }
}

impl Default for TimeZone {
    fn default() -> Self {
        Self::Known(Zone::ETC_UTC)
    }
}

impl From<Zone> for TimeZone {
    fn from(zone: Zone) -> Self {
        Self::Known(zone)
    }
}

impl FromStr for TimeZone {
    type Err = Invalid;

    fn from_str(name: &str) -> Result<Self, Invalid> {
        let known = name.parse().map(Self::Known);
        known.map_err(|invalid: Invalid| Invalid::new("time_zone", invalid.rule()))
    }
}

impl TryFrom<String> for TimeZone {
    type Error = Invalid;

    fn try_from(name: String) -> Result<Self, Invalid> {
        name.parse()
    }
}

impl From<TimeZone> for String {
    fn from(zone: TimeZone) -> String {
        zone.as_str().to_owned()
    }
}

impl fmt::Display for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl ToSql<Text, Pg> for TimeZone {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        <str as ToSql<Text, Pg>>::to_sql(self.as_str(), out)
    }
}

impl FromSql<Text, Pg> for TimeZone {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let name = std::str::from_utf8(value.as_bytes())?;
        Ok(name.parse().unwrap_or_else(|_| Self::Unknown(name.to_owned())))
    }
}
