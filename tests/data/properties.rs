//! Properties of the stored history and of pages, against models a reader can check by eye: an
//! ordered map for the points of a KPI, a sorted vector for a list.
#![allow(clippy::unwrap_used, reason = "a test fails loudly")]
#![allow(clippy::float_cmp, reason = "what is stored comes back to the bit")]

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use sesari_db::PgConnection;
use sesari_db::id::{KpiId, WorkspaceId};
use sesari_db::page::PageRequest;
use sesari_db::repo::{
    DataPoint, KpiFilter, NewDataPoint, NewKpi, OnExisting, PointKey, Recorded, TimeRange,
};
use sesari_db::value::{Finite, Source, Timestamp};
use sesari_db::{Error, TenantConnection};

use crate::support::{World, hour};

fn config(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}

/// When, and from where. Sorts as the crate does: of several at one moment, one without a source
/// comes first, then the sources by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    hours: i64,
    source: Option<&'static str>,
}

impl Key {
    fn timestamp(&self) -> Timestamp {
        Timestamp::new(hour(self.hours)).unwrap()
    }

    fn source(&self) -> Option<Source> {
        self.source.map(|source| source.parse().unwrap())
    }

    fn of(&self, kpi: &KpiId) -> PointKey {
        PointKey { kpi_id: kpi.clone(), timestamp: self.timestamp(), source: self.source() }
    }

    fn point(&self, kpi: &KpiId, value: f64) -> NewDataPoint {
        let point = NewDataPoint::new(kpi.clone(), value, hour(self.hours)).unwrap();
        NewDataPoint { source: self.source(), ..point }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Record(Key, f64),
    RecordMany(OnExisting, Vec<(Key, f64)>),
    Correct(Key, f64),
    Delete(Key),
}

fn keys() -> impl Strategy<Value = Key> {
    (0..5_i64, prop::sample::select(vec![None, Some("manual"), Some("sheets"), Some("stripe")]))
        .prop_map(|(hours, source)| Key { hours, source })
}

fn values() -> impl Strategy<Value = f64> {
    prop_oneof![
        (-3..4_i32).prop_map(f64::from),
        prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO,
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let modes = prop::sample::select(vec![OnExisting::Keep, OnExisting::Replace, OnExisting::Fail]);
    let batch = prop::collection::vec((keys(), values()), 0..8);
    prop_oneof![
        2 => (keys(), values()).prop_map(|(key, value)| Step::Record(key, value)),
        3 => (modes, batch).prop_map(|(mode, batch)| Step::RecordMany(mode, batch)),
        1 => (keys(), values()).prop_map(|(key, value)| Step::Correct(key, value)),
        2 => keys().prop_map(Step::Delete),
    ]
}

type Model = BTreeMap<Key, f64>;

/// What a batch does to the model and what it says; `None` for a conflict.
fn batch(model: &mut Model, mode: OnExisting, batch: &[(Key, f64)]) -> Option<Recorded> {
    let before = model.clone();
    for (key, value) in batch {
        match mode {
            OnExisting::Keep => {
                model.entry(key.clone()).or_insert(*value);
            }
            OnExisting::Replace => {
                // The same number, of whichever zero, changes nothing.
                let unchanged = before.get(key).filter(|kept| *kept == value);
                model.insert(key.clone(), *unchanged.unwrap_or(value));
            }
            OnExisting::Fail => {
                if model.insert(key.clone(), *value).is_some() {
                    *model = before;
                    return None;
                }
            }
        }
    }
    let inserted = model.len() - before.len();
    let replaced = before.iter().filter(|(key, value)| model[*key] != **value).count();
    let kept = batch.len() - inserted - replaced;
    let differs = |(_, (key, value)): &(usize, &(Key, f64))| model[key] != *value;
    let collisions: Vec<_> =
        batch.iter().enumerate().filter(differs).map(|(place, _)| place).collect();
    Some(Recorded { inserted, replaced, kept, collided: collisions.len(), collisions })
}

/// Takes a step in the model and in the database, and compares what they say.
fn take(
    tenant: &mut TenantConnection,
    kpi: &KpiId,
    model: &mut Model,
    step: &Step,
) -> Result<(), TestCaseError> {
    let result = tenant.transaction(|tenant| {
        let mut points = tenant.data_points();
        Ok::<_, Error>(match step {
            Step::Record(key, value) => {
                points.record(&key.point(kpi, *value))?;
                Recorded { inserted: 1, ..Recorded::default() }
            }
            Step::RecordMany(mode, batch) => {
                let new: Vec<_> = batch.iter().map(|(key, value)| key.point(kpi, *value)).collect();
                points.record_many(&new, *mode)?
            }
            Step::Correct(key, value) => {
                points.correct(&key.of(kpi), Finite::new(*value).unwrap())?;
                Recorded { replaced: 1, ..Recorded::default() }
            }
            Step::Delete(key) => {
                points.delete(&key.of(kpi))?;
                Recorded::default()
            }
        })
    });
    match step {
        Step::Record(key, value) => {
            let expected = batch(model, OnExisting::Fail, &[(key.clone(), *value)]);
            prop_assert_eq!(result.as_ref().ok(), expected.as_ref());
            prop_assert!(expected.is_some() || result.unwrap_err().is_conflict());
        }
        Step::RecordMany(mode, new) => {
            let expected = batch(model, *mode, new);
            prop_assert_eq!(result.as_ref().ok(), expected.as_ref());
            prop_assert!(expected.is_some() || result.unwrap_err().is_conflict());
        }
        Step::Correct(key, value) => {
            let there = model.get_mut(key).map(|stored| *stored = *value).is_some();
            prop_assert_eq!(result.is_ok(), there);
            prop_assert!(there || result.unwrap_err().is_not_found());
        }
        Step::Delete(key) => {
            let there = model.remove(key).is_some();
            prop_assert_eq!(result.is_ok(), there);
            prop_assert!(there || result.unwrap_err().is_not_found());
        }
    }
    Ok(())
}

fn all_time() -> TimeRange {
    let at = |text: &str| Timestamp::new(text.parse::<DateTime<Utc>>().unwrap()).unwrap();
    TimeRange::new(at("0001-01-01T00:00:00Z"), at("9999-12-31T23:59:59Z")).unwrap()
}

/// To the bit, since -0 equals 0.
type Row = (DateTime<Utc>, Option<String>, u64);

fn row(point: &DataPoint) -> Row {
    let source = point.source.as_ref().map(ToString::to_string);
    (point.timestamp.get(), source, point.value.to_bits())
}

fn compare(tenant: &mut TenantConnection, kpi: &KpiId, model: &Model) -> Result<(), TestCaseError> {
    let expected: Vec<Row> = model
        .iter()
        .map(|(key, value)| (hour(key.hours), key.source.map(String::from), value.to_bits()))
        .collect();
    let page = PageRequest::first(1000).unwrap();
    let stored = tenant.data_points().range(kpi, all_time(), &page).unwrap();
    let mut rows: Vec<Row> = stored.items.iter().map(row).collect();
    rows.sort();
    let mut sorted = expected.clone();
    sorted.sort();
    prop_assert_eq!(rows, sorted);
    let count = tenant.data_points().count(kpi, all_time()).unwrap();
    prop_assert_eq!(count, i64::try_from(model.len()).unwrap());

    let latest = tenant.data_points().latest(kpi).unwrap();
    prop_assert_eq!(latest.as_ref().map(row), expected.last().cloned());
    let of_many = tenant.data_points().latest_of_many(std::slice::from_ref(kpi)).unwrap();
    prop_assert_eq!(of_many, latest.into_iter().collect::<Vec<_>>());

    let stored = tenant.kpis().find(kpi).unwrap().unwrap();
    let newest = model.last_key_value();
    // Of two zeros the one that was there may stay.
    prop_assert_eq!(stored.current_value, newest.map_or(0.0, |(_, value)| *value));
    prop_assert_eq!(stored.current_value_at, newest.map(|(key, _)| hour(key.hours)));
    Ok(())
}

#[test]
fn any_history_leaves_what_an_ordered_map_would_hold() {
    let world = World::shared();
    TestRunner::new(config(48))
        .run(&prop::collection::vec(steps(), 1..12), |steps| {
            // Dropped at the end of the case, and with it all that it wrote.
            let mut tenant = world.db.tenant(&world.a.member, &world.a.workspace).unwrap();
            let kpi = tenant.kpis().create(&NewKpi::new("Model".parse().unwrap())).unwrap().id;
            let mut model = Model::new();
            for step in &steps {
                take(&mut tenant, &kpi, &mut model, step)?;
                compare(&mut tenant, &kpi, &model)?;
            }
            Ok(())
        })
        .unwrap();
}

/// What the property would see if the current value followed the last point written.
#[test]
fn a_value_that_follows_the_last_write_is_noticed() {
    use diesel::connection::SimpleConnection;
    let world = World::new();
    world
        .test
        .admin()
        .unwrap()
        .batch_execute(
            "CREATE OR REPLACE FUNCTION sesari.refresh_rollups() RETURNS trigger \
             LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ BEGIN \
               UPDATE public.kpis AS k SET current_value = c.value, current_value_at = c.timestamp \
                 FROM changed AS c WHERE k.workspace_id = c.workspace_id AND k.id = c.kpi_id; \
               RETURN NULL; END $$",
        )
        .unwrap();
    let mut tenant = world.db.tenant(&world.a.member, &world.a.workspace).unwrap();
    let kpi = tenant.kpis().create(&NewKpi::new("Model".parse().unwrap())).unwrap().id;
    let mut model = Model::new();
    for hours in [2, 1] {
        let key = Key { hours, source: None };
        take(&mut tenant, &kpi, &mut model, &Step::Record(key, 1.0)).unwrap();
    }
    assert!(compare(&mut tenant, &kpi, &model).is_err());
}

/// Inserts a KPI made at this hour, as a superuser: for others the database says when.
fn kpi_made_at(
    admin: &mut PgConnection,
    workspace: &WorkspaceId,
    hours: i64,
) -> (DateTime<Utc>, KpiId) {
    use sesari_db::schema::kpis;
    let id = KpiId::generate();
    diesel::insert_into(kpis::table)
        .values((
            kpis::workspace_id.eq(workspace),
            kpis::id.eq(&id),
            kpis::name.eq("walked"),
            kpis::created_at.eq(hour(hours)),
        ))
        .execute(admin)
        .unwrap();
    (hour(hours), id)
}

#[test]
fn any_walk_through_the_pages_of_a_list_gives_the_sorted_list() {
    let world = World::new();
    let filter = KpiFilter { name_contains: Some("walked".into()), ..KpiFilter::default() };
    // Few moments for many rows, so that most pages end between rows of one moment; and rows that
    // arrive between pages, before and after the place reached.
    let hours = prop::collection::vec(0..4_i64, 0..25);
    let arrivals = prop::collection::vec(prop::option::of(0..4_i64), 0..30);
    TestRunner::new(config(48))
        .run(&(hours, arrivals, 1..7_u32), |(hours, arrivals, limit)| {
            let workspace = &world.a.workspace;
            let mut admin = world.test.admin().unwrap();
            diesel::sql_query("DELETE FROM kpis WHERE name = 'walked'")
                .execute(&mut admin)
                .unwrap();
            let mut tenant = world.db.tenant(&world.a.member, workspace).unwrap();
            let mut rows: Vec<_> =
                hours.into_iter().map(|hours| kpi_made_at(&mut admin, workspace, hours)).collect();
            let mut arrivals = arrivals.into_iter();
            let mut page = PageRequest::first(limit).unwrap();
            let mut seen: Vec<(DateTime<Utc>, KpiId)> = Vec::new();
            loop {
                let paged = tenant.kpis().list(&filter, &page).unwrap();
                prop_assert!(paged.items.len() <= limit as usize);
                seen.extend(paged.items.into_iter().map(|kpi| (kpi.created_at, kpi.id)));
                let Some(next) = paged.next else { break };
                if let Some(Some(hours)) = arrivals.next() {
                    let new = kpi_made_at(&mut admin, workspace, hours);
                    // Before the place reached, nobody will see it on this walk.
                    if Some(&new) > seen.last() {
                        rows.push(new);
                    }
                }
                // Through its text form, as a client sends it back.
                page = PageRequest::first(limit).unwrap().after(next.to_string().parse().unwrap());
            }
            rows.sort();
            prop_assert_eq!(seen, rows);
            Ok(())
        })
        .unwrap();
}

#[test]
fn any_walk_through_a_range_of_points_gives_the_points_within_it() {
    let world = World::shared();
    let points = prop::collection::btree_set(keys(), 0..16);
    TestRunner::new(config(48))
        .run(&(points, 0..6_i64, 0..6_i64, 1..5_u32), |(points, from, length, limit)| {
            let mut tenant = world.db.tenant(&world.b.member, &world.b.workspace).unwrap();
            let kpi = tenant.kpis().create(&NewKpi::new("Range".parse().unwrap())).unwrap().id;
            let new: Vec<_> = points.iter().map(|key| key.point(&kpi, 1.0)).collect();
            tenant.data_points().record_many(&new, OnExisting::Fail).unwrap();
            let at = |hours| Timestamp::new(hour(hours)).unwrap();
            let range = TimeRange::new(at(from), at(from + length)).unwrap();
            let mut expected: Vec<_> = new
                .into_iter()
                .filter(|point| (at(from)..at(from + length)).contains(&point.timestamp))
                .map(|point| (point.timestamp.get(), point.source))
                .collect();
            expected.sort();
            let mut page = PageRequest::first(limit).unwrap();
            let mut seen = Vec::new();
            loop {
                let paged = tenant.data_points().range(&kpi, range, &page).unwrap();
                seen.extend(
                    paged.items.into_iter().map(|point| (point.timestamp.get(), point.source)),
                );
                let Some(next) = paged.next else { break };
                page = page.after(next);
            }
            let count = tenant.data_points().count(&kpi, range).unwrap();
            prop_assert_eq!(count, i64::try_from(seen.len()).unwrap());
            prop_assert_eq!(seen, expected);
            Ok(())
        })
        .unwrap();
}
