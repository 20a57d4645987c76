//! Names, numbers and levels.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sesari_db::clock::Clock;
use sesari_db::credentials::Secret;
use sesari_db::id::KpiId;
use sesari_db::maintenance::retire_context_key;
use sesari_db::page::PageRequest;
use sesari_db::repo::{
    KpiChanges, KpiFilter, NewDataPoint, NewGoalKpi, NewIntegration, NewKpi, OnExisting,
};
use sesari_db::value::IntegrationProvider;
use tracing::Level;

use crate::recorder::{events, listen, operations};
use crate::support::{World, hour};

#[test]
fn an_operation_is_a_span_with_its_table_and_the_number_of_its_rows() {
    let world = World::new();
    let a = &world.a;
    let (new, told) = listen(|| {
        let mut tenant = world.db.tenant(&a.owner, &a.workspace).unwrap();
        let new = tenant.kpis().create(&NewKpi::new("Churn".parse().unwrap())).unwrap();
        tenant.kpis().list(&KpiFilter::default(), &PageRequest::default()).unwrap();
        tenant.kpis().count(&KpiFilter::default()).unwrap();
        tenant.kpis().find(&KpiId::generate()).unwrap();
        let points: Vec<_> =
            (0..3).map(|i| NewDataPoint::new(new.id.clone(), 1.0, hour(i)).unwrap()).collect();
        tenant.data_points().record_many(&points, OnExisting::Fail).unwrap();
        let corrected = NewDataPoint::new(new.id.clone(), 2.0, hour(0)).unwrap();
        let again = [corrected, points[1].clone()];
        tenant.data_points().record_many(&again, OnExisting::Replace).unwrap();
        tenant.data_points().record_many(&points, OnExisting::Keep).unwrap();
        tenant.kpis().delete(&new.id).unwrap();
        tenant.kpis().purge(&new.id).unwrap();
        tenant.kpis().purge(&new.id).unwrap_err();
        tenant.commit().unwrap();
        new
    });
    assert_eq!(
        operations(&told),
        [
            ("kpi.create", Some("1")),
            ("kpi.list", Some("2")),
            ("kpi.count", Some("1")),
            ("kpi.find", Some("0")),
            ("data_point.record_many", Some("3")),
            // The other one was the same before.
            ("data_point.record_many", Some("1")),
            ("data_point.record_many", Some("0")),
            ("kpi.delete", Some("1")),
            ("kpi.purge", Some("1")),
            ("kpi.purge", None),
        ]
    );
    let first = &told[0];
    assert_eq!((first.level, first.target.as_str()), (Level::DEBUG, "sesari_db"));
    let fields: Vec<_> = first.fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(
        fields,
        [
            ("db.collection.name", "kpis"),
            ("db.operation.name", "kpi.create"),
            ("db.response.returned_rows", "1"),
            ("db.system.name", "postgresql"),
            ("otel.kind", "client"),
            ("otel.name", "kpi.create"),
        ]
    );
    let last = told.last().unwrap();
    assert_eq!(last.field("error.type"), Some("not_found"), "{last:?} of {:?}", new.id);
}

#[test]
fn what_is_made_of_another_operation_is_told_of_once() {
    let world = World::new();
    let a = &world.a;
    let ((), told) = listen(|| {
        let mut tenant = world.db.tenant(&a.owner, &a.workspace).unwrap();
        tenant.kpis().deactivate(&a.kpi).unwrap();
        tenant.kpis().update(&a.kpi, &KpiChanges::default()).unwrap();
        tenant.goals().progress(&a.goal).unwrap();
        tenant.workspace().rename("Acme Ltd".parse().unwrap()).unwrap();
        tenant.audit_log().settled_before().unwrap();
    });
    let names: Vec<_> = operations(&told).into_iter().map(|(name, _)| name).collect();
    let expected =
        ["kpi.update", "kpi.find", "goal.progress", "workspace.update", "audit_log.checkpoint"];
    assert_eq!(names, expected);
}

#[test]
fn a_refused_insert_is_an_event_within_its_span() {
    let world = World::new();
    let a = &world.a;
    let ((), told) = listen(|| {
        let mut stranger = world.db.tenant(&world.stranger, &a.workspace).unwrap();
        let kpi = NewKpi::new("Planted".parse().unwrap());
        stranger.kpis().create(&kpi).unwrap_err();
        drop(stranger);
        let mut member = world.db.tenant(&a.member, &a.workspace).unwrap();
        let new = NewIntegration::new(IntegrationProvider::Stripe);
        member.integrations().create(&new, &Secret::from("token".to_owned())).unwrap_err();
        // What is hidden is not refused, and looks no different from what is not there.
        let link = NewGoalKpi::new(world.b.goal.clone(), world.b.kpi.clone());
        member.goal_kpis().link(&link).unwrap_err();
    });
    assert_eq!(
        events(&told, "refused"),
        [("kpi.create", Some("denied")), ("integration.create", Some("denied"))]
    );
    let refused = told.iter().find(|told| told.what == "refused").unwrap();
    assert_eq!((refused.level, refused.within), (Level::WARN, Some("sesari_db.operation")));
}

#[test]
fn a_refused_context_is_an_event() {
    let world = World::new();
    let a = &world.a;
    let db = world.test.database().unwrap();
    retire_context_key(&mut world.test.admin().unwrap(), world.test.context_key().id()).unwrap();
    let (answer, told) = listen(|| db.tenant(&a.owner, &a.workspace).map(drop));
    answer.unwrap_err();
    assert_eq!(events(&told, "refused"), [("begin", Some("context_key_unknown"))]);
}

/// The threshold is the process's: no other test here looks at what is slow.
#[test]
fn an_operation_over_the_threshold_is_an_event() {
    let world = World::new();
    let a = &world.a;
    let slow_within = |threshold| {
        let db = world.test.builder().slow_operation(threshold).build().unwrap();
        let mut tenant = db.tenant(&a.owner, &a.workspace).unwrap();
        let (_, told) = listen(|| tenant.kpis().find(&a.kpi).unwrap());
        told.into_iter().find(|told| told.what == "slow operation")
    };
    let slow = slow_within(Duration::ZERO).unwrap();
    assert_eq!((slow.level, slow.within), (Level::WARN, Some("sesari_db.operation")));
    assert_eq!(slow.field("db.operation.name"), Some("kpi.find"));
    let took: f64 = slow.field("sesari.duration_ms").unwrap().parse().unwrap();
    assert!(took > 0.0 && took < 60_000.0, "{took}");
    assert!(slow_within(Duration::from_hours(1)).is_none());
}

#[test]
fn a_context_that_came_too_late_is_an_event_once() {
    let world = World::new();
    let a = &world.a;
    // Nine seconds pass between any two looks at the clock.
    let (start, looks) = (Instant::now(), AtomicU64::new(0));
    let clock = Clock::from_fn(move || {
        start + Duration::from_secs(9 * looks.fetch_add(1, Ordering::SeqCst))
    });
    let db = world.test.builder().clock(clock).build().unwrap();
    let (answer, told) =
        listen(|| db.tenant(&a.owner, &a.workspace).unwrap().kpis().find(&a.kpi).map(drop));
    answer.unwrap_err();
    assert_eq!(events(&told, "refused"), [("begin", Some("context_expired"))]);
}

#[test]
fn an_operation_of_ones_own_is_recorded_as_those_of_a_repository_are() {
    #[derive(Debug)]
    enum Own {
        Refused,
        Database(sesari_db::Error),
    }
    impl From<sesari_db::Error> for Own {
        fn from(error: sesari_db::Error) -> Self {
            Self::Database(error)
        }
    }
    impl sesari_db::error::AsError for Own {
        fn as_error(&self) -> Option<&sesari_db::Error> {
            match self {
                Self::Database(error) => Some(error),
                Self::Refused => None,
            }
        }
    }
    let (failed, told) = listen(|| {
        sesari_db::observe::record::<_, sesari_db::Error>("invoice.issue", || Ok(7)).unwrap();
        sesari_db::observe::record("invoice.issue", || Err::<(), _>(Own::Refused)).unwrap_err();
        let denied = || Err::<(), _>(Own::from(sesari_db::Error::Denied));
        sesari_db::observe::record("invoice.issue", denied).unwrap_err()
    });
    assert!(matches!(failed, Own::Database(_)));
    let all = ["invoice.issue"; 3].map(|name| (name, None));
    assert_eq!(operations(&told), all);
    let spans: Vec<_> = told.iter().filter(|told| told.what == "sesari_db.operation").collect();
    let kinds: Vec<_> = spans.iter().map(|span| span.field("error.type")).collect();
    assert_eq!(kinds, [None, Some("caller"), Some("denied")]);
    assert_eq!(spans[0].field("db.collection.name"), None);
    assert_eq!(events(&told, "refused").len(), 1);
}
