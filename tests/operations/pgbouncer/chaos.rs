//! An administrator who cancels statements and ends backends at random.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use sesari_db::PgConnection;
use sesari_db::testing::TestDatabase;

use crate::support::logins::value;

pub struct Chaos(PgConnection);

impl Chaos {
    pub fn new(test: &TestDatabase) -> Self {
        Self(test.admin().unwrap())
    }

    fn one(&mut self, what: &str, state: &str) -> usize {
        let done = format!(
            "SELECT count(*) FILTER (WHERE done) FROM (SELECT {what}(pid) AS done FROM (
                 SELECT pid FROM pg_stat_activity
                  WHERE datname = current_database() AND usename = 'sesari_test_tenant'
                    AND state ~ '{state}' ORDER BY random() LIMIT 1) AS victims) AS calls"
        );
        value(&mut self.0, &done).parse().unwrap()
    }

    /// How many were cancelled and terminated.
    pub fn until(mut self, stop: &AtomicBool) -> (usize, usize) {
        let (mut cancelled, mut terminated) = (0, 0);
        for round in 0.. {
            if stop.load(Relaxed) {
                break;
            }
            cancelled += self.one("pg_cancel_backend", "active");
            if round % 20 == 7 {
                terminated += self.one("pg_terminate_backend", "active|idle");
            }
            std::thread::sleep(Duration::from_millis(15));
        }
        (cancelled, terminated)
    }
}
