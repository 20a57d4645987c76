//! The statements. Each reads any number of KPIs and spans in one text, and is prepared once.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::AstPass;
use diesel::sql_types::{Array, BigInt, Double, Integer, Nullable, Text, Timestamptz};

use super::Reading;
use crate::id::{GoalId, KpiId, WorkspaceId};
use crate::repo::static_query;
use crate::value::Timestamp;

/// One span of one KPI: its start, and column by column what was found, with the buckets' numbers
/// first. First and last values are absent where they were not asked for.
pub(super) type Part = (
    Timestamp,
    Vec<i32>,
    Vec<i64>,
    Vec<Option<f64>>,
    Vec<f64>,
    Vec<f64>,
    Option<Vec<f64>>,
    Option<Vec<f64>>,
);
type PartSql = (
    Timestamptz,
    Array<Integer>,
    Array<BigInt>,
    Array<Nullable<Double>>,
    Array<Double>,
    Array<Double>,
    Nullable<Array<Double>>,
    Nullable<Array<Double>>,
);

/// `(points of a KPI in a span)`: one row for each span that has any, in the columns of `PartSql`.
/// The KPI is `k.id`. Spans are read one after the other along the key: a lateral query with an
/// aggregate of its own cannot be turned into a join over the whole workspace.
fn push_parts<'b>(
    workspace: &'b WorkspaceId,
    reading: &'b Reading,
    ends: bool,
    pass: &mut AstPass<'_, 'b, Pg>,
) -> QueryResult<()> {
    let Reading { edges, stretches } = reading;
    pass.push_sql("SELECT s.\"from\" AS part, a.* FROM unnest(");
    pass.push_bind_param::<Array<Timestamptz>, _>(&stretches.days_from)?;
    pass.push_sql(", ");
    pass.push_bind_param::<Array<Timestamptz>, _>(&stretches.days_to)?;
    pass.push_sql(
        ") AS s (\"from\", \"to\") CROSS JOIN LATERAL (\
         SELECT array_agg(r.bucket) AS buckets, array_agg(r.points) AS points, \
         array_agg(r.sum) AS sums, array_agg(r.min) AS mins, array_agg(r.max) AS maxs, ",
    );
    pass.push_sql(if ends {
        "array_agg(r.first) AS firsts, array_agg(r.last) AS lasts "
    } else {
        "NULL::double precision[] AS firsts, NULL::double precision[] AS lasts "
    });
    pass.push_sql("FROM (SELECT width_bucket(r.day, ");
    pass.push_bind_param::<Array<Timestamptz>, _>(edges)?;
    pass.push_sql(
        ") AS bucket, r.points, r.sum, r.min, r.max, r.first, r.last \
         FROM public.kpi_rollups AS r WHERE r.workspace_id = ",
    );
    pass.push_bind_param::<Text, _>(workspace)?;
    pass.push_sql(
        " AND r.kpi_id = k.id AND r.day >= s.\"from\" AND r.day < s.\"to\" ORDER BY r.day) AS r) AS a \
         WHERE a.buckets IS NOT NULL \
         UNION ALL SELECT s.\"from\" AS part, a.* FROM unnest(",
    );
    pass.push_bind_param::<Array<Timestamptz>, _>(&stretches.points_from)?;
    pass.push_sql(", ");
    pass.push_bind_param::<Array<Timestamptz>, _>(&stretches.points_to)?;
    // A sum of numbers near the end of the type would be an error: there is none of these, as in
    // the rollups.
    pass.push_sql(
        ") AS s (\"from\", \"to\") CROSS JOIN LATERAL (\
         SELECT array_agg(b.bucket) AS buckets, array_agg(b.points) AS points, \
         array_agg(CASE WHEN b.min > -1e290 AND b.max < 1e290 THEN b.sum END) AS sums, \
         array_agg(b.min) AS mins, array_agg(b.max) AS maxs, ",
    );
    pass.push_sql(if ends {
        "array_agg(b.\"values\"[1]) AS firsts, array_agg(b.\"values\"[b.points]) AS lasts "
    } else {
        "NULL::double precision[] AS firsts, NULL::double precision[] AS lasts "
    });
    pass.push_sql(
        "FROM (SELECT p.bucket, count(*) AS points, \
         sum(p.value) FILTER (WHERE p.value > -1e290 AND p.value < 1e290) AS sum, \
         min(p.value) AS min, max(p.value) AS max",
    );
    if ends {
        pass.push_sql(", array_agg(p.value) AS \"values\"");
    }
    pass.push_sql(" FROM (SELECT width_bucket(p.\"timestamp\", ");
    pass.push_bind_param::<Array<Timestamptz>, _>(edges)?;
    pass.push_sql(") AS bucket, p.value FROM public.kpi_data_points AS p WHERE p.workspace_id = ");
    pass.push_bind_param::<Text, _>(workspace)?;
    pass.push_sql(
        " AND p.kpi_id = k.id AND p.\"timestamp\" >= s.\"from\" AND p.\"timestamp\" < s.\"to\"",
    );
    if ends {
        // By the bucket as well, so that grouping has nothing left to sort.
        pass.push_sql(" ORDER BY bucket, p.\"timestamp\", p.source");
    }
    pass.push_sql(") AS p GROUP BY p.bucket) AS b) AS a WHERE a.buckets IS NOT NULL");
    Ok(())
}

macro_rules! readings {
    ($($name:ident: $ends:literal;)*) => {$(
        pub(super) struct $name<'a> {
            pub(super) workspace: &'a WorkspaceId,
            pub(super) kpis: &'a [KpiId],
            pub(super) reading: &'a Reading,
        }

        static_query!($name: (BigInt, PartSql), |query, pass| {
            pass.push_sql("SELECT k.n, a.* FROM unnest(");
            pass.push_bind_param::<Array<Text>, _>(query.kpis)?;
            pass.push_sql(") WITH ORDINALITY AS k (id, n) CROSS JOIN LATERAL (");
            push_parts(query.workspace, query.reading, $ends, &mut pass)?;
            pass.push_sql(") AS a");
        });
    )*};
}

readings! {
    WithEnds: true;
    WithoutEnds: false;
}

pub(super) struct OfGoal<'a> {
    pub(super) workspace: &'a WorkspaceId,
    pub(super) goal: &'a GoalId,
    pub(super) reading: &'a Reading,
    pub(super) from: Timestamp,
}

/// A KPI with its target, baseline, weight and last value before the range, and one of its spans.
pub(super) type GoalRow =
    (Option<KpiId>, Option<f64>, Option<f64>, Option<f64>, Option<f64>, Option<Part>);

static_query!(
    OfGoal: (
        Nullable<Text>,
        Nullable<Double>,
        Nullable<Double>,
        Nullable<Double>,
        Nullable<Double>,
        Nullable<PartSql>,
    ),
    |query, pass| {
        pass.push_sql(
            "SELECT k.id, k.target_value, k.baseline, k.weight, b.value, a.* \
             FROM public.goals AS g LEFT JOIN LATERAL (\
             SELECT k.id, k.target_value, l.baseline, l.weight, k.created_at \
             FROM public.goal_kpis AS l JOIN public.kpis AS k \
             ON k.workspace_id = l.workspace_id AND k.id = l.kpi_id \
             WHERE l.workspace_id = g.workspace_id AND l.goal_id = g.id AND k.deleted_at IS NULL) \
             AS k ON true LEFT JOIN LATERAL (\
             SELECT p.value FROM public.kpi_data_points AS p WHERE p.workspace_id = ",
        );
        pass.push_bind_param::<Text, _>(query.workspace)?;
        pass.push_sql(" AND p.kpi_id = k.id AND p.\"timestamp\" < ");
        pass.push_bind_param::<Timestamptz, _>(&query.from)?;
        pass.push_sql(
            " ORDER BY p.\"timestamp\" DESC, p.source DESC LIMIT 1) AS b ON true LEFT JOIN LATERAL (",
        );
        push_parts(query.workspace, query.reading, true, &mut pass)?;
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

static_query!(
    StatisticsOf: (
        BigInt,
        BigInt,
        Double,
        Double,
        (Nullable<Double>, Nullable<Double>),
        (Double, Nullable<Double>),
        (Array<Double>, Double, Double),
    ),
    |query, pass| {
        pass.push_sql(
            "SELECT k.n, a.*, f.value, l.value FROM unnest(",
        );
        pass.push_bind_param::<Array<Text>, _>(query.kpis)?;
        pass.push_sql(
            ") WITH ORDINALITY AS k (id, n) CROSS JOIN LATERAL (\
             SELECT count(*) AS points, min(p.value) AS min, max(p.value) AS max, \
             avg(p.value) FILTER (WHERE abs(p.value) < 1e150) AS mean, \
             stddev_samp(p.value) FILTER (WHERE abs(p.value) < 1e150) AS deviation, \
             avg(p.scaled) AS scaled_mean, stddev_samp(p.scaled) AS scaled_deviation, \
             percentile_cont(",
        );
        pass.push_bind_param::<Array<Double>, _>(query.percentiles)?;
        pass.push_sql(
            ") WITHIN GROUP (ORDER BY p.value) AS percentiles FROM (SELECT p.value, \
             CASE WHEN abs(p.value) >= 1e100 THEN p.value / 1e160 ELSE 0 END AS scaled \
             FROM public.kpi_data_points AS p WHERE ",
        );
        query.push_range(&mut pass)?;
        pass.push_sql(") AS p) AS a");
        for (end, order) in [("f", "ASC"), ("l", "DESC")] {
            pass.push_sql(" CROSS JOIN LATERAL (SELECT p.value FROM public.kpi_data_points AS p WHERE ");
            query.push_range(&mut pass)?;
            pass.push_sql(" ORDER BY p.\"timestamp\" ");
            pass.push_sql(order);
            pass.push_sql(", p.source ");
            pass.push_sql(order);
            pass.push_sql(" LIMIT 1) AS ");
            pass.push_sql(end);
        }
    }
);

impl StatisticsOf<'_> {
    fn push_range<'b>(&'b self, pass: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        pass.push_sql("p.workspace_id = ");
        pass.push_bind_param::<Text, _>(self.workspace)?;
        pass.push_sql(" AND p.kpi_id = k.id AND p.\"timestamp\" >= ");
        pass.push_bind_param::<Timestamptz, _>(&self.from)?;
        pass.push_sql(" AND p.\"timestamp\" < ");
        pass.push_bind_param::<Timestamptz, _>(&self.to)
    }
}
