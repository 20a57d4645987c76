//! The guard of a signed-in user outside of any workspace.

use std::fmt;

use super::transaction::{Transaction, guard_methods};
use crate::connection::PgConnection;
use crate::id::UserId;

/// One transaction of a signed-in user who has not chosen a workspace: sees the user's own row,
/// memberships, workspaces and subscription. Rolls back when dropped.
#[must_use = "a guard that is not committed rolls back"]
pub struct UserConnection {
    transaction: Transaction,
    user: UserId,
}

impl UserConnection {
    pub(crate) fn new(transaction: Transaction, user: UserId) -> Self {
        Self { transaction, user }
    }

    /// Who is asking.
    #[must_use]
    pub fn user_id(&self) -> &UserId {
        &self.user
    }

    pub(crate) fn conn(&mut self) -> &mut PgConnection {
        self.transaction.conn()
    }

    pub(crate) fn parts(&mut self) -> (&mut PgConnection, &UserId) {
        (self.transaction.conn(), &self.user)
    }
}

guard_methods!(UserConnection);

impl fmt::Debug for UserConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserConnection").field("user", &self.user).finish_non_exhaustive()
    }
}
