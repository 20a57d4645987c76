//! What must hold whoever races: a workspace keeps an owner, a KPI's current value is that of its
//! newest point, batches queue instead of deadlocking, a membership stands or falls with its user, and a
//! unique name has one winner.
//!
//! Where the order of two transactions can be staged, it is: one waits until the other is seen
//! waiting for its lock. The rest runs many rounds from a barrier.
#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

mod memberships;
mod owners;
mod points;
mod stage;
mod upserts;
