//! In place of TLS, where the feature is off: there is never a session.

use std::io;
use std::net::TcpStream;

use super::target::Network;

#[derive(Debug, Default)]
pub(super) struct TlsCache {}

pub(super) enum Session {}

impl Session {
    pub(super) fn start(_: &Network, _: &str) -> Result<Self, String> {
        Err("the crate's feature `tls` is off".to_owned())
    }

    pub(super) fn handshake(&mut self, _: &TcpStream) -> io::Result<()> {
        match *self {}
    }

    pub(super) fn read(&mut self, _: &TcpStream, _: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }

    pub(super) fn queue(&mut self, _: &[u8]) -> io::Result<()> {
        match *self {}
    }

    pub(super) fn flush(&mut self, _: &TcpStream) -> io::Result<()> {
        match *self {}
    }

    pub(super) fn server_certificate(&self) -> Option<&[u8]> {
        match *self {}
    }
}
