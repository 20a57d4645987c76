-- What PostgreSQL itself, extensions and operators give beyond what a new database has. Follows reach.sql.
-- Each finding brings its remedy, names quoted. $5: LEAKPROOF functions of PostgreSQL, as in leakproof.txt.
grantees AS (
    SELECT 0::oid AS oid, 'PUBLIC' AS name
    UNION ALL
    SELECT r.oid, quote_ident(r.rolname) FROM roles AS r
),
-- Those that may matter. Ids below 16384 are given by initdb alone, and a row of its first transaction is one that
-- nobody has touched since.
functions AS (
    SELECT p.*, l.lanname, format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) AS name,
           n.nspname, p.oid < 16384 AS builtin
      FROM pg_catalog.pg_proc AS p
      JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
      JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
     WHERE CASE WHEN p.oid < 16384 THEN p.xmin::text <> '1' AND p.proleakproof OR p.prosecdef OR p.proowner <> 10
                                        OR p.proconfig IS NOT NULL OR l.lanname NOT IN ('internal', 'c', 'sql')
                ELSE p.proleakproof OR p.prosecdef OR n.nspname = 'pg_catalog' END
),
direct_members AS (
    SELECT r.oid, r.rolname, r.rolsuper, r.rolbypassrls, r.rolcreaterole, r.rolcreatedb, r.rolreplication,
           r.rolname = session_user AS is_login,
           (SELECT string_agg(format('REVOKE %I FROM %I', r.rolname, g.rolname), '; ' ORDER BY g.rolname)
              FROM pg_catalog.pg_auth_members AS m JOIN roles AS g ON g.oid = m.member
             WHERE m.roleid = r.oid) AS revoke
      FROM roles AS r
),
settings AS (
    SELECT d.datname, r.rolname, split_part(setting, '=', 1) AS name,
           substr(setting, strpos(setting, '=') + 1) AS value,
           coalesce(d.datname, 'every database') || ', ' || coalesce(r.rolname, 'every login') AS object,
           CASE WHEN s.setrole = 0 AND s.setdatabase <> 0 THEN format('ALTER DATABASE %I', d.datname)
                ELSE 'ALTER ROLE ' || coalesce(quote_ident(r.rolname), 'ALL')
                     || coalesce(' IN DATABASE ' || quote_ident(d.datname), '') END
           || ' RESET ' || split_part(setting, '=', 1) AS reset
      FROM pg_catalog.pg_db_role_setting AS s
      LEFT JOIN pg_catalog.pg_database AS d ON d.oid = s.setdatabase
      LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = s.setrole
     CROSS JOIN LATERAL unnest(s.setconfig) AS setting
     WHERE (s.setdatabase = 0 OR d.datname = current_database())
       AND (s.setrole = 0 OR r.oid IN (SELECT oid FROM roles)
            OR r.rolname IN ('sesari_owner', 'sesari_tenant', 'sesari_service'))
),
-- These lift what isolation rests on.
lifting AS (
    SELECT * FROM settings
     WHERE lower(name) IN ('allow_system_table_mods', 'ignore_system_indexes', 'lo_compat_privileges', 'role', 'row_security',
                           'session_authorization', 'session_replication_role')
       AND (lower(name), lower(value)) NOT IN (
           ('allow_system_table_mods', 'off'), ('ignore_system_indexes', 'off'), ('lo_compat_privileges', 'off'),
           ('role', 'none'), ('row_security', 'on'), ('session_replication_role', 'origin'))
        OR name ~* '^sesari[.]'
),
published AS (
    SELECT p.pubname, p.puballtables, string_agg(t.tablename, ', ' ORDER BY t.tablename) AS tables
      FROM pg_catalog.pg_publication AS p
      JOIN pg_catalog.pg_publication_tables AS t ON t.pubname = p.pubname AND t.schemaname = 'sesari'
     GROUP BY p.pubname, p.puballtables
),
findings (rule, object, explanation, remedy) AS (
    SELECT 'login-bypasses-rls', rolname::text, 'the login has, or can take, a role with SUPERUSER or BYPASSRLS',
           CASE WHEN is_login THEN format('ALTER ROLE %I NOBYPASSRLS', rolname) ELSE revoke END
      FROM direct_members WHERE rolbypassrls OR rolsuper AND NOT is_login
    UNION ALL
    SELECT 'login-can-make-roles', rolname, 'the login has, or can take, a role with CREATEROLE, CREATEDB or REPLICATION',
           CASE WHEN is_login THEN format('ALTER ROLE %I NOCREATEROLE NOCREATEDB NOREPLICATION', rolname) ELSE revoke END
      FROM direct_members WHERE (rolcreaterole OR rolcreatedb OR rolreplication) AND NOT rolsuper
    UNION ALL
    SELECT 'login-is-privileged', rolname, 'the login is a member of a predefined role that reaches past a tenant', revoke
      FROM direct_members
     WHERE rolname ~ '^pg_' AND rolname NOT IN ('pg_database_owner', 'pg_use_reserved_connections')
        OR rolname IN ('alloydbsuperuser', 'azure_pg_admin', 'cloudsqlsuperuser', 'neon_superuser', 'rds_superuser')
    UNION ALL
    SELECT 'login-owns', o.name, 'the login owns this, or is a member of its owner, and could change it',
           CASE WHEN m.is_login THEN format('ALTER %s %s OWNER TO %I', o.kind, o.quoted,
                                            CASE o.kind WHEN 'DATABASE' THEN pg_get_userbyid(10) ELSE 'sesari_owner' END)
                ELSE coalesce(m.revoke, 'make another role than pg_database_owner the owner of ' || o.quoted) END
      FROM (SELECT relowner AS owner, name, CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
                                                         WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END AS kind, quoted FROM relations
            UNION ALL SELECT nspowner, nspname::text, 'SCHEMA', quote_ident(nspname) FROM namespaces
            UNION ALL SELECT p.proowner, n.nspname || '.' || p.proname, 'ROUTINE',
                             format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid))
                        FROM pg_catalog.pg_proc AS p JOIN namespaces AS n ON n.oid = p.pronamespace
            UNION ALL SELECT d.datdba, d.datname::text, 'DATABASE', quote_ident(d.datname) FROM pg_catalog.pg_database AS d
                       WHERE d.datname = current_database()) AS o
      JOIN direct_members AS m ON m.oid = o.owner
    UNION ALL
    SELECT 'role-attributes', r.rolname,
           'has ' || array_to_string(array_remove(ARRAY[
               CASE WHEN r.rolcanlogin THEN 'LOGIN' END, CASE WHEN r.rolsuper THEN 'SUPERUSER' END,
               CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END, CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END,
               CASE WHEN r.rolcreatedb THEN 'CREATEDB' END, CASE WHEN r.rolreplication THEN 'REPLICATION' END], NULL), ', ')
           || ': this role holds grants alone, and nobody logs in as it',
           format('ALTER ROLE %I NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB NOREPLICATION PASSWORD NULL', r.rolname)
      FROM pg_catalog.pg_roles AS r
     WHERE r.rolname IN ('sesari_owner', 'sesari_tenant', 'sesari_service')
       AND (r.rolcanlogin OR r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication)
    UNION ALL
    SELECT 'system-function-granted', f.name, 'EXECUTE is granted to ' || g.name || ', beyond what PostgreSQL or the extension gives',
           format('REVOKE EXECUTE ON FUNCTION %s FROM %s', f.name, g.name)
      FROM pg_catalog.pg_init_privs AS i
      JOIN (SELECT p.oid, p.proacl, p.proowner,
                   format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) AS name
              FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace) AS f ON f.oid = i.objoid
     CROSS JOIN LATERAL aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) AS a
      JOIN grantees AS g ON g.oid = a.grantee
     WHERE i.classoid = 'pg_catalog.pg_proc'::regclass AND a.grantee <> f.proowner
       AND NOT EXISTS (SELECT FROM aclexplode(i.initprivs) AS b WHERE b.grantee IN (0, a.grantee))
    UNION ALL
    SELECT 'catalogue-granted', c.name || coalesce('.' || quote_ident(c.attname), ''),
           c.privilege || ' is granted to ' || g.name || ', beyond what PostgreSQL gives',
           format('REVOKE %s%s ON %s FROM %s', c.privilege, coalesce(' (' || quote_ident(c.attname) || ')', ''), c.name, g.name)
      FROM (SELECT format('%I.%I', n.nspname, t.relname) AS name, NULL::name AS attname, t.oid, 0 AS attnum,
                   a.grantee, a.privilege_type AS privilege
              FROM pg_catalog.pg_class AS t
              JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace
             CROSS JOIN LATERAL aclexplode(t.relacl) AS a
             WHERE (n.nspname ~ '^pg_' OR n.nspname = 'information_schema') AND a.grantee <> t.relowner
            UNION ALL
            SELECT format('%I.%I', n.nspname, t.relname), r.attname, t.oid, r.attnum, a.grantee, a.privilege_type
              FROM pg_catalog.pg_attribute AS r
              JOIN pg_catalog.pg_class AS t ON t.oid = r.attrelid
              JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace
             CROSS JOIN LATERAL aclexplode(r.attacl) AS a
             WHERE (n.nspname ~ '^pg_' OR n.nspname = 'information_schema') AND a.grantee <> t.relowner) AS c
      JOIN grantees AS g ON g.oid = c.grantee
     -- initdb makes information_schema after it has written its own grants down, and shows all but the inner views.
     WHERE NOT (c.oid < 16384 AND c.name ~ '^information_schema[.](?!_)' AND c.privilege = 'SELECT')
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_init_privs AS i CROSS JOIN LATERAL aclexplode(i.initprivs) AS b
                        WHERE i.classoid = 'pg_catalog.pg_class'::regclass AND i.objoid = c.oid AND i.objsubid IN (0, c.attnum)
                          AND b.grantee IN (0, c.grantee) AND b.privilege_type = c.privilege)
    UNION ALL
    SELECT 'function-leakproof', name, 'is evaluated before the policies, on rows of all tenants',
           'ALTER FUNCTION ' || name || ' NOT LEAKPROOF'
      FROM functions AS f
     WHERE proleakproof
       AND NOT (builtin AND EXISTS (
               SELECT FROM unnest($5) AS known WHERE split_part(known, ': ', 1) = f.oid::regprocedure::text))
    UNION ALL
    SELECT 'system-function-changed', name,
           CASE WHEN NOT builtin THEN 'is not PostgreSQL''s, and stands where PostgreSQL''s own of this name are looked up'
                ELSE 'has not the owner, rights, language, settings or text that PostgreSQL gave it' END,
           CASE WHEN NOT builtin THEN 'DROP FUNCTION ' || name
                WHEN prosecdef THEN 'ALTER FUNCTION ' || name || ' SECURITY INVOKER'
                WHEN proconfig IS NOT NULL THEN 'ALTER FUNCTION ' || name || ' RESET ALL'
                WHEN proowner <> 10 THEN format('ALTER FUNCTION %s OWNER TO %I', name, pg_get_userbyid(10))
                ELSE 'dump the database, and restore it into a new cluster' END
      FROM functions AS f
     WHERE nspname = 'pg_catalog'
       AND CASE WHEN builtin THEN
                proowner <> 10 OR prosecdef OR proconfig IS NOT NULL OR lanname NOT IN ('internal', 'c', 'sql')
                OR proleakproof
                   AND EXISTS (SELECT FROM unnest($5) AS known WHERE split_part(known, ': ', 1) = f.oid::regprocedure::text)
                   AND NOT f.oid::regprocedure::text || ': ' || prosrc = ANY ($5)
           ELSE NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d
                             WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = f.oid AND d.deptype = 'e')
                AND EXISTS (SELECT FROM pg_catalog.pg_proc AS b
                             WHERE b.pronamespace = f.pronamespace AND b.proname = f.proname AND b.oid < 16384) END
    UNION ALL
    SELECT 'system-operator-changed', format('%I.%s', n.nspname, o.oid::regoperator),
           'is PostgreSQL''s, and calls ' || o.oprcode || ', which is not',
           'dump the database, and restore it into a new cluster'
      FROM pg_catalog.pg_operator AS o
      JOIN pg_catalog.pg_namespace AS n ON n.oid = o.oprnamespace
     WHERE o.oid < 16384 AND o.oprcode::oid >= 16384
    UNION ALL
    SELECT 'cast-added', format('%s AS %s', c.castsource::regtype, c.casttarget::regtype),
           'a conversion between types of PostgreSQL''s own that statements make without saying so',
           format('DROP CAST (%s AS %s)', c.castsource::regtype, c.casttarget::regtype)
      FROM pg_catalog.pg_cast AS c
     WHERE c.oid >= 16384 AND c.castsource < 16384 AND c.casttarget < 16384 AND c.castcontext <> 'e'
    UNION ALL
    SELECT 'function-unpinned', name, 'SECURITY DEFINER without a search_path that ends in pg_temp',
           'ALTER FUNCTION ' || name || ' SET search_path = pg_catalog, pg_temp'
      FROM functions AS f
     WHERE prosecdef AND NOT builtin
       AND EXISTS (SELECT FROM roles AS r WHERE has_function_privilege(r.oid, f.oid, 'EXECUTE'))
       AND EXISTS (SELECT FROM roles AS r WHERE has_schema_privilege(r.oid, f.pronamespace, 'USAGE'))
       AND NOT EXISTS (SELECT FROM unnest(proconfig) AS c WHERE c ~ '^search_path=(.*, )?"?pg_temp"?$')
    UNION ALL
    SELECT 'definer-function', name,
           'the login may call it, and it reads and writes as ' || o.rolname
           || CASE WHEN o.rolsuper OR o.rolbypassrls THEN ', whom no policy binds' ELSE '' END,
           format('see that it holds to the context''s workspace, or REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC, %I', name, $1)
      FROM functions AS f
      JOIN pg_catalog.pg_roles AS o ON o.oid = f.proowner
     WHERE prosecdef AND NOT builtin AND nspname <> 'sesari' AND prorettype <> 'trigger'::regtype
       AND EXISTS (SELECT FROM roles AS r WHERE has_function_privilege(r.oid, f.oid, 'EXECUTE'))
       AND EXISTS (SELECT FROM roles AS r WHERE has_schema_privilege(r.oid, f.pronamespace, 'USAGE'))
    UNION ALL
    SELECT 'extension-reaches-out', e.extname,
           'the login may call ' || count(*) || ' of its functions, which reach other sessions or servers, where neither context nor policies go along',
           format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA %I FROM PUBLIC', min(n.nspname))
      FROM pg_catalog.pg_extension AS e
      JOIN pg_catalog.pg_depend AS d ON d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.refobjid = e.oid
                                    AND d.classid = 'pg_catalog.pg_proc'::regclass AND d.deptype = 'e'
      JOIN pg_catalog.pg_proc AS p ON p.oid = d.objid
      JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
     WHERE e.extname IN ('aws_lambda', 'aws_s3', 'dblink', 'http', 'pg_background', 'pg_cron', 'pg_net', 'plproxy')
       AND EXISTS (SELECT FROM roles AS r WHERE has_function_privilege(r.oid, p.oid, 'EXECUTE'))
       AND EXISTS (SELECT FROM roles AS r WHERE has_schema_privilege(r.oid, n.oid, 'USAGE'))
     GROUP BY e.extname
    UNION ALL
    SELECT 'language-trusted', l.lanname, 'a language that runs outside of the database''s rights is marked as trusted, so that whoever may use it runs code as the server',
           format('UPDATE pg_catalog.pg_language SET lanpltrusted = false WHERE lanname = %L', l.lanname)
      FROM pg_catalog.pg_language AS l
     WHERE l.lanpltrusted AND (l.lanname IN ('internal', 'c', 'plr', 'plsh') OR l.lanname ~ '^pl.*u$')
       AND EXISTS (SELECT FROM roles AS r WHERE has_language_privilege(r.oid, l.oid, 'USAGE'))
    UNION ALL
    SELECT 'server-granted', s.srvname, 'the login may use this foreign server, and what its user mappings may there',
           format('REVOKE USAGE ON FOREIGN SERVER %I FROM %s', s.srvname, g.name)
      FROM pg_catalog.pg_foreign_server AS s
     CROSS JOIN LATERAL aclexplode(s.srvacl) AS a JOIN grantees AS g ON g.oid = a.grantee
    UNION ALL
    SELECT 'server-granted', u.srvname, 'a user mapping lets ' || u.usename || ' into this foreign server',
           format('DROP USER MAPPING FOR %I SERVER %I', u.usename, u.srvname)
      FROM pg_catalog.pg_user_mappings AS u WHERE u.umuser IN (SELECT oid FROM roles)
    UNION ALL
    SELECT 'server-granted', w.fdwname, 'the login may make foreign servers of this wrapper',
           format('REVOKE USAGE ON FOREIGN DATA WRAPPER %I FROM %s', w.fdwname, g.name)
      FROM pg_catalog.pg_foreign_data_wrapper AS w
     CROSS JOIN LATERAL aclexplode(w.fdwacl) AS a JOIN grantees AS g ON g.oid = a.grantee
    UNION ALL
    SELECT 'tablespace-granted', t.spcname, 'CREATE is granted to ' || g.name || ', who could fill its disk',
           format('REVOKE CREATE ON TABLESPACE %I FROM %s', t.spcname, g.name)
      FROM pg_catalog.pg_tablespace AS t
     CROSS JOIN LATERAL aclexplode(t.spcacl) AS a JOIN grantees AS g ON g.oid = a.grantee
    UNION ALL
    SELECT 'setting-changed', object, name || '=' || value || ': triggers, foreign keys, rights or policies would not be applied as they are', reset
      FROM lifting
    UNION ALL
    -- Everything that is not known to be harmless: any login can change most of its own, for all to come.
    SELECT 'setting-damaging', object, name || '=' || value || ': may stop or mislead every session to come', reset
      FROM settings
     WHERE (object, name) NOT IN (SELECT object, name FROM lifting)
       AND lower(name) NOT IN (
           'application_name', 'bytea_output', 'client_connection_check_interval', 'client_encoding', 'client_min_messages',
           'constraint_exclusion', 'datestyle', 'default_statistics_target', 'default_text_search_config', 'effective_cache_size',
           'effective_io_concurrency', 'extra_float_digits', 'hash_mem_multiplier', 'idle_in_transaction_session_timeout',
           'intervalstyle', 'jit', 'lc_messages', 'lc_monetary', 'lc_numeric', 'lc_time', 'lock_timeout',
           'logical_decoding_work_mem', 'maintenance_io_concurrency', 'maintenance_work_mem', 'max_parallel_maintenance_workers',
           'max_parallel_workers', 'max_parallel_workers_per_gather', 'random_page_cost', 'row_security', 'seq_page_cost',
           'session_replication_role', 'statement_timeout', 'temp_file_limit', 'timezone', 'tcp_keepalives_count',
           'tcp_keepalives_idle', 'tcp_keepalives_interval', 'tcp_user_timeout', 'track_activities', 'track_counts', 'track_functions',
           'track_io_timing', 'work_mem')
       AND name !~* '^(log_|auto_explain[.]|pg_stat_statements[.]|deadlock_timeout$)'
       AND (lower(name), lower(value)) NOT IN (
           ('allow_system_table_mods', 'off'), ('ignore_system_indexes', 'off'), ('lo_compat_privileges', 'off'), ('role', 'none'),
           ('default_transaction_isolation', 'read committed'), ('default_transaction_read_only', 'off'),
           ('exit_on_error', 'off'), ('idle_session_timeout', '0'), ('synchronous_commit', 'on'), ('transaction_timeout', '0'))
    UNION ALL
    SELECT 'publication-private', pubname,
           CASE WHEN puballtables THEN 'is FOR ALL TABLES, private ones too: ' ELSE 'carries private tables: ' END || tables
           || '; whoever subscribes can sign contexts and open credentials',
           CASE WHEN puballtables THEN format('DROP PUBLICATION %I', pubname) || ', and publish single tables of public'
                ELSE (SELECT string_agg(CASE WHEN p.is_schema THEN format('ALTER PUBLICATION %I DROP TABLES IN SCHEMA sesari', pubname)
                                             ELSE format('ALTER PUBLICATION %I DROP TABLE sesari.%I', pubname, p.name) END, '; ')
                        FROM (SELECT c.relname AS name, false AS is_schema
                                FROM pg_catalog.pg_publication_rel AS r
                                JOIN pg_catalog.pg_publication AS u ON u.oid = r.prpubid
                                JOIN pg_catalog.pg_class AS c ON c.oid = r.prrelid
                                JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = 'sesari'
                               WHERE u.pubname = published.pubname
                              UNION ALL
                              SELECT n.nspname, true
                                FROM pg_catalog.pg_publication_namespace AS r
                                JOIN pg_catalog.pg_publication AS u ON u.oid = r.pnpubid
                                JOIN pg_catalog.pg_namespace AS n ON n.oid = r.pnnspid AND n.nspname = 'sesari'
                               WHERE u.pubname = published.pubname) AS p) END
      FROM published
    UNION ALL
    SELECT 'subscription-writes', s.subname, 'writes into ' || string_agg(r.name, ', ' ORDER BY r.name) || ' past triggers and foreign keys',
           format('ALTER SUBSCRIPTION %I DISABLE', s.subname)
      FROM pg_catalog.pg_subscription AS s
      JOIN pg_catalog.pg_database AS d ON d.oid = s.subdbid AND d.datname = current_database()
      JOIN pg_catalog.pg_subscription_rel AS w ON w.srsubid = s.oid
      JOIN relations AS r ON r.oid = w.srrelid AND (r.name = ANY ($2) OR r.name = ANY ($4) OR r.name ~ '^sesari[.]')
     WHERE s.subenabled
     GROUP BY s.subname
    UNION ALL
    SELECT 'event-trigger', t.evtname, 'runs ' || t.evtfoid::regprocedure || ' on ' || t.evtevent || ', in sessions of others',
           format('ALTER EVENT TRIGGER %I DISABLE', t.evtname)
      FROM pg_catalog.pg_event_trigger AS t JOIN pg_catalog.pg_proc AS p ON p.oid = t.evtfoid
     WHERE t.evtenabled <> 'D'
       -- Of docs/refuse_ddl.sql, by its text.
       AND (t.evtname <> 'sesari_refuse_ddl' OR sha256(convert_to(p.prosrc, 'UTF8'))
            <> '\x634f04eca2134ac2362ea36fe0cdc0220c4b52e12035436ce4ba05a881ed1695')
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d
                        WHERE d.classid = 'pg_catalog.pg_event_trigger'::regclass AND d.objid = t.oid AND d.deptype = 'e')
)
SELECT rule::text, object::text, explanation::text, coalesce(remedy, '')::text AS remedy FROM findings ORDER BY 1, 2, 3
