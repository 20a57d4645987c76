SET LOCAL ROLE sesari_owner;
DROP FUNCTION sesari.diagnose_context(text, integer, timestamptz);
DROP FUNCTION sesari.diagnose(text, text, text, text, text);
DROP POLICY kpi_targets_owner_select ON public.kpi_targets;
DROP POLICY goal_kpis_owner_select ON public.goal_kpis;
RESET ROLE;
