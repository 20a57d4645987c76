//! Nothing prints a secret, a key or a salt: not `Debug`, not `Display`, not an error.

use std::fmt::{Debug, Display};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use sesari_db::credentials::{
    Envelope, JsonError, MAX_SECRET_LEN, SealingKey, SealingKeyRing, SealingSalt, Secret, open,
    reseal, seal,
};
use zeroize::ZeroizeOnDrop;

use super::{Place, ring};

const CANARY: &str = "canary-7f3a9c51e0d2-canary-7f3a9c5";

/// All forms in which the canary could show: as it is, as numbers, in hexadecimal, in base64.
fn assert_silent(printed: &str) {
    let bytes = CANARY.as_bytes();
    let numbers = format!("{:?}", &bytes[..6]);
    let hex = format!("{:02x?}", &bytes[..6]).replace(['[', ']', ',', ' '], "");
    for form in [
        &CANARY[..8],
        numbers.trim_matches(['[', ']']),
        &hex,
        &STANDARD.encode(bytes)[..8],
        &URL_SAFE_NO_PAD.encode(bytes)[..8],
    ] {
        let found = printed.to_lowercase().contains(&form.to_lowercase());
        assert!(!found, "{form} in {printed}");
    }
}

fn debug(value: &impl Debug) {
    assert_silent(&format!("{value:?} {value:#?} {value:02x?}"));
}

fn error(error: &impl std::error::Error) {
    debug(error);
    assert_silent(&error.to_string());
    let mut source = error.source();
    while let Some(error) = source {
        assert_silent(&format!("{error} {error:?}"));
        source = error.source();
    }
}

fn canary() -> Secret {
    Secret::from(CANARY.to_owned())
}

/// The canary as a key of 32 bytes and as the text of one.
fn canary_key() -> SealingKey {
    SealingKey::new("k1".parse().unwrap(), &CANARY.as_bytes()[..32]).unwrap()
}

#[test]
#[should_panic(expected = "canary-7")]
fn the_search_finds_a_canary_in_debug_output() {
    debug(&CANARY.to_owned());
}

#[test]
#[should_panic(expected = "99, 97, 110")]
fn the_search_finds_a_canary_in_the_debug_output_of_bytes() {
    debug(&CANARY.as_bytes().to_vec());
}

#[test]
fn no_type_shows_what_it_holds() {
    let place = Place::usual();
    let ring = SealingKeyRing::from(canary_key());
    let salt = SealingSalt::from_bytes(&CANARY.as_bytes()[..32]).unwrap();
    let envelope = seal(&ring, &salt, &place.binding(), &canary()).unwrap();
    let opened = open(&ring, &salt, &place.binding(), &envelope).unwrap();
    debug(&canary());
    debug(&opened);
    debug(&canary_key());
    debug(&ring);
    debug(&salt);
    debug(&envelope);
    debug(&place.binding());
    assert_silent(&envelope.to_string());
    assert_silent(&serde_json::to_string(&envelope).unwrap());

    // Beyond the canary: exactly this.
    assert_eq!(format!("{opened:?}"), "Secret(…)");
    assert_eq!(format!("{salt:?}"), "SealingSalt(…)");
    assert_eq!(format!("{envelope:?}"), "Envelope(v1.k1.…)");
    assert_eq!(format!("{:?} {ring:?}", canary_key()), "SealingKey(k1) [\"k1\"]");
}

#[test]
fn no_error_repeats_what_it_was_given() {
    for bad in [
        CANARY.to_owned(),
        format!("{CANARY}:{CANARY}"),
        format!("k1:{CANARY}"),
        format!("k1:{}", STANDARD.encode(CANARY)),
        format!("{}:k1", STANDARD.encode(&CANARY[..32])),
    ] {
        error(&bad.parse::<SealingKey>().unwrap_err());
        error(&format!("{bad},{bad}").parse::<SealingKeyRing>().unwrap_err());
        error(&bad.parse::<Envelope>().unwrap_err());
        error(&serde_json::from_value::<Envelope>(bad.into()).unwrap_err());
    }
    let id = CANARY.replace('-', ".");
    error(&id.parse::<sesari_db::credentials::SealingKeyId>().unwrap_err());
    error(&SealingKey::new("k1".parse().unwrap(), CANARY.as_bytes()).unwrap_err());
    error(&SealingSalt::from_bytes(CANARY.as_bytes()).unwrap_err());
    let twice = |id: &str| SealingKey::new(id.parse().unwrap(), &CANARY.as_bytes()[..32]).unwrap();
    error(&SealingKeyRing::new([twice("k1"), twice("k2")]).unwrap_err());
    error(&SealingKeyRing::new([twice("k1"), twice("k1")]).unwrap_err());
}

#[test]
fn no_error_of_sealing_and_opening_shows_anything() {
    let place = Place::usual();
    let (salt, binding) = (place.salt(), place.binding());
    let long = Secret::from(CANARY.repeat(MAX_SECRET_LEN / CANARY.len() + 1));
    error(&seal(&place.ring(), &salt, &binding, &long).unwrap_err());

    let envelope = place.seal(CANARY);
    error(&open(&ring(&[("k1", 2)]), &salt, &binding, &envelope).unwrap_err());
    error(&open(&ring(&[("k2", 1)]), &salt, &binding, &envelope).unwrap_err());
    let other = ring(&[("k2", 2), ("k1", 3)]);
    error(&reseal(&other, &salt, &binding, &envelope).unwrap_err());
}

#[test]
fn no_error_of_reading_json_shows_the_json() {
    // What serde itself would say, and does where it is asked directly.
    let json = format!("{{\"key\":\"{CANARY}\"}}");
    let quoted = serde_json::from_str::<std::collections::HashMap<String, u64>>(&json).unwrap_err();
    assert!(quoted.to_string().contains(CANARY));

    let secret = Secret::from(json);
    let shape = secret.to_json::<std::collections::HashMap<String, u64>>().unwrap_err();
    assert_eq!(shape, JsonError::Shape);
    error(&shape);
    for broken in [CANARY.to_owned(), format!("\"{CANARY}"), format!("{{\"{CANARY}\"}}")] {
        let syntax = Secret::from(broken).to_json::<serde_json::Value>().unwrap_err();
        assert_eq!(syntax, JsonError::Syntax);
        error(&syntax);
    }
    assert_eq!(Secret::from(vec![]).to_json::<serde_json::Value>(), Err(JsonError::Syntax));
}

#[test]
fn no_error_of_writing_json_shows_the_value() {
    struct Talkative;
    impl serde::Serialize for Talkative {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom(CANARY))
        }
    }
    let written = Secret::from_json(&Talkative).unwrap_err();
    assert_eq!(written, JsonError::Write);
    error(&written);

    let fits = "x".repeat(MAX_SECRET_LEN - 2);
    assert_eq!(Secret::from_json(&fits).unwrap().expose().len(), MAX_SECRET_LEN);
    let long = Secret::from_json(&format!("{fits}x")).unwrap_err();
    assert_eq!(long, JsonError::TooLong);
    error(&long);
}

#[test]
fn json_is_read_as_it_was_written() {
    let value = serde_json::json!({"refresh_token": "1//0é \"✓\"", "expires": 3600, "scopes": []});
    assert_eq!(Secret::from_json(&value).unwrap().to_json::<serde_json::Value>().unwrap(), value);
}

/// Fails to compile when the type has the trait: then there are two `answer`s to choose from.
macro_rules! lacks {
    ($type:ty: $($forbidden:path),+) => {$({
        trait Ambiguous<A> {
            fn answer() {}
        }
        struct HasIt;
        impl<T: ?Sized> Ambiguous<()> for T {}
        impl<T: ?Sized + $forbidden> Ambiguous<HasIt> for T {}
        <$type as Ambiguous<_>>::answer();
    })+};
}

#[test]
fn what_holds_secrets_is_wiped_and_cannot_be_printed_written_or_copied() {
    fn wiped<T: ZeroizeOnDrop>() {}
    wiped::<Secret>();
    wiped::<SealingKey>();
    wiped::<SealingSalt>();
    lacks!(Secret: Display, serde::Serialize, Clone, AsRef<[u8]>, std::ops::Deref, PartialEq);
    lacks!(SealingKey: Display, serde::Serialize, Clone, AsRef<[u8]>, std::ops::Deref, PartialEq);
    lacks!(SealingSalt: Display, serde::Serialize, Clone, AsRef<[u8]>, std::ops::Deref, PartialEq);
    lacks!(SealingKeyRing: Display, serde::Serialize);
}
