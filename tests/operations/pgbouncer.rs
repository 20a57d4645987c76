//! A real `PgBouncer` before the server, with the configuration that the documentation gives.
//!
//! Without `PgBouncer` these tests say on standard error that they were skipped; with
//! `SESARI_TEST_PGBOUNCER=required` they fail. `SESARI_LONG=1` runs 100 000 transactions instead of
//! some thousands.
#![allow(clippy::unwrap_used, reason = "a test's set-up fails loudly")]
#![allow(unreachable_pub, reason = "a test binary exports nothing")]

mod chaos;
mod clients;
mod modes;
mod replays;
mod state;
mod traffic;
