//! CSV: what is read, what is refused and where.

use std::io::{self, Read};

use sesari_db::Error;
use sesari_db::import::{
    Column, CsvOptions, ImportError, ImportOptions, Imported, RowError, RowFault,
};
use sesari_db::repo::OnExisting;

use super::tools::{count, counts, keep, member, new_kpi, span};
use crate::support::{World, hour};

/// Imports a text as the member of `a`, in a transaction that is rolled back.
fn import(world: &World, csv: impl AsRef<[u8]>) -> Result<Imported, Error> {
    let mut tenant = member(world, &world.a);
    tenant.data_points().import_csv(csv.as_ref(), &CsvOptions::new(), &keep(), |_, _| ())
}

fn lines(errors: &[RowError]) -> Vec<(u64, Option<Column>)> {
    errors.iter().map(|error| (error.line, error.column)).collect()
}

#[test]
fn columns_are_found_by_name_and_a_source_may_be_empty() {
    let world = World::shared();
    let mut tenant = member(&world, &world.a);
    let kpi = new_kpi(&mut tenant);
    let csv = format!(
        "source,value,kpi_id,timestamp\n\
         stripe,1.5,{kpi},2026-01-01T01:00:00Z\n\
         ,-2e3,{kpi},2026-01-01T03:00:00+01:00\n"
    );
    let imported =
        tenant.data_points().import_csv(csv.as_bytes(), &CsvOptions::new(), &keep(), |_, _| ());
    assert_eq!(counts(&imported.unwrap()), [2, 0, 0, 0]);
    let all: Result<Vec<_>, _> = tenant.data_points().iter(&kpi, span(0, 9)).collect();
    let all: Vec<_> = all
        .unwrap()
        .into_iter()
        .map(|point| (point.timestamp.get(), point.source.map(|s| s.to_string()), point.value))
        .collect();
    assert_eq!(all, [(hour(1), Some("stripe".into()), 1.5), (hour(2), None, -2000.0)]);
}

#[test]
fn a_file_of_one_kpi_has_no_column_for_it() {
    let world = World::shared();
    let mut tenant = member(&world, &world.a);
    let kpi = new_kpi(&mut tenant);
    let csv = "timestamp,value\n2026-01-01T00:00:00Z,7\n";
    let mut points = tenant.data_points();
    let imported = points
        .import_csv(csv.as_bytes(), &CsvOptions::of_kpi(kpi.clone()), &keep(), |_, _| ())
        .unwrap();
    assert_eq!(counts(&imported), [1, 0, 0, 0]);
    let both = "kpi_id,timestamp,value\n";
    let refused =
        points.import_csv(both.as_bytes(), &CsvOptions::of_kpi(kpi.clone()), &keep(), |_, _| ());
    assert!(matches!(refused, Err(Error::Import(ImportError::UnexpectedColumn { place: 1, .. }))));
    assert_eq!(tenant.kpis().find(&kpi).unwrap().unwrap().current_value, 7.0);
}

#[test]
fn byte_order_marks_carriage_returns_quotes_and_blank_lines_are_tolerated() {
    let world = World::shared();
    let kpi = &world.a.kpi;
    let csv = format!(
        "\u{feff}\"kpi_id\",timestamp,\"value\"\r\n\
         \"{kpi}\",\"2026-02-01T00:00:00Z\",\"1\"\r\n\
         \r\n\
         {kpi},2026-02-01T01:00:00Z,2\n\
         \n\
         {kpi},2026-02-01T02:00:00Z,3"
    );
    assert_eq!(counts(&import(&world, csv).unwrap()), [3, 0, 0, 0]);
}

#[test]
fn every_kind_of_bad_row_is_named_and_costs_no_other() {
    let world = World::shared();
    let (kpi, foreign) = (&world.a.kpi, &world.b.kpi);
    let long = "9".repeat(70_000);
    let rows: Vec<(Vec<u8>, Option<Column>)> = [
        (format!("{kpi},2026-02-01T00:00:00Z"), None),
        (format!("{kpi},2026-02-01T00:00:00Z,1,stripe,5"), None),
        (format!("{kpi},2026-02-01T00:00:00Z,1,a{}", ",b".repeat(2000)), None),
        (format!("{kpi},2026-02-01T00:00:00Z,1,\"stripe"), None),
        (format!("{kpi},2026-02-01T00:00:00Z,{long},"), None),
        (format!("{kpi},2026-02-01T00:00:00Z,{},", long.repeat(100)), None),
        ("Not an id,2026-02-01T00:00:00Z,1,".into(), Some(Column::KpiId)),
        (format!("{foreign},2026-02-01T00:00:00Z,1,"), Some(Column::KpiId)),
        (format!("{kpi},,1,"), Some(Column::Timestamp)),
        (format!("{kpi},2026-02-30T00:00:00Z,1,"), Some(Column::Timestamp)),
        (format!("{kpi},2026-02-01 00:00,1,"), Some(Column::Timestamp)),
        (format!("{kpi},0001-01-01T00:30:00+01:00,1,"), Some(Column::Timestamp)),
        (format!("{kpi},9999-12-31T23:59:59-00:01,1,"), Some(Column::Timestamp)),
        (format!("{kpi},262143-01-01T00:00:00Z,1,"), Some(Column::Timestamp)),
        (format!("{kpi},2026-02-01T00:00:00Z,,"), Some(Column::Value)),
        (format!("{kpi},2026-02-01T00:00:00Z,NaN,"), Some(Column::Value)),
        (format!("{kpi},2026-02-01T00:00:00Z,-inf,"), Some(Column::Value)),
        (format!("{kpi},2026-02-01T00:00:00Z,1e999,"), Some(Column::Value)),
        (format!("{kpi},2026-02-01T00:00:00Z,\"1,5\","), Some(Column::Value)),
        (format!("{kpi},2026-02-01T00:00:00Z,1,Stripe"), Some(Column::Source)),
        (format!("{kpi},2026-02-01T00:00:00Z,1,\0"), Some(Column::Source)),
    ]
    .map(|(row, column)| (row.into_bytes(), column))
    .into_iter()
    .chain([(
        [format!("{kpi},2026-02-01T00:00:00Z,1,").as_bytes(), b"\xff"].concat(),
        Some(Column::Source),
    )])
    .collect();
    // A good row before, between and after.
    let good = |n: usize| format!("{kpi},2026-03-01T00:00:{n:02}Z,1,\n").into_bytes();
    let mut csv = b"kpi_id,timestamp,value,source\n".to_vec();
    csv.extend(good(0));
    let mut expected = Vec::new();
    for (n, (row, column)) in rows.iter().enumerate() {
        csv.extend_from_slice(row);
        csv.push(b'\n');
        csv.extend(good(n + 1));
        expected.push((3 + 2 * n as u64, *column));
    }
    let imported = import(&world, &csv).unwrap();
    assert_eq!(counts(&imported), [rows.len() as u64 + 1, 0, 0, rows.len() as u64]);
    assert_eq!(lines(&imported.errors), expected, "{:#?}", imported.errors);
    let faults: Vec<_> = imported.errors.iter().map(|error| &error.fault).collect();
    assert_eq!(*faults[1], RowFault::FieldCount { expected: 4 });
    assert_eq!((faults[3], faults[4]), (&RowFault::OpenQuote, &RowFault::TooLong));
    assert_eq!((faults[7], faults[21]), (&RowFault::NoSuchKpi, &RowFault::NotUtf8(Column::Source)));
    let sentence = imported.errors[14].to_string();
    assert_eq!(
        sentence,
        "line 31: invalid value: expected a finite number in the stated number format"
    );
}

#[test]
fn no_error_of_a_row_repeats_what_stands_in_it() {
    let world = World::shared();
    let secret = "hunter2";
    let kpi = &world.a.kpi;
    let csv = format!(
        "kpi_id,timestamp,value,source\n{secret}!,,,\n{kpi},{secret},,\n\
         {kpi},2026-02-01T00:00:00Z,{secret},\n{kpi},2026-02-01T00:00:00Z,1,{secret}!\n\
         {secret},2026-02-01T00:00:00Z,1,\n{secret}\n\"{secret}\n"
    );
    let imported = import(&world, csv).unwrap();
    assert_eq!(imported.refused, 7);
    let mut told = format!("{:?}{}", imported.errors, serde_json::to_string(&imported).unwrap());
    for error in &imported.errors {
        told.push_str(&error.to_string());
    }
    assert!(!told.contains(secret), "{told}");
}

#[test]
fn a_header_that_does_not_fit_is_refused_before_anything_is_written() {
    let world = World::shared();
    let kpi = &world.a.kpi;
    let refused = |header: &[u8]| {
        let row = format!("\n{kpi},2026-02-01T00:00:00Z,1\n");
        let mut tenant = member(&world, &world.a);
        let csv = [header, row.as_bytes()].concat();
        let result =
            tenant.data_points().import_csv(&csv[..], &CsvOptions::new(), &keep(), |_, _| ());
        assert_eq!(count(&mut tenant, kpi), 3, "nothing was written, and the guard goes on");
        match result.unwrap_err() {
            Error::Import(error) => format!("{error:?}"),
            other => panic!("{other:?}"),
        }
    };
    for (header, expected) in [
        (&b"kpi_id,timestamp"[..], "MissingColumn(Value)"),
        (b"timestamp,value", "MissingColumn(KpiId)"),
        (b"kpi_id,timestamp,value,value", "DuplicateColumn(Value)"),
        (b"kpi_id,timestamp,value,note", "UnexpectedColumn { place: 4"),
        (b"kpi_id;timestamp;value", "UnexpectedColumn { place: 1"),
        (b"kpi_id,timestamp,value,\xff", "UnexpectedColumn { place: 4"),
        (b"value,value,value,value,value,value,value,value,value,value", "DuplicateColumn(Value)"),
        (&b"value,".repeat(1025), "Header(TooManyFields)"),
        (b"kpi_id,\"timestamp,value", "Header(OpenQuote)"),
        (&vec![b'a'; 70_000], "Header(TooLong)"),
    ] {
        assert!(refused(header).starts_with(expected), "{expected}: {}", refused(header));
    }
    for empty in ["", "\n\r\n\n"] {
        let none = import(&world, empty);
        assert!(matches!(none, Err(Error::Import(ImportError::NoHeader))), "{none:?}");
    }
    assert_eq!(import(&world, "kpi_id,timestamp,value\n").unwrap(), Imported::default());
}

#[test]
fn errors_are_counted_and_shown_whatever_their_number_and_a_few_are_kept() {
    let world = World::shared();
    let mut tenant = member(&world, &world.a);
    let mut csv = String::from("kpi_id,timestamp,value\n");
    for n in 0..100 {
        // A KPI that never was in one row of three, which are found out later than bad values.
        let row = if n % 3 == 0 {
            "gone1,2026-02-01T00:00:00Z,1"
        } else {
            "gone1,2026-02-01T00:00:00Z,x"
        };
        csv.push_str(row);
        csv.push('\n');
    }
    let mut shown = Vec::new();
    let options = keep().batch_rows(7).errors_kept(10);
    let imported = tenant
        .data_points()
        .import_csv(csv.as_bytes(), &CsvOptions::new(), &options, |so_far, errors| {
            shown.extend(errors.iter().map(|error| error.line));
            assert_eq!(so_far.refused, shown.len() as u64);
        })
        .unwrap();
    assert_eq!(shown, (2..102).collect::<Vec<_>>(), "each once, in order");
    let kept: Vec<_> = imported.errors.iter().map(|error| error.line).collect();
    assert_eq!((imported.refused, kept), (100, (2..12).collect()));
}

/// Fails after so many bytes.
struct Failing<'a>(&'a [u8]);

impl Read for Failing<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.0.read(into)? {
            0 => Err(io::ErrorKind::ConnectionReset.into()),
            read => Ok(read),
        }
    }
}

#[test]
fn a_reader_that_fails_ends_the_import_and_leaves_the_guard_whole() {
    let world = World::shared();
    let kpi = &world.a.kpi;
    let mut csv = String::from("kpi_id,timestamp,value\n");
    for second in 10..55 {
        csv.extend([format!("{kpi},2026-02-01T00:00:{second}Z,1\n")]);
    }
    let mut tenant = member(&world, &world.a);
    let options = keep().batch_rows(10);
    let ended = tenant.data_points().import_csv(
        Failing(csv.as_bytes()),
        &CsvOptions::new(),
        &options,
        |_, _| (),
    );
    assert!(matches!(ended, Err(Error::Import(ImportError::Read(_)))), "{ended:?}");
    // Whole batches that were read before are there.
    assert_eq!(count(&mut tenant, kpi), 3 + 40);
    tenant.commit().unwrap();
}

#[test]
fn a_file_imported_twice_records_once() {
    let world = World::shared();
    let kpi = &world.a.kpi;
    let csv = |value: u8| {
        (0..60).fold("kpi_id,timestamp,value\n".to_owned(), |csv, second| {
            csv + &format!("{kpi},2026-02-01T00:00:{second:02}Z,{value}\n")
        })
    };
    for (existing, value, expected) in [
        (OnExisting::Keep, 1, [60, 0, 0, 0]),
        (OnExisting::Keep, 2, [0, 0, 60, 0]),
        (OnExisting::Replace, 2, [0, 60, 0, 0]),
        (OnExisting::Replace, 2, [0, 0, 60, 0]),
    ] {
        let imported = world
            .db
            .import_csv(
                &world.a.member,
                &world.a.workspace,
                csv(value).as_bytes(),
                &CsvOptions::new(),
                &ImportOptions::new(existing).batch_rows(7),
                |_, _| (),
            )
            .unwrap();
        assert_eq!(counts(&imported), expected);
    }
}
