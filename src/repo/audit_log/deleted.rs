//! The log of a workspace that is no more.

use super::walk::{self, Source};
use crate::audit::{Checkpoint, Entry, Verdict};
use crate::connection::PgConnection;
use crate::error::Result;
use crate::id::WorkspaceId;
use crate::observe::{counted, operation};
use crate::repo::debug_by_name;
use crate::tenancy::ServiceConnection;

debug_by_name!(DeletedWorkspaceAuditLogRepository);

/// The audit log of a workspace that was deleted, in the service scope: nobody is a member any
/// more who could read it. For a workspace that is there, or never was, everything is `NotFound` or
/// empty.
pub struct DeletedWorkspaceAuditLogRepository<'g> {
    conn: &'g mut PgConnection,
    workspace: &'g WorkspaceId,
}

impl ServiceConnection {
    /// Who changed what in a workspace that was deleted.
    pub fn deleted_workspace_audit_log<'g>(
        &'g mut self,
        workspace: &'g WorkspaceId,
    ) -> DeletedWorkspaceAuditLogRepository<'g> {
        DeletedWorkspaceAuditLogRepository { conn: self.conn(), workspace }
    }
}

#[expect(clippy::missing_errors_doc, reason = "described once, in the module `repo`")]
impl DeletedWorkspaceAuditLogRepository<'_> {
    /// Up to so many entries after the one of this number, 0 for the first, as they are hashed and
    /// in the order of the chain.
    pub fn export(&mut self, after: i64, limit: u16) -> Result<Vec<Entry>> {
        counted("deleted_audit_log.export", Vec::len, || {
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
