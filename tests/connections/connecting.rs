//! What a connection URL says is done or refused, and never less than that: against servers of this
//! test's own, with TLS and without, a primary and a standby. They need the binaries of PostgreSQL and
//! the certificates of `tests/vectors/tls`, which `make.sh` made there.
//!
//! And what diesel does on such a connection.
#![allow(clippy::unwrap_used, reason = "a test's set-up fails loudly")]
#![allow(unreachable_pub, reason = "a test binary exports nothing")]

mod queries;
mod servers;
mod settings;
mod tls;

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Text;
use servers::Servers;
use sesari_db::PgConnection;
use sesari_db::tenancy::ContextKey;
use sesari_db::{Database, Error};

/// How the connection is encrypted, or `plain`.
const TLS: &str = "SELECT coalesce(version, 'plain') FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

fn value(conn: &mut PgConnection, query: &str) -> String {
    diesel::select(sql::<Text>(&format!("(({query})::text)"))).get_result(conn).unwrap()
}

/// Both ways to give a URL refuse it, with the same words and no secret in them.
fn refusal(servers: &Servers, url: &str) -> String {
    let url = servers.url(url);
    let refused = match PgConnection::establish(&url) {
        Err(error) => format!("{error}"),
        Ok(mut conn) => panic!("{url} connects: {}", value(&mut conn, TLS)),
    };
    let key = ContextKey::generate("test").unwrap();
    let built = Database::builder(&url, key).pool_size(1);
    let built = built.pool_timeout(std::time::Duration::from_secs(20)).build();
    let Err(error @ (Error::Connect { .. } | Error::Config(_) | Error::TooManyConnections { .. })) =
        built
    else {
        panic!("{url}: {built:?}")
    };
    for text in [refused.clone(), error.to_string(), format!("{error:?}")] {
        for secret in ["pencil", "secretword", "hunter2"] {
            assert!(!text.contains(secret), "{url}: {text}");
        }
    }
    refused
}

#[track_caller]
fn assert_refused(servers: &Servers, url: &str, words: &str) {
    let refused = refusal(servers, url);
    assert!(refused.contains(words), "{url}: {refused}");
}

#[track_caller]
fn connect(servers: &Servers, url: &str) -> PgConnection {
    let url = servers.url(url);
    PgConnection::establish(&url).unwrap_or_else(|error| panic!("{url}: {error}"))
}
