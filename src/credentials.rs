//! Sealed credentials: what an outside service gave a workspace, kept so that the database holds
//! nothing of use. Pure: no database, no clock.
//!
//! [`seal`] turns a [`Secret`] into an [`Envelope`], the only form that the column
//! `integrations.credentials` accepts:
//!
//! ```text
//! v1.<key id>.<nonce>.<ciphertext and tag>
//!
//! key        = HKDF-SHA256(salt = the workspace's SealingSalt, input = the key named by the id,
//!                          info = fields("sesari.credentials.v1.aes-256-gcm", workspace id))
//! ciphertext = AES-256-GCM(key, nonce, Secret, associated data =
//!                          fields("v1", key id, workspace id, table, column, integration id, provider))
//! fields     = each field's length in bytes as 64 bits, big-endian, then the field
//! ```
//!
//! # Invariants, and the tests that guard them
//!
//! | invariant | test |
//! |---|---|
//! | an envelope opens only with its key, salt, workspace, row, provider, column and table | `wrong_*` in `tests/data/credentials/wrong.rs` |
//! | no envelope that was cut, lengthened or had a bit changed opens | `every_bit_counts`, `every_truncation_is_refused` |
//! | no two bindings have the same associated data | `the_encoding_can_be_taken_apart_again` |
//! | one envelope has one text, and no bytes make the parser panic | `tests/data/credentials/envelope.rs` |
//! | another implementation computes the same | `envelopes_of_another_implementation_open` |
//! | no secret and no key shows in `Debug`, `Display` or an error | `tests/data/credentials/secrecy.rs` |
//! | a dropped secret is gone from memory | `tests/data/credentials/memory.rs` |
//!
//! `docs/credentials.md` says what this defends against, and what it does not.
//!
//! # Choices
//!
//! **Keys are named, never tried.** An envelope says which key of the [`SealingKeyRing`] it needs.
//! A key that is not there is [`OpenError::UnknownKey`], which is a matter of configuration;
//! everything else that goes wrong is [`OpenError::Refused`], without a reason, so that whoever can
//! put envelopes in front of this code learns nothing from the answer.
//!
//! **A key per workspace**, by HKDF ([RFC 5869](https://www.rfc-editor.org/rfc/rfc5869)): the
//! configured key is the input keying material, the workspace's random [`SealingSalt`] the salt of
//! the extract step, and the purpose with the workspace's id the `info` of the expand step. Each
//! of the three alone separates workspaces; a derived key that leaks opens that one workspace's
//! envelopes and says nothing about the configured key. RFC 5869 allows a salt to be public. Here it
//! is kept from tenants as well, because the extract step is HMAC keyed with the salt: without the
//! salt, the key cannot be computed even by whoever holds the configured key. That is what makes
//! destroying a salt destroy the workspace's envelopes.
//!
//! **Random nonces** of 96 bits. NIST SP 800-38D (section 8.3) allows 2^32 messages under one key with them, so
//! that a nonce repeats with a probability below 2^-32. The count is per workspace and key, as the
//! key is: 2^32 seals are one a second for 136 years, for one workspace.
//!
//! # Example
//!
//! ```
//! use sesari_db::credentials::{Binding, SealingKey, SealingKeyRing, SealingSalt, Secret, open, seal};
//! use sesari_db::value::IntegrationProvider;
//!
//! let ring = SealingKeyRing::new([SealingKey::generate("2026-11".parse()?)?])?;
//! let salt = SealingSalt::generate()?; // one for each workspace
//! let (workspace, integration) = ("acme".parse()?, "stripe1".parse()?);
//! let binding =
//!     Binding::integration_credentials(&workspace, &integration, &IntegrationProvider::Stripe);
//!
//! let envelope = seal(&ring, &salt, &binding, &Secret::from(String::from("sk_live_1")))?;
//! assert_eq!(envelope.key_id().as_str(), "2026-11");
//! assert_eq!(open(&ring, &salt, &binding, &envelope)?.expose(), b"sk_live_1");
//!
//! let other = "umbrella".parse()?;
//! let elsewhere =
//!     Binding::integration_credentials(&other, &integration, &IntegrationProvider::Stripe);
//! assert!(open(&ring, &salt, &elsewhere, &envelope).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod binding;
mod envelope;
mod keyring;
mod salt;
mod scrub;
mod secret;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::error::Unspecified;
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

pub use binding::{Binding, SealedColumn};
pub use envelope::{Envelope, ParseEnvelopeError};
pub use keyring::{
    KeyError, KeyProvider, ParseKeyIdError, SealingKey, SealingKeyId, SealingKeyRing,
};
pub use salt::{SaltError, SealingSalt};
pub use scrub::scrub;
pub use secret::{JsonError, Secret};

use crate::id::WorkspaceId;

/// The longest secret that can be sealed, in bytes.
///
/// The longest envelope then has 100 000 bytes, which is what the database accepts, under a key id of
/// any length: moving to another key never makes an envelope too long.
pub const MAX_SECRET_LEN: usize = 74_944;

/// Separates the keys derived here from any other use of the same key.
const KEY_DOMAIN: &str = "sesari.credentials.v1.aes-256-gcm";

/// Why a secret was not sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The secret is longer than [`MAX_SECRET_LEN`].
    #[error("the secret is longer than {MAX_SECRET_LEN} bytes")]
    TooLong,
    /// The system has no randomness to give.
    #[error("the system's random generator failed")]
    Randomness,
    /// The cipher failed, which it has no reason to within these lengths.
    #[error("the cipher failed")]
    Cipher,
}

/// Why an envelope was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The ring does not hold the key that the envelope names. Add it to the ring.
    #[error("sealing key {key_id} is not in the ring")]
    UnknownKey {
        /// The key that the envelope names.
        key_id: SealingKeyId,
    },
    /// The envelope was altered, belongs somewhere else, or was sealed with another key or salt.
    /// Which of them cannot be known.
    #[error("the envelope does not open here")]
    Refused,
}

/// Why an envelope was not moved to the current key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResealError {
    /// It does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What was in it could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// Seals a secret for one place, under the ring's sealing key.
///
/// Two calls with the same secret give different envelopes.
///
/// # Errors
/// [`SealError::TooLong`], or [`SealError::Randomness`] when the system has none.
pub fn seal(
    ring: &SealingKeyRing,
    salt: &SealingSalt,
    binding: &Binding<'_>,
    secret: &Secret,
) -> Result<Envelope, SealError> {
    let plaintext = secret.expose();
    if plaintext.len() > MAX_SECRET_LEN {
        return Err(SealError::TooLong);
    }
    let mut nonce = [0; envelope::NONCE_LEN];
    SystemRandom::new().fill(&mut nonce).map_err(|_| SealError::Randomness)?;

    let key = ring.sealing_key();
    let cipher = workspace_key(key, salt, binding.workspace()).map_err(|_| SealError::Cipher)?;
    // Room for the tag from the start, so that the buffer never moves.
    let mut sealed = Zeroizing::new(Vec::with_capacity(plaintext.len() + AES_256_GCM.tag_len()));
    sealed.extend_from_slice(plaintext);
    let aad = Aad::from(binding.associated_data(key.id()));
    cipher
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut *sealed)
        .map_err(|_| SealError::Cipher)?;
    Ok(Envelope::new(key.id().clone(), nonce, std::mem::take(&mut *sealed)))
}

/// Opens an envelope in the place that it was sealed for.
///
/// # Errors
/// [`OpenError::UnknownKey`] when the ring lacks the envelope's key, [`OpenError::Refused`] for
/// whatever else.
pub fn open(
    ring: &SealingKeyRing,
    salt: &SealingSalt,
    binding: &Binding<'_>,
    envelope: &Envelope,
) -> Result<Secret, OpenError> {
    let key_id = envelope.key_id();
    let key = ring.get(key_id).ok_or_else(|| OpenError::UnknownKey { key_id: key_id.clone() })?;
    let cipher = workspace_key(key, salt, binding.workspace()).map_err(|_| OpenError::Refused)?;
    let mut buffer = Zeroizing::new(envelope.sealed().to_vec());
    let aad = Aad::from(binding.associated_data(key_id));
    let len = cipher
        .open_in_place(Nonce::assume_unique_for_key(*envelope.nonce()), aad, &mut buffer)
        .map_err(|_| OpenError::Refused)?
        .len();
    buffer.truncate(len);
    Ok(Secret::from(buffer))
}

/// Opens an envelope and seals its secret again under the ring's sealing key; `None` when that is
/// the key it is sealed with already, in which case nothing is opened or checked.
///
/// # Errors
/// [`ResealError::Open`] as [`open`], [`ResealError::Seal`] as [`seal`].
pub fn reseal(
    ring: &SealingKeyRing,
    salt: &SealingSalt,
    binding: &Binding<'_>,
    envelope: &Envelope,
) -> Result<Option<Envelope>, ResealError> {
    if envelope.key_id() == ring.sealing_key().id() {
        return Ok(None);
    }
    let secret = open(ring, salt, binding, envelope)?;
    Ok(Some(seal(ring, salt, binding, &secret)?))
}

/// The key of one workspace. Neither it nor what ring computes it from on the stack is wiped by
/// ring; the copy made here is.
fn workspace_key(
    key: &SealingKey,
    salt: &SealingSalt,
    workspace: &WorkspaceId,
) -> Result<LessSafeKey, Unspecified> {
    let info = binding::fields(&[KEY_DOMAIN, workspace.as_str()]);
    let extracted = Salt::new(HKDF_SHA256, salt.as_bytes()).extract(key.bytes());
    let mut derived = Zeroizing::new([0; 32]);
    extracted.expand(&[&info], HKDF_SHA256)?.fill(&mut *derived)?;
    Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*derived)?))
}
