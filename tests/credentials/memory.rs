//! What is wiped is gone: the process searches its own memory, freed or not, for a secret that it
//! had. Linux lets it do so without unsafe code, through `/proc/self/mem`.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use sesari_db::credentials::{SealingKey, SealingKeyRing, SealingSalt, Secret, open, reseal, seal};
use zeroize::Zeroizing;

use super::{Place, ring};

/// What is searched for, masked, so that neither the program nor the search holds it itself.
struct Canary(Vec<u8>);

const MASK: u8 = 0xa5;

impl Canary {
    /// Printable, as a credential is, and different for each `seed`.
    fn new(seed: u8, len: usize) -> Self {
        let mut state = u32::from(seed) + 1;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (b'a' + u8::try_from((state >> 16) % 26).unwrap()) ^ MASK
        };
        Self((0..len).map(|_| next()).collect())
    }

    /// The canary itself, in a buffer that was never moved.
    fn exposed(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len());
        bytes.extend(self.0.iter().map(|byte| byte ^ MASK));
        bytes
    }

    /// Whether some 16 bytes of it in a row are anywhere that this process can write.
    fn is_in_memory(&self) -> bool {
        const CHUNK: usize = 1 << 20;
        let memory = File::open("/proc/self/mem").unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let needle: &[u8] = &self.0[self.0.len() / 2..][..16];
        let mut buffer = vec![0; CHUNK + needle.len() - 1];
        let address = |text: &str| u64::from_str_radix(text, 16).unwrap();
        for map in maps.lines().filter(|map| map.contains(" rw")) {
            let (start, end) = map.split(' ').next().unwrap().split_once('-').unwrap();
            for at in (address(start)..address(end)).step_by(CHUNK) {
                // Less at the end of a mapping, nothing where another thread has just given it up.
                let len = memory.read_at(&mut buffer, at).unwrap_or(0);
                let mut rest = &buffer[..len];
                while let Some(found) = rest.iter().position(|byte| byte ^ MASK == needle[0]) {
                    rest = &rest[found..];
                    let same = |(byte, masked): (&u8, &u8)| byte ^ MASK == *masked;
                    if rest.len() >= needle.len() && rest.iter().zip(needle).all(same) {
                        return true;
                    }
                    rest = &rest[1..];
                }
            }
        }
        false
    }
}

#[test]
fn the_search_finds_what_was_not_wiped() {
    let canary = Canary::new(1, 4096);
    assert!(!canary.is_in_memory());
    std::mem::forget(canary.exposed());
    assert!(canary.is_in_memory());
}

#[test]
fn a_secret_is_there_until_it_is_dropped() {
    let canary = Canary::new(2, 4096);
    let secret = Secret::from(canary.exposed());
    assert!(canary.is_in_memory());
    drop(secret);
    assert!(!canary.is_in_memory());
}

#[test]
fn sealing_opening_and_resealing_leave_nothing_behind() {
    let canary = Canary::new(3, 5001);
    let place = Place::usual();
    {
        let secret = Secret::from(String::from_utf8(canary.exposed()).unwrap());
        let envelope = seal(&place.ring(), &place.salt(), &place.binding(), &secret).unwrap();
        drop(secret);
        assert!(!canary.is_in_memory(), "after sealing");
        let both = ring(&[("k2", 2), ("k1", 1)]);
        let new = reseal(&both, &place.salt(), &place.binding(), &envelope).unwrap().unwrap();
        assert!(!canary.is_in_memory(), "after resealing");
        let opened = open(&both, &place.salt(), &place.binding(), &new).unwrap();
        assert!(canary.is_in_memory());
        drop(opened);
        assert!(!canary.is_in_memory(), "after opening");
        assert!(place.open(&new).is_err());
        let elsewhere = Place { workspace: "wb".parse().unwrap(), ..place.clone() };
        assert!(elsewhere.open(&envelope).is_err());
    }
    assert!(!canary.is_in_memory(), "after refusals");
}

#[test]
fn json_leaves_nothing_behind_however_often_its_buffer_grew() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Credentials<'a> {
        first: &'a str,
        rest: Vec<u32>,
    }
    let canary = Canary::new(4, 3000);
    let text = Secret::from(canary.exposed());
    let first = std::str::from_utf8(text.expose()).unwrap();
    let json = Secret::from_json(&Credentials { first, rest: vec![1_000_000; 5000] }).unwrap();
    assert_eq!(json.to_json::<Credentials<'_>>().unwrap().first, first);
    drop((text, json));
    assert!(!canary.is_in_memory());
}

#[test]
fn keys_and_salts_that_were_dropped_are_gone() {
    let canary = Canary::new(5, 32);
    let bytes = Zeroizing::new(canary.exposed());
    let key = SealingKey::new("k1".parse().unwrap(), &bytes).unwrap();
    let text = key.to_secret();
    let again: SealingKey = std::str::from_utf8(text.expose()).unwrap().parse().unwrap();
    let rings = [SealingKeyRing::from(key), SealingKeyRing::from(again)];
    let clone = rings[0].clone();
    let salt = SealingSalt::from_bytes(&bytes).unwrap();
    drop((bytes, text, rings));
    assert!(canary.is_in_memory());
    drop((clone, salt));
    assert!(!canary.is_in_memory());
}
