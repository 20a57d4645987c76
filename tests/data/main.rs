//! What is stored, read, refused and recorded, table by table.

#[path = "../support/mod.rs"]
mod support;

mod audit;
mod concurrency;
mod credentials;
mod errors;
mod idempotency;
mod integrations;
mod invitations;
mod properties;
mod repositories;
mod validation;
