//! Many tenants on few server connections. Every transaction that can still ask asks for everything
//! there is to see, and finds all of its own canaries and nobody else's.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use sesari_db::page::PageRequest;
use sesari_db::repo::{
    AuditFilter, GoalFilter, KpiChanges, KpiFilter, MemberFilter, NewDataPoint, NewGoal, NewKpi,
};
use sesari_db::schema::kpis;
use sesari_db::value::Finite;
use sesari_db::{Database, Error, Result, TenantConnection};

use super::chaos::Chaos;
use super::state::servers_are_clean;
use crate::support::bouncer::{Bouncer, SERVERS};
use crate::support::logins;
use crate::support::{Tenant, hour, service, sign_up};

/// Client threads, each with a connection to the pooler.
const CLIENTS: usize = 3 * SERVERS;

/// A tenant, and the question that shows whether a transaction is in it and in it alone.
pub struct Canaries {
    pub tenant: Tenant,
    question: String,
    expected: String,
}

impl Canaries {
    pub fn of(db: &Database, slug: &str) -> Self {
        let tenant = Tenant::furnish(db, slug);
        let mut guard = db.tenant(&tenant.owner, &tenant.workspace).unwrap();
        for n in 0..3 {
            let mut kpi = NewKpi::new(format!("canary {slug} {n}").parse().unwrap());
            kpi.category = Some("canary".parse().unwrap());
            guard.kpis().create(&kpi).unwrap();
        }
        guard.commit().unwrap();
        let workspace = &tenant.workspace;
        let foreign: Vec<_> =
            ["kpis", "kpi_data_points", "goals", "goal_kpis", "workspace_users", "audit_log"]
                .map(|table| {
                    format!("(SELECT count(*) FROM {table} WHERE workspace_id <> '{workspace}')")
                })
                .into();
        let question = format!(
            "SELECT concat_ws(' ',
                 (SELECT string_agg(name, ',' ORDER BY name) FROM kpis WHERE category = 'canary'),
                 (SELECT string_agg(slug, ',') FROM workspaces),
                 (SELECT string_agg(email, ',' ORDER BY email)
                    FROM sesari.member_profiles(ARRAY(SELECT user_id FROM workspace_users))),
                 (SELECT count(*) FROM kpi_data_points WHERE kpi_id = '{}' AND source = ''),
                 {}) AS line",
            tenant.kpi,
            foreign.join(" + ")
        );
        let expected = format!(
            "canary {slug} 0,canary {slug} 1,canary {slug} 2 {slug} \
             {slug}-admin@example.com,{slug}-member@example.com,{slug}-owner@example.com 3 0"
        );
        let canaries = Self { tenant, question, expected };
        let mut guard = db.tenant(&canaries.tenant.owner, &canaries.tenant.workspace).unwrap();
        assert!(canaries.are_all(&mut guard).unwrap());
        canaries
    }

    /// Whether the transaction sees all that is the tenant's and nothing else. Panics if it sees
    /// anything else; an error is one of the connection.
    pub fn are_all(&self, guard: &mut TenantConnection) -> Result<bool> {
        #[derive(QueryableByName)]
        struct Line {
            #[diesel(sql_type = diesel::sql_types::Text)]
            line: String,
        }
        let seen: Line = diesel::sql_query(&self.question).get_result(guard.connection())?;
        assert_eq!(seen.line, self.expected);
        Ok(true)
    }
}

/// What a client does in its transaction number `n`. `Ok(true)` if the canaries were looked at.
fn transaction(db: &Database, of: &Canaries, n: usize) -> Result<bool> {
    let tenant = &of.tenant;
    let actor = [&tenant.owner, &tenant.admin, &tenant.owner, &tenant.member][n % 4];
    // Members do not read the audit log; the question does not depend on it.
    let mut guard = match n % 5 {
        0 => db.tenant_read_only(actor, &tenant.workspace)?,
        _ => db.tenant(actor, &tenant.workspace)?,
    };
    let page = PageRequest::default();
    // Those that will fail or are undone look first.
    let mut seen = matches!(n % 12, 1 | 2 | 4 | 6) && of.are_all(&mut guard)?;
    match n % 12 {
        0 | 5 | 10 => {
            guard.kpis().list(&KpiFilter::default(), &page)?;
            assert!(guard.kpis().find(&tenant.kpi)?.is_some());
            assert_eq!(guard.goals().list(&GoalFilter::default(), &page)?.items.len(), 1);
            assert_eq!(guard.members().count(&MemberFilter::default())?, 3);
            assert!(guard.data_points().latest(&tenant.kpi)?.is_some());
            guard.audit_log().list(&AuditFilter::default(), &page)?;
            guard.goals().progress(&tenant.goal)?;
        }
        1 | 6 => {
            // Written, read back, and gone again for good.
            let kpi = match guard.kpis().create(&NewKpi::new("scratch".parse()?)) {
                Err(Error::ReadOnly) => return Ok(seen),
                other => other?,
            };
            guard.data_points().record(&NewDataPoint::new(kpi.id.clone(), 1.0, hour(1))?)?;
            let changes =
                KpiChanges { target_value: Some(Some(Finite::new(9.0)?)), ..KpiChanges::default() };
            guard.kpis().update(&kpi.id, &changes)?;
            guard.kpis().delete(&kpi.id)?;
            assert!(of.are_all(&mut guard)?);
        }
        2 => {
            // Undone as a whole.
            match guard.goals().create(&NewGoal::new("scratch".parse()?)) {
                Ok(_) | Err(Error::ReadOnly) => {}
                Err(error) => return Err(error),
            }
            return guard.rollback().map(|()| seen);
        }
        3 => {
            // A savepoint that is kept around one that is not.
            guard.transaction(|guard| {
                let failed: Result<()> = guard.transaction(|guard| {
                    guard.connection().batch_execute("SELECT 1 / 0")?;
                    Ok(())
                });
                assert!(failed.is_err());
                of.are_all(guard)
            })?;
        }
        4 => {
            // An error amid the transaction.
            assert!(guard.connection().batch_execute("SELECT 1 / 0").is_err());
            return match guard.commit() {
                Err(Error::TransactionAborted) => Ok(seen),
                Err(error) => Err(error),
                Ok(()) => panic!("a failed transaction was committed"),
            };
        }
        7 => {
            // Prepared by name, by a caller who insists, and by SQL.
            let conn = guard.connection();
            conn.set_prepared_statement_cache_size(diesel::connection::CacheSize::Unbounded);
            for _ in 0..2 {
                let names: Vec<String> = kpis::table
                    .filter(kpis::category.eq("canary"))
                    .select(kpis::name)
                    .load(conn)?;
                assert_eq!(names.len(), 3);
            }
            conn.batch_execute("PREPARE mine AS SELECT count(*) FROM kpis; EXECUTE mine")?;
        }
        8 => {
            // Everything that outlives a transaction.
            guard.connection().batch_execute(
                "SET work_mem = '1MB'; SET TIME ZONE 'Asia/Kathmandu'; SET search_path = pg_catalog;
                 LISTEN traffic; SELECT pg_advisory_lock_shared(7); SET SESSION ROLE sesari_tenant;
                 DECLARE held CURSOR WITH HOLD FOR SELECT 1; SET mine.note = 'here';
                 SET LOCAL search_path = public",
            )?;
            of.are_all(&mut guard)?;
        }
        9 => {
            // Long enough to be cancelled by somebody.
            guard.connection().batch_execute("SELECT pg_sleep(0.005)")?;
        }
        _ => {
            let mut user = db.user(actor)?;
            assert_eq!(user.my_workspaces().list(&page)?.items.len(), 1);
            user.commit()?;
        }
    }
    seen |= of.are_all(&mut guard)?;
    if n.is_multiple_of(7) {
        drop(guard);
    } else {
        guard.commit()?;
    }
    Ok(seen)
}

/// What cancelling, terminating and a pooler between may bring, and nothing else may.
pub fn is_expected(error: &Error) -> bool {
    matches!(
        error,
        Error::Cancelled
            | Error::ConnectionLost(_)
            | Error::OutcomeUnknown(_)
            | Error::TransactionAborted
            | Error::PoolTimeout { .. }
            | Error::ReadOnly
    )
}

fn interleave(tenants: usize, transactions: usize, chaos: bool) {
    let world = sesari_db::testing::TestDatabase::new().unwrap();
    let Some(bouncer) = Bouncer::start(&world, &[]) else { return };
    let direct = world.database().unwrap();
    let slugs: Vec<_> = (0..tenants).map(|n| format!("tenant-{n:02}")).collect();
    let all: Vec<_> = slugs.iter().map(|slug| Canaries::of(&direct, slug)).collect();
    let db = bouncer.builder(&world).pool_size(u32::try_from(CLIENTS).unwrap()).build().unwrap();
    let (next, seen, failed) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let stop = AtomicBool::new(false);
    let start = Instant::now();
    std::thread::scope(|scope| {
        let admin = chaos.then(|| scope.spawn(|| Chaos::new(&world).until(&stop)));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let n = next.fetch_add(1, Relaxed);
                        if n >= transactions {
                            break;
                        }
                        // Neighbours in time are neighbours in tenants.
                        match transaction(&db, &all[n * 7 % tenants], n / tenants + n) {
                            Ok(looked) => seen.fetch_add(usize::from(looked), Relaxed),
                            Err(error) if is_expected(&error) => failed.fetch_add(1, Relaxed),
                            Err(error) => panic!("transaction {n}: {error:?}"),
                        };
                    }
                })
            })
            .collect();
        let ended: Vec<_> = clients.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        stop.store(true, Relaxed);
        if let Some(admin) = admin {
            let (cancelled, terminated) = admin.join().unwrap();
            println!("{cancelled} cancelled, {terminated} terminated");
            assert!(cancelled > 0 && terminated > 0);
        }
        assert!(ended.into_iter().all(|client| client.is_ok()));
    });
    let (seen, failed) = (seen.into_inner(), failed.into_inner());
    println!(
        "{transactions} transactions of {tenants} tenants in {:?}: {seen} looked, {failed} failed",
        start.elapsed()
    );
    if chaos {
        assert!(seen > transactions / 3, "{seen} of {transactions}");
    } else {
        assert_eq!((seen, failed), (transactions, 0));
    }
    sign_up(&db, "the-service-scoped");
    assert!(db.service(&service()).is_ok());
    drop(db);
    servers_are_clean(&bouncer, &world);
    let backends = "SELECT count(*)::text AS line FROM pg_stat_activity
                     WHERE usename = 'sesari_test_tenant' AND datname = current_database()
                       AND application_name <> 'direct'";
    drop(direct);
    let mut admin = world.admin().unwrap();
    let backends: usize = logins::lines(&mut admin, backends)[0].parse().unwrap();
    assert!(backends <= SERVERS, "{backends}");
}

/// The quick form, or the long one.
fn this_many(quick: usize) -> usize {
    if std::env::var_os("SESARI_LONG").is_some() { 50_000 } else { quick }
}

#[test]
fn two_tenants_interleaved_on_four_connections_see_themselves_alone() {
    interleave(2, this_many(1500), false);
}

#[test]
fn fifty_tenants_under_cancellations_and_lost_backends_see_themselves_alone() {
    interleave(50, this_many(1500), true);
}

/// A test that cannot fail guards nothing: with a hole in the wall, and with a row of one's own out of
/// sight, the canaries say so.
#[test]
fn the_canaries_see_a_foreign_row_and_miss_one_of_their_own() {
    let test = sesari_db::testing::TestDatabase::new().unwrap();
    let Some(bouncer) = Bouncer::start(&test, &[]) else { return };
    let db = bouncer.builder(&test).build().unwrap();
    let own = Canaries::of(&db, "tenant-00");
    Canaries::of(&db, "tenant-01");
    let mut admin = test.admin().unwrap();
    for (hole, shut) in [
        (
            "ALTER POLICY goals_tenant_select ON goals USING (true)",
            "ALTER POLICY goals_tenant_select ON goals USING
                 (workspace_id = (SELECT sesari.current_workspace_id()))",
        ),
        ("DELETE FROM kpis WHERE name = 'canary tenant-00 1'", "SELECT 1"),
    ] {
        let mut guard = db.tenant(&own.tenant.owner, &own.tenant.workspace).unwrap();
        assert!(own.are_all(&mut guard).unwrap());
        guard.rollback().unwrap();
        admin.batch_execute(hole).unwrap();
        let mut guard = db.tenant(&own.tenant.owner, &own.tenant.workspace).unwrap();
        let looked =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| own.are_all(&mut guard)));
        assert!(looked.is_err(), "{hole}");
        drop(guard);
        admin.batch_execute(shut).unwrap();
    }
}
