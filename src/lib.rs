//! Multi-tenant PostgreSQL data access for Sesari.

pub mod id;
#[cfg(feature = "testing")]
pub mod testing;
