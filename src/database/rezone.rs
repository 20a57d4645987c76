//! Rolling up anew after a change of the zone, in transactions that nobody waits for long.

use super::Database;
use crate::error::Result;
use crate::id::WorkspaceId;
use crate::tenancy::Actor;

/// How far [`Database::rezone_rollups`] has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Rezoned {
    /// Rollups looked at.
    pub rollups: u64,
    /// Of these, those that were of no day of the workspace's zone.
    pub rezoned: u64,
    /// How many rollups the workspace had at the start: about as many will be looked at.
    pub total: u64,
}

impl Database {
    /// Makes those rollups of a workspace anew that are of no day of its zone, as after
    /// [`change_time_zone`](crate::repo::WorkspaceRepository::change_time_zone), or when a zone's rules
    /// have changed: `batch` rollups in each transaction, while everything else goes on. `progress` is
    /// called after each with the numbers so far, which are returned at the end.
    ///
    /// Until then series are right: they are read past those rollups, from the points. Writers to a KPI
    /// wait while its part of a batch is made. For members and services. Interrupted, it may be started
    /// again, and has nothing to do where it has been. A transaction that wrote points before the zone
    /// changed, and commits after this has gone by, may leave a day of the zone before: it is right too,
    /// and [`verify_rollups`](crate::maintenance::verify_rollups) finds it.
    ///
    /// ```no_run
    /// # fn example(db: &sesari_db::Database, admin: sesari_db::id::UserId, workspace: &sesari_db::id::WorkspaceId) -> sesari_db::Result<()> {
    /// let mut tenant = db.tenant(admin.clone(), workspace)?;
    /// tenant.workspace().change_time_zone("Europe/Berlin".parse()?)?;
    /// tenant.commit()?;
    /// db.rezone_rollups(admin, workspace, 1000, |so_far| {
    ///     println!("{} of {} days", so_far.rollups, so_far.total);
    /// })?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) unless `batch` is 1 to 10 000; otherwise those of
    /// [`tenant`](Self::tenant) and of any query. What was committed before stays.
    pub fn rezone_rollups(
        &self,
        actor: impl Into<Actor>,
        workspace: &WorkspaceId,
        batch: u32,
        mut progress: impl FnMut(Rezoned),
    ) -> Result<Rezoned> {
        let actor = actor.into();
        let mut tenant = self.begin(&super::Scope::tenant(actor.clone(), workspace).read_only())?;
        let mut so_far = Rezoned { total: tenant.series().rollups()?, ..Rezoned::default() };
        tenant.commit()?;
        let mut after = None;
        loop {
            let mut tenant = self.tenant(actor.clone(), workspace)?;
            let done = tenant.series().rezone(after.as_ref(), batch)?;
            tenant.commit()?;
            let Some(done) = done else { return Ok(so_far) };
            so_far.rollups += done.rollups;
            so_far.rezoned += done.rezoned;
            progress(so_far);
            after = Some(done.last);
        }
    }
}
