//! TLS to the server, by rustls.
//!
//! What each `sslmode` protects from:
//! [SSL Support](https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION).
//! Two things are stricter than in libpq: TLS begins at 1.2, and a certificate without a subject
//! alternative name has no name at all.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore,
    SignatureScheme,
};

use super::target::{Network, RootCertificates, SslMode};

/// Certificates that were replaced on disk are used after this long.
const KEPT: Duration = Duration::from_mins(1);

/// What was read from the files of certificates, so that not each connection reads them.
#[derive(Default)]
pub(super) struct TlsCache(Mutex<Option<(Instant, Arc<ClientConfig>)>>);

impl fmt::Debug for TlsCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsCache")
    }
}

impl TlsCache {
    fn config(&self, network: &Network) -> Result<Arc<ClientConfig>, String> {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((read, config)) = &*cached
            && read.elapsed() < KEPT
        {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(config(network)?);
        *cached = Some((Instant::now(), Arc::clone(&config)));
        Ok(config)
    }
}

fn config(network: &Network) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Verifier::new(network, &provider)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &network.client_certificate {
        None => config.with_no_client_auth(),
        Some((certificate, key)) => {
            refuse_readable_key(key)?;
            let chain = certificates(certificate)?;
            let in_file = |error: &dyn fmt::Display| format!("sslkey {}: {error}", key.display());
            let private = PrivateKeyDer::from_pem_file(key).map_err(|error| in_file(&error))?;
            config.with_client_auth_cert(chain, private).map_err(|error| in_file(&error))?
        }
    };
    if network.direct_tls {
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(config)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let in_file =
        |error: &dyn fmt::Display| format!("certificate file {}: {error}", file.display());
    let read: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(file).map_err(|error| in_file(&error))?.collect();
    match read {
        Ok(read) if read.is_empty() => Err(in_file(&"there is no certificate in it")),
        read => read.map_err(|error| in_file(&error)),
    }
}

/// As in libpq, only the owner may read the key; or root's group, if it is root's.
#[cfg(unix)]
fn refuse_readable_key(key: &Path) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt as _;
    let file =
        std::fs::metadata(key).map_err(|error| format!("sslkey {}: {error}", key.display()))?;
    let others = if file.uid() == 0 { 0o037 } else { 0o077 };
    if file.mode() & others == 0 {
        return Ok(());
    }
    Err(format!("sslkey {}: others than its owner can read it", key.display()))
}

#[cfg(not(unix))]
fn refuse_readable_key(_: &Path) -> Result<(), String> {
    Ok(())
}

/// Checks as much of the server's certificate as the `sslmode` asks for.
#[derive(Debug)]
struct Verifier {
    /// `None` checks no chain, but still that the server has the certificate's key.
    trusted: Option<Trusted>,
    name: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
struct Trusted {
    roots: RootCertStore,
    /// The certificates themselves, as one of them may be the server's own.
    certificates: Vec<CertificateDer<'static>>,
}

impl Verifier {
    fn new(network: &Network, provider: &CryptoProvider) -> Result<Self, String> {
        let certificates = match &network.root {
            None => None,
            Some(RootCertificates::File(file)) => Some(certificates(file)?),
            Some(RootCertificates::System) => Some(rustls_native_certs::load_native_certs().certs),
        };
        let trusted = certificates.map(|certificates| {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certificates.iter().cloned());
            Trusted { roots, certificates }
        });
        if trusted.as_ref().is_some_and(|trusted| trusted.roots.is_empty()) {
            return Err("sslrootcert has no certificate that can be used".to_owned());
        }
        Ok(Self {
            trusted,
            name: network.sslmode == SslMode::VerifyFull,
            algorithms: provider.signature_verification_algorithms,
        })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(trusted) = &self.trusted else { return Ok(ServerCertVerified::assertion()) };
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.algorithms.all;
        let chain = verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &trusted.roots,
            intermediates,
            now,
            algorithms,
        );
        match chain {
            // A self-signed certificate is often marked as an authority's, which webpki refuses to
            // take for a server's. Its dates are checked before that.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(_)))
                if trusted.certificates.contains(end_entity) => {}
            chain => chain?,
        }
        if self.name {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The client's side of a TLS session. An operation that the socket interrupts can be repeated.
pub(super) struct Session {
    connection: Box<ClientConnection>,
    direct: bool,
}

impl Session {
    pub(super) fn start(network: &Network, host: &str) -> Result<Self, String> {
        let name = match ServerName::try_from(host.to_owned()) {
            Ok(name) => name,
            Err(error) if network.sslmode == SslMode::VerifyFull => return Err(error.to_string()),
            // An address, as that is not sent to the server as its name.
            Err(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED).into(),
        };
        let config = network.tls.config(network)?;
        let mut connection =
            ClientConnection::new(config, name).map_err(|error| error.to_string())?;
        // What is queued is sent at once, and its size is limited there.
        connection.set_buffer_limit(None);
        Ok(Self { connection: Box::new(connection), direct: network.direct_tls })
    }

    pub(super) fn handshake(&mut self, socket: &TcpStream) -> io::Result<()> {
        loop {
            self.flush(socket)?;
            if !self.connection.is_handshaking() {
                break;
            }
            if self.read_record(socket)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        if self.direct && self.connection.alpn_protocol().is_none() {
            return Err(io::Error::other("the server does not know direct TLS connections"));
        }
        Ok(())
    }

    /// Reads what there is, and waits on the socket if there is nothing.
    pub(super) fn read(&mut self, socket: &TcpStream, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(into) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The messages inside tell whether one of them is cut off.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            match self.flush(socket) {
                // While the server waits to be read, it takes nothing: reading goes first.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                flushed => flushed?,
            }
            self.read_record(socket)?;
        }
    }

    fn read_record(&mut self, mut socket: &TcpStream) -> io::Result<usize> {
        let read = self.connection.read_tls(&mut socket)?;
        if let Err(error) = self.connection.process_new_packets() {
            // Tells the server why, if it still listens.
            let _ = self.flush(socket);
            return Err(io::Error::other(error));
        }
        Ok(read)
    }

    pub(super) fn queue(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.connection.writer().write_all(bytes)
    }

    pub(super) fn flush(&mut self, mut socket: &TcpStream) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut socket)?;
        }
        Ok(())
    }

    pub(super) fn server_certificate(&self) -> Option<&[u8]> {
        self.connection.peer_certificates()?.first().map(AsRef::as_ref)
    }
}
