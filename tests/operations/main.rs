//! What runs beside a service: migrations, a pooler, restarts, and the throw-away database for tests.

#[path = "../support/mod.rs"]
mod support;

mod migrations;
mod pgbouncer;
mod server_restart;
mod testing;
