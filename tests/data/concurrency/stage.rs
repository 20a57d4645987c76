//! The stage on which transactions race.

use std::sync::{Barrier, mpsc};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use sesari_db::testing::TestDatabase;
use sesari_db::{Database, TenantConnection};

use crate::support::World;

/// A world with room for eight at once.
pub(crate) fn world() -> World {
    let test = TestDatabase::new().unwrap();
    let db = test.builder().pool_size(8).build().unwrap();
    World::on(test, db)
}

/// Runs `body` on so many threads, which start together. Gives what each answered.
pub(crate) fn race<T: Send>(
    threads: usize,
    db: &Database,
    body: impl Fn(usize, &Database, &Barrier) -> T + Sync,
) -> Vec<T> {
    let barrier = Barrier::new(threads);
    std::thread::scope(|scope| {
        let (body, barrier) = (&body, &barrier);
        let running: Vec<_> =
            (0..threads).map(|i| scope.spawn(move || body(i, db, barrier))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Holds `first` open until `second`, on another thread, is seen waiting for a lock or is done.
/// Then ends `first` and gives what `second` answered.
pub(crate) fn while_holding<T: Send>(
    world: &World,
    first: TenantConnection,
    second: impl FnOnce() -> T + Send,
) -> T {
    std::thread::scope(|scope| {
        let (done, answer) = mpsc::channel();
        scope.spawn(move || done.send(second()).unwrap());
        let started = Instant::now();
        let early = loop {
            if let Ok(early) = answer.recv_timeout(Duration::from_millis(2)) {
                break Some(early);
            }
            if waiting(world) > 0 {
                break None;
            }
            assert!(started.elapsed() < Duration::from_mins(1), "neither waits nor ends");
        };
        first.commit().unwrap();
        early.unwrap_or_else(|| answer.recv().unwrap())
    })
}

/// How many sessions of this database wait for a lock.
fn waiting(world: &World) -> i64 {
    let query = "(SELECT count(*) FROM pg_stat_activity \
                  WHERE datname = current_database() AND wait_event_type = 'Lock')";
    diesel::select(sql::<BigInt>(query)).get_result(&mut world.test.admin().unwrap()).unwrap()
}

/// Raises the isolation level of a guard that has not run a statement yet, and takes its snapshot.
pub(crate) fn isolate(tenant: &mut TenantConnection, level: &str) {
    let conn = tenant.connection();
    conn.batch_execute(&format!("SET TRANSACTION ISOLATION LEVEL {level}")).unwrap();
    assert!(tenant.role().unwrap().is_some());
}

/// Draws out each insert of a row, after the table's own triggers have run, so that those of
/// several sessions overlap every time.
pub(crate) fn insert_slowly(world: &World, table: &str) {
    let sql = format!(
        "CREATE FUNCTION public.slowly() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM pg_sleep(0.005); RETURN NEW; END $$; \
         GRANT EXECUTE ON FUNCTION public.slowly() TO PUBLIC; \
         CREATE TRIGGER zzz_slowly BEFORE INSERT ON {table} FOR EACH ROW \
         EXECUTE FUNCTION public.slowly()"
    );
    world.test.admin().unwrap().batch_execute(&sql).unwrap();
}
