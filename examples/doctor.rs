//! Says whether a database isolates tenants, what breaks it, and what to type; shown on a throw-away server
//! before and after a mistake. For a database of your own: `sesari doctor`, or these two calls in a test of
//! your deployment.

#[macro_use]
#[path = "support/print.rs"]
mod print;

use diesel::connection::SimpleConnection;
use sesari_db::database::{IsolationOptions, IsolationReport};
use sesari_db::testing::TestDatabase;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let database = TestDatabase::new()?;
    // The login is the one that the service uses, not an administrator's. The check writes nothing.
    let check = || IsolationReport::check(&database.tenant_url(), &IsolationOptions::tenant());
    let clean = check()?;
    println!("A new database: {} findings, safe: {}", clean.findings().len(), clean.is_safe());
    println!("Fingerprint: {}", clean.fingerprint());

    let mistake = "ALTER POLICY kpis_tenant_select ON public.kpis USING (true)";
    println!("\nSomebody in a hurry types: {mistake}\n");
    database.admin()?.batch_execute(mistake)?;
    let broken = check()?;
    println!("{broken}");
    println!("\nSafe: {}. No `Database` is built on this.", broken.is_safe());
    println!("\nHardening that an operator can add:");
    for hardening in broken.hardening() {
        println!("- {} ({:?}): {}", hardening.rule, hardening.state, hardening.remedy);
    }
    Ok(())
}
