//! Importing data points from an iterator or from CSV: rows, their errors, and batches of them.
//! Pure: no database.
//!
//! [`DataPointRepository::import`](crate::repo::DataPointRepository::import) and
//! [`import_csv`](crate::repo::DataPointRepository::import_csv) write what is read here in the
//! transaction of a guard, [`Database::import`](crate::Database::import) and
//! [`Database::import_csv`](crate::Database::import_csv) in one transaction for each batch.
//!
//! # The form of a CSV file
//! [`CsvOptions`] say how a file is laid out, with presets for the exports that many people have, and
//! [`sniff`] proposes them from a file's first rows. Without any the first line names the columns, in any
//! order: `timestamp` and `value`, and where wanted `source`, and `kpi_id` unless the whole file is of one
//! KPI. Times are as in RFC 3339, and what is finer than a millisecond is cut off: two rows of one
//! millisecond have one key. Numbers have a point and no separator, an empty source is none.
//!
//! Whatever the options: an integer that a 64-bit float would change is refused, and so is a number other
//! than 0 that it would make 0; fractions are rounded to the nearest float. Fields may be quoted in whole.
//! Files are UTF-8, or UTF-16 with a byte-order mark; lines end in LF, CRLF or CR, and blank ones are
//! skipped. A record is one line: no field of ours has a line break in it, and so a quote that is never
//! closed spoils its own line and none of those after it.
//!
//! # Invariants, and the tests that guard them
//!
//! | invariant | test |
//! |---|---|
//! | a bad row costs no other row | `every_kind_of_bad_row_is_named_and_costs_no_other` |
//! | no error of a row repeats what stands in it; one of the header names the column | `no_error_of_a_row_repeats_what_stands_in_it` |
//! | memory does not grow with the input, nor with a line of it | `a_line_of_any_length_is_skipped_in_little_memory`, `tests/time_series/memory.rs` |

mod csv;

use std::collections::{HashMap, HashSet};
use std::fmt;

pub use csv::{CsvOptions, NumberFormat, Sniffed, sniff};
pub(crate) use csv::{CsvRows, CsvWriter};

use crate::point::{NewDataPoint, OnExisting, Recorded};
use crate::value::{Finite, Invalid};

/// How an import goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImportOptions {
    existing: OnExisting,
    batch_rows: usize,
    errors_kept: usize,
    errors_allowed: u64,
    add_up: bool,
    extent: Extent,
}

/// How much of an import is one transaction, and whether it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    Batches,
    AllOrNothing,
    DryRun,
}

impl ImportOptions {
    /// The most rows that a batch may have.
    pub const MAX_BATCH_ROWS: usize = 50_000;

    /// What to do with points whose key is taken; 10 000 rows a batch, and the first 100 errors
    /// kept.
    ///
    /// [`OnExisting`] speaks of one batch. Over several the same holds with what was written before
    /// as what is there: a key that comes again in a later batch is kept, replaced or failed on.
    #[must_use]
    pub fn new(existing: OnExisting) -> Self {
        Self {
            existing,
            batch_rows: 10_000,
            errors_kept: 100,
            errors_allowed: u64::MAX,
            add_up: false,
            extent: Extent::Batches,
        }
    }

    /// Reads and writes so many rows at a time, 1 to [`MAX_BATCH_ROWS`](Self::MAX_BATCH_ROWS). A
    /// number beyond these is taken as the nearer of them.
    #[must_use]
    pub fn batch_rows(self, rows: usize) -> Self {
        Self { batch_rows: rows.clamp(1, Self::MAX_BATCH_ROWS), ..self }
    }

    /// Keeps so many errors for [`Imported::errors`], and so many lines for
    /// [`Imported::collisions`]. All are counted, and all errors are shown to the progress callback,
    /// whatever the number.
    #[must_use]
    pub fn errors_kept(self, errors: usize) -> Self {
        Self { errors_kept: errors, ..self }
    }

    /// Ends the import with [`ImportError::TooManyErrors`] once more rows than this were refused,
    /// before the batch in which it happens is written.
    #[must_use]
    pub fn errors_allowed(self, errors: u64) -> Self {
        Self { errors_allowed: errors, ..self }
    }

    /// Writes nothing unless every row can be written: in one transaction, with no error allowed. In a
    /// guard, an import that ends early leaves what was there before it.
    #[must_use]
    pub fn all_or_nothing(self) -> Self {
        Self { errors_allowed: 0, extent: Extent::AllOrNothing, ..self }
    }

    /// Reads, checks and writes everything in one transaction, and undoes it: [`Imported`] is what the
    /// import would have come to.
    #[must_use]
    pub fn dry_run(self) -> Self {
        Self { extent: Extent::DryRun, ..self }
    }

    /// Adds up rows of one key, such as payments of one minute, instead of keeping one of them: those
    /// of a batch, and those that follow each other. Their sum is then the point. A key that comes again
    /// in a later batch is one that is there already.
    #[must_use]
    pub fn add_up_rows_of_one_key(self) -> Self {
        Self { add_up: true, ..self }
    }

    pub(crate) fn existing(self) -> OnExisting {
        self.existing
    }

    pub(crate) fn extent(self) -> Extent {
        self.extent
    }
}

/// What has become of the rows so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Imported {
    /// Points that are new.
    pub inserted: u64,
    /// Points whose value was replaced by another.
    pub replaced: u64,
    /// Points that changed nothing: kept, already of this value, or overtaken within their batch.
    pub kept: u64,
    /// Those among the kept whose value is not the one that is stored now. A repeat is none.
    pub collided: u64,
    /// The lines of the first of them, in order; as many as the options say.
    pub collisions: Vec<u64>,
    /// Rows that were added to an earlier one of the same key.
    pub added_up: u64,
    /// Rows that are no point of this workspace: bad ones, and those of a KPI that does not exist.
    pub refused: u64,
    /// The first errors, in the order of the rows; as many as the options say.
    pub errors: Vec<RowError>,
}

impl Imported {
    /// How many rows were read, good and bad.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.inserted + self.replaced + self.kept + self.added_up + self.refused
    }
}

/// A column of a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Column {
    /// The KPI measured.
    KpiId,
    /// When.
    Timestamp,
    /// The value.
    Value,
    /// Where it came from.
    Source,
}

impl Column {
    const ALL: [Self; 4] = [Self::KpiId, Self::Timestamp, Self::Value, Self::Source];

    /// The column's name in a header.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::KpiId => "kpi_id",
            Self::Timestamp => "timestamp",
            Self::Value => "value",
            Self::Source => "source",
        }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A row that was not imported: where it stands and what is wrong, never what stands in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
#[non_exhaustive]
pub struct RowError {
    /// The line of a file, of which the header is 1; of an iterator the item, from 1.
    pub line: u64,
    /// The column at fault, unless it is the row as a whole.
    pub column: Option<Column>,
    /// What is wrong.
    pub fault: RowFault,
}

impl serde::Serialize for RowError {
    /// The line, the column, and the fault as a sentence for people.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut fields = serializer.serialize_struct("RowError", 3)?;
        fields.serialize_field("line", &self.line)?;
        fields.serialize_field("column", &self.column)?;
        fields.serialize_field("fault", &self.fault.to_string())?;
        fields.end()
    }
}

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RowFault {
    /// It has more or fewer fields than the header.
    #[error("expected {expected} fields, as in the header")]
    FieldCount {
        /// How many the header has.
        expected: usize,
    },

    /// A quoted field does not end on its line.
    #[error("a quote is not closed on its line")]
    OpenQuote,

    /// A quoted field goes on after its closing quote.
    #[error("text after a closing quote; expected a comma or the end of the line")]
    TextAfterQuote,

    /// The line has more than 65 536 bytes.
    #[error("longer than 65536 bytes")]
    TooLong,

    /// The line has more than 1024 fields.
    #[error("more than 1024 fields")]
    TooManyFields,

    /// A field is not UTF-8.
    #[error("{0} is not UTF-8")]
    NotUtf8(Column),

    /// A field breaks a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),

    /// The workspace has no such KPI, or it is deleted.
    #[error("there is no such KPI, or it is deleted")]
    NoSuchKpi,
}

impl RowFault {
    fn column(&self) -> Option<Column> {
        match self {
            Self::FieldCount { .. }
            | Self::OpenQuote
            | Self::TextAfterQuote
            | Self::TooLong
            | Self::TooManyFields => None,
            Self::NotUtf8(column) => Some(*column),
            Self::Invalid(invalid) => {
                Column::ALL.into_iter().find(|column| column.name() == invalid.field())
            }
            Self::NoSuchKpi => Some(Column::KpiId),
        }
    }

    pub(crate) fn at(self, line: u64) -> RowError {
        RowError { line, column: self.column(), fault: self }
    }
}

/// Why an import ended early, other than for the database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// There is no first line.
    #[error("the file has no header")]
    NoHeader,

    /// The header lacks a column.
    #[error("the header has no column {0}")]
    MissingColumn(Column),

    /// The header has a column twice.
    #[error("the header has the column {0} twice")]
    DuplicateColumn(Column),

    /// The header lacks a column of a KPI's values that the options name.
    #[error("the header has no column {0:?}, which the options map to a KPI")]
    MissingMetric(
        /// Its name, in small letters.
        String,
    ),

    /// The header has a column that the options neither name nor ignore.
    #[error(
        "column {place} of the header, {found:?}, is none of those expected ({expected}): {hint}"
    )]
    UnexpectedColumn {
        /// Which, from 1.
        place: usize,
        /// Its name, 64 characters at most.
        found: String,
        /// The names that are expected.
        expected: String,
        /// What most often is the cause.
        hint: &'static str,
    },

    /// The header is no line of CSV.
    #[error("the header cannot be read: {0}")]
    Header(RowFault),

    /// More rows were refused than [`ImportOptions::errors_allowed`] says.
    #[error("{refused} rows were refused, of which the first is {first}")]
    TooManyErrors {
        /// How many were refused so far.
        refused: u64,
        /// The first that was.
        first: RowError,
    },

    /// Under [`OnExisting::Fail`], a key that is taken: by a point that is
    /// there, or by an earlier row.
    #[error("line {line}: there is a point of this KPI, time and source already")]
    KeyTaken {
        /// The line of the file, or the item of the iterator.
        line: u64,
    },

    /// The reader failed.
    #[error("the input cannot be read")]
    Read(#[from] std::io::Error),

    /// The writer of an export failed.
    #[error("the output cannot be written")]
    Write(#[source] std::io::Error),
}

impl ImportError {
    pub(crate) fn kind_and_status(&self) -> (&'static str, u16) {
        match self {
            Self::KeyTaken { .. } => ("import_key_taken", 409),
            Self::Read(_) => ("import_read", 500),
            Self::Write(_) => ("import_write", 500),
            Self::TooManyErrors { .. } => ("import_too_many_errors", 422),
            Self::NoHeader
            | Self::MissingColumn(_)
            | Self::DuplicateColumn(_)
            | Self::MissingMetric(_)
            | Self::UnexpectedColumn { .. }
            | Self::Header(_) => ("import_header", 422),
        }
    }
}

/// A row as read.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) line: u64,
    pub(crate) point: Result<NewDataPoint, RowFault>,
}

/// The rows of an iterator, numbered from 1.
pub(crate) fn numbered(
    points: impl IntoIterator<Item = Result<NewDataPoint, Invalid>>,
) -> impl Iterator<Item = Result<Row, ImportError>> {
    let points = points.into_iter().map(|point| point.map_err(RowFault::from));
    (1..).zip(points).map(|(line, point)| Ok(Row { line, point }))
}

/// Rows to be written together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) points: Vec<NewDataPoint>,
    /// For each point where it stands.
    pub(crate) lines: Vec<u64>,
    pub(crate) errors: Vec<RowError>,
}

impl Batch {
    /// Adds points of one key to the first of them. Says how many were added; a sum that is no number
    /// refuses the row that makes it so.
    fn add_up(&mut self) -> u64 {
        let mut first: HashMap<_, usize> = HashMap::new();
        let (lines, points) = (std::mem::take(&mut self.lines), std::mem::take(&mut self.points));
        let all = points.len();
        let refused = self.errors.len();
        for (line, point) in lines.into_iter().zip(points) {
            let key = (point.kpi_id.clone(), point.timestamp, point.source.clone());
            let place = *first.entry(key).or_insert(self.points.len());
            match self.points.get_mut(place) {
                None => {
                    self.lines.push(line);
                    self.points.push(point);
                }
                Some(sum) => match Finite::new(sum.value.get() + point.value.get()) {
                    Ok(value) => sum.value = value,
                    Err(fault) => self.errors.push(RowFault::from(fault).at(line)),
                },
            }
        }
        (all - self.points.len() - (self.errors.len() - refused)) as u64
    }

    /// The line of the first point whose key an earlier one has.
    pub(crate) fn first_repeat(&self) -> Option<u64> {
        let mut keys = HashSet::with_capacity(self.points.len());
        let mut rows = self.points.iter().zip(&self.lines);
        rows.find(|(p, _)| !keys.insert((&p.kpi_id, p.timestamp, &p.source))).map(|(_, line)| *line)
    }

    /// Takes the points of which this says no out, as errors.
    pub(crate) fn refuse_unless(&mut self, exists: impl Fn(&NewDataPoint) -> bool) {
        let rows =
            std::mem::take(&mut self.lines).into_iter().zip(std::mem::take(&mut self.points));
        for (line, point) in rows {
            if exists(&point) {
                self.lines.push(line);
                self.points.push(point);
            } else {
                self.errors.push(RowFault::NoSuchKpi.at(line));
            }
        }
        self.errors.sort_by_key(|error| error.line);
    }
}

/// An import under way: rows, cut into batches, and what has become of them.
pub(crate) struct Import<I: Iterator, P> {
    rows: std::iter::Peekable<std::iter::Fuse<I>>,
    options: ImportOptions,
    progress: P,
    so_far: Imported,
    first_error: Option<RowError>,
}

impl<I, P> Import<I, P>
where
    I: Iterator<Item = Result<Row, ImportError>>,
    P: FnMut(&Imported, &[RowError]),
{
    pub(crate) fn new(rows: I, options: &ImportOptions, progress: P) -> Self {
        Self {
            rows: rows.fuse().peekable(),
            options: *options,
            progress,
            so_far: Imported::default(),
            first_error: None,
        }
    }

    /// The next rows, good and bad together no more than the options say; or that there are none.
    pub(crate) fn next_batch(&mut self) -> Result<Option<Batch>, ImportError> {
        let mut batch = Batch::default();
        let add_up = self.options.add_up;
        for read in 0.. {
            let last = batch.points.last();
            // Rows of one key that follow each other are not parted.
            let goes_on = |row: &I::Item| {
                read < self.options.batch_rows
                    || add_up
                        && read < 2 * ImportOptions::MAX_BATCH_ROWS
                        && matches!(row, Ok(Row { point: Ok(point), .. })
                            if last.is_some_and(|last| last.has_key_of(point)))
            };
            let Some(row) = self.rows.next_if(goes_on) else { break };
            let Row { line, point } = row?;
            match point {
                Ok(point) => {
                    batch.lines.push(line);
                    batch.points.push(point);
                }
                Err(fault) => batch.errors.push(fault.at(line)),
            }
        }
        if add_up {
            self.so_far.added_up += batch.add_up();
        }
        let empty = batch.points.is_empty() && batch.errors.is_empty();
        Ok((!empty).then_some(batch))
    }

    /// Whether a batch may be written, after those before it.
    pub(crate) fn check(&self, batch: &Batch) -> Result<(), ImportError> {
        let refused = self.so_far.refused + batch.errors.len() as u64;
        let first = self.first_error.as_ref().or(batch.errors.first());
        match first {
            Some(first) if refused > self.options.errors_allowed => {
                Err(ImportError::TooManyErrors { refused, first: first.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Counts a batch that has been written, and reports it.
    pub(crate) fn written(&mut self, batch: &Batch, recorded: &Recorded) {
        let so_far = &mut self.so_far;
        so_far.inserted += recorded.inserted as u64;
        so_far.replaced += recorded.replaced as u64;
        so_far.kept += recorded.kept as u64;
        so_far.collided += recorded.collided as u64;
        so_far.refused += batch.errors.len() as u64;
        let lines = recorded.collisions.iter().filter_map(|place| batch.lines.get(*place));
        let room = self.options.errors_kept.saturating_sub(so_far.collisions.len());
        so_far.collisions.extend(lines.take(room));
        self.first_error = self.first_error.take().or_else(|| batch.errors.first().cloned());
        let room = self.options.errors_kept.saturating_sub(so_far.errors.len());
        so_far.errors.extend(batch.errors.iter().take(room).cloned());
        (self.progress)(so_far, &batch.errors);
    }

    pub(crate) fn finish(self) -> Imported {
        self.so_far
    }
}
