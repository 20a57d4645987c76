//! The guard of an actor inside one workspace.

use std::fmt;

use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text};

use super::transaction::{Transaction, guard_methods};
use crate::actor::Actor;
use crate::connection::PgConnection;
use crate::credentials::SealingKeyRing;
use crate::error::{Error, Result};
use crate::id::WorkspaceId;
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

/// The parts of a guard that a repository uses.
pub(crate) struct InWorkspace<'g> {
    pub(crate) conn: &'g mut PgConnection,
    pub(crate) workspace: &'g WorkspaceId,
    pub(crate) actor: &'g Actor,
    pub(crate) sealing_keys: Option<&'g SealingKeyRing>,
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

    /// Checks that the actor has at least this role here, and returns the actor's role. Owners include
    /// admins, and admins include members. A background service counts as a member.
    ///
    /// The database decides what an actor may do. This method lets a caller distinguish an empty list from a
    /// workspace that the actor cannot see.
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

    pub(crate) fn parts(&mut self) -> InWorkspace<'_> {
        InWorkspace {
            conn: self.transaction.conn(),
            workspace: &self.workspace,
            actor: &self.actor,
            sealing_keys: self.sealing_keys.as_ref(),
        }
    }
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
