//! Membership by consent: who may invite, who may answer, what a wrong token tells, and how a user
//! leaves without leaving a workspace without an owner.

#![allow(clippy::unwrap_used, reason = "a test's set-up fails loudly")]

mod answering;
mod departures;
mod inviting;
mod races;
mod tools;
