//! What is wiped is gone: the process searches its own memory, freed or not, for a secret that it
//! had. Linux lets it do so without unsafe code, through `/proc/self/mem`.

use std::cell::RefCell;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;

use sesari_db::credentials::advanced::{SealingSalt, open, reseal, seal};
use sesari_db::credentials::{SealingKey, SealingKeyRing, Secret};
use zeroize::Zeroizing;

use super::{Place, ring};

const MASK: u8 = 0xa5;
const CHUNK: usize = 1 << 20;
const WINDOW: usize = 256;

/// What is searched for: sixteen letters again and again, so that any piece that was not written
/// over counts. Kept masked, so that neither the program nor the search holds it itself.
struct Canary {
    masked: [u8; 16],
    len: usize,
    // Made beforehand: a search that allocates writes over the freed memory that it should search.
    memory: File,
    maps: RefCell<Vec<u8>>,
    chunk: RefCell<Vec<u8>>,
}

impl Canary {
    /// Printable, as a credential is, and different for each `seed`.
    fn new(seed: u8, len: usize) -> Self {
        let mut state = u32::from(seed) + 1;
        let masked = [(); 16].map(|()| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (b'a' + u8::try_from((state >> 16) % 26).unwrap()) ^ MASK
        });
        let memory = File::open("/proc/self/mem").unwrap();
        let (maps, chunk) = (vec![0; CHUNK].into(), vec![0; CHUNK + 15].into());
        Self { masked, len, memory, maps, chunk }
    }

    /// The canary itself, in a buffer that was never moved.
    fn exposed(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len);
        bytes.extend(self.masked.iter().cycle().take(self.len).map(|byte| byte ^ MASK));
        bytes
    }

    /// Whether its letters are anywhere that this process can write.
    fn is_in_memory(&self) -> bool {
        let (mut maps, mut chunk) = (self.maps.borrow_mut(), self.chunk.borrow_mut());
        let mut file = File::open("/proc/self/maps").unwrap();
        let mut len = 0;
        loop {
            match file.read(&mut maps[len..]).unwrap() {
                0 => break,
                read => len += read,
            }
        }
        assert!(len < maps.len());
        let address = |text: &str| u64::from_str_radix(text, 16).unwrap();
        let maps = std::str::from_utf8(&maps[..len]).unwrap();
        maps.lines().filter(|map| map.contains(" rw")).any(|map| {
            let (start, end) = map.split(' ').next().unwrap().split_once('-').unwrap();
            (address(start)..address(end)).step_by(CHUNK).any(|at| {
                // Less at the end of a mapping, nothing where another thread has just given it up.
                let len = self.memory.read_at(&mut chunk, at).unwrap_or(0);
                self.is_in(&chunk[..len])
            })
        })
    }

    /// A window at a time, as few have all its letters: tests are not optimized, and this much memory,
    /// byte by byte, would take longer than all else in this file.
    fn is_in(&self, bytes: &[u8]) -> bool {
        let has_letters = |window: &[u8]| self.masked.iter().all(|m| window.contains(&(m ^ MASK)));
        let is_here = |piece: &[u8]| piece.iter().zip(&self.masked).all(|(b, m)| b ^ MASK == *m);
        (0..bytes.len())
            .step_by(WINDOW)
            .map(|at| &bytes[at..bytes.len().min(at + WINDOW + 15)])
            .any(|window| has_letters(window) && window.windows(16).any(is_here))
    }
}

#[test]
fn the_search_finds_what_was_not_wiped() {
    let canary = Canary::new(1, 4096);
    assert!(!canary.is_in_memory());
    let mut bytes = canary.exposed();
    // Not dropped: another thread could be given the memory, and write over it, before the search.
    bytes.clear();
    assert!(canary.is_in_memory());
    drop(bytes);
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

/// Apart from the test above: what comes after it there would write over what it left.
#[test]
fn reading_a_key_leaves_nothing_behind() {
    let canary = Canary::new(6, 32);
    let bytes = Zeroizing::new(canary.exposed());
    let text = SealingKey::new("k1".parse().unwrap(), &bytes).unwrap().to_secret();
    drop(bytes);
    assert!(!canary.is_in_memory());
    let key: SealingKey = std::str::from_utf8(text.expose()).unwrap().parse().unwrap();
    assert!(canary.is_in_memory());
    drop(key);
    assert!(!canary.is_in_memory());
}
