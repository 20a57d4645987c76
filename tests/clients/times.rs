//! Times are stored to the millisecond: JavaScript's `Date` and Prisma's `timestamp(3)` hold no more.

use chrono::{DateTime, Utc};
use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Array, Bool, Text, Timestamptz};
use sesari_db::import::{CsvOptions, ImportOptions};
use sesari_db::repo::{NewDataPoint, NewKpi, OnExisting, PointKey};
use sesari_db::schema::kpis;
use sesari_db::value::Timestamp;
use sesari_db::{Error, PgConnection};

use crate::support::{World, number};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn texts(conn: &mut PgConnection, query: &str) -> Vec<String> {
    diesel::select(sql::<Array<Text>>(&format!("ARRAY({query})"))).get_result(conn).unwrap()
}

#[test]
fn every_time_that_a_client_may_send_back_is_stored_to_the_millisecond() {
    let world = World::new();
    let finer = texts(
        &mut world.test.admin().unwrap(),
        "SELECT concat(table_name, '.', column_name) FROM information_schema.columns \
         WHERE table_schema = 'public' AND data_type = 'timestamp with time zone' \
           AND datetime_precision <> 3 ORDER BY 1",
    );
    // Entries are told apart by their number; a day starts at a whole second.
    assert_eq!(finer, ["audit_log.occurred_at", "kpi_rollups.day", "kpi_rollups.day_end"]);
}

#[test]
fn a_point_is_found_by_what_a_client_without_microseconds_sends_back() {
    let world = World::new();
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    let fine = at("2026-03-01T10:00:00.123789Z");
    let new = NewDataPoint::new(world.a.kpi.clone(), 1.0, fine).unwrap();
    let point = tenant.data_points().record(&new).unwrap();
    assert_eq!(point.timestamp.get(), at("2026-03-01T10:00:00.123Z"));
    let key = PointKey {
        kpi_id: world.a.kpi.clone(),
        timestamp: Timestamp::new(at("2026-03-01T10:00:00.123Z")).unwrap(),
        source: None,
    };
    assert_eq!(tenant.data_points().find(&key).unwrap(), Some(point));
    // Two moments of one millisecond are one key.
    let other = NewDataPoint::new(world.a.kpi.clone(), 2.0, at("2026-03-01T10:00:00.1234Z"));
    let other = [other.unwrap()];
    let kept = tenant.data_points().record_many(&other, OnExisting::Keep).unwrap();
    assert_eq!((kept.kept, kept.collided), (1, 1));
    match tenant.data_points().record_many(&other, OnExisting::Fail).unwrap_err() {
        Error::Conflict { constraint } => assert_eq!(constraint, "kpi_data_points_pkey"),
        error => panic!("{error:?}"),
    }
}

#[test]
fn two_rows_of_one_millisecond_are_told_as_a_collision_of_the_second_line() {
    let world = World::new();
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    let kpi = &world.a.kpi;
    let csv = format!(
        "kpi_id,timestamp,value\n{kpi},2026-03-01T00:00:00.0011Z,1\n{kpi},2026-03-01T00:00:00.0019Z,2\n"
    );
    let options = ImportOptions::new(OnExisting::Keep);
    let imported = tenant
        .data_points()
        .import_csv(csv.as_bytes(), &CsvOptions::new(), &options, |_, _| {})
        .unwrap();
    assert_eq!((imported.inserted, imported.kept, imported.collided), (1, 1, 1));
}

/// The type of the column rounds what is finer, this crate cuts it: `docs/clients.md` says so. What the
/// database makes it cuts too, so that nothing is from the future.
#[test]
fn what_each_writer_gets_of_a_finer_time() {
    let world = World::new();
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    let write = format!(
        "INSERT INTO kpi_data_points (kpi_id, value, timestamp) \
         VALUES ('{}', 1, '2026-03-01 10:00:00.123789+00')",
        world.a.kpi
    );
    tenant.connection().batch_execute(&write).unwrap();
    let latest = tenant.data_points().latest(&world.a.kpi).unwrap().unwrap();
    assert_eq!(latest.timestamp.get(), at("2026-03-01T10:00:00.124Z"));
    for time in ["2026-03-01T10:00:00.123789Z", "1969-12-31T23:59:59.999999Z"] {
        let cut = Timestamp::new(at(time)).unwrap();
        let by_server: DateTime<Utc> = diesel::select(sql::<Timestamptz>(&format!(
            "date_trunc('milliseconds', '{time}'::timestamptz)"
        )))
        .get_result(tenant.connection())
        .unwrap();
        assert_eq!(cut.get(), by_server);
    }
    for i in 0..40 {
        let early: bool = diesel::insert_into(kpis::table)
            .values((kpis::id.eq(format!("k{i}")), kpis::name.eq("n")))
            .returning(sql::<Bool>("created_at > statement_timestamp()"))
            .get_result(tenant.connection())
            .unwrap();
        assert!(!early);
        tenant.kpis().delete(&format!("k{i}").parse().unwrap()).unwrap();
        let early = "SELECT count(*) FROM kpis WHERE deleted_at > now()";
        assert_eq!(number(tenant.connection(), early), 0);
        tenant.commit().unwrap();
        tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    }
}

/// As a client pages whose times are cut to milliseconds on the way.
#[test]
fn keyset_paging_by_a_time_in_milliseconds_gives_each_row_once() {
    let world = World::new();
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    for i in 0..12 {
        tenant.kpis().create(&NewKpi::new(format!("{i}").parse().unwrap())).unwrap();
    }
    let all = texts(tenant.connection(), "SELECT id FROM kpis ORDER BY created_at, id");
    assert_eq!(all.len(), 13);
    let mut seen = Vec::new();
    loop {
        let after = seen.last().map_or(String::new(), |id| {
            format!(
                "WHERE (created_at, id) > (SELECT date_trunc('milliseconds', created_at), id \
                 FROM kpis WHERE id = '{id}')"
            )
        });
        let page = texts(
            tenant.connection(),
            &format!("SELECT id FROM kpis {after} ORDER BY created_at, id LIMIT 3"),
        );
        if page.is_empty() {
            break;
        }
        seen.extend(page);
        assert!(seen.len() <= all.len(), "a row came twice");
    }
    assert_eq!(seen, all);
}

#[test]
fn points_without_a_time_do_not_collide_in_one_transaction() {
    let world = World::new();
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    let kpi = &world.a.kpi;
    let write = |values: &str| {
        format!(
            "INSERT INTO kpi_data_points (kpi_id, value) SELECT '{kpi}', v FROM (VALUES {values}) AS v (v)"
        )
    };
    tenant.connection().batch_execute(&write("(1), (2), (3)")).unwrap();
    tenant.connection().batch_execute(&write("(4), (5)")).unwrap();
    let recorded = format!(
        "SELECT value::text FROM kpi_data_points WHERE kpi_id = '{kpi}' AND timestamp > now() - interval '1 minute' \
         ORDER BY timestamp"
    );
    assert_eq!(texts(tenant.connection(), &recorded), ["1", "2", "3", "4", "5"]);
    // What the transaction remembers is its own, whatever it makes of it.
    for odd in ["", "x", "-1", "99999999999999999999"] {
        let point = format!(
            "SET LOCAL sesari.last_point_time = '{odd}'; \
             INSERT INTO kpi_data_points (kpi_id, value, source) VALUES ('{kpi}', 6, 's{}')",
            odd.len()
        );
        tenant.connection().batch_execute(&point).unwrap();
    }
}
