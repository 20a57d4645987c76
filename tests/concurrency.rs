//! What must hold whoever races: a workspace keeps an owner, a KPI's current value is that of its
//! newest point, batches queue instead of deadlocking, a membership stands or falls with its user, and a
//! unique name has one winner.
//!
//! Where the order of two transactions can be staged, it is: one waits until the other is seen
//! waiting for its lock. The rest runs many rounds from a barrier.
#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

mod support;

#[path = "concurrency/memberships.rs"]
mod memberships;
#[path = "concurrency/owners.rs"]
mod owners;
#[path = "concurrency/points.rs"]
mod points;
#[path = "concurrency/stage.rs"]
mod stage;
#[path = "concurrency/upserts.rs"]
mod upserts;
