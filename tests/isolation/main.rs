//! A tenant reaches nobody else's rows, nor learns of them: rules, rights, guards and attacks.

#[path = "../support/access/mod.rs"]
mod access;
#[path = "../support/mod.rs"]
mod support;

mod attacks;
mod catalogue;
mod check;
mod diagnosis;
mod escalation;
mod guards;
mod matrix;
mod revocation;
