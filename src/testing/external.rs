//! A server that is there already, named by `SESARI_TEST_URL`.

use diesel::prelude::*;
use diesel::sql_types::Text;

use super::janitor::Janitor;
use super::server::Started;
use super::url::ServerUrl;
use super::{TestingError, variable};

use crate::connection::PgConnection;

/// Connects to the server. `run` is what the names of this run's databases begin with.
pub(super) fn start(run: &str) -> Result<Started, TestingError> {
    let url =
        variable("SESARI_TEST_URL").as_deref().and_then(ServerUrl::parse).ok_or_else(|| {
            TestingError::NoServer(
            "set SESARI_TEST_URL to postgres://user:password@host/database, where the user is a \
             superuser or may create databases and roles"
                .to_owned(),
        )
        })?;
    let mut control = PgConnection::establish(&url.expose())
        .map_err(TestingError::connecting("the server that SESARI_TEST_URL names"))?;
    refuse_production(&mut control)?;
    let password = url.password();
    let environment: Vec<_> = password.iter().map(|word| ("PGPASSWORD", word.as_str())).collect();
    let arguments = [url.without_password().expose(), run.to_owned()];
    let janitor = Janitor::start(include_str!("databases.sh"), &arguments, &environment, None, "")
        .map_err(|error| TestingError::Start {
            server: "what drops the databases afterwards".to_owned(),
            detail: error.to_string(),
        })?;
    Ok(Started { url, control, janitor, container: None, copying: "" })
}

#[derive(QueryableByName)]
struct Database {
    #[diesel(sql_type = Text)]
    name: String,
}

/// Makes no logins where a database is in use that they would reach: roles are the whole server's.
fn refuse_production(control: &mut PgConnection) -> Result<(), TestingError> {
    let in_use: Option<Database> = diesel::sql_query(
        "SELECT d.datname::text AS name FROM pg_catalog.pg_shdepend AS s \
           JOIN pg_catalog.pg_roles AS r ON r.oid = s.refobjid AND r.rolname = 'sesari_owner' \
           JOIN pg_catalog.pg_database AS d ON d.oid = s.dbid \
          WHERE s.refclassid = 'pg_catalog.pg_authid'::regclass \
            AND NOT starts_with(d.datname, 'sesari_test_') \
          ORDER BY 1 LIMIT 1",
    )
    .get_result(control)
    .optional()
    .map_err(TestingError::querying("looking for databases in use"))?;
    in_use.map_or(Ok(()), |database| {
        Err(TestingError::NoServer(format!(
            "the server that SESARI_TEST_URL names holds the database `{}` with this crate's schema, \
             and the logins of tests would reach it: use another server for tests",
            database.name
        )))
    })
}
