//! Numbers that look random and are the same for the same seed.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// `SplitMix64`, as Steele, Lea and Flood describe it.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// From `SESARI_SEED`, or else from chance; says which, to be run again.
    pub fn seeded() -> (u64, Self) {
        let seed =
            number("SESARI_SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish());
        eprintln!("SESARI_SEED={seed}");
        (seed, Self(seed))
    }

    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of `0..below`.
    pub fn below(&mut self, below: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(below).unwrap()).unwrap()
    }

    /// True once in so many times.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// What `SESARI_LONG` asks for, or else the quick form's.
pub fn long_or(quick: u64) -> u64 {
    number("SESARI_LONG").unwrap_or(quick)
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")))
}
