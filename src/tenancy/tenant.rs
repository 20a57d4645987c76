//! The tenant's door.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text};

use super::context::Actor;
use super::transaction::{Transaction, savepoint};
use crate::credentials::SealingKeyRing;
use crate::error::{Error, Result};
use crate::id::WorkspaceId;
use crate::repo::{
    AuditLogRepository, DataPointRepository, GoalKpiRepository, GoalRepository,
    IntegrationRepository, KpiRepository, MemberRepository, WorkspaceRepository,
};
use crate::value::Role;

/// What the actor of a [`TenantConnection`] may do there now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemberRole {
    /// A user with this role.
    Member(Role),
    /// A background service: what a member may, and the upkeep of integrations.
    Service,
}

/// One transaction of one actor in one workspace.
///
/// Rolls back when dropped. A user who is not a member of the workspace gets a guard like any
/// other, and sees nothing through it: whether the workspace exists stays unknown.
///
/// ```no_run
/// # fn example(db: &sesari_db::Database, user: sesari_db::id::UserId, workspace: sesari_db::id::WorkspaceId) -> sesari_db::Result<()> {
/// use sesari_db::repo::{NewDataPoint, NewKpi};
///
/// let mut tenant = db.tenant(user, &workspace)?;
/// let kpi = tenant.kpis().create(&NewKpi::new("Revenue".parse()?))?;
/// let point = NewDataPoint::new(kpi.id, 1250.0, chrono::DateTime::UNIX_EPOCH)?;
/// tenant.data_points().record(&point)?;
/// tenant.commit()?;
/// # Ok(()) }
/// ```
#[must_use = "a guard that is not committed rolls back"]
pub struct TenantConnection {
    transaction: Transaction,
    actor: Actor,
    workspace: WorkspaceId,
    sealing_keys: Option<SealingKeyRing>,
}

impl TenantConnection {
    pub(crate) fn new(
        transaction: Transaction,
        actor: Actor,
        workspace: WorkspaceId,
        sealing_keys: Option<SealingKeyRing>,
    ) -> Self {
        Self { transaction, actor, workspace, sealing_keys }
    }

    /// Who is asking.
    #[must_use]
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// The workspace.
    #[must_use]
    pub fn workspace_id(&self) -> &WorkspaceId {
        &self.workspace
    }

    /// What the actor may do here at this moment, or `None` for somebody who is not a member. Asks
    /// the database each time, since the answer may change from one statement to the next.
    ///
    /// # Errors
    /// Those of any query, see [`Error`].
    pub fn role(&mut self) -> Result<Option<MemberRole>> {
        let role: Option<String> =
            diesel::select(diesel::dsl::sql::<Nullable<Text>>("sesari.current_member_role()"))
                .get_result(self.transaction.conn())?;
        Ok(role.map(|role| match role.as_str() {
            "service" => MemberRole::Service,
            _ => MemberRole::Member(role.parse().unwrap_or(Role::Unknown(role))),
        }))
    }

    /// The workspace itself.
    pub fn workspace(&mut self) -> WorkspaceRepository<'_> {
        WorkspaceRepository::new(self.transaction.conn(), &self.workspace)
    }

    /// Its members.
    pub fn members(&mut self) -> MemberRepository<'_> {
        MemberRepository::new(self.transaction.conn(), &self.workspace, &self.actor)
    }

    /// Its KPIs.
    pub fn kpis(&mut self) -> KpiRepository<'_> {
        KpiRepository::new(self.transaction.conn(), &self.workspace)
    }

    /// The history of its KPIs.
    pub fn data_points(&mut self) -> DataPointRepository<'_> {
        DataPointRepository::new(self.transaction.conn(), &self.workspace)
    }

    /// Its goals.
    pub fn goals(&mut self) -> GoalRepository<'_> {
        GoalRepository::new(self.transaction.conn(), &self.workspace)
    }

    /// Which KPIs measure which goal.
    pub fn goal_kpis(&mut self) -> GoalKpiRepository<'_> {
        GoalKpiRepository::new(self.transaction.conn(), &self.workspace)
    }

    /// Its connections to outside services.
    pub fn integrations(&mut self) -> IntegrationRepository<'_> {
        IntegrationRepository::new(
            self.transaction.conn(),
            &self.workspace,
            self.sealing_keys.as_ref(),
        )
    }

    /// Who changed what. Shows entries to owners and admins.
    pub fn audit_log(&mut self) -> AuditLogRepository<'_> {
        AuditLogRepository::new(self.transaction.conn(), &self.workspace)
    }

    /// The connection, for queries of your own: typed with [`schema`](crate::schema) or raw.
    ///
    /// They run in this transaction under this context, with the rights of any tenant and no more,
    /// so row-level security holds for them as for the repositories. Filter on `workspace_id`
    /// yourself all the same: the planner makes better use of it.
    ///
    /// Lending has a price: at the end of the transaction the connection's session state is
    /// discarded, prepared statements included.
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
