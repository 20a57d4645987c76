//! What handlers share: the database, who is signed in, and one unit of work for each request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::FromRequestParts;
use axum::http::{header, request::Parts};
use sesari_db::id::{UserId, WorkspaceId};
use sesari_db::tenancy::ServiceName;
use sesari_db::{Database, Error, ServiceConnection, TenantConnection, UserConnection};

use crate::failure::Failure;

type Unit<T> = Result<T, Failure>;

/// Shared by all requests.
pub struct App {
    db: Database,
    /// Stands in for an identity provider's tokens.
    sessions: Mutex<HashMap<String, UserId>>,
}

impl App {
    pub fn new(db: Database) -> Self {
        Self { db, sessions: Mutex::default() }
    }

    /// A token for a user who has signed in.
    pub fn open_session(&self, user: UserId) -> String {
        // An id is as good as random: 24 characters of which none can be guessed.
        let token = UserId::generate().to_string();
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.insert(token.clone(), user);
        token
    }

    fn signed_in(&self, token: &str) -> Option<UserId> {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.get(token).cloned()
    }

    /// One transaction of a user in a workspace: committed when `work` succeeds.
    pub async fn tenant<T: Send + 'static>(
        self: &Arc<Self>,
        user: UserId,
        workspace: WorkspaceId,
        work: impl FnOnce(&mut TenantConnection) -> Result<T, Error> + Send + 'static,
    ) -> Unit<T> {
        self.blocking(move |db| {
            let mut tenant = db.tenant(user, &workspace)?;
            let value = work(&mut tenant)?;
            tenant.commit()?;
            Ok(value)
        })
        .await
    }

    /// One transaction of a user outside of any workspace.
    pub async fn user<T: Send + 'static>(
        self: &Arc<Self>,
        user: UserId,
        work: impl FnOnce(&mut UserConnection) -> Result<T, Error> + Send + 'static,
    ) -> Unit<T> {
        self.blocking(move |db| {
            let mut door = db.user(&user)?;
            let value = work(&mut door)?;
            door.commit()?;
            Ok(value)
        })
        .await
    }

    /// One transaction of this service, outside of any workspace.
    pub async fn service<T: Send + 'static>(
        self: &Arc<Self>,
        service: ServiceName,
        work: impl FnOnce(&mut ServiceConnection) -> Result<T, Error> + Send + 'static,
    ) -> Unit<T> {
        self.blocking(move |db| {
            let mut door = db.service(&service)?;
            let value = work(&mut door)?;
            door.commit()?;
            Ok(value)
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Database) -> Result<T, Error> + Send + 'static,
    ) -> Unit<T> {
        let app = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&app.db)).await;
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
            .map_err(Failure::from)
    }
}

/// Who is asking: taken from the request's token, never from its path or body.
pub struct SignedIn(pub UserId);

impl FromRequestParts<Arc<App>> for SignedIn {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Unit<Self> {
        parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
            .and_then(|token| app.signed_in(token))
            .map(Self)
            .ok_or(Failure::NotSignedIn)
    }
}
