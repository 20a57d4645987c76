//! A guard as it is meant to be used.

use sesari_db::page::PageRequest;
use sesari_db::repo::{GoalFilter, NewKpi};
use sesari_db::{Database, Result, TenantConnection};

fn use_it(mut tenant: TenantConnection, new: &NewKpi) -> Result<()> {
    let kpi = tenant.kpis().create(new)?;
    tenant.transaction(|tenant| {
        tenant.goals().list(&GoalFilter::default(), &PageRequest::default())
    })?;
    tenant.kpis().find(&kpi.id)?;
    tenant.commit()
}

/// The pool is what threads share.
fn shared<T: Send + Sync + Clone + 'static>() {}

fn share_it() {
    shared::<Database>();
}
