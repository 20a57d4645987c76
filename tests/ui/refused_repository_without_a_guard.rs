//! A repository comes from a guard, and from nowhere else.

use sesari_db::PgConnection;
use sesari_db::id::WorkspaceId;
use sesari_db::repo::KpiRepository;

fn open(conn: &mut PgConnection, workspace: &WorkspaceId) {
    let _ = KpiRepository { conn, workspace };
}

fn main() {}
