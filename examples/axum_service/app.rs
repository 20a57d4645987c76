//! What handlers share: the database, and who is signed in.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use metrics_exporter_prometheus::PrometheusHandle;
use sesari_db::id::UserId;
use sesari_db::idempotency::IdempotencyKey;
use sesari_db::{AsyncDatabase, Error, Scope, TenantConnection as Tenant};

/// Shared by all requests.
pub struct App {
    pub db: AsyncDatabase,
    pub metrics: PrometheusHandle,
    /// Stands in for an identity provider's tokens.
    sessions: Mutex<HashMap<String, UserId>>,
}

impl App {
    pub fn new(db: AsyncDatabase, metrics: PrometheusHandle) -> Self {
        Self { db, metrics, sessions: Mutex::default() }
    }

    /// A token for a user who has signed in.
    pub fn open_session(&self, user: UserId) -> String {
        // An id is as good as random: 24 characters of which none can be guessed.
        let token = UserId::generate().to_string();
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.insert(token.clone(), user);
        token
    }

    pub fn close_session(&self, token: &str) {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(token);
    }

    pub fn signed_in(&self, token: &str) -> Option<UserId> {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.get(token).cloned()
    }

    /// Makes something in a unit of work: under a key once, and without one each time.
    pub async fn make<T>(
        &self,
        name: &'static str,
        scope: Scope<Tenant>,
        key: Option<IdempotencyKey>,
        body: impl FnMut(&mut Tenant) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error>
    where
        T: serde::Serialize + serde::de::DeserializeOwned + Send + 'static,
    {
        match key {
            Some(key) => self.db.run_once(name, scope, key, body).await,
            None => self.db.run(name, scope, body).await,
        }
    }
}
