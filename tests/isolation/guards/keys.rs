//! Signing keys and the passage of time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use sesari_db::PgConnection;
use sesari_db::clock::Clock;
use sesari_db::maintenance::{install_context_key, retire_context_key};
use sesari_db::page::PageRequest;
use sesari_db::repo::KpiFilter;
use sesari_db::tenancy::{ContextKey, ContextKeyRing};
use sesari_db::{DatabaseBuilder, Error, TenantConnection};

use super::*;
use crate::support::World;

/// A clock that runs ahead of the machine's by so many milliseconds.
#[derive(Clone, Default)]
struct Ahead(Arc<AtomicU64>);

impl Ahead {
    fn clock(&self) -> Clock {
        let ahead = self.0.clone();
        Clock::from_fn(move || Instant::now() + Duration::from_millis(ahead.load(Ordering::SeqCst)))
    }

    fn moves_on(&self, duration: Duration) {
        self.0.fetch_add(u64::try_from(duration.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

const A_MINUTE: Duration = Duration::from_secs(61);

fn ring(world: &World, preferred: &ContextKey) -> DatabaseBuilder {
    let old = world.test.context_key().clone();
    let keys = ContextKeyRing::new([preferred.clone(), old]).unwrap();
    Database::builder(world.test.tenant_url(), keys).pool_size(1)
}

fn key_in_use(tenant: &mut TenantConnection) -> String {
    text(tenant.connection(), "split_part(current_setting('sesari.context'), '.', 2)")
}

#[test]
fn keys_rotate_while_services_run() {
    let world = World::new();
    let a = &world.a;
    let mut admin = world.test.admin().unwrap();
    let new = ContextKey::generate("new").unwrap();
    let old = world.test.context_key().id().to_owned();
    let time = Ahead::default();

    // A service that has both keys already, before the database has the new one.
    let db = ring(&world, &new).clock(time.clock()).build().unwrap();
    assert_eq!(key_in_use(&mut db.tenant(&a.owner, &a.workspace).unwrap()), old);

    install_context_key(&mut admin, &new).unwrap();
    time.moves_on(A_MINUTE);
    assert_eq!(key_in_use(&mut db.tenant(&a.owner, &a.workspace).unwrap()), "new");
    assert_eq!(kpis(&db, a), 1);

    // The old one goes, and nobody notices.
    let mut open = db.tenant(&a.owner, &a.workspace).unwrap();
    assert!(retire_context_key(&mut admin, &old).unwrap());
    assert!(!retire_context_key(&mut admin, &old).unwrap());
    assert!(open.kpis().find(&a.kpi).unwrap().is_some());
    open.kpis().create(&churn()).unwrap();
    open.commit().unwrap();
    assert_eq!(kpis(&db, a), 2);
}

#[test]
fn a_retired_key_is_worthless_from_the_next_statement_on_and_given_up_within_a_minute() {
    let world = World::new();
    let a = &world.a;
    let mut admin = world.test.admin().unwrap();
    let new = ContextKey::generate("new").unwrap();
    let time = Ahead::default();
    install_context_key(&mut admin, &new).unwrap();
    let db = ring(&world, &new).clock(time.clock()).build().unwrap();

    let mut open = db.tenant(&a.owner, &a.workspace).unwrap();
    assert!(open.kpis().find(&a.kpi).unwrap().is_some());
    retire_context_key(&mut admin, "new").unwrap();
    assert_eq!(open.role().unwrap(), None);
    assert!(open.kpis().find(&a.kpi).unwrap().is_none());
    let refused = open.kpis().create(&churn()).unwrap_err();
    assert!(refused.is_denied(), "{refused:?}");
    drop(open);

    time.moves_on(A_MINUTE);
    assert_eq!(kpis(&db, a), 1);

    // When the last key is gone, that is said, not shown as an empty workspace.
    retire_context_key(&mut admin, world.test.context_key().id()).unwrap();
    time.moves_on(A_MINUTE);
    let Err(error) = db.tenant(&a.owner, &a.workspace) else { panic!("opened") };
    assert!(matches!(error, Error::ContextKeyUnknown), "{error:?}");
    install_context_key(&mut admin, world.test.context_key()).unwrap();
    time.moves_on(A_MINUTE);
    assert_eq!(kpis(&db, a), 1);
}

#[test]
fn a_key_cannot_be_replaced_under_its_id() {
    let world = World::new();
    let mut admin = world.test.admin().unwrap();
    let key = ContextKey::generate(world.test.context_key().id()).unwrap();
    let error = install_context_key(&mut admin, &key).unwrap_err();
    assert!(error.is_conflict(), "{error:?}");
    install_context_key(&mut admin, world.test.context_key()).unwrap();
}

#[test]
fn a_connection_that_was_not_used_for_long_still_signs_fresh_contexts() {
    let world = World::new();
    let time = Ahead::default();
    let db = world.test.builder().pool_size(1).clock(time.clock()).build().unwrap();
    for away in [A_MINUTE, Duration::from_hours(24), Duration::ZERO] {
        assert_eq!(kpis(&db, &world.a), 1);
        time.moves_on(away);
        assert_eq!(kpis(&db, &world.a), 1, "{away:?}");
    }
}

#[test]
fn a_begin_that_took_too_long_is_an_expired_context_and_not_an_empty_workspace() {
    let world = World::new();
    let a = &world.a;
    // Nine seconds pass between any two looks at the clock, so also between signing and beginning.
    let looks = AtomicU64::new(0);
    let start = Instant::now();
    let clock = Clock::from_fn(move || {
        start + Duration::from_secs(9 * looks.fetch_add(1, Ordering::SeqCst))
    });
    let db = world.test.builder().pool_size(1).clock(clock).build().unwrap();
    for _ in 0..3 {
        let mut tenant = db.tenant(&a.owner, &a.workspace).unwrap();
        let error = tenant.kpis().count(&KpiFilter::default()).unwrap_err();
        assert!(matches!(error, Error::ContextExpired), "{error:?}");
        assert!(error.is_retryable());
        let error = tenant.kpis().count(&KpiFilter::default()).unwrap_err();
        assert!(matches!(error, Error::TransactionAborted), "{error:?}");
    }
}

/// Signs like the crate does, with any moment and backend, as only who reads the keys can.
fn forge(admin: &mut PgConnection, world: &World, issued_at: i64, pid: i64) -> String {
    let (a, key) = (&world.a, world.test.context_key().id());
    let body = format!("1.{key}.u.{}.{}.{issued_at}.{pid}", a.owner, a.workspace);
    let mac = text(
        admin,
        &format!(
            "(SELECT encode(sha256(outer_pad || sha256(inner_pad || convert_to('{body}', 'UTF8'))), \
                'hex') FROM sesari.context_keys WHERE key_id = '{key}')"
        ),
    );
    format!("{body}.{mac}")
}

#[test]
fn a_context_lives_for_seconds_and_on_one_backend() {
    let world = World::new();
    let a = &world.a;
    let mut admin = world.test.admin().unwrap();
    let second = 1_000_000;
    // Age in seconds, whether on the backend it names, whether it opens the workspace.
    for (age, same_backend, opens) in [
        (0, true, true),
        (9, true, true),
        (-1, true, true),
        (11, true, false),
        (3600, true, false),
        (-3, true, false),
        (-3600, true, false),
        (0, false, false),
    ] {
        let mut tenant = world.db.tenant(&world.stranger, &a.workspace).unwrap();
        let pid = pid(&mut tenant) + i64::from(!same_backend);
        let now = number(tenant.connection(), "(extract(epoch FROM now()) * 1000000)::bigint");
        let context = forge(&mut admin, &world, now - age * second, pid);
        let set = format!("SET LOCAL sesari.context = '{context}'");
        tenant.connection().batch_execute(&set).unwrap();
        let seen = tenant.kpis().list(&KpiFilter::default(), &PageRequest::default()).unwrap();
        assert_eq!(!seen.items.is_empty(), opens, "{age} s, {same_backend}");
        assert_eq!(tenant.kpis().create(&churn()).is_ok(), opens, "{age} s, {same_backend}");
    }
}

#[test]
fn behind_a_transaction_pooler_nothing_depends_on_the_connection() {
    let world = World::new();
    let a = &world.a;
    let db = world.test.builder().pool_size(1).behind_transaction_pooler().build().unwrap();
    let prepared = "(SELECT count(*) FROM pg_prepared_statements)";
    for round in 0..3 {
        for _ in 0..2 {
            let mut tenant = db.tenant(&a.owner, &a.workspace).unwrap();
            assert!(tenant.kpis().find(&a.kpi).unwrap().is_some());
            assert!(tenant.data_points().latest(&a.kpi).unwrap().is_some());
            tenant.goals().progress(&a.goal).unwrap();
            tenant.commit().unwrap();
        }
        // Lending the connection must not change it.
        let mut tenant = db.tenant(&a.owner, &a.workspace).unwrap();
        let conn = tenant.connection();
        assert_eq!(text(conn, "split_part(current_setting('sesari.context'), '.', 7)"), "0");
        assert_eq!(number(conn, prepared), 0, "round {round}");
    }
}
