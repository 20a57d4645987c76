//! What was tried and refused.

use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text};

use crate::connection::PgConnection;
use crate::error::{Error, Result};
use crate::id::WorkspaceId;
use crate::observe::operation;
use crate::repo::debug_by_name;
use crate::tenancy::Actor;
use crate::value::Invalid;

debug_by_name!(RefusalRepository);

/// The most text of an entry, in bytes.
const MAX_TEXT: usize = 1000;

/// Something that an actor tried and the database refused.
///
/// The refusal took its transaction with it, so its entry is written afterwards, by a service. It
/// goes into the log of the workspace, or into that of no workspace where the workspace never was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    actor: Actor,
    workspace: Option<WorkspaceId>,
    action: String,
    row_id: Option<String>,
    reason: String,
}

impl Refusal {
    /// What this actor tried, such as `kpi.create`, if the error says that it was refused:
    /// [`Error::Denied`] or [`Error::LastOwner`].
    ///
    /// [`Error::NotFound`] is not among them: it does not tell a change that is not allowed from a
    /// row that does not exist.
    pub fn of(
        error: &Error,
        actor: impl Into<Actor>,
        workspace: Option<&WorkspaceId>,
        action: impl Into<String>,
    ) -> Option<Self> {
        matches!(error, Error::Denied | Error::LastOwner).then(|| Self {
            actor: actor.into(),
            workspace: workspace.cloned(),
            action: action.into(),
            row_id: None,
            reason: error.to_string(),
        })
    }

    /// The row that it was about.
    #[must_use]
    pub fn about(self, row_id: impl Into<String>) -> Self {
        Self { row_id: Some(row_id.into()), ..self }
    }
}

/// The record of what was refused, in the service scope. Read it in the audit log, under the
/// action `access.refuse`.
pub struct RefusalRepository<'g> {
    conn: &'g mut PgConnection,
}

#[expect(clippy::missing_errors_doc, reason = "described once, in the module `repo`")]
impl<'g> RefusalRepository<'g> {
    pub(crate) fn new(conn: &'g mut PgConnection) -> Self {
        Self { conn }
    }

    /// Writes an entry. `Invalid` for one that has more than 1000 bytes of text.
    pub fn record(&mut self, refusal: &Refusal) -> Result<()> {
        operation("access.refuse", || {
            let (kind, id) = match &refusal.actor {
                Actor::User(user) => ("user", user.as_str()),
                Actor::Service(service) => ("service", service.as_str()),
            };
            let workspace = refusal.workspace.as_ref().map_or("", WorkspaceId::as_str);
            let row_id = refusal.row_id.as_deref().unwrap_or_default();
            let texts = [workspace, id, &refusal.action, row_id, &refusal.reason];
            if texts.iter().map(|text| text.len()).sum::<usize>() > MAX_TEXT {
                return Err(Invalid::new("refusal", "expected at most 1000 bytes of text").into());
            }
            let done: QueryResult<usize> = diesel::select(record_refusal(
                workspace,
                kind,
                id,
                &refusal.action,
                refusal.row_id.as_deref(),
                &refusal.reason,
            ))
            .execute(self.conn);
            done?;
            Ok(())
        })
    }
}

#[diesel::declare_sql_function]
extern "SQL" {
    #[sql_name = "sesari.record_refusal"]
    fn record_refusal(
        workspace: Text,
        refused_kind: Text,
        refused_id: Text,
        refused_action: Text,
        refused_row_id: Nullable<Text>,
        reason: Text,
    ) -> Bool;
}
