//! What a guard must find, and must not.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};
use sesari_db::PgConnection;
use sesari_db::TenantConnection;
use sesari_db::repo::KpiFilter;

use crate::support::Tenant;

/// Left behind by one guard on purpose; the next must not find it.
pub(crate) const MESS: &[&str] = &[
    "SET search_path = pg_catalog",
    "SET application_name = 'mess'",
    "SELECT set_config('sesari.context', '1.test.u.x.y.1.1.z', false)",
    "LISTEN mess",
    "PREPARE mess AS SELECT 1",
    "DECLARE mess CURSOR WITH HOLD FOR SELECT 1",
    "SELECT pg_advisory_lock(7)",
    "SET ROLE NONE",
    "SET statement_timeout = 0",
];

const TRACES: &str = "(SELECT concat_ws(',', \
     (SELECT 'listens' FROM pg_listening_channels() LIMIT 1), \
     (SELECT 'cursor' FROM pg_cursors WHERE is_holdable LIMIT 1), \
     (SELECT 'prepared' FROM pg_prepared_statements WHERE name = 'mess' LIMIT 1), \
     (SELECT 'locks' FROM pg_locks WHERE locktype = 'advisory' AND objid = 7 \
                       AND pid = pg_backend_pid() LIMIT 1), \
     CASE WHEN current_user <> 'sesari_tenant' THEN current_user::text END, \
     CASE WHEN current_setting('search_path') <> 'public, pg_temp' THEN 'search_path' END, \
     CASE WHEN current_setting('statement_timeout') <> '30s' THEN 'statement_timeout' END, \
     CASE WHEN current_setting('application_name') = 'mess' THEN 'application_name' END, \
     CASE WHEN pg_current_xact_id_if_assigned() IS NOT NULL THEN 'has written' END))";

const SEEN: &str = "(SELECT string_agg(DISTINCT workspace_id, ' ') FROM ( \
     SELECT workspace_id FROM kpis UNION ALL SELECT workspace_id FROM goals \
     UNION ALL SELECT workspace_id FROM kpi_data_points \
     UNION ALL SELECT workspace_id FROM goal_kpis UNION ALL SELECT id FROM workspaces) AS seen)";

fn text(conn: &mut PgConnection, query: &str) -> Result<Option<String>, String> {
    diesel::select(sql::<Nullable<Text>>(query))
        .get_result(conn)
        .map_err(|e| format!("{query}: {e}"))
}

pub(crate) fn pid(guard: &mut TenantConnection) -> Option<i64> {
    diesel::select(sql::<BigInt>("pg_backend_pid()::bigint")).get_result(guard.connection()).ok()
}

/// A connection that was just handed out carries nothing of whoever had it before.
pub(crate) fn no_traces(guard: &mut TenantConnection) -> Result<(), String> {
    match text(guard.connection(), TRACES)?.unwrap_or_default().as_str() {
        "" => Ok(()),
        traces => Err(format!("traces of another: {traces}")),
    }
}

/// By SQL that filters on nothing.
pub(crate) fn sees_raw(guard: &mut TenantConnection, own: Option<&Tenant>) -> Result<(), String> {
    let seen = text(guard.connection(), SEEN)?;
    let expected = own.map(|tenant| tenant.workspace.as_str());
    if seen.as_deref() == expected { Ok(()) } else { Err(format!("{seen:?}, not {expected:?}")) }
}

/// By the repositories, which leave the connection as it is.
pub(crate) fn sees_typed(
    guard: &mut TenantConnection,
    own: &Tenant,
    other: &Tenant,
    kpis: Option<i64>,
) -> Result<(), String> {
    let failed = |error: sesari_db::Error| format!("{error:?}");
    let found = guard.kpis().find(&own.kpi).map_err(failed)?.is_some();
    let foreign = guard.kpis().find(&other.kpi).map_err(failed)?;
    let counted = guard.kpis().count(&KpiFilter::default()).map_err(failed)?;
    if foreign.is_some() {
        return Err("a foreign row".into());
    }
    if found != kpis.is_some() || counted != kpis.unwrap_or(0) {
        return Err(format!("found {found}, {counted} KPIs, expected {kpis:?}"));
    }
    Ok(())
}
