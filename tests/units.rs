//! Units of work: what is run again and what never is, deadlines, fair turns, futures, replicas, probes and
//! the orderly end, on real servers.
#![allow(clippy::unwrap_used, reason = "a test's set-up fails loudly")]

#[path = "units/futures.rs"]
mod futures;
#[path = "failures/proxy.rs"]
#[allow(dead_code, reason = "shared with the tests of failures")]
mod proxy;
#[path = "units/replica.rs"]
mod replica;
#[path = "units/running.rs"]
mod running;
#[path = "failures/server.rs"]
#[allow(dead_code, reason = "shared with the tests of failures")]
mod server;
#[path = "units/sharing.rs"]
mod sharing;
mod support;

use std::time::Duration;

use support::{number, until};

/// Longer than anything here takes, shorter than anybody waits.
const LONG: Duration = Duration::from_secs(20);
