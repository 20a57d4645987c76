-- Who changed what, chained so that tampering shows. Other tables add their trigger where they are made.
--
-- An entry waits in sesari.audit_pending, written by the change's trigger, until the transaction commits.
-- Then it is given its place in its workspace's chain and goes into public.audit_log, once and for good.
-- docs/audit.md has the canonical form that is hashed.
SET LOCAL ROLE sesari_owner;

CREATE TABLE public.audit_log (
    id text NOT NULL,
    workspace_id text NOT NULL,
    sequence bigint NOT NULL,
    occurred_at timestamptz NOT NULL,
    actor_kind text NOT NULL,
    actor_id text NOT NULL,
    scope text NOT NULL,
    action text NOT NULL,
    table_name text NOT NULL,
    row_id text NOT NULL,
    changes jsonb NOT NULL,
    transaction_id bigint NOT NULL,
    previous_hash bytea NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT audit_log_pkey PRIMARY KEY (workspace_id, sequence),
    -- No checks on columns that only the functions below write: each costs every audited change.
    CONSTRAINT audit_log_occurred_at_check CHECK (
        occurred_at >= '0001-01-01 00:00:00+00' AND occurred_at < '10000-01-01 00:00:00+00')
);
COMMENT ON TABLE public.audit_log IS
    'Who changed what, written by triggers in the transaction of the change. Append-only, and chained by hashes';
COMMENT ON COLUMN public.audit_log.id IS 'CUID, made by the database';
COMMENT ON COLUMN public.audit_log.workspace_id IS
    'Workspace of the row; empty for a row of no workspace. No foreign key: entries outlive their workspace';
COMMENT ON COLUMN public.audit_log.sequence IS 'Place in the workspace''s chain, from 1, without gaps';
COMMENT ON COLUMN public.audit_log.occurred_at IS
    'When the change was committed, by the server''s clock; rises with the sequence';
COMMENT ON COLUMN public.audit_log.actor_kind IS 'user, service, or system for a change without a verified context';
COMMENT ON COLUMN public.audit_log.actor_id IS 'User id, service name, or database login';
COMMENT ON COLUMN public.audit_log.scope IS
    'tenant, user or service: the scope that the actor came in by; none for system';
COMMENT ON COLUMN public.audit_log.action IS 'What happened, such as member.add';
COMMENT ON COLUMN public.audit_log.table_name IS 'Table of the row';
COMMENT ON COLUMN public.audit_log.row_id IS 'Id of the row';
COMMENT ON COLUMN public.audit_log.changes IS
    'Changed columns, each with its old and new value; a secret column is named without values';
COMMENT ON COLUMN public.audit_log.transaction_id IS 'The server''s number of the transaction';
COMMENT ON COLUMN public.audit_log.previous_hash IS 'Hash of the entry before; 32 zero bytes in the first';
COMMENT ON COLUMN public.audit_log.hash IS 'SHA-256 of all the other columns';
-- Newest first, by keyset.
CREATE INDEX idx_audit_log_workspace_id_occurred_at
    ON public.audit_log (workspace_id, occurred_at DESC, id DESC);

-- The chain --------------------------------------------------------------------------------------

CREATE TABLE sesari.audit_heads (
    workspace_id text NOT NULL DEFAULT sesari.current_workspace_id(),
    sequence bigint NOT NULL DEFAULT 0,
    occurred_at timestamptz NOT NULL DEFAULT '-infinity',
    hash bytea NOT NULL DEFAULT '\x0000000000000000000000000000000000000000000000000000000000000000',
    pruned_sequence bigint NOT NULL DEFAULT 0,
    pruned_at timestamptz,
    pruned_hash bytea NOT NULL DEFAULT '\x0000000000000000000000000000000000000000000000000000000000000000',
    CONSTRAINT audit_heads_pkey PRIMARY KEY (workspace_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE sesari.audit_heads IS
    'Where each workspace''s chain ends, and which entry was the last to be pruned. Its row is the chain''s lock';
COMMENT ON COLUMN sesari.audit_heads.workspace_id IS 'The workspace, or empty';
COMMENT ON COLUMN sesari.audit_heads.sequence IS 'Number of the last entry';
COMMENT ON COLUMN sesari.audit_heads.occurred_at IS 'Its time';
COMMENT ON COLUMN sesari.audit_heads.hash IS 'Its hash';
COMMENT ON COLUMN sesari.audit_heads.pruned_sequence IS 'Number of the last entry that was pruned, or 0';
COMMENT ON COLUMN sesari.audit_heads.pruned_at IS 'Its time';
COMMENT ON COLUMN sesari.audit_heads.pruned_hash IS 'Its hash';

-- Empty but for what running transactions have written: nothing in it outlives a commit, so it needs no
-- write-ahead log.
CREATE UNLOGGED TABLE sesari.audit_pending (
    transaction_id bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
    number bigint NOT NULL,
    heads bigint NOT NULL,
    bytes bigint NOT NULL,
    workspace_id text NOT NULL DEFAULT sesari.current_workspace_id(),
    actor_kind text NOT NULL,
    actor_id text NOT NULL,
    scope text NOT NULL,
    action text NOT NULL,
    table_name text NOT NULL,
    row_id text NOT NULL,
    changes jsonb NOT NULL,
    CONSTRAINT audit_pending_pkey PRIMARY KEY (transaction_id, number)
);
COMMENT ON TABLE sesari.audit_pending IS 'Entries of running transactions, until they commit';
CREATE INDEX idx_audit_pending_transaction_id_workspace_id
    ON sesari.audit_pending (transaction_id, workspace_id, number);
COMMENT ON COLUMN sesari.audit_pending.transaction_id IS 'The transaction';
COMMENT ON COLUMN sesari.audit_pending.number IS 'Place among the entries of the transaction, from 1';
COMMENT ON COLUMN sesari.audit_pending.heads IS
    'How many chains the transaction''s entries up to this one belong to';
COMMENT ON COLUMN sesari.audit_pending.bytes IS
    'How large the changes of the transaction''s entries up to this one are, in memory';
COMMENT ON COLUMN sesari.audit_pending.workspace_id IS 'As in audit_log';
COMMENT ON COLUMN sesari.audit_pending.actor_kind IS 'As in audit_log';
COMMENT ON COLUMN sesari.audit_pending.actor_id IS 'As in audit_log';
COMMENT ON COLUMN sesari.audit_pending.scope IS 'As in audit_log';
COMMENT ON COLUMN sesari.audit_pending.action IS 'As in audit_log';
COMMENT ON COLUMN sesari.audit_pending.table_name IS 'As in audit_log';
COMMENT ON COLUMN sesari.audit_pending.row_id IS 'As in audit_log';
COMMENT ON COLUMN sesari.audit_pending.changes IS 'As in audit_log';

-- Each field as "<length in bytes>:<text>,", one after the other: no two entries are written alike.
CREATE FUNCTION sesari.audit_hash(
    workspace text, sequence text, microseconds text, id text, actor_kind text, actor_id text, scope text,
    action text, table_name text, row_id text, changes text, transaction_id text, previous_hash bytea
) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN sha256(convert_to(concat(
        '15:sesari.audit.v1,',
        octet_length(workspace), ':', workspace, ',',
        octet_length(sequence), ':', sequence, ',',
        octet_length(microseconds), ':', microseconds, ',',
        octet_length(id), ':', id, ',',
        octet_length(actor_kind), ':', actor_kind, ',',
        octet_length(actor_id), ':', actor_id, ',',
        octet_length(scope), ':', scope, ',',
        octet_length(action), ':', action, ',',
        octet_length(table_name), ':', table_name, ',',
        octet_length(row_id), ':', row_id, ',',
        octet_length(changes), ':', changes, ',',
        octet_length(transaction_id), ':', transaction_id, ',',
        '64:', encode(previous_hash, 'hex'), ','), 'UTF8'));
END
$$;
COMMENT ON FUNCTION sesari.audit_hash IS
    'The hash of an entry: SHA-256 of its canonical form. The time in microseconds since 1970';

-- All entries of the transaction at once, workspace by workspace in one order, so that two transactions
-- never wait for each other's heads. It fires for the first entry alone: for each, it would look through
-- all those that are dealt with, and a commit would cost the square of its entries. They are read as the
-- index has them, a few at a time: as one array they would take many times their size of memory.
--
-- Both small tables are all dead rows between two vacuums: never scanned, whatever the statistics say.
CREATE FUNCTION sesari.chain_audit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
DECLARE
    entry record;
    head sesari.audit_heads;
    previous bytea;
    new_id text;
BEGIN
    FOR entry IN SELECT * FROM sesari.audit_pending
                  WHERE transaction_id = pg_current_xact_id()::text::bigint
                  ORDER BY workspace_id, number LOOP
        IF head.workspace_id IS DISTINCT FROM entry.workspace_id THEN
            IF head.workspace_id IS NOT NULL THEN
                UPDATE sesari.audit_heads AS h
                   SET sequence = head.sequence, occurred_at = head.occurred_at, hash = head.hash
                 WHERE h.workspace_id = head.workspace_id;
            END IF;
            -- Held until the commit is done: whoever comes next sees this transaction's entries.
            SELECT * INTO head FROM sesari.audit_heads AS h
             WHERE h.workspace_id = entry.workspace_id FOR UPDATE;
            IF NOT FOUND THEN
                INSERT INTO sesari.audit_heads (workspace_id) VALUES (entry.workspace_id)
                ON CONFLICT (workspace_id) DO NOTHING;
                SELECT * INTO head FROM sesari.audit_heads AS h
                 WHERE h.workspace_id = entry.workspace_id FOR UPDATE;
            END IF;
        END IF;
        new_id := 'c' || substr(replace(gen_random_uuid()::text, '-', ''), 1, 31);
        previous := head.hash;
        head.sequence := head.sequence + 1;
        -- Should the clock have gone back, time goes on all the same.
        head.occurred_at := greatest(clock_timestamp(), head.occurred_at + interval '1 microsecond');
        head.hash := sesari.audit_hash(
            entry.workspace_id, head.sequence::text,
            (extract(epoch FROM head.occurred_at) * 1000000)::bigint::text, new_id, entry.actor_kind,
            entry.actor_id, entry.scope, entry.action, entry.table_name, entry.row_id, entry.changes::text,
            entry.transaction_id::text, previous);
        INSERT INTO public.audit_log (
            id, workspace_id, sequence, occurred_at, actor_kind, actor_id, scope, action, table_name, row_id,
            changes, transaction_id, previous_hash, hash)
        VALUES (
            new_id, entry.workspace_id, head.sequence, head.occurred_at, entry.actor_kind, entry.actor_id,
            entry.scope, entry.action, entry.table_name, entry.row_id, entry.changes, entry.transaction_id,
            previous, head.hash);
    END LOOP;
    UPDATE sesari.audit_heads AS h
       SET sequence = head.sequence, occurred_at = head.occurred_at, hash = head.hash
     WHERE h.workspace_id = head.workspace_id;
    DELETE FROM sesari.audit_pending WHERE transaction_id = pg_current_xact_id()::text::bigint;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sesari.chain_audit IS
    'Trigger, at the commit: gives the transaction''s entries their place in the chain';
-- Whoever has it fire earlier, by SET CONSTRAINTS, holds the head for longer, and that is all.
CREATE CONSTRAINT TRIGGER audit_pending_chain AFTER INSERT ON sesari.audit_pending
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.number = 1)
    EXECUTE FUNCTION sesari.chain_audit();

-- Entries ----------------------------------------------------------------------------------------

-- What a transaction may leave is bounded here, where the statement fails: at the commit no
-- statement_timeout runs, and others wait for the heads. As above, the table is never scanned.
CREATE FUNCTION sesari.write_audit(
    workspace text, new_action text, new_table_name text, new_row_id text, new_changes jsonb
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
DECLARE
    context text[] := sesari.verified_context();
    size bigint := pg_column_size(new_changes);
    last record;
BEGIN
    -- The statement may have thrown its context away by now: without one, only who administers the
    -- schema changes anything. session_user is what no statement can change.
    IF context IS NULL AND NOT pg_has_role(session_user, 'sesari_owner', 'MEMBER') THEN
        RAISE insufficient_privilege USING
            MESSAGE = 'permission denied: an audited change needs a verified context';
    END IF;
    -- Rolled back savepoints have taken theirs with them.
    SELECT p.number, p.bytes, p.heads + CASE WHEN p.workspace_id <> workspace AND NOT EXISTS (
               SELECT FROM sesari.audit_pending AS o
                WHERE o.transaction_id = p.transaction_id AND o.workspace_id = workspace) THEN 1 ELSE 0 END AS heads
      INTO last
      FROM sesari.audit_pending AS p
     WHERE p.transaction_id = pg_current_xact_id()::text::bigint
     ORDER BY p.number DESC LIMIT 1;
    size := size + coalesce(last.bytes, 0);
    IF last.number >= 10000 OR last.heads > 1000 OR size > 64000000 THEN
        RAISE check_violation USING
            MESSAGE = 'a transaction leaves at most 10000 entries in the audit log, of at most 1000 workspaces and 64 MB',
            HINT = 'Make the changes in several transactions.',
            CONSTRAINT = 'audit_log_transaction_limit';
    END IF;
    INSERT INTO sesari.audit_pending (
        number, heads, bytes, workspace_id, actor_kind, actor_id, scope, action, table_name, row_id, changes)
    VALUES (
        coalesce(last.number, 0) + 1, coalesce(last.heads, 1), size, workspace,
        CASE context[3] WHEN 'u' THEN 'user' WHEN 's' THEN 'service' ELSE 'system' END,
        coalesce(context[4], session_user),
        CASE WHEN context IS NULL THEN 'none' WHEN context[5] <> '' THEN 'tenant'
             WHEN context[3] = 'u' THEN 'user' ELSE 'service' END,
        new_action, new_table_name, new_row_id, new_changes);
END
$$;
COMMENT ON FUNCTION sesari.write_audit IS 'Writes an entry of the audit log. For triggers';

-- TG_ARGV: table, action of an insert, of an update, of a delete, columns not worth an entry,
-- columns whose values are secret (both separated by commas).
-- How values are written must not depend on the session's settings.
CREATE FUNCTION sesari.audit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET extra_float_digits = 1 SET timezone = 'UTC' SET bytea_output = 'hex' SET intervalstyle = 'postgres'
SET lc_monetary = 'C'
AS $$
DECLARE
    old_row jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) ELSE '{}' END;
    new_row jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) ELSE '{}' END;
    any_row jsonb := CASE WHEN TG_OP = 'DELETE' THEN old_row ELSE new_row END;
    workspace text := coalesce(
        any_row ->> 'workspace_id', CASE TG_ARGV[0] WHEN 'workspaces' THEN any_row ->> 'id' END, '');
    changes jsonb;
BEGIN
    -- What goes down with its workspace is covered by the workspace's own entry.
    IF TG_OP = 'DELETE' AND workspace <> '' AND TG_ARGV[0] <> 'workspaces'
       AND NOT EXISTS (SELECT FROM public.workspaces WHERE id = workspace) THEN
        RETURN NULL;
    END IF;
    SELECT jsonb_object_agg(name, CASE WHEN name = ANY (string_to_array(TG_ARGV[5], ',')) THEN '{}'::jsonb ELSE
               jsonb_strip_nulls(jsonb_build_object('old', old_row -> name, 'new', new_row -> name)) END)
      INTO changes
      FROM jsonb_object_keys(any_row) AS name
     WHERE old_row -> name IS DISTINCT FROM new_row -> name
       AND name <> ALL (string_to_array(TG_ARGV[4], ','));
    IF changes IS NOT NULL THEN
        PERFORM sesari.write_audit(
            workspace,
            CASE TG_OP WHEN 'INSERT' THEN TG_ARGV[1] WHEN 'UPDATE' THEN TG_ARGV[2] ELSE TG_ARGV[3] END,
            TG_ARGV[0], any_row ->> 'id', changes);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sesari.audit IS 'Trigger: writes an entry of the audit log';

-- What was tried and refused is rolled back, its entry with it: this is called afterwards, from another
-- transaction.
CREATE FUNCTION sesari.record_refusal(
    workspace text, refused_kind text, refused_id text, refused_action text, refused_row_id text, reason text
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF sesari.current_service() IS NULL THEN
        RAISE insufficient_privilege USING
            MESSAGE = 'permission denied: only a service outside of any workspace records a refusal';
    END IF;
    IF (refused_kind IN ('user', 'service') AND refused_id || refused_action IS NOT NULL
        AND octet_length(concat(workspace, refused_id, refused_action, refused_row_id, reason)) <= 1000) IS NOT TRUE THEN
        RAISE invalid_parameter_value USING MESSAGE = 'expected a user or service, an action, and at most 1000 bytes';
    END IF;
    PERFORM sesari.write_audit(
        -- One that never was has no log.
        CASE WHEN EXISTS (SELECT FROM sesari.used_workspace_ids AS u WHERE u.workspace_id = workspace)
             THEN workspace ELSE '' END,
        'access.refuse', '', coalesce(refused_row_id, ''),
        jsonb_strip_nulls(jsonb_build_object(
            'workspace_id', jsonb_build_object('new', nullif(workspace, '')),
            'actor_kind', jsonb_build_object('new', refused_kind),
            'actor_id', jsonb_build_object('new', refused_id),
            'action', jsonb_build_object('new', refused_action),
            'reason', jsonb_build_object('new', reason))));
END
$$;
COMMENT ON FUNCTION sesari.record_refusal IS
    'Writes an entry about something that was refused and rolled back, for services';
GRANT EXECUTE ON FUNCTION sesari.record_refusal TO sesari_service;

-- Any SQL of a tenant can call it: under an action that no trigger writes, of the caller's own workspace and
-- in the caller's name.
CREATE FUNCTION sesari.append_audit(own_action text, own_table text, own_row_id text, details jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    workspace text := CASE WHEN sesari.current_service() IS NULL
                           THEN sesari.workspace_id_as('{owner,admin,member,service}') ELSE '' END;
    written text := details::text;
BEGIN
    -- A service's context may name a workspace that is no more, or never was.
    IF workspace IS NULL OR workspace <> '' AND NOT EXISTS (SELECT FROM public.workspaces WHERE id = workspace) THEN
        RAISE insufficient_privilege USING
            MESSAGE = 'permission denied: only members of a workspace and services write an entry of their own';
    END IF;
    IF (own_action ~ '^[a-z][a-z0-9_]*([.][a-z][a-z0-9_]*)*$' AND octet_length(own_action) <= 60
        AND jsonb_typeof(details) = 'object' AND own_table || own_row_id IS NOT NULL
        AND octet_length(own_table || own_row_id || written) <= 20000
        -- What many readers of JSON refuse, or read as another number. The path looks at every element:
        -- it is asked where the text says that there may be one.
        AND (length(written) - length(translate(written, '[{', '')) < 33
             OR NOT jsonb_path_exists(details, '$.**{33}'))
        AND (strpos(translate(written, '123456789', '000000000'), repeat('0', 309)) = 0 OR NOT jsonb_path_exists(
             details, '$.** ? (@.type() == "number" && (@ > 1.7976931348623157e308 || @ < -1.7976931348623157e308))'))
       ) IS NOT TRUE THEN
        RAISE check_violation USING
            MESSAGE = 'expected an action of words with dots between, and an object of at most 20000 bytes with the row, of at most 32 levels and of numbers that a double holds',
            CONSTRAINT = 'audit_log_details_check';
    END IF;
    PERFORM sesari.write_audit(workspace, 'app.' || own_action, own_table, own_row_id, details);
END
$$;
COMMENT ON FUNCTION sesari.append_audit IS
    'Writes an entry of the audit log about what no trigger sees; its action begins with app.';
GRANT EXECUTE ON FUNCTION sesari.append_audit TO sesari_tenant, sesari_service;

-- The keys of the context, by their ids alone.
CREATE FUNCTION sesari.audit_context_key() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM sesari.write_audit(
        '', CASE TG_OP WHEN 'INSERT' THEN 'context_key.install' WHEN 'DELETE' THEN 'context_key.retire'
            ELSE 'context_key.change' END,
        TG_ARGV[0], CASE TG_OP WHEN 'DELETE' THEN OLD.key_id ELSE NEW.key_id END, '{}');
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sesari.audit_context_key IS 'Trigger: writes an entry for a key that comes, goes or changes';
CREATE TRIGGER context_keys_audit AFTER INSERT OR UPDATE OR DELETE ON sesari.context_keys
    FOR EACH ROW EXECUTE FUNCTION sesari.audit_context_key('context_keys');

-- Append-only ------------------------------------------------------------------------------------

CREATE FUNCTION sesari.refuse_audit_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE insufficient_privilege USING MESSAGE = 'permission denied: the audit log is append-only';
END
$$;
COMMENT ON FUNCTION sesari.refuse_audit_change IS 'Trigger: refuses the statement, whoever runs it';
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR TRUNCATE ON public.audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION sesari.refuse_audit_change();

CREATE FUNCTION sesari.refuse_audit_delete() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM gone WHERE sequence > coalesce((
                   SELECT pruned_sequence FROM sesari.audit_heads AS h
                    WHERE h.workspace_id = gone.workspace_id), 0)) THEN
        RAISE insufficient_privilege USING MESSAGE = 'permission denied: the audit log is append-only';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sesari.refuse_audit_delete IS
    'Trigger: refuses the statement, whoever runs it, unless what it deletes was pruned';
CREATE TRIGGER audit_log_pruned_only AFTER DELETE ON public.audit_log
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION sesari.refuse_audit_delete();

-- For whoever administers the schema: nobody else may execute it.
CREATE FUNCTION sesari.prune_audit_log(workspace text, before timestamptz, how_many integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
DECLARE
    head sesari.audit_heads;
    last record;
BEGIN
    IF coalesce(before IS NULL OR how_many NOT BETWEEN 1 AND 1000000, true) THEN
        RAISE invalid_parameter_value USING MESSAGE = 'expected a time and 1 to 1000000 entries';
    END IF;
    SELECT * INTO head FROM sesari.audit_heads AS h WHERE h.workspace_id = workspace FOR UPDATE;
    SELECT e.sequence, e.occurred_at, e.hash INTO last
      FROM public.audit_log AS e
     WHERE e.workspace_id = workspace AND e.sequence > head.pruned_sequence
       AND e.sequence <= head.pruned_sequence + how_many AND e.occurred_at < before
     ORDER BY e.sequence DESC LIMIT 1;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    UPDATE sesari.audit_heads AS h
       SET pruned_sequence = last.sequence, pruned_at = last.occurred_at, pruned_hash = last.hash
     WHERE h.workspace_id = workspace;
    DELETE FROM public.audit_log AS e WHERE e.workspace_id = workspace AND e.sequence <= last.sequence;
    PERFORM sesari.write_audit(
        workspace, 'audit_log.prune', 'audit_log', last.sequence::text,
        jsonb_build_object('sequence', jsonb_build_object('new', last.sequence),
                           'occurred_at', jsonb_build_object('new', last.occurred_at),
                           'hash', jsonb_build_object('new', encode(last.hash, 'hex'))));
    RETURN last.sequence - head.pruned_sequence;
END
$$;
COMMENT ON FUNCTION sesari.prune_audit_log IS
    'Drops up to so many of a workspace''s oldest entries, those before a time, and remembers where the chain now starts. Leaves an entry. Returns how many went';

-- Reading ----------------------------------------------------------------------------------------

SELECT sesari.protect_table('public.audit_log', may_select => '{owner,admin}',
    may_insert => NULL, may_update => NULL, may_delete => NULL);
-- By columns alone, as kpi_rollups to tenants: so DROP OWNED BY CURRENT_USER is refused.
GRANT SELECT (id, workspace_id, sequence, occurred_at, actor_kind, actor_id, scope, action, table_name, row_id,
              changes, transaction_id, previous_hash, hash) ON public.audit_log TO sesari_service;
CREATE POLICY audit_log_service_select ON public.audit_log FOR SELECT TO sesari_service
    USING (workspace_id = '' AND (SELECT sesari.current_service()) IS NOT NULL);
CREATE POLICY audit_log_owner_select ON public.audit_log FOR SELECT TO sesari_owner USING (true);
CREATE POLICY audit_log_owner_insert ON public.audit_log FOR INSERT TO sesari_owner
    WITH CHECK (true);
CREATE POLICY audit_log_owner_delete ON public.audit_log FOR DELETE TO sesari_owner USING (true);

-- The log outlives its workspace. Whoever made another one under the same id would own its history. A
-- key and not a query: a transaction with an old snapshot would not see the workspace that was.
CREATE TABLE sesari.used_workspace_ids (
    workspace_id text NOT NULL DEFAULT sesari.current_workspace_id(),
    CONSTRAINT used_workspace_ids_pkey PRIMARY KEY (workspace_id)
);
COMMENT ON TABLE sesari.used_workspace_ids IS 'The ids of all workspaces that are or ever were';
COMMENT ON COLUMN sesari.used_workspace_ids.workspace_id IS 'Id of the workspace; no foreign key, it outlives it';

CREATE FUNCTION sesari.refuse_used_workspace_id() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO sesari.used_workspace_ids (workspace_id) VALUES (NEW.id);
    RETURN NEW;
EXCEPTION WHEN unique_violation THEN
    RAISE unique_violation USING
        MESSAGE = 'a workspace has or had this id',
        CONSTRAINT = 'workspaces_pkey';
END
$$;
COMMENT ON FUNCTION sesari.refuse_used_workspace_id IS
    'Trigger: the id of a deleted workspace is not used again';
CREATE TRIGGER workspaces_unused_id AFTER INSERT ON public.workspaces
    FOR EACH ROW EXECUTE FUNCTION sesari.refuse_used_workspace_id();

CREATE FUNCTION sesari.audit_head(workspace text) RETURNS TABLE (
    sequence bigint, occurred_at timestamptz, hash bytea,
    pruned_sequence bigint, pruned_at timestamptz, pruned_hash bytea)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF workspace = sesari.workspace_id_as('{owner,admin}')
       OR sesari.current_service() IS NOT NULL
          AND (workspace = ''
               OR EXISTS (SELECT FROM sesari.used_workspace_ids AS u WHERE u.workspace_id = workspace)
                  AND NOT EXISTS (SELECT FROM public.workspaces AS w WHERE w.id = workspace)) THEN
        RETURN QUERY
            SELECT h.sequence, h.occurred_at, h.hash, h.pruned_sequence, h.pruned_at, h.pruned_hash
              FROM (SELECT) AS always LEFT JOIN sesari.audit_heads AS h ON h.workspace_id = workspace;
    END IF;
END
$$;
COMMENT ON FUNCTION sesari.audit_head IS
    'Where the chain ends and what was pruned, for whoever may read the log: one row, null when nothing was ever written; none for anybody else';
GRANT EXECUTE ON FUNCTION sesari.audit_head TO sesari_tenant, sesari_service;

-- Who could read it is gone with the workspace.
CREATE FUNCTION sesari.deleted_workspace_audit(
    workspace text, after_sequence bigint, after_id text, how_many integer
) RETURNS SETOF public.audit_log
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF sesari.current_service() IS NOT NULL
       AND EXISTS (SELECT FROM sesari.used_workspace_ids AS u WHERE u.workspace_id = workspace)
       AND NOT EXISTS (SELECT FROM public.workspaces AS w WHERE w.id = workspace) THEN
        RETURN QUERY
            SELECT * FROM public.audit_log AS e
             WHERE e.workspace_id = workspace AND (e.sequence, e.id) > (after_sequence, after_id)
             ORDER BY e.sequence, e.id LIMIT how_many;
    END IF;
END
$$;
COMMENT ON FUNCTION sesari.deleted_workspace_audit IS
    'Entries of a workspace that is no more, in the order of its chain, for services';
GRANT EXECUTE ON FUNCTION sesari.deleted_workspace_audit TO sesari_service;

CREATE TRIGGER workspaces_audit AFTER INSERT OR UPDATE OR DELETE ON public.workspaces
    FOR EACH ROW EXECUTE FUNCTION sesari.audit(
        'workspaces', 'workspace.create', 'workspace.update', 'workspace.delete', 'updated_at', '');
CREATE TRIGGER workspace_users_audit AFTER INSERT OR UPDATE OR DELETE ON public.workspace_users
    FOR EACH ROW EXECUTE FUNCTION sesari.audit(
        'workspace_users', 'member.add', 'member.change_role', 'member.remove', '', '');


-- The plans of functions are estimated from these, and a server prints plans to whoever asks it to.
SELECT sesari.forget_statistics(name)
  FROM unnest('{sesari.audit_heads,sesari.audit_pending,sesari.used_workspace_ids}'::regclass[]) AS name;

RESET ROLE;
