-- Loses every KPI and its history. Take a copy first.
SET LOCAL ROLE sesari_owner;
DROP TABLE public.kpi_data_points;
DROP FUNCTION sesari.audit_deleted_points();
DROP FUNCTION sesari.follow_newest_point();
DROP TABLE public.kpis;
RESET ROLE;
