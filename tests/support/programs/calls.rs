//! Every method of every repository, by its name.

use std::time::Duration;

use sesari_db::id::{InvitationId, LeaseId};
use sesari_db::import::{CsvOptions, ImportOptions};
use sesari_db::invitation::InvitationToken;
use sesari_db::page::{GoalKey, KpiKey, MemberKey, Order};
use sesari_db::repo::{
    AuditFilter, BillingEvent, GoalChanges, GoalFilter, GoalKpiChanges, IntegrationFilter,
    InvitationFilter, InvitationState, KpiChanges, KpiFilter, MemberFilter, NewAuditEntry,
    NewDataPoint, NewGoal, NewGoalKpi, NewIntegration, NewInvitation, NewKpi, NewKpiTarget,
    NewUser, NewWorkspace, OnExisting, PaceQuery, ProfileChanges, Refusal, SeriesQuery,
    SubscriptionFilter, Succession, UserChanges, UserFilter, Validity, Wanted, WorkspaceChanges,
};
use sesari_db::series::{Grid, Step, Unit, Zone};
use sesari_db::tenancy::{ServiceConnection, TenantConnection, UserConnection};
use sesari_db::value::{
    AuthProvider, GoalStatus, IntegrationProvider, Plan, SubscriptionStatus, SyncStatus,
    TargetPeriod, Weight,
};
use sesari_db::{Error, Result};

use super::program::Asked;

pub type Call<G> = (&'static str, fn(&mut G, &Asked) -> Result<String>);

macro_rules! calls {
    ($($name:literal: |$guard:ident, $a:ident| $call:expr;)*) => {
        &[$(($name, |$guard, $a| {
            let _ = $a;
            let answer = $call?;
            Ok(format!("{answer:?}"))
        })),*]
    };
}

/// After the dot stands the method, and after a blank which form of it.
pub const OF_A_TENANT: &[Call<TenantConnection>] = calls! {
    "kpis.find": |t, a| t.kpis().find(&a.kpi());
    "kpis.get": |t, a| t.kpis().get(&a.kpi());
    "kpis.list": |t, a| t.kpis().list(
        &KpiFilter { deleted: a.deleted(), ..KpiFilter::default() }, &a.page());
    "kpis.list walk": |t, a| {
        let first = t.kpis().list(&KpiFilter::default(), &sesari_db::page::PageRequest::first(1)?)?;
        let next = first.next.clone().map(|next| a.page().after(next));
        let second = next.map(|page| t.kpis().list(&KpiFilter::default(), &page)).transpose();
        second.map(|second| (first, second))
    };
    "kpis.list filtered": |t, a| t.kpis().list(
        &KpiFilter {
            is_active: Some(a.args.number.is_multiple_of(2)),
            category: Some("growth".parse()?),
            name_contains: Some("e".into()),
            ..KpiFilter::default()
        }, &a.page());
    "kpis.list by name": |t, a| t.kpis().list(
        &KpiFilter { order: Order::descending(KpiKey::Name), ..KpiFilter::default() }, &a.page());
    "kpis.list by category": |t, a| t.kpis().list(
        &KpiFilter { order: Order::ascending(KpiKey::Category), ..KpiFilter::default() }, &a.page());
    "kpis.count": |t, a| t.kpis().count(
        &KpiFilter { deleted: a.deleted(), ..KpiFilter::default() });
    "kpis.create": |t, a| t.kpis().create(&NewKpi {
        id: a.kpi(), target_value: Some(a.number()?), ..NewKpi::new(a.text().parse()?) });
    "kpis.create_many": |t, a| t.kpis().create_many(&[
        NewKpi { id: a.kpi(), ..NewKpi::new(a.text().parse()?) },
        NewKpi { id: "kbatch".parse()?, ..NewKpi::new(a.text().parse()?) }]);
    "kpis.update_many": |t, a| t.kpis().update_many(
        &[a.kpi(), format!("ka{}", a.n).parse()?],
        &KpiChanges { is_active: Some(false), ..KpiChanges::default() });
    "kpis.update": |t, a| t.kpis().update(
        &a.kpi(), &KpiChanges { name: Some(a.text().parse()?), ..KpiChanges::default() });
    "kpis.update nothing": |t, a| t.kpis().update(&a.kpi(), &KpiChanges::default());
    "kpis.activate": |t, a| t.kpis().activate(&a.kpi());
    "kpis.deactivate": |t, a| t.kpis().deactivate(&a.kpi());
    "kpis.delete": |t, a| t.kpis().delete(&a.kpi());
    "kpis.restore": |t, a| t.kpis().restore(&a.kpi());
    "kpis.purge": |t, a| t.kpis().purge(&a.kpi());
    "data_points.record": |t, a| t.data_points().record(&NewDataPoint {
        source: a.source(),
        ..NewDataPoint::new(a.kpi(), a.number()?.get(), a.at())? });
    "data_points.record_many keep": |t, a| t.data_points().record_many(
        &batch(a)?, OnExisting::Keep);
    "data_points.record_many replace": |t, a| t.data_points().record_many(
        &batch(a)?, OnExisting::Replace);
    "data_points.record_many fail": |t, a| t.data_points().record_many(
        &batch(a)?, OnExisting::Fail);
    "data_points.import": |t, a| t.data_points().import(
        batch(a)?.into_iter().map(Ok).chain([NewDataPoint::new(a.kpi(), f64::NAN, a.at())]),
        &ImportOptions::new(OnExisting::Replace), |_, _| ());
    "data_points.import_csv": |t, a| t.data_points().import_csv(
        csv(a)?.as_bytes(), &CsvOptions::new(), &ImportOptions::new(OnExisting::Keep).batch_rows(2), |_, _| ());
    "data_points.import_csv of one": |t, a| t.data_points().import_csv(
        "timestamp,value\n2026-01-01T00:00:00Z,1".as_bytes(), &CsvOptions::of_kpi(a.kpi()),
        &ImportOptions::new(OnExisting::Fail), |_, _| ());
    "data_points.export_csv": |t, a| {
        let mut csv = Vec::new();
        let rows = t.data_points().export_csv(&a.kpi(), a.range(), &mut csv)?;
        Ok::<_, sesari_db::Error>((rows, String::from_utf8(csv).unwrap()))
    };
    "data_points.iter": |t, a| t.data_points().iter(&a.kpi(), a.range())
        .collect::<Result<Vec<_>>>();
    "data_points.range": |t, a| t.data_points().range(&a.kpi(), a.range(), &a.page());
    "data_points.count": |t, a| t.data_points().count(&a.kpi(), a.range());
    "data_points.find": |t, a| t.data_points().find(&a.key());
    "data_points.get": |t, a| t.data_points().get(&a.key());
    "data_points.latest": |t, a| t.data_points().latest(&a.kpi());
    "data_points.latest_of_many": |t, a| t.data_points().latest_of_many(
        &[a.kpi(), format!("ka{}", a.n).parse()?, "kboth".parse()?]);
    "data_points.correct": |t, a| t.data_points().correct(&a.key(), a.number()?);
    "data_points.delete": |t, a| t.data_points().delete(&a.key());
    "data_points.delete_before": |t, a| t.data_points().delete_before(
        Some(&a.kpi()), a.timestamp(), 1 + u32::from(a.args.number));
    "data_points.delete_before all": |t, a| t.data_points().delete_before(
        None, a.timestamp(), 1 + u32::from(a.args.number));
    "goals.find": |t, a| t.goals().find(&a.goal());
    "goals.get": |t, a| t.goals().get(&a.goal());
    "goals.find_with_kpis": |t, a| t.goals().find_with_kpis(&a.goal());
    "goals.list": |t, a| t.goals().list(
        &GoalFilter { deleted: a.deleted(), ..GoalFilter::default() }, &a.page());
    "goals.list filtered": |t, a| t.goals().list(
        &GoalFilter { status: Some(GoalStatus::Active), title_contains: Some("o".into()),
            ..GoalFilter::default() }, &a.page());
    "goals.list by date": |t, a| t.goals().list(
        &GoalFilter { order: Order::descending(GoalKey::TargetDate), ..GoalFilter::default() },
        &a.page());
    "goals.count": |t, a| t.goals().count(
        &GoalFilter { deleted: a.deleted(), ..GoalFilter::default() });
    "goals.create": |t, a| t.goals().create(
        &NewGoal { id: a.goal(), ..NewGoal::new(a.text().parse()?) });
    "goals.update": |t, a| t.goals().update(&a.goal(), &GoalChanges {
        title: Some(a.text().parse()?), target_date: Some(Some(a.timestamp())),
        ..GoalChanges::default() });
    "goals.complete": |t, a| t.goals().complete(&a.goal());
    "goals.pause": |t, a| t.goals().pause(&a.goal());
    "goals.resume": |t, a| t.goals().resume(&a.goal());
    "goals.delete": |t, a| t.goals().delete(&a.goal());
    "goals.restore": |t, a| t.goals().restore(&a.goal());
    "goals.purge": |t, a| t.goals().purge(&a.goal());
    "goals.progress": |t, a| t.goals().progress(&a.goal());
    "goals.progress_of_many": |t, a| t.goals().progress_of_many(&[a.goal(), "gboth".parse()?])
        .map(|progress| progress.into_iter().map(|(id, p)| (id.to_string(), p))
            .collect::<std::collections::BTreeMap<_, _>>());
    "goal_kpis.link": |t, a| t.goal_kpis().link(
        &NewGoalKpi { id: a.link(), ..NewGoalKpi::new(a.goal(), a.kpi()) });
    "goal_kpis.find": |t, a| t.goal_kpis().find(&a.goal(), &a.kpi());
    "goal_kpis.get": |t, a| t.goal_kpis().get(&a.goal(), &a.kpi());
    "goal_kpis.list": |t, a| t.goal_kpis().list(&a.goal());
    "goal_kpis.count": |t, a| t.goal_kpis().count(&a.goal());
    "goal_kpis.update": |t, a| t.goal_kpis().update(&a.goal(), &a.kpi(),
        &GoalKpiChanges { baseline: Some(Some(a.number()?)), weight: None });
    "goal_kpis.reweigh": |t, a| t.goal_kpis().reweigh(
        &a.goal(), &a.kpi(), Weight::new(a.number()?.get())?);
    "goal_kpis.unlink": |t, a| t.goal_kpis().unlink(&a.goal(), &a.kpi());
    "integrations.find": |t, a| t.integrations().find(&a.integration());
    "integrations.get": |t, a| t.integrations().get(&a.integration());
    "integrations.list": |t, a| t.integrations().list(&IntegrationFilter::default(), &a.page());
    "integrations.list filtered": |t, a| t.integrations().list(
        &IntegrationFilter { sync_status: Some(SyncStatus::Pending), ..IntegrationFilter::default() },
        &a.page());
    "integrations.count": |t, a| t.integrations().count(&IntegrationFilter::default());
    "integrations.create": |t, a| t.integrations().create(
        &NewIntegration { id: a.integration(), ..NewIntegration::new(provider(a)) }, &a.secret());
    "integrations.credentials": |t, a| t.integrations().credentials(&a.integration())
        .map(|secret| String::from_utf8_lossy(secret.expose()).into_owned());
    "integrations.replace_credentials": |t, a| t.integrations().replace_credentials(
        &a.integration(), &a.secret());
    "integrations.activate": |t, a| t.integrations().activate(&a.integration());
    "integrations.deactivate": |t, a| t.integrations().deactivate(&a.integration());
    "integrations.record_success": |t, a| t.integrations().record_success(
        &a.integration(), &lease(), a.timestamp());
    "integrations.record_failure": |t, a| t.integrations().record_failure(
        &a.integration(), &lease(), "failed with secret 1", &a.secret(), a.timestamp());
    "integrations.extend_lease": |t, a| t.integrations().extend_lease(
        &a.integration(), &lease(), Duration::from_hours(1)).map(|_| ());
    "integrations.schedule_sync": |t, a| t.integrations().schedule_sync(
        &a.integration(), a.timestamp());
    "integrations.sync_schedule": |t, a| t.integrations().sync_schedule(&a.integration());
    "integrations.delete": |t, a| t.integrations().delete(&a.integration());
    "integrations.reseal": |t, a| t.integrations().reseal(None, 1 + u16::from(a.args.number));
    "integrations.shred_credentials": |t, a| t.integrations().shred_credentials();
    "members.find": |t, a| t.members().find(&a.user());
    "members.get": |t, a| t.members().get(&a.user());
    "members.list": |t, a| t.members().list(&MemberFilter::default(), &a.page());
    "members.list filtered": |t, a| t.members().list(
        &MemberFilter { role: Some(a.role()), ..MemberFilter::default() }, &a.page());
    "members.list by name": |t, a| t.members().list(
        &MemberFilter { order: Order::descending(MemberKey::Name), ..MemberFilter::default() },
        &a.page());
    "members.list searched": |t, a| t.members().list(
        &MemberFilter { name_contains: Some("E".into()), ..MemberFilter::default() }, &a.page());
    "members.count": |t, a| t.members().count(&MemberFilter::default());
    "members.count searched": |t, a| t.members().count(
        &MemberFilter { name_contains: Some("a".into()), ..MemberFilter::default() });
    "invitations.find": |t, a| t.invitations().find(&invitation(a)?);
    "invitations.get": |t, a| t.invitations().get(&invitation(a)?);
    "invitations.list": |t, a| t.invitations().list(&InvitationFilter::default(), &a.page());
    "invitations.list open": |t, a| t.invitations().list(
        &InvitationFilter { state: Some(InvitationState::Open) }, &a.page());
    "invitations.count": |t, a| t.invitations().count(&InvitationFilter::default());
    // By an address that some user may have, in this world or in the other. The id is made anew.
    "invitations.create": |t, a| t.invitations().create(&NewInvitation::new(
        format!("{}@example.com", a.user_text()).parse()?, a.role()))
        .map(|sent| (sent.invitation.email, sent.invitation.role));
    "invitations.resend": |t, a| t.invitations().resend(&invitation(a)?, Validity::default())
        .map(|sent| (sent.invitation.email, sent.invitation.role));
    "invitations.revoke": |t, a| t.invitations().revoke(&invitation(a)?);
    "members.change_role": |t, a| t.members().change_role(&a.user(), a.role());
    "members.remove": |t, a| t.members().remove(&a.user());
    "members.leave": |t, a| t.members().leave();
    "workspace.find": |t, a| t.workspace().find();
    "workspace.get": |t, a| t.workspace().get();
    "workspace.update": |t, a| t.workspace().update(
        &WorkspaceChanges { name: Some(a.text().parse()?), ..Default::default() });
    "workspace.rename": |t, a| t.workspace().rename(a.text().parse()?);
    "workspace.change_slug": |t, a| t.workspace().change_slug(a.slug().parse()?);
    "workspace.change_time_zone": |t, a| t.workspace().change_time_zone(
        if a.args.number > 0 { "Europe/Berlin" } else { "Asia/Kathmandu" }.parse()?);
    "workspace.delete": |t, a| t.workspace().delete();
    "audit_log.list": |t, a| t.audit_log().list(&AuditFilter::default(), &a.page());
    "audit_log.list of a row": |t, a| t.audit_log().list(
        &AuditFilter { row_id: Some(a.kpi().to_string()), ..AuditFilter::default() }, &a.page());
    "audit_log.count": |t, a| t.audit_log().count(
        &AuditFilter { actor_id: Some(a.user().to_string()), ..AuditFilter::default() });
    "audit_log.append": |t, a| t.audit_log().append(
        &NewAuditEntry::new("note").about("kpis", a.kpi().to_string()).with("text", a.text()));
    "audit_log.settled_before": |t, a| t.audit_log().settled_before();
    "audit_log.export": |t, a| t.audit_log().export(i64::from(a.args.number), 99);
    "audit_log.checkpoint": |t, a| t.audit_log().checkpoint();
    "audit_log.verify": |t, a| t.audit_log().verify(None);
    "series.read": |t, a| t.series().read(&[a.kpi(), "kboth".parse()?], &SeriesQuery::new(grid(a)?));
    "series.read ends": |t, a| t.series().read(
        &[a.kpi()], &SeriesQuery::new(grid(a)?));
    "series.compare": |t, a| t.series().compare(
        &[a.kpi()], &SeriesQuery::new(grid(a)?).from_points_alone());
    "series.grid": |t, a| t.series().grid(a.range(), Unit::Day).map(|grid| grid.len());
    "series.whole_grid": |t, a| t.series().whole_grid(a.range(), Unit::Week).map(|grid| grid.len());
    "series.statistics": |t, a| t.series().statistics(&[a.kpi(), "kboth".parse()?], a.range(), &[0.5]);
    "series.goal_progress": |t, a| t.series().goal_progress(&a.goal(), &grid(a)?);
    "goals.progress_as_of": |t, a| t.goals().progress_as_of(&a.goal(), a.timestamp());
    "kpi_targets.set": |t, a| t.kpi_targets().set(&NewKpiTarget::new(
        a.kpi(), TargetPeriod::Month, "2026-01-01".parse().unwrap(), a.number()?))
        .map(|set| (set.kpi_id, set.value));
    "kpi_targets.list": |t, a| t.kpi_targets().list(&a.kpi(), &a.page())
        .map(|page| page.items.into_iter().map(|set| (set.kpi_id, set.value)).collect::<Vec<_>>());
    "kpi_targets.count": |t, a| t.kpi_targets().count(&a.kpi());
    "kpi_targets.pace": |t, a| t.kpi_targets().pace(
        &a.kpi(), &PaceQuery::new(TargetPeriod::Standing, a.timestamp()));
    "kpi_targets.pace_of_many": |t, a| t.kpi_targets().pace_of_many(
        &[a.kpi(), "kboth".parse()?],
        &PaceQuery::new(TargetPeriod::Month, a.timestamp()).targets_known_at(a.timestamp()));
    "role": |t, a| t.role();
};

pub const OF_A_USER: &[Call<UserConnection>] = calls! {
    "me.find": |u, a| u.me().find();
    "me.get": |u, a| u.me().get();
    "me.update": |u, a| u.me().update(
        &ProfileChanges { name: Some(Some(a.text().parse()?)), ..ProfileChanges::default() });
    "my_workspaces.find": |u, a| u.my_workspaces().find(&own(a)?);
    "my_workspaces.get": |u, a| u.my_workspaces().get(&own(a)?);
    "my_workspaces.find another's": |u, a| u.my_workspaces().find(&a.workspace());
    "my_workspaces.find_by_slug": |u, a| u.my_workspaces().find_by_slug(&a.slug().parse()?);
    "my_workspaces.list": |u, a| u.my_workspaces().list(&a.page());
    "my_workspaces.count": |u, a| u.my_workspaces().count();
    "my_workspaces.create": |u, a| u.my_workspaces().create(&NewWorkspace {
        id: new_workspace(a)?, ..NewWorkspace::new(a.text().parse()?, a.slug().parse()?) });
    "my_workspaces.create by id": |u, a| u.my_workspaces().create(&NewWorkspace {
        id: a.workspace(),
        ..NewWorkspace::new("New".parse()?, format!("by-id-{}", a.n).parse()?) });
    "invitations.look": |u, a| u.invitations().look(&token(a)?);
    "invitations.accept": |u, a| u.invitations().accept(&token(a)?);
    "invitations.decline": |u, a| u.invitations().decline(&token(a)?);
    "my_subscription.find": |u, a| u.my_subscription().find();
    "my_subscription.get": |u, a| u.my_subscription().get();
};

/// At the service scope A's stake is what A's users and their subscriptions show: the others'
/// belong to no tenant, and lists of them are an accepted channel.
pub const OF_A_SERVICE: &[Call<ServiceConnection>] = calls! {
    "users.find": |s, a| s.users().find(&a.own_user());
    "users.get": |s, a| s.users().get(&a.own_user());
    "users.find_by_email": |s, a| s.users().find_by_email(
        &format!("{}@example.com", a.own_user()).parse()?);
    "users.list": |s, a| s.users().list(&UserFilter::default(), &a.page());
    "users.list searched": |s, a| s.users().list(
        &UserFilter { name_contains: Some("E".into()), ..UserFilter::default() }, &a.page());
    "users.count": |s, a| s.users().count(&UserFilter::default());
    "users.create": |s, a| s.users().create(&new_user(a)?);
    "users.create by address": |s, a| s.users().create(&NewUser {
        id: format!("uy{}", a.n).parse()?,
        ..NewUser::new(format!("{}@example.com", a.user_text()).parse()?, AuthProvider::Google,
            format!("by-address-{}", a.n).parse()?) });
    "users.sign_in": |s, a| s.users().sign_in(&new_user(a)?);
    "users.update": |s, a| s.users().update(&a.own_user(),
        &UserChanges { name: Some(Some(a.text().parse()?)), ..UserChanges::default() });
    "users.relink": |s, a| s.users().relink(
        &a.own_user(), &AuthProvider::Google, &format!("relinked-{}", a.n).parse()?);
    "users.delete": |s, a| s.users().delete(&a.own_user(), &[]);
    "users.delete with workspace": |s, a| s.users().delete(
        &a.own_user(), &[Succession::Delete { workspace: own(a)? }]);
    "memberships.add": |s, a| s.memberships().add(&own(a)?, &a.own_user(), a.role());
    "memberships.sole_ownerships": |s, a| s.memberships().sole_ownerships(&a.own_user(), &a.page());
    "memberships.leave": |s, a| s.memberships().leave(&a.own_user(), &[], 1);
    "memberships.delete_ownerless_workspace": |s, a| s.memberships()
        .delete_ownerless_workspace(&own(a)?);
    "subscriptions.find_by_user": |s, a| s.subscriptions().find_by_user(&a.own_user());
    "subscriptions.find": |s, a| s.subscriptions().find(&format!("sa{}", a.n).parse()?);
    "subscriptions.get": |s, a| s.subscriptions().get(&format!("sa{}", a.n).parse()?);
    "subscriptions.list": |s, a| s.subscriptions().list(&SubscriptionFilter::default(), &a.page());
    "subscriptions.count": |s, a| s.subscriptions().count(
        &SubscriptionFilter { plan_type: Some(Plan::Pro), ..SubscriptionFilter::default() });
    "subscriptions.apply": |s, a| s.subscriptions().apply(&BillingEvent {
        user_id: a.own_user(), status: SubscriptionStatus::PastDue, plan_type: Plan::Starter,
        current_period_end: None, cancel_at_period_end: true, occurred_at: a.timestamp(),
        sequence: None });
    "subscriptions.delete": |s, a| s.subscriptions().delete(&a.own_user());
    "integration_queue.claim": |s, a| s.integration_queue().claim(
        9, Duration::from_mins(1 + u64::from(a.args.number)));
    "integration_queue.key_usage": |s, a| s.integration_queue().key_usage();
    "integration_queue.workspaces_to_reseal": |s, a| s.integration_queue()
        .workspaces_to_reseal(&"k1".parse().unwrap(), None, 99);
    "audit_log.list": |s, a| s.audit_log().list(&AuditFilter::default(), &a.page());
    "audit_log.list of a row": |s, a| s.audit_log().list(
        &AuditFilter { row_id: Some(format!("sa{}", a.n)), ..AuditFilter::default() }, &a.page());
    "audit_log.count": |s, a| s.audit_log().count(&AuditFilter::default());
    "audit_log.settled_before": |s, a| s.audit_log().settled_before();
    "audit_log.export": |s, a| s.audit_log().export(0, 99);
    "audit_log.checkpoint": |s, a| s.audit_log().checkpoint();
    "audit_log.verify": |s, a| s.audit_log().verify(None);
    "deleted_workspace_audit_log.export": |s, a| s.deleted_workspace_audit_log(&a.workspace())
        .export(0, 99);
    "deleted_workspace_audit_log.checkpoint": |s, a| s.deleted_workspace_audit_log(&a.workspace())
        .checkpoint();
    "deleted_workspace_audit_log.verify": |s, a| s.deleted_workspace_audit_log(&a.workspace())
        .verify(None);
    // Of their own: what it says of other rows is for operators.
    "diagnosis.row": |s, a| s.diagnosis().row(
        &a.own_user(), &own(a)?, "kpis", &format!("ka{}", a.n), Wanted::Read);
    "diagnosis.context": |s, a| s.diagnosis().context("x", 1, a.at());
    "refusals.record": |s, a| s.refusals().record(
        &Refusal::of(&Error::Denied, a.own_user(), Some(&own(a)?), "kpi.create").unwrap());
};

/// One of A's, or one that is somebody else's or nobody's.
fn invitation(a: &Asked) -> Result<InvitationId> {
    Ok(a.kpi().as_str().replacen('k', "v", 1).parse()?)
}

/// Never the right one.
fn token(a: &Asked) -> Result<InvitationToken> {
    let secret = "A".repeat(43);
    Ok(format!("{}.{}.{secret}", a.workspace(), invitation(a)?).parse()?)
}

fn grid(a: &Asked) -> Result<Grid> {
    let step =
        if a.args.number.is_multiple_of(2) { Step::hour(Zone::UTC) } else { Step::day(Zone::UTC) };
    Ok(Grid::new(a.range(), step)?)
}

fn batch(a: &Asked) -> Result<Vec<NewDataPoint>> {
    let second = NewDataPoint::new(format!("ka{}", a.n).parse()?, 5.0, a.at())?;
    let first = NewDataPoint {
        source: a.source(),
        ..NewDataPoint::new(a.kpi(), a.number()?.get(), a.at())?
    };
    Ok(vec![first, second])
}

fn csv(a: &Asked) -> Result<String> {
    let row = |point: &NewDataPoint| {
        format!("{},{},{}\n", point.kpi_id, point.timestamp.get().to_rfc3339(), point.value.get())
    };
    let rows: Vec<_> = batch(a)?.iter().map(row).collect();
    Ok(format!("kpi_id,timestamp,value\n{}kboth,never,1\n", rows.concat()))
}

fn lease() -> LeaseId {
    "lease".parse().unwrap()
}

fn provider(a: &Asked) -> IntegrationProvider {
    if a.args.number.is_multiple_of(2) {
        IntegrationProvider::Stripe
    } else {
        IntegrationProvider::Sheets
    }
}

fn own(a: &Asked) -> Result<sesari_db::id::WorkspaceId> {
    Ok(format!("wa{}", a.n).parse()?)
}

fn new_workspace(a: &Asked) -> Result<sesari_db::id::WorkspaceId> {
    Ok(format!("wn{}x{}", a.args.number, a.n).parse()?)
}

fn new_user(a: &Asked) -> Result<NewUser> {
    let id = a.own_user();
    Ok(NewUser {
        name: Some(a.text().parse()?),
        ..NewUser {
            id: format!("uz{}", a.n).parse()?,
            ..NewUser::new(
                format!("{id}@example.com").parse()?,
                AuthProvider::Google,
                format!("{}{}", if a.args.number.is_multiple_of(2) { "" } else { "new-" }, id)
                    .parse()?,
            )
        }
    })
}

/// What the caller learns of an error. The server's text too: a tenant's service sees it.
pub fn learnt(error: &Error) -> String {
    match error {
        Error::Database(error) => format!("{error:?}: {}", server_text(error.diesel_error())),
        other => format!("{other:?}"),
    }
}

pub fn server_text(error: &diesel::result::Error) -> String {
    match error {
        diesel::result::Error::DatabaseError(kind, info) => format!(
            "{kind:?}: {} / {} / {} / {} / {} / {}",
            info.message(),
            info.details().unwrap_or_default(),
            info.hint().unwrap_or_default(),
            info.table_name().unwrap_or_default(),
            info.column_name().unwrap_or_default(),
            info.constraint_name().unwrap_or_default(),
        ),
        other => format!("{other:?}"),
    }
}
