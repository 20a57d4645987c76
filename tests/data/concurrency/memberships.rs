//! A membership hangs on a row that a trigger makes, and that stays when the membership ends.

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use sesari_db::{Error, Result};

use super::stage::{race, while_holding, world};
use crate::support::{World, service};

fn count(world: &World, of: &str) -> i64 {
    let query = format!("(SELECT count(*) FROM {of})");
    diesel::select(sql::<BigInt>(&query)).get_result(&mut world.test.admin().unwrap()).unwrap()
}

/// Makes the stranger a member of `a`, as the owner's functions do.
fn join(world: &World) -> Result<()> {
    let insert = format!(
        "INSERT INTO public.workspace_users (workspace_id, user_id) VALUES ('{}', '{}')",
        world.a.workspace, world.stranger
    );
    world.test.admin().unwrap().batch_execute(&insert).map_err(Error::from)
}

fn memberships(world: &World) -> i64 {
    count(world, &format!("public.workspace_users WHERE user_id = '{}'", world.stranger))
}

fn removal(world: &World) -> sesari_db::TenantConnection {
    let mut first = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    first.members().remove(&world.stranger).unwrap();
    first
}

#[test]
fn a_user_who_is_added_while_being_removed_is_a_member_again() {
    let world = world();
    join(&world).unwrap();
    let second = while_holding(&world, removal(&world), || join(&world));
    assert!(second.is_ok(), "{second:?}");
    assert_eq!(memberships(&world), 1);
}

#[test]
fn a_user_who_is_deleted_while_being_removed_goes_with_all_that_is_theirs() {
    let world = world();
    join(&world).unwrap();
    let second = while_holding(&world, removal(&world), || {
        let mut guard = world.db.service(&service())?;
        guard.users().delete(&world.stranger, &[])?;
        guard.commit()
    });
    assert!(second.is_ok(), "{second:?}");
    assert_eq!(memberships(&world), 0);
    let left = format!("sesari.user_workspaces WHERE user_id = '{}'", world.stranger);
    assert_eq!(count(&world, &left), 0);
}

#[test]
fn of_many_who_add_the_same_user_one_does() {
    let world = world();
    for round in 0..10 {
        let results = race(4, &world.db, |_, _, barrier| {
            barrier.wait();
            join(&world)
        });
        assert_eq!(memberships(&world), 1, "{results:?}");
        for error in results.into_iter().filter_map(Result::err) {
            let Error::Conflict { constraint } = &error else { panic!("{round}: {error:?}") };
            assert_eq!(constraint, "workspace_users_workspace_id_user_id_key");
        }
        removal(&world).commit().unwrap();
    }
}

#[test]
fn what_is_kept_of_a_membership_goes_with_its_workspace() {
    let world = world();
    let kept = format!("sesari.user_workspaces WHERE workspace_id = '{}'", world.a.workspace);
    join(&world).unwrap();
    removal(&world).commit().unwrap();
    assert_eq!(count(&world, &kept), 4);
    let mut owner = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    owner.workspace().delete().unwrap();
    owner.commit().unwrap();
    assert_eq!(count(&world, &kept), 0);
    assert_eq!(count(&world, "sesari.workspace_slugs"), 1);
}
