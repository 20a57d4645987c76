//! What leaves an entry, and what each says.

use diesel::connection::SimpleConnection;
use serde_json::json;
use sesari_db::credentials::Secret;
use sesari_db::repo::{
    BillingEvent, NewAuditEntry, NewIntegration, NewInvitation, NewKpi, Refusal,
};
use sesari_db::tenancy::ContextKey;
use sesari_db::value::{ActorKind, IntegrationProvider, Plan, Role, ScopeKind, SubscriptionStatus};
use sesari_db::{Error, Scope};

use crate::support::{World, hour, service};

/// What members, workspaces and data leave is in `tests/data/repositories`, what integrations leave in
/// `tests/data/integrations`; here is who, in which scope, for each.
#[test]
fn each_entry_names_actor_door_and_transaction() {
    let world = World::new();
    world.rename("By a user");
    let mut background = world.db.tenant(service(), &world.a.workspace).unwrap();
    let kpi = background.kpis().create(&NewKpi::new("Gone".parse().unwrap())).unwrap();
    let point = sesari_db::repo::NewDataPoint::new(kpi.id, 1.0, hour(1)).unwrap();
    background.data_points().record(&point).unwrap();
    background
        .data_points()
        .delete(&sesari_db::repo::PointKey {
            kpi_id: point.kpi_id.clone(),
            timestamp: point.timestamp,
            source: None,
        })
        .unwrap();
    background.commit().unwrap();
    world.arrange(&format!("UPDATE workspaces SET name = 'x' WHERE id = '{}'", world.a.workspace));
    let mut guard = world.service();
    guard.users().delete(&world.a.member, &[]).unwrap();
    guard.commit().unwrap();
    let owner = world.a.owner.as_str();
    let expected = [
        ("workspace.create", ActorKind::User, owner, ScopeKind::User),
        ("member.add", ActorKind::Service, "test-service", ScopeKind::Service),
        ("data_points.delete", ActorKind::Service, "test-service", ScopeKind::Tenant),
        ("member.remove", ActorKind::Service, "test-service", ScopeKind::Service),
    ];
    for (action, kind, actor, scope) in expected {
        let entry = world.entries(action).remove(0);
        assert_eq!(
            (entry.actor_kind, entry.actor_id.as_str(), entry.scope),
            (kind, actor, scope),
            "{action}"
        );
        assert!(entry.transaction_id > 0);
    }
    let renames = world.entries("workspace.update");
    assert_eq!((&renames[0].actor_kind, &renames[0].scope), (&ActorKind::System, &ScopeKind::None));
    assert_eq!(renames[1].scope, ScopeKind::Tenant);
    assert!(world.verify(None).is_intact());
}

#[test]
fn keys_of_the_context_leave_their_ids() {
    let world = World::new();
    let mut login = world.test.admin().unwrap();
    let key = ContextKey::new("spare", &[7; 32]).unwrap();
    sesari_db::maintenance::install_context_key(&mut login, &key).unwrap();
    sesari_db::maintenance::install_context_key(&mut login, &key).unwrap();
    assert!(sesari_db::maintenance::retire_context_key(&mut login, "spare").unwrap());
    for action in ["context_key.install", "context_key.retire"] {
        let entries = world.unowned(action);
        let ours: Vec<_> = entries.iter().filter(|entry| entry.row_id == "spare").collect();
        assert_eq!(ours.len(), 1, "{action}");
        assert_eq!((&ours[0].changes, &ours[0].workspace_id), (&json!({}), &None));
    }
    assert!(world.service().audit_log().verify(None).unwrap().is_intact());
}

#[test]
fn a_refusal_is_written_afterwards_through_the_services_door() {
    let world = World::new();
    let mut member = world.db.tenant(&world.a.member, &world.a.workspace).unwrap();
    let new = NewInvitation::new("new@example.com".parse().unwrap(), Role::Owner);
    let error = member.invitations().create(&new).unwrap_err();
    drop(member);
    let workspace = Some(&world.a.workspace);
    let refusal = Refusal::of(&error, &world.a.member, workspace, "invitation.create").unwrap();
    let mut guard = world.service();
    guard.refusals().record(&refusal.about(world.stranger.to_string())).unwrap();
    // One that never was has no log; it is named in that of no workspace.
    let nowhere = "nowhere".parse().unwrap();
    let refusal = Refusal::of(&Error::Denied, service(), Some(&nowhere), "kpi.create").unwrap();
    guard.refusals().record(&refusal).unwrap();
    guard.commit().unwrap();
    let entry = world.entries("access.refuse").remove(0);
    assert_eq!((entry.actor_id.as_str(), &entry.scope), ("test-service", &ScopeKind::Service));
    assert_eq!(entry.row_id, world.stranger.to_string());
    let said = json!({
        "actor_kind": {"new": "user"}, "actor_id": {"new": world.a.member}, "action": {"new": "invitation.create"},
        "reason": {"new": "not allowed"}, "workspace_id": {"new": world.a.workspace},
    });
    assert_eq!(entry.changes, said);
    let entry = world.unowned("access.refuse").remove(0);
    assert_eq!(entry.changes["workspace_id"], json!({"new": "nowhere"}));
    assert!(world.verify(None).is_intact());
}

#[test]
fn what_is_no_refusal_is_not_recorded_and_nobody_else_records_any() {
    let world = World::new();
    assert_eq!(Refusal::of(&Error::Deadlock, service(), None, "kpi.create"), None);
    let long = Refusal::of(&Error::Denied, service(), None, "x".repeat(2000)).unwrap();
    assert!(world.service().refusals().record(&long).is_err());
    let forged = "SELECT sesari.record_refusal('', 'user', 'u', 'x', NULL, 'x')";
    let mut tenant = world.owner();
    let refused = diesel::connection::SimpleConnection::batch_execute(tenant.connection(), forged);
    assert!(Error::from(refused.unwrap_err()).is_denied());
}

#[test]
fn a_service_of_ones_own_appends_what_no_trigger_sees() {
    let world = World::new();
    let entry =
        NewAuditEntry::new("report.export").about("reports", "r1").with("format", "pdf\\u0000");
    let mut member = world.db.tenant(&world.a.member, &world.a.workspace).unwrap();
    member.audit_log().append(&entry).unwrap();
    member.commit().unwrap();
    let mut guard = world.service();
    guard.audit_log().append(&NewAuditEntry::new("report.export")).unwrap();
    guard.commit().unwrap();

    let seen = world.entries("app.report.export").remove(0);
    let row = (seen.table_name.as_str(), seen.row_id.as_str(), seen.changes);
    assert_eq!(row, ("reports", "r1", json!({"format": "pdf\\u0000"})));
    assert_eq!(seen.actor_id, world.a.member.to_string());
    assert_eq!((seen.actor_kind, seen.scope), (ActorKind::User, ScopeKind::Tenant));
    assert!(world.verify(None).is_intact());
    let seen = world.unowned("app.report.export").remove(0);
    assert_eq!((seen.actor_kind, seen.scope), (ActorKind::Service, ScopeKind::Service));

    let mut tenant = world.db.tenant(&world.stranger, &world.a.workspace).unwrap();
    assert!(tenant.audit_log().append(&entry).unwrap_err().is_denied());
    // Whoever makes a workspace of this id finds nothing of the time before.
    let nobodys = sesari_db::id::WorkspaceId::generate();
    let mut job = world.db.tenant(service(), &nobodys).unwrap();
    assert!(job.audit_log().append(&entry).unwrap_err().is_denied());
    let scope = Scope::tenant(&world.a.member, &world.a.workspace).read_only();
    let refused = world.db.run("export", scope, |guard| guard.audit_log().append(&entry));
    assert!(matches!(refused, Err(Error::ReadOnly)));
}

#[test]
fn an_entry_of_ones_own_is_checked_here_and_by_the_database() {
    let world = World::shared();
    let mut member = world.db.tenant(&world.a.member, &world.a.workspace).unwrap();
    let long = "x".repeat(61);
    for action in ["", ".", "a.", ".a", "a..b", "A", "1a", "a b", "é", "a.\0", "a\n", &long] {
        let refused = member.audit_log().append(&NewAuditEntry::new(action)).unwrap_err();
        assert!(matches!(refused, Error::Invalid(_)), "{action:?}: {refused:?}");
    }
    let entry = NewAuditEntry::new("a");
    for entry in [
        entry.clone().about("x".repeat(5000), "x".repeat(5000)),
        entry.clone().about("a\0b", "x"),
        entry.clone().with("a", "b\0c"),
        entry.clone().with("a", "é".repeat(5000)),
        // Short as it is sent, and long as it is stored.
        entry.with("numbers", vec![1e300; 100]),
    ] {
        let text = format!("{entry:?}");
        let refused = member.transaction(|g| g.audit_log().append(&entry)).unwrap_err();
        assert!(matches!(refused, Error::Invalid(_)), "{}: {refused:?}", &text[..99]);
    }
    for arguments in [
        "'workspace.delete\n', '', '', '{}'",
        "'A', '', '', '{}'",
        "'a', '', '', '[]'",
        "'a', '', '', NULL",
        "NULL, '', '', '{}'",
        "'a', NULL, '', '{}'",
        "'a', '', NULL, '{}'",
        "'a', repeat('x', 20001), '', '{}'",
        "'a', '', '', '{\"n\": [1, {\"m\": 1e400}]}'",
        "'a', '', '', '{\"n\": -1e309}'",
        "'a', '', '', ('{\"n\":' || repeat('[', 33) || repeat(']', 33) || '}')::jsonb",
    ] {
        let sql = format!("SELECT sesari.append_audit({arguments})");
        let refused = member.transaction(|g| Ok(g.connection().batch_execute(&sql)?)).unwrap_err();
        assert!(matches!(refused, Error::Invalid(_)), "{sql}: {refused:?}");
    }
    // Whatever it says, it says as a member's own.
    member
        .connection()
        .batch_execute("SELECT sesari.append_audit('workspace.delete', '', '', '{}')")
        .unwrap();
    member.commit().unwrap();
    assert!(world.entries("workspace.delete").is_empty());
    assert_eq!(world.entries("app.workspace.delete").len(), 1);
}

/// Tables of one's own hold numbers that `serde_json` refuses.
#[test]
fn an_entry_that_cannot_be_parsed_is_listed_as_its_text() {
    let world = World::new();
    let deep = format!("{{\"x\": {}{}}}", "[".repeat(200), "]".repeat(200));
    for json in ["{\"x\": 1e400}", &deep] {
        world.arrange(&format!(
            "SELECT sesari.write_audit('{}', 'own.x', 't', 'r', '{json}')",
            world.a.workspace
        ));
    }
    let entries = world.entries("own.x");
    assert_eq!(entries.len(), 2);
    for entry in entries {
        let text = entry.changes.as_str().unwrap();
        assert!(text.starts_with("{\"x\": 10000") || text.contains("[[[[]]]]"), "{text}");
    }
}

#[test]
fn a_refusal_of_nobody_is_refused() {
    let world = World::shared();
    for nothing in ["NULL, 'u', 'a'", "'user', NULL, 'a'", "'user', 'u', NULL"] {
        let sql = format!("SELECT sesari.record_refusal('', {nothing}, NULL, NULL)");
        let refused = world.service().connection().batch_execute(&sql);
        assert!(refused.unwrap_err().to_string().contains("expected a user or service"), "{sql}");
    }
}

#[test]
fn the_settings_of_a_session_do_not_change_how_a_value_is_written() {
    let world = World::new();
    let mut admin = world.test.admin().unwrap();
    admin
        .batch_execute(&format!(
            "CREATE TABLE own (workspace_id text, id text, b bytea, f double precision, i interval, m money); \
             CREATE TRIGGER audit AFTER INSERT ON own FOR EACH ROW \
             EXECUTE FUNCTION sesari.audit('own', 'own.add', '', '', 'workspace_id,id', ''); \
             SET bytea_output = escape; SET intervalstyle = iso_8601; SET extra_float_digits = -10; \
             INSERT INTO own VALUES ('{}', 'r', '\\x00ff', 0.1 + 0.2::double precision, '1 day 2 hours', 1)",
            world.a.workspace
        ))
        .unwrap();
    let entry = world.entries("own.add").remove(0);
    assert_eq!(
        entry.changes,
        serde_json::json!({
            "b": {"new": "\\x00ff"}, "f": {"new": 0.1 + 0.2},
            "i": {"new": "1 day 02:00:00"}, "m": {"new": "$1.00"}
        })
    );
}

#[test]
fn the_log_of_a_deleted_workspace_is_read_by_services() {
    let world = World::with_history(2);
    let workspace = &world.a.workspace;
    assert!(world.deleted(workspace).unwrap_err().is_not_found(), "it is there");
    let noted = world.checkpoint();
    let mut tenant = world.owner();
    tenant.workspace().delete().unwrap();
    tenant.commit().unwrap();
    assert!(world.owner().audit_log().verify(None).unwrap_err().is_not_found());
    let mut guard = world.service();
    let mut log = guard.deleted_workspace_audit_log(workspace);
    assert!(log.verify(Some(&noted)).unwrap().is_intact());
    let entries = log.export(0, 1000).unwrap();
    assert_eq!(entries.last().unwrap().action, "workspace.delete");
    assert_eq!(log.checkpoint().unwrap().sequence(), entries.last().unwrap().sequence);
    world.tamper("DELETE FROM audit_log WHERE workspace_id = '{ws}' AND sequence = 2");
    assert!(!world.deleted(workspace).unwrap().is_intact());
    for not_deleted in [&world.b.workspace, &"nowhere".parse().unwrap()] {
        assert!(world.deleted(not_deleted).unwrap_err().is_not_found());
    }
}

#[test]
fn it_is_verified_by_whoever_may_read_it() {
    let world = World::new();
    let mut member = world.db.tenant(&world.a.member, &world.a.workspace).unwrap();
    assert!(member.audit_log().verify(None).unwrap_err().is_not_found());
    assert!(member.audit_log().checkpoint().unwrap_err().is_not_found());
    let mut stranger = world.db.tenant(&world.stranger, &world.a.workspace).unwrap();
    assert!(stranger.audit_log().verify(None).unwrap_err().is_not_found());
    let mut admin = world.db.tenant(&world.a.admin, &world.a.workspace).unwrap();
    assert!(admin.audit_log().verify(None).unwrap().is_intact());
    let other = world.service().audit_log().checkpoint().unwrap();
    assert!(matches!(admin.audit_log().verify(Some(&other)), Err(Error::Invalid(_))));
}

#[test]
fn no_secret_is_in_it() {
    const CANARY: &str = "canary-4711-sk_live";
    let world = World::new();
    let mut tenant = world.owner();
    let new = NewIntegration::new(IntegrationProvider::Stripe);
    let made = tenant.integrations().create(&new, &Secret::from(CANARY.to_owned())).unwrap();
    tenant.integrations().replace_credentials(&made.id, &Secret::from(CANARY.to_owned())).unwrap();
    tenant.integrations().credentials(&made.id).unwrap();
    tenant.commit().unwrap();
    let mut guard = world.service();
    let event = BillingEvent {
        user_id: world.a.owner.clone(),
        status: SubscriptionStatus::Active,
        plan_type: Plan::Pro,
        current_period_end: None,
        cancel_at_period_end: false,
        occurred_at: sesari_db::value::Timestamp::new(hour(1)).unwrap(),
        sequence: None,
    };
    let _ = guard.subscriptions().apply(&event).unwrap();
    guard.commit().unwrap();
    assert_eq!(world.unowned("subscription.create").len(), 1);
    let text = world.ask("SELECT string_agg(e::text, E'\\n') FROM audit_log AS e");
    assert!(text.contains("integration.read_credentials"));
    for secret in [CANARY, "v1.k1.", "pad\""] {
        assert!(!text.contains(secret), "{secret}");
    }
}
