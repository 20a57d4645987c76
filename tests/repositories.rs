//! Every repository: the life of its rows, its filters and pages, what its constraints refuse, what
//! goes down with what, and that another tenant's row cannot be told from one that never was.
//!
//! One module for each table. Through the plain logins, on reused connections.
#![allow(clippy::unwrap_used, reason = "a test fails loudly")]
#![allow(clippy::float_cmp, reason = "what is stored comes back to the bit")]

#[path = "support/logins.rs"]
mod logins;
mod support;

#[path = "repositories/audit_log.rs"]
mod audit_log;
#[path = "repositories/current_value.rs"]
mod current_value;
#[path = "repositories/data_points.rs"]
mod data_points;
#[path = "repositories/foreign_ids.rs"]
mod foreign_ids;
#[path = "repositories/goal_kpis.rs"]
mod goal_kpis;
#[path = "repositories/goals.rs"]
mod goals;
#[path = "repositories/integrations.rs"]
mod integrations;
#[path = "repositories/kpis.rs"]
mod kpis;
#[path = "repositories/me.rs"]
mod me;
#[path = "repositories/members.rs"]
mod members;
#[path = "repositories/my_workspaces.rs"]
mod my_workspaces;
#[path = "repositories/progress.rs"]
mod progress;
#[path = "repositories/raw_sql.rs"]
mod raw_sql;
#[path = "repositories/subscriptions.rs"]
mod subscriptions;
#[path = "repositories/tools.rs"]
mod tools;
#[path = "repositories/unknown_values.rs"]
mod unknown_values;
#[path = "repositories/users.rs"]
mod users;
#[path = "repositories/visited.rs"]
mod visited;
#[path = "repositories/workspace.rs"]
mod workspace;
