//! A line between the pool and the server that fails as networks do: late, in the middle of a
//! message, without a word.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// What the line does to bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    /// Hands them on.
    None,
    /// Hands them on so much later.
    Delay(Duration),
    /// Takes them, and hands nothing on: in either direction, on connections old and new.
    Silence,
    /// Answers the next ones of the client with a reset.
    Reset,
    /// Hands a COMMIT on, and breaks when the server has answered it.
    AfterCommit,
    /// Breaks when the client sends a COMMIT.
    BeforeCommit,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Way {
    ToServer,
    ToClient,
}

pub(crate) struct Proxy {
    pub(crate) address: String,
    state: Arc<State>,
}

/// Sets a proxy's fault from elsewhere.
pub(crate) struct Switch(Arc<State>);

impl Switch {
    pub(crate) fn set(&self, fault: Fault) {
        *self.0.fault.lock().unwrap() = fault;
    }
}

struct State {
    server: Mutex<String>,
    fault: Mutex<Fault>,
    /// How many bytes may still go each way before the line breaks.
    left: [AtomicI64; 2],
    passed: [AtomicI64; 2],
    lines: Mutex<Vec<Weak<TcpStream>>>,
}

impl Proxy {
    /// Starts a proxy. Its threads end with the connections.
    pub(crate) fn before(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State {
            server: Mutex::new(server.to_owned()),
            fault: Mutex::new(Fault::None),
            left: [AtomicI64::new(i64::MAX), AtomicI64::new(i64::MAX)],
            passed: [AtomicI64::new(0), AtomicI64::new(0)],
            lines: Mutex::default(),
        });
        let shared = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let server = shared.server.lock().unwrap().clone();
                // Like a server that is down: the client is told at once.
                if let (Ok(client), Ok(server)) = (client, TcpStream::connect(&server)) {
                    shared.join(client, server);
                }
            }
        });
        Self { address, state }
    }

    pub(crate) fn set(&self, fault: Fault) {
        self.fault().set(fault);
    }

    pub(crate) fn fault(&self) -> Switch {
        Switch(self.state.clone())
    }

    /// Lets so many bytes pass that way, and breaks.
    pub(crate) fn cut_after(&self, bytes: i64, way: Way) {
        self.state.left[way as usize].store(bytes, SeqCst);
    }

    pub(crate) fn mend(&self) {
        self.set(Fault::None);
        for left in &self.state.left {
            left.store(i64::MAX, SeqCst);
        }
    }

    /// How many bytes go that way while the body runs.
    pub(crate) fn bytes(&self, way: Way, body: impl FnOnce()) -> i64 {
        let passed = &self.state.passed[way as usize];
        let before = passed.load(SeqCst);
        body();
        passed.load(SeqCst) - before
    }

    /// Breaks every line there is.
    pub(crate) fn cut(&self) {
        for line in self.state.lines.lock().unwrap().drain(..).filter_map(|line| line.upgrade()) {
            let _ = line.shutdown(Shutdown::Both);
        }
    }

    /// Leads new connections to another server. Those there are stay where they are.
    pub(crate) fn lead_to(&self, server: &str) {
        server.clone_into(&mut self.state.server.lock().unwrap());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.mend();
        self.cut();
    }
}

impl State {
    fn join(self: &Arc<Self>, client: TcpStream, server: TcpStream) {
        for stream in [&client, &server] {
            stream.set_nodelay(true).unwrap();
        }
        let (client, server) = (Arc::new(client), Arc::new(server));
        self.lines.lock().unwrap().extend([&client, &server].map(Arc::downgrade));
        // The fault breaks the line only after this much more has come back.
        let committing = Arc::new(AtomicUsize::new(0));
        for (way, from, to) in
            [(Way::ToServer, &client, &server), (Way::ToClient, &server, &client)]
        {
            let (state, from, to) = (self.clone(), from.clone(), to.clone());
            let committing = committing.clone();
            std::thread::spawn(move || {
                state.forward(way, &from, &to, &committing);
                if *state.fault.lock().unwrap() == Fault::Reset && way == Way::ToServer {
                    // What is not read when the last hold on a socket goes is answered by a reset.
                    let _ = to.shutdown(Shutdown::Both);
                } else {
                    let _ = from.shutdown(Shutdown::Both);
                    let _ = to.shutdown(Shutdown::Both);
                }
            });
        }
    }

    fn forward(
        &self,
        way: Way,
        mut from: &TcpStream,
        mut to: &TcpStream,
        committing: &AtomicUsize,
    ) {
        let mut buffer = [0; 16 * 1024];
        loop {
            // Where there is something to read, and not before, it is decided what becomes of it.
            if from.peek(&mut [0]).unwrap_or(0) == 0 {
                return;
            }
            let fault = *self.fault.lock().unwrap();
            if fault == Fault::Reset && way == Way::ToServer {
                return;
            }
            let Ok(read @ 1..) = from.read(&mut buffer) else { return };
            let bytes = &buffer[..read];
            let commits =
                way == Way::ToServer && bytes.windows(7).any(|seven| seven == b"COMMIT\0");
            match fault {
                Fault::Delay(time) => std::thread::sleep(time),
                Fault::Silence => continue,
                Fault::BeforeCommit if commits => return,
                Fault::AfterCommit if commits => committing.store(1, SeqCst),
                Fault::AfterCommit if way == Way::ToClient && committing.load(SeqCst) == 1 => {
                    return;
                }
                _ => {}
            }
            let read = i64::try_from(read).unwrap();
            let left = self.left[way as usize].fetch_sub(read, SeqCst);
            let passing = left.clamp(0, read);
            self.passed[way as usize].fetch_add(passing, SeqCst);
            let passing = usize::try_from(passing).unwrap();
            if to.write_all(&bytes[..passing]).is_err() || passing < bytes.len() {
                return;
            }
        }
    }
}
