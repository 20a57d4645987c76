//! What a worker records of a synchronisation, and that only the holder of the lease may.

use std::time::Duration;

use chrono::TimeDelta;
use sesari_db::Error;
use sesari_db::id::LeaseId;
use sesari_db::value::{SyncStatus, Timestamp};

use super::tools::{
    as_service, assert_missing, claim, created, moment, opened, sealed_world, secret,
};
use crate::support::hour;

const MINUTE: Duration = Duration::from_mins(1);

#[test]
fn a_success_is_recorded_and_gives_the_lease_back() {
    let world = sealed_world();
    let id = created(&world.db, &world.a, "some secret");
    let claimed = claim(&world.db, 9, MINUTE).remove(0);
    assert_eq!((&claimed.integration_id, &claimed.workspace_id), (&id, &world.a.workspace));
    assert!(claim(&world.db, 9, MINUTE).is_empty());

    let mut worker = as_service(&world.db, &world.a.workspace);
    let next = moment(0);
    let synced = worker.integrations().record_success(&id, &claimed.lease, next).unwrap();
    assert_eq!((&synced.sync_status, &synced.error_message), (&SyncStatus::Success, &None));
    // Hour 0 is past: at once.
    let schedule = worker.integrations().sync_schedule(&id).unwrap().unwrap();
    assert!(
        schedule.next_sync_at.is_some_and(|at| at > hour(0)) && schedule.leased_until.is_none()
    );
    assert!(synced.last_sync_at.is_some_and(|at| at >= synced.created_at));
    // The lease is good for one result.
    assert_missing(worker.integrations().record_success(&id, &claimed.lease, next));
    worker.commit().unwrap();
    // Due again at once, since hour 0 is past.
    assert_eq!(claim(&world.db, 9, MINUTE).len(), 1);
}

#[test]
fn a_failure_is_recorded_without_the_credentials_and_cut() {
    let world = sealed_world();
    let json =
        r#"{"api_key": "sk_live_canary", "nested": ["refresh-canary", 12345678], "n": "ab"}"#;
    let id = created(&world.db, &world.a, json);
    let lease = claim(&world.db, 1, MINUTE).remove(0).lease;
    let mut worker = as_service(&world.db, &world.a.workspace);
    let secret = worker.integrations().credentials(&id).unwrap();
    let message = format!(
        "401 for sk_live_canary, refresh-canary, 12345678\0 in ab: {json}{}",
        "é".repeat(2000)
    );
    let failed =
        worker.integrations().record_failure(&id, &lease, &message, &secret, moment(1)).unwrap();
    worker.commit().unwrap();
    assert_eq!(failed.sync_status, SyncStatus::Error);
    let text = failed.error_message.unwrap();
    assert!(
        text.starts_with("401 for [redacted], [redacted], [redacted] in ab: [redacted]éé"),
        "{text}"
    );
    // Cut, and then cleaned.
    assert!((900..=1000).contains(&text.chars().count()) && text.ends_with('é'), "{text}");
    assert_eq!(
        world.ask(&format!("SELECT error_message FROM integrations WHERE id = '{id}'")),
        text
    );

    // The next success clears it.
    let lease = claim(&world.db, 1, MINUTE).remove(0).lease;
    let mut worker = as_service(&world.db, &world.a.workspace);
    let synced = worker.integrations().record_success(&id, &lease, moment(1)).unwrap();
    assert_eq!(synced.error_message, None);
}

#[test]
fn whoever_lost_the_lease_records_nothing() {
    let world = sealed_world();
    let id = created(&world.db, &world.a, "some secret");
    let first = claim(&world.db, 1, MINUTE).remove(0);
    world.arrange("UPDATE sesari.sync_queue SET leased_until = now() - interval '1 second'");
    let second = claim(&world.db, 1, MINUTE).remove(0);
    assert_eq!(second.integration_id, first.integration_id);
    assert_ne!(second.lease, first.lease);
    let mut late = as_service(&world.db, &world.a.workspace);
    assert_missing(late.integrations().record_success(&id, &first.lease, moment(1)));
    let some = secret("some secret");
    assert_missing(late.integrations().record_failure(&id, &first.lease, "x", &some, moment(1)));
    assert_missing(late.integrations().record_success(&id, &LeaseId::generate(), moment(1)));
    assert!(late.integrations().record_success(&id, &second.lease, moment(1)).is_ok());
}

#[test]
fn a_lease_that_ran_out_counts_until_another_takes_it() {
    let world = sealed_world();
    let id = created(&world.db, &world.a, "some secret");
    let lease = claim(&world.db, 1, MINUTE).remove(0).lease;
    world.arrange("UPDATE sesari.sync_queue SET leased_until = now() - interval '1 hour'");
    let mut late = as_service(&world.db, &world.a.workspace);
    assert!(late.integrations().record_success(&id, &lease, moment(1)).is_ok());
}

#[test]
fn a_lease_of_one_workspace_records_nothing_in_another() {
    let world = sealed_world();
    let ours = created(&world.db, &world.a, "ours");
    let theirs = created(&world.db, &world.b, "theirs");
    let claims = claim(&world.db, 2, MINUTE);
    // One call is one lease, over several workspaces: the workspace still has to be the right one.
    let lease = &claims[0].lease;
    assert!(claims.iter().all(|claim| claim.lease == *lease));
    let mut worker = as_service(&world.db, &world.a.workspace);
    assert_missing(worker.integrations().record_success(&theirs, lease, moment(1)));
    assert!(worker.integrations().record_success(&ours, lease, moment(1)).is_ok());
    worker.commit().unwrap();
    let status = |id| world.ask(&format!("SELECT sync_status FROM integrations WHERE id = '{id}'"));
    assert_eq!((status(&ours), status(&theirs)), ("success".into(), "pending".into()));
}

#[test]
fn a_synchronisation_is_no_audit_entry_and_needs_no_keys() {
    let world = sealed_world();
    let id = created(&world.db, &world.a, "some secret");
    let before = world.ask("SELECT count(*) FROM audit_log");
    let keyless = world.test.database().unwrap();
    let lease = claim(&keyless, 1, MINUTE).remove(0).lease;
    let mut worker = as_service(&keyless, &world.a.workspace);
    worker.integrations().record_success(&id, &lease, moment(1)).unwrap();
    worker.commit().unwrap();
    assert_eq!(world.ask("SELECT count(*) FROM audit_log"), before);
    assert_eq!(opened(&world.db, &world.a.workspace, &id).unwrap(), "some secret");
}

#[test]
fn an_error_text_too_long_is_refused_by_the_database_itself() {
    let world = sealed_world();
    let id = created(&world.db, &world.a, "some secret");
    let mut worker = as_service(&world.db, &world.a.workspace);
    let sql =
        format!("UPDATE integrations SET error_message = repeat('x', 1001) WHERE id = '{id}'");
    let refused = diesel::RunQueryDsl::execute(diesel::sql_query(sql), worker.connection());
    assert!(matches!(refused.map_err(Error::from), Err(Error::Invalid(_))));
}

#[test]
fn whoever_may_change_an_integration_asks_for_a_synchronisation_and_nobody_else() {
    let world = sealed_world();
    let id = created(&world.db, &world.a, "some secret");
    let claimed = claim(&world.db, 1, MINUTE).remove(0);
    let far = Timestamp::new(claimed.leased_until + TimeDelta::days(300)).unwrap();
    let mut worker = as_service(&world.db, &world.a.workspace);
    worker.integrations().record_success(&id, &claimed.lease, far).unwrap();
    worker.commit().unwrap();
    assert!(claim(&world.db, 1, MINUTE).is_empty());

    let member = world.db.tenant(&world.a.member, &world.a.workspace);
    assert_missing(member.unwrap().integrations().schedule_sync(&id, moment(0)));
    let other = world.db.tenant(&world.b.owner, &world.b.workspace);
    assert_missing(other.unwrap().integrations().schedule_sync(&id, moment(0)));
    let mut admin = world.db.tenant(&world.a.admin, &world.a.workspace).unwrap();
    let beyond = Timestamp::new(claimed.leased_until + TimeDelta::days(400)).unwrap();
    let refused = admin.transaction(|admin| admin.integrations().schedule_sync(&id, beyond));
    assert!(
        matches!(&refused, Err(Error::Invalid(invalid)) if invalid.field() == "next_sync_at"),
        "{refused:?}"
    );
    admin.integrations().schedule_sync(&id, moment(0)).unwrap();
    admin.commit().unwrap();
    let lease = claim(&world.db, 1, MINUTE).remove(0).lease;

    // Asked for while a worker has it: not before that one is done, and not forgotten.
    let mut admin = world.db.tenant(&world.a.admin, &world.a.workspace).unwrap();
    admin.integrations().schedule_sync(&id, moment(0)).unwrap();
    admin.commit().unwrap();
    assert!(claim(&world.db, 1, MINUTE).is_empty());
    let mut worker = as_service(&world.db, &world.a.workspace);
    worker.integrations().record_success(&id, &lease, far).unwrap();
    worker.commit().unwrap();
    assert_eq!(claim(&world.db, 1, MINUTE).len(), 1);
}

#[test]
fn a_claim_is_finished_and_extended_by_a_background_service_alone() {
    let world = sealed_world();
    let id = created(&world.db, &world.a, "some secret");
    let claimed = claim(&world.db, 1, MINUTE).remove(0);
    let mut owner = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    assert_missing(owner.integrations().record_success(&id, &claimed.lease, moment(1)));
    assert_missing(owner.integrations().extend_lease(&id, &claimed.lease, MINUTE));
    let mut elsewhere = as_service(&world.db, &world.b.workspace);
    assert_missing(elsewhere.integrations().extend_lease(&id, &claimed.lease, MINUTE));
    let mut worker = as_service(&world.db, &world.a.workspace);
    assert_missing(worker.integrations().extend_lease(&id, &LeaseId::generate(), MINUTE));
    let until = worker.integrations().extend_lease(&id, &claimed.lease, 5 * MINUTE).unwrap();
    assert!(until > claimed.leased_until);
}

#[test]
fn an_integration_is_queued_while_it_is_there_and_due_while_it_is_active() {
    let world = sealed_world();
    let id = created(&world.db, &world.a, "some secret");
    let mut admin = world.db.tenant(&world.a.admin, &world.a.workspace).unwrap();
    admin.integrations().deactivate(&id).unwrap();
    admin.commit().unwrap();
    assert!(claim(&world.db, 1, MINUTE).is_empty());
    let mut admin = world.db.tenant(&world.a.admin, &world.a.workspace).unwrap();
    admin.integrations().activate(&id).unwrap();
    admin.commit().unwrap();
    assert_eq!(claim(&world.db, 1, MINUTE).len(), 1);
    let mut admin = world.db.tenant(&world.a.admin, &world.a.workspace).unwrap();
    admin.integrations().delete(&id).unwrap();
    admin.commit().unwrap();
    assert_eq!(world.ask("SELECT count(*) FROM sesari.sync_queue"), "0");
}
