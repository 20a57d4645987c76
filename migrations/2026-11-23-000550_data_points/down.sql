-- Loses the history of every KPI. Take a copy first.
SET LOCAL ROLE sesari_owner;
DROP TABLE public.kpi_data_points;
DROP TABLE public.kpi_rollups;
DROP FUNCTION sesari.audit_deleted_points();
DROP FUNCTION sesari.refresh_rollups();
DROP FUNCTION sesari.rebuild_rollups(text, text, text);
DROP FUNCTION sesari.verify_rollups(text, text, text, integer);
DROP FUNCTION sesari.wrong_days(text, text);
DROP FUNCTION sesari.roll_up(text[], text[], timestamptz[], boolean, boolean);
RESET ROLE;
