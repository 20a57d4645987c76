//! What a service of one's own has to tell.

use diesel::prelude::*;
use diesel::sql_types::{Jsonb, Text};
use serde_json::{Map, Value};

use super::AuditLogRepository;
use crate::error::Result;
use crate::observe::operation;
use crate::value::Invalid;

/// The most text of an entry's row and details together, in bytes.
const MAX_TEXT: usize = 10_000;
const MAX_ACTION: usize = 60;

/// Something that a service of your own did, for [`AuditLogRepository::append`].
///
/// ```
/// use sesari_db::repo::NewAuditEntry;
///
/// let entry = NewAuditEntry::new("report.export")
///     .about("reports", "r1")
///     .with("format", "pdf");
/// # let _ = entry;
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct NewAuditEntry {
    action: String,
    table_name: String,
    row_id: String,
    details: Map<String, Value>,
}

impl NewAuditEntry {
    /// An action such as `report.export`: words of `a-z`, `0-9` and `_` that begin with a letter,
    /// with dots between, 60 bytes at most. It is stored as `app.report.export`.
    #[must_use]
    pub fn new(action: impl Into<String>) -> Self {
        Self {
            action: action.into(),
            table_name: String::new(),
            row_id: String::new(),
            details: Map::new(),
        }
    }

    /// The row that it was about. Neither has to exist.
    #[must_use]
    pub fn about(self, table_name: impl Into<String>, row_id: impl Into<String>) -> Self {
        Self { table_name: table_name.into(), row_id: row_id.into(), ..self }
    }

    /// One more detail, in place of one of the same name. Nothing secret: owners and admins read
    /// it for as long as the log is kept.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.details.insert(name.into(), value.into());
        self
    }

    fn check(&self, details: &Value) -> Result<(), Invalid> {
        let is_word = |word: &str| {
            word.starts_with(|c: char| c.is_ascii_lowercase())
                && word.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        };
        if self.action.len() > MAX_ACTION || !self.action.split('.').all(is_word) {
            return Err(Invalid::new(
                "action",
                "expected words of a-z, 0-9 and _ that begin with a letter, with dots between, of at most 60 bytes",
            ));
        }
        if self.table_name.len() + self.row_id.len() + details.to_string().len() > MAX_TEXT {
            return Err(Invalid::new("details", "expected at most 10000 bytes with the row"));
        }
        Ok(())
    }
}

#[expect(clippy::missing_errors_doc, reason = "described once, in the module `repo`")]
impl AuditLogRepository<'_> {
    /// Adds an entry about something that no trigger sees, such as an export. It is chained with
    /// the others, by the actor of the guard, when the transaction commits.
    ///
    /// Its action begins with `app.`, so that it is never taken for an entry of a trigger. Whoever
    /// has SQL under the guard can write such entries, in the actor's own name alone.
    ///
    /// `Invalid` for an action of another form, for more than 10 000 bytes of row and details, for more
    /// than 32 levels of them, and for a NUL; `Denied` for whoever is no member of the workspace.
    pub fn append(&mut self, entry: &NewAuditEntry) -> Result<()> {
        operation("audit_log.append", || {
            let details = Value::Object(entry.details.clone());
            entry.check(&details)?;
            let done: QueryResult<usize> = diesel::select(append_audit(
                &entry.action,
                &entry.table_name,
                &entry.row_id,
                details,
            ))
            .execute(self.conn);
            done?;
            Ok(())
        })
    }
}

#[diesel::declare_sql_function]
extern "SQL" {
    #[sql_name = "sesari.append_audit"]
    fn append_audit(own_action: Text, own_table: Text, own_row_id: Text, details: Jsonb) -> Bool;
}
