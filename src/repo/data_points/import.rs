//! Batches of an import: which of its KPIs there are, and then one statement for the rest.

use std::collections::HashSet;

use diesel::prelude::*;

use super::{DataPointRepository, OnExisting, Recorded};
use crate::error::{Error, Result};
use crate::id::KpiId;
use crate::import::{Batch, Extent, Import, ImportError, ImportOptions, Imported, Row, RowError};
use crate::schema::kpis;

/// Why a savepoint is undone.
enum Undo {
    DryRun,
    Failed(Error),
}

impl From<Error> for Undo {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<diesel::result::Error> for Undo {
    fn from(error: diesel::result::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl DataPointRepository<'_> {
    /// Imports all rows.
    pub(crate) fn import_rows(
        &mut self,
        rows: impl Iterator<Item = Result<Row, ImportError>>,
        options: &ImportOptions,
        progress: impl FnMut(&Imported, &[RowError]),
    ) -> Result<Imported> {
        let mut import = Import::new(rows, options, progress);
        if options.extent() == Extent::Batches {
            self.import_batches(&mut import, options)?;
            return Ok(import.finish());
        }
        let workspace = self.workspace;
        // In a savepoint, so that what is to be undone leaves the guard as it was.
        let done = self.conn.transaction(|conn| {
            DataPointRepository { conn, workspace }.import_batches(&mut import, options)?;
            if options.extent() == Extent::DryRun { Err(Undo::DryRun) } else { Ok(()) }
        });
        match done {
            Ok(()) | Err(Undo::DryRun) => Ok(import.finish()),
            Err(Undo::Failed(error)) => Err(error),
        }
    }

    fn import_batches<I, P>(
        &mut self,
        import: &mut Import<I, P>,
        options: &ImportOptions,
    ) -> Result<()>
    where
        I: Iterator<Item = Result<Row, ImportError>>,
        P: FnMut(&Imported, &[RowError]),
    {
        while let Some(mut batch) = import.next_batch()? {
            let recorded = self.import_batch(import, &mut batch, options.existing())?;
            import.written(&batch, &recorded);
        }
        Ok(())
    }

    /// Writes the rows of a batch whose KPI there is, and refuses the others.
    pub(crate) fn import_batch<I, P>(
        &mut self,
        import: &Import<I, P>,
        batch: &mut Batch,
        existing: OnExisting,
    ) -> Result<Recorded>
    where
        I: Iterator<Item = Result<Row, ImportError>>,
        P: FnMut(&Imported, &[RowError]),
    {
        let there_are = self.kpis_of(batch)?;
        batch.refuse_unless(|point| there_are.contains(&point.kpi_id));
        import.check(batch)?;
        if existing == OnExisting::Fail && !batch.points.is_empty() {
            let taken = self.first_taken(&batch.points)?.and_then(|n| batch.lines.get(n).copied());
            let repeat = batch.first_repeat();
            if let Some(line) = taken.into_iter().chain(repeat).min() {
                return Err(ImportError::KeyTaken { line }.into());
            }
        }
        self.record_many(&batch.points, existing)
    }

    /// Which of the KPIs that a batch names can be written to. Asked without a lock: writers of
    /// points lock the points first, and whoever did it the other way round would wait for them in
    /// a circle.
    fn kpis_of(&mut self, batch: &Batch) -> Result<HashSet<KpiId>> {
        let named: HashSet<&KpiId> = batch.points.iter().map(|point| &point.kpi_id).collect();
        if named.is_empty() {
            return Ok(HashSet::new());
        }
        let there_are: Vec<KpiId> = kpis::table
            .filter(kpis::workspace_id.eq(self.workspace))
            .filter(kpis::id.eq_any(named))
            .filter(kpis::deleted_at.is_null())
            .select(kpis::id)
            .load(self.conn)?;
        Ok(there_are.into_iter().collect())
    }
}
