//! The parser: it accepts what is printed and nothing else, and no bytes make it panic.

use proptest::prelude::*;
use proptest::sample::Index;
use sesari_db::credentials::{Envelope, MAX_SECRET_LEN, ParseEnvelopeError};

use super::Place;

const NONCE: &str = "AAAAAAAAAAAAAAAA";
const TAG: &str = "AAAAAAAAAAAAAAAAAAAAAA";

/// The grammar a second time, by hand: what the parser should say of a text.
fn is_envelope(text: &[u8]) -> bool {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    // Six bits for each letter; what does not fill a byte is zero, and less than a letter.
    let base64 = |part: &[u8]| -> Option<usize> {
        let last = part
            .iter()
            .map(|letter| alphabet.iter().position(|other| other == letter))
            .collect::<Option<Vec<_>>>()?
            .last()
            .copied()?;
        let spare = part.len() * 6 % 8;
        (spare < 6 && last % (1 << spare) == 0).then_some(part.len() * 6 / 8)
    };
    let id = |part: &[u8]| {
        let allowed = |b: &u8| b"abcdefghijklmnopqrstuvwxyz0123456789_-".contains(b);
        (1..=32).contains(&part.len()) && part.iter().all(allowed) && !b"_-".contains(&part[0])
    };
    match text.split(|&b| b == b'.').collect::<Vec<_>>()[..] {
        [b"v1", key_id, nonce, sealed] => {
            id(key_id)
                && base64(nonce) == Some(12)
                && base64(sealed).is_some_and(|len| (16..=MAX_SECRET_LEN + 16).contains(&len))
        }
        _ => false,
    }
}

fn check(text: &[u8]) -> Result<(), TestCaseError> {
    let parsed = Envelope::parse(text);
    prop_assert_eq!(parsed.is_ok(), is_envelope(text));
    if let Ok(envelope) = parsed {
        prop_assert_eq!(envelope.to_string().into_bytes(), text);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_make_the_parser_panic(bytes: Vec<u8>) {
        check(&bytes)?;
    }

    #[test]
    fn behind_a_right_beginning_no_bytes_do_either(bytes: Vec<u8>) {
        check(&[b"v1.k1.", &bytes[..]].concat())?;
        check(&[format!("v1.k1.{NONCE}.").as_bytes(), &bytes[..]].concat())?;
    }

    #[test]
    fn what_the_check_of_the_database_accepts_is_told_apart_further(
        text in r"v1\.[a-z0-9][a-z0-9_-]{0,31}\.[A-Za-z0-9_-]{16}\.[A-Za-z0-9_-]{22,70}",
    ) {
        check(text.as_bytes())?;
    }

    #[test]
    fn what_is_almost_an_envelope_is_accepted_only_if_it_is_one(
        text in r"v[12]?\.?[a-zA_-]{0,34}\.?[A-Za-z0-9_+/=-]{15,17}[.=]{0,2}[A-Za-z0-9_=-]{21,24}=?",
    ) {
        check(text.as_bytes())?;
    }

    #[test]
    fn an_envelope_with_one_byte_replaced_inserted_or_taken_out_is_judged_rightly(
        at: Index, byte: u8, what in 0..3,
    ) {
        let mut text = Place::usual().seal("secret").to_string().into_bytes();
        let at = at.index(text.len());
        match what {
            0 => text[at] = byte,
            1 => text.insert(at, byte),
            _ => drop(text.remove(at)),
        }
        check(&text)?;
    }

    #[test]
    fn an_envelope_parses_as_itself(secret in ".{0,100}") {
        let envelope = Place::usual().seal(&secret);
        check(envelope.to_string().as_bytes())?;
        prop_assert_eq!(Envelope::parse(envelope.to_string()).unwrap(), envelope);
    }
}

#[test]
fn the_smallest_envelope_parses() {
    assert!(Envelope::parse(format!("v1.k.{NONCE}.{TAG}")).is_ok());
}

#[test]
fn anything_else_is_malformed() {
    let (longer, shorter) = (format!("{NONCE}AA"), &NONCE[1..]);
    let id = "k".repeat(33);
    for bad in [
        String::new(),
        "v1".into(),
        "v1...".into(),
        "....".into(),
        "{\"api_key\":\"sk_live\"}".into(),
        format!("v1..{NONCE}.{TAG}"),
        format!("v1.k..{TAG}"),
        format!("v1.k.{NONCE}."),
        format!("v1.k.{NONCE}"),
        format!("v1.k.{NONCE}.{TAG}."),
        format!("v1.k.{NONCE}.{TAG}.AAAA"),
        format!(".v1.k.{NONCE}.{TAG}"),
        format!(" v1.k.{NONCE}.{TAG}"),
        format!("v1.k.{NONCE}.{TAG}\n"),
        format!("v1.k.{NONCE}.{TAG}\0"),
        format!("v1.{id}.{NONCE}.{TAG}"),
        format!("v1.K.{NONCE}.{TAG}"),
        format!("v1.-k.{NONCE}.{TAG}"),
        format!("v1.é.{NONCE}.{TAG}"),
        format!("v1.k.{longer}.{TAG}"),
        format!("v1.k.{shorter}.{TAG}"),
        format!("v1.k.{NONCE}.{TAG}=="),
        format!("v1.k.{NONCE}.{TAG}AAA"),
        format!("v1.k.{NONCE}.{}", &TAG[1..]),
        format!("v1.k.{NONCE}.{}B", &TAG[1..]),
        format!("v1.k.{NONCE}.{}+AA", &TAG[1..]),
        format!("v1.k.{NONCE}.{}/AA", &TAG[1..]),
        format!("v1.k.{NONCE}.{} AA", &TAG[1..]),
        format!("v1.k.+{}.{TAG}", &NONCE[1..]),
    ] {
        assert_eq!(Envelope::parse(&bad), Err(ParseEnvelopeError::Malformed), "{bad:?}");
        assert!(bad.is_empty() || !ParseEnvelopeError::Malformed.to_string().contains(&bad));
    }
    assert_eq!(Envelope::parse([0xff, 0xfe]), Err(ParseEnvelopeError::Malformed));
}

#[test]
fn an_envelope_longer_than_any_secret_is_malformed() {
    let sealed = |bytes: usize| "A".repeat((bytes * 4).div_ceil(3));
    let parsed = |bytes| Envelope::parse(format!("v1.k.{NONCE}.{}", sealed(bytes)));
    assert!(parsed(MAX_SECRET_LEN + 16).is_ok());
    for bytes in [MAX_SECRET_LEN + 17, 100_000, 50 << 20] {
        assert_eq!(parsed(bytes), Err(ParseEnvelopeError::Malformed), "{bytes}");
    }
    let long_id = format!("v1.{}.{NONCE}.{TAG}", "k".repeat(50 << 20));
    assert_eq!(Envelope::parse(long_id), Err(ParseEnvelopeError::Malformed));
}
