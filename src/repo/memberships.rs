//! What services may do about memberships: add a member without an invitation, take a user out of
//! workspaces, and delete a workspace that nobody owns.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz};

use super::{Membership, debug_by_name, static_query};
use crate::connection::PgConnection;
use crate::error::{DepartureError, Error, Result};
use crate::id::{MembershipId, UserId, WorkspaceId};
use crate::observe::operation;
use crate::page::{Page, PageRequest};
use crate::value::{Invalid, Role, WorkspaceName};

debug_by_name!(MembershipRepository);

/// Memberships of all workspaces, for a [`ServiceConnection`](crate::ServiceConnection).
pub struct MembershipRepository<'g> {
    conn: &'g mut PgConnection,
}

/// A workspace that nobody but one user owns.
#[derive(Debug, Clone, PartialEq, Queryable, serde::Serialize, serde::Deserialize)]
pub struct SoleOwnership {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// Its display name.
    pub workspace_name: WorkspaceName,
    /// When the user joined it.
    pub joined_at: DateTime<Utc>,
}

/// What becomes of a workspace when the only owner goes. It counts only while nobody else owns it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Succession {
    /// Another member becomes an owner.
    Heir {
        /// The workspace.
        workspace: WorkspaceId,
        /// A member of it.
        user: UserId,
    },
    /// The workspace is deleted with everything in it but its audit log.
    Delete {
        /// The workspace.
        workspace: WorkspaceId,
    },
}

#[expect(clippy::missing_errors_doc, reason = "described once, in the module `repo`")]
impl<'g> MembershipRepository<'g> {
    /// The most workspaces that one call of [`leave`](Self::leave) leaves.
    pub const MAX_LEAVE: u16 = 500;

    pub(crate) fn new(conn: &'g mut PgConnection) -> Self {
        Self { conn }
    }

    /// Makes a user a member without an invitation. That the user agreed is the service's to know.
    /// `Conflict` when the user is a member already, `NotFound` when there is no such user or workspace.
    pub fn add(
        &mut self,
        workspace: &WorkspaceId,
        user: &UserId,
        role: Role,
    ) -> Result<Membership> {
        operation("member.add", || {
            let id = MembershipId::generate();
            Ok(AddMember { id: &id, workspace, user, role }.get_result(self.conn)?)
        })
    }

    /// The workspaces that nobody but this user owns, in the order of joining: what
    /// [`leave`](Self::leave) and the deletion of the user need a decision for.
    pub fn sole_ownerships(
        &mut self,
        user: &UserId,
        page: &PageRequest,
    ) -> Result<Page<SoleOwnership>> {
        operation("member.sole_ownerships", || {
            let page = page.of(&["sole_ownership", user.as_str()])?;
            let rows = SoleOwnerships {
                user,
                after_at: page.cursor().map(|cursor| cursor.at),
                after_id: page.cursor().map(|cursor| cursor.id.as_str()),
                fetch: i32::try_from(page.fetch()).unwrap_or(i32::MAX),
            }
            .load(self.conn)?;
            Ok(page.cut(rows, |row: &SoleOwnership| (row.joined_at, row.workspace_id.as_str())))
        })
    }

    /// Takes a user out of up to `at_most` workspaces, 1 to [`MAX_LEAVE`](Self::MAX_LEAVE), and says out
    /// of how many: 0 when none is left. The way out for an only owner, too. Commit between calls.
    ///
    /// [`DepartureError::Undecided`] while any of the user's workspaces, in this call's part or not, would
    /// be without an owner and has no decision. Decisions for workspaces that somebody else owns by now
    /// do nothing.
    pub fn leave(
        &mut self,
        user: &UserId,
        decisions: &[Succession],
        at_most: u16,
    ) -> Result<usize> {
        operation("member.leave_all", || {
            if !(1..=Self::MAX_LEAVE).contains(&at_most) {
                return Err(Invalid::new("at_most", "expected 1 to 500 workspaces").into());
            }
            let (workspaces, heirs) = columns(decisions)?;
            let (departures, undecided): (i64, Vec<String>) =
                Leave { user, workspaces, heirs, at_most: at_most.into() }.get_result(self.conn)?;
            decided(undecided)?;
            Ok(usize::try_from(departures).unwrap_or_default())
        })
    }

    /// Deletes a workspace that has no owner, with everything in it but its audit log. `NotFound` when
    /// there is none or it has one: an owner's workspace is the owner's to delete.
    pub fn delete_ownerless_workspace(&mut self, workspace: &WorkspaceId) -> Result<()> {
        operation("workspace.delete_ownerless", || {
            let deleted: bool = DeleteOwnerless { workspace }.get_result(self.conn)?;
            if deleted { Ok(()) } else { Err(Error::not_found(WorkspaceId::ENTITY)) }
        })
    }
}

/// Deletes a user after taking the user out of every workspace. Behind
/// [`UserRepository::delete`](super::UserRepository::delete).
pub(super) fn delete_user(
    conn: &mut PgConnection,
    user: &UserId,
    decisions: &[Succession],
) -> Result<()> {
    let (workspaces, heirs) = columns(decisions)?;
    let (deleted, undecided): (bool, Vec<String>) =
        DeleteUser { user, workspaces, heirs }.get_result(conn)?;
    decided(undecided)?;
    if deleted { Ok(()) } else { Err(Error::not_found(UserId::ENTITY)) }
}

type Columns<'a> = (Vec<&'a WorkspaceId>, Vec<Option<&'a UserId>>);

/// Workspaces and their heirs, side by side.
fn columns(decisions: &[Succession]) -> Result<Columns<'_>> {
    let (workspaces, heirs): Columns<'_> = decisions
        .iter()
        .map(|decision| match decision {
            Succession::Heir { workspace, user } => (workspace, Some(user)),
            Succession::Delete { workspace } => (workspace, None),
        })
        .unzip();
    let distinct: std::collections::HashSet<_> = workspaces.iter().collect();
    if distinct.len() < workspaces.len() {
        return Err(Invalid::new("decisions", "expected at most one for each workspace").into());
    }
    Ok((workspaces, heirs))
}

fn decided(undecided: Vec<String>) -> Result<()> {
    if undecided.is_empty() {
        return Ok(());
    }
    let workspaces = undecided.into_iter().map(|id| id.parse()).collect::<Result<_, _>>()?;
    Err(DepartureError::Undecided { workspaces }.into())
}

struct AddMember<'a> {
    id: &'a MembershipId,
    workspace: &'a WorkspaceId,
    user: &'a UserId,
    role: Role,
}

static_query!(
    AddMember: diesel::dsl::SqlTypeOf<diesel::dsl::AsSelect<Membership, Pg>>,
    |query, pass| {
        pass.push_sql("SELECT id, workspace_id, user_id, role, joined_at FROM sesari.add_member(");
        pass.push_bind_param::<Text, _>(query.id)?;
        pass.push_sql(", ");
        pass.push_bind_param::<Text, _>(query.workspace)?;
        pass.push_sql(", ");
        pass.push_bind_param::<Text, _>(query.user)?;
        pass.push_sql(", ");
        pass.push_bind_param::<Text, _>(&query.role)?;
        pass.push_sql(")");
    }
);

struct SoleOwnerships<'a> {
    user: &'a UserId,
    after_at: Option<DateTime<Utc>>,
    after_id: Option<&'a str>,
    fetch: i32,
}

static_query!(SoleOwnerships: (Text, Text, Timestamptz), |query, pass| {
    pass.push_sql("SELECT workspace_id, name, joined_at FROM sesari.sole_ownerships(");
    pass.push_bind_param::<Text, _>(query.user)?;
    pass.push_sql(", ");
    pass.push_bind_param::<Nullable<Timestamptz>, _>(&query.after_at)?;
    pass.push_sql(", ");
    pass.push_bind_param::<Nullable<Text>, _>(&query.after_id)?;
    pass.push_sql(", ");
    pass.push_bind_param::<Integer, _>(&query.fetch)?;
    pass.push_sql(")");
});

struct Leave<'a> {
    user: &'a UserId,
    workspaces: Vec<&'a WorkspaceId>,
    heirs: Vec<Option<&'a UserId>>,
    at_most: i32,
}

static_query!(Leave: (BigInt, Array<Text>), |query, pass| {
    pass.push_sql("SELECT departures, undecided FROM sesari.leave_workspaces(");
    pass.push_bind_param::<Text, _>(query.user)?;
    pass.push_sql(", ");
    pass.push_bind_param::<Array<Text>, _>(&query.workspaces)?;
    pass.push_sql(", ");
    pass.push_bind_param::<Array<Nullable<Text>>, _>(&query.heirs)?;
    pass.push_sql(", ");
    pass.push_bind_param::<Integer, _>(&query.at_most)?;
    pass.push_sql(")");
});

struct DeleteUser<'a> {
    user: &'a UserId,
    workspaces: Vec<&'a WorkspaceId>,
    heirs: Vec<Option<&'a UserId>>,
}

static_query!(DeleteUser: (Bool, Array<Text>), |query, pass| {
    pass.push_sql("SELECT is_deleted, undecided FROM sesari.delete_user(");
    pass.push_bind_param::<Text, _>(query.user)?;
    pass.push_sql(", ");
    pass.push_bind_param::<Array<Text>, _>(&query.workspaces)?;
    pass.push_sql(", ");
    pass.push_bind_param::<Array<Nullable<Text>>, _>(&query.heirs)?;
    pass.push_sql(")");
});

struct DeleteOwnerless<'a> {
    workspace: &'a WorkspaceId,
}

static_query!(DeleteOwnerless: Bool, |query, pass| {
    pass.push_sql("SELECT sesari.delete_ownerless_workspace(");
    pass.push_bind_param::<Text, _>(query.workspace)?;
    pass.push_sql(")");
});
