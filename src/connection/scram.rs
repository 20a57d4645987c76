//! Authentication by a password that never leaves the client: SCRAM-SHA-256, bound to the TLS
//! session where it can be.
//!
//! [RFC 5802](https://www.rfc-editor.org/rfc/rfc5802) (SCRAM),
//! [RFC 7677](https://www.rfc-editor.org/rfc/rfc7677) (SHA-256),
//! [RFC 5929](https://www.rfc-editor.org/rfc/rfc5929#section-4) (`tls-server-end-point`) and
//! [SASL Authentication](https://www.postgresql.org/docs/current/sasl-authentication.html).

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{Algorithm, SHA256, SHA384, SHA512};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac, pbkdf2};
use zeroize::Zeroizing;

use super::saslprep::prepared;

pub(super) const MECHANISM: &str = "SCRAM-SHA-256";
pub(super) const MECHANISM_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// The most iterations that a server may ask for: about a second of the client's CPU.
const MAX_ITERATIONS: u32 = 10_000_000;

/// What the exchange can bind to in its TLS session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Binding {
    /// There is no TLS session, or it supports no binding.
    Unsupported,
    /// The server did not offer to bind. It is told that the client could, so that both notice
    /// when somebody between them removed the offer.
    NotOffered,
    /// The hash of the server's certificate.
    EndPoint(Vec<u8>),
}

impl Binding {
    fn header(&self) -> &'static str {
        match self {
            Self::Unsupported => "n,,",
            Self::NotOffered => "y,,",
            Self::EndPoint(_) => "p=tls-server-end-point,,",
        }
    }

    fn data(&self) -> &[u8] {
        match self {
            Self::EndPoint(hash) => hash,
            _ => &[],
        }
    }
}

/// Why an exchange ended without success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ScramError(pub(super) &'static str);

/// An exchange, from the client's first message on.
pub(super) struct Scram {
    binding: Binding,
    password: Zeroizing<String>,
    nonce: String,
    first_bare: String,
    expected: Option<(hmac::Key, String)>,
}

impl Scram {
    pub(super) fn new(password: &str, binding: Binding) -> Result<Self, ScramError> {
        let mut nonce = [0; 18];
        SystemRandom::new().fill(&mut nonce).map_err(|_| ScramError("no random numbers"))?;
        // The server knows the user from the startup message, and ignores one here.
        Ok(Self::with_nonce("", password, STANDARD.encode(nonce), binding))
    }

    fn with_nonce(user: &str, password: &str, nonce: String, binding: Binding) -> Self {
        let first_bare = format!("n={user},r={nonce}");
        Self { binding, password: prepared(password), nonce, first_bare, expected: None }
    }

    pub(super) fn mechanism(&self) -> &'static str {
        if matches!(self.binding, Binding::EndPoint(_)) { MECHANISM_PLUS } else { MECHANISM }
    }

    pub(super) fn first(&self) -> String {
        format!("{}{}", self.binding.header(), self.first_bare)
    }

    /// The client's last message, in answer to the server's first.
    pub(super) fn respond(&mut self, server_first: &[u8]) -> Result<String, ScramError> {
        let server_first = std::str::from_utf8(server_first).map_err(|_| MALFORMED)?;
        let (nonce, salt, iterations) = self.challenge(server_first)?;
        let salted = self.salted_password(&salt, iterations);
        let bound = [self.binding.header().as_bytes(), self.binding.data()].concat();
        let without_proof = format!("c={},r={nonce}", STANDARD.encode(bound));
        let transcript = format!("{},{server_first},{without_proof}", self.first_bare);

        let salted = hmac::Key::new(hmac::HMAC_SHA256, &*salted);
        let mut proof = Zeroizing::new([0; 32]);
        proof.copy_from_slice(hmac::sign(&salted, b"Client Key").as_ref());
        let stored_key = digest::digest(&SHA256, &*proof);
        let signature = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, stored_key.as_ref()),
            transcript.as_bytes(),
        );
        for (byte, mask) in proof.iter_mut().zip(signature.as_ref()) {
            *byte ^= mask;
        }
        let server_key = hmac::sign(&salted, b"Server Key");
        let server_key = hmac::Key::new(hmac::HMAC_SHA256, server_key.as_ref());
        self.expected = Some((server_key, transcript));
        Ok(format!("{without_proof},p={}", STANDARD.encode(*proof)))
    }

    /// Nonce, salt and number of iterations.
    fn challenge<'a>(
        &self,
        message: &'a str,
    ) -> Result<(&'a str, Vec<u8>, NonZeroU32), ScramError> {
        let mut parts = message.split(',');
        let mut part = |name| parts.next().and_then(|part| part.strip_prefix(name));
        let nonce = part("r=").ok_or(MALFORMED)?;
        let salt = STANDARD.decode(part("s=").ok_or(MALFORMED)?).map_err(|_| MALFORMED)?;
        let iterations: NonZeroU32 =
            part("i=").and_then(|text| text.parse().ok()).ok_or(MALFORMED)?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(ScramError("the server's nonce does not continue the client's"));
        }
        if salt.is_empty() {
            return Err(MALFORMED);
        }
        if iterations.get() > MAX_ITERATIONS {
            return Err(ScramError("the server asks for more than 10 million iterations"));
        }
        Ok((nonce, salt, iterations))
    }

    fn salted_password(&self, salt: &[u8], iterations: NonZeroU32) -> Zeroizing<[u8; 32]> {
        let mut salted = Zeroizing::new([0; 32]);
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(algorithm, iterations, salt, self.password.as_bytes(), &mut *salted);
        salted
    }

    /// Whether the server knows the password too, or a hash of it.
    pub(super) fn finish(&self, server_final: &[u8]) -> Result<(), ScramError> {
        let Some((key, transcript)) = &self.expected else { return Err(MALFORMED) };
        let message = std::str::from_utf8(server_final).map_err(|_| MALFORMED)?;
        let signature = message.split(',').next().and_then(|part| part.strip_prefix("v="));
        let signature = STANDARD.decode(signature.ok_or(MALFORMED)?).map_err(|_| MALFORMED)?;
        hmac::verify(key, transcript.as_bytes(), &signature)
            .map_err(|_| ScramError("the server did not prove that it knows the password"))
    }
}

const MALFORMED: ScramError = ScramError("the server's SCRAM message is malformed");

/// The hash of a certificate for `tls-server-end-point`: by the hash algorithm of its signature,
/// with SHA-256 in place of MD5 and SHA-1. `None` if that is another or there is none.
pub(super) fn end_point_hash(certificate: &[u8]) -> Option<Vec<u8>> {
    let (body, _) = tagged(certificate, 0x30)?;
    let (_, after_tbs) = tagged(body, 0x30)?;
    let (algorithm, _) = tagged(after_tbs, 0x30)?;
    let (oid, parameters) = tagged(algorithm, 0x06)?;
    let hash = match oid {
        RSA_PSS => pss_hash(parameters)?,
        _ => signature_hash(oid)?,
    };
    Some(digest::digest(hash, certificate).as_ref().to_vec())
}

// pkcs-1 (1.2.840.113549.1.1), and ANSI X9.62 signatures (1.2.840.10045.4).
const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];

fn signature_hash(oid: &[u8]) -> Option<&'static Algorithm> {
    match oid {
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 4 | 5 | 11]
        | [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1]
        | [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2] => Some(&SHA256),
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12]
        | [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3] => Some(&SHA384),
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13]
        | [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4] => Some(&SHA512),
        _ => None,
    }
}

/// RSASSA-PSS names its hash in its parameters: `SEQUENCE { [0] { SEQUENCE { OID ... } } ... }`.
fn pss_hash(parameters: &[u8]) -> Option<&'static Algorithm> {
    let (fields, _) = tagged(parameters, 0x30)?;
    let Some((hash, _)) = tagged(fields, 0xa0) else {
        // The default is SHA-1.
        return Some(&SHA256);
    };
    let (hash, _) = tagged(hash, 0x30)?;
    match tagged(hash, 0x06)?.0 {
        [0x2b, 0x0e, 3, 2, 26] | [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1] => Some(&SHA256),
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2] => Some(&SHA384),
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3] => Some(&SHA512),
        _ => None,
    }
}

/// The value of the element with this tag at the start of DER, and what comes after it.
fn tagged(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [first, length, rest @ ..] = der else { return None };
    if *first != tag {
        return None;
    }
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(length)?;
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER_FIRST: &[u8] =
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    fn rfc7677() -> Scram {
        let nonce = "rOprNGfwEbeRWgbNEkqO".to_owned();
        Scram::with_nonce("user", "pencil", nonce, Binding::Unsupported)
    }

    #[test]
    fn the_example_of_the_rfc() {
        let mut scram = rfc7677();
        assert_eq!(scram.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        assert_eq!(
            scram.respond(SERVER_FIRST).unwrap(),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        scram.finish(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").unwrap();
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_refused() {
        let mut scram = rfc7677();
        // Before the proof, nothing is a success.
        assert!(scram.finish(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").is_err());
        scram.respond(SERVER_FIRST).unwrap();
        for end in [
            &b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5="[..],
            b"v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            b"v=6rriTRBi23WpRR/wtup+mA==",
            b"v=",
            b"e=other-error",
            b"",
            b"\xff",
        ] {
            assert!(scram.finish(end).is_err(), "{end:?}");
        }
    }

    #[test]
    fn a_challenge_that_is_malformed_or_absurd_is_refused() {
        for first in [
            "",
            "r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "r=other%hvYDpWUa2RaTCAfuxFIlj,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "r=rOprNGfwEbeRWgbNEkqOx,s=,i=4096",
            "r=rOprNGfwEbeRWgbNEkqOx,s=*,i=4096",
            "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=0",
            "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=-1",
            "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=10000001",
            "m=ext,r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        ] {
            assert!(rfc7677().respond(first.as_bytes()).is_err(), "{first}");
        }
    }

    #[test]
    fn the_binding_is_part_of_what_is_proved() {
        let message = |binding| {
            let mut scram = Scram::with_nonce("", "pencil", "abc".to_owned(), binding);
            (scram.mechanism(), scram.first(), scram.respond(b"r=abcd,s=c2FsdA==,i=1").unwrap())
        };
        let (mechanism, first, last) = message(Binding::EndPoint(vec![1, 2, 3]));
        assert_eq!(
            (mechanism, first.as_str()),
            (MECHANISM_PLUS, "p=tls-server-end-point,,n=,r=abc")
        );
        let expected = STANDARD.encode(b"p=tls-server-end-point,,\x01\x02\x03");
        assert!(last.starts_with(&format!("c={expected},r=abcd,p=")), "{last}");
        let (mechanism, first, last) = message(Binding::NotOffered);
        assert_eq!((mechanism, first.as_str()), (MECHANISM, "y,,n=,r=abc"));
        assert!(last.starts_with("c=eSws,"), "{last}");
    }

    fn element(tag: u8, value: &[u8]) -> Vec<u8> {
        let length = u8::try_from(value.len()).unwrap();
        let length = if length < 0x80 { vec![length] } else { vec![0x81, length] };
        [&[tag][..], &length, value].concat()
    }

    fn certificate(algorithm: &[u8]) -> Vec<u8> {
        let fields =
            [element(0x30, &[0; 150]), element(0x30, algorithm), element(3, b"x")].concat();
        element(0x30, &fields)
    }

    #[test]
    fn the_end_point_is_hashed_as_the_signature_is() {
        let rsa = |last| [&RSA_PSS[..8], &[last]].concat();
        let sha2 = |last| element(6, &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, last]);
        let pss = |fields: Vec<u8>| [element(6, RSA_PSS), element(0x30, &fields)].concat();
        let ecdsa = |rest: &[u8]| [&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4][..], rest].concat();
        for (algorithm, hash) in [
            (element(6, &rsa(4)), Some(&SHA256)),
            (element(6, &rsa(5)), Some(&SHA256)),
            (element(6, &rsa(11)), Some(&SHA256)),
            (element(6, &rsa(12)), Some(&SHA384)),
            (element(6, &rsa(13)), Some(&SHA512)),
            (element(6, &ecdsa(&[1])), Some(&SHA256)),
            (element(6, &ecdsa(&[3, 2])), Some(&SHA256)),
            (element(6, &ecdsa(&[3, 3])), Some(&SHA384)),
            (element(6, &ecdsa(&[3, 4])), Some(&SHA512)),
            (pss(vec![]), Some(&SHA256)),
            (pss(element(0xa0, &element(0x30, &sha2(1)))), Some(&SHA256)),
            (pss(element(0xa0, &element(0x30, &sha2(3)))), Some(&SHA512)),
            // Ed25519 has no hash of its own, and SHA-224 is not at hand.
            (element(6, &[0x2b, 0x65, 0x70]), None),
            (element(6, &rsa(14)), None),
        ] {
            let certificate = certificate(&algorithm);
            let expected = hash.map(|hash| digest::digest(hash, &certificate).as_ref().to_vec());
            assert_eq!(end_point_hash(&certificate), expected, "{algorithm:?}");
        }
    }

    #[test]
    fn a_certificate_cut_short_has_no_hash() {
        let whole = certificate(&element(6, RSA_PSS));
        for cut in 0..whole.len() {
            assert_eq!(end_point_hash(&whole[..cut]), None, "{cut}");
        }
    }
}
