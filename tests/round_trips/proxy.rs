//! A proxy between the pool and the server that counts how often the client had to wait.
//!
//! The server ends its answer to each message of the client (a simple query, or a batch of the
//! extended protocol up to its Sync) with `ReadyForQuery`. One of those is one round trip.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) struct Proxy {
    address: String,
    answers: Arc<AtomicU64>,
}

/// A URL in three: up to the host, `host:port`, and the rest.
fn split(url: &str) -> (&str, &str, &str) {
    let at = url.rfind('@').unwrap() + 1;
    let end = at + url[at..].find('/').unwrap();
    (&url[..at], &url[at..end], &url[end..])
}

impl Proxy {
    /// Starts a proxy to the server of this URL. Its threads end with the connections.
    pub(crate) fn before(url: &str) -> Self {
        let server = split(url).1.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answers = Arc::new(AtomicU64::new(0));
        let counter = answers.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                connect(client.unwrap(), &server, counter.clone());
            }
        });
        Self { address, answers }
    }

    /// The URL with the proxy for a host. In clear, so that messages can be told apart.
    pub(crate) fn url(&self, url: &str) -> String {
        let (login, _, rest) = split(url);
        let separator = if rest.contains('?') { '&' } else { '?' };
        format!("{login}{}{rest}{separator}sslmode=disable&gssencmode=disable", self.address)
    }

    /// How many answers the server finishes while the body runs.
    pub(crate) fn round_trips(&self, body: impl FnOnce()) -> u64 {
        let before = self.answers.load(Ordering::SeqCst);
        body();
        self.answers.load(Ordering::SeqCst) - before
    }
}

fn connect(client: TcpStream, server: &str, answers: Arc<AtomicU64>) {
    let server = TcpStream::connect(server).unwrap();
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
    }
    let (to_server, to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    std::thread::spawn(move || forward(client, to_server, |_| {}));
    let mut frames = Frames::default();
    std::thread::spawn(move || {
        forward(server, to_client, |bytes| {
            // Counted before the client can know of it.
            answers.fetch_add(frames.answers_in(bytes), Ordering::SeqCst);
        });
    });
}

fn forward(mut from: TcpStream, mut to: TcpStream, mut seen: impl FnMut(&[u8])) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        seen(&buffer[..length]);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Where in the server's stream of messages we are: a type, four bytes of length, the body.
#[derive(Default)]
struct Frames {
    head: Vec<u8>,
    body_left: usize,
}

impl Frames {
    fn answers_in(&mut self, bytes: &[u8]) -> u64 {
        let mut answers = 0;
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.body_left > 0 {
                let skipped = self.body_left.min(rest.len());
                self.body_left -= skipped;
                rest = &rest[skipped..];
                continue;
            }
            self.head.push(rest[0]);
            rest = &rest[1..];
            if let [kind, a, b, c, d] = self.head[..] {
                // The length counts itself, but not the type.
                self.body_left = u32::from_be_bytes([a, b, c, d]) as usize - 4;
                answers += u64::from(kind == b'Z');
                self.head.clear();
            }
        }
        answers
    }
}

#[test]
fn answers_are_counted_however_the_stream_is_cut() {
    // Two commands completed, each followed by ReadyForQuery; a body that looks like one.
    let stream = b"C\0\0\0\x0bSELECT\0Z\0\0\0\x05TD\0\0\0\x0aZ\0\0\0\x05IZ\0\0\0\x05I";
    for size in 1..=stream.len() {
        let mut frames = Frames::default();
        let answers: u64 = stream.chunks(size).map(|chunk| frames.answers_in(chunk)).sum();
        assert_eq!(answers, 2, "chunks of {size}");
    }
}
