//! Two processes that migrate at once.

use std::thread;

use diesel::connection::SimpleConnection;
use sesari_db::migrations;

use super::{assert_same, dump, empty, eventually, value};

/// What the runs queue for: "sesari" in ASCII.
const LOCK: i64 = 0x7365_7361_7269;

#[test]
fn two_runs_at_once_both_succeed_and_make_one_schema() {
    meet("read committed");
}

/// Whose snapshot must not be older than the lock.
#[test]
fn two_runs_at_once_both_succeed_where_transactions_are_serializable_by_default() {
    meet("serializable");
}

fn meet(isolation: &str) {
    let test = empty();
    let mut referee = test.admin().unwrap();
    // Held until both wait for it: they meet for certain.
    referee.batch_execute(&format!("SELECT pg_advisory_lock({LOCK})")).unwrap();
    let runs: Vec<_> = (0..2)
        .map(|_| {
            let mut conn = test.admin().unwrap();
            conn.batch_execute(&format!("SET default_transaction_isolation = '{isolation}'"))
                .unwrap();
            thread::spawn(move || migrations::run(&mut conn))
        })
        .collect();
    eventually("both wait for the lock", || {
        let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        value(&mut referee, waiting) == "2"
    });
    referee.batch_execute(&format!("SELECT pg_advisory_unlock({LOCK})")).unwrap();
    let mut outcomes: Vec<_> = runs.into_iter().map(|run| run.join().unwrap().unwrap()).collect();
    outcomes.sort();
    assert_eq!(
        outcomes,
        [vec![], migrations::versions().unwrap()],
        "one ran them, one had nothing to do"
    );

    let alone = empty();
    let mut alone = alone.admin().unwrap();
    migrations::run(&mut alone).unwrap();
    assert_same("two at once and one alone", &dump(&mut alone), &dump(&mut referee));
    let applied = "SELECT count(*) FROM sesari_migrations.__diesel_schema_migrations";
    let count = migrations::versions().unwrap().len().to_string();
    assert_eq!(value(&mut referee, applied), count);
}

/// Roles are the server's, and four databases want them at once. The lock is the database's own:
/// one that is held elsewhere holds nobody up.
#[test]
fn databases_of_one_server_are_migrated_at_the_same_time() {
    let held = empty();
    let mut referee = held.admin().unwrap();
    referee.batch_execute(&format!("SELECT pg_advisory_lock({LOCK})")).unwrap();
    let tests: Vec<_> = (0..4).map(|_| empty()).collect();
    thread::scope(|scope| {
        for test in &tests {
            scope.spawn(|| {
                let mut conn = test.admin().unwrap();
                conn.batch_execute("SET lock_timeout = '20s'").unwrap();
                assert_eq!(migrations::run(&mut conn).unwrap(), migrations::versions().unwrap());
            });
        }
    });
}
