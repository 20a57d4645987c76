//! Metrics. The only place that knows `metrics`.

use std::time::Duration;

use metrics::{Unit, counter, gauge, histogram};

/// Tells the installed recorder what each metric is, and its unit. Call it once, after the exporter
/// has been installed.
pub fn describe_metrics() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};
    describe_histogram!(
        "sesari_db_operation_seconds",
        Unit::Seconds,
        "Time that an operation of a repository took"
    );
    describe_counter!(
        "sesari_db_slow_operations_total",
        Unit::Count,
        "Operations that took as long as the threshold or longer"
    );
    describe_counter!(
        "sesari_db_refusals_total",
        Unit::Count,
        "Inserts, role changes and contexts that the database refused"
    );
    describe_counter!("sesari_db_units_total", Unit::Count, "Units of work that ended");
    describe_histogram!(
        "sesari_db_unit_seconds",
        Unit::Seconds,
        "Time that a unit of work took, with waiting and retries"
    );
    describe_counter!(
        "sesari_db_retries_total",
        Unit::Count,
        "Times that a unit of work was run again"
    );
    describe_histogram!(
        "sesari_db_pool_wait_seconds",
        Unit::Seconds,
        "Time that a unit of work waited for a connection"
    );
    describe_gauge!("sesari_db_pool_connections", Unit::Count, "Connections of the pool");
    describe_gauge!("sesari_db_pool_waiting", Unit::Count, "Callers that wait for a connection");
    describe_counter!(
        "sesari_db_overloaded_total",
        Unit::Count,
        "Calls turned away because too many were waiting"
    );
}

pub(super) fn operation(name: &'static str, outcome: &'static str, took: Duration) {
    histogram!("sesari_db_operation_seconds", "operation" => name, "outcome" => outcome)
        .record(took);
}

pub(super) fn slow(name: &'static str) {
    counter!("sesari_db_slow_operations_total", "operation" => name).increment(1);
}

pub(super) fn refused(name: &'static str, reason: &'static str) {
    counter!("sesari_db_refusals_total", "operation" => name, "reason" => reason).increment(1);
}

pub(super) fn unit(name: &'static str, outcome: &'static str, took: Duration) {
    counter!("sesari_db_units_total", "unit" => name, "outcome" => outcome).increment(1);
    histogram!("sesari_db_unit_seconds", "unit" => name, "outcome" => outcome).record(took);
}

pub(super) fn retry(name: &'static str, reason: &'static str) {
    counter!("sesari_db_retries_total", "unit" => name, "reason" => reason).increment(1);
}

pub(super) fn waited(pool: &'static str, waited: Duration) {
    histogram!("sesari_db_pool_wait_seconds", "pool" => pool).record(waited);
}

/// How a pool stands: its connections at most, those in use, and callers in the queue.
pub(crate) fn pool(pool: &'static str, max: usize, in_use: usize, waiting: usize) {
    let number = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    for (state, connections) in [("max", max), ("in_use", in_use)] {
        gauge!("sesari_db_pool_connections", "pool" => pool, "state" => state)
            .set(number(connections));
    }
    gauge!("sesari_db_pool_waiting", "pool" => pool).set(number(waiting));
}

/// A call was turned away at once, as too many were waiting.
pub(crate) fn overloaded(pool: &'static str) {
    counter!("sesari_db_overloaded_total", "pool" => pool).increment(1);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    /// The names at the beginning of a table's lines.
    fn in_tables(text: &str) -> BTreeSet<&str> {
        text.lines()
            .filter_map(|line| line.trim_start_matches("//! ").strip_prefix("| `sesari_db_"))
            .filter_map(|rest| rest.split('`').next())
            .collect()
    }

    #[test]
    fn every_metric_is_described_and_in_both_tables() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            describe_metrics();
            operation("kpi.find", "ok", Duration::ZERO);
            slow("kpi.find");
            refused("kpi.create", "denied");
            unit("unit", "ok", Duration::ZERO);
            retry("unit", "deadlock");
            waited("tenant", Duration::ZERO);
            pool("tenant", 10, 4, 1);
            overloaded("tenant");
        });
        let text = recorder.handle().render();
        let named = |prefix: &str| -> BTreeSet<&str> {
            text.lines()
                .filter_map(|line| line.strip_prefix(prefix)?.strip_prefix(" sesari_db_"))
                .filter_map(|rest| rest.split(' ').next())
                .collect()
        };
        let all = named("# TYPE");
        assert_eq!(all.len(), 10);
        assert_eq!(named("# HELP"), all);
        assert_eq!(in_tables(include_str!("../observe.rs")), all);
        assert_eq!(in_tables(include_str!("../../docs/observability.md")), all);
        for line in [
            "sesari_db_pool_connections{pool=\"tenant\",state=\"in_use\"} 4",
            "sesari_db_pool_connections{pool=\"tenant\",state=\"max\"} 10",
            "sesari_db_pool_waiting{pool=\"tenant\"} 1",
            "sesari_db_overloaded_total{pool=\"tenant\"} 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
