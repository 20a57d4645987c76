//! For whoever operates the service: probes, metrics, and a span for each request.
//!
//! In production these routes belong on a port of their own, which clients do not reach.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tracing::field::Empty;
use tracing::{Instrument as _, info_span};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::app::App;
use crate::failure::Failure;

/// Bounds of the histograms' buckets, in seconds.
const BUCKETS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
}

/// Whether the process answers. Does not ask the database: to restart the service would not mend it.
async fn alive() -> &'static str {
    "alive\n"
}

/// Whether requests should be sent here.
async fn ready(State(app): State<Arc<App>>) -> Result<Response, Failure> {
    let health = app.db.health().await?;
    let status = if health.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, Json(health)).into_response())
}

async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics.render())
}

/// Installs what collects metrics, for `/metrics` to show.
pub fn measure() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new().set_buckets(&BUCKETS)?.install_recorder()?;
    sesari_db::observe::describe_metrics();
    Ok(handle)
}

/// Moves what was measured into the histograms, as otherwise only `/metrics` does, and it may never be
/// asked for.
pub async fn upkeep(app: Arc<App>) {
    let mut clock = tokio::time::interval(Duration::from_secs(5));
    loop {
        clock.tick().await;
        app.metrics.run_upkeep();
    }
}

/// Writes events and ended spans to standard error: those of `RUST_LOG`, or of level INFO and above.
/// A request and its unit of work are such spans, and with `sesari_db=debug` each operation in it.
pub fn log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(std::io::stderr)
        .init();
}

/// Answers a request in a span of its own, in which its unit of work then has its own.
pub async fn observed(request: Request, next: Next) -> Response {
    let span = info_span!(
        "request",
        "http.request.method" = %request.method(),
        "url.path" = request.uri().path(),
        "http.response.status_code" = Empty,
    );
    let response = next.run(request).instrument(span.clone()).await;
    span.record("http.response.status_code", response.status().as_u16());
    response
}
