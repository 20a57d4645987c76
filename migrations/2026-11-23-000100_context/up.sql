-- Roles, the private schema, and the signed context that every policy stands on.

-- Roles belong to the cluster, not to this database: another database may have made them already,
-- or be making them now.
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['sesari_owner', 'sesari_tenant', 'sesari_service'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role_name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;
            END;
        END IF;
    END LOOP;
    IF NOT pg_has_role('sesari_owner', 'USAGE') THEN
        EXECUTE format('GRANT sesari_owner TO %I', current_user);
    END IF;
    -- Temporary objects are looked up before all others: whoever can make one can shadow a table.
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
END
$$;

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO sesari_owner;
GRANT USAGE ON SCHEMA public TO sesari_tenant, sesari_service;
CREATE SCHEMA sesari AUTHORIZATION sesari_owner;
-- The record of migrations has a schema of its own, made before the first one: the service beside this
-- crate may keep its own record in public.
ALTER SCHEMA sesari_migrations OWNER TO sesari_owner;
ALTER TABLE sesari_migrations.__diesel_schema_migrations OWNER TO sesari_owner;

SET LOCAL ROLE sesari_owner;

COMMENT ON SCHEMA sesari IS 'Functions of the data-access layer, and tables nobody else may read';
GRANT USAGE ON SCHEMA sesari TO sesari_tenant, sesari_service;
-- Functions are executable by everyone unless said otherwise; here the default is nobody.
ALTER DEFAULT PRIVILEGES FOR ROLE sesari_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- Keys ---------------------------------------------------------------------------------------

CREATE TABLE sesari.context_keys (
    key_id text NOT NULL,
    inner_pad bytea NOT NULL,
    outer_pad bytea NOT NULL,
    installed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT context_keys_pkey PRIMARY KEY (key_id),
    CONSTRAINT context_keys_key_id_check CHECK (key_id ~ '^[a-z0-9][a-z0-9_-]{0,31}$'),
    CONSTRAINT context_keys_inner_pad_check CHECK (octet_length(inner_pad) = 64),
    CONSTRAINT context_keys_outer_pad_check CHECK (octet_length(outer_pad) = 64)
);
COMMENT ON TABLE sesari.context_keys IS
    'HMAC-SHA256 keys of the context, stored as the two pads of RFC 2104. No role but the owner may read it';

CREATE FUNCTION sesari.install_context_key(new_key_id text, key bytea) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    padded bytea;
    inner_key bytea;
    outer_key bytea;
BEGIN
    IF octet_length(key) NOT BETWEEN 32 AND 64 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'a context key has 32 to 64 bytes';
    END IF;
    padded := key || decode(repeat('00', 64 - octet_length(key)), 'hex');
    inner_key := padded;
    outer_key := padded;
    FOR i IN 0..63 LOOP
        inner_key := set_byte(inner_key, i, get_byte(padded, i) # 54);  -- 0x36, RFC 2104's ipad
        outer_key := set_byte(outer_key, i, get_byte(padded, i) # 92);  -- 0x5c, its opad
    END LOOP;
    INSERT INTO sesari.context_keys (key_id, inner_pad, outer_pad)
    VALUES (new_key_id, inner_key, outer_key)
    ON CONFLICT (key_id) DO NOTHING;
    IF NOT EXISTS (SELECT FROM sesari.context_keys
                   WHERE key_id = new_key_id AND inner_pad = inner_key) THEN
        RAISE unique_violation USING
            MESSAGE = 'another context key is installed under this id',
            CONSTRAINT = 'context_keys_pkey';
    END IF;
END
$$;
COMMENT ON FUNCTION sesari.install_context_key IS
    'Makes tokens signed with this key valid. Installing the same key again changes nothing';

CREATE FUNCTION sesari.retire_context_key(old_key_id text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM sesari.context_keys WHERE key_id = old_key_id;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION sesari.retire_context_key IS
    'Makes tokens signed with this key worthless from the next statement on. False if there was none';

CREATE FUNCTION sesari.has_context_key(wanted_key_id text, proof bytea) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (
        SELECT FROM sesari.context_keys
         WHERE key_id = wanted_key_id
           AND sha256(outer_pad || sha256(inner_pad || convert_to('sesari.has_context_key', 'UTF8'))) = proof)
$$;
COMMENT ON FUNCTION sesari.has_context_key IS
    'Whether this very key is installed; the proof is the HMAC of the function''s name. Lets a service notice that its key was retired';
GRANT EXECUTE ON FUNCTION sesari.has_context_key TO sesari_tenant, sesari_service;

-- The context --------------------------------------------------------------------------------

-- The one reader of the setting. Its parts, separated by dots:
--   1 version, 2 key id, 3 actor kind (u or s), 4 actor id, 5 workspace or empty,
--   6 issued at (microseconds since 1970), 7 backend pid or 0, 8 HMAC-SHA256 in hex of all before.
-- Returns the parts, or NULL when anything is off. Nothing of the text is interpreted before its
-- signature is known to be ours.
--
-- Called only by the definer functions below, under their pinned search_path.
CREATE FUNCTION sesari.verified_context() RETURNS text[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
AS $$
DECLARE
    token text := pg_catalog.current_setting('sesari.context', true);
    parts text[];
    pads sesari.context_keys;
    expected text;
    age interval;
BEGIN
    -- A reused connection reads '' where a setting was local to an earlier transaction.
    IF token IS NULL OR octet_length(token) NOT BETWEEN 65 AND 512 THEN
        RETURN NULL;
    END IF;
    parts := string_to_array(token, '.');
    IF cardinality(parts) <> 8 OR parts[1] <> '1' OR length(parts[8]) <> 64 THEN
        RETURN NULL;
    END IF;
    SELECT * INTO pads FROM sesari.context_keys WHERE key_id = parts[2];
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    expected := encode(sha256(pads.outer_pad || sha256(
        pads.inner_pad || convert_to(left(token, -65), 'UTF8'))), 'hex');
    -- Hashed once more under the key, so that the time of the comparison tells nothing of the
    -- signature expected.
    IF sha256(pads.outer_pad || convert_to(expected, 'UTF8'))
       <> sha256(pads.outer_pad || convert_to(parts[8], 'UTF8')) THEN
        RETURN NULL;
    END IF;
    IF parts[7] <> '0' AND parts[7]::integer <> pg_backend_pid() THEN
        RETURN NULL;
    END IF;
    -- now() is the start of the transaction: a context that was fresh then stays valid in it.
    age := now() - (to_timestamp(0) + parts[6]::bigint * interval '1 microsecond');
    IF age < interval '-2 seconds' OR age > interval '10 seconds' THEN
        RETURN NULL;
    END IF;
    RETURN parts;
END
$$;
COMMENT ON FUNCTION sesari.verified_context IS
    'The parts of the signed context, or NULL. Internal';

CREATE FUNCTION sesari.current_user_id() RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    context text[] := sesari.verified_context();
BEGIN
    RETURN CASE WHEN context[3] = 'u' THEN context[4] END;
END
$$;
COMMENT ON FUNCTION sesari.current_user_id IS
    'The user of the verified context, with or without a workspace, or NULL';
GRANT EXECUTE ON FUNCTION sesari.current_user_id TO sesari_tenant, sesari_service;

CREATE FUNCTION sesari.signed_in_user_id() RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    context text[] := sesari.verified_context();
BEGIN
    RETURN CASE WHEN context[3] = 'u' AND context[5] = '' THEN context[4] END;
END
$$;
COMMENT ON FUNCTION sesari.signed_in_user_id IS
    'The user of the verified context while no workspace is chosen, or NULL';
GRANT EXECUTE ON FUNCTION sesari.signed_in_user_id TO sesari_tenant;

CREATE FUNCTION sesari.current_service() RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    context text[] := sesari.verified_context();
BEGIN
    RETURN CASE WHEN context[3] = 's' AND context[5] = '' THEN context[4] END;
END
$$;
COMMENT ON FUNCTION sesari.current_service IS
    'The service of the verified context outside of any workspace, or NULL';
GRANT EXECUTE ON FUNCTION sesari.current_service TO sesari_service;

-- Shared by all tables -----------------------------------------------------------------------

CREATE FUNCTION sesari.new_id() RETURNS text
LANGUAGE sql VOLATILE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT 'c' || substr(replace(gen_random_uuid()::text, '-', ''), 1, 31) $$;
COMMENT ON FUNCTION sesari.new_id IS
    'A random id in the form of a CUID, for writers that bring none';
GRANT EXECUTE ON FUNCTION sesari.new_id TO sesari_tenant, sesari_service;

CREATE FUNCTION sesari.touch_updated_at() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION sesari.touch_updated_at IS 'Trigger: keeps updated_at right for every client';

CREATE FUNCTION sesari.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE check_violation USING
        MESSAGE = format('columns of %s that identify a row or are derived cannot be changed', TG_ARGV[0]),
        CONSTRAINT = TG_ARGV[1];
END
$$;
COMMENT ON FUNCTION sesari.refuse_change IS
    'Trigger: refuses the statement. Arguments: table, name of the constraint reported';

-- What the planner knows of a column it knows of all tenants' rows together, and its estimates, which any
-- statement may ask for, tell it. Each column is named, since a column without a target of its own gets
-- the server's default.
CREATE FUNCTION sesari.forget_statistics(of_table regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    one record;
BEGIN
    -- The table, what inherits from it or is a partition of it, and computed columns of their indexes.
    FOR one IN
        WITH RECURSIVE tables (oid) AS (
            SELECT of_table::oid
            UNION
            SELECT i.inhrelid FROM pg_inherits AS i JOIN tables AS t ON t.oid = i.inhparent)
        SELECT format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS 0', c.oid::regclass, a.attname) AS command,
               c.oid, c.relname, n.nspname, c.reltuples, a.attname
          FROM tables AS t
          JOIN pg_class AS c ON c.oid = t.oid
          JOIN pg_namespace AS n ON n.oid = c.relnamespace
          JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL
        SELECT format('ALTER INDEX %s ALTER COLUMN %s SET STATISTICS 0', c.oid::regclass, a.attnum),
               c.oid, c.relname, n.nspname, c.reltuples, a.attname
          FROM tables AS t
          JOIN pg_index AS i ON i.indrelid = t.oid
          JOIN pg_class AS c ON c.oid = i.indexrelid
          JOIN pg_namespace AS n ON n.oid = c.relnamespace
          JOIN pg_attribute AS a ON a.attrelid = c.oid AND i.indkey[a.attnum - 1] = 0
        UNION ALL
        SELECT format('DROP STATISTICS %I.%I', n.nspname, s.stxname), NULL, NULL, NULL, -1, NULL
          FROM tables AS t
          JOIN pg_statistic_ext AS s ON s.stxrelid = t.oid
          JOIN pg_namespace AS n ON n.oid = s.stxnamespace
    LOOP
        EXECUTE one.command;
        -- Those of the last ANALYZE stay until they are cleared. There are none before the first.
        IF one.reltuples < 0 THEN
            CONTINUE;
        ELSIF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
            DELETE FROM pg_statistic AS s
             USING pg_attribute AS a
             WHERE a.attrelid = one.oid AND a.attname = one.attname
               AND s.starelid = a.attrelid AND s.staattnum = a.attnum;
        ELSIF current_setting('server_version_num')::integer >= 180000 THEN
            EXECUTE 'SELECT pg_clear_attribute_stats($1, $2, $3, inherited) FROM (VALUES (false), (true)) AS v (inherited)'
              USING one.nspname, one.relname, one.attname;
        ELSE
            RAISE insufficient_privilege USING
                MESSAGE = format('%s may have been analyzed, and only a superuser can clear its statistics', of_table),
                HINT = format('As a superuser: SELECT sesari.forget_statistics(%L)', of_table);
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION sesari.forget_statistics IS
    'Has the planner keep no statistics of a table, for its owner: they would be of all tenants together. For each table that tenants read, before its first row or as a superuser; again after a column was added';

CREATE FUNCTION sesari.applied_migrations() RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT version::text FROM sesari_migrations.__diesel_schema_migrations ORDER BY 1 $$;
COMMENT ON FUNCTION sesari.applied_migrations IS
    'Versions of the migrations in place, for the check at start-up';
GRANT EXECUTE ON FUNCTION sesari.applied_migrations TO sesari_tenant, sesari_service;

RESET ROLE;
