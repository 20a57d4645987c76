//! A repository cannot be pointed at a workspace of the caller's choice.

use sesari_db::PgConnection;
use sesari_db::id::WorkspaceId;
use sesari_db::repo::KpiRepository;

fn open<'a>(conn: &'a mut PgConnection, workspace: &'a WorkspaceId) -> KpiRepository<'a> {
    KpiRepository { conn, workspace }
}

fn main() {}
