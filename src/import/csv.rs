//! CSV, line by line.

mod export;
mod lines;
mod number;
mod options;
mod sniff;
mod time;

use std::collections::VecDeque;
use std::io::Read;

use self::lines::Lines;
use self::number::Numbers;
use self::options::{Role, folded};
use super::{Column, ImportError, Row, RowFault};
use crate::id::KpiId;
use crate::point::NewDataPoint;
use crate::value::{Invalid, Source};

pub(crate) use self::export::CsvWriter;
pub use self::number::NumberFormat;
pub use self::options::CsvOptions;
pub use self::sniff::{Sniffed, sniff};

/// The rows of a CSV file: one for each point, and one for each line that is none.
pub(crate) struct CsvRows<R> {
    lines: Lines<R>,
    layout: Layout,
    numbers: Numbers,
    /// The other points of the line.
    pending: VecDeque<Row>,
}

impl<R: Read> CsvRows<R> {
    /// Reads the header.
    pub(crate) fn new(reader: R, options: &CsvOptions) -> Result<Self, ImportError> {
        let mut lines = Lines::new(reader, options.delimiter, options.comments);
        loop {
            if !lines.next()? {
                return Err(ImportError::NoHeader);
            }
            let header = lines.fields().map_err(ImportError::Header)?;
            if header.iter().any(|name| !name.trim_ascii().is_empty()) {
                let layout = Layout::of(&header, options)?;
                let numbers = Numbers::new(options.numbers);
                return Ok(Self { lines, layout, numbers, pending: VecDeque::new() });
            }
        }
    }
}

impl<R: Read> Iterator for CsvRows<R> {
    type Item = Result<Row, ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.pending.pop_front() {
                return Some(Ok(row));
            }
            match self.lines.next() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error.into())),
            }
            let line = self.lines.number();
            let points =
                self.lines.fields().and_then(|row| self.layout.points(row, &mut self.numbers));
            match points {
                Ok(points) => {
                    self.pending.extend(points.into_iter().map(|point| Row { line, point }));
                }
                Err(fault) => return Some(Ok(Row { line, point: Err(fault) })),
            }
        }
    }
}

/// Where each column stands, and what all rows have in common.
struct Layout {
    kpi: Option<KpiId>,
    source: Option<Source>,
    totals: Vec<String>,
    places: [Option<usize>; Column::ALL.len()],
    metrics: Vec<(usize, KpiId)>,
    timestamp: usize,
    times: time::Times,
    fields: usize,
}

impl Layout {
    fn of(header: &[&[u8]], options: &CsvOptions) -> Result<Self, ImportError> {
        let wide = options.columns.iter().any(|(_, role)| matches!(role, Role::Metric(_)));
        // What a file of these options has no column for.
        let is_expected = |column: Column| match column {
            Column::KpiId => options.kpi.is_none() && !wide,
            Column::Value => !wide,
            Column::Source => options.source.is_none(),
            Column::Timestamp => true,
        };
        let mut places = [None; Column::ALL.len()];
        let mut metrics: Vec<(usize, KpiId)> = Vec::new();
        for (place, bytes) in header.iter().enumerate() {
            let found = String::from_utf8_lossy(bytes);
            let name = folded(&found);
            let named =
                options.columns.iter().find(|(known, _)| *known == name).map(|(_, role)| role);
            let own = Column::ALL.into_iter().find(|column| column.name() == name);
            let role = match (named, own.filter(|column| is_expected(*column))) {
                (Some(role), _) => role.clone(),
                (None, Some(column)) => Role::Column(column),
                (None, None) if options.ignore_others || name.is_empty() => Role::Ignored,
                (None, None) => return Err(unexpected(place, &found, header, options)),
            };
            match role {
                Role::Ignored => {}
                Role::Metric(kpi) if metrics.iter().any(|(_, other)| *other == kpi) => {
                    return Err(ImportError::DuplicateColumn(Column::Value));
                }
                Role::Metric(kpi) => metrics.push((place, kpi)),
                Role::Column(column) => {
                    if places[column as usize].replace(place).is_some() {
                        return Err(ImportError::DuplicateColumn(column));
                    }
                }
            }
        }
        for column in [Column::KpiId, Column::Value] {
            if is_expected(column) && places[column as usize].is_none() {
                return Err(ImportError::MissingColumn(column));
            }
        }
        // A metric that is not there would read as one without points.
        let named = options.columns.iter().filter_map(|(name, role)| match role {
            Role::Metric(kpi) => Some((name, kpi)),
            _ => None,
        });
        for (name, kpi) in named {
            if !metrics.iter().any(|(_, found)| found == kpi) {
                return Err(ImportError::MissingMetric(name.clone()));
            }
        }
        let missing = ImportError::MissingColumn(Column::Timestamp);
        Ok(Self {
            kpi: options.kpi.clone(),
            source: options.source.clone(),
            totals: options.totals.clone(),
            timestamp: places[Column::Timestamp as usize].ok_or(missing)?,
            places,
            metrics,
            times: options.times.clone(),
            fields: header.len(),
        })
    }

    /// The points of a line: none of a blank one or of totals.
    fn points(
        &self,
        mut fields: Vec<&[u8]>,
        numbers: &mut Numbers,
    ) -> Result<Vec<Result<NewDataPoint, RowFault>>, RowFault> {
        let blank = |field: &&[u8]| field.trim_ascii().is_empty();
        let Some(first) = fields.iter().find(|field| !blank(field)) else {
            return Ok(Vec::new());
        };
        if !self.totals.is_empty() && self.totals.contains(&folded(&String::from_utf8_lossy(first)))
        {
            return Ok(Vec::new());
        }
        while fields.len() > self.fields && fields.last().is_some_and(blank) {
            fields.pop();
        }
        if fields.len() != self.fields {
            return Err(RowFault::FieldCount { expected: self.fields });
        }
        let text = |place: usize, column: Column| {
            std::str::from_utf8(fields[place]).map_err(|_| RowFault::NotUtf8(column))
        };
        let of = |column: Column| {
            self.places[column as usize].map(|place| text(place, column)).transpose()
        };
        let kpi = match of(Column::KpiId)? {
            Some(text) => Some(kpi_id(text.trim())?),
            None => self.kpi.clone(),
        };
        let mut values = Vec::with_capacity(1 + self.metrics.len());
        if let (Some(kpi), Some(value)) = (kpi, of(Column::Value)?) {
            values.push((kpi, value));
        }
        for (place, kpi) in &self.metrics {
            let value = text(*place, Column::Value)?;
            if !value.trim().is_empty() {
                values.push((kpi.clone(), value));
            }
        }
        let values: Vec<_> =
            values.into_iter().map(|(kpi, value)| (kpi, numbers.read(value))).collect();
        let timestamp = self.times.read(text(self.timestamp, Column::Timestamp)?);
        let source = match of(Column::Source)? {
            Some(text) => source(text.trim())?,
            None => self.source.clone(),
        };
        let point = |(kpi_id, value): (KpiId, Result<_, Invalid>)| {
            Ok(NewDataPoint {
                kpi_id,
                value: value?,
                timestamp: timestamp.clone()?,
                source: source.clone(),
            })
        };
        Ok(values.into_iter().map(point).collect())
    }
}

fn kpi_id(text: &str) -> Result<KpiId, Invalid> {
    text.parse().map_err(|_| Invalid::new("kpi_id", "not a well-formed id"))
}

fn source(text: &str) -> Result<Option<Source>, Invalid> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some) }
}

/// Names the column, those that would have been read, and what most often is the cause.
fn unexpected(place: usize, found: &str, header: &[&[u8]], options: &CsvOptions) -> ImportError {
    let expected = if options.columns.is_empty() {
        Column::ALL.map(|column| column.name().to_owned()).join(", ")
    } else {
        let names = options.columns.iter().map(|(name, _)| name.clone());
        names
            .chain(Column::ALL.map(|column| column.name().to_owned()))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let other = [b',', b';', b'\t', b'|'].into_iter().find(|delimiter| {
        header.len() == 1 && *delimiter != options.delimiter && found.as_bytes().contains(delimiter)
    });
    let hint = match (other, options.kpi.is_some() && folded(found) == Column::KpiId.name()) {
        (Some(_), _) => "the file seems to separate fields otherwise: state the delimiter",
        (_, true) => "the file has a column for the KPI, and the options are of one KPI",
        _ => "map the column, or ignore it, in the options",
    };
    let found = found.chars().filter(|c| !c.is_control()).take(64).collect();
    ImportError::UnexpectedColumn { place: place + 1, found, expected, hint }
}

#[cfg(test)]
mod tests {
    use std::io;

    use proptest::prelude::*;

    use super::lines::MAX_LINE;
    use super::*;

    /// Gives one byte at a time.
    struct Drops<'a>(&'a [u8]);

    impl Read for Drops<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let one = into.len().min(1);
            self.0.read(&mut into[..one])
        }
    }

    fn rows(csv: &[u8]) -> Vec<(u64, Result<NewDataPoint, RowFault>)> {
        let options = CsvOptions::of_kpi("kpi1".parse().unwrap());
        let rows = CsvRows::new(csv, &options).unwrap();
        let read: Vec<_> = rows.map(|row| row.map(|row| (row.line, row.point)).unwrap()).collect();
        let rows = CsvRows::new(Drops(csv), &options).unwrap();
        let again: Vec<_> = rows.map(|row| row.map(|row| (row.line, row.point)).unwrap()).collect();
        assert_eq!(read, again);
        read
    }

    const HEADER: &str = "timestamp,value,source\n";

    #[test]
    fn a_field_may_be_quoted_in_whole_and_quotes_are_doubled_within() {
        let csv = format!(
            "{HEADER}\"2026-01-01T00:00:00Z\",\"1\",\"a\"\n2026-01-01T00:00:00Z,1,\"a\"\"b\"\n"
        );
        let read = rows(csv.as_bytes());
        assert!(read[0].1.is_ok());
        // Unquoted it is a"b, which is no source.
        assert!(
            matches!(&read[1].1, Err(RowFault::Invalid(invalid)) if invalid.field() == "source")
        );
    }

    #[test]
    fn text_after_a_closing_quote_is_refused_in_every_column_and_in_the_header() {
        for row in [
            "2026-01-01T00:00:00Z,\"1\"0,a",
            "2026-01-01T00:00:00Z,\"19.0\"5,a",
            "\"2026-01-04T00\":00:00Z,1,a",
            "2026-01-01T00:00:00Z,1,\"a\"b",
            "2026-01-01T00:00:00Z,1,\"a\"\"\"b",
            "2026-01-01T00:00:00Z,\"1\" ,a",
            "2026-01-01T00:00:00Z,\"\"1,a",
            "2026-01-01T00:00:00Z,\"1\"0\"\",a",
        ] {
            let read = rows(format!("{HEADER}{row}\n").as_bytes());
            assert_eq!(read[0].1, Err(RowFault::TextAfterQuote), "{row}");
        }
        let header = CsvRows::new(
            &b"\"timestamp\"s,value\n"[..],
            &CsvOptions::of_kpi("kpi1".parse().unwrap()),
        );
        assert!(matches!(header.err(), Some(ImportError::Header(RowFault::TextAfterQuote))));
    }

    #[test]
    fn an_open_quote_spoils_its_own_line_alone() {
        let good = "2026-01-01T00:00:00Z,1,a\n";
        let csv = format!("{HEADER}{good}2026-01-01T00:00:00Z,1,\"a\n{good}\"\n{good}");
        let faults: Vec<_> =
            rows(csv.as_bytes()).into_iter().map(|(line, point)| (line, point.err())).collect();
        let open = Some(RowFault::OpenQuote);
        let expected = [(2, None), (3, open.clone()), (4, None), (5, open), (6, None)];
        assert_eq!(faults, expected);
    }

    #[test]
    fn a_line_of_full_length_is_read_and_a_longer_one_is_not_whatever_its_end() {
        for end in ["\n", "\r\n", "\r", ""] {
            for (more, fits) in [(-1, true), (0, true), (1, false), (2, false), (99_999, false)] {
                let length = MAX_LINE.checked_add_signed(more).unwrap();
                let row = format!("2026-01-01T00:00:00Z,0.{},", "0".repeat(length - 24));
                assert_eq!(row.len(), length);
                let next = if end.is_empty() { "" } else { "2026-01-01T00:00:00Z,1,a" };
                let read = rows(format!("{HEADER}{row}{end}{next}").as_bytes());
                assert_eq!(read[0].1.is_ok(), fits, "{length} {end:?}: {:?}", read[0].1);
                assert!(read.get(1).is_none_or(|next| next.0 == 3 && next.1.is_ok()));
                assert_eq!(read.len(), if end.is_empty() { 1 } else { 2 });
            }
        }
    }

    #[test]
    fn a_line_of_any_length_is_skipped_in_little_memory() {
        let endless = HEADER.as_bytes().chain(io::repeat(b'"').take(50 << 20));
        let csv = endless.chain(&b"\n2026-01-01T00:00:00Z,1,a\n"[..]);
        let mut rows = CsvRows::new(csv, &CsvOptions::of_kpi("kpi1".parse().unwrap())).unwrap();
        assert_eq!(rows.next().unwrap().unwrap().point, Err(RowFault::TooLong));
        let last = rows.next().unwrap().unwrap();
        assert!(last.line == 3 && last.point.is_ok());
        assert!(rows.next().is_none());
    }

    #[test]
    fn utf_16_carriage_returns_and_a_line_that_states_the_delimiter_are_read() {
        let text = "sep=;\r\nTimestamp ; VALUE\r2026-01-01T00:00:00Z;1\r\r\n2026-01-01T01:00:00Z;2\n;\n;;;\n";
        let units: Vec<u16> = text.replace("VALUE", "value").encode_utf16().collect();
        let le =
            [&[0xFF, 0xFE][..], &units.iter().flat_map(|u| u.to_le_bytes()).collect::<Vec<_>>()];
        let be =
            [&[0xFE, 0xFF][..], &units.iter().flat_map(|u| u.to_be_bytes()).collect::<Vec<_>>()];
        for csv in [text.as_bytes().to_vec(), le.concat(), be.concat()] {
            let read = rows(&csv);
            let values: Vec<_> =
                read.iter().map(|row| row.1.as_ref().unwrap().value.get()).collect();
            assert_eq!(values, [1.0, 2.0]);
            assert_eq!((read[0].0, read[1].0), (3, 5));
        }
        // Cut within a character.
        let cut = [&le.concat()[..], &[0x3D, 0xD8, 0x00]].concat();
        assert_eq!(rows(&cut).len(), 3);
    }

    #[test]
    fn a_byte_order_mark_is_skipped_at_the_start_alone() {
        let row = "\u{feff}2026-01-01T00:00:00Z,1,a\n";
        let read = rows(format!("\u{feff}{HEADER}{row}").as_bytes());
        assert!(read[0].1.is_err());
    }

    proptest! {
        #[test]
        fn whatever_stands_in_a_line_the_good_ones_around_it_are_read(
            bytes in prop::collection::vec(prop_oneof![Just(b'"'), Just(b','), any::<u8>()], 0..60),
        ) {
            let bad: Vec<u8> = bytes.into_iter().filter(|byte| !b"\n\r".contains(byte)).collect();
            let good = b"2026-01-01T00:00:00Z,1,a\n";
            let csv = [HEADER.as_bytes(), good, &bad, b"\n", good].concat();
            let read = rows(&csv);
            let last = read.last().unwrap();
            prop_assert!(read[0].1.is_ok() && last.0 == 4 && last.1.is_ok());
        }
    }
}
