//! The audit log: that every change leaves its entry, that entries form a chain without gaps
//! whoever writes at once, and that whatever is done to them afterwards shows.

#![allow(clippy::unwrap_used, reason = "a test's set-up fails loudly")]

mod bounds;
mod canonical;
mod events;
mod order;
mod pruning;
mod tampering;
mod tools;
