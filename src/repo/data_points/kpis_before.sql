-- One descent of either key for each KPI.
SELECT k.id
  FROM public.kpis AS k
 WHERE k.workspace_id = $1 AND k.id > $2
   AND (EXISTS (SELECT FROM public.kpi_data_points AS p
                 WHERE p.workspace_id = $1 AND p.kpi_id = k.id AND p."timestamp" < $3 OFFSET 0)
        OR EXISTS (SELECT FROM public.kpi_packed_points AS s
                    WHERE s.workspace_id = $1 AND s.kpi_id = k.id AND s.starts_at < $3 OFFSET 0))
 ORDER BY k.id
 LIMIT $4
