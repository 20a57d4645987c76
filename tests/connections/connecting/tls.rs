//! What each `sslmode` takes and refuses.

use super::servers::Servers;
use super::{TLS, assert_refused, connect, value};

#[test]
fn tls_is_as_strong_as_the_url_asks() {
    let servers = Servers::shared();
    for (url, encryption) in [
        ("postgres@127.0.0.1:$A", "TLSv1.3"),
        ("postgres@[::1]:$A/postgres?sslmode=disable", "plain"),
        ("$SCRAM@127.0.0.1:$A/postgres?sslmode=disable", "plain"),
        ("$SCRAM@localhost:$A/db?sslmode=prefer", "TLSv1.3"),
        ("$SCRAM@localhost:$B/db?sslmode=prefer", "plain"),
        // Only a line for connections without TLS lets this one in.
        ("nossl:pencil@127.0.0.1:$A/postgres", "plain"),
        ("$SCRAM@localhost:$A/db?sslmode=require", "TLSv1.3"),
        ("$SCRAM@localhost:$A/db?ssl=true", "TLSv1.3"),
        ("$SCRAM@localhost:$A/db?sslmode=require&channel_binding=require", "TLSv1.3"),
        ("$SCRAM@localhost:$A/db?sslmode=require&channel_binding=disable", "TLSv1.3"),
        ("$SCRAM@localhost:$A/db?sslmode=verify-full&sslrootcert=$TLS/ca.crt", "TLSv1.3"),
        (
            "$SCRAM@localhost:$A/db?sslmode=verify-full&sslrootcert=$TLS/ca.crt&channel_binding=require",
            "TLSv1.3",
        ),
        ("$SCRAM@127.0.0.1:$A/db?sslmode=verify-full&sslrootcert=$TLS/ca.crt", "TLSv1.3"),
        (
            "$SCRAM@localhost:$A/db?hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert=$TLS/ca.crt",
            "TLSv1.3",
        ),
        // The authority is right, and the name is none of the certificate's: not asked for.
        ("$SCRAM@[::1]:$A/db?sslmode=verify-ca&sslrootcert=$TLS/ca.crt", "TLSv1.3"),
        ("$SCRAM@[::1]:$A/db?sslmode=require&sslrootcert=$TLS/ca.crt", "TLSv1.3"),
        (
            "certuser@localhost:$A/db?sslmode=require&sslcert=$TLS/client.crt&sslkey=$TLS/client.key",
            "TLSv1.3",
        ),
        ("clear:pencil@localhost:$A/db?sslmode=require", "TLSv1.3"),
    ] {
        assert_eq!(value(&mut connect(&servers, url), TLS), encryption, "{url}");
    }
    // A standby with a self-signed certificate, which is its own authority.
    let own = "$SCRAM@localhost:$C/db?sslmode=verify-full&sslrootcert=$TLS/self.crt&channel_binding=require";
    assert_eq!(value(&mut connect(&servers, own), TLS), "TLSv1.3");
}

#[test]
fn tls_that_is_less_than_the_url_asks_is_refused() {
    let servers = Servers::shared();
    for (url, words) in [
        ("localhost:$B/db?sslmode=require", "does not support TLS"),
        ("localhost:$B/db?sslmode=verify-full&sslrootcert=$TLS/ca.crt", "does not support TLS"),
        ("localhost:$A/db?sslmode=verify-full&sslrootcert=$TLS/other.crt", "UnknownIssuer"),
        ("localhost:$A/db?sslmode=verify-ca&sslrootcert=$TLS/other.crt", "UnknownIssuer"),
        // As in libpq, a root certificate is checked even where it need not be.
        ("localhost:$A/db?sslmode=require&sslrootcert=$TLS/other.crt", "UnknownIssuer"),
        ("localhost:$A/db?sslrootcert=system", "UnknownIssuer"),
        ("localhost:$C/db?sslmode=verify-full&sslrootcert=$TLS/ca.crt", "TLS: "),
        ("[::1]:$A/db?sslmode=verify-full&sslrootcert=$TLS/ca.crt", "not valid for name"),
        (
            "elsewhere.invalid:$A/db?hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert=$TLS/ca.crt",
            "not valid for name",
        ),
        ("localhost:$A/db?sslmode=verify-full&sslrootcert=$TLS/none.crt", "none.crt"),
        ("localhost:$A/db?sslmode=verify-full&sslrootcert=$TLS/client.key", "no certificate"),
        ("localhost:$A/db?sslmode=verify-full", "sslrootcert"),
        ("localhost:$A/db?sslmode=verify-ca", "sslrootcert"),
        ("localhost:$A/db?sslrootcert=$TLS/ca.crt", "verify-full"),
        ("localhost:$A/db?sslmode=prefer&sslrootcert=$TLS/ca.crt", "verify-full"),
        ("localhost:$A/db?sslmode=allow", "prefer or require"),
        ("localhost:$A/db?sslmode=disable&channel_binding=require", "channel_binding"),
        ("localhost:$B/db?channel_binding=require", "channel_binding"),
        // Direct TLS is known from PostgreSQL 17 on, and nothing else is asked of an older server.
        ("[::1]:$A/db?sslmode=verify-full&sslrootcert=$TLS/ca.crt&sslnegotiation=direct", "TLS: "),
        (
            "localhost:$A/db?sslmode=require&sslcert=$TLS/client.crt&sslkey=$TLS/open.key",
            "can read it",
        ),
        (
            "localhost:$A/db?sslmode=require&sslcert=$TLS/client.crt&sslkey=$TLS/stranger.key",
            "stranger.key",
        ),
        ("localhost:$A/db?sslmode=require&sslcert=$TLS/client.crt", "sslkey"),
        ("localhost:$A/db?sslcert=$TLS/client.crt&sslkey=$TLS/client.key", "require or above"),
    ] {
        assert_refused(&servers, &format!("$SCRAM@{url}"), words);
    }
}

#[test]
fn a_client_certificate_is_what_lets_its_user_in() {
    let servers = Servers::shared();
    let url = "certuser@localhost:$A/db?sslmode=require";
    assert_refused(&servers, url, "client certificate");
    let of = |name| format!("{url}&sslcert=$TLS/{name}.crt&sslkey=$TLS/{name}.key");
    let mut conn = connect(&servers, &of("client"));
    assert_eq!(value(&mut conn, "SELECT current_user"), "certuser");
    // Of another authority, with the same name in it.
    assert_refused(&servers, &of("stranger"), "");
    let other = of("client").replace("certuser@", "scram@");
    assert_refused(&servers, &other, "URL has none");
}
