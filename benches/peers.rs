//! What a request costs beside what other clients make of it: units of work on threads and as futures,
//! `tokio-postgres` one statement after the other and all at once, `diesel-async`, and the same without
//! any isolation, which is as fast as PostgreSQL answers.
//!
//! The others ask the same rows in a schema of their own, with the indexes and the policy of the document
//! that this crate implements: of the workspaces of which `current_setting('app.user')` is a member, which
//! anybody may set to anything. Without isolation a superuser asks them, whom no policy holds back. Their
//! statements are prepared, and what they read is taken out of its rows. Futures run on one runtime of
//! several threads, as in a service.
//!
//! All take turns in short slices, so that whatever else the machine does weighs on all alike. What is
//! compared is the ratio of medians; where one is above its bound, the line says so.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

#[path = "peers/line.rs"]
mod line;
#[path = "peers/others.rs"]
mod others;
#[path = "peers/world.rs"]
mod world;

use std::hint::black_box;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use sesari_db::page::PageRequest;
use sesari_db::repo::{KpiFilter, NewDataPoint};
use sesari_db::{AsyncDatabase, Database, Result, Scope, TenantConnection};
use tokio::runtime::Runtime;

use crate::others::{DieselAsync, TokioPostgres};
use crate::world::{Ids, KPIS, LINKED, POINTS, World};

/// Callers at once, and connections of each pool.
const CALLERS: usize = 8;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Kpi,
    Kpis,
    Points,
    Goal,
    Record,
}

impl Work {
    const READS: [Self; 4] = [Self::Kpi, Self::Kpis, Self::Points, Self::Goal];

    fn name(self) -> &'static str {
        match self {
            Self::Kpi => "one KPI by id",
            Self::Kpis => "50 KPIs",
            Self::Points => "720 points of a KPI",
            Self::Goal => "a goal with its 5 KPIs",
            Self::Record => "record one point",
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    OneByOne,
    Run,
    AsyncRun,
    Pipelined,
    DieselAsync,
    Unguarded,
}

impl Way {
    const ALL: [Self; 6] = [
        Self::OneByOne,
        Self::Run,
        Self::AsyncRun,
        Self::Pipelined,
        Self::DieselAsync,
        Self::Unguarded,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::OneByOne => "one by one",
            Self::Run => "run",
            Self::AsyncRun => "async run",
            Self::Pipelined => "pipelined",
            Self::DieselAsync => "diesel-async",
            Self::Unguarded => "unguarded",
        }
    }
}

/// What a way may take at most for each of another.
const BOUNDS: [(Work, Way, Way, f64); 8] = [
    (Work::Kpi, Way::Run, Way::OneByOne, 0.8),
    (Work::Kpi, Way::AsyncRun, Way::OneByOne, 0.8),
    (Work::Kpi, Way::Run, Way::Unguarded, 1.3),
    (Work::Kpi, Way::AsyncRun, Way::Unguarded, 1.3),
    (Work::Goal, Way::Run, Way::OneByOne, 1.1),
    (Work::Points, Way::Run, Way::OneByOne, 0.4),
    (Work::Record, Way::Run, Way::Unguarded, 1.2),
    (Work::Record, Way::AsyncRun, Way::Unguarded, 1.2),
];

type Called = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Bench {
    runtime: Runtime,
    db: Database,
    futures: AsyncDatabase,
    guarded: Vec<Arc<TokioPostgres>>,
    unguarded: Vec<Arc<TokioPostgres>>,
    diesel: Vec<Arc<DieselAsync>>,
    ids: Arc<Ids>,
    // Dropped last: the database goes with it.
    world: World,
}

fn ask(work: Work, ids: &Ids, tenant: &mut TenantConnection) -> Result<()> {
    match work {
        Work::Kpi => assert!(black_box(tenant.kpis().find(&ids.kpi)?).is_some()),
        Work::Kpis => {
            let listed = tenant.kpis().list(&KpiFilter::default(), &PageRequest::first(50)?)?;
            assert_eq!(black_box(listed.items).len(), KPIS);
        }
        Work::Points => {
            let page = PageRequest::first(1000)?;
            let points = tenant.data_points().range(&ids.kpi, ids.month, &page)?;
            assert_eq!(black_box(points.items).len(), POINTS);
        }
        Work::Goal => {
            let goal = tenant.goals().find_with_kpis(&ids.goal)?.unwrap();
            assert_eq!(black_box(goal).kpis.len(), LINKED);
        }
        Work::Record => {
            let point = NewDataPoint::new(ids.written.clone(), 1.5, ids.next())?;
            black_box(tenant.data_points().record(&point)?);
        }
    }
    Ok(())
}

impl Bench {
    fn new(neighbours: usize) -> Self {
        let world = World::new(neighbours, CALLERS);
        let ids = Arc::new(world.ids.clone());
        let runtime = Runtime::new().unwrap();
        let (tenant, admin) = (world.test.tenant_url(), world.test.admin_url());
        let of = |url: &str| {
            let open = || Arc::new(runtime.block_on(TokioPostgres::connect(url)));
            (0..CALLERS).map(|_| open()).collect()
        };
        let (guarded, unguarded) = (of(&tenant), of(&admin));
        let open = |_| Arc::new(runtime.block_on(DieselAsync::connect(&tenant)));
        let diesel = (0..CALLERS).map(open).collect();
        let db = world.db.clone();
        Self { futures: db.clone().into(), db, guarded, unguarded, diesel, ids, runtime, world }
    }

    fn scope(&self, work: Work) -> Scope<TenantConnection> {
        let scope = Scope::tenant(&self.ids.user, &self.ids.workspace);
        if work == Work::Record { scope.single_statement() } else { scope.read_only() }
    }

    fn run(&self, db: &Database, work: Work) {
        db.run("bench", self.scope(work), |tenant| ask(work, &self.ids, tenant)).unwrap();
    }

    /// One call of a caller after the other, as a future.
    fn future(&self, way: Way, work: Work, caller: usize) -> impl Fn() -> Called + Send + use<> {
        let (db, scope, ids) = (self.futures.clone(), self.scope(work), self.ids.clone());
        let [guarded, unguarded] = [&self.guarded, &self.unguarded].map(|all| all[caller].clone());
        let diesel = self.diesel[caller].clone();
        move || {
            let ids = ids.clone();
            match way {
                Way::Run => unreachable!("not a future"),
                Way::AsyncRun => {
                    let unit = db.run("bench", scope.clone(), move |t| ask(work, &ids, t));
                    Box::pin(async { unit.await.unwrap() })
                }
                Way::OneByOne => {
                    let peer = guarded.clone();
                    Box::pin(async move { peer.one_by_one(work, &ids).await })
                }
                Way::Pipelined => {
                    let peer = guarded.clone();
                    Box::pin(async move { peer.pipelined(work, &ids, true).await })
                }
                Way::Unguarded => {
                    let peer = unguarded.clone();
                    Box::pin(async move { peer.pipelined(work, &ids, false).await })
                }
                Way::DieselAsync => {
                    let peer = diesel.clone();
                    Box::pin(async move { peer.ask(work, &ids).await })
                }
            }
        }
    }

    /// Callers that ask until it is over, each at least once. Returns how long each call took, and all.
    fn slice(&self, way: Way, work: Work, callers: usize, slice: Duration, seen: &mut Seen) {
        let begun = Instant::now();
        if way == Way::Run {
            std::thread::scope(|scope| {
                let caller = || {
                    let mut took = Vec::new();
                    while took.is_empty() || begun.elapsed() < slice {
                        let asked = Instant::now();
                        self.run(&self.db, work);
                        took.push(asked.elapsed());
                    }
                    took
                };
                let all: Vec<_> = (0..callers).map(|_| scope.spawn(caller)).collect();
                for caller in all {
                    seen.took.extend(caller.join().unwrap());
                }
            });
        } else {
            let caller = |caller| {
                let call = self.future(way, work, caller);
                self.runtime.spawn(async move {
                    let mut took = Vec::new();
                    while took.is_empty() || begun.elapsed() < slice {
                        let asked = Instant::now();
                        call().await;
                        took.push(asked.elapsed());
                    }
                    took
                })
            };
            let all: Vec<_> = (0..callers).map(caller).collect();
            for caller in all {
                seen.took.extend(self.runtime.block_on(caller).unwrap());
            }
        }
        seen.time += begun.elapsed();
    }

    /// All these ways in turns.
    fn turns(&self, ways: &[Way], work: Work, callers: usize, pace: Pace) -> Vec<Seen> {
        let mut seen: Vec<_> = ways.iter().map(|_| Seen::default()).collect();
        for (way, seen) in ways.iter().zip(&mut seen) {
            self.slice(*way, work, callers, pace.slice * 4, seen);
            *seen = Seen::default();
        }
        for _ in 0..pace.rounds {
            for (way, seen) in ways.iter().zip(&mut seen) {
                self.slice(*way, work, callers, pace.slice, seen);
            }
        }
        seen
    }
}

/// What callers saw in some slices of time.
#[derive(Default)]
struct Seen {
    took: Vec<Duration>,
    time: Duration,
}

impl Seen {
    fn rate(&self) -> f64 {
        f64::from(u32::try_from(self.took.len()).unwrap()) / self.time.as_secs_f64()
    }

    /// In microseconds.
    fn median(&mut self) -> f64 {
        self.took.sort_unstable();
        self.took[self.took.len() / 2].as_secs_f64() * 1e6
    }
}

/// How long each has a turn, and how many.
#[derive(Clone, Copy)]
struct Pace {
    slice: Duration,
    rounds: usize,
}

fn print_head(what: &str, ways: &[Way]) {
    print!("\n{what:<24}");
    for way in ways {
        print!(" {:>16}", way.name());
    }
    println!();
}

/// The figures, each with its ratio to the first.
fn print_row(name: &str, figures: &[f64]) {
    print!("{name:<24}");
    for figure in figures {
        print!(" {:>16}", format!("{figure:.0} ({:.2})", figure / figures[0]));
    }
    println!();
}

fn print_bound(what: &str, ratio: f64, bound: f64, is_met: bool) {
    let word = if is_met { "" } else { "missed" };
    println!("{what:<60} {ratio:>6.2} {bound:>6.2}  {word}");
}

fn print_latencies(bench: &Bench, pace: Pace, bounds: &mut Vec<(String, f64, f64)>) {
    print_head("p50 in us", &Way::ALL);
    let mut keep = |work: Work, ways: &[Way], medians: &[f64]| {
        for (_, way, beside, bound) in BOUNDS.iter().filter(|(of, ..)| *of == work) {
            let of = |way| medians[ways.iter().position(|other| *other == way).unwrap()];
            let what = format!("{}: {} to {}", work.name(), way.name(), beside.name());
            bounds.push((what, of(*way) / of(*beside), *bound));
        }
    };
    for work in Work::READS {
        let medians: Vec<_> =
            bench.turns(&Way::ALL, work, 1, pace).iter_mut().map(Seen::median).collect();
        print_row(work.name(), &medians);
        keep(work, &Way::ALL, &medians);
    }
    // Without isolation, and a statement alone: nothing to send at once.
    let ways = [Way::Unguarded, Way::Run, Way::AsyncRun];
    print_head("p50 in us", &ways);
    let medians: Vec<_> =
        bench.turns(&ways, Work::Record, 1, pace).iter_mut().map(Seen::median).collect();
    print_row(Work::Record.name(), &medians);
    keep(Work::Record, &ways, &medians);
}

fn print_rates(bench: &Bench, pace: Pace) -> [f64; 2] {
    print_head("requests/s", &Way::ALL);
    let rates: Vec<_> =
        bench.turns(&Way::ALL, Work::Kpi, CALLERS, pace).iter().map(Seen::rate).collect();
    print_row("one KPI, 8 callers", &rates);
    [1, 2].map(|way| rates[way] / rates[0])
}

/// Where a message takes half a millisecond either way: a read, in trips.
fn print_trips(bench: &Bench, rounds: usize) -> f64 {
    let mut plain = bench.world.far_admin();
    let (mut trips, mut reads) = (Seen::default(), Seen::default());
    for _ in 0..rounds {
        let asked = Instant::now();
        plain.batch_execute("SELECT 1").unwrap();
        trips.took.push(asked.elapsed());
        let asked = Instant::now();
        bench.run(&bench.world.far, Work::Kpi);
        reads.took.push(asked.elapsed());
    }
    let (trip, read) = (trips.median(), reads.median());
    println!("\n1 ms away: SELECT 1 {trip:.0} us, {} {read:.0} us", Work::Kpi.name());
    read / trip
}

fn main() {
    // Without `--bench`, the target only proves that it runs.
    let measuring = std::env::args().any(|argument| argument == "--bench");
    let bench = Bench::new(if measuring { 20 } else { 1 });
    let pace = |millis, rounds| Pace {
        slice: Duration::from_millis(if measuring { millis } else { 0 }),
        rounds: if measuring { rounds } else { 1 },
    };
    let mut bounds = Vec::new();
    print_latencies(&bench, pace(20, 60), &mut bounds);
    let rates = print_rates(&bench, pace(200, 12));
    let trips = print_trips(&bench, if measuring { 500 } else { 3 });
    println!("\n{:<60} {:>6} {:>6}", "", "ratio", "bound");
    for (what, ratio, bound) in bounds {
        print_bound(&format!("{what}, at most"), ratio, bound, ratio <= bound);
    }
    for (way, ratio) in [Way::Run, Way::AsyncRun].into_iter().zip(rates) {
        let what = format!("requests/s of 8 callers: {} to one by one, at least", way.name());
        print_bound(&what, ratio, 1.0, ratio >= 1.0);
    }
    print_bound("1 ms away: a read to a trip, at most", trips, 1.3, trips <= 1.3);
}
