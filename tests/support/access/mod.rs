//! Who can do what to which table, measured.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "a test's set-up fails loudly")]

pub mod cast;
pub mod measure;
pub mod tables;
pub mod text;
