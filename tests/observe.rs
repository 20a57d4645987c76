//! What a service sees of its database: spans, events and metrics with the right names and numbers,
//! and nothing of what is in the rows.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]
#![allow(unreachable_pub, reason = "a test binary exports nothing")]

#[allow(dead_code, reason = "shared with a test that reads the answers too")]
#[path = "two_worlds/calls.rs"]
mod calls;
#[path = "observe/every.rs"]
mod every;
#[path = "observe/figures.rs"]
mod figures;
#[allow(dead_code, reason = "shared with a test that makes programs of calls")]
#[path = "two_worlds/program.rs"]
mod program;
#[path = "observe/recorder.rs"]
mod recorder;
#[path = "observe/secrecy.rs"]
mod secrecy;
#[path = "observe/spans.rs"]
mod spans;
#[path = "two_worlds/statements.rs"]
mod statements;
mod support;
