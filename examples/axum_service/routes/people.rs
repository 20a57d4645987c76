//! Signing in, workspaces, and their members.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use sesari_db::id::{UserId, WorkspaceId};
use sesari_db::page::{ListRequest, Page, PageRequest};
use sesari_db::repo::{
    Member, MemberFilter, Membership, MyWorkspace, NewUser, NewWorkspace, Profile, ProfileChanges,
    Workspace, WorkspaceChanges,
};
use sesari_db::value::{AuthProvider, Email, PersonName, Role};
use sesari_db::{Error, Scope};

use super::{Answer, Created, Done, Shared};
use crate::app::App;
use crate::request::{At, Body, Caller, Params};

pub fn anywhere() -> Router<Arc<App>> {
    Router::new()
        .route("/sign-in", post(sign_in))
        .route("/sign-out", post(sign_out))
        .route("/me", get(me).patch(update_me))
        .route("/workspaces", get(my_workspaces).post(create_workspace))
}

pub fn in_workspace() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(workspace).patch(update_workspace).delete(delete_workspace))
        .route("/members", get(members))
        .route("/members/{user}", put(change_role).delete(remove_member))
}

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
async fn sign_in(State(app): Shared, Body(who): Body<SignIn>) -> Answer<Session> {
    let account = NewUser {
        name: who.name,
        ..NewUser::new(who.email.clone(), AuthProvider::Google, who.email.as_str().parse()?)
    };
    let scope = Scope::service(&"sign-in".parse()?);
    let user = app.db.run("user.sign_in", scope, move |guard| guard.users().sign_in(&account));
    let user_id = user.await?.id;
    Ok(Json(Session { token: app.open_session(user_id.clone()), user_id }))
}

async fn sign_out(State(app): Shared, caller: Caller) -> StatusCode {
    app.close_session(caller.token());
    StatusCode::NO_CONTENT
}

async fn me(State(app): Shared, caller: Caller) -> Answer<Profile> {
    let scope = caller.user().read_only();
    let find = app.db.run("me.find", scope, |guard| guard.me().get());
    Ok(Json(find.await?))
}

async fn update_me(
    State(app): Shared,
    caller: Caller,
    Body(changes): Body<ProfileChanges>,
) -> Answer<Profile> {
    let update = move |guard: &mut sesari_db::UserConnection| guard.me().update(&changes);
    Ok(Json(app.db.run("me.update", caller.user(), update).await?))
}

async fn my_workspaces(
    State(app): Shared,
    caller: Caller,
    Params(page): Params<PageRequest>,
) -> Answer<Page<MyWorkspace>> {
    let scope = caller.user().read_only();
    let list =
        app.db.run("my_workspace.list", scope, move |guard| guard.my_workspaces().list(&page));
    Ok(Json(list.await?))
}

/// Keys are of a workspace, and there is none yet. The slug makes that nothing is made twice: who comes
/// again gets a 409.
async fn create_workspace(
    State(app): Shared,
    caller: Caller,
    Body(new): Body<NewWorkspace>,
) -> Created<Workspace> {
    let create = move |guard: &mut sesari_db::UserConnection| guard.my_workspaces().create(&new);
    let made = app.db.run("workspace.create", caller.user(), create).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

async fn workspace(
    State(app): Shared,
    caller: Caller,
    At(workspace): At<WorkspaceId>,
) -> Answer<Workspace> {
    let scope = caller.tenant(&workspace).read_only();
    let find = app.db.run("workspace.find", scope, |tenant| {
        // Not there, and not the caller's, are the same.
        tenant.workspace().get()
    });
    Ok(Json(find.await?))
}

async fn update_workspace(
    State(app): Shared,
    caller: Caller,
    At(workspace): At<WorkspaceId>,
    Body(changes): Body<WorkspaceChanges>,
) -> Answer<Workspace> {
    let update = app.db.run("workspace.update", caller.tenant(&workspace), move |tenant| {
        tenant.workspace().update(&changes)
    });
    Ok(Json(update.await?))
}

async fn delete_workspace(
    State(app): Shared,
    caller: Caller,
    At(workspace): At<WorkspaceId>,
) -> Done {
    let scope = caller.tenant(&workspace);
    app.db.run("workspace.delete", scope, |tenant| tenant.workspace().delete()).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn members(
    State(app): Shared,
    caller: Caller,
    At(workspace): At<WorkspaceId>,
    Params(list): Params<ListRequest<MemberFilter>>,
) -> Answer<Page<Member>> {
    let rows = app.db.run("member.list", caller.tenant(&workspace).read_only(), move |tenant| {
        tenant.members().list(&list.filter, &list.page)
    });
    Ok(Json(rows.await?))
}

async fn change_role(
    State(app): Shared,
    caller: Caller,
    At((workspace, member)): At<(WorkspaceId, UserId)>,
    Body(role): Body<Role>,
) -> Answer<Membership> {
    let change = app.db.run("member.change_role", caller.tenant(&workspace), move |tenant| {
        tenant.members().change_role(&member, role.clone())
    });
    Ok(Json(change.await?))
}

async fn remove_member(
    State(app): Shared,
    caller: Caller,
    At((workspace, member)): At<(WorkspaceId, UserId)>,
) -> Done {
    let remove = app.db.run("member.remove", caller.tenant(&workspace), move |tenant| {
        tenant.members().remove(&member)?;
        Ok::<_, Error>(())
    });
    remove.await?;
    Ok(StatusCode::NO_CONTENT)
}
