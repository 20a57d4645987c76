//! Goals, the KPIs that count towards them, and how far they are.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, patch};
use axum::{Json, Router};
use sesari_db::id::{GoalId, KpiId, WorkspaceId};
use sesari_db::page::{ListRequest, Page};
use sesari_db::progress::GoalProgress;
use sesari_db::repo::{
    Goal, GoalChanges, GoalFilter, GoalKpi, GoalKpiChanges, LinkedKpi, NewGoal, NewGoalKpi,
};
use sesari_db::value::{Finite, Weight};

use super::{Answer, Created, Done, Shared};
use crate::app::App;
use crate::request::{At, Body, Caller, New, Params};

pub fn in_workspace() -> Router<Arc<App>> {
    Router::new()
        .route("/goals", get(list).post(create))
        .route("/goals/{goal}", get(find).patch(update).delete(delete))
        .route("/goals/{goal}/progress", get(progress))
        .route("/goals/{goal}/kpis", get(links).post(link))
        .route("/goals/{goal}/kpis/{kpi}", patch(update_link).delete(unlink))
}

async fn list(
    State(app): Shared,
    caller: Caller,
    At(workspace): At<WorkspaceId>,
    Params(list): Params<ListRequest<GoalFilter>>,
) -> Answer<Page<Goal>> {
    let rows = app.db.run("goal.list", caller.tenant(&workspace).read_only(), move |tenant| {
        tenant.goals().list(&list.filter, &list.page)
    });
    Ok(Json(rows.await?))
}

async fn create(
    State(app): Shared,
    caller: Caller,
    At(workspace): At<WorkspaceId>,
    New(new, key): New<NewGoal>,
) -> Created<Goal> {
    let create = app.db.run_once("goal.create", caller.tenant(&workspace), key, move |tenant| {
        tenant.goals().create(&new)
    });
    Ok((StatusCode::CREATED, Json(create.await?)))
}

async fn find(
    State(app): Shared,
    caller: Caller,
    At((workspace, goal)): At<(WorkspaceId, GoalId)>,
) -> Answer<Goal> {
    let find = app.db.run("goal.find", caller.tenant(&workspace).read_only(), move |tenant| {
        tenant.goals().get(&goal)
    });
    Ok(Json(find.await?))
}

async fn update(
    State(app): Shared,
    caller: Caller,
    At((workspace, goal)): At<(WorkspaceId, GoalId)>,
    Body(changes): Body<GoalChanges>,
) -> Answer<Goal> {
    let update = app.db.run("goal.update", caller.tenant(&workspace), move |tenant| {
        tenant.goals().update(&goal, &changes)
    });
    Ok(Json(update.await?))
}

async fn delete(
    State(app): Shared,
    caller: Caller,
    At((workspace, goal)): At<(WorkspaceId, GoalId)>,
) -> Done {
    let scope = caller.tenant(&workspace);
    app.db.run("goal.delete", scope, move |tenant| tenant.goals().delete(&goal)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn progress(
    State(app): Shared,
    caller: Caller,
    At((workspace, goal)): At<(WorkspaceId, GoalId)>,
) -> Answer<GoalProgress> {
    let scope = caller.tenant(&workspace).read_only();
    let progress = app.db.run("goal.progress", scope, move |tenant| tenant.goals().progress(&goal));
    Ok(Json(progress.await?))
}

async fn links(
    State(app): Shared,
    caller: Caller,
    At((workspace, goal)): At<(WorkspaceId, GoalId)>,
) -> Answer<Vec<LinkedKpi>> {
    let scope = caller.tenant(&workspace).read_only();
    let list = app.db.run("goal_kpi.list", scope, move |tenant| tenant.goal_kpis().list(&goal));
    Ok(Json(list.await?))
}

#[derive(serde::Deserialize)]
struct NewLink {
    kpi_id: KpiId,
    #[serde(default)]
    weight: Weight,
    baseline: Option<Finite>,
}

async fn link(
    State(app): Shared,
    caller: Caller,
    At((workspace, goal)): At<(WorkspaceId, GoalId)>,
    New(new, key): New<NewLink>,
) -> Created<GoalKpi> {
    let new = NewGoalKpi {
        weight: new.weight,
        baseline: new.baseline,
        ..NewGoalKpi::new(goal, new.kpi_id)
    };
    let link = app.db.run_once("goal_kpi.link", caller.tenant(&workspace), key, move |tenant| {
        tenant.goal_kpis().link(&new)
    });
    Ok((StatusCode::CREATED, Json(link.await?)))
}

async fn update_link(
    State(app): Shared,
    caller: Caller,
    At((workspace, goal, kpi)): At<(WorkspaceId, GoalId, KpiId)>,
    Body(changes): Body<GoalKpiChanges>,
) -> Answer<GoalKpi> {
    let update = app.db.run("goal_kpi.update", caller.tenant(&workspace), move |tenant| {
        tenant.goal_kpis().update(&goal, &kpi, &changes)
    });
    Ok(Json(update.await?))
}

async fn unlink(
    State(app): Shared,
    caller: Caller,
    At((workspace, goal, kpi)): At<(WorkspaceId, GoalId, KpiId)>,
) -> Done {
    let unlink = app.db.run("goal_kpi.unlink", caller.tenant(&workspace), move |tenant| {
        tenant.goal_kpis().unlink(&goal, &kpi)
    });
    unlink.await?;
    Ok(StatusCode::NO_CONTENT)
}
