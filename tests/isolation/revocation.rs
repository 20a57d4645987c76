//! Access that is taken away ends with the next statement, also in a transaction that is open.
#![allow(clippy::unwrap_used, reason = "a test's set-up fails loudly")]
#![allow(unreachable_pub, reason = "a test binary exports nothing")]

mod races;

use crate::support::{Tenant, World, hour, service};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use sesari_db::id::UserId;
use sesari_db::page::PageRequest;
use sesari_db::repo::{
    AuditFilter, GoalFilter, KpiChanges, KpiFilter, MemberFilter, NewDataPoint, NewGoal,
    NewInvitation, NewKpi,
};
use sesari_db::tenancy::MemberRole;
use sesari_db::value::Role;
use sesari_db::{Error, TenantConnection};

/// Rows that raw SQL sees, over all tables of the workspace.
fn rows_seen(tenant: &mut TenantConnection) -> i64 {
    let sql = "((SELECT count(*) FROM public.kpis) + (SELECT count(*) FROM public.goals) \
        + (SELECT count(*) FROM public.goal_kpis) + (SELECT count(*) FROM public.workspaces) \
        + (SELECT count(*) FROM public.kpi_data_points) + (SELECT count(*) FROM sesari.member_profiles( \
            ARRAY(SELECT user_id FROM public.workspace_users))) \
        + (SELECT count(*) FROM public.workspace_users) + (SELECT count(*) FROM public.audit_log) \
        + (SELECT count(id) FROM public.integrations))";
    let conn = tenant.connection();
    diesel::select(diesel::dsl::sql::<BigInt>(sql)).get_result(conn).unwrap()
}

fn has_access(tenant: &mut TenantConnection, a: &Tenant) {
    assert!(tenant.role().unwrap().is_some());
    assert!(tenant.kpis().find(&a.kpi).unwrap().is_some());
    assert!(tenant.workspace().find().unwrap().is_some());
    assert!(rows_seen(tenant) >= 13);
}

/// Fails in a savepoint, so that the next attempt is not refused for this one's sake.
fn refusal<T>(
    tenant: &mut TenantConnection,
    write: impl FnOnce(&mut TenantConnection) -> Result<T, Error>,
) -> Error {
    match tenant.transaction(write) {
        Ok(_) => panic!("was not refused"),
        Err(error) => error,
    }
}

/// Reads nothing through any repository or by raw SQL, and writes nothing.
fn has_no_access(tenant: &mut TenantConnection, a: &Tenant) {
    let page = PageRequest::default();
    assert_eq!(tenant.role().unwrap(), None);
    assert!(tenant.workspace().find().unwrap().is_none());
    assert!(tenant.kpis().find(&a.kpi).unwrap().is_none());
    assert_eq!(tenant.kpis().list(&KpiFilter::default(), &page).unwrap().items, []);
    assert_eq!(tenant.kpis().count(&KpiFilter::default()).unwrap(), 0);
    assert_eq!(tenant.goals().list(&GoalFilter::default(), &page).unwrap().items, []);
    assert_eq!(tenant.goal_kpis().list(&a.goal).unwrap(), []);
    assert_eq!(tenant.data_points().latest(&a.kpi).unwrap(), None);
    assert_eq!(tenant.members().list(&MemberFilter::default(), &page).unwrap().items, []);
    assert_eq!(tenant.audit_log().list(&AuditFilter::default(), &page).unwrap().items, []);
    assert!(tenant.goals().progress(&a.goal).unwrap_err().is_not_found());
    assert_eq!(rows_seen(tenant), 0);

    let new = || NewKpi::new("Churn".parse().unwrap());
    assert!(refusal(tenant, |t| t.kpis().create(&new())).is_denied());
    assert!(refusal(tenant, |t| t.goals().create(&NewGoal::new("Hold".parse()?))).is_denied());
    let point = NewDataPoint::new(a.kpi.clone(), 1.0, hour(99)).unwrap();
    assert!(refusal(tenant, |t| t.data_points().record(&point)).is_denied());
    let invite = || NewInvitation::new("new@example.com".parse().unwrap(), Role::Member);
    assert!(refusal(tenant, |t| t.invitations().create(&invite())).is_denied());
    let hide = KpiChanges { is_active: Some(false), ..KpiChanges::default() };
    assert!(refusal(tenant, |t| t.kpis().update(&a.kpi, &hide)).is_not_found());
    assert!(refusal(tenant, |t| t.kpis().delete(&a.kpi)).is_not_found());
    assert!(refusal(tenant, |t| t.workspace().rename("Mine".parse()?)).is_not_found());
    assert!(refusal(tenant, |t| t.members().leave()).is_not_found());
    let raw = refusal(tenant, |t| {
        t.connection().batch_execute("INSERT INTO public.goals (title) VALUES ('Hold')")?;
        Ok(())
    });
    // Without a workspace there is not even a default for the column.
    assert!(raw.is_denied() || matches!(raw, Error::Invalid(_)), "{raw:?}");
}

/// A guard of the user is open and works; access is taken away in parallel; the guard is at its
/// end, and so is every later one.
fn loses_access(world: &World, user: &UserId, revoke: impl FnOnce()) {
    let a = &world.a;
    let mut open = world.db.tenant(user, &a.workspace).unwrap();
    has_access(&mut open, a);
    revoke();
    has_no_access(&mut open, a);
    drop(open);
    has_no_access(&mut world.db.tenant(user, &a.workspace).unwrap(), a);
}

#[test]
fn a_removed_member_reads_and_writes_nothing_from_the_next_statement_on() {
    let world = World::new();
    let a = &world.a;
    loses_access(&world, &a.member, || {
        let mut tenant = world.db.tenant(&a.owner, &a.workspace).unwrap();
        tenant.members().remove(&a.member).unwrap();
        tenant.commit().unwrap();
    });
    // The others are not touched.
    has_access(&mut world.db.tenant(&a.admin, &a.workspace).unwrap(), a);
}

#[test]
fn a_removal_that_is_rolled_back_takes_nothing_away() {
    let world = World::new();
    let a = &world.a;
    let mut open = world.db.tenant(&a.member, &a.workspace).unwrap();
    let mut tenant = world.db.tenant(&a.owner, &a.workspace).unwrap();
    tenant.members().remove(&a.member).unwrap();
    has_access(&mut open, a);
    drop(tenant);
    has_access(&mut open, a);
}

#[test]
fn a_member_who_leaves_reads_nothing_in_the_same_transaction() {
    let world = World::new();
    let a = &world.a;
    let mut tenant = world.db.tenant(&a.member, &a.workspace).unwrap();
    has_access(&mut tenant, a);
    tenant.members().leave().unwrap();
    has_no_access(&mut tenant, a);
}

#[test]
fn a_deleted_user_reads_and_writes_nothing_from_the_next_statement_on() {
    let world = World::new();
    loses_access(&world, &world.a.member, || {
        let mut service = world.db.service(&service()).unwrap();
        service.users().delete(&world.a.member, &[]).unwrap();
        service.commit().unwrap();
    });
}

#[test]
fn a_deleted_user_has_no_own_row_and_no_workspaces_from_the_next_statement_on() {
    let world = World::new();
    let member = &world.a.member;
    let mut open = world.db.user(member).unwrap();
    assert!(open.me().find().unwrap().is_some());
    assert_eq!(open.my_workspaces().count().unwrap(), 1);
    let mut service = world.db.service(&service()).unwrap();
    service.users().delete(member, &[]).unwrap();
    service.commit().unwrap();
    assert!(open.me().find().unwrap().is_none());
    assert_eq!(open.my_workspaces().list(&PageRequest::default()).unwrap().items, []);
}

#[test]
fn nobody_reads_or_writes_in_a_deleted_workspace_from_the_next_statement_on() {
    let world = World::new();
    let a = &world.a;
    let mut admin = world.db.tenant(&a.admin, &a.workspace).unwrap();
    has_access(&mut admin, a);
    loses_access(&world, &a.member, || {
        let mut tenant = world.db.tenant(&a.owner, &a.workspace).unwrap();
        tenant.workspace().delete().unwrap();
        tenant.commit().unwrap();
    });
    has_no_access(&mut admin, a);
    has_no_access(&mut world.db.tenant(&a.owner, &a.workspace).unwrap(), a);
}

#[test]
fn a_demoted_admin_can_no_longer_purge_or_administer() {
    let world = World::new();
    let a = &world.a;
    let mut tenant = world.db.tenant(&a.owner, &a.workspace).unwrap();
    tenant.kpis().delete(&a.kpi).unwrap();
    tenant.commit().unwrap();

    let mut open = world.db.tenant(&a.admin, &a.workspace).unwrap();
    assert_eq!(open.role().unwrap(), Some(MemberRole::Member(Role::Admin)));
    assert!(open.audit_log().count(&AuditFilter::default()).unwrap() > 0);
    let purged: Result<(), Error> = open.transaction(|tenant| {
        tenant.kpis().purge(&a.kpi)?;
        Err(Error::LastOwner)
    });
    assert!(matches!(purged, Err(Error::LastOwner)), "an admin may purge: {purged:?}");

    let mut tenant = world.db.tenant(&a.owner, &a.workspace).unwrap();
    tenant.members().change_role(&a.admin, Role::Member).unwrap();
    tenant.commit().unwrap();

    assert_eq!(open.role().unwrap(), Some(MemberRole::Member(Role::Member)));
    assert!(refusal(&mut open, |t| t.kpis().purge(&a.kpi)).is_not_found());
    assert!(refusal(&mut open, |t| t.workspace().rename("Mine".parse()?)).is_not_found());
    assert!(refusal(&mut open, |t| t.members().remove(&a.member)).is_not_found());
    let new = NewInvitation::new("new@example.com".parse().unwrap(), Role::Member);
    assert!(refusal(&mut open, |t| t.invitations().create(&new)).is_denied());
    assert_eq!(open.audit_log().count(&AuditFilter::default()).unwrap(), 0);
    // What a member may do is left.
    open.kpis().restore(&a.kpi).unwrap();
    open.commit().unwrap();
}

#[test]
fn a_promoted_member_can_administer_from_the_next_statement_on() {
    let world = World::new();
    let a = &world.a;
    let mut open = world.db.tenant(&a.member, &a.workspace).unwrap();
    assert_eq!(open.audit_log().count(&AuditFilter::default()).unwrap(), 0);
    let mut tenant = world.db.tenant(&a.owner, &a.workspace).unwrap();
    tenant.members().change_role(&a.member, Role::Admin).unwrap();
    tenant.commit().unwrap();
    assert!(open.audit_log().count(&AuditFilter::default()).unwrap() > 0);
}

#[test]
fn these_tests_see_access_that_outlives_a_membership() {
    let world = World::new();
    let a = &world.a;
    let mut open = world.db.tenant(&a.member, &a.workspace).unwrap();
    // A policy that trusts the context's text, as one that is cached or not verified would.
    let mut admin = world.test.admin().unwrap();
    admin
        .batch_execute(
            "DROP POLICY kpis_tenant_select ON public.kpis; \
             CREATE POLICY kpis_tenant_select ON public.kpis FOR SELECT TO sesari_tenant USING \
             (workspace_id = split_part(current_setting('sesari.context'), '.', 5))",
        )
        .unwrap();
    let mut tenant = world.db.tenant(&a.owner, &a.workspace).unwrap();
    tenant.members().remove(&a.member).unwrap();
    tenant.commit().unwrap();
    assert!(open.kpis().find(&a.kpi).unwrap().is_some());
    assert_eq!(rows_seen(&mut open), 1);
}
