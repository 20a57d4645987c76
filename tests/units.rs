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

use std::time::{Duration, Instant};

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use sesari_db::PgConnection;

/// Longer than anything here takes, shorter than anybody waits.
const LONG: Duration = Duration::from_secs(20);

fn number(conn: &mut PgConnection, query: &str) -> i64 {
    diesel::select(sql::<BigInt>(&format!("({query})"))).get_result(conn).unwrap()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LONG, "{what}: not so");
        std::thread::sleep(Duration::from_millis(10));
    }
}
