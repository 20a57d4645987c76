//! `audit_log`: who changed what. Written by the database's triggers, in the transaction of the
//! change; read and verified here, and what no trigger sees is appended.

mod deleted;
mod own;
mod refusals;
pub(crate) mod walk;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::deserialize::{FromSql, FromSqlRow};
use diesel::pg::{Pg, PgValue};
use diesel::prelude::*;
use diesel::sql_types::{Jsonb, Text};

pub use deleted::DeletedWorkspaceAuditLogRepository;
pub use own::NewAuditEntry;
pub use refusals::{Refusal, RefusalRepository};

use self::walk::Source;
use super::{debug_by_name, page_of};
use crate::audit::{Checkpoint, Entry, Verdict};
use crate::connection::PgConnection;
use crate::error::Result;
use crate::id::{AuditEntryId, ParseIdError, WorkspaceId};
use crate::observe::{counted, operation};
use crate::page::{Page, PageRequest};
use crate::schema::audit_log;
use crate::tenancy::{InWorkspace, ServiceConnection, TenantConnection};
use crate::value::{ActorKind, ScopeKind, Timestamp};

debug_by_name!(AuditLogRepository);

/// An entry.
///
/// | actions | of |
/// |---|---|
/// | `workspace.create`, `workspace.update`, `workspace.delete`, `workspace.shred_credentials` | the workspace |
/// | `member.add`, `member.change_role`, `member.remove` | memberships |
/// | `kpi.purge`, `goal.purge`, `data_points.delete` | what is gone for good |
/// | `integration.create`, `integration.update`, `integration.delete`, `integration.read_credentials`, `integration.reseal` | integrations |
/// | `subscription.create`, `subscription.update`, `subscription.delete` | subscriptions, in the log of no workspace |
/// | `context_key.install`, `context_key.retire` | the keys of the context, by their ids; in the log of no workspace |
/// | `access.refuse` | what was tried and refused, see [`Refusal`] |
/// | `app.…` | what a service of your own has [appended](AuditLogRepository::append) |
/// | `audit_log.prune` | the log itself, see [`prune_audit_log`](crate::maintenance::prune_audit_log) |
///
/// What goes down with its workspace, or with its KPI, has no entry of its own. A transaction's
/// entries show once it has committed.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, serde::Serialize, serde::Deserialize)]
#[diesel(table_name = audit_log, check_for_backend(Pg))]
#[non_exhaustive]
pub struct AuditEntry {
    /// Its id.
    pub id: AuditEntryId,
    /// The workspace, or `None` for what belongs to none, such as a subscription.
    #[diesel(deserialize_as = StoredWorkspace)]
    pub workspace_id: Option<WorkspaceId>,
    /// Its place in the workspace's chain, from 1, without gaps.
    pub sequence: i64,
    /// When the change was committed. Rises with the sequence.
    pub occurred_at: DateTime<Utc>,
    /// What made the change.
    pub actor_kind: ActorKind,
    /// User id, service name, or database login.
    pub actor_id: String,
    /// The scope it was made in.
    pub scope: ScopeKind,
    /// What happened: one of the actions above.
    pub action: String,
    /// Table of the row.
    pub table_name: String,
    /// Id of the row; for deleted points, of their KPI.
    pub row_id: String,
    /// Each changed column with `old` and `new`; a secret one with neither, and null left out. For
    /// deleted points their number and the first and last time, `points`, `from` and `to`. For an
    /// action of your own, its details. What no [`Value`](serde_json::Value) can hold, such as a number
    /// beyond `f64` from a table of your own, is the JSON's text, as a string.
    #[diesel(deserialize_as = StoredChanges)]
    pub changes: serde_json::Value,
    /// The server's number of the transaction. All entries of one have the same.
    pub transaction_id: i64,
}

/// The JSON of the database may hold what [`serde_json`] refuses: one such entry must not hide the
/// others of its page.
#[derive(Debug, FromSqlRow)]
#[allow(unreachable_pub, reason = "in the bounds of a public row, and nowhere else")]
pub struct StoredChanges(serde_json::Value);

impl FromSql<Jsonb, Pg> for StoredChanges {
    fn from_sql(value: PgValue<'_>) -> diesel::deserialize::Result<Self> {
        let [1, text @ ..] = value.as_bytes() else {
            return Err("expected version 1 of jsonb".into());
        };
        let text = std::str::from_utf8(text)?;
        let read = serde_json::from_str(text);
        Ok(Self(read.unwrap_or_else(|_| serde_json::Value::String(text.to_owned()))))
    }
}

impl From<StoredChanges> for serde_json::Value {
    fn from(stored: StoredChanges) -> Self {
        stored.0
    }
}

/// The workspace as it is stored: empty for none.
#[derive(Debug, FromSqlRow)]
#[allow(unreachable_pub, reason = "in the bounds of a public row, and nowhere else")]
pub struct StoredWorkspace(String);

impl FromSql<Text, Pg> for StoredWorkspace {
    fn from_sql(value: PgValue<'_>) -> diesel::deserialize::Result<Self> {
        <String as FromSql<Text, Pg>>::from_sql(value).map(Self)
    }
}

impl TryFrom<StoredWorkspace> for Option<WorkspaceId> {
    type Error = ParseIdError;

    fn try_from(stored: StoredWorkspace) -> Result<Self, ParseIdError> {
        if stored.0.is_empty() { Ok(None) } else { stored.0.parse().map(Some) }
    }
}

/// Which entries to list.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditFilter {
    /// Only of this action.
    pub action: Option<String>,
    /// Only by this user, service or login.
    #[serde(alias = "actorId")]
    pub actor_id: Option<String>,
    /// Only about this row.
    #[serde(alias = "rowId")]
    pub row_id: Option<String>,
    /// Only at this moment or later, in the years 1 to 9999. To the microsecond, as the log counts.
    pub from: Option<DateTime<Utc>>,
    /// Only before this moment, in the years 1 to 9999. To the microsecond.
    pub before: Option<DateTime<Utc>>,
}

/// The audit log of a workspace, empty for anybody but owners and admins; or, in the service scope,
/// of what belongs to no workspace.
pub struct AuditLogRepository<'g> {
    conn: &'g mut PgConnection,
    workspace: Option<&'g WorkspaceId>,
    scope: &'g str,
}

impl ServiceConnection {
    /// Who changed what of that which belongs to no workspace: subscriptions, keys of the context.
    pub fn audit_log(&mut self) -> AuditLogRepository<'_> {
        AuditLogRepository::new(self.conn(), None)
    }
}

impl TenantConnection {
    /// Who changed what. Shows entries to owners and admins.
    pub fn audit_log(&mut self) -> AuditLogRepository<'_> {
        let InWorkspace { conn, workspace, .. } = self.parts();
        AuditLogRepository::new(conn, Some(workspace))
    }
}

#[expect(clippy::missing_errors_doc, reason = "described once, in the module `repo`")]
impl<'g> AuditLogRepository<'g> {
    pub(crate) fn new(conn: &'g mut PgConnection, workspace: Option<&'g WorkspaceId>) -> Self {
        Self { conn, workspace, scope: workspace.map_or("", WorkspaceId::as_str) }
    }

    fn matching<'q>(&self, filter: &'q AuditFilter) -> Result<audit_log::BoxedQuery<'q, Pg>>
    where
        'g: 'q,
    {
        let mut query =
            audit_log::table.filter(audit_log::workspace_id.eq(self.scope)).into_boxed();
        if let Some(action) = &filter.action {
            query = query.filter(audit_log::action.eq(action));
        }
        if let Some(actor) = &filter.actor_id {
            query = query.filter(audit_log::actor_id.eq(actor));
        }
        if let Some(row) = &filter.row_id {
            query = query.filter(audit_log::row_id.eq(row));
        }
        for moment in [filter.from, filter.before].into_iter().flatten() {
            Timestamp::new(moment)?;
        }
        if let Some(from) = filter.from {
            query = query.filter(audit_log::occurred_at.ge(from));
        }
        if let Some(before) = filter.before {
            query = query.filter(audit_log::occurred_at.lt(before));
        }
        Ok(query)
    }

    /// Entries, newest first. A page that has been read stays as it is when entries are added.
    pub fn list(&mut self, filter: &AuditFilter, page: &PageRequest) -> Result<Page<AuditEntry>> {
        counted("audit_log.list", Page::len, || {
            let page = page.of(&["audit_entry", self.scope])?;
            let query = self.matching(filter)?;
            let query = page_of!(descending: query, page, audit_log::occurred_at, audit_log::id);
            let rows = query.select(AuditEntry::as_select()).load(self.conn)?;
            Ok(page.cut(rows, |entry: &AuditEntry| (entry.occurred_at.into(), entry.id.as_str())))
        })
    }

    /// How many entries match.
    pub fn count(&mut self, filter: &AuditFilter) -> Result<i64> {
        operation("audit_log.count", || Ok(self.matching(filter)?.count().get_result(self.conn)?))
    }

    /// The moment up to which the log is settled: what [`list`](Self::list) finds before it never
    /// changes again, but for what is pruned. `None` while there are no entries.
    ///
    /// It is the moment after the newest entry. Entries become visible in the order of their times,
    /// so none that is still on its way can come before one that is there. `NotFound` for whoever
    /// may not read the log.
    pub fn settled_before(&mut self) -> Result<Option<DateTime<Utc>>> {
        let newest = self.checkpoint()?.occurred_at();
        Ok(newest.map(|newest| newest + TimeDelta::microseconds(1)))
    }

    /// Up to so many entries after the one of this number, 0 for the first, as they are hashed and
    /// in the order of the chain: what it takes to verify it elsewhere, by
    /// [`Chain`](crate::audit::Chain) or by another implementation.
    pub fn export(&mut self, after: i64, limit: u16) -> Result<Vec<Entry>> {
        counted("audit_log.export", Vec::len, || {
            walk::entries(self.conn, Source::Table, self.workspace, after, limit)
        })
    }

    /// Where the chain ends now, to be kept elsewhere. `NotFound` for whoever may not read the log.
    ///
    /// This is what the database says: [`verify`](Self::verify) returns one that has been checked.
    pub fn checkpoint(&mut self) -> Result<Checkpoint> {
        operation("audit_log.checkpoint", || {
            walk::checkpoint(self.conn, Source::Table, self.workspace)
        })
    }

    /// Checks every entry against its hash and the one before, the end of the chain against where
    /// it is recorded to end, and all of it against a checkpoint that was kept elsewhere.
    ///
    /// Reads the whole log, a thousand entries at a time, one statement for each thousand. Without
    /// a checkpoint it does not find what whoever administers the database can do: write the tail
    /// of the chain anew, with fitting hashes, and its recorded end with it. `NotFound` for whoever
    /// may not read the log, `Invalid` for a checkpoint of another log.
    pub fn verify(&mut self, noted: Option<&Checkpoint>) -> Result<Verdict> {
        operation("audit_log.verify", || {
            walk::verify(self.conn, Source::Table, self.workspace, noted)
        })
    }
}
