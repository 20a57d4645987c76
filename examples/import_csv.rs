//! A CSV file into a KPI's history, with a progress bar, and what became of the bad rows.
//!
//! ```sh
//! cargo run --example import_csv                 # writes a file of its own first
//! cargo run --example import_csv -- points.csv   # takes a first look, and reads it as that proposes
//! ```
//!
//! Times without an offset are read in the zone that `IMPORT_ZONE` names, UTC by default.
//!
//! Finds its own server: `SESARI_TEST_URL` if set, else PostgreSQL's installed binaries, else Docker.
//! Works in a throw-away database and leaves nothing behind.

#[macro_use]
#[path = "support/print.rs"]
mod print;

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;

use chrono::{DateTime, TimeDelta, Utc};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use sesari_db::Database;
use sesari_db::id::{KpiId, UserId, WorkspaceId};
use sesari_db::import::{CsvOptions, ImportOptions, Imported, sniff};
use sesari_db::repo::{NewKpi, NewUser, NewWorkspace, OnExisting};
use sesari_db::testing::TestDatabase;
use sesari_db::value::AuthProvider;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let path = std::env::args().nth(1);
    let (input, length): (Box<dyn Read>, u64) = if let Some(path) = &path {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        println!("Importing {path}.");
        (Box::new(file), length)
    } else {
        let csv = ten_weeks_of_minutes()?;
        println!("Importing ten weeks of minutes. A path as argument imports that file.");
        let length = csv.len() as u64;
        (Box::new(std::io::Cursor::new(csv)), length)
    };

    println!("Starting PostgreSQL and running the migrations ...");
    // In a service: `Database::builder(tenant_url, context_keys)`; see the README.
    let server = TestDatabase::new()?;
    let db = server.database()?;
    let (ada, acme, kpi) = set_up(&db)?;

    let layout = match &path {
        Some(path) => first_look(path, &kpi)?,
        None => CsvOptions::of_kpi(kpi.clone()),
    };
    let bar = ProgressBar::new(length)
        .with_style(ProgressStyle::with_template("{wide_bar} {percent:>3} %  {msg}")?);
    // Commits after each batch. `tenant.data_points().import_csv(..)` does it in one transaction.
    let options = ImportOptions::new(OnExisting::Keep).errors_kept(5);
    let imported =
        db.import_csv(&ada, &acme, bar.wrap_read(input), &layout, &options, |so_far, _| {
            bar.set_message(format!("{} rows", HumanCount(so_far.rows())));
        })?;
    bar.finish();
    report(&imported);

    let mut tenant = db.begin(&sesari_db::Scope::tenant(&ada, &acme).read_only())?;
    match tenant.data_points().latest(&kpi)? {
        Some(point) => println!("\nLatest: {} at {}", point.value, point.timestamp.get()),
        None => println!("\nNo points."),
    }
    Ok(())
}

/// What the first rows propose, shown before it is done.
fn first_look(path: &str, kpi: &KpiId) -> Outcome<CsvOptions> {
    let mut start = Vec::new();
    File::open(path)?.take(64 * 1024).read_to_end(&mut start)?;
    let zone = std::env::var("IMPORT_ZONE").unwrap_or_else(|_| "UTC".into()).parse()?;
    let seen = sniff(&start, kpi, zone)?;
    println!(
        "Reading times from {:?} and values from {:?}, separated by {:?}, numbers as {:?}.",
        seen.timestamp, seen.value, seen.delimiter, seen.numbers
    );
    if let Some(pattern) = &seen.time_pattern {
        println!("Times are written as {pattern}.");
    }
    for doubt in &seen.doubts {
        println!("In doubt: {doubt}.");
    }
    for point in seen.points.iter().take(3) {
        println!("  {} at {}", point.value.get(), point.timestamp.get());
    }
    Ok(seen.options)
}

/// A minute a row, and a few rows that somebody's spreadsheet got wrong.
fn ten_weeks_of_minutes() -> Outcome<String> {
    let first: DateTime<Utc> = "2026-01-01T00:00:00Z".parse()?;
    let mut csv = String::from("timestamp,value,source\r\n");
    for minute in 0..10 * 7 * 24 * 60 {
        let at = (first + TimeDelta::minutes(minute)).to_rfc3339();
        let value = 20.0 + (f64::from(i32::try_from(minute)?) / 720.0).sin();
        match minute {
            1_234 => csv.push_str("31.12.2026 12:00,20,sheets\r\n"),
            5_678 => write!(csv, "{at},n/a,sheets\r\n")?,
            20_000 => write!(csv, "{at},20,5,sheets\r\n")?,
            50_000 => write!(csv, "{at},\"20,sheets\r\n")?,
            70_000 => write!(csv, "{at},20,Google Sheets\r\n")?,
            80_000 => write!(csv, "{at},inf,sheets\r\n")?,
            // A row that is there twice is recorded once.
            90_000 => write!(csv, "{at},{value:.3},sheets\r\n{at},{value:.3},sheets\r\n")?,
            _ => write!(csv, "{at},{value:.3},sheets\r\n")?,
        }
    }
    Ok(csv)
}

fn report(imported: &Imported) {
    println!();
    for (what, rows) in [
        ("new", imported.inserted),
        ("replaced", imported.replaced),
        ("there before", imported.kept - imported.collided),
        ("kept out", imported.collided),
        ("refused", imported.refused),
    ] {
        println!("{:>8} rows {what}", HumanCount(rows).to_string());
    }
    if !imported.errors.is_empty() {
        println!("\nThe first {} errors:", imported.errors.len());
    }
    for error in &imported.errors {
        println!("  {error}");
    }
}

fn set_up(db: &Database) -> Outcome<(UserId, WorkspaceId, KpiId)> {
    let mut service = db.service(&"sign-in".parse()?)?;
    let ada = service.users().sign_in(&NewUser::new(
        "ada@example.com".parse()?,
        AuthProvider::Google,
        "ada".parse()?,
    ))?;
    service.commit()?;
    let mut user = db.user(&ada.id)?;
    let acme = user.my_workspaces().create(&NewWorkspace::new("Acme".parse()?, "acme".parse()?))?;
    user.commit()?;
    let mut tenant = db.tenant(&ada.id, &acme.id)?;
    let kpi = tenant.kpis().create(&NewKpi::new("Temperature".parse()?))?;
    tenant.commit()?;
    Ok((ada.id, acme.id, kpi.id))
}
