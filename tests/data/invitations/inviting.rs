//! Sending, resending, revoking and listing.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use sesari_db::Error;
use sesari_db::invitation::InvitationError as Reason;
use sesari_db::page::PageRequest;
use sesari_db::repo::{
    AuditFilter, InvitationFilter, InvitationState as State, NewInvitation, Validity,
};
use sesari_db::value::Role;

use super::tools::{STRANGER, reason, to};
use crate::support::{World, service};

#[test]
fn owners_and_admins_invite_and_only_an_owner_invites_an_owner() {
    let world = World::shared();
    let a = &world.a;
    for (user, role, allowed) in [
        (&a.owner, Role::Owner, true),
        (&a.owner, Role::Member, true),
        (&a.admin, Role::Admin, true),
        (&a.admin, Role::Owner, false),
        (&a.member, Role::Member, false),
        (&world.stranger, Role::Member, false),
        (&world.b.owner, Role::Member, false),
    ] {
        let sent = world.guard(user, a).invitations().create(&to(STRANGER, role.clone()));
        match sent {
            Ok(sent) if allowed => {
                assert_eq!((&sent.invitation.role, &sent.invitation.invited_by), (&role, user));
                assert_eq!(sent.token.workspace_id(), &a.workspace);
                assert_eq!(sent.token.invitation_id(), &sent.invitation.id);
            }
            Err(Error::Denied) if !allowed => {}
            other => panic!("{user} {role}: {other:?}"),
        }
    }
    let mut background = world.db.tenant(service(), &a.workspace).unwrap();
    let sent = background.invitations().create(&to(STRANGER, Role::Member));
    assert!(sent.unwrap_err().is_denied());
}

#[test]
fn an_invitation_is_valid_for_a_week_or_what_was_asked_for_within_bounds() {
    let world = World::new();
    let mut tenant = world.guard(&world.a.owner, &world.a);
    let days = |sent: &sesari_db::repo::Invitation| (sent.expires_at - sent.created_at).num_days();
    let sent = tenant.invitations().create(&to(STRANGER, Role::Member)).unwrap();
    assert_eq!(days(&sent.invitation), 7);
    let validity = Validity::new(Duration::from_hours(30 * 24)).unwrap();
    let longest = NewInvitation { validity, ..to("other@example.com", Role::Member) };
    assert_eq!(days(&tenant.invitations().create(&longest).unwrap().invitation), 30);
    for bad in [Duration::ZERO, Duration::from_secs(59), Duration::from_hours(30 * 24 + 1)] {
        assert_eq!(Validity::new(bad).unwrap_err().field(), "expires_at");
    }
    for bad in ["'59 seconds'", "'31 days'", "'-1 day'", "NULL"] {
        let sql = format!(
            "SELECT sesari.create_invitation('i1', 'x@example.com', 'member', {bad}, sha256(''))"
        );
        let refused = tenant.transaction(|tenant| Ok(tenant.connection().batch_execute(&sql)?));
        assert!(
            matches!(&refused, Err(Error::Invalid(invalid)) if invalid.field() == "expires_at"),
            "{bad}: {refused:?}"
        );
    }
}

#[test]
fn an_address_has_one_open_invitation_in_a_workspace() {
    let world = World::new();
    let first = world.invite(&world.a.owner, STRANGER, Role::Member);
    let mut tenant = world.guard(&world.a.admin, &world.a);
    let again = tenant.transaction(|t| t.invitations().create(&to(STRANGER, Role::Admin)));
    assert_eq!(reason(again), Reason::AlreadyOpen);
    tenant.commit().unwrap();
    // Another workspace knows nothing of it.
    let mut other = world.guard(&world.b.owner, &world.b);
    other.invitations().create(&to(STRANGER, Role::Member)).unwrap();
    other.commit().unwrap();
    // One that has expired is in nobody's way.
    let id = &first.invitation.id;
    world.arrange(&format!("UPDATE invitations SET expires_at = now() WHERE id = '{id}'"));
    world.invite(&world.a.owner, STRANGER, Role::Member);
    let mut tenant = world.guard(&world.a.owner, &world.a);
    assert!(tenant.invitations().find(id).unwrap().unwrap().revoked_at.is_some());
}

#[test]
fn a_workspace_has_at_most_a_thousand_open_invitations() {
    let world = World::new();
    world.arrange(&format!(
        "INSERT INTO invitations (id, workspace_id, email, role, invited_by, expires_at)
         SELECT 'i' || i, '{}', i || '@example.com', 'member', '{}', now() + interval '1 day'
           FROM generate_series(1, 999) AS i",
        world.a.workspace, world.a.owner
    ));
    world.invite(&world.a.owner, "the-last@example.com", Role::Member);
    let mut tenant = world.guard(&world.a.owner, &world.a);
    let refused = tenant.transaction(|t| t.invitations().create(&to(STRANGER, Role::Member)));
    assert_eq!(reason(refused), Reason::TooMany);
    tenant.invitations().revoke(&"i7".parse().unwrap()).unwrap();
    tenant.invitations().create(&to(STRANGER, Role::Member)).unwrap();
    tenant.commit().unwrap();
    // Nor by bringing an expired one back.
    world.arrange("UPDATE invitations SET expires_at = now() WHERE id = 'i8'");
    world.invite(&world.a.owner, "one-more@example.com", Role::Member);
    let mut tenant = world.guard(&world.a.owner, &world.a);
    let resent = tenant.invitations().resend(&"i8".parse().unwrap(), Validity::default());
    assert_eq!(reason(resent), Reason::TooMany);
}

#[test]
fn a_resent_invitation_has_a_new_token_and_the_old_one_is_dead() {
    let world = World::new();
    let first = world.invite(&world.a.owner, STRANGER, Role::Member);
    let mut tenant = world.guard(&world.a.admin, &world.a);
    let second = tenant.invitations().resend(&first.invitation.id, Validity::default()).unwrap();
    tenant.commit().unwrap();
    assert_eq!(second.invitation.id, first.invitation.id);
    assert_eq!(second.invitation.invited_by, world.a.admin);
    assert!(second.invitation.resent_at.is_some());
    assert_eq!(reason(world.accept(&world.stranger, &first.token)), Reason::Unknown);
    world.accept(&world.stranger, &second.token).unwrap();
    assert_eq!(world.role(&world.stranger), Some(Role::Member));
}

#[test]
fn what_an_admin_may_not_send_an_admin_neither_resends_nor_revokes() {
    let world = World::shared();
    let sent = world.invite(&world.a.owner, STRANGER, Role::Owner);
    let id = &sent.invitation.id;
    for user in [&world.a.admin, &world.a.member, &world.stranger, &world.b.owner] {
        let mut tenant = world.guard(user, &world.a);
        assert!(tenant.invitations().resend(id, Validity::default()).unwrap_err().is_not_found());
        assert!(tenant.invitations().revoke(id).unwrap_err().is_not_found());
    }
    let mut elsewhere = world.guard(&world.b.owner, &world.b);
    assert!(elsewhere.invitations().revoke(id).unwrap_err().is_not_found());
    drop(elsewhere);
    let mut tenant = world.guard(&world.a.owner, &world.a);
    assert!(tenant.invitations().revoke(id).unwrap().revoked_at.is_some());
    let again = tenant.transaction(|t| t.invitations().revoke(id));
    assert_eq!(reason(again), Reason::Revoked);
    let resent = tenant.transaction(|t| t.invitations().resend(id, Validity::default()));
    assert_eq!(reason(resent), Reason::Revoked);
}

#[test]
fn list_and_count_agree_on_every_state_and_show_members_nothing() {
    let world = World::new();
    for (i, column) in
        [None, Some("revoked_at"), Some("declined_at"), Some("accepted_at"), Some("expires_at")]
            .into_iter()
            .enumerate()
    {
        let sent = world.invite(&world.a.owner, &format!("{i}@example.com"), Role::Member);
        if let Some(column) = column {
            let id = sent.invitation.id;
            world.arrange(&format!("UPDATE invitations SET {column} = now() WHERE id = '{id}'"));
        }
    }
    let mut admin = world.guard(&world.a.admin, &world.a);
    for state in [State::Open, State::Revoked, State::Declined, State::Accepted, State::Expired] {
        let filter = InvitationFilter { state: Some(state) };
        let listed = admin.invitations().list(&filter, &PageRequest::default()).unwrap().items;
        assert_eq!(listed.len(), 1, "{state:?}");
        assert_eq!(admin.invitations().count(&filter).unwrap(), 1, "{state:?}");
    }
    let all = InvitationFilter::default();
    let first = admin.invitations().list(&all, &PageRequest::first(2).unwrap()).unwrap();
    let rest = PageRequest::first(9).unwrap().after(first.next.unwrap());
    assert_eq!(admin.invitations().list(&all, &rest).unwrap().items.len(), 3);
    for user in [&world.a.member, &world.stranger, &world.b.owner] {
        let mut tenant = world.guard(user, &world.a);
        assert_eq!(tenant.invitations().count(&all).unwrap(), 0);
        assert_eq!(tenant.invitations().find(&first.items[0].id).unwrap(), None);
    }
    assert_eq!(world.guard(&world.b.owner, &world.b).invitations().count(&all).unwrap(), 0);
}

#[test]
fn the_token_is_stored_as_its_hash_alone_and_nobody_reads_it() {
    let world = World::shared();
    let sent = world.invite(&world.a.owner, STRANGER, Role::Member);
    let text = sent.token.expose();
    let secret = text.rsplit('.').next().unwrap();
    let (base64, padding) = (secret.replace('-', "+").replace('_', "/"), "=");
    let stored = format!(
        "sesari.invitation_tokens WHERE token_hash = sha256(decode('{base64}{padding}', 'base64'))"
    );
    assert_eq!(world.count(&stored), 1);
    let plain = format!(
        "(SELECT t::text FROM sesari.invitation_tokens AS t UNION ALL SELECT i::text FROM invitations AS i
          UNION ALL SELECT e::text FROM audit_log AS e) AS all_text (line)
          WHERE line ~ encode(decode('{base64}{padding}', 'base64'), 'hex')"
    );
    assert_eq!(world.count(&plain), 0);
    assert!(!format!("{sent:?}").contains(secret));
    for sql in [
        "SELECT * FROM sesari.invitation_tokens",
        "SELECT sesari.invitation_to_manage('i1')",
        "SELECT sesari.invitation_to_answer('w1', 'i1', '', false)",
        "INSERT INTO public.invitations (email, role, invited_by, expires_at) VALUES ('x@y', 'owner', 'u1', now())",
        "UPDATE public.invitations SET role = 'owner'",
        "DELETE FROM public.invitations",
    ] {
        let mut tenant = world.guard(&world.a.owner, &world.a);
        let error = Error::from(tenant.connection().batch_execute(sql).unwrap_err());
        assert!(error.is_denied(), "{sql}: {error:?}");
    }
}

#[test]
fn who_did_what_to_an_invitation_is_in_the_audit_log_without_the_address() {
    let world = World::new();
    let sent = world.invite(&world.a.admin, STRANGER, Role::Member);
    let mut tenant = world.guard(&world.a.owner, &world.a);
    let sent = tenant.invitations().resend(&sent.invitation.id, Validity::default()).unwrap();
    tenant.commit().unwrap();
    world.accept(&world.stranger, &sent.token).unwrap();
    let other = world.invite(&world.a.admin, "other@example.com", Role::Member);
    let mut tenant = world.guard(&world.a.owner, &world.a);
    tenant.invitations().revoke(&other.invitation.id).unwrap();
    tenant.commit().unwrap();
    let mut tenant = world.guard(&world.a.owner, &world.a);
    let entries =
        tenant.audit_log().list(&AuditFilter::default(), &PageRequest::default()).unwrap().items;
    let told: Vec<_> = entries
        .iter()
        .filter(|e| e.table_name == "invitations" || e.actor_id == world.stranger.as_str())
        .map(|e| (e.action.as_str(), e.actor_id.as_str()))
        .rev()
        .collect();
    let (owner, admin, stranger) =
        (world.a.owner.as_str(), world.a.admin.as_str(), world.stranger.as_str());
    assert_eq!(
        told,
        [
            ("invitation.create", admin),
            ("invitation.resend", owner),
            ("invitation.accept", stranger),
            ("member.add", stranger),
            ("invitation.create", admin),
            ("invitation.revoke", owner),
        ]
    );
    assert!(entries.iter().all(|e| !e.changes.to_string().contains("example.com")));
    assert!(tenant.audit_log().verify(None).unwrap().is_intact());
}
