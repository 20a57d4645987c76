//! `workspace_users`: who is in a workspace, as what.

mod found;

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Nullable, Text};

use self::found::Found;
use super::{changed, debug_by_name, found, name_of, page_of};
use crate::actor::Actor;
use crate::connection::PgConnection;
use crate::error::{Error, Result};
use crate::id::{MembershipId, UserId, WorkspaceId};
use crate::observe::{counted, if_some, operation};
use crate::page::{MemberKey, Order, Page, PageRequest};
use crate::schema::workspace_users;
use crate::tenancy::{InWorkspace, TenantConnection};
use crate::value::{Email, ImageUrl, PersonName, Role};

debug_by_name!(MemberRepository);

/// A membership.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, serde::Serialize, serde::Deserialize)]
#[diesel(table_name = workspace_users, check_for_backend(Pg))]
#[non_exhaustive]
pub struct Membership {
    /// Its id.
    pub id: MembershipId,
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// The member.
    pub user_id: UserId,
    /// What the member may do.
    pub role: Role,
    /// When the user joined.
    pub joined_at: DateTime<Utc>,
}

/// A member, with what fellow members may know.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Member {
    /// The membership.
    pub membership: Membership,
    /// E-mail address.
    pub email: Email,
    /// Display name.
    pub name: Option<PersonName>,
    /// Address of a picture.
    pub image: Option<ImageUrl>,
}

/// Which members to list.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MemberFilter {
    /// Only those of this role.
    pub role: Option<Role>,
    /// Only those whose name or e-mail address contains this text, as
    /// [`KpiFilter::name_contains`](super::KpiFilter::name_contains). It reads all members.
    #[serde(alias = "nameContains")]
    pub name_contains: Option<String>,
    /// In which order to list them. By name, it reads all members.
    pub order: Order<MemberKey>,
}

/// The members of a workspace.
pub struct MemberRepository<'g> {
    conn: &'g mut PgConnection,
    workspace: &'g WorkspaceId,
    actor: &'g Actor,
}

impl TenantConnection {
    /// The workspace's members.
    pub fn members(&mut self) -> MemberRepository<'_> {
        let InWorkspace { conn, workspace, actor, .. } = self.parts();
        MemberRepository { conn, workspace, actor }
    }
}

type Columns = (Membership, Email, Option<PersonName>, Option<ImageUrl>);

impl Member {
    /// What the list by name is sorted by.
    fn shown_name(&self) -> &str {
        self.name.as_ref().map_or(self.email.as_str(), PersonName::as_str)
    }
}

impl From<Columns> for Member {
    fn from((membership, email, name, image): Columns) -> Self {
        Self { membership, email, name, image }
    }
}

#[expect(clippy::missing_errors_doc, reason = "described once, in the module `repo`")]
impl<'g> MemberRepository<'g> {
    fn matching<'q>(&self, filter: &'q MemberFilter) -> workspace_users::BoxedQuery<'q, Pg>
    where
        'g: 'q,
    {
        let query = workspace_users::table
            .filter(workspace_users::workspace_id.eq(self.workspace))
            .into_boxed();
        match &filter.role {
            Some(role) => query.filter(workspace_users::role.eq(role)),
            None => query,
        }
    }

    /// A member.
    pub fn find(&mut self, user: &UserId) -> Result<Option<Member>> {
        counted("member.find", if_some, || {
            let memberships = workspace_users::table
                .filter(workspace_users::workspace_id.eq(self.workspace))
                .filter(workspace_users::user_id.eq(user))
                .select(Membership::as_select());
            let row: Option<Columns> =
                WithProfiles { memberships }.get_result(self.conn).optional()?;
            Ok(row.map(Member::from))
        })
    }

    /// A member, or [`NotFound`](crate::Error::NotFound).
    pub fn get(&mut self, user: &UserId) -> Result<Member> {
        self.find(user)?.ok_or(crate::Error::not_found("member"))
    }

    /// Members with their names, in the filter's order, which is that of joining unless it says
    /// otherwise.
    pub fn list(&mut self, filter: &MemberFilter, page: &PageRequest) -> Result<Page<Member>> {
        let list = ["member", self.workspace.as_str(), &name_of(filter)];
        counted("member.list", Page::len, || match filter.order.by() {
            MemberKey::JoinedAt => {
                let page = page.of(&list)?;
                let rows = if filter.name_contains.is_some() || filter.order.is_descending() {
                    Found::new(self.workspace, filter).by_joining(page, self.conn)?
                } else {
                    let (at, id) = (workspace_users::joined_at, workspace_users::id);
                    let memberships = page_of!(self.matching(filter), page, at, id)
                        .select(Membership::as_select());
                    let rows: Vec<Columns> = WithProfiles { memberships }.load(self.conn)?;
                    rows.into_iter().map(Member::from).collect()
                };
                Ok(page
                    .cut(rows, |row| (row.membership.joined_at.into(), row.membership.id.as_str())))
            }
            MemberKey::Name => {
                let page = page.by_text(&list)?;
                let rows = Found::new(self.workspace, filter).by_name(page, self.conn)?;
                Ok(page.cut(rows, |row| (row.shown_name().into(), row.membership.id.as_str())))
            }
        })
    }

    /// How many members match.
    pub fn count(&mut self, filter: &MemberFilter) -> Result<i64> {
        operation("member.count", || match filter.name_contains {
            Some(_) => Found::new(self.workspace, filter).count(self.conn),
            None => Ok(self.matching(filter).count().get_result(self.conn)?),
        })
    }

    /// Changes a member's role. For owners and admins; owners are made and unmade only by owners.
    /// `LastOwner` when nobody would own the workspace.
    pub fn change_role(&mut self, user: &UserId, role: Role) -> Result<Membership> {
        operation("member.change_role", || {
            let row = diesel::update(workspace_users::table)
                .filter(workspace_users::workspace_id.eq(self.workspace))
                .filter(workspace_users::user_id.eq(user))
                .set(workspace_users::role.eq(role))
                .returning(Membership::as_returning())
                .get_result(self.conn);
            found(row, "member")
        })
    }

    /// Removes a member, whose access ends with this transaction's commit. For owners and admins,
    /// and an owner only by an owner. `LastOwner` when nobody would own the workspace.
    pub fn remove(&mut self, user: &UserId) -> Result<()> {
        operation("member.remove", || {
            let rows = diesel::delete(workspace_users::table)
                .filter(workspace_users::workspace_id.eq(self.workspace))
                .filter(workspace_users::user_id.eq(user))
                .execute(self.conn);
            changed(rows, "member")
        })
    }

    /// Leaves the workspace. `LastOwner` when nobody would own it; `NotFound` for a service.
    pub fn leave(&mut self) -> Result<()> {
        match self.actor {
            Actor::User(user) => self.remove(user),
            Actor::Service(_) => Err(Error::not_found("member")),
        }
    }
}

/// Memberships, each with what fellow members may know of its user. Users are no tenant's to read: a
/// function looks up those that the first part of the statement found.
#[derive(QueryId)]
struct WithProfiles<Q> {
    memberships: Q,
}

/// A membership, and e-mail address, name and picture of its user.
type ProfileColumns = (
    diesel::dsl::SqlTypeOf<diesel::dsl::AsSelect<Membership, Pg>>,
    Text,
    Nullable<Text>,
    Nullable<Text>,
);

impl<Q> Query for WithProfiles<Q> {
    type SqlType = ProfileColumns;
}

impl<Q> RunQueryDsl<PgConnection> for WithProfiles<Q> {}

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for WithProfiles<Q> {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        pass.push_sql("WITH m AS MATERIALIZED (");
        self.memberships.walk_ast(pass.reborrow())?;
        pass.push_sql(
            ") SELECT m.id, m.workspace_id, m.user_id, m.role, m.joined_at, p.email, p.name, p.image \
             FROM m JOIN sesari.member_profiles(ARRAY(SELECT user_id FROM m)) AS p \
             ON p.user_id = m.user_id ORDER BY m.joined_at, m.id",
        );
        Ok(())
    }
}
