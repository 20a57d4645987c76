//! How often a unit of work waits for the server.

use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

use diesel::prelude::*;
use sesari_db::page::PageRequest;
use sesari_db::repo::{GoalFilter, KpiFilter, NewDataPoint, NewKpi};
use sesari_db::{AsyncDatabase, Database, Error, Result, Scope, TenantConnection};

use super::{Scene, number, scope, until};
use crate::support::bouncer::Bouncer;
use crate::support::line::{Line, Seen, in_short};
use crate::support::logins::value;
use crate::support::{World, hour};

const FIRST: &str = "begin context statement";

/// No two points are of the same hour.
fn next() -> i64 {
    static HOUR: AtomicI64 = AtomicI64::new(50);
    HOUR.fetch_add(1, SeqCst)
}

fn find(tenant: &mut TenantConnection, world: &World) -> Result<()> {
    tenant.kpis().find(&world.a.kpi).map(drop)
}

fn count(tenant: &mut TenantConnection, _: &World) -> Result<()> {
    tenant.goals().count(&GoalFilter::default()).map(drop)
}

fn read_three(tenant: &mut TenantConnection, world: &World) -> Result<()> {
    find(tenant, world)?;
    count(tenant, world)?;
    tenant.kpis().list(&KpiFilter::default(), &PageRequest::default()).map(drop)
}

fn create(tenant: &mut TenantConnection, _: &World) -> Result<()> {
    tenant.kpis().create(&NewKpi::new("Churn".parse()?)).map(drop)
}

fn record(tenant: &mut TenantConnection, world: &World) -> Result<()> {
    tenant
        .data_points()
        .record(&NewDataPoint::new(world.a.kpi.clone(), 1.0, hour(next()))?)
        .map(drop)
}

#[allow(clippy::unnecessary_wraps, reason = "one of several bodies")]
fn nothing(_: &mut TenantConnection, _: &World) -> Result<()> {
    Ok(())
}

type Body = fn(&mut TenantConnection, &World) -> Result<()>;
type Way = fn(Scope<TenantConnection>) -> Scope<TenantConnection>;

/// Name, scope, body, flights, and how many of them are waited for.
const UNITS: &[(&str, Way, Body, &[&str], usize)] = &[
    ("nothing, read-only", Scope::read_only, nothing, &[], 0),
    ("nothing", |scope| scope, nothing, &[], 0),
    ("a read", Scope::read_only, find, &[FIRST, "commit"], 1),
    ("three reads", Scope::read_only, read_three, &[FIRST, "statement", "statement", "commit"], 3),
    ("a write", |scope| scope, create, &[FIRST, "commit"], 2),
    ("a read that might write", |scope| scope, find, &[FIRST, "commit"], 2),
    ("a data point", Scope::single_statement, record, &["begin context statement commit"], 1),
];

fn check(name: &str, seen: &Seen, flights: &[&str], trips: usize) {
    let short: Vec<_> = seen.flights.iter().map(|flight| in_short(flight)).collect();
    assert_eq!(short, flights, "{name}: {:?}", seen.flights);
    assert_eq!(seen.trips, trips, "{name}: {short:?}");
}

/// Whether the answer to the end can be held: it must not be waited for.
fn holds(flights: &[&str], trips: usize) -> bool {
    flights.len() > trips
}

fn check_units(line: &Line, db: &Database, world: &World) {
    for (name, way, body, flights, trips) in UNITS {
        let run = || db.run("unit", way(scope(&world.a)), |tenant| body(tenant, world)).unwrap();
        let holds = holds(flights, *trips);
        // The first time a statement is prepared, which costs nothing more.
        for time in ["first", "second", "third"] {
            check(
                &format!("{name}, {time} time"),
                &line.watch(holds, flights.len(), run),
                flights,
                *trips,
            );
        }
    }
}

#[test]
fn a_unit_on_a_thread_waits_once_for_each_statement_and_once_for_what_it_wrote() {
    let scene = Scene::new();
    check_units(&scene.line, &scene.db, &scene.world);
}

#[test]
fn a_unit_as_a_future_waits_as_often_as_one_on_a_thread() {
    let scene = Scene::new();
    let db = AsyncDatabase::from(scene.db.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let kpi = scene.world.a.kpi.clone();
    let run = |scope: Scope<TenantConnection>,
               body: fn(&mut TenantConnection, &sesari_db::id::KpiId) -> Result<()>| {
        let kpi = kpi.clone();
        runtime.block_on(db.run("unit", scope, move |tenant| body(tenant, &kpi))).unwrap();
    };
    let watched = |name, holds, flights: &[&str], trips, body: &dyn Fn()| {
        for _ in 0..2 {
            check(name, &scene.line.watch(holds, flights.len(), body), flights, trips);
        }
    };
    watched("nothing", false, &[], 0, &|| run(scene.scope(), |_, _| Ok(())));
    watched("a read", true, &[FIRST, "commit"], 1, &|| {
        run(scene.scope().read_only(), |tenant, kpi| tenant.kpis().find(kpi).map(drop));
    });
    watched("a write", false, &[FIRST, "commit"], 2, &|| {
        run(scene.scope(), |tenant, _| {
            tenant.kpis().create(&NewKpi::new("Churn".parse()?)).map(drop)
        });
    });
    watched("a data point", false, &["begin context statement commit"], 1, &|| {
        run(scene.scope().single_statement(), |tenant, kpi| {
            tenant
                .data_points()
                .record(&NewDataPoint::new(kpi.clone(), 1.0, hour(next()))?)
                .map(drop)
        });
    });
}

/// What a case is called, the guard, what is done with it, how it ends, and what that takes.
type Case<'a> = (
    &'a str,
    &'a dyn Fn() -> TenantConnection,
    Body,
    &'a dyn Fn(TenantConnection),
    &'a [&'a str],
    usize,
);

#[test]
fn a_guard_sends_nothing_before_its_first_statement() {
    let scene = Scene::new();
    let (guard, reader) = (&|| scene.guard(), &|| scene.reader());
    let commit: &dyn Fn(TenantConnection) = &|guard| guard.commit().unwrap();
    let roll_back: &dyn Fn(TenantConnection) = &|guard| guard.rollback().unwrap();
    let dropped: &dyn Fn(TenantConnection) = &drop;
    let cases: &[Case<'_>] = &[
        ("nothing committed", guard, nothing, commit, &[], 0),
        ("nothing rolled back", guard, nothing, roll_back, &[], 0),
        ("nothing dropped", reader, nothing, dropped, &[], 0),
        ("a read", reader, find, commit, &[FIRST, "commit"], 1),
        ("a read dropped", reader, find, dropped, &[FIRST, "rollback"], 1),
        ("a read rolled back", reader, find, roll_back, &[FIRST, "rollback"], 1),
        (
            "three reads",
            reader,
            read_three,
            commit,
            &[FIRST, "statement", "statement", "commit"],
            3,
        ),
        ("a write", guard, create, commit, &[FIRST, "commit"], 2),
        ("a write dropped", guard, create, dropped, &[FIRST, "rollback"], 2),
    ];
    for (name, open, body, end, flights, trips) in cases {
        let run = || {
            let mut guard = open();
            body(&mut guard, &scene.world).unwrap();
            end(guard);
        };
        for _ in 0..2 {
            check(
                name,
                &scene.line.watch(holds(flights, *trips), flights.len(), run),
                flights,
                *trips,
            );
        }
    }
}

#[test]
fn a_savepoint_or_a_lent_connection_costs_what_it_says() {
    let scene = Scene::new();
    let nested = || {
        let mut guard = scene.reader();
        guard.transaction(|guard| find(guard, &scene.world)).unwrap();
        guard.commit().unwrap();
    };
    let flights = ["begin context savepoint", "statement", "savepoint", "commit"];
    check("a savepoint", &scene.line.watch(true, 4, nested), &flights, 3);
    // What was lent is cleaned together with the end, and the end is waited for.
    let lent = || {
        let mut guard = scene.reader();
        assert_eq!(number(guard.connection(), "SELECT 1::bigint"), 1);
        guard.commit().unwrap();
    };
    check("a lent connection", &scene.line.watch(false, 2, lent), &[FIRST, "cleaning"], 2);
}

#[test]
fn a_unit_behind_a_transaction_pooler_waits_as_often_as_without() {
    let world = World::new();
    let Some(bouncer) = Bouncer::start(&world.test, &[]) else { return };
    let line = Line::to(bouncer.address());
    let db = super::through(&line, &world).behind_transaction_pooler().build().unwrap();
    db.run("warm", scope(&world.a), |tenant| find(tenant, &world)).unwrap();
    check_units(&line, &db, &world);
}

/// Also between the pooler and the server: what the client sends together arrives together. What the
/// pooler sends of its own is not counted.
#[test]
fn a_transaction_pooler_hands_a_flight_on_as_one() {
    let world = World::new();
    let line = Line::to_server_of(&world.test.admin_url());
    let (host, port) = line.address.rsplit_once(':').unwrap();
    let everything = format!("host={host} port={port}");
    let change = [("*", everything.as_str()), ("server_tls_sslmode", "disable")];
    let Some(bouncer) = Bouncer::start(&world.test, &change) else { return };
    let db = bouncer.builder(&world.test).pool_size(1).build().unwrap();
    for _ in 0..3 {
        db.run("warm", scope(&world.a), |tenant| find(tenant, &world)).unwrap();
    }
    check_units(&line, &db, &world);
}

/// Nobody waits for the end of a read, and it comes all the same.
#[test]
fn after_a_read_the_transaction_does_not_stay_open_though_nobody_uses_the_connection_again() {
    let scene = Scene::new();
    let mut admin = scene.world.test.admin().unwrap();
    let unit = || scene.db.run("read", scene.scope().read_only(), |t| find(t, &scene.world));
    let ends: [(&str, &dyn Fn()); 3] = [
        ("a unit", &|| unit().unwrap()),
        ("a guard", &|| {
            let mut guard = scene.reader();
            find(&mut guard, &scene.world).unwrap();
            guard.commit().unwrap();
        }),
        ("a guard that is dropped", &|| find(&mut scene.reader(), &scene.world).unwrap()),
    ];
    // The newest is that of the scene, beside those of the world.
    let pid = number(
        &mut admin,
        "SELECT pid::bigint FROM pg_stat_activity WHERE usename = 'sesari_test_tenant' \
            AND datname = current_database() ORDER BY backend_start DESC LIMIT 1",
    );
    for (name, read) in ends {
        read();
        until(super::LONG, name, || {
            let state = value(
                &mut admin,
                &format!(
                    "SELECT concat_ws(' ', state, xact_start IS NULL, backend_xmin IS NULL, \
                        (SELECT count(*) FROM pg_locks l WHERE l.pid = a.pid)) \
                       FROM pg_stat_activity a \
                      WHERE pid = {pid} AND query IN ('COMMIT', 'ROLLBACK')"
                ),
            );
            state == "idle t t 0"
        });
        // None of them is left in a transaction.
        let open = "SELECT count(*) FROM pg_stat_activity \
             WHERE usename = 'sesari_test_tenant' AND datname = current_database() \
               AND (state <> 'idle' OR xact_start IS NOT NULL)";
        assert_eq!(number(&mut admin, open), 0, "{name}");
    }
}

/// What is not waited for is read before the next answer, and not taken for it.
#[test]
fn many_units_after_one_another_get_each_its_own_answer() {
    let scene = Scene::new();
    get_own_answers(&scene.db, &scene.world);
}

/// The next begin may reach the pooler before the server has answered the last commit.
#[test]
fn many_units_behind_a_transaction_pooler_get_each_its_own_answer() {
    let world = World::new();
    let Some(bouncer) = Bouncer::start(&world.test, &[]) else { return };
    let db = bouncer.builder(&world.test).pool_size(1).build().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| get_own_answers(&db, &world));
        }
    });
}

fn get_own_answers(db: &Database, world: &World) {
    for round in 0..100 {
        let series = format!("SELECT generate_series(1, {round})::bigint AS n");
        let reader = || scope(&world.a).read_only().attempts(1);
        let seen = db.run("read", reader(), |tenant| {
            Ok::<_, Error>(diesel::sql_query(&series).load::<Row>(tenant.connection())?)
        });
        let seen: Vec<i64> = seen.unwrap().into_iter().map(|row| row.n).collect();
        assert_eq!(seen, (1..=round).collect::<Vec<_>>());
        for _ in 0..5 {
            let kpi = db.run("read", reader(), |tenant| tenant.kpis().find(&world.a.kpi));
            assert_eq!(kpi.unwrap().unwrap().id, world.a.kpi);
            let goals =
                db.run("count", reader(), |tenant| tenant.goals().count(&GoalFilter::default()));
            assert_eq!(goals.unwrap(), 1);
        }
    }
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    n: i64,
}
