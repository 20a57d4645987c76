//! A line to the server on which everything takes a while.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Each way.
const DELAY: Duration = Duration::from_micros(500);

/// The URL of the server at the other end of such a line. Its threads end with the connections.
pub(crate) fn far(url: &str) -> String {
    let start = url.rfind('@').unwrap() + 1;
    let end = start + url[start..].find('/').unwrap();
    let (login, server, rest) = (&url[..start], url[start..end].to_owned(), &url[end..]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let separator = if rest.contains('?') { '&' } else { '?' };
    let url = format!("{login}{}{rest}{separator}sslmode=disable", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(&server).unwrap());
            for stream in [&client, &server] {
                stream.set_nodelay(true).unwrap();
            }
            let (to_server, to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            forward(client, to_server);
            forward(server, to_client);
        }
    });
    url
}

/// What comes is on its way for so long, however much else is.
fn forward(mut from: TcpStream, mut to: TcpStream) {
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
    std::thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if sender.send((Instant::now() + DELAY, buffer[..length].to_vec())).is_err() {
                break;
            }
        }
    });
    std::thread::spawn(move || {
        for (arrives, bytes) in receiver {
            std::thread::sleep(arrives.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
}
