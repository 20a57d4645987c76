//! Notices a pooler whose mode is not the one that the builder was told of, before it is noticed by
//! what goes wrong. Guarded by `tests/operations/pgbouncer.rs`.

use std::sync::mpsc;
use std::time::Duration;

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Integer;

use crate::connection::PgConnection;
use crate::error::{Error, Result};
use crate::tenancy::session::SessionManager;

/// Refuses a pooler in statement mode: it has no transactions.
pub(super) fn refuse_statement_mode(conn: &mut PgConnection) -> Result<()> {
    begin(conn)?;
    diesel::sql_query("ROLLBACK").execute(conn)?;
    Ok(())
}

/// Refuses a pooler in transaction mode: contexts are bound to a backend, and every transaction that
/// reaches another one would see nothing, without a word. Two connections that are open at once have
/// two backends, and none ever changes its own, unless a pooler lends them out by the transaction.
pub(super) fn refuse_transaction_mode(
    manager: &SessionManager,
    conn: &mut PgConnection,
    timeout: Duration,
) -> Result<()> {
    let before = backend(conn)?;
    let (tell, told) = mpsc::channel();
    let (finish, finished) = mpsc::channel::<()>();
    let manager = manager.clone();
    // A pooler in session mode may let the second connection wait for the first: for as long as
    // that one is open, which is longer than anybody waits here.
    let second = std::thread::spawn(move || {
        let Ok(mut conn) = manager.open() else { return };
        let pid = begin(&mut conn).and_then(|()| backend(&mut conn));
        if tell.send(pid).is_ok() {
            let _ = finished.recv();
            let _ = diesel::sql_query("ROLLBACK").execute(&mut conn);
        }
    });
    // Where no second connection is to be had, nothing can be told.
    let Ok(other) = told.recv_timeout(timeout) else { return Ok(()) };
    let shared = match other {
        Ok(other) => Ok(other == before || backend(conn)? != before),
        Err(error) => Err(error),
    };
    drop(finish);
    let _ = second.join();
    if shared? { Err(Error::transaction_pooler()) } else { Ok(()) }
}

/// By the extended protocol: by the simple one, the client library tells of the closed connection and
/// not of what the pooler said before it closed it.
fn begin(conn: &mut PgConnection) -> QueryResult<()> {
    diesel::sql_query("BEGIN").execute(conn).map(drop)
}

fn backend(conn: &mut PgConnection) -> QueryResult<i32> {
    diesel::select(sql::<Integer>("pg_catalog.pg_backend_pid()")).get_result(conn)
}
