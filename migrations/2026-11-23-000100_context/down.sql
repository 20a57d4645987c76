-- Loses the context keys: no token is valid until a key is installed again.
SET LOCAL ROLE sesari_owner;
DROP FUNCTION sesari.release_advisory_locks();
DROP FUNCTION sesari.applied_migrations();
DROP FUNCTION sesari.protect_table(regclass, text[], text[], text[], text[], text[], text[]);
DROP FUNCTION sesari.forget_statistics(regclass);
DROP FUNCTION sesari.refuse_change();
DROP FUNCTION sesari.drop_negative_zero();
DROP FUNCTION sesari.keep_times();
DROP FUNCTION sesari.is_text(text, text);
DROP FUNCTION sesari.key_of(text);
DROP FUNCTION sesari.new_id();
DROP FUNCTION sesari.current_service();
DROP FUNCTION sesari.signed_in_user_id();
DROP FUNCTION sesari.current_user_id();
DROP FUNCTION sesari.verified_context();
DROP FUNCTION sesari.has_context_key(text, bytea);
DROP FUNCTION sesari.retire_context_key(text);
DROP FUNCTION sesari.install_context_key(text, bytea);
DROP TABLE sesari.context_keys;
ALTER DEFAULT PRIVILEGES FOR ROLE sesari_owner GRANT EXECUTE ON FUNCTIONS TO PUBLIC;
RESET ROLE;

DROP SCHEMA sesari;
DO $$
BEGIN
    EXECUTE format('ALTER TABLE sesari_migrations.__diesel_schema_migrations OWNER TO %I', current_user);
    EXECUTE format('ALTER SCHEMA sesari_migrations OWNER TO %I', current_user);
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO PUBLIC', current_database());
END
$$;
REVOKE ALL ON SCHEMA public FROM sesari_owner, sesari_tenant, sesari_service;

-- Roles are the cluster's: each goes only when nothing in any database hangs on it.
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['sesari_service', 'sesari_tenant', 'sesari_owner'] LOOP
        BEGIN
            EXECUTE format('DROP ROLE IF EXISTS %I', role_name);
        EXCEPTION WHEN dependent_objects_still_exist OR insufficient_privilege THEN
            NULL;
        END;
    END LOOP;
END
$$;
