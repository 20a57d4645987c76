//! The prepared statements of a connection.

use std::any::TypeId;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::message::Column;

/// How many statements are kept. A program has as many as it has queries in its text; one that
/// composes SQL at run time has any number, and the server keeps memory for each.
const MAX_STATEMENTS: usize = 1000;

/// Statements that the server has prepared by name.
#[derive(Debug, Default)]
pub(super) struct Statements {
    known: HashMap<Key, Arc<Statement>>,
    is_disabled: bool,
    /// How many names were given.
    named: u64,
}

/// What tells a statement from others: its type, or its text, and the types of its parameters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Type(TypeId, Vec<u32>),
    Sql(Cow<'static, str>, Vec<u32>),
}

impl Key {
    /// Of the parameters.
    pub(super) fn types(&self) -> &[u32] {
        match self {
            Self::Type(_, types) | Self::Sql(_, types) => types,
        }
    }
}

/// A statement that is prepared.
#[derive(Debug)]
pub(super) struct Statement {
    /// The empty name is that of the statement which the next one replaces.
    pub(super) name: String,
    pub(super) columns: Arc<[Column]>,
}

impl Statements {
    /// With prepared statements turned off, or on again. Forgets them all, as the server has, or has
    /// been told to.
    pub(super) fn reset(&mut self, is_enabled: bool) {
        self.known.clear();
        self.is_disabled = !is_enabled;
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<Statement>> {
        self.known.get(key).cloned()
    }

    /// A name to prepare another statement by. Its first word is in it, for whoever looks at what
    /// goes over the line.
    pub(super) fn name(&mut self, sql: &str, is_cacheable: bool) -> String {
        if self.is_disabled || !is_cacheable || self.known.len() >= MAX_STATEMENTS {
            return String::new();
        }
        self.named += 1;
        let word = sql.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        format!("sesari_{}_{word:.16}", self.named)
    }

    /// The server has prepared the statement.
    pub(super) fn keep(&mut self, key: Key, name: String, columns: Arc<[Column]>) {
        if !name.is_empty() {
            self.known.insert(key, Arc::new(Statement { name, columns }));
        }
    }
}
