//! What a request costs in round trips: its statement, with which it begins, and its end.
//!
//! Counted exactly, on the wire, by a line between the pool and the server. Every method of every
//! repository is called twice, the second time on a connection that has its statement prepared, which changes nothing.
#![allow(clippy::unwrap_used, reason = "a test's set-up fails loudly")]
#![allow(clippy::disallowed_methods, reason = "the date of points")]

use std::slice;
use std::sync::LazyLock;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::support::{Tenant, World, hour, service};
use diesel::connection::SimpleConnection;
use sesari_db::credentials::Secret;
use sesari_db::page::PageRequest;
use sesari_db::repo::{
    AuditFilter, BillingEvent, GoalChanges, GoalFilter, GoalKpiChanges, IntegrationFilter,
    KpiChanges, KpiFilter, MemberFilter, NewAuditEntry, NewDataPoint, NewGoal, NewGoalKpi,
    NewIntegration, NewInvitation, NewKpi, NewKpiTarget, NewUser, NewWorkspace, OnExisting,
    PointKey, ProfileChanges, Refusal, SeriesQuery, SubscriptionFilter, TimeRange, UserChanges,
    UserFilter, Wanted,
};
use sesari_db::series::{Grid, Step, Zone};
use sesari_db::tenancy::{ServiceConnection, TenantConnection, UserConnection};
use sesari_db::value::{
    AuthProvider, Finite, GoalStatus, IntegrationProvider, Plan, Role, SubscriptionStatus,
    TargetPeriod, Timestamp, Weight,
};
use sesari_db::{Database, Error, Result};

use crate::support::line::Line;

/// A world, and a way to it that counts. One connection at each scope, opened already.
struct Counted {
    line: Line,
    db: Database,
    world: World,
}

impl Counted {
    fn new() -> Self {
        let world = World::new();
        let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
        let newest = NewDataPoint::new(world.a.kpi.clone(), 1.0, *RECENT).unwrap();
        tenant.data_points().record(&newest).unwrap();
        tenant.commit().unwrap();
        let test = &world.test;
        let line = Line::to_server_of(&test.tenant_url());
        let db = Database::builder(line.url(&test.tenant_url()), test.context_key().clone())
            .service_url(line.url(&test.service_url()))
            .sealing_keys(crate::support::sealing_keys())
            .pool_size(1)
            .build()
            .unwrap();
        drop((db.user(&world.stranger).unwrap(), db.service(&service()).unwrap()));
        Self { line, db, world }
    }

    fn trips(&self, body: impl FnOnce()) -> usize {
        self.line.watch(false, 0, body).trips
    }

    fn tenant(&self) -> TenantConnection {
        self.db.tenant(&self.world.a.owner, &self.world.a.workspace).unwrap()
    }

    /// Calls once to prepare, and once to count; both guards are dropped, so nothing is changed.
    fn assert_two<G>(
        &self,
        name: &str,
        open: impl Fn() -> G,
        call: impl Fn(&mut G) -> Result<()>,
        end: impl Fn(G),
    ) {
        let run = || {
            let mut guard = open();
            call(&mut guard).unwrap_or_else(|error| panic!("{name}: {error:?}"));
            end(guard);
        };
        run();
        assert_eq!(self.trips(run), 2, "{name}");
    }
}

fn timestamp(hours: i64) -> Timestamp {
    Timestamp::new(hour(hours)).unwrap()
}

/// So young that nobody packs it.
static RECENT: LazyLock<DateTime<Utc>> = LazyLock::new(Utc::now);

fn recent(minutes: i64) -> DateTime<Utc> {
    *RECENT - TimeDelta::minutes(minutes)
}

fn point(a: &Tenant) -> PointKey {
    let timestamp = Timestamp::new(*RECENT).unwrap();
    PointKey { kpi_id: a.kpi.clone(), timestamp, source: None }
}

fn all_time() -> TimeRange {
    TimeRange::new(timestamp(0), timestamp(1000)).unwrap()
}

fn days() -> SeriesQuery {
    SeriesQuery::new(Grid::new(all_time(), Step::day(Zone::UTC)).unwrap())
}

type Call<G> = fn(&mut G, &World) -> Result<()>;

const READS: &[(&str, Call<TenantConnection>)] = &[
    ("role", |t, _| t.role().map(drop)),
    ("workspace.find", |t, _| t.workspace().find().map(drop)),
    ("members.find", |t, w| t.members().find(&w.a.member).map(drop)),
    ("members.list", |t, _| {
        t.members().list(&MemberFilter::default(), &PageRequest::default()).map(drop)
    }),
    ("members.list by role", |t, _| {
        let filter = MemberFilter { role: Some(Role::Admin), ..MemberFilter::default() };
        t.members().list(&filter, &PageRequest::default()).map(drop)
    }),
    ("members.count", |t, _| t.members().count(&MemberFilter::default()).map(drop)),
    ("kpis.find", |t, w| t.kpis().find(&w.a.kpi).map(drop)),
    ("kpis.list", |t, _| t.kpis().list(&KpiFilter::default(), &PageRequest::default()).map(drop)),
    ("kpis.list by all", |t, _| {
        let filter = KpiFilter {
            is_active: Some(true),
            category: Some("growth".parse()?),
            name_contains: Some("e".into()),
            ..KpiFilter::default()
        };
        t.kpis().list(&filter, &PageRequest::default()).map(drop)
    }),
    ("kpis.count", |t, _| t.kpis().count(&KpiFilter::default()).map(drop)),
    ("kpis.update without changes", |t, w| {
        t.kpis().update(&w.a.kpi, &KpiChanges::default()).map(drop)
    }),
    ("data_points.find", |t, w| t.data_points().find(&point(&w.a)).map(drop)),
    ("data_points.range", |t, w| {
        t.data_points().range(&w.a.kpi, all_time(), &PageRequest::default()).map(drop)
    }),
    ("data_points.count", |t, w| t.data_points().count(&w.a.kpi, all_time()).map(drop)),
    ("data_points.latest", |t, w| t.data_points().latest(&w.a.kpi).map(drop)),
    ("data_points.latest_of_many", |t, w| {
        t.data_points().latest_of_many(&[w.a.kpi.clone(), w.b.kpi.clone()]).map(drop)
    }),
    ("series.read", |t, w| t.series().read(slice::from_ref(&w.a.kpi), &days()).map(drop)),
    ("series.read first and last", |t, w| {
        t.series().read(&[w.a.kpi.clone(), w.b.kpi.clone()], &days()).map(drop)
    }),
    ("series.compare", |t, w| t.series().compare(slice::from_ref(&w.a.kpi), &days()).map(drop)),
    ("series.statistics", |t, w| {
        t.series().statistics(slice::from_ref(&w.a.kpi), all_time(), &[0.5]).map(drop)
    }),
    ("series.goal_progress", |t, w| t.series().goal_progress(&w.a.goal, days().grid()).map(drop)),
    ("goals.find", |t, w| t.goals().find(&w.a.goal).map(drop)),
    ("goals.find_with_kpis", |t, w| t.goals().find_with_kpis(&w.a.goal).map(drop)),
    ("goals.list", |t, _| {
        let filter = GoalFilter { status: Some(GoalStatus::Active), ..GoalFilter::default() };
        t.goals().list(&filter, &PageRequest::default()).map(drop)
    }),
    ("goals.count", |t, _| t.goals().count(&GoalFilter::default()).map(drop)),
    ("goals.progress", |t, w| t.goals().progress(&w.a.goal).map(drop)),
    ("goals.progress_of_many", |t, w| {
        t.goals().progress_of_many(&[w.a.goal.clone(), w.b.goal.clone()]).map(drop)
    }),
    ("goals.progress_as_of", |t, w| {
        t.goals().progress_as_of(&w.a.goal, Timestamp::new(hour(1))?).map(drop)
    }),
    ("kpi_targets.list", |t, w| t.kpi_targets().list(&w.a.kpi, &PageRequest::default()).map(drop)),
    ("kpi_targets.count", |t, w| t.kpi_targets().count(&w.a.kpi).map(drop)),
    ("goal_kpis.find", |t, w| t.goal_kpis().find(&w.a.goal, &w.a.kpi).map(drop)),
    ("goal_kpis.list", |t, w| t.goal_kpis().list(&w.a.goal).map(drop)),
    ("goal_kpis.count", |t, w| t.goal_kpis().count(&w.a.goal).map(drop)),
    ("audit_log.list", |t, _| {
        t.audit_log().list(&AuditFilter::default(), &PageRequest::default()).map(drop)
    }),
    ("audit_log.count", |t, _| t.audit_log().count(&AuditFilter::default()).map(drop)),
    ("audit_log.settled_before", |t, _| t.audit_log().settled_before().map(drop)),
    ("audit_log.export", |t, _| t.audit_log().export(0, 10).map(drop)),
    ("audit_log.checkpoint", |t, _| t.audit_log().checkpoint().map(drop)),
    ("audit_log.verify", |t, _| t.audit_log().verify(None).map(drop)),
];

const WRITES: &[(&str, Call<TenantConnection>)] = &[
    ("audit_log.append", |t, _| t.audit_log().append(&NewAuditEntry::new("note"))),
    ("workspace.rename", |t, _| t.workspace().rename("New".parse()?).map(drop)),
    ("workspace.change_slug", |t, _| t.workspace().change_slug("new".parse()?).map(drop)),
    ("workspace.delete", |t, _| t.workspace().delete()),
    ("invitations.create", |t, _| {
        let new = NewInvitation::new("new@example.com".parse()?, Role::Member);
        t.invitations().create(&new).map(drop)
    }),
    ("members.change_role", |t, w| t.members().change_role(&w.a.member, Role::Admin).map(drop)),
    ("members.remove", |t, w| t.members().remove(&w.a.member)),
    ("kpis.create", |t, _| t.kpis().create(&NewKpi::new("Churn".parse()?)).map(drop)),
    ("kpis.update", |t, w| {
        let changes = KpiChanges { unit: Some(None), ..KpiChanges::default() };
        t.kpis().update(&w.a.kpi, &changes).map(drop)
    }),
    ("kpis.activate", |t, w| t.kpis().activate(&w.a.kpi).map(drop)),
    ("kpis.delete", |t, w| t.kpis().delete(&w.a.kpi)),
    ("data_points.record", |t, w| {
        t.data_points().record(&NewDataPoint::new(w.a.kpi.clone(), 1.0, recent(500))?).map(drop)
    }),
    ("data_points.record_many", |t, w| {
        let new = |i| NewDataPoint::new(w.a.kpi.clone(), 1.0, recent(i));
        let batch = (1..=100).map(new).collect::<Result<Vec<_>, _>>()?;
        t.data_points().record_many(&batch, OnExisting::Replace).map(drop)
    }),
    ("data_points.correct", |t, w| {
        t.data_points().correct(&point(&w.a), Finite::new(5.0)?).map(drop)
    }),
    ("data_points.delete", |t, w| t.data_points().delete(&point(&w.a))),
    ("kpi_targets.set", |t, w| {
        let value = Finite::new(5.0)?;
        let day = hour(0).date_naive();
        let new = NewKpiTarget::new(w.a.kpi.clone(), TargetPeriod::Month, day, value);
        t.kpi_targets().set(&new).map(drop)
    }),
    ("goals.create", |t, _| t.goals().create(&NewGoal::new("Hold".parse()?)).map(drop)),
    ("goals.update", |t, w| {
        let changes = GoalChanges { description: Some(None), ..GoalChanges::default() };
        t.goals().update(&w.a.goal, &changes).map(drop)
    }),
    ("goals.complete", |t, w| t.goals().complete(&w.a.goal).map(drop)),
    ("goals.delete", |t, w| t.goals().delete(&w.a.goal)),
    ("goal_kpis.update", |t, w| {
        let changes = GoalKpiChanges { baseline: Some(None), ..GoalKpiChanges::default() };
        t.goal_kpis().update(&w.a.goal, &w.a.kpi, &changes).map(drop)
    }),
    ("goal_kpis.reweigh", |t, w| {
        t.goal_kpis().reweigh(&w.a.goal, &w.a.kpi, Weight::new(2.0)?).map(drop)
    }),
    ("goal_kpis.unlink", |t, w| t.goal_kpis().unlink(&w.a.goal, &w.a.kpi)),
];

#[test]
fn one_read_in_a_tenants_guard_costs_two_round_trips() {
    let counted = Counted::new();
    for (name, call) in READS {
        let call = |guard: &mut _| call(guard, &counted.world);
        counted.assert_two(name, || counted.tenant(), call, |guard| guard.commit().unwrap());
        counted.assert_two(name, || counted.tenant(), call, drop);
    }
}

#[test]
fn one_write_in_a_tenants_guard_costs_two_round_trips() {
    let counted = Counted::new();
    for (name, call) in WRITES {
        let call = |guard: &mut _| call(guard, &counted.world);
        counted.assert_two(name, || counted.tenant(), call, drop);
        counted.assert_two(name, || counted.tenant(), call, |guard| guard.rollback().unwrap());
    }
    let create =
        |t: &mut TenantConnection| t.kpis().create(&NewKpi::new("Churn".parse()?)).map(drop);
    counted.assert_two("committed", || counted.tenant(), create, |g| g.commit().unwrap());
}

/// What needs a row in another state than the world has.
#[test]
fn restoring_purging_and_linking_cost_two_round_trips() {
    let counted = Counted::new();
    let a = &counted.world.a;
    let mut tenant = counted.tenant();
    let kpi = tenant.kpis().create(&NewKpi::new("Churn".parse().unwrap())).unwrap().id;
    let goal = tenant.goals().create(&NewGoal::new("Hold".parse().unwrap())).unwrap().id;
    tenant.kpis().delete(&kpi).unwrap();
    tenant.goals().delete(&goal).unwrap();
    let fresh = tenant.goals().create(&NewGoal::new("Grow".parse().unwrap())).unwrap().id;
    tenant.commit().unwrap();
    let open = || counted.tenant();
    counted.assert_two("kpis.restore", open, |t| t.kpis().restore(&kpi).map(drop), drop);
    counted.assert_two("kpis.purge", open, |t| t.kpis().purge(&kpi), drop);
    counted.assert_two("goals.restore", open, |t| t.goals().restore(&goal).map(drop), drop);
    counted.assert_two("goals.purge", open, |t| t.goals().purge(&goal), drop);
    let link = |t: &mut TenantConnection| {
        t.goal_kpis().link(&NewGoalKpi::new(fresh.clone(), a.kpi.clone())).map(drop)
    };
    counted.assert_two("goal_kpis.link", open, link, drop);
    let member = || counted.db.tenant(&a.member, &a.workspace).unwrap();
    counted.assert_two("members.leave", member, |t| t.members().leave(), drop);
}

type Here<'a> = &'a dyn Fn(&mut TenantConnection) -> Result<()>;

#[test]
fn a_call_for_an_integration_costs_two_round_trips_and_sealing_one_for_the_salt() {
    let counted = Counted::new();
    let new = || NewIntegration::new(IntegrationProvider::Stripe);
    let secret = || Secret::from("some secret".to_owned());
    let mut tenant = counted.tenant();
    let id = tenant.integrations().create(&new(), &secret()).unwrap().id;
    tenant.commit().unwrap();
    let (filter, first) = (IntegrationFilter::default(), PageRequest::default());
    let calls: [(&str, Here<'_>); 9] = [
        ("find", &|t| t.integrations().find(&id).map(drop)),
        ("list", &|t| t.integrations().list(&filter, &first).map(drop)),
        ("count", &|t| t.integrations().count(&filter).map(drop)),
        ("credentials", &|t| t.integrations().credentials(&id).map(drop)),
        ("deactivate", &|t| t.integrations().deactivate(&id).map(drop)),
        ("activate", &|t| t.integrations().activate(&id).map(drop)),
        ("reseal", &|t| t.integrations().reseal(None, 9).map(drop)),
        ("shred_credentials", &|t| t.integrations().shred_credentials().map(drop)),
        ("delete", &|t| t.integrations().delete(&id)),
    ];
    for (name, call) in calls {
        counted.assert_two(name, || counted.tenant(), call, drop);
    }
    let cost = |body: &dyn Fn(&mut TenantConnection)| {
        let run = || {
            let mut tenant = counted.tenant();
            body(&mut tenant);
        };
        run();
        counted.trips(run)
    };
    assert_eq!(cost(&|t| drop(t.integrations().create(&new(), &secret()).unwrap())), 3);
    // Also the provider, which the envelope is bound to.
    assert_eq!(cost(&|t| t.integrations().replace_credentials(&id, &secret()).unwrap()), 4);
}

#[test]
fn a_batch_of_any_size_costs_two_round_trips() {
    let counted = Counted::new();
    let kpi = &counted.world.a.kpi;
    for existing in [OnExisting::Keep, OnExisting::Replace, OnExisting::Fail] {
        for size in [1, 2, 700, 3] {
            let batch: Vec<_> = (100..100 + size)
                .map(|i| NewDataPoint::new(kpi.clone(), 1.0, recent(i)).unwrap())
                .collect();
            let record = || {
                let mut tenant = counted.tenant();
                tenant.data_points().record_many(&batch, existing).unwrap();
            };
            let round_trips = counted.trips(record);
            assert_eq!(round_trips, 2, "{existing:?}, {size} points");
        }
    }
    // Points that may be packed are asked for before.
    let old = [NewDataPoint::new(kpi.clone(), 1.0, hour(900)).unwrap()];
    let record = || {
        let mut tenant = counted.tenant();
        tenant.data_points().record_many(&old, OnExisting::Fail).unwrap();
    };
    assert_eq!(counted.trips(record), 3);
}

const OF_A_USER: &[(&str, Call<UserConnection>)] = &[
    ("me.find", |u, _| u.me().find().map(drop)),
    ("me.update", |u, _| {
        let changes = ProfileChanges { name: Some(None), ..ProfileChanges::default() };
        u.me().update(&changes).map(drop)
    }),
    ("my_workspaces.find", |u, w| u.my_workspaces().find(&w.a.workspace).map(drop)),
    ("my_workspaces.find_by_slug", |u, w| {
        u.my_workspaces().find_by_slug(&w.a.slug.parse()?).map(drop)
    }),
    ("my_workspaces.list", |u, _| u.my_workspaces().list(&PageRequest::default()).map(drop)),
    ("my_workspaces.count", |u, _| u.my_workspaces().count().map(drop)),
    ("my_workspaces.create", |u, _| {
        let new = NewWorkspace::new("Third".parse()?, "third".parse()?);
        u.my_workspaces().create(&new).map(drop)
    }),
    ("my_subscription.find", |u, _| u.my_subscription().find().map(drop)),
];

#[test]
fn one_call_in_a_users_guard_costs_two_round_trips() {
    let counted = Counted::new();
    for (name, call) in OF_A_USER {
        let open = || counted.db.user(&counted.world.a.owner).unwrap();
        counted.assert_two(name, open, |guard| call(guard, &counted.world), drop);
    }
}

fn event(w: &World) -> Result<BillingEvent> {
    Ok(BillingEvent {
        user_id: w.a.owner.clone(),
        status: SubscriptionStatus::Active,
        plan_type: Plan::Pro,
        current_period_end: None,
        cancel_at_period_end: false,
        occurred_at: Timestamp::new(hour(1))?,
        sequence: None,
    })
}

fn eve() -> Result<NewUser> {
    Ok(NewUser::new("eve@example.com".parse()?, AuthProvider::Google, "google-eve".parse()?))
}

const OF_A_SERVICE: &[(&str, Call<ServiceConnection>)] = &[
    ("users.find", |s, w| s.users().find(&w.stranger).map(drop)),
    ("users.find_by_email", |s, _| s.users().find_by_email(&"eve@example.com".parse()?).map(drop)),
    ("users.list", |s, _| {
        s.users().list(&UserFilter::default(), &PageRequest::default()).map(drop)
    }),
    ("users.count", |s, _| s.users().count(&UserFilter::default()).map(drop)),
    ("users.create", |s, _| s.users().create(&eve()?).map(drop)),
    ("users.sign_in", |s, _| s.users().sign_in(&eve()?).map(drop)),
    ("users.update", |s, w| {
        let changes = UserChanges { name: Some(None), ..UserChanges::default() };
        s.users().update(&w.stranger, &changes).map(drop)
    }),
    ("users.delete", |s, w| s.users().delete(&w.stranger, &[])),
    ("memberships.add", |s, w| {
        s.memberships().add(&w.a.workspace, &w.stranger, Role::Member).map(drop)
    }),
    ("memberships.sole_ownerships", |s, w| {
        s.memberships().sole_ownerships(&w.a.owner, &PageRequest::default()).map(drop)
    }),
    ("memberships.leave", |s, w| s.memberships().leave(&w.a.member, &[], 500).map(drop)),
    ("subscriptions.find_by_user", |s, w| s.subscriptions().find_by_user(&w.stranger).map(drop)),
    ("subscriptions.list", |s, _| {
        s.subscriptions().list(&SubscriptionFilter::default(), &PageRequest::default()).map(drop)
    }),
    ("subscriptions.count", |s, _| {
        s.subscriptions().count(&SubscriptionFilter::default()).map(drop)
    }),
    ("subscriptions.apply", |s, w| s.subscriptions().apply(&event(w)?).map(drop)),
    ("integration_queue.claim", |s, _| {
        s.integration_queue().claim(9, Duration::from_mins(1)).map(drop)
    }),
    ("integration_queue.key_usage", |s, _| s.integration_queue().key_usage().map(drop)),
    ("integration_queue.workspaces_to_reseal", |s, _| {
        s.integration_queue().workspaces_to_reseal(&"k1".parse().unwrap(), None, 9).map(drop)
    }),
    ("audit_log.verify", |s, _| s.audit_log().verify(None).map(drop)),
    ("deleted_workspace_audit_log.export", |s, w| {
        s.deleted_workspace_audit_log(&w.a.workspace).export(0, 9).map_or_else(absent, |_| Ok(()))
    }),
    ("refusals.record", |s, w| {
        let refusal = Refusal::of(&Error::Denied, &w.a.member, Some(&w.a.workspace), "member.add");
        s.refusals().record(&refusal.unwrap())
    }),
    ("diagnosis.row", |s, w| {
        let kpi = w.a.kpi.as_str();
        s.diagnosis().row(&w.a.owner, &w.a.workspace, "kpis", kpi, Wanted::Read).map(drop)
    }),
    ("diagnosis.context", |s, _| s.diagnosis().context("x", 1, hour(0)).map(drop)),
];

/// A workspace that is there has no log of a deleted one.
fn absent(error: Error) -> Result<(), Error> {
    if error.is_not_found() { Ok(()) } else { Err(error) }
}

#[test]
fn one_call_in_a_services_guard_costs_two_round_trips() {
    let counted = Counted::new();
    for (name, call) in OF_A_SERVICE {
        let open = || counted.db.service(&service()).unwrap();
        counted.assert_two(name, open, |guard| call(guard, &counted.world), drop);
    }
}

#[test]
fn what_costs_more_costs_what_it_says() {
    let counted = Counted::new();
    let a = &counted.world.a;
    let find = |tenant: &mut TenantConnection| {
        assert!(tenant.kpis().find(&a.kpi).unwrap().is_some());
    };
    let cost = |body: &dyn Fn(&mut TenantConnection)| {
        counted.trips(|| {
            let mut tenant = counted.tenant();
            body(&mut tenant);
            tenant.commit().unwrap();
        })
    };
    assert_eq!(cost(&|_| {}), 0, "nothing is sent before the first statement");
    assert_eq!(cost(&find), 2, "to prepare a statement costs nothing");
    assert_eq!(cost(&find), 2);
    let nested = |tenant: &mut TenantConnection| {
        tenant.transaction(|tenant| tenant.kpis().find(&a.kpi)).unwrap();
    };
    assert_eq!(cost(&nested), 4, "a savepoint and its release");
    let failing = |tenant: &mut TenantConnection| {
        let failed: Result<(), Error> = tenant.transaction(|_| Err(Error::LastOwner));
        assert!(failed.is_err());
    };
    assert_eq!(cost(&failing), 3, "a savepoint and its rollback");
    // Lending costs the prepared statements, and no message of its own.
    let lent = |tenant: &mut TenantConnection| {
        tenant.connection().batch_execute("SELECT 1").unwrap();
    };
    assert_eq!(cost(&lent), 2);
    assert_eq!(cost(&find), 2);
}
