//! A unit of work: a transaction run by name, perhaps more than once.

use std::time::{Duration, Instant};

use super::{figures, spans};
use crate::error::Error;
use crate::id::WorkspaceId;

/// Watches a unit of work from before it waits for a connection until it is committed or given up.
///
/// Its span's parent is the span in which it began, on whichever thread the work is then done.
pub(crate) struct Unit {
    name: &'static str,
    span: spans::UnitSpan,
    begun: Instant,
    retries: u32,
    waited: Duration,
    finished: bool,
}

impl Unit {
    /// `scope` is `tenant`, `user` or `service`; `actor_kind` is `user` or `service`.
    pub(crate) fn begin(
        name: &'static str,
        scope: &'static str,
        actor_kind: &'static str,
        workspace: Option<&WorkspaceId>,
        read_only: bool,
    ) -> Self {
        Self {
            name,
            span: spans::UnitSpan::new(name, scope, actor_kind, workspace, read_only),
            begun: Instant::now(),
            retries: 0,
            waited: Duration::ZERO,
            finished: false,
        }
    }

    /// Runs a part of the work in the span, on this thread.
    pub(crate) fn in_span<T>(&self, body: impl FnOnce() -> T) -> T {
        self.span.in_scope(body)
    }

    /// It waited so long for a connection of this pool; once for each attempt.
    pub(crate) fn waited(&mut self, pool: &'static str, waited: Duration) {
        self.waited += waited;
        figures::waited(pool, waited);
    }

    /// It will be run again, because of this error.
    pub(crate) fn retry(&mut self, error: &Error) {
        self.retries += 1;
        self.span.retry(self.name, error.kind());
        figures::retry(self.name, error.kind());
    }

    /// It was committed, or ended with an error of this [kind](Error::kind).
    pub(crate) fn finish(mut self, error: Option<&'static str>) {
        self.end(error);
    }

    fn end(&mut self, error: Option<&'static str>) {
        self.finished = true;
        self.span.finish(self.retries, self.waited, error);
        figures::unit(self.name, error.unwrap_or("ok"), self.begun.elapsed());
    }
}

impl Drop for Unit {
    /// A panic, or a future that was dropped.
    fn drop(&mut self) {
        if !self.finished {
            self.end(Some("abandoned"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use metrics_exporter_prometheus::PrometheusBuilder;
    use tracing_subscriber::fmt::format::FmtSpan;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is written of spans as they close, and what Prometheus reads.
    fn told(body: impl FnOnce()) -> (String, String) {
        let lines = Lines::default();
        let written = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_span_events(FmtSpan::CLOSE)
            .with_ansi(false)
            .with_writer(move || written.clone())
            .finish();
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            tracing::subscriber::with_default(subscriber, body);
        });
        let lines = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        (lines, recorder.handle().render())
    }

    fn all_in(text: &str, parts: &[&str]) {
        for part in parts {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn a_unit_is_a_span_around_its_operations_with_its_retries_and_waits() {
        let workspace = WorkspaceId::generate();
        let (lines, figures) = told(|| {
            let mut unit = Unit::begin("move_kpi", "tenant", "user", Some(&workspace), false);
            unit.waited("tenant", Duration::from_millis(2));
            unit.retry(&Error::Deadlock);
            unit.waited("tenant", Duration::from_millis(3));
            unit.in_span(|| super::super::operation("kpi.update", || Ok(()))).unwrap();
            unit.finish(None);
        });
        let operation = lines.lines().find(|line| line.contains("sesari_db.operation{")).unwrap();
        all_in(operation, &["sesari_db.unit{", "}:sesari_db.operation{", "kpi.update"]);
        all_in(
            &lines,
            &[
                "running again",
                "error.type=\"deadlock\"",
                "sesari.unit=\"move_kpi\"",
                "sesari.scope=\"tenant\"",
                "sesari.actor_kind=\"user\"",
                &format!("sesari.workspace_id=\"{workspace}\""),
                "sesari.read_only=false",
                "sesari.retries=1",
                "sesari.pool_wait_ms=5.0",
            ],
        );
        all_in(
            &figures,
            &[
                "sesari_db_units_total{unit=\"move_kpi\",outcome=\"ok\"} 1",
                "sesari_db_unit_seconds_count{unit=\"move_kpi\",outcome=\"ok\"} 1",
                "sesari_db_retries_total{unit=\"move_kpi\",reason=\"deadlock\"} 1",
                "sesari_db_pool_wait_seconds_count{pool=\"tenant\"} 2",
            ],
        );
        assert!(!figures.contains(workspace.as_str()), "{figures}");
    }

    #[test]
    fn a_unit_that_ends_without_an_outcome_was_abandoned() {
        let (lines, figures) = told(|| {
            drop(Unit::begin("gone", "user", "user", None, true));
            Unit::begin("failed", "service", "service", None, true).finish(Some("not_found"));
        });
        all_in(&lines, &["error.type=\"abandoned\"", "error.type=\"not_found\""]);
        assert!(!lines.contains("workspace_id"), "{lines}");
        all_in(
            &figures,
            &[
                "sesari_db_units_total{unit=\"gone\",outcome=\"abandoned\"} 1",
                "sesari_db_units_total{unit=\"failed\",outcome=\"not_found\"} 1",
            ],
        );
    }
}
