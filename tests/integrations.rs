//! Integrations from end to end, on a real server: their life, who may do what, that credentials
//! open in their own place and show nowhere, that workers never take the same one, that a rotation
//! loses nothing, and that what was shredded stays shut.

#![allow(clippy::unwrap_used, reason = "a test's set-up fails loudly")]

#[path = "integrations/access.rs"]
mod access;
#[path = "integrations/canary.rs"]
mod canary;
#[path = "integrations/claims.rs"]
mod claims;
#[path = "integrations/life.rs"]
mod life;
#[path = "integrations/opening.rs"]
mod opening;
#[path = "integrations/rotation.rs"]
mod rotation;
#[path = "integrations/shredding.rs"]
mod shredding;
mod support;
#[path = "integrations/sync.rs"]
mod sync;
#[path = "integrations/tools.rs"]
mod tools;
