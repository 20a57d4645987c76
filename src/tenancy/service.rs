//! The services' pool.

use std::fmt;

use super::context::ServiceName;
use super::transaction::{Transaction, guard_methods};
use crate::id::WorkspaceId;
use crate::repo::{
    AuditLogRepository, DeletedWorkspaceAuditLogRepository, DiagnosisRepository,
    IntegrationQueueRepository, MembershipRepository, RefusalRepository, SubscriptionRepository,
    UserRepository,
};

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

    /// Memberships of all workspaces, to make and to end.
    pub fn memberships(&mut self) -> MembershipRepository<'_> {
        MembershipRepository::new(self.transaction.conn())
    }

    /// All subscriptions.
    pub fn subscriptions(&mut self) -> SubscriptionRepository<'_> {
        SubscriptionRepository::new(self.transaction.conn())
    }

    /// Which integrations are due, of all workspaces.
    pub fn integration_queue(&mut self) -> IntegrationQueueRepository<'_> {
        IntegrationQueueRepository::new(self.transaction.conn())
    }

    /// Why a user sees nothing.
    pub fn diagnosis(&mut self) -> DiagnosisRepository<'_> {
        DiagnosisRepository::new(self.transaction.conn())
    }

    /// Who changed what of that which belongs to no workspace: subscriptions, keys of the context.
    pub fn audit_log(&mut self) -> AuditLogRepository<'_> {
        AuditLogRepository::new(self.transaction.conn(), None)
    }

    /// Who changed what in a workspace that was deleted.
    pub fn deleted_workspace_audit_log<'g>(
        &'g mut self,
        workspace: &'g WorkspaceId,
    ) -> DeletedWorkspaceAuditLogRepository<'g> {
        DeletedWorkspaceAuditLogRepository::new(self.transaction.conn(), workspace)
    }

    /// The record of what was refused.
    pub fn refusals(&mut self) -> RefusalRepository<'_> {
        RefusalRepository::new(self.transaction.conn())
    }
}

guard_methods!(ServiceConnection);

impl fmt::Debug for ServiceConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceConnection").field("service", &self.service).finish_non_exhaustive()
    }
}
