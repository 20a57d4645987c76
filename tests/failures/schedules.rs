//! Random schedules: guards, savepoints, errors, panics, drops, forgotten guards, kills, cancels and
//! revocations, in any order, against a model of what must be seen and stored. Each guard is a canary:
//! what it finds on the connection it is given has to be its own workspace and nothing else.
//!
//! `SESARI_LONG=100000 cargo test --test failures schedules` takes so many steps; `SESARI_SEED` repeats a run.
#![allow(clippy::unwrap_used, reason = "a test's set-up fails loudly")]

mod canary;
mod model;

use crate::support::random::{Random, long_or};

#[test]
fn no_schedule_shows_a_foreign_row_or_loses_count() {
    let (seed, random) = Random::seeded();
    let steps = long_or(2_500);
    let mut model = model::Model::new(random);
    for step in 0..steps {
        model.step().unwrap_or_else(|fault| panic!("step {step} of SESARI_SEED={seed}: {fault}"));
    }
    model.finish().unwrap();
    println!("{steps} steps: {:?}", model.taken);
    assert!(model.taken.len() >= 18, "not everything happened: {:?}", model.taken);
}
