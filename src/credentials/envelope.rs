//! The text that the database stores.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead;

use super::MAX_SECRET_LEN;
use super::keyring::SealingKeyId;

pub(super) const NONCE_LEN: usize = aead::NONCE_LEN;
const TAG_LEN: usize = 16;

/// A text that is not an envelope. The message does not repeat it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseEnvelopeError {
    /// The text has another form, or one that [`Envelope`] does not print.
    #[error("not a sealed envelope")]
    Malformed,
    /// An envelope of a version that this version of the crate cannot open.
    #[error("a sealed envelope of an unknown version")]
    UnknownVersion,
}

/// A sealed secret: `v1.<key id>.<nonce>.<ciphertext and tag>`, the last two in base64url without
/// padding ([RFC 4648](https://www.rfc-editor.org/rfc/rfc4648), section 5).
///
/// An envelope has exactly one text, at most 100 000 bytes long: parsing accepts what
/// [`Display`](fmt::Display) prints and nothing else. `Debug` shows version and key id alone. It is no secret, but
/// whoever holds the keys can open it: do not log it.
#[derive(Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Envelope {
    key_id: SealingKeyId,
    nonce: [u8; NONCE_LEN],
    sealed: Vec<u8>,
}

impl Envelope {
    pub(super) fn new(key_id: SealingKeyId, nonce: [u8; NONCE_LEN], sealed: Vec<u8>) -> Self {
        Self { key_id, nonce, sealed }
    }

    /// Reads an envelope's text. Nothing is opened: a well-formed envelope may still be refused.
    ///
    /// # Errors
    /// [`ParseEnvelopeError`] for anything that is not the canonical text of an envelope.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, ParseEnvelopeError> {
        let mut parts = text.as_ref().split(|&byte| byte == b'.');
        match parts.next() {
            Some(b"v1") => {}
            Some(version) if is_version(version) => return Err(ParseEnvelopeError::UnknownVersion),
            _ => return Err(ParseEnvelopeError::Malformed),
        }
        Self::from_parts(parts).ok_or(ParseEnvelopeError::Malformed)
    }

    fn from_parts<'a>(mut parts: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let key_id = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
        // The decoder refuses padding, other alphabets and bits left over behind the last byte.
        let nonce = URL_SAFE_NO_PAD.decode(within(parts.next()?, NONCE_LEN)?).ok()?;
        let sealed =
            URL_SAFE_NO_PAD.decode(within(parts.next()?, MAX_SECRET_LEN + TAG_LEN)?).ok()?;
        if parts.next().is_some() || sealed.len() < TAG_LEN {
            return None;
        }
        Some(Self { key_id, nonce: nonce.try_into().ok()?, sealed })
    }

    /// The key that it is sealed with.
    #[must_use]
    pub fn key_id(&self) -> &SealingKeyId {
        &self.key_id
    }

    pub(super) fn nonce(&self) -> &[u8; NONCE_LEN] {
        &self.nonce
    }

    /// Ciphertext and tag.
    pub(super) fn sealed(&self) -> &[u8] {
        &self.sealed
    }
}

/// Base64 of at most `max` bytes, so that a huge text is refused before it is decoded.
fn within(base64: &[u8], max: usize) -> Option<&[u8]> {
    (base64.len() <= (max * 4).div_ceil(3)).then_some(base64)
}

/// `v` and a number that is not 1.
fn is_version(text: &[u8]) -> bool {
    matches!(text, [b'v', b'1'..=b'9', rest @ ..]
        if rest.len() < 4 && rest.iter().all(u8::is_ascii_digit))
}

impl FromStr for Envelope {
    type Err = ParseEnvelopeError;

    fn from_str(text: &str) -> Result<Self, ParseEnvelopeError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Envelope {
    type Error = ParseEnvelopeError;

    fn try_from(text: String) -> Result<Self, ParseEnvelopeError> {
        Self::parse(text)
    }
}

impl From<Envelope> for String {
    fn from(envelope: Envelope) -> String {
        envelope.to_string()
    }
}

impl fmt::Display for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nonce = URL_SAFE_NO_PAD.encode(self.nonce);
        write!(f, "v1.{}.{nonce}.{}", self.key_id, URL_SAFE_NO_PAD.encode(&self.sealed))
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Envelope(v1.{}.…)", self.key_id)
    }
}
