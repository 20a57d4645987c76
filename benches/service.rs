//! What a service gets: requests per second and how long the slowest take, from 1 to 64 callers on a pool of
//! eight, for units of work on threads and as futures, beside guards opened by hand and beside
//! hand-written diesel without any isolation; and what a workspace that floods costs another.
//!
//! The ways take turns in short slices, so that whatever else the machine does weighs on all alike. What is
//! compared is their ratio.
#![allow(missing_docs, reason = "criterion's macros make public items without documentation")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

use std::hint::black_box;
use std::pin::Pin;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group};
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};
use sesari_db::PgConnection;
use sesari_db::id::{KpiId, UserId, WorkspaceId};
use sesari_db::repo::{Kpi, NewKpi, NewUser, NewWorkspace};
use sesari_db::schema::kpis;
use sesari_db::testing::TestDatabase;
use sesari_db::value::AuthProvider;
use sesari_db::{AsyncDatabase, Database, Scope, TenantConnection};
use tokio::runtime::Runtime;

const POOL: u32 = 8;
const CALLERS: [usize; 5] = [1, 4, 8, 16, 64];

struct Bench {
    plain: Pool<ConnectionManager<PgConnection>>,
    db: Database,
    futures: AsyncDatabase,
    runtime: Runtime,
    user: UserId,
    workspaces: [WorkspaceId; 2],
    kpi: KpiId,
    // Dropped last: the database goes with it.
    test: TestDatabase,
}

impl Bench {
    fn new() -> Self {
        let test = TestDatabase::new().unwrap();
        let db = test.builder().pool_size(POOL).build().unwrap();
        let user = sign_up(&db);
        let workspaces = [0, 1].map(|number| found(&db, &user, number));
        let scope = Scope::tenant(&user, &workspaces[0]);
        let kpi = db
            .run("kpi.create", scope, |tenant| {
                tenant.kpis().create(&NewKpi::new("Revenue".parse()?))
            })
            .unwrap()
            .id;
        let plain = Pool::builder()
            .max_size(POOL)
            .test_on_check_out(false)
            .build(ConnectionManager::new(test.admin_url()))
            .unwrap();
        let runtime = Runtime::new().unwrap();
        Self { plain, futures: db.clone().into(), db, runtime, user, workspaces, kpi, test }
    }

    fn scope(&self) -> Scope<TenantConnection> {
        Scope::tenant(&self.user, &self.workspaces[0]).read_only()
    }

    /// Diesel as one writes it by hand, as an administrator whom no policy holds back.
    fn plain(&self) {
        let found: Kpi = self
            .plain
            .get()
            .unwrap()
            .build_transaction()
            .read_only()
            .run(|conn| {
                kpis::table
                    .filter(kpis::workspace_id.eq(&self.workspaces[0]))
                    .filter(kpis::id.eq(&self.kpi))
                    .filter(kpis::deleted_at.is_null())
                    .select(Kpi::as_select())
                    .first(conn)
            })
            .unwrap();
        black_box(found);
    }

    fn guard(&self) {
        let mut tenant = self.db.tenant_read_only(&self.user, &self.workspaces[0]).unwrap();
        black_box(tenant.kpis().find(&self.kpi).unwrap().unwrap());
        tenant.commit().unwrap();
    }

    fn unit(&self) {
        let found = self.db.run("kpi.find", self.scope(), |tenant| tenant.kpis().find(&self.kpi));
        black_box(found.unwrap().unwrap());
    }

    fn future(&self) -> impl Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Clone + use<> {
        let (db, scope, kpi) = (self.futures.clone(), self.scope(), self.kpi.clone());
        move || {
            let kpi = kpi.clone();
            let unit = db.run("kpi.find", scope.clone(), move |t| t.kpis().find(&kpi));
            Box::pin(async move {
                black_box(unit.await.unwrap().unwrap());
            })
        }
    }

    /// A guard on a blocking thread, as one writes it by hand.
    fn blocking(&self) -> impl Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Clone + use<> {
        let of = (self.db.clone(), self.user.clone(), self.workspaces[0].clone(), self.kpi.clone());
        move || {
            let (db, user, workspace, kpi) = of.clone();
            let done = tokio::task::spawn_blocking(move || {
                let mut tenant = db.tenant_read_only(&user, &workspace).unwrap();
                black_box(tenant.kpis().find(&kpi).unwrap().unwrap());
                tenant.commit().unwrap();
            });
            Box::pin(async move { done.await.unwrap() })
        }
    }
}

fn sign_up(db: &Database) -> UserId {
    let new = NewUser::new(
        "ada@example.com".parse().unwrap(),
        AuthProvider::Google,
        "google-ada".parse().unwrap(),
    );
    let service = "benches".parse().unwrap();
    db.run("user.sign_in", Scope::service(&service), |scoped| scoped.users().sign_in(&new))
        .unwrap()
        .id
}

fn found(db: &Database, user: &UserId, number: usize) -> WorkspaceId {
    let new = NewWorkspace::new(
        format!("Workspace {number}").parse().unwrap(),
        format!("workspace-{number}").parse().unwrap(),
    );
    db.run("workspace.create", Scope::user(user), |user| user.my_workspaces().create(&new))
        .unwrap()
        .id
}

/// What callers saw in some slices of time.
#[derive(Default)]
struct Seen {
    latencies: Vec<Duration>,
    time: Duration,
}

impl Seen {
    fn rate(&self) -> f64 {
        f64::from(u32::try_from(self.latencies.len()).unwrap()) / self.time.as_secs_f64()
    }

    fn p99(&mut self) -> f64 {
        self.latencies.sort_unstable();
        let place = self.latencies.len() * 99 / 100;
        self.latencies[place.min(self.latencies.len() - 1)].as_secs_f64() * 1000.0
    }
}

/// Threads that call for a slice of time.
fn threads(callers: usize, slice: Duration, seen: &mut Seen, call: impl Fn() + Sync) {
    let start = Instant::now();
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..callers)
            .map(|_| {
                scope.spawn(|| {
                    let mut latencies = Vec::new();
                    while latencies.is_empty() || start.elapsed() < slice {
                        let asked = Instant::now();
                        call();
                        latencies.push(asked.elapsed());
                    }
                    latencies
                })
            })
            .collect();
        for caller in all {
            seen.latencies.extend(caller.join().unwrap());
        }
    });
    seen.time += start.elapsed();
}

/// Tasks that do the same.
fn tasks<F>(
    bench: &Bench,
    callers: usize,
    slice: Duration,
    seen: &mut Seen,
    call: impl Fn() -> F + Clone + Send + 'static,
) where
    F: Future<Output = ()> + Send,
{
    let start = Instant::now();
    bench.runtime.block_on(async {
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..callers {
            let call = call.clone();
            all.spawn(async move {
                let mut latencies = Vec::new();
                while latencies.is_empty() || start.elapsed() < slice {
                    let asked = Instant::now();
                    call().await;
                    latencies.push(asked.elapsed());
                }
                latencies
            });
        }
        while let Some(latencies) = all.join_next().await {
            seen.latencies.extend(latencies.unwrap());
        }
    });
    seen.time += start.elapsed();
}

/// Each way in turns, for each number of callers.
fn print_rates(bench: &Bench, slice: Duration, rounds: usize) {
    println!("\nOne KPI by id, a pool of {POOL}: requests/s, and p99 in ms");
    println!(
        "{:>7} {:>15} {:>15} {:>15} {:>15} {:>15} {:>10} {:>14} {:>10}",
        "callers",
        "plain diesel",
        "guard",
        "run",
        "spawn_blocking",
        "async run",
        "run/guard",
        "async/blocking",
        "run/plain"
    );
    for callers in CALLERS {
        let mut seen: [Seen; 5] = std::array::from_fn(|_| Seen::default());
        for _ in 0..rounds {
            threads(callers, slice, &mut seen[0], || bench.plain());
            threads(callers, slice, &mut seen[1], || bench.guard());
            threads(callers, slice, &mut seen[2], || bench.unit());
            tasks(bench, callers, slice, &mut seen[3], bench.blocking());
            tasks(bench, callers, slice, &mut seen[4], bench.future());
        }
        let rates = seen.each_ref().map(Seen::rate);
        let cells = seen.each_mut().map(|seen| format!("{:.0} ({:.2})", seen.rate(), seen.p99()));
        print!("{callers:>7}");
        for cell in cells {
            print!(" {cell:>15}");
        }
        println!(
            " {:>10.2} {:>14.2} {:>10.2}",
            rates[2] / rates[1],
            rates[4] / rates[3],
            rates[2] / rates[0]
        );
    }
}

/// One caller of a workspace, alone and while 64 of another want all that there is.
fn print_flood(bench: &Bench, slice: Duration, rounds: usize) {
    println!("\nOne workspace floods with 64 callers: p99 in ms of another's single caller");
    println!("{:>15} {:>9} {:>9} {:>7}", "workspace_share", "alone", "flooded", "ratio");
    for share in [1.0, 0.5, 0.125] {
        let db = bench.test.builder().pool_size(POOL).workspace_share(share).build().unwrap();
        let call = |workspace: &WorkspaceId| {
            let scope = Scope::tenant(&bench.user, workspace).read_only();
            let found = db.run("kpi.find", scope, |tenant| tenant.kpis().find(&bench.kpi));
            black_box(found.unwrap());
        };
        let (mut alone, mut flooded) = (Seen::default(), Seen::default());
        for _ in 0..rounds {
            threads(1, slice, &mut alone, || call(&bench.workspaces[1]));
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    threads(64, slice, &mut Seen::default(), || call(&bench.workspaces[0]));
                });
                threads(1, slice, &mut flooded, || call(&bench.workspaces[1]));
            });
        }
        let (alone, flooded) = (alone.p99(), flooded.p99());
        println!("{share:>15} {alone:>9.2} {flooded:>9.2} {:>6.1}x", flooded / alone);
    }
}

fn service(c: &mut Criterion) {
    let bench = Bench::new();
    let mut group = c.benchmark_group("one_caller");
    group.bench_function("plain", |b| b.iter(|| bench.plain()));
    group.bench_function("guard", |b| b.iter(|| bench.guard()));
    group.bench_function("run", |b| b.iter(|| bench.unit()));
    let future = bench.future();
    group.bench_function("async_run", |b| b.iter(|| bench.runtime.block_on(future())));
    group.finish();
}

criterion_group!(benches, service);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    // Without `--bench`, the target only proves that it runs.
    let measuring = std::env::args().any(|argument| argument == "--bench");
    let (slice, rounds) =
        if measuring { (Duration::from_millis(250), 12) } else { (Duration::from_millis(1), 1) };
    let bench = Bench::new();
    print_rates(&bench, slice, rounds);
    print_flood(&bench, slice, rounds);
}
