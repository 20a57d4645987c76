//! The user's own row.

use sesari_db::repo::ProfileChanges;

use super::tools::{assert_missing, parse};
use crate::support::World;

#[test]
fn users_read_and_change_their_own_name_and_picture() {
    let world = World::new();
    let mut user = world.as_user(&world.stranger);
    let before = user.me().find().unwrap().unwrap();
    assert_eq!((&before.id, before.name.as_ref().unwrap().as_str()), (&world.stranger, "stranger"));
    assert_eq!(user.me().update(&ProfileChanges::default()).unwrap(), before);
    let set = ProfileChanges {
        name: Some(Some(parse("Own Name"))),
        image: Some(Some(parse("https://example.org/me.png"))),
    };
    let set = user.me().update(&set).unwrap();
    assert_eq!(set.name, Some(parse("Own Name")));
    assert!(set.updated_at > before.updated_at);
    let left = ProfileChanges { name: Some(None), ..ProfileChanges::default() };
    let left = user.me().update(&left).unwrap();
    assert_eq!((left.name, left.image), (None, set.image));
    let emptied = ProfileChanges { image: Some(None), ..ProfileChanges::default() };
    assert_eq!(user.me().update(&emptied).unwrap().image, None);
    user.commit().unwrap();
    let unchanged = format!("users WHERE updated_at = created_at AND id <> '{}'", world.stranger);
    assert_eq!(world.rows(&unchanged), 6, "nobody else was changed");
}

#[test]
fn a_deleted_user_is_nobody() {
    let world = World::shared();
    let mut service = world.as_service();
    service.users().delete(&world.stranger, &[]).unwrap();
    service.commit().unwrap();
    let mut user = world.as_user(&world.stranger);
    assert_eq!(user.me().find().unwrap(), None);
    let changes = ProfileChanges { name: Some(None), ..ProfileChanges::default() };
    assert_missing(user.me().update(&ProfileChanges::default()), "user");
    assert_missing(user.me().update(&changes), "user");
}
