//! A first look at a file: options that would read it, and what they would read.

use super::lines::Lines;
use super::number::{Numbers, shows_decimal_comma, shows_thousands_comma};
use super::options::folded;
use super::time::iso;
use super::{CsvOptions, CsvRows, NumberFormat};
use crate::id::KpiId;
use crate::import::{Column, ImportError, RowError};
use crate::point::NewDataPoint;
use crate::series::Zone;

/// The rows that are looked at.
const ROWS: usize = 100;

/// Names that a column of times often has.
const TIMES: [&str; 9] = [
    "timestamp",
    "date",
    "time",
    "day",
    "datum",
    "fecha",
    "created (utc)",
    "created date (utc)",
    "datetime",
];

/// What a row of totals begins with.
const TOTALS: [&str; 3] = ["total", "totals", "grand total"];

/// Forms that are not ISO 8601's, each with those that read the same digits as another day.
const PATTERNS: [&str; 10] = [
    "%d.%m.%Y",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%Y/%m/%d",
];

/// What a first look at a file found.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Sniffed {
    /// Options that would read the file. They are a proposal for a person to confirm.
    pub options: CsvOptions,
    /// The header, as it stands in the file.
    pub header: Vec<String>,
    /// The column of times.
    pub timestamp: String,
    /// The column of values: the first whose fields are all numbers.
    pub value: String,
    /// Other columns whose fields are all numbers, for [`CsvOptions::metric`].
    pub other_numbers: Vec<String>,
    /// What separates fields.
    pub delimiter: char,
    /// How numbers seem to be written.
    pub numbers: NumberFormat,
    /// How times seem to be written, where not as in ISO 8601.
    pub time_pattern: Option<String>,
    /// What the first rows leave open, as sentences for people.
    pub doubts: Vec<&'static str>,
    /// What the options would read of the first rows.
    pub points: Vec<NewDataPoint>,
    /// What they would refuse.
    pub errors: Vec<RowError>,
}

/// Looks at the start of a file, of which some ten thousand bytes are enough, and proposes options that
/// read it as points of this KPI, with times without an offset in this zone.
///
/// # Errors
/// [`ImportError::NoHeader`] for an empty file, [`ImportError::Header`] for one that is no CSV, and
/// [`ImportError::MissingColumn`] where no column seems to hold times, or none numbers.
pub fn sniff(start: &[u8], kpi: &KpiId, zone: Zone) -> Result<Sniffed, ImportError> {
    let (delimiter, rows) = [b',', b';', b'\t', b'|']
        .into_iter()
        .map(|delimiter| Ok((delimiter, table(start, delimiter)?)))
        .collect::<Result<Vec<_>, ImportError>>()?
        .into_iter()
        .rev()
        .max_by_key(|(_, rows)| {
            let width = rows.first().map_or(0, Vec::len);
            (rows.iter().filter(|row| row.len() == width).count() * usize::from(width > 1), width)
        })
        .ok_or(ImportError::NoHeader)?;
    let (header, body) = rows.split_first().ok_or(ImportError::NoHeader)?;
    let body: Vec<_> = body
        .iter()
        .filter(|row| !row.iter().any(|field| TOTALS.contains(&&*folded(field))))
        .collect();
    let column = |place: usize| {
        let fields = body.iter().filter_map(move |row| row.get(place).map(|field| field.trim()));
        fields.filter(|field| !field.is_empty()).collect::<Vec<_>>()
    };
    let mut doubts = Vec::new();

    let named = |place: &usize| !TIMES.contains(&folded(&header[*place]).as_str());
    let mut places: Vec<usize> = (0..header.len()).collect();
    places.sort_by_key(|place| (named(place), *place));
    let (timestamp, patterns) = places
        .iter()
        .find_map(|place| Some((*place, forms(&column(*place))?)))
        .ok_or(ImportError::MissingColumn(Column::Timestamp))?;
    let pattern = patterns.first().copied();
    if patterns.len() > 1 {
        doubts.push("days and months could be the other way round: state the pattern of times");
    }

    let is_number = |field: &&str| {
        [NumberFormat::Plain, NumberFormat::Point, NumberFormat::Comma]
            .iter()
            .any(|format| Numbers::new(*format).read(field).is_ok())
    };
    let numeric: Vec<usize> = (0..header.len())
        .filter(|place| *place != timestamp)
        .filter(|place| !column(*place).is_empty() && column(*place).iter().all(is_number))
        .collect();
    let value = *numeric.first().ok_or(ImportError::MissingColumn(Column::Value))?;
    let values: Vec<_> = numeric.iter().flat_map(|place| column(*place)).collect();
    let numbers = number_format(&values, &mut doubts);

    let ignored = (0..header.len()).filter(|place| ![timestamp, value].contains(place));
    let mut options = CsvOptions::of_kpi(kpi.clone())
        .delimiter(delimiter)
        .map_err(|_| ImportError::NoHeader)?
        .numbers(numbers)
        .zone(zone)
        .comments()
        .column(&header[timestamp], Column::Timestamp)
        .column(&header[value], Column::Value);
    for label in TOTALS {
        options = options.totals_row(label);
    }
    for place in ignored {
        options = options.ignore_column(&header[place]);
    }
    if let Some(pattern) = pattern {
        options = options
            .time_pattern(zone, pattern)
            .map_err(|_| ImportError::MissingColumn(Column::Timestamp))?;
    }
    let (mut points, mut errors) = (Vec::new(), Vec::new());
    // The last line may have been cut.
    for row in CsvRows::new(start, &options)?.take(ROWS.min(body.len())) {
        let row = row?;
        match row.point {
            Ok(point) => points.push(point),
            Err(fault) => errors.push(fault.at(row.line)),
        }
    }
    Ok(Sniffed {
        options,
        timestamp: header[timestamp].clone(),
        value: header[value].clone(),
        other_numbers: numeric[1..].iter().map(|place| header[*place].clone()).collect(),
        delimiter: delimiter.into(),
        numbers,
        time_pattern: pattern.map(ToOwned::to_owned),
        doubts,
        points,
        errors,
        header: header.clone(),
    })
}

/// The first lines as text, if fields are separated so, without blank ones. The last of the bytes may be
/// a piece of a line, and is left out unless it is the only one.
fn table(start: &[u8], delimiter: u8) -> Result<Vec<Vec<String>>, ImportError> {
    let mut lines = Lines::new(start, delimiter, true);
    let mut rows: Vec<Vec<String>> = Vec::new();
    while rows.len() <= ROWS && lines.next()? {
        match lines.fields() {
            Ok(fields) => {
                let row: Vec<_> = fields
                    .iter()
                    .map(|field| String::from_utf8_lossy(field).into_owned())
                    .collect();
                if row.iter().any(|field| !field.trim().is_empty()) {
                    rows.push(row);
                }
            }
            Err(fault) if rows.is_empty() => return Err(ImportError::Header(fault)),
            Err(_) => {}
        }
    }
    if rows.len() > 2 && rows.len() <= ROWS && !start.ends_with(b"\n") && !start.ends_with(b"\r") {
        rows.pop();
    }
    Ok(rows)
}

/// The patterns by which all of these fields are times; none for ISO 8601. `None` where they are no times.
fn forms(fields: &[&str]) -> Option<Vec<&'static str>> {
    let all = |reads: &dyn Fn(&str) -> bool| {
        !fields.is_empty() && fields.iter().all(|field| reads(field))
    };
    if all(&|field| iso(field).is_some() || chrono::DateTime::parse_from_rfc3339(field).is_ok()) {
        return Some(Vec::new());
    }
    let fit = PATTERNS.into_iter().filter(|pattern| {
        let mut times = super::time::Times::default();
        times.pattern(Zone::UTC, pattern).is_ok() && all(&|field| times.read(field).is_ok())
    });
    Some(fit.collect::<Vec<_>>()).filter(|patterns| !patterns.is_empty())
}

fn number_format(values: &[&str], doubts: &mut Vec<&'static str>) -> NumberFormat {
    let any = |shows: fn(&str) -> bool| values.iter().any(|value| shows(value));
    let reads =
        |format: NumberFormat| values.iter().all(|value| Numbers::new(format).read(value).is_ok());
    match (any(shows_decimal_comma), any(shows_thousands_comma)) {
        (true, false) => NumberFormat::Comma,
        (false, true) => NumberFormat::Point,
        _ if reads(NumberFormat::Plain) => {
            if values.iter().any(|value| value.contains('.')) && reads(NumberFormat::Comma) {
                doubts.push(
                    "the points in numbers could separate thousands: state the number format",
                );
            }
            NumberFormat::Plain
        }
        _ => {
            if reads(NumberFormat::Point) && reads(NumberFormat::Comma) {
                doubts.push("the commas in numbers could be decimal: state the number format");
            }
            NumberFormat::Point
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Finite;

    fn look(csv: &str) -> Sniffed {
        sniff(csv.as_bytes(), &"kpi1".parse().unwrap(), "Europe/Berlin".parse().unwrap()).unwrap()
    }

    #[test]
    fn a_european_sheet_is_recognized_and_read() {
        let seen = look(
            "Datum;Umsatz;Notiz\r\n26.11.2026;1.234,50 €;Messe\r\n27.11.2026;7,25 €;\r\nTotal;1.241,75 €;\r\n",
        );
        assert_eq!((seen.delimiter, seen.numbers), (';', NumberFormat::Comma));
        assert_eq!((&*seen.timestamp, &*seen.value), ("Datum", "Umsatz"));
        assert_eq!(seen.time_pattern.as_deref(), Some("%d.%m.%Y"));
        let values: Vec<_> = seen.points.iter().map(|point| point.value.get()).collect();
        assert_eq!((values, seen.errors, seen.doubts), (vec![1234.5, 7.25], vec![], vec![]));
    }

    #[test]
    fn what_the_rows_leave_open_is_said() {
        let seen = look("date,a\n03/04/2026,\"1,234\"\n05/06/2026,\"2,345\"\n");
        assert_eq!(seen.doubts.len(), 2, "{:?}", seen.doubts);
        let clear = look("date,a\n03/14/2026,\"1,234.5\"\n05/06/2026,\"2,345\"\n");
        assert_eq!((clear.time_pattern.as_deref(), clear.doubts), (Some("%m/%d/%Y"), vec![]));
        assert_eq!(clear.points[1].value, Finite::new(2345.0).unwrap());
    }

    #[test]
    fn comments_several_metrics_and_short_dates_are_recognized() {
        let seen = look(
            "# ----\n# All users\n\nDate,Users,Sessions\n20261126,5,7\n20261127,6,8\n,11,15\n",
        );
        assert_eq!(
            (&*seen.value, &seen.other_numbers[..]),
            ("Users", &["Sessions".to_owned()][..])
        );
        assert_eq!(seen.points.len(), 2);
    }

    #[test]
    fn what_is_no_table_of_numbers_is_refused() {
        for csv in ["", "\n\n", "a,b\nx,y\n", "date,note\n2026-01-01,hello\n", "value\n1\n2\n"] {
            let zone = Zone::UTC;
            assert!(sniff(csv.as_bytes(), &"kpi1".parse().unwrap(), zone).is_err(), "{csv:?}");
        }
    }
}
