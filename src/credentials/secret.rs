//! A secret before sealing and after opening.

use std::{fmt, io};

use serde::{Deserialize, Serialize};
use serde_json::error::Category;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::MAX_SECRET_LEN;

/// An unsealed secret. Its bytes are wiped on drop and never printed.
///
/// It has no `Display`, no `Serialize` and no `Clone`, and `Debug` shows neither bytes nor length:
/// what leaves it, leaves through [`expose`](Self::expose) or [`to_json`](Self::to_json).
///
/// ```
/// use sesari_db::credentials::Secret;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Stripe<'a> { key: &'a str }
///
/// let secret = Secret::from_json(&Stripe { key: "sk_live_1" })?;
/// assert_eq!(secret.expose(), br#"{"key":"sk_live_1"}"#);
/// assert_eq!(secret.to_json::<Stripe>()?.key, "sk_live_1"); // borrowed: no copy was made
/// assert_eq!(format!("{secret:?}"), "Secret(…)");
/// # Ok::<(), sesari_db::credentials::JsonError>(())
/// ```
pub struct Secret(Zeroizing<Vec<u8>>);

/// Why a secret was not written or read as JSON. Neither the value nor what serde said about it is
/// kept, since serde quotes values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// The value's `Serialize` failed, or it has no form in JSON.
    #[error("the value cannot be written as JSON")]
    Write,
    /// The JSON would be longer than [`MAX_SECRET_LEN`].
    #[error("the value has more than {MAX_SECRET_LEN} bytes of JSON")]
    TooLong,
    /// The secret is not JSON.
    #[error("the secret is not JSON")]
    Syntax,
    /// The secret is JSON, but not of the type that was asked for.
    #[error("the secret's JSON is not of the expected type")]
    Shape,
}

impl Secret {
    /// A value as JSON. No unwiped copy of the text is made; the value is the caller's, and stays.
    ///
    /// # Errors
    /// [`JsonError::Write`] or [`JsonError::TooLong`].
    pub fn from_json<T: Serialize + ?Sized>(value: &T) -> Result<Self, JsonError> {
        let mut json = Growing(Zeroizing::default());
        match serde_json::to_writer(&mut json, value) {
            Ok(()) => Ok(Self(json.0)),
            Err(error) if error.is_io() => Err(JsonError::TooLong),
            Err(_) => Err(JsonError::Write),
        }
    }

    /// The secret read as JSON. A `T` that borrows copies nothing (but a text with escapes cannot be
    /// borrowed); one that owns its text should wipe it on drop.
    ///
    /// # Errors
    /// [`JsonError::Syntax`] or [`JsonError::Shape`].
    pub fn to_json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, JsonError> {
        serde_json::from_slice(&self.0).map_err(|error| match error.classify() {
            Category::Data => JsonError::Shape,
            Category::Syntax | Category::Eof | Category::Io => JsonError::Syntax,
        })
    }

    /// The bytes. Copies of them are the caller's to wipe.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Secret {
    /// Takes the bytes over, without copying them.
    fn from(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl From<String> for Secret {
    /// Takes the text over, without copying it.
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<Zeroizing<Vec<u8>>> for Secret {
    fn from(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }
}

impl ZeroizeOnDrop for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A buffer that wipes what it leaves behind when it grows. Fails only when it would be too long.
struct Growing(Zeroizing<Vec<u8>>);

impl io::Write for Growing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.0.len() + bytes.len();
        if len > MAX_SECRET_LEN {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if len > self.0.capacity() {
            let room = len.max(2 * self.0.capacity()).max(256);
            let mut larger = Zeroizing::new(Vec::with_capacity(room));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
