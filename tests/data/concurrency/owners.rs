//! The last owner of a workspace stays.

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use sesari_db::id::{UserId, WorkspaceId};
use sesari_db::value::Role;
use sesari_db::{Database, Error, Result, TenantConnection};

use super::stage::{isolate, race, while_holding, world};
use crate::support::{World, add_member, create_workspace};

const LEVELS: [&str; 3] = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"];

/// The ways in which an owner may take an owner away.
#[derive(Debug, Clone, Copy)]
enum Move {
    Leave,
    DemoteTheOther,
    RemoveTheOther,
}

const MOVES: [Move; 3] = [Move::Leave, Move::DemoteTheOther, Move::RemoveTheOther];

impl Move {
    fn make(self, tenant: &mut TenantConnection, other: &UserId) -> Result<()> {
        match self {
            Self::Leave => tenant.members().leave(),
            Self::DemoteTheOther => tenant.members().change_role(other, Role::Member).map(|_| ()),
            Self::RemoveTheOther => tenant.members().remove(other),
        }
    }
}

/// A new workspace that both own.
fn shared(db: &Database, one: &UserId, two: &UserId, slug: &str) -> WorkspaceId {
    let workspace = create_workspace(db, one, slug);
    add_member(db, &workspace, two, Role::Owner);
    workspace
}

fn owners(world: &World, workspace: &WorkspaceId) -> i64 {
    let query = format!(
        "(SELECT count(*) FROM workspace_users WHERE workspace_id = '{workspace}' AND role = 'owner')"
    );
    diesel::select(sql::<BigInt>(&query)).get_result(&mut world.test.admin().unwrap()).unwrap()
}

fn is_a_refusal(error: &Error) -> bool {
    matches!(
        error,
        Error::LastOwner | Error::NotFound { .. } | Error::SerializationFailure | Error::Deadlock
    )
}

#[test]
fn of_two_owners_who_go_one_after_the_other_one_stays() {
    let world = world();
    let (one, two) = (&world.a.owner, &world.b.owner);
    for (l, level) in LEVELS.into_iter().enumerate() {
        for (f, first_move) in MOVES.into_iter().enumerate() {
            for (s, second_move) in MOVES.into_iter().enumerate() {
                let case = format!("{level}: {first_move:?}, then {second_move:?}");
                let workspace = shared(&world.db, one, two, &format!("staged-{l}-{f}-{s}"));
                let mut first = world.db.tenant(one, &workspace).unwrap();
                first_move.make(&mut first, two).unwrap();
                let second = while_holding(&world, first, || {
                    let mut second = world.db.tenant(two, &workspace).unwrap();
                    isolate(&mut second, level);
                    second_move.make(&mut second, one)?;
                    second.commit()
                });
                assert_eq!(owners(&world, &workspace), 1, "{case}: {second:?}");
                if let Err(error) = second {
                    assert!(is_a_refusal(&error), "{case}: {error:?}");
                }
            }
        }
    }
}

#[test]
fn of_two_owners_who_go_at_once_one_stays() {
    let world = world();
    let users = [&world.a.owner, &world.b.owner];
    for level in LEVELS {
        let mut went = 0;
        for round in 0..24 {
            let moves = [MOVES[round % 3], MOVES[round / 3 % 3]];
            let slug = format!("{}-{round}", level.to_lowercase().replace(' ', "-"));
            let workspace = shared(&world.db, users[0], users[1], &slug);
            let results = race(2, &world.db, |i, db, barrier| {
                let mut tenant = db.tenant(users[i], &workspace).unwrap();
                isolate(&mut tenant, level);
                barrier.wait();
                moves[i].make(&mut tenant, users[1 - i])?;
                tenant.commit()
            });
            let left = owners(&world, &workspace);
            let succeeded = results.iter().filter(|result| result.is_ok()).count();
            assert!(left >= 1, "{level}, {moves:?}: {results:?}");
            for error in results.iter().filter_map(|result| result.as_ref().err()) {
                assert!(is_a_refusal(error), "{level}, {moves:?}: {error:?}");
            }
            if level == "READ COMMITTED" {
                assert_eq!(left, 1, "{moves:?}: {results:?}");
                let queued = !results.iter().any(|r| matches!(r, Err(Error::Deadlock)));
                assert!(queued, "{moves:?}: {results:?}");
            }
            went += succeeded;
        }
        assert!(went > 0, "{level}: nobody ever got through");
    }
}

#[test]
fn deleting_both_owners_accounts_at_once_leaves_one() {
    let world = world();
    for round in 0..8 {
        let users = ["one", "two"]
            .map(|name| crate::support::sign_up(&world.db, &format!("{name}-{round}")));
        let workspace = shared(&world.db, &users[0], &users[1], &format!("accounts-{round}"));
        let results = race(2, &world.db, |i, db, barrier| {
            let mut service = db.service(&crate::support::service()).unwrap();
            barrier.wait();
            service.users().delete(&users[i], &[])?;
            service.commit()
        });
        assert_eq!(owners(&world, &workspace), 1, "{results:?}");
        let undecided = results.iter().filter(|r| matches!(r, Err(Error::Departure(_)))).count();
        assert_eq!(undecided, 1, "{results:?}");
    }
}

/// What the tests above would see if the trigger counted without a lock.
#[test]
fn without_the_lock_both_would_go() {
    let world = world();
    world
        .test
        .admin()
        .unwrap()
        .batch_execute(
            "CREATE OR REPLACE FUNCTION sesari.require_owner() RETURNS trigger LANGUAGE plpgsql \
             SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ BEGIN \
               PERFORM FROM public.workspace_users WHERE workspace_id = OLD.workspace_id \
                 AND role = 'owner' AND id <> OLD.id; \
               IF NOT FOUND THEN RAISE check_violation; END IF; \
               RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END; END $$",
        )
        .unwrap();
    let (one, two) = (&world.a.owner, &world.b.owner);
    let workspace = shared(&world.db, one, two, "unlocked");
    let mut first = world.db.tenant(one, &workspace).unwrap();
    let mut second = world.db.tenant(two, &workspace).unwrap();
    first.members().leave().unwrap();
    second.members().leave().unwrap();
    first.commit().unwrap();
    second.commit().unwrap();
    assert_eq!(owners(&world, &workspace), 0);
}
