-- One descent of the index for each KPI, whatever the length of its history.
SELECT p.workspace_id, p.kpi_id, p."timestamp", p.source, p.value
  FROM (SELECT DISTINCT kpi_id FROM unnest($1::text[]) AS k (kpi_id)) AS k
 CROSS JOIN LATERAL (
       SELECT * FROM public.kpi_data_points AS p
        WHERE p.workspace_id = $2 AND p.kpi_id = k.kpi_id
        ORDER BY p."timestamp" DESC, p.source DESC
        LIMIT 1) AS p
 ORDER BY p.kpi_id
