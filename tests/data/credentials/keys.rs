//! Keys, rings and salts: what is refused before anything is sealed with it.

use std::process::Command;

use sesari_db::credentials::{
    KeyError, KeyProvider, SaltError, SealingKey, SealingKeyId, SealingKeyRing, SealingSalt,
};

use super::{key, ring};

/// `openssl rand -base64 32`, twice.
const ONE: &str = "6B2tEbSlLWXWo6VfMmcP1GUA6nOoVYb+lI4dSxkeZPc=";
const TWO: &str = "kpkxbLBt2ckpmbJQhPZ7xvcZsHPsLfrWw1/qM1oyLlQ=";

fn ids(ring: &SealingKeyRing) -> Vec<&str> {
    ring.ids().map(SealingKeyId::as_str).collect()
}

fn error<T: std::fmt::Debug>(result: Result<T, KeyError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn a_key_of_another_length_is_refused() {
    for len in [0, 1, 16, 24, 31, 33, 64, 100_000] {
        let refused = SealingKey::new("k1".parse().unwrap(), &vec![7; len]);
        assert_eq!(error(refused), format!("sealing key k1 has {len} bytes; expected 32"));
    }
    assert!(SealingKey::new("k1".parse().unwrap(), &[7; 32]).is_ok());
}

#[test]
fn a_key_that_nobody_filled_is_refused() {
    let refused = SealingKey::new("k1".parse().unwrap(), &[0; 32]);
    assert_eq!(error(refused), "sealing key k1 is nothing but zeros");
}

#[test]
fn a_key_id_has_the_form_that_an_envelope_has_room_for() {
    for good in ["k", "0", "k1", "2026-11_a", &"k".repeat(32)] {
        assert_eq!(good.parse::<SealingKeyId>().unwrap().as_str(), good);
    }
    for bad in ["", "K", "k.1", "-k", "_k", "k 1", "k\n", "é", "k:1", &"k".repeat(33)] {
        let refused = bad.parse::<SealingKeyId>().unwrap_err();
        assert!(bad.len() < 2 || !refused.to_string().contains(bad), "{bad}");
        assert!(serde_json::from_value::<SealingKeyId>(bad.into()).is_err());
    }
}

#[test]
fn a_key_survives_its_text() {
    let key = SealingKey::generate("k1".parse().unwrap()).unwrap();
    let text = String::from_utf8(key.to_secret().expose().to_vec()).unwrap();
    let again: SealingKey = text.parse().unwrap();
    assert_eq!(again.to_secret().expose(), text.as_bytes());

    let text = format!("k1:{ONE}");
    assert_eq!(text.parse::<SealingKey>().unwrap().to_secret().expose(), text.as_bytes());
    // As a file or a heredoc has it.
    assert!(format!(" {text}\n").parse::<SealingKey>().is_ok());
}

#[test]
fn generated_keys_and_salts_differ() {
    let mut seen = std::collections::HashSet::new();
    for _ in 0..100 {
        let key = SealingKey::generate("k1".parse().unwrap()).unwrap();
        assert!(seen.insert(key.to_secret().expose().to_vec()));
        assert!(seen.insert(SealingSalt::generate().unwrap().as_bytes().to_vec()));
    }
}

#[test]
fn a_text_that_is_no_key_is_refused_without_being_repeated() {
    let format = "expected a sealing key as <id>:<base64 of 32 bytes>";
    let id = "a sealing key's id has 1 to 32 lower-case letters, digits, hyphens and underscores, \
              a letter or digit first";
    let base64 = "sealing key k1 is not base64";
    for (bad, expected) in [
        ("", format),
        ("k1", format),
        (ONE, format),
        (&format!(":{ONE}"), id),
        (&format!("{ONE}:k1"), id),
        (&format!("k.1:{ONE}"), id),
        ("k1:", "sealing key k1 has 0 bytes; expected 32"),
        ("k1:AAAA", "sealing key k1 has 3 bytes; expected 32"),
        (&format!("k1:AAAA{ONE}"), "sealing key k1 has 35 bytes; expected 32"),
        (&format!("k1:{}", ONE.trim_end_matches('=')), base64),
        (&format!("k1: {ONE}"), base64),
        (&format!("k1:{}", ONE.replace('+', "-")), base64),
        (&format!("k1:{}", ONE.replace("c=", "d=")), base64),
        (&format!("k1:{ONE}{ONE}"), base64),
        (&format!("k1:{ONE}:"), base64),
        (&format!("k1:{}", "A".repeat(1 << 20)), "sealing key k1 has 786432 bytes; expected 32"),
    ] {
        assert_eq!(error(bad.parse::<SealingKey>()), expected, "{bad:.60}");
    }
}

#[test]
fn a_ring_has_keys_and_each_only_once() {
    assert!(matches!(SealingKeyRing::new([]), Err(KeyError::NoKeys)));
    let refused = SealingKeyRing::new([key("k1", 1), key("k2", 2), key("k1", 3)]);
    assert_eq!(error(refused), "two sealing keys are named k1");
    let refused = SealingKeyRing::new([key("k1", 1), key("k2", 2), key("k3", 1)]);
    assert_eq!(error(refused), "sealing keys k1 and k3 are the same key");
}

#[test]
fn the_first_key_of_a_list_seals() {
    let ring: SealingKeyRing = format!("k2:{TWO}, k1:{ONE}\n").parse().unwrap();
    assert_eq!(ids(&ring), ["k2", "k1"]);
    assert_eq!(ring.sealing_key_id().as_str(), "k2");
    for bad in ["", ",", &format!("k1:{ONE},"), &format!("k1:{ONE};k2:{TWO}")] {
        assert!(bad.parse::<SealingKeyRing>().is_err(), "{bad}");
    }
}

/// A variable can only be set for another process: the test runs itself again.
#[test]
fn a_ring_is_read_from_the_environment() {
    const NAME: &str = "SESARI_SEALING_KEYS_UNDER_TEST";
    if std::env::var_os(NAME).is_some() {
        return assert_eq!(ids(&SealingKeyRing::from_env(NAME).unwrap()), ["k2", "k1"]);
    }
    let expected = format!("the environment variable {NAME} is not set to text");
    assert_eq!(error(SealingKeyRing::from_env(NAME)), expected);

    let run = |keys: &str| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "credentials::keys::a_ring_is_read_from_the_environment"])
            .env(NAME, keys)
            .output()
            .unwrap()
    };
    let output = run(&format!("k2:{TWO},k1:{ONE}"));
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains("1 passed")
    );
    assert!(!run(&format!("k1:{ONE},k2:{TWO}")).status.success());
}

struct Kms(Option<&'static str>);

impl KeyProvider for Kms {
    fn sealing_keys(&self) -> Result<Vec<SealingKey>, Box<dyn std::error::Error + Send + Sync>> {
        let text = self.0.ok_or("the service is away")?;
        Ok(text.split(' ').map(|id| key(id, id.as_bytes()[1])).collect())
    }
}

#[test]
fn a_provider_gives_the_keys_or_says_why_not() {
    let provider: Box<dyn KeyProvider> = Box::new(Kms(Some("k2 k1")));
    assert_eq!(ids(&SealingKeyRing::from_provider(&*provider).unwrap()), ["k2", "k1"]);
    assert_eq!(
        error(SealingKeyRing::from_provider(&Kms(Some("k1 k1")))),
        "two sealing keys are named k1"
    );

    let refused = SealingKeyRing::from_provider(&Kms(None)).unwrap_err();
    assert_eq!(refused.to_string(), "the key provider failed");
    let source = std::error::Error::source(&refused).unwrap();
    assert_eq!(source.to_string(), "the service is away");
}

#[test]
fn a_salt_has_32_bytes_that_were_not_wiped() {
    for len in [0, 16, 31, 33, 64] {
        let refused = SealingSalt::from_bytes(&vec![7; len]).unwrap_err();
        assert_eq!(refused, SaltError::Length { len });
    }
    assert_eq!(SealingSalt::from_bytes(&[0; 32]).unwrap_err(), SaltError::Zero);
    assert_eq!(SealingSalt::from_bytes(&[7; 32]).unwrap().as_bytes(), &[7; 32]);
}

#[test]
fn a_clone_of_a_ring_is_the_same_ring() {
    let first = ring(&[("k1", 1), ("k2", 2)]);
    assert_eq!(ids(&first.clone()), ids(&first));
}
