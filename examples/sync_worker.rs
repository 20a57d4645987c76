//! Ten worker processes share the integrations that are due; some are killed, and nothing is lost.
//!
//! ```sh
//! cargo run --example sync_worker
//! ```
//!
//! Makes a throw-away database with 120 integrations in four workspaces. Each worker claims a few
//! through the service scope, enters each one's workspace as a background service, opens the
//! credentials, asks a stand-in for the provider, and records points and outcome in one
//! unit of work. Every now and then a worker is killed with SIGKILL and another one started. What a
//! dead worker had claimed comes back when its lease runs out.

#[macro_use]
#[path = "support/print.rs"]
mod print;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use sesari_db::credentials::{SealingKey, SealingKeyRing, Secret};
use sesari_db::error::AsError as _;
use sesari_db::id::{KpiId, UserId, WorkspaceId};
use sesari_db::page::PageRequest;
use sesari_db::repo::{
    Claim, IntegrationFilter, KpiFilter, NewDataPoint, NewIntegration, NewKpi, NewUser,
    NewWorkspace, OnExisting, TimeRange,
};
use sesari_db::tenancy::{ContextKeyRing, ServiceName};
use sesari_db::testing::TestDatabase;
use sesari_db::value::{AuthProvider, IntegrationProvider, SyncStatus, Timestamp};
use sesari_db::{Database, Error, Scope};

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Outcome<T> = Result<T, Failure>;

const WORKERS: usize = 10;
const KILLS: usize = 12;
const WORKSPACES: usize = 4;
const INTEGRATIONS: usize = 30;
/// Points that the provider has for each integration.
const POINTS: i64 = 24;
/// How long a claim holds. In production minutes: longer than a synchronisation takes.
const LEASE: Duration = Duration::from_secs(2);

/// What a worker needs to know of an account. Sealed in the database.
#[derive(serde::Serialize, serde::Deserialize)]
struct Account {
    token: String,
    kpi: KpiId,
}

fn main() -> Outcome<()> {
    if std::env::args().nth(1).as_deref() == Some("worker") { work() } else { supervise() }
}

// The worker -----------------------------------------------------------------------------------

fn work() -> Outcome<()> {
    let keys: ContextKeyRing = std::env::var("SESARI_CONTEXT_KEYS")?.parse()?;
    let db = Database::builder(std::env::var("SESARI_TENANT_URL")?, keys)
        .service_url(std::env::var("SESARI_SERVICE_URL")?)
        .sealing_keys(SealingKeyRing::from_env("SESARI_SEALING_KEYS")?)
        .pool_size(1)
        .build()?;
    let me: ServiceName = "sync-worker".parse()?;
    loop {
        // The claim is committed before the work begins, or it would lock the rows all the while.
        let claims = db.run("worker.claim", Scope::service(&me), |service| {
            service.integration_queue().claim(4, LEASE)
        })?;
        if claims.is_empty() {
            // Nothing is due. A real worker goes on for ever, and so does this one until it is killed.
            std::thread::sleep(Duration::from_millis(100));
        }
        for claim in claims {
            match synchronise(&db, &me, &claim) {
                Ok(()) => {}
                // The lease ran out, and another worker has it now.
                Err(error) if error.as_error().is_some_and(Error::is_not_found) => {}
                // What a claim held comes back when its lease runs out: no failure ends the worker.
                Err(error) => eprintln!("left for later: {error}"),
            }
        }
    }
}

/// Two units of work with the provider in between: no transaction stays open while it takes its time.
fn synchronise(db: &Database, me: &ServiceName, claim: &Claim) -> Outcome<()> {
    let scope = Scope::tenant(me, &claim.workspace_id);
    // Leaves an entry in the audit log, and so has to be committed.
    let secret = db.run("worker.open", scope.clone(), |tenant| {
        tenant.integrations().credentials(&claim.integration_id)
    })?;

    let account: Account = secret.to_json()?;
    let answer = ask_provider(&account);

    // Tomorrow at this time.
    let next = Timestamp::new(claim.leased_until + TimeDelta::days(1))?;
    // Points and outcome together, or neither. It may run again, and needs no key for that: a point is
    // known by its KPI, time and source, and an outcome is taken from the holder of the lease alone.
    let record = db.run("worker.record", scope, |tenant| match &answer {
        Ok(points) => {
            tenant.data_points().record_many(points, OnExisting::Keep)?;
            tenant.integrations().record_success(&claim.integration_id, &claim.lease, next)
        }
        // The message is scrubbed of the secret's own values.
        Err(error) => tenant.integrations().record_failure(
            &claim.integration_id,
            &claim.lease,
            error,
            &secret,
            next,
        ),
    });
    record?;
    Ok(())
}

/// Stands in for an HTTP call to the provider: slow, and one account in ten is refused, with an
/// error that repeats the token as providers do.
fn ask_provider(account: &Account) -> Result<Vec<NewDataPoint>, String> {
    std::thread::sleep(Duration::from_millis(60));
    if account.token.ends_with('7') {
        return Err(format!("401: the token {} has expired", account.token));
    }
    (0..POINTS)
        .map(|hour| {
            let value = 100.0 + 10.0 * f64::from(i32::try_from(hour).unwrap_or_default()).sin();
            let point =
                NewDataPoint::new(account.kpi.clone(), value, start() + TimeDelta::hours(hour));
            Ok(point.map_err(|e| e.to_string())?.from_source("stripe".parse().map_err(text)?))
        })
        .collect()
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn start() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
}

// The supervisor -------------------------------------------------------------------------------

/// Workers, killed when dropped.
struct Workers(Vec<Child>);

impl Drop for Workers {
    fn drop(&mut self) {
        for worker in &mut self.0 {
            // Already gone is as good.
            let _ = worker.kill();
            let _ = worker.wait();
        }
    }
}

fn supervise() -> Outcome<()> {
    println!("Starting PostgreSQL and running the migrations ...");
    let server = TestDatabase::new()?;
    let sealing_key = SealingKey::generate("k1".parse()?)?;
    let secret_keys = String::from_utf8(sealing_key.to_secret().expose().to_vec())?;
    let db = server.builder().sealing_keys(sealing_key.into()).build()?;
    let owner = sign_in(&db)?;
    let workspaces = furnish(&db, &owner)?;
    let all = WORKSPACES * INTEGRATIONS;
    println!(
        "{all} integrations are due. Starting {WORKERS} workers, and killing {KILLS} of them:\n"
    );

    let spawn = || {
        Command::new(std::env::current_exe()?)
            .arg("worker")
            .env("SESARI_TENANT_URL", server.tenant_url())
            .env("SESARI_SERVICE_URL", server.service_url())
            .env("SESARI_CONTEXT_KEYS", server.context_key().to_secret_string())
            .env("SESARI_SEALING_KEYS", &secret_keys)
            .spawn()
    };
    let mut workers = Workers(Vec::new());
    for _ in 0..WORKERS {
        workers.0.push(spawn()?);
    }
    let (began, mut killed) = (Instant::now(), 0);
    loop {
        let done = synchronised(&db, &owner, &workspaces)?;
        let full = 40 * done / all;
        print!("\r{}{} {done:>3} of {all}", "█".repeat(full), "░".repeat(40 - full));
        // A bar that cannot be drawn is no reason to stop.
        let _ = std::io::stdout().flush();
        if done == all {
            break;
        }
        if began.elapsed() > Duration::from_mins(2) {
            return Err("not done in two minutes".into());
        }
        if killed < KILLS {
            let victim = &mut workers.0[killed % WORKERS];
            victim.kill()?;
            victim.wait()?;
            *victim = spawn()?;
            killed += 1;
        }
        std::thread::sleep(Duration::from_millis(120));
    }
    drop(workers);
    println!("\n\nDone in {:.1} s with {killed} workers killed.", began.elapsed().as_secs_f64());
    report(&db, &owner, &workspaces)
}

fn sign_in(db: &Database) -> Outcome<UserId> {
    let account = NewUser::new("ada@example.com".parse()?, AuthProvider::Google, "ada".parse()?);
    let scope = Scope::service(&"sign-in".parse()?);
    Ok(db.run("user.sign_in", scope, |service| service.users().sign_in(&account))?.id)
}

fn furnish(db: &Database, owner: &UserId) -> Outcome<Vec<WorkspaceId>> {
    let mut workspaces = Vec::new();
    for i in 0..WORKSPACES {
        let new = NewWorkspace::new(format!("Workspace {i}").parse()?, format!("w-{i}").parse()?);
        let workspace = db
            .run("workspace.create", Scope::user(owner), |guard| {
                guard.my_workspaces().create(&new)
            })?
            .id;
        db.try_run("workspace.furnish", Scope::tenant(owner, &workspace), |tenant| {
            for j in 0..INTEGRATIONS {
                let kpi = tenant.kpis().create(&NewKpi::new(format!("Account {j}").parse()?))?.id;
                let account = Account { token: format!("sk_test_{i}_{j}"), kpi };
                let new = NewIntegration::new(IntegrationProvider::Stripe);
                tenant.integrations().create(&new, &Secret::from_json(&account)?)?;
            }
            Ok::<_, Failure>(())
        })?;
        workspaces.push(workspace);
    }
    Ok(workspaces)
}

fn synchronised(db: &Database, owner: &UserId, workspaces: &[WorkspaceId]) -> Outcome<usize> {
    let mut done = 0;
    for workspace in workspaces {
        let mut tenant = db.begin(&Scope::tenant(owner, workspace).read_only())?;
        for status in [SyncStatus::Success, SyncStatus::Error] {
            let filter = IntegrationFilter { sync_status: Some(status), ..Default::default() };
            done += usize::try_from(tenant.integrations().count(&filter)?)?;
        }
    }
    Ok(done)
}

fn report(db: &Database, owner: &UserId, workspaces: &[WorkspaceId]) -> Outcome<()> {
    let whole = TimeRange::new(
        Timestamp::new(start())?,
        Timestamp::new(start() + TimeDelta::hours(POINTS))?,
    )?;
    // How many KPIs have how many points.
    let mut points: BTreeMap<i64, usize> = BTreeMap::new();
    let mut error = None;
    for workspace in workspaces {
        let mut tenant = db.begin(&Scope::tenant(owner, workspace).read_only())?;
        for kpi in tenant.kpis().list(&KpiFilter::default(), &PageRequest::first(100)?)?.items {
            *points.entry(tenant.data_points().count(&kpi.id, whole)?).or_default() += 1;
        }
        let failed =
            IntegrationFilter { sync_status: Some(SyncStatus::Error), ..Default::default() };
        let failed = tenant.integrations().list(&failed, &PageRequest::first(1)?)?.items;
        error = error.or(failed.into_iter().find_map(|integration| integration.error_message));
    }
    for (points, kpis) in points {
        println!("{kpis:>3} KPIs have {points} points");
    }
    println!("The {} without any were refused: {:?}", WORKSPACES * 3, error.unwrap_or_default());
    println!(
        "\nNext: docs/credentials.md for claims, leases and what the credentials are sealed with."
    );
    Ok(())
}
