//! What else a URL says.

use diesel::Connection as _;
use sesari_db::PgConnection;

use super::servers::Servers;
use super::{assert_refused, connect, refusal, value};

#[test]
fn a_refusal_says_why_and_shows_no_password() {
    let servers = Servers::shared();
    for (url, words) in [
        ("scram:hunter2@127.0.0.1:$A/db", "password authentication failed"),
        ("scram:hunter2@127.0.0.1:$A/db?sslmode=disable", "password authentication failed"),
        ("nobody:secretword@127.0.0.1:$A/db", "no pg_hba.conf entry"),
        ("postgres@127.0.0.1:$A/missing", "does not exist"),
        ("unknown:secretword@localhost:$B/db", "does not exist"),
        ("md:pencil@127.0.0.1:$A/db", "password_encryption = 'scram-sha-256'"),
        ("scram@127.0.0.1:$A/db", "URL has none"),
        ("trusting:secretword@127.0.0.1:$A/db?require_auth=scram-sha-256", "require_auth"),
        ("trusting:secretword@127.0.0.1:$A/db?channel_binding=require", "did not bind"),
        ("clear:pencil@127.0.0.1:$A/db?require_auth=scram-sha-256", "does not allow"),
        ("clear:pencil@127.0.0.1:$A/db?channel_binding=require", "does not allow"),
        ("$SCRAM@127.0.0.1:$A/db?require_auth=password", "does not allow"),
        ("$SCRAM@127.0.0.1:$A/db?require_auth=md5", "leaves none"),
        ("a:secretword@127.0.0.1:1/db", "refused"),
        ("a:secretword@no-such-host.invalid/db?connect_timeout=5", "no-such-host.invalid"),
        ("a:secretword@%2Fnone/db", "/none/.s.PGSQL.5432"),
        ("a:secretword@h:x/db", "percent-encoded"),
        ("a:hunter2/x@h/db", "percent-encoded"),
    ] {
        assert_refused(&servers, url, words);
    }
}

/// As other libraries' URLs have them, with what to do instead.
#[test]
fn a_parameter_that_is_not_supported_is_refused_with_a_hint() {
    let servers = Servers::shared();
    for (parameter, words) in [
        ("pgbouncer=true", "behind_transaction_pooler"),
        ("connection_limit=5", "pool_size"),
        ("pool_timeout=10", "pool_timeout"),
        ("statement_cache_size=0", "behind_transaction_pooler"),
        ("prepareThreshold=0", "behind_transaction_pooler"),
        ("schema=other", "options=-csearch_path"),
        ("sslaccept=strict", "use sslmode"),
        ("ssl=no", "use sslmode"),
        ("sslmode=no-verify", "sslmode is none of"),
        ("gssencmode=require", "gssencmode"),
        ("sslcrl=/tmp/crl", "sslcrl"),
        ("ssl_min_protocol_version=TLSv1.3", "ssl_min_protocol_version"),
        ("ssl_max_protocol_version=TLSv1.2", "ssl_max_protocol_version"),
        ("passfile=/tmp/p", "passfile"),
        ("service=s", "service"),
        ("requirepeer=postgres", "requirepeer"),
        ("replication=database", "replication"),
        ("client_encoding=LATIN1", "client_encoding"),
        ("target_session_attrs=master", "target_session_attrs"),
        ("something=1", "something"),
        ("SSLMODE=require", "SSLMODE"),
    ] {
        assert_refused(&servers, &format!("postgres@127.0.0.1:$A/db?{parameter}"), words);
    }
    for url in ["host=127.0.0.1 user=postgres", "mysql://u@h", "", "postgres://", "postgres:"] {
        let refused = PgConnection::establish(url).map(drop).unwrap_err();
        assert!(matches!(refused, diesel::ConnectionError::InvalidConnectionUrl(_)), "{url}");
    }
}

#[test]
fn several_hosts_are_tried_until_one_has_the_session_that_is_asked_for() {
    let servers = Servers::shared();
    let port = |url: &str| value(&mut connect(&servers, url), "SELECT current_setting('port')");
    for (attributes, server) in [
        ("any", 'C'),
        ("read-write", 'A'),
        ("primary", 'A'),
        ("standby", 'C'),
        ("read-only", 'C'),
        ("prefer-standby", 'C'),
    ] {
        let url = format!(
            "postgres@127.0.0.1:1,127.0.0.1:$C,localhost:$A/db?target_session_attrs={attributes}"
        );
        assert_eq!(port(&url), servers.port(server), "{attributes}");
    }
    // A primary whose database is for reading alone.
    for (attributes, fits) in
        [("read-write", false), ("standby", false), ("read-only", true), ("prefer-standby", true)]
    {
        let url = format!("postgres@localhost:$A/ro?target_session_attrs={attributes}");
        if fits {
            assert_eq!(port(&url), servers.port('A'), "{attributes}");
        } else {
            refusal(&servers, &url);
        }
    }
    // A wrong password is not tried at the next one.
    let first = "scram:hunter2@127.0.0.1:$A,127.0.0.1:$B/db";
    let refused = refusal(&servers, first);
    assert!(!refused.contains(&servers.port('B')), "{refused}");
    let both = "postgres@127.0.0.1:$A,127.0.0.1:$B/db?load_balance_hosts=random";
    let mut ports: Vec<_> = (0..40).map(|_| port(both)).collect();
    ports.sort();
    ports.dedup();
    assert_eq!(ports.len(), 2);
}

#[test]
fn a_unix_socket_is_a_directory_in_place_of_the_host() {
    let servers = Servers::shared();
    for url in [
        "/postgres?host=$SOCKET&port=$A&user=postgres",
        "/postgres?host=$SOCKET&port=$A&user=postgres&sslmode=prefer",
        "postgres@$ESCAPED:$A/db",
        "$SCRAM@$ESCAPED:$A/db?require_auth=scram-sha-256",
        "clear:pencil@$ESCAPED:$A/db",
    ] {
        let mut conn = connect(&servers, url);
        let address = "SELECT coalesce(inet_server_addr()::text, 'socket')";
        assert_eq!(value(&mut conn, address), "socket", "{url}");
    }
    assert_refused(&servers, "scram:hunter2@$ESCAPED:$A/db", "password authentication failed");
    assert_refused(&servers, "$SCRAM@$ESCAPED:$A/db?channel_binding=require", "channel_binding");
}

#[test]
fn settings_of_the_url_reach_the_server() {
    let servers = Servers::shared();
    let url = "postgres@localhost:$A/db?application_name=a%20b&options=-cwork_mem%3D7MB%20-c%20search_path=x\
               &keepalives_idle=60&keepalives_interval=5&keepalives_count=3&tcp_user_timeout=9000\
               &connect_timeout=9";
    let mut conn = connect(&servers, url);
    for (name, expected) in [
        ("application_name", "a b"),
        ("work_mem", "7MB"),
        ("search_path", "x"),
        ("client_encoding", "UTF8"),
    ] {
        assert_eq!(value(&mut conn, &format!("SELECT current_setting('{name}')")), expected);
    }
    let mut conn = connect(&servers, "postgres@localhost:$A/db?fallback_application_name=f");
    assert_eq!(value(&mut conn, "SELECT current_setting('application_name')"), "f");
    let user = "SELECT current_user || '@' || current_database()";
    let overridden =
        "x:y@127.0.0.1:1/z?user=scram&password=pencil%20%40%3a%2F%3f%23%25&port=$A&dbname=db";
    assert_eq!(value(&mut connect(&servers, overridden), user), "scram@db");
}

#[test]
fn a_full_server_says_so() {
    let servers = Servers::shared();
    let mut held = Vec::new();
    let url = servers.url("trusting@127.0.0.1:$B/db");
    let refused = loop {
        match PgConnection::establish(&url) {
            Ok(conn) => held.push(conn),
            Err(error) => break error.to_string(),
        }
    };
    assert!(refused.contains("too many connections"), "{refused}");
    assert_eq!(held.len(), 3);
    drop(held);
    // What was dropped is closed, and not only forgotten.
    let start = std::time::Instant::now();
    while PgConnection::establish(&url).is_err() {
        assert!(start.elapsed().as_secs() < 60);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
