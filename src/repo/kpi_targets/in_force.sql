-- Of each KPI that is not deleted the target of a period and the standing one that are in force on a day, and the
-- plain one: as they are now or, where a moment is given, as they had been set until then.
SELECT k.id, k.aggregation,
       p.effective_from, p.value, p.baseline,
       s.effective_from, s.value, s.baseline,
       CASE WHEN $5::timestamptz IS NULL THEN k.target_value ELSE (
           SELECT h.target_value FROM public.kpi_history AS h
            WHERE h.workspace_id = $2 AND h.kpi_id = k.id AND h.goal_id IS NULL AND h.changed_at <= $5
            ORDER BY h.changed_at DESC LIMIT 1) END
  FROM (SELECT DISTINCT a.id FROM unnest($1::text[]) AS a (id)) AS a
  JOIN public.kpis AS k ON k.workspace_id = $2 AND k.id = a.id AND k.deleted_at IS NULL
  LEFT JOIN LATERAL (
       SELECT t.effective_from, t.value, t.baseline FROM public.kpi_targets AS t
        WHERE t.workspace_id = $2 AND t.kpi_id = k.id AND t.period = $3 AND t.effective_from <= $4
          AND t.recorded_at <= coalesce($5::timestamptz, 'infinity')
        ORDER BY t.effective_from DESC, t.recorded_at DESC LIMIT 1) AS p ON $3 <> 'standing'
  LEFT JOIN LATERAL (
       SELECT t.effective_from, t.value, t.baseline FROM public.kpi_targets AS t
        WHERE t.workspace_id = $2 AND t.kpi_id = k.id AND t.period = 'standing' AND t.effective_from <= $4
          AND t.recorded_at <= coalesce($5::timestamptz, 'infinity')
        ORDER BY t.effective_from DESC, t.recorded_at DESC LIMIT 1) AS s ON true
