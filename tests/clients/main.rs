//! What clients in other languages touch: times that they send back, searching, the signed context, and
//! Prisma's operations of every model. `docs/clients.md` is for them.
//!
//! Where Node or Python is missing, the tests that run them say on standard error that they were skipped;
//! with `SESARI_TEST_CLIENTS=required` they fail.
#![allow(clippy::unwrap_used, reason = "a test's set-up fails loudly")]

#[path = "../support/mod.rs"]
mod support;

mod names;
mod programs;
mod times;
