//! Tenant A learns nothing of others: in two databases that differ only in what the others hold, the
//! same program of A's shows the same.
//!
//! Programs are generated: several actors, each in a session, take turns with every method of every
//! repository and with SQL of their own, in savepoints and out of them, with ids of their own and
//! of rows that exist in one world, in the other, in both or in none; they fail, commit and roll
//! back. What is compared, and what is renamed before, is written in `normal.rs`; what may differ
//! all the same, in `channels.rs`; how the worlds differ, in `worlds.rs`. A program that tells them
//! apart is shrunk to the fewest steps that do.
//!
//! | variable | meaning |
//! |---|---|
//! | `SESARI_LONG` | how many programs to run, instead of what fits in half a minute; 1 for 5000 |
//! | `SESARI_SEED` | a number: the same programs again, as a failure prints it |
//!
//! That the test can see is shown by `tests/defects`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]
#![allow(unreachable_pub, reason = "a test binary exports nothing")]

#[path = "../support/programs/mod.rs"]
mod programs;
#[path = "../support/mod.rs"]
mod support;

mod complete;
mod normal;
mod plans;

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use crate::programs::channels::{CHANNELS, witness};
use crate::programs::counted::{self, Effort};
use crate::programs::program::programs;
use crate::programs::run::compare;
use crate::programs::worlds::Pair;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// A fresh seed each time, but for a run that is to be repeated.
fn seed() -> u64 {
    number("SESARI_SEED").unwrap_or_else(|| {
        use std::hash::{BuildHasher, Hasher};
        std::collections::hash_map::RandomState::new().build_hasher().finish()
    })
}

fn runner(seed: u64, cases: u32) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: 4000, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

/// At most, in a program.
const SESSIONS: u32 = 3;
/// The tenants of all programs stay, and make whoever reads all users slow.
const PROGRAMS_A_PAIR: u32 = 300;

#[test]
fn no_program_of_a_tenant_tells_what_others_hold() {
    let seed = seed();
    let (cases, patience) = match number("SESARI_LONG") {
        // Elsewhere the variable is a switch.
        Some(1) => (5000, Duration::MAX),
        Some(cases) => (u32::try_from(cases).unwrap(), Duration::MAX),
        None => (2000, Duration::from_secs(25)),
    };
    let (ran, steps) = (Cell::new(0), Cell::new(0));
    let pair = RefCell::new(Pair::new(SESSIONS));
    let started = Instant::now();
    let result = runner(seed, cases).run(&programs(16, SESSIONS), |program| {
        if started.elapsed() > patience {
            return Ok(());
        }
        ran.set(ran.get() + 1);
        steps.set(steps.get() + program.steps.len());
        if ran.get() % PROGRAMS_A_PAIR == 0 {
            pair.replace(Pair::new(SESSIONS));
        }
        compare(&mut pair.borrow_mut(), &program).map_err(|told| TestCaseError::fail(told.0))
    });
    println!(
        "{} programs, {} steps, in {:?}, seed {seed}",
        ran.get(),
        steps.get(),
        started.elapsed()
    );
    match result {
        Ok(()) => assert!(ran.get() > 9, "too slow to have seen anything"),
        Err(TestError::Fail(why, program)) => panic!("SESARI_SEED={seed}: {why}\n{program:?}"),
        Err(TestError::Abort(why)) => panic!("SESARI_SEED={seed}: {why}"),
    }
}

#[test]
fn nothing_that_is_counted_or_estimated_tells_a_value_of_others() {
    let seed = seed();
    let (mut pair, columns) = Pair::of_equal_sizes(1);
    let by_chance = match number("SESARI_LONG") {
        Some(1) => 5000,
        Some(all) => usize::try_from(all).unwrap() / counted::ACTORS.len(),
        None => 100,
    };
    let effort = Effort { actors: counted::ACTORS.len(), by_chance };
    let told = counted::tell_apart(&mut pair, &columns, &effort, seed);
    assert!(told.is_none(), "SESARI_SEED={seed}: {}", told.unwrap_or_default());
}

#[test]
fn every_accepted_channel_still_shows_a_difference() {
    let mut pair = Pair::new(SESSIONS);
    for channel in CHANNELS {
        let (left, right) = witness(channel, &mut pair);
        assert!(
            left != right,
            "{}: both worlds answer {left}; the exception is stale. It stood because {}",
            channel.name,
            channel.reason
        );
    }
}
