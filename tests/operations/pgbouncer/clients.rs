//! Clients that go without a word, and poolers and servers that do.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use sesari_db::repo::NewKpi;
use sesari_db::testing::TestDatabase;
use sesari_db::{AsyncDatabase, Database, Error, Scope};

use super::state::servers_are_clean;
use super::traffic::is_expected;
use crate::support::World;
use crate::support::bouncer::{Bouncer, SERVERS, skip, split};
use crate::support::logins::value;

/// Hands bytes on between a client and the pooler, until it is told to cut every line.
#[derive(Default, Clone)]
struct Lines(Arc<Mutex<Vec<TcpStream>>>);

impl Lines {
    /// Where to connect to instead.
    fn to(&self, address: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = listener.local_addr().unwrap().to_string();
        let (address, lines) = (address.to_owned(), self.0.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(&address).unwrap());
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    std::thread::spawn(move || forward(from, to));
                }
                lines.lock().unwrap().extend([client, server]);
            }
        });
        here
    }

    fn cut(&self) {
        for line in self.0.lock().unwrap().drain(..) {
            let _ = line.shutdown(Shutdown::Both);
        }
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 8192];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

fn sees_itself_alone(db: &Database, world: &World) {
    for (own, other) in [(&world.a, &world.b), (&world.b, &world.a)] {
        let mut guard = db.tenant(&own.owner, &own.workspace).unwrap();
        let seen = "SELECT string_agg(DISTINCT workspace_id, ' ') FROM kpis";
        assert_eq!(value(guard.connection(), seen), own.workspace.as_str());
        assert!(guard.kpis().find(&own.kpi).unwrap().is_some());
        assert!(guard.kpis().find(&other.kpi).unwrap().is_none());
        guard.commit().unwrap();
    }
}

/// What a guard did that nobody ended, and how many transactions of the tenant login are open.
fn nothing_came_of_it(world: &World) {
    let mut admin = world.test.admin().unwrap();
    let start = Instant::now();
    let open = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'sesari_test_tenant'
                  AND datname = current_database() AND xact_start IS NOT NULL";
    while value(&mut admin, open) != "0" {
        assert!(start.elapsed() < Duration::from_secs(20), "a transaction stays open");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(value(&mut admin, "SELECT count(*) FROM kpis WHERE name = 'Lost'"), "0");
}

fn begin_something<'w>(db: &Database, world: &'w World) -> sesari_db::TenantConnection {
    let a: &'w _ = &world.a;
    let mut guard = db.tenant(&a.owner, &a.workspace).unwrap();
    guard.kpis().create(&NewKpi::new("Lost".parse().unwrap())).unwrap();
    guard.connection().batch_execute("SET work_mem = '1MB'; LISTEN lost").unwrap();
    guard
}

#[test]
fn guards_that_are_forgotten_or_panicked_over_leave_nothing() {
    let world = World::new();
    let Some(bouncer) = Bouncer::start(&world.test, &[]) else { return };
    let forgetful = bouncer
        .builder(&world.test)
        .idle_in_transaction_timeout(Duration::from_millis(500))
        .pool_size(8)
        .build()
        .unwrap();
    for _ in 0..SERVERS {
        std::mem::forget(begin_something(&forgetful, &world));
    }
    for _ in 0..SERVERS {
        let panicked = std::thread::scope(|scope| {
            let panics = || {
                let _guard = begin_something(&forgetful, &world);
                std::panic::resume_unwind(Box::new("a bug"));
            };
            scope.spawn(panics).join()
        });
        assert!(panicked.is_err());
    }
    nothing_came_of_it(&world);
    sees_itself_alone(&forgetful, &world);
    servers_are_clean(&bouncer, &world.test);
}

#[test]
fn a_client_whose_line_is_cut_leaves_nothing_and_its_pool_heals() {
    let world = World::new();
    let Some(bouncer) = Bouncer::start(&world.test, &[]) else { return };
    let lines = Lines::default();
    let here = lines.to(bouncer.address());
    let url = world.test.tenant_url();
    let (login, _, rest) = split(&url);
    let db = Database::builder(format!("{login}{here}{rest}"), world.test.context_key().clone())
        .behind_transaction_pooler()
        .pool_size(8)
        .build()
        .unwrap();
    for _ in 0..3 {
        let mut guards: Vec<_> = (0..SERVERS).map(|_| begin_something(&db, &world)).collect();
        lines.cut();
        for guard in guards.drain(..) {
            assert!(matches!(guard.commit(), Err(Error::OutcomeUnknown(_))));
        }
        nothing_came_of_it(&world);
        sees_itself_alone(&db, &world);
        servers_are_clean(&bouncer, &world.test);
    }
}

/// The pooler itself is stopped for a moment, as its upgrade would: the clients wait. Then its server
/// connections are all ended, as a restart of the server would: one round of errors, and no more.
#[test]
fn the_pool_heals_when_every_server_connection_is_gone() {
    let world = World::new();
    let Some(bouncer) = Bouncer::start(&world.test, &[]) else { return };
    let db = bouncer.builder(&world.test).pool_size(8).build().unwrap();
    for _ in 0..3 {
        let mut open = begin_something(&db, &world);
        world
            .test
            .admin()
            .unwrap()
            .batch_execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
                  WHERE usename = 'sesari_test_tenant' AND datname = current_database()",
            )
            .unwrap();
        let error = open.kpis().find(&world.a.kpi).unwrap_err();
        assert!(is_expected(&error), "{error:?}");
        drop(open);
        sees_itself_alone(&db, &world);
        servers_are_clean(&bouncer, &world.test);
    }
    bouncer.signal("-STOP");
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| sees_itself_alone(&db, &world));
        std::thread::sleep(Duration::from_millis(300));
        bouncer.signal("-CONT");
        waiting.join()
    });
    assert!(waiting.is_ok());
}

/// The child that the next test kills.
#[test]
#[ignore = "run by another test, in a process of its own"]
fn stays_until_it_is_killed() {
    let test = TestDatabase::new().unwrap();
    let Some(bouncer) = Bouncer::start(&test, &[]) else { return };
    println!("at {} as {}", bouncer.dir.display(), bouncer.pid());
    std::thread::sleep(Duration::from_mins(1));
}

#[test]
fn a_pooler_is_gone_when_its_test_was_killed() {
    if crate::support::bouncer::program().is_none() {
        return skip("nothing to kill");
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--nocapture",
            "--exact",
            "pgbouncer::clients::stays_until_it_is_killed",
        ])
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let output = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut lines = std::io::BufRead::lines(output).map_while(Result::ok);
    let line = lines.find(|line| line.contains("at /tmp/")).unwrap();
    let (dir, pid) = line.rsplit_once("at ").unwrap().1.split_once(" as ").unwrap();
    let there = || {
        [std::path::Path::new(dir), &std::path::Path::new("/proc").join(pid)]
            .map(std::path::Path::exists)
    };
    assert!(there()[0]);
    child.kill().unwrap();
    child.wait().unwrap();
    let start = Instant::now();
    while there().contains(&true) {
        assert!(start.elapsed() < Duration::from_secs(20), "left behind: {line}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The pooler passes the request on to the server that it has given the client.
#[test]
fn a_dropped_future_cancels_its_statement_behind_the_pooler() {
    let world = World::new();
    let Some(bouncer) = Bouncer::start(&world.test, &[]) else { return };
    // Nothing else ends the statement in the time of this test.
    let hour = Duration::from_hours(1);
    let db = bouncer.builder(&world.test).statement_timeout(hour).build().unwrap();
    let db = AsyncDatabase::from(db);
    let mut admin = world.test.admin().unwrap();
    let sleeping = "SELECT count(*)::text FROM pg_stat_activity WHERE pid <> pg_backend_pid() \
         AND datname = current_database() AND query LIKE '%pg_sleep%' AND state = 'active'";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let scope = Scope::tenant(&world.a.owner, &world.a.workspace).within(hour);
        let unit = db.run("sleep", scope, |tenant| {
            Ok::<_, Error>(tenant.connection().batch_execute("SELECT pg_sleep(600)")?)
        });
        tokio::pin!(unit);
        let start = Instant::now();
        while value(&mut admin, sleeping) == "0" {
            assert!(start.elapsed() < Duration::from_mins(1), "it does not begin");
            assert!(tokio::time::timeout(Duration::from_millis(20), &mut unit).await.is_err());
        }
    });
    let start = Instant::now();
    while value(&mut admin, sleeping) != "0" {
        assert!(start.elapsed() < Duration::from_mins(1), "it goes on");
        std::thread::sleep(Duration::from_millis(20));
    }
}
