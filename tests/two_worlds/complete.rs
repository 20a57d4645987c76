//! No repository method without a call.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::programs::calls::{OF_A_SERVICE, OF_A_TENANT, OF_A_USER};

/// The accessor of a guard for each repository.
const ACCESSORS: &[(&str, &str)] = &[
    ("AuditLogRepository", "audit_log"),
    ("DataPointRepository", "data_points"),
    ("DeletedWorkspaceAuditLogRepository", "deleted_workspace_audit_log"),
    ("DiagnosisRepository", "diagnosis"),
    ("GoalKpiRepository", "goal_kpis"),
    ("GoalRepository", "goals"),
    ("IntegrationQueueRepository", "integration_queue"),
    ("IntegrationRepository", "integrations"),
    ("InvitationRepository", "invitations"),
    ("KpiRepository", "kpis"),
    ("KpiTargetRepository", "kpi_targets"),
    ("MeRepository", "me"),
    ("MemberRepository", "members"),
    ("MembershipRepository", "memberships"),
    ("MyInvitationRepository", "invitations"),
    ("MySubscriptionRepository", "my_subscription"),
    ("MyWorkspaceRepository", "my_workspaces"),
    ("RefusalRepository", "refusals"),
    ("SeriesRepository", "series"),
    ("SubscriptionRepository", "subscriptions"),
    ("UserRepository", "users"),
    ("WorkspaceRepository", "workspace"),
];

fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            found.push(fs::read_to_string(path).unwrap());
        }
    }
}

/// `kpis.find`, for each public method of a repository.
fn methods() -> BTreeSet<String> {
    let mut files = Vec::new();
    sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/repo")), &mut files);
    let mut methods = BTreeSet::new();
    for file in files {
        let mut accessor = None;
        for line in file.lines() {
            if line.starts_with("impl") {
                let name = line.split(['<', ' ']).find(|word| word.ends_with("Repository"));
                accessor = name.map(|name| {
                    let known = ACCESSORS.iter().find(|(repository, _)| *repository == name);
                    known.unwrap_or_else(|| panic!("{name} has no accessor here")).1
                });
            }
            let name =
                line.trim().strip_prefix("pub fn ").and_then(|rest| rest.split(['(', '<']).next());
            if let (Some(accessor), Some(name)) = (accessor, name) {
                methods.insert(format!("{accessor}.{name}"));
            }
        }
    }
    methods
}

#[test]
fn every_method_of_every_repository_is_called() {
    let calls: Vec<&str> = OF_A_TENANT
        .iter()
        .map(|call| call.0)
        .chain(OF_A_USER.iter().map(|call| call.0))
        .chain(OF_A_SERVICE.iter().map(|call| call.0))
        .collect();
    let called: BTreeSet<String> =
        calls.iter().filter_map(|name| name.split(' ').next()).map(Into::into).collect();
    let methods = methods();
    assert!(methods.len() > 90, "the sources are written otherwise: {methods:?}");
    let missing: Vec<_> = methods.difference(&called).collect();
    assert!(missing.is_empty(), "add a call to tests/support/programs/calls.rs for {missing:?}");
    let stale: Vec<_> = called.difference(&methods).filter(|name| *name != "role").collect();
    assert!(stale.is_empty(), "no repository has {stale:?}");
}
