//! Looking, accepting and declining, and what a wrong token tells.

use sesari_db::id::UserId;
use sesari_db::invitation::{InvitationError as Reason, InvitationToken};
use sesari_db::repo::Validity;
use sesari_db::value::Role;

use super::tools::{STRANGER, reason, to};
use crate::support::{World, add_member};

/// What all three answers say, which must be the same.
#[track_caller]
fn refusal(world: &World, user: &UserId, token: &InvitationToken) -> Reason {
    let looked = reason(
        world
            .db
            .begin(&sesari_db::Scope::user(user).read_only())
            .unwrap()
            .invitations()
            .look(token),
    );
    let declined = reason(world.db.user(user).unwrap().invitations().decline(token));
    let accepted = reason(world.accept(user, token));
    assert_eq!((looked, declined), (accepted, accepted));
    accepted
}

#[test]
fn the_invited_looks_accepts_and_is_in() {
    let world = World::new();
    let sent = world.invite(&world.a.admin, "Stranger@Example.com", Role::Admin);
    let mut scoped = world.db.begin(&sesari_db::Scope::user(&world.stranger).read_only()).unwrap();
    let shown = scoped.invitations().look(&sent.token).unwrap();
    assert_eq!(shown.workspace_name.as_str(), "Workspace acme");
    assert_eq!(shown.inviter_name.unwrap().as_str(), "acme-admin");
    assert_eq!((shown.role, shown.expires_at), (Role::Admin, sent.invitation.expires_at));
    drop(scoped);
    let token: InvitationToken = sent.token.expose().parse().unwrap();
    let mut scoped = world.db.user(&world.stranger).unwrap();
    let membership = scoped.invitations().accept(&token).unwrap();
    scoped.commit().unwrap();
    assert_eq!((&membership.user_id, &membership.role), (&world.stranger, &Role::Admin));
    let mut tenant = world.guard(&world.stranger, &world.a);
    let seen = tenant.invitations().find(&sent.invitation.id).unwrap().unwrap();
    assert!(seen.accepted_at.is_some());
    assert_eq!(seen.accepted_by, Some(world.stranger.clone()));
}

#[test]
fn whoever_has_no_token_learns_nothing() {
    let world = World::shared();
    let sent = world.invite(&world.a.owner, STRANGER, Role::Member);
    let secret = "A".repeat(43);
    let (workspace, id) = (&world.a.workspace, &sent.invitation.id);
    for place in [
        format!("{workspace}.{id}"),
        format!("{workspace}.nothing"),
        format!("{}.{id}", world.b.workspace),
        format!("nowhere.{id}"),
    ] {
        let token = format!("{place}.{secret}").parse().unwrap();
        for user in [&world.stranger, &world.a.owner, &world.a.member, &world.b.owner] {
            assert_eq!(refusal(&world, user, &token), Reason::Unknown, "{place}");
        }
    }
    // The right secret elsewhere.
    let text = sent.token.expose();
    let moved = text.replace(workspace.as_str(), world.b.workspace.as_str()).parse().unwrap();
    assert_eq!(refusal(&world, &world.stranger, &moved), Reason::Unknown);
}

/// Not by the server's counters either.
#[test]
fn a_wrong_token_passes_over_no_row() {
    use diesel::connection::SimpleConnection;
    let world = World::shared();
    let sent = world.invite(&world.a.owner, STRANGER, Role::Member);
    let secret = "A".repeat(43);
    for place in [
        format!("{}.{}", world.a.workspace, sent.invitation.id),
        format!("{}.nothing", world.a.workspace),
        "nowhere.nothing".into(),
    ] {
        let token: InvitationToken = format!("{place}.{secret}").parse().unwrap();
        for settings in [
            "SET LOCAL enable_seqscan = on",
            "SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off",
        ] {
            let mut scoped = world.db.user(&world.b.owner).unwrap();
            scoped.connection().batch_execute(settings).unwrap();
            // They count since the connection last reported, which may be before the transaction.
            let before = passed(scoped.connection());
            let refused = scoped.transaction(|scoped| scoped.invitations().look(&token));
            assert_eq!(reason(refused), Reason::Unknown);
            assert_eq!(passed(scoped.connection()), before, "{place} {settings}");
        }
    }
}

/// How many rows statements have passed over in the tables of invitations and their indexes.
fn passed(conn: &mut sesari_db::PgConnection) -> i64 {
    use diesel::prelude::*;
    diesel::select(diesel::dsl::sql::<diesel::sql_types::BigInt>(
        "(SELECT sum(pg_stat_get_xact_tuples_returned(c.oid))::bigint FROM pg_class AS c
           WHERE c.relname ~ '^(idx_)?invitation')",
    ))
    .get_result(conn)
    .unwrap()
}

#[test]
fn each_reason_not_to_accept_is_told_to_whoever_has_the_token() {
    let world = World::new();
    let sent = world.invite(&world.a.owner, STRANGER, Role::Member);
    let (id, token) = (&sent.invitation.id, &sent.token);
    let change =
        |what: &str| world.arrange(&format!("UPDATE invitations SET {what} WHERE id = '{id}'"));
    assert_eq!(refusal(&world, &world.b.owner, token), Reason::WrongUser);
    change("expires_at = now()");
    assert_eq!(refusal(&world, &world.stranger, token), Reason::Expired);
    assert_eq!(refusal(&world, &world.b.owner, token), Reason::WrongUser);
    change("expires_at = now() + interval '1 day', revoked_at = now()");
    assert_eq!(refusal(&world, &world.stranger, token), Reason::Revoked);
    change("revoked_at = NULL, declined_at = now()");
    assert_eq!(refusal(&world, &world.stranger, token), Reason::Declined);
    change("declined_at = NULL");
    world.accept(&world.stranger, token).unwrap();
    assert_eq!(refusal(&world, &world.stranger, token), Reason::Accepted);
    // Out again, and the token is spent.
    let mut tenant = world.guard(&world.a.owner, &world.a);
    tenant.members().remove(&world.stranger).unwrap();
    tenant.commit().unwrap();
    assert_eq!(refusal(&world, &world.stranger, token), Reason::Accepted);
    assert_eq!(world.role(&world.stranger), None);
}

#[test]
fn a_member_stays_what_the_member_is() {
    let world = World::new();
    let sent = world.invite(&world.a.owner, STRANGER, Role::Owner);
    add_member(&world.db, &world.a.workspace, &world.stranger, Role::Member);
    assert_eq!(reason(world.accept(&world.stranger, &sent.token)), Reason::AlreadyMember);
    assert_eq!(world.role(&world.stranger), Some(Role::Member));
}

#[test]
fn an_invitation_goes_with_its_workspace() {
    let world = World::shared();
    let sent = world.invite(&world.a.owner, STRANGER, Role::Member);
    let mut tenant = world.guard(&world.a.owner, &world.a);
    tenant.workspace().delete().unwrap();
    tenant.commit().unwrap();
    assert_eq!(refusal(&world, &world.stranger, &sent.token), Reason::Unknown);
}

#[test]
fn an_invitation_stands_on_the_rights_that_its_sender_has_now() {
    for (role, sender_becomes, accepted) in [
        (Role::Owner, Some(Role::Admin), false),
        (Role::Owner, Some(Role::Member), false),
        (Role::Owner, None, false),
        (Role::Admin, Some(Role::Admin), true),
        (Role::Member, Some(Role::Member), false),
        (Role::Member, None, false),
    ] {
        let world = World::new();
        let sender = crate::support::sign_up(&world.db, "sender");
        add_member(&world.db, &world.a.workspace, &sender, Role::Owner);
        let sent = world.invite(&sender, STRANGER, role.clone());
        let mut tenant = world.guard(&world.a.owner, &world.a);
        match &sender_becomes {
            Some(role) => drop(tenant.members().change_role(&sender, role.clone()).unwrap()),
            None => tenant.members().remove(&sender).unwrap(),
        }
        tenant.commit().unwrap();
        let answer = world.accept(&world.stranger, &sent.token);
        if accepted {
            answer.unwrap();
            continue;
        }
        assert_eq!(reason(answer), Reason::InviterLacksRights, "{role} {sender_becomes:?}");
        assert_eq!(world.role(&world.stranger), None);
        // Somebody who may makes it good.
        let mut tenant = world.guard(&world.a.owner, &world.a);
        let again = tenant.invitations().resend(&sent.invitation.id, Validity::default()).unwrap();
        tenant.commit().unwrap();
        world.accept(&world.stranger, &again.token).unwrap();
        assert_eq!(world.role(&world.stranger), Some(role));
    }
}

#[test]
fn a_declined_invitation_makes_room_for_another() {
    let world = World::new();
    let sent = world.invite(&world.a.owner, STRANGER, Role::Member);
    let mut scoped = world.db.user(&world.stranger).unwrap();
    scoped.invitations().decline(&sent.token).unwrap();
    scoped.commit().unwrap();
    let mut tenant = world.guard(&world.a.owner, &world.a);
    let seen = tenant.invitations().find(&sent.invitation.id).unwrap().unwrap();
    assert!(seen.declined_at.is_some());
    tenant.invitations().create(&to(STRANGER, Role::Member)).unwrap();
}

#[test]
fn only_a_signed_in_user_outside_of_any_workspace_answers() {
    use diesel::connection::SimpleConnection;
    let world = World::shared();
    let mut tenant = world.guard(&world.a.owner, &world.a);
    for call in [
        "accept_invitation('w1', 'i1', '', 'm1')",
        "look_at_invitation('w1', 'i1', '')",
        "decline_invitation('w1', 'i1', '')",
    ] {
        let sql = format!("SELECT sesari.{call}");
        let refused: sesari_db::Result<()> =
            tenant.transaction(|tenant| Ok(tenant.connection().batch_execute(&sql)?));
        assert!(refused.unwrap_err().is_denied(), "{call}");
    }
}
