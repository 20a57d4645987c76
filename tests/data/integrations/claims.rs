//! That workers never take the same integration, and that none is lost when they die.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sesari_db::Error;
use sesari_db::id::IntegrationId;
use sesari_db::repo::Claim;

use super::tools::{as_service, claim, created, moment, sealed_world};
use crate::support::{World, create_workspace, service, sign_up};

const HOUR: Duration = Duration::from_hours(1);
const WORKERS: usize = 10;
const INTEGRATIONS: usize = 1000;

/// A thousand integrations in seven workspaces, due; and as many more that are not.
fn crowd() -> World {
    let world = sealed_world();
    let owner = sign_up(&world.db, "crowd");
    for i in 0..5 {
        create_workspace(&world.db, &owner, &format!("crowd-{i}"));
    }
    world.arrange(
        "INSERT INTO integrations (id, workspace_id, provider, credentials, is_active) \
         SELECT 'i' || n, w.id, 'stripe', 'v1.k1.AAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAA', \
                n % 4 <> 1 \
           FROM generate_series(1, 2000) AS n \
           JOIN (SELECT id, row_number() OVER (ORDER BY id) - 1 AS number FROM workspaces) AS w \
             ON w.number = n / 4 % 7; \
         UPDATE sesari.sync_queue SET next_sync_at = now() + interval '1 hour' \
         WHERE substr(integration_id, 2)::int % 4 = 3",
    );
    assert_eq!(world.ask("SELECT count(DISTINCT workspace_id) FROM integrations"), "7");
    world
}

/// Ten workers claim until there is nothing left, and do with each claim as told.
fn round(world: &World, work: impl Fn(&Claim) + Sync) -> BTreeMap<IntegrationId, usize> {
    let claimed = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (claimed, work) = (&claimed, &work);
            scope.spawn(move || {
                // Batches of unlike sizes, so that they do not march in step.
                let batch = u16::try_from(worker + 3).unwrap();
                loop {
                    let claims = claim(&world.db, batch, HOUR);
                    for claim in &claims {
                        work(claim);
                        let mut all = claimed.lock().unwrap_or_else(PoisonError::into_inner);
                        *all.entry(claim.integration_id.clone()).or_default() += 1;
                    }
                    // Less than asked for may mean that others hold the rest locked at this moment.
                    if claims.is_empty() {
                        break;
                    }
                }
            });
        }
    });
    claimed.into_inner().unwrap()
}

fn assert_each_once(claimed: &BTreeMap<IntegrationId, usize>) {
    let twice: Vec<_> = claimed.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

fn synced(world: &World, claim: &Claim) {
    let mut worker = as_service(&world.db, &claim.workspace_id);
    // Hour 0 of 2026 is past, or it would be claimed again in this round.
    let far = sesari_db::value::Timestamp::new(claim.leased_until + HOUR).unwrap();
    worker.integrations().record_success(&claim.integration_id, &claim.lease, far).unwrap();
    worker.commit().unwrap();
}

#[test]
fn ten_workers_synchronise_a_thousand_integrations_once_a_round() {
    let world = crowd();
    for made in 1..=2 {
        let claimed = round(&world, |claim| synced(&world, claim));
        assert_each_once(&claimed);
        assert_eq!(claimed.len(), INTEGRATIONS, "round {made}");
        assert_eq!(
            world.ask("SELECT count(*) FROM integrations WHERE last_sync_at IS NOT NULL"),
            INTEGRATIONS.to_string()
        );
        assert_eq!(
            world.ask("SELECT count(*) FROM sesari.sync_queue WHERE lease_id IS NOT NULL"),
            "0"
        );
        world.arrange(
            "UPDATE sesari.sync_queue AS q SET next_sync_at = now() - interval '1 hour' \
               FROM integrations AS i WHERE i.workspace_id = q.workspace_id AND i.id = q.integration_id \
                AND i.last_sync_at IS NOT NULL",
        );
    }
    // Those that are not due, or not active, were left alone.
    assert_eq!(
        world.ask(
            "SELECT count(*) FROM integrations AS i JOIN sesari.sync_queue AS q \
                 ON q.workspace_id = i.workspace_id AND q.integration_id = i.id \
              WHERE i.last_sync_at IS NULL AND q.lease_id IS NULL \
                AND (NOT q.is_active OR q.next_sync_at > now())"
        ),
        "1000"
    );
}

#[test]
fn what_dead_workers_held_is_claimed_again_and_none_is_lost() {
    let world = crowd();
    // Every third worker dies with its claim in hand.
    let dies = |claim: &Claim| {
        claim.integration_id.as_str().bytes().map(usize::from).sum::<usize>().is_multiple_of(3)
    };
    let first = round(&world, |claim| {
        if !dies(claim) {
            synced(&world, claim);
        }
    });
    assert_each_once(&first);
    assert_eq!(first.len(), INTEGRATIONS);
    let held: usize = world
        .ask("SELECT count(*) FROM sesari.sync_queue WHERE lease_id IS NOT NULL")
        .parse()
        .unwrap();
    assert!(held > 100 && held < INTEGRATIONS, "{held}");
    assert!(claim(&world.db, 1000, HOUR).is_empty(), "their leases hold");
    world.arrange(
        "UPDATE sesari.sync_queue SET leased_until = now() - interval '1 second' \
         WHERE lease_id IS NOT NULL",
    );
    let second = round(&world, |claim| synced(&world, claim));
    assert_each_once(&second);
    assert_eq!(second.len(), held);
    assert_eq!(
        world.ask("SELECT count(*) FROM integrations WHERE last_sync_at IS NOT NULL"),
        INTEGRATIONS.to_string()
    );
}

#[test]
fn a_claim_that_was_never_committed_holds_nothing() {
    let world = sealed_world();
    created(&world.db, &world.a, "some secret");
    let mut dying = world.db.service(&service()).unwrap();
    assert_eq!(dying.integration_queue().claim(9, HOUR).unwrap().len(), 1);
    // Others skip what it holds locked rather than wait for it.
    assert!(claim(&world.db, 9, HOUR).is_empty());
    drop(dying);
    assert_eq!(claim(&world.db, 9, HOUR).len(), 1);
}

#[test]
fn the_longest_due_goes_first_and_no_more_than_asked_for() {
    let world = sealed_world();
    let ids: Vec<_> = (0..4).map(|_| created(&world.db, &world.a, "some secret")).collect();
    for (hours, id) in [3, 1, 2, 4].into_iter().zip(&ids) {
        world.arrange(&format!(
            "UPDATE sesari.sync_queue SET next_sync_at = now() - interval '{hours} hours' WHERE integration_id = '{id}'"
        ));
    }
    let mut order = Vec::new();
    for _ in 0..4 {
        let claims = claim(&world.db, 1, HOUR);
        assert_eq!(claims.len(), 1);
        order.push(claims[0].integration_id.clone());
    }
    assert_eq!(order, [3, 0, 2, 1].map(|i| ids[i].clone()));
    assert!(claim(&world.db, 0, HOUR).is_empty());
}

#[test]
fn a_lease_has_the_length_asked_for() {
    let world = sealed_world();
    created(&world.db, &world.a, "some secret");
    world.arrange("UPDATE sesari.sync_queue SET next_sync_at = now() - interval '1 year'");
    let claims = claim(&world.db, 1, Duration::from_micros(1));
    assert_eq!(claims.len(), 1);
    // It is over by the time of the next statement.
    let again = claim(&world.db, 1, Duration::from_secs(90));
    assert_eq!(again.len(), 1);
    assert_ne!(again[0].lease, claims[0].lease);
    let left = world.ask(
        "SELECT leased_until BETWEEN now() + interval '1 minute' \
                          AND now() + interval '90 seconds' FROM sesari.sync_queue",
    );
    assert_eq!(left, "true");
}

#[test]
fn an_integration_stopped_while_leased_still_takes_the_result_and_is_left_alone_then() {
    let world = sealed_world();
    let id = created(&world.db, &world.a, "some secret");
    let claimed = claim(&world.db, 1, HOUR).remove(0);
    let mut admin = world.db.tenant(&world.a.admin, &world.a.workspace).unwrap();
    admin.integrations().deactivate(&id).unwrap();
    admin.commit().unwrap();
    let mut worker = as_service(&world.db, &world.a.workspace);
    let result = worker.integrations().record_success(&id, &claimed.lease, moment(0)).unwrap();
    assert!(!result.is_active);
    worker.commit().unwrap();
    assert!(claim(&world.db, 9, HOUR).is_empty());
}

#[test]
fn a_workspace_of_many_does_not_keep_another_one_waiting() {
    let world = sealed_world();
    world.arrange(&format!(
        "INSERT INTO integrations (id, workspace_id, provider, credentials) \
         SELECT 'i' || n, '{}', 'stripe', 'v1.k1.AAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAA' \
           FROM generate_series(1, 500) AS n; \
         UPDATE sesari.sync_queue SET next_sync_at = now() - interval '1 year'",
        world.a.workspace
    ));
    let lone = created(&world.db, &world.b, "some secret");
    let first = claim(&world.db, 1, HOUR).remove(0);
    assert_eq!(first.workspace_id, world.a.workspace);
    assert_eq!(claim(&world.db, 1, HOUR)[0].integration_id, lone, "its turn has come");
    // What one workspace does not use is for the other.
    let again = created(&world.db, &world.b, "some secret");
    let claims = claim(&world.db, 100, HOUR);
    assert_eq!(claims.len(), 100);
    assert!(claims.iter().any(|claim| claim.integration_id == again));
}

#[test]
fn a_claim_that_is_not_committed_holds_nothing_of_another_workspace() {
    let world = sealed_world();
    created(&world.db, &world.a, "some secret");
    let theirs = created(&world.db, &world.b, "some secret");
    let mut slow = world.db.service(&service()).unwrap();
    assert_eq!(slow.integration_queue().claim(1, HOUR).unwrap()[0].workspace_id, world.a.workspace);
    assert_eq!(claim(&world.db, 9, HOUR).remove(0).integration_id, theirs);
}

#[test]
fn a_lease_over_seven_days_is_refused_before_the_server_is_asked() {
    let world = sealed_world();
    let id = created(&world.db, &world.a, "some secret");
    let longest = Duration::from_hours(7 * 24);
    let mut guard = world.db.service(&service()).unwrap();
    for too_long in
        [longest + Duration::from_nanos(1), Duration::from_hours(49 * 24), Duration::MAX]
    {
        let refused = guard.integration_queue().claim(1, too_long);
        assert!(
            matches!(&refused, Err(Error::Invalid(invalid)) if invalid.field() == "lease"),
            "{refused:?}"
        );
    }
    // The transaction goes on.
    let lease = guard.integration_queue().claim(1, longest).unwrap().remove(0).lease;
    guard.commit().unwrap();
    let mut worker = as_service(&world.db, &world.a.workspace);
    let refused =
        worker.integrations().extend_lease(&id, &lease, longest + Duration::from_nanos(1));
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    assert!(worker.integrations().extend_lease(&id, &lease, longest).is_ok());
}

#[test]
fn the_queue_is_out_of_reach_of_a_tenant() {
    let world = sealed_world();
    created(&world.db, &world.a, "some secret");
    for sql in [
        "SELECT FROM sesari.sync_queue",
        "UPDATE sesari.sync_queue SET next_sync_at = now()",
        "DELETE FROM sesari.sync_turns",
        "SELECT sesari.claim_integrations('mine', 1, '1 day')",
    ] {
        let mut owner = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
        let refused = diesel::RunQueryDsl::execute(diesel::sql_query(sql), owner.connection());
        assert!(matches!(refused.map_err(Error::from), Err(Error::Denied)), "{sql}");
    }
}
