//! Placeholder.
use crate::error::Error;
use crate::id::WorkspaceId;
use std::time::Duration;
pub(crate) fn overloaded(_door: &'static str) {}
pub(crate) fn pool(_door: &'static str, _size: usize, _inside: usize, _waiting: usize) {}
pub(crate) struct Unit;
impl Unit {
    pub(crate) fn begin(
        _name: &'static str,
        _door: &'static str,
        _actor_kind: &'static str,
        _workspace: Option<&WorkspaceId>,
        _read_only: bool,
    ) -> Self {
        Self
    }
    pub(crate) fn in_span<T>(&self, body: impl FnOnce() -> T) -> T {
        body()
    }
    pub(crate) fn waited(&mut self, _wait: Duration) {}
    pub(crate) fn retry(&mut self, _error: &Error) {}
    pub(crate) fn finish(self, _error: Option<&'static str>) {}
}
