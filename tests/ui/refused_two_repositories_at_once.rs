//! One guard is one connection, and one connection runs one query at a time.

use sesari_db::id::{GoalId, KpiId};
use sesari_db::{Result, TenantConnection};

fn find(tenant: &mut TenantConnection, kpi: &KpiId, goal: &GoalId) -> Result<()> {
    let mut kpis = tenant.kpis();
    let mut goals = tenant.goals();
    kpis.find(kpi)?;
    goals.find(goal)?;
    Ok(())
}

fn main() {}
