//! What is sealed opens again, byte for byte, and moves to another key.

use proptest::prelude::*;
use sesari_db::credentials::{
    Envelope, MAX_SECRET_LEN, OpenError, ResealError, SealError, Secret, open, reseal, seal,
};

use super::{Place, ring};

proptest! {
    #[test]
    fn what_is_sealed_opens_again(bytes: Vec<u8>) {
        let place = Place::usual();
        let secret = Secret::from(bytes.clone());
        let envelope = seal(&place.ring(), &place.salt(), &place.binding(), &secret).unwrap();
        let opened = place.open(&envelope).unwrap();
        prop_assert_eq!(opened.expose(), bytes);
    }
}

#[test]
fn an_envelope_survives_its_text() {
    let place = Place::usual();
    let envelope = place.seal("secret");
    let text = envelope.to_string();
    assert_eq!(text.parse::<Envelope>().unwrap(), envelope);
    let json = serde_json::to_string(&envelope).unwrap();
    assert_eq!(json, format!("\"{text}\""));
    let again: Envelope = serde_json::from_str(&json).unwrap();
    assert_eq!(place.open(&again).unwrap().expose(), b"secret");
}

#[test]
fn an_empty_secret_opens_as_an_empty_one() {
    let place = Place::usual();
    let envelope = place.seal("");
    assert_eq!(place.open(&envelope).unwrap().expose(), b"");
    assert_eq!(envelope.to_string().rsplit('.').next().unwrap().len(), 22); // the tag
}

#[test]
fn the_longest_secret_fits_under_the_longest_key_id() {
    let id = "k".repeat(32);
    let place = Place::usual();
    let ring = ring(&[(&id, 1)]);
    let longest: Vec<u8> = (0..=255).cycle().take(MAX_SECRET_LEN).collect();
    let sealed =
        |bytes: Vec<u8>| seal(&ring, &place.salt(), &place.binding(), &Secret::from(bytes));

    let envelope = sealed(longest.clone()).unwrap();
    assert_eq!(envelope.to_string().len(), 100_000);
    let again: Envelope = envelope.to_string().parse().unwrap();
    let opened = open(&ring, &place.salt(), &place.binding(), &again).unwrap();
    assert!(opened.expose() == longest);

    let longer = [longest, vec![0]].concat();
    assert_eq!(sealed(longer), Err(SealError::TooLong));
    assert_eq!(sealed(vec![0; 10 << 20]), Err(SealError::TooLong));
}

#[test]
fn the_same_secret_is_never_sealed_alike() {
    let place = Place::usual();
    let mut parts = std::collections::HashSet::new();
    for _ in 0..1000 {
        for part in place.seal("secret").to_string().split('.').skip(2) {
            assert!(parts.insert(part.to_owned()), "a nonce or a ciphertext came twice");
        }
    }
}

#[test]
fn every_key_of_the_ring_opens_and_the_first_one_seals() {
    let place = Place::usual();
    let old = place.seal("secret");
    let both = ring(&[("k2", 2), ("k1", 1)]);
    assert_eq!(open(&both, &place.salt(), &place.binding(), &old).unwrap().expose(), b"secret");
    let new = seal(&both, &place.salt(), &place.binding(), &Secret::from(vec![1])).unwrap();
    assert_eq!(new.key_id().as_str(), "k2");
}

#[test]
fn resealing_moves_an_envelope_to_the_sealing_key_once() {
    let place = Place::usual();
    let old = place.seal("secret");
    let both = ring(&[("k2", 2), ("k1", 1)]);
    let new = reseal(&both, &place.salt(), &place.binding(), &old).unwrap().unwrap();
    assert_eq!(new.key_id().as_str(), "k2");
    assert_eq!(reseal(&both, &place.salt(), &place.binding(), &new), Ok(None));

    let without_the_old = ring(&[("k2", 2)]);
    let opened = open(&without_the_old, &place.salt(), &place.binding(), &new).unwrap();
    assert_eq!(opened.expose(), b"secret");
}

#[test]
fn resealing_opens_nothing_that_opening_would_not() {
    let place = Place::usual();
    let old = place.seal("secret");
    let elsewhere = Place { workspace: "wb".parse().unwrap(), ..place.clone() };
    let both = ring(&[("k2", 2), ("k1", 1)]);
    let reseal = |ring, place: &Place| reseal(ring, &place.salt(), &place.binding(), &old);
    assert_eq!(reseal(&both, &elsewhere), Err(ResealError::Open(OpenError::Refused)));
    assert_eq!(
        reseal(&ring(&[("k2", 2)]), &place),
        Err(ResealError::Open(OpenError::UnknownKey { key_id: "k1".parse().unwrap() }))
    );
}
