//! Spans and events. The only place that knows `tracing`.

use std::time::Duration;

use tracing::Span;
use tracing::field::Empty;

use crate::id::WorkspaceId;

const TARGET: &str = "sesari_db";

/// Whether anybody listens to events.
pub(super) fn heard() -> bool {
    tracing::enabled!(target: TARGET, tracing::Level::WARN)
}

pub(super) struct OperationSpan(Span);

/// Runs `body` in the span of an operation.
pub(super) fn operation<T>(name: &'static str, body: impl FnOnce(&OperationSpan) -> T) -> T {
    let span = tracing::debug_span!(
        target: TARGET,
        "sesari_db.operation",
        "otel.name" = name,
        "otel.kind" = "client",
        "db.system.name" = "postgresql",
        "db.operation.name" = name,
        "db.collection.name" = super::table(name),
        "db.response.returned_rows" = Empty,
        "error.type" = Empty,
    );
    let span = OperationSpan(span);
    span.0.in_scope(|| body(&span))
}

impl OperationSpan {
    pub(super) fn rows(&self, rows: usize) {
        self.0.record("db.response.returned_rows", rows);
    }

    pub(super) fn error(&self, kind: &'static str) {
        self.0.record("error.type", kind);
    }
}

pub(super) fn slow(name: &'static str, took: Duration) {
    tracing::warn!(
        target: TARGET,
        { "db.operation.name" = name, "sesari.duration_ms" = milliseconds(took) },
        "slow operation"
    );
}

pub(super) fn refused(name: &'static str, kind: &'static str) {
    tracing::warn!(
        target: TARGET,
        { "db.operation.name" = name, "error.type" = kind },
        "refused"
    );
}

pub(super) struct UnitSpan(Span);

impl UnitSpan {
    pub(super) fn new(
        name: &'static str,
        scope: &'static str,
        actor_kind: &'static str,
        workspace: Option<&WorkspaceId>,
        read_only: bool,
    ) -> Self {
        Self(tracing::info_span!(
            target: TARGET,
            "sesari_db.unit",
            "otel.name" = name,
            "otel.kind" = "client",
            "db.system.name" = "postgresql",
            "sesari.unit" = name,
            "sesari.scope" = scope,
            "sesari.actor_kind" = actor_kind,
            "sesari.workspace_id" = workspace.map(WorkspaceId::as_str),
            "sesari.read_only" = read_only,
            "sesari.retries" = Empty,
            "sesari.pool_wait_ms" = Empty,
            "error.type" = Empty,
        ))
    }

    pub(super) fn in_scope<T>(&self, body: impl FnOnce() -> T) -> T {
        self.0.in_scope(body)
    }

    pub(super) fn retry(&self, name: &'static str, reason: &'static str) {
        tracing::info!(
            target: TARGET,
            parent: &self.0,
            { "sesari.unit" = name, "error.type" = reason },
            "running again"
        );
    }

    pub(super) fn finish(&self, retries: u32, waited: Duration, error: Option<&'static str>) {
        self.0.record("sesari.retries", retries);
        self.0.record("sesari.pool_wait_ms", milliseconds(waited));
        if let Some(kind) = error {
            self.0.record("error.type", kind);
        }
    }
}

/// To the microsecond.
fn milliseconds(duration: Duration) -> f64 {
    f64::from(u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)) / 1000.0
}
