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
    created_at timestamptz(3) NOT NULL DEFAULT date_trunc('milliseconds', statement_timestamp()),
    updated_at timestamptz(3) NOT NULL DEFAULT date_trunc('milliseconds', statement_timestamp()),
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_email_key UNIQUE (email),
    CONSTRAINT users_provider_provider_id_key UNIQUE (provider, provider_id),
    CONSTRAINT users_id_check CHECK (id ~ '^[a-z][a-z0-9]{1,31}$'),
    CONSTRAINT users_email_check CHECK (octet_length(email) <= 254
        AND sesari.is_text(email, 'mailbox')
        AND email ~ '^[^@]+@[a-z0-9]+(-+[a-z0-9]+)*(\.[a-z0-9]+(-+[a-z0-9]+)*)*$'),
    CONSTRAINT users_name_check CHECK (char_length(name) >= 1 AND char_length(name) <= 200
        AND sesari.is_text(name, 'label')),
    CONSTRAINT users_image_check CHECK (char_length(image) <= 2048
        AND image ~ '^https://.' AND sesari.is_text(image, 'address')),
    CONSTRAINT users_provider_check CHECK (provider IN ('google')),
    CONSTRAINT users_provider_id_check CHECK (provider_id ~ '^[\u0021-\u007E]{1,255}$'),
    CONSTRAINT users_created_at_check CHECK (
        created_at >= '0001-01-01 00:00:00+00' AND created_at < '10000-01-01 00:00:00+00'),
    CONSTRAINT users_updated_at_check CHECK (
        updated_at >= '0001-01-01 00:00:00+00' AND updated_at < '10000-01-01 00:00:00+00')
);
COMMENT ON TABLE public.users IS 'People who sign in. Global: a user may belong to many workspaces';
COMMENT ON COLUMN public.users.id IS 'CUID';
COMMENT ON COLUMN public.users.email IS 'E-mail address in lower case and NFKC, its domain in ASCII (IDNA); unique';
COMMENT ON COLUMN public.users.name IS 'Display name';
COMMENT ON COLUMN public.users.image IS 'https address of a picture';
COMMENT ON COLUMN public.users.provider IS 'Sign-in provider';
COMMENT ON COLUMN public.users.provider_id IS 'The user''s id at the provider, 1 to 255 visible ASCII characters';
COMMENT ON COLUMN public.users.created_at IS 'When the row was made; kept by a trigger';
COMMENT ON COLUMN public.users.updated_at IS 'When the row last changed; kept by a trigger';
CREATE INDEX idx_users_created_at ON public.users (created_at, id);
CREATE TRIGGER users_times BEFORE INSERT OR UPDATE ON public.users
    FOR EACH ROW EXECUTE FUNCTION sesari.keep_times('users', 'created_at', 'updated_at');
CREATE TRIGGER users_key BEFORE UPDATE ON public.users
    FOR EACH ROW WHEN (OLD.id IS DISTINCT FROM NEW.id)
    EXECUTE FUNCTION sesari.refuse_change('users', 'users_key_immutable');

-- Two unique keys, and an upsert settles conflicts on one: first sign-ins of the same account at the
-- same moment would meet at the e-mail address and fail. ON CONFLICT without a key waits for both, and
-- takes no lock but the row's own.
CREATE FUNCTION sesari.sign_in(
    new_id text, new_email text, new_name text, new_image text, account_provider text, account_id text
) RETURNS public.users
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    account public.users;
BEGIN
    LOOP
        UPDATE public.users AS u
           SET email = new_email, name = coalesce(u.name, new_name), image = coalesce(u.image, new_image)
         WHERE u.provider = account_provider AND u.provider_id = account_id
        RETURNING * INTO account;
        EXIT WHEN FOUND;
        INSERT INTO public.users (id, email, name, image, provider, provider_id)
        VALUES (new_id, new_email, new_name, new_image, account_provider, account_id)
        ON CONFLICT DO NOTHING
        RETURNING * INTO account;
        EXIT WHEN FOUND;
        -- Another session has made the account, or another account has the address or the id.
        IF NOT EXISTS (SELECT FROM public.users AS u
                        WHERE u.provider = account_provider AND u.provider_id = account_id) THEN
            RAISE unique_violation USING
                MESSAGE = 'another user has this e-mail address or id',
                CONSTRAINT = CASE WHEN EXISTS (SELECT FROM public.users AS u WHERE u.id = new_id)
                                  THEN 'users_pkey' ELSE 'users_email_key' END;
        END IF;
    END LOOP;
    RETURN account;
END
$$;
COMMENT ON FUNCTION sesari.sign_in IS
    'The user of an account at the provider, with its address as given here and an empty name or picture filled; made if there is none';
GRANT EXECUTE ON FUNCTION sesari.sign_in TO sesari_service;

-- workspaces -----------------------------------------------------------------------------------

CREATE TABLE public.workspaces (
    id text NOT NULL DEFAULT sesari.new_id(),
    name text NOT NULL,
    slug text NOT NULL,
    time_zone text NOT NULL DEFAULT 'Etc/UTC',
    created_at timestamptz(3) NOT NULL DEFAULT date_trunc('milliseconds', statement_timestamp()),
    updated_at timestamptz(3) NOT NULL DEFAULT date_trunc('milliseconds', statement_timestamp()),
    CONSTRAINT workspaces_pkey PRIMARY KEY (id),
    CONSTRAINT workspaces_id_check CHECK (id ~ '^[a-z][a-z0-9]{1,31}$'),
    CONSTRAINT workspaces_name_check CHECK (char_length(name) >= 1 AND char_length(name) <= 200
        AND sesari.is_text(name, 'label')),
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
COMMENT ON COLUMN public.workspaces.time_zone IS
    'Name in the IANA time zone database: whose days the workspace''s rollups are of, and its series by default';
COMMENT ON COLUMN public.workspaces.created_at IS 'When the row was made; kept by a trigger';
COMMENT ON COLUMN public.workspaces.updated_at IS 'When the row last changed; kept by a trigger';
CREATE TRIGGER workspaces_times BEFORE INSERT OR UPDATE ON public.workspaces
    FOR EACH ROW EXECUTE FUNCTION sesari.keep_times('workspaces', 'created_at', 'updated_at');
CREATE TRIGGER workspaces_key BEFORE UPDATE ON public.workspaces
    FOR EACH ROW WHEN (OLD.id IS DISTINCT FROM NEW.id)
    EXECUTE FUNCTION sesari.refuse_change('workspaces', 'workspaces_key_immutable');

-- The server takes more for a zone than it should here: names in any case, abbreviations, and rules written
-- out, of which many are misspelt names. Files beside the database of zones begin with a small letter.
CREATE FUNCTION sesari.check_time_zone() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NEW.time_zone !~ '^[A-Z]' OR NEW.time_zone = 'Factory'
       OR NOT EXISTS (SELECT FROM pg_timezone_names AS z WHERE z.name = NEW.time_zone) THEN
        RAISE check_violation USING
            MESSAGE = 'expected a name of the IANA time zone database that the server knows',
            CONSTRAINT = 'workspaces_time_zone_check';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION sesari.check_time_zone IS
    'Trigger: the zone is one that the server knows, and spelt as it is there';
-- The list is read from the server's files, and the default need not be looked for.
CREATE TRIGGER workspaces_time_zone BEFORE INSERT OR UPDATE OF time_zone ON public.workspaces
    FOR EACH ROW WHEN (NEW.time_zone <> 'Etc/UTC') EXECUTE FUNCTION sesari.check_time_zone();

SELECT sesari.forget_statistics('public.workspaces');

-- Unique among all workspaces, so in a table that tenants cannot read: a range of slugs, looked for in an
-- index of theirs, would count those of all others.
CREATE TABLE sesari.workspace_slugs (
    workspace_id text NOT NULL,
    slug text NOT NULL,
    CONSTRAINT workspace_slugs_pkey PRIMARY KEY (workspace_id),
    -- Named after what the caller knows.
    CONSTRAINT workspaces_slug_key UNIQUE (slug),
    CONSTRAINT workspace_slugs_workspace_id_fkey FOREIGN KEY (workspace_id)
        REFERENCES public.workspaces (id) ON DELETE CASCADE
);
COMMENT ON TABLE sesari.workspace_slugs IS 'Which slug is whose; kept by a trigger';
COMMENT ON COLUMN sesari.workspace_slugs.workspace_id IS 'The workspace';
COMMENT ON COLUMN sesari.workspace_slugs.slug IS 'Its slug';

CREATE FUNCTION sesari.reserve_slug() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO sesari.workspace_slugs (workspace_id, slug) VALUES (NEW.id, NEW.slug)
    ON CONFLICT (workspace_id) DO UPDATE SET slug = excluded.slug;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sesari.reserve_slug IS
    'Trigger: no two workspaces have the same slug; violates workspaces_slug_key';
CREATE TRIGGER workspaces_slug AFTER INSERT OR UPDATE OF slug ON public.workspaces
    FOR EACH ROW EXECUTE FUNCTION sesari.reserve_slug();

-- user_workspaces ------------------------------------------------------------------------------

-- Looks memberships up by user, in a table that tenants cannot read: an index of theirs that a user leads
-- would count that user's memberships everywhere. A membership hangs on its row here, so that it goes with
-- its user along keys. The row stays when the membership ends: taking it away as well would lock the two in
-- the opposite order to that of a user's deletion.
CREATE TABLE sesari.user_workspaces (
    user_id text NOT NULL,
    workspace_id text NOT NULL,
    CONSTRAINT user_workspaces_pkey PRIMARY KEY (user_id, workspace_id),
    CONSTRAINT user_workspaces_user_id_fkey FOREIGN KEY (user_id)
        REFERENCES public.users (id) ON DELETE CASCADE,
    CONSTRAINT user_workspaces_workspace_id_fkey FOREIGN KEY (workspace_id)
        REFERENCES public.workspaces (id) ON DELETE CASCADE
);
COMMENT ON TABLE sesari.user_workspaces IS 'Workspaces that a user is or was in; kept by a trigger';
COMMENT ON COLUMN sesari.user_workspaces.user_id IS 'The user';
COMMENT ON COLUMN sesari.user_workspaces.workspace_id IS 'The workspace';
CREATE INDEX idx_user_workspaces_workspace_id ON sesari.user_workspaces (workspace_id);

-- workspace_users ------------------------------------------------------------------------------

CREATE TABLE public.workspace_users (
    id text NOT NULL DEFAULT sesari.new_id(),
    user_id text NOT NULL,
    workspace_id text NOT NULL,
    role text NOT NULL DEFAULT 'member',
    joined_at timestamptz(3) NOT NULL DEFAULT date_trunc('milliseconds', statement_timestamp()),
    CONSTRAINT workspace_users_pkey PRIMARY KEY (workspace_id, id),
    CONSTRAINT workspace_users_workspace_id_user_id_key UNIQUE (workspace_id, user_id),
    CONSTRAINT workspace_users_workspace_id_fkey FOREIGN KEY (workspace_id)
        REFERENCES public.workspaces (id) ON DELETE CASCADE,
    CONSTRAINT workspace_users_workspace_id_user_id_fkey FOREIGN KEY (workspace_id, user_id)
        REFERENCES sesari.user_workspaces (workspace_id, user_id) ON DELETE CASCADE,
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
COMMENT ON COLUMN public.workspace_users.joined_at IS 'When the user joined; kept by a trigger';
CREATE INDEX idx_workspace_users_workspace_id ON public.workspace_users (workspace_id, joined_at, id);

SELECT sesari.forget_statistics('public.workspace_users');

CREATE FUNCTION sesari.note_user_workspace() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO sesari.user_workspaces (user_id, workspace_id) VALUES (NEW.user_id, NEW.workspace_id)
    ON CONFLICT (user_id, workspace_id) DO NOTHING;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sesari.note_user_workspace IS
    'Trigger: makes the row of user_workspaces that the membership hangs on';
-- After the row, since what is done before it is done before its policy is asked; and named so that it
-- fires before the check of the foreign key, which is called RI_ConstraintTrigger: they go by name.
CREATE TRIGGER "A_workspace_users_user" AFTER INSERT ON public.workspace_users
    FOR EACH ROW EXECUTE FUNCTION sesari.note_user_workspace();

-- memberships ----------------------------------------------------------------------------------

-- Where every policy finds whether the user of the context is a member. It is asked before it is known that
-- they are, so there is one key of one column: of two that begin with the workspace's id, the caller could
-- have the planner take the other, by way of the costs it goes by, and count that workspace's members.
CREATE TABLE sesari.memberships (
    member text COLLATE "C" NOT NULL,
    membership_id text NOT NULL,
    role text NOT NULL,
    CONSTRAINT memberships_pkey PRIMARY KEY (member)
);
COMMENT ON TABLE sesari.memberships IS 'The same as workspace_users, to be looked up by key; kept by a trigger';
COMMENT ON COLUMN sesari.memberships.member IS 'The ids of workspace and user, with a dot between them';
COMMENT ON COLUMN sesari.memberships.membership_id IS 'The membership''s id';
COMMENT ON COLUMN sesari.memberships.role IS 'owner, admin or member';

CREATE FUNCTION sesari.keep_memberships() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM sesari.memberships WHERE member = OLD.workspace_id || '.' || OLD.user_id;
    ELSE
        INSERT INTO sesari.memberships (member, membership_id, role)
        VALUES (NEW.workspace_id || '.' || NEW.user_id, NEW.id, NEW.role)
        ON CONFLICT (member) DO UPDATE SET membership_id = excluded.membership_id, role = excluded.role;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sesari.keep_memberships IS
    'Trigger: what policies look up is as the membership is';
CREATE TRIGGER workspace_users_memberships AFTER INSERT OR UPDATE OR DELETE ON public.workspace_users
    FOR EACH ROW EXECUTE FUNCTION sesari.keep_memberships();

CREATE TRIGGER workspace_users_times BEFORE INSERT OR UPDATE ON public.workspace_users
    FOR EACH ROW EXECUTE FUNCTION sesari.keep_times('workspace_users', 'joined_at');

-- Who is asking, and where ---------------------------------------------------------------------

-- These read as the owner, past policies: a policy that read the table it guards would recurse.

CREATE FUNCTION sesari.current_workspace_id() RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    context text[] := sesari.verified_context();
    asker text := context[5] || '.' || context[4];
BEGIN
    IF context[3] = 's' THEN
        RETURN nullif(context[5], '');
    END IF;
    PERFORM FROM sesari.memberships WHERE member = asker;
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
    asker text := context[5] || '.' || context[4];
    its_role text;
BEGIN
    IF context[3] = 's' THEN
        RETURN CASE WHEN context[5] <> '' THEN 'service' END;
    END IF;
    SELECT role INTO its_role FROM sesari.memberships WHERE member = asker;
    RETURN its_role;
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
    asker text := context[5] || '.' || context[4];
BEGIN
    IF context[3] = 's' THEN
        RETURN CASE WHEN 'service' = ANY (roles) THEN nullif(context[5], '') END;
    END IF;
    PERFORM FROM sesari.memberships WHERE member = asker AND role = ANY (roles);
    RETURN CASE WHEN FOUND THEN context[5] END;
END
$$;
COMMENT ON FUNCTION sesari.workspace_id_as IS
    'The current workspace, if its member''s role (or service) is among these. Policies ask for both at once: a statement could change the context between two questions';
GRANT EXECUTE ON FUNCTION sesari.workspace_id_as TO sesari_tenant;

ALTER TABLE public.workspace_users ALTER COLUMN workspace_id SET DEFAULT sesari.current_workspace_id();
ALTER TABLE sesari.workspace_slugs ALTER COLUMN workspace_id SET DEFAULT sesari.current_workspace_id();
ALTER TABLE sesari.user_workspaces ALTER COLUMN workspace_id SET DEFAULT sesari.current_workspace_id();

-- What is found by a user's id ------------------------------------------------------------------

-- Tenants do not read these tables by themselves: how many rows a condition of theirs passes over can be
-- counted, whatever the policy then hides. Here rows are found one by one, along keys that the context
-- gives, so that nobody else's are passed over. OFFSET 0 keeps each look-up one of its own: as a join, its
-- order would be the planner's choice, and the caller's, by way of settings.

CREATE FUNCTION sesari.my_profile()
RETURNS TABLE (id text, email text, name text, image text, created_at timestamptz, updated_at timestamptz)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    me text := sesari.signed_in_user_id();
BEGIN
    RETURN QUERY SELECT u.id, u.email, u.name, u.image, u.created_at, u.updated_at
                   FROM public.users AS u WHERE u.id = me;
END
$$;
COMMENT ON FUNCTION sesari.my_profile IS
    'The signed-in user, while no workspace is chosen; no row for anybody else';
GRANT EXECUTE ON FUNCTION sesari.my_profile TO sesari_tenant;

CREATE FUNCTION sesari.change_my_profile(
    changes_name boolean, new_name text, changes_image boolean, new_image text
) RETURNS TABLE (id text, email text, name text, image text, created_at timestamptz, updated_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    me text := sesari.signed_in_user_id();
BEGIN
    RETURN QUERY
        UPDATE public.users AS u
           SET name = CASE WHEN changes_name THEN new_name ELSE u.name END,
               image = CASE WHEN changes_image THEN new_image ELSE u.image END
         WHERE u.id = me
        RETURNING u.id, u.email, u.name, u.image, u.created_at, u.updated_at;
END
$$;
COMMENT ON FUNCTION sesari.change_my_profile IS
    'Changes name, picture or both of the signed-in user, while no workspace is chosen, and returns the row; no row for anybody else';
GRANT EXECUTE ON FUNCTION sesari.change_my_profile TO sesari_tenant;

CREATE FUNCTION sesari.my_workspaces(wanted_id text)
RETURNS TABLE (id text, name text, slug text, time_zone text, created_at timestamptz,
               updated_at timestamptz, role text, joined_at timestamptz)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_indexscan = on SET enable_indexonlyscan = on
AS $$
DECLARE
    me text := sesari.signed_in_user_id();
BEGIN
    -- One that is asked for is looked up as the asker's own: no condition names it to an index of all.
    RETURN QUERY
        SELECT w.id, w.name, w.slug, w.time_zone, w.created_at, w.updated_at, m.role, m.joined_at
          FROM (SELECT u.workspace_id FROM sesari.user_workspaces AS u WHERE u.user_id = me AND wanted_id IS NULL
                UNION ALL
                SELECT wanted_id WHERE wanted_id IS NOT NULL) AS l
         CROSS JOIN LATERAL (
               SELECT c.membership_id FROM sesari.memberships AS c
                WHERE c.member = l.workspace_id || '.' || me OFFSET 0) AS c
         CROSS JOIN LATERAL (
               SELECT m.workspace_id, m.role, m.joined_at FROM public.workspace_users AS m
                WHERE m.workspace_id = l.workspace_id AND m.id = c.membership_id OFFSET 0) AS m
         CROSS JOIN LATERAL (
               SELECT w.* FROM public.workspaces AS w WHERE w.id = m.workspace_id OFFSET 0) AS w;
END
$$;
COMMENT ON FUNCTION sesari.my_workspaces IS
    'The workspaces that the signed-in user is in, or the one of this id, while none is chosen; no row for anybody else';
GRANT EXECUTE ON FUNCTION sesari.my_workspaces TO sesari_tenant;

CREATE FUNCTION sesari.member_profiles(wanted_ids text[])
RETURNS TABLE (user_id text, email text, name text, image text)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    workspace text := sesari.current_workspace_id();
BEGIN
    RETURN QUERY
        SELECT m.user_id, u.email, u.name, u.image
          FROM unnest(wanted_ids) AS asked (user_id)
         CROSS JOIN LATERAL (
               SELECT m.user_id FROM public.workspace_users AS m
                WHERE m.workspace_id = workspace AND m.user_id = asked.user_id OFFSET 0) AS m
         CROSS JOIN LATERAL (
               SELECT u.email, u.name, u.image FROM public.users AS u WHERE u.id = m.user_id OFFSET 0) AS u;
END
$$;
COMMENT ON FUNCTION sesari.member_profiles IS
    'What members may know of each other, of those among these users who are in the current workspace';
GRANT EXECUTE ON FUNCTION sesari.member_profiles TO sesari_tenant;

CREATE FUNCTION sesari.create_workspace(
    new_workspace_id text, new_membership_id text, new_name text, new_slug text, new_time_zone text DEFAULT 'Etc/UTC'
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
    INSERT INTO public.workspaces (id, name, slug, time_zone)
    VALUES (new_workspace_id, new_name, new_slug, new_time_zone) RETURNING * INTO created;
    INSERT INTO public.workspace_users (id, user_id, workspace_id, role)
    VALUES (new_membership_id, creator, created.id, 'owner');
    RETURN created;
END
$$;
COMMENT ON FUNCTION sesari.create_workspace IS
    'Makes a workspace with the signed-in user as its owner. The only way to make one';
GRANT EXECUTE ON FUNCTION sesari.create_workspace TO sesari_tenant;

-- The last owner stays -------------------------------------------------------------------------

CREATE FUNCTION sesari.require_owner() RETURNS trigger
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
COMMENT ON FUNCTION sesari.require_owner IS
    'Trigger: the last owner of a workspace can neither leave nor be demoted, whoever races';
CREATE TRIGGER workspace_users_last_owner_delete BEFORE DELETE ON public.workspace_users
    FOR EACH ROW WHEN (OLD.role = 'owner') EXECUTE FUNCTION sesari.require_owner();
CREATE TRIGGER workspace_users_last_owner_update BEFORE UPDATE ON public.workspace_users
    FOR EACH ROW WHEN (OLD.role = 'owner' AND NEW.role <> 'owner')
    EXECUTE FUNCTION sesari.require_owner();
CREATE TRIGGER workspace_users_key BEFORE UPDATE ON public.workspace_users
    FOR EACH ROW WHEN (OLD.workspace_id IS DISTINCT FROM NEW.workspace_id
        OR OLD.id IS DISTINCT FROM NEW.id OR OLD.user_id IS DISTINCT FROM NEW.user_id)
    EXECUTE FUNCTION sesari.refuse_change('workspace_users', 'workspace_users_key_immutable');

-- Policies -------------------------------------------------------------------------------------

ALTER TABLE public.users ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.users FORCE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.users TO sesari_service;
CREATE POLICY users_service_select ON public.users FOR SELECT TO sesari_service
    USING ((SELECT sesari.current_service()) IS NOT NULL);
CREATE POLICY users_service_insert ON public.users FOR INSERT TO sesari_service
    WITH CHECK ((SELECT sesari.current_service()) IS NOT NULL);
CREATE POLICY users_service_update ON public.users FOR UPDATE TO sesari_service
    USING ((SELECT sesari.current_service()) IS NOT NULL)
    WITH CHECK ((SELECT sesari.current_service()) IS NOT NULL);
CREATE POLICY users_service_delete ON public.users FOR DELETE TO sesari_service
    USING ((SELECT sesari.current_service()) IS NOT NULL);
-- The owner's policies serve the functions above and no login: nobody may be a member of the role.
CREATE POLICY users_owner_select ON public.users FOR SELECT TO sesari_owner USING (true);
CREATE POLICY users_owner_update ON public.users FOR UPDATE TO sesari_owner
    USING (true) WITH CHECK (true);

ALTER TABLE public.workspaces ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.workspaces FORCE ROW LEVEL SECURITY;
GRANT SELECT, UPDATE, DELETE ON public.workspaces TO sesari_tenant;
CREATE POLICY workspaces_tenant_select ON public.workspaces FOR SELECT TO sesari_tenant
    USING ((SELECT sesari.key_of(sesari.current_workspace_id()))[id] IS NOT NULL
           AND id = (SELECT sesari.current_workspace_id()));
CREATE POLICY workspaces_tenant_update ON public.workspaces FOR UPDATE TO sesari_tenant
    USING (id = (SELECT sesari.workspace_id_as('{owner,admin}')))
    WITH CHECK (id = (SELECT sesari.workspace_id_as('{owner,admin}')));
CREATE POLICY workspaces_tenant_delete ON public.workspaces FOR DELETE TO sesari_tenant
    USING (id = (SELECT sesari.workspace_id_as('{owner}')));
CREATE POLICY workspaces_owner_select ON public.workspaces FOR SELECT TO sesari_owner USING (true);
CREATE POLICY workspaces_owner_insert ON public.workspaces FOR INSERT TO sesari_owner WITH CHECK (true);
CREATE POLICY workspaces_owner_update ON public.workspaces FOR UPDATE TO sesari_owner
    USING (true) WITH CHECK (true);

ALTER TABLE public.workspace_users ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.workspace_users FORCE ROW LEVEL SECURITY;
-- Nobody is made a member without having agreed: rows come from functions alone.
GRANT SELECT, UPDATE, DELETE ON public.workspace_users TO sesari_tenant;
CREATE POLICY workspace_users_tenant_select ON public.workspace_users FOR SELECT TO sesari_tenant
    USING ((SELECT sesari.key_of(sesari.current_workspace_id()))[workspace_id] IS NOT NULL
           AND workspace_id = (SELECT sesari.current_workspace_id()));
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


-- The plans of functions are estimated from these, and a server prints plans to whoever asks it to.
SELECT sesari.forget_statistics(name)
  FROM unnest('{public.users,sesari.workspace_slugs,sesari.user_workspaces,sesari.memberships}'::regclass[]) AS name;

RESET ROLE;
