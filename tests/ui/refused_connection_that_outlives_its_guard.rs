//! A lent connection goes back with its guard.

use sesari_db::PgConnection;
use sesari_db::TenantConnection;

fn keep(mut tenant: TenantConnection) -> &'static mut PgConnection {
    tenant.connection()
}

fn main() {}
