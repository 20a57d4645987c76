//! What a dashboard's questions and a synchronisation's writes cost through the repositories, and
//! beside them the same on the layout of a plain table: an `id`, an index on KPI and time, no
//! row-level security, and no crate but diesel, or `tokio-postgres` for `COPY`.
//!
//! Both layouts are in one database, with the same points: workspaces of 20 KPIs, each with 10 000
//! hours, arrived in the order of time. Our side takes a connection from a warm pool, begins under
//! role, limits and signed context, asks, and commits; the plain side begins, asks and commits on a
//! connection of its own, as a superuser. Both go over loopback TCP.
//!
//! ```text
//! cargo bench --bench time_series                          # 2 million points
//! SESARI_POINTS=20000000 cargo bench --bench time_series   # 20 million, and 2 million beside them
//! ```
//!
//! The large set takes about half an hour and 12 GB where the server's directory is: `TMPDIR` says
//! where. Beside criterion's own figures tables of ratios are printed at the end. Their samples take
//! turns, so that whatever else the machine does weighs on both sides alike.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

#[path = "time_series/world.rs"]
mod world;

use std::hint::black_box;
use std::pin::pin;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use criterion::Criterion;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Double, Text, Timestamptz};
use sesari_db::id::KpiId;
use sesari_db::page::PageRequest;
use sesari_db::repo::{NewDataPoint, OnExisting, SeriesQuery};
use sesari_db::schema::kpi_data_points as points;
use sesari_db::series::{Grid, Step, Zone};
use sesari_db::{Result, TenantConnection};
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};

use crate::world::{Copying, KPIS, World, days, kpi_data_points as reference};

/// Points of the batch that is recorded.
const BATCH: usize = 10_000;
/// The set that a larger one is compared with.
const SMALL: usize = 2_000_000;

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let started = Instant::now();
    black_box(work());
    started.elapsed()
}

/// A row of the plain layout's year.
#[derive(QueryableByName)]
#[expect(dead_code, reason = "read for the time it takes")]
struct OfADay {
    #[diesel(sql_type = Text)]
    kpi_id: String,
    #[diesel(sql_type = Timestamptz)]
    day: DateTime<Utc>,
    #[diesel(sql_type = BigInt)]
    points: i64,
    #[diesel(sql_type = Double)]
    sum: f64,
    #[diesel(sql_type = Double)]
    min: f64,
    #[diesel(sql_type = Double)]
    max: f64,
}

impl World {
    /// One unit of work of a member, timed from before its begin until after its commit.
    fn tenant<T>(&self, work: impl FnOnce(&mut TenantConnection) -> Result<T>) -> Duration {
        timed(|| {
            let mut tenant = self.db.tenant(&self.user, &self.workspace).unwrap();
            black_box(work(&mut tenant).unwrap());
            tenant.commit().unwrap();
        })
    }

    fn month(&mut self) -> Duration {
        let page = PageRequest::first(1000).unwrap();
        self.tenant(|tenant| {
            let rows = tenant.data_points().range(&self.kpis[3], days(30), &page)?;
            assert_eq!(rows.items.len(), 720);
            Ok(rows)
        })
    }

    fn plain_month(&mut self) -> Duration {
        let (kpi, range) = (&self.kpis[3], days(30));
        timed(|| {
            let rows = self.plain.transaction(|conn| {
                reference::table
                    .filter(reference::kpi_id.eq(kpi.as_str()))
                    .filter(reference::timestamp.ge(range.from()))
                    .filter(reference::timestamp.lt(range.to()))
                    .order(reference::timestamp.asc())
                    .load::<(String, String, f64, DateTime<Utc>, Option<String>)>(conn)
            });
            assert_eq!(black_box(rows.unwrap()).len(), 720);
        })
    }

    fn year_of(&self, zone: Zone, read: impl FnOnce(SeriesQuery) -> SeriesQuery) -> Duration {
        self.tenant(|tenant| {
            let query = read(SeriesQuery::new(Grid::whole(days(365), Step::day(zone))?));
            tenant.series().read(&self.kpis, &query)
        })
    }

    fn year(&mut self) -> Duration {
        self.year_of(Zone::UTC, |query| query)
    }

    fn year_from_points(&mut self) -> Duration {
        self.year_of(Zone::UTC, SeriesQuery::from_points_alone)
    }

    fn year_in_berlin(&mut self) -> Duration {
        self.year_of("Europe/Berlin".parse().unwrap(), |query| query)
    }

    fn plain_year(&mut self) -> Duration {
        let kpis: Vec<_> = self.kpis.iter().map(KpiId::as_str).collect();
        let range = days(365);
        timed(|| {
            self.plain.transaction(|conn| {
                diesel::sql_query(
                    "SELECT kpi_id, date_trunc('day', \"timestamp\", 'UTC') AS day, \
                            count(*) AS points, sum(value), min(value), max(value) \
                     FROM reference.kpi_data_points \
                     WHERE kpi_id = ANY ($1) AND \"timestamp\" >= $2 AND \"timestamp\" < $3 \
                     GROUP BY kpi_id, day ORDER BY kpi_id, day",
                )
                .bind::<Array<Text>, _>(&kpis)
                .bind::<Timestamptz, _>(range.from())
                .bind::<Timestamptz, _>(range.to())
                .load::<OfADay>(conn)
            })
        })
    }

    fn latest_of_all(&mut self) -> Duration {
        self.tenant(|tenant| {
            let rows = tenant.data_points().latest_of_many(&self.kpis)?;
            assert_eq!(rows.len(), KPIS);
            Ok(rows)
        })
    }

    fn latest_of_one(&mut self) -> Duration {
        self.tenant(|tenant| Ok(tenant.data_points().latest(&self.kpis[7])?.unwrap()))
    }

    fn plain_latest_of_one(&mut self) -> Duration {
        let kpi = &self.kpis[7];
        timed(|| {
            self.plain.transaction(|conn| {
                reference::table
                    .filter(reference::kpi_id.eq(kpi.as_str()))
                    .order(reference::timestamp.desc())
                    .first::<(String, String, f64, DateTime<Utc>, Option<String>)>(conn)
            })
        })
    }

    fn point(&self, at: DateTime<Utc>) -> NewDataPoint {
        NewDataPoint::new(self.kpis[11].clone(), 1.5, at).unwrap()
    }

    fn record(&mut self) -> Duration {
        let at = self.writing.next(1);
        let point = self.point(at);
        self.tenant(|tenant| tenant.data_points().record(&point))
    }

    fn record_late(&mut self) -> Duration {
        let at = self.writing.late();
        let point = self.point(at);
        self.tenant(|tenant| tenant.data_points().record(&point))
    }

    fn plain_record(&mut self) -> Duration {
        let at = self.writing.next(1);
        let point = self.point(at);
        timed(|| {
            self.writing.bare.transaction(|conn| {
                diesel::insert_into(points::table)
                    .values((
                        points::workspace_id.eq(&self.workspace),
                        points::kpi_id.eq(&point.kpi_id),
                        points::timestamp.eq(point.timestamp),
                        points::source.eq(""),
                        points::value.eq(point.value),
                    ))
                    .execute(conn)
            })
        })
    }

    /// The next hours of all KPIs, in the order in which a synchronisation has them.
    fn batch(&mut self) -> Vec<NewDataPoint> {
        let hours = i64::try_from(BATCH / KPIS).unwrap();
        let start = self.writing.next(hours);
        (0..hours)
            .map(|hour| start + TimeDelta::hours(hour))
            .flat_map(|at| {
                self.kpis.iter().map(move |kpi| NewDataPoint::new(kpi.clone(), 1.5, at).unwrap())
            })
            .collect()
    }

    fn record_many(&mut self) -> Duration {
        let batch = self.batch();
        self.tenant(|tenant| {
            let recorded = tenant.data_points().record_many(&batch, OnExisting::Fail)?;
            assert_eq!(recorded.inserted, BATCH);
            Ok(())
        })
    }

    fn copy(&mut self) -> Duration {
        let batch = self.batch();
        let Copying { runtime, client } = &self.writing.copying;
        timed(|| {
            runtime.block_on(async {
                client.batch_execute("BEGIN").await.unwrap();
                let sink = client
                    .copy_in(
                        "COPY public.kpi_data_points (workspace_id, kpi_id, timestamp, source, value) \
                         FROM STDIN (FORMAT binary)",
                    )
                    .await
                    .unwrap();
                let types = [Type::TEXT, Type::TEXT, Type::TIMESTAMPTZ, Type::TEXT, Type::FLOAT8];
                let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
                let workspace = self.workspace.as_str();
                for point in &batch {
                    let (kpi, at) = (point.kpi_id.as_str(), point.timestamp.get());
                    let row: [&(dyn ToSql + Sync); 5] =
                        [&workspace, &kpi, &at, &"", &point.value.get()];
                    writer.as_mut().write(&row).await.unwrap();
                }
                writer.finish().await.unwrap();
                client.batch_execute("COMMIT").await.unwrap();
            });
        })
    }
}

type Work = fn(&mut World) -> Duration;

/// What is measured: name and work, what it is compared with, the most that the first may take for
/// each of the second where a bound is set, and how many turns.
type Pair = (&'static str, Work, &'static str, Work, Option<f64>, usize);

const READS: [Pair; 6] = [
    ("30 days of one KPI", World::month, "plain layout", World::plain_month, Some(0.6), 400),
    ("year by day, 20 KPIs", World::year, "from points", World::year_from_points, Some(0.05), 40),
    ("year by day, 20 KPIs", World::year, "plain layout", World::plain_year, Some(0.02), 20),
    ("the same in Europe/Berlin", World::year_in_berlin, "in UTC", World::year, None, 40),
    ("latest of 20 KPIs", World::latest_of_all, "of one", World::latest_of_one, Some(1.5), 400),
    (
        "latest of one KPI",
        World::latest_of_one,
        "plain layout",
        World::plain_latest_of_one,
        None,
        400,
    ),
];

// Rates of 0.8 and 0.6 of COPY's, as times.

/// With the trigger switched off that keeps rollups and current values: what the isolation and the
/// crate cost.
const BARE_WRITES: [Pair; 2] = [
    ("record one", World::record, "plain insert", World::plain_record, Some(1.5), 400),
    ("record_many of 10 000", World::record_many, "COPY", World::copy, Some(1.0 / 0.8), 12),
];

const WRITES: [Pair; 3] = [
    ("record one", World::record, "plain insert", World::plain_record, None, 400),
    ("record one late", World::record_late, "in order", World::record, None, 200),
    ("record_many of 10 000", World::record_many, "COPY", World::copy, Some(1.0 / 0.6), 12),
];

fn median(mut samples: Vec<Duration>) -> f64 {
    samples.sort_unstable();
    samples[samples.len() / 2].as_secs_f64() * 1e3
}

fn print_row(name: &str, a: f64, beside: &str, b: f64, bound: Option<f64>) {
    let bound = bound.map_or(String::new(), |bound| format!("{bound:>7.2}"));
    println!("{name:<26} {a:>9.3} ms   {beside:<16} {b:>9.3} ms {:>7.3} {bound}", a / b);
}

/// Each pair in turns, and the ratio of their medians.
fn print_pairs(world: &mut World, pairs: &[Pair], measuring: bool) {
    for (name, work, beside, other, bound, rounds) in pairs {
        let rounds = if measuring { *rounds } else { 1 };
        for _ in 0..=rounds / 10 {
            work(world);
            other(world);
        }
        let (a, b) = (0..rounds).map(|_| (work(world), other(world))).unzip();
        print_row(name, median(a), beside, median(b), *bound);
    }
}

fn print_sizes(world: &mut World) {
    println!("\n{:<44} {:>8}", "bytes a point", "");
    for (name, size_of, bound) in [
        ("table and index", "pg_total_relation_size('public.kpi_data_points')", "290"),
        ("of these the index", "pg_relation_size('public.kpi_data_points_pkey')", ""),
        ("rollups and their index", "pg_total_relation_size('public.kpi_rollups')", ""),
        ("plain layout", "pg_total_relation_size('reference.kpi_data_points')", ""),
    ] {
        println!("{name:<44} {:>8.1} {bound:>7}", world.bytes_a_point(size_of));
    }
}

/// The same questions to the large set and to the small one.
fn print_scale(large: &mut World, small: &mut World) {
    println!("\n{:<26} {} points beside {}", "the same question", large.points, small.points);
    let works: [(&str, Work, usize); 4] = [
        ("30 days of one KPI", World::month, 400),
        ("year by day, 20 KPIs", World::year, 40),
        ("latest of 20 KPIs", World::latest_of_all, 400),
        ("record one", World::record, 400),
    ];
    for (name, work, rounds) in works {
        for _ in 0..=rounds / 10 {
            work(large);
            work(small);
        }
        let (a, b) = (0..rounds).map(|_| (work(large), work(small))).unzip();
        print_row(name, median(a), "small set", median(b), Some(1.3));
    }
}

fn reads(c: &mut Criterion, world: &mut World) {
    let works: [(&str, Work); 9] = [
        ("month/repository", World::month),
        ("month/plain", World::plain_month),
        ("year_by_day/repository", World::year),
        ("year_by_day/berlin", World::year_in_berlin),
        ("year_by_day/from_points", World::year_from_points),
        ("year_by_day/plain", World::plain_year),
        ("latest/repository", World::latest_of_one),
        ("latest/plain", World::plain_latest_of_one),
        ("latest/of_20", World::latest_of_all),
    ];
    for (name, work) in works {
        c.bench_function(name, |b| b.iter_custom(|n| (0..n).map(|_| work(world)).sum()));
    }
}

fn main() {
    // Without `--bench`, the target only proves that it runs.
    let measuring = std::env::args().any(|argument| argument == "--bench");
    let default = if measuring { SMALL } else { 20_000 };
    let points = std::env::var("SESARI_POINTS").map_or(default, |text| text.parse().unwrap());
    let mut world = World::new(points);
    println!("{}", world::server(&mut world.plain));
    print_sizes(&mut world);
    let mut c = Criterion::default().sample_size(10).configure_from_args();
    reads(&mut c, &mut world);
    c.final_summary();
    println!(
        "\n{:<26} {:>12}   {:<16} {:>12} {:>7} {:>7}",
        "median of turns", "", "beside", "", "ratio", "at most"
    );
    print_pairs(&mut world, &READS, measuring);
    println!("without rollups and current values");
    world.keep_rollups(false);
    print_pairs(&mut world, &BARE_WRITES, measuring);
    world.keep_rollups(true);
    println!("with them");
    print_pairs(&mut world, &WRITES, measuring);
    if points > SMALL {
        print_scale(&mut world, &mut World::new(SMALL));
    }
}
