//! Members by what is known of their users: a search, or in another order than that of joining. Users are
//! no tenant's to read, so that all the workspace's members are looked at.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz};

use super::{Columns, Member, MemberFilter, ProfileColumns};
use crate::connection::PgConnection;
use crate::error::Result;
use crate::id::WorkspaceId;
use crate::page::{ListPage, Place};
use crate::value::{Folded, Role};

/// The members that a filter matches.
pub(super) struct Found<'a> {
    workspace: &'a WorkspaceId,
    role: Option<&'a Role>,
    text: Folded,
    is_descending: bool,
}

impl<'a> Found<'a> {
    pub(super) fn new(workspace: &'a WorkspaceId, filter: &'a MemberFilter) -> Self {
        Self {
            workspace,
            role: filter.role.as_ref(),
            text: Folded::new(filter.name_contains.as_deref().unwrap_or_default()),
            is_descending: filter.order.is_descending(),
        }
    }

    pub(super) fn count(self, conn: &mut PgConnection) -> Result<i64> {
        Ok(Count(self).get_result(conn)?)
    }

    pub(super) fn by_joining(
        self,
        page: ListPage<'_, DateTime<Utc>>,
        conn: &mut PgConnection,
    ) -> Result<Vec<Member>> {
        Listed { found: self, after: After::Joined(page.after()), fetch: page.fetch() }.rows(conn)
    }

    pub(super) fn by_name(
        self,
        page: ListPage<'_, &str>,
        conn: &mut PgConnection,
    ) -> Result<Vec<Member>> {
        Listed { found: self, after: After::Named(page.after()), fetch: page.fetch() }.rows(conn)
    }

    fn walk<'b>(&'b self, pass: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        pass.push_sql(include_str!("found.sql"));
        pass.push_bind_param_value_only::<Text, _>(self.workspace)?;
        pass.push_bind_param_value_only::<Nullable<Text>, _>(&self.role)?;
        pass.push_bind_param_value_only::<Text, _>(&self.text.text)?;
        pass.push_bind_param_value_only::<Text, _>(&self.text.from)?;
        pass.push_bind_param_value_only::<Text, _>(&self.text.to)
    }
}

struct Count<'a>(Found<'a>);

/// Where a page starts, and by what the list is sorted.
enum After<'a> {
    Joined(Option<Place<'a, DateTime<Utc>>>),
    Named(Option<Place<'a, &'a str>>),
}

struct Listed<'a> {
    found: Found<'a>,
    after: After<'a>,
    fetch: i64,
}

impl Listed<'_> {
    fn rows(self, conn: &mut PgConnection) -> Result<Vec<Member>> {
        let rows: Vec<Columns> = self.load(conn)?;
        Ok(rows.into_iter().map(Member::from).collect())
    }
}

/// Kept by the connection by its text, of which there are a few.
macro_rules! by_text {
    ($name:ident: $row:ty) => {
        impl QueryId for $name<'_> {
            type QueryId = ();
            const HAS_STATIC_QUERY_ID: bool = false;
        }

        impl Query for $name<'_> {
            type SqlType = $row;
        }

        impl RunQueryDsl<PgConnection> for $name<'_> {}
    };
}

by_text!(Count: BigInt);
by_text!(Listed: ProfileColumns);

impl QueryFragment<Pg> for Count<'_> {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.0.walk(&mut pass)?;
        pass.push_sql("SELECT count(*) FROM found");
        Ok(())
    }
}

impl QueryFragment<Pg> for Listed<'_> {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.found.walk(&mut pass)?;
        let key = match self.after {
            After::Joined(_) => "joined_at",
            After::Named(_) => "shown_name",
        };
        let (beyond, direction) =
            if self.found.is_descending { ("<", "DESC") } else { (">", "ASC") };
        pass.push_sql(
            "SELECT id, workspace_id, user_id, role, joined_at, email, name, image FROM found",
        );
        let last: Option<&str> = match &self.after {
            After::Joined(last) => last.as_ref().map(|last| last.id),
            After::Named(last) => last.as_ref().map(|last| last.id),
        };
        if let Some(id) = last {
            for part in [" WHERE (", key, ", id) ", beyond, " ("] {
                pass.push_sql(part);
            }
            match &self.after {
                After::Joined(Some(last)) => pass.push_bind_param::<Timestamptz, _>(&last.key)?,
                After::Named(Some(last)) => pass.push_bind_param::<Text, _>(last.key)?,
                After::Joined(None) | After::Named(None) => {}
            }
            pass.push_sql(", ");
            pass.push_bind_param::<Text, _>(id)?;
            pass.push_sql(")");
        }
        for part in [" ORDER BY ", key, " ", direction, ", id ", direction, " LIMIT "] {
            pass.push_sql(part);
        }
        pass.push_bind_param::<BigInt, _>(&self.fetch)
    }
}
