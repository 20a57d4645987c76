//! Membership by consent: who may invite, who may answer, what a wrong token tells, and how a user
//! leaves without leaving a workspace without an owner.

#![allow(clippy::unwrap_used, reason = "a test's set-up fails loudly")]

#[path = "invitations/answering.rs"]
mod answering;
#[path = "invitations/departures.rs"]
mod departures;
#[path = "invitations/inviting.rs"]
mod inviting;
#[path = "invitations/races.rs"]
mod races;
mod support;
#[path = "invitations/tools.rs"]
mod tools;
