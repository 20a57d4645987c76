//! Units of work: what is run again and what never is, deadlines, fair turns, futures, replicas, probes and
//! the orderly end, on real servers.
#![allow(clippy::unwrap_used, reason = "a test's set-up fails loudly")]

mod futures;
mod replica;
mod running;
mod sharing;
mod upkeep;

use std::time::Duration;

use crate::support::{number, until};

/// Longer than anything here takes, shorter than anybody waits.
const LONG: Duration = Duration::from_secs(20);
