//! Stands in for `figures` without the feature `metrics`, and does nothing.

use std::time::Duration;

pub(super) fn operation(_: &'static str, _: &'static str, _: Duration) {}

pub(super) fn slow(_: &'static str) {}

pub(super) fn refused(_: &'static str, _: &'static str) {}

pub(super) fn unit(_: &'static str, _: &'static str, _: Duration) {}

pub(super) fn retry(_: &'static str, _: &'static str) {}

pub(super) fn waited(_: &'static str, _: Duration) {}

pub(crate) fn pool(_: &'static str, _: usize, _: usize, _: usize) {}

pub(crate) fn overloaded(_: &'static str) {}
