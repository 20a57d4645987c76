-- Loses every goal and its links to KPIs. Take a copy first.
SET LOCAL ROLE sesari_owner;
DROP TABLE public.goal_kpis;
DROP TABLE public.goals;
RESET ROLE;
