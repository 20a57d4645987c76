//! The id of a KPI is not that of a goal.

use sesari_db::id::KpiId;
use sesari_db::{Result, TenantConnection};

fn find(tenant: &mut TenantConnection, kpi: &KpiId) -> Result<()> {
    tenant.goals().find(kpi)?;
    Ok(())
}

fn main() {}
