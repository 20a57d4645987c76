//! From a diesel error to an [`Error`]. The only place that reads one.
//!
//! diesel 2.3 keeps the SQLSTATE to itself, so what it calls `Unknown` is told apart by the
//! server's English text. On a server with another `lc_messages` these few become
//! [`Error::Database`]: less precise, never less safe.

use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind as Kind, Error as Diesel};

use super::{DatabaseError, DepartureError, Error};
use crate::idempotency::IdempotencyError;
use crate::invitation::InvitationError;
use crate::value::Invalid;

pub(super) fn classify(error: Diesel) -> Error {
    match error {
        Diesel::NotFound => Error::not_found("row"),
        Diesel::InvalidCString(_) => Error::Invalid(Invalid::new("text", "contains a NUL")),
        Diesel::AlreadyInTransaction | Diesel::NotInTransaction => Error::TransactionAborted,
        Diesel::BrokenTransactionManager | Diesel::RollbackErrorOnCommit { .. } => {
            Error::ConnectionLost(DatabaseError::new(error))
        }
        Diesel::DatabaseError(kind, ref info) => {
            let full = is_full(info.message());
            by_kind(kind, info.as_ref()).unwrap_or_else(|lost| {
                let error = DatabaseError::new(error);
                match (lost, full) {
                    (true, _) => Error::ConnectionLost(error),
                    (false, true) => Error::ServerFull(error),
                    (false, false) => Error::Database(error),
                }
            })
        }
        _ => Error::Database(DatabaseError::new(error)),
    }
}

fn is_full(message: &str) -> bool {
    ["No space left on device", "could not extend file", "out of memory", "out of shared memory"]
        .iter()
        .any(|text| message.contains(text))
}

/// `Err(true)` is a lost connection, `Err(false)` anything unknown.
fn by_kind(kind: Kind, info: &dyn DatabaseErrorInformation) -> Result<Error, bool> {
    let constraint = info.constraint_name().unwrap_or_default();
    Ok(match kind {
        Kind::UniqueViolation => Error::Conflict { constraint: constraint.to_owned() },
        Kind::ForeignKeyViolation => match referenced(constraint) {
            Some(entity) => Error::not_found(entity),
            None => Error::Conflict { constraint: constraint.to_owned() },
        },
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
        // A standby refuses to begin with: `cannot set transaction read-write mode during recovery`.
        _ if info.message().starts_with("cannot ")
            && info.message().ends_with("during recovery") =>
        {
            Error::ReadOnlyServer
        }
        Kind::ReadOnlyTransaction => Error::ReadOnly,
        _ => return by_message(kind, info.message()),
    })
}

fn by_message(kind: Kind, message: &str) -> Result<Error, bool> {
    let has = |text| message.contains(text);
    Ok(if has("(USING expression) for table \"idempotency_keys\"") {
        // An upsert met a row that its actor may not see: a key of its own, from another membership.
        Error::Idempotency(IdempotencyError::OtherMembership)
    } else if message.starts_with("permission denied") || has("violates row-level security policy")
    {
        Error::Denied
    } else if has("deadlock detected") {
        Error::Deadlock
    } else if has("due to statement timeout") {
        Error::StatementTimeout
    } else if has("due to lock timeout") {
        Error::LockTimeout
    } else if has("canceling statement due to user request") {
        Error::Cancelled
    } else if has("current transaction is aborted") || has("can only be used in transaction blocks")
    {
        Error::TransactionAborted
    } else if has("in statement pooling mode") {
        Error::Config(
            "the pooler is configured for statement pooling, which has no transactions: use its \
             transaction or session mode"
                .into(),
        )
    } else if has("invalid byte sequence for encoding") {
        Error::Invalid(Invalid::new("text", "not valid in the database's encoding"))
    } else {
        let lost = matches!(kind, Kind::ClosedConnection | Kind::UnableToSendCommand)
            || has("terminating connection")
            || has("server closed the connection")
            || has("no connection to the server")
            || has("the database system is");
        return Err(lost);
    })
}

/// What a foreign key of ours refers to. The row may exist in another workspace; nobody can tell.
fn referenced(constraint: &str) -> Option<&'static str> {
    Some(match constraint {
        "user_workspaces_user_id_fkey"
        | "workspace_users_workspace_id_user_id_fkey"
        | "subscriptions_user_id_fkey" => "user",
        "kpi_data_points_workspace_id_kpi_id_fkey"
        | "kpi_data_points_kpi_not_deleted"
        | "kpi_rollups_workspace_id_kpi_id_fkey"
        | "goal_kpis_workspace_id_kpi_id_fkey" => "kpi",
        "goal_kpis_workspace_id_goal_id_fkey" => "goal",
        _ if constraint.ends_with("_workspace_id_fkey") => "workspace",
        _ => return None,
    })
}

/// Our constraints are named `<table>_<column>_check`, `<table>_key_immutable` and
/// `kpis_current_value_derived`.
fn check(constraint: &str) -> Invalid {
    const TABLES: [&str; 14] = [
        "workspace_users_",
        "workspaces_",
        "users_",
        "kpi_data_points_",
        "kpi_rollups_",
        "kpis_",
        "goal_kpis_",
        "goals_",
        "idempotency_keys_",
        "integrations_",
        "invitations_",
        "subscriptions_",
        "sync_queue_",
        "audit_log_",
    ];
    if constraint.ends_with("_key_immutable") {
        return Invalid::new("id", "columns that identify a row cannot be changed");
    }
    if constraint == "kpis_current_value_derived" {
        return Invalid::new("current_value", "derived from the data points");
    }
    let column = TABLES
        .iter()
        .find_map(|table| constraint.strip_prefix(table))
        .and_then(|rest| rest.strip_suffix("_check"))
        .unwrap_or(constraint);
    Invalid::new(column.to_owned(), "refused by the database")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(kind: Kind, message: &str) -> Error {
        classify(Diesel::DatabaseError(kind, Box::new(message.to_owned())))
    }

    #[test]
    fn messages_that_diesel_leaves_unknown_are_told_apart() {
        let unknown = |text| database(Kind::Unknown, text);
        assert!(matches!(unknown("permission denied for table kpis"), Error::Denied));
        assert!(matches!(
            unknown("new row violates row-level security policy for table \"kpis\""),
            Error::Denied
        ));
        assert!(matches!(unknown("deadlock detected"), Error::Deadlock));
        assert!(matches!(unknown("canceling statement due to lock timeout"), Error::LockTimeout));
        assert!(matches!(unknown("division by zero"), Error::Database(_)));
        assert!(matches!(
            unknown("terminating connection due to administrator command"),
            Error::ConnectionLost(_)
        ));
    }

    #[test]
    fn the_servers_text_stays_out_of_the_message() {
        let error = database(Kind::Unknown, "invalid input syntax for type integer: \"hunter2\"");
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn a_check_names_its_column() {
        assert_eq!(check("workspace_users_role_check").field(), "role");
        assert_eq!(check("kpi_data_points_value_check").field(), "value");
        assert_eq!(check("users_provider_id_check").field(), "provider_id");
    }
}
