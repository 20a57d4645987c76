//! Every repository: the life of its rows, its filters and pages, what its constraints refuse, what
//! goes down with what, and that another tenant's row cannot be told from one that never was.
//!
//! One module for each table. Through the plain logins, on reused connections.
#![allow(clippy::unwrap_used, reason = "a test fails loudly")]
#![allow(clippy::float_cmp, reason = "what is stored comes back to the bit")]

mod audit_log;
mod current_value;
mod data_points;
mod foreign_ids;
mod goal_kpis;
mod goals;
mod integrations;
mod kpi_targets;
mod kpis;
mod lists;
mod me;
mod members;
mod my_workspaces;
mod progress;
mod progress_as_of;
mod raw_sql;
mod subscriptions;
mod tools;
mod unknown_values;
mod users;
mod visited;
mod workspace;
