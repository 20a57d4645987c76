//! What services may do about memberships: add a member without an invitation, take a user out of
//! workspaces, and delete a workspace that nobody owns.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz};

use super::{Membership, debug_by_name, statement};
use crate::connection::PgConnection;
use crate::error::{DepartureError, Error, Result};
use crate::id::{MembershipId, UserId, WorkspaceId};
use crate::observe::{counted, operation};
use crate::page::{Page, PageRequest};
use crate::tenancy::ServiceConnection;
use crate::value::{Invalid, Role, WorkspaceName};

debug_by_name!(MembershipRepository);

/// Memberships of all workspaces, for a [`ServiceConnection`](crate::ServiceConnection).
pub struct MembershipRepository<'g> {
    conn: &'g mut PgConnection,
}

impl ServiceConnection {
    /// Memberships of all workspaces, to make and to end.
    pub fn memberships(&mut self) -> MembershipRepository<'_> {
        MembershipRepository { conn: self.conn() }
    }
}

/// A workspace that nobody but one user owns.
#[derive(Debug, Clone, PartialEq, Queryable, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
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
impl MembershipRepository<'_> {
    /// The most workspaces that one call of [`leave`](Self::leave) leaves.
    pub const MAX_LEAVE: u16 = 500;

    /// Makes a user a member without an invitation. The service answers for the user's consent.
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
        counted("member.sole_ownerships", Page::len, || {
            let page = page.of(&["sole_ownership", user.as_str()])?;
            let rows = SoleOwnerships {
                user,
                after_at: page.after().map(|last| last.key),
                after_id: page.after().map(|last| last.id),
                fetch: i32::try_from(page.fetch()).unwrap_or(i32::MAX),
            }
            .load(self.conn)?;
            Ok(page
                .cut(rows, |row: &SoleOwnership| (row.joined_at.into(), row.workspace_id.as_str())))
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
        counted(
            "member.leave_all",
            |left| *left,
            || {
                if !(1..=Self::MAX_LEAVE).contains(&at_most) {
                    return Err(Invalid::new("at_most", "expected 1 to 500 workspaces").into());
                }
                let (workspaces, heirs) = columns(decisions)?;
                let (departures, undecided): (i64, Vec<String>) =
                    Leave { user, workspaces, heirs, at_most: at_most.into() }
                        .get_result(self.conn)?;
                decided(undecided)?;
                Ok(usize::try_from(departures).unwrap_or_default())
            },
        )
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

/// Workspaces, and the heir of each.
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

statement!(AddMember: diesel::dsl::SqlTypeOf<diesel::dsl::AsSelect<Membership, Pg>>, "SELECT id, workspace_id, user_id, role, joined_at FROM sesari.add_member($1, $2, $3, \
     $4)", |query| [
    query.id => Text,
    query.workspace => Text,
    query.user => Text,
    &query.role => Text,
]);

struct SoleOwnerships<'a> {
    user: &'a UserId,
    after_at: Option<DateTime<Utc>>,
    after_id: Option<&'a str>,
    fetch: i32,
}

statement!(SoleOwnerships: (Text, Text, Timestamptz), "SELECT workspace_id, name, joined_at FROM sesari.sole_ownerships($1, $2, $3, $4)", |query| [
    query.user => Text,
    &query.after_at => Nullable<Timestamptz>,
    &query.after_id => Nullable<Text>,
    &query.fetch => Integer,
]);

struct Leave<'a> {
    user: &'a UserId,
    workspaces: Vec<&'a WorkspaceId>,
    heirs: Vec<Option<&'a UserId>>,
    at_most: i32,
}

statement!(Leave: (BigInt, Array<Text>), "SELECT departures, undecided FROM sesari.leave_workspaces($1, $2, $3, $4)", |query| [
    query.user => Text,
    &query.workspaces => Array<Text>,
    &query.heirs => Array<Nullable<Text>>,
    &query.at_most => Integer,
]);

struct DeleteUser<'a> {
    user: &'a UserId,
    workspaces: Vec<&'a WorkspaceId>,
    heirs: Vec<Option<&'a UserId>>,
}

statement!(DeleteUser: (Bool, Array<Text>), "SELECT is_deleted, undecided FROM sesari.delete_user($1, $2, $3)", |query| [
    query.user => Text,
    &query.workspaces => Array<Text>,
    &query.heirs => Array<Nullable<Text>>,
]);

struct DeleteOwnerless<'a> {
    workspace: &'a WorkspaceId,
}

statement!(DeleteOwnerless: Bool, "SELECT sesari.delete_ownerless_workspace($1)", |query| [
    query.workspace => Text,
]);
