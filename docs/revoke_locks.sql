-- Takes from tenants' SQL what fills the server's shared memory by a call, and leaves it to the owner of
-- this crate's schema. For a superuser, once in each database; an upgrade of PostgreSQL by dump and restore
-- keeps it, a new major version may bring functions of the same kind: run it again.
--
-- The login that runs migrations waits for others with pg_advisory_xact_lock. It has that by way of
-- sesari_owner; one that does not inherit that role's rights needs a grant of its own.
DO $$
DECLARE
    taken regprocedure;
BEGIN
    FOR taken IN
        SELECT oid FROM pg_catalog.pg_proc
         WHERE pronamespace = 'pg_catalog'::regnamespace
           AND (proname ~ '^pg_(try_)?advisory_'
                OR proname IN ('pg_logical_emit_message', 'lo_creat', 'lo_create', 'lo_from_bytea'))
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', taken);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO sesari_owner', taken);
    END LOOP;
END
$$;
