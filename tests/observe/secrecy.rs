//! A value that is looked for in everything that is told, and in what errors say.

use std::fmt::Debug;

use sesari_db::credentials::Secret;
use sesari_db::id::{KpiId, LeaseId};
use sesari_db::page::PageRequest;
use sesari_db::repo::{
    KpiChanges, KpiFilter, NewDataPoint, NewGoal, NewGoalKpi, NewIntegration, NewKpi, NewUser,
    NewWorkspace, OnExisting, PointKey, ProfileChanges, WorkspaceChanges,
};
use sesari_db::value::{AuthProvider, Finite, IntegrationProvider, Role, Timestamp};
use sesari_db::{Result, TenantConnection};

use crate::recorder::listen;
use crate::support::{World, hour, service};

/// What every text holds, and a number that no other is.
const CANARY: &str = "canaryqx";
const NUMBER: f64 = 73_190.427_19;

fn text<T: std::str::FromStr<Err: Debug>>() -> T {
    CANARY.parse().unwrap()
}

/// Everything that errors said, and all ids.
#[derive(Default)]
struct Heard {
    said: Vec<String>,
    ids: Vec<String>,
}

impl Heard {
    fn hear<T>(&mut self, answer: Result<T>) -> Option<T> {
        if let Err(error) = &answer {
            self.said.push(format!("{error} {error:?} {}", error.kind()));
        }
        answer.ok()
    }

    fn refused<T>(&mut self, answer: Result<T>) {
        assert!(self.hear(answer).is_none());
    }
}

fn a_user() -> NewUser {
    NewUser {
        name: Some(text()),
        ..NewUser::new(
            format!("{CANARY}@example.com").parse().unwrap(),
            AuthProvider::Google,
            text(),
        )
    }
}

fn users_and_workspaces(world: &World, heard: &mut Heard) {
    let mut guard = world.db.service(&service()).unwrap();
    let user = heard.hear(guard.users().create(&a_user())).unwrap();
    guard.commit().unwrap();
    let mut guard = world.db.service(&service()).unwrap();
    heard.hear(guard.users().find_by_email(&user.email));
    // Conflict, whose detail quotes the row.
    heard.refused(guard.users().create(&a_user()));
    drop(guard);
    let mut guard = world.db.user(&user.id).unwrap();
    let workspace = heard.hear(guard.my_workspaces().create(&NewWorkspace::new(text(), text())));
    let name = ProfileChanges { name: Some(Some(text())), ..ProfileChanges::default() };
    heard.hear(guard.me().update(&name));
    heard.hear(guard.my_workspaces().list(&PageRequest::default()));
    guard.commit().unwrap();
    let mut guard = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    let slug = WorkspaceChanges { name: None, slug: Some(text()) };
    heard.refused(guard.workspace().update(&slug));
    drop(guard);
    let mut guard = world.db.service(&service()).unwrap();
    heard.hear(guard.memberships().add(&world.a.workspace, &user.id, Role::Member));
    heard.refused(guard.memberships().add(&world.a.workspace, &user.id, Role::Member));
    heard.ids.extend([user.id.to_string(), workspace.unwrap().id.to_string()]);
}

type Refusal = fn(&mut TenantConnection, &NewKpi, &NewDataPoint) -> Result<()>;

fn kpis_and_points(world: &World, heard: &mut Heard) {
    let a = &world.a;
    let mut guard = world.db.tenant(&a.owner, &a.workspace).unwrap();
    let new = NewKpi {
        description: Some(text()),
        unit: Some(text()),
        category: Some(text()),
        target_value: Some(Finite::new(NUMBER).unwrap()),
        ..NewKpi::new(text())
    };
    heard.hear(guard.kpis().create(&new));
    let renamed = KpiChanges { name: Some(text()), ..KpiChanges::default() };
    heard.hear(guard.kpis().update(&new.id, &renamed));
    let filter = KpiFilter { name_contains: Some(CANARY.into()), ..KpiFilter::default() };
    assert_eq!(
        heard.hear(guard.kpis().list(&filter, &PageRequest::default())).unwrap().items.len(),
        1
    );
    let point = NewDataPoint {
        source: Some(text()),
        ..NewDataPoint::new(new.id.clone(), NUMBER, hour(1)).unwrap()
    };
    heard.hear(guard.data_points().record(&point));
    heard.hear(guard.data_points().latest(&new.id));
    let key = PointKey {
        kpi_id: new.id.clone(),
        timestamp: Timestamp::new(hour(2)).unwrap(),
        source: Some(text()),
    };
    heard.refused(guard.data_points().correct(&key, Finite::new(NUMBER).unwrap()));
    let goal = NewGoal { description: Some(text()), ..NewGoal::new(text()) };
    heard.hear(guard.goals().create(&goal));
    let link = NewGoalKpi {
        baseline: Some(Finite::new(NUMBER).unwrap()),
        ..NewGoalKpi::new(goal.id.clone(), new.id.clone())
    };
    heard.hear(guard.goal_kpis().link(&link));
    guard.commit().unwrap();
    let refusals: [Refusal; 3] = [
        |guard, new, _| guard.kpis().create(new).map(drop),
        |guard, _, point| guard.data_points().record(point).map(drop),
        |guard, _, point| {
            let points = std::slice::from_ref(point);
            guard.data_points().record_many(points, OnExisting::Fail).map(drop)
        },
    ];
    for refusal in refusals {
        let mut guard = world.db.tenant(&a.owner, &a.workspace).unwrap();
        heard.refused(refusal(&mut guard, &new, &point));
    }
    let mut stranger = world.db.tenant(&world.stranger, &a.workspace).unwrap();
    heard.refused(stranger.kpis().create(&NewKpi { id: KpiId::generate(), ..new.clone() }));
    heard.ids.extend([new.id.to_string(), goal.id.to_string(), link.id.to_string()]);
}

fn integrations(world: &World, heard: &mut Heard) {
    let a = &world.a;
    let secret = Secret::from(CANARY.to_owned());
    let new = NewIntegration::new(IntegrationProvider::Stripe);
    let mut guard = world.db.tenant(&a.owner, &a.workspace).unwrap();
    heard.hear(guard.integrations().create(&new, &secret));
    heard.hear(guard.integrations().credentials(&new.id));
    heard.hear(guard.integrations().replace_credentials(&new.id, &secret));
    let lease = LeaseId::generate();
    let next = Timestamp::new(hour(3)).unwrap();
    let failure = guard.integrations().record_failure(&new.id, &lease, CANARY, &secret, next);
    heard.refused(failure);
    guard.commit().unwrap();
    let mut guard = world.db.tenant(&a.owner, &a.workspace).unwrap();
    heard.refused(guard.integrations().create(&new, &secret));
    drop(guard);
    let mut guard = world.db.tenant(&a.member, &a.workspace).unwrap();
    heard.refused(guard.integrations().create(&new, &secret));
    heard.ids.extend([new.id.to_string(), lease.to_string()]);
}

#[test]
fn nothing_that_is_told_holds_a_value_or_an_id_of_a_row() {
    let world = World::new();
    let mut heard = Heard::default();
    let ((), told) = listen(|| {
        users_and_workspaces(&world, &mut heard);
        kpis_and_points(&world, &mut heard);
        integrations(&world, &mut heard);
    });
    assert!(told.len() > 25 && heard.said.len() > 8, "{told:#?} {:#?}", heard.said);
    let people = [&world.a.owner, &world.a.member, &world.stranger];
    heard.ids.extend(people.map(ToString::to_string));
    heard.ids.push(world.a.workspace.to_string());
    let told = told.into_iter().map(|told| format!("{told:?}"));
    for text in told.chain(heard.said) {
        for secret in [CANARY, "73190", "7.319"] {
            assert!(!text.contains(secret), "{text}");
        }
        for id in &heard.ids {
            assert!(!text.contains(id.as_str()), "{text}");
        }
    }
}
