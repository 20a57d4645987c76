//! A user's workspaces.

use sesari_db::repo::NewWorkspace;
use sesari_db::value::Role;

use super::tools::{assert_conflict, parse, walk};
use crate::support::{World, add_member, create_workspace};

#[test]
fn whoever_creates_a_workspace_owns_it() {
    let world = World::shared();
    let mut user = world.as_user(&world.stranger);
    assert_eq!(user.my_workspaces().count().unwrap(), 0);
    assert!(walk(1, |page| user.my_workspaces().list(page)).is_empty());
    let new = NewWorkspace::new(parse("Mine"), parse("mine"));
    let created = user.my_workspaces().create(&new).unwrap();
    assert_eq!((&created.id, &created.name, &created.slug), (&new.id, &new.name, &new.slug));
    let found = user.my_workspaces().find(&created.id).unwrap().unwrap();
    assert_eq!((&found.workspace, &found.role), (&created, &Role::Owner));
    assert_eq!(user.my_workspaces().find_by_slug(&new.slug).unwrap().as_ref(), Some(&found));
    assert_eq!(user.my_workspaces().count().unwrap(), 1);
    user.commit().unwrap();
    let mut tenant = world.db.tenant(&world.stranger, &created.id).unwrap();
    assert_eq!(tenant.workspace().find().unwrap(), Some(created));
}

#[test]
fn a_slug_and_an_id_are_taken_once() {
    let world = World::shared();
    let mut user = world.as_user(&world.stranger);
    let taken = NewWorkspace::new(parse("Other"), parse(&world.a.slug));
    let result = user.transaction(|user| user.my_workspaces().create(&taken));
    assert_conflict(result, "workspaces_slug_key");
    let taken = NewWorkspace {
        id: world.a.workspace.clone(),
        ..NewWorkspace::new(parse("O"), parse("other"))
    };
    assert_conflict(user.my_workspaces().create(&taken), "workspaces_pkey");
}

#[test]
fn the_list_shows_each_workspace_once_with_the_own_role() {
    let world = World::shared();
    let mut expected = Vec::new();
    for (i, role) in
        [Role::Owner, Role::Admin, Role::Member].into_iter().cycle().take(7).enumerate()
    {
        let slug = format!("mine-{i}");
        let workspace = create_workspace(&world.db, &world.b.owner, &slug);
        add_member(&world.db, &workspace, &world.stranger, role.clone());
        expected.push((workspace, role));
    }
    let mut user = world.as_user(&world.stranger);
    for limit in [1, 2, 7, 100] {
        let listed = walk(limit, |page| user.my_workspaces().list(page));
        assert!(listed.is_sorted_by_key(|mine| mine.joined_at));
        let listed: Vec<_> =
            listed.into_iter().map(|mine| (mine.workspace.id, mine.role)).collect();
        assert_eq!(listed, expected);
    }
    assert_eq!(user.my_workspaces().count().unwrap(), 7);
}

#[test]
fn workspaces_of_others_are_not_there() {
    let world = World::shared();
    let mut user = world.as_user(&world.b.member);
    assert_eq!(user.my_workspaces().find(&world.a.workspace).unwrap(), None);
    assert_eq!(user.my_workspaces().find_by_slug(&parse(&world.a.slug)).unwrap(), None);
    let listed = walk(10, |page| user.my_workspaces().list(page));
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].workspace.id, world.b.workspace);
}
