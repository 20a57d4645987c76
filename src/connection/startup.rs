//! From a target to a connection that is ready for the first query.
//!
//! [Message Flow, Start-up](https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP).

mod conversation;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom as _, SystemRandom};

use super::message::{Outgoing, ServerError};
use super::target::{Host, Network, SessionAttributes, SslMode, Target};
use super::tls::Session;
use super::transport::{Address, Transport};
use conversation::Startup;

/// A connection that is ready for a query.
pub(super) struct Opened {
    pub(super) transport: Transport,
    pub(super) address: Address,
    /// What a request to cancel names.
    pub(super) pid: i32,
    pub(super) secret: Vec<u8>,
    /// What was received after the server was ready.
    pub(super) rest: Vec<u8>,
}

/// Why there is no connection, with a line for each server that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConnectError {
    pub(super) kind: Kind,
    pub(super) message: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// The server refused, with an SQLSTATE.
    Server(Box<ServerError>),
    /// The server could not be reached, or closed the connection.
    Io,
    Timeout,
    /// Something that the URL names cannot be used.
    Config,
    /// The server has no TLS, or the handshake failed.
    Tls,
    /// An authentication that is not supported or not accepted, or a server that failed to prove
    /// itself.
    Auth,
    /// Not what `target_session_attrs` asks for.
    Unsuitable,
    /// What the server sent is not the protocol.
    Protocol,
}

impl ConnectError {
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    fn server(error: Box<ServerError>) -> Self {
        let mut message = format!("{}: {}", error.severity, error.message);
        for (label, text) in [("DETAIL", &error.detail), ("HINT", &error.hint)] {
            if let Some(text) = text {
                message = format!("{message}\n{label}: {text}");
            }
        }
        Self::new(Kind::Server(error), message)
    }

    /// Of a server that refuses by this SQLSTATE.
    #[cfg(test)]
    pub(crate) fn refused(sqlstate: &str) -> Self {
        let sqlstate = sqlstate.to_owned();
        Self::server(Box::new(ServerError { sqlstate, ..ServerError::default() }))
    }

    /// The SQLSTATE of the server's refusal.
    pub(crate) fn sqlstate(&self) -> Option<&str> {
        match &self.kind {
            Kind::Server(error) => Some(&error.sqlstate),
            _ => None,
        }
    }

    /// Whether another server is not tried any more. Class 57P is of a server that is starting up
    /// or shutting down.
    fn is_final(&self) -> bool {
        match &self.kind {
            Kind::Server(error) => !error.sqlstate.starts_with("57P"),
            Kind::Config | Kind::Tls | Kind::Auth => true,
            Kind::Io | Kind::Timeout | Kind::Unsuitable | Kind::Protocol => false,
        }
    }
}

impl From<ConnectError> for crate::Error {
    fn from(error: ConnectError) -> Self {
        let reason = error.to_string();
        match error.sqlstate() {
            Some("53300") => Self::TooManyConnections { reason },
            Some("57P03") => Self::CannotConnectNow { reason },
            _ => Self::Connect { reason },
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConnectError {}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut => Self::new(Kind::Timeout, "timeout expired"),
            _ => Self::new(Kind::Io, error.to_string()),
        }
    }
}

fn auth<T>(message: impl Into<String>) -> Result<T, ConnectError> {
    Err(ConnectError::new(Kind::Auth, message))
}

fn protocol<T>(message: impl Into<String>) -> Result<T, ConnectError> {
    Err(ConnectError::new(Kind::Protocol, message))
}

/// Connects to the first server of the target that can be used.
pub(super) fn connect(target: &Target, within: Duration) -> Result<Opened, ConnectError> {
    let until = deadline(within);
    let mut tried = Tried::default();
    let passes = match target.session {
        SessionAttributes::PreferStandby => {
            &[SessionAttributes::Standby, SessionAttributes::Any][..]
        }
        _ => &[target.session],
    };
    for session in passes {
        for host in in_order(&target.hosts, target.random_order) {
            let addresses = match addresses(host, limited(target, until)) {
                Ok(addresses) => addresses,
                Err(error) => {
                    tried.failed(error);
                    continue;
                }
            };
            for address in in_order(&addresses, target.random_order) {
                match open(target, address, *session, limited(target, until)) {
                    Ok(opened) => return Ok(opened),
                    Err(mut error) => {
                        let last = error.is_final() || Instant::now() >= until;
                        let message = error.message;
                        error.message = format!("connection to server {address} failed: {message}");
                        tried.failed(error);
                        if last {
                            return Err(tried.into_error());
                        }
                    }
                }
            }
        }
    }
    Err(tried.into_error())
}

pub(super) fn deadline(within: Duration) -> Instant {
    let now = Instant::now();
    // A day is as good as what does not fit.
    now.checked_add(within).unwrap_or_else(|| now + Duration::from_hours(24))
}

fn limited(target: &Target, until: Instant) -> Instant {
    target.connect_timeout.map_or(until, |timeout| until.min(deadline(timeout)))
}

#[derive(Default)]
struct Tried {
    lines: Vec<String>,
    kind: Option<Kind>,
}

impl Tried {
    fn failed(&mut self, error: ConnectError) {
        if !self.lines.contains(&error.message) {
            self.lines.push(error.message);
        }
        // The word of a server tells more than that another was not reached.
        if !matches!(self.kind, Some(Kind::Server(_))) || matches!(error.kind, Kind::Server(_)) {
            self.kind = Some(error.kind);
        }
    }

    fn into_error(self) -> ConnectError {
        ConnectError::new(self.kind.unwrap_or(Kind::Config), self.lines.join("\n"))
    }
}

fn in_order<T>(items: &[T], random: bool) -> Vec<&T> {
    let mut items: Vec<_> = items.iter().collect();
    if random {
        for at in (1..items.len()).rev() {
            let mut bytes = [0; 4];
            // Without random numbers the order stays, which does no harm.
            let _ = SystemRandom::new().fill(&mut bytes);
            items.swap(at, u32::from_ne_bytes(bytes) as usize % (at + 1));
        }
    }
    items
}

fn addresses(host: &Host, until: Instant) -> Result<Vec<Address>, ConnectError> {
    if host.is_socket() {
        let path = Path::new(&host.name).join(format!(".s.PGSQL.{}", host.port));
        return Ok(vec![Address::Unix(path)]);
    }
    let found = match host.address.or_else(|| host.name.parse::<IpAddr>().ok()) {
        Some(ip) => vec![SocketAddr::new(ip, host.port)],
        None => resolve(host, until)?,
    };
    Ok(found.into_iter().map(|socket| Address::Tcp { host: host.name.clone(), socket }).collect())
}

/// The system's resolver knows no deadline, so that it runs in a thread that may be left behind.
fn resolve(host: &Host, until: Instant) -> Result<Vec<SocketAddr>, ConnectError> {
    let (sender, receiver) = mpsc::channel();
    let (name, port) = (host.name.clone(), host.port);
    let failed = |kind, reason: &dyn fmt::Display| {
        let name = &host.name;
        ConnectError::new(kind, format!("could not find the address of host \"{name}\": {reason}"))
    };
    std::thread::Builder::new()
        .name("resolve".to_owned())
        .spawn(move || {
            let found = (name.as_str(), port).to_socket_addrs().map(Vec::from_iter);
            // Nobody may wait for it any more.
            let _ = sender.send(found);
        })
        .map_err(|error| failed(Kind::Io, &error))?;
    match receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
        Ok(Ok(found)) if found.is_empty() => Err(failed(Kind::Io, &"it has none")),
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(failed(Kind::Io, &error)),
        Err(RecvTimeoutError::Timeout) => Err(failed(Kind::Timeout, &"timeout expired")),
        Err(RecvTimeoutError::Disconnected) => Err(failed(Kind::Io, &"the resolver failed")),
    }
}

fn open(
    target: &Target,
    address: &Address,
    session: SessionAttributes,
    until: Instant,
) -> Result<Opened, ConnectError> {
    let network = &*target.network;
    let tls = wants_tls(network, address);
    let first = open_once(target, address, tls, session, until);
    match first {
        // `prefer` is content without TLS, as where only a line for connections without it
        // (`hostnossl`) lets the user in.
        Err(error)
            if tls
                && network.sslmode == SslMode::Prefer
                && (error.kind == Kind::Tls || error.sqlstate() == Some("28000")) =>
        {
            open_once(target, address, false, session, until).map_err(|plain| {
                if plain.message == error.message {
                    return plain;
                }
                let message = format!("{}\nand without TLS: {}", error.message, plain.message);
                ConnectError::new(plain.kind, message)
            })
        }
        first => first,
    }
}

fn wants_tls(network: &Network, address: &Address) -> bool {
    let tcp = matches!(address, Address::Tcp { .. });
    tcp && network.sslmode != SslMode::Disable && cfg!(feature = "tls")
}

fn open_once(
    target: &Target,
    address: &Address,
    tls: bool,
    session: SessionAttributes,
    until: Instant,
) -> Result<Opened, ConnectError> {
    let mut transport = Transport::connect(address, &target.network, until)?;
    if tls {
        start_tls(&mut transport, address, &target.network, until)?;
    }
    let mut startup = Startup::new(transport, address.is_local(), until);
    startup.introduce(target)?;
    startup.authenticate(target)?;
    startup.wait_until_ready()?;
    startup.check_session(session)?;
    Ok(Opened {
        transport: startup.transport,
        address: address.clone(),
        pid: startup.pid,
        secret: startup.secret,
        rest: startup.received,
    })
}

/// Asks the server for TLS and starts it, unless the server has none and it is only preferred.
pub(super) fn start_tls(
    transport: &mut Transport,
    address: &Address,
    network: &Network,
    until: Instant,
) -> Result<(), ConnectError> {
    let Address::Tcp { host, .. } = address else { return Ok(()) };
    // Before anything is sent, so that a missing file of certificates is not the server's fault.
    let session =
        Session::start(network, host).map_err(|error| ConnectError::new(Kind::Config, error))?;
    if !network.direct_tls && !server_has_tls(transport, until)? {
        if network.sslmode == SslMode::Prefer {
            return Ok(());
        }
        let message = "the server does not support TLS, but the sslmode requires it";
        return Err(ConnectError::new(Kind::Tls, message));
    }
    transport.start_tls(session, until).map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut => error.into(),
        _ => ConnectError::new(Kind::Tls, format!("TLS: {error}")),
    })
}

fn server_has_tls(transport: &mut Transport, until: Instant) -> Result<bool, ConnectError> {
    let mut out = Outgoing::default();
    out.ssl_request();
    transport.send(out.as_bytes(), Some(until))?;
    let mut answer = Vec::new();
    transport.receive(&mut answer, Some(until))?;
    match *answer.as_slice() {
        [b'S'] => Ok(true),
        [b'N'] => Ok(false),
        [] => Err(ConnectError::new(Kind::Io, "the server closed the connection unexpectedly")),
        // An error here is not authenticated by anything, so it is not shown.
        [b'E', ..] => {
            Err(ConnectError::new(Kind::Tls, "the server answered the request for TLS by an error"))
        }
        // More than a byte would be taken for what came through TLS later: CVE-2021-23222.
        [b'S' | b'N', ..] => protocol("received unencrypted data after the answer about TLS"),
        _ => protocol("the server's answer about TLS is none; is it a PostgreSQL server?"),
    }
}

/// Servers that are none: what they send is written here.
#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::thread::JoinHandle;

    use super::*;

    const READY: &[u8] = b"R\0\0\0\x08\0\0\0\0K\0\0\0\x0c\0\0\0\x07abcdZ\0\0\0\x05I";

    fn framed(tag: u8, body: &[u8]) -> &'static [u8] {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        Vec::leak([&[tag][..], &length, body].concat())
    }

    fn answers(answers: [&'static [u8]; 2]) -> &'static [&'static [u8]] {
        Vec::leak(answers.to_vec())
    }

    /// Answers each connection by these bytes, one chunk for each that it receives.
    fn server(answers: &'static [&'static [u8]], connections: usize) -> (u16, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let serve = move || {
            for _ in 0..connections {
                let (mut stream, _) = listener.accept().unwrap();
                converse(&mut stream, answers);
            }
        };
        (port, std::thread::spawn(serve))
    }

    fn converse(stream: &mut TcpStream, answers: &[&[u8]]) {
        let mut received = [0; 4096];
        for answer in answers {
            if stream.read(&mut received).unwrap_or(0) == 0 {
                return;
            }
            stream.write_all(answer).unwrap();
        }
        // Until the client closes.
        while stream.read(&mut received).is_ok_and(|length| length > 0) {}
    }

    fn opens(url: &str, within: Duration) -> Result<Opened, ConnectError> {
        connect(&Target::parse(url).unwrap(), within)
    }

    fn against(answers: &'static [&'static [u8]], query: &str) -> Result<Opened, ConnectError> {
        let (port, _) = server(answers, 2);
        opens(&format!("postgres://u:hush@127.0.0.1:{port}/d?{query}"), Duration::from_secs(1))
    }

    fn fails(answers: &'static [&'static [u8]], query: &str, kind: &Kind, text: &str) {
        let error = against(answers, query).map(|_| ()).unwrap_err();
        assert_eq!(&error.kind, kind, "{error}");
        assert!(error.message.contains(text), "{error}");
        assert!(!error.message.contains("hush"), "{error}");
    }

    #[test]
    fn what_comes_after_the_server_is_ready_is_kept() {
        let opened = against(
            &[b"R\0\0\0\x08\0\0\0\0S\0\0\0\x08a\0b\0K\0\0\0\x0c\0\0\0\x07abcdZ\0\0\0\x05IA\0"],
            "sslmode=disable",
        )
        .unwrap();
        assert_eq!((opened.pid, opened.secret.as_slice()), (7, &b"abcd"[..]));
        assert_eq!(opened.rest, b"A\0");
    }

    #[cfg(feature = "tls")]
    #[test]
    fn a_server_without_tls_is_enough_where_it_is_only_preferred() {
        assert!(!against(&[b"N", READY], "").unwrap().transport.is_encrypted());
    }

    #[cfg(feature = "tls")]
    #[test]
    fn bytes_after_the_answer_about_tls_are_refused() {
        let text = "unencrypted data";
        fails(&[b"SR\0\0\0\x08\0\0\0\0"], "sslmode=require", &Kind::Protocol, text);
        fails(&[b"N\0"], "sslmode=prefer", &Kind::Protocol, text);
    }

    #[cfg(feature = "tls")]
    #[test]
    fn tls_that_fails_or_is_missing_is_no_connection_where_it_is_required() {
        fails(&[b"N", READY], "sslmode=require", &Kind::Tls, "does not support TLS");
        fails(&[b"S", b"no TLS", READY], "sslmode=require", &Kind::Tls, "TLS");
        fails(&[b"E\0\0\0\x04", READY], "sslmode=require", &Kind::Tls, "TLS");
    }

    #[test]
    fn what_is_not_the_protocol_is_refused() {
        let plain = "sslmode=disable";
        fails(&[b"HTTP/1.1 400\r\n"], plain, &Kind::Protocol, "");
        fails(&[b"R\0\0\0\x03"], plain, &Kind::Protocol, "malformed");
        fails(&[b"Z\0\0\0\x05I"], plain, &Kind::Protocol, "unexpected");
        fails(&[b"R\x3f\xff\xff\xff\0"], plain, &Kind::Timeout, "timeout expired");
    }

    #[test]
    fn an_authentication_that_is_not_supported_or_not_allowed_is_refused() {
        let plain = "sslmode=disable";
        fails(&[b"R\0\0\0\x0c\0\0\0\x05salt"], plain, &Kind::Auth, "scram-sha-256");
        fails(&[b"R\0\0\0\x08\0\0\0\x07"], plain, &Kind::Auth, "GSSAPI");
        let only = "sslmode=disable&require_auth=scram-sha-256";
        fails(&[READY], only, &Kind::Auth, "no authentication");
        fails(&[b"R\0\0\0\x08\0\0\0\x03"], only, &Kind::Auth, "does not allow");
        // The mechanism is only for TLS: somebody between has taken it off.
        let plus = framed(b'R', b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0\0");
        fails(answers([plus, READY]), plain, &Kind::Auth, "there is none");
        // A server that skips its own proof.
        let sasl = framed(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
        fails(answers([sasl, READY]), plain, &Kind::Protocol, "during SCRAM");
    }

    #[test]
    fn the_password_itself_is_not_sent_where_others_can_read_it() {
        let asks: &[&[u8]] = &[b"R\0\0\0\x08\0\0\0\x03", READY];
        for (query, local, sent) in [
            ("", true, true),
            ("", false, false),
            ("require_auth=password", false, true),
            ("require_auth=!none", false, false),
        ] {
            let (port, _) = server(asks, 1);
            let url = format!("postgres://u:hush@127.0.0.1:{port}/d?{query}");
            let target = Target::parse(&url).unwrap();
            let until = deadline(Duration::from_secs(5));
            let address = addresses(&target.hosts[0], until).unwrap().remove(0);
            let transport = Transport::connect(&address, &target.network, until).unwrap();
            let mut startup = Startup::new(transport, local, until);
            startup.introduce(&target).unwrap();
            assert_eq!(startup.authenticate(&target).is_ok(), sent, "{query} {local}");
        }
    }

    #[test]
    fn an_address_is_local_only_on_this_machine() {
        for (address, local) in [
            ("127.0.0.1:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("10.0.0.1:1", false),
            ("0.0.0.0:1", false),
            ("[2001:db8::1]:1", false),
        ] {
            let address =
                Address::Tcp { host: "localhost".to_owned(), socket: address.parse().unwrap() };
            assert_eq!(address.is_local(), local, "{address}");
        }
    }

    #[test]
    fn a_silent_server_is_given_up_and_the_next_one_tried() {
        let (silent, _) = server(&[], 2);
        let url = format!("postgres://u@127.0.0.1:{silent}/d");
        let start = Instant::now();
        let error = opens(&url, Duration::from_millis(300)).map(|_| ()).unwrap_err();
        assert_eq!(error.kind, Kind::Timeout, "{error}");
        assert!(start.elapsed() < Duration::from_secs(2));
        let (port, _) = server(&[READY], 1);
        let url = format!(
            "postgres://u@127.0.0.1:{silent},127.0.0.1:{port}/d?sslmode=disable&connect_timeout=1"
        );
        let opened = opens(&url, Duration::from_secs(10)).unwrap();
        assert!(opened.address.to_string().contains(&port.to_string()));
        assert!(start.elapsed() < Duration::from_secs(4));
    }

    #[test]
    fn a_server_that_starts_up_is_passed_over_and_its_answer_is_told() {
        let answers = answers([framed(b'E', b"SFATAL\0VFATAL\0C57P03\0Mstarting\0\0"), &[][..]]);
        let ((first, _), (second, _)) = (server(answers, 1), server(&[READY], 1));
        let url = format!("postgres://u@127.0.0.1:{first},127.0.0.1:{second}/d?sslmode=disable");
        opens(&url, Duration::from_secs(5)).unwrap();
        let (first, _) = server(answers, 1);
        let url = format!("postgres://u@127.0.0.1:{first},127.0.0.1:1/d?sslmode=disable");
        let error = opens(&url, Duration::from_secs(5)).map(|_| ()).unwrap_err();
        assert_eq!(error.sqlstate(), Some("57P03"), "{error}");
        assert_eq!(error.message.lines().count(), 2, "{error}");
    }
}
