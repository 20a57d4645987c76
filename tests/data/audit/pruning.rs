//! Dropping old entries leaves a chain that is verified from there on.

use sesari_db::audit::{BreachKind, Verdict};
use sesari_db::maintenance::prune_audit_log;
use sesari_db::repo::AuditFilter;
use sesari_db::value::{ActorKind, Timestamp};
use sesari_db::{Error, TenantConnection};

use crate::support::World;

fn entry_time(world: &World, sequence: usize) -> Timestamp {
    let micros = world.export()[sequence - 1].microseconds;
    Timestamp::new(chrono::DateTime::from_timestamp_micros(micros).unwrap()).unwrap()
}

#[test]
fn what_is_left_stays_verifiable_and_tells_of_the_pruning() {
    let world = World::with_history(6);
    let early = {
        let exported = world.export();
        let mut chain = sesari_db::audit::Chain::of(Some(&world.a.workspace));
        for entry in &exported[..2] {
            chain.follow(entry).unwrap();
        }
        chain.checkpoint()
    };
    let noted = world.checkpoint();
    let mut login = world.test.admin().unwrap();
    let before = entry_time(&world, 6);
    let workspace = &world.a.workspace;
    assert_eq!(prune_audit_log(&mut login, Some(workspace), before).unwrap(), 5);
    assert_eq!(prune_audit_log(&mut login, Some(workspace), before).unwrap(), 0);
    assert_eq!(world.export()[0].sequence, 6);
    assert!(world.verify(None).is_intact());
    assert!(world.verify(Some(&noted)).is_intact());
    let entry = world.entries("audit_log.prune").remove(0);
    assert_eq!((entry.row_id.as_str(), &entry.actor_kind), ("5", &ActorKind::System));
    assert_eq!(entry.changes["sequence"], serde_json::json!({"new": 5}));
    // Nothing can be said about an entry that is gone.
    let Verdict::CheckpointPruned(left) = world.verify(Some(&early)) else { panic!() };
    assert_eq!(left.sequence(), 5);
    assert!(world.verify(Some(&left)).is_intact());
    // The next pruning takes the entry about the first with it.
    world.rename("Later");
    let before = entry_time(&world, world.export().len());
    assert_eq!(prune_audit_log(&mut login, Some(workspace), before).unwrap(), 6);
    assert!(world.verify(None).is_intact());
    assert_eq!(world.entries("audit_log.prune").len(), 1);
}

#[test]
fn a_chain_that_was_pruned_is_still_guarded() {
    for (sql, kind, sequence) in [
        ("DELETE FROM audit_log WHERE workspace_id = '{ws}' AND sequence = 6", BreachKind::Deleted, 6),
        ("UPDATE audit_log SET actor_id = 'x' WHERE workspace_id = '{ws}' AND sequence = 6", BreachKind::Edited, 6),
        ("UPDATE sesari.audit_heads SET pruned_hash = sha256(hash) WHERE workspace_id = '{ws}'", BreachKind::Edited, 6),
        ("DELETE FROM audit_log WHERE workspace_id = '{ws}' AND sequence <= 7;
          UPDATE sesari.audit_heads AS h SET pruned_sequence = 7,
             pruned_hash = (SELECT previous_hash FROM audit_log AS e WHERE e.workspace_id = '{ws}' AND sequence = 8)
           WHERE workspace_id = '{ws}'", BreachKind::PruneForged, 7),
    ] {
        let world = World::with_history(6);
        let before = entry_time(&world, 6);
        let mut login = world.test.admin().unwrap();
        prune_audit_log(&mut login, Some(&world.a.workspace), before).unwrap();
        world.tamper(sql);
        let Verdict::Broken(breach) = world.verify(None) else { panic!("not found: {sql}") };
        assert_eq!((breach.kind, breach.sequence), (kind, sequence), "{sql}");
    }
}

#[test]
fn it_goes_in_batches_and_never_past_the_moment() {
    let world = World::with_history(6);
    let before = "(SELECT occurred_at FROM audit_log WHERE workspace_id = '{ws}' AND sequence = 8)"
        .replace("{ws}", world.a.workspace.as_str());
    let prune = |how_many: i32| {
        let workspace = &world.a.workspace;
        world.ask(&format!("SELECT sesari.prune_audit_log('{workspace}', {before}, {how_many})"))
    };
    assert_eq!([3, 3, 3, 3].map(prune), ["3", "3", "1", "0"]);
    assert_eq!(world.export()[0].sequence, 8);
    assert!(world.verify(None).is_intact());
}

#[test]
fn no_login_of_a_service_may() {
    let world = World::with_history(1);
    let prune = "SELECT sesari.prune_audit_log('', now(), 1)";
    let mut tenant: TenantConnection = world.owner();
    let mut service = world.service();
    for conn in [tenant.connection(), service.connection()] {
        let refused = diesel::connection::SimpleConnection::batch_execute(conn, prune);
        assert!(Error::from(refused.unwrap_err()).is_denied());
    }
}

#[test]
fn the_log_of_no_workspace_is_pruned_too() {
    let world = World::new();
    let before = Timestamp::new("9000-01-01T00:00:00Z".parse().unwrap()).unwrap();
    let mut login = world.test.admin().unwrap();
    let all = world.service().audit_log().count(&AuditFilter::default()).unwrap();
    assert!(all > 0, "the key of the context is installed");
    assert_eq!(prune_audit_log(&mut login, None, before).unwrap(), all.unsigned_abs());
    assert!(world.service().audit_log().verify(None).unwrap().is_intact());
    assert_eq!(world.unowned("audit_log.prune").len(), 1);
}
