//! The registry of this crate's tables: what is generic about tenants learns them here. A new table is a
//! line.

/// A table.
pub(crate) struct Table {
    /// Its name with its schema.
    pub(crate) name: &'static str,
    /// What errors call a row that a foreign key did not find: `kpi` of a key of `kpi_id`.
    entity: &'static str,
    /// The first part of the names of operations on it, such as `kpi` of `kpi.create`.
    operations: &'static [&'static str],
}

const fn table(
    name: &'static str,
    entity: &'static str,
    operations: &'static [&'static str],
) -> Table {
    Table { name, entity, operations }
}

/// The tables of this crate outside of its private schema, by name.
pub(crate) const TABLES: &[Table] = &[
    table("public.audit_log", "audit entry", &["access", "audit_log", "deleted_audit_log"]),
    table("public.goal_kpis", "goal kpi", &["goal_kpi"]),
    table("public.goals", "goal", &["goal"]),
    table("public.idempotency_keys", "idempotency key", &[]),
    table("public.integrations", "integration", &["integration", "integration_queue"]),
    table("public.invitations", "invitation", &["invitation", "my_invitation"]),
    table("public.kpi_data_points", "data point", &["data_point", "data_points", "series"]),
    table("public.kpi_history", "kpi history", &[]),
    table("public.kpi_packed_points", "packed points", &[]),
    table("public.kpi_rollups", "rollup", &[]),
    table("public.kpi_targets", "kpi target", &["kpi_target"]),
    table("public.kpis", "kpi", &["kpi"]),
    table("public.subscriptions", "subscription", &["my_subscription", "subscription"]),
    table("public.users", "user", &["me", "user"]),
    table("public.workspace_users", "member", &["member", "my_workspace"]),
    table("public.workspaces", "workspace", &["workspace"]),
];

/// The private tables whose checks a caller's value can break.
const PRIVATE: &[&str] = &["sync_queue"];

/// The names, each with its schema.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    TABLES.iter().map(|table| table.name)
}

fn bare(name: &'static str) -> &'static str {
    name.split_once('.').map_or(name, |(_, name)| name)
}

/// The table of an operation, `<entity>.<verb>`, without its schema.
#[cfg_attr(not(feature = "tracing"), allow(dead_code, reason = "a field of spans"))]
pub(crate) fn of_operation(operation: &str) -> Option<&'static str> {
    let (entity, _) = operation.split_once('.')?;
    let table = TABLES.iter().find(|table| table.operations.contains(&entity))?;
    Some(bare(table.name))
}

/// What the foreign key of this name refers to: `<table>_<columns>_fkey`, whose last column is
/// `<entity>_id`, or `<table>_<entity>_not_deleted` for one that a trigger keeps.
pub(crate) fn referenced(constraint: &str) -> Option<&'static str> {
    let key =
        constraint.strip_suffix("_id_fkey").or_else(|| constraint.strip_suffix("_not_deleted"))?;
    let is_last =
        |entity: &str| key.strip_suffix(entity).is_some_and(|before| before.ends_with('_'));
    TABLES.iter().map(|table| table.entity).find(|entity| is_last(entity))
}

/// The column of a check, `<table>_<column>_check`; the name itself where it is not of this form.
pub(crate) fn checked_column(constraint: &str) -> &str {
    let rest =
        |table: &str| constraint.strip_prefix(table)?.strip_prefix('_')?.strip_suffix("_check");
    // A longer name of a table, such as `goal_kpis`, leaves a shorter rest than one it begins with.
    names()
        .map(bare)
        .chain(PRIVATE.iter().copied())
        .filter_map(rest)
        .min_by_key(|column| column.len())
        .unwrap_or(constraint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_key_tells_what_it_refers_to() {
        for (constraint, entity) in [
            ("workspace_users_workspace_id_user_id_fkey", Some("user")),
            ("user_workspaces_user_id_fkey", Some("user")),
            ("kpi_data_points_workspace_id_kpi_id_fkey", Some("kpi")),
            ("kpi_data_points_kpi_not_deleted", Some("kpi")),
            ("goal_kpis_workspace_id_goal_id_fkey", Some("goal")),
            ("sealing_salts_workspace_id_fkey", Some("workspace")),
            ("invoices_workspace_id_customer_id_fkey", None),
            ("kpis_pkey", None),
        ] {
            assert_eq!(referenced(constraint), entity, "{constraint}");
        }
    }

    #[test]
    fn a_check_tells_its_column() {
        for (constraint, column) in [
            ("workspace_users_role_check", "role"),
            ("kpi_data_points_value_check", "value"),
            ("users_provider_id_check", "provider_id"),
            ("sync_queue_next_sync_at_check", "next_sync_at"),
            ("invoices_total_check", "invoices_total_check"),
        ] {
            assert_eq!(checked_column(constraint), column);
        }
    }

    #[test]
    fn an_operation_tells_its_table() {
        assert_eq!(of_operation("kpi.create"), Some("kpis"));
        assert_eq!(of_operation("diagnosis.row"), None);
        assert!(TABLES.is_sorted_by_key(|table| table.name));
    }
}
