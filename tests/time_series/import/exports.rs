//! Files as people have them, each made by hand in the form of its export.

use chrono::{DateTime, Utc};
use sesari_db::id::KpiId;
use sesari_db::import::{CsvOptions, ImportError, Imported, NumberFormat, sniff};
use sesari_db::repo::{OnExisting, TimeRange};
use sesari_db::series::Zone;
use sesari_db::value::Timestamp;
use sesari_db::{Error, TenantConnection};

use super::tools::{counts, keep, member, new_kpi};
use crate::support::World;

fn berlin() -> Zone {
    "Europe/Berlin".parse().unwrap()
}

fn read(tenant: &mut TenantConnection, csv: impl AsRef<[u8]>, options: &CsvOptions) -> Imported {
    tenant.data_points().import_csv(csv.as_ref(), options, &keep(), |_, _| ()).unwrap()
}

/// Time, source and value of each point of this century.
fn points(tenant: &mut TenantConnection, kpi: &KpiId) -> Vec<(String, Option<String>, f64)> {
    let at = |text: &str| Timestamp::new(text.parse::<DateTime<Utc>>().unwrap()).unwrap();
    let range = TimeRange::new(at("2000-01-01T00:00:00Z"), at("2100-01-01T00:00:00Z")).unwrap();
    let all: Result<Vec<_>, _> = tenant.data_points().iter(kpi, range).collect();
    all.unwrap()
        .into_iter()
        .map(|point| {
            let at = point.timestamp.get().format("%m-%d %H:%M").to_string();
            (at, point.source.map(|source| source.to_string()), point.value)
        })
        .collect()
}

fn of(source: &str, all: &[(&str, f64)]) -> Vec<(String, Option<String>, f64)> {
    all.iter().map(|(at, value)| ((*at).into(), Some(source.into()), *value)).collect()
}

#[test]
fn a_google_analytics_report_imports_with_its_preset() {
    let world = World::shared();
    let mut tenant = member(&world, &world.a);
    let (users, sessions) = (new_kpi(&mut tenant), new_kpi(&mut tenant));
    let csv = "# ----------------------------------------\n\
               # Reports snapshot\n# All Users\n# Start date: 20261124\n# End date: 20261126\n\
               # ----------------------------------------\n\n\
               Date,Active users,Sessions,Engagement rate\n\
               20261124,1041,1290,0.62\n20261125,998,,0.6\n20261126,1102,1377,0.64\n\
               ,3141,2667,0.62\nGrand total,3141,2667,0.62\n";
    let options = CsvOptions::google_analytics(berlin())
        .metric("Active users", users.clone())
        .metric("Sessions", sessions.clone());
    let imported = read(&mut tenant, csv, &options);
    // The row of totals without a label has no date, and is refused with its line.
    assert_eq!(counts(&imported), [5, 0, 0, 2], "{imported:?}");
    assert_eq!(imported.errors[0].line, 12);
    assert_eq!(
        points(&mut tenant, &users),
        of(
            "google_analytics",
            &[("11-23 23:00", 1041.0), ("11-24 23:00", 998.0), ("11-25 23:00", 1102.0)]
        )
    );
    // A blank field is no point, and not 0.
    assert_eq!(
        points(&mut tenant, &sessions),
        of("google_analytics", &[("11-23 23:00", 1290.0), ("11-25 23:00", 1377.0)])
    );
}

#[test]
fn stripes_payments_import_with_their_preset_and_lose_none_of_a_minute() {
    let world = World::shared();
    let mut tenant = member(&world, &world.a);
    let kpi = new_kpi(&mut tenant);
    let csv = "id,Created date (UTC),Amount,Amount Refunded,Currency,Description\r\n\
               ch_1,2026-01-31 23:59,10.00,0.00,eur,\"Plan, yearly\"\r\n\
               ch_2,2026-01-31 23:59,20.00,0.00,eur,\r\n\
               ch_3,2026-01-31 23:59,30.00,0.00,eur,\r\n\
               ch_4,2026-02-01 08:15,\"1,234.50\",0.00,eur,\r\n";
    let options = CsvOptions::stripe(kpi.clone());
    let imported = read(&mut tenant, csv, &options);
    assert_eq!(counts(&imported), [2, 0, 2, 0]);
    assert_eq!((imported.collided, &imported.collisions[..]), (2, &[3, 4][..]));
    let again = read(&mut tenant, csv, &options);
    assert_eq!((counts(&again), again.collided), ([0, 0, 4, 0], 2), "a repeat is no collision");

    let other = new_kpi(&mut tenant);
    let adding = keep().add_up_rows_of_one_key().batch_rows(1);
    let options = CsvOptions::stripe(other.clone());
    let imported =
        tenant.data_points().import_csv(csv.as_bytes(), &options, &adding, |_, _| ()).unwrap();
    assert_eq!((counts(&imported), imported.added_up, imported.rows()), ([2, 0, 0, 0], 2, 4));
    assert_eq!(
        points(&mut tenant, &other),
        of("stripe", &[("01-31 23:59", 60.0), ("02-01 08:15", 1234.5)])
    );
}

#[test]
fn spreadsheets_of_both_conventions_import_with_their_presets() {
    let world = World::shared();
    let mut tenant = member(&world, &world.a);
    let (revenue, churn) = (new_kpi(&mut tenant), new_kpi(&mut tenant));
    let csv = "Date,Revenue, Churn ,Notes,\n2026-11-25,\"$1,234.50\",2.5%,\"fair, day 1\",\n\
               2026-11-26,(53),\u{2212}1%,,\n,,,,\nTotal,\"$1,181.50\",,,\n";
    let options = CsvOptions::sheets(berlin())
        .metric("Revenue", revenue.clone())
        .metric("churn", churn.clone());
    assert_eq!(counts(&read(&mut tenant, csv, &options)), [4, 0, 0, 0]);
    let expected = [("11-24 23:00", 1234.5), ("11-25 23:00", -53.0)];
    assert_eq!(points(&mut tenant, &revenue), of("sheets", &expected));
    let expected = [("11-24 23:00", 2.5), ("11-25 23:00", -1.0)];
    assert_eq!(points(&mut tenant, &churn), of("sheets", &expected));

    let (revenue, churn) = (new_kpi(&mut tenant), new_kpi(&mut tenant));
    let csv = "Datum;Umsatz;Abwanderung\n25.11.2026;1.234,50 €;2,5\n26.11.2026;1.234;3\nSumme;2.468,50 €;\n";
    let utf_16: Vec<u8> =
        [0xFEFF].into_iter().chain(csv.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let options = CsvOptions::sheets_european(berlin())
        .time_pattern(berlin(), "%d.%m.%Y")
        .unwrap()
        .column("Datum", sesari_db::import::Column::Timestamp)
        .totals_row("Summe")
        .metric("Umsatz", revenue.clone())
        .metric("Abwanderung", churn);
    assert_eq!(counts(&read(&mut tenant, utf_16, &options)), [4, 0, 0, 0]);
    let expected = [("11-24 23:00", 1234.5), ("11-25 23:00", 1234.0)];
    assert_eq!(points(&mut tenant, &revenue), of("sheets", &expected));
}

#[test]
fn a_file_that_shows_another_convention_is_not_half_read() {
    let world = World::shared();
    let mut tenant = member(&world, &world.a);
    let kpi = new_kpi(&mut tenant);
    let csv = "timestamp,value\n2026-01-01T00:00:00Z,\"1.234,50\"\n2026-01-02T00:00:00Z,1.234\n\
               2026-01-03T00:00:00Z,12.5\n";
    let imported = read(&mut tenant, csv, &CsvOptions::of_kpi(kpi.clone()));
    assert_eq!(counts(&imported), [1, 0, 0, 2]);
    let stated = CsvOptions::of_kpi(kpi.clone()).numbers(NumberFormat::Comma);
    let imported = read(&mut tenant, csv, &stated);
    // 12.5 is no number with a decimal comma.
    assert_eq!(counts(&imported), [2, 0, 0, 1]);
    let values: Vec<_> = points(&mut tenant, &kpi).into_iter().map(|(_, _, value)| value).collect();
    assert_eq!(values, [1234.5, 1234.0, 12.5]);
}

#[test]
fn a_metric_that_the_file_lacks_is_told_and_an_unexpected_column_is_named() {
    let world = World::shared();
    let mut tenant = member(&world, &world.a);
    let kpi = new_kpi(&mut tenant);
    let mut fault = |csv: &str, options: &CsvOptions| {
        let points = &mut tenant.data_points();
        points.import_csv(csv.as_bytes(), options, &keep(), |_, _| ()).unwrap_err().to_string()
    };
    let options = CsvOptions::sheets(Zone::UTC).metric("Sesions", kpi.clone());
    assert_eq!(
        fault("Date,Sessions\n2026-01-01,1\n", &options),
        "the header has no column \"sesions\", which the options map to a KPI"
    );
    let told = fault("timestamp,value,Note\n", &CsvOptions::of_kpi(kpi.clone()));
    for part in ["column 3", "\"Note\"", "kpi_id, timestamp, value, source", "map the column"] {
        assert!(told.contains(part), "{told}");
    }
    let told = fault("timestamp;value\n", &CsvOptions::of_kpi(kpi));
    assert!(told.contains("state the delimiter"), "{told}");
}

#[test]
fn what_a_first_look_proposes_reads_the_file() {
    let world = World::shared();
    let mut tenant = member(&world, &world.a);
    let kpi = new_kpi(&mut tenant);
    let csv = "Tag;Wert\n25.11.2026;1.234,50\n26.11.2026;7,5\n";
    let seen = sniff(csv.as_bytes(), &kpi, berlin()).unwrap();
    let imported = read(&mut tenant, csv, &seen.options);
    assert_eq!(counts(&imported), [2, 0, 0, 0]);
    let expected: Vec<_> = seen.points.iter().map(|point| point.value.get()).collect();
    let values: Vec<_> = points(&mut tenant, &kpi).into_iter().map(|(_, _, value)| value).collect();
    assert_eq!(values, expected);
}

#[test]
fn an_export_is_imported_again_to_the_bit() {
    let world = World::shared();
    let mut tenant = member(&world, &world.a);
    let kpi = new_kpi(&mut tenant);
    let values = [0.1, -1e300, 5e-324, 1e23, 123_456_789.125, 0.0];
    let new: Vec<_> = (0..)
        .zip(values)
        .map(|(hours, value)| super::tools::point(&kpi, hours, value).unwrap())
        .map(|point| point.from_source("stripe".parse().unwrap()))
        .collect();
    tenant.data_points().record_many(&new, OnExisting::Fail).unwrap();
    let before = points(&mut tenant, &kpi);
    let mut csv = Vec::new();
    let written = tenant.data_points().export_csv(&kpi, super::tools::span(0, 99), &mut csv);
    assert_eq!(written.unwrap(), 6);
    let range = super::tools::span(0, 99);
    assert_eq!(tenant.data_points().delete_before(Some(&kpi), range.to(), 100).unwrap(), 6);
    let imported = read(&mut tenant, &csv, &CsvOptions::new());
    assert_eq!(counts(&imported), [6, 0, 0, 0]);
    assert_eq!(points(&mut tenant, &kpi), before);
    // Not another tenant's.
    let mut other = member(&world, &world.b);
    let written = other.data_points().export_csv(&kpi, range, std::io::sink());
    assert_eq!(written.unwrap(), 0);
}

/// Fails after the header.
struct Full(usize);

impl std::io::Write for Full {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        if self.0 > 40 { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_writer_that_fails_is_told() {
    let world = World::shared();
    let mut tenant = member(&world, &world.a);
    let kpi = world.a.kpi.clone();
    let ended = tenant.data_points().export_csv(&kpi, super::tools::span(0, 99), Full(0));
    assert!(matches!(ended, Err(Error::Import(ImportError::Write(_)))), "{ended:?}");
}
