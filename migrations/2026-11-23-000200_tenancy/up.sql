-- Users, workspaces and memberships: the three tables that say who may enter where.
SET LOCAL ROLE sesari_owner;

-- users ----------------------------------------------------------------------------------------

CREATE TABLE public.users (
    id text NOT NULL DEFAULT sesari.new_id(),
    email text NOT NULL,
    name text,
    image text,
    provider text NOT NULL,
    provider_id text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_email_key UNIQUE (email),
    CONSTRAINT users_provider_provider_id_key UNIQUE (provider, provider_id),
    CONSTRAINT users_id_check CHECK (id ~ '^[a-z][a-z0-9]{1,31}$'),
    CONSTRAINT users_email_check CHECK (char_length(email) <= 254
        AND email ~ '^[^@A-Z\u0001-\u0020\u007F]+@[^@A-Z\u0001-\u0020\u007F]+$'),
    CONSTRAINT users_name_check CHECK (char_length(name) >= 1 AND char_length(name) <= 200
        AND name = btrim(name) AND name !~ '[\u0001-\u001F\u007F]'),
    CONSTRAINT users_image_check CHECK (char_length(image) <= 2048
        AND image ~ '^https://[^\u0001-\u0020\u007F]+$'),
    CONSTRAINT users_provider_check CHECK (provider IN ('google')),
    CONSTRAINT users_provider_id_check CHECK (char_length(provider_id) >= 1 AND char_length(provider_id) <= 255
        AND provider_id !~ '[\u0001-\u0020\u007F]'),
    CONSTRAINT users_created_at_check CHECK (
        created_at >= '0001-01-01 00:00:00+00' AND created_at < '10000-01-01 00:00:00+00'),
    CONSTRAINT users_updated_at_check CHECK (
        updated_at >= '0001-01-01 00:00:00+00' AND updated_at < '10000-01-01 00:00:00+00')
);
COMMENT ON TABLE public.users IS 'People who sign in. Global: a user may belong to many workspaces';
COMMENT ON COLUMN public.users.id IS 'CUID';
COMMENT ON COLUMN public.users.email IS 'E-mail address, ASCII letters in lower case; unique';
COMMENT ON COLUMN public.users.name IS 'Display name';
COMMENT ON COLUMN public.users.image IS 'https address of a picture';
COMMENT ON COLUMN public.users.provider IS 'Sign-in provider';
COMMENT ON COLUMN public.users.provider_id IS 'The user''s id at the provider';
COMMENT ON COLUMN public.users.created_at IS 'When the row was made';
COMMENT ON COLUMN public.users.updated_at IS 'When the row last changed; kept by a trigger';
CREATE INDEX idx_users_created_at ON public.users (created_at, id);
CREATE TRIGGER users_updated_at BEFORE UPDATE ON public.users
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION sesari.touch_updated_at();
CREATE TRIGGER users_key BEFORE UPDATE ON public.users
    FOR EACH ROW WHEN (OLD.id IS DISTINCT FROM NEW.id)
    EXECUTE FUNCTION sesari.refuse_change('users', 'users_key_immutable');

-- Two unique keys, and an upsert settles conflicts on one: first sign-ins of the same account at the
-- same moment would meet at the e-mail address and fail. So they queue.
CREATE FUNCTION sesari.queue_for_account() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(NEW.provider || ' ' || NEW.provider_id, 0));
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION sesari.queue_for_account IS
    'Trigger: inserts of one account at the provider wait for each other';
CREATE TRIGGER users_account BEFORE INSERT ON public.users
    FOR EACH ROW EXECUTE FUNCTION sesari.queue_for_account();

-- workspaces -----------------------------------------------------------------------------------

CREATE TABLE public.workspaces (
    id text NOT NULL DEFAULT sesari.new_id(),
    name text NOT NULL,
    slug text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    CONSTRAINT workspaces_pkey PRIMARY KEY (id),
    CONSTRAINT workspaces_slug_key UNIQUE (slug),
    CONSTRAINT workspaces_id_check CHECK (id ~ '^[a-z][a-z0-9]{1,31}$'),
    CONSTRAINT workspaces_name_check CHECK (char_length(name) >= 1 AND char_length(name) <= 200
        AND name = btrim(name) AND name !~ '[\u0001-\u001F\u007F]'),
    CONSTRAINT workspaces_slug_check CHECK (char_length(slug) >= 2 AND char_length(slug) <= 63
        AND slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'),
    CONSTRAINT workspaces_created_at_check CHECK (
        created_at >= '0001-01-01 00:00:00+00' AND created_at < '10000-01-01 00:00:00+00'),
    CONSTRAINT workspaces_updated_at_check CHECK (
        updated_at >= '0001-01-01 00:00:00+00' AND updated_at < '10000-01-01 00:00:00+00')
);
COMMENT ON TABLE public.workspaces IS 'The tenants';
COMMENT ON COLUMN public.workspaces.id IS 'CUID';
COMMENT ON COLUMN public.workspaces.name IS 'Display name';
COMMENT ON COLUMN public.workspaces.slug IS 'Name in addresses; unique among all workspaces';
COMMENT ON COLUMN public.workspaces.created_at IS 'When the row was made';
COMMENT ON COLUMN public.workspaces.updated_at IS 'When the row last changed; kept by a trigger';
CREATE TRIGGER workspaces_updated_at BEFORE UPDATE ON public.workspaces
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION sesari.touch_updated_at();
CREATE TRIGGER workspaces_key BEFORE UPDATE ON public.workspaces
    FOR EACH ROW WHEN (OLD.id IS DISTINCT FROM NEW.id)
    EXECUTE FUNCTION sesari.refuse_change('workspaces', 'workspaces_key_immutable');

-- workspace_users ------------------------------------------------------------------------------

CREATE TABLE public.workspace_users (
    id text NOT NULL DEFAULT sesari.new_id(),
    user_id text NOT NULL,
    workspace_id text NOT NULL,
    role text NOT NULL DEFAULT 'member',
    joined_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    CONSTRAINT workspace_users_pkey PRIMARY KEY (workspace_id, id),
    CONSTRAINT workspace_users_workspace_id_user_id_key UNIQUE (workspace_id, user_id),
    CONSTRAINT workspace_users_workspace_id_fkey FOREIGN KEY (workspace_id)
        REFERENCES public.workspaces (id) ON DELETE CASCADE,
    CONSTRAINT workspace_users_user_id_fkey FOREIGN KEY (user_id)
        REFERENCES public.users (id) ON DELETE CASCADE,
    CONSTRAINT workspace_users_id_check CHECK (id ~ '^[a-z][a-z0-9]{1,31}$'),
    CONSTRAINT workspace_users_role_check CHECK (role IN ('owner', 'admin', 'member')),
    CONSTRAINT workspace_users_joined_at_check CHECK (
        joined_at >= '0001-01-01 00:00:00+00' AND joined_at < '10000-01-01 00:00:00+00')
);
COMMENT ON TABLE public.workspace_users IS 'Memberships: which user is in which workspace, as what';
COMMENT ON COLUMN public.workspace_users.id IS 'CUID, unique within the workspace';
COMMENT ON COLUMN public.workspace_users.user_id IS 'The member';
COMMENT ON COLUMN public.workspace_users.workspace_id IS 'The workspace';
COMMENT ON COLUMN public.workspace_users.role IS 'owner, admin or member';
COMMENT ON COLUMN public.workspace_users.joined_at IS 'When the user joined';
CREATE INDEX idx_workspace_users_user_id ON public.workspace_users (user_id, workspace_id);
CREATE INDEX idx_workspace_users_workspace_id ON public.workspace_users (workspace_id, joined_at, id);

-- Who is asking, and where ---------------------------------------------------------------------

-- These read the membership table as its owner, past its policies: a policy that read the table it
-- guards would recurse.

CREATE FUNCTION sesari.current_workspace_id() RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    context text[] := sesari.verified_context();
BEGIN
    IF context[5] = '' THEN
        RETURN NULL;
    END IF;
    IF context[3] = 's' THEN
        RETURN context[5];
    END IF;
    PERFORM FROM public.workspace_users WHERE workspace_id = context[5] AND user_id = context[4];
    RETURN CASE WHEN FOUND THEN context[5] END;
END
$$;
COMMENT ON FUNCTION sesari.current_workspace_id IS
    'The workspace of the verified context, if its user is a member now or its actor a service, or NULL';
GRANT EXECUTE ON FUNCTION sesari.current_workspace_id TO sesari_tenant;

CREATE FUNCTION sesari.current_member_role() RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    context text[] := sesari.verified_context();
BEGIN
    IF context[3] = 's' AND context[5] <> '' THEN
        RETURN 'service';
    END IF;
    RETURN (SELECT role FROM public.workspace_users
             WHERE workspace_id = context[5] AND user_id = context[4] AND context[3] = 'u');
END
$$;
COMMENT ON FUNCTION sesari.current_member_role IS
    'owner, admin or member of the current workspace, service for a background service in it, or NULL';
GRANT EXECUTE ON FUNCTION sesari.current_member_role TO sesari_tenant;

CREATE FUNCTION sesari.workspace_id_as(roles text[]) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    context text[] := sesari.verified_context();
BEGIN
    IF context[3] = 's' THEN
        RETURN CASE WHEN 'service' = ANY (roles) THEN nullif(context[5], '') END;
    END IF;
    RETURN (SELECT workspace_id FROM public.workspace_users
             WHERE workspace_id = context[5] AND user_id = context[4] AND role = ANY (roles));
END
$$;
COMMENT ON FUNCTION sesari.workspace_id_as IS
    'The current workspace, if its member''s role (or service) is among these. Policies ask for both at once: a statement could change the context between two questions';
GRANT EXECUTE ON FUNCTION sesari.workspace_id_as TO sesari_tenant;

CREATE FUNCTION sesari.my_workspace_ids() RETURNS text[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    context text[] := sesari.verified_context();
BEGIN
    IF context[3] = 'u' AND context[5] = '' THEN
        -- In order, because the order of the rows' places is also that of others' writes.
        RETURN ARRAY(SELECT workspace_id FROM public.workspace_users
                      WHERE user_id = context[4] ORDER BY workspace_id);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sesari.my_workspace_ids IS
    'Workspaces of the signed-in user while none is chosen, or NULL';
GRANT EXECUTE ON FUNCTION sesari.my_workspace_ids TO sesari_tenant;

CREATE FUNCTION sesari.visible_user_ids() RETURNS text[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    context text[] := sesari.verified_context();
    workspace text;
BEGIN
    IF context[3] = 'u' AND context[5] = '' THEN
        RETURN ARRAY[context[4]];
    END IF;
    workspace := sesari.current_workspace_id();
    IF workspace IS NULL THEN
        RETURN NULL;
    END IF;
    RETURN ARRAY(SELECT user_id FROM public.workspace_users WHERE workspace_id = workspace ORDER BY user_id);
END
$$;
COMMENT ON FUNCTION sesari.visible_user_ids IS
    'The members of the current workspace, or the signed-in user alone while none is chosen, or NULL';
GRANT EXECUTE ON FUNCTION sesari.visible_user_ids TO sesari_tenant;

ALTER TABLE public.workspace_users ALTER COLUMN workspace_id SET DEFAULT sesari.current_workspace_id();

CREATE FUNCTION sesari.create_workspace(
    new_workspace_id text, new_membership_id text, new_name text, new_slug text
) RETURNS public.workspaces
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    creator text := sesari.signed_in_user_id();
    created public.workspaces;
BEGIN
    IF creator IS NULL THEN
        RAISE insufficient_privilege USING
            MESSAGE = 'permission denied: only a signed-in user outside of any workspace creates one';
    END IF;
    INSERT INTO public.workspaces (id, name, slug)
    VALUES (new_workspace_id, new_name, new_slug) RETURNING * INTO created;
    INSERT INTO public.workspace_users (id, user_id, workspace_id, role)
    VALUES (new_membership_id, creator, created.id, 'owner');
    RETURN created;
END
$$;
COMMENT ON FUNCTION sesari.create_workspace IS
    'Makes a workspace with the signed-in user as its owner. The only way to make one';
GRANT EXECUTE ON FUNCTION sesari.create_workspace TO sesari_tenant;

-- The last owner stays -------------------------------------------------------------------------

CREATE FUNCTION sesari.keep_an_owner() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- One at a time per workspace: two owners leaving at once would each count on the other.
    PERFORM FROM public.workspaces WHERE id = OLD.workspace_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;  -- the workspace goes with its members
    END IF;
    IF current_setting('transaction_isolation') IN ('read committed', 'read uncommitted') THEN
        PERFORM FROM public.workspace_users
          WHERE workspace_id = OLD.workspace_id AND role = 'owner' AND id <> OLD.id;
    ELSE
        -- A snapshot from before the lock may show an owner who has left: locking the row finds out.
        PERFORM FROM public.workspace_users
          WHERE workspace_id = OLD.workspace_id AND role = 'owner' AND id <> OLD.id FOR NO KEY UPDATE;
    END IF;
    IF NOT FOUND THEN
        RAISE check_violation USING
            MESSAGE = 'a workspace keeps at least one owner',
            CONSTRAINT = 'workspace_users_last_owner';
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END
$$;
COMMENT ON FUNCTION sesari.keep_an_owner IS
    'Trigger: the last owner of a workspace can neither leave nor be demoted, whoever races';
CREATE TRIGGER workspace_users_last_owner_delete BEFORE DELETE ON public.workspace_users
    FOR EACH ROW WHEN (OLD.role = 'owner') EXECUTE FUNCTION sesari.keep_an_owner();
CREATE TRIGGER workspace_users_last_owner_update BEFORE UPDATE ON public.workspace_users
    FOR EACH ROW WHEN (OLD.role = 'owner' AND NEW.role <> 'owner')
    EXECUTE FUNCTION sesari.keep_an_owner();
CREATE TRIGGER workspace_users_key BEFORE UPDATE ON public.workspace_users
    FOR EACH ROW WHEN (OLD.workspace_id IS DISTINCT FROM NEW.workspace_id
        OR OLD.id IS DISTINCT FROM NEW.id OR OLD.user_id IS DISTINCT FROM NEW.user_id)
    EXECUTE FUNCTION sesari.refuse_change('workspace_users', 'workspace_users_key_immutable');

-- Policies -------------------------------------------------------------------------------------

ALTER TABLE public.users ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.users FORCE ROW LEVEL SECURITY;
-- What a fellow member may know of a user; the provider's id is not among it.
GRANT SELECT (id, email, name, image, created_at, updated_at) ON public.users TO sesari_tenant;
GRANT UPDATE (name, image) ON public.users TO sesari_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.users TO sesari_service;
CREATE POLICY users_tenant_select ON public.users FOR SELECT TO sesari_tenant
    USING (id = ANY ((SELECT sesari.visible_user_ids())::text[]));
CREATE POLICY users_tenant_update ON public.users FOR UPDATE TO sesari_tenant
    USING (id = (SELECT sesari.signed_in_user_id()))
    WITH CHECK (id = (SELECT sesari.signed_in_user_id()));
CREATE POLICY users_service_select ON public.users FOR SELECT TO sesari_service
    USING ((SELECT sesari.current_service()) IS NOT NULL);
CREATE POLICY users_service_insert ON public.users FOR INSERT TO sesari_service
    WITH CHECK ((SELECT sesari.current_service()) IS NOT NULL);
CREATE POLICY users_service_update ON public.users FOR UPDATE TO sesari_service
    USING ((SELECT sesari.current_service()) IS NOT NULL)
    WITH CHECK ((SELECT sesari.current_service()) IS NOT NULL);
CREATE POLICY users_service_delete ON public.users FOR DELETE TO sesari_service
    USING ((SELECT sesari.current_service()) IS NOT NULL);

ALTER TABLE public.workspaces ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.workspaces FORCE ROW LEVEL SECURITY;
GRANT SELECT, UPDATE, DELETE ON public.workspaces TO sesari_tenant;
CREATE POLICY workspaces_tenant_select ON public.workspaces FOR SELECT TO sesari_tenant
    USING (id = (SELECT sesari.current_workspace_id())
           OR id = ANY ((SELECT sesari.my_workspace_ids())::text[]));
CREATE POLICY workspaces_tenant_update ON public.workspaces FOR UPDATE TO sesari_tenant
    USING (id = (SELECT sesari.workspace_id_as('{owner,admin}')))
    WITH CHECK (id = (SELECT sesari.workspace_id_as('{owner,admin}')));
CREATE POLICY workspaces_tenant_delete ON public.workspaces FOR DELETE TO sesari_tenant
    USING (id = (SELECT sesari.workspace_id_as('{owner}')));
-- The owner's policies serve the functions above and no login: nobody may be a member of the role.
CREATE POLICY workspaces_owner_select ON public.workspaces FOR SELECT TO sesari_owner USING (true);
CREATE POLICY workspaces_owner_insert ON public.workspaces FOR INSERT TO sesari_owner WITH CHECK (true);
CREATE POLICY workspaces_owner_update ON public.workspaces FOR UPDATE TO sesari_owner
    USING (true) WITH CHECK (true);

ALTER TABLE public.workspace_users ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.workspace_users FORCE ROW LEVEL SECURITY;
-- Nobody is made a member without having agreed: rows come from functions alone.
GRANT SELECT, UPDATE, DELETE ON public.workspace_users TO sesari_tenant;
CREATE POLICY workspace_users_tenant_select ON public.workspace_users FOR SELECT TO sesari_tenant
    USING (workspace_id = (SELECT sesari.current_workspace_id())
           OR user_id = (SELECT sesari.signed_in_user_id()));
CREATE POLICY workspace_users_tenant_update ON public.workspace_users FOR UPDATE TO sesari_tenant
    USING (workspace_id = (SELECT sesari.workspace_id_as('{owner}'))
        OR workspace_id = (SELECT sesari.workspace_id_as('{admin}')) AND role <> 'owner')
    WITH CHECK (workspace_id = (SELECT sesari.workspace_id_as('{owner}'))
        OR workspace_id = (SELECT sesari.workspace_id_as('{admin}')) AND role <> 'owner');
-- Everyone may leave; the last owner may not, says the trigger.
CREATE POLICY workspace_users_tenant_delete ON public.workspace_users FOR DELETE TO sesari_tenant
    USING (workspace_id = (SELECT sesari.workspace_id_as('{owner}'))
        OR workspace_id = (SELECT sesari.workspace_id_as('{admin}')) AND role <> 'owner'
        OR workspace_id = (SELECT sesari.current_workspace_id())
           AND user_id = (SELECT sesari.current_user_id()));
CREATE POLICY workspace_users_owner_select ON public.workspace_users FOR SELECT TO sesari_owner
    USING (true);
CREATE POLICY workspace_users_owner_insert ON public.workspace_users FOR INSERT TO sesari_owner
    WITH CHECK (true);
CREATE POLICY workspace_users_owner_update ON public.workspace_users FOR UPDATE TO sesari_owner
    USING (true) WITH CHECK (true);

RESET ROLE;
