//! Writers that do not give up, as a service would not, and count what was confirmed to them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use sesari_db::PgConnection;
use sesari_db::idempotency::IdempotencyKey;
use sesari_db::repo::NewKpi;
use sesari_db::{Database, Error, Scope, TenantConnection};

use crate::support::Tenant;

/// What the writers saw.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) confirmed: Mutex<Vec<String>>,
    /// How often each kind of error came.
    pub(crate) errors: Mutex<BTreeMap<&'static str, usize>>,
    stop: AtomicBool,
    pub(crate) count: AtomicUsize,
}

/// The kinds that a failing server or network may cause. Anything else is a bug of ours.
pub(crate) fn kind(error: &Error) -> &'static str {
    match error {
        Error::ConnectionLost(_) => "connection lost",
        Error::OutcomeUnknown(_) => "outcome unknown",
        Error::PoolTimeout { .. } => "no connection",
        Error::Connect { .. } => "cannot connect",
        Error::ReadOnlyServer => "read-only server",
        Error::ServerFull(_) => "server full",
        Error::LockTimeout => "lock timeout",
        Error::StatementTimeout => "statement timeout",
        Error::ContextExpired => "context expired",
        Error::DeadlineExceeded => "deadline exceeded",
        other => panic!("not an error of a failing server: {other:?}"),
    }
}

/// How many KPIs of that name there are, under the tenant's guard.
fn stored(db: &Database, tenant: &Tenant, name: &str) -> Result<i64, Error> {
    let mut guard = db.tenant(&tenant.owner, &tenant.workspace)?;
    let count = format!("(SELECT count(*) FROM kpis WHERE name = '{name}')");
    Ok(diesel::select(sql::<BigInt>(&count)).get_result(guard.connection())?)
}

/// Stores a KPI, and looks that everything in sight is the tenant's own.
pub(crate) fn store(db: &Database, tenant: &Tenant, name: &str) -> Result<(), Error> {
    let mut guard = db.tenant(&tenant.owner, &tenant.workspace)?;
    store_in(&mut guard, tenant, name)?;
    guard.commit()
}

fn store_in(guard: &mut TenantConnection, tenant: &Tenant, name: &str) -> Result<(), Error> {
    guard.kpis().create(&NewKpi::new(name.parse()?))?;
    let seen = "(SELECT string_agg(DISTINCT workspace_id, ' ') FROM kpis)";
    let seen: String = diesel::select(sql::<Text>(seen)).get_result(guard.connection())?;
    assert_eq!(seen, tenant.workspace.as_str(), "another workspace's rows");
    Ok(())
}

impl Log {
    pub(crate) fn stop(&self) {
        self.stop.store(true, SeqCst);
    }

    pub(crate) fn errors(&self) -> MutexGuard<'_, BTreeMap<&'static str, usize>> {
        self.errors.lock().unwrap()
    }

    fn note(&self, error: &Error) {
        *self.errors().entry(kind(error)).or_default() += 1;
        std::thread::sleep(Duration::from_millis(10));
    }

    /// Writes until told to stop, each under a key with which it may be tried again and again without a
    /// look, whatever became of it.
    pub(crate) fn write_once(&self, db: &Database, tenant: &Tenant, prefix: &str) {
        let mut number = 0;
        while !self.stop.load(SeqCst) {
            let (name, key) = (format!("{prefix}-{number}"), IdempotencyKey::generate());
            let scope = Scope::tenant(&tenant.owner, &tenant.workspace);
            while let Err(error) =
                db.run_once("kpi.create", scope.clone(), &key, |t| store_in(t, tenant, &name))
            {
                self.note(&error);
            }
            self.confirmed.lock().unwrap().push(name);
            self.count.fetch_add(1, SeqCst);
            number += 1;
        }
    }

    /// Writes until told to stop. Does nothing twice: where it is unknown whether something was done,
    /// looks first.
    pub(crate) fn write(&self, db: &Database, tenant: &Tenant, prefix: &str) {
        let mut number = 0;
        while !self.stop.load(SeqCst) {
            let name = format!("{prefix}-{number}");
            let mut unknown = false;
            loop {
                let stored_before = match unknown.then(|| stored(db, tenant, &name)).transpose() {
                    Ok(count) => count == Some(1),
                    Err(error) => {
                        self.note(&error);
                        continue;
                    }
                };
                if stored_before {
                    break;
                }
                match store(db, tenant, &name) {
                    Ok(()) => break,
                    Err(error) => {
                        unknown = matches!(error, Error::OutcomeUnknown(_));
                        let full = matches!(error, Error::ServerFull(_));
                        assert!(unknown || full || error.is_retryable(), "{error:?}");
                        self.note(&error);
                    }
                }
            }
            self.confirmed.lock().unwrap().push(name);
            self.count.fetch_add(1, SeqCst);
            number += 1;
        }
    }

    /// Waits until something more is confirmed, and says for how long.
    pub(crate) fn next(&self) -> Duration {
        let (before, start) = (self.count.load(SeqCst), Instant::now());
        while self.count.load(SeqCst) == before {
            assert!(start.elapsed() < Duration::from_secs(40), "writes do not return");
            std::thread::sleep(Duration::from_millis(1));
        }
        start.elapsed()
    }

    /// Everything that was confirmed is there, once, and nothing else is.
    pub(crate) fn check(&self, admin: &mut PgConnection) {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            name: String,
            #[diesel(sql_type = BigInt)]
            times: i64,
        }
        let rows: Vec<Row> = diesel::sql_query(
            "SELECT name, count(*) AS times FROM kpis WHERE name LIKE 'w%-%' GROUP BY name",
        )
        .load(admin)
        .unwrap();
        let doubled: Vec<_> = rows.iter().filter(|row| row.times > 1).map(|r| &r.name).collect();
        assert!(doubled.is_empty(), "stored twice: {doubled:?}");
        let mut there: Vec<_> = rows.into_iter().map(|row| row.name).collect();
        there.sort();
        let mut confirmed = self.confirmed.lock().unwrap().clone();
        confirmed.sort();
        let lost: Vec<_> = confirmed.iter().filter(|n| there.binary_search(n).is_err()).collect();
        assert!(lost.is_empty(), "confirmed and lost: {lost:?}");
        assert_eq!(there.len(), confirmed.len(), "stored and never confirmed");
    }
}
