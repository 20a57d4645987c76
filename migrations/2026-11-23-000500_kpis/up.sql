-- What a workspace measures.
SET LOCAL ROLE sesari_owner;

CREATE TABLE public.kpis (
    id text NOT NULL DEFAULT sesari.new_id(),
    workspace_id text NOT NULL DEFAULT sesari.current_workspace_id(),
    name text NOT NULL,
    description text,
    target_value double precision,
    current_value double precision NOT NULL DEFAULT 0,
    current_value_at timestamptz(3),
    unit text,
    category text,
    aggregation text NOT NULL DEFAULT 'last',
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz(3) NOT NULL DEFAULT date_trunc('milliseconds', statement_timestamp()),
    updated_at timestamptz(3) NOT NULL DEFAULT date_trunc('milliseconds', statement_timestamp()),
    deleted_at timestamptz(3),
    CONSTRAINT kpis_pkey PRIMARY KEY (workspace_id, id),
    CONSTRAINT kpis_workspace_id_fkey FOREIGN KEY (workspace_id)
        REFERENCES public.workspaces (id) ON DELETE CASCADE,
    CONSTRAINT kpis_id_check CHECK (id ~ '^[a-z][a-z0-9]{1,31}$'),
    CONSTRAINT kpis_name_check CHECK (char_length(name) >= 1 AND char_length(name) <= 200
        AND sesari.is_text(name, 'label')),
    CONSTRAINT kpis_description_check CHECK (char_length(description) <= 10000
        AND sesari.is_text(description, 'prose')),
    CONSTRAINT kpis_target_value_check CHECK (target_value > '-Infinity' AND target_value < 'Infinity'),
    CONSTRAINT kpis_unit_check CHECK (char_length(unit) >= 1 AND char_length(unit) <= 32
        AND sesari.is_text(unit, 'label')),
    CONSTRAINT kpis_category_check CHECK (char_length(category) >= 1 AND char_length(category) <= 64
        AND sesari.is_text(category, 'label')),
    CONSTRAINT kpis_aggregation_check CHECK (aggregation IN ('last', 'sum', 'mean')),
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
COMMENT ON COLUMN public.kpis.aggregation IS
    'What the points of a period come to: last, sum or mean; the current value is the newest point under each';
COMMENT ON COLUMN public.kpis.is_active IS 'Whether the KPI is shown';
COMMENT ON COLUMN public.kpis.created_at IS 'When the row was made; kept by a trigger';
COMMENT ON COLUMN public.kpis.updated_at IS 'When the row last changed; kept by a trigger';
COMMENT ON COLUMN public.kpis.deleted_at IS 'When the KPI was deleted; its history stays until a purge';
CREATE INDEX idx_kpis_workspace_id ON public.kpis (workspace_id, created_at, id);

CREATE TRIGGER kpis_times BEFORE INSERT OR UPDATE ON public.kpis
    FOR EACH ROW EXECUTE FUNCTION sesari.keep_times('kpis', 'created_at', 'updated_at');
CREATE TRIGGER kpis_negative_zero BEFORE INSERT OR UPDATE ON public.kpis
    FOR EACH ROW WHEN (NEW.target_value = 0 AND float8send(NEW.target_value) <> '\x0000000000000000'
        OR NEW.current_value = 0 AND float8send(NEW.current_value) <> '\x0000000000000000')
    EXECUTE FUNCTION sesari.drop_negative_zero('kpis');
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

SELECT sesari.protect_table('public.kpis', may_delete => '{owner,admin}');
CREATE POLICY kpis_owner_select ON public.kpis FOR SELECT TO sesari_owner USING (true);
CREATE POLICY kpis_owner_update ON public.kpis FOR UPDATE TO sesari_owner
    USING (true) WITH CHECK (true);

RESET ROLE;
