//! What went wrong, as diesel has it.

use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind as Kind, Error};

use super::message::{ServerError, TooLong};
use super::wire::Lost;
use crate::error::unnamed_constraint;

/// An error of the server or of the connection.
#[derive(Debug)]
struct Information {
    error: ServerError,
    constraint: String,
}

impl Information {
    fn new(error: ServerError) -> Box<Self> {
        let constraint =
            error.constraint.clone().unwrap_or_else(|| unnamed_constraint(&error.sqlstate));
        Box::new(Self { error, constraint })
    }
}

impl DatabaseErrorInformation for Information {
    fn message(&self) -> &str {
        &self.error.message
    }

    fn details(&self) -> Option<&str> {
        self.error.detail.as_deref()
    }

    fn hint(&self) -> Option<&str> {
        self.error.hint.as_deref()
    }

    fn table_name(&self) -> Option<&str> {
        self.error.table.as_deref()
    }

    fn column_name(&self) -> Option<&str> {
        self.error.column.as_deref()
    }

    fn constraint_name(&self) -> Option<&str> {
        Some(&self.constraint)
    }

    fn statement_position(&self) -> Option<i32> {
        self.error.position
    }
}

fn kind(sqlstate: &str) -> Kind {
    match sqlstate {
        "23505" => Kind::UniqueViolation,
        "23503" => Kind::ForeignKeyViolation,
        "23502" => Kind::NotNullViolation,
        "23514" => Kind::CheckViolation,
        "23P01" => Kind::ExclusionViolation,
        "23001" => Kind::RestrictViolation,
        "40001" => Kind::SerializationFailure,
        "25006" => Kind::ReadOnlyTransaction,
        _ => Kind::Unknown,
    }
}

/// An error as the server would report it.
#[cfg(test)]
pub(crate) fn error_of(sqlstate: &str, message: &str) -> Error {
    let (sqlstate, message) = (sqlstate.to_owned(), message.to_owned());
    refused(ServerError { sqlstate, message, ..ServerError::default() })
}

pub(super) fn refused(error: ServerError) -> Error {
    Error::DatabaseError(kind(&error.sqlstate), Information::new(error))
}

impl From<Lost> for Error {
    fn from(lost: Lost) -> Self {
        let error = lost.error.map_or_else(
            // Connection failure.
            || ServerError {
                sqlstate: "08006".into(),
                message: lost.reason,
                ..ServerError::default()
            },
            |error| *error,
        );
        Self::DatabaseError(Kind::ClosedConnection, Information::new(error))
    }
}

impl From<TooLong> for Error {
    fn from(_: TooLong) -> Self {
        let error = ServerError {
            // Program limit exceeded.
            sqlstate: "54000".into(),
            message: "a statement of a gigabyte or of more than 65535 values cannot be sent".into(),
            ..ServerError::default()
        };
        Self::DatabaseError(Kind::UnableToSendCommand, Information::new(error))
    }
}
