//! Messages of the PostgreSQL protocol, version 3.0, as far as this crate sends and reads them.
//!
//! Formats: [Message Formats](https://www.postgresql.org/docs/current/protocol-message-formats.html).

use std::ops::Range;

/// The longest message that is read or sent: PostgreSQL's own limit, one byte less than 1 GiB.
const MAX_LENGTH: usize = (1 << 30) - 1;

/// The tag and the length before a message's body.
const HEAD: usize = 5;

/// Why bytes of the server could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// A message that is too long to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong;

/// Messages on their way to the server.
#[derive(Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    overflow: bool,
}

impl Outgoing {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.overflow = false;
        // One large batch must not keep its memory for the life of the connection.
        if self.bytes.capacity() > 1 << 20 {
            self.bytes = Vec::new();
        }
    }

    /// Whether a message since the last call was too long, in which case it is incomplete.
    pub(super) fn check(&mut self) -> Result<(), TooLong> {
        if std::mem::take(&mut self.overflow) { Err(TooLong) } else { Ok(()) }
    }

    fn message(&mut self, tag: Option<u8>, body: impl FnOnce(&mut Self)) {
        self.bytes.extend(tag);
        let start = self.bytes.len();
        self.bytes.extend([0; 4]);
        body(self);
        let length = self.bytes.len() - start;
        match i32::try_from(length) {
            Ok(short) if length <= MAX_LENGTH => {
                self.bytes[start..start + 4].copy_from_slice(&short.to_be_bytes());
            }
            _ => self.overflow = true,
        }
    }

    /// Text that ends at its NUL. Whoever sends it has refused text that contains one.
    fn text(&mut self, text: &str) {
        debug_assert!(!text.contains('\0'), "a NUL ends the text early");
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    fn count(&mut self, count: usize) {
        match u16::try_from(count) {
            Ok(count) => self.bytes.extend(count.to_be_bytes()),
            Err(_) => self.overflow = true,
        }
    }

    /// Asks for TLS. The server answers with one byte, `S` or `N`.
    pub(super) fn ssl_request(&mut self) {
        self.message(None, |out| out.bytes.extend(80_877_103_i32.to_be_bytes()));
    }

    pub(super) fn startup<'a>(&mut self, parameters: impl Iterator<Item = (&'a str, &'a str)>) {
        self.message(None, |out| {
            out.bytes.extend(196_608_i32.to_be_bytes());
            for (name, value) in parameters {
                out.text(name);
                out.text(value);
            }
            out.bytes.push(0);
        });
    }

    /// Asks the server, on a connection of its own, to cancel what the backend runs.
    #[cfg_attr(
        not(feature = "tokio"),
        allow(dead_code, reason = "futures alone cancel statements")
    )]
    pub(super) fn cancel_request(&mut self, pid: i32, secret: &[u8]) {
        self.message(None, |out| {
            out.bytes.extend(80_877_102_i32.to_be_bytes());
            out.bytes.extend(pid.to_be_bytes());
            out.bytes.extend(secret);
        });
    }

    pub(super) fn password(&mut self, password: &str) {
        self.message(Some(b'p'), |out| out.text(password));
    }

    pub(super) fn sasl_initial(&mut self, mechanism: &str, data: &[u8]) {
        self.message(Some(b'p'), |out| {
            out.text(mechanism);
            let length = i32::try_from(data.len()).unwrap_or(i32::MAX);
            out.bytes.extend(length.to_be_bytes());
            out.bytes.extend(data);
        });
    }

    pub(super) fn sasl_response(&mut self, data: &[u8]) {
        self.message(Some(b'p'), |out| out.bytes.extend(data));
    }

    /// Any number of statements, without parameters, whose rows come as text.
    pub(super) fn query(&mut self, sql: &str) {
        self.message(Some(b'Q'), |out| out.text(sql));
    }

    /// A statement to prepare; without a name it lasts until the next one.
    pub(super) fn parse(&mut self, name: &str, sql: &str, types: &[u32]) {
        self.message(Some(b'P'), |out| {
            out.text(name);
            out.text(sql);
            out.count(types.len());
            for oid in types {
                out.bytes.extend(oid.to_be_bytes());
            }
        });
    }

    /// Asks for the columns of a prepared statement's rows.
    pub(super) fn describe(&mut self, name: &str) {
        self.message(Some(b'D'), |out| {
            out.bytes.push(b'S');
            out.text(name);
        });
    }

    /// Binds values in the binary format, and asks for rows in it.
    pub(super) fn bind(&mut self, name: &str, values: &[Option<Vec<u8>>]) {
        self.message(Some(b'B'), |out| {
            out.text("");
            out.text(name);
            // One format for all parameters, and one for all columns: binary.
            out.bytes.extend([0, 1, 0, 1]);
            out.count(values.len());
            for value in values {
                match value {
                    None => out.bytes.extend((-1_i32).to_be_bytes()),
                    Some(value) => {
                        match i32::try_from(value.len()) {
                            Ok(length) => out.bytes.extend(length.to_be_bytes()),
                            Err(_) => out.overflow = true,
                        }
                        out.bytes.extend(value);
                    }
                }
            }
            out.bytes.extend([0, 1, 0, 1]);
        });
    }

    /// Runs what was bound; `max_rows` of 0 is all rows.
    pub(super) fn execute(&mut self, max_rows: i32) {
        self.message(Some(b'E'), |out| {
            out.text("");
            out.bytes.extend(max_rows.to_be_bytes());
        });
    }

    /// Ends a sequence: after an error the server skips everything up to here.
    pub(super) fn sync(&mut self) {
        self.message(Some(b'S'), |_| {});
    }

    pub(super) fn copy_fail(&mut self, reason: &str) {
        self.message(Some(b'f'), |out| out.text(reason));
    }

    pub(super) fn terminate(&mut self) {
        self.message(Some(b'X'), |_| {});
    }
}

/// The state that the server reports when it is ready for the next query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Idle,
    InTransaction,
    /// In a failed transaction, which accepts only its end.
    Failed,
}

/// A message of the server.
#[derive(Debug)]
pub(super) enum Incoming {
    AuthenticationOk,
    CleartextPassword,
    /// An authentication by this number, which is not supported.
    Authentication(i32),
    Sasl(Vec<String>),
    SaslContinue(Vec<u8>),
    SaslFinal(Vec<u8>),
    BackendKey {
        pid: i32,
        secret: Vec<u8>,
    },
    ParameterStatus {
        name: String,
        value: String,
    },
    /// The server does not know the minor version or an option of the protocol.
    NegotiateVersion,
    Ready(Status),
    ParseComplete,
    BindComplete,
    CloseComplete,
    NoData,
    ParameterDescription,
    RowDescription(Vec<Column>),
    /// Where in the bytes the row is, for [`Rows::push`](super::rows::Rows::push).
    DataRow(Range<usize>),
    CommandComplete(String),
    EmptyQuery,
    PortalSuspended,
    Error(Box<ServerError>),
    Notice,
    Notification,
    CopyIn,
    CopyOut,
    CopyBoth,
    CopyData,
    CopyDone,
}

/// A column of rows to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) type_oid: u32,
}

/// An error or a notice, by its fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ServerError {
    /// Not translated: `ERROR`, `FATAL`, `PANIC` or one of the notices.
    pub(super) severity: String,
    pub(super) sqlstate: String,
    pub(super) message: String,
    pub(super) detail: Option<String>,
    pub(super) hint: Option<String>,
    pub(super) position: Option<i32>,
    pub(super) table: Option<String>,
    pub(super) column: Option<String>,
    pub(super) constraint: Option<String>,
}

impl Incoming {
    /// The message at the start of `bytes` and its length, or `None` while it is incomplete.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else { return Ok(None) };
        let [tag, length @ ..] = *head;
        let length = usize::try_from(i32::from_be_bytes(length)).map_err(|_| Malformed)?;
        if !(4..=MAX_LENGTH).contains(&length) {
            return Err(Malformed);
        }
        let Some(body) = rest.get(..length - 4) else { return Ok(None) };
        Ok(Some((Self::of(tag, body)?, length + 1)))
    }

    fn of(tag: u8, body: &[u8]) -> Result<Self, Malformed> {
        let mut body = Body::new(body);
        Ok(match tag {
            b'R' => match body.i32()? {
                0 => Self::AuthenticationOk,
                3 => Self::CleartextPassword,
                10 => {
                    let mut mechanisms = Vec::new();
                    loop {
                        let mechanism = body.text()?;
                        if mechanism.is_empty() {
                            break Self::Sasl(mechanisms);
                        }
                        mechanisms.push(mechanism);
                    }
                }
                11 => Self::SaslContinue(body.rest().to_vec()),
                12 => Self::SaslFinal(body.rest().to_vec()),
                other => Self::Authentication(other),
            },
            b'K' => Self::BackendKey { pid: body.i32()?, secret: body.rest().to_vec() },
            b'S' => Self::ParameterStatus { name: body.text()?, value: body.text()? },
            b'v' => Self::NegotiateVersion,
            b'Z' => Self::Ready(match body.u8()? {
                b'I' => Status::Idle,
                b'T' => Status::InTransaction,
                b'E' => Status::Failed,
                _ => return Err(Malformed),
            }),
            b'1' => Self::ParseComplete,
            b'2' => Self::BindComplete,
            b'3' => Self::CloseComplete,
            b'n' => Self::NoData,
            b't' => Self::ParameterDescription,
            b'T' => {
                let count = body.u16()?;
                let mut columns = Vec::with_capacity(count.into());
                for _ in 0..count {
                    let name = body.text()?;
                    // The table's oid and the column's number.
                    body.take(6)?;
                    let type_oid = body.u32()?;
                    // The type's length and modifier, and the format.
                    body.take(8)?;
                    columns.push(Column { name, type_oid });
                }
                Self::RowDescription(columns)
            }
            b'D' => Self::DataRow(HEAD..HEAD + body.bytes.len()),
            b'C' => Self::CommandComplete(body.text()?),
            b'I' => Self::EmptyQuery,
            b's' => Self::PortalSuspended,
            b'E' => Self::Error(Box::new(ServerError::read(&mut body)?)),
            b'N' => Self::Notice,
            b'A' => Self::Notification,
            b'G' => Self::CopyIn,
            b'H' => Self::CopyOut,
            b'W' => Self::CopyBoth,
            b'd' => Self::CopyData,
            b'c' => Self::CopyDone,
            _ => return Err(Malformed),
        })
    }
}

impl ServerError {
    fn read(body: &mut Body<'_>) -> Result<Self, Malformed> {
        let mut error = Self::default();
        loop {
            let field = body.u8()?;
            if field == 0 {
                return Ok(error);
            }
            let text = body.lossy_text()?;
            match field {
                // The other severity, `S`, is translated; servers before 9.6 have it alone.
                b'V' => error.severity = text,
                b'S' if error.severity.is_empty() => error.severity = text,
                b'C' => error.sqlstate = text,
                b'M' => error.message = text,
                b'D' => error.detail = Some(text),
                b'H' => error.hint = Some(text),
                b'P' => error.position = text.parse().ok(),
                b't' => error.table = Some(text),
                b'c' => error.column = Some(text),
                b'n' => error.constraint = Some(text),
                _ => {}
            }
        }
    }
}

/// A message's body, read from its start.
pub(super) struct Body<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Body<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(length).ok_or(Malformed)?;
        let taken = self.bytes.get(self.at..end).ok_or(Malformed)?;
        self.at = end;
        Ok(taken)
    }

    /// How many bytes were read.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    fn until_nul(&mut self) -> Result<&'a [u8], Malformed> {
        let rest = self.bytes.get(self.at..).ok_or(Malformed)?;
        let length = rest.iter().position(|byte| *byte == 0).ok_or(Malformed)?;
        self.at += length + 1;
        Ok(&rest[..length])
    }

    fn text(&mut self) -> Result<String, Malformed> {
        String::from_utf8(self.until_nul()?.to_vec()).map_err(|_| Malformed)
    }

    /// Before the encoding is agreed on, a server tells of errors in its own.
    fn lossy_text(&mut self) -> Result<String, Malformed> {
        Ok(String::from_utf8_lossy(self.until_nul()?).into_owned())
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = i32::try_from(body.len() + 4).unwrap();
        [&[tag][..], &length.to_be_bytes(), body].concat()
    }

    #[test]
    fn a_message_is_read_once_it_is_complete_and_not_before() {
        let bytes = framed(b'C', b"INSERT 0 3\0");
        for cut in 0..bytes.len() {
            assert!(Incoming::parse(&bytes[..cut]).unwrap().is_none(), "{cut}");
        }
        let (message, length) = Incoming::parse(&[&bytes[..], b"rest"].concat()).unwrap().unwrap();
        assert_eq!(length, bytes.len());
        assert!(matches!(message, Incoming::CommandComplete(tag) if tag == "INSERT 0 3"));
    }

    #[test]
    fn an_error_is_read_by_its_fields() {
        let body = b"SFEHLER\0VERROR\0C57014\0Mabgebrochen\0nx_check\0\0";
        let Some((Incoming::Error(error), _)) = Incoming::parse(&framed(b'E', body)).unwrap()
        else {
            panic!("no error");
        };
        assert_eq!((error.severity.as_str(), error.sqlstate.as_str()), ("ERROR", "57014"));
        assert_eq!(error.constraint.as_deref(), Some("x_check"));
    }

    /// Parsing arbitrary bytes neither panics nor reads past their end.
    #[test]
    fn malformed_bytes_are_refused() {
        for bytes in [
            &framed(b'Z', b"")[..],
            &framed(b'Z', b"X"),
            &framed(b'?', b""),
            &framed(b'C', b"no end"),
            &framed(b'E', b"Sno end"),
            &[b'Z', 0, 0, 0, 3],
            &[b'Z', 255, 255, 255, 255],
        ] {
            assert_eq!(Incoming::parse(bytes).map(|_| ()), Err(Malformed), "{bytes:?}");
        }
    }

    #[test]
    fn too_many_values_are_an_error_and_no_short_message() {
        let mut out = Outgoing::default();
        out.bind("", &vec![None; 65_536]);
        assert_eq!(out.check(), Err(TooLong));
        out.clear();
        out.bind("", &vec![None; 65_535]);
        assert_eq!(out.check(), Ok(()));
    }
}
