//! How the crate speaks to a server, and how units of work share its connections.

#[path = "../support/mod.rs"]
mod support;

mod connecting;
mod flights;
mod pool;
mod round_trips;
mod units;
