//! The salt from which a workspace's key is derived.

use std::fmt;

use ring::rand::{SecureRandom, SystemRandom};
use zeroize::{ZeroizeOnDrop, Zeroizing};

/// Why there is no salt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SaltError {
    /// It does not have 32 bytes.
    #[error("a sealing salt has {len} bytes; expected 32")]
    Length {
        /// How many it has.
        len: usize,
    },
    /// All its bytes are zero: what is left of a salt that was wiped. Sealing with it would undo
    /// what wiping was for.
    #[error("a sealing salt of zeros")]
    Zero,
    /// The system has no randomness to give.
    #[error("the system's random generator failed")]
    Randomness,
}

/// The random 32 bytes of one workspace, without which none of its envelopes can be opened.
///
/// `Debug` does not show them, and they are wiped on drop.
pub struct SealingSalt(Box<Zeroizing<[u8; Self::LEN]>>);

impl SealingSalt {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// A new random salt.
    ///
    /// # Errors
    /// [`SaltError::Randomness`] when the system has none.
    pub fn generate() -> Result<Self, SaltError> {
        let mut bytes = Box::new(Zeroizing::new([0; Self::LEN]));
        SystemRandom::new().fill(&mut **bytes).map_err(|_| SaltError::Randomness)?;
        Ok(Self(bytes))
    }

    /// A salt that was stored. The caller's bytes stay as they are: wipe them.
    ///
    /// # Errors
    /// [`SaltError::Length`] unless there are 32, [`SaltError::Zero`] when all are zero.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SaltError> {
        if bytes.len() != Self::LEN {
            return Err(SaltError::Length { len: bytes.len() });
        }
        if bytes.iter().all(|&byte| byte == 0) {
            return Err(SaltError::Zero);
        }
        let mut salt = Box::new(Zeroizing::new([0; Self::LEN]));
        salt.copy_from_slice(bytes);
        Ok(Self(salt))
    }

    /// The bytes, for storing them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl ZeroizeOnDrop for SealingSalt {}

impl fmt::Debug for SealingSalt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingSalt(…)")
    }
}
