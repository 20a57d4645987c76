//! A guard that nobody holds rolls back at once, and says so.
#![deny(unused_must_use)]

use sesari_db::id::{UserId, WorkspaceId};
use sesari_db::{Database, TenantConnection};

fn begin(db: &Database, user: &UserId, workspace: &WorkspaceId) -> TenantConnection {
    db.tenant(user, workspace).unwrap();
    db.tenant(user, workspace).unwrap()
}

fn commit(tenant: TenantConnection) {
    tenant.commit();
}

fn main() {}
