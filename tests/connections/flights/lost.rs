//! Connections that are dead, break, or go silent, before, in and after a flight.

use std::time::{Duration, Instant};

use diesel::prelude::*;
use sesari_db::repo::NewKpi;
use sesari_db::{AsyncDatabase, Error, Result, Scope, TenantConnection};

use super::{LONG, Scene, note, number, scope};
use crate::support::Tenant;
use crate::support::line::Fault;
use crate::support::server::Server;

type Way = fn(Scope<TenantConnection>) -> Scope<TenantConnection>;

const WAYS: [(&str, Way); 2] =
    [("written", |scope| scope), ("a single statement", Scope::single_statement)];

#[test]
fn a_connection_that_the_server_ended_meanwhile_is_replaced_within_the_first_statement() {
    let scene = Scene::new();
    let a = &scene.world.a;
    let mut noted = 0;
    for end in [|scene: &Scene| scene.end_connection(), |scene: &Scene| scene.line.cut()] {
        for (name, way) in WAYS {
            end(&scene);
            // One attempt: it is the same transaction that goes on elsewhere.
            scene.db.run("note", way(scene.scope()).attempts(1), note).unwrap();
            noted += 1;
            assert_eq!(scene.notes(), noted, "{name}");
        }
        end(&scene);
        let read = |tenant: &mut TenantConnection| tenant.kpis().find(&a.kpi);
        let found = scene.db.run("read", scene.scope().read_only().attempts(1), read).unwrap();
        assert_eq!(found.unwrap().id, a.kpi);
        end(&scene);
        let mut guard = scene.guard();
        guard.kpis().create(&NewKpi::new("Churn".parse().unwrap())).unwrap();
        guard.commit().unwrap();
        end(&scene);
        assert!(scene.reader().kpis().find(&a.kpi).unwrap().is_some());
        // A guard that has been handed out already.
        let mut guard = scene.guard();
        end(&scene);
        assert!(guard.kpis().find(&a.kpi).unwrap().is_some());
        assert!(guard.kpis().find(&scene.world.b.kpi).unwrap().is_none());
    }
}

#[test]
fn after_a_restart_of_the_server_the_first_statement_succeeds() {
    let server = Server::new(&[]);
    let db = server.builder().pool_size(1).build().unwrap();
    let tenant = Tenant::furnish(&db, "acme");
    let kpis = || number(&mut server.admin(), "SELECT count(*) FROM kpis");
    let create = |tenant: &mut TenantConnection| {
        tenant.kpis().create(&NewKpi::new("Churn".parse()?)).map(drop)
    };
    let before = kpis();
    for (made, (name, way)) in (1..).zip(WAYS) {
        for end in ["stop", "kill"] {
            server.tell(end);
            server.start();
            let read = |guard: &mut TenantConnection| guard.kpis().find(&tenant.kpi);
            let found = db.run("read", scope(&tenant).read_only().attempts(1), read);
            assert!(found.unwrap().is_some(), "{name}");
        }
        server.kill();
        server.start();
        db.run("create", way(scope(&tenant)).attempts(1), create).unwrap();
        assert_eq!(kpis(), before + made, "{name}");
    }
}

#[test]
fn a_connection_that_breaks_in_the_first_flight_is_replaced_unless_that_may_have_committed() {
    let scene = Scene::new();
    let faults = [
        (Fault::BreakBefore, 0),
        (Fault::BreakAfter, 1),
        (Fault::CutAnswer(0), 1),
        (Fault::CutAnswer(3), 1),
        (Fault::CutAnswer(40), 1),
        // All but the last byte, which says that the transaction is over.
        (Fault::CutAnswer(usize::MAX), 1),
    ];
    for (fault, committed) in faults {
        let before = scene.notes();
        scene.line.fail_at("INSERT INTO notes", fault);
        scene.db.run("note", scene.scope().attempts(1), note).unwrap();
        assert_eq!(scene.notes(), before + 1, "{fault:?}");
        assert!(!scene.line.is_intact());

        scene.line.fail_at("INSERT INTO notes", fault);
        let mut runs = 0;
        let lost = scene.db.run("note", scene.scope().single_statement().attempts(5), |tenant| {
            runs += 1;
            note(tenant)
        });
        assert!(matches!(lost, Err(Error::OutcomeUnknown(_))), "{fault:?}: {lost:?}");
        assert!(!lost.unwrap_err().is_retryable());
        assert_eq!(runs, 1, "{fault:?}");
        super::until(LONG, "the server has done it", || scene.notes() >= before + 1 + committed);
        assert_eq!(scene.notes(), before + 1 + committed, "{fault:?}");
    }
    scene.db.run("note", scene.scope().single_statement(), note).unwrap();
}

#[test]
fn a_connection_that_breaks_after_a_single_statement_was_committed_changes_nothing() {
    let scene = Scene::new();
    let mut runs = 0;
    // The connection was lent, so that it is cleaned afterwards, in a flight of its own.
    scene.line.fail_at("DEALLOCATE ALL", Fault::BreakBefore);
    let noted = scene.db.run("note", scene.scope().single_statement().attempts(5), |tenant| {
        runs += 1;
        note(tenant)
    });
    assert!(!scene.line.is_intact(), "nothing was cleaned");
    assert!(noted.is_ok(), "{noted:?}");
    assert_eq!((runs, scene.notes()), (1, 1));
    scene.db.run("note", scene.scope().single_statement(), note).unwrap();
}

#[test]
fn a_connection_that_breaks_with_the_commit_is_an_unknown_outcome_and_is_not_run_again() {
    let scene = Scene::new();
    for (fault, committed) in [(Fault::BreakBefore, 0), (Fault::BreakAfter, 1)] {
        let count = || {
            let created = "SELECT count(*) FROM kpis WHERE name = 'Churn'";
            number(&mut scene.world.test.admin().unwrap(), created)
        };
        let before = count();
        scene.warm();
        scene.line.fail_at("COMMIT", fault);
        let mut runs = 0;
        let lost = scene.db.run("create", scene.scope().attempts(5), |tenant| {
            runs += 1;
            tenant.kpis().create(&NewKpi::new("Churn".parse()?)).map(drop)
        });
        assert!(matches!(lost, Err(Error::OutcomeUnknown(_))), "{fault:?}: {lost:?}");
        assert_eq!((runs, count()), (1, before + committed), "{fault:?}");
    }
}

/// A connection that breaks in a read is replaced, or the read is run again.
#[test]
fn a_read_survives_any_break() {
    let scene = Scene::new();
    let a = &scene.world.a;
    for fault in [Fault::BreakBefore, Fault::BreakAfter, Fault::CutAnswer(20)] {
        for at in ["BEGIN", "COMMIT"] {
            for scope in [scene.scope().read_only(), scene.scope().read_only().single_statement()] {
                let what = format!("{fault:?} at {at}, {scope:?}");
                scene.warm();
                scene.line.fail_at(at, fault);
                let read = |tenant: &mut TenantConnection| tenant.kpis().find(&a.kpi);
                let found = scene.db.run("read", scope, read);
                assert!(matches!(&found, Ok(Some(kpi)) if kpi.id == a.kpi), "{what}: {found:?}");
            }
        }
    }
}

/// How long the server may take, plus what is waited beyond that: 5 seconds.
const LIMIT: Duration = Duration::from_millis(500);

fn silent(fault: Fault, at: &'static str) -> Scene {
    let scene = Scene::with(|builder| builder.statement_timeout(LIMIT).unit_attempts(1));
    scene.line.fail_at(at, fault);
    scene
}

/// Ends, and not before the server had its time.
fn ends<T>(body: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let answer = body();
    assert!(start.elapsed() >= LIMIT && start.elapsed() < LONG, "{:?}", start.elapsed());
    answer
}

#[test]
fn a_peer_that_goes_silent_in_a_statement_is_a_lost_connection() {
    let scene = silent(Fault::SilentAfter, "INSERT INTO notes");
    let lost = ends(|| scene.db.run("note", scene.scope(), note).unwrap_err());
    assert!(matches!(lost, Error::ConnectionLost(_)), "{lost:?}");
    // What was sent may have run, in a transaction that nobody commits.
    scene.db.run("note", scene.scope(), note).unwrap();
    assert_eq!(scene.notes(), 1);
    let scene = silent(Fault::SilentBefore, "\"kpis\"");
    let read = |tenant: &mut TenantConnection| tenant.kpis().find(&scene.world.a.kpi);
    let lost = ends(|| scene.db.run("read", scene.scope().read_only(), read).unwrap_err());
    assert!(matches!(lost, Error::ConnectionLost(_)), "{lost:?}");
    assert!(scene.db.run("read", scene.scope().read_only(), read).unwrap().is_some());
}

#[test]
fn a_peer_that_goes_silent_with_a_commit_is_an_unknown_outcome() {
    for (fault, committed) in [(Fault::SilentBefore, 0), (Fault::SilentAfter, 1)] {
        let scene = silent(fault, "INSERT INTO notes");
        let single = || scene.scope().single_statement();
        let lost = ends(|| scene.db.run("note", single(), note).unwrap_err());
        assert!(matches!(lost, Error::OutcomeUnknown(_)), "{fault:?}: {lost:?}");
        assert_eq!(scene.notes(), committed);
        scene.db.run("note", single(), note).unwrap();
    }
    let scene = silent(Fault::SilentAfter, "COMMIT");
    let lost = ends(|| {
        let mut guard = scene.guard();
        guard.kpis().create(&NewKpi::new("Churn".parse().unwrap())).unwrap();
        guard.commit().unwrap_err()
    });
    assert!(matches!(lost, Error::OutcomeUnknown(_)), "{lost:?}");
}

#[test]
fn a_server_that_goes_silent_while_one_connects_costs_no_more_than_the_pools_timeout() {
    let scene = Scene::with(|builder| builder.pool_timeout(Duration::from_secs(1)));
    scene.end_connection();
    scene.line.fail_at("connect", Fault::SilentBefore);
    let start = Instant::now();
    let outcome = scene.db.run("note", scene.scope().single_statement().attempts(1), note);
    assert!(start.elapsed() < LONG);
    assert!(!scene.line.is_intact());
    match outcome {
        Ok(()) => assert_eq!(scene.notes(), 1),
        Err(Error::PoolTimeout { .. }) => assert_eq!(scene.notes(), 0),
        Err(error) => panic!("{error:?}"),
    }
    super::until(LONG, "the pool goes on", || {
        scene.db.run("note", scene.scope().single_statement(), note).is_ok()
    });
}

/// The thread is still waiting for the silent peer when its caller's time is over.
#[test]
fn a_future_whose_single_statement_went_unanswered_does_not_know_the_outcome() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for (fault, committed) in [(Fault::SilentBefore, 0), (Fault::SilentAfter, 1)] {
        let scene = Scene::new();
        let db = AsyncDatabase::from(scene.db.clone());
        scene.line.fail_at("INSERT INTO notes", fault);
        let run = |scope: Scope<TenantConnection>| -> Result<()> {
            runtime.block_on(db.run("note", scope.within(LIMIT), note))
        };
        let lost = run(scene.scope().single_statement()).unwrap_err();
        assert!(matches!(lost, Error::OutcomeUnknown(_)), "{fault:?}: {lost:?}");
        super::until(LONG, "as the server has it", || scene.notes() == committed);
        // What is certainly not committed is merely late.
        let scene = Scene::new();
        let db = AsyncDatabase::from(scene.db.clone());
        scene.line.fail_at("INSERT INTO notes", fault);
        let late = runtime.block_on(db.run("note", scene.scope().within(LIMIT), note)).unwrap_err();
        assert!(matches!(late, Error::DeadlineExceeded), "{fault:?}: {late:?}");
        assert_eq!(scene.notes(), 0);
    }
}

#[test]
fn a_lost_connection_says_so_in_every_form_of_a_query() {
    let scene = Scene::new();
    let mut guard = scene.guard();
    assert!(guard.role().unwrap().is_some());
    scene.line.cut();
    let conn = guard.connection();
    let lost = diesel::sql_query("SELECT 1").execute(conn).unwrap_err();
    assert!(matches!(Error::from(lost), Error::ConnectionLost(_)));
    assert!(matches!(guard.role(), Err(Error::ConnectionLost(_) | Error::TransactionAborted)));
    assert!(matches!(guard.commit(), Err(Error::ConnectionLost(_) | Error::TransactionAborted)));
}
