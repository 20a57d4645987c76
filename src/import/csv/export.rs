//! CSV out, in the form that an import without options reads back to the bit.

use std::io::{self, Write};

use chrono::{DateTime, SecondsFormat, Utc};

use crate::id::KpiId;
use crate::value::{Shortest, Source};

/// Writes points as CSV, one row at a time.
pub(crate) struct CsvWriter<W> {
    out: W,
    rows: u64,
}

impl<W: Write> CsvWriter<W> {
    /// Writes the header.
    pub(crate) fn new(mut out: W) -> io::Result<Self> {
        out.write_all(b"kpi_id,timestamp,value,source\n")?;
        Ok(Self { out, rows: 0 })
    }

    pub(crate) fn point(
        &mut self,
        kpi: &KpiId,
        timestamp: DateTime<Utc>,
        value: f64,
        source: Option<&Source>,
    ) -> io::Result<()> {
        let timestamp = timestamp.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        let source = source.map_or("", Source::as_str);
        self.rows += 1;
        // No field of ours wants quotes.
        writeln!(self.out, "{kpi},{timestamp},{},{source}", Shortest(value))
    }

    /// How many rows were written.
    pub(crate) fn finish(mut self) -> io::Result<u64> {
        self.out.flush()?;
        Ok(self.rows)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::import::{CsvOptions, CsvRows};

    proptest! {
        #[test]
        fn what_is_written_is_read_back_to_the_bit(
            values in prop::collection::vec(
                prop_oneof![
                    proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL,
                    -1e6..1e6,
                    any::<i32>().prop_map(f64::from),
                    Just(f64::MAX), Just(5e-324), Just(0.0), Just(1e23),
                    Just(9_007_199_254_740_992.0), Just(-9_007_199_254_740_991.0),
                ], 0..20),
            millis in 0_i64..4_000_000_000_000,
        ) {
            let (kpi, source): (KpiId, Source) =
                ("kpi1".parse().unwrap(), "stripe".parse().unwrap());
            let at = DateTime::from_timestamp_millis(millis).unwrap();
            let mut csv = Vec::new();
            let mut writer = CsvWriter::new(&mut csv).unwrap();
            for (n, value) in values.iter().enumerate() {
                let source = (n % 2 == 0).then_some(&source);
                writer.point(&kpi, at, *value, source).unwrap();
            }
            prop_assert_eq!(writer.finish().unwrap(), values.len() as u64);
            let read: Vec<_> = CsvRows::new(&csv[..], &CsvOptions::new())
                .unwrap()
                .map(|row| row.unwrap().point.unwrap())
                .collect();
            prop_assert_eq!(read.len(), values.len());
            for (point, value) in read.iter().zip(&values) {
                prop_assert_eq!(point.value.get().to_bits(), value.to_bits());
                prop_assert_eq!((&point.kpi_id, point.timestamp.get()), (&kpi, at));
            }
        }
    }
}
