-- Ends sessions of the services' logins that hold more than 1000 locks, or a transaction or a statement that is
-- older than 5 minutes: a block of code that commits begins a new transaction each time. Put your logins' names in; what a service does for longer needs a login of its own.
--
-- A full lock table lets nobody in: keep one session open that runs this every second, and which is no
-- service's:
--     CREATE ROLE sesari_watchdog LOGIN PASSWORD '...' IN ROLE pg_read_all_stats, pg_signal_backend;
--     (cat docs/watchdog.sql; echo '\watch 1') | psql -d sesari -U sesari_watchdog
-- It asks the functions behind pg_stat_activity and pg_locks, whose views take locks of their own, and each
-- time for the name of every session's login, so that the session knows them when there is no room to look.
SELECT a.pid, a.usesysid::regrole AS login, l.locks, a.xact_start, pg_catalog.pg_terminate_backend(a.pid) AS ended
  FROM pg_catalog.pg_stat_get_activity(NULL) AS a
  LEFT JOIN (SELECT pid, count(*) AS locks FROM pg_catalog.pg_lock_status() GROUP BY pid) AS l ON l.pid = a.pid
 WHERE a.usesysid::regrole::text IN ('sesari_app', 'sesari_jobs')
   AND (l.locks > 1000
        OR least(a.xact_start, CASE WHEN a.state = 'active' THEN a.query_start END)
           < pg_catalog.clock_timestamp() - interval '5 minutes')
