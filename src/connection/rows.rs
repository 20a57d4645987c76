//! The rows of a result, in one buffer, as diesel reads them.

use std::num::NonZeroU32;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use diesel::QueryResult;
use diesel::pg::{Pg, PgValue, TypeOidLookup};
use diesel::row::{Field, PartialRow, Row, RowIndex, RowSealed};

use super::message::{Body, Column, Malformed};

/// Rows of one width, one value after the other.
#[derive(Debug, Default)]
pub(super) struct Rows {
    bytes: Vec<u8>,
    /// Where each value is; `None` is null.
    values: Vec<Option<Range<usize>>>,
    width: usize,
    len: usize,
}

impl Rows {
    /// Takes over the body of a `DataRow`. Any other width than `width` is malformed.
    pub(super) fn push(&mut self, body: &[u8], width: usize) -> Result<(), Malformed> {
        let start = self.bytes.len();
        let mut body_left = Body::new(body);
        if usize::from(body_left.u16()?) != width {
            return Err(Malformed);
        }
        for _ in 0..width {
            let length = body_left.i32()?;
            let value = match usize::try_from(length) {
                Ok(length) => {
                    let at = start + body_left.position();
                    body_left.take(length)?;
                    Some(at..at + length)
                }
                Err(_) => None,
            };
            self.values.push(value);
        }
        self.bytes.extend_from_slice(body);
        self.width = width;
        self.len += 1;
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The value, or `None` for null and where there is none.
    pub(super) fn get(&self, row: usize, column: usize) -> Option<&[u8]> {
        let range = self.values.get(row * self.width + column)?.clone()?;
        self.bytes.get(range)
    }
}

/// The rows of a statement and what its columns are.
#[derive(Debug)]
struct Loaded {
    columns: Arc<[Column]>,
    rows: Rows,
}

/// Iterates over the rows of a result, all of which have arrived.
#[derive(Debug)]
pub struct Cursor {
    result: Rc<Loaded>,
    next: usize,
}

impl Cursor {
    pub(super) fn new(columns: Arc<[Column]>, rows: Rows) -> Self {
        Self { result: Rc::new(Loaded { columns, rows }), next: 0 }
    }
}

impl Iterator for Cursor {
    type Item = QueryResult<PgRow>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.result.rows.len() {
            return None;
        }
        self.next += 1;
        Some(Ok(PgRow { result: self.result.clone(), row: self.next - 1 }))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.result.rows.len() - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Cursor {}

/// A row of a result.
#[derive(Debug)]
pub struct PgRow {
    result: Rc<Loaded>,
    row: usize,
}

impl RowSealed for PgRow {}

impl<'a> Row<'a, Pg> for PgRow {
    type Field<'f>
        = PgField<'f>
    where
        'a: 'f,
        Self: 'f;
    type InnerPartialRow = Self;

    fn field_count(&self) -> usize {
        self.result.columns.len()
    }

    fn get<'b, I>(&'b self, index: I) -> Option<Self::Field<'b>>
    where
        'a: 'b,
        Self: RowIndex<I>,
    {
        let index = self.idx(index)?;
        let column = self.result.columns.get(index)?;
        let value = self.result.rows.get(self.row, index);
        Some(PgField { column, value })
    }

    fn partial_row(&self, range: Range<usize>) -> PartialRow<'_, Self::InnerPartialRow> {
        PartialRow::new(self, range)
    }
}

impl RowIndex<usize> for PgRow {
    fn idx(&self, index: usize) -> Option<usize> {
        (index < self.result.columns.len()).then_some(index)
    }
}

impl<'a> RowIndex<&'a str> for PgRow {
    fn idx(&self, name: &'a str) -> Option<usize> {
        self.result.columns.iter().position(|column| column.name == name)
    }
}

/// A value of a row.
#[derive(Debug)]
pub struct PgField<'a> {
    column: &'a Column,
    value: Option<&'a [u8]>,
}

impl<'a> Field<'a, Pg> for PgField<'a> {
    fn field_name(&self) -> Option<&str> {
        Some(&self.column.name)
    }

    fn value(&self) -> Option<PgValue<'_>> {
        self.value.map(|value| PgValue::new(value, self))
    }
}

impl TypeOidLookup for PgField<'_> {
    fn lookup(&self) -> NonZeroU32 {
        // A column always has a type; 705 is `unknown`.
        NonZeroU32::new(self.column.type_oid).or(NonZeroU32::new(705)).unwrap_or(NonZeroU32::MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(values: &[Option<&[u8]>]) -> Vec<u8> {
        let mut body = u16::try_from(values.len()).unwrap().to_be_bytes().to_vec();
        for value in values {
            let length = value.map_or(-1, |value| i32::try_from(value.len()).unwrap());
            body.extend(length.to_be_bytes());
            body.extend(value.unwrap_or_default());
        }
        body
    }

    #[test]
    fn null_is_told_apart_from_empty_and_each_row_from_the_next() {
        let mut rows = Rows::default();
        rows.push(&body(&[None, Some(b""), Some(b"ab")]), 3).unwrap();
        rows.push(&body(&[Some(b"x"), None, Some(b"")]), 3).unwrap();
        let all: Vec<_> = (0..2)
            .flat_map(|row| (0..3).map(move |column| (row, column)))
            .map(|(row, column)| rows.get(row, column))
            .collect();
        assert_eq!(all, [None, Some(&b""[..]), Some(b"ab"), Some(b"x"), None, Some(b"")]);
        assert_eq!(rows.get(2, 0), None);
    }

    #[test]
    fn malformed_rows_are_refused() {
        for bad in [&[0, 1, 0, 0, 0, 9, 1][..], &[0, 2, 0, 0, 0, 0], &[255, 255], &[0], &[]] {
            assert_eq!(Rows::default().push(bad, 1), Err(Malformed), "{bad:?}");
        }
    }
}
