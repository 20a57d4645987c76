//! What a request says: who asks, how long they wait, under which key, and its JSON.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;
use sesari_db::id::{UserId, WorkspaceId};
use sesari_db::idempotency::IdempotencyKey;
use sesari_db::value::Role;
use sesari_db::{Error, Scope, TenantConnection, UserConnection};

use crate::app::App;
use crate::failure::Failure;

/// How long the database may take over a request at most.
pub const LONGEST: Duration = Duration::from_secs(5);

/// Who is asking: taken from the request's token, never from its path or body.
pub struct Caller {
    user: UserId,
    token: String,
    patience: Duration,
}

impl Caller {
    /// The scope of a unit of work in a workspace: a 404 for whoever does not belong to it.
    pub fn tenant(&self, workspace: &WorkspaceId) -> Scope<TenantConnection> {
        Scope::tenant(&self.user, workspace).require(Role::Member).within(self.patience)
    }

    /// The scope of one outside of any workspace.
    pub fn user(&self) -> Scope<UserConnection> {
        Scope::user(&self.user).within(self.patience)
    }

    pub fn token(&self) -> &str {
        &self.token
    }
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        let token = text(&parts.headers, header::AUTHORIZATION.as_str())
            .and_then(|value| value.strip_prefix("Bearer "))
            .ok_or(Failure::NotSignedIn)?;
        let user = app.signed_in(token).ok_or(Failure::NotSignedIn)?;
        Ok(Self { user, token: token.to_owned(), patience: patience(&parts.headers)? })
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

fn patience(headers: &HeaderMap) -> Result<Duration, Failure> {
    let Some(value) = headers.get("request-timeout-ms") else { return Ok(LONGEST) };
    let asked = value.to_str().ok().and_then(|value| value.parse().ok());
    let asked = asked.ok_or_else(|| Failure::malformed("Request-Timeout-Ms is not a number"))?;
    Ok(Duration::from_millis(asked).min(LONGEST))
}

/// The JSON of a request.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Failure> {
        Ok(Self(parse(&read(request, app).await?)?))
    }
}

/// The JSON of a request to make something, and the key under which it is to be made once.
pub struct New<T>(pub T, pub Option<IdempotencyKey>);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for New<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Failure> {
        let key = request.headers().get("idempotency-key").map(|value| {
            // What is not ASCII is refused as any other text that is no key.
            value.to_str().unwrap_or_default().parse::<IdempotencyKey>().map_err(Error::from)
        });
        let key = key.transpose()?;
        let path = request.uri().path().to_owned();
        let bytes = read(request, app).await?;
        // The same key with another path or another body is another request, and refused.
        let key = key.map(|key| key.for_request([path.as_bytes(), b"\n", &bytes].concat()));
        Ok(Self(parse(&bytes)?, key))
    }
}

async fn read(request: Request, app: &Arc<App>) -> Result<Bytes, Failure> {
    Bytes::from_request(request, app).await.map_err(|refusal| Failure::Malformed {
        status: refusal.status(),
        what: refusal.body_text(),
    })
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(|error| Failure::malformed(&error.to_string()))
}

/// The parts of a request's path, and its query: as axum's own, but what is wrong with them is told in JSON
/// like anything else.
pub struct At<T>(pub T);
pub struct Params<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<App>> for At<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        let Path(parts) = Path::from_request_parts(parts, app).await.map_err(|refusal| {
            Failure::Malformed { status: refusal.status(), what: refusal.body_text() }
        })?;
        Ok(Self(parts))
    }
}

impl<T: DeserializeOwned> FromRequestParts<Arc<App>> for Params<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Failure> {
        let Query(params) = Query::try_from_uri(&parts.uri).map_err(|refusal| {
            Failure::Malformed { status: refusal.status(), what: refusal.body_text() }
        })?;
        Ok(Self(params))
    }
}
