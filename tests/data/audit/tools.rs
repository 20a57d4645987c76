//! A world with a history, and somebody who meddles with it.

use sesari_db::audit::{Checkpoint, Entry, Verdict};
use sesari_db::id::WorkspaceId;
use sesari_db::page::PageRequest;
use sesari_db::repo::{AuditEntry, AuditFilter};
use sesari_db::{ServiceConnection, TenantConnection};

use crate::support::{World, service};

impl World {
    /// With more entries in `a`'s log.
    pub(crate) fn with_history(renames: usize) -> Self {
        let world = Self::new();
        for i in 0..renames {
            world.rename(&format!("Name {i}"));
        }
        world
    }

    pub(crate) fn owner(&self) -> TenantConnection {
        self.db.tenant(&self.a.owner, &self.a.workspace).unwrap()
    }

    pub(crate) fn service(&self) -> ServiceConnection {
        self.db.service(&service()).unwrap()
    }

    /// Writes one entry.
    pub(crate) fn rename(&self, name: &str) {
        let mut tenant = self.owner();
        tenant.workspace().rename(name.parse().unwrap()).unwrap();
        tenant.commit().unwrap();
    }

    pub(crate) fn verify(&self, noted: Option<&Checkpoint>) -> Verdict {
        self.owner().audit_log().verify(noted).unwrap()
    }

    pub(crate) fn checkpoint(&self) -> Checkpoint {
        self.owner().audit_log().checkpoint().unwrap()
    }

    pub(crate) fn export(&self) -> Vec<Entry> {
        self.owner().audit_log().export(0, 1000).unwrap()
    }

    pub(crate) fn list(&self, filter: &AuditFilter) -> Vec<AuditEntry> {
        self.owner().audit_log().list(filter, &PageRequest::first(1000).unwrap()).unwrap().items
    }

    pub(crate) fn entries(&self, action: &str) -> Vec<AuditEntry> {
        self.list(&AuditFilter { action: Some(action.to_owned()), ..AuditFilter::default() })
    }

    /// Runs SQL as the superuser who has switched off all triggers. `{ws}` is `a`'s workspace.
    pub(crate) fn tamper(&self, sql: &str) {
        let sql = sql.replace("{ws}", self.a.workspace.as_str());
        self.arrange(&format!("SET session_replication_role = replica; {sql}"));
    }

    /// The log of no workspace.
    pub(crate) fn unowned(&self, action: &str) -> Vec<AuditEntry> {
        let filter = AuditFilter { action: Some(action.to_owned()), ..AuditFilter::default() };
        let page = PageRequest::first(1000).unwrap();
        self.service().audit_log().list(&filter, &page).unwrap().items
    }

    pub(crate) fn deleted(&self, workspace: &WorkspaceId) -> Result<Verdict, sesari_db::Error> {
        self.service().deleted_workspace_audit_log(workspace).verify(None)
    }
}
