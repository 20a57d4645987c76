//! Bytes to and from a server: over TCP, TLS or a Unix socket, each operation with a deadline.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};

use super::target::Network;
use super::tls::Session;

/// The most that one call of `receive` reads.
const READ_SIZE: usize = 64 * 1024;

/// How much is encrypted before it is sent.
const SEND_SIZE: usize = 1024 * 1024;

/// How long a full socket blocks `send` before it looks whether the server waits for the same.
const SEND_TIMEOUT: Duration = Duration::from_millis(1);

/// The longest that one read waits, if there is no deadline. Then it is repeated.
const READ_TIMEOUT: Duration = Duration::from_hours(1);

/// Where a connection goes to. `Display` is as in libpq's messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp { host: String, socket: SocketAddr },
    Unix(PathBuf),
}

impl Address {
    /// Whether only this machine can see what is sent.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::Tcp { socket, .. } => socket.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "on socket \"{}\"", path.display()),
            Self::Tcp { host, socket } if *host == socket.ip().to_string() => {
                write!(f, "at \"{host}\", port {}", socket.port())
            }
            Self::Tcp { host, socket } => {
                write!(f, "at \"{host}\" ({}), port {}", socket.ip(), socket.port())
            }
        }
    }
}

pub(super) struct Transport {
    /// A Unix socket too: what is called here is the same for both, and unlike `socket2`'s
    /// operations these raise no `SIGPIPE`.
    socket: TcpStream,
    tls: Option<Session>,
    buffer: Box<[u8]>,
    /// What the server sent while `send` waited.
    early: Vec<u8>,
    read_timeout: Duration,
}

impl Transport {
    pub(super) fn connect(
        address: &Address,
        network: &Network,
        until: Instant,
    ) -> io::Result<Self> {
        let socket = match address {
            Address::Tcp { socket, .. } => connect_tcp(*socket, network, until)?,
            Address::Unix(path) => {
                let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
                // It also limits how long `connect` waits for a full queue.
                socket.set_write_timeout(Some(remaining(until)?))?;
                socket.connect(&SockAddr::unix(path)?)?;
                socket
            }
        };
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        Ok(Self {
            socket: socket.into(),
            tls: None,
            buffer: vec![0; READ_SIZE].into_boxed_slice(),
            early: Vec::new(),
            read_timeout: Duration::MAX,
        })
    }

    /// Continues with TLS.
    pub(super) fn start_tls(&mut self, session: Session, until: Instant) -> io::Result<()> {
        let session = self.tls.insert(session);
        repeat(&self.socket, &mut self.read_timeout, Some(until), || {
            session.handshake(&self.socket)
        })
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// The server's certificate, of a TLS session.
    pub(super) fn server_certificate(&self) -> Option<&[u8]> {
        self.tls.as_ref()?.server_certificate()
    }

    /// Sends everything. After an error the server may have said why: it can still be received.
    pub(super) fn send(&mut self, bytes: &[u8], until: Option<Instant>) -> io::Result<()> {
        for chunk in bytes.chunks(SEND_SIZE) {
            self.send_chunk(chunk, until)?;
        }
        Ok(())
    }

    fn send_chunk(&mut self, mut bytes: &[u8], until: Option<Instant>) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.queue(bytes)?;
        }
        loop {
            let sent = match &mut self.tls {
                Some(tls) => tls.flush(&self.socket),
                None => write_all(&self.socket, &mut bytes),
            };
            match sent {
                Err(error) if is_transient(&error) => {}
                sent => return sent,
            }
            if let Some(until) = until {
                remaining(until)?;
            }
            // The server reads no further while nobody takes its answers to what came before.
            self.receive_early()?;
        }
    }

    fn receive_early(&mut self) -> io::Result<()> {
        self.socket.set_nonblocking(true)?;
        let result = loop {
            match read(&self.socket, self.tls.as_mut(), &mut self.buffer) {
                Ok(0) => break Ok(()),
                Ok(length) => self.early.extend_from_slice(&self.buffer[..length]),
                Err(error) if is_transient(&error) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.socket.set_nonblocking(false)?;
        result
    }

    /// Appends what there is, at least one byte, or none when the server has closed the connection.
    pub(super) fn receive(
        &mut self,
        into: &mut Vec<u8>,
        until: Option<Instant>,
    ) -> io::Result<usize> {
        if !self.early.is_empty() {
            let length = self.early.len();
            into.append(&mut self.early);
            return Ok(length);
        }
        let length = repeat(&self.socket, &mut self.read_timeout, until, || {
            read(&self.socket, self.tls.as_mut(), &mut self.buffer)
        })?;
        into.extend_from_slice(&self.buffer[..length]);
        Ok(length)
    }

    /// Whether the connection is open and nothing was received on it, as is to be expected between
    /// two uses. Does not wait.
    pub(super) fn is_quiet(&self) -> bool {
        let mut byte = [0];
        let quiet = self.early.is_empty()
            && self.socket.set_nonblocking(true).is_ok()
            && self.socket.peek(&mut byte).is_err_and(|error| is_transient(&error));
        self.socket.set_nonblocking(false).is_ok() && quiet
    }
}

fn connect_tcp(address: SocketAddr, network: &Network, until: Instant) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    if let Some(keepalive) = &network.keepalive {
        socket.set_keepalive(true)?;
        let mut settings = TcpKeepalive::new();
        if let Some(idle) = keepalive.idle {
            settings = settings.with_time(idle);
        }
        if let Some(interval) = keepalive.interval {
            settings = settings.with_interval(interval);
        }
        if let Some(count) = keepalive.count {
            settings = settings.with_retries(count);
        }
        socket.set_tcp_keepalive(&settings)?;
    }
    // As in libpq, where the system has no such setting it is ignored.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(network.tcp_user_timeout)?;
    socket.connect_timeout(&address.into(), remaining(until)?)?;
    Ok(socket)
}

fn read(mut socket: &TcpStream, tls: Option<&mut Session>, into: &mut [u8]) -> io::Result<usize> {
    match tls {
        Some(tls) => tls.read(socket, into),
        None => socket.read(into),
    }
}

fn write_all(mut socket: &TcpStream, bytes: &mut &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match socket.write(bytes)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            length => *bytes = &bytes[length..],
        }
    }
    Ok(())
}

/// Repeats what reads from the socket until it has read or the deadline is over.
fn repeat<T>(
    socket: &TcpStream,
    read_timeout: &mut Duration,
    until: Option<Instant>,
    mut operation: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    loop {
        limit_read(socket, read_timeout, until)?;
        match operation() {
            Err(error) if is_transient(&error) => {}
            result => return result,
        }
    }
}

/// Makes reads return early enough for the deadline. A read that returns too early is repeated, so
/// that a timeout in steps is enough, and most reads need no system call to change it.
fn limit_read(
    socket: &TcpStream,
    current: &mut Duration,
    until: Option<Instant>,
) -> io::Result<()> {
    let remaining = until.map_or(Ok(READ_TIMEOUT), remaining)?.min(READ_TIMEOUT);
    if *current <= remaining && *current >= remaining / 16 {
        return Ok(());
    }
    let millis = u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX);
    // The highest power of two up to it: the same for long, while the deadline comes nearer.
    *current = Duration::from_millis(1 << millis.max(1).ilog2());
    socket.set_read_timeout(Some(*current))
}

fn remaining(until: Instant) -> io::Result<Duration> {
    match until.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        remaining => Ok(remaining),
    }
}

/// Whether nothing happened: the socket's own timeout, or a signal.
fn is_transient(error: &io::Error) -> bool {
    // Windows has its own word for the timeout; where it is the end of a broken connection, the
    // next operation reports something else.
    let timed_out = cfg!(windows) && error.kind() == io::ErrorKind::TimedOut;
    timed_out || matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
