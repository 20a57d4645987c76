//! Commands to the server and its replies to them, in sequences that end in a `Sync`.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use super::message::{Column, Incoming, Malformed, Outgoing, ServerError, Status};
use super::rows::Rows;
use super::transport::Transport;

/// A connection that has been opened, and what is on its way in either direction.
pub(super) struct Wire {
    transport: Transport,
    /// Commands that the next [`exchange`](Self::exchange) sends.
    pub(super) out: Outgoing,
    input: Vec<u8>,
    /// How much of `input` has been read.
    read: usize,
    status: Status,
    /// Sequences that were sent and whose replies nobody has waited for.
    owed: usize,
    is_lost: bool,
    /// How long a sequence may take; for ever unless set.
    pub(super) answer_within: Option<Duration>,
}

/// The connection cannot be used any more.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) reason: String,
    /// What the server said last, if it did.
    pub(super) error: Option<Box<ServerError>>,
    /// The server kept the connection open and did not answer in time.
    pub(super) is_silent: bool,
}

/// What a sequence came to.
#[derive(Debug, Default)]
pub(super) struct Replies {
    /// Of the commands that completed, in their order.
    pub(super) completed: Vec<Reply>,
    /// The reply that the error interrupted.
    pub(super) interrupted: Reply,
    /// What ended the sequence early. Everything after it was skipped.
    pub(super) error: Option<Box<ServerError>>,
}

/// A command's reply.
#[derive(Debug, Default)]
pub(super) struct Reply {
    /// The columns of its rows, where it was asked to describe them; without rows, none.
    pub(super) columns: Option<Vec<Column>>,
    pub(super) rows: Rows,
    /// What was done, such as `INSERT 0 3`.
    pub(super) tag: String,
    /// A statement was prepared.
    pub(super) is_parsed: bool,
}

impl Reply {
    /// How many rows the command returned or changed.
    pub(super) fn count(&self) -> usize {
        self.tag.rsplit(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0)
    }
}

impl Wire {
    /// `rest` is what came from the server after it was ready for the first query.
    pub(super) fn new(transport: Transport, rest: Vec<u8>) -> Self {
        Self {
            transport,
            out: Outgoing::default(),
            input: rest,
            read: 0,
            status: Status::Idle,
            owed: 0,
            is_lost: false,
            answer_within: None,
        }
    }

    pub(super) fn status(&self) -> Status {
        self.status
    }

    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Uses the connection no more.
    pub(super) fn give_up(&mut self) {
        self.is_lost = true;
    }

    /// Where the commands of a new sequence go. One that was not finished is forgotten.
    pub(super) fn compose(&mut self) -> &mut Outgoing {
        self.out.clear();
        &mut self.out
    }

    /// Sends what is in `out`, whose sequences number one, and reads the replies. `width` says how many columns the
    /// rows of each command have that are not described anew.
    pub(super) fn exchange(&mut self, widths: &[usize]) -> Result<Replies, Lost> {
        let until = self.until();
        let outcome = self
            .send(until)
            .and_then(|()| self.settle(until))
            .and_then(|()| self.replies(widths, until));
        self.out.clear();
        outcome.inspect_err(|_| self.is_lost = true)
    }

    /// Sends what is in `out` without waiting for the replies. They are read, and errors in them
    /// ignored, before those of the next exchange.
    pub(super) fn send_ahead(&mut self) -> Result<(), Lost> {
        let until = self.until();
        let outcome = self.send(until);
        self.out.clear();
        self.owed += 1;
        outcome.inspect_err(|_| self.is_lost = true)
    }

    /// Whether the connection was closed while nobody looked. Reads what is owed first.
    pub(super) fn is_stale(&mut self) -> bool {
        let until = self.until();
        if self.settle(until).is_err() || self.read < self.input.len() {
            self.is_lost = true;
        }
        self.is_lost || !self.transport.is_quiet()
    }

    fn until(&self) -> Option<Instant> {
        self.answer_within.and_then(|within| Instant::now().checked_add(within))
    }

    fn send(&mut self, until: Option<Instant>) -> Result<(), Lost> {
        if self.is_lost {
            return Err(Lost::new("the connection was lost earlier"));
        }
        match self.transport.send(self.out.as_bytes(), until) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.last_words(Lost::from(error))),
        }
    }

    /// A server that ends a connection says why before it closes it: sending fails first.
    fn last_words(&mut self, mut lost: Lost) -> Lost {
        let until = Instant::now().checked_add(Duration::from_millis(100));
        for _ in 0..16 {
            match self.next(until) {
                Ok(Incoming::Error(error)) if error.is_fatal() => {
                    lost.error = Some(error);
                    break;
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        lost
    }

    /// Reads the replies that nobody waited for.
    fn settle(&mut self, until: Option<Instant>) -> Result<(), Lost> {
        while self.owed > 0 {
            self.replies(&[], until)?;
            self.owed -= 1;
        }
        Ok(())
    }

    /// The replies to one sequence.
    fn replies(&mut self, widths: &[usize], until: Option<Instant>) -> Result<Replies, Lost> {
        let mut replies = Replies::default();
        let mut current = Reply::default();
        loop {
            let message = match self.next(until) {
                Ok(message) => message,
                // What the server said before it closed the connection is why.
                Err(lost) => {
                    return Err(Lost { error: replies.error.take().or(lost.error), ..lost });
                }
            };
            match message {
                Incoming::ParseComplete => current.is_parsed = true,
                Incoming::RowDescription(columns) => current.columns = Some(columns),
                Incoming::NoData => current.columns = Some(Vec::new()),
                Incoming::DataRow(body) => {
                    // A reply that nobody reads the rows of has no width; rows without columns
                    // have one of none.
                    let described = current.columns.as_ref().map(Vec::len);
                    if let Some(width) =
                        described.or_else(|| widths.get(replies.completed.len()).copied())
                    {
                        let body = self.input.get(self.read - body.len()..self.read);
                        current.rows.push(body.unwrap_or_default(), width)?;
                    }
                }
                Incoming::CommandComplete(tag) => {
                    current.tag = tag;
                    replies.completed.push(std::mem::take(&mut current));
                }
                Incoming::EmptyQuery => replies.completed.push(std::mem::take(&mut current)),
                Incoming::Error(error) => {
                    replies.error.get_or_insert(error);
                    replies.interrupted = std::mem::take(&mut current);
                }
                // The server ignores the `Sync` that was sent before it said so, and needs another.
                Incoming::CopyIn | Incoming::CopyBoth => self.refuse_copy(until)?,
                Incoming::Ready(status) => {
                    self.status = status;
                    return Ok(replies);
                }
                Incoming::BindComplete
                | Incoming::CloseComplete
                | Incoming::ParameterDescription
                | Incoming::ParameterStatus { .. }
                | Incoming::PortalSuspended
                | Incoming::CopyOut
                | Incoming::CopyData
                | Incoming::CopyDone
                | Incoming::Notice
                | Incoming::Notification => {}
                _ => return Err(Malformed.into()),
            }
        }
    }

    fn refuse_copy(&mut self, until: Option<Instant>) -> Result<(), Lost> {
        let mut out = Outgoing::default();
        out.copy_fail("COPY from the client is not supported");
        if !self.is_simple() {
            out.sync();
        }
        Ok(self.transport.send(out.as_bytes(), until)?)
    }

    /// What was sent is one simple query, which brings no `Sync` of its own.
    fn is_simple(&self) -> bool {
        self.out.as_bytes().first() == Some(&b'Q')
    }

    fn next(&mut self, until: Option<Instant>) -> Result<Incoming, Lost> {
        loop {
            let unread = self.input.get(self.read..).unwrap_or_default();
            if let Some((message, length)) = Incoming::parse(unread)? {
                self.read += length;
                return Ok(message);
            }
            self.input.drain(..self.read);
            self.read = 0;
            if self.input.is_empty() && self.input.capacity() > 1 << 20 {
                self.input = Vec::new();
            }
            if self.transport.receive(&mut self.input, until)? == 0 {
                return Err(Lost::new("the server closed the connection"));
            }
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if !self.is_lost {
            self.out.clear();
            self.out.terminate();
            let soon = Instant::now().checked_add(Duration::from_secs(1));
            // Closing says the same to a server that does not hear this.
            let _ = self.transport.send(self.out.as_bytes(), soon);
        }
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("status", &self.status).finish_non_exhaustive()
    }
}

impl ServerError {
    fn is_fatal(&self) -> bool {
        matches!(self.severity.as_str(), "FATAL" | "PANIC")
    }
}

impl Lost {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), error: None, is_silent: false }
    }
}

impl From<io::Error> for Lost {
    fn from(error: io::Error) -> Self {
        let is_silent = matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock);
        let reason =
            if is_silent { "the server did not answer in time".into() } else { error.to_string() };
        Self { reason, error: None, is_silent }
    }
}

impl From<Malformed> for Lost {
    fn from(_: Malformed) -> Self {
        Self::new("the server sent what is not the PostgreSQL protocol")
    }
}
