//! What went wrong, as HTTP says it.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sesari_db::Error;

/// The error of every handler.
#[derive(Debug)]
pub enum Failure {
    /// No token, or one that nobody was given.
    NotSignedIn,
    /// There is no such row, or not for whoever asks.
    Absent(&'static str),
    /// What the database layer reported.
    Database(Error),
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Database(error.into())
    }
}

impl Failure {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotSignedIn => StatusCode::UNAUTHORIZED,
            Self::Absent(_) => StatusCode::NOT_FOUND,
            Self::Database(error) => match error {
                Error::NotFound { .. } => StatusCode::NOT_FOUND,
                Error::Denied => StatusCode::FORBIDDEN,
                Error::Conflict { .. } | Error::LastOwner => StatusCode::CONFLICT,
                Error::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
                // Nothing was done: the client may come again.
                error if error.is_retryable() => StatusCode::SERVICE_UNAVAILABLE,
                Error::StatementTimeout | Error::OutcomeUnknown(_) => StatusCode::GATEWAY_TIMEOUT,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            },
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = self.status();
        // No message of the library's quotes a value of a row. What is our own fault is told the
        // operator all the same, and not the client.
        let text = match &self {
            Self::NotSignedIn => "sign in first".to_owned(),
            Self::Absent(entity) => format!("{entity} not found"),
            Self::Database(error) if status.is_server_error() => {
                eprintln!("{status}: {error}");
                "try again later".to_owned()
            }
            Self::Database(error) => error.to_string(),
        };
        let mut response = (status, Json(serde_json::json!({ "error": text }))).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
