//! Keys are dropped when they are old, by whoever runs the migrations.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use sesari_db::PgConnection;
use sesari_db::idempotency::IdempotencyKey;
use sesari_db::value::Timestamp;
use sesari_db::{Error, maintenance};

use super::{ask, key, made, make_kpi, world};
use crate::support::logins;
use crate::support::{World, hour};

fn at(hours: i64) -> Timestamp {
    Timestamp::new(hour(hours)).unwrap()
}

/// Makes this key as old as that hour. Nobody but a superuser without triggers can.
fn age(world: &World, key: &IdempotencyKey, hours: i64) {
    let mut admin = world.test.admin().unwrap();
    let sql = format!(
        "SET session_replication_role = replica;
         UPDATE public.idempotency_keys SET created_at = '{}' WHERE key = '{key}'",
        hour(hours)
    );
    admin.batch_execute(&sql).unwrap();
}

#[test]
fn keys_made_before_a_moment_go_and_their_work_can_be_done_again() {
    let world = world();
    let keys: Vec<_> = (0..3).map(|_| key()).collect();
    for (key, hours) in keys.iter().zip(0..) {
        ask(&world, key).unwrap();
        age(&world, key, hours);
    }
    let mut theirs = world.db.tenant(&world.b.owner, &world.b.workspace).unwrap();
    theirs.once("make a kpi", &keys[0], make_kpi).unwrap();
    theirs.commit().unwrap();
    age(&world, &keys[0], 0);

    let mut admin = world.test.admin().unwrap();
    assert_eq!(maintenance::prune_idempotency_keys(&mut admin, at(0)).unwrap(), 0);
    assert_eq!(maintenance::prune_idempotency_keys(&mut admin, at(2)).unwrap(), 3);
    assert_eq!(maintenance::prune_idempotency_keys(&mut admin, at(2)).unwrap(), 0);
    for key in &keys {
        ask(&world, key).unwrap();
    }
    assert_eq!(made(&world), 5);
}

#[test]
fn more_than_a_batch_goes_in_one_call() {
    let world = world();
    let mut admin = world.test.admin().unwrap();
    admin
        .batch_execute(&format!(
            "INSERT INTO public.idempotency_keys (workspace_id, actor_kind, actor_id, membership, key, operation, created_at)
             SELECT '{}', 'user', 'u1', 'member m1', 'k' || n, 'x', '2026-01-01 00:00Z'::timestamptz + n * interval '1 second'
               FROM generate_series(1, 25000) AS n",
            world.a.workspace
        ))
        .unwrap();
    let before = Timestamp::new(hour(0) + chrono::TimeDelta::seconds(24_990)).unwrap();
    assert_eq!(maintenance::prune_idempotency_keys(&mut admin, before).unwrap(), 24_989);
    assert_eq!(logins::value(&mut admin, "SELECT count(*) FROM public.idempotency_keys"), "11");
}

/// Two for each of five workspaces, and one that is not old.
#[test]
fn a_call_drops_so_many_and_goes_past_so_many_workspaces() {
    let world = world();
    let mut admin = world.test.admin().unwrap();
    admin
        .batch_execute(
            "SET session_replication_role = replica;
             INSERT INTO public.idempotency_keys (workspace_id, actor_kind, actor_id, membership, key, operation, created_at)
             SELECT 'w' || w, 'user', 'u1', 'member m1', 'k' || k, 'x',
                    CASE WHEN k = 3 THEN '2026-01-02 00:00Z' ELSE '2026-01-01 00:00Z' END::timestamptz
               FROM generate_series(1, 5) AS w, generate_series(1, 3) AS k",
        )
        .unwrap();
    let mut prune = |after: &str, how_many: i32| {
        let call = format!(
            "SELECT concat_ws(' ', pruned, last_workspace) FROM sesari.prune_idempotency_keys( \
             '2026-01-01 12:00Z', '{after}', {how_many})"
        );
        logins::value(&mut admin, &call)
    };
    assert_eq!(prune("", 3), "3 w1", "of the second there may be more");
    assert_eq!(prune("w1", 3), "3 w2");
    assert_eq!(prune("w2", 100), "4");
    assert_eq!(prune("", 100), "0");
    assert_eq!(prune("", 2), "0 w2", "no more than two workspaces are looked at");
    let kept = "SELECT count(*) FROM public.idempotency_keys";
    assert_eq!(logins::value(&mut admin, kept), "5");
}

/// Pruning does not wait for it either.
#[test]
fn a_key_that_is_just_asked_for_stays() {
    let world = world();
    let (asked, idle) = (key(), key());
    for key in [&asked, &idle] {
        ask(&world, key).unwrap();
        age(&world, key, 0);
    }
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    tenant.once("make a kpi", &asked, make_kpi).unwrap();
    let mut admin = world.test.admin().unwrap();
    admin.batch_execute("SET lock_timeout = '2s'").unwrap();
    assert_eq!(maintenance::prune_idempotency_keys(&mut admin, at(1)).unwrap(), 1);
    tenant.commit().unwrap();
    assert_eq!(maintenance::prune_idempotency_keys(&mut admin, at(1)).unwrap(), 1);
}

#[test]
fn no_login_of_a_service_prunes() {
    let world = world();
    ask(&world, &key()).unwrap();
    for url in [world.test.tenant_url(), world.test.service_url()] {
        let mut conn = PgConnection::establish(&url).unwrap();
        let refused = maintenance::prune_idempotency_keys(&mut conn, at(1_000_000));
        assert!(matches!(refused, Err(Error::Denied)), "{refused:?}");
    }
}
