//! Time, injected, where it decides what a context is worth. How long something waits or takes is
//! measured where it does.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// Where the crate takes the passage of time from.
///
/// Only elapsed time is asked for, never the date: contexts are stamped with the server's time,
/// which a connection learns when it is opened, plus what has passed here since. A wall clock that
/// jumps on this side changes nothing.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Instant + Send + Sync>);

impl Clock {
    /// The machine's monotonic clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(Instant::now))
    }

    /// A clock of the caller's, for tests of what happens when time passes.
    #[must_use]
    pub fn from_fn(now: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Instant {
        (self.0)()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
