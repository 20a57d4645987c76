//! A repository ends with the guard that it came from.

use sesari_db::id::{UserId, WorkspaceId};
use sesari_db::repo::KpiRepository;
use sesari_db::{Database, Result};

fn keep<'a>(db: &Database, user: &UserId, workspace: &WorkspaceId) -> Result<KpiRepository<'a>> {
    let mut tenant = db.tenant(user, workspace)?;
    Ok(tenant.kpis())
}

fn main() {}
