//! Time series: the pure part against independent ways to find the same, and the repository
//! against a recomputation that walks the points.
//!
//! `SESARI_LONG=1` walks every change of every zone since 1840, and multiplies the random cases by
//! twenty.
#![allow(clippy::unwrap_used, reason = "a helper that cannot do its work fails the test")]
#![allow(clippy::float_cmp, reason = "where figures are compared, they must be equal to the bit")]

mod grids;
mod reading;
mod shapes;
mod zones;

use chrono::{DateTime, Utc};
use proptest::prelude::ProptestConfig;
use sesari_db::repo::TimeRange;
use sesari_db::value::Timestamp;

fn at(text: &str) -> Timestamp {
    Timestamp::new(text.parse::<DateTime<Utc>>().unwrap()).unwrap()
}

fn range(from: &str, to: &str) -> TimeRange {
    TimeRange::new(at(from), at(to)).unwrap()
}

fn long() -> bool {
    std::env::var_os("SESARI_LONG").is_some()
}

/// No file of seeds in the source tree: a case worth keeping is worth a test of its own.
fn config(cases: u32) -> ProptestConfig {
    let cases = if long() { cases * 20 } else { cases };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}
