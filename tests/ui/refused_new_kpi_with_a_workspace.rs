//! Nobody says which workspace a new row belongs to: the guard knows.

use sesari_db::id::WorkspaceId;
use sesari_db::repo::NewKpi;
use sesari_db::value::KpiName;

fn new(name: KpiName, workspace_id: WorkspaceId) -> NewKpi {
    NewKpi { workspace_id, ..NewKpi::new(name) }
}

fn main() {}
