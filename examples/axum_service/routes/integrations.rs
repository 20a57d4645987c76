//! Integrations. Their credentials go in, are sealed, and never come out of this API.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, put};
use axum::{Json, Router};
use sesari_db::credentials::Secret;
use sesari_db::id::{IntegrationId, WorkspaceId};
use sesari_db::page::{ListRequest, Page};
use sesari_db::repo::{Integration, IntegrationFilter, NewIntegration};
use sesari_db::value::IntegrationProvider;

use super::{Answer, Created, Done, Shared};
use crate::app::App;
use crate::request::{At, Body, Caller, New, Params};

pub fn in_workspace() -> Router<Arc<App>> {
    Router::new()
        .route("/integrations", get(list).post(create))
        .route("/integrations/{integration}", get(find).delete(delete))
        .route("/integrations/{integration}/token", put(replace_token))
}

async fn list(
    State(app): Shared,
    caller: Caller,
    At(workspace): At<WorkspaceId>,
    Params(list): Params<ListRequest<IntegrationFilter>>,
) -> Answer<Page<Integration>> {
    let scope = caller.tenant(&workspace).read_only();
    let rows = app.db.run("integration.list", scope, move |tenant| {
        tenant.integrations().list(&list.filter, &list.page)
    });
    Ok(Json(rows.await?))
}

#[derive(serde::Deserialize)]
struct Connection {
    provider: IntegrationProvider,
    token: String,
}

async fn create(
    State(app): Shared,
    caller: Caller,
    At(workspace): At<WorkspaceId>,
    New(connection, key): New<Connection>,
) -> Created<Integration> {
    let (new, secret) = (NewIntegration::new(connection.provider), Secret::from(connection.token));
    let create =
        app.db.run_once("integration.create", caller.tenant(&workspace), key, move |tenant| {
            tenant.integrations().create(&new, &secret)
        });
    Ok((StatusCode::CREATED, Json(create.await?)))
}

async fn find(
    State(app): Shared,
    caller: Caller,
    At((workspace, id)): At<(WorkspaceId, IntegrationId)>,
) -> Answer<Integration> {
    let scope = caller.tenant(&workspace).read_only();
    let find = app.db.run("integration.find", scope, move |tenant| tenant.integrations().get(&id));
    Ok(Json(find.await?))
}

async fn replace_token(
    State(app): Shared,
    caller: Caller,
    At((workspace, id)): At<(WorkspaceId, IntegrationId)>,
    Body(token): Body<String>,
) -> Done {
    let (scope, secret) = (caller.tenant(&workspace), Secret::from(token));
    let replace = app.db.run("integration.replace_credentials", scope, move |tenant| {
        tenant.integrations().replace_credentials(&id, &secret)
    });
    replace.await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn delete(
    State(app): Shared,
    caller: Caller,
    At((workspace, id)): At<(WorkspaceId, IntegrationId)>,
) -> Done {
    let scope = caller.tenant(&workspace);
    app.db
        .run("integration.delete", scope, move |tenant| tenant.integrations().delete(&id))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
