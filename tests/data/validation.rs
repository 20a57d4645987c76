//! Every rule for a value stands twice, in a newtype and in a named CHECK: the same inputs get the
//! same verdict from both, and no CHECK is left out.
//!
//! The database's verdict is asked for as its superuser, who passes every policy but no CHECK.
#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

mod choices;
mod completeness;
mod corpus;
mod database;
mod inputs;
mod numbers;
mod own_ids;
mod texts;
mod times;
