//! Batches of an import: which of its KPIs there are, and then one statement for the rest.

use std::collections::HashSet;

use diesel::prelude::*;

use super::{DataPointRepository, OnExisting, Recorded};
use crate::error::Result;
use crate::id::KpiId;
use crate::import::{Batch, Import, ImportError, ImportOptions, Imported, Row, RowError};
use crate::schema::kpis;

impl DataPointRepository<'_> {
    /// Imports all rows.
    pub(super) fn import_rows(
        &mut self,
        rows: impl Iterator<Item = Result<Row, ImportError>>,
        options: &ImportOptions,
        progress: impl FnMut(&Imported, &[RowError]),
    ) -> Result<Imported> {
        let mut import = Import::new(rows, options, progress);
        while let Some(mut batch) = import.next_batch()? {
            let recorded = self.import_batch(&mut batch, options.existing())?;
            import.written(&batch, recorded);
        }
        Ok(import.finish())
    }

    /// Writes the rows of a batch whose KPI there is, and refuses the others.
    pub(crate) fn import_batch(
        &mut self,
        batch: &mut Batch,
        existing: OnExisting,
    ) -> Result<Recorded> {
        let there_are = self.kpis_of(batch)?;
        batch.refuse_unless(|point| there_are.contains(&point.kpi_id));
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
