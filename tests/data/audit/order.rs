//! The order of entries: without gaps, whoever writes at once, and never changed for what is past.

use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use sesari_db::Error;
use sesari_db::PgConnection;
use sesari_db::audit::Chain;
use sesari_db::repo::AuditFilter;
use sesari_db::value::Role;

use crate::support::{World, sealing_keys};

/// That what is there is a chain from the first entry on, in the order of time.
fn assert_chain(world: &World, entries: usize) {
    let exported = world.export();
    assert_eq!(exported.len(), entries);
    let mut chain = Chain::of(Some(&world.a.workspace));
    for entry in &exported {
        chain.follow(entry).unwrap();
    }
    assert!(exported.is_sorted_by(|one, next| one.microseconds < next.microseconds));
    assert!(world.verify(Some(&chain.checkpoint())).is_intact());
}

#[test]
fn sixteen_writers_at_once_leave_one_chain_without_gaps() {
    const WRITERS: usize = 16;
    const WRITES: usize = 8;
    let mut world = World::new();
    world.db = world.test.builder().sealing_keys(sealing_keys()).pool_size(20).build().unwrap();
    let world = &world;
    let before = world.export().len();
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn(move || {
                    for i in 0..WRITES {
                        // Rows of their own; the chain alone is shared. Every second one is undone.
                        let mut tenant = world.owner();
                        let kpi = sesari_db::repo::NewKpi::new("Short-lived".parse().unwrap());
                        let kpi = tenant.kpis().create(&kpi).unwrap();
                        tenant.kpis().delete(&kpi.id).unwrap();
                        tenant.kpis().purge(&kpi.id).unwrap();
                        if (writer + i).is_multiple_of(2) {
                            tenant.commit().unwrap();
                        } else {
                            tenant.rollback().unwrap();
                        }
                    }
                })
            })
            .collect();
        // Meanwhile, whoever looks sees the beginning of the chain, and what was settled stays.
        let mut seen = Vec::new();
        while !writers.iter().all(thread::ScopedJoinHandle::is_finished) {
            let now = world.export();
            assert_eq!(now[..seen.len()], seen[..]);
            let mut chain = Chain::of(Some(&world.a.workspace));
            for entry in &now {
                chain.follow(entry).unwrap();
            }
            seen = now;
            thread::sleep(Duration::from_millis(5));
        }
        for writer in writers {
            writer.join().unwrap();
        }
    });
    assert_chain(world, before + WRITERS * WRITES / 2);
}

#[test]
fn what_is_rolled_back_leaves_no_gap() {
    let world = World::with_history(1);
    let before = world.export().len();
    let mut tenant = world.owner();
    tenant.workspace().rename("Kept".parse().unwrap()).unwrap();
    for immediate in [false, true] {
        let undone: Result<(), Error> = tenant.transaction(|tenant| {
            if immediate {
                tenant.connection().batch_execute("SET CONSTRAINTS ALL IMMEDIATE")?;
            }
            tenant.workspace().rename("Undone".parse()?)?;
            Err(Error::Denied)
        });
        assert!(undone.is_err());
    }
    tenant.workspace().rename("Kept too".parse().unwrap()).unwrap();
    tenant.commit().unwrap();
    drop({
        let mut tenant = world.owner();
        tenant.workspace().rename("Dropped".parse().unwrap()).unwrap();
        tenant
    });
    // Aborted by an error at the commit.
    let mut tenant = world.owner();
    tenant.workspace().rename("Aborted".parse().unwrap()).unwrap();
    tenant.connection().batch_execute("SELECT 1 / 0").unwrap_err();
    assert!(matches!(tenant.commit(), Err(Error::TransactionAborted)));
    assert_chain(&world, before + 2);
    assert_eq!(world.ask("SELECT count(*) FROM sesari.audit_pending"), "0");
}

/// A statement of the tenant's may say when entries are chained, and no more.
#[test]
fn entries_cannot_be_kept_out_by_setting_constraints() {
    let world = World::shared();
    let before = world.export().len();
    for (i, order) in
        ["ALL IMMEDIATE", "ALL DEFERRED", "sesari.audit_pending_chain DEFERRED"].iter().enumerate()
    {
        let mut tenant = world.owner();
        let set = format!("SET CONSTRAINTS {order}");
        tenant.connection().batch_execute(&set).unwrap();
        tenant.workspace().rename(format!("Name {i}").parse().unwrap()).unwrap();
        tenant.connection().batch_execute(&set).unwrap();
        tenant.commit().unwrap();
    }
    assert_chain(&world, before + 3);
}

#[test]
fn all_entries_of_a_transaction_name_it_and_show_at_its_commit() {
    let world = World::shared();
    let mut tenant = world.owner();
    tenant.workspace().rename("One".parse().unwrap()).unwrap();
    tenant.members().change_role(&world.a.member, Role::Admin).unwrap();
    let before = world.list(&AuditFilter::default());
    assert_eq!(tenant.audit_log().count(&AuditFilter::default()).unwrap(), 4);
    assert_eq!(before.len(), 4);
    tenant.commit().unwrap();
    let after = world.list(&AuditFilter::default());
    let actions: Vec<_> = after.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions[..2], ["member.change_role", "workspace.update"]);
    assert_eq!(after[0].transaction_id, after[1].transaction_id);
    assert_ne!(after[1].transaction_id, after[2].transaction_id);
}

#[test]
fn what_is_listed_before_the_settled_moment_never_changes() {
    let world = World::with_history(2);
    let settled = world.owner().audit_log().settled_before().unwrap().unwrap();
    let past = AuditFilter { before: Some(settled), ..AuditFilter::default() };
    let listed = world.list(&past);
    assert_eq!(listed.len(), world.export().len());
    // On its way since before, and with its place in the chain.
    let mut slow = world.owner();
    slow.workspace().rename("Slow".parse().unwrap()).unwrap();
    slow.connection().batch_execute("SET CONSTRAINTS ALL IMMEDIATE").unwrap();
    assert_eq!(world.owner().audit_log().settled_before().unwrap(), Some(settled));
    assert_eq!(world.list(&past), listed);
    slow.commit().unwrap();
    assert_eq!(world.list(&past), listed);
    assert!(world.owner().audit_log().settled_before().unwrap() > Some(settled));
    assert!(world.list(&AuditFilter::default())[0].occurred_at >= settled);
}

/// The clock may be set back; the head remembers.
#[test]
fn time_rises_even_when_the_clock_goes_back() {
    let world = World::with_history(1);
    let future = "2999-01-01";
    world.tamper(&format!("UPDATE sesari.audit_heads SET occurred_at = '{future}'"));
    world.rename("Later");
    let times = world.export();
    let newest = &times[times.len() - 1];
    assert_eq!(
        world.ask(&format!(
            "SELECT (extract(epoch FROM timestamptz '{future}') * 1000000)::bigint + 1"
        )),
        newest.microseconds.to_string()
    );
}

#[test]
fn an_older_snapshot_is_told_to_try_again() {
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        let world = World::new();
        let member = format!(
            "UPDATE workspace_users SET role = 'admin' WHERE user_id = '{}'",
            world.a.member
        );
        let mut admin = world.test.admin().unwrap();
        admin
            .batch_execute(&format!("BEGIN ISOLATION LEVEL {level}; SELECT 1 FROM users"))
            .unwrap();
        world.rename("Overtaken");
        admin.batch_execute(&member).unwrap();
        let error = Error::from(admin.batch_execute("COMMIT").unwrap_err());
        assert!(matches!(error, Error::SerializationFailure), "{level}: {error:?}");
        admin.batch_execute(&format!("BEGIN ISOLATION LEVEL {level}; {member}; COMMIT")).unwrap();
        assert_chain(&world, 6);
    }
}

/// Heads are locked in one order, whatever the order of the writes.
#[test]
fn transactions_over_several_workspaces_do_not_deadlock() {
    let world = World::new();
    let (a, b) = (&world.a.workspace, &world.b.workspace);
    let role = |of: &sesari_db::id::WorkspaceId, user| {
        format!("UPDATE workspace_users SET role = CASE role WHEN 'admin' THEN 'member' ELSE 'admin' END
                  WHERE workspace_id = '{of}' AND user_id = '{user}'")
    };
    let one = format!("BEGIN; {}; {}; COMMIT", role(a, &world.a.admin), role(b, &world.b.admin));
    let other =
        format!("BEGIN; {}; {}; COMMIT", role(b, &world.b.member), role(a, &world.a.member));
    thread::scope(|scope| {
        for sql in [&one, &other, &one, &other] {
            let world = &world;
            scope.spawn(move || {
                let mut admin: PgConnection = world.test.admin().unwrap();
                for _ in 0..25 {
                    admin.batch_execute(sql).unwrap();
                }
            });
        }
    });
    assert_chain(&world, 4 + 100);
}
