//! What `typed_id!` calls. Not part of the interface.

pub use diesel;
pub use serde::de::Error;
pub use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{ParseIdError, is_well_formed};

#[must_use]
pub fn generate() -> Box<str> {
    cuid2::create_id().into_boxed_str()
}

pub fn check(text: &str, entity: &'static str) -> Result<Box<str>, ParseIdError> {
    if is_well_formed(text) { Ok(text.into()) } else { Err(ParseIdError { entity }) }
}
