//! Imports of any length, each batch in a transaction of its own.

use std::io::Read;

use super::Database;
use crate::actor::Actor;
use crate::error::Result;
use crate::id::WorkspaceId;
use crate::import::{
    CsvOptions, CsvRows, Extent, Import, ImportError, ImportOptions, Imported, Row, RowError,
    numbered,
};
use crate::point::NewDataPoint;
use crate::value::Invalid;

impl Database {
    /// Like [`DataPointRepository::import`](crate::repo::DataPointRepository::import), but commits
    /// after each batch, so that writers to the same KPIs wait for one batch at most. `progress` is
    /// called after each commit. No connection is held while rows are read.
    ///
    /// Interrupted, it may be run again from the start, unless keys that are taken are to fail. With
    /// [`all_or_nothing`](ImportOptions::all_or_nothing) or [`dry_run`](ImportOptions::dry_run) it is one
    /// transaction.
    ///
    /// # Errors
    /// As there, and as [`tenant`](Self::tenant). What was committed before stays.
    pub fn import(
        &self,
        actor: impl Into<Actor>,
        workspace: &WorkspaceId,
        points: impl IntoIterator<Item = Result<NewDataPoint, Invalid>>,
        options: &ImportOptions,
        progress: impl FnMut(&Imported, &[RowError]),
    ) -> Result<Imported> {
        self.import_rows(&actor.into(), workspace, numbered(points), options, progress)
    }

    /// Like [`import`](Self::import), from CSV, as
    /// [`DataPointRepository::import_csv`](crate::repo::DataPointRepository::import_csv).
    ///
    /// # Errors
    /// As there, and as [`tenant`](Self::tenant). What was committed before stays.
    pub fn import_csv(
        &self,
        actor: impl Into<Actor>,
        workspace: &WorkspaceId,
        reader: impl Read,
        csv: &CsvOptions,
        options: &ImportOptions,
        progress: impl FnMut(&Imported, &[RowError]),
    ) -> Result<Imported> {
        let rows = CsvRows::new(reader, csv)?;
        self.import_rows(&actor.into(), workspace, rows, options, progress)
    }

    fn import_rows(
        &self,
        actor: &Actor,
        workspace: &WorkspaceId,
        rows: impl Iterator<Item = Result<Row, ImportError>>,
        options: &ImportOptions,
        progress: impl FnMut(&Imported, &[RowError]),
    ) -> Result<Imported> {
        if options.extent() != Extent::Batches {
            let mut tenant = self.tenant(actor.clone(), workspace)?;
            let imported = tenant.data_points().import_rows(rows, options, progress)?;
            tenant.commit()?;
            return Ok(imported);
        }
        let mut import = Import::new(rows, options, progress);
        while let Some(mut batch) = import.next_batch()? {
            let mut tenant = self.tenant(actor.clone(), workspace)?;
            let recorded =
                tenant.data_points().import_batch(&import, &mut batch, options.existing())?;
            tenant.commit()?;
            import.written(&batch, &recorded);
        }
        Ok(import.finish())
    }
}
