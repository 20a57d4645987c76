-- Loses the history of every KPI. Take a copy first.
SET LOCAL ROLE sesari_owner;
DROP TABLE public.kpi_data_points;
DROP TABLE public.kpi_rollups;
DROP FUNCTION sesari.audit_deleted_points();
DROP FUNCTION sesari.refresh_rollups();
DROP FUNCTION sesari.rebuild_rollups(text, text, text);
DROP FUNCTION sesari.verify_rollups(text, text, text, integer);
DROP FUNCTION sesari.rezone_rollups(text, timestamptz, integer);
DROP FUNCTION sesari.roll_up_again(text, text, text[], timestamptz[]);
DROP FUNCTION sesari.rollup_differences(text, text, text);
DROP FUNCTION sesari.roll_up(text, text, text[], timestamptz[], timestamptz[], boolean, boolean);
DROP FUNCTION sesari.day_of(text, timestamptz);
DROP FUNCTION sesari.first_shown(text, timestamp);
DROP FUNCTION sesari.fill_source();
DROP FUNCTION sesari.next_point_time();
RESET ROLE;
