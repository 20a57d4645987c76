//! `kpi_targets`: targets from a day on, and value to date against them.

use chrono::NaiveDate;
use diesel::connection::SimpleConnection;
use sesari_db::TenantConnection;
use sesari_db::error::Error;
use sesari_db::id::KpiId;
use sesari_db::progress::PaceStatus;
use sesari_db::repo::{
    KpiChanges, NewDataPoint, NewKpi, NewKpiTarget, OnExisting, PaceQuery, TargetSource,
};
use sesari_db::value::{Aggregation, Finite, TargetPeriod, Timestamp};

use super::tools::{assert_missing, page, parse};
use crate::support::World;

fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn at(text: &str) -> Timestamp {
    Timestamp::new(text.parse().unwrap()).unwrap()
}

fn target(kpi: &KpiId, period: TargetPeriod, from: &str, value: f64) -> NewKpiTarget {
    NewKpiTarget::new(kpi.clone(), period, date(from), Finite::new(value).unwrap())
}

fn kpi(tenant: &mut TenantConnection, aggregation: Aggregation, plain: Option<f64>) -> KpiId {
    let target_value = plain.map(|plain| Finite::new(plain).unwrap());
    let new = NewKpi { aggregation, target_value, ..NewKpi::new(parse("Revenue")) };
    tenant.kpis().create(&new).unwrap().id
}

/// A point of 1 000 at noon of each day of March 2026 in Berlin.
fn march(tenant: &mut TenantConnection, kpi: &KpiId) {
    let points: Vec<_> = (1..=31)
        .map(|day| {
            NewDataPoint::new(kpi.clone(), 1000.0, at(&format!("2026-03-{day:02}T11:00:00Z")).get())
                .unwrap()
        })
        .collect();
    tenant.data_points().record_many(&points, OnExisting::Fail).unwrap();
}

fn in_berlin(world: &World) -> TenantConnection {
    let mut tenant = world.as_owner(&world.a);
    tenant.workspace().change_time_zone("Europe/Berlin".parse().unwrap()).unwrap();
    tenant
}

#[test]
fn an_aggregation_is_stored_changed_and_the_last_point_by_default() {
    let world = World::shared();
    let mut tenant = world.as_member(&world.a);
    assert_eq!(tenant.kpis().get(&world.a.kpi).unwrap().aggregation, Aggregation::Last);
    let flow = kpi(&mut tenant, Aggregation::Sum, None);
    let changes = KpiChanges { aggregation: Some(Aggregation::Mean), ..KpiChanges::default() };
    assert_eq!(tenant.kpis().update(&flow, &changes).unwrap().aggregation, Aggregation::Mean);
    let new: NewKpi = serde_json::from_str(r#"{"name": "Revenue", "aggregation": "sum"}"#).unwrap();
    assert_eq!(new.aggregation, Aggregation::Sum);
    let new: NewKpi = serde_json::from_str(r#"{"name": "Revenue"}"#).unwrap();
    assert_eq!(new.aggregation, Aggregation::Last);
    for bad in
        [r#"{"aggregation": "median"}"#, r#"{"aggregation": null}"#, r#"{"aggregation": ""}"#]
    {
        assert!(serde_json::from_str::<KpiChanges>(bad).is_err(), "{bad}");
    }
    // The current value is the newest point, whatever a period comes to.
    march(&mut tenant, &flow);
    assert_eq!(tenant.kpis().get(&flow).unwrap().current_value, 1000.0);
}

#[test]
fn a_changed_target_does_not_rewrite_the_past() {
    let world = World::shared();
    let mut tenant = in_berlin(&world);
    let kpi = kpi(&mut tenant, Aggregation::Sum, Some(5_000.0));
    march(&mut tenant, &kpi);
    let mut targets = tenant.kpi_targets();
    targets.set(&target(&kpi, TargetPeriod::Month, "2026-01-01", 62_000.0)).unwrap();
    targets.set(&target(&kpi, TargetPeriod::Month, "2026-04-01", 90_000.0)).unwrap();
    let month = |text| PaceQuery::new(TargetPeriod::Month, at(text));
    // Ten days of March: the eleventh begins at 23:00 of UTC.
    let pace = targets.pace(&kpi, &month("2026-03-10T23:00:00Z")).unwrap();
    assert_eq!(pace.source, Some(TargetSource::Period(date("2026-01-01"))));
    assert_eq!((pace.pace.actual, pace.pace.target), (Some(10_000.0), Some(62_000.0)));
    assert_eq!((pace.pace.expected, pace.pace.ratio), (Some(20_000.0), Some(0.5)));
    assert_eq!(pace.pace.status, PaceStatus::OffTrack);
    let range = pace.period.unwrap();
    assert_eq!(
        (range.from(), range.to()),
        (at("2026-02-28T23:00:00Z"), at("2026-03-31T22:00:00Z"))
    );
    // The whole month, with the day of 23 hours in it.
    let pace = targets.pace(&kpi, &month("2026-03-31T21:59:59.999Z")).unwrap();
    assert_eq!(pace.pace.actual, Some(31_000.0));
    let april = targets.pace(&kpi, &month("2026-04-02T00:00:00Z")).unwrap();
    assert_eq!((april.pace.target, april.pace.actual), (Some(90_000.0), None));
    assert_eq!(april.pace.status, PaceStatus::NotMeasured);
    // At the very start nothing is expected, and nothing was measured.
    let start = targets.pace(&kpi, &month("2026-02-28T23:00:00Z")).unwrap();
    assert_eq!((start.pace.elapsed, start.pace.actual), (0.0, None));
    // Before any row, and for a period that no row is of, the plain one holds.
    let before = targets.pace(&kpi, &month("2025-12-02T00:00:00Z")).unwrap();
    assert_eq!((before.source, before.pace.target), (Some(TargetSource::Plain), Some(5_000.0)));
    let year = targets
        .pace(&kpi, &PaceQuery::new(TargetPeriod::Year, at("2026-06-01T00:00:00Z")))
        .unwrap();
    assert_eq!((year.source, year.pace.actual), (Some(TargetSource::Plain), Some(31_000.0)));
}

#[test]
fn of_rows_that_start_together_the_one_set_last_counts_and_none_ends_it() {
    let world = World::shared();
    let mut tenant = world.as_member(&world.a);
    let kpi = kpi(&mut tenant, Aggregation::Last, None);
    march(&mut tenant, &kpi);
    let standing = PaceQuery::new(TargetPeriod::Standing, at("2026-03-10T00:00:00Z"));
    let mut targets = tenant.kpi_targets();
    let none = targets.pace(&kpi, &standing).unwrap();
    assert_eq!((none.source, none.pace.status), (None, PaceStatus::NoTarget));
    assert_eq!((none.pace.actual, none.period), (Some(1000.0), None));
    let mut first = None;
    for n in 1..=20 {
        let set =
            targets.set(&target(&kpi, TargetPeriod::Standing, "2026-03-05", f64::from(n))).unwrap();
        first.get_or_insert(set);
    }
    assert_eq!(targets.pace(&kpi, &standing).unwrap().pace.target, Some(20.0));
    // As of when the first was set.
    let first = Timestamp::new(first.unwrap().recorded_at).unwrap();
    let then = targets.pace(&kpi, &standing.clone().targets_known_at(first)).unwrap();
    assert_eq!(then.pace.target, Some(1.0));
    // From the day on, and not before.
    let before = PaceQuery::new(TargetPeriod::Standing, at("2026-03-04T23:59:59Z"));
    assert_eq!(targets.pace(&kpi, &before).unwrap().source, None);
    let end =
        NewKpiTarget { value: None, ..target(&kpi, TargetPeriod::Standing, "2026-03-09", 0.0) };
    targets.set(&end).unwrap();
    assert_eq!(targets.pace(&kpi, &standing).unwrap().source, None);
    assert_eq!(targets.count(&kpi).unwrap(), 21);
    let (first, mut all) = (targets.list(&kpi, &page(15)).unwrap(), Vec::new());
    let rest = targets.list(&kpi, &page(15).after(first.next.clone().unwrap())).unwrap();
    all.extend(first.items.into_iter().chain(rest.items));
    assert_eq!(all.len(), 21);
    assert!(all.is_sorted_by(|a, b| a.recorded_at < b.recorded_at));
}

#[test]
fn a_target_of_the_period_goes_before_a_standing_one_and_that_before_the_plain_one() {
    let world = World::shared();
    let mut tenant = world.as_member(&world.a);
    let kpi = kpi(&mut tenant, Aggregation::Mean, Some(1.0));
    march(&mut tenant, &kpi);
    let query = PaceQuery::new(TargetPeriod::Quarter, at("2026-03-10T00:00:00Z"));
    let mut sources = Vec::new();
    let mut targets = tenant.kpi_targets();
    sources.push(targets.pace(&kpi, &query).unwrap().pace.target);
    targets.set(&target(&kpi, TargetPeriod::Standing, "2025-12-31", 2.0)).unwrap();
    sources.push(targets.pace(&kpi, &query).unwrap().pace.target);
    targets.set(&target(&kpi, TargetPeriod::Quarter, "2026-01-01", 3.0)).unwrap();
    sources.push(targets.pace(&kpi, &query).unwrap().pace.target);
    targets.set(&target(&kpi, TargetPeriod::Quarter, "2026-04-01", 4.0)).unwrap();
    sources.push(targets.pace(&kpi, &query).unwrap().pace.target);
    assert_eq!(sources, [Some(1.0), Some(2.0), Some(3.0), Some(3.0)]);
    let pace = targets.pace(&kpi, &query).unwrap();
    assert_eq!((pace.pace.actual, pace.pace.expected), (Some(1000.0), Some(3.0)));
}

#[test]
fn bad_targets_are_refused_by_the_crate_and_by_the_database() {
    let world = World::shared();
    let mut tenant = world.as_member(&world.a);
    let kpi = world.a.kpi.clone();
    for (period, from) in [
        (TargetPeriod::Month, "2026-01-02"),
        (TargetPeriod::Quarter, "2026-02-01"),
        (TargetPeriod::Quarter, "2026-01-02"),
        (TargetPeriod::Year, "2026-04-01"),
        (TargetPeriod::Year, "2026-01-02"),
        (TargetPeriod::Standing, "0000-12-31"),
        (TargetPeriod::Standing, "+10000-01-01"),
        (TargetPeriod::Unknown("week".into()), "2026-01-01"),
    ] {
        let refused = tenant.kpi_targets().set(&target(&kpi, period.clone(), from, 1.0));
        assert!(matches!(refused, Err(Error::Invalid(_))), "{period} {from}: {refused:?}");
        let sql = format!(
            "INSERT INTO public.kpi_targets (kpi_id, period, effective_from, value)
             VALUES ('{kpi}', '{period}', '{}', 1)",
            match from {
                "0000-12-31" => "0001-12-31 BC",
                other => other.trim_start_matches('+'),
            }
        );
        let refused =
            tenant.transaction(|t| t.connection().batch_execute(&sql).map_err(Error::from));
        assert!(matches!(refused, Err(Error::Invalid(_))), "{sql}: {refused:?}");
    }
    for text in [
        r#"{"kpi_id": "kpi", "period": "week", "effective_from": "2026-01-01", "value": 1}"#,
        r#"{"kpi_id": "kpi", "period": "month", "effective_from": "2026-02-30", "value": 1}"#,
        r#"{"kpi_id": "kpi", "period": "month", "effective_from": "2026-01-01", "value": 1, "id": "x"}"#,
        r#"{"kpi_id": "kpi", "period": "month", "effective_from": "2026-01-01", "value": "1"}"#,
    ] {
        assert!(serde_json::from_str::<NewKpiTarget>(text).is_err(), "{text}");
    }
    let standing = |kpi: &KpiId| target(kpi, TargetPeriod::Standing, "2026-01-01", -0.0);
    let set = tenant.kpi_targets().set(&standing(&kpi)).unwrap();
    assert!(set.value.unwrap().is_sign_positive());
    assert_missing(tenant.kpi_targets().set(&standing(&KpiId::generate())), "kpi");
    let unknown = PaceQuery::new(TargetPeriod::Unknown("week".into()), at("2026-01-01T00:00:00Z"));
    assert!(matches!(tenant.kpi_targets().pace(&kpi, &unknown), Err(Error::Invalid(_))));
    let end = PaceQuery::new(TargetPeriod::Month, at("9999-12-31T00:00:00Z"));
    assert!(matches!(tenant.kpi_targets().pace(&kpi, &end), Err(Error::Invalid(_))));
    // A KPI of another workspace, one that is deleted, and none at all.
    let query = PaceQuery::new(TargetPeriod::Month, at("2026-01-01T00:00:00Z"));
    let foreign = KpiId::generate();
    assert_missing(tenant.kpi_targets().pace(&foreign, &query), "kpi");
    assert_eq!(tenant.kpi_targets().pace_of_many(&[], &query).unwrap(), []);
    tenant.kpis().delete(&kpi).unwrap();
    assert_missing(tenant.kpi_targets().set(&standing(&kpi)), "kpi");
    assert_missing(tenant.kpi_targets().pace(&kpi, &query), "kpi");
    assert_eq!(tenant.kpi_targets().count(&kpi).unwrap(), 1);
}

#[test]
fn what_was_set_is_neither_changed_nor_deleted_and_goes_down_with_its_kpi() {
    let world = World::shared();
    let mut tenant = world.as_owner(&world.a);
    let kpi = kpi(&mut tenant, Aggregation::Last, None);
    tenant.kpi_targets().set(&target(&kpi, TargetPeriod::Standing, "2026-01-01", 1.0)).unwrap();
    for sql in ["UPDATE public.kpi_targets SET value = 2", "DELETE FROM public.kpi_targets"] {
        let refused =
            tenant.transaction(|t| t.connection().batch_execute(sql).map_err(Error::from));
        assert!(refused.is_err(), "{sql}");
    }
    tenant.kpis().delete(&kpi).unwrap();
    tenant.kpis().purge(&kpi).unwrap();
    assert_eq!(tenant.kpi_targets().count(&kpi).unwrap(), 0);
}

#[test]
fn many_paces_come_in_the_order_asked_for_and_as_each_alone() {
    let world = World::new();
    let mut tenant = in_berlin(&world);
    let kpis: Vec<_> = [Aggregation::Last, Aggregation::Sum, Aggregation::Mean, Aggregation::Sum]
        .into_iter()
        .map(|aggregation| kpi(&mut tenant, aggregation, Some(40_000.0)))
        .collect();
    for kpi in &kpis[..3] {
        march(&mut tenant, kpi);
    }
    let mut asked: Vec<_> = kpis.iter().rev().cloned().collect();
    asked.extend([KpiId::generate(), world.b.kpi.clone(), kpis[0].clone()]);
    let query = PaceQuery::new(TargetPeriod::Month, at("2026-03-20T12:00:00Z"));
    let many = tenant.kpi_targets().pace_of_many(&asked, &query).unwrap();
    let ids: Vec<_> = many.iter().map(|pace| &pace.kpi_id).collect();
    assert_eq!(ids, [&kpis[3], &kpis[2], &kpis[1], &kpis[0], &kpis[0]]);
    for pace in &many {
        assert_eq!(&tenant.kpi_targets().pace(&pace.kpi_id, &query).unwrap(), pace);
    }
    let actual: Vec<_> = many.iter().map(|pace| pace.pace.actual).collect();
    assert_eq!(actual, [None, Some(1000.0), Some(20_000.0), Some(1000.0), Some(1000.0)]);
}
