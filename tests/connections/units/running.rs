use std::cell::Cell;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Integer;
use sesari_db::error::AsError;
use sesari_db::idempotency::IdempotencyKey;
use sesari_db::repo::{Kpi, KpiChanges, KpiFilter, NewKpi};
use sesari_db::{Error, Result, Scope, TenantConnection};

use super::{LONG, number};
use crate::support::proxy::{Fault, Proxy};
use crate::support::server::Server;
use crate::support::{Tenant, World};

fn create(tenant: &mut TenantConnection, name: &str) -> Result<Kpi> {
    tenant.kpis().create(&NewKpi::new(name.parse()?))
}

fn named(world: &World, name: &str) -> i64 {
    number(
        &mut world.test.admin().unwrap(),
        &format!("SELECT count(*) FROM public.kpis WHERE name = '{name}'"),
    )
}

fn scope(tenant: &Tenant) -> Scope<TenantConnection> {
    Scope::tenant(&tenant.owner, &tenant.workspace)
}

/// Ends the backend of this guard, as an administrator or a crash would.
fn kill(world: &World, tenant: &mut TenantConnection) {
    let pid: i32 = diesel::select(diesel::dsl::sql::<Integer>("pg_backend_pid()"))
        .get_result(tenant.connection())
        .unwrap();
    world
        .test
        .admin()
        .unwrap()
        .batch_execute(&format!("SELECT pg_terminate_backend({pid}, 5000)"))
        .unwrap();
}

#[test]
fn a_unit_commits_on_ok_and_leaves_nothing_on_err_or_panic() {
    let world = World::new();
    world.db.run("kpi.create", scope(&world.a), |tenant| create(tenant, "kept")).unwrap();
    let refused: Result<()> = world.db.run("kpi.create", scope(&world.a), |tenant| {
        create(tenant, "undone")?;
        Err(Error::LastOwner)
    });
    assert!(matches!(refused, Err(Error::LastOwner)));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        world.db.run("kpi.create", scope(&world.a), |tenant| -> Result<()> {
            create(tenant, "panicked")?;
            panic!("a caller's mistake");
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(["kept", "undone", "panicked"].map(|name| named(&world, name)), [1, 0, 0]);
}

#[test]
fn the_three_scopes_are_reached_by_their_scopes() {
    let world = World::new();
    let user = world.db.run("me", Scope::user(&world.a.owner), |user| user.me().find()).unwrap();
    assert_eq!(user.unwrap().id, world.a.owner);
    let service = crate::support::service();
    let found = world
        .db
        .run("user.find", Scope::service(&service), |scoped| scoped.users().find(&world.stranger));
    assert_eq!(found.unwrap().unwrap().id, world.stranger);
    let refused = world
        .db
        .run("kpi.create", scope(&world.a).read_only(), |tenant| create(tenant, "read only"));
    assert!(matches!(refused, Err(Error::ReadOnly)), "{refused:?}");
}

#[test]
fn a_connection_lost_before_the_commit_is_run_again() {
    let world = World::new();
    let attempts = Cell::new(0);
    let done = world.db.run("kpi.create", scope(&world.a), |tenant| {
        attempts.set(attempts.get() + 1);
        let kpi = create(tenant, "again")?;
        if attempts.get() == 1 {
            kill(&world, tenant);
        }
        tenant.kpis().find(&kpi.id)
    });
    assert!(done.unwrap().is_some());
    assert_eq!((attempts.get(), named(&world, "again")), (2, 1));
}

#[test]
fn deadlocks_are_run_again_until_both_are_through() {
    let world = World::new();
    let other =
        world.db.run("kpi.create", scope(&world.a), |tenant| create(tenant, "other")).unwrap();
    let both = Barrier::new(2);
    std::thread::scope(|threads| {
        for turned in [false, true] {
            let (world, both, other) = (&world, &both, &other);
            threads.spawn(move || {
                let first = Cell::new(true);
                let mut ids = [&world.a.kpi, &other.id];
                if turned {
                    ids.reverse();
                }
                let described = |text: &str| KpiChanges {
                    description: Some(Some(text.parse().unwrap())),
                    ..KpiChanges::default()
                };
                world
                    .db
                    .run("kpi.update", scope(&world.a), |tenant| {
                        tenant.kpis().update(ids[0], &described("one"))?;
                        if first.replace(false) {
                            both.wait();
                        }
                        tenant.kpis().update(ids[1], &described("two"))
                    })
                    .unwrap();
            });
        }
    });
}

#[derive(Debug)]
enum Failure {
    Database(Error),
    Mine,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

impl AsError for Failure {
    fn as_error(&self) -> Option<&Error> {
        match self {
            Self::Database(error) => Some(error),
            Self::Mine => None,
        }
    }
}

#[test]
fn the_callers_own_errors_and_lasting_ones_are_not_run_again() {
    let world = World::new();
    let attempts = Cell::new(0);
    let mine = world.db.try_run("kpi.find", scope(&world.a), |_| -> Result<(), Failure> {
        attempts.set(attempts.get() + 1);
        Err(Failure::Mine)
    });
    assert!(matches!(mine, Err(Failure::Mine)));
    let lasting = world.db.try_run("kpi.update", scope(&world.a), |_| -> Result<(), Failure> {
        attempts.set(attempts.get() + 1);
        Err(Error::Denied.into())
    });
    assert!(matches!(lasting, Err(Failure::Database(Error::Denied))));
    assert_eq!(attempts.get(), 2);
}

#[test]
fn attempts_have_an_end() {
    let world = World::new();
    let attempts = Cell::new(0);
    let failed = world.db.run("kpi.find", scope(&world.a).attempts(3), |_| -> Result<()> {
        attempts.set(attempts.get() + 1);
        Err(Error::SerializationFailure)
    });
    assert!(matches!(failed, Err(Error::SerializationFailure)));
    assert_eq!(attempts.get(), 3);
}

#[test]
fn nothing_is_committed_after_the_deadline() {
    let world = World::new();
    let short = Duration::from_millis(200);
    let late = world.db.run("kpi.create", scope(&world.a).within(short), |tenant| {
        create(tenant, "late")?;
        std::thread::sleep(short);
        Ok(())
    });
    assert!(matches!(late, Err(Error::DeadlineExceeded)), "{late:?}");
    assert_eq!(named(&world, "late"), 0);
    let start = Instant::now();
    let slow = world.db.run("sleep", scope(&world.a).within(short), |tenant| {
        tenant.connection().batch_execute("SELECT pg_sleep(60)").map_err(Error::from)
    });
    assert!(matches!(slow, Err(Error::DeadlineExceeded)), "{slow:?}");
    assert!(start.elapsed() < LONG);
}

#[test]
fn an_unknown_outcome_is_never_run_again_without_a_key() {
    let server = Server::new(&[]);
    let proxy = Proxy::before(&server.address());
    let db = server.builder_at(&proxy.address, "sslmode=disable").build().unwrap();
    let acme = Tenant::furnish(&db, "acme");
    for (fault, stored) in [(Fault::AfterCommit, 1), (Fault::BeforeCommit, 0)] {
        let attempts = Cell::new(0);
        let name = format!("{fault:?}");
        proxy.set(fault);
        let unknown = db.run("kpi.create", scope(&acme), |tenant| {
            attempts.set(attempts.get() + 1);
            create(tenant, &name)
        });
        proxy.set(Fault::None);
        assert!(matches!(unknown, Err(Error::OutcomeUnknown(_))), "{fault:?}: {unknown:?}");
        let query = format!("SELECT count(*) FROM public.kpis WHERE name = '{name}'");
        assert_eq!((attempts.get(), number(&mut server.admin(), &query)), (1, stored));
    }
}

#[test]
fn with_a_key_an_unknown_outcome_is_run_again_and_nothing_is_done_twice() {
    let server = Server::new(&[]);
    let proxy = Proxy::before(&server.address());
    let db = server.builder_at(&proxy.address, "sslmode=disable").build().unwrap();
    let acme = Tenant::furnish(&db, "acme");
    for (fault, expected) in [(Fault::AfterCommit, 1), (Fault::BeforeCommit, 2)] {
        let (attempts, key) = (Cell::new(0), IdempotencyKey::generate());
        let name = format!("{fault:?}");
        let create_once = || {
            db.run_once("kpi.create", scope(&acme), &key, |tenant| {
                attempts.set(attempts.get() + 1);
                // The first commit breaks the line; by then a second attempt finds it mended.
                proxy.set(if attempts.get() == 1 { fault } else { Fault::None });
                Ok::<_, Error>(create(tenant, &name)?.id)
            })
        };
        let id = std::thread::scope(|threads| {
            // An answered commit is found by the key alone, without another attempt at the work.
            let mend = proxy.fault();
            threads.spawn(move || {
                std::thread::sleep(Duration::from_millis(300));
                mend.set(Fault::None);
            });
            create_once().unwrap()
        });
        assert_eq!(create_once().unwrap(), id, "the stored answer");
        let stored = db.run("kpi.list", scope(&acme).read_only(), |tenant| {
            let filter = KpiFilter { name_contains: Some(name.clone()), ..KpiFilter::default() };
            tenant.kpis().count(&filter)
        });
        assert_eq!((stored.unwrap(), attempts.get()), (1, expected), "{fault:?}");
    }
}

#[test]
fn a_unit_needs_no_error_type_spelled_out() {
    let world = World::new();
    let made = world.db.run("kpi.create", scope(&world.a), |tenant| {
        let id: sesari_db::id::KpiId = "chosen".parse()?;
        tenant.connection().batch_execute("SELECT 1")?;
        tenant.kpis().create(&NewKpi { id, ..NewKpi::new("Orders".parse()?) })
    });
    assert_eq!(made.unwrap().id.as_str(), "chosen");
}

/// Of an error of another crate it can be told as well whether to run again, and what it was.
#[test]
fn an_error_of_anyhow_is_looked_into() {
    use anyhow::Context as _;
    use sesari_db::error::AsError as _;

    let world = World::new();
    let attempts = Cell::new(0);
    let done: anyhow::Result<()> = world.db.try_run("kpi.update", scope(&world.a), |_| {
        attempts.set(attempts.get() + 1);
        if attempts.get() < 3 {
            Err(Error::Deadlock).context("while the second of three was written")?;
        }
        Ok(())
    });
    assert!(done.is_ok() && attempts.get() == 3);
    let absent: anyhow::Result<Kpi> = world.db.try_run("kpi.get", scope(&world.a), |tenant| {
        tenant.kpis().get(&world.b.kpi).context("on the way to the page")
    });
    let absent = absent.unwrap_err();
    assert!(absent.as_error().is_some_and(Error::is_not_found), "{absent:?}");
    let own: anyhow::Result<()> = world
        .db
        .try_run("kpi.get", scope(&world.a), |_| Err(anyhow::anyhow!("of the caller's own")));
    assert!(own.unwrap_err().as_error().is_none());
}
