//! How long the progress of a goal takes to compute, by its number of KPIs.
#![allow(missing_docs, reason = "criterion's macros make public items without documentation")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sesari_db::progress::{KpiProgressInput, goal_progress};

/// KPIs whose figures and weights do not fit in few bits, so that the exact sums have work to do.
fn kpis(count: u32) -> Vec<KpiProgressInput> {
    (0..count)
        .map(|i| KpiProgressInput {
            kpi_id: format!("kpi{i}").parse().unwrap(),
            current: Some(10.0 + f64::from(i).sin() * 7.0),
            target: (i % 10 != 9).then_some(20.0),
            baseline: (i % 2 == 0).then_some(1.0),
            weight: f64::from(i % 7) / 3.0 + 0.1,
        })
        .collect()
}

fn progress(c: &mut Criterion) {
    let mut group = c.benchmark_group("goal_progress");
    for count in [1, 10, 100, 10_000] {
        let kpis = kpis(count);
        group.throughput(Throughput::Elements(count.into()));
        group.bench_with_input(BenchmarkId::from_parameter(count), &kpis, |b, kpis| {
            b.iter(|| goal_progress(black_box(kpis)).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, progress);
criterion_main!(benches);
