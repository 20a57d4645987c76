//! How a CSV file is laid out, and presets for those that many people have.

use super::number::NumberFormat;
use super::time::Times;
use crate::id::KpiId;
use crate::import::Column;
use crate::series::Zone;
use crate::value::{Invalid, Source};

/// How a CSV file is laid out. Nothing is guessed: what is not stated here is read as [`new`](Self::new)
/// says, or refused. [`sniff`](super::sniff) proposes options from a file's first rows.
///
/// ```
/// use sesari_db::import::{Column, CsvOptions, NumberFormat};
/// use sesari_db::series::Zone;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Datum;Umsatz;Notiz
/// // 26.11.2026;1.234,50 €;"Messe"
/// let options = CsvOptions::of_kpi("revenue".parse()?)
///     .delimiter(b';')?
///     .numbers(NumberFormat::Comma)
///     .time_pattern("Europe/Berlin".parse()?, "%d.%m.%Y")?
///     .column("Datum", Column::Timestamp)
///     .column("Umsatz", Column::Value)
///     .ignore_other_columns();
/// # let _ = options; Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct CsvOptions {
    pub(super) kpi: Option<KpiId>,
    pub(super) delimiter: u8,
    pub(super) numbers: NumberFormat,
    pub(super) times: Times,
    pub(super) columns: Vec<(String, Role)>,
    pub(super) ignore_others: bool,
    pub(super) source: Option<Source>,
    pub(super) comments: bool,
    pub(super) totals: Vec<String>,
}

/// What a column holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Role {
    Column(Column),
    Metric(KpiId),
    Ignored,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl CsvOptions {
    /// Columns `kpi_id`, `timestamp`, `value` and perhaps `source`, in any order; fields separated by
    /// commas; times as in RFC 3339; numbers as [`NumberFormat::Plain`]; no comments.
    #[must_use]
    pub fn new() -> Self {
        Self {
            kpi: None,
            delimiter: b',',
            numbers: NumberFormat::default(),
            times: Times::default(),
            columns: Vec::new(),
            ignore_others: false,
            source: None,
            comments: false,
            totals: Vec::new(),
        }
    }

    /// Like [`new`](Self::new), for a file that is of one KPI and has no column for it.
    #[must_use]
    pub fn of_kpi(kpi: KpiId) -> Self {
        Self { kpi: Some(kpi), ..Self::new() }
    }

    /// A download of a Google Analytics 4 report: comments, dates such as `20261126` in the property's
    /// zone, a row of totals, a column for each metric. Say which metrics are which KPIs with
    /// [`metric`](Self::metric). The source of the points is `google_analytics`.
    #[must_use]
    pub fn google_analytics(zone: Zone) -> Self {
        Self {
            comments: true,
            source: Some(Source::from_stored("google_analytics")),
            numbers: NumberFormat::Point,
            ..Self::new()
        }
        .zone(zone)
        .column("Date", Column::Timestamp)
        .totals_row("Grand total")
        .totals_row("Totals")
        .ignore_other_columns()
    }

    /// An export of Stripe's payments: times such as `2026-01-31 23:59` of UTC in `Created (UTC)` or
    /// `Created date (UTC)`, amounts in `Amount`. The source of the points is `stripe`.
    ///
    /// Payments of one minute are points of one key: see [`OnExisting`](crate::repo::OnExisting).
    #[must_use]
    pub fn stripe(kpi: KpiId) -> Self {
        Self {
            source: Some(Source::from_stored("stripe")),
            numbers: NumberFormat::Point,
            ..Self::of_kpi(kpi)
        }
        .zone(Zone::UTC)
        .column("Created (UTC)", Column::Timestamp)
        .column("Created date (UTC)", Column::Timestamp)
        .column("Amount", Column::Value)
        .ignore_other_columns()
    }

    /// A download of a spreadsheet whose locale has decimal points: `Date` and a column for each metric,
    /// dates as `2026-11-26` in this zone unless a [pattern](Self::time_pattern) is stated. The source
    /// of the points is `sheets`.
    #[must_use]
    pub fn sheets(zone: Zone) -> Self {
        Self {
            source: Some(Source::from_stored("sheets")),
            numbers: NumberFormat::Point,
            ..Self::new()
        }
        .zone(zone)
        .column("Date", Column::Timestamp)
        .totals_row("Total")
        .ignore_other_columns()
    }

    /// The same of a locale with decimal commas, which separates fields by semicolons.
    #[must_use]
    pub fn sheets_european(zone: Zone) -> Self {
        Self { delimiter: b';', numbers: NumberFormat::Comma, ..Self::sheets(zone) }
    }

    /// What separates fields: a comma, semicolon, tab or vertical bar. A first line such as `sep=;` in
    /// the file has the last word.
    ///
    /// # Errors
    /// [`Invalid`] for anything else.
    pub fn delimiter(self, delimiter: u8) -> Result<Self, Invalid> {
        if matches!(delimiter, b',' | b';' | b'\t' | b'|') {
            Ok(Self { delimiter, ..self })
        } else {
            Err(Invalid::new("delimiter", "expected a comma, semicolon, tab or vertical bar"))
        }
    }

    /// How numbers are written.
    #[must_use]
    pub fn numbers(self, numbers: NumberFormat) -> Self {
        Self { numbers, ..self }
    }

    /// Reads dates alone (their first moment) and times without an offset, in ISO 8601's long or short
    /// form, in this zone. A time that the zone's clock skips or shows twice is refused.
    #[must_use]
    pub fn zone(mut self, zone: Zone) -> Self {
        self.times.zone(zone);
        self
    }

    /// Reads times of this form alone, in this zone; ones with an offset as in RFC 3339 too. The form is
    /// strftime's, as [chrono](chrono::format::strftime) has it: `%d/%m/%Y`, `%m/%d/%Y %I:%M %p`.
    ///
    /// # Errors
    /// [`Invalid`] for a pattern that does not make a date.
    pub fn time_pattern(mut self, zone: Zone, pattern: &str) -> Result<Self, Invalid> {
        self.times.pattern(zone, pattern)?;
        Ok(self)
    }

    /// Names the column that holds this, besides the column's own name. Capitals and blanks around it
    /// do not matter.
    #[must_use]
    pub fn column(mut self, name: &str, column: Column) -> Self {
        self.columns.push((folded(name), Role::Column(column)));
        self
    }

    /// Names a column that holds values of this KPI; a row is a point of each such column that is not
    /// blank. A file with such columns has no column of values or KPIs.
    #[must_use]
    pub fn metric(mut self, name: &str, kpi: KpiId) -> Self {
        self.columns.push((folded(name), Role::Metric(kpi)));
        self
    }

    /// Names a column that is not read.
    #[must_use]
    pub fn ignore_column(mut self, name: &str) -> Self {
        self.columns.push((folded(name), Role::Ignored));
        self
    }

    /// Reads no column but those that are named here or of a point. Otherwise one that is not expected
    /// refuses the file.
    #[must_use]
    pub fn ignore_other_columns(self) -> Self {
        Self { ignore_others: true, ..self }
    }

    /// The source of all points of the file. One that has a column of sources then refuses the file.
    #[must_use]
    pub fn source(self, source: Source) -> Self {
        Self { source: Some(source), ..self }
    }

    /// Skips lines that begin with `#`.
    #[must_use]
    pub fn comments(self) -> Self {
        Self { comments: true, ..self }
    }

    /// Skips rows whose first field that is not blank is this label, whatever its capitals: totals.
    #[must_use]
    pub fn totals_row(mut self, label: &str) -> Self {
        self.totals.push(folded(label));
        self
    }
}

/// A name as names of columns are compared.
pub(super) fn folded(name: &str) -> String {
    name.trim().to_lowercase()
}
