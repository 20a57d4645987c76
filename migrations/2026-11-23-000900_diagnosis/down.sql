SET LOCAL ROLE sesari_owner;
DROP FUNCTION sesari.diagnose_context(text, integer, timestamptz);
DROP FUNCTION sesari.diagnose(text, text, text, text, text);
DROP POLICY goal_kpis_owner_select ON public.goal_kpis;
DROP POLICY goals_owner_select ON public.goals;
RESET ROLE;
