//! The guard of a service outside of any workspace.

use std::fmt;

use super::transaction::{Transaction, guard_methods};
use crate::actor::ServiceName;
use crate::connection::PgConnection;

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

    pub(crate) fn conn(&mut self) -> &mut PgConnection {
        self.transaction.conn()
    }
}

guard_methods!(ServiceConnection);

impl fmt::Debug for ServiceConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceConnection").field("service", &self.service).finish_non_exhaustive()
    }
}
