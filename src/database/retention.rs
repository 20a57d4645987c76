//! Deletes old points in short transactions.

use super::Database;
use crate::actor::Actor;
use crate::error::Result;
use crate::id::{KpiId, WorkspaceId};
use crate::value::Timestamp;

/// KPIs read at a time.
pub(super) const KPIS: u16 = 1000;

impl Database {
    /// Deletes all points of a workspace before a moment for good, or those of one of its KPIs, in
    /// transactions of at most `batch` points each, while everything else goes on. `progress` is
    /// called after each with the number deleted so far, which is returned at the end.
    ///
    /// Each transaction is one statement on one KPI, which other writers to that KPI wait for; see
    /// [`delete_before`](crate::repo::DataPointRepository::delete_before). Interrupted, it may be
    /// started again, and goes on with what is left.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) unless `batch` is 1 to 100 000; otherwise those of
    /// [`tenant`](Self::tenant) and of any query. What was committed before stays.
    pub fn delete_points_before(
        &self,
        actor: impl Into<Actor>,
        workspace: &WorkspaceId,
        kpi: Option<&KpiId>,
        before: Timestamp,
        batch: u32,
        mut progress: impl FnMut(u64),
    ) -> Result<u64> {
        let actor = actor.into();
        let mut deleted = 0;
        let mut delete_of = |kpi: &KpiId| -> Result<()> {
            loop {
                let mut tenant = self.tenant(actor.clone(), workspace)?;
                let points = tenant.data_points().delete_before(Some(kpi), before, batch)?;
                tenant.commit()?;
                if points == 0 {
                    return Ok(());
                }
                deleted += points as u64;
                progress(deleted);
            }
        };
        if let Some(kpi) = kpi {
            delete_of(kpi)?;
            return Ok(deleted);
        }
        let mut last = None;
        loop {
            let mut tenant =
                self.begin(&super::Scope::tenant(actor.clone(), workspace).read_only())?;
            let kpis = tenant.data_points().kpis_before(before, last.as_ref(), KPIS)?;
            tenant.commit()?;
            for kpi in &kpis {
                delete_of(kpi)?;
            }
            last = kpis.last().cloned();
            if last.is_none() {
                return Ok(deleted);
            }
        }
    }
}
