//! The signed context: who is asking, and for which workspace.
//!
//! A context is one line of text, `1.<key id>.<kind>.<actor>.<workspace>.<issued at>.<pid>.<mac>`,
//! set as `sesari.context` for one transaction. The last part is HMAC-SHA256
//! ([RFC 2104](https://www.rfc-editor.org/rfc/rfc2104)) over all before it. No part can contain a
//! dot, and none can contain a quote, so the line needs no escaping in SQL.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::actor::Actor;
use crate::error::{Error, Result};
use crate::hex;
use crate::id::WorkspaceId;
use crate::value::is_name;

/// Shortest key, in bytes: the size of the digest, as RFC 2104 advises.
const MIN_KEY: usize = 32;
/// Longest key, in bytes: the block size of SHA-256.
const MAX_KEY: usize = 64;

/// Signed to prove a key, see `sesari.has_context_key`. No context begins like it.
const PROOF: &[u8] = b"sesari.has_context_key";

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
    // `u` or `s`.
    let kind = &actor.kind()[..1];
    let name = actor.id();
    let workspace = workspace.map_or("", WorkspaceId::as_str);
    let mut token = format!("1.{}.{kind}.{name}.{workspace}.{issued_at}.{pid}", key.id);
    let mac = hmac::sign(&key.hmac, token.as_bytes());
    token.push('.');
    token.push_str(&hex::encode(mac.as_ref()));
    token
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ContextKey {
        ContextKey::new("k1", &[b'k'; 32]).unwrap()
    }

    #[derive(serde::Deserialize)]
    struct Vector {
        about: String,
        key: String,
        kind: String,
        actor: String,
        workspace: String,
        issued_at: String,
        pid: i32,
        context: String,
    }

    /// `tests/vectors/make_context.py` made them; `tests/clients` has TypeScript and Python sign the same.
    #[test]
    fn a_context_is_signed_as_other_implementations_sign_it() {
        let vectors: Vec<Vector> =
            serde_json::from_str(include_str!("../../tests/vectors/context.json")).unwrap();
        assert_eq!(vectors.len(), 5);
        for vector in vectors {
            let actor = match vector.kind.as_str() {
                "u" => Actor::User(vector.actor.parse().unwrap()),
                _ => Actor::Service(vector.actor.parse().unwrap()),
            };
            let workspace =
                (!vector.workspace.is_empty()).then(|| vector.workspace.parse().unwrap());
            let (key, issued_at) = (vector.key.parse().unwrap(), vector.issued_at.parse().unwrap());
            let context = sign(&key, &actor, workspace.as_ref(), issued_at, vector.pid);
            assert_eq!(context, vector.context, "{}", vector.about);
        }
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
}
