//! Two at once.

use std::sync::Barrier;

use sesari_db::invitation::InvitationError as Reason;
use sesari_db::repo::Succession;
use sesari_db::value::Role;
use sesari_db::{Database, Error};

use super::tools::{STRANGER, to};
use crate::support::{World, add_member, service, sign_up};

fn world() -> World {
    let test = sesari_db::testing::TestDatabase::new().unwrap();
    let db = test.builder().pool_size(8).build().unwrap();
    World::on(test, db)
}

fn race<T: Send>(
    db: &Database,
    threads: usize,
    body: impl Fn(usize, &Database) -> T + Sync,
) -> Vec<T> {
    let barrier = Barrier::new(threads);
    std::thread::scope(|scope| {
        let (body, barrier) = (&body, &barrier);
        let run = |i| {
            move || {
                barrier.wait();
                body(i, db)
            }
        };
        let running: Vec<_> = (0..threads).map(|i| scope.spawn(run(i))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn of_many_who_accept_at_once_one_does() {
    let world = world();
    for round in 0..5 {
        let user = sign_up(&world.db, &format!("guest-{round}"));
        let sent =
            world.invite(&world.a.owner, &format!("guest-{round}@example.com"), Role::Member);
        let results = race(&world.db, 4, |_, _| world.accept(&user, &sent.token));
        assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1, "{results:?}");
        let late = results.iter().filter(|r| matches!(r, Err(Error::Invitation(Reason::Accepted))));
        assert_eq!(late.count(), 3, "{results:?}");
    }
}

#[test]
fn of_many_invitations_for_an_address_at_once_one_is_sent() {
    let world = world();
    let results = race(&world.db, 4, |_, db| {
        let mut tenant = db.tenant(&world.a.owner, &world.a.workspace)?;
        tenant.invitations().create(&to(STRANGER, Role::Member))?;
        tenant.commit()
    });
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1, "{results:?}");
    assert_eq!(world.count("invitations"), 1);
}

#[test]
fn an_owner_who_is_demoted_meanwhile_makes_no_owner() {
    let world = world();
    for round in 0..8 {
        let (sender, guest) = (
            sign_up(&world.db, &format!("sender-{round}")),
            sign_up(&world.db, &format!("guest-{round}")),
        );
        add_member(&world.db, &world.a.workspace, &sender, Role::Owner);
        let sent = world.invite(&sender, &format!("guest-{round}@example.com"), Role::Owner);
        let mut results = race(&world.db, 2, |i, db| {
            if i == 0 {
                return world.accept(&guest, &sent.token).map(|()| true);
            }
            let mut tenant = db.tenant(&world.a.owner, &world.a.workspace)?;
            tenant.members().change_role(&sender, Role::Member)?;
            let made = tenant.members().find(&guest)?.is_some();
            tenant.commit().map(|()| made)
        });
        let demoted_after = results.pop().unwrap().unwrap();
        // Whoever was demoted first has made nobody an owner, whatever came then.
        match results.pop().unwrap() {
            Ok(_) => assert!(demoted_after, "the demotion came first, and the guest is an owner"),
            Err(Error::Invitation(Reason::InviterLacksRights)) => assert!(!demoted_after),
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn two_owners_who_name_each_other_heir_leave_one_owner() {
    let world = world();
    for round in 0..8 {
        let users = ["one", "two"].map(|name| sign_up(&world.db, &format!("{name}-{round}")));
        let slug = format!("shared-{round}");
        let workspace = crate::support::create_workspace(&world.db, &users[0], &slug);
        add_member(&world.db, &workspace, &users[1], Role::Owner);
        let results = race(&world.db, 2, |i, db| {
            let mut guard = db.service(&service())?;
            let user = users[1 - i].clone();
            let decision = Succession::Heir { workspace: workspace.clone(), user };
            guard.users().delete(&users[i], &[decision])?;
            guard.commit()
        });
        assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1, "{results:?}");
        let undecided = results.iter().filter(|r| matches!(r, Err(Error::Departure(_)))).count();
        assert_eq!(undecided, 1, "{results:?}");
        let owners =
            format!("workspace_users WHERE workspace_id = '{workspace}' AND role = 'owner'");
        assert_eq!(world.count(&owners), 1);
    }
}

#[test]
fn a_heir_who_leaves_meanwhile_leaves_no_workspace_without_an_owner() {
    let world = world();
    for round in 0..8 {
        let owner = sign_up(&world.db, &format!("owner-{round}"));
        let heir = sign_up(&world.db, &format!("heir-{round}"));
        let workspace =
            crate::support::create_workspace(&world.db, &owner, &format!("left-{round}"));
        add_member(&world.db, &workspace, &heir, Role::Member);
        let results = race(&world.db, 2, |i, db| {
            if i == 0 {
                let mut guard = db.service(&service())?;
                let decision =
                    Succession::Heir { workspace: workspace.clone(), user: heir.clone() };
                guard.users().delete(&owner, &[decision])?;
                return guard.commit();
            }
            let mut tenant = db.tenant(&heir, &workspace)?;
            tenant.members().leave()?;
            tenant.commit()
        });
        let owners =
            format!("workspace_users WHERE workspace_id = '{workspace}' AND role = 'owner'");
        assert_eq!(world.count(&owners), 1, "{results:?}");
    }
}
