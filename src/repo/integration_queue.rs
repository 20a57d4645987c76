//! Integrations of all workspaces, for services: which are due, and which sealing keys are in use.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::data_types::PgInterval;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Interval, Text, Timestamptz};

use super::{debug_by_name, statement};
use crate::connection::PgConnection;
use crate::credentials::{OpenError, SealingKeyId};
use crate::error::Result;
use crate::id::{IntegrationId, LeaseId, WorkspaceId};
use crate::observe::counted;
use crate::tenancy::ServiceConnection;
use crate::value::{IntegrationProvider, Invalid};

/// The longest lease.
const MAX_LEASE: Duration = Duration::from_hours(7 * 24);

/// A lease as the database takes it.
pub(super) fn lease_interval(lease: Duration) -> Result<PgInterval, Invalid> {
    let invalid = || Invalid::new("lease", "expected at most 7 days");
    if lease > MAX_LEASE {
        return Err(invalid());
    }
    let micros = i64::try_from(lease.as_micros()).map_err(|_| invalid())?;
    Ok(PgInterval::from_microseconds(micros))
}

debug_by_name!(IntegrationQueueRepository);

/// A claim on an integration that is due.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Claim {
    /// Where to enter as a background service.
    pub workspace_id: WorkspaceId,
    /// What to synchronise.
    pub integration_id: IntegrationId,
    /// The service to ask.
    pub provider: IntegrationProvider,
    /// What to record the result with.
    pub lease: LeaseId,
    /// Until when; afterwards another worker may claim it.
    pub leased_until: DateTime<Utc>,
}

/// How many envelopes are sealed with a key.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct KeyUsage {
    /// The key.
    pub key_id: SealingKeyId,
    /// Envelopes, of all workspaces.
    pub envelopes: i64,
}

/// What services may know of all workspaces' integrations, for a
/// [`ServiceConnection`](crate::ServiceConnection).
pub struct IntegrationQueueRepository<'g> {
    conn: &'g mut PgConnection,
}

impl ServiceConnection {
    /// Which integrations are due, of all workspaces.
    pub fn integration_queue(&mut self) -> IntegrationQueueRepository<'_> {
        IntegrationQueueRepository { conn: self.conn() }
    }
}

#[expect(clippy::missing_errors_doc, reason = "described once, in the module `repo`")]
impl IntegrationQueueRepository<'_> {
    /// Claims up to so many integrations that are due, for a lease of at most seven days. Workspaces
    /// take turns, however much of each is due and since when; of one workspace the longest due goes
    /// first. None goes to two workers; one whose worker died can be claimed again when its lease has
    /// run out. There may be fewer than asked for while another worker chooses. Commit at once, then
    /// enter each workspace as a background service.
    ///
    /// [`Error::Invalid`](crate::Error::Invalid) for a longer lease.
    pub fn claim(&mut self, how_many: u16, lease: Duration) -> Result<Vec<Claim>> {
        counted("integration_queue.claim", Vec::len, || {
            let id = LeaseId::generate();
            let lease = lease_interval(lease)?;
            let rows: Vec<(WorkspaceId, IntegrationId, IntegrationProvider, DateTime<Utc>)> =
                ClaimIntegrations { claim: &id, how_many: how_many.into(), lease }
                    .load(self.conn)?;
            let claim = |(workspace_id, integration_id, provider, leased_until)| Claim {
                workspace_id,
                integration_id,
                provider,
                lease: id.clone(),
                leased_until,
            };
            Ok(rows.into_iter().map(claim).collect())
        })
    }

    /// Which sealing keys are in use. A key that is not listed can be retired.
    pub fn key_usage(&mut self) -> Result<Vec<KeyUsage>> {
        counted("integration_queue.key_usage", Vec::len, || {
            let rows: Vec<Usage> =
                diesel::sql_query("SELECT key_id, envelopes FROM sesari.sealing_key_usage()")
                    .load(self.conn)?;
            rows.into_iter()
                .map(|row| {
                    let key_id = row.key_id.parse().map_err(|_| OpenError::Refused)?;
                    Ok(KeyUsage { key_id, envelopes: row.envelopes })
                })
                .collect()
        })
    }

    /// Workspaces with envelopes under another key than this, by id, after the one given.
    pub fn workspaces_to_reseal(
        &mut self,
        current: &SealingKeyId,
        after: Option<&WorkspaceId>,
        how_many: u16,
    ) -> Result<Vec<WorkspaceId>> {
        counted("integration_queue.workspaces_to_reseal", Vec::len, || {
            let after = after.map_or("", WorkspaceId::as_str);
            Ok(WorkspacesToReseal { current, after, how_many: how_many.into() }.load(self.conn)?)
        })
    }
}

struct ClaimIntegrations<'a> {
    claim: &'a LeaseId,
    how_many: i32,
    lease: PgInterval,
}

statement!(ClaimIntegrations: (Text, Text, Text, Timestamptz), "SELECT workspace_id, id, provider, leased_until FROM sesari.claim_integrations($1, \
     $2, $3)", |query| [
    query.claim => Text,
    &query.how_many => Integer,
    &query.lease => Interval,
]);

struct WorkspacesToReseal<'a> {
    current: &'a SealingKeyId,
    after: &'a str,
    how_many: i32,
}

statement!(WorkspacesToReseal: Text, "SELECT id FROM sesari.workspaces_to_reseal($1, $2, $3) AS w (id)", |query| [
    query.current.as_str() => Text,
    query.after => Text,
    &query.how_many => Integer,
]);

#[derive(QueryableByName)]
struct Usage {
    #[diesel(sql_type = Text)]
    key_id: String,
    #[diesel(sql_type = BigInt)]
    envelopes: i64,
}
