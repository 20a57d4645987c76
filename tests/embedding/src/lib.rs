//! Invoices of a workspace, kept beside its KPIs.

use diesel::prelude::*;
use sesari_db::error::AsError;
use sesari_db::id::{KpiId, UserId, WorkspaceId};
use sesari_db::schema::kpis;
use sesari_db::{Database, Scope, TenantConnection};

/// This service's migrations, recorded in its own ledger.
pub const MIGRATIONS: diesel_migrations::EmbeddedMigrations =
    diesel_migrations::embed_migrations!();

diesel::table! {
    invoices (workspace_id, number) {
        workspace_id -> Text,
        number -> Integer,
        kpi_id -> Text,
        cents -> BigInt,
        issued_at -> Timestamptz,
    }
}
// What `diesel::allow_tables_to_appear_in_same_query!` does for two tables of one crate.
impl diesel::query_source::TableNotEqual<kpis::table> for invoices::table {}
impl diesel::query_source::TableNotEqual<invoices::table> for kpis::table {}

/// What this service's callers get to see.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing there, or not theirs.
    #[error("no such KPI or invoice")]
    NotFound,
    /// Anything else.
    #[error(transparent)]
    Database(sesari_db::Error),
}

impl From<sesari_db::Error> for Error {
    fn from(error: sesari_db::Error) -> Self {
        if error.is_not_found() { Self::NotFound } else { Self::Database(error) }
    }
}

impl From<diesel::result::Error> for Error {
    fn from(error: diesel::result::Error) -> Self {
        sesari_db::Error::from(error).into()
    }
}

/// By which a unit of work knows what may be run again.
impl AsError for Error {
    fn as_error(&self) -> Option<&sesari_db::Error> {
        match self {
            Self::Database(error) => Some(error),
            Self::NotFound => None,
        }
    }
}

/// An invoice with the name of its KPI.
#[derive(Debug, PartialEq, Eq, Queryable)]
pub struct Invoice {
    pub number: i32,
    pub kpi: String,
    pub cents: i64,
}

/// Writes an invoice, in the caller's transaction.
pub fn issue(
    tenant: &mut TenantConnection,
    number: i32,
    kpi: &KpiId,
    cents: i64,
) -> Result<(), Error> {
    // The workspace is the context's by default.
    diesel::insert_into(invoices::table)
        .values((invoices::number.eq(number), invoices::kpi_id.eq(kpi), invoices::cents.eq(cents)))
        .execute(tenant.connection())?;
    Ok(())
}

/// Writes an invoice with the next number, in a unit of work: who comes second at the same moment takes
/// the number after.
pub fn issue_next(
    db: &Database,
    user: &UserId,
    workspace: &WorkspaceId,
    kpi: &KpiId,
    cents: i64,
) -> Result<i32, Error> {
    db.try_run("invoice.issue", Scope::tenant(user, workspace), |tenant| {
        let newest = invoices::table
            .filter(invoices::workspace_id.eq(workspace))
            .select(diesel::dsl::max(invoices::number))
            .first::<Option<i32>>(tenant.connection())?;
        let number = newest.unwrap_or(0) + 1;
        match issue(tenant, number, kpi, cents) {
            // Somebody else has it: run again, and see theirs.
            Err(Error::Database(error)) if error.is_conflict() => {
                Err(sesari_db::Error::SerializationFailure.into())
            }
            issued => issued.map(|()| number),
        }
    })
}

/// The invoices of a workspace, joined with a table of the library's.
pub fn list(db: &Database, user: &UserId, workspace: &WorkspaceId) -> Result<Vec<Invoice>, Error> {
    let mut tenant = db.begin(&Scope::tenant(user, workspace).read_only())?;
    Ok(invoices::table
        .inner_join(
            kpis::table.on(kpis::workspace_id
                .eq(invoices::workspace_id)
                .and(kpis::id.eq(invoices::kpi_id))),
        )
        .filter(invoices::workspace_id.eq(workspace))
        .order(invoices::number)
        .select((invoices::number, kpis::name, invoices::cents))
        .load(tenant.connection())?)
}
