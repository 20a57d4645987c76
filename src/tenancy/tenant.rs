//! The tenant's pool.

use std::fmt;

use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text};

use super::context::Actor;
use super::transaction::{Transaction, guard_methods};
use crate::credentials::SealingKeyRing;
use crate::error::{Error, Result};
use crate::id::WorkspaceId;
use crate::idempotency::{IdempotencyError, IdempotencyKey};
use crate::repo::idempotency_keys::{self, Claim};
use crate::repo::{
    AuditLogRepository, DataPointRepository, GoalKpiRepository, GoalRepository,
    IntegrationRepository, InvitationRepository, KpiRepository, MemberRepository, SeriesRepository,
    WorkspaceRepository,
};
use crate::value::{Invalid, Role};

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
    /// Those of any query, see [`Error`](crate::Error).
    pub fn role(&mut self) -> Result<Option<MemberRole>> {
        let role: Option<String> =
            diesel::select(diesel::dsl::sql::<Nullable<Text>>("sesari.current_member_role()"))
                .get_result(self.transaction.conn())?;
        Ok(role.map(|role| match role.as_str() {
            "service" => MemberRole::Service,
            _ => MemberRole::Member(role.parse().unwrap_or(Role::Unknown(role))),
        }))
    }

    /// That the actor is a member here with this role at least: an owner may what an admin may, and an
    /// admin what a member may. A background service may what a member may. Says the role.
    ///
    /// Whether somebody may do a thing, the database decides; this is for a caller that wants to tell an
    /// empty list from a workspace that is not there for the asker.
    ///
    /// # Errors
    /// [`Error::NotFound`] for somebody who is no member, whether there is such a workspace or not;
    /// [`Error::Denied`] for a lower role; [`Error::Invalid`] for [`Role::Unknown`]; those of any query.
    pub fn require(&mut self, role: &Role) -> Result<MemberRole> {
        let actual = self.role()?.ok_or(Error::not_found(WorkspaceId::ENTITY))?;
        let is_enough = match (role, &actual) {
            (Role::Unknown(_), _) => {
                return Err(Invalid::new("role", "not a role to require").into());
            }
            (Role::Member, _) | (Role::Admin | Role::Owner, MemberRole::Member(Role::Owner)) => {
                true
            }
            (Role::Admin, MemberRole::Member(actual)) => *actual == Role::Admin,
            (Role::Admin | Role::Owner, _) => false,
        };
        if is_enough { Ok(actual) } else { Err(Error::Denied) }
    }

    /// The workspace itself.
    pub fn workspace(&mut self) -> WorkspaceRepository<'_> {
        WorkspaceRepository::new(self.transaction.conn(), &self.workspace)
    }

    /// Its members.
    pub fn members(&mut self) -> MemberRepository<'_> {
        MemberRepository::new(self.transaction.conn(), &self.workspace, &self.actor)
    }

    /// Who was invited to it. Shows invitations to owners and admins.
    pub fn invitations(&mut self) -> InvitationRepository<'_> {
        InvitationRepository::new(self.transaction.conn(), &self.workspace)
    }

    /// Its KPIs.
    pub fn kpis(&mut self) -> KpiRepository<'_> {
        KpiRepository::new(self.transaction.conn(), &self.workspace)
    }

    /// The history of its KPIs.
    pub fn data_points(&mut self) -> DataPointRepository<'_> {
        DataPointRepository::new(self.transaction.conn(), &self.workspace)
    }

    /// Its history in buckets, and figures of it.
    pub fn series(&mut self) -> SeriesRepository<'_> {
        SeriesRepository::new(self.transaction.conn(), &self.workspace)
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
        AuditLogRepository::new(self.transaction.conn(), Some(&self.workspace))
    }

    /// Does the work of `body` once under this key, and answers with what it answered then. The answer
    /// is stored in this transaction: it is there for others when the guard was committed. See
    /// [`idempotency`](crate::idempotency).
    ///
    /// `operation` names the work, in one line of 1 to 200 characters: under another name the key is
    /// refused. The body runs in a savepoint; what it did is undone when it returns `Err`, and the key
    /// is free again.
    ///
    /// The answer is stored as JSON, of at most [`MAX_RESULT`](crate::idempotency::MAX_RESULT) bytes,
    /// and is given again to the same membership in the same role alone. Return the id of what was made
    /// rather than all that is known of it.
    ///
    /// # Errors
    /// The body's error; [`Error::Idempotency`] when the key stands for something else, was used
    /// under another role or membership, is in use by this very transaction, or its answer cannot be read; [`Error::Invalid`] when the answer is too
    /// long or cannot be written as JSON; [`Error::LockTimeout`] when another transaction under the
    /// same key takes too long; [`Error::Denied`] for somebody who is not a member;
    /// [`Error::ReadOnly`] through a read-only guard; or those of any query.
    pub fn once<T, E>(
        &mut self,
        operation: &str,
        key: &IdempotencyKey,
        body: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E>
    where
        T: serde::Serialize + serde::de::DeserializeOwned,
        E: From<Error>,
    {
        self.transaction(|tenant| tenant.once_or_roll_back(operation, key, body))
    }

    /// [`once`](Self::once) without its savepoint: after an error the transaction must be rolled back,
    /// or the key stays taken without an answer.
    pub(crate) fn once_or_roll_back<T, E>(
        &mut self,
        operation: &str,
        key: &IdempotencyKey,
        body: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E>
    where
        T: serde::Serialize + serde::de::DeserializeOwned,
        E: From<Error>,
    {
        let conn = self.transaction.conn();
        match idempotency_keys::claim(conn, &self.workspace, &self.actor, operation, key)? {
            Claim::Done(json) => read(&json).map_err(E::from),
            Claim::Fresh => {
                let answer = body(self)?;
                let json = serde_json::to_string(&answer).map_err(|_| {
                    Error::Invalid(Invalid::new("result", "cannot be written as JSON"))
                })?;
                // An answer that nobody could read would be found out when it is too late.
                read::<T>(&json)?;
                let conn = self.transaction.conn();
                idempotency_keys::store(conn, &self.workspace, &self.actor, key, &json)?;
                Ok(answer)
            }
        }
    }
}

/// An answer from its JSON.
fn read<T: serde::de::DeserializeOwned>(json: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|_| IdempotencyError::Unreadable.into())
}

guard_methods!(TenantConnection);

impl fmt::Debug for TenantConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantConnection")
            .field("actor", &self.actor)
            .field("workspace", &self.workspace)
            .finish_non_exhaustive()
    }
}
