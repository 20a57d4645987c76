//! Inviting people, and answering.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use sesari_db::id::{InvitationId, WorkspaceId};
use sesari_db::invitation::InvitationToken;
use sesari_db::page::{ListRequest, Page};
use sesari_db::repo::{
    Invitation, InvitationFilter, InvitationPreview, Membership, NewInvitation, SentInvitation,
    Validity,
};
use sesari_db::value::{Email, Role};

use super::{Answer, Created, Done, Shared};
use crate::app::App;
use crate::request::{At, Body, Caller, Params};

pub fn anywhere() -> Router<Arc<App>> {
    Router::new()
        .route("/invitations/look", post(look))
        .route("/invitations/accept", post(accept))
        .route("/invitations/decline", post(decline))
}

pub fn in_workspace() -> Router<Arc<App>> {
    Router::new()
        .route("/invitations", get(list).post(invite))
        .route("/invitations/{invitation}", delete(revoke))
        .route("/invitations/{invitation}/resend", post(resend))
}

#[derive(serde::Deserialize)]
struct Invite {
    email: Email,
    role: Role,
}

#[derive(serde::Serialize)]
struct Sent {
    invitation: Invitation,
    token: String,
}

/// Stands in for the message to the invited: a real service sends the token to the address, and shows it
/// to nobody else.
fn deliver(sent: SentInvitation) -> Sent {
    Sent { token: sent.token.expose().to_string(), invitation: sent.invitation }
}

/// Not under an idempotency key, with which the token would be stored. An address has one open
/// invitation: who comes again gets a 409.
async fn invite(
    State(app): Shared,
    caller: Caller,
    At(workspace): At<WorkspaceId>,
    Body(Invite { email, role }): Body<Invite>,
) -> Created<Sent> {
    let new = NewInvitation::new(email, role);
    let scope = caller.tenant(&workspace);
    let sent =
        app.db.run("invitation.create", scope, move |tenant| tenant.invitations().create(&new));
    Ok((StatusCode::CREATED, Json(deliver(sent.await?))))
}

async fn list(
    State(app): Shared,
    caller: Caller,
    At(workspace): At<WorkspaceId>,
    Params(list): Params<ListRequest<InvitationFilter>>,
) -> Answer<Page<Invitation>> {
    let rows =
        app.db.run("invitation.list", caller.tenant(&workspace).read_only(), move |tenant| {
            tenant.invitations().list(&list.filter, &list.page)
        });
    Ok(Json(rows.await?))
}

async fn resend(
    State(app): Shared,
    caller: Caller,
    At((workspace, id)): At<(WorkspaceId, InvitationId)>,
) -> Answer<Sent> {
    let sent = app.db.run("invitation.resend", caller.tenant(&workspace), move |tenant| {
        tenant.invitations().resend(&id, Validity::default())
    });
    Ok(Json(deliver(sent.await?)))
}

async fn revoke(
    State(app): Shared,
    caller: Caller,
    At((workspace, id)): At<(WorkspaceId, InvitationId)>,
) -> Done {
    let scope = caller.tenant(&workspace);
    app.db.run("invitation.revoke", scope, move |tenant| tenant.invitations().revoke(&id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(serde::Deserialize)]
struct Answering {
    token: InvitationToken,
}

async fn look(
    State(app): Shared,
    caller: Caller,
    Body(Answering { token }): Body<Answering>,
) -> Answer<InvitationPreview> {
    let scope = caller.user().read_only();
    let look =
        app.db.run("my_invitation.look", scope, move |guard| guard.invitations().look(&token));
    Ok(Json(look.await?))
}

async fn accept(
    State(app): Shared,
    caller: Caller,
    Body(Answering { token }): Body<Answering>,
) -> Answer<Membership> {
    let accept = move |guard: &mut sesari_db::UserConnection| guard.invitations().accept(&token);
    Ok(Json(app.db.run("invitation.accept", caller.user(), accept).await?))
}

async fn decline(
    State(app): Shared,
    caller: Caller,
    Body(Answering { token }): Body<Answering>,
) -> Done {
    let decline = move |guard: &mut sesari_db::UserConnection| guard.invitations().decline(&token);
    app.db.run("invitation.decline", caller.user(), decline).await?;
    Ok(StatusCode::NO_CONTENT)
}
