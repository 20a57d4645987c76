//! Doing something once, however often it is asked for.
//!
//! A caller that got no answer does not know whether its request was served: the connection may have
//! broken after the commit ([`Error::OutcomeUnknown`](crate::Error::OutcomeUnknown)), or its own
//! client may have given up too early. With a key that it sends along again, the question need not be
//! answered: [`TenantConnection::once`](crate::TenantConnection::once) stores key and answer in the
//! transaction that does the work, so both are there or neither is, and whoever comes with the same
//! key later gets the answer that was given.
//!
//! - A key belongs to its actor in its workspace. Another member, another service and another workspace
//!   neither see it nor are in its way; nor is it seen by somebody who is no member any more.
//! - An answer is for the membership that it was given to, in the role of then. An actor who was promoted,
//!   demoted, or removed and added again is refused with [`IdempotencyError::OtherMembership`]: neither is
//!   the answer given nor the work done a second time. With the role of then it is given again. Services
//!   have no membership.
//! - Two transactions with one key at the same moment: the second waits for the first, and then gets its
//!   answer, or does the work itself if the first was rolled back.
//! - A key stands for one operation and, if bound by [`for_request`](IdempotencyKey::for_request), one
//!   request. For anything else it is refused.
//! - What failed is rolled back, and its key with it: the same key may then be tried again.
//! - Answers are kept until [`maintenance::prune_idempotency_keys`](crate::maintenance::prune_idempotency_keys)
//!   drops them. After that the work would be done again: keep them for longer than any caller retries.

use std::fmt;
use std::str::FromStr;

use ring::digest;

use crate::value::Invalid;

/// The longest answer that is stored, in bytes of JSON.
pub const MAX_RESULT: usize = 65_536;

/// The longest key, in bytes.
const MAX_KEY: usize = 255;

/// The name under which something is done once: 1 to 255 visible ASCII characters (`!` to `~`), such as
/// the `Idempotency-Key` header of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey {
    key: Box<str>,
    fingerprint: Option<[u8; digest::SHA256_OUTPUT_LEN]>,
}

impl IdempotencyKey {
    /// A new, unique key. To be made by whoever will ask again, and kept there.
    #[must_use]
    pub fn generate() -> Self {
        Self { key: cuid2::create_id().into_boxed_str(), fingerprint: None }
    }

    /// Binds the key to a request: of its bytes the SHA-256 is stored, and the key is refused for any
    /// others, and where it was used unbound. Bytes must be the same for the same request, so take
    /// those that were received.
    #[must_use]
    pub fn for_request(self, request: impl AsRef<[u8]>) -> Self {
        let digest = digest::digest(&digest::SHA256, request.as_ref());
        let mut fingerprint = [0; digest::SHA256_OUTPUT_LEN];
        fingerprint.copy_from_slice(digest.as_ref());
        Self { fingerprint: Some(fingerprint), ..self }
    }

    /// The key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.key
    }

    pub(crate) fn fingerprint(&self) -> Option<&[u8]> {
        self.fingerprint.as_ref().map(<[u8; 32]>::as_slice)
    }
}

impl TryFrom<String> for IdempotencyKey {
    type Error = Invalid;

    fn try_from(key: String) -> Result<Self, Invalid> {
        if (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Self { key: key.into_boxed_str(), fingerprint: None })
        } else {
            Err(Invalid::new("idempotency key", "expected 1 to 255 visible ASCII characters"))
        }
    }
}

impl FromStr for IdempotencyKey {
    type Err = Invalid;

    fn from_str(key: &str) -> Result<Self, Invalid> {
        key.to_owned().try_into()
    }
}

/// The key, without the request that it is bound to.
impl From<IdempotencyKey> for String {
    fn from(key: IdempotencyKey) -> String {
        key.key.into_string()
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)
    }
}

/// Why a key was no help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdempotencyError {
    /// The key stands for another operation, or for another request: the caller's mistake. To be
    /// handled as a 422.
    #[error("the key was used for another operation or another request")]
    Reused,
    /// The key is taken by the very transaction that asks: one unit of work inside another under the
    /// same key. Or somebody took it by SQL and committed no answer.
    #[error("the key is taken, and there is no answer yet")]
    InUse,
    /// The same actor used the key under another role or in an earlier membership of the workspace. The
    /// work was done then, and its answer is for that membership alone: nothing is done again. Look
    /// what was done, and take a new key for anything more. To be handled as a 409.
    #[error(
        "the key was used under another role or an earlier membership: look what was done, and use \
         a new key"
    )]
    OtherMembership,
    /// The work was done, and its answer is of another type than the one asked for: an older or newer
    /// version of the caller may have stored it. Or the answer just made could not be read back from
    /// JSON, such as NaN, and nothing was done.
    #[error("the answer cannot be read as the type asked for")]
    Unreadable,
}

impl IdempotencyError {
    pub(crate) fn kind_and_status(self) -> (&'static str, u16) {
        match self {
            Self::Reused => ("idempotency_reused", 422),
            Self::OtherMembership => ("idempotency_other_membership", 409),
            Self::InUse => ("idempotency_in_use", 409),
            Self::Unreadable => ("idempotency_unreadable", 500),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_visible_ascii_of_a_bounded_length() {
        for good in ["a", "!", "~", "8f14e45f-ceea-467f-a9f7-3b2a1c0d9e8b", &"k".repeat(255)] {
            assert_eq!(good.parse::<IdempotencyKey>().unwrap().to_string(), good);
        }
        for bad in ["", " ", "a b", "a\n", "\u{7f}", "é", "a\0", &"k".repeat(256)] {
            assert!(bad.parse::<IdempotencyKey>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_generated_key_is_a_key_and_another_one_each_time() {
        let key = IdempotencyKey::generate();
        assert_eq!(key.as_str().parse(), Ok(key.clone()));
        assert_ne!(key, IdempotencyKey::generate());
    }

    #[test]
    fn the_fingerprint_is_the_sha256_of_the_request() {
        let key = IdempotencyKey::generate().for_request("abc");
        // FIPS 180-2, appendix B.1.
        assert_eq!(
            key.fingerprint().unwrap()[..8],
            [0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea]
        );
        assert_eq!(key.fingerprint().unwrap()[28..], [0xf2, 0x00, 0x15, 0xad]);
    }
}
