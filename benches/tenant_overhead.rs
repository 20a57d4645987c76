//! What isolation costs: a transaction through a guard against a plain diesel transaction, with the
//! same query, on the same server, over the same kind of connection.
//!
//! The plain side logs in as the administrator, whom no policy holds back, keeps one connection and
//! its prepared statements. The guarded side takes a connection from a warm pool, begins under role,
//! limits and signed context, queries under row-level security, and ends.
//!
//! Beside criterion's own figures a table of ratios is printed at the end. Its samples take turns,
//! one plain and one guarded, so that whatever else the machine does weighs on both alike. Waking a
//! process on another CPU can cost more than its query: for figures that repeat, keep client and
//! server on one, as in `taskset -c 0 cargo bench --bench tenant_overhead`.
#![allow(missing_docs, reason = "criterion's macros make public items without documentation")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group};
use diesel::connection::{AnsiTransactionManager, TransactionManager};
use diesel::prelude::*;
use sesari_db::Database;
use sesari_db::PgConnection;
use sesari_db::id::{KpiId, UserId, WorkspaceId};
use sesari_db::page::Page;
use sesari_db::repo::{Kpi, KpiFilter, NewKpi, NewUser, NewWorkspace};
use sesari_db::schema::kpis;
use sesari_db::testing::TestDatabase;
use sesari_db::value::AuthProvider;

/// KPIs of the workspace measured: a dashboard's worth.
const KPIS: usize = 30;
/// Other workspaces with as many KPIs each, so that the table is not one tenant's alone.
const NEIGHBOURS: usize = 40;

struct Bench {
    plain: PgConnection,
    db: Database,
    user: UserId,
    workspace: WorkspaceId,
    kpi: KpiId,
    // Dropped last: the database goes with it.
    _test: TestDatabase,
}

impl Bench {
    fn new() -> Self {
        let test = TestDatabase::new().unwrap();
        let db = test.builder().pool_size(1).build().unwrap();
        let user = sign_up(&db);
        let workspace = furnish(&db, &user, 0);
        for neighbour in 1..=NEIGHBOURS {
            furnish(&db, &user, neighbour);
        }
        let mut plain = test.admin().unwrap();
        diesel::sql_query("ANALYZE").execute(&mut plain).unwrap();
        let mut tenant = db.tenant(&user, &workspace).unwrap();
        let kpi = tenant.kpis().list(&KpiFilter::default(), &Page::default()).unwrap();
        tenant.commit().unwrap();
        let kpi = kpi.items[KPIS / 2].id.clone();
        Self { plain, db, user, workspace, kpi, _test: test }
    }

    fn plain_find(&mut self) {
        let (workspace, kpi) = (&self.workspace, &self.kpi);
        let found = self.plain.transaction(|conn| {
            kpis::table
                .filter(kpis::workspace_id.eq(workspace))
                .filter(kpis::id.eq(kpi))
                .filter(kpis::deleted_at.is_null())
                .select(Kpi::as_select())
                .first(conn)
        });
        black_box(found.unwrap());
    }

    fn guarded_find(&mut self) {
        let mut tenant = self.db.tenant(&self.user, &self.workspace).unwrap();
        black_box(tenant.kpis().find(&self.kpi).unwrap().unwrap());
        tenant.commit().unwrap();
    }

    fn plain_list(&mut self) {
        let workspace = &self.workspace;
        let rows = self.plain.transaction(|conn| {
            kpis::table
                .filter(kpis::workspace_id.eq(workspace))
                .into_boxed()
                .filter(kpis::deleted_at.is_null())
                .order((kpis::created_at.asc(), kpis::id.asc()))
                .limit(51)
                .select(Kpi::as_select())
                .load(conn)
        });
        assert_eq!(black_box(rows.unwrap()).len(), KPIS);
    }

    fn guarded_list(&mut self) {
        let mut tenant = self.db.tenant(&self.user, &self.workspace).unwrap();
        let rows = tenant.kpis().list(&KpiFilter::default(), &Page::default()).unwrap();
        assert_eq!(black_box(rows.items).len(), KPIS);
        tenant.commit().unwrap();
    }

    fn plain_insert(&mut self) {
        AnsiTransactionManager::begin_transaction(&mut self.plain).unwrap();
        let new = NewKpi::new("Churn".parse().unwrap());
        let row = diesel::insert_into(kpis::table)
            .values((&new, kpis::workspace_id.eq(&self.workspace)))
            .returning(Kpi::as_returning())
            .get_result(&mut self.plain);
        black_box(row.unwrap());
        AnsiTransactionManager::rollback_transaction(&mut self.plain).unwrap();
    }

    fn guarded_insert(&mut self) {
        let mut tenant = self.db.tenant(&self.user, &self.workspace).unwrap();
        black_box(tenant.kpis().create(&NewKpi::new("Churn".parse().unwrap())).unwrap());
        tenant.rollback().unwrap();
    }
}

fn sign_up(db: &Database) -> UserId {
    let mut service = db.service(&"benches".parse().unwrap()).unwrap();
    let new = NewUser::new(
        "ada@example.com".parse().unwrap(),
        AuthProvider::Google,
        "google-ada".parse().unwrap(),
    );
    let user = service.users().sign_in(&new).unwrap();
    service.commit().unwrap();
    user.id
}

fn furnish(db: &Database, user: &UserId, number: usize) -> WorkspaceId {
    let mut guard = db.user(user).unwrap();
    let new = NewWorkspace::new(
        format!("Workspace {number}").parse().unwrap(),
        format!("workspace-{number}").parse().unwrap(),
    );
    let workspace = guard.my_workspaces().create(&new).unwrap().id;
    guard.commit().unwrap();
    let mut tenant = db.tenant(user, &workspace).unwrap();
    for n in 0..KPIS {
        tenant.kpis().create(&NewKpi::new(format!("KPI {n}").parse().unwrap())).unwrap();
    }
    tenant.commit().unwrap();
    workspace
}

type Side = fn(&mut Bench);

/// What is measured: name, plain, guarded.
const PAIRS: [(&str, Side, Side); 3] = [
    ("find_kpi", Bench::plain_find, Bench::guarded_find),
    ("list_30_kpis", Bench::plain_list, Bench::guarded_list),
    ("insert_kpi_rolled_back", Bench::plain_insert, Bench::guarded_insert),
];

fn tenant_overhead(c: &mut Criterion) {
    let mut bench = Bench::new();
    for (name, plain, guarded) in PAIRS {
        let mut group = c.benchmark_group(name);
        group.bench_function("plain", |b| b.iter(|| plain(&mut bench)));
        group.bench_function("guarded", |b| b.iter(|| guarded(&mut bench)));
        group.finish();
    }
}

fn time(bench: &mut Bench, side: Side) -> Duration {
    let start = Instant::now();
    side(bench);
    start.elapsed()
}

fn median(samples: &mut [Duration]) -> f64 {
    samples.sort_unstable();
    samples[samples.len() / 2].as_secs_f64() * 1e6
}

/// Plain and guarded in turns, and the ratio of their medians.
fn print_ratios(rounds: usize) {
    let mut bench = Bench::new();
    println!("\n{:<24} {:>12} {:>12} {:>8}", "median of turns", "plain", "guarded", "ratio");
    for (name, plain, guarded) in PAIRS {
        for _ in 0..=rounds / 10 {
            plain(&mut bench);
            guarded(&mut bench);
        }
        let (mut a, mut b): (Vec<_>, Vec<_>) =
            (0..rounds).map(|_| (time(&mut bench, plain), time(&mut bench, guarded))).unzip();
        let (a, b) = (median(&mut a), median(&mut b));
        println!("{name:<24} {a:>9.1} us {b:>9.1} us {:>7.2}x", b / a);
    }
}

criterion_group!(benches, tenant_overhead);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    // Without `--bench`, the target only proves that it runs.
    let measuring = std::env::args().any(|argument| argument == "--bench");
    print_ratios(if measuring { 3000 } else { 3 });
}
