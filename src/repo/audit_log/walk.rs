//! Verifying a chain in the database, page by page: memory does not grow with the log.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::AstPass;
use diesel::sql_types::{BigInt, Binary, Integer, Nullable, Text};

use crate::audit::{Breach, BreachKind, Chain, Checkpoint, Entry, Verdict, is_prune_marker};
use crate::connection::PgConnection;
use crate::error::{Error, Result};
use crate::id::WorkspaceId;
use crate::repo::static_query;
use crate::value::Invalid;

/// Entries read at a time.
const PAGE: i32 = 1000;

/// Pruning that happens while the chain is walked makes the walk begin again.
const ATTEMPTS: usize = 5;

pub(crate) const ENTITY: &str = "audit log";

/// From where entries are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The table, under its policies.
    Table,
    /// The function for a workspace that is no more.
    DeletedWorkspace,
}

/// The columns of an entry, as they are hashed.
const COLUMNS: &str = "e.workspace_id, e.sequence, \
     (extract(epoch FROM e.occurred_at) * 1000000)::bigint, e.id, e.actor_kind, e.actor_id, e.scope, \
     e.action, e.table_name, e.row_id, e.changes::text, e.transaction_id, e.previous_hash, e.hash";

type EntryColumns = (
    Nullable<Text>,
    Nullable<BigInt>,
    Nullable<BigInt>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<BigInt>,
    Nullable<Binary>,
    Nullable<Binary>,
);

type HeadColumns = (
    Nullable<BigInt>,
    Nullable<BigInt>,
    Nullable<Binary>,
    Nullable<BigInt>,
    Nullable<BigInt>,
    Nullable<Binary>,
);

/// An entry, or nothing where a head has none beside it.
#[derive(Queryable)]
struct StoredEntry {
    workspace_id: Option<String>,
    sequence: Option<i64>,
    microseconds: Option<i64>,
    id: Option<String>,
    actor_kind: Option<String>,
    actor_id: Option<String>,
    scope: Option<String>,
    action: Option<String>,
    table_name: Option<String>,
    row_id: Option<String>,
    changes: Option<String>,
    transaction_id: Option<i64>,
    previous_hash: Option<Vec<u8>>,
    hash: Option<Vec<u8>>,
}

impl StoredEntry {
    fn entry(self) -> Option<Entry> {
        Some(Entry {
            workspace_id: self.workspace_id?,
            sequence: self.sequence?,
            microseconds: self.microseconds?,
            id: self.id?,
            actor_kind: self.actor_kind?,
            actor_id: self.actor_id?,
            scope: self.scope?,
            action: self.action?,
            table_name: self.table_name?,
            row_id: self.row_id?,
            changes: self.changes?,
            transaction_id: self.transaction_id?,
            previous_hash: self.previous_hash?,
            hash: self.hash?,
        })
    }
}

/// Where a chain ends and where what is left of it begins, as recorded.
#[derive(Queryable)]
struct StoredHead {
    sequence: Option<i64>,
    microseconds: Option<i64>,
    hash: Option<Vec<u8>>,
    pruned_sequence: Option<i64>,
    pruned_microseconds: Option<i64>,
    pruned_hash: Option<Vec<u8>>,
}

struct Head {
    /// `None` where nothing was ever written.
    end: Option<Checkpoint>,
    pruned: Checkpoint,
}

impl StoredHead {
    fn head(&self, workspace: Option<&WorkspaceId>) -> Head {
        let place = |sequence: Option<i64>, microseconds: Option<i64>, hash: &Option<Vec<u8>>| {
            // A hash of another length is nobody's, and fits nothing.
            let hash = hash.as_deref().and_then(|hash| hash.try_into().ok()).unwrap_or([0xff; 32]);
            let at = microseconds.unwrap_or(0);
            sequence.map(|sequence| Checkpoint::new(workspace.cloned(), sequence, at, hash))
        };
        Head {
            end: place(self.sequence, self.microseconds, &self.hash),
            pruned: place(self.pruned_sequence, self.pruned_microseconds, &self.pruned_hash)
                .filter(|pruned| pruned.sequence() != 0)
                .unwrap_or_else(|| Checkpoint::empty(workspace.cloned())),
        }
    }
}

/// The chain's end as the database has it recorded.
pub(crate) fn checkpoint(
    conn: &mut PgConnection,
    source: Source,
    workspace: Option<&WorkspaceId>,
) -> Result<Checkpoint> {
    let page = page(conn, source, workspace, (i64::MAX, LAST), 0)?;
    Ok(page.head.end.unwrap_or_else(|| Checkpoint::empty(workspace.cloned())))
}

struct Chunk {
    head: Head,
    entries: Vec<Entry>,
}

/// Head and entries of one snapshot.
fn page(
    conn: &mut PgConnection,
    source: Source,
    workspace: Option<&WorkspaceId>,
    after: (i64, &str),
    limit: i32,
) -> Result<Chunk> {
    let scope = workspace.map_or("", WorkspaceId::as_str);
    let rows: Vec<(StoredHead, StoredEntry)> = match source {
        Source::Table => TablePage { scope, after, limit }.load(conn),
        Source::DeletedWorkspace => DeletedPage { scope, after, limit }.load(conn),
    }?;
    let head = rows.first().ok_or(Error::not_found(ENTITY))?.0.head(workspace);
    Ok(Chunk { head, entries: rows.into_iter().filter_map(|(_, entry)| entry.entry()).collect() })
}

/// Up to so many entries after this one, in the order of the chain.
pub(crate) fn entries(
    conn: &mut PgConnection,
    source: Source,
    workspace: Option<&WorkspaceId>,
    after: i64,
    limit: u16,
) -> Result<Vec<Entry>> {
    Ok(page(conn, source, workspace, (after, LAST), limit.into())?.entries)
}

/// After every id.
const LAST: &str = "~";

/// Walks the whole chain.
pub(crate) fn verify(
    conn: &mut PgConnection,
    source: Source,
    workspace: Option<&WorkspaceId>,
    noted: Option<&Checkpoint>,
) -> Result<Verdict> {
    if noted.is_some_and(|noted| noted.workspace_id() != workspace) {
        return Err(Error::Invalid(Invalid::new("checkpoint", "of another workspace's audit log")));
    }
    let mut walk = Walk { conn, source, workspace, noted };
    let mut attempts = ATTEMPTS;
    loop {
        attempts -= 1;
        match walk.once()? {
            Outcome::Verdict(verdict) => return Ok(verdict),
            Outcome::Pruned(verdict) if attempts == 0 => return Ok(verdict),
            Outcome::Pruned(_) => {}
        }
    }
}

enum Outcome {
    Verdict(Verdict),
    /// The same, but entries were pruned during the walk.
    Pruned(Verdict),
}

struct Walk<'a> {
    conn: &'a mut PgConnection,
    source: Source,
    workspace: Option<&'a WorkspaceId>,
    noted: Option<&'a Checkpoint>,
}

impl Walk<'_> {
    fn once(&mut self) -> Result<Outcome> {
        let mut last = (i64::MIN, String::new());
        let mut started: Option<(Chain, Checkpoint)> = None;
        // Of the checkpoint's entry, or of the one pruned last.
        let mut rewritten = false;
        let mut prune_told = false;
        loop {
            let page = page(self.conn, self.source, self.workspace, (last.0, &last.1), PAGE)?;
            let (mut chain, pruned) = started.take().unwrap_or_else(|| {
                (Chain::after(page.head.pruned.clone()), page.head.pruned.clone())
            });
            let verdict = |verdict| {
                Ok(if page.head.pruned == pruned {
                    Outcome::Verdict(verdict)
                } else {
                    Outcome::Pruned(verdict)
                })
            };
            rewritten |= self.differs(chain.at());
            for entry in &page.entries {
                let (conn, source, workspace) = (&mut *self.conn, self.source, self.workspace);
                let hash = *chain.at().hash();
                let mut failed = None;
                let followed = chain.follow_or_explain(entry, || {
                    successor(conn, source, workspace, &hash, &entry.id).unwrap_or_else(|error| {
                        failed = Some(error);
                        None
                    })
                });
                if let Some(error) = failed {
                    return Err(error);
                }
                if let Err(breach) = followed {
                    // One that stands past the end, and does not continue the chain.
                    let ends = page.head.end.as_ref().map_or(0, Checkpoint::sequence);
                    return verdict(Verdict::Broken(if entry.sequence > ends {
                        Breach {
                            kind: BreachKind::Inserted,
                            sequence: entry.sequence,
                            entry_id: Some(entry.id.clone()),
                        }
                    } else {
                        breach
                    }));
                }
                rewritten |= self.differs(chain.at());
                prune_told |= is_prune_marker(entry, &pruned);
            }
            if let Some(entry) = page.entries.last() {
                last = (entry.sequence, entry.id.clone());
            }
            if page.entries.len() < PAGE.unsigned_abs() as usize {
                return verdict(self.conclude(&chain, &page.head, &pruned, prune_told, rewritten));
            }
            started = Some((chain, pruned));
        }
    }

    /// Whether this is the checkpoint's entry, and another than it was.
    fn differs(&self, at: &Checkpoint) -> bool {
        self.noted.is_some_and(|noted| noted.sequence() == at.sequence() && noted != at)
    }

    /// Every entry there is has been followed.
    fn conclude(
        &self,
        chain: &Chain,
        head: &Head,
        pruned: &Checkpoint,
        prune_told: bool,
        rewritten: bool,
    ) -> Verdict {
        let at = chain.at();
        let noted = self.noted.map_or(0, Checkpoint::sequence);
        let ends = head.end.as_ref().map_or(0, Checkpoint::sequence);
        // A workspace's log begins with the workspace.
        let missing = at.sequence() == 0 && self.workspace.is_some();
        let breach = if at.sequence() < ends.max(noted) || missing {
            chain.breach_next(BreachKind::CutFromTail)
        } else if head.end.as_ref().is_some_and(|end| end != at) || at.sequence() > ends {
            chain.breach_here(BreachKind::HeadMoved)
        } else if pruned.sequence() > 0 && !prune_told {
            return Verdict::Broken(Breach {
                kind: BreachKind::PruneForged,
                sequence: pruned.sequence(),
                entry_id: None,
            });
        } else if self.noted.is_some_and(|noted| noted.sequence() < pruned.sequence()) {
            return Verdict::CheckpointPruned(pruned.clone());
        } else if let Some(noted) = self.noted.filter(|_| rewritten) {
            return Verdict::Broken(Breach {
                kind: BreachKind::Rewritten,
                sequence: noted.sequence(),
                entry_id: None,
            });
        } else {
            return Verdict::Intact(at.clone());
        };
        Verdict::Broken(breach)
    }
}

/// Another entry that names this hash as the one before it.
fn successor(
    conn: &mut PgConnection,
    source: Source,
    workspace: Option<&WorkspaceId>,
    hash: &[u8],
    but: &str,
) -> Result<Option<Entry>> {
    let scope = workspace.map_or("", WorkspaceId::as_str);
    let row: QueryResult<StoredEntry> = match source {
        Source::Table => TableSuccessor { scope, hash, but }.get_result(conn),
        Source::DeletedWorkspace => DeletedSuccessor { scope, hash, but }.get_result(conn),
    };
    Ok(row.optional()?.and_then(StoredEntry::entry))
}

/// Head and entries in one statement, so that they are of one snapshot.
fn push_page<'b>(
    pass: &mut AstPass<'_, 'b, Pg>,
    source: Source,
    (scope, sequence, id, limit): (&'b str, &'b i64, &'b str, &'b i32),
) -> QueryResult<()> {
    pass.push_sql(
        "SELECT h.sequence, (extract(epoch FROM nullif(h.occurred_at, '-infinity')) * 1000000)::bigint, \
         h.hash, h.pruned_sequence, (extract(epoch FROM h.pruned_at) * 1000000)::bigint, \
         h.pruned_hash, ",
    );
    pass.push_sql(COLUMNS);
    pass.push_sql(" FROM sesari.audit_head(");
    pass.push_bind_param::<Text, _>(scope)?;
    pass.push_sql(") AS h LEFT JOIN (");
    match source {
        Source::Table => {
            pass.push_sql("SELECT * FROM public.audit_log WHERE workspace_id = ");
            pass.push_bind_param::<Text, _>(scope)?;
            pass.push_sql(" AND (sequence, id) > (");
            pass.push_bind_param::<BigInt, _>(sequence)?;
            pass.push_sql(", ");
            pass.push_bind_param::<Text, _>(id)?;
            pass.push_sql(") ORDER BY sequence, id LIMIT ");
            pass.push_bind_param::<Integer, _>(limit)?;
        }
        Source::DeletedWorkspace => {
            pass.push_sql("SELECT * FROM sesari.deleted_workspace_audit(");
            pass.push_bind_param::<Text, _>(scope)?;
            pass.push_sql(", ");
            pass.push_bind_param::<BigInt, _>(sequence)?;
            pass.push_sql(", ");
            pass.push_bind_param::<Text, _>(id)?;
            pass.push_sql(", ");
            pass.push_bind_param::<Integer, _>(limit)?;
            pass.push_sql(")");
        }
    }
    pass.push_sql(") AS e ON true ORDER BY e.sequence, e.id");
    Ok(())
}

fn push_successor<'b>(
    pass: &mut AstPass<'_, 'b, Pg>,
    source: Source,
    (scope, hash, but): (&'b str, &'b [u8], &'b str),
) -> QueryResult<()> {
    pass.push_sql("SELECT ");
    pass.push_sql(COLUMNS);
    pass.push_sql(match source {
        Source::Table => " FROM public.audit_log AS e WHERE e.workspace_id = ",
        Source::DeletedWorkspace => " FROM sesari.deleted_workspace_audit(",
    });
    pass.push_bind_param::<Text, _>(scope)?;
    pass.push_sql(match source {
        Source::Table => " AND e.previous_hash = ",
        Source::DeletedWorkspace => ", 0, '', NULL) AS e WHERE e.previous_hash = ",
    });
    pass.push_bind_param::<Binary, _>(hash)?;
    pass.push_sql(" AND e.id <> ");
    pass.push_bind_param::<Text, _>(but)?;
    pass.push_sql(" ORDER BY e.sequence LIMIT 1");
    Ok(())
}

/// One type for each source: diesel keeps one statement for a type.
macro_rules! queries {
    ($($page:ident $successor:ident $source:ident;)*) => {$(
        struct $page<'a> {
            scope: &'a str,
            after: (i64, &'a str),
            limit: i32,
        }

        static_query!($page: (HeadColumns, EntryColumns), |query, pass| {
            let parts = (query.scope, &query.after.0, query.after.1, &query.limit);
            push_page(&mut pass, Source::$source, parts)?;
        });

        struct $successor<'a> {
            scope: &'a str,
            hash: &'a [u8],
            but: &'a str,
        }

        static_query!($successor: EntryColumns, |query, pass| {
            push_successor(&mut pass, Source::$source, (query.scope, query.hash, query.but))?;
        });
    )*};
}

queries! {
    TablePage TableSuccessor Table;
    DeletedPage DeletedSuccessor DeletedWorkspace;
}
