//! Integrations from end to end, on a real server: their life, who may do what, that credentials
//! open in their own place and show nowhere, that workers never take the same one, that a rotation
//! loses nothing, and that what was shredded stays shut.

#![allow(clippy::unwrap_used, reason = "a test's set-up fails loudly")]

mod access;
mod canary;
mod claims;
mod life;
mod opening;
mod rotation;
mod shredding;
mod sync;
mod tools;
