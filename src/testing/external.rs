//! A server that is there already, named by `DATABASE_URL`.

use diesel::Connection;

use super::janitor::Janitor;
use super::server::Started;
use super::url::ServerUrl;
use super::{TestingError, variable};

use crate::connection::PgConnection;

/// Connects to the server. `run` is what the names of this run's databases begin with.
pub(super) fn start(run: &str) -> Result<Started, TestingError> {
    let url = variable("DATABASE_URL").as_deref().and_then(ServerUrl::parse).ok_or_else(|| {
        TestingError::NoServer(
            "set DATABASE_URL to postgres://user:password@host/database, where the user is a \
             superuser or may create databases and roles"
                .to_owned(),
        )
    })?;
    let control = PgConnection::establish(&url.expose())
        .map_err(TestingError::connecting("the server that DATABASE_URL names"))?;
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
