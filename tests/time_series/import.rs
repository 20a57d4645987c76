//! Points written in bulk and taken away in bulk: imports from iterators and from CSV, and
//! retention.
#![allow(clippy::unwrap_used, reason = "a test fails loudly")]
#![allow(clippy::float_cmp, reason = "what is stored comes back to the bit")]

mod csv;
mod exports;
mod extent;
mod iterators;
mod retention;
mod streams;
mod tools;
