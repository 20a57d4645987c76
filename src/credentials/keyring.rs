//! The keys that the service is configured with.

use std::error::Error as StdError;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::Secret;
use crate::value::is_name;

/// Why there is no key, or no ring. Found when a service starts, not when it seals.
///
/// No message contains a key; ids are not secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A key's text has another form.
    #[error("expected a sealing key as <id>:<base64 of 32 bytes>")]
    Format,
    /// A key's id has another form.
    #[error(transparent)]
    Id(#[from] ParseKeyIdError),
    /// The part after the id is not base64.
    #[error("sealing key {id} is not base64")]
    Base64 {
        /// The key's id.
        id: SealingKeyId,
    },
    /// A key does not have 32 bytes.
    #[error("sealing key {id} has {len} bytes; expected 32")]
    Length {
        /// The key's id.
        id: SealingKeyId,
        /// How many it has.
        len: usize,
    },
    /// A key is all zeros: an uninitialised buffer.
    #[error("sealing key {id} is nothing but zeros")]
    Zero {
        /// The key's id.
        id: SealingKeyId,
    },
    /// A ring without a key.
    #[error("expected at least one sealing key")]
    NoKeys,
    /// Two keys of a ring have the same id.
    #[error("two sealing keys are named {id}")]
    DuplicateId {
        /// The id.
        id: SealingKeyId,
    },
    /// Two keys of a ring are the same but for their id: moving from one to the other would protect
    /// nothing.
    #[error("sealing keys {first} and {second} are the same key")]
    SameKey {
        /// One id.
        first: SealingKeyId,
        /// The other.
        second: SealingKeyId,
    },
    /// The environment variable is not set, or is not text.
    #[error("the environment variable {name} is not set to text")]
    Environment {
        /// Its name.
        name: String,
    },
    /// The key provider failed. Its own error is the source.
    #[error("the key provider failed")]
    Provider(#[source] Box<dyn StdError + Send + Sync>),
    /// The system has no randomness to give.
    #[error("the system's random generator failed")]
    Randomness,
}

/// A text that is not a key's id. The message does not repeat it: it may be a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a sealing key's id has 1 to 32 lower-case letters, digits, hyphens and underscores, \
     a letter or digit first"
)]
pub struct ParseKeyIdError(());

/// The name of a key: 1 to 32 lower-case ASCII letters, digits, hyphens and underscores, a letter or
/// digit first. It stands in every envelope, and is no secret.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct SealingKeyId(Box<str>);

impl SealingKeyId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SealingKeyId {
    type Err = ParseKeyIdError;

    fn from_str(text: &str) -> Result<Self, ParseKeyIdError> {
        if is_name(text, 32) { Ok(Self(text.into())) } else { Err(ParseKeyIdError(())) }
    }
}

impl TryFrom<String> for SealingKeyId {
    type Error = ParseKeyIdError;

    fn try_from(text: String) -> Result<Self, ParseKeyIdError> {
        text.parse()
    }
}

impl From<SealingKeyId> for String {
    fn from(id: SealingKeyId) -> String {
        id.0.into_string()
    }
}

impl fmt::Display for SealingKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key of 32 bytes and its id. The keys of workspaces are derived from it.
///
/// `Debug` shows the id alone, and the bytes are wiped on drop.
pub struct SealingKey {
    id: SealingKeyId,
    // Boxed, so that moving the key leaves no copy behind.
    bytes: Box<Zeroizing<[u8; Self::LEN]>>,
}

impl SealingKey {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// A key from 32 random bytes. The caller's bytes stay as they are: wipe them.
    ///
    /// # Errors
    /// [`KeyError::Length`] unless there are 32, [`KeyError::Zero`] when all are zero.
    pub fn new(id: SealingKeyId, bytes: &[u8]) -> Result<Self, KeyError> {
        if bytes.len() != Self::LEN {
            return Err(KeyError::Length { id, len: bytes.len() });
        }
        if bytes.iter().all(|&byte| byte == 0) {
            return Err(KeyError::Zero { id });
        }
        let mut key = Self { id, bytes: Box::new(Zeroizing::new([0; Self::LEN])) };
        key.bytes.copy_from_slice(bytes);
        Ok(key)
    }

    /// A new random key.
    ///
    /// # Errors
    /// [`KeyError::Randomness`] when the system has none.
    pub fn generate(id: SealingKeyId) -> Result<Self, KeyError> {
        let mut key = Self { id, bytes: Box::new(Zeroizing::new([0; Self::LEN])) };
        SystemRandom::new().fill(&mut **key.bytes).map_err(|_| KeyError::Randomness)?;
        Ok(key)
    }

    /// The key's id.
    #[must_use]
    pub fn id(&self) -> &SealingKeyId {
        &self.id
    }

    /// The key in the form that [`FromStr`] reads, `<id>:<base64>`. For writing it into a secret
    /// store.
    #[must_use]
    pub fn to_secret(&self) -> Secret {
        let id = self.id.as_str().as_bytes();
        let mut text = Zeroizing::new(vec![b':'; id.len() + 1 + Self::LEN.div_ceil(3) * 4]);
        text[..id.len()].copy_from_slice(id);
        // The buffer has exactly the size of 32 encoded bytes, so this cannot fail.
        let _ = STANDARD.encode_slice(**self.bytes, &mut text[id.len() + 1..]);
        Secret::from(text)
    }

    pub(super) fn bytes(&self) -> &[u8; Self::LEN] {
        &self.bytes
    }
}

impl ZeroizeOnDrop for SealingKey {}

impl FromStr for SealingKey {
    type Err = KeyError;

    /// Reads `<id>:<base64 of the 32 bytes>`: the standard alphabet with padding, as
    /// `openssl rand -base64 32` prints it. Blanks around it are ignored.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (id, base64) = text.trim().split_once(':').ok_or(KeyError::Format)?;
        let id: SealingKeyId = id.parse()?;
        let mut bytes = Zeroizing::new(vec![0; base64::decoded_len_estimate(base64.len())]);
        match STANDARD.decode_slice(base64, &mut bytes) {
            Ok(len) => Self::new(id, &bytes[..len]),
            Err(_) => Err(KeyError::Base64 { id }),
        }
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({})", self.id)
    }
}

/// Where keys come from, if not from configuration: a key management service, a secret store.
///
/// Asked once, when the ring is made. A service that never hands a key out can still keep it: let it
/// unwrap 32 bytes that are stored wrapped.
pub trait KeyProvider {
    /// The keys, the sealing one first.
    ///
    /// # Errors
    /// Whatever went wrong. The error is kept as the source of [`KeyError::Provider`] and may be
    /// logged: it must not contain a key.
    fn sealing_keys(&self) -> Result<Vec<SealingKey>, Box<dyn StdError + Send + Sync>>;
}

/// The keys of a service: one that seals, and any number that only open.
///
/// An envelope is opened with the key that it names, and no other is tried. A key is replaced by
/// adding the new one behind the old one everywhere, then putting it first, sealing everything anew
/// ([`reseal`](super::advanced::reseal)), and taking the old one out: so no service meets a key that it does
/// not know. Cloning shares the keys.
#[derive(Clone)]
pub struct SealingKeyRing(Arc<[SealingKey]>);

impl SealingKeyRing {
    /// A ring of at least one key. The first one seals.
    ///
    /// # Errors
    /// [`KeyError::NoKeys`], [`KeyError::DuplicateId`] or [`KeyError::SameKey`].
    pub fn new(keys: impl IntoIterator<Item = SealingKey>) -> Result<Self, KeyError> {
        let keys: Arc<[SealingKey]> = keys.into_iter().collect();
        if keys.is_empty() {
            return Err(KeyError::NoKeys);
        }
        for (i, key) in keys.iter().enumerate() {
            for other in &keys[..i] {
                if other.id == key.id {
                    return Err(KeyError::DuplicateId { id: key.id.clone() });
                }
                // All keys belong to the service, so the comparison need not take constant time.
                if other.bytes == key.bytes {
                    let (first, second) = (other.id.clone(), key.id.clone());
                    return Err(KeyError::SameKey { first, second });
                }
            }
        }
        Ok(Self(keys))
    }

    /// Reads the ring, as [`FromStr`] does, from an environment variable such as
    /// `SESARI_SEALING_KEYS`. The environment itself keeps the text.
    ///
    /// # Errors
    /// [`KeyError::Environment`] when it is not set, or as [`FromStr`].
    pub fn from_env(name: &str) -> Result<Self, KeyError> {
        let not_text = || KeyError::Environment { name: name.into() };
        let text =
            Zeroizing::new(std::env::var_os(name).ok_or_else(not_text)?.into_encoded_bytes());
        std::str::from_utf8(&text).map_err(|_| not_text())?.parse()
    }

    /// Asks a provider for the keys, once.
    ///
    /// # Errors
    /// [`KeyError::Provider`] when it fails, or as [`new`](Self::new).
    pub fn from_provider(provider: &dyn KeyProvider) -> Result<Self, KeyError> {
        Self::new(provider.sealing_keys().map_err(KeyError::Provider)?)
    }

    /// The ids of all keys, the sealing one first.
    pub fn ids(&self) -> impl Iterator<Item = &SealingKeyId> {
        self.0.iter().map(SealingKey::id)
    }

    /// The id of the key that seals.
    #[must_use]
    pub fn sealing_key_id(&self) -> &SealingKeyId {
        self.sealing_key().id()
    }

    pub(super) fn sealing_key(&self) -> &SealingKey {
        // `new` refuses a ring without a key.
        &self.0[0]
    }

    pub(super) fn get(&self, id: &SealingKeyId) -> Option<&SealingKey> {
        self.0.iter().find(|key| key.id == *id)
    }
}

impl From<SealingKey> for SealingKeyRing {
    fn from(key: SealingKey) -> Self {
        Self([key].into())
    }
}

impl FromStr for SealingKeyRing {
    type Err = KeyError;

    /// Reads keys, as [`SealingKey`] does, separated by commas. The first one seals.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::new(text.split(',').map(str::parse).collect::<Result<Vec<SealingKey>, _>>()?)
    }
}

impl fmt::Debug for SealingKeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids().map(SealingKeyId::as_str)).finish()
    }
}
