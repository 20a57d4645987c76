//! The id of another tenant's row, of a row that is gone, and of one that never was: every method
//! of every repository of a workspace answers the three alike.

use std::fmt::Debug;

use diesel::connection::SimpleConnection;
use sesari_db::credentials::Secret;
use sesari_db::id::{GoalId, IntegrationId, KpiId, LeaseId, UserId};
use sesari_db::import::{CsvOptions, ImportOptions};
use sesari_db::repo::{
    AuditFilter, GoalChanges, GoalKpiChanges, KpiChanges, NewGoalKpi, NewIntegration, OnExisting,
    SeriesQuery, TimeRange,
};
use sesari_db::series::{Grid, Step, Zone};
use sesari_db::value::{Finite, IntegrationProvider, Role, Timestamp, Weight};
use sesari_db::{Result, TenantConnection};

use super::data_points::{at, key, point};
use super::tools::{page, parse};
use crate::support::{Tenant, World};

/// The ids that a method may be asked for.
struct Ids {
    kpi: KpiId,
    goal: GoalId,
    integration: IntegrationId,
    user: UserId,
    /// A point's id never opens a point; a row's id in the log may be any of them.
    row: String,
}

impl Ids {
    fn of(tenant: &Tenant) -> Self {
        Self {
            kpi: tenant.kpi.clone(),
            goal: tenant.goal.clone(),
            integration: integration_of(tenant),
            user: tenant.member.clone(),
            row: tenant.workspace.to_string(),
        }
    }

    fn random() -> Self {
        let kpi = KpiId::generate();
        let row = kpi.to_string();
        Self {
            kpi,
            goal: GoalId::generate(),
            integration: IntegrationId::generate(),
            user: UserId::generate(),
            row,
        }
    }
}

/// The one integration of a tenant's: an id that can be told from the tenant alone.
fn integration_of(tenant: &Tenant) -> IntegrationId {
    parse(&format!("i{}", tenant.slug))
}

fn lease() -> LeaseId {
    parse("lease")
}

fn secret() -> Secret {
    Secret::from("some secret".to_owned())
}

/// A world where each tenant has an integration, leased.
fn furnished() -> World {
    let world = World::new();
    for tenant in [&world.a, &world.b] {
        let new = NewIntegration {
            id: integration_of(tenant),
            ..NewIntegration::new(IntegrationProvider::Stripe)
        };
        let mut owner = world.as_owner(tenant);
        owner.integrations().create(&new, &secret()).unwrap();
        owner.commit().unwrap();
    }
    world.arrange("UPDATE sesari.sync_queue SET lease_id = 'lease', leased_until = now()");
    world
}

type Method = (&'static str, fn(&mut TenantConnection, &Tenant, &Ids) -> String);

/// What a caller can tell from an answer. Ids that were asked for may be in it.
fn told<T: Debug>(answer: &Result<T>, ids: &Ids) -> String {
    format!("{answer:?}")
        .replace(ids.kpi.as_str(), "<kpi>")
        .replace(ids.goal.as_str(), "<goal>")
        .replace(ids.integration.as_str(), "<integration>")
        .replace(ids.user.as_str(), "<user>")
        .replace(&ids.row, "<row>")
}

macro_rules! methods {
    ($($name:literal: |$tenant:ident, $own:ident, $ids:ident| $call:expr;)*) => {
        &[$(($name, |$tenant, $own, $ids| {
            let _ = $own;
            told(&$tenant.transaction(|$tenant| $call), $ids)
        })),*]
    };
}

fn number() -> Finite {
    Finite::new(1.0).unwrap()
}

fn moment() -> Timestamp {
    at(0)
}

fn all_time() -> TimeRange {
    TimeRange::new(at(-1000), at(1000)).unwrap()
}

fn imports() -> ImportOptions {
    ImportOptions::new(OnExisting::Keep)
}

fn by_day() -> SeriesQuery {
    SeriesQuery::new(Grid::new(all_time(), Step::day(Zone::UTC)).unwrap())
}

const METHODS: &[Method] = methods! {
    "kpis.find": |tenant, own, ids| tenant.kpis().find(&ids.kpi);
    "kpis.update": |tenant, own, ids| tenant.kpis().update(
        &ids.kpi, &KpiChanges { name: Some(parse("x")), ..KpiChanges::default() });
    "kpis.update nothing": |tenant, own, ids| tenant.kpis().update(&ids.kpi, &KpiChanges::default());
    "kpis.activate": |tenant, own, ids| tenant.kpis().activate(&ids.kpi);
    "kpis.deactivate": |tenant, own, ids| tenant.kpis().deactivate(&ids.kpi);
    "kpis.delete": |tenant, own, ids| tenant.kpis().delete(&ids.kpi);
    "kpis.restore": |tenant, own, ids| tenant.kpis().restore(&ids.kpi);
    "kpis.purge": |tenant, own, ids| tenant.kpis().purge(&ids.kpi);
    "data_points.record": |tenant, own, ids| tenant.data_points().record(&point(&ids.kpi, 0, 1.0));
    "data_points.record_many keep": |tenant, own, ids|
        tenant.data_points().record_many(&[point(&ids.kpi, 0, 1.0)], OnExisting::Keep);
    "data_points.record_many replace": |tenant, own, ids|
        tenant.data_points().record_many(&[point(&ids.kpi, 0, 1.0)], OnExisting::Replace);
    "data_points.record_many fail": |tenant, own, ids|
        tenant.data_points().record_many(&[point(&ids.kpi, 0, 1.0)], OnExisting::Fail);
    "data_points.import": |tenant, own, ids| tenant.data_points().import(
        [Ok(point(&ids.kpi, 50, 1.0))], &imports(), |_, _| ());
    "data_points.import_csv": |tenant, own, ids| tenant.data_points().import_csv(
        format!("kpi_id,timestamp,value\n{},2026-02-01T00:00:00Z,1\n", ids.kpi).as_bytes(),
        &CsvOptions::new(), &imports(), |_, _| ());
    "data_points.export_csv": |tenant, own, ids|
        tenant.data_points().export_csv(&ids.kpi, all_time(), std::io::sink());
    "data_points.iter": |tenant, own, ids|
        tenant.data_points().iter(&ids.kpi, all_time()).collect::<Result<Vec<_>>>();
    "data_points.range": |tenant, own, ids|
        tenant.data_points().range(&ids.kpi, all_time(), &page(9));
    "data_points.count": |tenant, own, ids| tenant.data_points().count(&ids.kpi, all_time());
    "data_points.find": |tenant, own, ids| tenant.data_points().find(&key(&ids.kpi, 0, None));
    "data_points.latest": |tenant, own, ids| tenant.data_points().latest(&ids.kpi);
    "data_points.latest_of_many": |tenant, own, ids|
        tenant.data_points().latest_of_many(&[ids.kpi.clone(), own.kpi.clone()]);
    "data_points.correct": |tenant, own, ids|
        tenant.data_points().correct(&key(&ids.kpi, 0, None), number());
    "data_points.delete": |tenant, own, ids| tenant.data_points().delete(&key(&ids.kpi, 0, None));
    "data_points.delete_before": |tenant, own, ids|
        tenant.data_points().delete_before(Some(&ids.kpi), at(2), 9);
    "series.read": |tenant, own, ids| tenant.series().read(
        &[ids.kpi.clone(), own.kpi.clone()], &by_day());
    "series.compare": |tenant, own, ids| tenant.series().compare(std::slice::from_ref(&ids.kpi), &by_day());
    "series.statistics": |tenant, own, ids|
        tenant.series().statistics(std::slice::from_ref(&ids.kpi), all_time(), &[0.5]);
    "series.goal_progress": |tenant, own, ids|
        tenant.series().goal_progress(&ids.goal, by_day().grid());
    "goals.find": |tenant, own, ids| tenant.goals().find(&ids.goal);
    "goals.find_with_kpis": |tenant, own, ids| tenant.goals().find_with_kpis(&ids.goal);
    "goals.update": |tenant, own, ids| tenant.goals().update(
        &ids.goal, &GoalChanges { title: Some(parse("x")), ..GoalChanges::default() });
    "goals.update nothing": |tenant, own, ids|
        tenant.goals().update(&ids.goal, &GoalChanges::default());
    "goals.complete": |tenant, own, ids| tenant.goals().complete(&ids.goal);
    "goals.pause": |tenant, own, ids| tenant.goals().pause(&ids.goal);
    "goals.resume": |tenant, own, ids| tenant.goals().resume(&ids.goal);
    "goals.delete": |tenant, own, ids| tenant.goals().delete(&ids.goal);
    "goals.restore": |tenant, own, ids| tenant.goals().restore(&ids.goal);
    "goals.purge": |tenant, own, ids| tenant.goals().purge(&ids.goal);
    "goals.progress": |tenant, own, ids| tenant.goals().progress(&ids.goal);
    "goals.progress_of_many": |tenant, own, ids|
        tenant.goals().progress_of_many(&[ids.goal.clone(), own.goal.clone()]);
    "goal_kpis.link goal": |tenant, own, ids|
        tenant.goal_kpis().link(&NewGoalKpi::new(ids.goal.clone(), own.kpi.clone()));
    "goal_kpis.link kpi": |tenant, own, ids|
        tenant.goal_kpis().link(&NewGoalKpi::new(own.goal.clone(), ids.kpi.clone()));
    "goal_kpis.link both": |tenant, own, ids|
        tenant.goal_kpis().link(&NewGoalKpi::new(ids.goal.clone(), ids.kpi.clone()));
    "goal_kpis.find": |tenant, own, ids| tenant.goal_kpis().find(&ids.goal, &ids.kpi);
    "goal_kpis.find kpi": |tenant, own, ids| tenant.goal_kpis().find(&own.goal, &ids.kpi);
    "goal_kpis.list": |tenant, own, ids| tenant.goal_kpis().list(&ids.goal);
    "goal_kpis.count": |tenant, own, ids| tenant.goal_kpis().count(&ids.goal);
    "goal_kpis.update": |tenant, own, ids| tenant.goal_kpis().update(&ids.goal, &ids.kpi,
        &GoalKpiChanges { baseline: Some(None), weight: None });
    "goal_kpis.update nothing": |tenant, own, ids|
        tenant.goal_kpis().update(&ids.goal, &ids.kpi, &GoalKpiChanges::default());
    "goal_kpis.reweigh": |tenant, own, ids|
        tenant.goal_kpis().reweigh(&ids.goal, &ids.kpi, Weight::default());
    "goal_kpis.unlink": |tenant, own, ids| tenant.goal_kpis().unlink(&ids.goal, &ids.kpi);
    "integrations.find": |tenant, own, ids| tenant.integrations().find(&ids.integration);
    "integrations.credentials": |tenant, own, ids|
        tenant.integrations().credentials(&ids.integration);
    "integrations.replace_credentials": |tenant, own, ids|
        tenant.integrations().replace_credentials(&ids.integration, &secret());
    "integrations.deactivate": |tenant, own, ids|
        tenant.integrations().deactivate(&ids.integration);
    "integrations.activate": |tenant, own, ids| tenant.integrations().activate(&ids.integration);
    "integrations.record_success": |tenant, own, ids|
        tenant.integrations().record_success(&ids.integration, &lease(), moment());
    "integrations.record_failure": |tenant, own, ids| tenant.integrations().record_failure(
        &ids.integration, &lease(), "failed", &secret(), moment());
    "integrations.delete": |tenant, own, ids| tenant.integrations().delete(&ids.integration);
    // Not `members.add`: users belong to no workspace, and adding one of another's is allowed.
    "members.find": |tenant, own, ids| tenant.members().find(&ids.user);
    "members.change_role": |tenant, own, ids|
        tenant.members().change_role(&ids.user, Role::Admin);
    "members.remove": |tenant, own, ids| tenant.members().remove(&ids.user);
    "audit_log.list": |tenant, own, ids| tenant.audit_log().list(
        &AuditFilter { row_id: Some(ids.row.clone()), ..AuditFilter::default() }, &page(9));
    "audit_log.list actor": |tenant, own, ids| tenant.audit_log().list(
        &AuditFilter { actor_id: Some(ids.user.to_string()), ..AuditFilter::default() }, &page(9));
    "audit_log.count": |tenant, own, ids| tenant.audit_log().count(
        &AuditFilter { row_id: Some(ids.row.clone()), ..AuditFilter::default() });
};

/// The methods that tell the ids apart, in `a`'s workspace as its owner.
fn tell_apart(world: &World, some: &Ids, others: &Ids) -> Vec<String> {
    let mut tenant = world.as_owner(&world.a);
    METHODS
        .iter()
        .filter_map(|(name, method)| {
            let answers =
                (method(&mut tenant, &world.a, some), method(&mut tenant, &world.a, others));
            (answers.0 != answers.1).then(|| format!("{name}: {answers:?}"))
        })
        .collect()
}

#[test]
fn another_tenants_row_looks_like_one_that_never_was() {
    let world = furnished();
    let before = snapshot(&world);
    let differ = tell_apart(&world, &Ids::of(&world.b), &Ids::random());
    assert!(differ.is_empty(), "{differ:#?}");
    assert_eq!(snapshot(&world), before);
}

#[test]
fn a_row_that_is_gone_looks_like_one_that_never_was() {
    let world = furnished();
    let mut tenant = world.as_owner(&world.a);
    tenant.integrations().delete(&integration_of(&world.a)).unwrap();
    let kpi = tenant.kpis().create(&sesari_db::repo::NewKpi::new(parse("Gone"))).unwrap().id;
    let goal = tenant.goals().create(&sesari_db::repo::NewGoal::new(parse("Gone"))).unwrap().id;
    tenant.kpis().delete(&kpi).unwrap();
    tenant.goals().delete(&goal).unwrap();
    tenant.kpis().purge(&kpi).unwrap();
    tenant.goals().purge(&goal).unwrap();
    tenant.commit().unwrap();
    let row = KpiId::generate().to_string();
    let user = UserId::generate();
    let gone = Ids { kpi, goal, integration: integration_of(&world.a), user, row };
    let differ = tell_apart(&world, &gone, &Ids::random());
    assert!(differ.is_empty(), "{differ:#?}");
}

/// The own rows do differ from absent ones, in every method: the comparison can tell.
#[test]
fn every_method_tells_the_own_row_from_one_that_never_was() {
    let world = furnished();
    let own = Ids::of(&world.a);
    let differ = tell_apart(&world, &own, &Ids::random());
    let alike: Vec<_> = METHODS
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| !differ.iter().any(|told| told.starts_with(&format!("{name}: "))))
        .collect();
    // What was restored just before is not purged; only a background service records what became of
    // a lease; and this member has done nothing yet.
    let expected = [
        "kpis.purge",
        "goals.purge",
        "integrations.record_success",
        "integrations.record_failure",
        "audit_log.list actor",
    ];
    assert_eq!(alike, expected);
}

/// With both walls down between the tenants the difference shows.
#[test]
fn without_policies_and_with_a_wrong_filter_the_other_tenant_would_show() {
    let world = World::new();
    world
        .test
        .admin()
        .unwrap()
        .batch_execute(
            "ALTER TABLE kpis DISABLE ROW LEVEL SECURITY; \
             ALTER TABLE kpis RENAME TO kpis_stored; \
             CREATE VIEW kpis AS SELECT k.id, w.id AS workspace_id, k.name, k.description, \
               k.target_value, k.current_value, k.current_value_at, k.unit, k.category, k.aggregation, k.is_active, \
               k.created_at, k.updated_at, k.deleted_at FROM kpis_stored AS k CROSS JOIN workspaces AS w; \
             GRANT SELECT ON kpis TO sesari_tenant",
        )
        .unwrap();
    let mut tenant = world.as_owner(&world.a);
    let leaked = tenant.kpis().find(&world.b.kpi).unwrap();
    assert!(leaked.is_some_and(|kpi| kpi.id == world.b.kpi));
}

/// A row of `b`'s may have the id of one of `a`'s: keys are unique within a workspace.
#[test]
fn ids_taken_in_another_workspace_are_free_in_this_one() {
    let world = World::shared();
    let mut tenant = world.as_owner(&world.a);
    let kpi = sesari_db::repo::NewKpi {
        id: world.b.kpi.clone(),
        ..sesari_db::repo::NewKpi::new(parse("x"))
    };
    assert_eq!(tenant.kpis().create(&kpi).unwrap().workspace_id, world.a.workspace);
    let goal = sesari_db::repo::NewGoal {
        id: world.b.goal.clone(),
        ..sesari_db::repo::NewGoal::new(parse("x"))
    };
    tenant.goals().create(&goal).unwrap();
    // The key of the newest of theirs.
    tenant.data_points().record(&point(&world.b.kpi, 2, -1.0)).unwrap();
    tenant.commit().unwrap();
    let mut other = world.as_owner(&world.b);
    assert_eq!(other.kpis().find(&world.b.kpi).unwrap().unwrap().current_value, 30.0);
}

/// All rows of `b`'s workspace, as text.
fn snapshot(world: &World) -> String {
    use diesel::sql_types::Text;
    let tables = [
        "kpis",
        "goals",
        "goal_kpis",
        "kpi_data_points",
        "kpi_packed_points",
        "kpi_rollups",
        "idempotency_keys",
        "workspace_users",
        "integrations",
    ];
    let parts = tables.map(|table| {
        format!(
            "coalesce((SELECT string_agg(t::text, ';' ORDER BY t::text) FROM {table} AS t \
             WHERE workspace_id = '{}'), '')",
            world.b.workspace
        )
    });
    super::tools::scalar::<Text, String>(&mut world.test.admin().unwrap(), &parts.join(" || "))
}
