//! Sets a database up: runs the migrations and installs the context keys; shown on a throw-away server, twice,
//! as deployments do it. For a database of your own: `sesari migrate`, or these calls in your deployment.

#[macro_use]
#[path = "support/print.rs"]
mod print;

use diesel::Connection;
use sesari_db::tenancy::{ContextKey, ContextKeyRing};
use sesari_db::testing::TestDatabase;
use sesari_db::{PgConnection, maintenance, migrations};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let database = TestDatabase::empty()?;
    // A service reads it from its secret store.
    let keys = ContextKey::generate("demo")?.to_secret_string();
    for run in ["First", "Second"] {
        println!("{run} run:");
        migrate(&database.admin_url(), &keys)?;
    }
    println!(
        "What a service still needs is a login of its own, see \"In production\" in README.md."
    );
    Ok(())
}

/// The login must be a superuser, or have CREATEROLE and own the database. What is done stays done, however
/// often and from however many machines at once.
fn migrate(url: &str, keys: &str) -> Result<(), Box<dyn std::error::Error>> {
    let mut conn = PgConnection::establish(url)?;
    let applied = migrations::run(&mut conn)?;
    println!("  {} of {} migrations were pending", applied.len(), migrations::versions()?.len());
    for key in keys.parse::<ContextKeyRing>()?.keys() {
        maintenance::install_context_key(&mut conn, key)?;
        println!("  context key {} is installed", key.id());
    }
    Ok(())
}
