-- The oldest points of a KPI before a cut: where the batch is not full, the moment asked for; else the first
-- point that is too many, or the start of its day where there are points before that.
WITH oldest AS MATERIALIZED (
         SELECT p."timestamp" FROM public.kpi_data_points AS p
          WHERE p.workspace_id = $1 AND p.kpi_id = $2 AND p."timestamp" < $3
          ORDER BY p."timestamp", p.source LIMIT 1),
     next AS MATERIALIZED (
         SELECT p."timestamp", p.source,
                (SELECT r.day FROM public.kpi_rollups AS r
                  WHERE r.workspace_id = $1 AND r.kpi_id = $2 AND r.day <= p."timestamp"
                  ORDER BY r.day DESC LIMIT 1) AS day
           FROM public.kpi_data_points AS p
          WHERE p.workspace_id = $1 AND p.kpi_id = $2 AND p."timestamp" < $3
          ORDER BY p."timestamp", p.source LIMIT 1 OFFSET $4),
     cut AS MATERIALIZED (
         SELECT CASE WHEN o."timestamp" < n.day THEN n.day ELSE coalesce(n."timestamp", $3) END AS "timestamp",
                CASE WHEN o."timestamp" < n.day THEN '' ELSE coalesce(n.source, '') END AS source
           FROM oldest AS o LEFT JOIN next AS n ON true)
DELETE FROM public.kpi_data_points AS p
 WHERE p.workspace_id = $1 AND p.kpi_id = $2
   AND (p."timestamp", p.source) < ((SELECT "timestamp" FROM cut), (SELECT source FROM cut))
