//! That an envelope opens with its key, in its place, and nowhere else, whatever is done to the
//! rows behind the library's back.

use diesel::connection::SimpleConnection;
use sesari_db::credentials::OpenError;
use sesari_db::id::IntegrationId;
use sesari_db::{Error, Result};

use super::tools::{created, opened, sealed_world, with_keys};
use crate::support::World;

/// Triggers keep even the superuser from changing a key, so they are off for this.
fn by_force(world: &World, sql: &str) {
    world.arrange(&format!("SET session_replication_role = replica; {sql}"));
}

fn assert_refused<T>(result: Result<T>) {
    match result.err() {
        Some(Error::Open(OpenError::Refused)) => {}
        other => panic!("{other:?}"),
    }
}

fn copy(world: &World, from: &IntegrationId, to: &IntegrationId) {
    let envelope = world.envelope(from);
    world.arrange(&format!("UPDATE integrations SET credentials = '{envelope}' WHERE id = '{to}'"));
}

#[test]
fn an_envelope_moved_to_another_row_does_not_open() {
    let world = sealed_world();
    let (one, other) = (created(&world.db, &world.a, "one"), created(&world.db, &world.a, "two"));
    let back = world.envelope(&other);
    copy(&world, &one, &other);
    assert_refused(opened(&world.db, &world.a.workspace, &other));
    assert_eq!(opened(&world.db, &world.a.workspace, &one).unwrap(), "one");
    world.arrange(&format!("UPDATE integrations SET credentials = '{back}' WHERE id = '{other}'"));
    assert_eq!(opened(&world.db, &world.a.workspace, &other).unwrap(), "two");
}

#[test]
fn an_envelope_moved_to_another_workspace_does_not_open() {
    let world = sealed_world();
    let (ours, theirs) = (created(&world.db, &world.a, "ours"), created(&world.db, &world.b, "x"));
    copy(&world, &ours, &theirs);
    assert_refused(opened(&world.db, &world.b.workspace, &theirs));
    // Nor when its id and its salt go along.
    by_force(
        &world,
        &format!(
            "DELETE FROM integrations WHERE id = '{theirs}'; \
             UPDATE integrations SET workspace_id = '{b}' WHERE id = '{ours}'; \
             UPDATE sesari.sealing_salts SET salt = (SELECT salt FROM sesari.sealing_salts \
             WHERE workspace_id = '{a}') WHERE workspace_id = '{b}'",
            a = world.a.workspace,
            b = world.b.workspace
        ),
    );
    assert_refused(opened(&world.db, &world.b.workspace, &ours));
    by_force(&world, &format!("UPDATE integrations SET workspace_id = '{}'", world.a.workspace));
    assert_eq!(opened(&world.db, &world.a.workspace, &ours).unwrap(), "ours");
}

#[test]
fn an_envelope_does_not_open_for_another_provider_or_salt() {
    let world = sealed_world();
    let id = created(&world.db, &world.a, "some secret");
    for (there, back) in [
        (
            "UPDATE integrations SET provider = 'sheets'",
            "UPDATE integrations SET provider = 'stripe'",
        ),
        (
            "CREATE TABLE kept AS TABLE sesari.sealing_salts; UPDATE sesari.sealing_salts \
             SET salt = sha256('another')",
            "UPDATE sesari.sealing_salts SET salt = (SELECT salt FROM kept LIMIT 1)",
        ),
        ("DELETE FROM sesari.sealing_salts", "INSERT INTO sesari.sealing_salts TABLE kept"),
    ] {
        by_force(&world, there);
        assert_refused(opened(&world.db, &world.a.workspace, &id));
        by_force(&world, back);
        assert_eq!(opened(&world.db, &world.a.workspace, &id).unwrap(), "some secret", "{back}");
    }
}

#[test]
fn every_wrong_key_is_a_typed_error() {
    let world = sealed_world();
    let id = created(&world.db, &world.a, "some secret");
    let at = &world.a.workspace;
    // Another key of the same name; the same key under another name; the right one among others.
    assert_refused(opened(&with_keys(&world.test, &[("k1", 2)]), at, &id));
    match opened(&with_keys(&world.test, &[("k2", 1)]), at, &id) {
        Err(Error::Open(OpenError::UnknownKey { key_id })) => assert_eq!(key_id.as_str(), "k1"),
        other => panic!("{other:?}"),
    }
    let both = with_keys(&world.test, &[("k2", 2), ("k1", 1)]);
    assert_eq!(opened(&both, at, &id).unwrap(), "some secret");
}

#[test]
fn an_envelope_that_no_parser_takes_is_refused_when_the_check_is_gone() {
    let world = sealed_world();
    let id = created(&world.db, &world.a, "some secret");
    let set = |text: &str| {
        let sql = format!("UPDATE integrations SET credentials = '{text}' WHERE id = '{id}'");
        world.test.admin().unwrap().batch_execute(&sql)
    };
    let texts = [
        r#"{"api_key": "sk_live_plain"}"#,
        "sk_live_plain",
        "",
        "v2.k1.0123456789abcdef.0123456789abcdef012345",
        "v1.k1.0123456789abcdef.0123456789abcdef",
    ];
    for text in texts {
        let refused = set(text).unwrap_err();
        assert!(refused.to_string().contains("integrations_credentials_check"), "{refused}");
    }
    world.arrange("ALTER TABLE integrations DROP CONSTRAINT integrations_credentials_check");
    for text in texts {
        set(text).unwrap();
        assert_refused(opened(&world.db, &world.a.workspace, &id));
    }
}
