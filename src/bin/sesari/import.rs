//! `sesari import`: a CSV file into a KPI's history.

use std::fs::File;
use std::io::{Read, stdin};
use std::path::Path;

use sesari_db::import::{CsvOptions, ImportOptions, Imported, sniff};
use sesari_db::repo::OnExisting;
use sesari_db::tenancy::Actor;

use crate::args::{Existing, Import, Preset};
use crate::print::{bar, line};
use crate::upkeep::database;
use crate::{Found, Outcome};

/// How much of a file its layout is proposed from.
const FIRST_LOOK: u64 = 64 * 1024;

pub(crate) fn run(command: &Import) -> Outcome<Found> {
    let actor = match (&command.user, &command.service) {
        (Some(user), _) => Actor::from(user.clone()),
        (None, Some(service)) => Actor::from(service.clone()),
        (None, None) => return Err("--user or --service is needed".into()),
    };
    let (mut input, length) = open(&command.file)?;
    let mut start = Vec::new();
    if command.preset.is_none() {
        input.by_ref().take(FIRST_LOOK).read_to_end(&mut start)?;
    }
    let layout = layout(command, &start)?;
    let options = options(command);
    let bar = bar(length, "{wide_bar} {percent:>3} %  {msg}");
    let input = bar.wrap_read(start.as_slice().chain(input));
    let db = database()?.build()?;
    let imported =
        db.import_csv(actor, &command.workspace, input, &layout, &options, |so_far, _| {
            bar.set_message(format!("{} rows", so_far.rows()));
        })?;
    bar.finish_and_clear();
    report(&imported, command.dry_run);
    Ok(if imported.refused == 0 { Found::Nothing } else { Found::Something })
}

fn open(path: &Path) -> Outcome<(Box<dyn Read>, u64)> {
    if path == Path::new("-") {
        return Ok((Box::new(stdin()), 0));
    }
    let failed = |error| format!("{}: {error}", path.display());
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    Ok((Box::new(file), length))
}

fn layout(command: &Import, start: &[u8]) -> Outcome<CsvOptions> {
    let kpi = command.kpi.clone();
    let column = command.column.as_deref().unwrap_or_default();
    let preset = match command.preset {
        Some(Preset::Plain) => CsvOptions::of_kpi(kpi).zone(command.zone),
        Some(Preset::Stripe) => CsvOptions::stripe(kpi),
        Some(Preset::GoogleAnalytics) => {
            CsvOptions::google_analytics(command.zone).metric(column, kpi).ignore_other_columns()
        }
        Some(Preset::Sheets) => {
            CsvOptions::sheets(command.zone).metric(column, kpi).ignore_other_columns()
        }
        Some(Preset::SheetsEuropean) => {
            CsvOptions::sheets_european(command.zone).metric(column, kpi).ignore_other_columns()
        }
        None => return first_look(command, start),
    };
    Ok(preset)
}

/// What the first rows propose, shown before it is done.
fn first_look(command: &Import, start: &[u8]) -> Outcome<CsvOptions> {
    let seen = sniff(start, &command.kpi, command.zone)?;
    line!(
        "Times from {:?}, values from {:?}, separated by {:?}, numbers as {:?}",
        seen.timestamp,
        seen.value,
        seen.delimiter,
        seen.numbers
    );
    if let Some(pattern) = &seen.time_pattern {
        line!("Times as {pattern}");
    }
    for doubt in &seen.doubts {
        line!("In doubt: {doubt}");
    }
    Ok(seen.options)
}

fn options(command: &Import) -> ImportOptions {
    let mut options = ImportOptions::new(match command.existing {
        Existing::Keep => OnExisting::Keep,
        Existing::Replace => OnExisting::Replace,
        Existing::Fail => OnExisting::Fail,
    });
    if command.add_up {
        options = options.add_up_rows_of_one_key();
    }
    if let Some(rows) = command.errors_allowed {
        options = options.errors_allowed(rows);
    }
    if command.all_or_nothing {
        options = options.all_or_nothing();
    }
    if command.dry_run {
        options = options.dry_run();
    }
    options
}

fn report(imported: &Imported, is_dry_run: bool) {
    for (what, rows) in [
        ("new", imported.inserted),
        ("replaced", imported.replaced),
        ("there before", imported.kept - imported.collided),
        ("kept out", imported.collided),
        ("refused", imported.refused),
    ] {
        line!("{rows:>9} rows {what}");
    }
    for error in &imported.errors {
        line!("{error}");
    }
    if is_dry_run {
        line!("Nothing was written");
    }
}
