-- Column by column in one row. No name of a source has a comma.
SELECT string_agg(timestamptz_send(p."timestamp"), ''),
       string_agg(float8send(p.value), ''),
       string_agg(p.source, ',')
  FROM (SELECT p."timestamp", p.source, p.value
          FROM public.kpi_data_points AS p
         WHERE p.workspace_id = $1 AND p.kpi_id = $2
           AND p."timestamp" >= $3 AND p."timestamp" < $4
           AND p."timestamp" >= $5 AND (p."timestamp" > $5 OR p.source > $6)
         ORDER BY p."timestamp", p.source
         LIMIT $7) AS p
