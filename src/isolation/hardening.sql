-- What an operator can add for this login, and whether it is on; NULL where a login cannot see it.
WITH
login AS (
    SELECT r.* FROM pg_catalog.pg_roles AS r WHERE r.rolname = session_user
),
defaults AS (
    SELECT setting
      FROM pg_catalog.pg_db_role_setting AS s
      JOIN login AS l ON l.oid = s.setrole
     CROSS JOIN LATERAL unnest(s.setconfig) AS setting
),
-- Of these few alone: to name a function and to ask for its privilege costs, and there are thousands.
callable AS (
    SELECT p.proname, p.oid::regprocedure::text AS name
      FROM pg_catalog.pg_proc AS p
     WHERE p.pronamespace = 'pg_catalog'::regnamespace
       AND (p.proname IN ('pg_terminate_backend', 'pg_cancel_backend', 'lo_creat', 'lo_create', 'lo_from_bytea',
                          'pg_logical_emit_message')
            OR p.proname ~ '^pg_(try_)?advisory_')
       AND has_function_privilege(session_user, p.oid, 'EXECUTE')
),
-- Locks that the server's table has room for, all sessions together.
lock_table (entries) AS (
    SELECT current_setting('max_locks_per_transaction')::bigint
           * (current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint)
),
measures (id, is_on, detail) AS (
    SELECT 'hardening-tls', coalesce(s.ssl, false) OR pg_catalog.inet_client_addr() IS NULL,
           CASE WHEN pg_catalog.inet_client_addr() IS NULL THEN 'a local socket'
                ELSE coalesce(s.version || ', ' || s.cipher, 'the connection is not encrypted') END
      FROM (SELECT) AS one
      LEFT JOIN pg_catalog.pg_stat_ssl AS s ON s.pid = pg_catalog.pg_backend_pid()
    UNION ALL
    SELECT 'hardening-activity', current_setting('track_activities') = 'off',
           'track_activities = ' || current_setting('track_activities')
    UNION ALL
    SELECT 'hardening-statements',
           current_setting('server_version_num')::integer >= 180000
           OR coalesce(current_setting('pg_stat_statements.track_utility', true) IN ('off', ''), true),
           coalesce('pg_stat_statements.track_utility = ' || nullif(current_setting('pg_stat_statements.track_utility', true), ''),
                    'pg_stat_statements is not loaded')
    UNION ALL
    SELECT 'hardening-log-statements',
           current_setting('log_statement') IN ('none', 'ddl')
           AND current_setting('log_min_duration_statement') = '-1'
           AND (current_setting('log_min_duration_sample') = '-1' OR current_setting('log_statement_sample_rate') = '0')
           AND current_setting('log_transaction_sample_rate') = '0',
           'log_statement = ' || current_setting('log_statement')
           || ', log_min_duration_statement = ' || current_setting('log_min_duration_statement')
    UNION ALL
    SELECT 'hardening-log-values',
           current_setting('log_parameter_max_length') = '0' AND current_setting('log_parameter_max_length_on_error') = '0',
           'log_parameter_max_length = ' || current_setting('log_parameter_max_length')
           || ', log_parameter_max_length_on_error = ' || current_setting('log_parameter_max_length_on_error')
    UNION ALL
    SELECT 'hardening-statement-timeout', count(*) > 0,
           coalesce(string_agg(setting, ', '), 'the login has no statement_timeout of its own')
      FROM defaults WHERE setting ~ '^statement_timeout=' AND setting !~ '=0'
    UNION ALL
    SELECT 'hardening-connection-limit', rolconnlimit >= 0,
           CASE WHEN rolconnlimit < 0 THEN 'the login may take every connection' ELSE rolconnlimit || ' connections' END
      FROM login
    UNION ALL
    SELECT 'hardening-ddl', count(*) > 0,
           CASE count(*) WHEN 0 THEN 'no event trigger sesari_refuse_ddl' ELSE 'refused' END
      FROM pg_catalog.pg_event_trigger AS t JOIN pg_catalog.pg_proc AS p ON p.oid = t.evtfoid
     WHERE t.evtname = 'sesari_refuse_ddl' AND t.evtevent = 'ddl_command_start' AND t.evttags IS NULL
       AND t.evtenabled IN ('O', 'A')
       AND sha256(convert_to(p.prosrc, 'UTF8')) = '\x634f04eca2134ac2362ea36fe0cdc0220c4b52e12035436ce4ba05a881ed1695'
    UNION ALL
    SELECT 'hardening-temp-files', current_setting('temp_file_limit') <> '-1',
           'temp_file_limit = ' || current_setting('temp_file_limit')
    UNION ALL
    SELECT 'hardening-signals', count(*) = 0, coalesce(string_agg(name, ', ' ORDER BY name), 'revoked')
      FROM callable WHERE proname IN ('pg_terminate_backend', 'pg_cancel_backend')
    UNION ALL
    SELECT 'hardening-large-objects', count(*) = 0, coalesce(string_agg(name, ', ' ORDER BY name), 'revoked')
      FROM callable WHERE proname IN ('lo_creat', 'lo_create', 'lo_from_bytea')
    UNION ALL
    SELECT 'hardening-advisory-locks', count(*) = 0,
           CASE count(*) WHEN 0 THEN 'revoked' ELSE count(*) || ' of PostgreSQL''s functions for advisory locks' END
      FROM callable WHERE proname ~ '^pg_(try_)?advisory_'
    UNION ALL
    SELECT 'hardening-logical-messages', count(*) = 0, coalesce(string_agg(name, ', ' ORDER BY name), 'revoked')
      FROM callable WHERE proname = 'pg_logical_emit_message'
    UNION ALL
    SELECT 'hardening-lock-table', entries >= 200000, 'room for ' || entries || ' locks' FROM lock_table
    UNION ALL
    SELECT 'hardening-reserved-connections', reserved > 0, reserved || ' connections'
      FROM (SELECT current_setting('superuser_reserved_connections')::integer
                   + coalesce(current_setting('reserved_connections', true)::integer, 0)) AS kept (reserved)
    UNION ALL
    SELECT 'hardening-messages', current_setting('lc_messages') ~ '^(C|POSIX|en)', 'lc_messages = ' || current_setting('lc_messages')
    UNION ALL
    SELECT 'hardening-isolation-level', current_setting('default_transaction_isolation') = 'read committed',
           'default_transaction_isolation = ' || current_setting('default_transaction_isolation')
    UNION ALL
    SELECT 'hardening-passwords', NULL::boolean, 'pg_hba.conf is not shown to a login'
)
SELECT id, session_user::text AS login, is_on, detail FROM measures ORDER BY id COLLATE "C"
