-- Loses every target of a period and what goals counted before. Take a copy first.
SET LOCAL ROLE sesari_owner;
DROP POLICY goals_owner_select ON public.goals;
DROP TRIGGER goal_kpis_history_update ON public.goal_kpis;
DROP TRIGGER goal_kpis_history ON public.goal_kpis;
DROP TRIGGER kpis_history_update ON public.kpis;
DROP TRIGGER kpis_history_insert ON public.kpis;
DROP FUNCTION sesari.keep_link_history();
DROP FUNCTION sesari.keep_target_history();
DROP FUNCTION sesari.next_change(text, text, text);
DROP TABLE public.kpi_history;
DROP TABLE public.kpi_targets;
DROP FUNCTION sesari.record_target();
RESET ROLE;
