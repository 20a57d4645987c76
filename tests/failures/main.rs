//! Servers and networks that fail for real: whatever happens, waiting has an end, every error has a
//! type, what was confirmed is there once, nobody sees another's rows, and the pool heals by itself.
//!
//! | quick form in any run | long form |
//! |---|---|
//! | `kill -9` of the server 5 times | `SESARI_LONG=100 cargo test --test failures crash` |
//! | a full disk, a dead host: as root, `cargo test --test failures -- --ignored` | |
#![allow(clippy::unwrap_used, reason = "a test's set-up fails loudly")]

#[path = "../support/mod.rs"]
mod support;

mod crash;
mod exhaustion;
mod failover;
mod network;
mod schedules;
mod soak;
mod writers;
