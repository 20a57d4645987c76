//! Multi-tenant PostgreSQL data access for Sesari.

pub mod id;
