//! Just enough of a connection URL to name another database or another login on the same server.

use std::fmt::Write as _;

/// `postgres://user:password@hosts/database?parameters`, each part as it was written.
///
/// No `Debug`: it holds a password.
#[derive(Clone)]
pub(super) struct ServerUrl {
    user: String,
    password: Option<String>,
    hosts: String,
    database: String,
    parameters: String,
}

impl ServerUrl {
    /// The URL of a server of our own.
    pub(super) fn new(user: &str, password: &str, host: &str, port: u16, database: &str) -> Self {
        Self {
            user: encode(user),
            password: Some(encode(password)),
            hosts: format!("{host}:{port}"),
            database: encode(database),
            parameters: String::new(),
        }
    }

    /// Takes a URL apart. `None` if it is not one: libpq's `key=value` form is not accepted, nor a
    /// user, password or database given as a parameter, which would win over the ones set here.
    pub(super) fn parse(url: &str) -> Option<Self> {
        let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"))?;
        let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let overriding = ["user=", "password=", "dbname="];
        if parameters.split('&').any(|p| overriding.iter().any(|o| p.starts_with(o))) {
            return None;
        }
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (user, Some(password.to_owned())),
            None => (login, None),
        };
        Some(Self {
            user: user.to_owned(),
            password,
            hosts: hosts.to_owned(),
            database: database.to_owned(),
            parameters: parameters.to_owned(),
        })
    }

    /// The same login in another database.
    pub(super) fn database(&self, name: &str) -> Self {
        Self { database: encode(name), ..self.clone() }
    }

    /// Another login in the same database.
    pub(super) fn login(&self, user: &str, password: &str) -> Self {
        Self { user: encode(user), password: Some(encode(password)), ..self.clone() }
    }

    /// The same without the password, for a command line that everyone can read.
    pub(super) fn without_password(&self) -> Self {
        Self { password: None, ..self.clone() }
    }

    /// The password in plain text, if there is one.
    pub(super) fn password(&self) -> Option<String> {
        self.password.as_deref().map(decode)
    }

    /// The whole URL, with the password.
    pub(super) fn expose(&self) -> String {
        let mut url = String::from("postgres://");
        if !self.user.is_empty() {
            url.push_str(&self.user);
            if let Some(password) = &self.password {
                url.push(':');
                url.push_str(password);
            }
            url.push('@');
        }
        url.push_str(&self.hosts);
        url.push('/');
        url.push_str(&self.database);
        if !self.parameters.is_empty() {
            url.push('?');
            url.push_str(&self.parameters);
        }
        url
    }
}

fn encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a `String` cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = (byte == b'%')
            .then(|| std::str::from_utf8(tail.get(..2)?).ok())
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> ServerUrl {
        ServerUrl::parse(url).expect("a URL")
    }

    #[test]
    fn another_database_and_login_keep_the_rest() {
        let url = parse("postgresql://me:p%40ss@[::1]:5433,other/main?sslmode=require");
        assert_eq!(
            url.database("a b").expose(),
            "postgres://me:p%40ss@[::1]:5433,other/a%20b?sslmode=require"
        );
        assert_eq!(
            url.login("you", "x/y").expose(),
            "postgres://you:x%2Fy@[::1]:5433,other/main?sslmode=require"
        );
        assert_eq!(url.password().as_deref(), Some("p@ss"));
        assert_eq!(
            url.without_password().expose(),
            "postgres://me@[::1]:5433,other/main?sslmode=require"
        );
    }

    #[test]
    fn every_part_but_the_scheme_may_be_missing() {
        assert_eq!(parse("postgres://").database("d").expose(), "postgres:///d");
        assert_eq!(parse("postgres://h").database("d").expose(), "postgres://h/d");
        assert_eq!(
            parse("postgres:///m?host=/run/postgresql").login("u", "p").expose(),
            "postgres://u:p@/m?host=/run/postgresql"
        );
    }

    #[test]
    fn what_could_not_be_replaced_is_refused() {
        for url in ["host=localhost dbname=x", "mysql://h/d", "postgres://h/d?user=me"] {
            assert!(ServerUrl::parse(url).is_none(), "{url}");
        }
    }
}
