//! `audit_log`: who changed what. Written by the database's triggers, in the transaction of the
//! change; read here.

use chrono::{DateTime, Utc};
use diesel::pg::{Pg, PgConnection};
use diesel::prelude::*;

use crate::error::Result;
use crate::id::{AuditEntryId, WorkspaceId};
use crate::page::{Page, Paged};
use crate::schema::audit_log;
use crate::value::Timestamp;

/// An entry.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, serde::Serialize, serde::Deserialize)]
#[diesel(table_name = audit_log, check_for_backend(Pg))]
pub struct AuditEntry {
    /// Its id.
    pub id: AuditEntryId,
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// `user`, `service`, or `system` for a change made without a context.
    pub actor_kind: String,
    /// User id, service name, or database login.
    pub actor_id: String,
    /// What happened, such as `member.add`.
    pub action: String,
    /// Table of the row.
    pub table_name: String,
    /// Id of the row.
    pub row_id: String,
    /// Each changed column with `old` and `new`; a secret one with neither, and null left out.
    pub changes: serde_json::Value,
    /// When the change was made.
    pub occurred_at: DateTime<Utc>,
}

/// Which entries to list.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct AuditFilter {
    /// Only of this action.
    pub action: Option<String>,
    /// Only by this user, service or login.
    pub actor_id: Option<String>,
    /// Only about this row.
    pub row_id: Option<String>,
    /// Only at this moment or later.
    pub from: Option<Timestamp>,
    /// Only before this moment.
    pub before: Option<Timestamp>,
}

/// The audit log of a workspace. Empty for anybody but owners and admins.
pub struct AuditLogRepository<'g> {
    conn: &'g mut PgConnection,
    workspace: &'g WorkspaceId,
}

#[expect(clippy::missing_errors_doc, reason = "described once, in the module `repo`")]
impl<'g> AuditLogRepository<'g> {
    pub(crate) fn new(conn: &'g mut PgConnection, workspace: &'g WorkspaceId) -> Self {
        Self { conn, workspace }
    }

    fn matching<'q>(&self, filter: &'q AuditFilter) -> audit_log::BoxedQuery<'q, Pg>
    where
        'g: 'q,
    {
        let mut query =
            audit_log::table.filter(audit_log::workspace_id.eq(self.workspace)).into_boxed();
        if let Some(action) = &filter.action {
            query = query.filter(audit_log::action.eq(action));
        }
        if let Some(actor) = &filter.actor_id {
            query = query.filter(audit_log::actor_id.eq(actor));
        }
        if let Some(row) = &filter.row_id {
            query = query.filter(audit_log::row_id.eq(row));
        }
        if let Some(from) = filter.from {
            query = query.filter(audit_log::occurred_at.ge(from));
        }
        if let Some(before) = filter.before {
            query = query.filter(audit_log::occurred_at.lt(before));
        }
        query
    }

    /// Entries, newest first. A page that has been read stays as it is when entries are added.
    pub fn list(&mut self, filter: &AuditFilter, page: &Page) -> Result<Paged<AuditEntry>> {
        let mut query = self.matching(filter);
        if let Some(cursor) = page.cursor() {
            query = query
                .filter(audit_log::occurred_at.le(cursor.at))
                .filter(audit_log::occurred_at.lt(cursor.at).or(audit_log::id.lt(&cursor.id)));
        }
        let rows = query
            .order((audit_log::occurred_at.desc(), audit_log::id.desc()))
            .limit(page.fetch())
            .select(AuditEntry::as_select())
            .load(self.conn)?;
        Ok(page.cut(rows, |entry: &AuditEntry| (entry.occurred_at, entry.id.as_str())))
    }

    /// How many entries match.
    pub fn count(&mut self, filter: &AuditFilter) -> Result<i64> {
        Ok(self.matching(filter).count().get_result(self.conn)?)
    }
}
