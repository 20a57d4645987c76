//! A range of any length, a page at a time.

use std::fmt;
use std::iter::FusedIterator;

use super::{DataPoint, DataPointRepository, TimeRange};
use crate::error::Result;
use crate::id::KpiId;
use crate::page::{Page, PageRequest};

/// The points of a range, one after the other. See
/// [`DataPointRepository::iter`](super::DataPointRepository::iter).
#[must_use = "an iterator reads nothing until it is iterated over"]
pub struct PointIter<'g> {
    points: DataPointRepository<'g>,
    kpi: KpiId,
    range: TimeRange,
    read: std::vec::IntoIter<DataPoint>,
    /// What to read next, or `None` at the end.
    next: Option<PageRequest>,
}

impl<'g> PointIter<'g> {
    pub(super) fn new(points: DataPointRepository<'g>, kpi: KpiId, range: TimeRange) -> Self {
        let first = PageRequest::longest();
        Self { points, kpi, range, read: Vec::new().into_iter(), next: Some(first) }
    }

    fn read_on(&mut self) -> Result<()> {
        if let Some(page) = self.next.take() {
            let Page { items, next } = self.points.range(&self.kpi, self.range, &page)?;
            self.read = items.into_iter();
            self.next = next.map(|cursor| page.after(cursor));
        }
        Ok(())
    }
}

impl Iterator for PointIter<'_> {
    type Item = Result<DataPoint>;

    fn next(&mut self) -> Option<Result<DataPoint>> {
        if self.read.as_slice().is_empty()
            && let Err(error) = self.read_on()
        {
            return Some(Err(error));
        }
        self.read.next().map(Ok)
    }
}

impl FusedIterator for PointIter<'_> {}

impl fmt::Debug for PointIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PointIter")
            .field("kpi", &self.kpi)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}
