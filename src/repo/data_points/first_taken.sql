SELECT min(p.n)
  FROM unnest($2::text[], $3::double precision[], $4::timestamptz[], $5::text[]) WITH ORDINALITY AS p (kpi_id, value, "timestamp", source, n)
  JOIN public.kpi_data_points AS t
    ON t.workspace_id = $1 AND t.kpi_id = p.kpi_id AND t."timestamp" = p."timestamp" AND t.source = p.source
