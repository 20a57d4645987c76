#![doc = include_str!("../README.md")]

mod actor;
pub mod audit;
pub mod clock;
pub mod connection;
pub mod credentials;
pub mod database;
pub mod error;
mod hex;
pub mod id;
pub mod idempotency;
pub mod import;
pub mod invitation;
mod isolation;
pub mod json;
pub mod maintenance;
pub mod migrations;
pub mod observe;
pub mod page;
mod point;
pub mod progress;
mod queue;
pub mod repo;
/// The tables, as diesel sees them, for queries of your own. Generated from the database.
#[allow(clippy::doc_markdown, reason = "the text is the database's own comments")]
pub mod schema;
pub mod series;
mod tables;
pub mod tenancy;
#[cfg(feature = "testing")]
pub mod testing;
pub mod value;

pub use chrono;
pub use connection::PgConnection;
#[cfg(feature = "tokio")]
pub use database::AsyncDatabase;
pub use database::{Database, DatabaseBuilder, Scope};
pub use diesel;
pub use error::{Error, Result};
pub use tenancy::{ServiceConnection, TenantConnection, UserConnection};
