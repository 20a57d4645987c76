//! That a sealed credential opens in its own place and nowhere else, whatever is done to it, and
//! that neither it nor a key is ever printed or left in memory.

#![allow(clippy::unwrap_used, reason = "a test's set-up fails loudly")]

mod database;
mod envelope;
mod keys;
#[cfg(target_os = "linux")]
mod memory;
mod round_trip;
mod secrecy;
mod vectors;
mod wrong;

use sesari_db::credentials::{
    Binding, Envelope, OpenError, SealedColumn, SealingKey, SealingKeyRing, SealingSalt, Secret,
    open, seal,
};
use sesari_db::id::{IntegrationId, WorkspaceId};
use sesari_db::value::IntegrationProvider;

/// Everything that sealing and opening depend on.
#[derive(Debug, Clone, PartialEq)]
struct Place {
    key_id: &'static str,
    key: u8,
    salt: u8,
    workspace: WorkspaceId,
    table: &'static str,
    column: &'static str,
    integration: IntegrationId,
    provider: IntegrationProvider,
}

impl Place {
    fn usual() -> Self {
        Self {
            key_id: "k1",
            key: 1,
            salt: 1,
            workspace: "wa".parse().unwrap(),
            table: "integrations",
            column: "credentials",
            integration: "ia".parse().unwrap(),
            provider: IntegrationProvider::Stripe,
        }
    }

    fn ring(&self) -> SealingKeyRing {
        ring(&[(self.key_id, self.key)])
    }

    fn salt(&self) -> SealingSalt {
        SealingSalt::from_bytes(&[self.salt; SealingSalt::LEN]).unwrap()
    }

    fn binding(&self) -> Binding<'_> {
        let column = SealedColumn { table: self.table, column: self.column };
        Binding::new(column, &self.workspace, &self.integration, &self.provider)
    }

    fn seal(&self, secret: &str) -> Envelope {
        seal(&self.ring(), &self.salt(), &self.binding(), &Secret::from(secret.to_owned())).unwrap()
    }

    fn open(&self, envelope: &Envelope) -> Result<Secret, OpenError> {
        open(&self.ring(), &self.salt(), &self.binding(), envelope)
    }
}

fn key(id: &str, byte: u8) -> SealingKey {
    SealingKey::new(id.parse().unwrap(), &[byte; SealingKey::LEN]).unwrap()
}

fn ring(keys: &[(&str, u8)]) -> SealingKeyRing {
    SealingKeyRing::new(keys.iter().map(|(id, byte)| key(id, *byte))).unwrap()
}
