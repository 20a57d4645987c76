//! Who may do what with integrations and their credentials.

use std::fmt::Debug;

use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use sesari_db::id::{IntegrationId, LeaseId};
use sesari_db::repo::IntegrationFilter;
use sesari_db::{Error, Result, TenantConnection};

use super::tools::{
    as_service, created, entries, moment, opened, page, sealed_world, secret, stripe,
};
use crate::support::{World, service};

/// What an actor was told.
fn told<T: Debug>(answer: &Result<T>) -> String {
    match answer {
        Ok(_) => "done".into(),
        Err(Error::NotFound { .. }) => "absent".into(),
        Err(Error::Denied) => "denied".into(),
        Err(other) => format!("{other:?}"),
    }
}

/// Each call in a savepoint: a refusal by the server would end the transaction.
fn attempts(guard: &mut TenantConnection, id: &IntegrationId) -> [String; 9] {
    let lease = LeaseId::generate();
    let found = guard.integrations().find(id).unwrap();
    [
        if found.is_some() { "seen" } else { "unseen" }.into(),
        told(&guard.transaction(|it| it.integrations().create(&stripe(), &secret("x")))),
        told(&guard.transaction(|it| it.integrations().credentials(id))),
        told(&guard.transaction(|it| it.integrations().replace_credentials(id, &secret("x")))),
        told(&guard.transaction(|it| it.integrations().deactivate(id))),
        told(&guard.transaction(|it| it.integrations().activate(id))),
        // Nobody has leased it.
        told(&guard.transaction(|it| it.integrations().record_success(id, &lease, moment(1)))),
        if guard.integrations().shred_credentials().unwrap() { "shredded" } else { "kept" }.into(),
        told(&guard.transaction(|it| it.integrations().delete(id))),
    ]
}

#[test]
fn each_actor_may_do_its_part_and_no_more() {
    let world = sealed_world();
    let id = created(&world.db, &world.a, "some secret");
    let at = &world.a.workspace;
    let full = ["seen", "done", "done", "done", "done", "done", "absent"];
    let none = ["unseen", "denied", "absent", "absent", "absent", "absent", "absent"];
    let with = |first: [&'static str; 7], last: [&'static str; 2]| {
        first.into_iter().chain(last).map(String::from).collect::<Vec<_>>()
    };
    let service_part = ["seen", "denied", "done", "done", "done", "done", "absent"];
    let member_part = ["seen", "denied", "absent", "absent", "absent", "absent", "absent"];
    for (who, guard, expected) in [
        ("owner", world.db.tenant(&world.a.owner, at), with(full, ["shredded", "done"])),
        ("admin", world.db.tenant(&world.a.admin, at), with(full, ["kept", "done"])),
        ("service", world.db.tenant(service(), at), with(service_part, ["kept", "absent"])),
        ("member", world.db.tenant(&world.a.member, at), with(member_part, ["kept", "absent"])),
        ("stranger", world.db.tenant(&world.stranger, at), with(none, ["kept", "absent"])),
        ("other owner", world.db.tenant(&world.b.owner, at), with(none, ["kept", "absent"])),
    ] {
        // Rolled back, so that each finds the same.
        assert_eq!(attempts(&mut guard.unwrap(), &id).to_vec(), expected, "{who}");
    }
    assert_eq!(opened(&world.db, at, &id).unwrap(), "some secret");
}

#[test]
fn an_admin_who_was_removed_or_demoted_gets_nothing_more() {
    let world = sealed_world();
    let id = created(&world.db, &world.a, "some secret");
    let mut admin = world.db.tenant(&world.a.admin, &world.a.workspace).unwrap();
    admin.integrations().credentials(&id).unwrap();
    // In the middle of a transaction, on the very next statement.
    world.arrange(&format!(
        "UPDATE workspace_users SET role = 'member' WHERE user_id = '{}'",
        world.a.admin
    ));
    assert_eq!(told(&admin.integrations().credentials(&id)), "absent");
    assert!(admin.integrations().find(&id).unwrap().is_some());
    world.arrange(&format!("DELETE FROM workspace_users WHERE user_id = '{}'", world.a.admin));
    assert_eq!(told(&admin.integrations().credentials(&id)), "absent");
    assert_eq!(admin.integrations().find(&id).unwrap(), None);
    assert_eq!(admin.integrations().count(&IntegrationFilter::default()).unwrap(), 0);
}

#[test]
fn another_tenants_integration_looks_as_one_that_never_was() {
    let world = sealed_world();
    let theirs = created(&world.db, &world.b, "theirs");
    let before = world.envelope(&theirs);
    let answers = |id: &IntegrationId| {
        let mut owner = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
        // Also the text of the errors.
        let opened = owner.integrations().credentials(id);
        format!("{:?} {opened:?}", attempts(&mut owner, id))
    };
    assert_eq!(answers(&theirs), answers(&IntegrationId::generate()));
    assert_eq!(world.envelope(&theirs), before);
    let mut owner = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    let all = owner.integrations().list(&IntegrationFilter::default(), &page(9)).unwrap();
    assert!(all.items.is_empty());
}

fn code(result: QueryResult<usize>) -> String {
    match result {
        Err(DieselError::DatabaseError(DatabaseErrorKind::Unknown, info)) => {
            info.message().to_owned()
        }
        other => format!("{other:?}"),
    }
}

const READS: [&str; 6] = [
    "SELECT credentials FROM integrations",
    "SELECT * FROM integrations",
    "SELECT row_to_json(i) FROM integrations AS i",
    "SELECT 1 FROM integrations WHERE credentials LIKE 'v1%'",
    "UPDATE integrations SET is_active = is_active RETURNING credentials",
    "SELECT salt FROM sesari.sealing_salts",
];

fn refusals(world: &World) -> Vec<(&'static str, String)> {
    let mut refusals = Vec::new();
    for sql in READS {
        let mut owner = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
        refusals.push((sql, code(diesel::sql_query(sql).execute(owner.connection()))));
    }
    refusals
}

#[test]
fn neither_the_envelope_nor_the_salt_is_a_column_that_anybody_may_read() {
    let world = sealed_world();
    created(&world.db, &world.a, "some secret");
    for (sql, refusal) in refusals(&world) {
        assert!(refusal.starts_with("permission denied for"), "{sql}: {refusal}");
    }
    // As a grant too many would be seen.
    world.arrange("GRANT SELECT (credentials) ON integrations TO sesari_tenant");
    let seen = refusals(&world);
    assert!(seen[..5].iter().all(|(_, refusal)| refusal.starts_with("Ok(")), "{seen:?}");
    assert!(seen[5].1.starts_with("permission denied"), "{seen:?}");
}

#[test]
fn each_read_of_credentials_leaves_an_entry_with_its_actor_and_without_a_value() {
    let world = sealed_world();
    let id = created(&world.db, &world.a, "some secret");
    assert!(entries(&world.db, &world.a, "integration.read_credentials").is_empty());
    let mut admin = world.db.tenant(&world.a.admin, &world.a.workspace).unwrap();
    admin.integrations().credentials(&id).unwrap();
    admin.commit().unwrap();
    let mut background = as_service(&world.db, &world.a.workspace);
    background.integrations().credentials(&id).unwrap();
    background.commit().unwrap();
    let mut member = world.db.tenant(&world.a.member, &world.a.workspace).unwrap();
    assert_eq!(told(&member.integrations().credentials(&id)), "absent");
    member.commit().unwrap();
    let read = entries(&world.db, &world.a, "integration.read_credentials");
    let actors: Vec<_> = read.iter().map(|entry| entry.actor_id.clone()).collect();
    assert_eq!(actors, [service().to_string(), world.a.admin.to_string()]);
    for entry in read {
        assert_eq!((entry.row_id.as_str(), &entry.changes), (id.as_str(), &serde_json::json!({})));
    }
}

#[test]
fn credentials_are_not_read_where_no_entry_can_be_left() {
    let world = sealed_world();
    let id = created(&world.db, &world.a, "some secret");
    let mut reader = world.db.tenant_read_only(&world.a.owner, &world.a.workspace).unwrap();
    assert!(reader.integrations().find(&id).unwrap().is_some());
    let refused = reader.integrations().credentials(&id);
    assert!(matches!(refused, Err(Error::ReadOnly)), "{refused:?}");
}

#[test]
fn a_replacement_is_an_entry_without_its_value() {
    let world = sealed_world();
    let id = created(&world.db, &world.a, "some secret");
    let mut background = as_service(&world.db, &world.a.workspace);
    background.integrations().replace_credentials(&id, &secret("another")).unwrap();
    background.commit().unwrap();
    let replaced = entries(&world.db, &world.a, "integration.update");
    assert_eq!(replaced.len(), 1);
    assert_eq!(replaced[0].changes, serde_json::json!({"credentials": {}}));
    assert_eq!(replaced[0].actor_id, service().to_string());
}
