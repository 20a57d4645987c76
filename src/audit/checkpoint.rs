//! A place in a chain, to be kept where whoever administers the database cannot change it.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};

use super::{Hash, NO_HASH};
use crate::hex;
use crate::id::WorkspaceId;

/// What a chain was when it was looked at: its last entry's number, time and hash, which stand for
/// all entries up to it.
///
/// Kept elsewhere, it finds what whoever rewrites the whole tail of a chain could hide otherwise. Its
/// text form is `v1.<workspace, or - for none>.<sequence>.<microseconds>.<hash>`; it holds no secret.
///
/// ```
/// use sesari_db::audit::Checkpoint;
///
/// let text = format!("v1.acme.7.1767225600000000.{}", "ab".repeat(32));
/// let checkpoint: Checkpoint = text.parse()?;
/// assert_eq!(checkpoint.sequence(), 7);
/// assert_eq!(checkpoint.to_string(), text);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Checkpoint {
    pub(super) workspace: Option<WorkspaceId>,
    pub(super) sequence: i64,
    pub(super) microseconds: i64,
    pub(super) hash: Hash,
}

impl Checkpoint {
    pub(crate) fn new(
        workspace: Option<WorkspaceId>,
        sequence: i64,
        microseconds: i64,
        hash: Hash,
    ) -> Self {
        Self { workspace, sequence, microseconds, hash }
    }

    pub(crate) fn empty(workspace: Option<WorkspaceId>) -> Self {
        Self::new(workspace, 0, 0, NO_HASH)
    }

    /// The workspace, or `None` for the log of no workspace.
    #[must_use]
    pub fn workspace_id(&self) -> Option<&WorkspaceId> {
        self.workspace.as_ref()
    }

    /// The last entry's number: how many entries there have been. 0 for a log without entries.
    #[must_use]
    pub fn sequence(&self) -> i64 {
        self.sequence
    }

    /// The last entry's time.
    #[must_use]
    pub fn occurred_at(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_micros(self.microseconds).filter(|_| self.sequence > 0)
    }

    /// The last entry's hash.
    #[must_use]
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let workspace = self.workspace.as_ref().map_or("-", WorkspaceId::as_str);
        let hash = hex::encode(&self.hash);
        write!(f, "v1.{workspace}.{}.{}.{hash}", self.sequence, self.microseconds)
    }
}

impl From<Checkpoint> for String {
    fn from(checkpoint: Checkpoint) -> String {
        checkpoint.to_string()
    }
}

/// A text that is no checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a checkpoint of an audit log")]
pub struct ParseCheckpointError;

impl FromStr for Checkpoint {
    type Err = ParseCheckpointError;

    fn from_str(text: &str) -> Result<Self, ParseCheckpointError> {
        let parse = || {
            let parts: Vec<&str> = text.split('.').collect();
            let [version, workspace, sequence, microseconds, hash] = parts[..] else { return None };
            let workspace = match workspace {
                "-" => None,
                id => Some(id.parse().ok()?),
            };
            let sequence: i64 = sequence.parse().ok()?;
            let hash: Hash = hex::decode(hash)?.try_into().ok()?;
            let parsed = Self::new(workspace, sequence, microseconds.parse().ok()?, hash);
            let whole = sequence > 0 || parsed == Self::empty(parsed.workspace.clone());
            // One checkpoint has one text.
            (version == "v1" && sequence >= 0 && whole && parsed.to_string() == text)
                .then_some(parsed)
        };
        parse().ok_or(ParseCheckpointError)
    }
}

impl TryFrom<String> for Checkpoint {
    type Error = ParseCheckpointError;

    fn try_from(text: String) -> Result<Self, ParseCheckpointError> {
        text.parse()
    }
}
