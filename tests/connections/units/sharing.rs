use std::sync::mpsc;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use sesari_db::{Error, Scope};

use super::{LONG, until};
use crate::support::World;

#[test]
fn a_workspace_that_floods_has_its_share_and_others_get_through() {
    let world = World::new();
    let patience = Duration::from_millis(300);
    let db = world.test.builder().workspace_share(0.5).pool_timeout(patience).build().unwrap();
    let flood: Vec<_> =
        (0..2).map(|_| db.tenant(&world.a.owner, &world.a.workspace).unwrap()).collect();
    let third = db.tenant(&world.a.owner, &world.a.workspace);
    assert!(matches!(third, Err(Error::PoolTimeout { .. })), "half of four is two");
    for _ in 0..3 {
        db.tenant(&world.b.owner, &world.b.workspace).unwrap().commit().unwrap();
    }
    drop(flood);
    db.tenant(&world.a.owner, &world.a.workspace).unwrap().commit().unwrap();
}

/// Nobody knows yet whether an actor is a member of what it asks for.
#[test]
fn an_actor_who_asks_for_many_workspaces_has_its_share_and_others_get_through() {
    let world = World::new();
    let patience = Duration::from_millis(300);
    let db = world.test.builder().actor_share(0.5).pool_timeout(patience).build().unwrap();
    let ask = |n: u32| db.tenant(&world.stranger, &format!("random{n}").parse().unwrap());
    let flood: Vec<_> = (0..2).map(|n| ask(n).unwrap()).collect();
    assert!(matches!(ask(2), Err(Error::PoolTimeout { .. })), "half of four is two");
    let outside = db.user(&world.stranger);
    assert!(matches!(outside, Err(Error::PoolTimeout { .. })), "of the same actor");
    for _ in 0..3 {
        db.tenant(&world.b.owner, &world.b.workspace).unwrap().commit().unwrap();
    }
    drop(flood);
    ask(3).unwrap().commit().unwrap();
    // Services outside of any workspace have a pool of their own, and all of it.
    let _all: Vec<_> = (0..4).map(|_| db.service(&crate::support::service()).unwrap()).collect();
}

#[test]
fn a_full_queue_is_told_at_once() {
    let world = World::new();
    let db = world.test.builder().pool_size(1).queue_limit(1).build().unwrap();
    let inside = db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    std::thread::scope(|threads| {
        let waiting = threads.spawn(|| {
            db.tenant(&world.a.owner, &world.a.workspace).unwrap().commit().unwrap();
        });
        until(LONG, "one waits", || db.health().tenant.waiting == 1);
        let start = Instant::now();
        let refused = db.tenant(&world.b.owner, &world.b.workspace);
        assert!(matches!(refused, Err(Error::Overloaded { .. })), "{refused:?}");
        assert!(start.elapsed() < Duration::from_secs(4), "the pool's timeout is five");
        drop(inside);
        waiting.join().unwrap();
    });
}

#[test]
fn health_tells_of_pools_servers_and_schema() {
    let world = World::new();
    let _guard = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    let health = world.db.health();
    assert!(health.is_ready(), "{health:?}");
    assert_eq!((health.tenant.max_connections, health.tenant.in_use), (4, 1));
    assert!(health.tenant.latency_ms.unwrap() > 0.0);
    assert!(health.service.as_ref().unwrap().takes_writes);
    let newest = sesari_db::migrations::versions().unwrap().pop();
    assert_eq!(health.schema_version, newest);
    assert_eq!(health.fingerprint.as_deref(), Some(world.db.fingerprint()));

    // A schema that is not the one that was checked is told of.
    let mut admin = world.test.admin().unwrap();
    admin.batch_execute("DROP POLICY kpis_tenant_select ON public.kpis").unwrap();
    let health = world.db.health();
    assert!(!health.is_schema_unchanged && health.is_ready(), "{health:?}");
    assert!(serde_json::to_string(&health).unwrap().contains("\"is_schema_unchanged\":false"));
}

#[test]
fn health_names_the_key_in_use_and_is_not_ready_without_one() {
    let world = World::new();
    let key = world.test.context_key();
    let health = world.db.health();
    assert_eq!(health.tenant.context_key.as_deref(), Some(key.id()));
    assert_eq!(health.service.as_ref().unwrap().context_key.as_deref(), Some(key.id()));

    let mut admin = world.test.admin().unwrap();
    sesari_db::maintenance::retire_context_key(&mut admin, key.id()).unwrap();
    let health = world.db.health();
    assert!(!health.is_ready(), "{health:?}");
    assert_eq!(
        (health.tenant.context_key, health.tenant.error),
        (None, Some("context_key_unknown"))
    );

    sesari_db::maintenance::install_context_key(&mut admin, key).unwrap();
    assert!(world.db.health().is_ready());
}

#[test]
fn shutting_down_lets_open_guards_finish_and_nobody_else_in() {
    let world = World::new();
    let db = world.db.clone();
    let (opened, wait) = mpsc::channel();
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let guard = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
            opened.send(()).unwrap();
            until(LONG, "the end has begun", || world.db.health().is_draining);
            guard.commit().unwrap();
        });
        wait.recv_timeout(LONG).unwrap();
        assert_eq!(db.shut_down(LONG), 0);
    });
    let late = db.tenant(&world.a.owner, &world.a.workspace);
    assert!(matches!(late, Err(Error::ShuttingDown)), "{late:?}");
    let unit = db.run("late", Scope::user(&world.a.owner), |user| user.me().find());
    assert!(matches!(unit, Err(Error::ShuttingDown)), "{unit:?}");
    assert!(!db.health().is_ready());
}

#[test]
fn a_retired_database_goes_on_and_is_not_ready() {
    let world = World::new();
    world.db.drain();
    assert!(!world.db.health().is_ready());
    world.db.tenant(&world.a.owner, &world.a.workspace).unwrap().commit().unwrap();
}

#[test]
fn shutting_down_says_who_stays() {
    let world = World::new();
    let _guard = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    assert_eq!(world.db.shut_down(Duration::from_millis(50)), 1);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let world = World::new();
    let builder = || world.test.builder();
    for (what, refused) in [
        ("no share", builder().workspace_share(0.0).build()),
        ("more than all", builder().workspace_share(1.1).build()),
        ("no number", builder().workspace_share(f64::NAN).build()),
        ("no share of an actor", builder().actor_share(0.0).build()),
        ("no time", builder().unit_deadline(Duration::ZERO).build()),
        ("no attempt", builder().unit_attempts(0).build()),
        ("for ever", builder().unit_deadline(Duration::MAX).build()),
    ] {
        assert!(matches!(refused, Err(Error::Config(_))), "{what}: {refused:?}");
    }
}
