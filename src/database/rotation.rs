//! Moving every envelope of every workspace to the current sealing key.

use super::Database;
use crate::credentials::SealingKeyId;
use crate::error::{Error, Result};
use crate::id::{IntegrationId, WorkspaceId};
use crate::tenancy::ServiceName;

/// Workspaces asked for at a time.
const PAGE: u16 = 100;

/// How far a rotation of the sealing key has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Rotation {
    /// Workspaces done.
    pub workspaces: usize,
    /// Envelopes moved to the current key.
    pub moved: usize,
    /// Integrations whose envelope does not open, and was left as it is.
    pub refused: Vec<(WorkspaceId, IntegrationId)>,
}

impl Database {
    /// Seals every envelope anew that is not under the current sealing key, workspace by workspace,
    /// in transactions of at most `batch` envelopes, and of no more than
    /// [`reseal`](crate::repo::IntegrationRepository::reseal) takes, while everything else goes on.
    /// `progress` is called after each.
    ///
    /// Interrupted, it may be started again, and goes on with what is left. Once it is through,
    /// [`key_usage`](crate::repo::IntegrationQueueRepository::key_usage) says which old keys are in
    /// use no more.
    ///
    /// # Errors
    /// [`Error::Config`] without sealing keys or service login, or for a batch of 0; otherwise those
    /// of any query. What was committed before stays.
    pub fn rotate_sealing_key(
        &self,
        service: &ServiceName,
        batch: u16,
        mut progress: impl FnMut(&Rotation),
    ) -> Result<Rotation> {
        let keys = self.0.sealing_keys.as_ref();
        let current = keys
            .ok_or_else(|| Error::Config("no sealing_keys are configured".into()))?
            .sealing_key_id();
        if batch == 0 {
            return Err(Error::Config("a batch of 0 envelopes moves none".into()));
        }
        let mut rotation = Rotation::default();
        let mut last: Option<WorkspaceId> = None;
        loop {
            let workspaces = self.workspaces_to_reseal(service, current, last.as_ref())?;
            let Some(end) = workspaces.last().cloned() else {
                return Ok(rotation);
            };
            for workspace in workspaces {
                let mut after = None;
                loop {
                    let mut tenant = self.tenant(service, &workspace)?;
                    let resealed = tenant.integrations().reseal(after.as_ref(), batch)?;
                    tenant.commit()?;
                    rotation.moved += resealed.moved;
                    let refused = resealed.refused.into_iter().map(|id| (workspace.clone(), id));
                    rotation.refused.extend(refused);
                    after = resealed.next;
                    if after.is_none() {
                        break;
                    }
                    progress(&rotation);
                }
                rotation.workspaces += 1;
                progress(&rotation);
            }
            last = Some(end);
        }
    }

    fn workspaces_to_reseal(
        &self,
        service: &ServiceName,
        current: &SealingKeyId,
        after: Option<&WorkspaceId>,
    ) -> Result<Vec<WorkspaceId>> {
        let mut guard = self.service_read_only(service)?;
        let workspaces = guard.integration_queue().workspaces_to_reseal(current, after, PAGE)?;
        guard.commit()?;
        Ok(workspaces)
    }
}
