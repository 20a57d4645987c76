-- Connections to the services that KPIs come from.
SET LOCAL ROLE sesari_owner;

CREATE TABLE public.integrations (
    id text NOT NULL DEFAULT sesari.new_id(),
    workspace_id text NOT NULL DEFAULT sesari.current_workspace_id(),
    provider text NOT NULL,
    is_active boolean NOT NULL DEFAULT true,
    credentials text NOT NULL,
    last_sync_at timestamptz,
    sync_status text NOT NULL DEFAULT 'pending',
    error_message text,
    next_sync_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    lease_id text,
    leased_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    CONSTRAINT integrations_pkey PRIMARY KEY (workspace_id, id),
    CONSTRAINT integrations_workspace_id_fkey FOREIGN KEY (workspace_id)
        REFERENCES public.workspaces (id) ON DELETE CASCADE,
    CONSTRAINT integrations_id_check CHECK (id ~ '^[a-z][a-z0-9]{1,31}$'),
    CONSTRAINT integrations_provider_check CHECK (provider IN ('stripe', 'google_analytics', 'sheets')),
    CONSTRAINT integrations_credentials_check CHECK (
        credentials ~ '^v1\.[a-z0-9][a-z0-9_-]{0,31}\.[A-Za-z0-9_-]{16}\.[A-Za-z0-9_-]{22,}$'
        AND octet_length(credentials) <= 100000),
    CONSTRAINT integrations_sync_status_check CHECK (sync_status IN ('pending', 'success', 'error')),
    CONSTRAINT integrations_error_message_check CHECK (char_length(error_message) <= 1000),
    CONSTRAINT integrations_next_sync_at_check CHECK (
        next_sync_at >= '0001-01-01 00:00:00+00' AND next_sync_at < '10000-01-01 00:00:00+00'),
    CONSTRAINT integrations_lease_id_check CHECK (lease_id ~ '^[a-z][a-z0-9]{1,31}$'),
    CONSTRAINT integrations_leased_until_check CHECK (
        leased_until >= '0001-01-01 00:00:00+00' AND leased_until < '10000-01-01 00:00:00+00'),
    CONSTRAINT integrations_last_sync_at_check CHECK (
        last_sync_at >= '0001-01-01 00:00:00+00' AND last_sync_at < '10000-01-01 00:00:00+00'),
    CONSTRAINT integrations_created_at_check CHECK (
        created_at >= '0001-01-01 00:00:00+00' AND created_at < '10000-01-01 00:00:00+00'),
    CONSTRAINT integrations_updated_at_check CHECK (
        updated_at >= '0001-01-01 00:00:00+00' AND updated_at < '10000-01-01 00:00:00+00')
);
COMMENT ON TABLE public.integrations IS 'Connections of a workspace to outside services';
COMMENT ON COLUMN public.integrations.id IS 'CUID, unique within the workspace';
COMMENT ON COLUMN public.integrations.workspace_id IS 'The workspace; by default the one of the context';
COMMENT ON COLUMN public.integrations.provider IS 'stripe, google_analytics or sheets';
COMMENT ON COLUMN public.integrations.is_active IS 'Whether it is synchronised';
COMMENT ON COLUMN public.integrations.credentials IS
    'Sealed envelope: version, key id, nonce and ciphertext, in base64url without padding, separated by dots';
COMMENT ON COLUMN public.integrations.last_sync_at IS 'When it was last synchronised';
COMMENT ON COLUMN public.integrations.sync_status IS 'pending, success or error';
COMMENT ON COLUMN public.integrations.error_message IS 'Why the last synchronisation failed';
COMMENT ON COLUMN public.integrations.next_sync_at IS 'When it is due to be synchronised next';
COMMENT ON COLUMN public.integrations.lease_id IS 'The claim of the worker that synchronises it, or null';
COMMENT ON COLUMN public.integrations.leased_until IS 'When that claim ends by itself';
COMMENT ON COLUMN public.integrations.created_at IS 'When the row was made';
COMMENT ON COLUMN public.integrations.updated_at IS 'When the row last changed; kept by a trigger';
CREATE INDEX idx_integrations_workspace_id ON public.integrations (workspace_id, created_at, id);
SELECT sesari.forget_statistics('public.integrations');

CREATE TRIGGER integrations_updated_at BEFORE UPDATE ON public.integrations
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION sesari.touch_updated_at();
CREATE TRIGGER integrations_key BEFORE UPDATE ON public.integrations
    FOR EACH ROW WHEN (OLD.workspace_id IS DISTINCT FROM NEW.workspace_id
        OR OLD.id IS DISTINCT FROM NEW.id OR OLD.provider IS DISTINCT FROM NEW.provider)
    EXECUTE FUNCTION sesari.refuse_change('integrations', 'integrations_key_immutable');
CREATE TRIGGER integrations_audit AFTER INSERT OR UPDATE OR DELETE ON public.integrations
    FOR EACH ROW EXECUTE FUNCTION sesari.audit(
        'integrations', 'integration.create', 'integration.update', 'integration.delete',
        'updated_at,last_sync_at,sync_status,error_message,next_sync_at,lease_id,leased_until', 'credentials');

ALTER TABLE public.integrations ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.integrations FORCE ROW LEVEL SECURITY;
-- Every member sees the integrations; nobody reads the credentials as a column.
GRANT SELECT (id, workspace_id, provider, is_active, last_sync_at, sync_status, error_message,
              next_sync_at, lease_id, leased_until, created_at, updated_at) ON public.integrations TO sesari_tenant;
GRANT INSERT, UPDATE, DELETE ON public.integrations TO sesari_tenant;
CREATE POLICY integrations_tenant_select ON public.integrations FOR SELECT TO sesari_tenant
    USING (workspace_id = (SELECT sesari.current_workspace_id()));
CREATE POLICY integrations_tenant_insert ON public.integrations FOR INSERT TO sesari_tenant
    WITH CHECK (workspace_id = (SELECT sesari.workspace_id_as('{owner,admin}')));
CREATE POLICY integrations_tenant_update ON public.integrations FOR UPDATE TO sesari_tenant
    USING (workspace_id = (SELECT sesari.workspace_id_as('{owner,admin,service}')))
    WITH CHECK (workspace_id = (SELECT sesari.workspace_id_as('{owner,admin,service}')));
CREATE POLICY integrations_tenant_delete ON public.integrations FOR DELETE TO sesari_tenant
    USING (workspace_id = (SELECT sesari.workspace_id_as('{owner,admin}')));
CREATE POLICY integrations_owner_select ON public.integrations FOR SELECT TO sesari_owner USING (true);
CREATE POLICY integrations_owner_update ON public.integrations FOR UPDATE TO sesari_owner
    USING (true) WITH CHECK (true);

-- Sealing ----------------------------------------------------------------------------------------

CREATE TABLE sesari.sealing_salts (
    workspace_id text NOT NULL DEFAULT sesari.current_workspace_id(),
    salt bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    CONSTRAINT sealing_salts_pkey PRIMARY KEY (workspace_id),
    CONSTRAINT sealing_salts_workspace_id_fkey FOREIGN KEY (workspace_id)
        REFERENCES public.workspaces (id) ON DELETE CASCADE,
    CONSTRAINT sealing_salts_salt_check CHECK (octet_length(salt) = 32)
);
COMMENT ON TABLE sesari.sealing_salts IS
    'What each workspace''s sealing key is derived with. Without it the workspace''s envelopes stay shut for good';

COMMENT ON COLUMN sesari.sealing_salts.workspace_id IS 'The workspace';
COMMENT ON COLUMN sesari.sealing_salts.salt IS '32 random bytes';
COMMENT ON COLUMN sesari.sealing_salts.created_at IS 'When it was made';

-- Who may touch credentials at all. Members may not.
CREATE FUNCTION sesari.sealing_workspace_id() RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN sesari.workspace_id_as('{owner,admin,service}');
END
$$;
COMMENT ON FUNCTION sesari.sealing_workspace_id IS
    'The current workspace, for an owner, an admin or a background service in it, or NULL';

CREATE FUNCTION sesari.sealing_salt() RETURNS bytea
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    workspace text := sesari.sealing_workspace_id();
    found_salt bytea;
BEGIN
    IF workspace IS NULL THEN
        RETURN NULL;
    END IF;
    -- Locked until the commit: nobody destroys it before what is sealed with it is stored.
    SELECT salt INTO found_salt FROM sesari.sealing_salts WHERE workspace_id = workspace FOR KEY SHARE;
    IF NOT FOUND THEN
        -- Made here, so that none that was destroyed can be brought back.
        INSERT INTO sesari.sealing_salts (workspace_id, salt)
        VALUES (workspace, sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
                                  || uuid_send(gen_random_uuid())))
        ON CONFLICT (workspace_id) DO NOTHING;
        SELECT salt INTO found_salt FROM sesari.sealing_salts WHERE workspace_id = workspace FOR KEY SHARE;
    END IF;
    RETURN found_salt;
END
$$;
COMMENT ON FUNCTION sesari.sealing_salt IS
    'The salt of the current workspace, made if there is none; NULL for whoever may not seal';
GRANT EXECUTE ON FUNCTION sesari.sealing_salt TO sesari_tenant;

CREATE FUNCTION sesari.read_credentials(wanted_id text)
RETURNS TABLE (provider text, credentials text, salt bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    workspace text := sesari.sealing_workspace_id();
BEGIN
    RETURN QUERY
        SELECT i.provider, i.credentials, s.salt
          FROM public.integrations AS i
          LEFT JOIN sesari.sealing_salts AS s ON s.workspace_id = i.workspace_id
         WHERE i.workspace_id = workspace AND i.id = wanted_id;
    IF FOUND THEN
        PERFORM sesari.write_audit(workspace, 'integration.read_credentials', 'integrations', wanted_id, '{}');
    END IF;
END
$$;
COMMENT ON FUNCTION sesari.read_credentials IS
    'The envelope of one integration, for an owner, an admin or a background service. Leaves an audit entry';
GRANT EXECUTE ON FUNCTION sesari.read_credentials TO sesari_tenant;

CREATE FUNCTION sesari.credentials_to_reseal(current_key_id text, after_id text, how_many integer)
RETURNS TABLE (id text, provider text, credentials text, salt bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    workspace text := sesari.sealing_workspace_id();
BEGIN
    IF current_key_id !~ '^[a-z0-9][a-z0-9_-]{0,31}$' OR how_many NOT BETWEEN 1 AND 65535 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'expected a key id and 1 to 65535 envelopes';
    END IF;
    -- Locked until the caller has written them back: nobody replaces them in between.
    RETURN QUERY
        SELECT i.id, i.provider, i.credentials, s.salt
          FROM public.integrations AS i
          LEFT JOIN sesari.sealing_salts AS s ON s.workspace_id = i.workspace_id
         WHERE i.workspace_id = workspace AND i.id > after_id
           AND split_part(i.credentials, '.', 2) <> current_key_id
         ORDER BY i.id LIMIT how_many FOR NO KEY UPDATE OF i;
    IF FOUND THEN
        PERFORM sesari.write_audit(workspace, 'integration.reseal', 'integrations', '',
                                   jsonb_build_object('key_id', jsonb_build_object('new', current_key_id)));
    END IF;
END
$$;
COMMENT ON FUNCTION sesari.credentials_to_reseal IS
    'Envelopes of the current workspace under another key than this, after the one given, locked for being sealed anew';
GRANT EXECUTE ON FUNCTION sesari.credentials_to_reseal TO sesari_tenant;

CREATE FUNCTION sesari.destroy_sealing_salt() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    workspace text := sesari.workspace_id_as('{owner}');
BEGIN
    DELETE FROM sesari.sealing_salts WHERE workspace_id = workspace;
    IF FOUND THEN
        PERFORM sesari.write_audit(workspace, 'workspace.shred_credentials', 'workspaces', workspace, '{}');
        RETURN true;
    END IF;
    RETURN false;
END
$$;
COMMENT ON FUNCTION sesari.destroy_sealing_salt IS
    'Destroys the current workspace''s salt, for its owner: its envelopes stay shut for good. False if there was none';
GRANT EXECUTE ON FUNCTION sesari.destroy_sealing_salt TO sesari_tenant;

-- What services may know of integrations: which are due, and which keys are in use. ---------------

CREATE FUNCTION sesari.claim_integrations(claim text, how_many integer, lease interval)
RETURNS TABLE (workspace_id text, id text, provider text, leased_until timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF sesari.current_service() IS NULL THEN
        RETURN;
    END IF;
    IF coalesce(how_many NOT BETWEEN 0 AND 65535 OR lease NOT BETWEEN interval '0' AND interval '7 days', true) THEN
        RAISE invalid_parameter_value USING MESSAGE = 'expected at most 65535 integrations and 7 days';
    END IF;
    RETURN QUERY
        UPDATE public.integrations AS i
           SET lease_id = claim, leased_until = statement_timestamp() + lease
          FROM (SELECT d.workspace_id, d.id FROM public.integrations AS d
                 WHERE d.is_active AND d.next_sync_at <= statement_timestamp()
                   AND (d.leased_until IS NULL OR d.leased_until < statement_timestamp())
                 ORDER BY d.next_sync_at LIMIT how_many FOR NO KEY UPDATE SKIP LOCKED) AS due
         WHERE i.workspace_id = due.workspace_id AND i.id = due.id
        RETURNING i.workspace_id, i.id, i.provider, i.leased_until;
END
$$;
COMMENT ON FUNCTION sesari.claim_integrations IS
    'Leases integrations that are due to a worker, each to one. A lease that ran out can be claimed again';
GRANT EXECUTE ON FUNCTION sesari.claim_integrations TO sesari_service;

CREATE FUNCTION sesari.sealing_key_usage() RETURNS TABLE (key_id text, envelopes bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF sesari.current_service() IS NOT NULL THEN
        RETURN QUERY SELECT split_part(i.credentials, '.', 2), count(*)
                       FROM public.integrations AS i GROUP BY 1 ORDER BY 1;
    END IF;
END
$$;
COMMENT ON FUNCTION sesari.sealing_key_usage IS 'How many envelopes each sealing key holds shut';
GRANT EXECUTE ON FUNCTION sesari.sealing_key_usage TO sesari_service;

CREATE FUNCTION sesari.workspaces_to_reseal(current_key_id text, after_id text, how_many integer)
RETURNS SETOF text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF sesari.current_service() IS NOT NULL THEN
        RETURN QUERY SELECT DISTINCT i.workspace_id FROM public.integrations AS i
                      WHERE i.workspace_id > after_id
                        AND split_part(i.credentials, '.', 2) <> current_key_id
                      ORDER BY i.workspace_id LIMIT how_many;
    END IF;
END
$$;
COMMENT ON FUNCTION sesari.workspaces_to_reseal IS
    'Workspaces with envelopes under another key than this, after the one given';
GRANT EXECUTE ON FUNCTION sesari.workspaces_to_reseal TO sesari_service;

RESET ROLE;
