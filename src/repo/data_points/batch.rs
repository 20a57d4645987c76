//! Batches: one statement for any number of points.

use diesel::sql_types::{Array, BigInt, Double, Nullable, Text, Timestamptz};

use super::rows::stored;
use crate::id::{KpiId, WorkspaceId};
use crate::point::NewDataPoint;
use crate::repo::statement;
use crate::value::{Finite, Timestamp};

/// A batch, turned into one array a column: the statement's text is the same for any size, and so
/// is its prepared form.
pub(super) struct Columns<'a> {
    kpis: Vec<&'a KpiId>,
    values: Vec<Finite>,
    timestamps: Vec<Timestamp>,
    sources: Vec<&'a str>,
}

impl<'a> Columns<'a> {
    pub(super) fn of(new: &'a [NewDataPoint]) -> Self {
        Self {
            kpis: new.iter().map(|point| &point.kpi_id).collect(),
            values: new.iter().map(|point| point.value).collect(),
            timestamps: new.iter().map(|point| point.timestamp).collect(),
            sources: new.iter().map(|point| stored(point.source.as_ref())).collect(),
        }
    }
}

macro_rules! batches {
    ($($(#[$doc:meta])* $name:ident: $row:ty, $file:literal;)*) => {$(
        $(#[$doc])*
        pub(super) struct $name<'a> {
            pub(super) workspace: &'a WorkspaceId,
            pub(super) columns: Columns<'a>,
        }

        statement!($name: $row, include_str!($file), |query| [
            query.workspace => Text,
            &query.columns.kpis => Array<Text>,
            &query.columns.values => Array<Double>,
            &query.columns.timestamps => Array<Timestamptz>,
            &query.columns.sources => Array<Text>,
        ]);
    )*};
}

batches! {
    /// Answers how many rows it inserted and replaced, as the two below.
    KeepExisting: (BigInt, BigInt), "insert_or_keep.sql";
    ReplaceExisting: (BigInt, BigInt), "insert_or_replace.sql";
    FailOnExisting: (BigInt, BigInt), "insert.sql";
    /// How many points of the batch have another value than the one stored under their key, and the places
    /// of the first hundred, from 1.
    Collisions: (BigInt, Array<BigInt>), "collisions.sql";
    /// The place, from 1, of the first point of the batch whose key is taken.
    FirstTaken: Nullable<BigInt>, "first_taken.sql";
}
