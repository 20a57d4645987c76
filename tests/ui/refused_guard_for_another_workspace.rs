//! A guard keeps the workspace that it was begun for.

use sesari_db::TenantConnection;
use sesari_db::id::WorkspaceId;

fn other(guard: TenantConnection, workspace: WorkspaceId) -> TenantConnection {
    TenantConnection { workspace, ..guard }
}

fn main() {}
