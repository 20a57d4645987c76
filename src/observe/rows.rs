//! How many rows a result has.

use std::collections::HashMap;

use crate::audit::{Checkpoint, Verdict};
use crate::credentials::Secret;
use crate::page::Page;
use crate::progress::GoalProgress;
use crate::repo::{
    Cause, ContextCause, DataPoint, Goal, GoalKpi, Integration, Invitation, InvitationPreview, Kpi,
    Membership, Profile, Recorded, Resealed, SentInvitation, Subscription, SyncSchedule, User,
    Workspace,
};

/// The rows that an operation returned, or changed without returning them.
pub(crate) trait Rows {
    /// One, unless the type says otherwise.
    fn rows(&self) -> usize {
        1
    }
}

impl<T> Rows for Vec<T> {
    fn rows(&self) -> usize {
        self.len()
    }
}

impl<K, V> Rows for HashMap<K, V> {
    fn rows(&self) -> usize {
        self.len()
    }
}

impl<T> Rows for Page<T> {
    fn rows(&self) -> usize {
        self.items.len()
    }
}

impl<T> Rows for Option<T> {
    fn rows(&self) -> usize {
        usize::from(self.is_some())
    }
}

impl Rows for bool {
    fn rows(&self) -> usize {
        usize::from(*self)
    }
}

/// Rows of a table, counted by the server.
impl Rows for usize {
    fn rows(&self) -> usize {
        *self
    }
}

impl Rows for Recorded {
    fn rows(&self) -> usize {
        self.inserted + self.replaced
    }
}

impl Rows for Resealed {
    fn rows(&self) -> usize {
        self.moved
    }
}

macro_rules! one_row {
    ($($name:ty),* $(,)?) => {$(
        impl Rows for $name {}
    )*};
}

one_row!(
    (),
    i64,
    Cause,
    SyncSchedule,
    chrono::DateTime<chrono::Utc>,
    Checkpoint,
    ContextCause,
    DataPoint,
    Goal,
    GoalKpi,
    GoalProgress,
    Integration,
    Invitation,
    InvitationPreview,
    Kpi,
    Membership,
    Profile,
    Secret,
    SentInvitation,
    Subscription,
    User,
    Verdict,
    Workspace,
);
