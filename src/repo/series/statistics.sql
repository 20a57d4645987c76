-- Squares of huge values overflow: of these the mean and the deviation are computed of scaled ones.
SELECT k.n, a.*, f.value, l.value
  FROM unnest($2::text[]) WITH ORDINALITY AS k (id, n)
 CROSS JOIN LATERAL (
       SELECT count(*) AS points, min(p.value) AS min, max(p.value) AS max,
              avg(p.value) FILTER (WHERE abs(p.value) < 1e150) AS mean,
              stddev_samp(p.value) FILTER (WHERE abs(p.value) < 1e150) AS deviation,
              avg(p.scaled) AS scaled_mean, stddev_samp(p.scaled) AS scaled_deviation,
              percentile_cont($5::double precision[]) WITHIN GROUP (ORDER BY p.value) AS percentiles
         FROM (SELECT p.value, CASE WHEN abs(p.value) >= 1e100 THEN p.value / 1e160 ELSE 0 END AS scaled
                 FROM sesari.points_between($1, k.id, $3, $4) AS p) AS p) AS a
 CROSS JOIN LATERAL sesari.first_point_between($1, k.id, $3, $4) AS f
 CROSS JOIN LATERAL sesari.last_point_between($1, k.id, $3, $4) AS l
