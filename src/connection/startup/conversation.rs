//! The conversation from the start-up message to the first `ReadyForQuery`.

use std::collections::BTreeMap;
use std::time::Instant;

use super::{ConnectError, Kind, auth, protocol};
use crate::connection::message::{Incoming, Outgoing};
use crate::connection::rows::Rows;
use crate::connection::scram::{
    Binding, MECHANISM, MECHANISM_PLUS, Scram, ScramError, end_point_hash,
};
use crate::connection::target::{ChannelBinding, Cleartext, SessionAttributes, Target};
use crate::connection::transport::Transport;

/// More than a server has to say before it is ready.
const MAX_PENDING: usize = 256 * 1024;

/// The conversation up to the first `ReadyForQuery`.
pub(super) struct Startup {
    pub(super) transport: Transport,
    local: bool,
    until: Instant,
    out: Outgoing,
    pub(super) received: Vec<u8>,
    /// The bytes of the message that was read last.
    last: Vec<u8>,
    pub(super) pid: i32,
    pub(super) secret: Vec<u8>,
    parameters: BTreeMap<String, String>,
}

impl Startup {
    pub(super) fn new(transport: Transport, local: bool, until: Instant) -> Self {
        Self {
            transport,
            local,
            until,
            out: Outgoing::default(),
            received: Vec::new(),
            last: Vec::new(),
            pid: 0,
            secret: Vec::new(),
            parameters: BTreeMap::new(),
        }
    }

    fn send(&mut self, write: impl FnOnce(&mut Outgoing)) -> Result<(), ConnectError> {
        write(&mut self.out);
        if self.out.check().is_err() {
            return Err(ConnectError::new(Kind::Config, "a value of the URL is too long"));
        }
        let sent = self.transport.send(self.out.as_bytes(), Some(self.until));
        self.out.clear();
        Ok(sent?)
    }

    /// The next message. An error of the server ends the conversation.
    fn next(&mut self) -> Result<Incoming, ConnectError> {
        loop {
            match Incoming::parse(&self.received) {
                Ok(Some((message, length))) => {
                    self.last = self.received.drain(..length).collect();
                    match message {
                        Incoming::Error(error) => return Err(ConnectError::server(error)),
                        Incoming::Notice | Incoming::Notification => {}
                        message => return Ok(message),
                    }
                }
                Ok(None) if self.received.len() > MAX_PENDING => {
                    return protocol("a message of the server is too long");
                }
                Ok(None) => {
                    if self.transport.receive(&mut self.received, Some(self.until))? == 0 {
                        let message = "the server closed the connection unexpectedly";
                        return Err(ConnectError::new(Kind::Io, message));
                    }
                }
                Err(_) => return protocol("a message of the server is malformed"),
            }
        }
    }

    pub(super) fn introduce(&mut self, target: &Target) -> Result<(), ConnectError> {
        let mut parameters = vec![
            ("user", target.user.as_str()),
            ("database", &target.dbname),
            ("client_encoding", "UTF8"),
            ("DateStyle", "ISO"),
            ("TimeZone", "UTC"),
        ];
        for (name, value) in
            [("application_name", &target.application_name), ("options", &target.options)]
        {
            parameters.extend(value.as_deref().map(|value| (name, value)));
        }
        self.send(|out| out.startup(parameters.into_iter()))
    }

    pub(super) fn authenticate(&mut self, target: &Target) -> Result<(), ConnectError> {
        // What the server was given: nothing, a password, or a proof that is bound to TLS.
        let mut authenticated = false;
        let mut bound = false;
        loop {
            match self.next()? {
                Incoming::AuthenticationOk => {
                    if !authenticated && !target.accepted.none {
                        return auth(
                            "the server asks for no authentication, but require_auth does",
                        );
                    }
                    if !bound && target.channel_binding == ChannelBinding::Require {
                        return auth("channel_binding is required, but the server did not bind");
                    }
                    return Ok(());
                }
                Incoming::Sasl(mechanisms) => {
                    bound = self.scram(target, &mechanisms)?;
                    authenticated = true;
                }
                Incoming::CleartextPassword => {
                    self.cleartext(target)?;
                    authenticated = true;
                }
                Incoming::Authentication(number) => return auth(unsupported(number)),
                Incoming::NegotiateVersion => {}
                _ => return protocol("unexpected message during authentication"),
            }
        }
    }

    /// The password as it is, but where it can be read on the way only if the URL says so.
    fn cleartext(&mut self, target: &Target) -> Result<(), ConnectError> {
        let allowed = target.accepted.password;
        if allowed == Cleartext::Never || target.channel_binding == ChannelBinding::Require {
            return auth("the server asks for the password itself, which the URL does not allow");
        }
        if allowed == Cleartext::Private && !self.transport.is_encrypted() && !self.local {
            return auth(
                "the server asks for the password itself, and the connection is not encrypted: \
                 use TLS, or allow it by require_auth=password",
            );
        }
        let password = password(target)?;
        self.send(|out| out.password(password))
    }

    /// Whether the exchange was bound to the TLS session.
    fn scram(&mut self, target: &Target, mechanisms: &[String]) -> Result<bool, ConnectError> {
        if !target.accepted.scram {
            return auth("the server asks for SCRAM, which require_auth does not allow");
        }
        let failed = |error: ScramError| ConnectError::new(Kind::Auth, error.0);
        let binding = self.binding(target.channel_binding, mechanisms)?;
        let bound = matches!(binding, Binding::EndPoint(_));
        let mut scram = Scram::new(password(target)?, binding).map_err(failed)?;
        let first = scram.first();
        self.send(|out| out.sasl_initial(scram.mechanism(), first.as_bytes()))?;
        let Incoming::SaslContinue(challenge) = self.next()? else {
            return protocol("unexpected message during SCRAM");
        };
        let response = scram.respond(&challenge).map_err(failed)?;
        self.send(|out| out.sasl_response(response.as_bytes()))?;
        let Incoming::SaslFinal(end) = self.next()? else {
            return protocol("unexpected message during SCRAM");
        };
        scram.finish(&end).map_err(failed)?;
        Ok(bound)
    }

    fn binding(
        &self,
        wish: ChannelBinding,
        mechanisms: &[String],
    ) -> Result<Binding, ConnectError> {
        let offers = |name: &str| mechanisms.iter().any(|mechanism| mechanism == name);
        if offers(MECHANISM_PLUS) && !self.transport.is_encrypted() {
            return auth("the server offers to bind to TLS, but there is none");
        }
        let hash = self.transport.server_certificate().and_then(end_point_hash);
        let binding = match hash {
            _ if wish == ChannelBinding::Disable => Binding::Unsupported,
            None => Binding::Unsupported,
            Some(hash) if offers(MECHANISM_PLUS) => Binding::EndPoint(hash),
            Some(_) => Binding::NotOffered,
        };
        if matches!(binding, Binding::EndPoint(_)) {
            return Ok(binding);
        }
        if wish == ChannelBinding::Require {
            return auth("channel_binding is required, but it is not possible on this connection");
        }
        if !offers(MECHANISM) {
            return auth(format!("the server offers only {}", mechanisms.join(", ")));
        }
        Ok(binding)
    }

    pub(super) fn wait_until_ready(&mut self) -> Result<(), ConnectError> {
        loop {
            match self.next()? {
                Incoming::Ready(_) => return Ok(()),
                Incoming::BackendKey { pid, secret } => (self.pid, self.secret) = (pid, secret),
                Incoming::ParameterStatus { name, value } => {
                    self.parameters.insert(name, value);
                }
                Incoming::NegotiateVersion => {}
                _ => return protocol("unexpected message during start-up"),
            }
        }
    }

    pub(super) fn check_session(&mut self, session: SessionAttributes) -> Result<(), ConnectError> {
        let refusal = match session {
            SessionAttributes::Any | SessionAttributes::PreferStandby => return Ok(()),
            SessionAttributes::ReadWrite => self.is_read_only()?.then_some("session is read-only"),
            SessionAttributes::ReadOnly => {
                (!self.is_read_only()?).then_some("session is not read-only")
            }
            SessionAttributes::Primary => {
                self.is_standby()?.then_some("server is in hot standby mode")
            }
            SessionAttributes::Standby => {
                (!self.is_standby()?).then_some("server is not in hot standby mode")
            }
        };
        let Some(refusal) = refusal else { return Ok(()) };
        // The connection is given up in any case.
        let _ = self.send(Outgoing::terminate);
        Err(ConnectError::new(Kind::Unsuitable, refusal))
    }

    /// Servers from PostgreSQL 14 on report it; a server before that or a pooler is asked.
    fn is_read_only(&mut self) -> Result<bool, ConnectError> {
        let reported = |name: &str| self.parameters.get(name).map(|value| value == "on");
        match (reported("in_hot_standby"), reported("default_transaction_read_only")) {
            (Some(standby), Some(read_only)) => Ok(standby || read_only),
            _ => Ok(self.ask("SHOW transaction_read_only")? == "on"),
        }
    }

    fn is_standby(&mut self) -> Result<bool, ConnectError> {
        match self.parameters.get("in_hot_standby") {
            Some(value) => Ok(value == "on"),
            None => Ok(self.ask("SELECT pg_catalog.pg_is_in_recovery()")? == "t"),
        }
    }

    fn ask(&mut self, sql: &str) -> Result<String, ConnectError> {
        self.send(|out| out.query(sql))?;
        let mut answer = None;
        loop {
            match self.next()? {
                Incoming::DataRow(body) => {
                    let mut rows = Rows::default();
                    let body = self.last.get(body).unwrap_or_default();
                    if rows.push(body, 1).is_err() {
                        return protocol("a message of the server is malformed");
                    }
                    let value = rows.get(0, 0);
                    answer = value.map(|text| String::from_utf8_lossy(text).into_owned());
                }
                Incoming::Ready(_) => {
                    let missing = ConnectError::new(Kind::Protocol, "a query had no answer");
                    return answer.ok_or(missing);
                }
                Incoming::RowDescription(_)
                | Incoming::CommandComplete(_)
                | Incoming::ParameterStatus { .. } => {}
                _ => return protocol("unexpected message in answer to a query"),
            }
        }
    }
}

fn password(target: &Target) -> Result<&str, ConnectError> {
    match &target.password {
        Some(password) => Ok(&password.0),
        None => auth("the server asks for a password, but the URL has none"),
    }
}

fn unsupported(authentication: i32) -> String {
    let name = match authentication {
        5 => {
            return "the server asks for MD5 authentication, which is not supported: set the \
                    password again with password_encryption = 'scram-sha-256'"
                .to_owned();
        }
        2 => "Kerberos V5",
        7 | 8 => "GSSAPI",
        9 => "SSPI",
        _ => return format!("authentication method {authentication} is not supported"),
    };
    format!("{name} authentication is not supported")
}
