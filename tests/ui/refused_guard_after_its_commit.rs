//! A commit consumes the guard.

use sesari_db::id::KpiId;
use sesari_db::{Result, TenantConnection};

fn find(mut tenant: TenantConnection, kpi: &KpiId) -> Result<()> {
    tenant.commit()?;
    tenant.kpis().find(kpi)?;
    Ok(())
}

fn main() {}
