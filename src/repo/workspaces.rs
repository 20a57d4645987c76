//! `workspaces`: the tenants, from inside and from a user's side.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz};

use super::{changed, debug_by_name, found, given, statement};
use crate::connection::PgConnection;
use crate::error::{Error, Result};
use crate::id::{MembershipId, WorkspaceId};
use crate::observe::{counted, if_some, operation};
use crate::page::{Page, PageRequest};
use crate::schema::workspaces;
use crate::series::Zone;
use crate::tenancy::{InWorkspace, TenantConnection, UserConnection};
use crate::value::{Role, Slug, TimeZone, WorkspaceName};

debug_by_name!(WorkspaceRepository, MyWorkspaceRepository);

/// A workspace.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, serde::Serialize, serde::Deserialize)]
#[diesel(table_name = workspaces, check_for_backend(Pg))]
#[non_exhaustive]
pub struct Workspace {
    /// Its id.
    pub id: WorkspaceId,
    /// Display name.
    pub name: WorkspaceName,
    /// Name in addresses.
    pub slug: Slug,
    /// Whose days its rollups are of, and its series by default.
    pub time_zone: TimeZone,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// A workspace to create.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewWorkspace {
    /// Its id, made here.
    #[serde(skip, default = "WorkspaceId::generate")]
    pub id: WorkspaceId,
    /// Display name.
    pub name: WorkspaceName,
    /// Name in addresses, unique among all workspaces.
    pub slug: Slug,
    /// Whose days its series are of by default; `Etc/UTC` unless said otherwise.
    #[serde(default, alias = "timeZone")]
    pub time_zone: TimeZone,
}

impl NewWorkspace {
    /// A workspace with a new id, in UTC.
    #[must_use]
    pub fn new(name: WorkspaceName, slug: Slug) -> Self {
        Self { id: WorkspaceId::generate(), name, slug, time_zone: TimeZone::default() }
    }
}

/// What to change of a workspace.
#[derive(Debug, Clone, Default, PartialEq, AsChangeset, serde::Serialize, serde::Deserialize)]
#[diesel(table_name = workspaces)]
#[serde(deny_unknown_fields, default)]
pub struct WorkspaceChanges {
    /// Display name.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub name: Option<WorkspaceName>,
    /// Name in addresses.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub slug: Option<Slug>,
    /// Whose days its series are of by default. What was rolled up by the days of another zone is read
    /// past until [`Database::rezone_rollups`](crate::Database::rezone_rollups) has been there.
    #[serde(
        alias = "timeZone",
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub time_zone: Option<TimeZone>,
}

/// The workspace of a [`TenantConnection`](crate::TenantConnection).
pub struct WorkspaceRepository<'g> {
    conn: &'g mut PgConnection,
    workspace: &'g WorkspaceId,
}

impl TenantConnection {
    /// The workspace itself.
    pub fn workspace(&mut self) -> WorkspaceRepository<'_> {
        let InWorkspace { conn, workspace, .. } = self.parts();
        WorkspaceRepository { conn, workspace }
    }
}

#[expect(clippy::missing_errors_doc, reason = "described once, in the module `repo`")]
impl WorkspaceRepository<'_> {
    /// The workspace, or `None` for an actor who is not in it.
    pub fn find(&mut self) -> Result<Option<Workspace>> {
        counted("workspace.find", if_some, || {
            Ok(workspaces::table
                .filter(workspaces::id.eq(self.workspace))
                .select(Workspace::as_select())
                .first(self.conn)
                .optional()?)
        })
    }

    /// The workspace, or [`NotFound`](crate::Error::NotFound).
    pub fn get(&mut self) -> Result<Workspace> {
        self.find()?.ok_or(crate::Error::not_found(WorkspaceId::ENTITY))
    }

    /// Changes the workspace. For owners and admins; `NotFound` otherwise. `Conflict` when the slug
    /// is taken, by whichever workspace. Without changes, only reads it.
    pub fn update(&mut self, changes: &WorkspaceChanges) -> Result<Workspace> {
        if *changes == WorkspaceChanges::default() {
            return self.find()?.ok_or(Error::not_found(WorkspaceId::ENTITY));
        }
        operation("workspace.update", || {
            let row = diesel::update(workspaces::table)
                .filter(workspaces::id.eq(self.workspace))
                .set(changes)
                .returning(Workspace::as_returning())
                .get_result(self.conn);
            found(row, WorkspaceId::ENTITY)
        })
    }

    /// Changes the display name.
    pub fn rename(&mut self, name: WorkspaceName) -> Result<Workspace> {
        self.update(&WorkspaceChanges { name: Some(name), ..WorkspaceChanges::default() })
    }

    /// Changes the name in addresses.
    pub fn change_slug(&mut self, slug: Slug) -> Result<Workspace> {
        self.update(&WorkspaceChanges { slug: Some(slug), ..WorkspaceChanges::default() })
    }

    /// Changes the zone whose days its series are of by default. What was rolled up by the days of the
    /// zone before stays right, and is read past until
    /// [`Database::rezone_rollups`](crate::Database::rezone_rollups) has been there. `Invalid` where the
    /// server does not know the zone.
    pub fn change_time_zone(&mut self, zone: Zone) -> Result<Workspace> {
        self.update(&WorkspaceChanges {
            time_zone: Some(zone.into()),
            ..WorkspaceChanges::default()
        })
    }

    /// Deletes the workspace for good, with everything in it but its audit log. For owners;
    /// `NotFound` otherwise.
    pub fn delete(&mut self) -> Result<()> {
        operation("workspace.delete", || {
            let rows = diesel::delete(workspaces::table)
                .filter(workspaces::id.eq(self.workspace))
                .execute(self.conn);
            changed(rows, WorkspaceId::ENTITY)
        })
    }
}

/// A workspace with the user's part in it.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct MyWorkspace {
    /// The workspace.
    pub workspace: Workspace,
    /// What the user may do in it.
    pub role: Role,
    /// When the user joined.
    pub joined_at: DateTime<Utc>,
}

/// The workspaces of a [`UserConnection`](crate::UserConnection).
pub struct MyWorkspaceRepository<'g> {
    conn: &'g mut PgConnection,
}

impl UserConnection {
    /// The user's workspaces, and the way to make one.
    pub fn my_workspaces(&mut self) -> MyWorkspaceRepository<'_> {
        MyWorkspaceRepository { conn: self.conn() }
    }
}

#[expect(clippy::missing_errors_doc, reason = "described once, in the module `repo`")]
impl MyWorkspaceRepository<'_> {
    /// One of the user's workspaces.
    pub fn find(&mut self, id: &WorkspaceId) -> Result<Option<MyWorkspace>> {
        counted("my_workspace.find", if_some, || {
            Ok(MyWorkspaces { id: Some(id), ..MyWorkspaces::first() }.all(self.conn)?.pop())
        })
    }

    /// One of the user's workspaces, or [`NotFound`](crate::Error::NotFound).
    pub fn get(&mut self, id: &WorkspaceId) -> Result<MyWorkspace> {
        self.find(id)?.ok_or(crate::Error::not_found(WorkspaceId::ENTITY))
    }

    /// One of the user's workspaces by its name in addresses.
    pub fn find_by_slug(&mut self, slug: &Slug) -> Result<Option<MyWorkspace>> {
        counted("my_workspace.find_by_slug", if_some, || {
            Ok(MyWorkspaces { slug: Some(slug), ..MyWorkspaces::first() }.all(self.conn)?.pop())
        })
    }

    /// The user's workspaces with the role in each, in the order of joining.
    pub fn list(&mut self, page: &PageRequest) -> Result<Page<MyWorkspace>> {
        counted("my_workspace.list", Page::len, || {
            let page = page.of(&["my_workspace"])?;
            let after = page.after().map(|last| (last.key, last.id)).unzip();
            let query = MyWorkspaces { id: None, slug: None, after, limit: page.fetch() };
            let rows = query.all(self.conn)?;
            Ok(page.cut(rows, |mine: &MyWorkspace| {
                (mine.joined_at.into(), mine.workspace.id.as_str())
            }))
        })
    }

    /// In how many workspaces the user is.
    pub fn count(&mut self) -> Result<i64> {
        operation("my_workspace.count", || {
            let count =
                diesel::dsl::sql::<BigInt>("(SELECT count(*) FROM sesari.my_workspaces(NULL))");
            Ok(diesel::select(count).get_result(self.conn)?)
        })
    }

    /// Creates a workspace with the user as its owner. `Conflict` when the slug is taken.
    pub fn create(&mut self, new: &NewWorkspace) -> Result<Workspace> {
        operation("workspace.create", || {
            let membership = MembershipId::generate();
            Ok(CreateWorkspace { new, membership: &membership }.get_result(self.conn)?)
        })
    }
}

type WorkspaceColumns = diesel::dsl::SqlTypeOf<diesel::dsl::AsSelect<Workspace, Pg>>;

struct MyWorkspaces<'a> {
    id: Option<&'a WorkspaceId>,
    slug: Option<&'a Slug>,
    after: (Option<DateTime<Utc>>, Option<&'a str>),
    limit: i64,
}

impl MyWorkspaces<'_> {
    fn first() -> Self {
        Self { id: None, slug: None, after: (None, None), limit: 1 }
    }

    fn all(self, conn: &mut PgConnection) -> Result<Vec<MyWorkspace>> {
        let rows: Vec<(Workspace, Role, DateTime<Utc>)> = self.load(conn)?;
        let mine = |(workspace, role, joined_at)| MyWorkspace { workspace, role, joined_at };
        Ok(rows.into_iter().map(mine).collect())
    }
}

statement!(MyWorkspaces: (WorkspaceColumns, Text, Timestamptz), include_str!("workspaces/mine.sql"), |query| [
    &query.id => Nullable<Text>,
    &query.slug => Nullable<Text>,
    &query.after.0 => Nullable<Timestamptz>,
    &query.after.1 => Nullable<Text>,
    &query.limit => BigInt,
]);

struct CreateWorkspace<'a> {
    new: &'a NewWorkspace,
    membership: &'a MembershipId,
}

statement!(CreateWorkspace: WorkspaceColumns, "SELECT id, name, slug, time_zone, created_at, updated_at FROM sesari.create_workspace($1, $2, \
     $3, $4, $5)", |query| [
    &query.new.id => Text,
    query.membership => Text,
    &query.new.name => Text,
    &query.new.slug => Text,
    &query.new.time_zone => Text,
]);
