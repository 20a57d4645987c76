//! From a diesel error to an [`Error`]. The only place that reads one.

use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind as Kind, Error as Diesel};

use super::{DatabaseError, DepartureError, Error};
use crate::idempotency::IdempotencyError;
use crate::invitation::InvitationError;
use crate::tables;
use crate::value::Invalid;

/// Prefix of the SQLSTATE where it is passed as a constraint's name.
const SQLSTATE: &str = "SQLSTATE ";

/// What a connection passes as the constraint's name where the server names no constraint: diesel's trait
/// has no method for the SQLSTATE.
pub(crate) fn unnamed_constraint(sqlstate: &str) -> String {
    format!("{SQLSTATE}{sqlstate}")
}

/// The SQLSTATE of an error that names no constraint.
pub(super) fn sqlstate(information: &dyn DatabaseErrorInformation) -> Option<&str> {
    information.constraint_name()?.strip_prefix(SQLSTATE)
}

pub(super) fn classify(error: Diesel) -> Error {
    match error {
        Diesel::NotFound => Error::not_found("row"),
        Diesel::InvalidCString(_) => Error::Invalid(Invalid::new("text", "contains a NUL")),
        Diesel::AlreadyInTransaction | Diesel::NotInTransaction => Error::TransactionAborted,
        Diesel::BrokenTransactionManager | Diesel::RollbackErrorOnCommit { .. } => {
            Error::ConnectionLost(DatabaseError::new(error))
        }
        // An error of this crate that diesel passed on.
        Diesel::QueryBuilderError(inner) => match inner.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(other) => Error::Database(DatabaseError::new(Diesel::QueryBuilderError(other))),
        },
        Diesel::DatabaseError(kind, ref info) => match by_kind(kind, info.as_ref()) {
            Ok(error) => error,
            Err(Unnamed::Lost) => Error::ConnectionLost(DatabaseError::new(error)),
            Err(Unnamed::Full) => Error::ServerFull(DatabaseError::new(error)),
            Err(Unnamed::Other) => Error::Database(DatabaseError::new(error)),
        },
        _ => Error::Database(DatabaseError::new(error)),
    }
}

/// An error that keeps the one it was made from.
enum Unnamed {
    Lost,
    Full,
    Other,
}

fn by_kind(kind: Kind, info: &dyn DatabaseErrorInformation) -> Result<Error, Unnamed> {
    let constraint = info.constraint_name().unwrap_or_default();
    Ok(match kind {
        Kind::UniqueViolation | Kind::ExclusionViolation => {
            Error::Conflict { constraint: constraint.to_owned() }
        }
        // The row may exist in another workspace; nobody can tell.
        Kind::ForeignKeyViolation => match tables::referenced(constraint) {
            Some(entity) => Error::not_found(entity),
            None => Error::ForeignKey { constraint: constraint.to_owned() },
        },
        Kind::RestrictViolation => Error::ForeignKey { constraint: constraint.to_owned() },
        Kind::CheckViolation if constraint == "workspace_users_last_owner" => Error::LastOwner,
        Kind::CheckViolation if constraint == "audit_log_transaction_limit" => {
            Error::TooManyChanges
        }
        Kind::CheckViolation if constraint == "users_too_many_memberships" => {
            DepartureError::TooManyMemberships.into()
        }
        Kind::CheckViolation => match InvitationError::of(constraint) {
            Some(error) => error.into(),
            None => Error::Invalid(check(constraint)),
        },
        Kind::NotNullViolation => Error::Invalid(Invalid::new(
            info.column_name().unwrap_or_default().to_owned(),
            "required",
        )),
        Kind::SerializationFailure => Error::SerializationFailure,
        Kind::ReadOnlyTransaction => Error::ReadOnly,
        _ => return by_sqlstate(kind, info),
    })
}

/// Codes: [PostgreSQL Error Codes](https://www.postgresql.org/docs/current/errcodes-appendix.html).
fn by_sqlstate(kind: Kind, info: &dyn DatabaseErrorInformation) -> Result<Error, Unnamed> {
    let code = sqlstate(info).unwrap_or_default();
    Ok(match code {
        // An upsert conflicts with a row that its actor may not see: its own key, from another membership.
        "42501" if is_of_existing_key(info) => {
            Error::Idempotency(IdempotencyError::OtherMembership)
        }
        "42501" => Error::Denied,
        "40P01" => Error::Deadlock,
        "55P03" => Error::LockTimeout,
        // One code for both, and only the message tells them apart.
        "57014" if info.message().contains("user request") => Error::Cancelled,
        "57014" => Error::StatementTimeout,
        "25P03" => Error::IdleInTransactionTimeout,
        "25P01" | "25P02" => Error::TransactionAborted,
        "22021" | "22P05" => {
            Error::Invalid(Invalid::new("text", "not valid in the database's encoding"))
        }
        "53100" | "53200" => return Err(Unnamed::Full),
        _ if is_of_statement_pooler(info) => Error::Config(
            "the pooler is configured for statement pooling, which has no transactions: use its \
             transaction or session mode"
                .into(),
        ),
        _ if kind == Kind::ClosedConnection || code.starts_with("08") => return Err(Unnamed::Lost),
        // The server shuts down, crashed, or takes no connections.
        "57P01" | "57P02" | "57P03" | "57P05" => return Err(Unnamed::Lost),
        _ => return Err(Unnamed::Other),
    })
}

/// The name of the table and the keyword are in the message whatever its language.
fn is_of_existing_key(info: &dyn DatabaseErrorInformation) -> bool {
    let message = info.message();
    message.contains("idempotency_keys") && message.contains("USING")
}

/// PgBouncer has only English messages, and one code for all of them.
fn is_of_statement_pooler(info: &dyn DatabaseErrorInformation) -> bool {
    info.message().contains("statement pooling mode")
}

/// Our constraints are named `<table>_<column>_check`, `<table>_key_immutable` and
/// `kpis_current_value_derived`.
fn check(constraint: &str) -> Invalid {
    if constraint.ends_with("_key_immutable") {
        return Invalid::new("id", "columns that identify a row cannot be changed");
    }
    if constraint == "kpis_current_value_derived" {
        return Invalid::new("current_value", "derived from the data points");
    }
    let column = tables::checked_column(constraint);
    Invalid::new(column.to_owned(), "refused by the database")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(sqlstate: &str, message: &str) -> Error {
        classify(crate::connection::error_of(sqlstate, message))
    }

    #[test]
    fn errors_are_told_apart_by_their_sqlstate() {
        assert!(matches!(unknown("42501", "x"), Error::Denied));
        assert!(matches!(unknown("40P01", "x"), Error::Deadlock));
        assert!(matches!(unknown("55P03", "x"), Error::LockTimeout));
        assert!(matches!(unknown("57014", "x"), Error::StatementTimeout));
        assert!(matches!(unknown("25P03", "x"), Error::IdleInTransactionTimeout));
        assert!(matches!(unknown("25P02", "x"), Error::TransactionAborted));
        assert!(matches!(unknown("53100", "x"), Error::ServerFull(_)));
        assert!(matches!(unknown("57P01", "x"), Error::ConnectionLost(_)));
        assert!(matches!(unknown("08006", "x"), Error::ConnectionLost(_)));
        assert!(matches!(unknown("22012", "x"), Error::Database(_)));
    }

    #[test]
    fn the_servers_text_stays_out_of_the_message() {
        let error = unknown("22P02", "invalid input syntax for type integer: \"hunter2\"");
        assert_eq!(
            error.to_string(),
            "database error: invalid_text_representation (SQLSTATE 22P02)"
        );
        assert!(!format!("{error:?}").contains("hunter2"));
    }

    #[test]
    fn a_begin_that_a_standby_refuses_is_told_as_such() {
        for sqlstate in ["25006", "0A000"] {
            assert!(matches!(unknown(sqlstate, "x").of_begin(), Error::ReadOnlyServer));
        }
        assert!(matches!(unknown("42704", "x").of_begin(), Error::ContextExpired));
        assert!(matches!(unknown("42501", "x").of_begin(), Error::Denied));
    }

    #[test]
    fn a_server_that_takes_no_connection_says_why() {
        use crate::connection::ConnectError;

        let refused = |sqlstate| Error::from(ConnectError::refused(sqlstate));
        assert!(matches!(refused("57P03"), Error::CannotConnectNow { .. }));
        assert!(matches!(refused("53300"), Error::TooManyConnections { .. }));
        assert!(matches!(refused("28P01"), Error::Connect { .. }));
    }
}
