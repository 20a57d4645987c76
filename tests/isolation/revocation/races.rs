//! Between the check and the use: access is taken away before the first statement, amid a statement,
//! while one waits, and while many run; and contexts that outlive their transaction or their key.

use std::sync::atomic::{
    AtomicBool, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Text};
use sesari_db::PgConnection;
use sesari_db::repo::{KpiFilter, NewKpi};
use sesari_db::tenancy::MemberRole;
use sesari_db::value::Role;
use sesari_db::{Error, TenantConnection, maintenance};

use super::{has_no_access, rows_seen};
use crate::support::signer::Signer;
use crate::support::{World, add_member};

fn number(conn: &mut PgConnection, expression: &str) -> QueryResult<i64> {
    diesel::select(sql::<BigInt>(expression)).get_result(conn)
}

fn text(conn: &mut PgConnection, expression: &str) -> String {
    diesel::select(sql::<Text>(expression)).get_result(conn).unwrap()
}

fn pid(conn: &mut PgConnection) -> i32 {
    diesel::select(sql::<Integer>("pg_backend_pid()")).get_result(conn).unwrap()
}

fn remove_member(world: &World) {
    let a = &world.a;
    let mut tenant = world.db.tenant(&a.owner, &a.workspace).unwrap();
    tenant.members().remove(&a.member).unwrap();
    tenant.commit().unwrap();
}

/// Waits until the backend does what the condition on its activity says.
fn until(world: &World, pid: i32, condition: &str) {
    let mut admin = world.test.admin().unwrap();
    let start = Instant::now();
    let reached =
        format!("(SELECT count(*) FROM pg_stat_activity WHERE pid = {pid} AND {condition})");
    while number(&mut admin, &reached).unwrap() == 0 {
        assert!(start.elapsed() < Duration::from_secs(20), "{condition}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs `body` in a guard of A's member on another thread, and `meanwhile` once its backend is where
/// the condition says.
fn while_it_is<T: Send>(
    world: &World,
    condition: &str,
    body: impl FnOnce(&mut TenantConnection) -> T + Send,
    meanwhile: impl FnOnce(),
) -> T {
    let (tell, told) = mpsc::channel();
    std::thread::scope(|scope| {
        let running = scope.spawn(move || {
            let a = &world.a;
            let mut guard = world.db.tenant(&a.member, &a.workspace).unwrap();
            tell.send(pid(guard.connection())).unwrap();
            body(&mut guard)
        });
        until(world, told.recv().unwrap(), condition);
        meanwhile();
        running.join().unwrap()
    })
}

#[test]
fn a_member_removed_between_begin_and_the_first_statement_has_no_access() {
    let world = World::new();
    let a = &world.a;
    let mut open = world.db.tenant(&a.member, &a.workspace).unwrap();
    remove_member(&world);
    assert!(matches!(
        open.kpis().create(&NewKpi::new("Late".parse().unwrap())),
        Err(Error::Denied)
    ));
    drop(open);
    let mut open = world.db.tenant(&a.member, &a.workspace).unwrap();
    has_no_access(&mut open, a);
}

/// A statement is one moment: what it saw when it began. The next one sees nothing.
#[test]
fn a_statement_that_runs_while_its_member_is_removed_is_the_last() {
    let world = World::new();
    let (seen, then) = while_it_is(
        &world,
        "wait_event = 'PgSleep'",
        |guard| {
            let conn = guard.connection();
            let slow = "(SELECT count(*) FROM (SELECT pg_sleep(1.5) OFFSET 0) AS s, kpis)";
            (number(conn, slow).unwrap(), number(conn, "(SELECT count(*) FROM kpis)").unwrap())
        },
        || remove_member(&world),
    );
    assert_eq!((seen, then), (1, 0));
}

/// The same for a change that had begun, and had to wait for a row: it is the statement's moment that
/// counts. Nothing can be added to it.
#[test]
fn a_change_that_waits_for_a_row_while_its_member_is_removed_is_the_last() {
    let world = World::new();
    let a = &world.a;
    let mut owner = world.db.tenant(&a.owner, &a.workspace).unwrap();
    owner.kpis().deactivate(&a.kpi).unwrap();
    let (first, second) = while_it_is(
        &world,
        "wait_event_type = 'Lock'",
        |guard| {
            let update = "UPDATE kpis SET unit = 'member' WHERE name = 'Revenue'";
            let first = diesel::sql_query(update).execute(guard.connection());
            let second = guard.transaction(|guard| {
                Ok::<_, Error>(diesel::sql_query(update).execute(guard.connection())?)
            });
            let insert = guard
                .transaction(|guard| guard.kpis().create(&NewKpi::new("Late".parse().unwrap())));
            assert!(matches!(insert, Err(Error::Denied)), "{insert:?}");
            (first, second.unwrap())
        },
        || {
            owner.members().remove(&a.member).unwrap();
            owner.commit().unwrap();
        },
    );
    assert_eq!((first.unwrap(), second), (1, 0));
}

#[test]
fn an_admin_demoted_while_a_statement_runs_reads_no_audit_log_afterwards() {
    let world = World::new();
    let a = &world.a;
    let mut owner = world.db.tenant(&a.owner, &a.workspace).unwrap();
    owner.members().change_role(&a.member, Role::Admin).unwrap();
    owner.commit().unwrap();
    let (during, after) = while_it_is(
        &world,
        "wait_event = 'PgSleep'",
        |guard| {
            let conn = guard.connection();
            let slow = "(SELECT count(*) FROM (SELECT pg_sleep(1.5) OFFSET 0) AS s, audit_log)";
            (number(conn, slow).unwrap(), number(conn, "(SELECT count(*) FROM audit_log)").unwrap())
        },
        || {
            let mut owner = world.db.tenant(&a.owner, &a.workspace).unwrap();
            owner.members().change_role(&a.member, Role::Member).unwrap();
            owner.commit().unwrap();
        },
    );
    assert!(during > 0);
    assert_eq!(after, 0);
}

/// Somebody reads in one statement after the other while being removed and added again: each statement
/// sees everything or nothing, and none that began after a removal sees anything.
#[test]
fn every_statement_amid_removals_sees_all_or_nothing() {
    let world = World::new();
    let a = &world.a;
    // Odd while the member is removed for certain.
    let (stop, epoch) = (AtomicBool::new(false), AtomicUsize::new(0));
    let everything = {
        let mut guard = world.db.tenant(&a.member, &a.workspace).unwrap();
        rows_seen(&mut guard)
    };
    let (mut all, mut nothing) = (0, 0);
    std::thread::scope(|scope| {
        let (world, stop, epoch) = (&world, &stop, &epoch);
        let churn = scope.spawn(move || {
            for _ in 0..40 {
                remove_member(world);
                epoch.fetch_add(1, SeqCst);
                std::thread::sleep(Duration::from_millis(20));
                epoch.fetch_add(1, SeqCst);
                add_member(&world.db, &a.workspace, &a.member, Role::Member);
            }
            stop.store(true, Relaxed);
        });
        while !stop.load(Relaxed) {
            let mut guard = world.db.tenant(&a.member, &a.workspace).unwrap();
            for _ in 0..3 {
                let before = epoch.load(SeqCst);
                let seen = rows_seen(&mut guard);
                let certain = before % 2 == 1 && epoch.load(SeqCst) == before;
                match seen {
                    0 => nothing += 1,
                    seen if seen == everything => all += 1,
                    seen => panic!("{seen} of {everything}"),
                }
                assert!(seen == 0 || !certain, "seen after the removal");
            }
        }
        churn.join().unwrap();
    });
    assert!(all > 0 && nothing > 0, "{all} {nothing}");
}

/// What PostgreSQL promises those who ask for it: the past. A guard does not ask; a caller can, and SQL
/// behind a `COMMIT` of its own. It ends with its transaction.
#[test]
fn a_transaction_in_the_past_keeps_the_memberships_of_its_beginning() {
    let world = World::new();
    let a = &world.a;
    let mut open = world.db.tenant(&a.member, &a.workspace).unwrap();
    open.connection().batch_execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").unwrap();
    assert_eq!(open.kpis().count(&KpiFilter::default()).unwrap(), 1);
    remove_member(&world);
    assert_eq!(open.kpis().count(&KpiFilter::default()).unwrap(), 1);
    drop(open);
    has_no_access(&mut world.db.tenant(&a.member, &a.workspace).unwrap(), a);
}

/// A context that was captured directly, where it is bound: on its backend, within ten seconds, in a
/// later transaction too; on no other, and no longer than its user is a member and its key installed.
#[test]
fn a_captured_context_lives_no_longer_than_its_backend_membership_and_key() {
    let world = World::new();
    let (a, signer) = (&world.a, Signer::of(&world.test));
    let narrow = world.test.builder().pool_size(1).build().unwrap();
    let mut guard = narrow.tenant(&a.member, &a.workspace).unwrap();
    let (token, backend) =
        (text(guard.connection(), "current_setting('sesari.context')"), pid(guard.connection()));
    guard.commit().unwrap();
    let replay = format!("SET LOCAL sesari.context = '{token}'");

    // The same backend, in another tenant's transaction, after the first has ended.
    let mut guard = narrow.tenant(&world.b.owner, &world.b.workspace).unwrap();
    assert_eq!(pid(guard.connection()), backend);
    guard.connection().batch_execute(&replay).unwrap();
    assert_eq!(
        text(guard.connection(), "(SELECT min(workspace_id) FROM kpis)"),
        a.workspace.as_str()
    );
    guard.rollback().unwrap();
    // Another backend.
    let mut other = world.db.tenant(&world.b.owner, &world.b.workspace).unwrap();
    other.connection().batch_execute(&replay).unwrap();
    assert_eq!(rows_seen(&mut other), 0);
    drop(other);
    // Its own backend, eleven seconds after it was signed; the same text otherwise.
    let issued: i64 = token.split('.').nth(5).unwrap().parse().unwrap();
    let aged = |age: i64| {
        let (user, workspace) = (a.member.as_str(), a.workspace.as_str());
        signer.sign('u', user, workspace, issued - age * 1_000_000, backend)
    };
    assert_eq!(aged(0), token);
    let mut guard = narrow.tenant(&world.b.owner, &world.b.workspace).unwrap();
    guard.connection().batch_execute(&replay.replace(&token, &aged(11))).unwrap();
    assert_eq!(rows_seen(&mut guard), 0);
    // Its user has gone.
    guard.connection().batch_execute(&replay).unwrap();
    assert_ne!(rows_seen(&mut guard), 0);
    remove_member(&world);
    assert_eq!(rows_seen(&mut guard), 0);
    drop(guard);
    // Its key has gone, amid a transaction.
    let mut guard = narrow.tenant(&a.owner, &a.workspace).unwrap();
    assert_eq!(guard.role().unwrap(), Some(MemberRole::Member(Role::Owner)));
    maintenance::retire_context_key(&mut world.test.admin().unwrap(), "test").unwrap();
    assert_eq!(guard.role().unwrap(), None);
    assert_eq!(rows_seen(&mut guard), 0);
}
