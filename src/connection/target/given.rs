//! What a URL says, parameter by parameter.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use zeroize::Zeroizing;

use super::{
    ChannelBinding, DEFAULT_HOSTS, DEFAULT_PORT, Host, InvalidTarget, RootCertificates,
    SessionAttributes, SslMode, invalid,
};

/// The parameters of a URL, each taken out once it is read.
#[derive(Default)]
pub(super) struct Given {
    hosts: Vec<String>,
    ports: Vec<String>,
    parameters: BTreeMap<String, Zeroizing<String>>,
}

impl Given {
    pub(super) fn read(url: &str) -> Result<Self, InvalidTarget> {
        let Some(rest) =
            url.strip_prefix("postgresql://").or_else(|| url.strip_prefix("postgres://"))
        else {
            return invalid("the connection URL must begin with postgres:// or postgresql://");
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, dbname) = rest.split_once('/').unwrap_or((rest, ""));
        let (account, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = account.split_once(':').unwrap_or((account, ""));
        let mut given = Self::default();
        for (name, value) in [("user", user), ("password", password), ("dbname", dbname)] {
            given.parameters.insert(name.to_owned(), Zeroizing::new(decoded(name, value)?));
        }
        given.read_hosts(hosts)?;
        given.read_query(query)?;
        Ok(given)
    }

    fn read_hosts(&mut self, hosts: &str) -> Result<(), InvalidTarget> {
        if hosts.is_empty() {
            return Ok(());
        }
        for host in hosts.split(',') {
            let (name, port) = if let Some(rest) = host.strip_prefix('[') {
                let Some((name, rest)) = rest.split_once(']') else {
                    return invalid("the connection URL has a [ without a ] after the address");
                };
                match (rest, rest.strip_prefix(':')) {
                    ("", _) => (name, ""),
                    (_, Some(port)) => (name, port),
                    _ => return invalid("only a port can follow the ] in the connection URL"),
                }
            } else {
                host.split_once(':').unwrap_or((host, ""))
            };
            self.hosts.push(decoded("host", name)?);
            self.ports.push(port.to_owned());
        }
        Ok(())
    }

    fn read_query(&mut self, query: &str) -> Result<(), InvalidTarget> {
        let mut seen = Vec::new();
        for item in query.split('&').filter(|item| !item.is_empty()) {
            let Some((name, value)) = item.split_once('=') else {
                return invalid("a parameter of the connection URL has no =");
            };
            let name = decoded("parameter", name)?;
            if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)) {
                // It may be part of a password, so it is not shown.
                return invalid(
                    "the connection URL has a parameter with a malformed name; is a character of \
                     the password not percent-encoded?",
                );
            }
            if seen.contains(&name) {
                return invalid(format!("the connection URL has {name} twice"));
            }
            let value = Zeroizing::new(decoded(&name, value)?);
            seen.push(name.clone());
            self.parameters.insert(name, value);
        }
        Ok(())
    }

    /// An empty value is as good as none.
    pub(super) fn take(&mut self, name: &str) -> Result<Option<String>, InvalidTarget> {
        let value = self.parameters.remove(name).filter(|value| !value.is_empty());
        if value.as_ref().is_some_and(|value| value.contains('\0')) {
            return invalid(format!("{name} in the connection URL contains a zero byte"));
        }
        Ok(value.map(|mut value| std::mem::take(&mut *value)))
    }

    fn list(&mut self, name: &str) -> Result<Option<Vec<String>>, InvalidTarget> {
        Ok(self.take(name)?.map(|list| list.split(',').map(str::to_owned).collect()))
    }

    pub(super) fn hosts(&mut self) -> Result<Vec<Host>, InvalidTarget> {
        let names = self.list("host")?.unwrap_or_else(|| std::mem::take(&mut self.hosts));
        let ports = self.list("port")?.unwrap_or_else(|| std::mem::take(&mut self.ports));
        let addresses = self.list("hostaddr")?.unwrap_or_default();
        if !names.is_empty() && !addresses.is_empty() && names.len() != addresses.len() {
            return invalid("host and hostaddr have not the same number of entries");
        }
        let count = names.len().max(addresses.len()).max(1);
        if ports.len() > 1 && ports.len() != count {
            return invalid("there are neither as many ports as hosts nor only one");
        }
        let mut hosts = Vec::new();
        for at in 0..count {
            let port = match ports.get(at).or(ports.first()).map_or("", String::as_str) {
                "" => DEFAULT_PORT,
                port => port.parse().ok().filter(|port| *port != 0).ok_or_else(bad_port)?,
            };
            let name = names.get(at).cloned().unwrap_or_default();
            let address: Option<IpAddr> = match addresses.get(at).map_or("", String::as_str) {
                "" => None,
                text => Some(text.parse().map_err(|_| {
                    InvalidTarget(format!("hostaddr is not an IP address: {text}"))
                })?),
            };
            match (name.is_empty(), address) {
                (true, None) => hosts.extend(DEFAULT_HOSTS.map(|name| Host {
                    name: name.to_owned(),
                    address: None,
                    port,
                })),
                (true, Some(ip)) => hosts.push(Host { name: ip.to_string(), address, port }),
                (false, _) => hosts.push(Host { name, address, port }),
            }
        }
        Ok(hosts)
    }

    pub(super) fn sslmode(
        &mut self,
        root: Option<&RootCertificates>,
    ) -> Result<SslMode, InvalidTarget> {
        let system = root == Some(&RootCertificates::System);
        let default = if system { "verify-full" } else { "prefer" };
        let mut text = self.take("sslmode")?;
        // As in URLs that JDBC takes; libpq reads it so too.
        if self.parameters.get("ssl").is_some_and(|ssl| ssl.as_str() == "true") {
            self.parameters.remove("ssl");
            text = text.or_else(|| Some("require".to_owned()));
        }
        let mode = match text.as_deref().unwrap_or(default) {
            "disable" => SslMode::Disable,
            "prefer" => SslMode::Prefer,
            "require" => SslMode::Require,
            "verify-ca" => SslMode::VerifyCa,
            "verify-full" => SslMode::VerifyFull,
            "allow" => return invalid("sslmode=allow is not supported: use prefer or require"),
            other => {
                return invalid(format!(
                    "sslmode is none of disable, prefer, require, verify-ca, verify-full: {other}"
                ));
            }
        };
        if mode >= SslMode::Require && !cfg!(feature = "tls") {
            return invalid("sslmode asks for TLS, but the crate's feature `tls` is off");
        }
        if system && mode != SslMode::VerifyFull {
            return invalid("sslrootcert=system needs sslmode=verify-full");
        }
        if mode >= SslMode::VerifyCa && root.is_none() {
            return invalid(
                "this sslmode needs sslrootcert=<file>, or sslrootcert=system for the system's \
                 certificates (~/.postgresql/root.crt is not read)",
            );
        }
        if mode == SslMode::Prefer && root.is_some() {
            return invalid(
                "with sslmode=prefer nothing is certain, so sslrootcert is of no use: use verify-full",
            );
        }
        Ok(mode)
    }

    pub(super) fn channel_binding(&mut self) -> Result<ChannelBinding, InvalidTarget> {
        self.one_of(
            "channel_binding",
            &[
                ("disable", ChannelBinding::Disable),
                ("prefer", ChannelBinding::Prefer),
                ("require", ChannelBinding::Require),
            ],
            ChannelBinding::Prefer,
        )
    }

    pub(super) fn session_attributes(&mut self) -> Result<SessionAttributes, InvalidTarget> {
        self.one_of(
            "target_session_attrs",
            &[
                ("any", SessionAttributes::Any),
                ("read-write", SessionAttributes::ReadWrite),
                ("read-only", SessionAttributes::ReadOnly),
                ("primary", SessionAttributes::Primary),
                ("standby", SessionAttributes::Standby),
                ("prefer-standby", SessionAttributes::PreferStandby),
            ],
            SessionAttributes::Any,
        )
    }

    pub(super) fn one_of<T: Copy>(
        &mut self,
        name: &str,
        values: &[(&str, T)],
        default: T,
    ) -> Result<T, InvalidTarget> {
        let Some(given) = self.take(name)? else { return Ok(default) };
        let found = values.iter().find(|(text, _)| *text == given);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let names: Vec<_> = values.iter().map(|(text, _)| *text).collect();
            InvalidTarget(format!("{name} is none of {}: {given}", names.join(", ")))
        })
    }

    pub(super) fn number(&mut self, name: &str) -> Result<Option<u32>, InvalidTarget> {
        let Some(given) = self.take(name)? else { return Ok(None) };
        match given.parse::<i32>() {
            // As in libpq, zero and less are the default.
            Ok(number) => Ok(u32::try_from(number).ok().filter(|number| *number > 0)),
            Err(_) => invalid(format!("{name} is not a whole number: {given}")),
        }
    }

    pub(super) fn duration(
        &mut self,
        name: &str,
        unit: fn(u64) -> Duration,
    ) -> Result<Option<Duration>, InvalidTarget> {
        Ok(self.number(name)?.map(|number| unit(number.into())))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.parameters.contains_key(name)
    }

    /// Unlike in libpq, a limit unless the URL says otherwise, if only that the system's is to hold.
    pub(super) fn limit(
        &mut self,
        name: &str,
        unit: fn(u64) -> Duration,
        unset: Duration,
    ) -> Result<Option<Duration>, InvalidTarget> {
        if self.has(name) { self.duration(name, unit) } else { Ok(Some(unset)) }
    }

    pub(super) fn refuse_rest(self) -> Result<(), InvalidTarget> {
        for (name, value) in self.parameters {
            if let Some(refusal) = refusal(&name, &value) {
                return invalid(refusal);
            }
        }
        Ok(())
    }
}

fn bad_port() -> InvalidTarget {
    // Not shown: a password with a character that is not percent-encoded ends up here.
    InvalidTarget(
        "a port of the connection URL is not a number from 1 to 65535; is a character of the \
         password not percent-encoded?"
            .to_owned(),
    )
}

/// Why a parameter that nothing reads is an error, or `None` if its value asks for nothing.
fn refusal(name: &str, value: &str) -> Option<String> {
    let hint = match (name, value) {
        (_, "")
        | ("gssencmode", "disable" | "prefer")
        | ("gssdelegation" | "sslcompression" | "requiressl", "0")
        | ("sslsni", "1")
        | ("sslcertmode", "allow")
        | ("ssl_min_protocol_version", "TLSv1" | "TLSv1.1" | "TLSv1.2")
        | ("min_protocol_version" | "max_protocol_version", "3.0")
        | ("replication", "false" | "off" | "no" | "0") => return None,
        ("pgbouncer", _) => "remove it and call `DatabaseBuilder::behind_transaction_pooler`",
        ("statement_cache_size" | "prepared_statement_cache_size" | "prepareThreshold", _) => {
            "remove it, and behind a transaction pooler call \
             `DatabaseBuilder::behind_transaction_pooler`"
        }
        ("connection_limit" | "pool_size" | "max_connections", _) => {
            "remove it and call `DatabaseBuilder::pool_size`"
        }
        ("pool_timeout", _) => "remove it and call `DatabaseBuilder::pool_timeout`",
        ("schema" | "currentSchema" | "search_path", _) => {
            "remove it; options=-csearch_path%3Dname sets the search path"
        }
        ("sslaccept" | "ssl", _) => "use sslmode",
        ("passfile" | "service" | "servicefile", _) => "put what it stands for into the URL",
        _ => "remove it",
    };
    Some(format!("the parameter {name} of the connection URL is not supported: {hint}"))
}

fn decoded(name: &str, text: &str) -> Result<String, InvalidTarget> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        bytes.push(match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                rest = tail;
                let digit = |byte: u8| char::from(byte).to_digit(16);
                match (digit(*high), digit(*low)) {
                    (Some(high), Some(low)) => u8::try_from(high << 4 | low).unwrap_or_default(),
                    _ => return invalid(format!("{name}: % without two hexadecimal digits")),
                }
            }
            (b'%', _) => return invalid(format!("{name}: % without two hexadecimal digits")),
            (byte, _) => *byte,
        });
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => invalid(format!("{name} in the connection URL is not UTF-8")),
    }
}
