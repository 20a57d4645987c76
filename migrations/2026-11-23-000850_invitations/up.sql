-- Membership by consent: invitations, the services' way to add a member, and leaving with a heir.
SET LOCAL ROLE sesari_owner;

-- invitations ----------------------------------------------------------------------------------

CREATE TABLE public.invitations (
    id text NOT NULL DEFAULT sesari.new_id(),
    workspace_id text NOT NULL DEFAULT sesari.current_workspace_id(),
    email text NOT NULL,
    role text NOT NULL,
    invited_by text NOT NULL,
    created_at timestamptz(3) NOT NULL DEFAULT date_trunc('milliseconds', statement_timestamp()),
    expires_at timestamptz(3) NOT NULL,
    resent_at timestamptz(3),
    revoked_at timestamptz(3),
    declined_at timestamptz(3),
    accepted_at timestamptz(3),
    accepted_by text,
    CONSTRAINT invitations_pkey PRIMARY KEY (workspace_id, id),
    CONSTRAINT invitations_workspace_id_fkey FOREIGN KEY (workspace_id)
        REFERENCES public.workspaces (id) ON DELETE CASCADE,
    CONSTRAINT invitations_id_check CHECK (id ~ '^[a-z][a-z0-9]{1,31}$'),
    CONSTRAINT invitations_email_check CHECK (octet_length(email) <= 254
        AND sesari.is_text(email, 'mailbox')
        AND email ~ '^[^@]+@[a-z0-9]+(-+[a-z0-9]+)*(\.[a-z0-9]+(-+[a-z0-9]+)*)*$'),
    CONSTRAINT invitations_role_check CHECK (role IN ('owner', 'admin', 'member')),
    CONSTRAINT invitations_created_at_check CHECK (
        created_at >= '0001-01-01 00:00:00+00' AND created_at < '10000-01-01 00:00:00+00'),
    CONSTRAINT invitations_expires_at_check CHECK (
        expires_at >= '0001-01-01 00:00:00+00' AND expires_at < '10000-01-01 00:00:00+00'),
    CONSTRAINT invitations_resent_at_check CHECK (
        resent_at >= '0001-01-01 00:00:00+00' AND resent_at < '10000-01-01 00:00:00+00'),
    CONSTRAINT invitations_revoked_at_check CHECK (
        revoked_at >= '0001-01-01 00:00:00+00' AND revoked_at < '10000-01-01 00:00:00+00'),
    CONSTRAINT invitations_declined_at_check CHECK (
        declined_at >= '0001-01-01 00:00:00+00' AND declined_at < '10000-01-01 00:00:00+00'),
    CONSTRAINT invitations_accepted_at_check CHECK (
        accepted_at >= '0001-01-01 00:00:00+00' AND accepted_at < '10000-01-01 00:00:00+00')
);
COMMENT ON TABLE public.invitations IS 'Who was asked to join a workspace, as what; the tokens are elsewhere';
COMMENT ON COLUMN public.invitations.id IS 'CUID, unique within the workspace';
COMMENT ON COLUMN public.invitations.workspace_id IS 'The workspace; by default the one of the context';
COMMENT ON COLUMN public.invitations.email IS 'Address of whoever may accept, normalized as those of users';
COMMENT ON COLUMN public.invitations.role IS 'owner, admin or member: what the invited becomes';
COMMENT ON COLUMN public.invitations.invited_by IS
    'User who sent it last, and must still have the right to when it is accepted. No foreign key: it outlives the membership';
COMMENT ON COLUMN public.invitations.created_at IS 'When the row was made; kept by a trigger';
COMMENT ON COLUMN public.invitations.expires_at IS 'Until when it can be accepted';
COMMENT ON COLUMN public.invitations.resent_at IS 'When it was last sent again, with a new token';
COMMENT ON COLUMN public.invitations.revoked_at IS 'When the workspace took it back';
COMMENT ON COLUMN public.invitations.declined_at IS 'When the invited declined';
COMMENT ON COLUMN public.invitations.accepted_at IS 'When the invited accepted';
COMMENT ON COLUMN public.invitations.accepted_by IS 'Who accepted. No foreign key: it outlives the user';
CREATE INDEX idx_invitations_workspace_id ON public.invitations (workspace_id, created_at, id);
-- One open invitation for an address, whoever races.
CREATE UNIQUE INDEX idx_invitations_workspace_id_email ON public.invitations (workspace_id, email)
    WHERE revoked_at IS NULL AND declined_at IS NULL AND accepted_at IS NULL;


CREATE TRIGGER invitations_times BEFORE INSERT OR UPDATE ON public.invitations
    FOR EACH ROW EXECUTE FUNCTION sesari.keep_times('invitations', 'created_at');
-- The address is in the row and not in the log, which is kept for longer.
CREATE TRIGGER invitations_audit AFTER INSERT OR DELETE ON public.invitations
    FOR EACH ROW EXECUTE FUNCTION sesari.audit(
        'invitations', 'invitation.create', '', 'invitation.delete', '', 'email');
CREATE TRIGGER invitations_audit_resend AFTER UPDATE ON public.invitations
    FOR EACH ROW WHEN (OLD.resent_at IS DISTINCT FROM NEW.resent_at)
    EXECUTE FUNCTION sesari.audit('invitations', '', 'invitation.resend', '', '', 'email');
CREATE TRIGGER invitations_audit_revoke AFTER UPDATE ON public.invitations
    FOR EACH ROW WHEN (OLD.revoked_at IS DISTINCT FROM NEW.revoked_at)
    EXECUTE FUNCTION sesari.audit('invitations', '', 'invitation.revoke', '', '', 'email');
CREATE TRIGGER invitations_audit_decline AFTER UPDATE ON public.invitations
    FOR EACH ROW WHEN (OLD.declined_at IS DISTINCT FROM NEW.declined_at)
    EXECUTE FUNCTION sesari.audit('invitations', '', 'invitation.decline', '', '', 'email');
CREATE TRIGGER invitations_audit_accept AFTER UPDATE ON public.invitations
    FOR EACH ROW WHEN (OLD.accepted_at IS DISTINCT FROM NEW.accepted_at)
    EXECUTE FUNCTION sesari.audit('invitations', '', 'invitation.accept', '', '', 'email');

SELECT sesari.protect_table('public.invitations', may_select => '{owner,admin}',
    may_insert => NULL, may_update => NULL, may_delete => NULL,
    fixed => '{workspace_id,id,email,role,created_at}');
-- Written by the functions below alone.
CREATE POLICY invitations_owner_select ON public.invitations FOR SELECT TO sesari_owner USING (true);
CREATE POLICY invitations_owner_insert ON public.invitations FOR INSERT TO sesari_owner WITH CHECK (true);
CREATE POLICY invitations_owner_update ON public.invitations FOR UPDATE TO sesari_owner
    USING (true) WITH CHECK (true);

-- Apart from the invitations, since nobody may read a hash. The hash is part of the key: a look-up with
-- another token passes over no row, so that counters tell no more than the answer.
CREATE TABLE sesari.invitation_tokens (
    workspace_id text NOT NULL DEFAULT sesari.current_workspace_id(),
    invitation_id text NOT NULL,
    token_hash bytea NOT NULL,
    CONSTRAINT invitation_tokens_pkey PRIMARY KEY (workspace_id, invitation_id, token_hash),
    CONSTRAINT invitation_tokens_workspace_id_invitation_id_fkey FOREIGN KEY (workspace_id, invitation_id)
        REFERENCES public.invitations (workspace_id, id) ON DELETE CASCADE,
    CONSTRAINT invitation_tokens_token_hash_check CHECK (octet_length(token_hash) = 32)
);
COMMENT ON TABLE sesari.invitation_tokens IS 'The token of each invitation, as its hash';
COMMENT ON COLUMN sesari.invitation_tokens.workspace_id IS 'The workspace';
COMMENT ON COLUMN sesari.invitation_tokens.invitation_id IS 'The invitation';
COMMENT ON COLUMN sesari.invitation_tokens.token_hash IS 'SHA-256 of the token''s 32 random bytes';

-- Inviting -------------------------------------------------------------------------------------

-- Nothing here looks for a user by address: who invites must not learn who has an account.

CREATE FUNCTION sesari.invitation_expiry(valid_for interval) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF coalesce(valid_for NOT BETWEEN '1 minute' AND '30 days', true) THEN
        RAISE check_violation USING
            MESSAGE = 'an invitation is valid for 1 minute to 30 days',
            CONSTRAINT = 'invitations_expires_at_check';
    END IF;
    RETURN date_trunc('milliseconds', statement_timestamp()) + valid_for;
END
$$;
COMMENT ON FUNCTION sesari.invitation_expiry IS 'When an invitation sent now expires';

-- The workspace's lock makes invitations of one workspace wait for each other.
CREATE FUNCTION sesari.reserve_invitation(workspace text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM FROM public.workspaces WHERE id = workspace FOR NO KEY UPDATE;
    IF (SELECT count(*) FROM public.invitations
         WHERE workspace_id = workspace AND expires_at > statement_timestamp()
           AND revoked_at IS NULL AND declined_at IS NULL AND accepted_at IS NULL) >= 1000 THEN
        RAISE check_violation USING
            MESSAGE = 'the workspace has 1000 open invitations: revoke some',
            CONSTRAINT = 'invitations_too_many';
    END IF;
END
$$;
COMMENT ON FUNCTION sesari.reserve_invitation IS
    'Refuses one open invitation too many, and holds the workspace''s lock for the one to come';

CREATE FUNCTION sesari.create_invitation(
    new_id text, new_email text, new_role text, valid_for interval, token bytea
) RETURNS SETOF public.invitations
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    workspace text := sesari.workspace_id_as(
        CASE WHEN new_role IN ('admin', 'member') THEN '{owner,admin}' ELSE '{owner}' END::text[]);
    expiry timestamptz := sesari.invitation_expiry(valid_for);
BEGIN
    IF workspace IS NULL THEN
        RAISE insufficient_privilege USING
            MESSAGE = 'permission denied: only owners and admins invite, and only an owner invites an owner';
    END IF;
    PERFORM sesari.reserve_invitation(workspace);
    -- One that has expired makes room.
    UPDATE public.invitations SET revoked_at = date_trunc('milliseconds', statement_timestamp())
     WHERE workspace_id = workspace AND email = new_email AND expires_at <= statement_timestamp()
       AND revoked_at IS NULL AND declined_at IS NULL AND accepted_at IS NULL;
    RETURN QUERY
        INSERT INTO public.invitations (id, workspace_id, email, role, invited_by, expires_at)
        VALUES (new_id, workspace, new_email, new_role, sesari.current_user_id(), expiry)
        RETURNING *;
    INSERT INTO sesari.invitation_tokens (workspace_id, invitation_id, token_hash)
    VALUES (workspace, new_id, sha256(token));
EXCEPTION WHEN unique_violation THEN
    RAISE check_violation USING
        MESSAGE = 'there is an open invitation for this address: resend or revoke it',
        CONSTRAINT = 'invitations_open';
END
$$;
COMMENT ON FUNCTION sesari.create_invitation IS
    'Invites an address to the current workspace, for its owners and admins; an owner only by an owner';
GRANT EXECUTE ON FUNCTION sesari.create_invitation TO sesari_tenant;

-- The row that may be resent or revoked, locked; no row when there is none for this actor.
CREATE FUNCTION sesari.invitation_to_manage(wanted_id text) RETURNS public.invitations
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    workspace text := sesari.workspace_id_as('{owner,admin}');
    is_owner boolean := sesari.workspace_id_as('{owner}') IS NOT NULL;
    invitation public.invitations;
BEGIN
    SELECT * INTO invitation FROM public.invitations
     WHERE workspace_id = workspace AND id = wanted_id AND (role <> 'owner' OR is_owner) FOR UPDATE;
    PERFORM sesari.refuse_closed_invitation(invitation);
    RETURN invitation;
END
$$;
COMMENT ON FUNCTION sesari.invitation_to_manage IS
    'An invitation that the actor may resend or revoke, locked, or null. Internal';

CREATE FUNCTION sesari.refuse_closed_invitation(invitation public.invitations) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF invitation.accepted_at IS NOT NULL THEN
        RAISE check_violation USING
            MESSAGE = 'the invitation was accepted', CONSTRAINT = 'invitations_accepted';
    ELSIF invitation.declined_at IS NOT NULL THEN
        RAISE check_violation USING
            MESSAGE = 'the invitation was declined', CONSTRAINT = 'invitations_declined';
    ELSIF invitation.revoked_at IS NOT NULL THEN
        RAISE check_violation USING
            MESSAGE = 'the invitation was revoked', CONSTRAINT = 'invitations_revoked';
    END IF;
END
$$;
COMMENT ON FUNCTION sesari.refuse_closed_invitation IS
    'Refuses an invitation that was accepted, declined or revoked. Internal';

CREATE FUNCTION sesari.resend_invitation(wanted_id text, valid_for interval, token bytea)
RETURNS SETOF public.invitations
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    invitation public.invitations := sesari.invitation_to_manage(wanted_id);
    expiry timestamptz := sesari.invitation_expiry(valid_for);
BEGIN
    IF invitation.id IS NULL THEN
        RETURN;
    END IF;
    IF invitation.expires_at <= statement_timestamp() THEN
        PERFORM sesari.reserve_invitation(invitation.workspace_id);
    END IF;
    -- Whoever resends it answers for it from now on.
    RETURN QUERY
        UPDATE public.invitations AS i
           SET invited_by = sesari.current_user_id(), expires_at = expiry, resent_at = date_trunc('milliseconds', statement_timestamp())
         WHERE i.workspace_id = invitation.workspace_id AND i.id = invitation.id
        RETURNING i.*;
    UPDATE sesari.invitation_tokens AS t SET token_hash = sha256(token)
     WHERE t.workspace_id = invitation.workspace_id AND t.invitation_id = invitation.id;
END
$$;
COMMENT ON FUNCTION sesari.resend_invitation IS
    'Gives an invitation of the current workspace a new token and expiry; the old token dies. No row when there is none for this actor';
GRANT EXECUTE ON FUNCTION sesari.resend_invitation TO sesari_tenant;

CREATE FUNCTION sesari.revoke_invitation(wanted_id text) RETURNS SETOF public.invitations
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    invitation public.invitations := sesari.invitation_to_manage(wanted_id);
BEGIN
    RETURN QUERY
        UPDATE public.invitations AS i SET revoked_at = date_trunc('milliseconds', statement_timestamp())
         WHERE i.workspace_id = invitation.workspace_id AND i.id = invitation.id
        RETURNING i.*;
END
$$;
COMMENT ON FUNCTION sesari.revoke_invitation IS
    'Takes an invitation of the current workspace back. No row when there is none for this actor';
GRANT EXECUTE ON FUNCTION sesari.revoke_invitation TO sesari_tenant;

-- Being invited --------------------------------------------------------------------------------

-- Says why not only to somebody who has the token. Without it, no invitation, another token, a workspace
-- that is no more: all the same.
CREATE FUNCTION sesari.invitation_to_answer(
    workspace text, wanted_id text, token bytea, to_change boolean
) RETURNS public.invitations
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
-- Along the key, whatever the caller has set: a scan would pass over other workspaces' rows.
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_indexscan = on SET enable_indexonlyscan = on
AS $$
DECLARE
    me text := sesari.signed_in_user_id();
    hash bytea := sha256(token);
    invitation public.invitations;
BEGIN
    IF me IS NULL THEN
        RAISE insufficient_privilege USING
            MESSAGE = 'permission denied: only a signed-in user outside of any workspace answers an invitation';
    END IF;
    PERFORM FROM sesari.invitation_tokens AS t
      WHERE t.workspace_id = workspace AND t.invitation_id = wanted_id AND t.token_hash = hash;
    IF FOUND AND to_change THEN
        PERFORM FROM public.invitations AS i
          WHERE i.workspace_id = workspace AND i.id = wanted_id FOR UPDATE;
        -- It may have been resent while this waited.
        PERFORM FROM sesari.invitation_tokens AS t
          WHERE t.workspace_id = workspace AND t.invitation_id = wanted_id AND t.token_hash = hash;
    END IF;
    IF NOT FOUND THEN
        RAISE check_violation USING
            MESSAGE = 'there is no invitation with this token', CONSTRAINT = 'invitations_unknown';
    END IF;
    SELECT * INTO invitation FROM public.invitations AS i
     WHERE i.workspace_id = workspace AND i.id = wanted_id;
    PERFORM FROM public.users AS u WHERE u.id = me AND u.email = invitation.email;
    IF NOT FOUND THEN
        RAISE check_violation USING
            MESSAGE = 'the invitation is for another address than the user''s',
            CONSTRAINT = 'invitations_wrong_user';
    END IF;
    PERFORM sesari.refuse_closed_invitation(invitation);
    IF invitation.expires_at <= statement_timestamp() THEN
        RAISE check_violation USING
            MESSAGE = 'the invitation has expired', CONSTRAINT = 'invitations_expired';
    END IF;
    RETURN invitation;
END
$$;
COMMENT ON FUNCTION sesari.invitation_to_answer IS
    'The open invitation of this token, if it is the signed-in user''s; locked if it is to change. Internal';

CREATE FUNCTION sesari.look_at_invitation(workspace text, wanted_id text, token bytea)
RETURNS TABLE (workspace_name text, role text, inviter_name text, expires_at timestamptz)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    invitation public.invitations := sesari.invitation_to_answer(workspace, wanted_id, token, false);
BEGIN
    RETURN QUERY
        SELECT w.name, invitation.role,
               (SELECT u.name FROM public.users AS u WHERE u.id = invitation.invited_by),
               invitation.expires_at
          FROM public.workspaces AS w WHERE w.id = invitation.workspace_id;
END
$$;
COMMENT ON FUNCTION sesari.look_at_invitation IS
    'What the signed-in user is invited to, for whoever has the token and the address';
GRANT EXECUTE ON FUNCTION sesari.look_at_invitation TO sesari_tenant;

CREATE FUNCTION sesari.accept_invitation(
    workspace text, wanted_id text, token bytea, new_membership_id text
) RETURNS SETOF public.workspace_users
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    invitation public.invitations := sesari.invitation_to_answer(workspace, wanted_id, token, true);
    me text := sesari.signed_in_user_id();
BEGIN
    -- Locked: whoever demotes or removes the inviter now waits, and comes after.
    PERFORM FROM public.workspace_users AS m
      WHERE m.workspace_id = invitation.workspace_id AND m.user_id = invitation.invited_by
        AND (m.role = 'owner' OR m.role = 'admin' AND invitation.role <> 'owner') FOR SHARE;
    IF NOT FOUND THEN
        RAISE check_violation USING
            MESSAGE = 'whoever sent the invitation may not invite to this role any more',
            CONSTRAINT = 'invitations_inviter';
    END IF;
    UPDATE public.invitations AS i SET accepted_at = date_trunc('milliseconds', statement_timestamp()), accepted_by = me
     WHERE i.workspace_id = invitation.workspace_id AND i.id = invitation.id;
    RETURN QUERY
        INSERT INTO public.workspace_users (id, workspace_id, user_id, role)
        VALUES (new_membership_id, invitation.workspace_id, me, invitation.role)
        RETURNING *;
EXCEPTION WHEN unique_violation THEN
    RAISE check_violation USING
        MESSAGE = 'the user is a member of the workspace already',
        CONSTRAINT = 'invitations_already_member';
END
$$;
COMMENT ON FUNCTION sesari.accept_invitation IS
    'Makes the signed-in user a member, once, by the token of an invitation to the user''s address';
GRANT EXECUTE ON FUNCTION sesari.accept_invitation TO sesari_tenant;

CREATE FUNCTION sesari.decline_invitation(workspace text, wanted_id text, token bytea) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    invitation public.invitations := sesari.invitation_to_answer(workspace, wanted_id, token, true);
BEGIN
    UPDATE public.invitations AS i SET declined_at = date_trunc('milliseconds', statement_timestamp())
     WHERE i.workspace_id = invitation.workspace_id AND i.id = invitation.id;
END
$$;
COMMENT ON FUNCTION sesari.decline_invitation IS
    'Closes an invitation to the signed-in user''s address, by its token';
GRANT EXECUTE ON FUNCTION sesari.decline_invitation TO sesari_tenant;

-- Services -------------------------------------------------------------------------------------

CREATE FUNCTION sesari.require_service() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF sesari.current_service() IS NULL THEN
        RAISE insufficient_privilege USING
            MESSAGE = 'permission denied: only a service outside of any workspace may';
    END IF;
END
$$;
COMMENT ON FUNCTION sesari.require_service IS
    'Refuses everybody but a service outside of any workspace. Internal';

CREATE FUNCTION sesari.add_member(new_id text, workspace text, member text, new_role text)
RETURNS SETOF public.workspace_users
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM sesari.require_service();
    RETURN QUERY
        INSERT INTO public.workspace_users (id, workspace_id, user_id, role)
        VALUES (new_id, workspace, member, new_role)
        RETURNING *;
END
$$;
COMMENT ON FUNCTION sesari.add_member IS
    'Makes a user a member without an invitation, for services that have the user''s consent';
GRANT EXECUTE ON FUNCTION sesari.add_member TO sesari_service;

-- For the functions below, which run as the owner.
CREATE POLICY workspaces_owner_delete ON public.workspaces FOR DELETE TO sesari_owner USING (true);
CREATE POLICY workspace_users_owner_delete ON public.workspace_users FOR DELETE TO sesari_owner USING (true);
CREATE POLICY users_owner_delete ON public.users FOR DELETE TO sesari_owner USING (true);

CREATE FUNCTION sesari.delete_ownerless_workspace(workspace text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM sesari.require_service();
    PERFORM FROM public.workspaces AS w WHERE w.id = workspace FOR UPDATE;
    DELETE FROM public.workspaces AS w
     WHERE w.id = workspace AND NOT EXISTS (
           SELECT FROM public.workspace_users AS m WHERE m.workspace_id = workspace AND m.role = 'owner');
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION sesari.delete_ownerless_workspace IS
    'Deletes a workspace that nobody owns, for services. False when it has an owner or is none';
GRANT EXECUTE ON FUNCTION sesari.delete_ownerless_workspace TO sesari_service;

CREATE FUNCTION sesari.sole_ownerships(
    owner text, after_joined_at timestamptz, after_workspace text, how_many integer
) RETURNS TABLE (workspace_id text, name text, joined_at timestamptz)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
BEGIN
    PERFORM sesari.require_service();
    RETURN QUERY
        SELECT w.id, w.name, m.joined_at
          FROM sesari.user_workspaces AS l
          JOIN public.workspace_users AS m ON m.workspace_id = l.workspace_id AND m.user_id = l.user_id
          JOIN public.workspaces AS w ON w.id = l.workspace_id
         WHERE l.user_id = owner AND m.role = 'owner'
           AND (after_workspace IS NULL OR (m.joined_at, m.workspace_id) > (after_joined_at, after_workspace))
           AND NOT EXISTS (SELECT FROM public.workspace_users AS o
                            WHERE o.workspace_id = m.workspace_id AND o.role = 'owner' AND o.id <> m.id)
         ORDER BY m.joined_at, m.workspace_id LIMIT how_many;
END
$$;
COMMENT ON FUNCTION sesari.sole_ownerships IS
    'Workspaces that nobody but this user owns, in the order of joining, after a place in it, for services';
GRANT EXECUTE ON FUNCTION sesari.sole_ownerships TO sesari_service;

-- A decision is a workspace and its heir, or no heir where the workspace is to go. It counts only where
-- nobody else owns the workspace when this comes to it.
CREATE FUNCTION sesari.undecided_workspaces(leaver text, workspaces text[], heirs text[])
RETURNS SETOF text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
BEGIN
    RETURN QUERY
        SELECT m.workspace_id
          FROM sesari.user_workspaces AS l
          JOIN public.workspace_users AS m ON m.workspace_id = l.workspace_id AND m.user_id = l.user_id
         WHERE l.user_id = leaver AND m.role = 'owner'
           AND NOT EXISTS (SELECT FROM public.workspace_users AS o
                            WHERE o.workspace_id = m.workspace_id AND o.role = 'owner' AND o.id <> m.id)
           AND NOT EXISTS (SELECT FROM ROWS FROM (unnest(workspaces), unnest(heirs)) AS d (workspace, heir)
                            WHERE d.workspace = m.workspace_id
                              AND (d.heir IS NULL OR d.heir <> leaver AND EXISTS (
                                   SELECT FROM public.workspace_users AS h
                                    WHERE h.workspace_id = m.workspace_id AND h.user_id = d.heir)))
         ORDER BY m.workspace_id;
END
$$;
COMMENT ON FUNCTION sesari.undecided_workspaces IS
    'Workspaces that nobody but this user owns, without a decision or with a heir who is no member. Internal';

CREATE FUNCTION sesari.leave_workspaces(
    leaver text, workspaces text[], heirs text[], how_many integer, OUT departures bigint, OUT undecided text[])
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
DECLARE
    leaving text[];
    left_one text;
BEGIN
    PERFORM sesari.require_service();
    IF coalesce(how_many NOT BETWEEN 1 AND 500, true) OR cardinality(workspaces) <> cardinality(heirs) THEN
        RAISE invalid_parameter_value USING MESSAGE = 'expected 1 to 500 workspaces, and a heir or null for each decision';
    END IF;
    leaving := ARRAY(
        SELECT l.workspace_id
          FROM sesari.user_workspaces AS l
          JOIN public.workspace_users AS m ON m.workspace_id = l.workspace_id AND m.user_id = l.user_id
         WHERE l.user_id = leaver ORDER BY l.workspace_id LIMIT how_many);
    -- Locked in one order, and memberships before workspaces, as an owner who leaves does.
    PERFORM FROM public.workspace_users AS m
      WHERE m.workspace_id = ANY (leaving)
        AND (m.user_id = leaver OR EXISTS (
             SELECT FROM ROWS FROM (unnest(workspaces), unnest(heirs)) AS d (workspace, heir)
              WHERE d.workspace = m.workspace_id AND d.heir = m.user_id))
      ORDER BY m.workspace_id, m.user_id FOR UPDATE;
    PERFORM FROM public.workspaces AS w
      WHERE w.id = ANY (leaving) AND EXISTS (
            SELECT FROM public.workspace_users AS m
             WHERE m.workspace_id = w.id AND m.user_id = leaver AND m.role = 'owner')
      ORDER BY w.id FOR NO KEY UPDATE;
    -- From here on no owner of these goes, and no heir. All of the user's workspaces are looked at, so that
    -- nothing is done before everything is decided.
    undecided := ARRAY(SELECT u FROM sesari.undecided_workspaces(leaver, workspaces, heirs) AS u LIMIT 1000);
    departures := 0;
    IF undecided <> '{}' THEN
        RETURN;
    END IF;
    FOREACH left_one IN ARRAY leaving LOOP
        IF EXISTS (SELECT FROM public.workspace_users AS m
                    WHERE m.workspace_id = left_one AND m.user_id = leaver AND m.role = 'owner')
           AND NOT EXISTS (SELECT FROM public.workspace_users AS o
                            WHERE o.workspace_id = left_one AND o.user_id <> leaver AND o.role = 'owner') THEN
            UPDATE public.workspace_users AS h SET role = 'owner'
              FROM ROWS FROM (unnest(workspaces), unnest(heirs)) AS d (workspace, heir)
             WHERE d.workspace = left_one AND h.workspace_id = left_one AND h.user_id = d.heir;
            DELETE FROM public.workspaces AS w
             USING ROWS FROM (unnest(workspaces), unnest(heirs)) AS d (workspace, heir)
             WHERE w.id = left_one AND d.workspace = left_one AND d.heir IS NULL;
        END IF;
        DELETE FROM public.workspace_users AS m WHERE m.workspace_id = left_one AND m.user_id = leaver;
    END LOOP;
    departures := cardinality(leaving);
END
$$;
COMMENT ON FUNCTION sesari.leave_workspaces IS
    'Takes a user out of up to so many workspaces, for services. Each that nobody else owns goes to the heir decided on, or goes; undecided ones are returned, up to 1000, and then nothing is done';
GRANT EXECUTE ON FUNCTION sesari.leave_workspaces TO sesari_service;

CREATE FUNCTION sesari.delete_user(
    leaver text, workspaces text[], heirs text[], OUT is_deleted boolean, OUT undecided text[])
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
BEGIN
    PERFORM sesari.require_service();
    -- Locked: nobody makes the user a member while this goes on.
    PERFORM FROM public.users AS u WHERE u.id = leaver FOR UPDATE;
    IF (SELECT count(*)
          FROM (SELECT FROM sesari.user_workspaces AS l
                  JOIN public.workspace_users AS m ON m.workspace_id = l.workspace_id AND m.user_id = l.user_id
                 WHERE l.user_id = leaver LIMIT 501) AS m) > 500 THEN
        RAISE check_violation USING
            MESSAGE = 'the user is in more than 500 workspaces: leave_workspaces first',
            CONSTRAINT = 'users_too_many_memberships';
    END IF;
    SELECT l.undecided INTO undecided FROM sesari.leave_workspaces(leaver, workspaces, heirs, 500) AS l;
    is_deleted := false;
    IF undecided = '{}' THEN
        DELETE FROM public.users AS u WHERE u.id = leaver;
        is_deleted := FOUND;
    END IF;
END
$$;
COMMENT ON FUNCTION sesari.delete_user IS
    'Deletes a user of at most 500 workspaces, for services, after leave_workspaces; undecided ones are returned, up to 1000, and then nothing is done';
GRANT EXECUTE ON FUNCTION sesari.delete_user TO sesari_service;


-- The plans of functions are estimated from these, and a server prints plans to whoever asks it to.
SELECT sesari.forget_statistics('sesari.invitation_tokens');

RESET ROLE;
