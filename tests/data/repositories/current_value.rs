//! A KPI's current value is that of its newest point, whichever client writes.

use sesari_db::TenantConnection;
use sesari_db::id::KpiId;
use sesari_db::repo::{NewKpi, OnExisting};
use sesari_db::value::Finite;

use super::data_points::{key, point};
use super::tools::{assert_invalid, parse, raw};
use crate::support::{World, hour};

fn assert_current(tenant: &mut TenantConnection, kpi: &KpiId, value: f64, hours: Option<i64>) {
    let stored = tenant.kpis().find(kpi).unwrap().unwrap();
    assert_eq!((stored.current_value, stored.current_value_at), (value, hours.map(hour)));
}

#[test]
fn it_follows_every_way_in_which_points_change() {
    let world = World::shared();
    let mut tenant = world.as_member(&world.a);
    let kpi = &tenant.kpis().create(&NewKpi::new(parse("Followed"))).unwrap().id;
    let tenant = &mut tenant;
    assert_current(tenant, kpi, 0.0, None);
    tenant.data_points().record(&point(kpi, 5, 50.0)).unwrap();
    assert_current(tenant, kpi, 50.0, Some(5));
    tenant.data_points().record(&point(kpi, 3, 30.0)).unwrap();
    assert_current(tenant, kpi, 50.0, Some(5)); // a late point
    tenant.data_points().correct(&key(kpi, 3, None), Finite::new(31.0).unwrap()).unwrap();
    assert_current(tenant, kpi, 50.0, Some(5));
    tenant.data_points().correct(&key(kpi, 5, None), Finite::new(51.0).unwrap()).unwrap();
    assert_current(tenant, kpi, 51.0, Some(5));
    let batch = [point(kpi, 7, 70.0), point(kpi, 6, 60.0), point(kpi, 5, 52.0)];
    tenant.data_points().record_many(&batch, OnExisting::Keep).unwrap();
    assert_current(tenant, kpi, 70.0, Some(7));
    let batch = [point(kpi, 7, 71.0), point(kpi, 1, 10.0)];
    tenant.data_points().record_many(&batch, OnExisting::Keep).unwrap();
    assert_current(tenant, kpi, 70.0, Some(7)); // kept
    let batch = [point(kpi, 7, 71.0), point(kpi, 2, 20.0)];
    tenant.data_points().record_many(&batch, OnExisting::Replace).unwrap();
    assert_current(tenant, kpi, 71.0, Some(7));
    tenant.data_points().delete(&key(kpi, 2, None)).unwrap();
    assert_current(tenant, kpi, 71.0, Some(7));
    tenant.data_points().delete(&key(kpi, 7, None)).unwrap();
    assert_current(tenant, kpi, 60.0, Some(6));
    raw(tenant, &format!("DELETE FROM kpi_data_points WHERE kpi_id = '{kpi}'")).unwrap();
    assert_current(tenant, kpi, 0.0, None);
}

#[test]
fn equal_moments_are_told_apart_by_their_source() {
    let world = World::shared();
    let mut tenant = world.as_member(&world.a);
    let kpi = tenant.kpis().create(&NewKpi::new(parse("Tied"))).unwrap().id;
    // In whichever order they come: the last by name, and any beats none.
    for (source, value, current) in [
        (Some("sheets"), 2.0, 2.0),
        (Some("manual"), 1.0, 2.0),
        (Some("stripe"), 3.0, 3.0),
        (None, 4.0, 3.0),
        (Some("zapier"), 5.0, 5.0),
    ] {
        let new = point(&kpi, 0, value);
        let new = sesari_db::repo::NewDataPoint { source: source.map(parse), ..new };
        tenant.data_points().record(&new).unwrap();
        assert_current(&mut tenant, &kpi, current, Some(0));
        assert_eq!(tenant.data_points().latest(&kpi).unwrap().unwrap().value, current);
    }
    tenant.data_points().delete(&key(&kpi, 0, Some("zapier"))).unwrap();
    assert_current(&mut tenant, &kpi, 3.0, Some(0));
}

#[test]
fn it_follows_raw_sql_too() {
    let world = World::shared();
    let mut tenant = world.as_member(&world.a);
    let kpi = &world.a.kpi;
    let insert = format!(
        "INSERT INTO kpi_data_points (kpi_id, value, timestamp) VALUES \
         ('{kpi}', 7, '{0}'), ('{kpi}', 8, '{1}') ON CONFLICT (workspace_id, kpi_id, timestamp, source)",
        hour(2).to_rfc3339(),
        hour(1).to_rfc3339()
    );
    raw(&mut tenant, &format!("{insert} DO NOTHING")).unwrap();
    assert_current(&mut tenant, kpi, 30.0, Some(2));
    raw(&mut tenant, &format!("{insert} DO UPDATE SET value = excluded.value")).unwrap();
    assert_current(&mut tenant, kpi, 7.0, Some(2));
    raw(
        &mut tenant,
        "UPDATE kpi_data_points SET timestamp = timestamp - interval '1 day' WHERE value = 7",
    )
    .unwrap();
    assert_current(&mut tenant, kpi, 8.0, Some(1));
    raw(&mut tenant, "UPDATE kpi_data_points SET value = value + 1").unwrap();
    assert_current(&mut tenant, kpi, 9.0, Some(1));
}

#[test]
fn many_kpis_in_one_statement_are_each_followed() {
    let world = World::shared();
    let mut tenant = world.as_member(&world.a);
    let kpis: Vec<_> = (0..5)
        .map(|_| tenant.kpis().create(&NewKpi::new(parse("One of many"))).unwrap().id)
        .collect();
    let batch: Vec<_> =
        (0..20_u32).map(|i| point(&kpis[i as usize % 5], i64::from(i), f64::from(i))).collect();
    tenant.data_points().record_many(&batch, OnExisting::Fail).unwrap();
    for (kpi, hours) in kpis.iter().zip(15..) {
        assert_current(&mut tenant, kpi, f64::from(hours), Some(i64::from(hours)));
    }
    raw(&mut tenant, "DELETE FROM kpi_data_points WHERE value BETWEEN 15 AND 29").unwrap();
    for (kpi, hours) in kpis.iter().zip([10, 11, 12, 13, 14]) {
        assert_current(&mut tenant, kpi, f64::from(hours), Some(i64::from(hours)));
    }
    assert_current(&mut tenant, &world.a.kpi, 30.0, Some(2));
}

#[test]
fn it_cannot_be_set_by_hand() {
    let world = World::shared();
    let mut tenant = world.as_owner(&world.a);
    for sql in [
        "UPDATE kpis SET current_value = 1",
        "UPDATE kpis SET current_value_at = now()",
        "UPDATE kpis SET current_value_at = NULL",
        "UPDATE kpis SET current_value = 'NaN', name = 'x'",
        "INSERT INTO kpis (name, current_value) VALUES ('x', 1)",
        "INSERT INTO kpis (name, current_value) VALUES ('x', 'NaN')",
        "INSERT INTO kpis (name, current_value_at) VALUES ('x', now())",
    ] {
        assert_invalid(raw(&mut tenant, sql), "current_value");
    }
    raw(&mut tenant, "UPDATE kpis SET current_value = current_value, name = 'x'").unwrap();
    raw(&mut tenant, "INSERT INTO kpis (name, current_value) VALUES ('x', 0)").unwrap();
    assert_current(&mut tenant, &world.a.kpi, 30.0, Some(2));
}

#[test]
fn following_stamps_the_kpi_only_when_its_value_changed() {
    let world = World::shared();
    let mut tenant = world.as_member(&world.a);
    let stamp = |tenant: &mut TenantConnection| {
        tenant.kpis().find(&world.a.kpi).unwrap().unwrap().updated_at
    };
    let before = stamp(&mut tenant);
    tenant.data_points().record(&point(&world.a.kpi, -1, 5.0)).unwrap();
    assert_eq!(stamp(&mut tenant), before);
    tenant.data_points().record(&point(&world.a.kpi, 10, 5.0)).unwrap();
    assert!(stamp(&mut tenant) > before);
}
