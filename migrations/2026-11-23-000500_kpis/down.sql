-- Loses every KPI. Take a copy first.
SET LOCAL ROLE sesari_owner;
DROP TABLE public.kpis;
RESET ROLE;
