//! A line between the crate and a server that reads what passes, counts how often the client waits,
//! and fails where it is told to.

use std::collections::{HashMap, VecDeque};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::time::Duration;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_mins(1);

/// What the line does with the first flight whose text contains the fault's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    /// Breaks instead of handing it on.
    BreakBefore,
    /// Hands it on, and breaks when the server has answered it.
    BreakAfter,
    /// Hands it on, and so many bytes of the answer, and breaks.
    CutAnswer(usize),
    /// Takes it, and nothing passes any more on this connection.
    SilentBefore,
    /// Hands it on, and nothing of the answer.
    SilentAfter,
}

/// What passed while a body ran. A flight is what the client sends up to a `Sync` or as one simple
/// query, written as its statements; the start-up is `connect`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Seen {
    pub(crate) flights: Vec<String>,
    /// How often the client sent something and then got an answer.
    pub(crate) trips: usize,
}

pub(crate) struct Line {
    pub(crate) address: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    server: String,
    inner: Mutex<Inner>,
    released: Condvar,
}

#[derive(Default)]
struct Inner {
    seen: Seen,
    fault: Option<(&'static str, Fault)>,
    /// Answers to the mere end of a transaction wait until it is unset.
    holds_ends: bool,
    /// Flights that were handed on and not answered.
    open: usize,
    lines: Vec<Weak<TcpStream>>,
}

/// What the two directions of a connection share.
#[derive(Default)]
struct Pending {
    flights: VecDeque<(String, Option<Fault>)>,
    spoke: bool,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }
}

/// A URL in three: up to the host, `host:port`, and the rest.
fn split(url: &str) -> (&str, &str, &str) {
    let at = url.rfind('@').unwrap() + 1;
    let end = at + url[at..].find('/').unwrap();
    (&url[..at], &url[at..end], &url[end..])
}

impl Line {
    /// A line to the server of this URL.
    pub(crate) fn to_server_of(url: &str) -> Self {
        Self::to(split(url).1)
    }

    /// A line to this address. Its threads end with the connections.
    pub(crate) fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State { server: server.to_owned(), ..State::default() });
        let shared = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if let (Ok(client), Ok(server)) = (client, TcpStream::connect(&shared.server)) {
                    join(&shared, client, server);
                }
            }
        });
        Self { address, state }
    }

    /// The URL with the line for a host. In clear, so that messages can be told apart.
    pub(crate) fn url(&self, url: &str) -> String {
        let (login, _, rest) = split(url);
        let separator = if rest.contains('?') { '&' } else { '?' };
        format!("{login}{}{rest}{separator}sslmode=disable", self.address)
    }

    /// What passes while the body runs. With `holds_ends`, answers to the mere end of a transaction
    /// pass only afterwards: a body that waits for one does not come back.
    ///
    /// `flights` are expected: what nobody waits for may be on its way when the body comes back.
    pub(crate) fn watch(&self, holds_ends: bool, flights: usize, body: impl FnOnce()) -> Seen {
        self.settle();
        let mut inner = self.state.lock();
        inner.seen = Seen::default();
        inner.holds_ends = holds_ends;
        drop(inner);
        body();
        let mut inner = self.state.lock();
        while inner.seen.flights.len() < flights {
            let waited = self.state.released.wait_timeout(inner, LONG).unwrap();
            assert!(!waited.1.timed_out(), "{:?}", waited.0.seen);
            inner = waited.0;
        }
        let seen = inner.seen.clone();
        drop(inner);
        self.settle();
        seen
    }

    /// Waits until every flight is answered.
    pub(crate) fn settle(&self) {
        let mut inner = self.state.lock();
        inner.holds_ends = false;
        self.state.released.notify_all();
        while inner.open > 0 {
            let waited = self.state.released.wait_timeout(inner, LONG).unwrap();
            assert!(!waited.1.timed_out(), "the server does not answer");
            inner = waited.0;
        }
    }

    /// What to do with the next flight whose text contains this.
    pub(crate) fn fail_at(&self, text: &'static str, fault: Fault) {
        self.state.lock().fault = Some((text, fault));
    }

    /// Whether the fault is still to come.
    pub(crate) fn is_intact(&self) -> bool {
        self.state.lock().fault.is_some()
    }

    /// Breaks every connection there is.
    pub(crate) fn cut(&self) {
        for line in self.state.lock().lines.drain(..).filter_map(|line| line.upgrade()) {
            let _ = line.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let mut inner = self.state.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        inner.holds_ends = false;
        self.state.released.notify_all();
        for line in inner.lines.drain(..).filter_map(|line| line.upgrade()) {
            let _ = line.shutdown(Shutdown::Both);
        }
    }
}

fn join(state: &Arc<State>, client: TcpStream, server: TcpStream) {
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
    }
    let (client, server) = (Arc::new(client), Arc::new(server));
    state.lock().lines.extend([&client, &server].map(Arc::downgrade));
    let pending = Arc::new(Mutex::new(Pending::default()));
    for to_server in [true, false] {
        let (state, client, server) = (state.clone(), client.clone(), server.clone());
        let pending = pending.clone();
        std::thread::spawn(move || {
            if to_server {
                hand_on(&state, &client, &server, &pending);
            } else {
                answer(&state, &server, &client, &pending);
            }
            for stream in [&client, &server] {
                let _ = stream.shutdown(Shutdown::Both);
            }
            // Whatever was not answered never will be.
            let open = std::mem::take(&mut pending.lock().unwrap().flights).len();
            state.lock().open -= open;
            state.released.notify_all();
        });
    }
}

fn hand_on(
    state: &State,
    mut client: &TcpStream,
    mut server: &TcpStream,
    pending: &Mutex<Pending>,
) {
    let mut reader = Reader::default();
    let mut buffer = [0; 16 * 1024];
    while let Ok(read @ 1..) = client.read(&mut buffer) {
        reader.bytes.extend_from_slice(&buffer[..read]);
        while let Some((bytes, flight)) = reader.next() {
            let Some(flight) = flight else {
                if server.write_all(&bytes).is_err() {
                    return;
                }
                continue;
            };
            let fault = {
                let mut waiting = pending.lock().unwrap();
                let mut inner = state.lock();
                if !is_poolers(&flight) {
                    waiting.spoke = true;
                    inner.seen.flights.push(flight.clone());
                }
                let here = inner.fault.is_some_and(|(text, _)| is_at(&flight, text));
                let fault = if here { inner.fault.take().map(|(_, fault)| fault) } else { None };
                if !matches!(fault, Some(Fault::BreakBefore | Fault::SilentBefore)) {
                    waiting.flights.push_back((flight, fault));
                    inner.open += 1;
                }
                state.released.notify_all();
                fault
            };
            match fault {
                Some(Fault::BreakBefore) => return,
                Some(Fault::SilentBefore) => {
                    // Until the client has had enough.
                    while let Ok(1..) = client.read(&mut buffer) {}
                    return;
                }
                _ => {}
            }
            if server.write_all(&bytes).is_err() {
                return;
            }
        }
    }
}

fn answer(state: &State, mut server: &TcpStream, mut client: &TcpStream, pending: &Mutex<Pending>) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    while let Ok(read @ 1..) = server.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..read]);
        let is_starting =
            pending.lock().unwrap().flights.front().is_none_or(|(flight, _)| flight == "connect");
        // What is not a whole answer waits, but for the questions and answers of authentication.
        loop {
            let (end, is_whole, asks) = end_of_answer(&bytes);
            if end == 0 || !is_whole && !is_starting && !asks {
                break;
            }
            let rest = bytes.split_off(end);
            let whole = std::mem::replace(&mut bytes, rest);
            let fault =
                is_whole.then(|| pending.lock().unwrap().flights.front().cloned()).flatten();
            if let Some((flight, fault)) = &fault {
                match fault {
                    Some(Fault::BreakAfter) => return,
                    Some(Fault::CutAnswer(length)) => {
                        let _ = client.write_all(&whole[..(*length).min(whole.len() - 1)]);
                        return;
                    }
                    Some(Fault::SilentAfter) => {
                        while let Ok(1..) = server.read(&mut buffer) {}
                        return;
                    }
                    _ => {}
                }
                let mut inner = state.lock();
                while inner.holds_ends && matches!(flight.as_str(), "COMMIT" | "ROLLBACK") {
                    inner = state.released.wait(inner).unwrap();
                }
            }
            // Counted before the client can know of it.
            let mut waiting = pending.lock().unwrap();
            let spoke = std::mem::take(&mut waiting.spoke);
            let was_answered = is_whole && waiting.flights.pop_front().is_some();
            let mut inner = state.lock();
            inner.seen.trips += usize::from(spoke);
            inner.open -= usize::from(was_answered);
            state.released.notify_all();
            drop((inner, waiting));
            if client.write_all(&whole).is_err() {
                return;
            }
        }
    }
    // Last words of a server that closes the connection.
    let _ = client.write_all(&bytes);
}

/// Where the first `ReadyForQuery` ends, and `true`; or the last whole message, and whether one asks
/// the client for a `COPY`.
fn end_of_answer(bytes: &[u8]) -> (usize, bool, bool) {
    let (mut at, mut asks) = (0, false);
    while let Some([kind, a, b, c, d]) = bytes.get(at..at + 5) {
        let end = at + 1 + u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        if end > bytes.len() {
            break;
        }
        at = end;
        if *kind == b'Z' {
            return (at, true, asks);
        }
        asks |= *kind == b'G';
    }
    (at, false, asks)
}

/// The client's stream, cut into flights.
#[derive(Default)]
pub(crate) struct Reader {
    pub(crate) bytes: Vec<u8>,
    read: usize,
    has_started: bool,
    /// The text of each statement by its name.
    prepared: HashMap<String, String>,
    bound: String,
    flight: Vec<String>,
    /// A `COPY` has been refused.
    refuses: bool,
    is_simple: bool,
}

impl Reader {
    /// Bytes that belong together, and what they say unless that is for the start-up alone.
    pub(crate) fn next(&mut self) -> Option<(Vec<u8>, Option<String>)> {
        loop {
            let head = usize::from(self.has_started);
            let rest = &self.bytes[self.read..];
            let length = rest.get(head..head + 4)?;
            let end = head + u32::from_be_bytes(length.try_into().unwrap()) as usize;
            let message = rest.get(..end)?.to_vec();
            self.read += end;
            if !self.has_started {
                self.has_started = true;
                return Some((self.take(), Some("connect".into())));
            }
            let body = &message[5..];
            let mut texts = body.split(|byte| *byte == 0);
            let mut text =
                || String::from_utf8_lossy(texts.next().unwrap_or_default()).into_owned();
            match message[0] {
                b'P' => {
                    self.is_simple = false;
                    let name = text();
                    self.prepared.insert(name, text());
                }
                b'B' => {
                    self.is_simple = false;
                    text();
                    self.bound = self.prepared.get(&text()).cloned().unwrap_or_default();
                }
                b'E' => self.flight.push(self.bound.clone()),
                // The server has ignored the one before.
                b'S' if std::mem::take(&mut self.refuses) => return Some((self.take(), None)),
                b'S' => {
                    let flight = std::mem::take(&mut self.flight).join(" > ");
                    return Some((self.take(), Some(flight)));
                }
                b'Q' => {
                    self.is_simple = true;
                    let sql = text();
                    return Some((self.take(), Some(sql)));
                }
                b'f' => {
                    // A simple query has no `Sync`.
                    self.refuses = !self.is_simple;
                    return Some((self.take(), None));
                }
                b'p' | b'X' => return Some((self.take(), None)),
                _ => {}
            }
        }
    }

    fn take(&mut self) -> Vec<u8> {
        let rest = self.bytes.split_off(self.read);
        self.read = 0;
        std::mem::replace(&mut self.bytes, rest)
    }
}

/// A pooler's own, with which it takes over what its client has set, and cleans up after it.
fn is_poolers(flight: &str) -> bool {
    flight == "DISCARD ALL" || flight.starts_with("SET ") && !flight.contains("DEALLOCATE ALL")
}

/// A `BEGIN` has an isolation level with a `COMMIT` in its name.
fn is_at(flight: &str, text: &str) -> bool {
    flight
        .split(" > ")
        .any(|statement| statement == text || text != "COMMIT" && statement.contains(text))
}

/// A flight in short: what its statements are for.
pub(crate) fn in_short(flight: &str) -> String {
    let kind = |statement: &str| {
        if statement.starts_with("BEGIN ") {
            "begin"
        } else if statement.contains("'sesari.context'") {
            "context"
        } else if statement == "COMMIT" {
            "commit"
        } else if statement == "ROLLBACK" {
            "rollback"
        } else if statement.contains("SAVEPOINT") {
            "savepoint"
        } else if statement.contains("DEALLOCATE ALL") {
            "cleaning"
        } else {
            "statement"
        }
    };
    flight.split(" > ").map(kind).collect::<Vec<_>>().join(" ")
}
