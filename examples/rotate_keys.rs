//! Moves every sealed credential to a new key while the service goes on.
//!
//! ```sh
//! cargo run --example rotate_keys
//! ```
//!
//! Makes a throw-away database with a few workspaces and their integrations, seals under a first
//! key, rotates to a second, and shows that the first can be retired.

#[macro_use]
#[path = "support/print.rs"]
mod print;

use std::io::Write as _;

use sesari_db::Database;
use sesari_db::credentials::{SealingKey, SealingKeyRing, Secret};
use sesari_db::id::{IntegrationId, UserId, WorkspaceId};
use sesari_db::repo::{NewIntegration, NewUser, NewWorkspace};
use sesari_db::tenancy::ServiceName;
use sesari_db::testing::TestDatabase;
use sesari_db::value::{AuthProvider, IntegrationProvider};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const WORKSPACES: usize = 8;
const INTEGRATIONS: usize = 25;

fn main() -> Outcome<()> {
    let server = TestDatabase::new()?;
    let keeper: ServiceName = "key-keeper".parse()?;
    // As a secret store keeps them: `<id>:<base64>`.
    let old = SealingKey::generate("2026-05".parse()?)?.to_secret();
    let new = SealingKey::generate("2026-11".parse()?)?.to_secret();

    let db = server.builder().sealing_keys(ring(&[&old])?).build()?;
    println!("Sealing {WORKSPACES} x {INTEGRATIONS} credentials under the key 2026-05 ...");
    let (user, workspace, integration) = furnish(&db)?;
    show_usage(&db, &keeper)?;

    // The new key seals, the old one still opens: roll this out to every service first.
    let db = server.builder().sealing_keys(ring(&[&new, &old])?).build()?;
    println!("\nRotating to 2026-11, 10 envelopes a transaction:");
    let all = WORKSPACES * INTEGRATIONS;
    let done = db.rotate_sealing_key(&keeper, 10, |rotation| {
        let full = 40 * rotation.moved / all;
        let bar = format!("{}{}", "█".repeat(full), "░".repeat(40 - full));
        print!("\r{bar} {:>3} of {all}", rotation.moved);
        // A bar that cannot be drawn is no reason to stop.
        let _ = std::io::stdout().flush();
    })?;
    println!(
        "\n{} workspaces done, {} envelopes that do not open",
        done.workspaces,
        done.refused.len()
    );
    show_usage(&db, &keeper)?;

    // 2026-05 is in use no more. A service without it opens everything.
    let db = server.builder().sealing_keys(ring(&[&new])?).build()?;
    let mut tenant = db.tenant(&user, &workspace)?;
    let secret = tenant.integrations().credentials(&integration)?;
    tenant.commit()?;
    println!(
        "\nWithout the old key, one of them opens: {} bytes, shown as {secret:?}",
        secret.expose().len()
    );
    println!("\nNext: docs/credentials.md for what sealing protects from.");
    Ok(())
}

fn ring(keys: &[&Secret]) -> Outcome<SealingKeyRing> {
    let keys = keys.iter().map(|key| std::str::from_utf8(key.expose()));
    Ok(keys.collect::<Result<Vec<_>, _>>()?.join(",").parse()?)
}

fn furnish(db: &Database) -> Outcome<(UserId, WorkspaceId, IntegrationId)> {
    let mut service = db.service(&"sign-in".parse()?)?;
    let account = NewUser::new("ada@example.com".parse()?, AuthProvider::Google, "ada".parse()?);
    let user = service.users().sign_in(&account)?.id;
    service.commit()?;
    let mut one = None;
    for i in 0..WORKSPACES {
        let new = NewWorkspace::new(format!("Workspace {i}").parse()?, format!("w-{i}").parse()?);
        let mut guard = db.user(&user)?;
        let workspace = guard.my_workspaces().create(&new)?.id;
        guard.commit()?;
        let mut tenant = db.tenant(&user, &workspace)?;
        for j in 0..INTEGRATIONS {
            let new = NewIntegration::new(IntegrationProvider::Stripe);
            let secret = Secret::from(format!("sk_test_{i}_{j}"));
            tenant.integrations().create(&new, &secret)?;
            one.get_or_insert((user.clone(), workspace.clone(), new.id));
        }
        tenant.commit()?;
    }
    one.ok_or_else(|| "no integration".into())
}

fn show_usage(db: &Database, keeper: &ServiceName) -> Outcome<()> {
    let mut service = db.service_read_only(keeper)?;
    for usage in service.integration_queue().key_usage()? {
        println!("key {} holds {} envelopes shut", usage.key_id, usage.envelopes);
    }
    Ok(())
}
