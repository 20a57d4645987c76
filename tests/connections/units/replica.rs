use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use sesari_db::database::WriteMark;
use sesari_db::repo::{KpiFilter, NewKpi};
use sesari_db::{Database, Error, Result, Scope, TenantConnection};

use super::{LONG, number, until};
use crate::support::Tenant;
use crate::support::server::Server;

fn pair() -> (Server, Server) {
    let primary = Server::new(&[]);
    let standby = primary.standby();
    let mut admin = primary.admin();
    until(LONG, "the standby follows", || {
        number(&mut admin, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")
            == 1
    });
    (primary, standby)
}

fn is_standby(tenant: &mut TenantConnection) -> Result<bool> {
    let answer = diesel::select(sql::<Bool>("pg_is_in_recovery()"));
    Ok(answer.get_result(tenant.connection())?)
}

fn scope(tenant: &Tenant) -> Scope<TenantConnection> {
    Scope::tenant(&tenant.owner, &tenant.workspace)
}

fn create(db: &Database, tenant: &Tenant) -> WriteMark {
    db.run("kpi.create", scope(tenant), |tenant| {
        tenant.kpis().create(&NewKpi::new("Churn".parse()?))
    })
    .unwrap();
    db.write_mark().unwrap()
}

#[test]
fn reads_go_to_the_replica_where_they_may_and_see_what_they_must() {
    let (primary, standby) = pair();
    let db = primary.builder().replica_url(standby.tenant_url()).build().unwrap();
    let acme = Tenant::furnish(&db, "acme");
    let globex = Tenant::furnish(&db, "globex");
    let mark = create(&db, &acme);
    until(LONG, "it is opened", || db.health().replica.unwrap().pool.is_some());
    let seen = db.run("kpi.count", scope(&acme).from_replica_after(mark), |tenant| {
        Ok::<_, Error>((is_standby(tenant)?, tenant.kpis().count(&KpiFilter::default())?))
    });
    assert_eq!(seen.unwrap(), (true, 2));

    // Isolated as the primary is, and read-only.
    let foreign = Scope::tenant(&acme.owner, &globex.workspace).from_replica();
    let foreign = db.run("kpi.count", foreign, |tenant| tenant.kpis().count(&KpiFilter::default()));
    assert_eq!(foreign.unwrap(), 0);
    let written = db.run("kpi.create", scope(&acme).from_replica(), |tenant| {
        tenant.kpis().create(&NewKpi::new("Refused".parse()?))
    });
    assert!(matches!(written, Err(Error::ReadOnly | Error::ReadOnlyServer)), "{written:?}");
    assert!(!db.run("where", scope(&acme).read_only(), is_standby).unwrap());

    // It stands still: what must be seen is asked of the primary, and what may lag is not.
    standby.admin().batch_execute("SELECT pg_wal_replay_pause()").unwrap();
    until(LONG, "it has paused", || {
        number(
            &mut standby.admin(),
            "SELECT count(*) WHERE pg_get_wal_replay_pause_state() = 'paused'",
        ) == 1
    });
    let mark = create(&db, &acme);
    let fresh = db.run("kpi.count", scope(&acme).from_replica_after(mark), |tenant| {
        Ok::<_, Error>((is_standby(tenant)?, tenant.kpis().count(&KpiFilter::default())?))
    });
    assert_eq!(fresh.unwrap(), (false, 3));
    let stale = db.run("kpi.count", scope(&acme).from_replica(), |tenant| {
        Ok::<_, Error>((is_standby(tenant)?, tenant.kpis().count(&KpiFilter::default())?))
    });
    assert_eq!(stale.unwrap(), (true, 2));
    let health = db.health().replica.unwrap();
    assert!(health.lag_bytes.unwrap() > 0 && health.lag_seconds.unwrap() > 0.0, "{health:?}");

    // Where it comes in time, it is waited for.
    let patient = primary.builder().replica_url(standby.tenant_url()).replica_timeout(LONG);
    let patient = patient.build().unwrap();
    until(LONG, "it is opened", || patient.health().replica.unwrap().pool.is_some());
    let waited = std::thread::scope(|threads| {
        threads.spawn(|| {
            std::thread::sleep(Duration::from_millis(200));
            standby.admin().batch_execute("SELECT pg_wal_replay_resume()").unwrap();
        });
        patient.run("kpi.count", scope(&acme).from_replica_after(mark), |tenant| {
            Ok::<_, Error>((is_standby(tenant)?, tenant.kpis().count(&KpiFilter::default())?))
        })
    });
    assert_eq!(waited.unwrap(), (true, 3));
    until(LONG, "it has caught up", || db.health().replica.unwrap().lag_bytes == Some(0));
}

#[test]
fn a_replica_that_is_gone_is_done_without_and_comes_back_by_itself() {
    let (primary, standby) = pair();
    standby.tell("stop");
    // It need not be there to begin with.
    let db = primary
        .builder()
        .replica_url(standby.tenant_url())
        .pool_timeout(Duration::from_secs(2))
        .build()
        .unwrap();
    let acme = Tenant::furnish(&db, "acme");
    let from_replica = || db.run("where", scope(&acme).from_replica(), is_standby).unwrap();
    assert!(!from_replica());
    standby.start();
    until(LONG, "it is used", from_replica);
    standby.kill();
    assert!(!from_replica(), "the primary answers in the same call");
    let health = db.health();
    assert!(health.is_ready() && !health.replica.unwrap().pool.unwrap().takes_writes);
    standby.start();
    until(LONG, "it is used again", from_replica);
}

#[test]
fn a_replica_is_not_used_unless_it_is_as_safe_as_the_primary() {
    let primary = Server::new(&[]);
    let other = Server::new(&[]);
    other.admin().batch_execute("DROP POLICY kpis_tenant_select ON public.kpis").unwrap();
    let db = primary.builder().replica_url(other.tenant_url()).build().unwrap();
    let acme = Tenant::furnish(&db, "acme");
    std::thread::sleep(Duration::from_secs(1));
    // Had it been used, it would not know the workspace.
    let found =
        db.run("workspace", scope(&acme).from_replica(), |tenant| tenant.workspace().find());
    assert_eq!(found.unwrap().unwrap().id, acme.workspace);
    assert_eq!(db.health().replica.unwrap().pool, None);
}
