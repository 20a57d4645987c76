//! Every rule for a value stands twice, in a newtype and in a named CHECK: the same inputs get the
//! same verdict from both, and no CHECK is left out.
//!
//! The database's verdict is asked for as its superuser, who passes every policy but no CHECK.
#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

mod support;

#[path = "validation/choices.rs"]
mod choices;
#[path = "validation/completeness.rs"]
mod completeness;
#[path = "validation/corpus.rs"]
mod corpus;
#[path = "validation/database.rs"]
mod database;
#[path = "validation/inputs.rs"]
mod inputs;
#[path = "validation/numbers.rs"]
mod numbers;
#[path = "validation/texts.rs"]
mod texts;
#[path = "validation/times.rs"]
mod times;
