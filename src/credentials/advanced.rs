//! Sealing and opening without a repository, for tools: envelopes, salts, and the place that a secret is sealed
//! for. A service reads and writes credentials by
//! [`IntegrationRepository`](crate::repo::IntegrationRepository) and needs none of this.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::error::Unspecified;
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

pub use super::binding::{Binding, SealedColumn};
pub use super::envelope::{Envelope, ParseEnvelopeError};
pub use super::salt::{SaltError, SealingSalt};
use super::{
    MAX_SECRET_LEN, OpenError, ResealError, SealError, SealingKey, SealingKeyRing, Secret, binding,
    envelope,
};
use crate::id::WorkspaceId;

/// Separates the keys derived here from any other use of the same key.
const KEY_DOMAIN: &str = "sesari.credentials.v1.aes-256-gcm";

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
