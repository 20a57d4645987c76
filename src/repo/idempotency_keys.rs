//! What was done under which key. Behind [`crate::idempotency`].

use diesel::prelude::*;
use diesel::sql_types::{Binary, Bool, Nullable, Text};

use super::{changed, statement};
use crate::error::{Error, Result};
use crate::id::WorkspaceId;
use crate::idempotency::{IdempotencyError, IdempotencyKey, MAX_RESULT};
use crate::tenancy::{InWorkspace, TenantConnection};
use crate::value::Invalid;

impl TenantConnection {
    /// Does the work of `body` once under this key, and answers with what it answered then. The answer
    /// is stored in this transaction: it is there for others when the guard was committed. See
    /// [`idempotency`](crate::idempotency).
    ///
    /// `operation` names the work, in one line of 1 to 200 characters: under another name the key is
    /// refused. The body runs in a savepoint; what it did is undone when it returns `Err`, and the key
    /// is free again.
    ///
    /// The answer is stored as JSON, of at most [`MAX_RESULT`](crate::idempotency::MAX_RESULT) bytes,
    /// and is given again to the same membership in the same role alone. Return the id of what was made
    /// rather than all that is known of it.
    ///
    /// # Errors
    /// The body's error; [`Error::Idempotency`] when the key stands for something else, was used
    /// under another role or membership, is in use by this very transaction, or its answer cannot be read; [`Error::Invalid`] when the answer is too
    /// long or cannot be written as JSON; [`Error::LockTimeout`] when another transaction under the
    /// same key takes too long; [`Error::Denied`] for somebody who is not a member;
    /// [`Error::ReadOnly`] through a read-only guard; or those of any query.
    pub fn once<T, E>(
        &mut self,
        operation: &str,
        key: &IdempotencyKey,
        body: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E>
    where
        T: serde::Serialize + serde::de::DeserializeOwned,
        E: From<Error>,
    {
        self.transaction(|tenant| tenant.once_or_roll_back(operation, key, body))
    }

    /// [`once`](Self::once) without its savepoint: after an error the transaction must be rolled back,
    /// or the key stays taken without an answer.
    pub(crate) fn once_or_roll_back<T, E>(
        &mut self,
        operation: &str,
        key: &IdempotencyKey,
        body: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E>
    where
        T: serde::Serialize + serde::de::DeserializeOwned,
        E: From<Error>,
    {
        match claim(self.parts(), operation, key)? {
            Claim::Done(json) => read(&json).map_err(E::from),
            Claim::Fresh => {
                let answer = body(self)?;
                let json = serde_json::to_string(&answer).map_err(|_| {
                    Error::Invalid(Invalid::new("result", "cannot be written as JSON"))
                })?;
                // An answer that nobody could read would be found out when it is too late.
                read::<T>(&json)?;
                store(self.parts(), key, &json)?;
                Ok(answer)
            }
        }
    }
}

/// An answer from its JSON.
fn read<T: serde::de::DeserializeOwned>(json: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|_| IdempotencyError::Unreadable.into())
}

/// What a key stands for.
#[derive(Debug)]
enum Claim {
    /// Nothing yet: the work is this transaction's to do, and its answer to be stored.
    Fresh,
    /// The work was done, and this JSON was its answer.
    Done(String),
}

struct ClaimQuery<'a> {
    workspace: &'a WorkspaceId,
    actor_kind: &'a str,
    actor_id: &'a str,
    operation: &'a str,
    key: &'a str,
    fingerprint: Option<&'a [u8]>,
}

// An insert that meets the same key in a transaction under way waits for its end. The update changes
// nothing, and makes the statement return the row as it is then, whatever its snapshot shows.
statement!(ClaimQuery: (Bool, Text, Nullable<Binary>, Nullable<Text>), include_str!("idempotency_keys/claim.sql"), |query| [
    query.workspace => Text,
    &query.actor_kind => Text,
    &query.actor_id => Text,
    &query.key => Text,
    &query.operation => Text,
    &query.fingerprint => Nullable<Binary>,
]);

struct StoreQuery<'a> {
    workspace: &'a WorkspaceId,
    actor_kind: &'a str,
    actor_id: &'a str,
    key: &'a str,
    result: &'a str,
}

statement!(StoreQuery: (), include_str!("idempotency_keys/store.sql"), |query| [
    &query.result => Text,
    query.workspace => Text,
    &query.actor_kind => Text,
    &query.actor_id => Text,
    &query.key => Text,
]);

/// Takes the key for this transaction, or says what was answered under it. Waits for a transaction
/// that has taken the same key.
///
/// # Errors
/// [`IdempotencyError::Reused`] when the key stands for another operation or request;
/// [`IdempotencyError::OtherMembership`] when the actor used it under another role or membership;
/// [`IdempotencyError::InUse`] when this very transaction has taken it and not answered yet;
/// [`Error::Denied`](crate::Error::Denied) for somebody who is not a member;
/// [`Error::ReadOnly`](crate::Error::ReadOnly) through a read-only guard;
/// [`Error::LockTimeout`](crate::Error::LockTimeout) when the other transaction takes too long; and
/// those of any query.
fn claim(
    InWorkspace { conn, workspace, actor, .. }: InWorkspace<'_>,
    operation: &str,
    key: &IdempotencyKey,
) -> Result<Claim> {
    let (actor_kind, actor_id) = (actor.kind(), actor.id());
    let (is_fresh, taken_for, fingerprint, result): (
        bool,
        String,
        Option<Vec<u8>>,
        Option<String>,
    ) = ClaimQuery {
        workspace,
        actor_kind,
        actor_id,
        operation,
        key: key.as_str(),
        fingerprint: key.fingerprint(),
    }
    .get_result(conn)?;
    if is_fresh {
        return Ok(Claim::Fresh);
    }
    if taken_for != operation || fingerprint.as_deref() != key.fingerprint() {
        return Err(IdempotencyError::Reused.into());
    }
    result.map(Claim::Done).ok_or_else(|| IdempotencyError::InUse.into())
}

/// Stores the answer under a key that this transaction has claimed.
///
/// # Errors
/// [`Error::Invalid`](crate::Error::Invalid) when it is longer than [`MAX_RESULT`], or the key was
/// answered before; [`Error::NotFound`](crate::Error::NotFound) when the key was not claimed, or the
/// actor is no member any more, or in another role; and those of any query.
fn store(
    InWorkspace { conn, workspace, actor, .. }: InWorkspace<'_>,
    key: &IdempotencyKey,
    result: &str,
) -> Result<()> {
    if result.len() > MAX_RESULT {
        return Err(Invalid::new("result", "expected at most 65536 bytes of JSON").into());
    }
    let (actor_kind, actor_id) = (actor.kind(), actor.id());
    let query = StoreQuery { workspace, actor_kind, actor_id, key: key.as_str(), result };
    changed(query.execute(conn), "idempotency key")
}
