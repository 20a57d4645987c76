//! The services' door.

use diesel::pg::PgConnection;

use super::context::ServiceName;
use super::transaction::{Transaction, savepoint};
use crate::error::{Error, Result};
use crate::repo::{IntegrationQueueRepository, SubscriptionRepository, UserRepository};

/// One transaction of a service of yours, outside of any workspace: sees users and subscriptions,
/// and nothing of a tenant. Needs a login of its own. Rolls back when dropped.
#[must_use = "a guard that is not committed rolls back"]
pub struct ServiceConnection {
    transaction: Transaction,
    service: ServiceName,
}

impl ServiceConnection {
    pub(crate) fn new(transaction: Transaction, service: ServiceName) -> Self {
        Self { transaction, service }
    }

    /// Who is asking.
    #[must_use]
    pub fn service_name(&self) -> &ServiceName {
        &self.service
    }

    /// All users.
    pub fn users(&mut self) -> UserRepository<'_> {
        UserRepository::new(self.transaction.conn())
    }

    /// All subscriptions.
    pub fn subscriptions(&mut self) -> SubscriptionRepository<'_> {
        SubscriptionRepository::new(self.transaction.conn())
    }

    /// Which integrations are due, of all workspaces.
    pub fn integration_queue(&mut self) -> IntegrationQueueRepository<'_> {
        IntegrationQueueRepository::new(self.transaction.conn())
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
