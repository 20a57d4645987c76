//! Stands in for `spans` without the feature `tracing`, and does nothing.

use std::time::Duration;

use crate::id::WorkspaceId;

pub(super) fn heard() -> bool {
    false
}

pub(super) struct OperationSpan;

pub(super) fn operation<T>(_: &'static str, body: impl FnOnce(&OperationSpan) -> T) -> T {
    body(&OperationSpan)
}

#[expect(clippy::unused_self, reason = "as in `spans`")]
impl OperationSpan {
    pub(super) fn rows(&self, _: usize) {}

    pub(super) fn error(&self, _: &'static str) {}
}

pub(super) fn slow(_: &'static str, _: Duration) {}

pub(super) fn refused(_: &'static str, _: &'static str) {}

pub(super) struct UnitSpan;

#[expect(clippy::unused_self, reason = "as in `spans`")]
impl UnitSpan {
    pub(super) fn new(
        _: &'static str,
        _: &'static str,
        _: &'static str,
        _: Option<&WorkspaceId>,
        _: bool,
    ) -> Self {
        Self
    }

    pub(super) fn in_scope<T>(&self, body: impl FnOnce() -> T) -> T {
        body()
    }

    pub(super) fn retry(&self, _: &'static str, _: &'static str) {}

    pub(super) fn finish(&self, _: u32, _: Duration, _: Option<&'static str>) {}
}
