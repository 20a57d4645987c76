-- In the order of their key, as insert_or_keep.sql. One statement may replace a row once: of several points
-- with one key, the last counts.
WITH written AS (
    INSERT INTO public.kpi_data_points AS t (workspace_id, kpi_id, value, "timestamp", source)
    SELECT DISTINCT ON (kpi_id, "timestamp", source) $1, kpi_id, value, "timestamp", source
      FROM unnest($2::text[], $3::double precision[], $4::timestamptz[], $5::text[]) WITH ORDINALITY AS p (kpi_id, value, "timestamp", source, n)
     ORDER BY kpi_id, "timestamp", source, p.n DESC
    ON CONFLICT (workspace_id, kpi_id, "timestamp", source)
    DO UPDATE SET value = excluded.value WHERE t.value IS DISTINCT FROM excluded.value
    RETURNING (xmax = 0) AS inserted)
SELECT count(*) FILTER (WHERE inserted), count(*) FILTER (WHERE NOT inserted) FROM written
