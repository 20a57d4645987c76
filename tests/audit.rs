//! The audit log: that every change leaves its entry, that entries form a chain without gaps
//! whoever writes at once, and that whatever is done to them afterwards shows.

#![allow(clippy::unwrap_used, reason = "a test's set-up fails loudly")]

#[path = "audit/bounds.rs"]
mod bounds;
#[path = "audit/canonical.rs"]
mod canonical;
#[path = "audit/events.rs"]
mod events;
#[path = "audit/order.rs"]
mod order;
#[path = "audit/pruning.rs"]
mod pruning;
mod support;
#[path = "audit/tampering.rs"]
mod tampering;
#[path = "audit/tools.rs"]
mod tools;
