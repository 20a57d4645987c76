//! A real `PgBouncer` before the server, with the configuration that the documentation gives.
//!
//! Without `PgBouncer` these tests say on standard error that they were skipped; with
//! `SESARI_TEST_PGBOUNCER=required` they fail. `SESARI_LONG=1` runs 100 000 transactions instead of
//! some thousands.
#![allow(clippy::unwrap_used, reason = "a test's set-up fails loudly")]
#![allow(unreachable_pub, reason = "a test binary exports nothing")]

#[path = "pgbouncer/bouncer.rs"]
mod bouncer;
#[path = "pgbouncer/chaos.rs"]
mod chaos;
#[path = "pgbouncer/clients.rs"]
mod clients;
#[path = "support/logins.rs"]
mod logins;
#[path = "pgbouncer/modes.rs"]
mod modes;
#[path = "pgbouncer/replays.rs"]
mod replays;
#[path = "isolation_matrix/signer.rs"]
mod signer;
#[path = "pgbouncer/state.rs"]
mod state;
mod support;
#[path = "pgbouncer/traffic.rs"]
mod traffic;
