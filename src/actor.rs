//! Who is asking: a user, or a service.

use std::fmt;
use std::str::FromStr;

use crate::id::UserId;
use crate::value::{Invalid, is_name};

/// The name under which a service of yours acts, such as `billing` or `stripe-sync`: 1 to 63
/// lower-case ASCII letters, digits, hyphens and underscores. It appears in the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName(String);

impl ServiceName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ServiceName {
    type Error = Invalid;

    fn try_from(name: String) -> Result<Self, Invalid> {
        if is_name(&name, 63) {
            Ok(Self(name))
        } else {
            Err(Invalid::new(
                "service name",
                "expected 1 to 63 lower-case letters, digits, hyphens and underscores",
            ))
        }
    }
}

impl FromStr for ServiceName {
    type Err = Invalid;

    fn from_str(name: &str) -> Result<Self, Invalid> {
        name.to_owned().try_into()
    }
}

impl From<ServiceName> for String {
    fn from(name: ServiceName) -> String {
        name.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who is asking.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Actor {
    /// A user, who sees a workspace only while being a member of it.
    User(UserId),
    /// A background service, which the signing key vouches for.
    Service(ServiceName),
}

impl Actor {
    /// Which kind, as in the audit log: `user` or `service`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Service(_) => "service",
        }
    }

    /// The user's id, or the service's name.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::User(user) => user.as_str(),
            Self::Service(service) => service.as_str(),
        }
    }
}

impl From<UserId> for Actor {
    fn from(user: UserId) -> Self {
        Self::User(user)
    }
}

impl From<&UserId> for Actor {
    fn from(user: &UserId) -> Self {
        Self::User(user.clone())
    }
}

impl From<ServiceName> for Actor {
    fn from(service: ServiceName) -> Self {
        Self::Service(service)
    }
}

impl From<&ServiceName> for Actor {
    fn from(service: &ServiceName) -> Self {
        Self::Service(service.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_name_cannot_end_the_text_it_stands_in() {
        for bad in ["", "a.b", "a'b", "A", "a b", "-a", &"a".repeat(64)] {
            assert!(bad.parse::<ServiceName>().is_err(), "{bad}");
        }
        assert!("stripe-sync_2".parse::<ServiceName>().is_ok());
    }
}
