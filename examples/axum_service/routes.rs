//! The API. Each handler is one unit of work in the scope of whoever asks.

mod goals;
mod integrations;
mod invitations;
mod kpis;
mod people;

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::response::Html;
use axum::routing::get;
use axum::{Json, Router};

use crate::app::App;
use crate::failure::Failure;
use crate::operations;

type Shared = State<Arc<App>>;
type Answer<T> = Result<Json<T>, Failure>;
type Created<T> = Result<(StatusCode, Json<T>), Failure>;
type Done = Result<StatusCode, Failure>;

pub fn all(app: Arc<App>) -> Router {
    let workspace = people::in_workspace()
        .merge(invitations::in_workspace())
        .merge(kpis::in_workspace())
        .merge(goals::in_workspace())
        .merge(integrations::in_workspace());
    let api = people::anywhere()
        .merge(invitations::anywhere())
        .nest("/workspaces/{workspace}", workspace)
        .layer(from_fn(operations::observed));
    Router::new()
        .route("/", get(|| async { Html(include_str!("page.html")) }))
        .merge(operations::routes())
        .merge(api)
        .fallback(|| async { Failure::NoRoute })
        .method_not_allowed_fallback(|| async {
            let (status, what) = (StatusCode::METHOD_NOT_ALLOWED, "not by this method".to_owned());
            Failure::Malformed { status, what }
        })
        .with_state(app)
}
