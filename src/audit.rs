//! The chain of the audit log, for whoever wants to check it: with a database or without. Pure.
//!
//! Each workspace's entries form a chain, numbered from 1 without gaps. An entry's hash is SHA-256
//! of its canonical form, and the hash of the entry before is part of that form: whatever was
//! changed, taken out, put in or moved, some hash no longer fits.
//!
//! ```text
//! hash   = SHA-256(fields("sesari.audit.v1", workspace, sequence, microseconds, id, actor_kind,
//!                         actor_id, scope, action, table_name, row_id, changes, transaction_id,
//!                         previous hash in lower-case hex))
//! fields = each field's length in bytes, in decimal, ":", the field, ","
//! ```
//!
//! The workspace is empty for what belongs to none, numbers are written in decimal, the time as
//! microseconds since 1970, and `changes` as PostgreSQL writes its `jsonb` as text. The hash before
//! the first is 32 zero bytes. `docs/audit.md` says what this defends against, and what it does not.
//!
//! # Invariants, and the tests that guard them
//! | invariant | test in `tests/data/audit` |
//! |---|---|
//! | no two different entries have the same canonical form | `the_canonical_form_can_be_taken_apart_again` |
//! | no rows make the verification panic | `no_rows_make_it_panic` |
//! | another implementation computes the same | `hashes_of_another_implementation_fit` |
//! | each kind of tampering is found, and the right entry named | `tampering.rs` |
//!
//! # Example
//! ```
//! use sesari_db::audit::{Chain, Entry};
//!
//! fn verify(exported: &[Entry]) -> Result<(), Box<dyn std::error::Error>> {
//!     let mut chain = Chain::of(None);
//!     for entry in exported {
//!         chain.follow(entry).map_err(|breach| breach.to_string())?;
//!     }
//!     println!("to be kept elsewhere: {}", chain.checkpoint());
//!     Ok(())
//! }
//! ```

mod chain;
mod checkpoint;

pub(crate) use chain::is_prune_marker;
pub use chain::{Breach, BreachKind, Chain, Verdict};
pub use checkpoint::{Checkpoint, ParseCheckpointError};

use std::fmt::Write as _;

use ring::digest::{SHA256, digest};

use crate::hex;

/// The version of the canonical form, its first field.
const FORM: &str = "sesari.audit.v1";

/// How many entries one transaction may leave, in all chains together. So many get their place in
/// about a second of its commit, where no `statement_timeout` runs; one more is
/// [`Error::TooManyChanges`](crate::Error::TooManyChanges) in the statement that makes the change.
pub const MAX_ENTRIES: u32 = 10_000;

/// How large the changes of a transaction's entries may be together, in bytes as the server holds them
/// in memory: up to four times their text.
pub const MAX_BYTES: u32 = 64_000_000;

/// How many chains, each of one workspace, a transaction may hold while it commits; their other
/// writers wait meanwhile. One that it comes back to after another counts again.
pub const MAX_WORKSPACES: u32 = 1_000;

/// A SHA-256 hash.
pub(crate) type Hash = [u8; 32];

/// The hash before the first entry.
pub(crate) const NO_HASH: Hash = [0; 32];

/// An entry as it is hashed. For reading there is [`AuditEntry`](crate::repo::AuditEntry).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Entry {
    /// The workspace, or empty.
    pub workspace_id: String,
    /// Place in the chain, from 1.
    pub sequence: i64,
    /// When, in microseconds since 1970.
    pub microseconds: i64,
    /// Its id.
    pub id: String,
    /// `user`, `service` or `system`.
    pub actor_kind: String,
    /// User id, service name, or database login.
    pub actor_id: String,
    /// `tenant`, `user`, `service` or `none`.
    pub scope: String,
    /// What happened.
    pub action: String,
    /// Table of the row.
    pub table_name: String,
    /// Id of the row.
    pub row_id: String,
    /// The changes, as PostgreSQL writes `jsonb` as text.
    pub changes: String,
    /// The server's number of the transaction.
    pub transaction_id: i64,
    /// Hash of the entry before.
    #[serde(with = "crate::hex")]
    pub previous_hash: Vec<u8>,
    /// Its hash, as stored.
    #[serde(with = "crate::hex")]
    pub hash: Vec<u8>,
}

impl Entry {
    /// What is hashed.
    #[must_use]
    pub fn canonical_form(&self) -> String {
        self.form_at(self.sequence)
    }

    fn form_at(&self, sequence: i64) -> String {
        let mut form = String::with_capacity(512);
        let mut field = |text: &str| {
            // Writing to a string does not fail.
            let _ = write!(form, "{}:{text},", text.len());
        };
        field(FORM);
        field(&self.workspace_id);
        field(&sequence.to_string());
        field(&self.microseconds.to_string());
        for text in [
            &self.id,
            &self.actor_kind,
            &self.actor_id,
            &self.scope,
            &self.action,
            &self.table_name,
            &self.row_id,
            &self.changes,
        ] {
            field(text);
        }
        field(&self.transaction_id.to_string());
        field(&hex::encode(&self.previous_hash));
        form
    }

    /// Whether its hash is that of its content, wherever it stands.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.fits_at(self.sequence)
    }

    fn fits_at(&self, sequence: i64) -> bool {
        digest(&SHA256, self.form_at(sequence).as_bytes()).as_ref() == self.hash
    }
}
