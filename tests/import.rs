//! Points written in bulk and taken away in bulk: imports from iterators and from CSV, and
//! retention.
#![allow(clippy::unwrap_used, reason = "a test fails loudly")]
#![allow(clippy::float_cmp, reason = "what is stored comes back to the bit")]

mod support;

#[path = "import/csv.rs"]
mod csv;
#[path = "import/exports.rs"]
mod exports;
#[path = "import/extent.rs"]
mod extent;
#[path = "import/iterators.rs"]
mod iterators;
#[path = "import/retention.rs"]
mod retention;
#[path = "import/streams.rs"]
mod streams;
#[path = "import/tools.rs"]
mod tools;
