-- Loses the history of every KPI. Take a copy first.
SET LOCAL ROLE sesari_owner;
DROP TABLE public.kpi_data_points;
DROP TABLE public.kpi_rollups;
DROP FUNCTION sesari.audit_deleted_points();
DROP FUNCTION sesari.follow_points();
DROP FUNCTION sesari.roll_up(text[], text[], timestamptz[], boolean);
RESET ROLE;
