//! Destroying a workspace's salt: what was sealed with it stays shut, and what comes after opens.

use sesari_db::Error;
use sesari_db::credentials::OpenError;

use super::tools::{as_service, created, entries, opened, sealed_world, secret, stripe};
use crate::support::service;

fn is_shut<T>(result: &sesari_db::Result<T>) -> bool {
    matches!(result, Err(Error::Open(OpenError::Refused)))
}

#[test]
fn what_was_sealed_before_stays_shut_and_what_comes_after_opens() {
    let world = sealed_world();
    let at = &world.a.workspace;
    let old = created(&world.db, &world.a, "old");
    let other = created(&world.db, &world.b, "of another workspace");
    let backup = world.ask("SELECT encode(salt, 'hex') FROM sesari.sealing_salts LIMIT 1");

    let mut owner = world.db.tenant(&world.a.owner, at).unwrap();
    assert!(owner.integrations().shred_credentials().unwrap());
    owner.commit().unwrap();
    assert!(is_shut(&opened(&world.db, at, &old)));
    assert_eq!(opened(&world.db, &world.b.workspace, &other).unwrap(), "of another workspace");
    let left = world.ask("SELECT string_agg(encode(salt, 'hex'), ',') FROM sesari.sealing_salts");
    assert_ne!(left, backup);

    // A new salt opens nothing of before.
    let new = created(&world.db, &world.a, "new");
    assert!(is_shut(&opened(&world.db, at, &old)));
    assert_eq!(opened(&world.db, at, &new).unwrap(), "new");
    let mut admin = world.db.tenant(&world.a.admin, at).unwrap();
    admin.integrations().replace_credentials(&old, &secret("entered again")).unwrap();
    admin.commit().unwrap();
    assert_eq!(opened(&world.db, at, &old).unwrap(), "entered again");
}

#[test]
fn only_the_owner_shreds_and_only_what_is_there() {
    let world = sealed_world();
    let at = &world.a.workspace;
    let id = created(&world.db, &world.a, "some secret");
    for guard in [
        world.db.tenant(&world.a.admin, at),
        world.db.tenant(&world.a.member, at),
        world.db.tenant(service(), at),
        world.db.tenant(&world.stranger, at),
        world.db.tenant(&world.b.owner, at),
        world.db.tenant(&world.b.owner, &world.b.workspace),
    ] {
        let mut guard = guard.unwrap();
        assert!(!guard.integrations().shred_credentials().unwrap());
        guard.commit().unwrap();
    }
    assert!(entries(&world.db, &world.a, "workspace.shred_credentials").is_empty());
    assert_eq!(opened(&world.db, at, &id).unwrap(), "some secret");
    let mut owner = world.db.tenant(&world.a.owner, at).unwrap();
    assert!(owner.integrations().shred_credentials().unwrap());
    assert!(!owner.integrations().shred_credentials().unwrap());
    owner.commit().unwrap();
    let shredded = entries(&world.db, &world.a, "workspace.shred_credentials");
    assert_eq!(shredded.len(), 1);
    assert_eq!(shredded[0].actor_id, world.a.owner.to_string());
    assert_eq!(shredded[0].changes, serde_json::json!({}));
}

#[test]
fn a_shredding_that_is_rolled_back_destroys_nothing() {
    let world = sealed_world();
    let id = created(&world.db, &world.a, "some secret");
    let mut owner = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    assert!(owner.integrations().shred_credentials().unwrap());
    owner.rollback().unwrap();
    assert_eq!(opened(&world.db, &world.a.workspace, &id).unwrap(), "some secret");
}

#[test]
fn a_deleted_workspace_takes_its_salt_along() {
    let world = sealed_world();
    created(&world.db, &world.a, "some secret");
    created(&world.db, &world.b, "another");
    let salts = || world.ask("SELECT string_agg(workspace_id, ',') FROM sesari.sealing_salts");
    assert!(salts().contains(world.a.workspace.as_str()));
    let mut owner = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    owner.workspace().delete().unwrap();
    owner.commit().unwrap();
    assert_eq!(salts(), world.b.workspace.to_string());
    assert_eq!(world.ask("SELECT count(*) FROM integrations"), "1");
}

#[test]
fn each_workspace_has_a_salt_of_its_own_made_once() {
    let world = sealed_world();
    created(&world.db, &world.a, "one");
    created(&world.db, &world.b, "other");
    let salts =
        || world.ask("SELECT string_agg(salt::text, ',' ORDER BY salt) FROM sesari.sealing_salts");
    let first = salts();
    assert_eq!(first.split(',').count(), 2);
    assert_ne!(first.split(',').next(), first.split(',').nth(1));
    created(&world.db, &world.a, "two");
    let mut background = as_service(&world.db, &world.b.workspace);
    let refused = background.integrations().create(&stripe(), &secret("x"));
    assert!(matches!(refused, Err(Error::Denied)));
    drop(background);
    assert_eq!(salts(), first);
}
