//! Logins and roles of a test's own, and the shortest way to ask the catalogue.
//!
//! Roles belong to the whole server, so each has a name that no other test has, and goes when its
//! value is dropped, after a panic too.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's set-up fails loudly")]

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;
use sesari_db::PgConnection;
use sesari_db::testing::TestDatabase;

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

/// The rows of a query with one column, named `line`.
pub fn lines(conn: &mut PgConnection, query: &str) -> Vec<String> {
    let rows: Vec<Line> = diesel::sql_query(query).load(conn).expect(query);
    rows.into_iter().map(|row| row.line).collect()
}

/// The only value that an expression or a query has.
pub fn value(conn: &mut PgConnection, expression: &str) -> String {
    lines(conn, &format!("SELECT coalesce(({expression})::text, 'NULL') AS line")).remove(0)
}

pub fn holds(conn: &mut PgConnection, condition: &str) -> bool {
    value(conn, condition) == "true"
}

/// A role that exists for as long as this value. Declare it after the database that it is used
/// with: what it owns there is given to the administrator, and its grants go with it.
pub struct Role {
    pub name: String,
    url: String,
    admin: PgConnection,
}

impl Role {
    /// Makes a role with these options, such as `LOGIN CREATEROLE`.
    pub fn new(test: &TestDatabase, suffix: &str, options: &str) -> Self {
        let name = format!("{}_{suffix}", test.name());
        let mut admin = test.admin().unwrap();
        admin.batch_execute(&format!("CREATE ROLE {name} {options} PASSWORD 'secret'")).unwrap();
        Self { url: test.login_url(&name, "secret"), name, admin }
    }

    /// Makes a login that is a member of `sesari_tenant` and nothing else.
    pub fn tenant(test: &TestDatabase, suffix: &str) -> Self {
        let login = Self::new(test, suffix, "LOGIN");
        test.admin().unwrap().batch_execute(&format!("GRANT sesari_tenant TO {login}")).unwrap();
        login
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn connect(&self) -> PgConnection {
        PgConnection::establish(&self.url).unwrap()
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let name = &self.name;
        let dropped = self.admin.batch_execute(&format!(
            "REASSIGN OWNED BY {name} TO CURRENT_USER; DROP OWNED BY {name}; DROP ROLE {name}"
        ));
        if let Err(error) = dropped {
            // A panic while another unwinds would hide the first.
            assert!(std::thread::panicking(), "{name} stays behind: {error}");
        }
    }
}
