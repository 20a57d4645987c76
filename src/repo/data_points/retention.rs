//! Deleting old points, so many at a time.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::AstPass;
use diesel::sql_types::{BigInt, Text, Timestamptz};

use crate::error::Result;
use crate::id::{KpiId, WorkspaceId};
use crate::repo::static_query;
use crate::value::{Invalid, Timestamp};

/// The most points that one statement deletes.
const MAX_BATCH: u32 = 100_000;

/// A size of batches within bounds.
pub(super) fn checked(batch: u32) -> Result<i64> {
    if (1..=MAX_BATCH).contains(&batch) {
        Ok(batch.into())
    } else {
        Err(Invalid::new("batch", "expected 1 to 100000 points").into())
    }
}

/// Up to so many KPIs that have points before a moment, by their ids, after this one.
pub(super) struct KpisBefore<'a> {
    pub(super) workspace: &'a WorkspaceId,
    pub(super) after: &'a str,
    pub(super) before: Timestamp,
    pub(super) limit: i64,
}

static_query!(KpisBefore: Text, |query, pass| {
    // One descent of the points' key for each KPI.
    pass.push_sql(
        "SELECT k.id FROM public.kpis AS k CROSS JOIN LATERAL (\
         SELECT FROM public.kpi_data_points AS p WHERE p.workspace_id = ",
    );
    pass.push_bind_param::<Text, _>(query.workspace)?;
    pass.push_sql(" AND p.kpi_id = k.id AND p.\"timestamp\" < ");
    pass.push_bind_param::<Timestamptz, _>(&query.before)?;
    pass.push_sql(" LIMIT 1) AS p WHERE k.workspace_id = ");
    pass.push_bind_param::<Text, _>(query.workspace)?;
    pass.push_sql(" AND k.id > ");
    pass.push_bind_param::<Text, _>(query.after)?;
    pass.push_sql(" ORDER BY k.id LIMIT ");
    pass.push_bind_param::<BigInt, _>(&query.limit)?;
});

/// The oldest points of a KPI before `cut`: where the batch is not full, the moment asked for; else
/// the first point that is too many, or the start of its day where there are points before that.
pub(super) struct DeleteBefore<'a> {
    pub(super) workspace: &'a WorkspaceId,
    pub(super) kpi: &'a KpiId,
    pub(super) before: Timestamp,
    pub(super) batch: i64,
}

static_query!(DeleteBefore: (), |query, pass| {
    pass.push_sql("WITH oldest AS MATERIALIZED (SELECT p.\"timestamp\"");
    query.push_due(&mut pass)?;
    pass.push_sql(
        " LIMIT 1), next AS MATERIALIZED (SELECT p.\"timestamp\", p.source, \
         (SELECT r.day FROM public.kpi_rollups AS r WHERE r.workspace_id = ",
    );
    pass.push_bind_param::<Text, _>(query.workspace)?;
    pass.push_sql(" AND r.kpi_id = ");
    pass.push_bind_param::<Text, _>(query.kpi)?;
    pass.push_sql(" AND r.day <= p.\"timestamp\" ORDER BY r.day DESC LIMIT 1) AS day");
    query.push_due(&mut pass)?;
    pass.push_sql(" LIMIT 1 OFFSET ");
    pass.push_bind_param::<BigInt, _>(&query.batch)?;
    pass.push_sql(
        "), cut AS MATERIALIZED (SELECT \
         CASE WHEN o.\"timestamp\" < n.day THEN n.day ELSE coalesce(n.\"timestamp\", ",
    );
    pass.push_bind_param::<Timestamptz, _>(&query.before)?;
    pass.push_sql(
        ") END AS \"timestamp\", \
         CASE WHEN o.\"timestamp\" < n.day THEN '' ELSE coalesce(n.source, '') END AS source \
         FROM oldest AS o LEFT JOIN next AS n ON true) \
         DELETE FROM public.kpi_data_points AS p WHERE p.workspace_id = ",
    );
    pass.push_bind_param::<Text, _>(query.workspace)?;
    pass.push_sql(" AND p.kpi_id = ");
    pass.push_bind_param::<Text, _>(query.kpi)?;
    pass.push_sql(
        " AND (p.\"timestamp\", p.source) < \
         ((SELECT \"timestamp\" FROM cut), (SELECT source FROM cut))",
    );
});

impl DeleteBefore<'_> {
    /// The KPI's points before the moment, in the order of their key.
    fn push_due<'b>(&'b self, pass: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        pass.push_sql(" FROM public.kpi_data_points AS p WHERE p.workspace_id = ");
        pass.push_bind_param::<Text, _>(self.workspace)?;
        pass.push_sql(" AND p.kpi_id = ");
        pass.push_bind_param::<Text, _>(self.kpi)?;
        pass.push_sql(" AND p.\"timestamp\" < ");
        pass.push_bind_param::<Timestamptz, _>(&self.before)?;
        pass.push_sql(" ORDER BY p.\"timestamp\", p.source");
        Ok(())
    }
}
