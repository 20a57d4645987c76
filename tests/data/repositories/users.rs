//! `users`, through the service's scope.

use chrono::{DateTime, Utc};
use sesari_db::id::UserId;
use sesari_db::repo::{NewUser, UserChanges, UserFilter};
use sesari_db::value::{AuthProvider, Timestamp};

use super::tools::{assert_conflict, assert_missing, parse, walk};
use crate::support::World;

fn account(name: &str) -> NewUser {
    NewUser::new(parse(&format!("{name}@example.org")), AuthProvider::Google, parse(name))
}

#[test]
fn a_user_is_created_found_changed_and_deleted() {
    let world = World::new();
    let mut service = world.as_service();
    let mut users = service.users();
    let new = NewUser { name: Some(parse("Ann")), ..account("ann") };
    let ann = users.create(&new).unwrap();
    assert_eq!((&ann.id, &ann.email, &ann.name), (&new.id, &new.email, &new.name));
    assert_eq!((ann.created_at, &ann.image), (ann.updated_at, &None));
    assert_eq!(users.find(&ann.id).unwrap().as_ref(), Some(&ann));
    assert_eq!(users.find_by_email(&parse("ANN@example.ORG")).unwrap().as_ref(), Some(&ann));
    assert_eq!(users.find_by_email(&parse("nobody@example.org")).unwrap(), None);
    let changes = UserChanges { email: Some(parse("ann@new.org")), ..UserChanges::default() };
    let moved = users.update(&ann.id, &changes).unwrap();
    assert!(moved.updated_at > ann.updated_at);
    let mut expected = ann;
    (expected.email, expected.updated_at) = (parse("ann@new.org"), moved.updated_at);
    assert_eq!(moved, expected);
    users.delete(&expected.id, &[]).unwrap();
    assert_eq!(users.find(&expected.id).unwrap(), None);
    assert_missing(users.delete(&expected.id, &[]), "user");
}

#[test]
fn changes_leave_empty_and_set_each_column() {
    let world = World::new();
    let mut service = world.as_service();
    let mut users = service.users();
    let new = NewUser {
        name: Some(parse("Ann")),
        image: Some(parse("https://example.org/ann.png")),
        ..account("ann")
    };
    let ann = users.create(&new).unwrap();
    assert_eq!(users.update(&ann.id, &UserChanges::default()).unwrap(), ann);
    let set = UserChanges { name: Some(Some(parse("Anna"))), ..UserChanges::default() };
    let set = users.update(&ann.id, &set).unwrap();
    assert_eq!((set.name, set.image), (Some(parse("Anna")), ann.image.clone()));
    let set = UserChanges { image: Some(Some(parse("https://a.b/c"))), ..UserChanges::default() };
    let set = users.update(&ann.id, &set).unwrap();
    assert_eq!((set.name, set.image), (Some(parse("Anna")), Some(parse("https://a.b/c"))));
    let empty = UserChanges { name: Some(None), image: Some(None), ..UserChanges::default() };
    let empty = users.update(&ann.id, &empty).unwrap();
    assert_eq!((empty.name, empty.image, empty.email), (None, None, ann.email));
    for changes in [UserChanges::default(), UserChanges { name: Some(None), ..Default::default() }]
    {
        assert_missing(users.update(&UserId::generate(), &changes), "user");
    }
}

#[test]
fn id_address_and_account_are_each_one_users() {
    let world = World::new();
    let mut service = world.as_service();
    let ann = service.users().create(&account("ann")).unwrap();
    let taken = |service: &mut sesari_db::ServiceConnection, new: NewUser, constraint: &str| {
        let result = service.transaction(|service| service.users().create(&new));
        assert_conflict(result, constraint);
    };
    taken(&mut service, NewUser { id: ann.id.clone(), ..account("bob") }, "users_pkey");
    taken(&mut service, NewUser { email: ann.email, ..account("bob") }, "users_email_key");
    let same_account = NewUser { provider_id: ann.provider_id, ..account("bob") };
    taken(&mut service, same_account, "users_provider_provider_id_key");
    let bob = service.users().create(&account("bob")).unwrap();
    let changes = UserChanges { email: Some(parse("ann@example.org")), ..Default::default() };
    assert_conflict(service.users().update(&bob.id, &changes), "users_email_key");
}

#[test]
fn signing_in_makes_a_user_once_and_then_follows_the_address() {
    let world = World::new();
    let mut service = world.as_service();
    let mut users = service.users();
    let first = users.sign_in(&account("ann")).unwrap();
    let again = users.sign_in(&account("ann")).unwrap();
    assert_eq!(again, first, "nothing changed, and so updated_at stays");
    let moved = NewUser { email: parse("ann@moved.org"), ..account("ann") };
    let moved = users.sign_in(&moved).unwrap();
    assert_eq!((&moved.id, moved.email.as_str()), (&first.id, "ann@moved.org"));
    assert_eq!(moved.created_at, first.created_at);
    assert!(moved.updated_at > first.updated_at);
}

#[test]
fn signing_in_fills_an_empty_name_and_keeps_the_users_own() {
    let world = World::new();
    let mut service = world.as_service();
    let mut users = service.users();
    assert_eq!(users.sign_in(&account("ann")).unwrap().name, None);
    let named = |name: &str, image: &str| NewUser {
        name: Some(parse(name)),
        image: Some(parse(image)),
        ..account("ann")
    };
    let filled = users.sign_in(&named("Google's Ann", "https://google.example/1")).unwrap();
    assert_eq!(filled.name, Some(parse("Google's Ann")));
    let own = UserChanges { name: Some(Some(parse("Annie"))), ..UserChanges::default() };
    users.update(&filled.id, &own).unwrap();
    let kept = users.sign_in(&named("Google's Ann", "https://google.example/2")).unwrap();
    assert_eq!((kept.name, kept.image), (Some(parse("Annie")), filled.image));
    assert_eq!(users.sign_in(&account("ann")).unwrap().name, Some(parse("Annie")));
}

#[test]
fn accounts_are_not_joined_by_their_address() {
    let world = World::new();
    let mut service = world.as_service();
    let ann = service.users().sign_in(&account("ann")).unwrap();
    let other = NewUser { email: ann.email.clone(), ..account("other") };
    let result = service.transaction(|service| service.users().sign_in(&other));
    assert_conflict(result, "users_email_key");
    // Nor by moving to an address that is taken.
    service.users().sign_in(&account("bob")).unwrap();
    let moved = NewUser { email: ann.email, ..account("bob") };
    assert_conflict(service.users().sign_in(&moved), "users_email_key");
}

#[test]
fn list_and_count_agree_on_every_filter_and_pages_give_each_user_once() {
    let world = World::new();
    let mut service = world.as_service();
    let all = walk(1000, |page| service.users().list(&UserFilter::default(), page));
    assert_eq!(all.len(), 7, "those of the furniture");
    assert!(all.is_sorted_by_key(|user| (user.created_at, user.id.clone())));
    let ends = ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"].map(parse::<DateTime<Utc>>);
    let times = all.iter().map(|user| user.created_at).chain(ends).map(Some);
    for created_from in times.chain([None]) {
        for provider in [None, Some(AuthProvider::Google)] {
            let from = created_from.map(|from| Timestamp::new(from).unwrap());
            let filter = UserFilter { provider, created_from: from, ..UserFilter::default() };
            let expected: Vec<_> = all
                .iter()
                .filter(|user| created_from.is_none_or(|from| user.created_at >= from))
                .cloned()
                .collect();
            for limit in [1, 3, 7, 8] {
                assert_eq!(walk(limit, |page| service.users().list(&filter, page)), expected);
            }
            let count = service.users().count(&filter).unwrap();
            assert_eq!(count, i64::try_from(expected.len()).unwrap());
        }
    }
    let unknown = Some(AuthProvider::Unknown("none".into()));
    let none = UserFilter { provider: unknown, created_from: None, ..UserFilter::default() };
    assert_eq!(service.users().count(&none).unwrap(), 0);
    assert!(walk(2, |page| service.users().list(&none, page)).is_empty());
}

#[test]
fn a_deleted_user_takes_memberships_and_subscription_along() {
    let world = World::new();
    let member = &world.a.member;
    world.arrange(&format!(
        "INSERT INTO subscriptions (user_id, status, plan_type) VALUES ('{member}', 'active', 'pro')"
    ));
    let mut service = world.as_service();
    service.users().delete(member, &[]).unwrap();
    service.commit().unwrap();
    for table in ["workspace_users", "subscriptions"] {
        assert_eq!(world.rows(&format!("{table} WHERE user_id = '{member}'")), 0, "{table}");
    }
    assert_eq!(world.rows(&format!("kpis WHERE id = '{}'", world.a.kpi)), 1, "the work stays");
}

/// The provider gave the person a new id: the address is taken, and without a new link it would stay so.
#[test]
fn a_user_whose_id_at_the_provider_changed_is_linked_again() {
    let world = World::new();
    let mut service = world.as_service();
    let email = "stranger@example.com".parse().unwrap();
    let renumbered = NewUser::new(email, AuthProvider::Google, parse("renumbered"));
    let conflict = service.transaction(|service| service.users().sign_in(&renumbered));
    assert_conflict(conflict, "users_email_key");
    let id: sesari_db::value::ProviderId = parse("renumbered");
    let linked = service.users().relink(&world.stranger, &AuthProvider::Google, &id).unwrap();
    assert_eq!((&linked.id, &linked.provider_id), (&world.stranger, &id));
    assert_eq!(service.users().sign_in(&renumbered).unwrap().id, world.stranger);

    let nobody = sesari_db::id::UserId::generate();
    let absent = service.users().relink(&nobody, &AuthProvider::Google, &parse("another"));
    assert_missing(absent, "user");
    let taken = service.users().relink(&world.a.owner, &AuthProvider::Google, &id);
    assert_conflict(taken, "users_provider_provider_id_key");
}
