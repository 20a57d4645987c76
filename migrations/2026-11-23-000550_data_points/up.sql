-- The history of the KPIs, and what it comes to day by day.
SET LOCAL ROLE sesari_owner;

-- kpi_data_points ------------------------------------------------------------------------------

-- This is the table that grows. A point has no id: what it is says which one it is. The key carries
-- the value, and is all that most reads touch. The columns of eight bytes come first, so that none is
-- lost to alignment.
CREATE TABLE public.kpi_data_points (
    "timestamp" timestamptz NOT NULL DEFAULT now(),
    value double precision NOT NULL,
    workspace_id text NOT NULL DEFAULT sesari.current_workspace_id(),
    kpi_id text NOT NULL,
    source text COLLATE "C" NOT NULL DEFAULT '',
    CONSTRAINT kpi_data_points_pkey PRIMARY KEY (workspace_id, kpi_id, "timestamp", source)
        INCLUDE (value),
    CONSTRAINT kpi_data_points_workspace_id_kpi_id_fkey FOREIGN KEY (workspace_id, kpi_id)
        REFERENCES public.kpis (workspace_id, id) ON DELETE CASCADE,
    CONSTRAINT kpi_data_points_value_check CHECK (value > '-Infinity' AND value < 'Infinity'),
    CONSTRAINT kpi_data_points_timestamp_check CHECK (
        "timestamp" >= '0001-01-01 00:00:00+00' AND "timestamp" < '10000-01-01 00:00:00+00'),
    CONSTRAINT kpi_data_points_source_check CHECK (source = '' OR source ~ '^[a-z][a-z0-9_]{0,62}$')
);
COMMENT ON TABLE public.kpi_data_points IS 'History of the KPIs';
COMMENT ON COLUMN public.kpi_data_points."timestamp" IS 'When it was measured, to the microsecond';
COMMENT ON COLUMN public.kpi_data_points.value IS 'Value, in the KPI''s unit';
COMMENT ON COLUMN public.kpi_data_points.workspace_id IS 'The workspace; by default the one of the context';
COMMENT ON COLUMN public.kpi_data_points.kpi_id IS 'The KPI measured';
COMMENT ON COLUMN public.kpi_data_points.source IS
    'Where it came from, such as manual, stripe or google_analytics; empty for none';
SELECT sesari.forget_statistics('public.kpi_data_points');

CREATE TRIGGER kpi_data_points_key BEFORE UPDATE ON public.kpi_data_points
    FOR EACH ROW WHEN (OLD.workspace_id IS DISTINCT FROM NEW.workspace_id
        OR OLD.kpi_id IS DISTINCT FROM NEW.kpi_id)
    EXECUTE FUNCTION sesari.refuse_change('kpi_data_points', 'kpi_data_points_key_immutable');

CREATE TRIGGER kpi_data_points_negative_zero BEFORE INSERT OR UPDATE ON public.kpi_data_points
    FOR EACH ROW WHEN (NEW.value = 0 AND float8send(NEW.value) <> '\x0000000000000000')
    EXECUTE FUNCTION sesari.drop_negative_zero('kpi_data_points');

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
    USING ((SELECT sesari.key_of(sesari.current_workspace_id()))[workspace_id] IS NOT NULL
           AND workspace_id = (SELECT sesari.current_workspace_id()));
CREATE POLICY kpi_data_points_tenant_insert ON public.kpi_data_points FOR INSERT TO sesari_tenant
    WITH CHECK (workspace_id = (SELECT sesari.current_workspace_id()));
CREATE POLICY kpi_data_points_tenant_update ON public.kpi_data_points FOR UPDATE TO sesari_tenant
    USING ((SELECT sesari.key_of(sesari.current_workspace_id()))[workspace_id] IS NOT NULL
           AND workspace_id = (SELECT sesari.current_workspace_id()))
    WITH CHECK ((SELECT sesari.key_of(sesari.current_workspace_id()))[workspace_id] IS NOT NULL
                AND workspace_id = (SELECT sesari.current_workspace_id()));
CREATE POLICY kpi_data_points_tenant_delete ON public.kpi_data_points FOR DELETE TO sesari_tenant
    USING ((SELECT sesari.key_of(sesari.current_workspace_id()))[workspace_id] IS NOT NULL
           AND workspace_id = (SELECT sesari.current_workspace_id()));
CREATE POLICY kpi_data_points_owner_select ON public.kpi_data_points FOR SELECT TO sesari_owner
    USING (true);


-- kpi_rollups ----------------------------------------------------------------------------------

-- The points of a KPI from one midnight of UTC up to the next, in the order of their key (time, then
-- source). A day without points has no row. As for the points, the key carries what most reads touch:
-- here the whole row in one piece, since picking columns apart, gathering them into arrays and sending
-- each element costs the server more than finding them.
CREATE TABLE public.kpi_rollups (
    day timestamptz NOT NULL,
    points bigint NOT NULL,
    sum double precision,
    min double precision NOT NULL,
    max double precision NOT NULL,
    first double precision NOT NULL,
    last double precision NOT NULL,
    workspace_id text NOT NULL DEFAULT sesari.current_workspace_id(),
    kpi_id text NOT NULL,
    packed bytea NOT NULL GENERATED ALWAYS AS (
        timestamptz_send(day) || int8send(points) || float8send(coalesce(sum, 'NaN')) || float8send(min)
        || float8send(max) || float8send(first) || float8send(last)) STORED,
    CONSTRAINT kpi_rollups_pkey PRIMARY KEY (workspace_id, kpi_id, day) INCLUDE (packed),
    CONSTRAINT kpi_rollups_workspace_id_kpi_id_fkey FOREIGN KEY (workspace_id, kpi_id)
        REFERENCES public.kpis (workspace_id, id) ON DELETE CASCADE
);
COMMENT ON TABLE public.kpi_rollups IS
    'What the data points of a KPI come to in a day of UTC; kept by a trigger';
COMMENT ON COLUMN public.kpi_rollups.day IS 'Midnight of UTC at which the day starts';
COMMENT ON COLUMN public.kpi_rollups.points IS 'How many points, at least one';
COMMENT ON COLUMN public.kpi_rollups.sum IS
    'Their values added up one by one in the order of their key; null when one is 1e290 or larger';
COMMENT ON COLUMN public.kpi_rollups.min IS 'The least value';
COMMENT ON COLUMN public.kpi_rollups.max IS 'The greatest value';
COMMENT ON COLUMN public.kpi_rollups.first IS 'The value of the first point in the order of their key';
COMMENT ON COLUMN public.kpi_rollups.last IS 'The value of the last point in the order of their key';
COMMENT ON COLUMN public.kpi_rollups.workspace_id IS 'The workspace';
COMMENT ON COLUMN public.kpi_rollups.kpi_id IS 'The KPI measured';
COMMENT ON COLUMN public.kpi_rollups.packed IS
    'Day, points, sum (NaN for null), min, max, first and last, eight bytes each in the binary format';
SELECT sesari.forget_statistics('public.kpi_rollups');

ALTER TABLE public.kpi_rollups ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.kpi_rollups FORCE ROW LEVEL SECURITY;
-- By columns alone, although it is all of them: DROP OWNED BY CURRENT_USER, which would drop the policies of a
-- role for its members, fails on a table of which the role holds columns and nothing else.
GRANT SELECT (day, points, sum, min, max, first, last, workspace_id, kpi_id, packed) ON public.kpi_rollups
    TO sesari_tenant;
CREATE POLICY kpi_rollups_tenant_select ON public.kpi_rollups FOR SELECT TO sesari_tenant
    USING ((SELECT sesari.key_of(sesari.current_workspace_id()))[workspace_id] IS NOT NULL
           AND workspace_id = (SELECT sesari.current_workspace_id()));
CREATE POLICY kpi_rollups_owner_select ON public.kpi_rollups FOR SELECT TO sesari_owner USING (true);
CREATE POLICY kpi_rollups_owner_insert ON public.kpi_rollups FOR INSERT TO sesari_owner
    WITH CHECK (true);
CREATE POLICY kpi_rollups_owner_update ON public.kpi_rollups FOR UPDATE TO sesari_owner
    USING (true) WITH CHECK (true);
CREATE POLICY kpi_rollups_owner_delete ON public.kpi_rollups FOR DELETE TO sesari_owner USING (true);

-- Makes these days anew from the points, along the key, and then the current value of their KPIs; a
-- day without points has no row. Whoever writes points of a KPI holds its lock until the end. The
-- arrays differ in length from call to call, and planning for each would cost more than it finds. Nor
-- may a plan that was made while there were few rollups, or none, read all of them once they are many:
-- the days are found along the key, one after the other.
CREATE FUNCTION sesari.roll_up(
    workspaces text[], kpis text[], days timestamptz[], may_be_empty boolean, may_be_deleted boolean)
    RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    deleted boolean;
BEGIN
    -- Locked in one order, so that concurrent batches over the same KPIs queue and never deadlock,
    -- and never stronger than this: the foreign key of every insert holds a share lock that goes
    -- with it, while two who both asked for more would wait for each other. Whether a KPI is deleted
    -- is read under the lock: a deletion about to be committed counts.
    SELECT bool_or(k.deleted_at IS NOT NULL) INTO deleted
      FROM (SELECT k.deleted_at FROM public.kpis AS k
             WHERE (k.workspace_id, k.id) IN (SELECT * FROM unnest(workspaces, kpis))
             ORDER BY k.workspace_id, k.id FOR NO KEY UPDATE) AS k;
    -- None is left where the points go down with their KPI.
    IF deleted IS NULL THEN
        RETURN;
    END IF;
    IF deleted AND NOT may_be_deleted THEN
        RAISE foreign_key_violation USING
            MESSAGE = 'the kpi of a data point is deleted',
            CONSTRAINT = 'kpi_data_points_kpi_not_deleted';
    END IF;
    IF may_be_empty THEN
        -- By their place, which nobody can change meanwhile: a join would have the planner choose.
        DELETE FROM public.kpi_rollups
         WHERE ctid = ANY (ARRAY(
               SELECT r.ctid
                 FROM unnest(workspaces, kpis, days) AS t (workspace_id, kpi_id, day)
                CROSS JOIN LATERAL (
                      SELECT r.ctid FROM public.kpi_rollups AS r
                       WHERE r.workspace_id = t.workspace_id AND r.kpi_id = t.kpi_id AND r.day = t.day
                       LIMIT 1) AS r
                 LEFT JOIN LATERAL (
                      SELECT true AS found FROM public.kpi_data_points AS p
                       WHERE p.workspace_id = t.workspace_id AND p.kpi_id = t.kpi_id
                         AND p."timestamp" >= t.day AND p."timestamp" < t.day + interval '24 hours'
                       LIMIT 1) AS p ON true
                WHERE p.found IS NULL));
    END IF;
    -- An addition that leaves the range of the type is an error, which must not refuse the points.
    INSERT INTO public.kpi_rollups AS r
           (workspace_id, kpi_id, day, points, sum, min, max, first, last)
    SELECT t.workspace_id, t.kpi_id, t.day, d.points,
           CASE WHEN d.min > -1e290 AND d.max < 1e290 THEN d.sum END,
           d.min, d.max, d.values[1], d.values[d.points]
      FROM unnest(workspaces, kpis, days) AS t (workspace_id, kpi_id, day)
     CROSS JOIN LATERAL (
           SELECT count(*) AS points, min(p.value) AS min, max(p.value) AS max,
                  sum(p.value) FILTER (WHERE p.value > -1e290 AND p.value < 1e290) AS sum,
                  array_agg(p.value) AS values
             FROM (SELECT p.value FROM public.kpi_data_points AS p
                    WHERE p.workspace_id = t.workspace_id AND p.kpi_id = t.kpi_id
                      AND p."timestamp" >= t.day AND p."timestamp" < t.day + interval '24 hours'
                    ORDER BY p."timestamp", p.source) AS p) AS d
     WHERE d.points > 0
        ON CONFLICT (workspace_id, kpi_id, day) DO UPDATE
       SET points = excluded.points, sum = excluded.sum, min = excluded.min, max = excluded.max,
           first = excluded.first, last = excluded.last;
    -- Written even where nothing changes: under REPEATABLE READ a writer whose snapshot is older
    -- than another's points must fail, and only a new version of the row makes it.
    UPDATE public.kpis AS k
       SET current_value = coalesce(n.value, 0), current_value_at = n."timestamp"
      FROM (SELECT DISTINCT * FROM unnest(workspaces, kpis)) AS c (workspace_id, kpi_id)
      LEFT JOIN LATERAL (
           SELECT p.value, p."timestamp" FROM public.kpi_data_points AS p
            WHERE p.workspace_id = c.workspace_id AND p.kpi_id = c.kpi_id
            ORDER BY p."timestamp" DESC, p.source DESC LIMIT 1) AS n ON true
     WHERE k.workspace_id = c.workspace_id AND k.id = c.kpi_id;
END
$$;
COMMENT ON FUNCTION sesari.roll_up IS
    'Makes days of kpi_rollups and the current value of their KPIs anew from the points';

-- After each statement on the points: "changed" holds its rows, new ones or deleted ones, and
-- "before" what updated ones were.
CREATE FUNCTION sesari.refresh_rollups() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    midnight CONSTANT timestamptz := '2000-01-01 00:00:00+00';
    one record;
    workspaces text[];
    kpis text[];
    days timestamptz[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        -- One point later than all others of its KPI, as most are, is added to what is there: the sum
        -- goes on where it stopped, as if it had been made anew. Whether it is later is judged under
        -- the lock, since an update looks again at a row that it waited for. By the variables the KPI
        -- is found along its key; joined to the statement's rows, whose number the planner does not
        -- know, it was found by reading all KPIs.
        SELECT c.*, count(*) OVER () AS how_many INTO one FROM (SELECT * FROM changed LIMIT 2) AS c LIMIT 1;
        IF one.how_many = 1 THEN
            UPDATE public.kpis AS k
               SET current_value = one.value, current_value_at = one."timestamp"
             WHERE k.workspace_id = one.workspace_id AND k.id = one.kpi_id AND k.deleted_at IS NULL
               AND (k.current_value_at IS NULL OR k.current_value_at < one."timestamp");
            IF FOUND THEN
                INSERT INTO public.kpi_rollups AS r
                       (workspace_id, kpi_id, day, points, sum, min, max, first, last)
                VALUES (one.workspace_id, one.kpi_id, date_bin('24 hours', one."timestamp", midnight), 1,
                        CASE WHEN one.value > -1e290 AND one.value < 1e290 THEN one.value END,
                        one.value, one.value, one.value, one.value)
                    ON CONFLICT (workspace_id, kpi_id, day) DO UPDATE
                   SET points = r.points + 1, sum = r.sum + excluded.sum,
                       min = least(r.min, excluded.min), max = greatest(r.max, excluded.max),
                       last = excluded.last;
                RETURN NULL;
            END IF;
        END IF;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        SELECT array_agg(c.workspace_id), array_agg(c.kpi_id), array_agg(c.day)
          INTO workspaces, kpis, days
          FROM (SELECT workspace_id, kpi_id, date_bin('24 hours', "timestamp", midnight) FROM changed
                UNION
                SELECT workspace_id, kpi_id, date_bin('24 hours', "timestamp", midnight) FROM before)
               AS c (workspace_id, kpi_id, day);
    ELSE
        SELECT array_agg(c.workspace_id), array_agg(c.kpi_id), array_agg(c.day)
          INTO workspaces, kpis, days
          FROM (SELECT DISTINCT workspace_id, kpi_id, date_bin('24 hours', "timestamp", midnight)
                  FROM changed) AS c (workspace_id, kpi_id, day);
    END IF;
    IF days IS NOT NULL THEN
        PERFORM sesari.roll_up(workspaces, kpis, days, TG_OP <> 'INSERT', TG_OP = 'DELETE');
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sesari.refresh_rollups IS
    'Trigger: kpis.current_value and kpi_rollups are what the data points say, whichever client writes';
CREATE TRIGGER kpi_data_points_follow_insert AFTER INSERT ON public.kpi_data_points
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION sesari.refresh_rollups();
CREATE TRIGGER kpi_data_points_follow_update AFTER UPDATE ON public.kpi_data_points
    REFERENCING OLD TABLE AS before NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION sesari.refresh_rollups();
CREATE TRIGGER kpi_data_points_follow_delete AFTER DELETE ON public.kpi_data_points
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION sesari.refresh_rollups();


-- Upkeep, for whoever administers the schema: nobody else may execute these -----------------------

-- The days of a KPI whose rollup is not what the points say. Points and rollups are read under one
-- snapshot, in which they agree whoever is writing: this takes no lock. As above, the plan has to
-- stay right while the rollups grow.
CREATE FUNCTION sesari.wrong_days(workspace text, kpi text) RETURNS timestamptz[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
BEGIN
    RETURN (
        SELECT coalesce(array_agg(coalesce(r.day, d.day) ORDER BY coalesce(r.day, d.day)), '{}')
          FROM (SELECT p.day, count(*) AS points,
                       CASE WHEN min(p.value) > -1e290 AND max(p.value) < 1e290 THEN
                           sum(p.value) FILTER (WHERE p.value > -1e290 AND p.value < 1e290) END AS sum,
                       min(p.value) AS min, max(p.value) AS max,
                       (array_agg(p.value))[1] AS first, (array_agg(p.value))[count(*)] AS last
                  FROM (SELECT date_bin('24 hours', "timestamp", '2000-01-01 00:00:00+00') AS day, value
                          FROM public.kpi_data_points
                         WHERE workspace_id = workspace AND kpi_id = kpi
                         ORDER BY day, "timestamp", source) AS p
                 GROUP BY p.day) AS d
          FULL JOIN (SELECT * FROM public.kpi_rollups
                      WHERE workspace_id = workspace AND kpi_id = kpi) AS r ON r.day = d.day
         WHERE (r.points, r.sum, r.min, r.max, r.first, r.last)
               IS DISTINCT FROM (d.points, d.sum, d.min, d.max, d.first, d.last));
END
$$;
COMMENT ON FUNCTION sesari.wrong_days IS
    'The days of a KPI, in order, whose row of kpi_rollups is missing, too many or not what the points say';

CREATE FUNCTION sesari.verify_rollups(
    only_workspace text, after_workspace text, after_kpi text, how_many integer)
    RETURNS TABLE (workspace_id text, kpi_id text, days timestamptz[], current_value boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF coalesce(how_many NOT BETWEEN 1 AND 10000, true) THEN
        RAISE invalid_parameter_value USING MESSAGE = 'expected 1 to 10000 kpis';
    END IF;
    RETURN QUERY
    SELECT k.workspace_id, k.id, sesari.wrong_days(k.workspace_id, k.id),
           (k.current_value, k.current_value_at) IS DISTINCT FROM (coalesce(n.value, 0), n."timestamp")
      FROM (SELECT * FROM public.kpis AS k
             WHERE (k.workspace_id, k.id) > (after_workspace, after_kpi)
               AND (only_workspace IS NULL OR k.workspace_id = only_workspace)
             ORDER BY k.workspace_id, k.id LIMIT how_many) AS k
      LEFT JOIN LATERAL (
           SELECT p.value, p."timestamp" FROM public.kpi_data_points AS p
            WHERE p.workspace_id = k.workspace_id AND p.kpi_id = k.id
            ORDER BY p."timestamp" DESC, p.source DESC LIMIT 1) AS n ON true
     ORDER BY k.workspace_id, k.id;
END
$$;
COMMENT ON FUNCTION sesari.verify_rollups IS
    'The next so many KPIs after one, of a workspace or of all, each with its days whose rollup is not what the points say, and whether its current value is not';

-- One KPI for each call, and so for each transaction: its writers wait that long, and nobody else.
CREATE FUNCTION sesari.rebuild_rollups(only_workspace text, after_workspace text, after_kpi text)
    RETURNS TABLE (workspace_id text, kpi_id text, days timestamptz[], current_value boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wrong record;
BEGIN
    SELECT * INTO wrong FROM sesari.verify_rollups(only_workspace, after_workspace, after_kpi, 1);
    IF cardinality(wrong.days) > 0 OR wrong.current_value THEN
        -- As its writers lock it; what they committed meanwhile is seen by the next statement.
        PERFORM FROM public.kpis AS k
          WHERE k.workspace_id = wrong.workspace_id AND k.id = wrong.kpi_id FOR NO KEY UPDATE;
        wrong.days := sesari.wrong_days(wrong.workspace_id, wrong.kpi_id);
        PERFORM sesari.roll_up(
            array_fill(wrong.workspace_id, ARRAY[greatest(cardinality(wrong.days), 1)]),
            array_fill(wrong.kpi_id, ARRAY[greatest(cardinality(wrong.days), 1)]),
            wrong.days, true, true);
    END IF;
    RETURN QUERY SELECT wrong.workspace_id, wrong.kpi_id, wrong.days, wrong.current_value
                  WHERE wrong.kpi_id IS NOT NULL;
END
$$;
COMMENT ON FUNCTION sesari.rebuild_rollups IS
    'Mends what verify_rollups finds of the next KPI after one, of a workspace or of all, and says what it was';

RESET ROLE;
