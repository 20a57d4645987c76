//! The schema's migrations, embedded in the crate.
//!
//! Run them with a login that may: a superuser, or one with CREATEROLE that owns the database. The
//! services' logins may not, and [`Database`](crate::Database) refuses to be built with one that
//! does. All pending migrations run in one transaction under an advisory lock: two processes that
//! start at once both succeed, and a failure leaves the database as it was. What has been applied is
//! recorded in the schema `sesari_migrations`, apart from a service's own migrations.

use diesel::connection::LoadConnection;
use diesel::migration::{Migration, MigrationSource, MigrationVersion};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, Bool, Text};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::error::{Error, Result};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// Key of the advisory lock: "sesari" in ASCII.
const LOCK: i64 = 0x7365_7361_7269;

/// Any connection of diesel's to PostgreSQL that can run migrations: this crate's
/// [`PgConnection`](crate::PgConnection), or diesel's own.
pub trait Migratable: LoadConnection<Backend = Pg> + MigrationHarness<Pg> {}

impl<C: LoadConnection<Backend = Pg> + MigrationHarness<Pg>> Migratable for C {}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Migration(error.into())
}

fn embedded() -> Result<Vec<Box<dyn Migration<Pg>>>> {
    MigrationSource::<Pg>::migrations(&MIGRATIONS).map_err(failed)
}

/// The versions of the embedded migrations, oldest first.
///
/// # Errors
/// [`Error::Migration`] when the embedded files are unreadable, which a test rules out.
pub fn versions() -> Result<Vec<String>> {
    let mut versions: Vec<_> =
        embedded()?.iter().map(|migration| migration.name().version().to_string()).collect();
    versions.sort();
    Ok(versions)
}

/// Runs every pending migration. Returns the names of those run, oldest first; none when the schema
/// is up to date.
///
/// # Errors
/// [`Error::Migration`] when one fails or the login may not, or when the schema is there and no
/// migration is recorded, see [`record`]; then none of them was applied.
pub fn run(conn: &mut impl Migratable) -> Result<Vec<String>> {
    in_locked_transaction(conn, |conn| {
        if conn.applied_migrations().map_err(failed)?.is_empty() && has_schema(conn)? {
            return Err(failed(
                "the schema sesari is there and no migration is recorded in sesari_migrations, as \
                 after a dump without data: record them with migrations::record first",
            ));
        }
        conn.run_pending_migrations(MIGRATIONS)
            .map(|versions| versions.iter().map(ToString::to_string).collect())
            .map_err(failed)
    })
}

/// Records the embedded migrations as applied and runs none: for a database whose schema came from a
/// dump without data (`pg_dump --schema-only`), which leaves the record empty. Returns what it
/// recorded, oldest first; nothing when there is a record already.
///
/// Use the version of this crate that the dumped database was migrated with. Nothing is compared here:
/// [`Database::build`](crate::DatabaseBuilder::build) compares, and refuses a schema that differs.
///
/// # Errors
/// [`Error::Migration`] when the schema is not there, or the login may not; then nothing was recorded.
pub fn record(conn: &mut impl Migratable) -> Result<Vec<String>> {
    in_locked_transaction(conn, |conn| {
        if !conn.applied_migrations().map_err(failed)?.is_empty() {
            return Ok(Vec::new());
        }
        if !has_schema(conn)? {
            return Err(failed(
                "there is no schema sesari whose migrations could be recorded: run them, with \
                 migrations::run",
            ));
        }
        let versions = versions()?;
        diesel::sql_query(
            "INSERT INTO sesari_migrations.__diesel_schema_migrations (version) \
             SELECT pg_catalog.unnest($1)",
        )
        .bind::<Array<Text>, _>(&versions)
        .execute(conn)
        .map_err(failed)?;
        // As the first migration does: the check at start-up reads the record as its owner.
        conn.batch_execute(
            "ALTER SCHEMA sesari_migrations OWNER TO sesari_owner; \
             ALTER TABLE sesari_migrations.__diesel_schema_migrations OWNER TO sesari_owner",
        )
        .map_err(failed)?;
        Ok(versions)
    })
}

/// Whether the last thing that the first migration makes is there.
fn has_schema(conn: &mut impl LoadConnection<Backend = Pg>) -> Result<bool> {
    diesel::select(diesel::dsl::sql::<Bool>(
        "pg_catalog.to_regprocedure('sesari.applied_migrations()') IS NOT NULL",
    ))
    .get_result(conn)
    .map_err(failed)
}

/// Reverts the newest migration that is applied. Returns its name, or `None` when none is.
///
/// This loses data: each `down.sql` says which. It is here for development and for tests.
///
/// # Errors
/// [`Error::Migration`] when it fails or the login may not; then nothing was changed.
pub fn revert_last(conn: &mut impl Migratable) -> Result<Option<String>> {
    in_locked_transaction(conn, |conn| {
        let applied: Vec<MigrationVersion<'static>> = conn.applied_migrations().map_err(failed)?;
        if applied.is_empty() {
            return Ok(None);
        }
        let version = conn.revert_last_migration(MIGRATIONS).map_err(failed)?;
        Ok(Some(version.to_string()))
    })
}

fn in_locked_transaction<C: Migratable, T>(
    conn: &mut C,
    body: impl FnOnce(&mut C) -> Result<T>,
) -> Result<T> {
    conn.transaction(|conn| {
        // READ COMMITTED, so that after waiting for the lock we see what the other process
        // committed. The record is kept apart from that of the service's own migrations. And under FORCE a data
        // migration run by the owner would change no row and report success; with row_security off
        // it fails instead.
        let prepared = conn
            .batch_execute(
                "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; \
                 SET LOCAL search_path = sesari_migrations; SET LOCAL row_security = off; \
                 SET LOCAL client_min_messages = warning",
            )
            .and_then(|()| {
                diesel::sql_query("SELECT pg_catalog.pg_advisory_xact_lock($1)")
                    .bind::<diesel::sql_types::BigInt, _>(LOCK)
                    .execute(conn)
            })
            .and_then(|_| {
                conn.batch_execute(
                    "DO $$ BEGIN IF pg_catalog.to_regnamespace('sesari_migrations') IS NULL THEN \
                     CREATE SCHEMA sesari_migrations; END IF; END $$",
                )
            });
        prepared.map_err(failed)?;
        body(conn)
    })
}
