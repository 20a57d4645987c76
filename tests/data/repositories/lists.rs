//! The order of lists, and what a search finds.

use std::fmt::Debug;

use diesel::prelude::*;
use diesel::sql_types::Text;
use sesari_db::Result;
use sesari_db::page::{
    GoalKey, KpiKey, ListRequest, MemberKey, Order, OrderKey, Page, PageRequest, UserKey,
};
use sesari_db::repo::{
    GoalFilter, KpiChanges, KpiFilter, MemberFilter, NewGoal, NewKpi, NewUser, UserFilter,
};
use sesari_db::value::{AuthProvider, Role, Timestamp};

use super::tools::{assert_invalid, page, parse, walk};
use crate::support::{World, add_member, hour};

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    id: String,
}

/// The ids of a table's rows as the server sorts them.
fn sorted(world: &World, of: &str, by: &str) -> Vec<String> {
    let sql = format!("SELECT id FROM {of} ORDER BY {by}, id");
    let mut admin = world.test.admin().unwrap();
    let rows: Vec<Row> = diesel::sql_query(sql).load(&mut admin).unwrap();
    rows.into_iter().map(|row| row.id).collect()
}

/// That pages of any size give the rows in the server's order, both ways, and that a cursor is good for
/// its own order alone.
fn follows<K: OrderKey + Debug, T>(
    world: &World,
    of: &str,
    keys: &[(K, &str)],
    id: impl Fn(&T) -> String,
    mut list: impl FnMut(Order<K>, &PageRequest) -> Result<Page<T>>,
) {
    for (key, sql) in keys {
        let expected = sorted(world, of, sql);
        assert!(expected.len() > 5);
        for limit in [1, 2, 3, 1000] {
            let listed = walk(limit, |page| list(Order::ascending(*key), page));
            assert_eq!(listed.iter().map(&id).collect::<Vec<_>>(), expected, "{key:?} by {limit}");
            let mut listed = walk(limit, |page| list(Order::descending(*key), page));
            listed.reverse();
            assert_eq!(listed.iter().map(&id).collect::<Vec<_>>(), expected, "-{key:?} by {limit}");
        }
        let cursor = list(Order::ascending(*key), &page(2)).unwrap().next.unwrap();
        for other in keys.iter().map(|(other, _)| Order::ascending(*other)) {
            if other.by().as_str() != key.as_str() {
                assert_invalid(list(other, &page(2).after(cursor.clone())).map(drop), "cursor");
            }
        }
        let other_way = list(Order::descending(*key), &page(2).after(cursor));
        assert_invalid(other_way.map(drop), "cursor");
    }
}

const NAMES: [&str; 8] = ["b", "a", "B", "é", "a", "Z 1", "b", "ß"];

#[test]
fn kpis_are_listed_in_the_order_asked_for() {
    let world = World::new();
    let mut tenant = world.as_member(&world.a);
    for (i, name) in NAMES.into_iter().enumerate() {
        let category = [None, Some(parse("two")), Some(parse("one"))][i % 3].clone();
        let kpi = tenant.kpis().create(&NewKpi { category, ..NewKpi::new(parse(name)) }).unwrap();
        if i % 3 == 0 {
            let changes = KpiChanges { unit: Some(Some(parse("%"))), ..KpiChanges::default() };
            tenant.kpis().update(&kpi.id, &changes).unwrap();
        }
    }
    tenant.commit().unwrap();
    let own = format!("workspace_id = '{}'", world.a.workspace);
    world.arrange(&format!("UPDATE kpis SET created_at = '2026-01-01' WHERE name < 'b' AND {own}"));
    let mut tenant = world.as_member(&world.a);
    follows(
        &world,
        &format!("kpis WHERE {own}"),
        &[
            (KpiKey::CreatedAt, "created_at"),
            (KpiKey::UpdatedAt, "updated_at"),
            (KpiKey::Name, "name"),
            (KpiKey::Category, "coalesce(category, '')"),
        ],
        |kpi: &sesari_db::repo::Kpi| kpi.id.to_string(),
        |order, page| tenant.kpis().list(&KpiFilter { order, ..KpiFilter::default() }, page),
    );
    // Another filter's cursor.
    let by = |is_active| KpiFilter { is_active, ..KpiFilter::default() };
    let cursor = tenant.kpis().list(&by(Some(true)), &page(2)).unwrap().next.unwrap();
    assert!(tenant.kpis().list(&by(Some(true)), &page(2).after(cursor.clone())).is_ok());
    assert_invalid(tenant.kpis().list(&by(None), &page(2).after(cursor)), "cursor");
}

#[test]
fn goals_are_listed_in_the_order_asked_for_and_found_by_their_title() {
    let world = World::new();
    let mut tenant = world.as_member(&world.a);
    for (i, title) in NAMES.into_iter().enumerate() {
        let target_date = [None, Some(5), Some(3), Some(5)][i % 4];
        let target_date = target_date.map(|hours| Timestamp::new(hour(hours)).unwrap());
        tenant.goals().create(&NewGoal { target_date, ..NewGoal::new(parse(title)) }).unwrap();
    }
    tenant.commit().unwrap();
    let mut tenant = world.as_member(&world.a);
    follows(
        &world,
        &format!("goals WHERE workspace_id = '{}'", world.a.workspace),
        &[
            (GoalKey::CreatedAt, "created_at"),
            (GoalKey::UpdatedAt, "updated_at"),
            (GoalKey::Title, "title"),
            (GoalKey::TargetDate, "target_date NULLS LAST"),
        ],
        |goal: &sesari_db::repo::Goal| goal.id.to_string(),
        |order, page| tenant.goals().list(&GoalFilter { order, ..GoalFilter::default() }, page),
    );
    for (text, found) in [("B", 2 + 1), ("É", 1), ("ss", 1), ("z 1", 1), ("%", 0), ("", 8 + 1)] {
        let filter = GoalFilter { title_contains: Some(text.into()), ..GoalFilter::default() };
        assert_eq!(tenant.goals().count(&filter).unwrap(), found, "{text}");
        let listed = walk(2, |page| tenant.goals().list(&filter, page));
        assert_eq!(i64::try_from(listed.len()).unwrap(), found, "{text}");
    }
}

/// Eight users, of whom one in three has no name.
fn people(world: &World) -> Vec<sesari_db::id::UserId> {
    let mut service = world.as_service();
    let mut users = Vec::new();
    for (i, name) in NAMES.into_iter().enumerate() {
        let new = NewUser {
            name: (i % 3 != 2).then(|| parse(name)),
            ..NewUser::new(
                parse(&format!("p{}@people.example", 9 - i)),
                AuthProvider::Google,
                parse(&format!("p{i}")),
            )
        };
        users.push(service.users().create(&new).unwrap().id);
    }
    service.commit().unwrap();
    users
}

#[test]
fn users_are_listed_in_the_order_asked_for_and_found_by_name_and_address() {
    let world = World::new();
    people(&world);
    let mut service = world.as_service();
    follows(
        &world,
        "users",
        &[
            (UserKey::CreatedAt, "created_at"),
            (UserKey::UpdatedAt, "updated_at"),
            (UserKey::Email, "email"),
            (UserKey::Name, "coalesce(name, '')"),
        ],
        |user: &sesari_db::repo::User| user.id.to_string(),
        |order, page| service.users().list(&UserFilter { order, ..UserFilter::default() }, page),
    );
    for (text, found) in [("PEOPLE.example", 8), ("z 1", 0), ("É", 1), ("p7@", 1), ("\u{7f}", 0)] {
        let filter = UserFilter { name_contains: Some(text.into()), ..UserFilter::default() };
        assert_eq!(service.users().count(&filter).unwrap(), found, "{text}");
        let listed = walk(3, |page| service.users().list(&filter, page));
        assert_eq!(i64::try_from(listed.len()).unwrap(), found, "{text}");
    }
}

#[test]
fn members_are_listed_in_the_order_asked_for_and_found_by_name_and_address() {
    let world = World::new();
    for (i, user) in people(&world).into_iter().enumerate() {
        add_member(&world.db, &world.a.workspace, &user, Role::ALL[i % 3].clone());
    }
    let mut tenant = world.as_member(&world.a);
    follows(
        &world,
        &format!(
            "(SELECT m.id, m.joined_at, coalesce(u.name, u.email) AS shown FROM workspace_users AS m \
             JOIN users AS u ON u.id = m.user_id WHERE m.workspace_id = '{}') AS m",
            world.a.workspace
        ),
        &[(MemberKey::JoinedAt, "joined_at"), (MemberKey::Name, "shown")],
        |member: &sesari_db::repo::Member| member.membership.id.to_string(),
        |order, page| {
            tenant.members().list(&MemberFilter { order, ..MemberFilter::default() }, page)
        },
    );
    for role in [None, Some(Role::Admin)] {
        for order in ["joined_at", "-joined_at", "name", "-name"] {
            for (text, all, admins) in
                [("PEOPLE.example", 8, 3), ("É", 1, 0), ("p7@", 1, 0), ("'", 0, 0), ("", 11, 4)]
            {
                let found = if role.is_none() { all } else { admins };
                let filter = MemberFilter {
                    role: role.clone(),
                    name_contains: Some(text.into()),
                    order: parse(order),
                };
                assert_eq!(tenant.members().count(&filter).unwrap(), found, "{filter:?}");
                let listed = walk(2, |page| tenant.members().list(&filter, page));
                assert_eq!(i64::try_from(listed.len()).unwrap(), found, "{filter:?}");
            }
        }
    }
    // Another workspace's members are not found by any name.
    let theirs = MemberFilter { name_contains: Some("people".into()), ..MemberFilter::default() };
    assert_eq!(world.as_member(&world.b).members().count(&theirs).unwrap(), 0);
}

#[test]
fn an_order_is_read_from_what_a_client_sends() {
    type Request = ListRequest<KpiFilter>;
    let read = |json: &str| serde_json::from_str::<Request>(json);
    let request = read(r#"{"order": "-updatedAt", "nameContains": "x", "limit": 5}"#).unwrap();
    assert_eq!(request.filter.order, Order::descending(KpiKey::UpdatedAt));
    for bad in [r#"{"order": "size"}"#, r#"{"order": ""}"#, r#"{"order": null}"#] {
        assert!(read(bad).is_err(), "{bad}");
    }
}
