//! Walking a chain, entry by entry.

use std::fmt;

use super::{Checkpoint, Entry, hex};
use crate::id::WorkspaceId;

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[must_use = "a verification that nobody looks at protects nothing"]
pub enum Verdict {
    /// Every entry is as it was written, up to this place.
    Intact(Checkpoint),
    /// The first entry that is not as it was written.
    Broken(Breach),
    /// The checkpoint's entry was pruned since, so nothing can be said about it. The entries that
    /// are left fit together, from this place on; verify with a checkpoint from there or later.
    CheckpointPruned(Checkpoint),
}

impl Verdict {
    /// Whether everything is as it was written.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        matches!(self, Self::Intact(_))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Intact(checkpoint) => write!(f, "intact up to entry {}", checkpoint.sequence),
            Self::Broken(breach) => breach.fmt(f),
            Self::CheckpointPruned(left) => {
                write!(f, "the checkpoint's entry was pruned, as all up to {}", left.sequence)
            }
        }
    }
}

/// The first entry of a chain that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Breach {
    /// What was done to it.
    pub kind: BreachKind,
    /// Its place in the chain; for one that is gone, the place where it was.
    pub sequence: i64,
    /// Its id, if it is there.
    pub entry_id: Option<String>,
}

/// What was done to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BreachKind {
    /// Its content, its hash or the hash before it was changed.
    Edited,
    /// It is gone, and later ones are there.
    Deleted,
    /// It was put in.
    Inserted,
    /// It is at another place: the one named belongs where another stands.
    Reordered,
    /// It is gone, and all after it.
    CutFromTail,
    /// The record of where the chain ends was changed: this entry stands beyond it, or is not the
    /// one recorded.
    HeadMoved,
    /// What is left begins after this entry, and no entry tells that the ones before were pruned.
    PruneForged,
    /// The entries fit together, but the one of the checkpoint is another than it was: it, or one
    /// before it, was rewritten with all that follow.
    Rewritten,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            BreachKind::Edited => "was edited",
            BreachKind::Deleted => "was deleted",
            BreachKind::Inserted => "was inserted",
            BreachKind::Reordered => "was moved",
            BreachKind::CutFromTail => "was cut off, with any that followed",
            BreachKind::HeadMoved => "is not where the chain is recorded to end",
            BreachKind::PruneForged => "and those before it are gone without having been pruned",
            BreachKind::Rewritten => "or one before it was rewritten",
        };
        write!(f, "entry {} ", self.sequence)?;
        if let Some(id) = &self.entry_id {
            write!(f, "({id}) ")?;
        }
        f.write_str(what)
    }
}

/// A chain, followed from its beginning or from a checkpoint.
#[derive(Debug, Clone)]
pub struct Chain {
    at: Checkpoint,
    /// The entry followed last.
    last_id: Option<String>,
}

impl Chain {
    /// The chain of a workspace, or of what belongs to none, from its first entry on.
    #[must_use]
    pub fn of(workspace: Option<&WorkspaceId>) -> Self {
        Self::after(Checkpoint::empty(workspace.cloned()))
    }

    /// The chain after this checkpoint.
    #[must_use]
    pub fn after(checkpoint: Checkpoint) -> Self {
        Self { at: checkpoint, last_id: None }
    }

    /// Takes the next entry.
    ///
    /// # Errors
    /// [`Breach`] when it is not the next, or is not as it was written. The chain stays where it
    /// was.
    pub fn follow(&mut self, entry: &Entry) -> Result<(), Breach> {
        self.follow_or_explain(entry, || None)
    }

    /// The same; when the entry does not fit, `successor` is asked for another entry that names
    /// the hash of the one followed last as the one before it.
    pub(crate) fn follow_or_explain(
        &mut self,
        entry: &Entry,
        successor: impl FnOnce() -> Option<Entry>,
    ) -> Result<(), Breach> {
        let fits = self.next() == Some(entry.sequence)
            && entry.workspace_id == self.workspace()
            && entry.previous_hash == self.at.hash
            && (self.at.sequence == 0 || entry.microseconds > self.at.microseconds)
            && entry.is_whole();
        match <[u8; 32]>::try_from(entry.hash.as_slice()) {
            Ok(hash) if fits => {
                self.at.sequence = entry.sequence;
                self.at.microseconds = entry.microseconds;
                self.at.hash = hash;
                self.last_id = Some(entry.id.clone());
                Ok(())
            }
            _ => Err(self.explain(entry, successor().as_ref())),
        }
    }

    /// Why the entry is not the next.
    fn explain(&self, entry: &Entry, successor: Option<&Entry>) -> Breach {
        let breach = |kind, sequence, entry: &Entry| Breach {
            kind,
            sequence,
            entry_id: Some(entry.id.clone()),
        };
        let Some(next) = self.next() else {
            return breach(BreachKind::Inserted, entry.sequence, entry);
        };
        if let Some(successor) = successor {
            if successor.sequence == next && successor.is_whole() {
                return breach(BreachKind::Inserted, entry.sequence, entry);
            }
            if successor.fits_at(next) {
                return breach(BreachKind::Reordered, next, successor);
            }
        }
        if entry.sequence < next || entry.workspace_id != self.workspace() {
            return breach(BreachKind::Inserted, entry.sequence, entry);
        }
        if entry.sequence > next {
            return Breach { kind: BreachKind::Deleted, sequence: next, entry_id: None };
        }
        // It is whole, and follows another entry than the one that is there: that one was given a
        // hash of its own.
        match &self.last_id {
            Some(last) if entry.is_whole() && entry.previous_hash != self.at.hash => Breach {
                kind: BreachKind::Edited,
                sequence: self.at.sequence,
                entry_id: Some(last.clone()),
            },
            _ => breach(BreachKind::Edited, entry.sequence, entry),
        }
    }

    fn next(&self) -> Option<i64> {
        self.at.sequence.checked_add(1)
    }

    fn workspace(&self) -> &str {
        self.at.workspace.as_ref().map_or("", WorkspaceId::as_str)
    }

    /// How far it was followed.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        self.at.clone()
    }

    pub(crate) fn at(&self) -> &Checkpoint {
        &self.at
    }

    /// The breach at the entry followed last.
    pub(crate) fn breach_here(&self, kind: BreachKind) -> Breach {
        Breach { kind, sequence: self.at.sequence, entry_id: self.last_id.clone() }
    }

    /// The breach at the entry that ought to come next, and is not there.
    pub(crate) fn breach_next(&self, kind: BreachKind) -> Breach {
        Breach { kind, sequence: self.at.sequence.saturating_add(1), entry_id: None }
    }
}

/// Whether this entry tells of a pruning up to this place.
pub(crate) fn is_prune_marker(entry: &Entry, pruned: &Checkpoint) -> bool {
    if entry.action != "audit_log.prune" {
        return false;
    }
    let Ok(changes) = serde_json::from_str::<serde_json::Value>(&entry.changes) else {
        return false;
    };
    changes["sequence"]["new"].as_i64() == Some(pruned.sequence)
        && changes["hash"]["new"].as_str() == Some(&hex::encode(&pruned.hash))
}
