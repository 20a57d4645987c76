//! What a service sees of its database: spans, events and metrics with the right names and numbers,
//! and nothing of what is in the rows.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]
#![allow(unreachable_pub, reason = "a test binary exports nothing")]

#[path = "../support/programs/mod.rs"]
mod programs;
#[path = "../support/mod.rs"]
mod support;

mod every;
mod figures;
mod recorder;
mod secrecy;
mod spans;
