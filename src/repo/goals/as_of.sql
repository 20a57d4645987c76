-- What a goal counted at a moment: its links, the plain targets of their KPIs and the newest values before it. A
-- KPI that was deleted since then counts.
SELECT g.id, k.id, v.value, t.target_value, l.baseline, l.weight
  FROM public.goals AS g
  LEFT JOIN LATERAL (
       SELECT DISTINCT ON (h.kpi_id) h.kpi_id, h.weight, h.baseline FROM public.kpi_history AS h
        WHERE h.workspace_id = $1 AND h.goal_id = g.id AND h.changed_at <= $3
        ORDER BY h.kpi_id, h.changed_at DESC) AS l ON l.weight IS NOT NULL
  LEFT JOIN public.kpis AS k ON k.workspace_id = $1 AND k.id = l.kpi_id
       AND (k.deleted_at IS NULL OR k.deleted_at > $3)
  LEFT JOIN LATERAL (
       SELECT h.target_value FROM public.kpi_history AS h
        WHERE h.workspace_id = $1 AND h.kpi_id = k.id AND h.goal_id IS NULL AND h.changed_at <= $3
        ORDER BY h.changed_at DESC LIMIT 1) AS t ON true
  LEFT JOIN LATERAL sesari.last_point_between($1, k.id, '-infinity', $3) AS v ON true
 WHERE g.workspace_id = $1 AND g.id = $2 AND g.deleted_at IS NULL
 ORDER BY k.created_at, k.id
 LIMIT $4
