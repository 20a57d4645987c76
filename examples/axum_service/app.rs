//! What handlers share: the database, and who is signed in.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use metrics_exporter_prometheus::PrometheusHandle;
use sesari_db::AsyncDatabase;
use sesari_db::id::UserId;

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
}
