//! `integrations`: connections to the services that KPIs come from, with sealed credentials.
//!
//! The credentials are no column to be read: they are sealed and opened here, in the service's
//! memory, and reach the database as an envelope. See [`credentials`](crate::credentials) for the
//! sealing, and `docs/credentials.md` for what it protects from.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Binary, Integer, Interval, Nullable, Text, Timestamptz};

use super::integration_queue::lease_interval;
use super::{changed, debug_by_name, found, name_of, page_of, statement, this_moment};
use crate::connection::PgConnection;
use crate::credentials::advanced::{self, Binding, Envelope, SealingSalt};
use crate::credentials::{OpenError, SealingKeyId, SealingKeyRing, Secret, scrub};
use crate::error::{Error, Result};
use crate::id::{IntegrationId, LeaseId, WorkspaceId};
use crate::observe::{counted, if_some, operation};
use crate::page::{Page, PageRequest};
use crate::schema::integrations;
use crate::tenancy::{InWorkspace, TenantConnection};
use crate::value::{IntegrationProvider, Invalid, SyncStatus, Timestamp};

debug_by_name!(IntegrationRepository);

/// The longest error message kept, in characters.
const MAX_ERROR: usize = 1000;

/// An integration, without its credentials.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, serde::Serialize, serde::Deserialize)]
#[diesel(table_name = integrations, check_for_backend(Pg))]
#[non_exhaustive]
pub struct Integration {
    /// Its id.
    pub id: IntegrationId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// The service connected to.
    pub provider: IntegrationProvider,
    /// Whether it is synchronised.
    pub is_active: bool,
    /// When it was last synchronised, well or not.
    pub last_sync_at: Option<DateTime<Utc>>,
    /// How that went.
    pub sync_status: SyncStatus,
    /// Why it failed.
    pub error_message: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// An integration to create. It starts out active and due at once.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewIntegration {
    /// Its id, made here.
    #[serde(skip, default = "IntegrationId::generate")]
    pub id: IntegrationId,
    /// The service to connect to.
    pub provider: IntegrationProvider,
}

impl NewIntegration {
    /// An integration with a new id.
    #[must_use]
    pub fn new(provider: IntegrationProvider) -> Self {
        Self { id: IntegrationId::generate(), provider }
    }
}

/// Which integrations to list.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IntegrationFilter {
    /// Only of this provider.
    pub provider: Option<IntegrationProvider>,
    /// Only active, or only inactive ones.
    #[serde(alias = "isActive")]
    pub is_active: Option<bool>,
    /// Only those whose last synchronisation went so.
    #[serde(alias = "syncStatus")]
    pub sync_status: Option<SyncStatus>,
}

/// When an integration is synchronised.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct SyncSchedule {
    /// When it is due next. While a worker has it: none, unless somebody asked for one meanwhile.
    pub next_sync_at: Option<DateTime<Utc>>,
    /// Until when a worker has it. After that another one may claim it.
    pub leased_until: Option<DateTime<Utc>>,
}

/// How many envelopes `sesari.credentials_to_reseal` gives out at most.
const RESEALED_ROWS: u16 = 100;
/// After how many bytes of envelopes it stops.
const RESEALED_BYTES: usize = 1_000_000;

/// What [`IntegrationRepository::reseal`] did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Resealed {
    /// Envelopes moved to the current key.
    pub moved: usize,
    /// Integrations whose envelope does not open: its key is not in the ring, its salt was
    /// destroyed, or it was altered. Left as they are.
    pub refused: Vec<IntegrationId>,
    /// Where to go on, unless this was the end.
    pub next: Option<IntegrationId>,
}

/// The integrations of a workspace.
///
/// What seals or opens credentials needs the keys given to
/// [`DatabaseBuilder::sealing_keys`](crate::DatabaseBuilder::sealing_keys), and is
/// [`Error::Config`] without.
pub struct IntegrationRepository<'g> {
    conn: &'g mut PgConnection,
    workspace: &'g WorkspaceId,
    keys: Option<&'g SealingKeyRing>,
}

impl TenantConnection {
    /// The workspace's connections to outside services.
    pub fn integrations(&mut self) -> IntegrationRepository<'_> {
        let InWorkspace { conn, workspace, sealing_keys: keys, .. } = self.parts();
        IntegrationRepository { conn, workspace, keys }
    }
}

#[expect(clippy::missing_errors_doc, reason = "described once, in the module `repo`")]
impl<'g> IntegrationRepository<'g> {
    fn keys(&self) -> Result<&'g SealingKeyRing> {
        self.keys.ok_or_else(|| Error::Config("no sealing_keys are configured".into()))
    }

    fn matching<'q>(&self, filter: &'q IntegrationFilter) -> integrations::BoxedQuery<'q, Pg>
    where
        'g: 'q,
    {
        let mut query =
            integrations::table.filter(integrations::workspace_id.eq(self.workspace)).into_boxed();
        if let Some(provider) = &filter.provider {
            query = query.filter(integrations::provider.eq(provider));
        }
        if let Some(is_active) = filter.is_active {
            query = query.filter(integrations::is_active.eq(is_active));
        }
        if let Some(status) = &filter.sync_status {
            query = query.filter(integrations::sync_status.eq(status));
        }
        query
    }

    /// An integration, without its credentials.
    pub fn find(&mut self, id: &IntegrationId) -> Result<Option<Integration>> {
        counted("integration.find", if_some, || self.row(id))
    }

    fn row(&mut self, id: &IntegrationId) -> Result<Option<Integration>> {
        Ok(integrations::table
            .filter(integrations::workspace_id.eq(self.workspace))
            .filter(integrations::id.eq(id))
            .select(Integration::as_select())
            .first(self.conn)
            .optional()?)
    }

    /// An integration, or [`NotFound`](crate::Error::NotFound).
    pub fn get(&mut self, id: &IntegrationId) -> Result<Integration> {
        self.find(id)?.ok_or(crate::Error::not_found(IntegrationId::ENTITY))
    }

    /// Integrations, oldest first, without their credentials.
    pub fn list(
        &mut self,
        filter: &IntegrationFilter,
        page: &PageRequest,
    ) -> Result<Page<Integration>> {
        counted("integration.list", Page::len, || {
            let page = page.of(&["integration", self.workspace.as_str(), &name_of(filter)])?;
            let query =
                page_of!(self.matching(filter), page, integrations::created_at, integrations::id);
            let rows = query.select(Integration::as_select()).load(self.conn)?;
            Ok(page.cut(rows, |row: &Integration| (row.created_at.into(), row.id.as_str())))
        })
    }

    /// How many integrations match.
    pub fn count(&mut self, filter: &IntegrationFilter) -> Result<i64> {
        operation("integration.count", || {
            Ok(self.matching(filter).count().get_result(self.conn)?)
        })
    }

    /// Creates an integration with its credentials. For owners and admins; `Denied` otherwise.
    pub fn create(&mut self, new: &NewIntegration, secret: &Secret) -> Result<Integration> {
        operation("integration.create", || {
            let envelope = self.seal(&new.id, &new.provider, secret)?;
            Ok(diesel::insert_into(integrations::table)
                .values((
                    integrations::id.eq(&new.id),
                    integrations::workspace_id.eq(self.workspace),
                    integrations::provider.eq(&new.provider),
                    integrations::credentials.eq(envelope.to_string()),
                ))
                .returning(Integration::as_returning())
                .get_result(self.conn)?)
        })
    }

    /// Opens the credentials. For owners, admins and background services; `NotFound` otherwise.
    /// Writes an entry for the audit log, so it is refused in a read-only guard. Commit: in a guard that is
    /// dropped, or a savepoint rolled back, the secret has been read and the entry is gone.
    pub fn credentials(&mut self, id: &IntegrationId) -> Result<Secret> {
        operation("integration.read_credentials", || {
            let keys = self.keys()?;
            let row = ReadCredentials { id }.get_result::<Sealed>(self.conn);
            let sealed = found(row, IntegrationId::ENTITY)?;
            let (envelope, salt) = sealed.parse()?;
            let binding = Binding::integration_credentials(self.workspace, id, &sealed.provider);
            Ok(advanced::open(keys, &salt, &binding, &envelope)?)
        })
    }

    /// Replaces the credentials. For owners, admins and background services, which have to when a
    /// provider renews a token; `NotFound` otherwise.
    pub fn replace_credentials(&mut self, id: &IntegrationId, secret: &Secret) -> Result<()> {
        operation("integration.replace_credentials", || {
            let integration = self.row(id)?.ok_or(Error::not_found(IntegrationId::ENTITY))?;
            let envelope = match self.seal(id, &integration.provider, secret) {
                // A member sees the row, and may not change it.
                Err(Error::Denied) => return Err(Error::not_found(IntegrationId::ENTITY)),
                sealed => sealed?,
            };
            self.store(id, &envelope)
        })
    }

    fn seal(
        &mut self,
        id: &IntegrationId,
        provider: &IntegrationProvider,
        secret: &Secret,
    ) -> Result<Envelope> {
        let keys = self.keys()?;
        let salt: Option<Vec<u8>> = diesel::select(sealing_salt()).get_result(self.conn)?;
        let salt = SealingSalt::from_bytes(&salt.ok_or(Error::Denied)?)?;
        let binding = Binding::integration_credentials(self.workspace, id, provider);
        Ok(advanced::seal(keys, &salt, &binding, secret)?)
    }

    fn store(&mut self, id: &IntegrationId, envelope: &Envelope) -> Result<()> {
        let rows = diesel::update(integrations::table)
            .filter(integrations::workspace_id.eq(self.workspace))
            .filter(integrations::id.eq(id))
            .set(integrations::credentials.eq(envelope.to_string()))
            .execute(self.conn);
        changed(rows, IntegrationId::ENTITY)
    }

    fn set_active(&mut self, id: &IntegrationId, active: bool) -> Result<Integration> {
        operation("integration.update", || {
            let row = diesel::update(integrations::table)
                .filter(integrations::workspace_id.eq(self.workspace))
                .filter(integrations::id.eq(id))
                .set(integrations::is_active.eq(active))
                .returning(Integration::as_returning())
                .get_result(self.conn);
            found(row, IntegrationId::ENTITY)
        })
    }

    /// Synchronises an integration from now on.
    pub fn activate(&mut self, id: &IntegrationId) -> Result<Integration> {
        self.set_active(id, true)
    }

    /// Stops synchronising an integration.
    pub fn deactivate(&mut self, id: &IntegrationId) -> Result<Integration> {
        self.set_active(id, false)
    }

    /// When an integration is synchronised, for every member.
    pub fn sync_schedule(&mut self, id: &IntegrationId) -> Result<Option<SyncSchedule>> {
        counted("integration.sync_schedule", if_some, || {
            Ok(ScheduleOf { id }.get_result(self.conn).optional()?)
        })
    }

    /// Makes an integration due at a time, at once if that is past. For owners, admins and background
    /// services; `NotFound` otherwise. A worker that has it goes on, and the time counts when it is
    /// done.
    ///
    /// [`Error::Invalid`] for a time more than 366 days ahead.
    pub fn schedule_sync(&mut self, id: &IntegrationId, at: Timestamp) -> Result<()> {
        operation("integration.schedule_sync", || {
            let scheduled = diesel::select(schedule_sync(id.as_str(), at)).get_result(self.conn)?;
            if scheduled { Ok(()) } else { Err(Error::not_found(IntegrationId::ENTITY)) }
        })
    }

    /// Extends the lease to so long from now, at most seven days, and returns its new end. For background
    /// services; `NotFound` when the lease has gone to another worker.
    ///
    /// [`Error::Invalid`] for a longer lease.
    pub fn extend_lease(
        &mut self,
        id: &IntegrationId,
        lease: &LeaseId,
        length: Duration,
    ) -> Result<DateTime<Utc>> {
        operation("integration.extend_lease", || {
            let length = lease_interval(length)?;
            let until: Option<DateTime<Utc>> =
                diesel::select(extend_sync(id.as_str(), lease.as_str(), length))
                    .get_result(self.conn)?;
            until.ok_or(Error::not_found(IntegrationId::ENTITY))
        })
    }

    /// Records a synchronisation that went well and gives the lease back; it is due again then, at
    /// once if that is past, or earlier if somebody asked for it. For background services; `NotFound`
    /// when the lease has gone to another worker.
    ///
    /// [`Error::Invalid`] when `next` is more than 366 days ahead.
    pub fn record_success(
        &mut self,
        id: &IntegrationId,
        lease: &LeaseId,
        next: Timestamp,
    ) -> Result<Integration> {
        self.record_sync(id, lease, &SyncStatus::Success, None, next)
    }

    /// Records a synchronisation that failed, as [`record_success`](Self::record_success) does one that
    /// went well. The error loses the credentials' values in their usual encodings, see
    /// [`scrub`](crate::credentials::scrub), and what is over 1000 characters.
    pub fn record_failure(
        &mut self,
        id: &IntegrationId,
        lease: &LeaseId,
        error: &str,
        secret: &Secret,
        next: Timestamp,
    ) -> Result<Integration> {
        let error = scrub(error, secret, MAX_ERROR);
        self.record_sync(id, lease, &SyncStatus::Error, Some(&error), next)
    }

    fn record_sync(
        &mut self,
        id: &IntegrationId,
        lease: &LeaseId,
        status: &SyncStatus,
        error: Option<&str>,
        next: Timestamp,
    ) -> Result<Integration> {
        operation("integration.record_sync", || {
            let held: bool = diesel::select(finish_sync(id.as_str(), lease.as_str(), next))
                .get_result(self.conn)?;
            if !held {
                return Err(Error::not_found(IntegrationId::ENTITY));
            }
            let row = diesel::update(integrations::table)
                .filter(integrations::workspace_id.eq(self.workspace))
                .filter(integrations::id.eq(id))
                .set((
                    integrations::last_sync_at.eq(this_moment()),
                    integrations::sync_status.eq(status),
                    integrations::error_message.eq(error),
                ))
                .returning(Integration::as_returning())
                .get_result(self.conn);
            found(row, IntegrationId::ENTITY)
        })
    }

    /// Deletes an integration and its credentials for good. For owners and admins.
    pub fn delete(&mut self, id: &IntegrationId) -> Result<()> {
        operation("integration.delete", || {
            let rows = diesel::delete(integrations::table)
                .filter(integrations::workspace_id.eq(self.workspace))
                .filter(integrations::id.eq(id))
                .execute(self.conn);
            changed(rows, IntegrationId::ENTITY)
        })
    }

    /// Seals up to so many envelopes anew, those after the given integration by id that are not
    /// under the current key yet. They stay locked until the commit, so whatever is asked for, there
    /// are at most 100 of them, and none follows the first 1,000,000 bytes of envelopes. A rotation
    /// that is interrupted may start again: what was committed is not looked at twice.
    ///
    /// [`Error::Invalid`] for a batch of 0.
    pub fn reseal(&mut self, after: Option<&IntegrationId>, batch: u16) -> Result<Resealed> {
        counted(
            "integration.reseal",
            |resealed: &Resealed| resealed.moved,
            || {
                let keys = self.keys()?;
                if batch == 0 {
                    return Err(Invalid::new("batch", "expected 1 or more envelopes").into());
                }
                let batch = batch.min(RESEALED_ROWS);
                let after = after.map_or("", IntegrationId::as_str);
                let rows: Vec<(IntegrationId, Sealed)> = CredentialsToReseal {
                    current: keys.sealing_key_id(),
                    after,
                    batch: batch.into(),
                }
                .load(self.conn)?;
                let bytes: usize = rows.iter().map(|(_, sealed)| sealed.envelope.len()).sum();
                let full = rows.len() == usize::from(batch) || bytes >= RESEALED_BYTES;
                let next = rows.last().filter(|_| full).map(|(id, _)| id.clone());
                let mut resealed = Resealed { moved: 0, refused: Vec::new(), next };
                for (id, sealed) in rows {
                    let binding =
                        Binding::integration_credentials(self.workspace, &id, &sealed.provider);
                    let envelope = sealed.parse().and_then(|(envelope, salt)| {
                        Ok(advanced::reseal(keys, &salt, &binding, &envelope)?)
                    });
                    match envelope {
                        Ok(None) => {}
                        Ok(Some(envelope)) => {
                            self.store(&id, &envelope)?;
                            resealed.moved += 1;
                        }
                        Err(Error::Open(_)) => resealed.refused.push(id),
                        Err(error) => return Err(error),
                    }
                }
                Ok(resealed)
            },
        )
    }

    /// Destroys the salt that the workspace's sealing key is derived with, so that none of its envelopes can be
    /// opened again, in backups neither unless the backup has the salt. For owners; false for anybody else, and
    /// when there was nothing to destroy. Credentials stored afterwards get a new salt.
    pub fn shred_credentials(&mut self) -> Result<bool> {
        counted(
            "workspace.shred_credentials",
            |shredded| usize::from(*shredded),
            || Ok(diesel::select(destroy_sealing_salt()).get_result(self.conn)?),
        )
    }
}

/// An envelope as it is stored, with what it takes to open it.
#[derive(Queryable)]
struct Sealed {
    provider: IntegrationProvider,
    envelope: String,
    salt: Option<Vec<u8>>,
}

impl Sealed {
    fn parse(&self) -> Result<(Envelope, SealingSalt)> {
        // No salt: it was destroyed, and nothing opens what it sealed.
        let salt = self.salt.as_deref().ok_or(OpenError::Refused)?;
        let envelope = Envelope::parse(&self.envelope).map_err(|_| OpenError::Refused)?;
        Ok((envelope, SealingSalt::from_bytes(salt)?))
    }
}

#[diesel::declare_sql_function]
extern "SQL" {
    #[sql_name = "sesari.sealing_salt"]
    fn sealing_salt() -> Nullable<Binary>;
    #[sql_name = "sesari.destroy_sealing_salt"]
    fn destroy_sealing_salt() -> Bool;
    #[sql_name = "sesari.schedule_sync"]
    fn schedule_sync(id: Text, next: Timestamptz) -> Bool;
    #[sql_name = "sesari.finish_sync"]
    fn finish_sync(id: Text, lease: Text, next: Timestamptz) -> Bool;
    #[sql_name = "sesari.extend_sync"]
    fn extend_sync(id: Text, lease: Text, length: Interval) -> Nullable<Timestamptz>;
}

struct ReadCredentials<'a> {
    id: &'a IntegrationId,
}

statement!(ReadCredentials: (Text, Text, Nullable<Binary>), "SELECT provider, credentials, salt FROM sesari.read_credentials($1)", |query| [
    query.id => Text,
]);

struct ScheduleOf<'a> {
    id: &'a IntegrationId,
}

statement!(ScheduleOf: (Nullable<Timestamptz>, Nullable<Timestamptz>), "SELECT next_sync_at, leased_until FROM sesari.sync_schedule($1)", |query| [
    query.id => Text,
]);

struct CredentialsToReseal<'a> {
    current: &'a SealingKeyId,
    after: &'a str,
    batch: i32,
}

statement!(CredentialsToReseal: (Text, (Text, Text, Nullable<Binary>)), "SELECT id, provider, credentials, salt FROM sesari.credentials_to_reseal($1, $2, $3)", |query| [
    query.current.as_str() => Text,
    query.after => Text,
    &query.batch => Integer,
]);
