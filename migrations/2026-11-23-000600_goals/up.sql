-- Goals, and the KPIs that measure them.
SET LOCAL ROLE sesari_owner;

CREATE TABLE public.goals (
    id text NOT NULL DEFAULT sesari.new_id(),
    workspace_id text NOT NULL DEFAULT sesari.current_workspace_id(),
    title text NOT NULL,
    description text,
    target_date timestamptz(3),
    status text NOT NULL DEFAULT 'active',
    created_at timestamptz(3) NOT NULL DEFAULT date_trunc('milliseconds', statement_timestamp()),
    updated_at timestamptz(3) NOT NULL DEFAULT date_trunc('milliseconds', statement_timestamp()),
    deleted_at timestamptz(3),
    CONSTRAINT goals_pkey PRIMARY KEY (workspace_id, id),
    CONSTRAINT goals_workspace_id_fkey FOREIGN KEY (workspace_id)
        REFERENCES public.workspaces (id) ON DELETE CASCADE,
    CONSTRAINT goals_id_check CHECK (id ~ '^[a-z][a-z0-9]{1,31}$'),
    CONSTRAINT goals_title_check CHECK (char_length(title) >= 1 AND char_length(title) <= 200
        AND sesari.is_text(title, 'label')),
    CONSTRAINT goals_description_check CHECK (char_length(description) <= 10000
        AND sesari.is_text(description, 'prose')),
    CONSTRAINT goals_target_date_check CHECK (
        target_date >= '0001-01-01 00:00:00+00' AND target_date < '10000-01-01 00:00:00+00'),
    CONSTRAINT goals_status_check CHECK (status IN ('active', 'completed', 'paused')),
    CONSTRAINT goals_created_at_check CHECK (
        created_at >= '0001-01-01 00:00:00+00' AND created_at < '10000-01-01 00:00:00+00'),
    CONSTRAINT goals_updated_at_check CHECK (
        updated_at >= '0001-01-01 00:00:00+00' AND updated_at < '10000-01-01 00:00:00+00'),
    CONSTRAINT goals_deleted_at_check CHECK (
        deleted_at >= '0001-01-01 00:00:00+00' AND deleted_at < '10000-01-01 00:00:00+00')
);
COMMENT ON TABLE public.goals IS 'What a workspace wants to reach';
COMMENT ON COLUMN public.goals.id IS 'CUID, unique within the workspace';
COMMENT ON COLUMN public.goals.workspace_id IS 'The workspace; by default the one of the context';
COMMENT ON COLUMN public.goals.title IS 'Display name';
COMMENT ON COLUMN public.goals.description IS 'Free text';
COMMENT ON COLUMN public.goals.target_date IS 'When it is due';
COMMENT ON COLUMN public.goals.status IS 'active, completed or paused';
COMMENT ON COLUMN public.goals.created_at IS 'When the row was made; kept by a trigger';
COMMENT ON COLUMN public.goals.updated_at IS 'When the row last changed; kept by a trigger';
COMMENT ON COLUMN public.goals.deleted_at IS 'When the goal was deleted; it stays until a purge';
CREATE INDEX idx_goals_workspace_id ON public.goals (workspace_id, created_at, id);

CREATE TRIGGER goals_times BEFORE INSERT OR UPDATE ON public.goals
    FOR EACH ROW EXECUTE FUNCTION sesari.keep_times('goals', 'created_at', 'updated_at');
CREATE TRIGGER goals_audit AFTER DELETE ON public.goals
    FOR EACH ROW EXECUTE FUNCTION sesari.audit(
        'goals', 'goal.create', 'goal.update', 'goal.purge', 'updated_at', '');

SELECT sesari.protect_table('public.goals', may_delete => '{owner,admin}');

CREATE TABLE public.goal_kpis (
    id text NOT NULL DEFAULT sesari.new_id(),
    workspace_id text NOT NULL DEFAULT sesari.current_workspace_id(),
    goal_id text NOT NULL,
    kpi_id text NOT NULL,
    weight double precision NOT NULL DEFAULT 1,
    baseline double precision,
    CONSTRAINT goal_kpis_pkey PRIMARY KEY (workspace_id, id),
    CONSTRAINT goal_kpis_workspace_id_goal_id_kpi_id_key UNIQUE (workspace_id, goal_id, kpi_id),
    CONSTRAINT goal_kpis_workspace_id_goal_id_fkey FOREIGN KEY (workspace_id, goal_id)
        REFERENCES public.goals (workspace_id, id) ON DELETE CASCADE,
    CONSTRAINT goal_kpis_workspace_id_kpi_id_fkey FOREIGN KEY (workspace_id, kpi_id)
        REFERENCES public.kpis (workspace_id, id) ON DELETE CASCADE,
    CONSTRAINT goal_kpis_id_check CHECK (id ~ '^[a-z][a-z0-9]{1,31}$'),
    CONSTRAINT goal_kpis_weight_check CHECK (weight >= 0 AND weight <= 1000000),
    CONSTRAINT goal_kpis_baseline_check CHECK (baseline > '-Infinity' AND baseline < 'Infinity')
);
COMMENT ON TABLE public.goal_kpis IS 'Which KPIs measure which goal';
COMMENT ON COLUMN public.goal_kpis.id IS 'CUID, unique within the workspace';
COMMENT ON COLUMN public.goal_kpis.workspace_id IS 'The workspace; by default the one of the context';
COMMENT ON COLUMN public.goal_kpis.goal_id IS 'The goal';
COMMENT ON COLUMN public.goal_kpis.kpi_id IS 'The KPI';
COMMENT ON COLUMN public.goal_kpis.weight IS
    'Share in the goal''s progress relative to its other KPIs, 0 to 1000000; 0 leaves the KPI out';
COMMENT ON COLUMN public.goal_kpis.baseline IS
    'Value from which progress counts, in the KPI''s unit; 0 where null. Above the target for a KPI that should fall';
CREATE INDEX idx_goal_kpis_workspace_id_kpi_id ON public.goal_kpis (workspace_id, kpi_id);

CREATE TRIGGER goal_kpis_negative_zero BEFORE INSERT OR UPDATE ON public.goal_kpis
    FOR EACH ROW WHEN (NEW.weight = 0 AND float8send(NEW.weight) <> '\x0000000000000000'
        OR NEW.baseline = 0 AND float8send(NEW.baseline) <> '\x0000000000000000')
    EXECUTE FUNCTION sesari.drop_negative_zero('goal_kpis');

SELECT sesari.protect_table('public.goal_kpis', fixed => '{workspace_id,id,goal_id,kpi_id}');

RESET ROLE;
