//! `integrations`, by SQL: the table, its rules and its audit entries.

use sesari_db::id::IntegrationId;
use sesari_db::{Error, TenantConnection};

use super::tools::{assert_invalid, count, raw};
use crate::support::{World, service};

const SEALED: &str = "v1.k1.0123456789abcdef.0123456789abcdef012345";

fn insert(tenant: &mut TenantConnection) -> Result<IntegrationId, Error> {
    let id = IntegrationId::generate();
    let sql = format!(
        "INSERT INTO integrations (id, provider, credentials) VALUES ('{id}', 'stripe', '{SEALED}')"
    );
    raw(tenant, &sql).map(|_| id)
}

fn is_denied(result: &Result<usize, Error>) -> bool {
    matches!(result, Err(Error::Denied))
}

#[test]
fn owners_and_admins_manage_integrations_and_members_see_them() {
    let world = World::shared();
    let mut admin = world.as_admin(&world.a);
    let id = insert(&mut admin).unwrap();
    let update = format!("UPDATE integrations SET is_active = false WHERE id = '{id}'");
    let delete = format!("DELETE FROM integrations WHERE id = '{id}'");
    assert_eq!(raw(&mut admin, &update).unwrap(), 1);
    admin.commit().unwrap();
    let mut member = world.as_member(&world.a);
    assert!(matches!(insert(&mut member), Err(Error::Denied)));
    assert_eq!(count(member.connection(), "integrations WHERE sync_status = 'pending'"), 1);
    assert_eq!(raw(&mut member, &update).unwrap(), 0);
    assert_eq!(raw(&mut member, &delete).unwrap(), 0);
    let mut background = world.db.tenant(service(), &world.a.workspace).unwrap();
    let synced = format!("UPDATE integrations SET sync_status = 'success' WHERE id = '{id}'");
    assert_eq!(raw(&mut background, &synced).unwrap(), 1);
    assert_eq!(raw(&mut background, &delete).unwrap(), 0);
    assert!(matches!(insert(&mut background), Err(Error::Denied)));
    background.commit().unwrap();
    let mut other = world.as_owner(&world.b);
    assert_eq!(count(other.connection(), "integrations"), 0);
    assert_eq!(raw(&mut other, &update).unwrap(), 0);
    assert_eq!(raw(&mut other, &delete).unwrap(), 0);
    assert_eq!(raw(&mut world.as_owner(&world.a), &delete).unwrap(), 1);
}

#[test]
fn nobody_reads_the_credentials_as_a_column() {
    let world = World::shared();
    let mut owner = world.as_owner(&world.a);
    insert(&mut owner).unwrap();
    for sql in [
        "SELECT credentials FROM integrations",
        "SELECT * FROM integrations",
        "SELECT FROM integrations WHERE credentials LIKE 'v1%'",
        "SELECT i FROM integrations AS i",
        "SELECT to_jsonb(i) FROM integrations AS i",
        "UPDATE integrations SET is_active = false RETURNING credentials",
        "UPDATE integrations SET error_message = credentials",
        "DELETE FROM integrations WHERE credentials > ''",
    ] {
        assert!(is_denied(&raw(&mut owner, sql)), "{sql}");
    }
}

#[test]
fn credentials_are_a_sealed_envelope_or_refused() {
    let world = World::shared();
    let mut owner = world.as_owner(&world.a);
    let longest = format!("v1.k1.0123456789abcdef.{}", "a".repeat(100_000 - 23));
    let too_long = format!("{longest}a");
    for (credentials, taken) in [
        (SEALED, true),
        (longest.as_str(), true),
        (too_long.as_str(), false),
        ("", false),
        ("sk_live_plain", false),
        (r#"{"token": "x"}"#, false),
        ("v2.k1.0123456789abcdef.0123456789abcdef012345", false),
        ("v1.K1.0123456789abcdef.0123456789abcdef012345", false),
        ("v1.k1.0123456789abcde.0123456789abcdef012345", false),
        ("v1.k1.0123456789abcdef.0123456789abcdef01234", false),
        ("v1.k1.0123456789abcdef.0123456789abcdef01234=", false),
        ("v1.k1.0123456789abcdef.0123456789abcdef012345\n", false),
        (" v1.k1.0123456789abcdef.0123456789abcdef012345", false),
    ] {
        let sql = format!(
            "INSERT INTO integrations (provider, credentials) VALUES ('sheets', '{credentials}')"
        );
        let result = raw(&mut owner, &sql);
        if taken {
            assert_eq!(result.unwrap(), 1);
        } else {
            assert_invalid(result, "credentials");
        }
    }
    for (length, taken) in [(0, true), (1000, true), (1001, false)] {
        let message = "é".repeat(length);
        let result =
            raw(&mut owner, &format!("UPDATE integrations SET error_message = '{message}'"));
        assert_eq!(result.is_ok(), taken, "{length}");
    }
}

#[test]
fn changes_are_audited_and_the_credentials_never() {
    let world = World::shared();
    let mut owner = world.as_owner(&world.a);
    let id = insert(&mut owner).unwrap();
    let resealed = "v1.k2.ABCDEFGHIJKLMNOP.ABCDEFGHIJKLMNOPQRSTUV";
    for set in [
        format!("credentials = '{resealed}', is_active = false"),
        "last_sync_at = now(), sync_status = 'error', error_message = 'x'".to_owned(),
    ] {
        raw(&mut owner, &format!("UPDATE integrations SET {set} WHERE id = '{id}'")).unwrap();
    }
    raw(&mut owner, &format!("DELETE FROM integrations WHERE id = '{id}'")).unwrap();
    raw(&mut owner, "SET CONSTRAINTS ALL IMMEDIATE").unwrap();
    let filter = sesari_db::repo::AuditFilter {
        row_id: Some(id.to_string()),
        ..sesari_db::repo::AuditFilter::default()
    };
    let entries = owner.audit_log().list(&filter, &super::tools::page(9)).unwrap().items;
    let actions: Vec<_> = entries.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["integration.delete", "integration.update", "integration.create"]);
    for entry in &entries {
        assert_eq!(
            (entry.actor_kind.as_str(), entry.table_name.as_str()),
            ("user", "integrations")
        );
        assert_eq!(entry.actor_id, world.a.owner.to_string());
        assert_eq!(entry.changes["credentials"], serde_json::json!({}), "{}", entry.action);
        let text = entry.changes.to_string();
        assert!(!text.contains("v1.") && !text.contains("0123456789abcdef"), "{text}");
        assert!(!text.contains("ABCDEFGHIJKLMNOP"), "{text}");
    }
    let update = serde_json::json!({"credentials": {}, "is_active": {"old": true, "new": false}});
    assert_eq!(entries[1].changes, update);
}
