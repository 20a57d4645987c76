//! Moving all envelopes to a new key while everything else goes on.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use sesari_db::credentials::OpenError;
use sesari_db::id::{IntegrationId, WorkspaceId};
use sesari_db::{Database, Error};

use super::tools::{
    as_service, created, entries, opened, sealed_world, secret, stripe, usage, with_keys,
};
use crate::support::{World, create_workspace, service};

const BOTH: &[(&str, u8)] = &[("k2", 2), ("k1", 1)];
const NEW: &[(&str, u8)] = &[("k2", 2)];

/// So many integrations in each of so many workspaces, each with its own id for a secret.
fn furnished(workspaces: usize, each: usize) -> (World, Vec<(WorkspaceId, IntegrationId)>) {
    let world = sealed_world();
    let mut all = Vec::new();
    for i in 0..workspaces {
        let workspace = create_workspace(&world.db, &world.a.owner, &format!("rotated-{i}"));
        let mut tenant = world.db.tenant(&world.a.owner, &workspace).unwrap();
        for _ in 0..each {
            let new = stripe();
            tenant.integrations().create(&new, &secret(new.id.as_str())).unwrap();
            all.push((workspace.clone(), new.id));
        }
        tenant.commit().unwrap();
    }
    (world, all)
}

fn assert_all_open(db: &Database, all: &[(WorkspaceId, IntegrationId)]) {
    for (workspace, id) in all {
        assert_eq!(opened(db, workspace, id).unwrap(), id.as_str());
    }
}

#[test]
fn every_workspace_is_moved_and_the_old_key_can_be_retired() {
    // More than one page of workspaces.
    let (world, all) = furnished(103, 2);
    assert_eq!(usage(&world.db), [("k1".to_owned(), 206)]);
    let db = with_keys(&world.test, BOTH);
    let mut reports = Vec::new();
    let rotation = db.rotate_sealing_key(&service(), 50, |so_far| reports.push(so_far.clone()));
    let rotation = rotation.unwrap();
    assert_eq!((rotation.workspaces, rotation.moved, rotation.refused.len()), (103, 206, 0));
    assert_eq!(reports.last(), Some(&rotation));
    assert!(reports.is_sorted_by_key(|report| (report.workspaces, report.moved)));
    assert_eq!(usage(&db), [("k2".to_owned(), 206)]);
    assert_all_open(&with_keys(&world.test, NEW), &all);
    let (workspace, id) = &all[0];
    match opened(&world.db, workspace, id) {
        Err(Error::Open(OpenError::UnknownKey { key_id })) => assert_eq!(key_id.as_str(), "k2"),
        other => panic!("{other:?}"),
    }
    // Again there is nothing to do.
    let again = db.rotate_sealing_key(&service(), 50, |_| panic!("progress of nothing")).unwrap();
    assert_eq!((again.workspaces, again.moved), (0, 0));
}

#[test]
fn interrupted_after_each_batch_it_goes_on_where_it_was() {
    for batch in [1, 2, 3] {
        let (world, all) = furnished(3, 3);
        let mut runs = 0;
        let mut left = 9;
        loop {
            // A new process each time, which dies at its first report.
            let db = with_keys(&world.test, BOTH);
            let died = catch_unwind(AssertUnwindSafe(|| {
                db.rotate_sealing_key(&service(), batch, |_| resume_unwind(Box::new("killed")))
                    .unwrap()
            }));
            if let Ok(rotation) = died {
                assert_eq!(rotation.moved, 0);
                break;
            }
            runs += 1;
            let moved =
                usage(&db).into_iter().find(|(key, _)| key == "k2").map_or(0, |used| used.1);
            // A batch ends with its workspace.
            let of_workspace = (left - 1) % 3 + 1;
            let expected = 9 - left + i64::from(batch).min(of_workspace);
            assert_eq!(moved, expected, "batch {batch}, run {runs}");
            left = 9 - moved;
            assert_all_open(&db, &all);
        }
        let db = with_keys(&world.test, NEW);
        assert_eq!(usage(&db), [("k2".to_owned(), 9)]);
        assert_all_open(&db, &all);
    }
}

#[test]
fn a_transaction_lost_in_the_middle_moves_nothing_of_its_batch() {
    let (world, all) = furnished(1, 4);
    let db = with_keys(&world.test, BOTH);
    let mut tenant = as_service(&db, &all[0].0);
    let resealed = tenant.integrations().reseal(None, 3).unwrap();
    assert_eq!((resealed.moved, resealed.next.is_some()), (3, true));
    drop(tenant);
    assert_eq!(usage(&db), [("k1".to_owned(), 4)]);
    assert_all_open(&world.db, &all);
}

#[test]
fn batches_follow_each_other_to_the_end() {
    let (world, all) = furnished(1, 5);
    let db = with_keys(&world.test, BOTH);
    let ids: BTreeSet<_> = all.iter().map(|(_, id)| id.clone()).collect();
    let (mut after, mut moved) = (None, Vec::new());
    loop {
        let mut tenant = as_service(&db, &all[0].0);
        let resealed = tenant.integrations().reseal(after.as_ref(), 2).unwrap();
        tenant.commit().unwrap();
        moved.push(resealed.moved);
        let Some(next) = resealed.next else { break };
        assert!(ids.contains(&next));
        after = Some(next);
    }
    assert_eq!(moved, [2, 2, 1]);
}

#[test]
fn envelopes_that_do_not_open_are_listed_and_stop_nothing() {
    let (world, mut all) = furnished(2, 4);
    let wrecks = [all.remove(1), all.remove(5)];
    for (_, id) in &wrecks {
        world.arrange(&format!(
            "UPDATE integrations SET credentials = 'v1.k1.AAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAA' \
             WHERE id = '{id}'"
        ));
    }
    for batch in [1, 3, 100] {
        // The first finds six to move, and each finds the wrecks again.
        let db = with_keys(&world.test, BOTH);
        let rotation = db.rotate_sealing_key(&service(), batch, |_| {}).unwrap();
        assert_eq!(rotation.moved, if batch == 1 { 6 } else { 0 });
        let refused: BTreeSet<_> = rotation.refused.iter().cloned().collect();
        assert_eq!(refused.len(), rotation.refused.len());
        assert_eq!(refused, wrecks.iter().cloned().collect());
    }
    // The old key cannot go: it is still named.
    assert_eq!(usage(&world.db), [("k1".to_owned(), 2), ("k2".to_owned(), 6)]);
    assert_all_open(&with_keys(&world.test, NEW), &all);
}

#[test]
fn a_key_that_the_ring_lacks_is_refused_and_not_lost() {
    let (world, all) = furnished(2, 2);
    let db = with_keys(&world.test, NEW);
    let rotation = db.rotate_sealing_key(&service(), 10, |_| {}).unwrap();
    assert_eq!((rotation.moved, rotation.refused.len()), (0, 4));
    assert_all_open(&world.db, &all);
}

#[test]
fn shredded_workspaces_are_refused_and_the_rest_is_moved() {
    let (world, mut all) = furnished(2, 2);
    let shredded = all[0].0.clone();
    let mut owner = world.db.tenant(&world.a.owner, &shredded).unwrap();
    assert!(owner.integrations().shred_credentials().unwrap());
    owner.commit().unwrap();
    let db = with_keys(&world.test, BOTH);
    let rotation = db.rotate_sealing_key(&service(), 10, |_| {}).unwrap();
    assert_eq!((rotation.moved, rotation.refused.len()), (2, 2));
    all.retain(|(workspace, _)| *workspace != shredded);
    assert_all_open(&with_keys(&world.test, NEW), &all);
}

#[test]
fn what_is_replaced_during_a_rotation_is_neither_lost_nor_in_its_way() {
    let (world, all) = furnished(4, 5);
    let done = AtomicBool::new(false);
    // Some services still seal with the old key.
    let (old, both) =
        (&with_keys(&world.test, &[("k1", 1), ("k2", 2)]), &with_keys(&world.test, BOTH));
    std::thread::scope(|scope| {
        let writers: Vec<_> = all
            .chunks(7)
            .zip([old, both, old])
            .map(|(mine, db)| {
                let done = &done;
                scope.spawn(move || {
                    let mut turn = 0;
                    while turn < 3 || !done.load(Ordering::Acquire) {
                        turn += 1;
                        for (workspace, id) in mine {
                            let mut writer = as_service(db, workspace);
                            let value = secret(&format!("{id} {turn}"));
                            writer.integrations().replace_credentials(id, &value).unwrap();
                            writer.commit().unwrap();
                        }
                    }
                    turn
                })
            })
            .collect();
        let rotations: Vec<_> = [1, 2]
            .map(|batch| scope.spawn(move || both.rotate_sealing_key(&service(), batch, |_| {})))
            .into_iter()
            .map(|rotation| rotation.join().unwrap())
            .collect();
        done.store(true, Ordering::Release);
        let turns: Vec<_> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        for rotation in rotations {
            assert!(rotation.unwrap().refused.is_empty());
        }
        for (mine, turn) in all.chunks(7).zip(turns) {
            for (workspace, id) in mine {
                assert_eq!(opened(both, workspace, id).unwrap(), format!("{id} {turn}"));
            }
        }
    });
    let rotation = both.rotate_sealing_key(&service(), 10, |_| {}).unwrap();
    assert!(rotation.refused.is_empty());
    assert_eq!(usage(both), [("k2".to_owned(), 20)]);
}

#[test]
fn a_batch_of_none_is_refused_rather_than_run_for_ever() {
    let (world, _) = furnished(1, 1);
    let refused = with_keys(&world.test, BOTH).rotate_sealing_key(&service(), 0, |_| {});
    assert!(matches!(refused, Err(Error::Config(_))), "{refused:?}");
}

/// Whatever the caller asks for: what is locked, and held in memory, stays small.
#[test]
fn a_batch_has_at_most_a_hundred_envelopes_and_a_megabyte() {
    let world = sealed_world();
    let (text, db) = ("x".repeat(70_000), with_keys(&world.test, BOTH));
    for (workspace, secrets, expected) in [
        (&world.a, vec!["small"; 230], vec![100, 100, 30]),
        (&world.b, vec![&*text; 24], vec![11, 11, 2]),
    ] {
        let mut tenant = world.db.tenant(&workspace.owner, &workspace.workspace).unwrap();
        for value in secrets {
            tenant.integrations().create(&stripe(), &secret(value)).unwrap();
        }
        tenant.commit().unwrap();
        let (mut after, mut moved) = (None, Vec::new());
        loop {
            let mut tenant = as_service(&db, &workspace.workspace);
            let resealed = tenant.integrations().reseal(after.as_ref(), u16::MAX).unwrap();
            tenant.commit().unwrap();
            moved.push(resealed.moved);
            after = resealed.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(moved, expected);
    }
    let mut tenant = as_service(&db, &world.a.workspace);
    let none = tenant.integrations().reseal(None, 0).unwrap_err();
    assert!(matches!(&none, Error::Invalid(invalid) if invalid.field() == "batch"), "{none:?}");
}

#[test]
fn a_member_reseals_nothing_and_an_admin_only_at_home() {
    let world = sealed_world();
    created(&world.db, &world.a, "ours");
    created(&world.db, &world.b, "theirs");
    let db = with_keys(&world.test, BOTH);
    for (user, moved) in
        [(&world.a.member, 0), (&world.stranger, 0), (&world.b.owner, 0), (&world.a.admin, 1)]
    {
        let mut tenant = db.tenant(user, &world.a.workspace).unwrap();
        assert_eq!(tenant.integrations().reseal(None, 9).unwrap().moved, moved);
        tenant.commit().unwrap();
    }
    assert_eq!(usage(&db), [("k1".to_owned(), 1), ("k2".to_owned(), 1)]);
    let log = entries(&world.db, &world.a, "integration.reseal");
    assert_eq!(log.len(), 1);
    assert_eq!(log[0].changes, serde_json::json!({"key_id": {"new": "k2"}}));
    assert!(entries(&world.db, &world.b, "integration.reseal").is_empty());
}

#[test]
fn a_batch_of_no_envelopes_is_refused_and_the_transaction_goes_on() {
    let world = sealed_world();
    let mut tenant = world.db.tenant(&world.a.admin, &world.a.workspace).unwrap();
    let refused = tenant.integrations().reseal(None, 0);
    assert!(
        matches!(&refused, Err(Error::Invalid(invalid)) if invalid.field() == "batch"),
        "{refused:?}"
    );
    assert_eq!(tenant.integrations().reseal(None, 1).unwrap().moved, 0);
}
