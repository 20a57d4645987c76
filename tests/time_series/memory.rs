//! Imports and streams of any length take the same memory.
//!
//! `SESARI_LONG=10000000 cargo test --test time_series memory -- --nocapture` imports and reads so many points.
#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

use std::io::{self, Read, Write as _};
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use sesari_db::id::KpiId;
use sesari_db::import::{CsvOptions, ImportOptions};
use sesari_db::repo::{NewDataPoint, OnExisting, TimeRange};
use sesari_db::value::{Invalid, Timestamp};

use crate::support::random::long_or;
use crate::support::{World, alone};

/// What may come and go, in kilobytes: half of what the quick form's rows would take, were they held.
const ALLOWED: i64 = 4_000;

/// Where the points of one KPI begin.
fn start() -> DateTime<Utc> {
    "1990-01-01T00:00:00Z".parse().unwrap()
}

/// What of this process is in memory, in kilobytes.
fn memory() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The most that is in memory while this goes on, and how many steps it took.
fn peak<T>(steps: impl IntoIterator<Item = T>) -> (i64, u64) {
    let (mut peak, mut count) = (memory(), 0);
    for _ in steps {
        count += 1;
        if count % 1000 == 0 {
            peak = peak.max(memory());
        }
    }
    (peak, count)
}

/// A CSV file that is written while it is read: a point a minute, and each thousandth row is bad.
struct Minutes {
    kpi: KpiId,
    row: u64,
    rows: u64,
    line: Vec<u8>,
    given: usize,
}

impl Minutes {
    fn new(kpi: &KpiId, rows: u64) -> Self {
        let line = b"kpi_id,timestamp,value,source\n".to_vec();
        Self { kpi: kpi.clone(), row: 0, rows, line, given: 0 }
    }
}

impl Read for Minutes {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.given == self.line.len() && self.row < self.rows {
            self.line.clear();
            self.given = 0;
            let at = start() + TimeDelta::minutes(self.row.try_into().unwrap());
            let value = if self.row % 1000 == 999 { "bad" } else { "12.5" };
            writeln!(self.line, "{},{},{value},test", self.kpi, at.to_rfc3339())?;
            self.row += 1;
        }
        let read = (&self.line[self.given..]).read(into)?;
        self.given += read;
        Ok(read)
    }
}

/// One test, since another would take memory of the same process.
#[test]
fn imports_and_streams_of_any_length_take_the_same_memory() {
    if !alone("memory::imports_and_streams_of_any_length_take_the_same_memory") {
        return;
    }
    let rows = long_or(80_000);
    let world = World::new();
    let options = ImportOptions::new(OnExisting::Keep);
    let (actor, workspace) = (&world.a.member, &world.a.workspace);
    let import_csv = |kpi: &KpiId, rows: u64| {
        let mut peak = memory();
        let csv = Minutes::new(kpi, rows);
        let imported =
            world.db.import_csv(actor, workspace, csv, &CsvOptions::new(), &options, |_, _| {
                peak = peak.max(memory());
            });
        let imported = imported.unwrap();
        assert_eq!((imported.refused, imported.rows()), (rows / 1000, rows));
        assert!(imported.errors.len() <= 100);
        peak
    };
    let new_kpi = || {
        let mut tenant = world.db.tenant(actor, workspace).unwrap();
        let new = sesari_db::repo::NewKpi::new("Minutes".parse().unwrap());
        let kpi = tenant.kpis().create(&new).unwrap().id;
        tenant.commit().unwrap();
        kpi
    };
    let read = |kpi: &KpiId| {
        let to = Timestamp::new("2100-01-01T00:00:00Z".parse().unwrap()).unwrap();
        let ever = TimeRange::new(Timestamp::new(start()).unwrap(), to).unwrap();
        let mut tenant = world.db.tenant(actor, workspace).unwrap();
        peak(tenant.data_points().iter(kpi, ever).map(|point| point.unwrap().value))
    };
    let timed = |what: &str, before: i64, run: &mut dyn FnMut() -> i64| {
        let started = Instant::now();
        let peak = run();
        #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = rows as f64 / started.elapsed().as_secs_f64();
        eprintln!("{what}: {before} kB with 10000 rows, {peak} kB with {rows}, {rate:.0} rows/s");
        assert!(peak - before < ALLOWED, "{what}: {before} kB, {peak} kB");
    };

    let (few, many) = (new_kpi(), new_kpi());
    let before = import_csv(&few, 10_000);
    timed("import_csv", before, &mut || import_csv(&many, rows));

    let (before, count) = read(&few);
    assert_eq!(count, 10_000 - 10);
    timed("stream", before, &mut || {
        let (peak, count) = read(&many);
        assert_eq!(count, rows - rows / 1000);
        peak
    });

    // In one transaction of a guard, which is rolled back.
    let import = |kpi: &KpiId, rows: u64| {
        let mut tenant = world.db.tenant(actor, workspace).unwrap();
        let mut peak = memory();
        let points = (0..rows.try_into().unwrap()).map(|minute: i64| -> Result<_, Invalid> {
            NewDataPoint::new(kpi.clone(), 1.0, start() + TimeDelta::minutes(minute))
        });
        let mut points_of_tenant = tenant.data_points();
        points_of_tenant.import(points, &options, |_, _| peak = peak.max(memory())).unwrap();
        peak
    };
    let third = new_kpi();
    let before = import(&third, 10_000);
    timed("import", before, &mut || import(&third, rows));

    // One line of that size, two gigabytes in the long form.
    let before = memory();
    timed("one line", before, &mut || {
        let line = io::repeat(b'x').take(rows * 200);
        let csv = (&b"kpi_id,timestamp,value\n"[..]).chain(line);
        let imported =
            world.db.import_csv(actor, workspace, csv, &CsvOptions::new(), &options, |_, _| ());
        assert_eq!(imported.unwrap().refused, 1);
        memory()
    });
}
