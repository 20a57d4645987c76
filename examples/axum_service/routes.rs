//! The API. Each handler is one unit of work under the guard of whoever asks.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use sesari_db::credentials::Secret;
use sesari_db::id::{GoalId, IntegrationId, KpiId, UserId, WorkspaceId};
use sesari_db::page::{Cursor, Page, Paged};
use sesari_db::progress::GoalProgress;
use sesari_db::repo::{
    DataPoint, Goal, GoalFilter, GoalKpi, Integration, IntegrationFilter, Kpi, KpiChanges,
    KpiFilter, Member, MemberFilter, Membership, MyWorkspace, NewDataPoint, NewGoal, NewGoalKpi,
    NewIntegration, NewKpi, NewUser, NewWorkspace, OnExisting, Profile, Recorded, TimeRange,
    Workspace,
};
use sesari_db::value::{
    AuthProvider, Email, Finite, IntegrationProvider, PersonName, Role, Source, Timestamp, Weight,
};
use sesari_db::{Error, TenantConnection as Tenant};

use crate::app::{App, SignedIn};
use crate::failure::Failure;

type Shared = State<Arc<App>>;
type Answer<T> = Result<Json<T>, Failure>;
type Created<T> = Result<(StatusCode, Json<T>), Failure>;
type Done = Result<StatusCode, Failure>;

pub fn all(app: Arc<App>) -> Router {
    let workspace = Router::new()
        .route("/", get(workspace))
        .route("/members", get(members).post(add_member))
        .route("/members/{user}", put(change_role).delete(remove_member))
        .route("/kpis", get(kpis).post(create_kpi))
        .route("/kpis/{kpi}", get(kpi).patch(update_kpi).delete(delete_kpi))
        .route("/kpis/{kpi}/points", get(points).post(record_points))
        .route("/goals", get(goals).post(create_goal))
        .route("/goals/{goal}/progress", get(progress))
        .route("/goals/{goal}/kpis", post(link_kpi))
        .route("/integrations", get(integrations).post(create_integration))
        .route("/integrations/{integration}", delete(delete_integration));
    Router::new()
        .route("/", get(|| async { Html(include_str!("page.html")) }))
        .route("/sign-in", post(sign_in))
        .route("/me", get(me))
        .route("/workspaces", get(my_workspaces).post(create_workspace))
        .nest("/workspaces/{workspace}", workspace)
        .with_state(app)
}

/// Where a list goes on: `?after=<next of the page before>&limit=50`.
#[derive(serde::Deserialize)]
struct Paging {
    after: Option<Cursor>,
    limit: Option<u32>,
}

impl Paging {
    fn page(self) -> Result<Page, Error> {
        let page = Page::first(self.limit.unwrap_or(50))?;
        Ok(match self.after {
            Some(cursor) => page.after(cursor),
            None => page,
        })
    }
}

// Signing in -----------------------------------------------------------------------------------

#[derive(serde::Deserialize)]
struct SignIn {
    email: Email,
    name: Option<PersonName>,
}

#[derive(serde::Serialize)]
struct Session {
    token: String,
    user_id: UserId,
}

/// Believes whatever address it is told: stands in for what an identity provider has verified.
async fn sign_in(State(app): Shared, Json(who): Json<SignIn>) -> Answer<Session> {
    let account = NewUser {
        name: who.name,
        ..NewUser::new(who.email.clone(), AuthProvider::Google, who.email.as_str().parse()?)
    };
    let user_id = app
        .service("sign-in".parse()?, move |service| Ok(service.users().sign_in(&account)?.id))
        .await?;
    Ok(Json(Session { token: app.open_session(user_id.clone()), user_id }))
}

async fn me(State(app): Shared, SignedIn(user): SignedIn) -> Answer<Option<Profile>> {
    Ok(Json(app.user(user, |door| door.me().find()).await?))
}

// Workspaces and members -----------------------------------------------------------------------

async fn my_workspaces(
    State(app): Shared,
    SignedIn(user): SignedIn,
    Query(paging): Query<Paging>,
) -> Answer<Paged<MyWorkspace>> {
    let page = paging.page()?;
    Ok(Json(app.user(user, move |door| door.my_workspaces().list(&page)).await?))
}

async fn create_workspace(
    State(app): Shared,
    SignedIn(user): SignedIn,
    Json(new): Json<NewWorkspace>,
) -> Created<Workspace> {
    let made = app.user(user, move |door| door.my_workspaces().create(&new)).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

async fn workspace(
    State(app): Shared,
    SignedIn(user): SignedIn,
    Path(workspace): Path<WorkspaceId>,
) -> Answer<Workspace> {
    let found = app.tenant(user, workspace, |tenant| tenant.workspace().find()).await?;
    some(found, "workspace")
}

async fn members(
    State(app): Shared,
    SignedIn(user): SignedIn,
    Path(workspace): Path<WorkspaceId>,
    Query(paging): Query<Paging>,
) -> Answer<Paged<Member>> {
    let page = paging.page()?;
    let list = move |tenant: &mut Tenant| tenant.members().list(&MemberFilter::default(), &page);
    Ok(Json(app.tenant(user, workspace, list).await?))
}

#[derive(serde::Deserialize)]
struct NewMember {
    user_id: UserId,
    role: Role,
}

async fn add_member(
    State(app): Shared,
    SignedIn(user): SignedIn,
    Path(workspace): Path<WorkspaceId>,
    Json(new): Json<NewMember>,
) -> Created<Membership> {
    let add = move |tenant: &mut Tenant| tenant.members().add(&new.user_id, new.role.clone());
    Ok((StatusCode::CREATED, Json(app.tenant(user, workspace, add).await?)))
}

async fn change_role(
    State(app): Shared,
    SignedIn(user): SignedIn,
    Path((workspace, member)): Path<(WorkspaceId, UserId)>,
    Json(role): Json<Role>,
) -> Answer<Membership> {
    let change = move |tenant: &mut Tenant| tenant.members().change_role(&member, role.clone());
    Ok(Json(app.tenant(user, workspace, change).await?))
}

async fn remove_member(
    State(app): Shared,
    SignedIn(user): SignedIn,
    Path((workspace, member)): Path<(WorkspaceId, UserId)>,
) -> Done {
    app.tenant(user, workspace, move |tenant| tenant.members().remove(&member)).await?;
    Ok(StatusCode::NO_CONTENT)
}

// KPIs and their points ------------------------------------------------------------------------

async fn kpis(
    State(app): Shared,
    SignedIn(user): SignedIn,
    Path(workspace): Path<WorkspaceId>,
    Query(paging): Query<Paging>,
) -> Answer<Paged<Kpi>> {
    let page = paging.page()?;
    let list = move |tenant: &mut Tenant| tenant.kpis().list(&KpiFilter::default(), &page);
    Ok(Json(app.tenant(user, workspace, list).await?))
}

async fn create_kpi(
    State(app): Shared,
    SignedIn(user): SignedIn,
    Path(workspace): Path<WorkspaceId>,
    Json(new): Json<NewKpi>,
) -> Created<Kpi> {
    let made = app.tenant(user, workspace, move |tenant| tenant.kpis().create(&new)).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

async fn kpi(
    State(app): Shared,
    SignedIn(user): SignedIn,
    Path((workspace, kpi)): Path<(WorkspaceId, KpiId)>,
) -> Answer<Kpi> {
    some(app.tenant(user, workspace, move |tenant| tenant.kpis().find(&kpi)).await?, "kpi")
}

async fn update_kpi(
    State(app): Shared,
    SignedIn(user): SignedIn,
    Path((workspace, kpi)): Path<(WorkspaceId, KpiId)>,
    Json(changes): Json<KpiChanges>,
) -> Answer<Kpi> {
    let update = move |tenant: &mut Tenant| tenant.kpis().update(&kpi, &changes);
    Ok(Json(app.tenant(user, workspace, update).await?))
}

async fn delete_kpi(
    State(app): Shared,
    SignedIn(user): SignedIn,
    Path((workspace, kpi)): Path<(WorkspaceId, KpiId)>,
) -> Done {
    app.tenant(user, workspace, move |tenant| tenant.kpis().delete(&kpi)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `?from=2026-01-01T00:00:00Z&to=...`, RFC 3339.
#[derive(serde::Deserialize)]
struct Span {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    after: Option<Cursor>,
    limit: Option<u32>,
}

async fn points(
    State(app): Shared,
    SignedIn(user): SignedIn,
    Path((workspace, kpi)): Path<(WorkspaceId, KpiId)>,
    Query(span): Query<Span>,
) -> Answer<Paged<DataPoint>> {
    let range = TimeRange::new(Timestamp::new(span.from)?, Timestamp::new(span.to)?)?;
    let page = Paging { after: span.after, limit: span.limit }.page()?;
    let read = move |tenant: &mut Tenant| tenant.data_points().range(&kpi, range, &page);
    Ok(Json(app.tenant(user, workspace, read).await?))
}

#[derive(serde::Deserialize)]
struct NewPoint {
    timestamp: Timestamp,
    value: Finite,
    source: Option<Source>,
}

/// Recording the same again changes nothing, so that a client may repeat a request.
async fn record_points(
    State(app): Shared,
    SignedIn(user): SignedIn,
    Path((workspace, kpi)): Path<(WorkspaceId, KpiId)>,
    Json(new): Json<Vec<NewPoint>>,
) -> Answer<Recorded> {
    let points = new.into_iter().map(|new| {
        let point = NewDataPoint::new(kpi.clone(), new.value.get(), new.timestamp.get())?;
        Ok(NewDataPoint { source: new.source, ..point })
    });
    let points = points.collect::<Result<Vec<_>, Error>>()?;
    let record =
        move |tenant: &mut Tenant| tenant.data_points().record_many(&points, OnExisting::Replace);
    Ok(Json(app.tenant(user, workspace, record).await?))
}

// Goals ----------------------------------------------------------------------------------------

async fn goals(
    State(app): Shared,
    SignedIn(user): SignedIn,
    Path(workspace): Path<WorkspaceId>,
    Query(paging): Query<Paging>,
) -> Answer<Paged<Goal>> {
    let page = paging.page()?;
    let list = move |tenant: &mut Tenant| tenant.goals().list(&GoalFilter::default(), &page);
    Ok(Json(app.tenant(user, workspace, list).await?))
}

async fn create_goal(
    State(app): Shared,
    SignedIn(user): SignedIn,
    Path(workspace): Path<WorkspaceId>,
    Json(new): Json<NewGoal>,
) -> Created<Goal> {
    let made = app.tenant(user, workspace, move |tenant| tenant.goals().create(&new)).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

async fn progress(
    State(app): Shared,
    SignedIn(user): SignedIn,
    Path((workspace, goal)): Path<(WorkspaceId, GoalId)>,
) -> Answer<GoalProgress> {
    Ok(Json(app.tenant(user, workspace, move |tenant| tenant.goals().progress(&goal)).await?))
}

#[derive(serde::Deserialize)]
struct NewLink {
    kpi_id: KpiId,
    #[serde(default)]
    weight: Weight,
    baseline: Option<Finite>,
}

async fn link_kpi(
    State(app): Shared,
    SignedIn(user): SignedIn,
    Path((workspace, goal)): Path<(WorkspaceId, GoalId)>,
    Json(new): Json<NewLink>,
) -> Created<GoalKpi> {
    let link = NewGoalKpi {
        weight: new.weight,
        baseline: new.baseline,
        ..NewGoalKpi::new(goal, new.kpi_id)
    };
    let made = app.tenant(user, workspace, move |tenant| tenant.goal_kpis().link(&link)).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

// Integrations ---------------------------------------------------------------------------------

async fn integrations(
    State(app): Shared,
    SignedIn(user): SignedIn,
    Path(workspace): Path<WorkspaceId>,
    Query(paging): Query<Paging>,
) -> Answer<Paged<Integration>> {
    let page = paging.page()?;
    let list =
        move |tenant: &mut Tenant| tenant.integrations().list(&IntegrationFilter::default(), &page);
    Ok(Json(app.tenant(user, workspace, list).await?))
}

#[derive(serde::Deserialize)]
struct Connection {
    provider: IntegrationProvider,
    /// Goes in, is sealed, and never comes out of this API.
    token: String,
}

async fn create_integration(
    State(app): Shared,
    SignedIn(user): SignedIn,
    Path(workspace): Path<WorkspaceId>,
    Json(connection): Json<Connection>,
) -> Created<Integration> {
    let (new, secret) = (NewIntegration::new(connection.provider), Secret::from(connection.token));
    let create = move |tenant: &mut Tenant| tenant.integrations().create(&new, &secret);
    Ok((StatusCode::CREATED, Json(app.tenant(user, workspace, create).await?)))
}

async fn delete_integration(
    State(app): Shared,
    SignedIn(user): SignedIn,
    Path((workspace, integration)): Path<(WorkspaceId, IntegrationId)>,
) -> Done {
    app.tenant(user, workspace, move |tenant| tenant.integrations().delete(&integration)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A row, or 404: for one that is not there and for one of another workspace alike.
fn some<T>(row: Option<T>, entity: &'static str) -> Answer<T> {
    row.map(Json).ok_or(Failure::Absent(entity))
}
