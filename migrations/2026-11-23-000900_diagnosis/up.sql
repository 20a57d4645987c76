-- Why a user sees nothing, for operators. A tenant cannot ask.
SET LOCAL ROLE sesari_owner;

-- For the function below, which runs as the owner.
CREATE POLICY goal_kpis_owner_select ON public.goal_kpis FOR SELECT TO sesari_owner USING (true);
CREATE POLICY kpi_targets_owner_select ON public.kpi_targets FOR SELECT TO sesari_owner USING (true);

CREATE FUNCTION sesari.diagnose(
    asked_user text, asked_workspace text, asked_table text, asked_row text, asked_verb text
) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    anybody text[] := ARRAY['owner', 'admin', 'member'];
    managers text[] := ARRAY['owner', 'admin'];
    nobody text[] := ARRAY[]::text[];
    target regclass;
    allowed text[];
    member_role text;
    workspace_column text := CASE asked_table WHEN 'workspaces' THEN 'id' ELSE 'workspace_id' END;
    row_column text := CASE WHEN asked_table IN ('kpi_data_points', 'kpi_packed_points', 'kpi_rollups', 'kpi_targets') THEN 'kpi_id' ELSE 'id' END;
    is_here boolean;
    is_elsewhere boolean;
    is_deleted boolean := false;
BEGIN
    IF sesari.current_service() IS NULL THEN
        RETURN NULL;
    END IF;
    -- Who may, as the tenants' policy for the verb says: the roles that it asks for, or everybody in the
    -- workspace. An idempotency key is its actor's own, and no question of roles.
    SELECT c.oid, CASE WHEN count(p.oid) = 0 THEN nobody
                       ELSE COALESCE(string_to_array(string_agg(m.roles[1], ','), ','), anybody) END
      INTO target, allowed
      FROM pg_class AS c
      LEFT JOIN pg_policy AS p ON p.polrelid = c.oid AND p.polroles = ARRAY['sesari_tenant'::regrole::oid]
            AND p.polcmd = CASE asked_verb WHEN 'read' THEN 'r' WHEN 'update' THEN 'w' WHEN 'delete' THEN 'd' END
      LEFT JOIN regexp_matches(pg_get_expr(p.polqual, c.oid), $re$workspace_id_as\('\{([a-z,]+)\}'$re$, 'g') AS m (roles) ON true
     WHERE c.oid = to_regclass(format('public.%I', asked_table)) AND asked_table <> 'idempotency_keys'
       AND asked_verb IN ('read', 'update', 'delete')
       AND EXISTS (SELECT FROM pg_policy AS r WHERE r.polrelid = c.oid AND r.polname = asked_table || '_tenant_select')
       AND EXISTS (SELECT FROM pg_policy AS r WHERE r.polrelid = c.oid AND r.polname = asked_table || '_owner_select')
     GROUP BY c.oid;
    IF allowed IS NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = 'expected a table of workspaces, and read, update or delete';
    END IF;

    IF NOT EXISTS (SELECT FROM public.workspaces WHERE id = asked_workspace) THEN
        RETURN 'no-workspace';
    END IF;
    SELECT role INTO member_role FROM public.workspace_users
     WHERE workspace_id = asked_workspace AND user_id = asked_user;
    IF NOT FOUND THEN
        RETURN CASE WHEN EXISTS (
            SELECT FROM public.audit_log
             WHERE workspace_id = asked_workspace AND action = 'member.remove'
               AND changes -> 'user_id' ->> 'old' = asked_user) THEN 'membership-ended' ELSE 'never-member' END;
    END IF;

    -- By the owner's policies for reading. Those of public.goal_kpis and public.kpi_targets serve nothing else.
    EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE %I = $1 AND %I = $2)',
                   target, workspace_column, row_column)
       INTO is_here USING asked_workspace, asked_row;
    IF NOT is_here THEN
        EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE %I = $1)', target, row_column)
           INTO is_elsewhere USING asked_row;
        RETURN CASE WHEN is_elsewhere THEN 'elsewhere' ELSE 'absent' END;
    END IF;

    IF asked_table = 'workspace_users' AND asked_verb <> 'read' THEN
        -- An owner is an owner's to change; everybody may leave.
        SELECT CASE WHEN asked_verb = 'delete' AND user_id = asked_user THEN anybody
                    WHEN role = 'owner' THEN ARRAY['owner'] ELSE managers END
          INTO allowed FROM public.workspace_users WHERE workspace_id = asked_workspace AND id = asked_row;
    END IF;
    IF member_role <> ALL (allowed) THEN
        RETURN 'role-too-low';
    END IF;
    -- Policies let the row through; repositories do not, unless asked for it. A purge is of such rows.
    IF asked_table IN ('goals', 'kpis') AND asked_verb <> 'delete' THEN
        EXECUTE format('SELECT deleted_at IS NOT NULL FROM %s WHERE workspace_id = $1 AND id = $2', target)
           INTO is_deleted USING asked_workspace, asked_row;
    END IF;
    RETURN CASE WHEN is_deleted THEN 'soft-deleted' ELSE 'visible' END;
END
$$;
COMMENT ON FUNCTION sesari.diagnose IS
    'Why a user does not see, change or delete a row, as one word; never what is in it, or where else it is';
GRANT EXECUTE ON FUNCTION sesari.diagnose TO sesari_service;

-- The steps of verified_context, each with its name. tests/isolation/diagnosis.rs holds them against it.
CREATE FUNCTION sesari.diagnose_context(token text, backend integer, at timestamptz) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    parts text[];
    pads sesari.context_keys;
    expected text;
    age interval;
BEGIN
    IF sesari.current_service() IS NULL THEN
        RETURN NULL;
    END IF;
    parts := string_to_array(token, '.');
    IF token IS NULL OR cardinality(parts) <> 8 OR parts[1] <> '1' OR parts[3] NOT IN ('u', 's') OR parts[4] = ''
       OR parts[6] !~ '^[0-9]{16}$' OR parts[7] !~ '^[0-9]{1,9}$' OR length(parts[8]) <> 64 THEN
        RETURN 'malformed';
    END IF;
    SELECT * INTO pads FROM sesari.context_keys WHERE key_id = parts[2];
    IF NOT FOUND THEN
        RETURN 'unknown-key';
    END IF;
    expected := encode(sha256(pads.outer_pad || sha256(
        pads.inner_pad || convert_to(left(token, -65), 'UTF8'))), 'hex');
    IF hashtextextended(parts[8], 0) <> hashtextextended(expected, 0) OR parts[8] <> expected THEN
        RETURN 'forged';
    END IF;
    IF parts[7] NOT IN ('0', backend::text) THEN
        RETURN 'other-backend';
    END IF;
    age := at - (to_timestamp(0) + parts[6]::bigint * interval '1 microsecond');
    RETURN CASE WHEN age < interval '-2 seconds' THEN 'future'
                WHEN age > interval '10 seconds' THEN 'expired' ELSE 'valid' END;
END
$$;
COMMENT ON FUNCTION sesari.diagnose_context IS
    'What is wrong with a context, had a transaction begun with it then and on that backend, as one word';
GRANT EXECUTE ON FUNCTION sesari.diagnose_context TO sesari_service;

RESET ROLE;
