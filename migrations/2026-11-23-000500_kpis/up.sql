-- KPIs and their history.
SET LOCAL ROLE sesari_owner;

-- kpis -----------------------------------------------------------------------------------------

CREATE TABLE public.kpis (
    id text NOT NULL DEFAULT sesari.new_id(),
    workspace_id text NOT NULL DEFAULT sesari.current_workspace_id(),
    name text NOT NULL,
    description text,
    target_value double precision,
    current_value double precision NOT NULL DEFAULT 0,
    current_value_at timestamptz,
    unit text,
    category text,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    deleted_at timestamptz,
    CONSTRAINT kpis_pkey PRIMARY KEY (workspace_id, id),
    CONSTRAINT kpis_workspace_id_fkey FOREIGN KEY (workspace_id)
        REFERENCES public.workspaces (id) ON DELETE CASCADE,
    CONSTRAINT kpis_id_check CHECK (id ~ '^[a-z][a-z0-9]{1,31}$'),
    CONSTRAINT kpis_name_check CHECK (char_length(name) >= 1 AND char_length(name) <= 200
        AND name = btrim(name) AND name !~ '[\u0001-\u001F\u007F]'),
    CONSTRAINT kpis_description_check CHECK (char_length(description) <= 10000),
    CONSTRAINT kpis_target_value_check CHECK (target_value > '-Infinity' AND target_value < 'Infinity'),
    CONSTRAINT kpis_unit_check CHECK (char_length(unit) >= 1 AND char_length(unit) <= 32
        AND unit = btrim(unit) AND unit !~ '[\u0001-\u001F\u007F]'),
    CONSTRAINT kpis_category_check CHECK (char_length(category) >= 1 AND char_length(category) <= 64
        AND category = btrim(category) AND category !~ '[\u0001-\u001F\u007F]'),
    CONSTRAINT kpis_current_value_at_check CHECK (
        current_value_at >= '0001-01-01 00:00:00+00' AND current_value_at < '10000-01-01 00:00:00+00'),
    CONSTRAINT kpis_created_at_check CHECK (
        created_at >= '0001-01-01 00:00:00+00' AND created_at < '10000-01-01 00:00:00+00'),
    CONSTRAINT kpis_updated_at_check CHECK (
        updated_at >= '0001-01-01 00:00:00+00' AND updated_at < '10000-01-01 00:00:00+00'),
    CONSTRAINT kpis_deleted_at_check CHECK (
        deleted_at >= '0001-01-01 00:00:00+00' AND deleted_at < '10000-01-01 00:00:00+00')
);
COMMENT ON TABLE public.kpis IS 'What a workspace measures';
COMMENT ON COLUMN public.kpis.id IS 'CUID, unique within the workspace';
COMMENT ON COLUMN public.kpis.workspace_id IS 'The workspace; by default the one of the context';
COMMENT ON COLUMN public.kpis.name IS 'Display name';
COMMENT ON COLUMN public.kpis.description IS 'Free text';
COMMENT ON COLUMN public.kpis.target_value IS 'Value to reach, in the KPI''s unit';
COMMENT ON COLUMN public.kpis.current_value IS
    'Value of the newest data point, 0 before the first; kept by a trigger';
COMMENT ON COLUMN public.kpis.current_value_at IS
    'Time of the newest data point, null before the first; kept by a trigger';
COMMENT ON COLUMN public.kpis.unit IS 'Unit of the values, such as $, % or users';
COMMENT ON COLUMN public.kpis.category IS 'Group, such as revenue, growth or engagement';
COMMENT ON COLUMN public.kpis.is_active IS 'Whether the KPI is shown';
COMMENT ON COLUMN public.kpis.created_at IS 'When the row was made';
COMMENT ON COLUMN public.kpis.updated_at IS 'When the row last changed; kept by a trigger';
COMMENT ON COLUMN public.kpis.deleted_at IS 'When the KPI was deleted; its history stays until a purge';
CREATE INDEX idx_kpis_workspace_id ON public.kpis (workspace_id, created_at, id);

CREATE TRIGGER kpis_updated_at BEFORE UPDATE ON public.kpis
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION sesari.touch_updated_at();
CREATE TRIGGER kpis_key BEFORE UPDATE ON public.kpis
    FOR EACH ROW WHEN (OLD.workspace_id IS DISTINCT FROM NEW.workspace_id OR OLD.id IS DISTINCT FROM NEW.id)
    EXECUTE FUNCTION sesari.refuse_change('kpis', 'kpis_key_immutable');
-- Only the functions below, which run as the owner, set the current value.
CREATE TRIGGER kpis_current_value_insert BEFORE INSERT ON public.kpis
    FOR EACH ROW WHEN ((NEW.current_value <> 0 OR NEW.current_value_at IS NOT NULL)
        AND current_user <> 'sesari_owner')
    EXECUTE FUNCTION sesari.refuse_change('kpis', 'kpis_current_value_derived');
CREATE TRIGGER kpis_current_value_update BEFORE UPDATE ON public.kpis
    FOR EACH ROW WHEN ((OLD.current_value IS DISTINCT FROM NEW.current_value
            OR OLD.current_value_at IS DISTINCT FROM NEW.current_value_at)
        AND current_user <> 'sesari_owner')
    EXECUTE FUNCTION sesari.refuse_change('kpis', 'kpis_current_value_derived');
-- Ordinary changes are the product's daily business; only the loss of history is recorded.
CREATE TRIGGER kpis_audit AFTER DELETE ON public.kpis
    FOR EACH ROW EXECUTE FUNCTION sesari.audit(
        'kpis', 'kpi.create', 'kpi.update', 'kpi.purge', 'updated_at', '');

ALTER TABLE public.kpis ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.kpis FORCE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.kpis TO sesari_tenant;
CREATE POLICY kpis_tenant_select ON public.kpis FOR SELECT TO sesari_tenant
    USING (workspace_id = (SELECT sesari.current_workspace_id()));
CREATE POLICY kpis_tenant_insert ON public.kpis FOR INSERT TO sesari_tenant
    WITH CHECK (workspace_id = (SELECT sesari.current_workspace_id()));
CREATE POLICY kpis_tenant_update ON public.kpis FOR UPDATE TO sesari_tenant
    USING (workspace_id = (SELECT sesari.current_workspace_id()))
    WITH CHECK (workspace_id = (SELECT sesari.current_workspace_id()));
CREATE POLICY kpis_tenant_delete ON public.kpis FOR DELETE TO sesari_tenant
    USING (workspace_id = (SELECT sesari.workspace_id_as('{owner,admin}')));
CREATE POLICY kpis_owner_select ON public.kpis FOR SELECT TO sesari_owner USING (true);
CREATE POLICY kpis_owner_update ON public.kpis FOR UPDATE TO sesari_owner
    USING (true) WITH CHECK (true);

-- kpi_data_points ------------------------------------------------------------------------------

CREATE TABLE public.kpi_data_points (
    id text NOT NULL DEFAULT sesari.new_id(),
    workspace_id text NOT NULL DEFAULT sesari.current_workspace_id(),
    kpi_id text NOT NULL,
    value double precision NOT NULL,
    "timestamp" timestamptz NOT NULL DEFAULT now(),
    source text,
    CONSTRAINT kpi_data_points_pkey PRIMARY KEY (workspace_id, id),
    CONSTRAINT kpi_data_points_workspace_id_kpi_id_fkey FOREIGN KEY (workspace_id, kpi_id)
        REFERENCES public.kpis (workspace_id, id) ON DELETE CASCADE,
    CONSTRAINT kpi_data_points_id_check CHECK (id ~ '^[a-z][a-z0-9]{1,31}$'),
    CONSTRAINT kpi_data_points_value_check CHECK (value > '-Infinity' AND value < 'Infinity'),
    CONSTRAINT kpi_data_points_timestamp_check CHECK (
        "timestamp" >= '0001-01-01 00:00:00+00' AND "timestamp" < '10000-01-01 00:00:00+00'),
    CONSTRAINT kpi_data_points_source_check CHECK (source ~ '^[a-z][a-z0-9_]{0,62}$')
);
COMMENT ON TABLE public.kpi_data_points IS 'History of the KPIs';
COMMENT ON COLUMN public.kpi_data_points.id IS 'CUID, unique within the workspace';
COMMENT ON COLUMN public.kpi_data_points.workspace_id IS 'The workspace; by default the one of the context';
COMMENT ON COLUMN public.kpi_data_points.kpi_id IS 'The KPI measured';
COMMENT ON COLUMN public.kpi_data_points.value IS 'Value, in the KPI''s unit';
COMMENT ON COLUMN public.kpi_data_points."timestamp" IS 'When it was measured, to the microsecond';
COMMENT ON COLUMN public.kpi_data_points.source IS 'Where it came from, such as manual, stripe or google_analytics';
-- The natural key, the order of every read and, with the value, all that most reads need.
CREATE UNIQUE INDEX idx_kpi_data_points_kpi_timestamp ON public.kpi_data_points
    (workspace_id, kpi_id, "timestamp", source) INCLUDE (value) NULLS NOT DISTINCT;

CREATE TRIGGER kpi_data_points_key BEFORE UPDATE ON public.kpi_data_points
    FOR EACH ROW WHEN (OLD.workspace_id IS DISTINCT FROM NEW.workspace_id
        OR OLD.id IS DISTINCT FROM NEW.id OR OLD.kpi_id IS DISTINCT FROM NEW.kpi_id)
    EXECUTE FUNCTION sesari.refuse_change('kpi_data_points', 'kpi_data_points_key_immutable');

-- After each statement on the points: "changed" holds its rows, new ones or deleted ones.
CREATE FUNCTION sesari.follow_newest_point() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    workspaces text[];
    kpis text[];
BEGIN
    SELECT array_agg(c.workspace_id ORDER BY c.workspace_id, c.kpi_id),
           array_agg(c.kpi_id ORDER BY c.workspace_id, c.kpi_id)
      INTO workspaces, kpis
      FROM (SELECT DISTINCT workspace_id, kpi_id FROM changed) AS c
      JOIN public.kpis AS k ON k.workspace_id = c.workspace_id AND k.id = c.kpi_id;
    IF kpis IS NULL THEN
        RETURN NULL;
    END IF;
    -- Locked in one order, so that concurrent batches over the same KPIs queue and never deadlock,
    -- and never stronger than this: the foreign key of every insert holds a share lock that goes
    -- with it, while two who both asked for more would wait for each other.
    PERFORM FROM public.kpis AS k
      WHERE (k.workspace_id, k.id) IN (SELECT * FROM unnest(workspaces, kpis))
      ORDER BY k.workspace_id, k.id FOR NO KEY UPDATE;
    -- Asked once they are locked: a deletion about to be committed counts.
    IF TG_OP <> 'DELETE' AND EXISTS (
        SELECT FROM public.kpis AS k
         WHERE (k.workspace_id, k.id) IN (SELECT * FROM unnest(workspaces, kpis))
           AND k.deleted_at IS NOT NULL) THEN
        RAISE foreign_key_violation USING
            MESSAGE = 'the kpi of a data point is deleted',
            CONSTRAINT = 'kpi_data_points_kpi_not_deleted';
    END IF;
    -- Written even where nothing changes: under REPEATABLE READ a writer whose snapshot is older
    -- than another's points must fail, and only a new version of the row makes it.
    UPDATE public.kpis AS k
       SET current_value = coalesce(n.value, 0), current_value_at = n."timestamp"
      FROM unnest(workspaces, kpis) AS c (workspace_id, kpi_id)
      LEFT JOIN LATERAL (
           SELECT p.value, p."timestamp" FROM public.kpi_data_points AS p
            WHERE p.workspace_id = c.workspace_id AND p.kpi_id = c.kpi_id
            ORDER BY p."timestamp" DESC, p.source DESC LIMIT 1) AS n ON true
     WHERE k.workspace_id = c.workspace_id AND k.id = c.kpi_id;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sesari.follow_newest_point IS
    'Trigger: kpis.current_value is the value of the newest data point, whichever client writes';
CREATE TRIGGER kpi_data_points_follow_insert AFTER INSERT ON public.kpi_data_points
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION sesari.follow_newest_point();
CREATE TRIGGER kpi_data_points_follow_update AFTER UPDATE ON public.kpi_data_points
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION sesari.follow_newest_point();
CREATE TRIGGER kpi_data_points_follow_delete AFTER DELETE ON public.kpi_data_points
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION sesari.follow_newest_point();

-- A point that is deleted is gone for good: one entry for each KPI and statement says how many. What
-- goes down with its KPI is covered by the KPI's own entry.
CREATE FUNCTION sesari.audit_deleted_points() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
BEGIN
    PERFORM sesari.write_audit(
        c.workspace_id, 'data_points.delete', 'kpi_data_points', c.kpi_id,
        jsonb_build_object('points', c.points, 'from', c.oldest, 'to', c.newest))
       FROM (SELECT workspace_id, kpi_id, count(*) AS points,
                    min("timestamp") AS oldest, max("timestamp") AS newest
               FROM changed GROUP BY workspace_id, kpi_id) AS c
       JOIN public.kpis AS k ON k.workspace_id = c.workspace_id AND k.id = c.kpi_id;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sesari.audit_deleted_points IS 'Trigger: writes what was deleted to the audit log';
CREATE TRIGGER kpi_data_points_audit AFTER DELETE ON public.kpi_data_points
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION sesari.audit_deleted_points();

ALTER TABLE public.kpi_data_points ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.kpi_data_points FORCE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.kpi_data_points TO sesari_tenant;
CREATE POLICY kpi_data_points_tenant_select ON public.kpi_data_points FOR SELECT TO sesari_tenant
    USING (workspace_id = (SELECT sesari.current_workspace_id()));
CREATE POLICY kpi_data_points_tenant_insert ON public.kpi_data_points FOR INSERT TO sesari_tenant
    WITH CHECK (workspace_id = (SELECT sesari.current_workspace_id()));
CREATE POLICY kpi_data_points_tenant_update ON public.kpi_data_points FOR UPDATE TO sesari_tenant
    USING (workspace_id = (SELECT sesari.current_workspace_id()))
    WITH CHECK (workspace_id = (SELECT sesari.current_workspace_id()));
CREATE POLICY kpi_data_points_tenant_delete ON public.kpi_data_points FOR DELETE TO sesari_tenant
    USING (workspace_id = (SELECT sesari.current_workspace_id()));
CREATE POLICY kpi_data_points_owner_select ON public.kpi_data_points FOR SELECT TO sesari_owner
    USING (true);

RESET ROLE;
