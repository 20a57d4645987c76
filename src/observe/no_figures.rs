//! What `figures` is without the feature `metrics`: nothing.

use std::time::Duration;

pub(super) fn operation(_: &'static str, _: &'static str, _: Duration) {}

pub(super) fn slow(_: &'static str) {}

pub(super) fn refused(_: &'static str, _: &'static str) {}

pub(super) fn unit(_: &'static str, _: &'static str, _: Duration) {}

pub(super) fn retry(_: &'static str, _: &'static str) {}

pub(super) fn waited(_: &'static str, _: Duration) {}

#[allow(dead_code, reason = "for the pool's upkeep")]
pub(crate) fn pool(_: &'static str, _: u32, _: u32, _: u32, _: u32) {}

#[allow(dead_code, reason = "for the queue in front of the pool")]
pub(crate) fn overloaded(_: &'static str) {}
