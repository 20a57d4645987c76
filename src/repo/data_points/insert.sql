-- In the order of their key, as insert_or_keep.sql. A key that is taken is an error.
WITH written AS (
    INSERT INTO public.kpi_data_points AS t (workspace_id, kpi_id, value, "timestamp", source)
    SELECT $1, kpi_id, value, "timestamp", source
      FROM unnest($2::text[], $3::double precision[], $4::timestamptz[], $5::text[]) WITH ORDINALITY AS p (kpi_id, value, "timestamp", source, n)
     ORDER BY p.kpi_id, p."timestamp", p.source
    RETURNING (xmax = 0) AS inserted)
SELECT count(*) FILTER (WHERE inserted), count(*) FILTER (WHERE NOT inserted) FROM written
