//! Cancels what a connection runs, from any thread.
//!
//! [Canceling Requests in Progress](https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS).

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::message::Outgoing;
use super::startup::{self, Opened, deadline};
use super::target::{Network, Target};
use super::transport::{Address, Transport};

/// Cancels the statement that one connection runs. `Debug` does not show the secret.
#[cfg_attr(not(feature = "tokio"), allow(dead_code, reason = "futures alone cancel statements"))]
#[derive(Clone)]
pub(crate) struct CancelToken {
    address: Address,
    network: Arc<Network>,
    encrypted: bool,
    pid: i32,
    secret: Vec<u8>,
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken")
            .field("address", &self.address)
            .field("pid", &self.pid)
            .finish_non_exhaustive()
    }
}

#[cfg_attr(not(feature = "tokio"), allow(dead_code, reason = "futures alone cancel statements"))]
impl CancelToken {
    pub(super) fn new(target: &Target, opened: &Opened) -> Self {
        Self {
            address: opened.address.clone(),
            network: Arc::clone(&target.network),
            encrypted: opened.transport.is_encrypted(),
            pid: opened.pid,
            secret: opened.secret.clone(),
        }
    }

    /// For tests of what may happen when nothing can be reached.
    #[cfg(test)]
    pub(crate) fn nowhere() -> Self {
        Self {
            address: Address::Unix("/nonexistent".into()),
            network: Arc::default(),
            encrypted: false,
            pid: 0,
            secret: Vec::new(),
        }
    }

    /// Returns when the server has accepted the request. The statement may have ended before that.
    pub(crate) fn cancel(&self, within: Duration) -> io::Result<()> {
        let until = deadline(within);
        let mut transport = Transport::connect(&self.address, &self.network, until)?;
        if self.encrypted {
            startup::start_tls(&mut transport, &self.address, &self.network, until)
                .map_err(io::Error::other)?;
            if !transport.is_encrypted() {
                // Never send the secret over an unencrypted connection when the session itself is encrypted.
                return Err(io::Error::other("the server has no TLS any more"));
            }
        }
        let mut out = Outgoing::default();
        out.cancel_request(self.pid, &self.secret);
        transport.send(out.as_bytes(), Some(until))?;
        // The server closes the connection without an answer once it has sent the signal.
        match transport.receive(&mut Vec::new(), Some(until)) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(error),
            _ => Ok(()),
        }
    }
}
