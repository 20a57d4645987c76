//! Where to connect and how, read from a connection URL.
//!
//! The URL is the one that libpq takes:
//! [Connection URIs](https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS).
//! Three things differ, so that the URL alone tells what happens. Environment variables (`PGHOST`,
//! `PGPASSWORD`, ...) and files in the home directory (`.pgpass`, `.postgresql/`) are not read. The
//! user has no default. A parameter that is not supported is an error, unless its value only turns
//! off what is not there anyway.

mod given;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::tls::TlsCache;
use given::Given;

const DEFAULT_PORT: u16 = 5432;

/// Where Debian, Red Hat and PostgreSQL itself put the socket.
#[cfg(unix)]
const DEFAULT_HOSTS: [&str; 2] = ["/run/postgresql", "/tmp"];
#[cfg(not(unix))]
const DEFAULT_HOSTS: [&str; 1] = ["localhost"];

/// A connection URL that cannot be used. The message has no password in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InvalidTarget(pub(crate) String);

impl fmt::Display for InvalidTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidTarget {}

fn invalid<T>(message: impl Into<String>) -> Result<T, InvalidTarget> {
    Err(InvalidTarget(message.into()))
}

/// A host that is gone is noticed within half a minute, whether an answer is awaited (the first three) or
/// bytes are on their way to it.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_COUNT: u32 = 3;
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// A server to connect to, or one of several, and how. `Debug` does not show the password.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(super) hosts: Vec<Host>,
    pub(super) random_order: bool,
    pub(super) session: SessionAttributes,
    /// For each address; `None` waits as long as the caller does.
    pub(super) connect_timeout: Option<Duration>,
    pub(super) user: String,
    pub(super) password: Option<Password>,
    pub(super) dbname: String,
    pub(super) application_name: Option<String>,
    pub(super) options: Option<String>,
    pub(super) channel_binding: ChannelBinding,
    pub(super) accepted: Accepted,
    pub(super) network: Arc<Network>,
}

/// What a connection to cancel a statement needs too: everything but who connects.
#[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "read where TLS is made"))]
#[derive(Debug, Default)]
pub(super) struct Network {
    pub(super) sslmode: SslMode,
    pub(super) root: Option<RootCertificates>,
    /// The files of the client's certificate and of its key.
    pub(super) client_certificate: Option<(PathBuf, PathBuf)>,
    /// TLS from the first byte on, without asking the server.
    pub(super) direct_tls: bool,
    pub(super) keepalive: Option<Keepalive>,
    pub(super) tcp_user_timeout: Option<Duration>,
    pub(super) tls: TlsCache,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    /// A host name, an address, or the absolute path of a socket's directory.
    pub(super) name: String,
    /// Connects there without asking for the name's address.
    pub(super) address: Option<IpAddr>,
    pub(super) port: u16,
}

impl Host {
    pub(super) fn is_socket(&self) -> bool {
        self.address.is_none() && self.name.starts_with('/')
    }
}

#[derive(Clone)]
pub(super) struct Password(pub(super) Zeroizing<String>);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SslMode {
    Disable,
    #[default]
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RootCertificates {
    System,
    File(PathBuf),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChannelBinding {
    Disable,
    Prefer,
    Require,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionAttributes {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

/// `None` is the system's own value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Keepalive {
    pub(super) idle: Option<Duration>,
    pub(super) interval: Option<Duration>,
    pub(super) count: Option<u32>,
}

/// The authentication methods that the server may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Accepted {
    pub(super) none: bool,
    pub(super) scram: bool,
    pub(super) password: Cleartext,
}

/// Where the server may be given the password as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cleartext {
    Never,
    /// Where nobody else can read it: by TLS, or on this machine.
    Private,
    /// Only if the URL says so in so many words.
    Anywhere,
}

impl Target {
    pub(crate) fn parse(url: &str) -> Result<Self, InvalidTarget> {
        let mut given = Given::read(url)?;
        let network = network(&mut given)?;
        let hosts = given.hosts()?;
        let Some(user) = given.take("user")? else {
            return invalid("the connection URL names no user (there is no default)");
        };
        let fallback_name = given.take("fallback_application_name")?;
        if let Some(encoding) = given.take("client_encoding")?
            && !["utf8", "utf-8", "auto"].contains(&encoding.to_ascii_lowercase().as_str())
        {
            return invalid("client_encoding can only be UTF8");
        }
        let target = Self {
            hosts,
            random_order: given.one_of(
                "load_balance_hosts",
                &[("disable", false), ("random", true)],
                false,
            )?,
            session: given.session_attributes()?,
            connect_timeout: given.duration("connect_timeout", Duration::from_secs)?,
            password: given.take("password")?.map(|text| Password(Zeroizing::new(text))),
            dbname: given.take("dbname")?.unwrap_or_else(|| user.clone()),
            user,
            application_name: given.take("application_name")?.or(fallback_name),
            options: given.take("options")?,
            channel_binding: given.channel_binding()?,
            accepted: accepted(given.take("require_auth")?.as_deref())?,
            network: Arc::new(network),
        };
        given.refuse_rest()?;
        Ok(target)
    }
}

fn network(given: &mut Given) -> Result<Network, InvalidTarget> {
    let root = given.take("sslrootcert")?.map(|root| match root.as_str() {
        "system" => RootCertificates::System,
        file => RootCertificates::File(file.into()),
    });
    let sslmode = given.sslmode(root.as_ref())?;
    let client_certificate = match (given.take("sslcert")?, given.take("sslkey")?) {
        (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
        (None, None) => None,
        _ => return invalid("sslcert and sslkey are needed both or not at all"),
    };
    if client_certificate.is_some() && sslmode == SslMode::Prefer {
        return invalid("sslcert is of use only with an sslmode of require or above");
    }
    let direct_tls =
        given.one_of("sslnegotiation", &[("postgres", false), ("direct", true)], false)?;
    if direct_tls && sslmode < SslMode::Require {
        return invalid("sslnegotiation=direct needs an sslmode of require or above");
    }
    let keepalive = Keepalive {
        idle: given.limit("keepalives_idle", Duration::from_secs, KEEPALIVE_IDLE)?,
        interval: given.limit("keepalives_interval", Duration::from_secs, KEEPALIVE_INTERVAL)?,
        count: if given.has("keepalives_count") {
            given.number("keepalives_count")?
        } else {
            Some(KEEPALIVE_COUNT)
        },
    };
    let keep = given.one_of("keepalives", &[("0", false), ("1", true)], true)?;
    Ok(Network {
        sslmode,
        root,
        client_certificate,
        direct_tls,
        keepalive: keep.then_some(keepalive),
        tcp_user_timeout: given.limit("tcp_user_timeout", Duration::from_millis, USER_TIMEOUT)?,
        ..Network::default()
    })
}

/// `require_auth`: a list of methods, or with a `!` before each, of those that are not accepted.
fn accepted(list: Option<&str>) -> Result<Accepted, InvalidTarget> {
    let all = Accepted { none: true, scram: true, password: Cleartext::Private };
    let Some(list) = list else { return Ok(all) };
    let methods: Vec<_> = list.split(',').map(str::trim).collect();
    let negative = methods.iter().filter(|method| method.starts_with('!')).count();
    if negative != 0 && negative != methods.len() {
        return invalid("require_auth mixes methods with and without !");
    }
    let negative = negative != 0;
    let nothing = Accepted { none: false, scram: false, password: Cleartext::Never };
    let mut accepted = if negative { all } else { nothing };
    for method in methods {
        match method.trim_start_matches('!') {
            "none" => accepted.none = !negative,
            "scram-sha-256" => accepted.scram = !negative,
            "password" if negative => accepted.password = Cleartext::Never,
            "password" => accepted.password = Cleartext::Anywhere,
            // Never accepted, so that nothing changes.
            "md5" | "gss" | "sspi" | "oauth" => {}
            _ => return invalid(format!("require_auth has an unknown method: {method}")),
        }
    }
    if accepted == nothing {
        return invalid(
            "require_auth leaves none of the methods that are supported: scram-sha-256, password, \
             none",
        );
    }
    Ok(accepted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(target: &Target) -> String {
        let shown = |host: &Host| match host.address {
            Some(address) => format!("{}={address}:{}", host.name, host.port),
            None => format!("{}:{}", host.name, host.port),
        };
        target.hosts.iter().map(shown).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_url_names_hosts_user_and_database() {
        for (url, expected) in [
            ("postgres://u@h", "u - h:5432 u"),
            ("postgresql://u@h/", "u - h:5432 u"),
            ("postgresql://u:p@h:6/d", "u p h:6 d"),
            ("postgres://u:p@h1:1,h2,h3:3/d", "u p h1:1 h2:5432 h3:3 d"),
            ("postgres://u@[::1]:6/d", "u - ::1:6 d"),
            ("postgres://u@[2001:db8::1],h:7/d", "u - 2001:db8::1:5432 h:7 d"),
            ("postgres://a%40b:%3a%2f%3F%23%25%c3%a9@h/d%20e", "a@b :/?#%é h:5432 d e"),
            ("postgres://u:p@q@h/d", "u p@q h:5432 d"),
            ("postgres://u:p+q@h/d", "u p+q h:5432 d"),
            ("postgres://u@%2Frun%2Fpostgresql:6/d", "u - /run/postgresql:6 d"),
            ("postgres://u@/d?host=/run/pg", "u - /run/pg:5432 d"),
            ("postgres:///d?host=h&port=9&user=u&password=p%26q", "u p&q h:9 d"),
            ("postgres://u:p@h:1/d?user=v&password=q&host=i&port=2&dbname=e", "v q i:2 e"),
            ("postgres://u@h1,h2/d?port=7", "u - h1:7 h2:7 d"),
            ("postgres:///?host=h1,h2&port=1,2&user=u", "u - h1:1 h2:2 u"),
            ("postgres://u@h/d?hostaddr=10.0.0.1", "u - h=10.0.0.1:5432 d"),
            ("postgres://u@/d?hostaddr=::1,10.0.0.1&port=5", "u - ::1=::1:5 10.0.0.1=10.0.0.1:5 d"),
            ("postgres://u@/d", "u - /run/postgresql:5432 /tmp:5432 d"),
            ("postgres://?user=u", "u - /run/postgresql:5432 /tmp:5432 u"),
            ("postgres://u@h?sslmode=disable", "u - h:5432 u"),
            ("postgres://u:@h/d?password=", "u - h:5432 d"),
        ] {
            let target = Target::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            let password = target.password.as_ref().map_or("-", |password| &password.0);
            let found = format!("{} {password} {} {}", target.user, hosts(&target), target.dbname);
            assert_eq!(found, expected, "{url}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (url, expected) in [
            ("host=h user=u", "must begin with postgres://"),
            ("mysql://u@h", "must begin with postgres://"),
            ("postgres://h/d", "names no user"),
            ("postgres://u@h:0", "port"),
            ("postgres://u@h:65536", "port"),
            ("postgres://u@h:x", "port"),
            ("postgres://u@h1:1,h2:2/d?port=1,2,3", "as many ports"),
            ("postgres://u@h1,h2/d?hostaddr=::1", "host and hostaddr"),
            ("postgres://u@h/d?hostaddr=h", "hostaddr is not an IP address: h"),
            ("postgres://u@[::1/d", "]"),
            ("postgres://u@[::1]x/d", "]"),
            ("postgres://u%4@h", "user: %"),
            ("postgres://u%zz@h", "user: %"),
            ("postgres://u%+1@h", "user: %"),
            ("postgres://u%ff@h", "user in the connection URL is not UTF-8"),
            ("postgres://u:%00@h", "password in the connection URL contains a zero byte"),
            ("postgres://u@h/d?sslmode", "no ="),
            ("postgres://u@h/d?sslmode=disable&sslmode=require", "sslmode twice"),
            ("postgres://u@h/d?sslmode=allow", "use prefer or require"),
            ("postgres://u@h/d?sslmode=on", "sslmode is none of"),
            ("postgres://u@h/d?connect_timeout=1s", "connect_timeout is not a whole number: 1s"),
            ("postgres://u@h/d?keepalives=2", "keepalives is none of"),
            ("postgres://u@h/d?channel_binding=on", "channel_binding is none of"),
            ("postgres://u@h/d?target_session_attrs=master", "target_session_attrs is none of any"),
            ("postgres://u@h/d?client_encoding=LATIN1", "client_encoding"),
            ("postgres://u@h/d?require_auth=md5", "leaves none"),
            ("postgres://u@h/d?require_auth=!scram-sha-256,!password,!none", "leaves none"),
            ("postgres://u@h/d?require_auth=none,!password", "mixes"),
            ("postgres://u@h/d?require_auth=scram", "unknown method: scram"),
            ("postgres://u@h/d?sslcert=a", "sslcert and sslkey"),
            ("postgres://u@h/d?sslcert=a&sslkey=b", "require or above"),
            ("postgres://u@h/d?sslnegotiation=direct", "require or above"),
            ("postgres://u@h/d?sslrootcert=a", "use verify-full"),
            ("postgres://u@h/d?pgbouncer=true", "DatabaseBuilder::behind_transaction_pooler"),
            ("postgres://u@h/d?connection_limit=5", "DatabaseBuilder::pool_size"),
            ("postgres://u@h/d?pool_timeout=5", "DatabaseBuilder::pool_timeout"),
            ("postgres://u@h/d?schema=s", "options=-csearch_path"),
            ("postgres://u@h/d?passfile=f", "passfile"),
            ("postgres://u@h/d?gssencmode=require", "gssencmode"),
            ("postgres://u@h/d?sslcrl=f", "sslcrl"),
            ("postgres://u@h/d?ssl_min_protocol_version=TLSv1.3", "ssl_min_protocol_version"),
            ("postgres://u@h/d?ssl=false", "use sslmode"),
            ("postgres://u@h/d?SSLMODE=disable", "SSLMODE"),
        ] {
            let error = Target::parse(url).err().unwrap_or_else(|| panic!("{url} is accepted"));
            assert!(error.0.contains(expected), "{url}: {error}");
        }
    }

    #[test]
    fn values_that_ask_for_nothing_are_accepted() {
        let url = "postgres://u@h/d?gssencmode=disable&sslcompression=0&sslsni=1&krbsrvname=\
                   &replication=false&client_encoding=utf-8&connect_timeout=0&keepalives_count=-1";
        let target = Target::parse(url).unwrap();
        assert_eq!(target.connect_timeout, None);
        assert_eq!(target.network.keepalive.as_ref().and_then(|keepalive| keepalive.count), None);
    }

    #[test]
    fn a_host_that_is_gone_is_noticed_unless_the_url_says_otherwise() {
        let network = Target::parse("postgres://u@h/d").unwrap().network;
        let (idle, interval) = (Some(KEEPALIVE_IDLE), Some(KEEPALIVE_INTERVAL));
        assert_eq!(network.keepalive, Some(Keepalive { idle, interval, count: Some(3) }));
        assert_eq!(network.tcp_user_timeout, Some(USER_TIMEOUT));
        let given = "postgres://u@h/d?tcp_user_timeout=0&keepalives=0";
        let network = Target::parse(given).unwrap().network;
        assert_eq!((&network.keepalive, network.tcp_user_timeout), (&None, None));
    }

    #[test]
    fn settings_are_read() {
        let target = Target::parse(
            "postgres://u@h/d?connect_timeout=3&keepalives_idle=60&keepalives_interval=5\
             &keepalives_count=4&tcp_user_timeout=1500&load_balance_hosts=random\
             &target_session_attrs=prefer-standby&channel_binding=require&options=-c%20a%3Db\
             &fallback_application_name=f&require_auth=password,md5",
        )
        .unwrap();
        assert_eq!(target.connect_timeout, Some(Duration::from_secs(3)));
        let keepalive = Keepalive {
            idle: Some(Duration::from_mins(1)),
            interval: Some(Duration::from_secs(5)),
            count: Some(4),
        };
        assert_eq!(target.network.keepalive, Some(keepalive));
        assert_eq!(target.network.tcp_user_timeout, Some(Duration::from_millis(1500)));
        assert!(target.random_order);
        assert_eq!(target.session, SessionAttributes::PreferStandby);
        assert_eq!(target.channel_binding, ChannelBinding::Require);
        assert_eq!(target.options.as_deref(), Some("-c a=b"));
        assert_eq!(target.application_name.as_deref(), Some("f"));
        let accepted = Accepted { none: false, scram: false, password: Cleartext::Anywhere };
        assert_eq!(target.accepted, accepted);
        let target = Target::parse("postgres://u@h?require_auth=!none&keepalives=0").unwrap();
        let accepted = Accepted { none: false, scram: true, password: Cleartext::Private };
        assert_eq!((target.accepted, &target.network.keepalive), (accepted, &None));
    }

    #[cfg(feature = "tls")]
    #[test]
    fn tls_is_what_the_url_says_and_no_less() {
        for (query, mode) in [
            ("", Some(SslMode::Prefer)),
            ("sslmode=disable", Some(SslMode::Disable)),
            ("sslmode=require", Some(SslMode::Require)),
            ("ssl=true", Some(SslMode::Require)),
            ("ssl=true&sslmode=verify-full&sslrootcert=f", Some(SslMode::VerifyFull)),
            ("sslmode=require&sslrootcert=f", Some(SslMode::Require)),
            ("sslmode=verify-ca&sslrootcert=f", Some(SslMode::VerifyCa)),
            ("sslrootcert=system", Some(SslMode::VerifyFull)),
            ("sslmode=verify-ca&sslrootcert=system", None),
            ("sslmode=require&sslrootcert=system", None),
            ("sslmode=verify-ca", None),
            ("sslmode=verify-full", None),
        ] {
            let target = Target::parse(&format!("postgres://u@h/d?{query}"));
            assert_eq!(target.ok().map(|target| target.network.sslmode), mode, "{query}");
        }
        let target = Target::parse(
            "postgres://u@h/d?sslmode=require&sslnegotiation=direct&sslcert=a&sslkey=b",
        );
        let network = target.unwrap().network;
        assert!(network.direct_tls && network.client_certificate.is_some());
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn without_tls_a_url_that_asks_for_it_is_refused() {
        for mode in ["require", "verify-ca", "verify-full"] {
            let error = Target::parse(&format!("postgres://u@h/d?sslmode={mode}")).unwrap_err();
            assert!(error.0.contains("feature `tls`"), "{error}");
        }
        Target::parse("postgres://u@h/d?sslmode=prefer").unwrap();
    }

    /// Wherever an unescaped character cuts the URL apart, no part of the password is shown.
    #[test]
    fn neither_debug_nor_an_error_shows_the_password() {
        let target = Target::parse("postgres://u:secret@h/d").unwrap();
        assert!(!format!("{target:?}").contains("secret"), "{target:?}");
        for url in [
            "postgres://u:secret/x@h/d",
            "postgres://u:secret?x@h/d",
            "postgres://u:1?secret@h/d",
            "postgres://u:1?secret@h/d?sslmode=disable",
            "postgres://u:1/secret?x@h=1",
            "postgres://u:secret%zz@h/d",
            "postgres://u:secret%ff@h/d",
            "postgres://u:secret@h:x/d",
            "postgres:/u:secret@h/d",
            "postgres://u@h?password=secret%",
        ] {
            let error = Target::parse(url).unwrap_err();
            assert!(!error.0.contains("secret"), "{url}: {error}");
        }
    }
}
