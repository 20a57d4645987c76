//! What the modules share.

use diesel::dsl::sql;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, HasSqlType};
use sesari_db::PgConnection;
use sesari_db::page::{Page, PageRequest};
use sesari_db::{Error, Result, ServiceConnection, TenantConnection, UserConnection};

use crate::support::{Tenant, World, service};

pub(crate) fn parse<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

pub(crate) fn page(limit: u32) -> PageRequest {
    PageRequest::first(limit).unwrap()
}

impl World {
    pub(crate) fn as_owner(&self, of: &Tenant) -> TenantConnection {
        self.db.tenant(&of.owner, &of.workspace).unwrap()
    }

    pub(crate) fn as_admin(&self, of: &Tenant) -> TenantConnection {
        self.db.tenant(&of.admin, &of.workspace).unwrap()
    }

    pub(crate) fn as_member(&self, of: &Tenant) -> TenantConnection {
        self.db.tenant(&of.member, &of.workspace).unwrap()
    }

    pub(crate) fn as_service(&self) -> ServiceConnection {
        self.db.service(&service()).unwrap()
    }

    pub(crate) fn as_user(&self, user: &sesari_db::id::UserId) -> UserConnection {
        self.db.user(user).unwrap()
    }

    /// How many rows there really are: asked as the superuser.
    pub(crate) fn rows(&self, of: &str) -> i64 {
        count(&mut self.test.admin().unwrap(), of)
    }
}

pub(crate) fn scalar<ST, T>(conn: &mut PgConnection, expression: &str) -> T
where
    ST: diesel::sql_types::SingleValue + diesel::query_builder::QueryId + 'static,
    Pg: HasSqlType<ST>,
    T: diesel::deserialize::FromSqlRow<ST, Pg> + 'static,
{
    diesel::select(sql::<ST>(expression)).get_result(conn).unwrap()
}

pub(crate) fn count(conn: &mut PgConnection, of: &str) -> i64 {
    scalar::<BigInt, i64>(conn, &format!("(SELECT count(*) FROM {of})"))
}

/// Runs SQL of the caller's in a savepoint of a guard. Gives the number of rows.
pub(crate) fn raw(tenant: &mut TenantConnection, sql: &str) -> Result<usize> {
    tenant.transaction(|tenant| {
        diesel::sql_query(sql).execute(tenant.connection()).map_err(Error::from)
    })
}

/// Reads a list to its end, so many rows at a time.
pub(crate) fn walk<T>(limit: u32, mut list: impl FnMut(&PageRequest) -> Result<Page<T>>) -> Vec<T> {
    let mut all = Vec::new();
    let mut next = page(limit);
    loop {
        let paged = list(&next).unwrap();
        assert!(paged.items.len() <= limit as usize);
        let full = paged.items.len() == limit as usize;
        all.extend(paged.items);
        match paged.next {
            // Through its text form, as a client sends it back.
            Some(cursor) => {
                assert!(full, "a page before the last is full");
                next = page(limit).after(cursor.to_string().parse().unwrap());
            }
            None => return all,
        }
    }
}

pub(crate) fn assert_conflict<T: std::fmt::Debug>(result: Result<T>, with: &str) {
    match result.unwrap_err() {
        Error::Conflict { constraint } => assert_eq!(constraint, with),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn assert_invalid<T: std::fmt::Debug>(result: Result<T>, of: &str) {
    match result.unwrap_err() {
        Error::Invalid(invalid) => assert_eq!(invalid.field(), of),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn assert_missing<T: std::fmt::Debug>(result: Result<T>, what: &str) {
    match result.unwrap_err() {
        Error::NotFound { entity } => assert_eq!(entity, what),
        other => panic!("{other:?}"),
    }
}
