//! The signed context: who is asking, and for which workspace.
//!
//! A context is one line of text, `1.<key id>.<kind>.<actor>.<workspace>.<issued at>.<pid>.<mac>`,
//! set as `sesari.context` for one transaction. The last part is HMAC-SHA256
//! ([RFC 2104](https://www.rfc-editor.org/rfc/rfc2104)) over all before it. No part can contain a
//! dot, and none can contain a quote, so the line needs no escaping in SQL.

use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::id::{UserId, WorkspaceId};
use crate::value::{Invalid, is_name};

/// Shortest key, in bytes: the size of the digest, as RFC 2104 advises.
const MIN_KEY: usize = 32;
/// Longest key, in bytes: the block size of SHA-256.
const MAX_KEY: usize = 64;

/// Signed to prove a key, see `sesari.has_context_key`. No context begins like it.
const PROOF: &[u8] = b"sesari.has_context_key";

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

/// A key that signs contexts. The database holds the same key, see
/// [`maintenance::install_context_key`](crate::maintenance::install_context_key).
///
/// `Debug` shows its id alone.
#[derive(Clone)]
pub struct ContextKey {
    id: String,
    secret: Zeroizing<Vec<u8>>,
    hmac: hmac::Key,
}

impl ContextKey {
    /// A key from its id (1 to 32 lower-case ASCII letters, digits, hyphens and underscores) and 32
    /// to 64 secret bytes.
    ///
    /// # Errors
    /// [`Error::Config`] when either has another form.
    pub fn new(id: impl Into<String>, secret: &[u8]) -> Result<Self> {
        let id = id.into();
        if !is_name(&id, 32) {
            return Err(Error::Config(
                "a context key's id has 1 to 32 lower-case letters, digits, hyphens and \
                 underscores"
                    .into(),
            ));
        }
        if !(MIN_KEY..=MAX_KEY).contains(&secret.len()) {
            return Err(Error::Config(format!(
                "context key {id} has {} bytes; expected {MIN_KEY} to {MAX_KEY}",
                secret.len()
            )));
        }
        let hmac = hmac::Key::new(hmac::HMAC_SHA256, secret);
        Ok(Self { id, secret: Zeroizing::new(secret.to_vec()), hmac })
    }

    /// A new random key of 32 bytes.
    ///
    /// # Errors
    /// [`Error::Config`] when the id is malformed or the system has no randomness to give.
    pub fn generate(id: impl Into<String>) -> Result<Self> {
        let mut secret = Zeroizing::new([0; MIN_KEY]);
        SystemRandom::new()
            .fill(&mut *secret)
            .map_err(|_| Error::Config("the system's random generator failed".into()))?;
        Self::new(id, &*secret)
    }

    /// The key's id, which is no secret.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The key in the form that [`FromStr`] reads, `<id>:<base64>`. For writing it into a secret
    /// store.
    #[must_use]
    pub fn to_secret_string(&self) -> String {
        format!("{}:{}", self.id, STANDARD.encode(&self.secret))
    }

    pub(crate) fn secret(&self) -> &[u8] {
        &self.secret
    }
}

impl FromStr for ContextKey {
    type Err = Error;

    /// Reads `<id>:<base64 of the secret>`.
    fn from_str(text: &str) -> Result<Self> {
        let (id, secret) = text.trim().split_once(':').ok_or_else(|| {
            Error::Config("expected a context key as <id>:<base64 of 32 to 64 bytes>".into())
        })?;
        let secret = STANDARD
            .decode(secret)
            .map_err(|_| Error::Config("a context key's secret is not base64".into()))?;
        Self::new(id, &secret)
    }
}

impl fmt::Debug for ContextKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContextKey({})", self.id)
    }
}

/// The keys that a service may sign with, the preferred one first.
///
/// Each connection signs with the first key that the database knows, and asks again once a minute:
/// so a key is rotated by installing the new one in the database, rolling out `new, old`, and
/// retiring the old one a minute after the last service has it. No service stops.
#[derive(Debug, Clone)]
pub struct ContextKeyRing(Vec<ContextKey>);

impl ContextKeyRing {
    /// A ring of at least one key.
    ///
    /// # Errors
    /// [`Error::Config`] when there is none, or when two share an id.
    pub fn new(keys: impl IntoIterator<Item = ContextKey>) -> Result<Self> {
        let keys: Vec<_> = keys.into_iter().collect();
        if keys.is_empty() {
            return Err(Error::Config("expected at least one context key".into()));
        }
        for (i, key) in keys.iter().enumerate() {
            if keys[..i].iter().any(|other| other.id == key.id) {
                return Err(Error::Config(format!("two context keys are named {}", key.id)));
            }
        }
        Ok(Self(keys))
    }

    /// The keys, the preferred one first.
    pub fn keys(&self) -> impl Iterator<Item = &ContextKey> {
        self.0.iter()
    }

    pub(crate) fn ids(&self) -> Vec<&str> {
        self.0.iter().map(ContextKey::id).collect()
    }

    /// For each key, what proves to the database that it is the one installed under its id.
    pub(crate) fn proofs(&self) -> Vec<Vec<u8>> {
        let proof = |key: &ContextKey| hmac::sign(&key.hmac, PROOF).as_ref().to_vec();
        self.0.iter().map(proof).collect()
    }

    pub(crate) fn get(&self, index: usize) -> Option<&ContextKey> {
        self.0.get(index)
    }
}

impl From<ContextKey> for ContextKeyRing {
    fn from(key: ContextKey) -> Self {
        Self(vec![key])
    }
}

impl FromStr for ContextKeyRing {
    type Err = Error;

    /// Reads keys separated by commas, the preferred one first.
    fn from_str(text: &str) -> Result<Self> {
        Self::new(text.split(',').map(str::parse).collect::<Result<Vec<ContextKey>>>()?)
    }
}

/// Signs a context. `issued_at` is the server's time in microseconds since 1970; a `pid` of 0 binds
/// the context to no backend.
pub(crate) fn sign(
    key: &ContextKey,
    actor: &Actor,
    workspace: Option<&WorkspaceId>,
    issued_at: i64,
    pid: i32,
) -> String {
    let (kind, name) = match actor {
        Actor::User(user) => ('u', user.as_str()),
        Actor::Service(service) => ('s', service.as_str()),
    };
    let workspace = workspace.map_or("", WorkspaceId::as_str);
    let mut token = format!("1.{}.{kind}.{name}.{workspace}.{issued_at}.{pid}", key.id);
    let mac = hmac::sign(&key.hmac, token.as_bytes());
    token.push('.');
    for byte in mac.as_ref() {
        // Writing to a String cannot fail.
        let _ = write!(token, "{byte:02x}");
    }
    token
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ContextKey {
        ContextKey::new("k1", &[b'k'; 32]).unwrap()
    }

    #[test]
    fn a_context_is_signed_as_another_implementation_signs_it() {
        // Python: hmac.new(b'k' * 32, message, hashlib.sha256).hexdigest()
        let user = Actor::User("ua".parse().unwrap());
        let workspace = "wa".parse().unwrap();
        let token = sign(&key(), &user, Some(&workspace), 1_700_000_000_000_000, 42);
        assert_eq!(
            token,
            "1.k1.u.ua.wa.1700000000000000.42.\
             e15217216ff057ca66b8516c1e0a2b060cbbe671185c609f24c0da4a8a7645c2"
        );
    }

    #[test]
    fn a_key_never_shows_its_secret() {
        assert_eq!(format!("{:?}", key()), "ContextKey(k1)");
    }

    #[test]
    fn a_key_survives_its_text_form() {
        let key = ContextKey::generate("k2").unwrap();
        let again: ContextKey = key.to_secret_string().parse().unwrap();
        assert_eq!((again.id(), again.secret()), (key.id(), key.secret()));
    }

    #[test]
    fn unusable_keys_are_refused() {
        assert!(ContextKey::new("k1", &[0; 31]).is_err());
        assert!(ContextKey::new("k1", &[0; 65]).is_err());
        assert!(ContextKey::new("k.1", &[0; 32]).is_err());
        assert!(ContextKey::new("", &[0; 32]).is_err());
        for bad in ["", "k1", "k1:", "k1:!!", "k1:AAAA"] {
            assert!(bad.parse::<ContextKey>().is_err(), "{bad}");
        }
        assert!(ContextKeyRing::new([]).is_err());
        assert!(ContextKeyRing::new([key(), key()]).is_err());
    }

    #[test]
    fn a_service_name_cannot_end_the_text_it_stands_in() {
        for bad in ["", "a.b", "a'b", "A", "a b", "-a", &"a".repeat(64)] {
            assert!(bad.parse::<ServiceName>().is_err(), "{bad}");
        }
        assert!("stripe-sync_2".parse::<ServiceName>().is_ok());
    }
}
