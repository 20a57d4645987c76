//! Programs of calls, two worlds to run them in, and what tells the worlds apart.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]

pub mod calls;
pub mod channels;
pub mod counted;
pub mod equal;
pub mod normal;
pub mod program;
pub mod run;
pub mod statements;
pub mod worlds;
