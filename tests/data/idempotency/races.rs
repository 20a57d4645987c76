//! Transactions that come with one key at the same moment.

use std::sync::{Barrier, mpsc};
use std::time::{Duration, Instant};

use sesari_db::error::Result;
use sesari_db::id::KpiId;
use sesari_db::idempotency::IdempotencyKey;
use sesari_db::testing::TestDatabase;
use sesari_db::{Error, TenantConnection};

use super::{ask, key, made, make_kpi, world};
use crate::support::World;
use crate::support::logins;

fn begin(world: &World) -> TenantConnection {
    world.db.tenant(&world.a.owner, &world.a.workspace).unwrap()
}

/// Asks with the same key on another thread, and ends `first` once that is seen waiting.
fn ask_while(
    world: &World,
    key: &IdempotencyKey,
    first: TenantConnection,
    end: impl FnOnce(TenantConnection),
) -> Result<KpiId> {
    std::thread::scope(|scope| {
        let (done, answer) = mpsc::channel();
        scope.spawn(move || done.send(ask(world, key)).unwrap());
        let mut admin = world.test.admin().unwrap();
        let started = Instant::now();
        while !logins::holds(
            &mut admin,
            "EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')",
        ) {
            let early = answer.recv_timeout(Duration::from_millis(2));
            assert!(early.is_err(), "did not wait: {early:?}");
            assert!(started.elapsed() < Duration::from_mins(1), "neither waits nor ends");
        }
        end(first);
        answer.recv().unwrap()
    })
}

#[test]
fn the_second_waits_for_the_first_and_gets_its_answer() {
    let world = world();
    let key = key();
    let mut first = begin(&world);
    let answer = first.once("make a kpi", &key, make_kpi).unwrap();
    let second = ask_while(&world, &key, first, |first| first.commit().unwrap());
    assert_eq!(second.unwrap(), answer);
    assert_eq!(made(&world), 1);
}

#[test]
fn the_second_does_the_work_if_the_first_is_rolled_back() {
    let world = world();
    let key = key();
    let mut first = begin(&world);
    let answer = first.once("make a kpi", &key, make_kpi).unwrap();
    let second = ask_while(&world, &key, first, |first| first.rollback().unwrap());
    assert_ne!(second.unwrap(), answer);
    assert_eq!(made(&world), 1);
}

#[test]
fn who_asks_again_waits_for_another_who_asks_again() {
    let world = world();
    let key = key();
    let answer = ask(&world, &key).unwrap();
    let mut first = begin(&world);
    assert_eq!(first.once("make a kpi", &key, make_kpi).unwrap(), answer);
    let second = ask_while(&world, &key, first, drop);
    assert_eq!(second.unwrap(), answer);
    assert_eq!(made(&world), 1);
}

#[test]
fn of_many_at_once_one_does_the_work() {
    let world = world();
    for round in 1..=20 {
        let key = key();
        let barrier = Barrier::new(6);
        let answers: Vec<_> = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..6)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        ask(&world, &key)
                    })
                })
                .collect();
            asking.into_iter().map(|thread| thread.join().unwrap().unwrap()).collect()
        });
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
        assert_eq!(made(&world), round);
    }
}

#[test]
fn who_waits_too_long_is_told_so_and_may_ask_again() {
    let test = TestDatabase::new().unwrap();
    let builder = test.builder().lock_timeout(Duration::from_millis(100));
    let db = builder.build().unwrap();
    let world = World::on(test, db);
    let key = key();
    let mut first = begin(&world);
    let answer = first.once("make a kpi", &key, make_kpi).unwrap();
    let second = ask(&world, &key);
    assert!(matches!(second, Err(Error::LockTimeout)), "{second:?}");
    assert!(second.unwrap_err().is_retryable());
    first.commit().unwrap();
    assert_eq!(ask(&world, &key).unwrap(), answer);
    assert_eq!(made(&world), 1);
}

/// The waiting is for the key alone.
#[test]
fn nobody_waits_for_another_key_or_anothers_key() {
    let test = TestDatabase::new().unwrap();
    let db = test.builder().pool_size(4).lock_timeout(Duration::from_secs(2)).build().unwrap();
    let world = World::on(test, db);
    let key = key();
    let mut first = begin(&world);
    first.once("make a kpi", &key, make_kpi).unwrap();
    ask(&world, &super::key()).unwrap();
    for (user, workspace) in
        [(&world.a.admin, &world.a.workspace), (&world.b.owner, &world.b.workspace)]
    {
        let mut tenant = world.db.tenant(user, workspace).unwrap();
        assert!(super::is_fresh(&mut tenant, &key).unwrap());
        tenant.commit().unwrap();
    }
    first.commit().unwrap();
    assert_eq!(made(&world), 3);
}
