//! `kill -9` of the server under concurrent writes.

use std::time::Duration;

use crate::support::Tenant;
use crate::support::random::{Random, long_or};
use crate::support::server::Server;
use crate::writers::Log;

#[test]
fn what_was_confirmed_survives_every_crash_once_and_the_pool_heals() {
    let kills = long_or(5);
    let (_, mut random) = Random::seeded();
    let server = Server::new(&[]);
    let db = server.builder().pool_timeout(Duration::from_secs(2)).build().unwrap();
    let tenants = [Tenant::furnish(&db, "acme"), Tenant::furnish(&db, "globex")];
    let log = Log::default();
    let mut slowest = Duration::ZERO;
    std::thread::scope(|scope| {
        for writer in 0..6 {
            let (log, db, tenant) = (&log, &db, &tenants[writer % 2]);
            let prefix = format!("w{writer}");
            scope.spawn(move || match writer {
                0..3 => log.write(db, tenant, &prefix),
                _ => log.write_once(db, tenant, &prefix),
            });
        }
        let killed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..kills {
                log.next();
                std::thread::sleep(Duration::from_millis(random.below(300) as u64));
                server.kill();
                server.start();
                slowest = slowest.max(log.next());
            }
        }));
        log.stop();
        killed.unwrap();
    });
    println!(
        "{kills} crashes, {} writes confirmed, errors {:?}, slowest recovery after the server's {slowest:?}",
        log.confirmed.lock().unwrap().len(),
        log.errors()
    );
    assert!(!log.errors().is_empty(), "nobody noticed");
    log.check(&mut server.admin());
}
