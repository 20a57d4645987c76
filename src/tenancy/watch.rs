//! A transaction on one thread, as another thread sees it that may want it cancelled.
//!
//! The one runs statements; the other is where its caller has gone away. The lock is held while a
//! cancellation is sent, and taken before the connection is anybody else's: so none ever reaches a
//! later transaction.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};

#[derive(Debug, Default)]
pub(crate) struct Watch(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    stage: Stage,
    cancelled: bool,
}

/// How far the transaction is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    #[default]
    Before,
    /// In the backend of this process id, if it is known.
    Running(Option<i32>),
    Committing,
    Ended,
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begun(&self, backend: Option<i32>) -> Result<()> {
        self.enter(Stage::Running(backend))
    }

    pub(crate) fn committing(&self) -> Result<()> {
        self.enter(Stage::Committing)
    }

    fn enter(&self, stage: Stage) -> Result<()> {
        let mut seen = self.lock();
        if seen.cancelled {
            return Err(Error::Cancelled);
        }
        seen.stage = stage;
        Ok(())
    }

    pub(crate) fn ended(&self) {
        self.lock().stage = Stage::Ended;
    }

    /// From now on nothing begins and nothing commits. Says how far it had come.
    pub(crate) fn cancel(&self) -> Stage {
        let mut state = self.lock();
        state.cancelled = true;
        state.stage
    }

    /// Calls `send` with the backend in which the transaction runs, if it does.
    pub(crate) fn while_running<T>(&self, send: impl FnOnce(i32) -> T) -> Option<T> {
        let state = self.lock();
        match state.stage {
            Stage::Running(Some(backend)) => Some(send(backend)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_cancelled_neither_begins_nor_commits() {
        let watch = Watch::default();
        assert_eq!(watch.cancel(), Stage::Before);
        assert!(matches!(watch.begun(Some(1)), Err(Error::Cancelled)));
        let watch = Watch::default();
        watch.begun(Some(1)).unwrap();
        assert_eq!(watch.cancel(), Stage::Running(Some(1)));
        assert!(matches!(watch.committing(), Err(Error::Cancelled)));
    }

    #[test]
    fn nothing_is_sent_before_after_or_during_the_commit() {
        let watch = Watch::default();
        assert_eq!(watch.while_running(|backend| backend), None, "before");
        watch.begun(Some(1)).unwrap();
        assert_eq!(watch.while_running(|backend| backend), Some(1));
        watch.committing().unwrap();
        assert_eq!(watch.while_running(|backend| backend), None, "during the commit");
        watch.ended();
        assert_eq!(watch.while_running(|backend| backend), None, "afterwards");
    }
}
