//! The signed-in user's door.

use diesel::pg::PgConnection;

use super::transaction::{Transaction, savepoint};
use crate::error::{Error, Result};
use crate::id::UserId;
use crate::repo::{MeRepository, MySubscriptionRepository, MyWorkspaceRepository};

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
        MyWorkspaceRepository::new(self.transaction.conn(), &self.user)
    }

    /// The user's subscription.
    pub fn my_subscription(&mut self) -> MySubscriptionRepository<'_> {
        MySubscriptionRepository::new(self.transaction.conn(), &self.user)
    }

    /// The connection, for queries of your own, see
    /// [`TenantConnection::connection`](super::TenantConnection::connection).
    pub fn connection(&mut self) -> &mut PgConnection {
        self.transaction.lend()
    }

    /// Runs `body` in a savepoint: what it did is kept when it returns `Ok`, and undone when it
    /// returns `Err`, and the guard's transaction goes on in either case.
    ///
    /// # Errors
    /// The body's error, or those of any query, see [`Error`].
    pub fn transaction<T, E: From<Error>>(
        &mut self,
        body: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        savepoint(self, |guard| &mut guard.transaction, body)
    }

    /// Commits.
    ///
    /// # Errors
    /// [`Error::TransactionAborted`] when an earlier statement failed: then nothing was committed.
    /// [`Error::OutcomeUnknown`] when the connection was lost on the way.
    pub fn commit(self) -> Result<()> {
        self.transaction.commit()
    }

    /// Rolls back, as dropping does, and says whether the server confirmed it.
    ///
    /// # Errors
    /// [`Error::ConnectionLost`]; then the server rolls back by itself.
    pub fn rollback(self) -> Result<()> {
        self.transaction.rollback()
    }
}
