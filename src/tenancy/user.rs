//! The signed-in user's pool.

use std::fmt;

use super::transaction::{Transaction, guard_methods};
use crate::id::UserId;
use crate::repo::{
    MeRepository, MyInvitationRepository, MySubscriptionRepository, MyWorkspaceRepository,
};

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

    /// The user's own row.
    pub fn me(&mut self) -> MeRepository<'_> {
        MeRepository::new(self.transaction.conn(), &self.user)
    }

    /// The user's workspaces, and the way to make one.
    pub fn my_workspaces(&mut self) -> MyWorkspaceRepository<'_> {
        MyWorkspaceRepository::new(self.transaction.conn())
    }

    /// Invitations to the user, by their tokens.
    pub fn invitations(&mut self) -> MyInvitationRepository<'_> {
        MyInvitationRepository::new(self.transaction.conn())
    }

    /// The user's subscription.
    pub fn my_subscription(&mut self) -> MySubscriptionRepository<'_> {
        MySubscriptionRepository::new(self.transaction.conn(), &self.user)
    }
}

guard_methods!(UserConnection);

impl fmt::Debug for UserConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserConnection").field("user", &self.user).finish_non_exhaustive()
    }
}
