//! A unit of work: a transaction run by name, perhaps more than once.

use std::time::{Duration, Instant};

use super::{figures, spans};
use crate::error::Error;
use crate::id::WorkspaceId;

/// Watches a unit of work from before it waits for a connection until it is committed or given up.
///
/// Its span's parent is the span in which it began, on whichever thread the work is then done.
pub(crate) struct Unit {
    name: &'static str,
    door: &'static str,
    span: spans::UnitSpan,
    begun: Instant,
    retries: u32,
    waited: Duration,
    finished: bool,
}

impl Unit {
    /// `door` is `tenant`, `user` or `service`; `actor_kind` is `user` or `service`.
    pub(crate) fn begin(
        name: &'static str,
        door: &'static str,
        actor_kind: &'static str,
        workspace: Option<&WorkspaceId>,
        read_only: bool,
    ) -> Self {
        Self {
            name,
            door,
            span: spans::UnitSpan::new(name, door, actor_kind, workspace, read_only),
            begun: Instant::now(),
            retries: 0,
            waited: Duration::ZERO,
            finished: false,
        }
    }

    /// Runs a part of the work in the span, on this thread.
    pub(crate) fn in_span<T>(&self, body: impl FnOnce() -> T) -> T {
        self.span.in_scope(body)
    }

    /// It waited so long for a connection; once for each attempt.
    pub(crate) fn waited(&mut self, waited: Duration) {
        self.waited += waited;
        figures::waited(self.door, waited);
    }

    /// It will be run again, because of this error.
    pub(crate) fn retry(&mut self, error: &Error) {
        self.retries += 1;
        self.span.retry(self.name, error.kind());
        figures::retry(self.name, error.kind());
    }

    /// It was committed, or ended with an error of this [kind](Error::kind).
    pub(crate) fn finish(mut self, error: Option<&'static str>) {
        self.end(error);
    }

    fn end(&mut self, error: Option<&'static str>) {
        self.finished = true;
        self.span.finish(self.retries, self.waited, error);
        figures::unit(self.name, error.unwrap_or("ok"), self.begun.elapsed());
    }
}

impl Drop for Unit {
    /// A panic, or a future that was dropped.
    fn drop(&mut self) {
        if !self.finished {
            self.end(Some("abandoned"));
        }
    }
}
