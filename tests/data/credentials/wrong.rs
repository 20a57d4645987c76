//! Everything that can be wrong, and how it is answered: a key that is not there by its name,
//! anything else by the one error that gives no reason.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use sesari_db::credentials::{Envelope, OpenError, ParseEnvelopeError, open};
use sesari_db::value::IntegrationProvider;

use super::{Place, ring};

/// Each place differs from the usual one in one thing, or moves text between two neighbours.
fn places() -> Vec<(&'static str, Place)> {
    let usual = Place::usual();
    let place = |change: &dyn Fn(&mut Place)| {
        let mut place = usual.clone();
        change(&mut place);
        place
    };
    vec![
        ("usual", usual.clone()),
        ("key", place(&|p| p.key = 2)),
        ("salt", place(&|p| p.salt = 2)),
        ("workspace", place(&|p| p.workspace = "wb".parse().unwrap())),
        ("table", place(&|p| p.table = "webhooks")),
        ("no table", place(&|p| p.table = "")),
        ("column", place(&|p| p.column = "signing_secret")),
        ("no column", place(&|p| p.column = "")),
        ("row", place(&|p| p.integration = "ib".parse().unwrap())),
        ("provider", place(&|p| p.provider = IntegrationProvider::Sheets)),
        (
            "table's end to column",
            place(&|p| {
                p.table = "integration";
                p.column = "scredentials";
            }),
        ),
        (
            "workspace and row swapped",
            place(&|p| {
                p.workspace = "ia".parse().unwrap();
                p.integration = "wa".parse().unwrap();
            }),
        ),
        (
            "table and column swapped",
            place(&|p| {
                p.table = "credentials";
                p.column = "integrations";
            }),
        ),
        (
            "provider in other letters",
            place(&|p| {
                p.provider = IntegrationProvider::Unknown("Stripe".into());
            }),
        ),
    ]
}

#[test]
fn wrong_place_wrong_key_and_wrong_salt_are_refused_alike() {
    let places = places();
    for (sealed_in, place) in &places {
        let envelope = place.seal("secret");
        for (opened_in, other) in &places {
            match other.open(&envelope) {
                Ok(secret) => {
                    assert_eq!(sealed_in, opened_in);
                    assert_eq!(secret.expose(), b"secret");
                }
                Err(error) => {
                    assert_ne!(sealed_in, opened_in);
                    assert_eq!(error, OpenError::Refused, "{sealed_in} opened in {opened_in}");
                }
            }
        }
    }
}

#[test]
fn wrong_key_id_that_is_not_in_the_ring_is_named() {
    let place = Place::usual();
    let error = Place { key_id: "k2", ..place.clone() }.open(&place.seal("secret")).unwrap_err();
    assert_eq!(error, OpenError::UnknownKey { key_id: "k1".parse().unwrap() });
    assert_eq!(error.to_string(), "sealing key k1 is not in the ring");
}

#[test]
fn wrong_key_id_that_is_in_the_ring_is_not_made_up_for_by_the_right_one() {
    let place = Place::usual();
    let renamed = renamed(&place.seal("secret"), "k2");
    let both = ring(&[("k1", 1), ("k2", 2)]);
    let error = open(&both, &place.salt(), &place.binding(), &renamed).unwrap_err();
    assert_eq!(error, OpenError::Refused);
}

#[test]
fn wrong_key_id_of_the_right_key_is_refused() {
    let place = Place::usual();
    let renamed = renamed(&place.seal("secret"), "k2");
    let same_key = Place { key_id: "k2", ..place };
    assert_eq!(same_key.open(&renamed).unwrap_err(), OpenError::Refused);
}

#[test]
fn wrong_version_is_told_from_nonsense() {
    let text = Place::usual().seal("secret").to_string();
    let parsed = |version: &str| Envelope::parse(text.replacen("v1", version, 1));
    for version in ["v2", "v3", "v10", "v11", "v9999"] {
        assert_eq!(parsed(version), Err(ParseEnvelopeError::UnknownVersion), "{version}");
    }
    for version in ["", "v", "1", "V1", "v0", "v01", "v1 ", " v1", "v-1", "v1a", "v99999", "w1"] {
        assert_eq!(parsed(version), Err(ParseEnvelopeError::Malformed), "{version}");
    }
}

#[test]
fn every_truncation_is_refused() {
    let place = Place::usual();
    let text = place.seal("a secret of some length").to_string();
    for len in 0..text.len() {
        assert!(!opens(&place, &text.as_bytes()[..len]), "cut to {len} bytes");
        assert!(!opens(&place, &text.as_bytes()[text.len() - len..]), "the last {len} bytes");
    }
    let [nonce, sealed] = decoded(&text);
    for len in 0..sealed.len() {
        assert!(!opens(&place, &encoded(&nonce, &sealed[..len])), "ciphertext cut to {len}");
        assert!(!opens(&place, &encoded(&nonce, &sealed[len + 1..])), "ciphertext from {len} on");
    }
    for len in 0..nonce.len() {
        assert!(!opens(&place, &encoded(&nonce[..len], &sealed)), "nonce cut to {len}");
    }
    assert!(opens(&place, &encoded(&nonce, &sealed)));
}

#[test]
fn every_bit_counts() {
    let place = Place::usual();
    let text = place.seal("a secret of some length").to_string();
    for (at, bit) in (0..text.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let mut flipped = text.clone().into_bytes();
        flipped[at] ^= 1 << bit;
        assert!(!opens(&place, &flipped), "bit {bit} of byte {at} of the text");
    }
    let [nonce, sealed] = decoded(&text);
    for (at, bit) in (0..nonce.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let mut flipped = nonce.clone();
        flipped[at] ^= 1 << bit;
        assert_refused(&place, &encoded(&flipped, &sealed));
    }
    for (at, bit) in (0..sealed.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let mut flipped = sealed.clone();
        flipped[at] ^= 1 << bit;
        assert_refused(&place, &encoded(&nonce, &flipped));
    }
}

#[test]
fn parts_that_were_lengthened_or_swapped_are_refused() {
    let place = Place::usual();
    let [first, second] = [place.seal("secret"), place.seal("secret")].map(|e| e.to_string());
    let [[nonce, sealed], [other_nonce, other_sealed]] = [decoded(&first), decoded(&second)];
    assert_refused(&place, &encoded(&other_nonce, &sealed));
    assert_refused(&place, &encoded(&nonce, &other_sealed));
    // The ciphertext of one with the tag of the other, and the tag in front.
    let (text, tag) = sealed.split_at(sealed.len() - 16);
    assert_refused(&place, &encoded(&nonce, &[text, &other_sealed[text.len()..]].concat()));
    assert_refused(&place, &encoded(&nonce, &[tag, text].concat()));
    assert_refused(&place, &encoded(&nonce, &[&sealed[..], &[0]].concat()));
    assert_refused(&place, &encoded(&nonce, &[&[0], &sealed[..]].concat()));
    assert_refused(&place, &encoded(&nonce, &[0; 16]));

    let parts: Vec<_> = first.split('.').collect();
    for order in [[0, 1, 3, 2], [1, 0, 2, 3], [0, 2, 1, 3], [3, 2, 1, 0]] {
        let swapped = order.map(|part| parts[part]).join(".");
        assert_eq!(Envelope::parse(swapped), Err(ParseEnvelopeError::Malformed), "{order:?}");
    }
}

fn renamed(envelope: &Envelope, key_id: &str) -> Envelope {
    let text = envelope.to_string();
    text.replacen(envelope.key_id().as_str(), key_id, 1).parse().unwrap()
}

fn decoded(text: &str) -> [Vec<u8>; 2] {
    let mut parts = text.split('.').skip(2).map(|part| BASE64.decode(part).unwrap());
    [parts.next().unwrap(), parts.next().unwrap()]
}

fn encoded(nonce: &[u8], sealed: &[u8]) -> Vec<u8> {
    format!("v1.k1.{}.{}", BASE64.encode(nonce), BASE64.encode(sealed)).into_bytes()
}

fn opens(place: &Place, text: &[u8]) -> bool {
    Envelope::parse(text).is_ok_and(|envelope| place.open(&envelope).is_ok())
}

fn assert_refused(place: &Place, text: &[u8]) {
    let envelope = Envelope::parse(text).unwrap();
    assert_eq!(place.open(&envelope).unwrap_err(), OpenError::Refused);
}
