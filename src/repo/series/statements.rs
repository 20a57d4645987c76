//! The statements. Each reads any number of KPIs and spans in one text, and is prepared once.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::AstPass;
use diesel::sql_types::{Array, BigInt, Bytea, Double, Integer, Nullable, Text, Timestamptz};

use super::Reading;
use super::cells::Cells;
use crate::id::{GoalId, KpiId, WorkspaceId};
use crate::repo::{statement, static_query};
use crate::value::Timestamp;

/// Adds a query of the cells of a KPI, `k.id`, in the columns of [`Cells`]: a row for each span that
/// has any. Of the rollups, those before a span too that may reach into it. Spans are read one after the other along the key: a lateral query with an aggregate of
/// its own cannot be turned into a join over the whole workspace.
fn push_cells<'b>(
    workspace: &'b WorkspaceId,
    reading: &'b Reading,
    pass: &mut AstPass<'_, 'b, Pg>,
) -> QueryResult<()> {
    let Reading { edges, stretches, .. } = reading;
    pass.push_sql("SELECT a.cells FROM ");
    push_spans(&stretches.days_from, &stretches.days_to, pass)?;
    pass.push_sql(
        " CROSS JOIN LATERAL (SELECT string_agg(r.packed, '') AS cells FROM (\
         SELECT r.packed FROM public.kpi_rollups AS r WHERE r.workspace_id = ",
    );
    pass.push_bind_param::<Text, _>(workspace)?;
    pass.push_sql(
        " AND r.kpi_id = k.id AND r.day > s.\"from\" - interval '50 hours' AND r.day < s.\"to\" \
         ORDER BY r.day) AS r) AS a WHERE a.cells IS NOT NULL UNION ALL SELECT a.cells FROM ",
    );
    push_spans(&stretches.points_from, &stretches.points_to, pass)?;
    // A sum of numbers near the end of the type would be an error: there is none of these, as in
    // the rollups.
    pass.push_sql(
        " CROSS JOIN LATERAL (SELECT string_agg(b.start || b.start || int8send(b.points) \
         || float8send(CASE WHEN b.min > -1e290 AND b.max < 1e290 THEN b.sum ELSE 'NaN' END) \
         || float8send(b.min) || float8send(b.max) \
         || float8send(b.\"values\"[1]) || float8send(b.\"values\"[b.points]), '') AS cells \
         FROM (SELECT timestamptz_send(greatest(s.\"from\", (",
    );
    pass.push_bind_param::<Array<Timestamptz>, _>(edges)?;
    pass.push_sql(
        ")[p.bucket])) AS start, count(*) AS points, \
         sum(p.value) FILTER (WHERE p.value > -1e290 AND p.value < 1e290) AS sum, \
         min(p.value) AS min, max(p.value) AS max, array_agg(p.value) AS \"values\" \
         FROM (SELECT width_bucket(p.\"timestamp\", ",
    );
    pass.push_bind_param::<Array<Timestamptz>, _>(edges)?;
    pass.push_sql(") AS bucket, p.value FROM sesari.points_between(");
    pass.push_bind_param::<Text, _>(workspace)?;
    // Ordered by the bucket as well, so that grouping has nothing left to sort.
    pass.push_sql(
        ", k.id, s.\"from\", s.\"to\") AS p ORDER BY bucket, p.\"timestamp\", p.source COLLATE \"C\"",
    );
    pass.push_sql(") AS p GROUP BY p.bucket) AS b) AS a WHERE a.cells IS NOT NULL");
    Ok(())
}

/// Adds the spans `s`. The limit takes nothing away: of an array that it does not know the planner
/// expects ten rows, and of a limit that it does not know a tenth. Without it, one plan for all arrays
/// would look so dear that each question of few spans was planned anew, to the same plan.
fn push_spans<'b>(
    from: &'b Vec<Timestamp>,
    to: &'b Vec<Timestamp>,
    pass: &mut AstPass<'_, 'b, Pg>,
) -> QueryResult<()> {
    pass.push_sql("(SELECT * FROM unnest(");
    pass.push_bind_param::<Array<Timestamptz>, _>(from)?;
    pass.push_sql(", ");
    pass.push_bind_param::<Array<Timestamptz>, _>(to)?;
    pass.push_sql(") LIMIT cardinality(");
    pass.push_bind_param::<Array<Timestamptz>, _>(from)?;
    pass.push_sql(")) AS s (\"from\", \"to\")");
    Ok(())
}

pub(super) struct OfKpis<'a> {
    pub(super) workspace: &'a WorkspaceId,
    pub(super) kpis: &'a [KpiId],
    pub(super) reading: &'a Reading,
}

static_query!(OfKpis: (BigInt, Array<Nullable<Double>>, Nullable<Bytea>), |query, pass| {
    pass.push_sql(
        // Fenced off, or it would be asked for again with each span.
        "SELECT k.n, b.before, a.cells FROM unnest(",
    );
    pass.push_bind_param::<Array<Text>, _>(query.kpis)?;
    pass.push_sql(
        ") WITH ORDINALITY AS k (id, n) CROSS JOIN LATERAL (SELECT ARRAY(SELECT (SELECT p.value \
         FROM sesari.last_point_between(",
    );
    pass.push_bind_param::<Text, _>(query.workspace)?;
    pass.push_sql(", k.id, '-infinity', s.\"from\") AS p) FROM unnest(");
    pass.push_bind_param::<Array<Timestamptz>, _>(&query.reading.starts)?;
    pass.push_sql(
        ") WITH ORDINALITY AS s (\"from\", n) ORDER BY s.n) AS before OFFSET 0) AS b \
         LEFT JOIN LATERAL (",
    );
    push_cells(query.workspace, query.reading, &mut pass)?;
    pass.push_sql(") AS a ON true");
});

pub(super) struct OfGoal<'a> {
    pub(super) workspace: &'a WorkspaceId,
    pub(super) goal: &'a GoalId,
    pub(super) reading: &'a Reading,
    pub(super) from: Timestamp,
    /// The most KPIs that are read.
    pub(super) limit: i64,
}

/// A KPI with its target, baseline, weight and last value before the range, and the cells of a span.
pub(super) type GoalRow =
    (Option<KpiId>, Option<f64>, Option<f64>, Option<f64>, Option<f64>, Option<Cells>);

static_query!(
    OfGoal: (
        Nullable<Text>,
        Nullable<Double>,
        Nullable<Double>,
        Nullable<Double>,
        Nullable<Double>,
        Nullable<Bytea>,
    ),
    |query, pass| {
        pass.push_sql(
            "SELECT k.id, k.target_value, k.baseline, k.weight, b.value, a.* \
             FROM public.goals AS g LEFT JOIN LATERAL (\
             SELECT k.id, k.target_value, l.baseline, l.weight, k.created_at \
             FROM public.goal_kpis AS l JOIN public.kpis AS k \
             ON k.workspace_id = l.workspace_id AND k.id = l.kpi_id \
             WHERE l.workspace_id = g.workspace_id AND l.goal_id = g.id AND k.deleted_at IS NULL \
             LIMIT ",
        );
        pass.push_bind_param::<BigInt, _>(&query.limit)?;
        pass.push_sql(
            ") AS k ON true LEFT JOIN LATERAL sesari.last_point_between(",
        );
        pass.push_bind_param::<Text, _>(query.workspace)?;
        pass.push_sql(", k.id, '-infinity', ");
        pass.push_bind_param::<Timestamptz, _>(&query.from)?;
        pass.push_sql(") AS b ON true LEFT JOIN LATERAL (");
        push_cells(query.workspace, query.reading, &mut pass)?;
        pass.push_sql(") AS a ON true WHERE g.workspace_id = ");
        pass.push_bind_param::<Text, _>(query.workspace)?;
        pass.push_sql(" AND g.id = ");
        pass.push_bind_param::<Text, _>(query.goal)?;
        pass.push_sql(" AND g.deleted_at IS NULL ORDER BY k.created_at, k.id");
    }
);

pub(super) struct StatisticsOf<'a> {
    pub(super) workspace: &'a WorkspaceId,
    pub(super) kpis: &'a [KpiId],
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pub(super) percentiles: &'a [f64],
}

/// What huge values are divided by, so that their squares stay within the type.
pub(super) const SCALE: f64 = 1e160;

/// Number of the KPI, points, least, greatest, mean and deviation, the same two scaled down, and
/// percentiles, first and last.
pub(super) type StatisticsRow =
    (i64, i64, f64, f64, (Option<f64>, Option<f64>), (f64, Option<f64>), (Vec<f64>, f64, f64));

statement!(
    StatisticsOf: (
        BigInt,
        BigInt,
        Double,
        Double,
        (Nullable<Double>, Nullable<Double>),
        (Double, Nullable<Double>),
        (Array<Double>, Double, Double),
    ),
    include_str!("statistics.sql"),
    |query| [
        query.workspace => Text,
        query.kpis => Array<Text>,
        &query.from => Timestamptz,
        &query.to => Timestamptz,
        query.percentiles => Array<Double>,
    ]
);

/// The next rollups after a place, those of no day of the workspace's zone made anew.
pub(super) struct RezoneBatch<'a> {
    pub(super) kpi: Option<&'a KpiId>,
    pub(super) day: Option<DateTime<Utc>>,
    pub(super) batch: i32,
}

/// How many there were, how many made anew, and the place that was reached.
pub(super) type RezonedRow = (i64, i64, Option<KpiId>, Option<DateTime<Utc>>);

static_query!(
    RezoneBatch: (BigInt, BigInt, Nullable<Text>, Nullable<Timestamptz>),
    |query, pass| {
        pass.push_sql(
            "SELECT rollups, rezoned, last_kpi, last_day FROM sesari.rezone_rollups(coalesce(",
        );
        pass.push_bind_param::<Nullable<Text>, _>(&query.kpi)?;
        pass.push_sql(", ''), coalesce(");
        pass.push_bind_param::<Nullable<Timestamptz>, _>(&query.day)?;
        pass.push_sql(", '-infinity'), ");
        pass.push_bind_param::<Integer, _>(&query.batch)?;
        pass.push_sql(")");
    }
);
