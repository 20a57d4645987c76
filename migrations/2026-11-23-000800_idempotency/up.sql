-- What was done under which key, and the answer, so that asking again does nothing again.
SET LOCAL ROLE sesari_owner;

CREATE FUNCTION sesari.current_actor(OUT workspace_id text, OUT actor_kind text, OUT actor_id text, OUT membership text)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    context text[] := sesari.verified_context();
    asker text := context[5] || '.' || context[4];
BEGIN
    IF context[3] = 's' AND context[5] <> '' THEN
        workspace_id := context[5];
        actor_kind := 'service';
        actor_id := context[4];
        membership := 'service';
    ELSIF context[3] = 'u' THEN
        SELECT context[5], 'user', context[4], m.role || ' ' || m.membership_id
          INTO workspace_id, actor_kind, actor_id, membership
          FROM sesari.memberships AS m
         WHERE m.member = asker;
    END IF;
END
$$;
COMMENT ON FUNCTION sesari.current_actor IS
    'The current workspace and who is asking there by which membership and role, if a user who is a member now or a service; otherwise nulls. Policies ask for all at once: a statement could change the context between two questions';
GRANT EXECUTE ON FUNCTION sesari.current_actor TO sesari_tenant;

-- As sesari.key_of(text), for what is one actor's own.
CREATE FUNCTION sesari.key_of(workspace text, kind text, actor text, membership text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN jsonb_build_object(workspace,
               jsonb_build_object(kind, jsonb_build_object(actor, jsonb_build_object(membership, true))));
END
$$;
COMMENT ON FUNCTION sesari.key_of(text, text, text, text) IS
    'A JSON object with this path alone, or NULL if a part is null. Policies on what is one actor''s own look their row up in one';
GRANT EXECUTE ON FUNCTION sesari.key_of(text, text, text, text) TO sesari_tenant;

-- idempotency_keys -----------------------------------------------------------------------------

-- A key is its actor's own. An answer may hold what only this actor may read, and a key that somebody
-- else has taken must be as good as any other. An answer is given to the membership and role that it was
-- given to before: under another, the key is taken and its row is not seen.
CREATE TABLE public.idempotency_keys (
    workspace_id text NOT NULL DEFAULT sesari.current_workspace_id(),
    actor_kind text NOT NULL,
    actor_id text NOT NULL,
    membership text COLLATE "C" NOT NULL DEFAULT (sesari.current_actor()).membership,
    key text COLLATE "C" NOT NULL,
    operation text NOT NULL,
    fingerprint bytea,
    result text,
    created_at timestamptz(3) NOT NULL DEFAULT date_trunc('milliseconds', statement_timestamp()),
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (workspace_id, actor_kind, actor_id, key),
    CONSTRAINT idempotency_keys_workspace_id_fkey FOREIGN KEY (workspace_id)
        REFERENCES public.workspaces (id) ON DELETE CASCADE,
    CONSTRAINT idempotency_keys_actor_kind_check CHECK (actor_kind IN ('user', 'service')),
    CONSTRAINT idempotency_keys_membership_check CHECK (
        membership ~ '^(service|(owner|admin|member) [a-z][a-z0-9]{1,31})$'),
    CONSTRAINT idempotency_keys_key_check CHECK (key ~ '^[\u0021-\u007E]{1,255}$'),
    CONSTRAINT idempotency_keys_operation_check CHECK (
        char_length(operation) >= 1 AND char_length(operation) <= 200
        AND sesari.is_text(operation, 'label')),
    CONSTRAINT idempotency_keys_fingerprint_check CHECK (octet_length(fingerprint) = 32),
    CONSTRAINT idempotency_keys_result_check CHECK (octet_length(result) <= 65536),
    CONSTRAINT idempotency_keys_created_at_check CHECK (
        created_at >= '0001-01-01 00:00:00+00' AND created_at < '10000-01-01 00:00:00+00')
);
COMMENT ON TABLE public.idempotency_keys IS
    'What was done under which key, and the answer, so that asking again does nothing again';
COMMENT ON COLUMN public.idempotency_keys.workspace_id IS 'The workspace; by default the one of the context';
COMMENT ON COLUMN public.idempotency_keys.actor_kind IS 'user or service';
COMMENT ON COLUMN public.idempotency_keys.actor_id IS 'User id or service name, whose key it is';
COMMENT ON COLUMN public.idempotency_keys.membership IS
    'Role and membership id of the user who asked, or service. No other membership is given the answer';
COMMENT ON COLUMN public.idempotency_keys.key IS
    'The key, 1 to 255 visible ASCII characters; unique for its actor in the workspace';
COMMENT ON COLUMN public.idempotency_keys.operation IS 'Name of the unit of work';
COMMENT ON COLUMN public.idempotency_keys.fingerprint IS 'SHA-256 of the request, if the caller bound the key to it';
COMMENT ON COLUMN public.idempotency_keys.result IS
    'The answer as JSON, at most 65536 bytes; null until the work is done, which no other transaction sees';
COMMENT ON COLUMN public.idempotency_keys.created_at IS 'When the row was made; kept by a trigger';
-- For pruning, workspace by workspace.
CREATE INDEX idx_idempotency_keys_workspace_id_created_at ON public.idempotency_keys (workspace_id, created_at);
SELECT sesari.forget_statistics('public.idempotency_keys');


CREATE TRIGGER idempotency_keys_times BEFORE INSERT OR UPDATE ON public.idempotency_keys
    FOR EACH ROW EXECUTE FUNCTION sesari.keep_times('idempotency_keys', 'created_at');
-- An answer that was given is the answer for good.
CREATE TRIGGER idempotency_keys_key BEFORE UPDATE ON public.idempotency_keys
    FOR EACH ROW WHEN (OLD.workspace_id IS DISTINCT FROM NEW.workspace_id
        OR OLD.actor_kind IS DISTINCT FROM NEW.actor_kind OR OLD.actor_id IS DISTINCT FROM NEW.actor_id
        OR OLD.membership IS DISTINCT FROM NEW.membership
        OR OLD.key IS DISTINCT FROM NEW.key OR OLD.operation IS DISTINCT FROM NEW.operation
        OR OLD.fingerprint IS DISTINCT FROM NEW.fingerprint OR OLD.created_at IS DISTINCT FROM NEW.created_at
        OR OLD.result IS NOT NULL AND OLD.result IS DISTINCT FROM NEW.result)
    EXECUTE FUNCTION sesari.refuse_change('idempotency_keys', 'idempotency_keys_key_immutable');

ALTER TABLE public.idempotency_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.idempotency_keys FORCE ROW LEVEL SECURITY;
GRANT SELECT ON public.idempotency_keys TO sesari_tenant;
GRANT INSERT (workspace_id, actor_kind, actor_id, membership, key, operation, fingerprint) ON public.idempotency_keys
    TO sesari_tenant;
GRANT UPDATE (result) ON public.idempotency_keys TO sesari_tenant;
CREATE POLICY idempotency_keys_tenant_select ON public.idempotency_keys FOR SELECT TO sesari_tenant
    USING ((SELECT sesari.key_of(a.workspace_id, a.actor_kind, a.actor_id, a.membership)
              FROM sesari.current_actor() AS a)[workspace_id][actor_kind][actor_id][membership] IS NOT NULL
           AND (workspace_id, actor_kind, actor_id, membership)
             = (SELECT a.workspace_id, a.actor_kind, a.actor_id, a.membership FROM sesari.current_actor() AS a));
CREATE POLICY idempotency_keys_tenant_insert ON public.idempotency_keys FOR INSERT TO sesari_tenant
    WITH CHECK ((workspace_id, actor_kind, actor_id, membership)
                = (SELECT a.workspace_id, a.actor_kind, a.actor_id, a.membership FROM sesari.current_actor() AS a));
CREATE POLICY idempotency_keys_tenant_update ON public.idempotency_keys FOR UPDATE TO sesari_tenant
    USING ((SELECT sesari.key_of(a.workspace_id, a.actor_kind, a.actor_id, a.membership)
              FROM sesari.current_actor() AS a)[workspace_id][actor_kind][actor_id][membership] IS NOT NULL
           AND (workspace_id, actor_kind, actor_id, membership)
             = (SELECT a.workspace_id, a.actor_kind, a.actor_id, a.membership FROM sesari.current_actor() AS a))
    WITH CHECK ((SELECT sesari.key_of(a.workspace_id, a.actor_kind, a.actor_id, a.membership)
                   FROM sesari.current_actor() AS a)[workspace_id][actor_kind][actor_id][membership] IS NOT NULL
                AND (workspace_id, actor_kind, actor_id, membership)
                  = (SELECT a.workspace_id, a.actor_kind, a.actor_id, a.membership FROM sesari.current_actor() AS a));
-- For pruning: a row that a transaction is just asking for is locked, and left for the next time.
CREATE POLICY idempotency_keys_owner_select ON public.idempotency_keys FOR SELECT TO sesari_owner USING (true);
CREATE POLICY idempotency_keys_owner_update ON public.idempotency_keys FOR UPDATE TO sesari_owner
    USING (true) WITH CHECK (true);
CREATE POLICY idempotency_keys_owner_delete ON public.idempotency_keys FOR DELETE TO sesari_owner USING (true);

-- For whoever administers the schema: nobody else may execute it.
--
-- Workspace by workspace along the key, so that a call costs what it drops, and what it looks at is bounded:
-- it goes past at most as many workspaces as keys.
CREATE FUNCTION sesari.prune_idempotency_keys(
    before timestamptz, after_workspace text, how_many integer, OUT pruned bigint, OUT last_workspace text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    workspace text := coalesce(after_workspace, '');
    dropped bigint;
BEGIN
    IF coalesce(before IS NULL OR how_many NOT BETWEEN 1 AND 1000000, true) THEN
        RAISE invalid_parameter_value USING MESSAGE = 'expected a time and 1 to 1000000 keys';
    END IF;
    pruned := 0;
    FOR i IN 1..how_many LOOP
        last_workspace := workspace;
        SELECT k.workspace_id INTO workspace FROM public.idempotency_keys AS k
         WHERE k.workspace_id > last_workspace ORDER BY k.workspace_id LIMIT 1;
        IF NOT FOUND THEN
            last_workspace := NULL;
            RETURN;
        END IF;
        -- Chosen once: as the inner side of a join the limit would hold for each row of the other.
        WITH old AS MATERIALIZED (
            SELECT d.actor_kind, d.actor_id, d.key FROM public.idempotency_keys AS d
             WHERE d.workspace_id = workspace AND d.created_at < before
             ORDER BY d.created_at LIMIT how_many - pruned FOR UPDATE SKIP LOCKED)
        DELETE FROM public.idempotency_keys AS k USING old
         WHERE k.workspace_id = workspace AND k.actor_kind = old.actor_kind
           AND k.actor_id = old.actor_id AND k.key = old.key;
        GET DIAGNOSTICS dropped = ROW_COUNT;
        pruned := pruned + dropped;
        -- This workspace may have more: the next call begins with it again.
        EXIT WHEN pruned = how_many;
        last_workspace := workspace;
    END LOOP;
END
$$;
COMMENT ON FUNCTION sesari.prune_idempotency_keys IS
    'Drops up to so many keys that were made before a time, the oldest of each workspace first, in the workspaces after one (empty for the first). Returns how many went, and after which workspace to go on, null at the end';

RESET ROLE;
