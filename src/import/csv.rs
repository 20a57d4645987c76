//! CSV, line by line.

use std::io::{self, BufRead, BufReader, Read};

use chrono::{DateTime, Utc};
use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};

use super::{Column, ImportError, Row, RowFault};
use crate::id::KpiId;
use crate::repo::NewDataPoint;
use crate::value::{Finite, Invalid, Source, Timestamp};

/// The longest line that is read, its end not counted. A row of ours has a quarter of a thousand
/// bytes at most, but for a number with hundreds of digits.
const MAX_LINE: usize = 4096;

/// More than a header of ours can have without an unexpected or a repeated column.
const MAX_FIELDS: usize = 8;

/// The rows of a CSV file.
pub(crate) struct CsvRows<R> {
    lines: Lines<R>,
    layout: Layout,
}

impl<R: Read> CsvRows<R> {
    /// Reads the header. Without a KPI the file has a column for it.
    pub(crate) fn new(reader: R, kpi: Option<KpiId>) -> Result<Self, ImportError> {
        let mut lines = Lines::new(reader);
        if !lines.next()? {
            return Err(ImportError::NoHeader);
        }
        let layout = Layout::of(&lines.fields().map_err(ImportError::Header)?, kpi)?;
        Ok(Self { lines, layout })
    }
}

impl<R: Read> Iterator for CsvRows<R> {
    type Item = Result<Row, ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.lines.next() {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => return Some(Err(error.into())),
        }
        let point = self.lines.fields().and_then(|fields| self.layout.point(&fields));
        Some(Ok(Row { line: self.lines.number, point }))
    }
}

/// Where each column stands.
struct Layout {
    kpi: Kpi,
    timestamp: usize,
    value: usize,
    source: Option<usize>,
    fields: usize,
}

enum Kpi {
    OfAll(KpiId),
    Column(usize),
}

impl Layout {
    fn of(header: &[&[u8]], kpi: Option<KpiId>) -> Result<Self, ImportError> {
        let mut places = [None; Column::ALL.len()];
        for (place, name) in header.iter().enumerate() {
            let column = Column::ALL
                .into_iter()
                .filter(|column| kpi.is_none() || *column != Column::KpiId)
                .find(|column| column.name().as_bytes() == *name)
                .ok_or(ImportError::UnexpectedColumn(place + 1))?;
            if places[column as usize].replace(place).is_some() {
                return Err(ImportError::DuplicateColumn(column));
            }
        }
        let place =
            |column: Column| places[column as usize].ok_or(ImportError::MissingColumn(column));
        Ok(Self {
            kpi: match kpi {
                Some(kpi) => Kpi::OfAll(kpi),
                None => Kpi::Column(place(Column::KpiId)?),
            },
            timestamp: place(Column::Timestamp)?,
            value: place(Column::Value)?,
            source: places[Column::Source as usize],
            fields: header.len(),
        })
    }

    fn point(&self, fields: &[&[u8]]) -> Result<NewDataPoint, RowFault> {
        if fields.len() != self.fields {
            return Err(RowFault::FieldCount { expected: self.fields });
        }
        let text = |place: usize, column: Column| {
            std::str::from_utf8(fields[place]).map_err(|_| RowFault::NotUtf8(column))
        };
        Ok(NewDataPoint {
            kpi_id: match &self.kpi {
                Kpi::OfAll(kpi) => kpi.clone(),
                Kpi::Column(place) => kpi_id(text(*place, Column::KpiId)?)?,
            },
            value: value(text(self.value, Column::Value)?)?,
            timestamp: timestamp(text(self.timestamp, Column::Timestamp)?)?,
            source: match self.source {
                Some(place) => source(text(place, Column::Source)?)?,
                None => None,
            },
        })
    }
}

fn kpi_id(text: &str) -> Result<KpiId, Invalid> {
    text.parse().map_err(|_| Invalid::new("kpi_id", "not a well-formed id"))
}

fn value(text: &str) -> Result<Finite, Invalid> {
    let number: f64 = text.parse().unwrap_or(f64::NAN);
    if number.is_finite() && !is_kept(text, number) {
        return Err(Invalid::new("value", "expected a number that a 64-bit float can hold"));
    }
    Finite::new(number)
}

/// Whether a float keeps what the text says: an integer to its last digit, and more than nothing of
/// anything that is not 0. Fractions are rounded to the nearest float, as every reader of JSON does.
fn is_kept(text: &str, number: f64) -> bool {
    let digits = text.trim_start_matches(['+', '-']);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let digits = digits.trim_start_matches('0');
        return number == 0.0 && digits.is_empty() || format!("{:.0}", number.abs()) == digits;
    }
    let mantissa = digits.split(['e', 'E']).next().unwrap_or_default();
    number != 0.0 || !mantissa.contains(|digit: char| ('1'..='9').contains(&digit))
}

fn timestamp(text: &str) -> Result<Timestamp, Invalid> {
    let moment = DateTime::parse_from_rfc3339(text).map_err(|_| {
        Invalid::new("timestamp", "expected a time such as 2026-01-31T23:59:59+01:00")
    })?;
    Timestamp::new(moment.with_timezone(&Utc))
}

fn source(text: &str) -> Result<Option<Source>, Invalid> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some) }
}

/// Whether a quoted field goes on after its closing quote, which the parser would read as part of it.
fn has_text_after_quote(line: &[u8]) -> bool {
    enum At {
        Start,
        Unquoted,
        Quoted,
        /// A closing quote, or the first of two that stand for one.
        Quote,
    }
    let mut at = At::Start;
    for byte in line {
        at = match (at, byte) {
            (At::Start, b'"') | (At::Quote, b'"') => At::Quoted,
            (At::Quoted, b'"') => At::Quote,
            (At::Quoted, _) => At::Quoted,
            (At::Start | At::Unquoted | At::Quote, b',') => At::Start,
            (At::Quote, _) => return true,
            (At::Start | At::Unquoted, _) => At::Unquoted,
        };
    }
    false
}

/// Lines, one at a time and in a buffer of their own.
struct Lines<R> {
    input: BufReader<R>,
    /// Of the line in the buffer, from 1.
    number: u64,
    /// Without its end, or the first part of one that is too long.
    line: Vec<u8>,
    fits: bool,
    parser: Reader,
    /// The fields, without quotes.
    unquoted: Box<[u8]>,
    /// Where each field ends there.
    ends: [usize; MAX_FIELDS],
}

impl<R: Read> Lines<R> {
    fn new(reader: R) -> Self {
        Self {
            input: BufReader::with_capacity(64 * 1024, reader),
            number: 0,
            line: Vec::with_capacity(MAX_LINE + 2),
            fits: true,
            parser: ReaderBuilder::new().terminator(Terminator::Any(b'\n')).build(),
            unquoted: vec![0; MAX_LINE + 2].into(),
            ends: [0; MAX_FIELDS],
        }
    }

    /// Reads the next line that is not empty; says whether there was one.
    fn next(&mut self) -> io::Result<bool> {
        loop {
            self.line.clear();
            // Room for a line of full length and CR and LF.
            let mut piece = (&mut self.input).take(MAX_LINE as u64 + 2);
            if piece.read_until(b'\n', &mut self.line)? == 0 {
                return Ok(false);
            }
            self.number += 1;
            if self.line.pop_if(|last| *last == b'\n').is_none() {
                self.input.skip_until(b'\n')?;
            }
            self.line.pop_if(|last| *last == b'\r');
            self.fits = self.line.len() <= MAX_LINE;
            if !self.line.is_empty() {
                return Ok(true);
            }
        }
    }

    /// The fields of the line.
    fn fields(&mut self) -> Result<Vec<&[u8]>, RowFault> {
        if !self.fits {
            return Err(RowFault::TooLong);
        }
        if has_text_after_quote(&self.line) {
            return Err(RowFault::TextAfterQuote);
        }
        self.line.push(b'\n');
        let (result, _, _, fields) =
            self.parser.read_record(&self.line, &mut self.unquoted, &mut self.ends);
        if result != ReadRecordResult::Record {
            self.parser.reset();
            // More fields than there is room for are too many in any case.
            if result != ReadRecordResult::OutputEndsFull {
                // The line's end belongs to the last field.
                return Err(RowFault::OpenQuote);
            }
        }
        let starts = std::iter::once(0).chain(self.ends);
        let spans = starts.zip(self.ends).take(fields);
        Ok(spans.map(|(start, end)| &self.unquoted[start..end]).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
        let kpi: KpiId = "kpi1".parse().unwrap();
        let rows = CsvRows::new(csv, Some(kpi.clone())).unwrap();
        let read: Vec<_> = rows.map(|row| row.map(|row| (row.line, row.point)).unwrap()).collect();
        let rows = CsvRows::new(Drops(csv), Some(kpi)).unwrap();
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
        let header = CsvRows::new(&b"\"timestamp\"s,value\n"[..], Some("kpi1".parse().unwrap()));
        assert!(matches!(header.err(), Some(ImportError::Header(RowFault::TextAfterQuote))));
    }

    #[test]
    fn a_number_that_a_float_would_change_is_refused() {
        let read = |number: &str| {
            let csv = format!("{HEADER}2026-01-01T00:00:00Z,{number},a\n");
            rows(csv.as_bytes()).remove(0).1.map(|point| point.value.get())
        };
        let lost = ["1e-400", "-1e-400", "0.1e-999", "9007199254740993", "-9007199254740993"];
        let long = format!("1{}", "0".repeat(300));
        for number in lost.into_iter().chain([&*long]) {
            assert!(
                matches!(read(number), Err(RowFault::Invalid(fault)) if fault.field() == "value"),
                "{number}"
            );
        }
        for (number, kept) in [
            ("0", 0.0),
            ("000", 0.0),
            ("0e-999", 0.0),
            ("0.000", 0.0),
            ("9007199254740992", 9_007_199_254_740_992.0),
            ("+007", 7.0),
            ("-12", -12.0),
            ("1e22", 1e22),
            ("10000000000000000000000", 1e22),
            ("0.1", 0.1),
            ("5e-324", 5e-324),
        ] {
            assert_eq!(read(number), Ok(kept), "{number}");
        }
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
    fn a_line_of_4096_bytes_is_read_and_one_of_4097_is_not_whatever_its_end() {
        for end in ["\n", "\r\n", ""] {
            for (length, fits) in
                [(4095, true), (4096, true), (4097, false), (4098, false), (9999, false)]
            {
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
        let mut rows = CsvRows::new(csv, Some("kpi1".parse().unwrap())).unwrap();
        assert_eq!(rows.next().unwrap().unwrap().point, Err(RowFault::TooLong));
        let last = rows.next().unwrap().unwrap();
        assert!(last.line == 3 && last.point.is_ok());
        assert!(rows.lines.line.capacity() < 2 * MAX_LINE);
        assert!(rows.next().is_none());
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
            let bad: Vec<u8> = bytes.into_iter().filter(|byte| *byte != b'\n').collect();
            let good = b"2026-01-01T00:00:00Z,1,a\n";
            let csv = [HEADER.as_bytes(), good, &bad, b"\n", good].concat();
            let read = rows(&csv);
            let last = read.last().unwrap();
            prop_assert!(read[0].1.is_ok() && last.0 == 4 && last.1.is_ok());
        }
    }
}
