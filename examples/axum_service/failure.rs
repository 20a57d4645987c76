//! What went wrong, as HTTP says it.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sesari_db::Error;
use sesari_db::error::AsError;

/// The error of every handler, and of units of work that find something out for themselves.
#[derive(Debug)]
pub enum Failure {
    /// No token, or one that nobody was given.
    NotSignedIn,
    /// There is no such route.
    NoRoute,
    /// The request cannot be read.
    Malformed { status: StatusCode, what: String },
    /// What the database layer reported.
    Database(Error),
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Database(error.into())
    }
}

/// By which a unit of work knows what may be run again.
impl AsError for Failure {
    fn as_error(&self) -> Option<&Error> {
        match self {
            Self::Database(error) => Some(error),
            _ => None,
        }
    }
}

impl Failure {
    pub fn malformed(what: &str) -> Self {
        Self::Malformed { status: StatusCode::UNPROCESSABLE_ENTITY, what: what.to_owned() }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NotSignedIn => StatusCode::UNAUTHORIZED,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::Malformed { status, .. } => *status,
            Self::Database(error) => status(error),
        }
    }

    /// A word for programs.
    fn kind(&self) -> &'static str {
        match self {
            Self::NotSignedIn => "not_signed_in",
            Self::NoRoute => "no_route",
            Self::Malformed { .. } => "malformed",
            Self::Database(error) => error.kind(),
        }
    }

    /// A sentence for people. No message of the library's quotes a value of a row, but what is our own
    /// fault is told the operator, and not the client.
    fn message(&self) -> String {
        match self {
            Self::NotSignedIn => "sign in first".into(),
            Self::NoRoute => "there is nothing here".into(),
            Self::Malformed { what, .. } => what.clone(),
            Self::Database(Error::OutcomeUnknown(_)) => {
                "it may have been done or not: look before sending it again, or send it again with the \
                 Idempotency-Key it had"
                    .into()
            }
            Self::Database(Error::DeadlineExceeded) => "nothing was done: no time was left".into(),
            Self::Database(Error::Overloaded { .. }) => {
                "nothing was done: too many requests are waiting".into()
            }
            Self::Database(error) if status(error).is_server_error() => "try again later".into(),
            Self::Database(error) => error.to_string(),
        }
    }
}

fn status(error: &Error) -> StatusCode {
    StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = self.status();
        if let (true, Self::Database(error)) = (status.is_server_error(), &self) {
            tracing::warn!("error.type" = error.kind(), "{error}");
        }
        let body = serde_json::json!({ "error": self.message(), "kind": self.kind() });
        let mut response = (status, Json(body)).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
