//! Connections that die, and configurations that cannot work.

use std::net::TcpListener;
use std::time::Duration;

use sesari_db::repo::KpiFilter;
use sesari_db::tenancy::ContextKey;
use sesari_db::{DatabaseBuilder, Error};

use super::*;
use crate::support::{World, service};

#[test]
fn connections_that_died_in_the_pool_are_replaced_without_an_error() {
    let world = World::new();
    let a = &world.a;
    let db = world.test.builder().pool_size(3).build().unwrap();
    let mut guards: Vec<_> = (0..3).map(|_| db.tenant(&a.owner, &a.workspace).unwrap()).collect();
    let pids: Vec<i64> = guards.iter_mut().map(pid).collect();
    drop(guards);
    for pid in &pids {
        terminate(&world, *pid);
    }
    let mut guards: Vec<_> = (0..3).map(|_| db.tenant(&a.owner, &a.workspace).unwrap()).collect();
    for guard in &mut guards {
        assert!(guard.kpis().find(&a.kpi).unwrap().is_some());
        assert!(!pids.contains(&pid(guard)));
    }
}

#[test]
fn a_connection_that_dies_in_a_transaction_is_a_lost_one_and_the_next_guard_works() {
    let world = World::new();
    let a = &world.a;
    let db = world.test.builder().pool_size(1).build().unwrap();
    let mut tenant = db.tenant(&a.owner, &a.workspace).unwrap();
    tenant.kpis().create(&churn()).unwrap();
    let backend = pid(&mut tenant);
    terminate(&world, backend);
    let lost = tenant.kpis().find(&a.kpi).unwrap_err();
    assert!(matches!(lost, Error::ConnectionLost(_)), "{lost:?}");
    assert!(lost.is_retryable());
    drop(tenant);
    assert_eq!(kpis(&db, a), 1);
}

#[test]
fn a_connection_that_dies_before_the_commit_leaves_the_outcome_open_and_stores_nothing() {
    let world = World::new();
    let a = &world.a;
    let db = world.test.builder().pool_size(1).build().unwrap();
    let mut tenant = db.tenant(&a.owner, &a.workspace).unwrap();
    tenant.kpis().create(&churn()).unwrap();
    let backend = pid(&mut tenant);
    terminate(&world, backend);
    let committed = tenant.commit().unwrap_err();
    // From here, a connection that broke before the commit and one that broke after look alike.
    assert!(matches!(committed, Error::OutcomeUnknown(_)), "{committed:?}");
    assert!(!committed.is_retryable());
    assert_eq!(kpis(&db, a), 1);
}

#[test]
fn a_rollback_on_a_dead_connection_says_that_it_was_lost() {
    let world = World::new();
    let db = world.test.builder().pool_size(1).build().unwrap();
    let mut tenant = db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    let backend = pid(&mut tenant);
    terminate(&world, backend);
    let rolled_back = tenant.rollback().unwrap_err();
    assert!(matches!(rolled_back, Error::ConnectionLost(_)), "{rolled_back:?}");
    assert_eq!(kpis(&db, &world.a), 1);
}

#[test]
fn a_begin_that_the_server_refuses_leaves_a_usable_pool() {
    let world = World::new();
    let a = &world.a;
    let login = format!("sesari_test_fickle_{}", std::process::id());
    let mut admin = world.test.admin().unwrap();
    let mut as_admin = |sql: String| diesel::sql_query(sql).execute(&mut admin).unwrap();
    as_admin(format!("CREATE ROLE {login} LOGIN PASSWORD 'fickle'"));
    as_admin(format!("GRANT sesari_tenant TO {login}"));
    let db =
        Database::builder(world.test.login_url(&login, "fickle"), world.test.context_key().clone());
    let db = db.pool_size(1).build().unwrap();
    assert_eq!(kpis(&db, a), 1);
    as_admin(format!("REVOKE sesari_tenant FROM {login}"));
    // A session keeps the role that it has.
    as_admin(format!(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = '{login}'"
    ));
    let count =
        |db: &Database| db.tenant(&a.owner, &a.workspace)?.kpis().count(&KpiFilter::default());
    let refused = count(&db).err();
    as_admin(format!("GRANT sesari_tenant TO {login}"));
    let afterwards = count(&db);
    drop(db);
    // Roles belong to the server, which may outlive this test: first of all, the role goes.
    as_admin(format!("DROP ROLE {login}"));
    assert!(matches!(refused, Some(Error::Denied)), "{refused:?}");
    assert!(afterwards.is_ok(), "{afterwards:?}");
}

fn refusal(builder: DatabaseBuilder) -> Error {
    match builder.build() {
        Ok(_) => panic!("was built"),
        Err(error) => error,
    }
}

#[test]
fn settings_that_make_no_sense_are_refused_before_anything_is_opened() {
    let world = World::new();
    let builder = || world.test.builder();
    let month = Duration::from_hours(744);
    for (what, builder) in [
        ("no connections", builder().pool_size(0)),
        ("no patience", builder().pool_timeout(Duration::ZERO)),
        ("no lifetime", builder().connection_lifetime(Duration::ZERO)),
        ("under a millisecond", builder().statement_timeout(Duration::from_micros(999))),
        ("over the server's range", builder().lock_timeout(month)),
        ("over the server's range", builder().idle_in_transaction_timeout(month)),
    ] {
        let error = refusal(builder);
        assert!(matches!(error, Error::Config(_)), "{what}: {error:?}");
    }
}

#[test]
fn urls_that_lead_nowhere_are_typed_errors_without_the_password() {
    let world = World::new();
    let key = || world.test.context_key().clone();
    for url in ["", "nonsense", "mysql://u:hunter2@localhost/db", "host=localhost password=hunter2"]
    {
        let error = refusal(Database::builder(url, key()));
        assert!(matches!(error, Error::Config(_)), "{url}: {error:?}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for url in [
        "postgres://u:hunter2@localhost:notaport/db".to_owned(),
        format!("postgres://u:hunter2@{refused}/db"),
        world.test.login_url("nobody", "hunter2"),
    ] {
        let error = refusal(Database::builder(&url, key()));
        let known = matches!(error, Error::Connect { .. } | Error::Config(_));
        assert!(known, "{url}: {error:?}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}

#[test]
fn a_server_that_accepts_and_says_nothing_does_not_hold_the_caller_for_ever() {
    let world = World::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://u@{}/db", silent.local_addr().unwrap());
    let builder = Database::builder(url, world.test.context_key().clone());
    let error = refusal(builder.pool_timeout(Duration::from_millis(100)));
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
}

#[test]
fn the_services_door_stays_shut_without_its_login() {
    let world = World::new();
    let builder = Database::builder(world.test.tenant_url(), world.test.context_key().clone());
    let db = builder.build().unwrap();
    let Err(error) = db.service(&service()) else { panic!("opened") };
    assert!(matches!(error, Error::Config(_)), "{error:?}");
    assert_eq!(kpis(&db, &world.a), 1);
}

#[test]
fn a_key_that_the_database_does_not_know_is_refused() {
    let world = World::new();
    let key = ContextKey::generate("unheard-of").unwrap();
    let error = refusal(Database::builder(world.test.tenant_url(), key));
    assert!(matches!(error, Error::ContextKeyUnknown), "{error:?}");
}

#[test]
fn another_key_under_a_known_id_is_refused() {
    let world = World::new();
    let key = ContextKey::generate(world.test.context_key().id()).unwrap();
    // Every context would be worthless, and every guard empty without a word.
    let built = Database::builder(world.test.tenant_url(), key).build();
    assert!(built.is_err());
}
