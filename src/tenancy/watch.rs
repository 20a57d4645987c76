//! The state of a transaction that another thread may cancel.
//!
//! One thread runs statements; another notices that the caller has gone. The lock is held while a cancel
//! request is sent, and is taken before the connection returns to the pool, so that no cancel request reaches
//! a later transaction.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::connection::CancelToken;
use crate::error::{Error, Result};

#[derive(Default)]
pub(crate) struct Watch(Mutex<State>);

#[derive(Default)]
struct State {
    stage: Stage,
    cancelled: bool,
}

/// The stage of the transaction.
#[derive(Clone, Default)]
pub(crate) enum Stage {
    #[default]
    Before,
    /// The token cancels a statement on its connection.
    Running(CancelToken),
    Committing,
    Ended,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begun(&self, connection: CancelToken) -> Result<()> {
        self.enter(Stage::Running(connection))
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

    /// Forbids to begin or to commit from now on. Returns the stage that was reached.
    pub(crate) fn cancel(&self) -> Stage {
        let mut state = self.lock();
        state.cancelled = true;
        state.stage.clone()
    }

    /// Calls `send` with the token of the transaction's connection, if the transaction is open.
    pub(crate) fn while_running<T>(&self, send: impl FnOnce(&CancelToken) -> T) -> Option<T> {
        let state = self.lock();
        match &state.stage {
            Stage::Running(connection) => Some(send(connection)),
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
        assert!(matches!(watch.cancel(), Stage::Before));
        assert!(matches!(watch.begun(CancelToken::nowhere()), Err(Error::Cancelled)));
        let watch = Watch::default();
        watch.begun(CancelToken::nowhere()).unwrap();
        assert!(matches!(watch.cancel(), Stage::Running(_)));
        assert!(matches!(watch.committing(), Err(Error::Cancelled)));
    }

    #[test]
    fn nothing_is_sent_before_after_or_during_the_commit() {
        let watch = Watch::default();
        assert!(watch.while_running(|_| ()).is_none(), "before");
        watch.begun(CancelToken::nowhere()).unwrap();
        assert!(watch.while_running(|_| ()).is_some());
        watch.committing().unwrap();
        assert!(watch.while_running(|_| ()).is_none(), "during the commit");
        watch.ended();
        assert!(watch.while_running(|_| ()).is_none(), "afterwards");
    }
}
