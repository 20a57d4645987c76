//! What takes many transactions, as futures.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use sesari_db::id::KpiId;
use sesari_db::import::{CsvOptions, ImportOptions};
use sesari_db::repo::{NewDataPoint, OnExisting, TimeRange};
use sesari_db::value::Timestamp;
use sesari_db::{AsyncDatabase, Error};
use tokio::runtime::Builder;

use crate::support::{World, hour};

fn at(hours: i64) -> Timestamp {
    Timestamp::new(hour(hours)).unwrap()
}

fn points(world: &World, kpi: &KpiId) -> i64 {
    let mut tenant = world.db.tenant(&world.a.member, &world.a.workspace).unwrap();
    let all = TimeRange::new(at(-1000), at(100_000)).unwrap();
    tenant.data_points().count(kpi, all).unwrap()
}

#[test]
fn old_points_go_batch_by_batch_and_a_dropped_future_leaves_the_rest() {
    let world = World::new();
    let (a, kpi) = (&world.a, &world.a.kpi);
    let before = points(&world, kpi);
    let new: Vec<_> =
        (100..130).map(|i| NewDataPoint::new(kpi.clone(), 1.0, hour(i)).unwrap()).collect();
    world
        .db
        .import(
            &a.member,
            &a.workspace,
            new.into_iter().map(Ok),
            &ImportOptions::new(OnExisting::Fail),
            |_, _| (),
        )
        .unwrap();
    let db = AsyncDatabase::from(world.db.clone());
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let delete = db.delete_points_before(&a.owner, &a.workspace, None, at(110), 4, |_| ());
        let seen = Mutex::new(Vec::new());
        assert_eq!(delete.await.unwrap(), u64::try_from(before + 10).unwrap());
        let some =
            db.delete_points_before(&a.owner, &a.workspace, Some(kpi), at(114), 3, |so_far| {
                seen.lock().unwrap().push(so_far);
            });
        assert_eq!(some.await.unwrap(), 4);
        assert_eq!(*seen.lock().unwrap(), [3, 4]);
        let bad = db.delete_points_before(&a.owner, &a.workspace, Some(kpi), at(200), 0, |_| ());
        assert!(matches!(bad.await, Err(Error::Invalid(_))));
        let stranger = &world.stranger;
        let theirs = db.delete_points_before(stranger, &a.workspace, None, at(200), 9, |_| ());
        assert_eq!(theirs.await.unwrap(), 0);
        // Dropped while it waits for its first batch.
        drop(db.delete_points_before(&a.owner, &a.workspace, None, at(200), 9, |_| ()));
        let rezoned = db.rezone_rollups(&a.owner, &a.workspace, 10, |_| ()).await.unwrap();
        assert_eq!((rezoned.rollups, rezoned.rezoned), (rezoned.total, 0));
        assert!(db.check_isolation().await.unwrap().is_safe());
        assert_eq!(db.live_fingerprint().await.unwrap(), world.db.live_fingerprint().unwrap());
        // It has no keys.
        let rotated = db.rotate_sealing_key(&"rotation".parse().unwrap(), 0, |_| ()).await;
        assert!(matches!(rotated, Err(Error::Config(_))), "{rotated:?}");
    });
    assert_eq!(points(&world, kpi), 16);
}

/// What arrives of a body, piece by piece; all of it when the sender has gone.
struct Body(Receiver<Vec<u8>>);

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Ok(piece) = self.0.recv() else { return Ok(0) };
        buffer[..piece.len()].copy_from_slice(&piece);
        Ok(piece.len())
    }
}

#[test]
fn an_upload_is_imported_as_it_arrives_and_not_after_its_caller_has_gone() {
    let world = World::new();
    let (a, kpi) = (&world.a, &world.a.kpi);
    let before = points(&world, kpi);
    let db = AsyncDatabase::from(world.db.clone());
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let row = |i: i64| format!("{},1\n", hour(1000 + i).to_rfc3339()).into_bytes();
    let csv = CsvOptions::of_kpi(kpi.clone());
    let options = ImportOptions::new(OnExisting::Fail).batch_rows(2);
    let committed = Arc::new(Mutex::new(0));
    runtime.block_on(async {
        let (sender, body) = channel();
        let import = db.import_csv(&a.member, &a.workspace, Body(body), &csv, &options, |_, _| ());
        sender.send(b"timestamp,value\n".to_vec()).unwrap();
        (0..5).for_each(|i| sender.send(row(i)).unwrap());
        drop(sender);
        assert_eq!(import.await.unwrap().inserted, 5);

        let (sender, body) = channel();
        let seen = committed.clone();
        let progress = move |_: &_, _: &[_]| *seen.lock().unwrap() += 1;
        let (db, member, workspace) = (db.clone(), a.member.clone(), a.workspace.clone());
        let import = tokio::spawn(async move {
            db.import_csv(&member, &workspace, Body(body), &csv, &options, progress).await
        });
        sender.send(b"timestamp,value\n".to_vec()).unwrap();
        (5..9).for_each(|i| sender.send(row(i)).unwrap());
        while *committed.lock().unwrap() == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        import.abort();
        assert!(import.await.unwrap_err().is_cancelled());
        // Two more, which make a batch, and the end.
        (9..13).for_each(|i| drop(sender.send(row(i))));
    });
    // Waits for its threads.
    drop(runtime);
    // Of the second upload whole batches alone, and none that came after its caller had gone.
    let imported = points(&world, kpi) - before - 5;
    assert!(imported == 2 || imported == 4, "{imported}");
}
