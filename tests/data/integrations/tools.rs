//! A world whose database has sealing keys, and what the modules share.

use std::fmt::Debug;
use std::time::Duration;

use sesari_db::credentials::{SealingKey, SealingKeyRing, Secret};
use sesari_db::id::{IntegrationId, WorkspaceId};
use sesari_db::page::PageRequest;
use sesari_db::repo::{AuditEntry, AuditFilter, Claim, KeyUsage, NewIntegration};
use sesari_db::testing::TestDatabase;
use sesari_db::value::{IntegrationProvider, Timestamp};
use sesari_db::{Database, Error, Result, TenantConnection};

use crate::support::{Tenant, World, hour, service};

pub(crate) fn key(id: &str, byte: u8) -> SealingKey {
    SealingKey::new(id.parse().unwrap(), &[byte; SealingKey::LEN]).unwrap()
}

pub(crate) fn ring(keys: &[(&str, u8)]) -> SealingKeyRing {
    SealingKeyRing::new(keys.iter().map(|(id, byte)| key(id, *byte))).unwrap()
}

/// Another process on the same database, with these keys.
pub(crate) fn with_keys(test: &TestDatabase, keys: &[(&str, u8)]) -> Database {
    test.builder().pool_size(16).sealing_keys(ring(keys)).build().unwrap()
}

/// The world of all tests, with the key `k1`.
pub(crate) fn sealed_world() -> World {
    let test = TestDatabase::new().unwrap();
    let db = with_keys(&test, &[("k1", 1)]);
    World::on(test, db)
}

pub(crate) fn secret(text: &str) -> Secret {
    Secret::from(text.to_owned())
}

pub(crate) fn stripe() -> NewIntegration {
    NewIntegration::new(IntegrationProvider::Stripe)
}

pub(crate) fn page(limit: u32) -> PageRequest {
    PageRequest::first(limit).unwrap()
}

pub(crate) fn moment(hours: i64) -> Timestamp {
    Timestamp::new(hour(hours)).unwrap()
}

pub(crate) fn as_service(db: &Database, workspace: &WorkspaceId) -> TenantConnection {
    db.tenant(service(), workspace).unwrap()
}

/// An integration of the tenant's, committed.
pub(crate) fn created(db: &Database, of: &Tenant, text: &str) -> IntegrationId {
    let mut tenant = db.tenant(&of.admin, &of.workspace).unwrap();
    let made = tenant.integrations().create(&stripe(), &secret(text)).unwrap();
    tenant.commit().unwrap();
    made.id
}

/// The credentials as the background service gets them. The audit entry is rolled back.
pub(crate) fn opened(db: &Database, of: &WorkspaceId, id: &IntegrationId) -> Result<String> {
    let secret = as_service(db, of).integrations().credentials(id)?;
    Ok(String::from_utf8(secret.expose().to_vec()).unwrap())
}

pub(crate) fn claim(db: &Database, how_many: u16, lease: Duration) -> Vec<Claim> {
    let mut guard = db.service(&service()).unwrap();
    let claims = guard.integration_queue().claim(how_many, lease).unwrap();
    guard.commit().unwrap();
    claims
}

pub(crate) fn usage(db: &Database) -> Vec<(String, i64)> {
    let mut guard = db.service(&service()).unwrap();
    let used: Vec<KeyUsage> = guard.integration_queue().key_usage().unwrap();
    used.into_iter().map(|used| (used.key_id.as_str().to_owned(), used.envelopes)).collect()
}

/// The workspace's entries of one action, newest first.
pub(crate) fn entries(db: &Database, of: &Tenant, action: &str) -> Vec<AuditEntry> {
    let mut tenant = db.tenant(&of.owner, &of.workspace).unwrap();
    let filter = AuditFilter { action: Some(action.to_owned()), ..AuditFilter::default() };
    tenant.audit_log().list(&filter, &page(1000)).unwrap().items
}

impl World {
    pub(crate) fn envelope(&self, id: &IntegrationId) -> String {
        self.ask(&format!("SELECT credentials FROM integrations WHERE id = '{id}'"))
    }
}

pub(crate) fn assert_missing<T: Debug>(result: Result<T>) {
    match result.unwrap_err() {
        Error::NotFound { entity: "integration" } => {}
        other => panic!("{other:?}"),
    }
}
