//! Batches: one statement for any number of points.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::AstPass;
use diesel::sql_types::{Array, BigInt, Double, Nullable, Text, Timestamptz};

use super::rows::stored;
use crate::id::{KpiId, WorkspaceId};
use crate::point::NewDataPoint;
use crate::repo::static_query;
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

    /// `unnest(...)` with one row for each point, in the batch's order.
    fn push_rows<'b>(&'b self, pass: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        pass.push_sql("unnest(");
        pass.push_bind_param::<Array<Text>, _>(&self.kpis)?;
        pass.push_sql(",");
        pass.push_bind_param::<Array<Double>, _>(&self.values)?;
        pass.push_sql(",");
        pass.push_bind_param::<Array<Timestamptz>, _>(&self.timestamps)?;
        pass.push_sql(",");
        pass.push_bind_param::<Array<Text>, _>(&self.sources)?;
        pass.push_sql(") WITH ORDINALITY AS p (kpi_id, value, \"timestamp\", source, n)");
        Ok(())
    }

    /// The condition that `t` is the point that is stored under the key of `p`.
    fn push_is_stored<'b>(
        workspace: &'b WorkspaceId,
        pass: &mut AstPass<'_, 'b, Pg>,
    ) -> QueryResult<()> {
        pass.push_sql("t.workspace_id = ");
        pass.push_bind_param::<Text, _>(workspace)?;
        pass.push_sql(
            " AND t.kpi_id = p.kpi_id AND t.\"timestamp\" = p.\"timestamp\" AND t.source = p.source",
        );
        Ok(())
    }

    /// One statement that inserts the batch and counts the rows inserted and replaced.
    fn push_insert<'b>(
        &'b self,
        workspace: &'b WorkspaceId,
        distinct: &str,
        conflict: &str,
        pass: &mut AstPass<'_, 'b, Pg>,
    ) -> QueryResult<()> {
        pass.push_sql(
            "WITH written AS (INSERT INTO public.kpi_data_points AS t \
             (workspace_id, kpi_id, value, \"timestamp\", source) SELECT ",
        );
        pass.push_sql(distinct);
        pass.push_bind_param::<Text, _>(workspace)?;
        pass.push_sql(", kpi_id, value, \"timestamp\", source FROM ");
        self.push_rows(pass)?;
        pass.push_sql(conflict);
        pass.push_sql(
            " RETURNING (xmax = 0) AS inserted) \
             SELECT count(*) FILTER (WHERE inserted), count(*) FILTER (WHERE NOT inserted) \
             FROM written",
        );
        Ok(())
    }
}

macro_rules! batch_inserts {
    ($($name:ident: $distinct:literal, $conflict:literal;)*) => {$(
        pub(super) struct $name<'a> {
            pub(super) workspace: &'a WorkspaceId,
            pub(super) columns: Columns<'a>,
        }

        static_query!($name: (BigInt, BigInt), |query, pass| {
            query.columns.push_insert(query.workspace, $distinct, $conflict, &mut pass)?;
        });
    )*};
}

// Rows are written in the order of their key: batches that share points queue, and do not wait for
// each other in a circle.
batch_inserts! {
    // Of several points with one key, the first is kept.
    KeepExisting: "",
        " ORDER BY p.kpi_id, p.\"timestamp\", p.source, p.n \
         ON CONFLICT (workspace_id, kpi_id, \"timestamp\", source) DO NOTHING";
    // One statement may replace a row once: of several points with one key, the last counts.
    ReplaceExisting: "DISTINCT ON (kpi_id, \"timestamp\", source) ",
        " ORDER BY kpi_id, \"timestamp\", source, p.n DESC \
         ON CONFLICT (workspace_id, kpi_id, \"timestamp\", source) \
         DO UPDATE SET value = excluded.value WHERE t.value IS DISTINCT FROM excluded.value";
    FailOnExisting: "", " ORDER BY p.kpi_id, p.\"timestamp\", p.source";
}

/// How many points of the batch have another value than the one stored under their key, and the places
/// of the first hundred, from 1.
pub(super) struct Collisions<'a> {
    pub(super) workspace: &'a WorkspaceId,
    pub(super) columns: Columns<'a>,
}

static_query!(Collisions: (BigInt, Array<BigInt>), |query, pass| {
    pass.push_sql("SELECT count(*), coalesce((array_agg(p.n ORDER BY p.n))[1:100], '{}') FROM ");
    query.columns.push_rows(&mut pass)?;
    pass.push_sql(" JOIN public.kpi_data_points AS t ON ");
    Columns::push_is_stored(query.workspace, &mut pass)?;
    pass.push_sql(" WHERE t.value <> p.value");
});

/// The place, from 1, of the first point of the batch whose key is taken.
pub(super) struct FirstTaken<'a> {
    pub(super) workspace: &'a WorkspaceId,
    pub(super) columns: Columns<'a>,
}

static_query!(FirstTaken: Nullable<BigInt>, |query, pass| {
    pass.push_sql("SELECT min(p.n) FROM ");
    query.columns.push_rows(&mut pass)?;
    pass.push_sql(" JOIN public.kpi_data_points AS t ON ");
    Columns::push_is_stored(query.workspace, &mut pass)?;
});
