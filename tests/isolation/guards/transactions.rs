//! Kept or undone as a whole.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use diesel::connection::SimpleConnection;
use diesel::sql_types::Text;
use sesari_db::credentials::Secret;
use sesari_db::idempotency::IdempotencyKey;
use sesari_db::repo::{
    BillingEvent, GoalChanges, NewDataPoint, NewGoal, NewIntegration, NewInvitation, NewUser,
    NewWorkspace, OnExisting, PointKey, ProfileChanges, UserChanges,
};
use sesari_db::tenancy::MemberRole;
use sesari_db::value::{
    AuthProvider, Finite, IntegrationProvider, Plan, Role, SubscriptionStatus, Timestamp, Weight,
};
use sesari_db::{Error, ServiceConnection, TenantConnection, UserConnection};

use super::*;
use crate::support::{World, hour, service};

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

/// One text for the contents of each table, seen by the administrator.
fn contents(world: &World) -> BTreeMap<String, String> {
    let mut admin = world.test.admin().unwrap();
    let tables: Vec<Line> = diesel::sql_query(
        "SELECT relname::text AS line FROM pg_class \
          WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'",
    )
    .load(&mut admin)
    .unwrap();
    let read = |table: Line| {
        let sql = format!(
            "SELECT coalesce(string_agg(t::text, '|' ORDER BY t::text), '') AS line \
               FROM public.{} AS t",
            table.line
        );
        let rows: Line = diesel::sql_query(sql).get_result(&mut admin).unwrap();
        (table.line, rows.line)
    };
    tables.into_iter().map(read).collect()
}

fn write_as_tenant(world: &World, tenant: &mut TenantConnection) {
    let a = &world.a;
    tenant.workspace().rename("Renamed".parse().unwrap()).unwrap();
    tenant.members().change_role(&a.member, Role::Admin).unwrap();
    tenant.members().remove(&a.admin).unwrap();
    let new = NewInvitation::new("new@example.com".parse().unwrap(), Role::Member);
    tenant.invitations().create(&new).unwrap();
    let key = IdempotencyKey::generate();
    let kpi = tenant.once("kpi.create", &key, |tenant| tenant.kpis().create(&churn())).unwrap();
    let target = "INSERT INTO kpi_targets (kpi_id, effective_from, value) SELECT id, '2026-01-01', 1 FROM kpis";
    diesel::sql_query(target).execute(tenant.connection()).unwrap();
    tenant.kpis().deactivate(&a.kpi).unwrap();
    tenant.kpis().delete(&a.kpi).unwrap();
    tenant.kpis().restore(&a.kpi).unwrap();
    let point = NewDataPoint::new(kpi.id.clone(), 1.0, hour(1)).unwrap();
    tenant.data_points().record(&point).unwrap();
    let another = NewDataPoint::new(kpi.id.clone(), 2.0, hour(2)).unwrap();
    tenant.data_points().record_many(&[another], OnExisting::Replace).unwrap();
    let key = |at| PointKey {
        kpi_id: kpi.id.clone(),
        timestamp: Timestamp::new(at).unwrap(),
        source: None,
    };
    tenant.data_points().correct(&key(hour(1)), Finite::new(3.0).unwrap()).unwrap();
    tenant.data_points().delete(&key(hour(2))).unwrap();
    tenant.goals().create(&NewGoal::new("Stay".parse().unwrap())).unwrap();
    let goal = tenant.goals().create(&NewGoal::new("Hold".parse().unwrap())).unwrap();
    let changes = GoalChanges { title: Some("Keep".parse().unwrap()), ..GoalChanges::default() };
    tenant.goals().update(&goal.id, &changes).unwrap();
    tenant.goals().complete(&goal.id).unwrap();
    tenant.goals().delete(&goal.id).unwrap();
    tenant.goals().purge(&goal.id).unwrap();
    tenant.goal_kpis().reweigh(&a.goal, &a.kpi, Weight::new(2.0).unwrap()).unwrap();
    tenant.goal_kpis().unlink(&a.goal, &a.kpi).unwrap();
    tenant.kpis().delete(&a.kpi).unwrap();
    tenant.kpis().purge(&a.kpi).unwrap();
    let integration = NewIntegration::new(IntegrationProvider::Stripe);
    tenant.integrations().create(&integration, &Secret::from("one".to_owned())).unwrap();
    let renewed = Secret::from("two".to_owned());
    tenant.integrations().replace_credentials(&integration.id, &renewed).unwrap();
    tenant.integrations().credentials(&integration.id).unwrap();
    tenant.integrations().deactivate(&integration.id).unwrap();
    tenant.integrations().shred_credentials().unwrap();
}

fn write_as_user(user: &mut UserConnection) {
    let changes = ProfileChanges { name: Some(None), ..ProfileChanges::default() };
    user.me().update(&changes).unwrap();
    let new = NewWorkspace::new("Third".parse().unwrap(), "third".parse().unwrap());
    user.my_workspaces().create(&new).unwrap();
}

fn write_as_service(world: &World, service: &mut ServiceConnection) {
    let new = NewUser::new(
        "eve@example.com".parse().unwrap(),
        AuthProvider::Google,
        "google-eve".parse().unwrap(),
    );
    let eve = service.users().create(&new).unwrap();
    service.users().sign_in(&new).unwrap();
    let changes = UserChanges { name: Some(None), ..UserChanges::default() };
    service.users().update(&world.stranger, &changes).unwrap();
    let event = BillingEvent {
        user_id: world.stranger.clone(),
        status: SubscriptionStatus::Active,
        plan_type: Plan::Pro,
        current_period_end: None,
        cancel_at_period_end: false,
        occurred_at: Timestamp::new(hour(1)).unwrap(),
        sequence: None,
    };
    service.subscriptions().apply(&event).unwrap().newest().unwrap();
    let event = BillingEvent { user_id: eve.id.clone(), ..event };
    let _ = service.subscriptions().apply(&event).unwrap();
    service.subscriptions().delete(&eve.id).unwrap();
    service.users().delete(&eve.id, &[]).unwrap();
}

#[derive(Debug, Clone, Copy)]
enum Ending {
    Commit,
    Rollback,
    Drop,
    Panic,
}

/// Everything that can be written, through all three scopes, each guard ended so.
fn write_everything(world: &World, ending: Ending) {
    macro_rules! end {
        ($guard:ident) => {
            match ending {
                Ending::Commit => $guard.commit().unwrap(),
                Ending::Rollback => $guard.rollback().unwrap(),
                Ending::Drop => drop($guard),
                Ending::Panic => {
                    let panicked = catch_unwind(AssertUnwindSafe(move || {
                        let _guard = $guard;
                        resume_unwind(Box::new("on purpose"));
                    }));
                    assert!(panicked.is_err());
                }
            }
        };
    }
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    write_as_tenant(world, &mut tenant);
    end!(tenant);
    let mut user = world.db.user(&world.stranger).unwrap();
    write_as_user(&mut user);
    end!(user);
    let mut service = world.db.service(&service()).unwrap();
    write_as_service(world, &mut service);
    end!(service);
}

#[test]
fn a_commit_keeps_every_write() {
    let world = World::new();
    let before = contents(&world);
    write_everything(&world, Ending::Commit);
    let after = contents(&world);
    let unchanged: Vec<_> =
        before.iter().filter(|(table, rows)| after[*table] == **rows).map(|(t, _)| t).collect();
    // A new table has to be written to above, unless upkeep alone writes it.
    assert_eq!(unchanged, ["kpi_packed_points"]);
}

#[test]
fn nothing_is_left_of_any_write_after_a_rollback_a_drop_or_a_panic() {
    let world = World::new();
    let before = contents(&world);
    for ending in [Ending::Rollback, Ending::Drop, Ending::Panic] {
        write_everything(&world, ending);
        assert_eq!(contents(&world), before, "{ending:?}");
    }
}

#[test]
fn a_nested_transaction_that_succeeds_is_kept_with_its_guard() {
    let world = World::new();
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    let nested: Result<_, Error> = tenant.transaction(|tenant| {
        tenant.kpis().create(&churn())?;
        tenant.transaction(|tenant| tenant.kpis().create(&churn()))
    });
    nested.unwrap();
    tenant.commit().unwrap();
    assert_eq!(kpis(&world.db, &world.a), 3);

    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    tenant.transaction(|tenant| tenant.kpis().create(&churn())).unwrap();
    drop(tenant);
    assert_eq!(kpis(&world.db, &world.a), 3);
}

#[test]
fn a_nested_transaction_that_fails_is_undone_and_the_guard_goes_on() {
    let world = World::new();
    let a = &world.a;
    let mut tenant = world.db.tenant(&a.owner, &a.workspace).unwrap();
    tenant.kpis().create(&churn()).unwrap();
    let refused = tenant.transaction(|tenant| {
        tenant.kpis().create(&churn())?;
        tenant.kpis().create(&NewKpi { id: a.kpi.clone(), ..churn() })
    });
    assert!(refused.unwrap_err().is_conflict());
    tenant.kpis().create(&churn()).unwrap();
    let own: Result<(), Error> = tenant.transaction(|tenant| {
        tenant.kpis().create(&churn())?;
        Err(Error::LastOwner)
    });
    assert!(matches!(own, Err(Error::LastOwner)));
    tenant.commit().unwrap();
    assert_eq!(kpis(&world.db, a), 3);
}

#[test]
fn a_nested_transaction_that_swallows_an_error_is_undone_and_says_so() {
    let world = World::new();
    let a = &world.a;
    let mut tenant = world.db.tenant(&a.owner, &a.workspace).unwrap();
    let swallowed: Result<(), Error> = tenant.transaction(|tenant| {
        tenant.kpis().create(&churn())?;
        let _ = tenant.kpis().create(&NewKpi { id: a.kpi.clone(), ..churn() });
        Ok(())
    });
    assert!(matches!(swallowed, Err(Error::TransactionAborted)), "{swallowed:?}");
    tenant.kpis().create(&churn()).unwrap();
    tenant.commit().unwrap();
    assert_eq!(kpis(&world.db, a), 2);
}

#[test]
fn a_panic_inside_a_nested_transaction_is_not_committed_with_the_rest() {
    let world = World::new();
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _: Result<(), Error> = tenant.transaction(|tenant| {
            tenant.kpis().create(&churn())?;
            resume_unwind(Box::new("on purpose"));
        });
    }));
    assert!(panicked.is_err());
    // Whether the guard can still be committed is for it to decide; half of the body is not kept.
    let _ = tenant.commit();
    assert_eq!(kpis(&world.db, &world.a), 1);
}

#[test]
fn a_swallowed_error_makes_the_commit_fail_and_nothing_is_stored() {
    let world = World::new();
    let a = &world.a;
    let mut tenant = world.db.tenant(&a.owner, &a.workspace).unwrap();
    tenant.kpis().create(&churn()).unwrap();
    let _ = tenant.kpis().create(&NewKpi { id: a.kpi.clone(), ..churn() });
    let next = tenant.kpis().create(&churn()).unwrap_err();
    assert!(matches!(next, Error::TransactionAborted), "{next:?}");
    let committed = tenant.commit();
    assert!(matches!(committed, Err(Error::TransactionAborted)), "{committed:?}");
    assert_eq!(kpis(&world.db, a), 1);
}

#[test]
fn a_commit_after_the_caller_ended_the_transaction_says_that_there_is_none() {
    let world = World::new();
    for by_hand in ["ROLLBACK", "COMMIT"] {
        let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
        tenant.connection().batch_execute(by_hand).unwrap();
        // Without a context there is no workspace any more.
        assert_eq!(tenant.role().unwrap(), None);
        let committed = tenant.commit();
        assert!(matches!(committed, Err(Error::TransactionAborted)), "{by_hand}: {committed:?}");
    }
}

#[test]
fn a_read_only_guard_reads_and_refuses_writes_at_every_door() {
    let world = World::new();
    let before = contents(&world);
    let mut tenant = world
        .db
        .begin(&sesari_db::Scope::tenant(&world.a.owner, &world.a.workspace).read_only())
        .unwrap();
    assert!(tenant.kpis().find(&world.a.kpi).unwrap().is_some());
    let refused = tenant.kpis().create(&churn()).unwrap_err();
    assert!(matches!(refused, Error::ReadOnly), "{refused:?}");

    let mut user = world.db.begin(&sesari_db::Scope::user(&world.stranger).read_only()).unwrap();
    assert!(user.me().find().unwrap().is_some());
    let new = NewWorkspace::new("Third".parse().unwrap(), "third".parse().unwrap());
    let refused = user.my_workspaces().create(&new).unwrap_err();
    assert!(matches!(refused, Error::ReadOnly), "{refused:?}");

    let mut service = world.db.begin(&sesari_db::Scope::service(&service()).read_only()).unwrap();
    assert!(service.users().find(&world.stranger).unwrap().is_some());
    let refused = service.users().delete(&world.stranger, &[]).unwrap_err();
    assert!(matches!(refused, Error::ReadOnly), "{refused:?}");

    drop((tenant, user, service));
    assert_eq!(contents(&world), before);
}

#[test]
fn the_guard_knows_the_actors_role() {
    let world = World::new();
    let a = &world.a;
    let role_of = |user| world.db.tenant(user, &a.workspace).unwrap().role().unwrap();
    assert_eq!(role_of(&a.owner), Some(MemberRole::Member(Role::Owner)));
    assert_eq!(role_of(&a.admin), Some(MemberRole::Member(Role::Admin)));
    assert_eq!(role_of(&a.member), Some(MemberRole::Member(Role::Member)));
    assert_eq!(role_of(&world.b.owner), None);
    assert_eq!(role_of(&world.stranger), None);
    let mut tenant = world.db.tenant(service(), &a.workspace).unwrap();
    assert_eq!(tenant.role().unwrap(), Some(MemberRole::Service));
    let nowhere = sesari_db::id::WorkspaceId::generate();
    assert_eq!(world.db.tenant(&a.owner, &nowhere).unwrap().role().unwrap(), None);
}
