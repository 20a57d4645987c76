//! Networks that are slow, silent, or gone in the middle of a word.

use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use sesari_db::{Database, DatabaseBuilder, Error};

use crate::support::proxy::{Fault, Proxy, Way};
use crate::support::server::Server;
use crate::support::{Tenant, World};
use crate::writers::{kind, store};

/// A world, and a way to it that may fail.
fn world() -> (World, Proxy) {
    let world = World::new();
    let url = world.test.tenant_url();
    let server = url.rsplit_once('@').unwrap().1.split_once('/').unwrap().0;
    let proxy = Proxy::before(server);
    (world, proxy)
}

fn through(world: &World, proxy: &Proxy) -> DatabaseBuilder {
    let url = world.test.tenant_url();
    let (login, rest) = url.rsplit_once('@').unwrap();
    let (_, rest) = rest.split_once('/').unwrap();
    let separator = if rest.contains('?') { '&' } else { '?' };
    let url =
        format!("{login}@{}/{rest}{separator}sslmode=disable&gssencmode=disable", proxy.address);
    Database::builder(url, world.test.context_key().clone())
        .workspace_share(1.0)
        .actor_share(1.0)
        .pool_timeout(Duration::from_secs(2))
}

fn stored(world: &World, name: &str) -> i64 {
    let count = format!("(SELECT count(*) FROM kpis WHERE name = '{name}')");
    diesel::select(sql::<BigInt>(&count)).get_result(&mut world.test.admin().unwrap()).unwrap()
}

fn within<T>(limit: Duration, what: &str, body: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let answer = body();
    assert!(start.elapsed() < limit, "{what}: {:?}", start.elapsed());
    answer
}

/// Both tenants, since the connection that failed was one's and is the other's next.
fn heals(db: &Database, world: &World, name: &str) {
    for tenant in [&world.b, &world.a] {
        within(Duration::from_secs(10), name, || {
            // The pool may pause for a moment after it failed to connect.
            let first = store(db, tenant, name);
            if let Err(error) = first {
                assert!(matches!(error, Error::PoolTimeout { .. }), "{name}: {error:?}");
                store(db, tenant, name).unwrap();
            }
        });
    }
    assert_eq!(stored(world, name), 2);
}

#[test]
fn a_slow_line_makes_waiting_longer_and_nothing_else() {
    let (world, proxy) = world();
    let db = through(&world, &proxy).build().unwrap();
    proxy.set(Fault::Delay(Duration::from_millis(60)));
    for number in 0..3 {
        within(Duration::from_secs(10), "a slow line", || {
            store(&db, &world.a, &format!("slow-{number}")).unwrap();
        });
        assert_eq!(stored(&world, &format!("slow-{number}")), 1);
    }
}

#[test]
fn a_reset_line_is_a_lost_connection_and_the_pool_heals() {
    let (world, proxy) = world();
    let db = through(&world, &proxy).pool_size(3).build().unwrap();
    let a = &world.a;
    let open = |_| {
        let mut guard = db.tenant(&a.owner, &a.workspace).unwrap();
        assert!(guard.kpis().find(&a.kpi).unwrap().is_some());
        guard
    };
    let mut guards: Vec<_> = (0..3).map(open).collect();
    proxy.set(Fault::Reset);
    let lost = guards[0].kpis().find(&a.kpi).unwrap_err();
    assert!(matches!(lost, Error::ConnectionLost(_)), "{lost:?}");
    let lost = guards.pop().unwrap().commit().unwrap_err();
    assert!(matches!(lost, Error::OutcomeUnknown(_)), "{lost:?}");
    let lost = guards.pop().unwrap().rollback().unwrap_err();
    assert!(matches!(lost, Error::ConnectionLost(_)), "{lost:?}");
    drop(guards);
    let refused = within(Duration::from_secs(10), "a reset at connecting", || {
        db.tenant(&a.owner, &a.workspace).map(drop).unwrap_err()
    });
    assert!(matches!(refused, Error::PoolTimeout { .. }), "{refused:?}");
    proxy.mend();
    heals(&db, &world, "after resets");
}

#[test]
fn connections_of_the_pool_that_were_reset_meanwhile_are_replaced_without_an_error() {
    let (world, proxy) = world();
    let db = through(&world, &proxy).pool_size(3).build().unwrap();
    let a = &world.a;
    let guards: Vec<_> = (0..3).map(|_| db.tenant(&a.owner, &a.workspace).unwrap()).collect();
    drop(guards);
    proxy.cut();
    store(&db, a, "at once").unwrap();
    assert_eq!(stored(&world, "at once"), 1);
}

#[test]
fn a_server_that_accepts_and_never_answers_holds_nobody_longer_than_the_pools_timeout() {
    let (world, proxy) = world();
    let db = through(&world, &proxy).pool_size(2).build().unwrap();
    let a = &world.a;
    proxy.set(Fault::Silence);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let refused = within(Duration::from_secs(4), "a silent server", || {
                    db.tenant(&a.owner, &a.workspace).map(drop).unwrap_err()
                });
                assert!(matches!(refused, Error::PoolTimeout { .. }), "{refused:?}");
            });
        }
    });
    let refused = within(Duration::from_secs(4), "a silent server", || {
        through(&world, &proxy).build().map(drop).unwrap_err()
    });
    assert!(matches!(refused, Error::Connect { .. }), "{refused:?}");
    proxy.mend();
    proxy.cut();
    heals(&db, &world, "after silence");
}

/// Nobody is there at all: what the kernel answers at once.
#[test]
fn a_port_that_nobody_listens_on_is_a_typed_error() {
    let world = World::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("postgres://u:p@{free}/d");
    let refused = within(Duration::from_secs(4), "a closed port", || {
        Database::builder(url, world.test.context_key().clone()).build().map(drop).unwrap_err()
    });
    assert!(matches!(refused, Error::Connect { .. }), "{refused:?}");
}

/// The conversation of one write, broken after each few of its bytes, each way: on a connection that is
/// opened for it, and on one that was open.
#[test]
fn a_line_that_breaks_in_the_middle_of_a_message_leaves_all_or_nothing() {
    let (world, proxy) = world();
    let db = through(&world, &proxy).pool_size(1).pool_timeout(Duration::from_millis(500));
    let db = db.build().unwrap();
    let connected = || {
        let start = Instant::now();
        while let Err(error) = store(&db, &world.b, "connected") {
            assert!(start.elapsed() < Duration::from_secs(10), "does not heal: {error:?}");
        }
    };
    let mut outcomes = std::collections::BTreeMap::<_, usize>::new();
    for (open, cuts) in [(false, 5), (true, 30)] {
        for way in [Way::ToServer, Way::ToClient] {
            connected();
            let bytes = proxy.bytes(way, || store(&db, &world.a, "whole").unwrap());
            assert!(bytes > 300, "{way:?}: {bytes}");
            for after in (0..bytes).step_by(usize::try_from(bytes / cuts).unwrap()) {
                let name = format!("cut-{open}-{way:?}-{after}");
                connected();
                if !open {
                    proxy.cut();
                }
                proxy.cut_after(after, way);
                let answer = within(Duration::from_secs(8), &name, || store(&db, &world.a, &name));
                proxy.mend();
                let there = stored(&world, &name);
                let (expected, outcome) = match &answer {
                    Ok(()) => (there == 1, "confirmed"),
                    Err(error @ Error::OutcomeUnknown(_)) => (there <= 1, kind(error)),
                    Err(error) => (there == 0, kind(error)),
                };
                assert!(expected, "{name}: {answer:?}, and stored {there} times");
                *outcomes.entry(outcome).or_default() += 1;
            }
        }
    }
    println!("{outcomes:?}");
    assert!(outcomes.contains_key("outcome unknown"), "never cut within a commit: {outcomes:?}");
    assert!(outcomes.len() >= 3, "{outcomes:?}");
}

#[test]
fn a_line_that_breaks_between_a_commit_and_its_answer_is_an_unknown_outcome() {
    let (world, proxy) = world();
    let db = through(&world, &proxy).pool_size(1).build().unwrap();
    for (fault, there) in [(Fault::BeforeCommit, 0), (Fault::AfterCommit, 1)] {
        let name = format!("{fault:?}");
        store(&db, &world.a, "connected").unwrap();
        proxy.set(fault);
        let lost = store(&db, &world.a, &name).unwrap_err();
        assert!(matches!(lost, Error::OutcomeUnknown(_)), "{lost:?}");
        // Whoever took this for a lost connection would do it twice.
        assert!(!lost.is_retryable());
        assert_eq!(stored(&world, &name), there);
        proxy.mend();
        heals(&db, &world, &format!("after {name}"));
    }
}

const INSIDE: &str = "SESARI_TEST_INSIDE";

/// The network between two hosts goes, in a name space that has nothing but a network: no packet gets
/// through, and nobody says so. What ends the waiting are the limits that `Database` adds to its URLs.
#[test]
#[ignore = "takes root, `unshare` and `ip`"]
fn a_host_that_is_gone_is_noticed_within_a_minute() {
    if std::env::var_os(INSIDE).is_none() {
        let name = "network::a_host_that_is_gone_is_noticed_within_a_minute";
        let status = Command::new("unshare")
            .args(["--net", "sh", "-c", "ip link set lo up && exec \"$0\" \"$@\""])
            .arg(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", name])
            .env(INSIDE, "yes")
            .status();
        assert!(status.unwrap().success());
        return;
    }
    let link = |state| {
        let set = Command::new("ip").args(["link", "set", "lo", state]).status();
        assert!(set.unwrap().success());
    };
    let server = Server::new(&[]);
    let db = server.builder().pool_size(2).build().unwrap();
    let tenant = Tenant::furnish(&db, "acme");
    let mut waiting = db.tenant(&tenant.owner, &tenant.workspace).unwrap();
    let sleeping = std::thread::scope(|scope| {
        // One whose question has arrived and whose answer never comes, and one whose question does not
        // even arrive.
        let asked = scope.spawn(|| {
            let mut guard = db.tenant(&tenant.owner, &tenant.workspace).unwrap();
            let start = Instant::now();
            let slept = diesel::sql_query("SELECT pg_sleep(2)").execute(guard.connection());
            (slept.map_err(Error::from).unwrap_err(), start.elapsed())
        });
        std::thread::sleep(Duration::from_millis(500));
        link("down");
        let start = Instant::now();
        let lost = waiting.kpis().find(&tenant.kpi).unwrap_err();
        println!("a question that does not arrive: {:?}", start.elapsed());
        assert!(matches!(lost, Error::ConnectionLost(_)), "{lost:?}");
        assert!(start.elapsed() < Duration::from_mins(1));
        asked.join().unwrap()
    });
    println!("an answer that does not arrive: {:?}", sleeping.1);
    assert!(matches!(sleeping.0, Error::ConnectionLost(_)), "{:?}", sleeping.0);
    assert!(sleeping.1 < Duration::from_mins(1));
    drop(waiting);
    link("up");
    store(&db, &tenant, "back").unwrap();
}
