-- Who changed what. Other tables add their trigger where they are made.
SET LOCAL ROLE sesari_owner;

CREATE TABLE public.audit_log (
    id text NOT NULL DEFAULT sesari.new_id(),
    workspace_id text NOT NULL,
    actor_kind text NOT NULL,
    actor_id text NOT NULL,
    action text NOT NULL,
    table_name text NOT NULL,
    row_id text NOT NULL,
    changes jsonb NOT NULL,
    occurred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT audit_log_pkey PRIMARY KEY (workspace_id, id),
    CONSTRAINT audit_log_actor_kind_check CHECK (actor_kind IN ('user', 'service', 'system')),
    CONSTRAINT audit_log_occurred_at_check CHECK (
        occurred_at >= '0001-01-01 00:00:00+00' AND occurred_at < '10000-01-01 00:00:00+00')
);
COMMENT ON TABLE public.audit_log IS
    'Who changed what, written by triggers in the transaction of the change. Append-only';
COMMENT ON COLUMN public.audit_log.id IS 'CUID, made by the database';
COMMENT ON COLUMN public.audit_log.workspace_id IS
    'Workspace of the row; empty for a row of no workspace. No foreign key: entries outlive their workspace';
COMMENT ON COLUMN public.audit_log.actor_kind IS 'user, service, or system for a change without a verified context';
COMMENT ON COLUMN public.audit_log.actor_id IS 'User id, service name, or database login';
COMMENT ON COLUMN public.audit_log.action IS 'What happened, such as member.add';
COMMENT ON COLUMN public.audit_log.table_name IS 'Table of the row';
COMMENT ON COLUMN public.audit_log.row_id IS 'Id of the row';
COMMENT ON COLUMN public.audit_log.changes IS
    'Changed columns, each with its old and new value; a secret column is named without values';
COMMENT ON COLUMN public.audit_log.occurred_at IS 'When the change was made, by the server''s clock';
-- Newest first, by keyset.
CREATE INDEX idx_audit_log_workspace_id_occurred_at
    ON public.audit_log (workspace_id, occurred_at DESC, id DESC);

CREATE FUNCTION sesari.write_audit(
    workspace text, new_action text, new_table_name text, new_row_id text, new_changes jsonb
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    context text[] := sesari.verified_context();
BEGIN
    -- The statement may have thrown its context away by now: without one, only who administers the
    -- schema changes anything. session_user is what no statement can change.
    IF context IS NULL AND NOT pg_has_role(session_user, 'sesari_owner', 'MEMBER') THEN
        RAISE insufficient_privilege USING
            MESSAGE = 'permission denied: an audited change needs a verified context';
    END IF;
    INSERT INTO public.audit_log (workspace_id, actor_kind, actor_id, action, table_name, row_id, changes)
    VALUES (
        workspace,
        CASE context[3] WHEN 'u' THEN 'user' WHEN 's' THEN 'service' ELSE 'system' END,
        coalesce(context[4], session_user),
        new_action, new_table_name, new_row_id, new_changes);
END
$$;
COMMENT ON FUNCTION sesari.write_audit IS 'Writes an entry of the audit log. For triggers';

-- TG_ARGV: table, action of an insert, of an update, of a delete, columns not worth an entry,
-- columns whose values are secret (both separated by commas).
-- How values are written must not depend on the session's settings.
CREATE FUNCTION sesari.audit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET extra_float_digits = 1 SET timezone = 'UTC'
AS $$
DECLARE
    old_row jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) ELSE '{}' END;
    new_row jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) ELSE '{}' END;
    any_row jsonb := CASE WHEN TG_OP = 'DELETE' THEN old_row ELSE new_row END;
    ignored text[] := string_to_array(TG_ARGV[4], ',');
    secret text[] := string_to_array(TG_ARGV[5], ',');
    workspace text := coalesce(
        any_row ->> 'workspace_id', CASE TG_ARGV[0] WHEN 'workspaces' THEN any_row ->> 'id' END, '');
    changes jsonb;
BEGIN
    -- What goes down with its workspace is covered by the workspace's own entry.
    IF TG_OP = 'DELETE' AND workspace <> '' AND TG_ARGV[0] <> 'workspaces'
       AND NOT EXISTS (SELECT FROM public.workspaces WHERE id = workspace) THEN
        RETURN NULL;
    END IF;
    SELECT jsonb_object_agg(name, CASE WHEN name = ANY (secret) THEN '{}'::jsonb ELSE
               jsonb_strip_nulls(jsonb_build_object('old', old_row -> name, 'new', new_row -> name)) END)
      INTO changes
      FROM jsonb_object_keys(old_row || new_row) AS name
     WHERE old_row -> name IS DISTINCT FROM new_row -> name AND name <> ALL (ignored);
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

CREATE FUNCTION sesari.refuse_audit_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE insufficient_privilege USING MESSAGE = 'permission denied: the audit log is append-only';
END
$$;
COMMENT ON FUNCTION sesari.refuse_audit_change IS 'Trigger: refuses the statement, whoever runs it';
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON public.audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION sesari.refuse_audit_change();

ALTER TABLE public.audit_log ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.audit_log FORCE ROW LEVEL SECURITY;
GRANT SELECT ON public.audit_log TO sesari_tenant, sesari_service;
CREATE POLICY audit_log_tenant_select ON public.audit_log FOR SELECT TO sesari_tenant
    USING (workspace_id = (SELECT sesari.workspace_id_as('{owner,admin}')));
CREATE POLICY audit_log_service_select ON public.audit_log FOR SELECT TO sesari_service
    USING (workspace_id = '' AND (SELECT sesari.current_service()) IS NOT NULL);
CREATE POLICY audit_log_owner_insert ON public.audit_log FOR INSERT TO sesari_owner
    WITH CHECK (true);

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
CREATE TRIGGER workspaces_audit AFTER INSERT OR UPDATE OR DELETE ON public.workspaces
    FOR EACH ROW EXECUTE FUNCTION sesari.audit(
        'workspaces', 'workspace.create', 'workspace.update', 'workspace.delete', 'updated_at', '');
CREATE TRIGGER workspace_users_audit AFTER INSERT OR UPDATE OR DELETE ON public.workspace_users
    FOR EACH ROW EXECUTE FUNCTION sesari.audit(
        'workspace_users', 'member.add', 'member.change_role', 'member.remove', '', '');

RESET ROLE;
