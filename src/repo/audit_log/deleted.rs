//! The log of a workspace that is no more.

use super::walk::{self, Source};
use crate::audit::{Checkpoint, Entry, Verdict};
use crate::connection::PgConnection;
use crate::error::Result;
use crate::id::WorkspaceId;
use crate::observe::operation;
use crate::repo::debug_by_name;

debug_by_name!(DeletedWorkspaceAuditLogRepository);

/// The audit log of a workspace that was deleted, in the service scope: nobody is a member any
/// more who could read it. For a workspace that is there, or never was, everything is `NotFound` or
/// empty.
pub struct DeletedWorkspaceAuditLogRepository<'g> {
    conn: &'g mut PgConnection,
    workspace: &'g WorkspaceId,
}

#[expect(clippy::missing_errors_doc, reason = "described once, in the module `repo`")]
impl<'g> DeletedWorkspaceAuditLogRepository<'g> {
    pub(crate) fn new(conn: &'g mut PgConnection, workspace: &'g WorkspaceId) -> Self {
        Self { conn, workspace }
    }

    /// Up to so many entries after the one of this number, 0 for the first, as they are hashed and
    /// in the order of the chain.
    pub fn export(&mut self, after: i64, limit: u16) -> Result<Vec<Entry>> {
        operation("deleted_audit_log.export", || {
            walk::entries(self.conn, Source::DeletedWorkspace, Some(self.workspace), after, limit)
        })
    }

    /// Where the chain ends.
    pub fn checkpoint(&mut self) -> Result<Checkpoint> {
        operation("deleted_audit_log.checkpoint", || {
            walk::checkpoint(self.conn, Source::DeletedWorkspace, Some(self.workspace))
        })
    }

    /// Checks the chain, see [`AuditLogRepository::verify`](super::AuditLogRepository::verify).
    pub fn verify(&mut self, noted: Option<&Checkpoint>) -> Result<Verdict> {
        operation("deleted_audit_log.verify", || {
            walk::verify(self.conn, Source::DeletedWorkspace, Some(self.workspace), noted)
        })
    }
}
