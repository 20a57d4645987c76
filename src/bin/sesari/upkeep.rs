//! Migrations, keys, and comparisons of what is stored with what it was made from.

use chrono::{TimeDelta, Utc};
use diesel::Connection;
use sesari_db::credentials::{SealingKey, SealingKeyRing};
use sesari_db::maintenance::{self, RollupPart};
use sesari_db::migrations;
use sesari_db::series::Zone;
use sesari_db::tenancy::{ContextKey, ContextKeyRing, MemberRole};
use sesari_db::value::{Role, Timestamp};
use sesari_db::{Database, DatabaseBuilder, PgConnection, Scope};

use crate::args::{Keys, Migrate, Pack, Retire, Rezone, Rotate, Verify};
use crate::print::{bar, line, text};
use crate::{Found, Outcome};

const ADMIN_URL: &str = "SESARI_ADMIN_URL";
pub(crate) const TENANT_URL: &str = "SESARI_TENANT_URL";
pub(crate) const SERVICE_URL: &str = "SESARI_SERVICE_URL";
const CONTEXT_KEYS: &str = "SESARI_CONTEXT_KEYS";
const SEALING_KEYS: &str = "SESARI_SEALING_KEYS";

pub(crate) fn variable(name: &str) -> Outcome<String> {
    optional(name)?.ok_or_else(|| format!("{name} is not set").into())
}

fn optional(name: &str) -> Outcome<Option<String>> {
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => Ok(Some(value)),
        Ok(_) | Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(format!("{name} is not Unicode").into()),
    }
}

fn admin() -> Outcome<PgConnection> {
    let url = match optional(ADMIN_URL)? {
        Some(url) => url,
        None => optional("DATABASE_URL")?
            .ok_or_else(|| format!("neither {ADMIN_URL} nor DATABASE_URL is set"))?,
    };
    Ok(PgConnection::establish(&url)?)
}

/// As a service has it: with the services' login and sealing keys, where they are set.
pub(crate) fn database() -> Outcome<DatabaseBuilder> {
    let keys: ContextKeyRing = variable(CONTEXT_KEYS)?.parse()?;
    let mut builder = Database::builder(variable(TENANT_URL)?, keys).pool_size(2);
    if let Some(url) = optional(SERVICE_URL)? {
        builder = builder.service_url(url);
    }
    if optional(SEALING_KEYS)?.is_some() {
        builder = builder.sealing_keys(SealingKeyRing::from_env(SEALING_KEYS)?);
    }
    Ok(builder)
}

pub(crate) fn migrate(command: &Migrate) -> Outcome<Found> {
    let mut conn = admin()?;
    let (done, what) = if command.record {
        (migrations::record(&mut conn)?, "recorded")
    } else {
        (migrations::run(&mut conn)?, "applied")
    };
    for version in &done {
        line!("{what} {version}");
    }
    line!("{} of {} migrations were pending", done.len(), migrations::versions()?.len());
    match optional(CONTEXT_KEYS)? {
        Some(keys) => install(&mut conn, &keys)?,
        None => line!("{CONTEXT_KEYS} is not set: no key installed"),
    }
    Ok(Found::Nothing)
}

fn install(conn: &mut PgConnection, keys: &str) -> Outcome<()> {
    for key in keys.parse::<ContextKeyRing>()?.keys() {
        maintenance::install_context_key(conn, key)?;
        line!("context key {} is installed", key.id());
    }
    Ok(())
}

pub(crate) fn keys(command: Keys) -> Outcome<Found> {
    match command {
        Keys::NewContext { id } => line!("{}", ContextKey::generate(id)?.to_secret_string()),
        Keys::NewSealing { id } => {
            let secret = SealingKey::generate(id)?.to_secret();
            text(std::str::from_utf8(secret.expose())?);
            line!();
        }
        Keys::Install => install(&mut admin()?, &variable(CONTEXT_KEYS)?)?,
        Keys::Usage(as_service) => {
            let db = database()?.build()?;
            let mut service = db.begin(&Scope::service(&as_service.name).read_only())?;
            for usage in service.integration_queue().key_usage()? {
                line!("{}: {} credentials", usage.key_id, usage.envelopes);
            }
        }
    }
    Ok(Found::Nothing)
}

pub(crate) fn retire(command: &Retire) -> Outcome<Found> {
    let was_installed = maintenance::retire_context_key(&mut admin()?, &command.id)?;
    line!("{}: {}", command.id, if was_installed { "retired" } else { "was not installed" });
    Ok(if was_installed { Found::Nothing } else { Found::Something })
}

pub(crate) fn verify(command: Verify) -> Outcome<Found> {
    match command {
        Verify::Rollups { workspace, rebuild } => {
            let mut conn = admin()?;
            let report = if rebuild {
                maintenance::rebuild_rollups(&mut conn, workspace.as_ref())?
            } else {
                maintenance::verify_rollups(&mut conn, workspace.as_ref())?
            };
            for difference in &report.differences {
                let part = match difference.part {
                    RollupPart::Day(day) => format!("day {}", day.to_rfc3339()),
                    RollupPart::Moved(day) => {
                        format!("day {} is not of the workspace's zone", day.to_rfc3339())
                    }
                    RollupPart::CurrentValue => "current value".to_owned(),
                };
                line!("{} {} {part}", difference.workspace_id, difference.kpi_id);
            }
            let done = if rebuild { "mended" } else { "found" };
            line!("{} KPIs, {} differences {done}", report.kpis, report.count);
            Ok(if report.is_clean() { Found::Nothing } else { Found::Something })
        }
        Verify::Zones { zones } => {
            let zones = if zones.is_empty() { Zone::all().collect() } else { zones };
            let count = zones.len();
            let differences = maintenance::verify_time_zones(&mut admin()?, zones)?;
            for difference in &differences {
                match difference.at {
                    Some(at) => line!("{} differs at {}", difference.zone, at.to_rfc3339()),
                    None => line!("{} is not known to the server", difference.zone),
                }
            }
            line!("{count} zones, {} differences found", differences.len());
            Ok(if differences.is_empty() { Found::Nothing } else { Found::Something })
        }
        Verify::Audit { workspace, user } => {
            let db = database()?.build()?;
            let mut tenant = db.begin(&Scope::tenant(&user, &workspace).read_only())?;
            // To anybody else the log is empty, which would look intact.
            if !matches!(tenant.role()?, Some(MemberRole::Member(Role::Owner | Role::Admin))) {
                return Err(format!("{user} is no owner or admin of {workspace}").into());
            }
            let verdict = tenant.audit_log().verify(None)?;
            line!("{verdict}");
            Ok(if verdict.is_intact() { Found::Nothing } else { Found::Something })
        }
    }
}

pub(crate) fn rezone(command: &Rezone) -> Outcome<Found> {
    let db = database()?.build()?;
    let bar = bar(0, "{wide_bar} {pos} of {len} rollups");
    let service = command.as_service.name.clone();
    let done = db.rezone_rollups(service, &command.workspace, command.batch, |so_far| {
        bar.set_length(so_far.total);
        bar.set_position(so_far.rollups);
    })?;
    bar.finish_and_clear();
    line!("{} rollups, {} made anew", done.rollups, done.rezoned);
    Ok(Found::Nothing)
}

pub(crate) fn pack(command: &Pack) -> Outcome<Found> {
    #[expect(clippy::disallowed_methods, reason = "the date of points, not the passage of time")]
    let before = Utc::now() - TimeDelta::days(command.older_than.into());
    let bar = bar(0, "{spinner} {pos} points packed");
    let done = maintenance::pack_points(
        &mut admin()?,
        command.workspace.as_ref(),
        Timestamp::new(before)?,
        command.batch,
        |so_far| bar.set_position(so_far.points),
    )?;
    bar.finish_and_clear();
    line!("{} points packed in {} rows", done.points, done.spans);
    if done.busy > 0 {
        line!("left to the next time, because others were writing: {}", done.busy);
    }
    Ok(Found::Nothing)
}

pub(crate) fn rotate(command: &Rotate) -> Outcome<Found> {
    variable(SERVICE_URL)?;
    variable(SEALING_KEYS)?;
    let db = database()?.build()?;
    let bar = bar(0, "{spinner} {pos} credentials moved");
    let rotation = db.rotate_sealing_key(&command.as_service.name, command.batch, |so_far| {
        bar.set_position(so_far.moved as u64);
    })?;
    bar.finish_and_clear();
    line!("{} workspaces, {} credentials moved", rotation.workspaces, rotation.moved);
    for (workspace, integration) in &rotation.refused {
        line!("{workspace} {integration}: does not open");
    }
    Ok(if rotation.refused.is_empty() { Found::Nothing } else { Found::Something })
}
