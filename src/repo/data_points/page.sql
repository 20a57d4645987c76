-- Column by column in one row. No name of a source has a comma. Of the packed points, those of the first spans
-- that hold enough for the page, not counting one that starts before it: each holds at least eight.
SELECT string_agg(timestamptz_send(p."timestamp"), ''),
       string_agg(float8send(p.value), ''),
       string_agg(p.source, ',')
  FROM (SELECT p."timestamp", p.source, p.value
          FROM ((SELECT p."timestamp", p.source, p.value
                   FROM public.kpi_data_points AS p
                  WHERE p.workspace_id = $1 AND p.kpi_id = $2
                    AND p."timestamp" >= $3 AND p."timestamp" < $4
                    AND p."timestamp" >= $5 AND (p."timestamp" > $5 OR p.source > $6)
                  ORDER BY p."timestamp", p.source
                  LIMIT $7)
                UNION ALL
                SELECT u."timestamp", u.source, u.value
                  FROM (SELECT s.*, sum(CASE WHEN s.starts_at > $5 THEN s.points ELSE 0 END)
                                        OVER (ORDER BY s.starts_at ROWS UNBOUNDED PRECEDING) - s.points AS before
                          FROM (SELECT * FROM public.kpi_packed_points AS s
                                 WHERE s.workspace_id = $1 AND s.kpi_id = $2
                                   AND s.starts_at > greatest($3, $5) - interval '24 days' AND s.starts_at < $4
                                   AND s.ends_at >= greatest($3, $5)
                                 ORDER BY s.starts_at
                                 LIMIT $7 / 8 + 2) AS s) AS s
                 CROSS JOIN LATERAL sesari.points_of_span(
                       s.starts_at, s.point_offsets, s.point_values, s.point_sources) AS u
                 WHERE s.before < $7
                   AND u."timestamp" >= $3 AND u."timestamp" < $4
                   AND u."timestamp" >= $5 AND (u."timestamp" > $5 OR u.source COLLATE "C" > $6)) AS p
         ORDER BY p."timestamp", p.source COLLATE "C"
         LIMIT $7) AS p
