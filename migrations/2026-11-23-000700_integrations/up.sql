-- Connections to the services that KPIs come from.
SET LOCAL ROLE sesari_owner;

CREATE TABLE public.integrations (
    id text NOT NULL DEFAULT sesari.new_id(),
    workspace_id text NOT NULL DEFAULT sesari.current_workspace_id(),
    provider text NOT NULL,
    is_active boolean NOT NULL DEFAULT true,
    credentials text NOT NULL,
    last_sync_at timestamptz(3),
    sync_status text NOT NULL DEFAULT 'pending',
    error_message text,
    created_at timestamptz(3) NOT NULL DEFAULT date_trunc('milliseconds', statement_timestamp()),
    updated_at timestamptz(3) NOT NULL DEFAULT date_trunc('milliseconds', statement_timestamp()),
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
COMMENT ON COLUMN public.integrations.created_at IS 'When the row was made; kept by a trigger';
COMMENT ON COLUMN public.integrations.updated_at IS 'When the row last changed; kept by a trigger';
CREATE INDEX idx_integrations_workspace_id ON public.integrations (workspace_id, created_at, id);

CREATE TRIGGER integrations_times BEFORE INSERT OR UPDATE ON public.integrations
    FOR EACH ROW EXECUTE FUNCTION sesari.keep_times('integrations', 'created_at', 'updated_at');
CREATE TRIGGER integrations_audit AFTER INSERT OR UPDATE OR DELETE ON public.integrations
    FOR EACH ROW EXECUTE FUNCTION sesari.audit(
        'integrations', 'integration.create', 'integration.update', 'integration.delete',
        'updated_at,last_sync_at,sync_status,error_message', 'credentials');

-- Every member sees the integrations; nobody reads the credentials as a column.
SELECT sesari.protect_table('public.integrations', may_insert => '{owner,admin}',
    may_update => '{owner,admin,service}', may_delete => '{owner,admin}',
    readable => '{id,workspace_id,provider,is_active,last_sync_at,sync_status,error_message,created_at,updated_at}',
    fixed => '{workspace_id,id,provider}');
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
    bytes integer := 0;
BEGIN
    IF coalesce(current_key_id !~ '^[a-z0-9][a-z0-9_-]{0,31}$' OR how_many < 1, true) THEN
        RAISE invalid_parameter_value USING MESSAGE = 'expected a key id and at least 1 envelope';
    END IF;
    -- Locked until the caller has written them back: nobody replaces them in between. So there are few.
    FOR id, provider, credentials, salt IN
        SELECT i.id, i.provider, i.credentials, s.salt
          FROM public.integrations AS i
          LEFT JOIN sesari.sealing_salts AS s ON s.workspace_id = i.workspace_id
         WHERE i.workspace_id = workspace AND i.id > after_id
           AND split_part(i.credentials, '.', 2) <> current_key_id
         ORDER BY i.id LIMIT least(how_many, 100) FOR NO KEY UPDATE OF i
    LOOP
        RETURN NEXT;
        bytes := bytes + octet_length(credentials);
        EXIT WHEN bytes >= 1000000;
    END LOOP;
    IF bytes > 0 THEN
        PERFORM sesari.write_audit(workspace, 'integration.reseal', 'integrations', '',
                                   jsonb_build_object('key_id', jsonb_build_object('new', current_key_id)));
    END IF;
END
$$;
COMMENT ON FUNCTION sesari.credentials_to_reseal IS
    'Envelopes of the current workspace under another key than this, after the one given, locked for being sealed anew: at most 100, and none after the first 1000000 bytes';
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

-- Which keys are in use, for services ----------------------------------------------------------

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

-- The sync queue -------------------------------------------------------------------------------

-- Two private tables: no login reads or writes them but by the functions below. Functions that serve tenants
-- turn sequential scans off: what they pass over is counted, and would be other tenants' rows.

CREATE TABLE sesari.sync_queue (
    workspace_id text NOT NULL DEFAULT sesari.current_workspace_id(),
    integration_id text NOT NULL,
    is_active boolean NOT NULL,
    next_sync_at timestamptz DEFAULT statement_timestamp(),
    lease_id text,
    leased_until timestamptz,
    due_at timestamptz GENERATED ALWAYS AS (GREATEST(next_sync_at, leased_until)) STORED,
    CONSTRAINT sync_queue_pkey PRIMARY KEY (workspace_id, integration_id),
    CONSTRAINT sync_queue_lease_id_check CHECK (lease_id ~ '^[a-z][a-z0-9]{1,31}$'),
    CONSTRAINT sync_queue_leased_until_check CHECK (
        leased_until >= '0001-01-01 00:00:00+00' AND leased_until < '10000-01-01 00:00:00+00'),
    CONSTRAINT sync_queue_next_sync_at_check CHECK (
        next_sync_at >= '0001-01-01 00:00:00+00' AND next_sync_at < '10000-01-01 00:00:00+00'),
    CONSTRAINT sync_queue_lease_id_leased_until_next_sync_at_check CHECK (
        (lease_id IS NULL) = (leased_until IS NULL) AND (lease_id IS NOT NULL OR next_sync_at IS NOT NULL))
);
COMMENT ON TABLE sesari.sync_queue IS
    'When each integration is due to be synchronised, and which worker has it. Kept by triggers of integrations';
COMMENT ON COLUMN sesari.sync_queue.workspace_id IS 'The workspace';
COMMENT ON COLUMN sesari.sync_queue.integration_id IS 'The integration';
COMMENT ON COLUMN sesari.sync_queue.is_active IS 'Whether it is synchronised; follows the integration';
COMMENT ON COLUMN sesari.sync_queue.next_sync_at IS
    'When it is to be synchronised next. While a worker has it: null, or when somebody asked for it meanwhile';
COMMENT ON COLUMN sesari.sync_queue.lease_id IS 'The claim of the worker that synchronises it, or null';
COMMENT ON COLUMN sesari.sync_queue.leased_until IS 'When that claim ends by itself';
COMMENT ON COLUMN sesari.sync_queue.due_at IS 'When it can be claimed, if it is active';
CREATE INDEX idx_sync_queue_workspace_id ON sesari.sync_queue (workspace_id, due_at) WHERE is_active;

-- Whose turn it is. A workspace that was served goes to the end, however much of it is due and since when.
-- A turn that comes too early costs a look and is put right by it; one that came too late would be lost.
-- So whoever makes something due earlier locks the turn, and whoever puts it off looks after locking it.
CREATE TABLE sesari.sync_turns (
    workspace_id text NOT NULL DEFAULT sesari.current_workspace_id(),
    turn_at timestamptz NOT NULL,
    CONSTRAINT sync_turns_pkey PRIMARY KEY (workspace_id)
);
COMMENT ON TABLE sesari.sync_turns IS
    'In which order workspaces are served by workers: one row for each that has something to synchronise';
COMMENT ON COLUMN sesari.sync_turns.workspace_id IS 'The workspace';
COMMENT ON COLUMN sesari.sync_turns.turn_at IS
    'Not after its first integration is due, or when it was last served while something was due';
CREATE INDEX idx_sync_turns_turn_at ON sesari.sync_turns (turn_at);

CREATE FUNCTION sesari.bring_sync_turn_forward() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
BEGIN
    -- The row is locked even if it stays as it is.
    INSERT INTO sesari.sync_turns AS t (workspace_id, turn_at)
    VALUES (NEW.workspace_id, GREATEST(NEW.due_at, statement_timestamp()))
    ON CONFLICT (workspace_id) DO UPDATE SET turn_at = excluded.turn_at WHERE t.turn_at > excluded.turn_at;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sesari.bring_sync_turn_forward IS
    'Trigger: a workspace''s turn is not after its first integration is due, nor in the past';
CREATE TRIGGER sync_queue_turn_insert AFTER INSERT ON sesari.sync_queue
    FOR EACH ROW WHEN (NEW.is_active) EXECUTE FUNCTION sesari.bring_sync_turn_forward();
CREATE TRIGGER sync_queue_turn_update AFTER UPDATE ON sesari.sync_queue
    FOR EACH ROW WHEN (NEW.is_active AND (NEW.due_at < OLD.due_at OR NOT OLD.is_active))
    EXECUTE FUNCTION sesari.bring_sync_turn_forward();

CREATE FUNCTION sesari.keep_sync_queue() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
BEGIN
    CASE TG_OP
    WHEN 'INSERT' THEN
        INSERT INTO sesari.sync_queue (workspace_id, integration_id, is_active)
        VALUES (NEW.workspace_id, NEW.id, NEW.is_active);
    WHEN 'UPDATE' THEN
        UPDATE sesari.sync_queue SET is_active = NEW.is_active
         WHERE workspace_id = NEW.workspace_id AND integration_id = NEW.id;
    ELSE
        DELETE FROM sesari.sync_queue WHERE workspace_id = OLD.workspace_id AND integration_id = OLD.id;
    END CASE;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sesari.keep_sync_queue IS
    'Trigger: an integration is queued when it is made, for as long as it is there, and due while it is active';
CREATE TRIGGER integrations_sync_queue_insert AFTER INSERT ON public.integrations
    FOR EACH ROW EXECUTE FUNCTION sesari.keep_sync_queue();
CREATE TRIGGER integrations_sync_queue_update AFTER UPDATE ON public.integrations
    FOR EACH ROW WHEN (OLD.is_active IS DISTINCT FROM NEW.is_active) EXECUTE FUNCTION sesari.keep_sync_queue();
CREATE TRIGGER integrations_sync_queue_delete AFTER DELETE ON public.integrations
    FOR EACH ROW EXECUTE FUNCTION sesari.keep_sync_queue();

CREATE FUNCTION sesari.claim_integrations(claim text, how_many integer, lease interval)
RETURNS TABLE (workspace_id text, id text, provider text, leased_until timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
-- By indexes in their order alone, whatever the planner expects: a hash join reads all integrations, a sort all
-- that are due in a workspace.
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off
AS $$
DECLARE
    left_over integer := how_many;
    visited text[];
    share integer;
    claimed integer;
    -- A snapshot from before a turn was locked may lack what has become due since: such a turn comes again.
    sees_all boolean := current_setting('transaction_isolation') IN ('read committed', 'read uncommitted');
BEGIN
    IF sesari.current_service() IS NULL THEN
        RETURN;
    END IF;
    IF claim IS NULL OR coalesce(how_many NOT BETWEEN 0 AND 65535
                                 OR lease NOT BETWEEN interval '0' AND interval '7 days', true) THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'expected a claim, 0 to 65535 integrations and a lease of at most 7 days';
    END IF;
    WHILE left_over > 0 LOOP
        -- Whose turn it is, except where another worker is choosing at this moment.
        visited := ARRAY(SELECT t.workspace_id FROM sesari.sync_turns AS t
                          WHERE t.turn_at <= statement_timestamp()
                          ORDER BY t.turn_at LIMIT left_over FOR UPDATE SKIP LOCKED);
        EXIT WHEN cardinality(visited) = 0;
        -- The same to each. What some do not use up is for the next round.
        share := left_over / cardinality(visited);
        RETURN QUERY
            -- Chosen once: as the inner side of a join a limit would hold for each row of the other.
            WITH due AS MATERIALIZED (
                SELECT d.workspace_id, d.integration_id
                  FROM unnest(visited) AS v (id) CROSS JOIN LATERAL (
                      SELECT d.workspace_id, d.integration_id FROM sesari.sync_queue AS d
                       WHERE d.workspace_id = v.id AND d.is_active AND d.due_at <= statement_timestamp()
                       ORDER BY d.due_at LIMIT share FOR NO KEY UPDATE SKIP LOCKED) AS d),
            leased AS (
                UPDATE sesari.sync_queue AS q
                   SET lease_id = claim, leased_until = statement_timestamp() + lease, next_sync_at = NULL
                  FROM due
                 WHERE q.workspace_id = due.workspace_id AND q.integration_id = due.integration_id
                RETURNING q.workspace_id, q.integration_id, q.leased_until)
            SELECT i.workspace_id, i.id, i.provider, l.leased_until
              FROM leased AS l
              JOIN public.integrations AS i ON i.workspace_id = l.workspace_id AND i.id = l.integration_id;
        GET DIAGNOSTICS claimed = ROW_COUNT;
        left_over := left_over - claimed;
        -- To the end of the line. Where nothing was to be had, because others hold it locked, it is passed
        -- over for the rest of this call.
        UPDATE sesari.sync_turns AS t
           SET turn_at = GREATEST(CASE WHEN sees_all THEN n.due_at END,
                                  CASE WHEN claimed > 0 THEN statement_timestamp() ELSE clock_timestamp() END)
          FROM unnest(visited) AS v (id) LEFT JOIN LATERAL (
              SELECT d.due_at FROM sesari.sync_queue AS d
               WHERE d.workspace_id = v.id AND d.is_active ORDER BY d.due_at LIMIT 1) AS n ON true
         WHERE t.workspace_id = v.id AND (n.due_at IS NOT NULL OR NOT sees_all);
        DELETE FROM sesari.sync_turns AS t USING unnest(visited) AS v (id)
         WHERE t.workspace_id = v.id AND sees_all AND NOT EXISTS (
             SELECT FROM sesari.sync_queue AS d WHERE d.workspace_id = v.id AND d.is_active);
    END LOOP;
END
$$;
COMMENT ON FUNCTION sesari.claim_integrations IS
    'Leases integrations that are due to a worker, each to one, workspaces taking turns. A lease that ran out can be claimed again';
GRANT EXECUTE ON FUNCTION sesari.claim_integrations TO sesari_service;

CREATE FUNCTION sesari.check_next_sync_at(next timestamptz) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF coalesce(next > statement_timestamp() + interval '366 days', true) THEN
        RAISE check_violation USING
            MESSAGE = 'next_sync_at is missing or more than 366 days ahead',
            CONSTRAINT = 'sync_queue_next_sync_at_check';
    END IF;
END
$$;
COMMENT ON FUNCTION sesari.check_next_sync_at IS
    'Refuses a time of the next synchronisation that is more than 366 days ahead. Internal';

CREATE FUNCTION sesari.finish_sync(wanted_id text, claim text, next timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
DECLARE
    workspace text := sesari.workspace_id_as('{service}');
    was_due timestamptz;
BEGIN
    PERFORM sesari.check_next_sync_at(next);
    SELECT q.due_at INTO was_due FROM sesari.sync_queue AS q
     WHERE q.workspace_id = workspace AND q.integration_id = wanted_id AND q.lease_id = claim
       FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- Who asked for it meanwhile is not forgotten.
    UPDATE sesari.sync_queue AS q
       SET lease_id = NULL, leased_until = NULL,
           next_sync_at = LEAST(GREATEST(next, statement_timestamp()), q.next_sync_at)
     WHERE q.workspace_id = workspace AND q.integration_id = wanted_id;
    -- A turn that waits for the end of this very lease would find nothing. Nobody waits for it.
    PERFORM FROM sesari.sync_turns AS t
      WHERE t.workspace_id = workspace AND t.turn_at = was_due FOR UPDATE SKIP LOCKED;
    IF FOUND AND current_setting('transaction_isolation') IN ('read committed', 'read uncommitted') THEN
        UPDATE sesari.sync_turns AS t
           SET turn_at = coalesce((SELECT d.due_at FROM sesari.sync_queue AS d
                                    WHERE d.workspace_id = workspace AND d.is_active
                                    ORDER BY d.due_at LIMIT 1), was_due)
         WHERE t.workspace_id = workspace AND t.turn_at = was_due;
    END IF;
    RETURN true;
END
$$;
COMMENT ON FUNCTION sesari.finish_sync IS
    'Gives a claim back, for the background service that has it in the current workspace, and says when the integration is due next: at once if that is past. False if the claim has gone';
GRANT EXECUTE ON FUNCTION sesari.finish_sync TO sesari_tenant;

CREATE FUNCTION sesari.extend_sync(wanted_id text, claim text, lease interval) RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
DECLARE
    workspace text := sesari.workspace_id_as('{service}');
    extended timestamptz;
BEGIN
    IF coalesce(lease NOT BETWEEN interval '0' AND interval '7 days', true) THEN
        RAISE invalid_parameter_value USING MESSAGE = 'expected a lease of at most 7 days';
    END IF;
    UPDATE sesari.sync_queue AS q SET leased_until = statement_timestamp() + lease
     WHERE q.workspace_id = workspace AND q.integration_id = wanted_id AND q.lease_id = claim
    RETURNING q.leased_until INTO extended;
    RETURN extended;
END
$$;
COMMENT ON FUNCTION sesari.extend_sync IS
    'Lets a claim end so long from now, for the background service that has it in the current workspace. Null if the claim has gone';
GRANT EXECUTE ON FUNCTION sesari.extend_sync TO sesari_tenant;

CREATE FUNCTION sesari.schedule_sync(wanted_id text, next timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
DECLARE
    workspace text := sesari.workspace_id_as('{owner,admin,service}');
BEGIN
    PERFORM sesari.check_next_sync_at(next);
    UPDATE sesari.sync_queue AS q SET next_sync_at = GREATEST(next, statement_timestamp())
     WHERE q.workspace_id = workspace AND q.integration_id = wanted_id;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION sesari.schedule_sync IS
    'Makes an integration of the current workspace due then, at once if that is past, for whoever may change it. False if there is none';
GRANT EXECUTE ON FUNCTION sesari.schedule_sync TO sesari_tenant;

CREATE FUNCTION sesari.sync_schedule(wanted_id text)
RETURNS TABLE (next_sync_at timestamptz, leased_until timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
DECLARE
    workspace text := sesari.current_workspace_id();
BEGIN
    RETURN QUERY SELECT q.next_sync_at, q.leased_until FROM sesari.sync_queue AS q
                  WHERE q.workspace_id = workspace AND q.integration_id = wanted_id;
END
$$;
COMMENT ON FUNCTION sesari.sync_schedule IS
    'When an integration of the current workspace is to be synchronised, and until when a worker has it. No row if there is none';
GRANT EXECUTE ON FUNCTION sesari.sync_schedule TO sesari_tenant;


-- The plans of functions are estimated from these, and a server prints plans to whoever asks it to.
SELECT sesari.forget_statistics(name)
  FROM unnest('{sesari.sealing_salts,sesari.sync_queue,sesari.sync_turns}'::regclass[]) AS name;

RESET ROLE;
