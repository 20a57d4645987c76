//! The isolation contract: who may see what, who enforces it, and how a caller gets in.
//!
//! # Three pools
//! | guard | who | sees |
//! |---|---|---|
//! | [`TenantConnection`] | a user, or a named background service, inside one workspace | that workspace's rows |
//! | [`UserConnection`] | a signed-in user with no workspace chosen | their own user row, memberships, workspaces and subscription |
//! | [`ServiceConnection`] | sign-in, billing webhooks, jobs | users and subscriptions, and nothing of a tenant |
//!
//! A guard owns one transaction. Repositories are methods of a guard, so a query outside of one
//! does not compile.
//!
//! # Two walls
//! The repositories filter on the workspace themselves, for clear errors and good plans. Behind
//! them PostgreSQL's row-level security compares every row's workspace with the one of the signed
//! context, and has the last word: a forgotten filter, a caller's own SQL and text injected into
//! it meet the same wall. Every isolation test tries that wall alone.
//!
//! # The context
//! Each transaction begins together with its first statement, and between the two sets
//! `sesari.context`, a line signed with a key that the database verifies and never gives out. It
//! names the actor, the workspace, the moment and the backend. SQL in a tenant's statement can set
//! another context, and can only lock itself out: without the key it cannot make one, a captured
//! one is bound to another backend and to the seconds in which it was issued, and a member who was
//! removed is nobody from the next statement on.
//!
//! # What a connection keeps
//! The context is set for the transaction alone and ends with it. The database role and the limits
//! are the session's, made as it opens, or the transaction's behind a transaction pooler. A connection that was lent
//! to the caller ([`TenantConnection::connection`]) is in addition stripped of session settings,
//! prepared statements, cursors, listeners, advisory locks and temporary tables, in the message
//! that ends the transaction, and given role and limits anew. One of which anything is in doubt is closed.
//!
//! Guarded by `tests/isolation/matrix.rs`, `tests/connections/pool.rs` and `tests/isolation/attacks.rs`.

pub(crate) mod context;
mod service;
pub(crate) mod session;
mod tenant;
pub(crate) mod transaction;
mod user;
#[cfg(feature = "tokio")]
pub(crate) mod watch;

pub use context::{Actor, ContextKey, ContextKeyRing, ServiceName};
pub use service::ServiceConnection;
pub use tenant::{MemberRole, TenantConnection};
pub use user::UserConnection;
