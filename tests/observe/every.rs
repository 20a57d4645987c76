//! No method of a repository that is not told of. That the calls are all there are is held by
//! `every_method_of_every_repository_is_called` in `two_worlds`.

use std::collections::{BTreeMap, BTreeSet};

use sesari_db::{Error, ServiceConnection, TenantConnection, UserConnection};

use crate::programs::calls::{Call, OF_A_SERVICE, OF_A_TENANT, OF_A_USER};
use crate::programs::program::{Args, Asked, Pick};
use crate::recorder::{Told, listen, operations};
use crate::support::{World, service};

/// Runs a call in a savepoint, and undoes it.
type Undone<'g, G> = &'g mut dyn FnMut(fn(&mut G, &Asked) -> sesari_db::Result<String>);

/// Calls everything, and says what was told of each call.
fn told_of<G>(calls: &[Call<G>], call: Undone<'_, G>) -> Vec<(&'static str, Vec<Told>)> {
    calls.iter().map(|(name, body)| (*name, listen(|| call(*body)).1)).collect()
}

fn all(world: &World) -> Vec<(&'static str, Vec<Told>)> {
    let a = &world.a;
    let args = Args {
        kpi: Pick::First,
        goal: Pick::First,
        integration: Pick::First,
        user: 0,
        workspace: Pick::First,
        number: 0,
        text: 0,
    };
    let asked = Asked { args, n: 1 };
    let mut tenant: TenantConnection = world.db.tenant(&a.owner, &a.workspace).unwrap();
    let mut user: UserConnection = world.db.user(&a.owner).unwrap();
    let mut service: ServiceConnection = world.db.service(&service()).unwrap();
    // The answers do not matter: most rows are not there.
    let mut all = told_of(OF_A_TENANT, &mut |body| {
        let _ = tenant.transaction(|guard| body(guard, &asked).and(Err::<(), _>(Error::Denied)));
    });
    all.extend(told_of(OF_A_USER, &mut |body| {
        let _ = user.transaction(|guard| body(guard, &asked).and(Err::<(), _>(Error::Denied)));
    }));
    all.extend(told_of(OF_A_SERVICE, &mut |body| {
        let _ = service.transaction(|guard| body(guard, &asked).and(Err::<(), _>(Error::Denied)));
    }));
    all
}

/// Methods that are one operation with another argument.
const SHARED: [(&str, &[&str]); 26] = [
    ("kpi.find", &["kpis.find", "kpis.get"]),
    ("goal.find", &["goals.find", "goals.get"]),
    ("goal_kpi.find", &["goal_kpis.find", "goal_kpis.get"]),
    ("data_point.find", &["data_points.find", "data_points.get"]),
    ("member.find", &["members.find", "members.get"]),
    ("integration.find", &["integrations.find", "integrations.get"]),
    ("invitation.find", &["invitations.find", "invitations.get"]),
    ("user.find", &["users.find", "users.get"]),
    ("subscription.find", &["subscriptions.find", "subscriptions.get"]),
    ("workspace.find", &["workspace.find", "workspace.get"]),
    ("my_workspace.find", &["my_workspaces.find", "my_workspaces.get"]),
    ("me.find", &["me.find", "me.get"]),
    ("my_subscription.find", &["my_subscription.find", "my_subscription.get"]),
    ("kpi.update", &["kpis.activate", "kpis.deactivate", "kpis.update"]),
    ("goal.update", &["goals.complete", "goals.pause", "goals.resume", "goals.update"]),
    ("goal.progress", &["goals.progress", "goals.progress_of_many"]),
    ("kpi_target.pace", &["kpi_targets.pace", "kpi_targets.pace_of_many"]),
    ("goal_kpi.update", &["goal_kpis.reweigh", "goal_kpis.update"]),
    // A span for each batch and each page.
    (
        "data_point.record_many",
        &["data_points.import", "data_points.import_csv", "data_points.record_many"],
    ),
    ("data_point.range", &["data_points.export_csv", "data_points.iter", "data_points.range"]),
    ("series.time_zone", &["series.grid", "series.whole_grid"]),
    ("integration.update", &["integrations.activate", "integrations.deactivate"]),
    ("integration.record_sync", &["integrations.record_failure", "integrations.record_success"]),
    ("member.remove", &["members.leave", "members.remove"]),
    (
        "workspace.update",
        &[
            "workspace.change_slug",
            "workspace.change_time_zone",
            "workspace.rename",
            "workspace.update",
        ],
    ),
    ("audit_log.checkpoint", &["audit_log.checkpoint", "audit_log.settled_before"]),
];

#[test]
fn every_method_of_every_repository_is_told_of_by_name_and_table() {
    let world = World::new();
    let mut methods: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (call, told) in all(&world) {
        if call == "role" {
            continue;
        }
        let names: Vec<_> = operations(&told).into_iter().map(|(name, _)| name).collect();
        let most = if ["kpis.list walk", "data_points.import_csv"].contains(&call) { 2 } else { 1 };
        assert!((1..=most).contains(&names.len()), "{call} is told of as {names:?}");
        for told in told.iter().filter(|told| told.what == "sesari_db.operation") {
            let name = told.field("db.operation.name").unwrap();
            let well_formed = |part: &str| {
                !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
            };
            let parts: Vec<_> = name.split('.').collect();
            assert!(parts.len() == 2 && parts.iter().all(|part| well_formed(part)), "{name}");
            let diagnosis = name.starts_with("diagnosis.");
            assert!(told.field("db.collection.name").is_some() != diagnosis, "{name} has no table");
            let (method, form) = call.split_once(' ').unwrap_or((call, ""));
            // An update without changes is the `find` that it runs.
            if form != "nothing" {
                methods.entry(name.to_owned()).or_default().insert(method);
            }
        }
    }
    assert!(methods.len() > 70, "{methods:?}");
    for (name, methods) in methods.iter().filter(|(_, methods)| methods.len() > 1) {
        let shared = SHARED.iter().find(|(shared, _)| shared == name);
        let (_, shared) = shared.unwrap_or_else(|| panic!("{name} is the name of {methods:?}"));
        assert!(methods.iter().eq(*shared), "{name} is the name of {methods:?}");
    }
}
