-- What KPIs are to reach from which day on, and what goals counted until when.
SET LOCAL ROLE sesari_owner;

-- kpi_targets ------------------------------------------------------------------------------------

-- Nothing here is changed or deleted: a row says what was set, for which days, and when. Of a KPI's rows of
-- a period the one in force on a day starts last of those that do not start later; of rows that start on
-- the same day the one recorded last counts.
CREATE TABLE public.kpi_targets (
    workspace_id text NOT NULL DEFAULT sesari.current_workspace_id(),
    kpi_id text NOT NULL,
    period text NOT NULL DEFAULT 'standing',
    effective_from date NOT NULL,
    recorded_at timestamptz(3) NOT NULL DEFAULT date_trunc('milliseconds', clock_timestamp()),
    value double precision,
    baseline double precision,
    CONSTRAINT kpi_targets_pkey PRIMARY KEY (workspace_id, kpi_id, recorded_at),
    CONSTRAINT kpi_targets_workspace_id_kpi_id_fkey FOREIGN KEY (workspace_id, kpi_id)
        REFERENCES public.kpis (workspace_id, id) ON DELETE CASCADE,
    CONSTRAINT kpi_targets_period_check CHECK (period IN ('standing', 'month', 'quarter', 'year')),
    CONSTRAINT kpi_targets_effective_from_check CHECK (
        effective_from >= '0001-01-01' AND effective_from < '10000-01-01'),
    CONSTRAINT kpi_targets_effective_from_period_check CHECK (
        (extract(day FROM effective_from) = 1 OR period NOT IN ('month', 'quarter', 'year'))
        AND (extract(month FROM effective_from) IN (1, 4, 7, 10) OR period <> 'quarter')
        AND (extract(month FROM effective_from) = 1 OR period <> 'year')),
    CONSTRAINT kpi_targets_recorded_at_check CHECK (
        recorded_at >= '0001-01-01 00:00:00+00' AND recorded_at < '10000-01-01 00:00:00+00'),
    CONSTRAINT kpi_targets_value_check CHECK (value > '-Infinity' AND value < 'Infinity'),
    CONSTRAINT kpi_targets_baseline_check CHECK (baseline > '-Infinity' AND baseline < 'Infinity')
);
COMMENT ON TABLE public.kpi_targets IS 'What KPIs are to reach from a day on; rows are added and never changed';
COMMENT ON COLUMN public.kpi_targets.workspace_id IS 'The workspace; by default the one of the context';
COMMENT ON COLUMN public.kpi_targets.kpi_id IS 'The KPI';
COMMENT ON COLUMN public.kpi_targets.period IS
    'standing for a value that holds from a day on; month, quarter or year for one that each of these periods is to reach';
COMMENT ON COLUMN public.kpi_targets.effective_from IS
    'First day on which it holds, in the workspace''s calendar: the first of a period';
COMMENT ON COLUMN public.kpi_targets.recorded_at IS 'When it was set; kept by a trigger';
COMMENT ON COLUMN public.kpi_targets.value IS 'Value to reach, in the KPI''s unit; null where no such target holds any more';
COMMENT ON COLUMN public.kpi_targets.baseline IS
    'Value from which it is to be reached, in the KPI''s unit; above the value for a KPI that should fall';

CREATE INDEX idx_kpi_targets_workspace_id_kpi_id_period ON public.kpi_targets
    (workspace_id, kpi_id, period, effective_from, recorded_at);

-- What is set twice within a millisecond was set one after the other: whoever sets a target holds the KPI's lock,
-- as whoever records a point does.
CREATE FUNCTION sesari.record_target() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
BEGIN
    IF NOT pg_has_role(session_user, 'sesari_owner', 'MEMBER') THEN
        PERFORM FROM public.kpis AS k
          WHERE k.workspace_id = NEW.workspace_id AND k.id = NEW.kpi_id FOR NO KEY UPDATE;
        NEW.recorded_at := greatest(
            date_trunc('milliseconds', clock_timestamp()),
            (SELECT max(t.recorded_at) + interval '1 millisecond' FROM public.kpi_targets AS t
              WHERE t.workspace_id = NEW.workspace_id AND t.kpi_id = NEW.kpi_id));
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION sesari.record_target IS
    'Trigger: when a target was set is the database''s to say, and later than all that were set before';
CREATE TRIGGER kpi_targets_recorded_at BEFORE INSERT ON public.kpi_targets
    FOR EACH ROW EXECUTE FUNCTION sesari.record_target();
CREATE TRIGGER kpi_targets_negative_zero BEFORE INSERT OR UPDATE ON public.kpi_targets
    FOR EACH ROW WHEN (NEW.value = 0 AND float8send(NEW.value) <> '\x0000000000000000'
        OR NEW.baseline = 0 AND float8send(NEW.baseline) <> '\x0000000000000000')
    EXECUTE FUNCTION sesari.drop_negative_zero('kpi_targets');

SELECT sesari.protect_table('public.kpi_targets', may_update => NULL, may_delete => NULL,
    fixed => '{workspace_id,kpi_id,period,effective_from,recorded_at}');


-- kpi_history ------------------------------------------------------------------------------------

-- The audit log is for owners and admins, may be pruned, and has no ordinary changes of KPIs and links: it
-- cannot say what a member's report showed.
CREATE TABLE public.kpi_history (
    id text NOT NULL DEFAULT sesari.new_id(),
    workspace_id text NOT NULL DEFAULT sesari.current_workspace_id(),
    kpi_id text NOT NULL,
    goal_id text,
    changed_at timestamptz(3) NOT NULL,
    target_value double precision,
    weight double precision,
    baseline double precision,
    CONSTRAINT kpi_history_pkey PRIMARY KEY (workspace_id, id),
    CONSTRAINT kpi_history_workspace_id_kpi_id_fkey FOREIGN KEY (workspace_id, kpi_id)
        REFERENCES public.kpis (workspace_id, id) ON DELETE CASCADE,
    CONSTRAINT kpi_history_workspace_id_goal_id_fkey FOREIGN KEY (workspace_id, goal_id)
        REFERENCES public.goals (workspace_id, id) ON DELETE CASCADE
);
COMMENT ON TABLE public.kpi_history IS
    'From when on a KPI had its plain target, or counted towards a goal and how; kept by triggers';
COMMENT ON COLUMN public.kpi_history.id IS 'CUID, unique within the workspace';
COMMENT ON COLUMN public.kpi_history.workspace_id IS 'The workspace';
COMMENT ON COLUMN public.kpi_history.kpi_id IS 'The KPI';
COMMENT ON COLUMN public.kpi_history.goal_id IS 'The goal that it counts towards; null for its plain target';
COMMENT ON COLUMN public.kpi_history.changed_at IS 'From when on';
COMMENT ON COLUMN public.kpi_history.target_value IS 'Without a goal: kpis.target_value';
COMMENT ON COLUMN public.kpi_history.weight IS 'With a goal: its weight; null where the KPI was taken off the goal';
COMMENT ON COLUMN public.kpi_history.baseline IS 'With a goal: its baseline';
CREATE INDEX idx_kpi_history_workspace_id_kpi_id ON public.kpi_history (workspace_id, kpi_id, goal_id, changed_at);
CREATE INDEX idx_kpi_history_workspace_id_goal_id ON public.kpi_history (workspace_id, goal_id, kpi_id, changed_at);

-- Whoever changes a row holds its lock, so that what is added here is later than all before it.
CREATE FUNCTION sesari.next_change(workspace text, kpi text, goal text) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
BEGIN
    RETURN greatest(
        date_trunc('milliseconds', clock_timestamp()),
        (SELECT max(h.changed_at) + interval '1 millisecond' FROM public.kpi_history AS h
          WHERE h.workspace_id = workspace AND h.kpi_id = kpi AND h.goal_id IS NOT DISTINCT FROM goal));
END
$$;
COMMENT ON FUNCTION sesari.next_change IS
    'The time of a change: the clock''s, in milliseconds, and later than any before it of the same KPI and goal';

CREATE FUNCTION sesari.keep_target_history() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO public.kpi_history (workspace_id, kpi_id, changed_at, target_value)
    VALUES (NEW.workspace_id, NEW.id, sesari.next_change(NEW.workspace_id, NEW.id, NULL), NEW.target_value);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sesari.keep_target_history IS 'Trigger: keeps from when on a KPI has its plain target';
CREATE TRIGGER kpis_history_insert AFTER INSERT ON public.kpis
    FOR EACH ROW WHEN (NEW.target_value IS NOT NULL) EXECUTE FUNCTION sesari.keep_target_history();
-- Of this column alone: an update of the current value does not even ask.
CREATE TRIGGER kpis_history_update AFTER UPDATE OF target_value ON public.kpis
    FOR EACH ROW WHEN (OLD.target_value IS DISTINCT FROM NEW.target_value)
    EXECUTE FUNCTION sesari.keep_target_history();

CREATE FUNCTION sesari.keep_link_history() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    link public.goal_kpis := CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    IF TG_OP = 'DELETE' THEN
        link.weight := NULL;
        link.baseline := NULL;
    END IF;
    -- A link that goes down with its goal or KPI takes its history along.
    INSERT INTO public.kpi_history (workspace_id, kpi_id, goal_id, changed_at, weight, baseline)
    SELECT link.workspace_id, link.kpi_id, link.goal_id,
           sesari.next_change(link.workspace_id, link.kpi_id, link.goal_id), link.weight, link.baseline
     WHERE EXISTS (SELECT FROM public.kpis AS k WHERE k.workspace_id = link.workspace_id AND k.id = link.kpi_id)
       AND EXISTS (SELECT FROM public.goals AS g WHERE g.workspace_id = link.workspace_id AND g.id = link.goal_id);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sesari.keep_link_history IS
    'Trigger: keeps from when on a KPI counts towards a goal, and how, and from when on it does not';
CREATE TRIGGER goal_kpis_history AFTER INSERT OR DELETE ON public.goal_kpis
    FOR EACH ROW EXECUTE FUNCTION sesari.keep_link_history();
CREATE TRIGGER goal_kpis_history_update AFTER UPDATE ON public.goal_kpis
    FOR EACH ROW WHEN ((OLD.weight, OLD.baseline) IS DISTINCT FROM (NEW.weight, NEW.baseline))
    EXECUTE FUNCTION sesari.keep_link_history();

SELECT sesari.protect_table('public.kpi_history', may_insert => NULL, may_update => NULL, may_delete => NULL,
    readable => '{id,workspace_id,kpi_id,goal_id,changed_at,target_value,weight,baseline}',
    fixed => '{workspace_id,id,kpi_id,goal_id,changed_at}');
CREATE POLICY kpi_history_owner_select ON public.kpi_history FOR SELECT TO sesari_owner USING (true);
CREATE POLICY kpi_history_owner_insert ON public.kpi_history FOR INSERT TO sesari_owner WITH CHECK (true);
CREATE POLICY goals_owner_select ON public.goals FOR SELECT TO sesari_owner USING (true);

RESET ROLE;
