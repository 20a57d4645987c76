//! Plain login roles for the tests: no superuser, no way around row-level security.
//!
//! Roles belong to the whole server. On one that `SESARI_TEST_URL` names, several runs share them at
//! once, so their names and passwords do not change from run to run, and they stay.

use diesel::connection::SimpleConnection;
use diesel::deserialize::QueryableByName;
use diesel::sql_types::{Bool, Text};
use diesel::{Connection, QueryResult, RunQueryDsl};
use ring::hmac;

use super::url::ServerUrl;
use super::{TestingError, hex, patiently};

use crate::connection::PgConnection;

/// A login role and the role whose grants it has.
pub(super) struct Login {
    pub(super) name: &'static str,
    group: &'static str,
}

pub(super) const TENANT: Login = Login { name: "sesari_test_tenant", group: "sesari_tenant" };
pub(super) const SERVICE: Login = Login { name: "sesari_test_service", group: "sesari_service" };

impl Login {
    /// The same for every run against a server, and known only to those who may administer it.
    pub(super) fn password(&self, server: &ServerUrl) -> String {
        let secret = server.password().unwrap_or_else(|| server.expose());
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        hex(hmac::sign(&key, self.name.as_bytes()).as_ref())
    }
}

#[derive(QueryableByName)]
struct Missing {
    #[diesel(sql_type = Bool)]
    role: bool,
    #[diesel(sql_type = Bool)]
    membership: bool,
    #[diesel(sql_type = Bool)]
    control: bool,
}

/// Makes the login roles, if they are not there, with the passwords that this run expects.
pub(super) fn make(control: &mut PgConnection, server: &ServerUrl) -> Result<(), TestingError> {
    one_at_a_time(control, |control, login| {
        let (name, password) = (login.name, login.password(server));
        if missing(control, login)?.role {
            control.batch_execute(&format!(
                "CREATE ROLE {name} LOGIN NOSUPERUSER NOBYPASSRLS PASSWORD '{password}'"
            ))?;
        } else if PgConnection::establish(&server.login(name, &password).expose()).is_err() {
            control.batch_execute(&format!("ALTER ROLE {name} PASSWORD '{password}'"))?;
        }
        // Who is not a superuser may otherwise not drop a database while these are connected.
        if missing(control, login)?.control {
            control.batch_execute(&format!("GRANT {name} TO CURRENT_USER"))?;
        }
        Ok(())
    })
}

/// Makes the login roles members of the crate's own roles, once those are there.
pub(super) fn join(control: &mut PgConnection) -> Result<(), TestingError> {
    one_at_a_time(control, |control, login| {
        if missing(control, login)?.membership {
            control.batch_execute(&format!("GRANT {} TO {}", login.group, login.name))?;
        }
        Ok(())
    })
}

fn missing(control: &mut PgConnection, login: &Login) -> QueryResult<Missing> {
    diesel::sql_query(
        "SELECT mine.oid IS NULL AS role, \
                theirs.oid IS NOT NULL AND NOT EXISTS ( \
                    SELECT FROM pg_auth_members m \
                    WHERE m.roleid = theirs.oid AND m.member = mine.oid \
                ) AS membership, \
                mine.oid IS NOT NULL AND NOT pg_has_role(mine.oid, 'USAGE') AS control \
         FROM (VALUES ($1, $2)) AS login (name, member_of) \
         LEFT JOIN pg_roles mine ON mine.rolname = login.name \
         LEFT JOIN pg_roles theirs ON theirs.rolname = login.member_of",
    )
    .bind::<Text, _>(login.name)
    .bind::<Text, _>(login.group)
    .get_result(control)
}

/// Two runs at once would collide on the catalogue's rows. The lock does not reach a run that names
/// another database of the same server; hence the patience.
fn one_at_a_time(
    control: &mut PgConnection,
    each: impl Fn(&mut PgConnection, &Login) -> QueryResult<()>,
) -> Result<(), TestingError> {
    patiently(|| {
        control.transaction(|control| {
            control
                .batch_execute("SELECT pg_advisory_xact_lock(hashtext('sesari_test_logins'))")?;
            [TENANT, SERVICE].iter().try_for_each(|login| each(control, login))
        })
    })
    .map_err(TestingError::querying("making the login roles of the tests"))
}
