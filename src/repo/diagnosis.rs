//! Why a user sees nothing. A tenant is told nothing of it, so that it learns nothing; an operator asks
//! here. Held against what the guards really do by `tests/isolation/diagnosis.rs`.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Integer, Nullable, Text, Timestamptz};

use super::{debug_by_name, static_query};
use crate::connection::PgConnection;
use crate::error::Result;
use crate::id::{UserId, WorkspaceId};
use crate::observe::operation;

debug_by_name!(DiagnosisRepository);

/// What a user wanted to do with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Wanted {
    /// See it.
    Read,
    /// Change it.
    Update,
    /// Delete it for good.
    Delete,
}

impl Wanted {
    /// Everything that can be asked for.
    pub const ALL: &[Self] = &[Self::Read, Self::Update, Self::Delete];

    fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

macro_rules! causes {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "kebab-case")]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
            /// Something that this version does not know.
            Unknown,
        }

        impl $name {
            fn read(text: Option<&str>) -> Self {
                match text {
                    $(Some($text) => Self::$variant,)*
                    _ => Self::Unknown,
                }
            }
        }
    )*};
}

causes! {
    /// Why a user does not get at a row: the first reason there is.
    Cause {
        /// There is no such workspace, or it has been deleted.
        NoWorkspace = "no-workspace",
        /// The user is not a member of the workspace, and was none as far as the audit log goes back.
        NeverMember = "never-member",
        /// The user was a member of the workspace.
        MembershipEnded = "membership-ended",
        /// No workspace has such a row.
        Absent = "absent",
        /// Another workspace has such a row, and this one has not.
        Elsewhere = "elsewhere",
        /// The user's role does not allow it, or nobody's does.
        RoleTooLow = "role-too-low",
        /// It is deleted and not purged: repositories pass it over.
        SoftDeleted = "soft-deleted",
        /// Nothing is in the way now.
        Visible = "visible",
    }

    /// What is wrong with a context.
    ContextCause {
        /// It is no context of this crate's.
        Malformed = "malformed",
        /// Its key is not installed, or was retired.
        UnknownKey = "unknown-key",
        /// Its signature is not that of its key: it was altered or made up.
        Forged = "forged",
        /// It is bound to another backend.
        OtherBackend = "other-backend",
        /// Its transaction would have begun more than ten seconds after it was signed.
        Expired = "expired",
        /// Its transaction would have begun more than two seconds before it was signed.
        Future = "future",
        /// Nothing. Whether its user is a member, [`DiagnosisRepository::row`] knows.
        Valid = "valid",
    }
}

/// Why a user sees nothing, for a [`ServiceConnection`](crate::ServiceConnection).
pub struct DiagnosisRepository<'g> {
    conn: &'g mut PgConnection,
}

#[expect(clippy::missing_errors_doc, reason = "described once, in the module `repo`")]
impl<'g> DiagnosisRepository<'g> {
    pub(crate) fn new(conn: &'g mut PgConnection) -> Self {
        Self { conn }
    }

    /// Why the user does not get at a row in the workspace. Rows are named by their id, data points and
    /// rollups by that of their KPI; the tables are those of workspaces, such as `kpis`. Reads through
    /// the table where the row is not in the workspace.
    pub fn row(
        &mut self,
        user: &UserId,
        workspace: &WorkspaceId,
        table: &str,
        row: &str,
        wanted: Wanted,
    ) -> Result<Cause> {
        operation("diagnosis.row", || {
            let cause: Option<String> =
                Diagnose { user, workspace, table, row, wanted }.get_result(self.conn)?;
            Ok(Cause::read(cause.as_deref()))
        })
    }

    /// What is wrong with a context, such as one from a log, if a transaction had begun with it at this
    /// time on this backend.
    pub fn context(
        &mut self,
        context: &str,
        backend: i32,
        at: DateTime<Utc>,
    ) -> Result<ContextCause> {
        operation("diagnosis.context", || {
            let cause: Option<String> =
                DiagnoseContext { context, backend, at }.get_result(self.conn)?;
            Ok(ContextCause::read(cause.as_deref()))
        })
    }
}

struct Diagnose<'a> {
    user: &'a UserId,
    workspace: &'a WorkspaceId,
    table: &'a str,
    row: &'a str,
    wanted: Wanted,
}

static_query!(Diagnose: Nullable<Text>, |query, pass| {
    pass.push_sql("SELECT sesari.diagnose(");
    pass.push_bind_param::<Text, _>(query.user.as_str())?;
    pass.push_sql(", ");
    pass.push_bind_param::<Text, _>(query.workspace.as_str())?;
    pass.push_sql(", ");
    pass.push_bind_param::<Text, _>(query.table)?;
    pass.push_sql(", ");
    pass.push_bind_param::<Text, _>(query.row)?;
    pass.push_sql(", ");
    pass.push_bind_param::<Text, _>(query.wanted.as_str())?;
    pass.push_sql(")");
});

struct DiagnoseContext<'a> {
    context: &'a str,
    backend: i32,
    at: DateTime<Utc>,
}

static_query!(DiagnoseContext: Nullable<Text>, |query, pass| {
    pass.push_sql("SELECT sesari.diagnose_context(");
    pass.push_bind_param::<Text, _>(query.context)?;
    pass.push_sql(", ");
    pass.push_bind_param::<Integer, _>(&query.backend)?;
    pass.push_sql(", ");
    pass.push_bind_param::<Timestamptz, _>(&query.at)?;
    pass.push_sql(")");
});
