//! Sets a database up: runs the migrations and installs the context keys.
//!
//! ```sh
//! export SESARI_CONTEXT_KEYS=$(cargo run --example migrate -- new-key 2026-11)
//! DATABASE_URL=postgres://deployer:...@db.internal/sesari cargo run --example migrate
//! # once no service signs with it any more:
//! DATABASE_URL=postgres://deployer:...@db.internal/sesari cargo run --example migrate -- retire 2026-05
//! # in a schema restored without its data, and so without the record of its migrations:
//! DATABASE_URL=postgres://deployer:...@db.internal/sesari cargo run --example migrate -- record
//! ```
//!
//! The login must be a superuser, or have CREATEROLE and own the database. Run it as often as you
//! like, from as many machines at once: what is done stays done. Without `DATABASE_URL` it shows
//! itself on a throw-away server.

#[macro_use]
#[path = "support/print.rs"]
mod print;

use diesel::prelude::*;
use sesari_db::PgConnection;
use sesari_db::maintenance;
use sesari_db::migrations;
use sesari_db::tenancy::{ContextKey, ContextKeyRing};
use sesari_db::testing::TestDatabase;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["new-key", id] => {
            println!("{}", ContextKey::generate(id)?.to_secret_string());
            Ok(())
        }
        ["record"] => {
            let mut conn = PgConnection::establish(&std::env::var("DATABASE_URL")?)?;
            for version in migrations::record(&mut conn)? {
                println!("recorded {version}");
            }
            Ok(())
        }
        ["retire", id] => {
            let mut conn = PgConnection::establish(&std::env::var("DATABASE_URL")?)?;
            let retired = maintenance::retire_context_key(&mut conn, id)?;
            println!("{id}: {}", if retired { "retired" } else { "was not installed" });
            Ok(())
        }
        [] => match std::env::var("DATABASE_URL") {
            Ok(url) => migrate(&url, std::env::var("SESARI_CONTEXT_KEYS").ok().as_deref()),
            Err(_) => show(),
        },
        _ => Err("expected nothing, `new-key <id>`, `record` or `retire <id>`".into()),
    }
}

fn migrate(url: &str, keys: Option<&str>) -> Outcome {
    let mut conn = PgConnection::establish(url)?;
    let applied = migrations::run(&mut conn)?;
    for version in &applied {
        println!("applied {version}");
    }
    println!("{} of {} migrations were pending", applied.len(), migrations::versions()?.len());
    let Some(keys) = keys else {
        println!("SESARI_CONTEXT_KEYS is not set: no key installed");
        return Ok(());
    };
    for key in keys.parse::<ContextKeyRing>()?.keys() {
        maintenance::install_context_key(&mut conn, key)?;
        println!("context key {} is installed", key.id());
    }
    Ok(())
}

fn show() -> Outcome {
    println!("DATABASE_URL is not set: showing it on a throw-away server.\n");
    let database = TestDatabase::empty()?;
    let key = ContextKey::generate("demo")?;
    for run in ["First run", "Second run"] {
        println!("{run}:");
        migrate(&database.admin_url(), Some(&key.to_secret_string()))?;
        println!();
    }
    println!(
        "What a service still needs is a login of its own, see \"In production\" in README.md."
    );
    Ok(())
}
