//! Metrics, as Prometheus reads them.

use std::collections::BTreeSet;

use metrics_exporter_prometheus::PrometheusBuilder;
use sesari_db::id::KpiId;
use sesari_db::repo::NewKpi;

use crate::support::{Tenant, World};

/// What Prometheus would read after a few operations.
fn rendered(world: &World, a: &Tenant) -> String {
    let recorder = PrometheusBuilder::new().set_buckets(&[0.01, 1.0]).unwrap().build_recorder();
    metrics::with_local_recorder(&recorder, || {
        sesari_db::observe::describe_metrics();
        let mut tenant = world.db.tenant(&a.owner, &a.workspace).unwrap();
        for _ in 0..2 {
            tenant.kpis().find(&a.kpi).unwrap();
        }
        tenant.kpis().delete(&KpiId::generate()).unwrap_err();
        drop(tenant);
        let mut stranger = world.db.tenant(&world.stranger, &a.workspace).unwrap();
        stranger.kpis().create(&NewKpi::new("Planted".parse().unwrap())).unwrap_err();
    });
    recorder.handle().render()
}

#[test]
fn operations_and_refusals_are_counted_by_name_and_outcome() {
    let world = World::new();
    let text = rendered(&world, &world.a);
    for line in [
        r#"sesari_db_operation_seconds_count{operation="kpi.find",outcome="ok"} 2"#,
        r#"sesari_db_operation_seconds_count{operation="kpi.delete",outcome="not_found"} 1"#,
        r#"sesari_db_operation_seconds_count{operation="kpi.create",outcome="denied"} 1"#,
        r#"sesari_db_refusals_total{operation="kpi.create",reason="denied"} 1"#,
        "# HELP sesari_db_operation_seconds Time that an operation of a repository took",
        "# TYPE sesari_db_operation_seconds histogram",
    ] {
        assert!(text.lines().any(|there| there == line), "{line}\n{text}");
    }
}

#[test]
fn no_label_grows_with_the_data() {
    let world = World::new();
    let text = rendered(&world, &world.a);
    let mut labels = 0;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((_, rest)) = line.split_once('{') else { continue };
        let (inside, _) = rest.split_once('}').unwrap();
        for label in inside.split(',').filter(|label| !label.starts_with("le=")) {
            let (_, value) = label.split_once('=').unwrap();
            let value = value.trim_matches('"');
            // An id is letters and digits.
            assert!(value.bytes().all(|b| b.is_ascii_lowercase() || b"._".contains(&b)), "{line}");
            labels += 1;
        }
    }
    assert!(labels > 10, "{text}");
}

/// The words of a text that a predicate takes.
fn words(text: &str, is_one: impl Fn(&str) -> bool) -> BTreeSet<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| is_one(word))
        .collect()
}

#[test]
fn the_dashboard_shows_each_metric_there_is_and_no_other() {
    let dashboard: serde_json::Value =
        serde_json::from_str(include_str!("../../docs/grafana.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let queries: Vec<&str> = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().into_iter().flatten())
        .map(|target| target["expr"].as_str().unwrap())
        .collect();
    let queries = queries.join("\n");
    let shown: BTreeSet<&str> = words(&queries, |word| word.starts_with("sesari_db_"))
        .into_iter()
        .map(|name| {
            let parts = ["_bucket", "_count", "_sum"];
            parts.iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name)
        })
        .collect();
    let page = include_str!("../../docs/observability.md");
    let (_, table) = page.split_once("## Metrics").unwrap();
    let (table, _) = table.split_once("\n`outcome` is").unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.split('|').skip(1).collect())
        .collect();
    let there: BTreeSet<&str> = rows.iter().map(|row| row[0].trim().trim_matches('`')).collect();
    assert!(there.len() > 5);
    assert_eq!(shown, there);
    let code = include_str!("../../src/observe/figures.rs");
    assert!(there.iter().all(|name| code.contains(&format!("\"{name}\""))));
    // What is grouped by is a label of the metric.
    for query in queries.lines() {
        let name = shown.iter().find(|name| query.contains(*name)).unwrap();
        let row = rows.iter().find(|row| row[0].contains(&format!("`{name}`"))).unwrap();
        let (_, by) = query.split_once("by (").unwrap();
        let (by, _) = by.split_once(')').unwrap();
        for label in by.split(", ").filter(|label| *label != "le") {
            assert!(row[2].contains(&format!("`{label}`")), "{query}");
        }
    }
}
