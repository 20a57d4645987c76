//! Fifty tenants and two hundred clients on a pool of ten, for as long as the caller says: nobody sees
//! another's rows, nobody waits for ever, and neither memory nor connections grow.
//!
//! `SESARI_LONG=3600 cargo test --test failures soak -- --nocapture` soaks for an hour.
#![allow(clippy::unwrap_used, reason = "a test's set-up fails loudly")]

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::support::random::{Random, long_or};
use crate::support::{Tenant, alone, hour};
use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use sesari_db::repo::{KpiFilter, NewDataPoint};
use sesari_db::testing::TestDatabase;
use sesari_db::{Database, Error};

const TENANTS: usize = 50;
const CLIENTS: u64 = 200;
const POOL: u32 = 10;

/// What of this process is in memory, in kilobytes.
fn memory() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.map_or(0, |line| line.trim().trim_end_matches(" kB").parse().unwrap())
}

struct Counts {
    requests: AtomicU64,
    points: AtomicI64,
    stop: AtomicBool,
}

/// One request: reads, now and then writes, now and then goes wrong.
fn request(
    db: &Database,
    own: &Tenant,
    other: &Tenant,
    n: i64,
    random: &mut Random,
    counts: &Counts,
) -> Result<(), Error> {
    let mut guard = db.tenant(&own.member, &own.workspace)?;
    assert!(guard.kpis().find(&own.kpi)?.is_some());
    assert!(guard.kpis().find(&other.kpi)?.is_none());
    assert_eq!(guard.kpis().count(&KpiFilter::default())?, 1);
    if random.one_in(10) {
        let seen = "(SELECT string_agg(DISTINCT workspace_id, ' ') FROM kpi_data_points)";
        let seen: String = diesel::select(sql::<Text>(seen)).get_result(guard.connection())?;
        assert_eq!(seen, own.workspace.as_str());
    }
    if random.one_in(4) {
        guard.data_points().record(&NewDataPoint::new(own.kpi.clone(), 1.0, hour(n))?)?;
        guard.commit()?;
        counts.points.fetch_add(1, SeqCst);
        return Ok(());
    }
    match random.below(20) {
        0 => guard.connection().batch_execute("SELECT 1/0").unwrap_err(),
        1 => return guard.rollback(),
        2 => {
            let _ = guard.kpis().delete(&other.kpi);
            return Ok(());
        }
        _ => return guard.commit(),
    };
    Ok(())
}

#[test]
fn a_crowd_on_a_small_pool_is_served_and_nothing_grows() {
    if !alone("soak::a_crowd_on_a_small_pool_is_served_and_nothing_grows") {
        return;
    }
    let (seed, _) = Random::seeded();
    let duration = Duration::from_secs(long_or(8));
    let test = TestDatabase::new().unwrap();
    let arranging = test.builder().build().unwrap();
    let tenants: Vec<_> =
        (0..TENANTS).map(|n| Tenant::furnish(&arranging, &format!("soak-{n}"))).collect();
    drop(arranging);
    let db = test.builder().pool_size(POOL).pool_timeout(Duration::from_mins(1)).build().unwrap();
    let counts = Counts {
        requests: AtomicU64::new(0),
        points: AtomicI64::new(0),
        stop: AtomicBool::new(false),
    };
    let mut admin = test.admin().unwrap();
    let mut count =
        |what: &str| -> i64 { diesel::select(sql::<BigInt>(what)).get_result(&mut admin).unwrap() };
    let connections = "(SELECT count(*) FROM pg_stat_activity \
                         WHERE datname = current_database() AND usename = 'sesari_test_tenant')";
    let mut samples = Vec::new();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (db, tenants, counts) = (&db, &tenants, &counts);
            scope.spawn(move || {
                let mut random = Random::new(seed ^ (client << 32));
                let mut number = 0;
                while !counts.stop.load(SeqCst) {
                    let own = random.below(TENANTS);
                    let other = (own + 1 + random.below(TENANTS - 1)) % TENANTS;
                    number += 1;
                    // No two of them record the same moment.
                    let moment = 10
                        + number * i64::try_from(CLIENTS).unwrap()
                        + i64::try_from(client).unwrap();
                    let (own, other) = (&tenants[own], &tenants[other]);
                    request(db, own, other, moment, &mut random, counts).unwrap();
                    counts.requests.fetch_add(1, SeqCst);
                }
            });
        }
        let watched = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let start = Instant::now();
            while start.elapsed() < duration {
                std::thread::sleep(
                    (duration / 20).clamp(Duration::from_millis(200), Duration::from_secs(10)),
                );
                samples.push((memory(), count(connections)));
            }
        }));
        counts.stop.store(true, SeqCst);
        watched.unwrap();
    });
    // The first third is for warming up.
    let warm = samples[samples.len() / 3].0;
    let most = samples.iter().skip(samples.len() / 3).map(|sample| sample.0).max().unwrap();
    let connected: Vec<_> = samples.iter().map(|sample| sample.1).collect();
    let requests = counts.requests.load(SeqCst);
    println!(
        "{requests} requests in {duration:?}; {warm} kB when warm, {most} kB at most; connections {connected:?}"
    );
    assert!(requests > CLIENTS, "not everybody was served");
    assert!(connected.iter().all(|connected| *connected <= i64::from(POOL)), "{connected:?}");
    assert!(most <= warm + warm / 5 + 8 * 1024, "memory grows: {samples:?}");
    let stored = count("(SELECT count(*) FROM kpi_data_points)");
    let begun = i64::try_from(3 * TENANTS).unwrap();
    assert_eq!(stored, begun + counts.points.load(SeqCst), "confirmed is stored, once");
}
