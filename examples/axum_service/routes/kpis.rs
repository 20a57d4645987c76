//! KPIs and their points.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use sesari_db::Error;
use sesari_db::id::{KpiId, WorkspaceId};
use sesari_db::page::{ListRequest, Page};
use sesari_db::repo::{
    DataPoint, Kpi, KpiChanges, KpiFilter, NewDataPoint, NewKpi, OnExisting, Recorded, TimeRange,
};
use sesari_db::value::{Finite, Source, Timestamp};

use super::{Answer, Created, Done, Shared};
use crate::app::App;
use crate::request::{At, Body, Caller, New, Params};

pub fn in_workspace() -> Router<Arc<App>> {
    Router::new()
        .route("/kpis", get(list).post(create))
        .route("/kpis/{kpi}", get(find).patch(update).delete(delete))
        .route("/kpis/{kpi}/restore", post(restore))
        .route("/kpis/{kpi}/points", get(points).post(record))
}

async fn list(
    State(app): Shared,
    caller: Caller,
    At(workspace): At<WorkspaceId>,
    Params(list): Params<ListRequest<KpiFilter>>,
) -> Answer<Page<Kpi>> {
    let rows = app.db.run("kpi.list", caller.tenant(&workspace).read_only(), move |tenant| {
        tenant.kpis().list(&list.filter, &list.page)
    });
    Ok(Json(rows.await?))
}

async fn create(
    State(app): Shared,
    caller: Caller,
    At(workspace): At<WorkspaceId>,
    New(new, key): New<NewKpi>,
) -> Created<Kpi> {
    let create = app.db.run_once("kpi.create", caller.tenant(&workspace), key, move |tenant| {
        tenant.kpis().create(&new)
    });
    Ok((StatusCode::CREATED, Json(create.await?)))
}

async fn find(
    State(app): Shared,
    caller: Caller,
    At((workspace, kpi)): At<(WorkspaceId, KpiId)>,
) -> Answer<Kpi> {
    let find = app.db.run("kpi.find", caller.tenant(&workspace).read_only(), move |tenant| {
        tenant.kpis().get(&kpi)
    });
    Ok(Json(find.await?))
}

async fn update(
    State(app): Shared,
    caller: Caller,
    At((workspace, kpi)): At<(WorkspaceId, KpiId)>,
    Body(changes): Body<KpiChanges>,
) -> Answer<Kpi> {
    let update = app.db.run("kpi.update", caller.tenant(&workspace), move |tenant| {
        tenant.kpis().update(&kpi, &changes)
    });
    Ok(Json(update.await?))
}

async fn delete(
    State(app): Shared,
    caller: Caller,
    At((workspace, kpi)): At<(WorkspaceId, KpiId)>,
) -> Done {
    let scope = caller.tenant(&workspace);
    app.db.run("kpi.delete", scope, move |tenant| tenant.kpis().delete(&kpi)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a deletion back.
async fn restore(
    State(app): Shared,
    caller: Caller,
    At((workspace, kpi)): At<(WorkspaceId, KpiId)>,
) -> Answer<Kpi> {
    let scope = caller.tenant(&workspace);
    let restore = app.db.run("kpi.restore", scope, move |tenant| tenant.kpis().restore(&kpi));
    Ok(Json(restore.await?))
}

/// `?from=2026-01-01T00:00:00Z&to=...`, RFC 3339, with `limit` and `after`.
async fn points(
    State(app): Shared,
    caller: Caller,
    At((workspace, kpi)): At<(WorkspaceId, KpiId)>,
    Params(ListRequest { filter: range, page }): Params<ListRequest<TimeRange>>,
) -> Answer<Page<DataPoint>> {
    let scope = caller.tenant(&workspace).read_only();
    let read = app.db.run("data_point.range", scope, move |tenant| {
        tenant.data_points().range(&kpi, range, &page)
    });
    Ok(Json(read.await?))
}

#[derive(serde::Deserialize)]
struct NewPoint {
    timestamp: Timestamp,
    value: Finite,
    source: Option<Source>,
}

/// A point is known by its KPI, time and source, so that a client may repeat this without a key.
async fn record(
    State(app): Shared,
    caller: Caller,
    At((workspace, kpi)): At<(WorkspaceId, KpiId)>,
    Body(new): Body<Vec<NewPoint>>,
) -> Answer<Recorded> {
    let points = new.into_iter().map(|new| {
        let point = NewDataPoint::new(kpi.clone(), new.value.get(), new.timestamp.get())?;
        Ok(NewDataPoint { source: new.source, ..point })
    });
    let points = points.collect::<Result<Vec<_>, Error>>()?;
    let scope = caller.tenant(&workspace);
    let record = app.db.run("data_point.record_many", scope, move |tenant| {
        tenant.data_points().record_many(&points, OnExisting::Replace)
    });
    Ok(Json(record.await?))
}
