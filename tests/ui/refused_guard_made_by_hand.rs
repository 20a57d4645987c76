//! A guard is begun by the database, which signs its context.

use sesari_db::id::WorkspaceId;
use sesari_db::tenancy::Actor;
use sesari_db::{TenantConnection, UserConnection};

fn new(user: UserConnection, actor: Actor, workspace: WorkspaceId) -> TenantConnection {
    TenantConnection::new(user.transaction, actor, workspace, None)
}

fn main() {}
