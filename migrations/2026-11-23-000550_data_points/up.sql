-- The history of the KPIs, and what it comes to day by day.
SET LOCAL ROLE sesari_owner;

-- kpi_data_points ------------------------------------------------------------------------------

-- Two points of a KPI that come without a time in one statement would have one key, since a clock that
-- counts milliseconds does not move on between them.
CREATE FUNCTION sesari.next_point_time() RETURNS timestamptz
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- In milliseconds since 1970; empty before the first, and whatever the transaction has made of it.
    last text := current_setting('sesari.last_point_time', true);
    next bigint := floor(extract(epoch FROM clock_timestamp()) * 1000);
BEGIN
    IF last ~ '^[0-9]{1,15}$' THEN
        next := greatest(next, last::bigint + 1);
    END IF;
    PERFORM set_config('sesari.last_point_time', next::text, true);
    RETURN to_timestamp(0) + next * interval '1 millisecond';
END
$$;
COMMENT ON FUNCTION sesari.next_point_time IS
    'The time of a data point that comes without one: the clock''s, in milliseconds, and later than any other that the transaction was given';
GRANT EXECUTE ON FUNCTION sesari.next_point_time TO sesari_tenant;

-- This is the table that grows. A point has no id: what it is says which one it is. The key carries
-- the value, and is all that most reads touch. The columns of eight bytes come first, so that none is
-- lost to alignment.
CREATE TABLE public.kpi_data_points (
    "timestamp" timestamptz(3) NOT NULL DEFAULT sesari.next_point_time(),
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
COMMENT ON COLUMN public.kpi_data_points."timestamp" IS 'When it was measured, to the millisecond; by default when it is recorded';
COMMENT ON COLUMN public.kpi_data_points.value IS 'Value, in the KPI''s unit';
COMMENT ON COLUMN public.kpi_data_points.workspace_id IS 'The workspace; by default the one of the context';
COMMENT ON COLUMN public.kpi_data_points.kpi_id IS 'The KPI measured';
COMMENT ON COLUMN public.kpi_data_points.source IS
    'Where it came from, such as manual, stripe or google_analytics; empty for none, null is stored so';


CREATE TRIGGER kpi_data_points_negative_zero BEFORE INSERT OR UPDATE ON public.kpi_data_points
    FOR EACH ROW WHEN (NEW.value = 0 AND float8send(NEW.value) <> '\x0000000000000000')
    EXECUTE FUNCTION sesari.drop_negative_zero('kpi_data_points');

-- Part of the key, so never null; clients to whom a missing source is null may write it as such.
CREATE FUNCTION sesari.fill_source() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.source := '';
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION sesari.fill_source IS 'Trigger: stores the empty source for null';
CREATE TRIGGER kpi_data_points_no_source BEFORE INSERT OR UPDATE ON public.kpi_data_points
    FOR EACH ROW WHEN (NEW.source IS NULL) EXECUTE FUNCTION sesari.fill_source();

-- A point that is deleted is gone for good: one entry for each KPI and statement says how many. What
-- goes down with its KPI is covered by the KPI's own entry.
CREATE FUNCTION sesari.audit_deleted_points() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET enable_seqscan = off
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
-- None of these triggers fires for points that are packed or unpacked, which stay what they are.
CREATE TRIGGER kpi_data_points_audit AFTER DELETE ON public.kpi_data_points
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT WHEN (CURRENT_USER <> 'sesari_owner' OR current_setting('sesari.repacking', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION sesari.audit_deleted_points();

SELECT sesari.protect_table('public.kpi_data_points', fixed => '{workspace_id,kpi_id}');
CREATE POLICY kpi_data_points_owner_select ON public.kpi_data_points FOR SELECT TO sesari_owner
    USING (true);


-- Days -----------------------------------------------------------------------------------------

-- The server's rules of the zone decide where a day of a workspace begins, each time that one is rolled
-- up for the first time. A rollup keeps its own bounds: what the rules or the zone become later makes no
-- rollup wrong.

CREATE FUNCTION sesari.first_shown(zone text, shown timestamp) RETURNS timestamptz
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- Of a time that is shown twice the server takes the second, of one that is skipped a moment after
    -- the gap. No clock is changed by more than a day at once.
    high timestamptz := shown AT TIME ZONE zone;
    low timestamptz := high - interval '25 hours';
    -- As if the clock had not been changed meanwhile.
    unchanged timestamptz := (shown - (low AT TIME ZONE zone - low AT TIME ZONE 'UTC')) AT TIME ZONE 'UTC';
    middle timestamptz;
BEGIN
    IF unchanged AT TIME ZONE zone = shown THEN
        RETURN least(unchanged, high);
    END IF;
    IF high AT TIME ZONE zone = shown THEN
        RETURN high;
    END IF;
    -- Skipped: when the gap ends. Offsets are whole seconds.
    WHILE high - low > interval '1 second' LOOP
        middle := low + date_trunc('second', (high - low) / 2);
        IF middle AT TIME ZONE zone < shown THEN
            low := middle;
        ELSE
            high := middle;
        END IF;
    END LOOP;
    RETURN high;
END
$$;
COMMENT ON FUNCTION sesari.first_shown IS
    'The first moment at which the clock of a zone shows this time or, where it skips it, a later one';

CREATE FUNCTION sesari.day_of(zone text, moment timestamptz, OUT day timestamptz, OUT day_end timestamptz)
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    midnight timestamp := date_trunc('day', moment AT TIME ZONE zone);
BEGIN
    day := sesari.first_shown(zone, midnight);
    LOOP
        midnight := midnight + interval '1 day';
        day_end := sesari.first_shown(zone, midnight);
        EXIT WHEN day_end > moment;
        -- Put back over midnight, the clock shows the date before again: the next day has begun.
        day := day_end;
    END LOOP;
END
$$;
COMMENT ON FUNCTION sesari.day_of IS
    'The day of a zone in which a moment lies: from when its clock first shows the date until it first shows a later one';


-- kpi_rollups ----------------------------------------------------------------------------------

-- The points of a KPI within a span of time, in the order of their key (time, then source): a day of the
-- workspace's zone or, until it is made anew, of the zone that the workspace had before, or what is left of
-- one of those. Spans do not overlap, and each point lies in one. A day without points has no row. As for
-- the points, the key carries what most reads touch: here the whole row in one piece, since picking
-- columns apart, gathering them into arrays and sending each element costs the server more than finding
-- them.
CREATE TABLE public.kpi_rollups (
    day timestamptz NOT NULL,
    day_end timestamptz NOT NULL,
    points bigint NOT NULL,
    sum double precision,
    min double precision NOT NULL,
    max double precision NOT NULL,
    first double precision NOT NULL,
    last double precision NOT NULL,
    workspace_id text NOT NULL DEFAULT sesari.current_workspace_id(),
    kpi_id text NOT NULL,
    packed bytea NOT NULL GENERATED ALWAYS AS (
        timestamptz_send(day) || timestamptz_send(day_end) || int8send(points) || float8send(coalesce(sum, 'NaN'))
        || float8send(min) || float8send(max) || float8send(first) || float8send(last)) STORED,
    CONSTRAINT kpi_rollups_pkey PRIMARY KEY (workspace_id, kpi_id, day) INCLUDE (packed),
    CONSTRAINT kpi_rollups_workspace_id_kpi_id_fkey FOREIGN KEY (workspace_id, kpi_id)
        REFERENCES public.kpis (workspace_id, id) ON DELETE CASCADE,
    -- Whoever looks for the rollups that reach into a span begins so much before it.
    CONSTRAINT kpi_rollups_day_day_end_check CHECK (day < day_end AND day_end - day <= interval '50 hours')
);
COMMENT ON TABLE public.kpi_rollups IS
    'What the data points of a KPI come to in a day of the workspace; kept by a trigger';
COMMENT ON COLUMN public.kpi_rollups.day IS 'When the day starts';
COMMENT ON COLUMN public.kpi_rollups.day_end IS 'When it ends; a point of that moment is not in it';
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
    'Start, end, points, sum (NaN for null), min, max, first and last, eight bytes each in the binary format';

-- By columns alone, although it is all of them: DROP OWNED BY CURRENT_USER, which would drop the policies of a
-- role for its members, fails on a table of which the role holds columns and nothing else.
SELECT sesari.protect_table('public.kpi_rollups', may_insert => NULL, may_update => NULL, may_delete => NULL,
    readable => '{day,day_end,points,sum,min,max,first,last,workspace_id,kpi_id,packed}');
CREATE POLICY kpi_rollups_owner_select ON public.kpi_rollups FOR SELECT TO sesari_owner USING (true);
CREATE POLICY kpi_rollups_owner_insert ON public.kpi_rollups FOR INSERT TO sesari_owner
    WITH CHECK (true);
CREATE POLICY kpi_rollups_owner_update ON public.kpi_rollups FOR UPDATE TO sesari_owner
    USING (true) WITH CHECK (true);
CREATE POLICY kpi_rollups_owner_delete ON public.kpi_rollups FOR DELETE TO sesari_owner USING (true);

-- Makes the days of these points anew, along the key, and then the current value of their KPIs: of each
-- KPI the oldest and the newest of the points on a date. A day without points has no row. Whoever
-- writes points of a KPI holds its lock until the end. The arrays differ in length from call to call, and
-- planning for each would cost more than it finds. Nor may a plan that was made while there were few
-- rollups, or none, read all of them once they are many: the days are found along the key, one after the
-- other.
CREATE FUNCTION sesari.roll_up(
    workspace text, zone text, kpis text[], oldest timestamptz[], newest timestamptz[],
    may_be_empty boolean, may_be_deleted boolean)
    RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    deleted boolean;
    kpis_of_days text[];
    days timestamptz[];
    ends timestamptz[];
    replaced record;
BEGIN
    -- Locked in one order, so that concurrent batches over the same KPIs queue and never deadlock,
    -- and never stronger than this: the foreign key of every insert holds a share lock that goes
    -- with it, while two who both asked for more would wait for each other. Whether a KPI is deleted
    -- is read under the lock: a deletion about to be committed counts.
    SELECT bool_or(k.deleted_at IS NOT NULL) INTO deleted
      FROM (SELECT k.deleted_at FROM public.kpis AS k
             WHERE k.workspace_id = workspace AND k.id = ANY (kpis)
             ORDER BY k.id FOR NO KEY UPDATE) AS k;
    -- None is left where the points go down with their KPI.
    IF deleted IS NULL THEN
        RETURN;
    END IF;
    IF deleted AND NOT may_be_deleted THEN
        RAISE foreign_key_violation USING
            MESSAGE = 'the kpi of a data point is deleted',
            CONSTRAINT = 'kpi_data_points_kpi_not_deleted';
    END IF;
    -- A day is found once for all KPIs. What a clock that is put back over midnight shows of one date may
    -- lie in two days.
    WITH points AS MATERIALIZED (
             SELECT *, date_trunc('day', u.oldest AT TIME ZONE zone) AS shown
               FROM unnest(kpis, oldest, newest) AS u (kpi_id, oldest, newest)),
         days AS MATERIALIZED (
             SELECT DISTINCT p.shown, d.day, d.day_end
               FROM (SELECT p.shown, min(p.oldest) AS oldest, max(p.newest) AS newest
                       FROM points AS p GROUP BY p.shown) AS p
              CROSS JOIN LATERAL unnest(ARRAY[p.oldest, p.newest]) AS m (moment)
              CROSS JOIN LATERAL sesari.day_of(zone, m.moment) AS d)
    SELECT array_agg(t.kpi_id), array_agg(t.day), array_agg(t.day_end) INTO kpis_of_days, days, ends
      FROM (SELECT DISTINCT p.kpi_id, d.day, d.day_end
              FROM points AS p JOIN days AS d ON d.shown = p.shown
             WHERE p.oldest < d.day_end AND p.newest >= d.day) AS t;
    -- Rollups of another zone, or of other rules, that reach into these days give way to them. What of
    -- them lies outside is rolled up as the part of a day that it is.
    WITH others AS MATERIALIZED (
             SELECT r.place, r.kpi_id,
                    tstzmultirange(tstzrange(r.day, r.day_end)) - range_agg(tstzrange(t.day, t.day_end)) AS rest
               FROM unnest(kpis_of_days, days, ends) AS t (kpi_id, day, day_end)
              CROSS JOIN LATERAL (
                    SELECT r.ctid AS place, r.kpi_id, r.day, r.day_end FROM public.kpi_rollups AS r
                     WHERE r.workspace_id = workspace AND r.kpi_id = t.kpi_id
                       AND r.day > t.day - interval '50 hours' AND r.day < t.day_end
                       AND r.day_end > t.day AND (r.day, r.day_end) <> (t.day, t.day_end)
                     OFFSET 0) AS r
              GROUP BY r.place, r.kpi_id, r.day, r.day_end)
    SELECT ARRAY(SELECT o.place FROM others AS o) AS places, array_agg(o.kpi_id) AS kpis,
           array_agg(lower(o.part)) AS days, array_agg(upper(o.part)) AS ends INTO replaced
      FROM (SELECT o.kpi_id, unnest(o.rest) AS part FROM others AS o) AS o;
    IF cardinality(replaced.places) > 0 THEN
        DELETE FROM public.kpi_rollups WHERE ctid = ANY (replaced.places);
        kpis_of_days := kpis_of_days || replaced.kpis;
        days := days || replaced.days;
        ends := ends || replaced.ends;
    END IF;
    IF may_be_empty THEN
        -- By their place, which nobody can change meanwhile: a join would have the planner choose.
        DELETE FROM public.kpi_rollups
         WHERE ctid = ANY (ARRAY(
               SELECT r.ctid
                 FROM unnest(kpis_of_days, days, ends) AS t (kpi_id, day, day_end)
                CROSS JOIN LATERAL (
                      SELECT r.ctid FROM public.kpi_rollups AS r
                       WHERE r.workspace_id = workspace AND r.kpi_id = t.kpi_id AND r.day = t.day
                       LIMIT 1) AS r
                 LEFT JOIN LATERAL (
                      SELECT true AS found FROM sesari.points_between(workspace, t.kpi_id, t.day, t.day_end) AS p
                       LIMIT 1) AS p ON true
                WHERE p.found IS NULL));
    END IF;
    -- An addition that leaves the range of the type is an error, which must not refuse the points.
    INSERT INTO public.kpi_rollups AS r
           (workspace_id, kpi_id, day, day_end, points, sum, min, max, first, last)
    SELECT workspace, t.kpi_id, t.day, t.day_end, d.points,
           CASE WHEN d.min > -1e290 AND d.max < 1e290 THEN d.sum END,
           d.min, d.max, d.values[1], d.values[d.points]
      FROM unnest(kpis_of_days, days, ends) AS t (kpi_id, day, day_end)
     CROSS JOIN LATERAL (
           SELECT count(*) AS points, min(p.value) AS min, max(p.value) AS max,
                  sum(p.value) FILTER (WHERE p.value > -1e290 AND p.value < 1e290) AS sum,
                  array_agg(p.value) AS values
             FROM (SELECT p.value FROM sesari.points_between(workspace, t.kpi_id, t.day, t.day_end) AS p
                    ORDER BY p."timestamp", p.source COLLATE "C") AS p) AS d
     WHERE d.points > 0
        ON CONFLICT (workspace_id, kpi_id, day) DO UPDATE
       SET points = excluded.points, sum = excluded.sum, min = excluded.min, max = excluded.max,
           first = excluded.first, last = excluded.last;
    -- The newest point is never packed: so much of what is left is unpacked.
    IF may_be_empty THEN
        PERFORM sesari.unpack_spans(workspace, array_agg(s.kpi_id), array_agg(s.starts_at))
           FROM (SELECT DISTINCT * FROM unnest(kpis)) AS c (kpi_id)
          CROSS JOIN LATERAL (
                SELECT s.kpi_id, s.starts_at, s.ends_at FROM public.kpi_packed_points AS s
                 WHERE s.workspace_id = workspace AND s.kpi_id = c.kpi_id
                 ORDER BY s.starts_at DESC LIMIT 1) AS s
          WHERE NOT EXISTS (
                SELECT FROM public.kpi_data_points AS p
                 WHERE p.workspace_id = workspace AND p.kpi_id = s.kpi_id AND p."timestamp" > s.ends_at)
         HAVING count(*) > 0;
    END IF;
    -- Written even where nothing changes: under REPEATABLE READ a writer whose snapshot is older
    -- than another's points must fail, and only a new version of the row makes it.
    UPDATE public.kpis AS k
       SET current_value = coalesce(n.value, 0), current_value_at = n."timestamp"
      FROM (SELECT DISTINCT * FROM unnest(kpis)) AS c (kpi_id)
      LEFT JOIN LATERAL (
           SELECT p.value, p."timestamp" FROM public.kpi_data_points AS p
            WHERE p.workspace_id = workspace AND p.kpi_id = c.kpi_id
            ORDER BY p."timestamp" DESC, p.source DESC LIMIT 1) AS n ON true
     WHERE k.workspace_id = workspace AND k.id = c.kpi_id;
END
$$;
COMMENT ON FUNCTION sesari.roll_up IS
    'Makes days of kpi_rollups and the current value of their KPIs anew from the points';

-- After each statement on the points: "changed" holds its rows, new ones or deleted ones, and
-- "before" what updated ones were.
CREATE FUNCTION sesari.refresh_rollups() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
DECLARE
    one record;
    workspace text;
    zone text;
    kpis text[];
    oldest timestamptz[];
    newest timestamptz[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        -- One point later than all others of its KPI, as most are, is added to what is there: the sum
        -- goes on where it stopped, as if it had been made anew. Whether it is later is judged under
        -- the lock, since an update looks again at a row that it waited for. By the variables the KPI
        -- is found along its key; joined to the statement's rows, whose number the planner does not
        -- know, it was found by reading all KPIs.
        SELECT c.*, CASE WHEN c.value > -1e290 AND c.value < 1e290 THEN c.value END AS addend,
               count(*) OVER () AS how_many
          INTO one FROM (SELECT * FROM changed LIMIT 2) AS c LIMIT 1;
        IF one.how_many = 1 THEN
            UPDATE public.kpis AS k
               SET current_value = one.value, current_value_at = one."timestamp"
             WHERE k.workspace_id = one.workspace_id AND k.id = one.kpi_id AND k.deleted_at IS NULL
               AND (k.current_value_at IS NULL OR k.current_value_at < one."timestamp");
            IF FOUND THEN
                -- Its day, whichever zone that was made in.
                UPDATE public.kpi_rollups AS r
                   SET points = r.points + 1, sum = r.sum + one.addend,
                       min = least(r.min, one.value), max = greatest(r.max, one.value), last = one.value
                 WHERE r.workspace_id = one.workspace_id AND r.kpi_id = one.kpi_id
                   AND r.day = (SELECT l.day FROM public.kpi_rollups AS l
                                 WHERE l.workspace_id = one.workspace_id AND l.kpi_id = one.kpi_id
                                   AND l.day <= one."timestamp" ORDER BY l.day DESC LIMIT 1)
                   AND r.day_end > one."timestamp";
                IF NOT FOUND THEN
                    INSERT INTO public.kpi_rollups
                           (workspace_id, kpi_id, day, day_end, points, sum, min, max, first, last)
                    SELECT one.workspace_id, one.kpi_id,
                           greatest(d.day, (
                               SELECT l.day_end FROM public.kpi_rollups AS l
                                WHERE l.workspace_id = one.workspace_id AND l.kpi_id = one.kpi_id
                                  AND l.day <= one."timestamp" ORDER BY l.day DESC LIMIT 1)),
                           d.day_end, 1, one.addend, one.value, one.value, one.value, one.value
                      FROM public.workspaces AS w
                     CROSS JOIN LATERAL sesari.day_of(w.time_zone, one."timestamp") AS d
                     WHERE w.id = one.workspace_id;
                END IF;
                RETURN NULL;
            END IF;
        END IF;
    END IF;
    -- Of one workspace, unless somebody administers them all. In one order, as KPIs are locked.
    FOR workspace IN SELECT DISTINCT c.workspace_id FROM changed AS c ORDER BY c.workspace_id LOOP
        SELECT w.time_zone INTO zone FROM public.workspaces AS w WHERE w.id = workspace;
        -- None where the points go down with their workspace.
        CONTINUE WHEN zone IS NULL;
        IF TG_OP = 'UPDATE' THEN
            SELECT array_agg(c.kpi_id), array_agg(c.oldest), array_agg(c.newest) INTO kpis, oldest, newest
              FROM (SELECT c.kpi_id, min(c."timestamp") AS oldest, max(c."timestamp") AS newest
                      FROM (SELECT * FROM changed UNION ALL SELECT * FROM before) AS c
                     WHERE c.workspace_id = workspace
                     GROUP BY c.kpi_id, date_trunc('day', c."timestamp" AT TIME ZONE zone)) AS c;
        ELSE
            SELECT array_agg(c.kpi_id), array_agg(c.oldest), array_agg(c.newest) INTO kpis, oldest, newest
              FROM (SELECT c.kpi_id, min(c."timestamp") AS oldest, max(c."timestamp") AS newest
                      FROM changed AS c WHERE c.workspace_id = workspace
                     GROUP BY c.kpi_id, date_trunc('day', c."timestamp" AT TIME ZONE zone)) AS c;
        END IF;
        PERFORM sesari.roll_up(
            workspace, zone, kpis, oldest, newest, TG_OP <> 'INSERT', TG_OP = 'DELETE');
        -- Under the lock of the KPIs, by which whoever packs is done.
        CONTINUE WHEN TG_OP = 'DELETE' OR NOT sesari.is_packed_around(workspace, kpis, oldest, newest);
        IF EXISTS (
            SELECT FROM (SELECT array_agg(c.kpi_id) AS kpis, array_agg(c."timestamp") AS times
                           FROM changed AS c WHERE c.workspace_id = workspace) AS c
             CROSS JOIN LATERAL sesari.spans_at(workspace, c.kpis, c.times) AS s)
        THEN
            RAISE exclusion_violation USING
                MESSAGE = 'the history of the KPI is packed around the time of a point',
                HINT = 'SELECT sesari.unpack_points(<ids of the KPIs>, <times of the points>) before',
                CONSTRAINT = 'kpi_packed_points_no_overlap';
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sesari.refresh_rollups IS
    'Trigger: kpis.current_value and kpi_rollups are what the data points say, whichever client writes';
CREATE TRIGGER kpi_data_points_follow_insert AFTER INSERT ON public.kpi_data_points
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT WHEN (CURRENT_USER <> 'sesari_owner' OR current_setting('sesari.repacking', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION sesari.refresh_rollups();
CREATE TRIGGER kpi_data_points_follow_update AFTER UPDATE ON public.kpi_data_points
    REFERENCING OLD TABLE AS before NEW TABLE AS changed
    FOR EACH STATEMENT WHEN (CURRENT_USER <> 'sesari_owner' OR current_setting('sesari.repacking', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION sesari.refresh_rollups();
CREATE TRIGGER kpi_data_points_follow_delete AFTER DELETE ON public.kpi_data_points
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT WHEN (CURRENT_USER <> 'sesari_owner' OR current_setting('sesari.repacking', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION sesari.refresh_rollups();


-- Upkeep ---------------------------------------------------------------------------------------

-- What of a KPI's rollups is not what the points say, and what is, but of no day of this zone. Points and
-- rollups are read under one snapshot, in which they agree whoever is writing: this takes no lock. As
-- above, the plan has to stay right while the rollups grow.
CREATE FUNCTION sesari.rollup_differences(
    workspace text, kpi text, zone text, OUT wrong timestamptz[], OUT moved timestamptz[])
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
DECLARE
    days timestamptz[];
    ends timestamptz[];
BEGIN
    SELECT coalesce(array_agg(r.day ORDER BY r.day), '{}'), coalesce(array_agg(r.day_end ORDER BY r.day), '{}')
      INTO days, ends
      FROM public.kpi_rollups AS r WHERE r.workspace_id = workspace AND r.kpi_id = kpi;
    -- Each point belongs to the last rollup that starts before it, or, where that has ended, to none.
    SELECT coalesce(array_agg(w.day ORDER BY w.day), '{}') INTO wrong
      FROM (SELECT DISTINCT coalesce(r.day, (sesari.day_of(zone, d.oldest)).day) AS day
              FROM (SELECT p.day, p.shown, min(p."timestamp") AS oldest, count(*) AS points,
                           CASE WHEN min(p.value) > -1e290 AND max(p.value) < 1e290 THEN
                               sum(p.value) FILTER (WHERE p.value > -1e290 AND p.value < 1e290) END AS sum,
                           min(p.value) AS min, max(p.value) AS max,
                           (array_agg(p.value))[1] AS first, (array_agg(p.value))[count(*)] AS last
                      FROM (SELECT p.*, CASE WHEN p.day IS NULL THEN
                                       date_trunc('day', p."timestamp" AT TIME ZONE zone) END AS shown
                              FROM (SELECT p."timestamp", p.source, p.value,
                                           CASE WHEN p."timestamp" < ends[width_bucket(p."timestamp", days)]
                                                THEN days[width_bucket(p."timestamp", days)] END AS day
                                      FROM sesari.points_between(workspace, kpi, '-infinity', 'infinity') AS p) AS p
                             ORDER BY day, shown, p."timestamp", p.source COLLATE "C") AS p
                     GROUP BY p.day, p.shown) AS d
              FULL JOIN (SELECT * FROM public.kpi_rollups AS r
                          WHERE r.workspace_id = workspace AND r.kpi_id = kpi) AS r ON r.day = d.day
             WHERE (r.points, r.sum, r.min, r.max, r.first, r.last)
                   IS DISTINCT FROM (d.points, d.sum, d.min, d.max, d.first, d.last)) AS w;
    SELECT coalesce(array_agg(r.day ORDER BY r.day), '{}') INTO moved
      FROM unnest(days, ends) AS r (day, day_end)
     CROSS JOIN LATERAL sesari.day_of(zone, r.day) AS d
     WHERE (r.day, r.day_end) <> (d.day, d.day_end) AND r.day <> ALL (wrong);
END
$$;
COMMENT ON FUNCTION sesari.rollup_differences IS
    'The days of a KPI, in order, whose row of kpi_rollups is missing, too many or not what the points say; and those of the rows that are right and no day of this zone';

-- Makes anew what these rollups of a KPI are of, in days of the zone.
CREATE FUNCTION sesari.roll_up_again(workspace text, zone text, kpis text[], days timestamptz[])
    RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    kpis_of_points text[];
    oldest timestamptz[];
    newest timestamptz[];
BEGIN
    SELECT array_agg(t.kpi_id), array_agg(m.oldest), array_agg(m.newest)
      INTO kpis_of_points, oldest, newest
      FROM unnest(kpis, days) AS t (kpi_id, day)
     CROSS JOIN LATERAL (
           SELECT t.day AS oldest, t.day AS newest
           UNION ALL
           SELECT min(p."timestamp"), max(p."timestamp")
             FROM public.kpi_rollups AS r
            CROSS JOIN LATERAL (
                  SELECT p."timestamp" FROM sesari.points_between(workspace, t.kpi_id, r.day, r.day_end) AS p
                  OFFSET 0) AS p
            WHERE r.workspace_id = workspace AND r.kpi_id = t.kpi_id AND r.day = t.day
            GROUP BY date_trunc('day', p."timestamp" AT TIME ZONE zone)) AS m;
    PERFORM sesari.roll_up(workspace, zone, kpis_of_points, oldest, newest, true, true);
END
$$;
COMMENT ON FUNCTION sesari.roll_up_again IS
    'Makes the days of a zone anew that these rollups reach into; null for no day, and the current value alone';

-- For the workspace of the context: what its writers' trigger does. A rollup that is of no day of the
-- workspace's zone is right, and read past: nobody waits for this.
CREATE FUNCTION sesari.rezone_rollups(
    after_kpi text, after_day timestamptz, how_many integer,
    OUT rollups bigint, OUT rezoned bigint, OUT last_kpi text, OUT last_day timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
DECLARE
    workspace text := sesari.current_workspace_id();
    zone text;
    kpis text[];
    days timestamptz[];
BEGIN
    IF coalesce(how_many NOT BETWEEN 1 AND 10000, true) THEN
        RAISE invalid_parameter_value USING MESSAGE = 'expected 1 to 10000 rollups';
    END IF;
    SELECT w.time_zone INTO zone FROM public.workspaces AS w WHERE w.id = workspace;
    WITH batch AS MATERIALIZED (
             SELECT r.kpi_id, r.day, r.day_end FROM public.kpi_rollups AS r
              WHERE r.workspace_id = workspace AND (r.kpi_id, r.day) > (after_kpi, after_day)
              ORDER BY r.kpi_id, r.day LIMIT how_many),
         -- Once for all KPIs.
         others AS MATERIALIZED (
             SELECT b.day, b.day_end FROM (SELECT DISTINCT b.day, b.day_end FROM batch AS b) AS b
              CROSS JOIN LATERAL sesari.day_of(zone, b.day) AS d
              WHERE (b.day, b.day_end) <> (d.day, d.day_end)),
         rest AS (SELECT b.kpi_id, b.day FROM batch AS b JOIN others AS o ON o.day = b.day AND o.day_end = b.day_end)
    SELECT (SELECT count(*) FROM batch AS b), count(*), array_agg(r.kpi_id), array_agg(r.day),
           (SELECT b.kpi_id FROM batch AS b ORDER BY b.kpi_id DESC, b.day DESC LIMIT 1),
           (SELECT b.day FROM batch AS b ORDER BY b.kpi_id DESC, b.day DESC LIMIT 1)
      INTO rollups, rezoned, kpis, days, last_kpi, last_day FROM rest AS r;
    IF rezoned > 0 THEN
        PERFORM sesari.roll_up_again(workspace, zone, kpis, days);
    END IF;
END
$$;
COMMENT ON FUNCTION sesari.rezone_rollups IS
    'Makes those of the next so many rollups after one, in the current workspace, that are of no day of its zone anew; says how many there were of both, and which was the last';
GRANT EXECUTE ON FUNCTION sesari.rezone_rollups TO sesari_tenant;

-- What follows is for whoever administers the schema: nobody else may execute it.

CREATE FUNCTION sesari.verify_rollups(
    only_workspace text, after_workspace text, after_kpi text, how_many integer)
    RETURNS TABLE (workspace_id text, kpi_id text, wrong timestamptz[], moved timestamptz[], current_value boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF coalesce(how_many NOT BETWEEN 1 AND 10000, true) THEN
        RAISE invalid_parameter_value USING MESSAGE = 'expected 1 to 10000 kpis';
    END IF;
    RETURN QUERY
    SELECT k.workspace_id, k.id, d.wrong, d.moved,
           (k.current_value, k.current_value_at) IS DISTINCT FROM (coalesce(n.value, 0), n."timestamp")
      FROM (SELECT * FROM public.kpis AS k
             WHERE (k.workspace_id, k.id) > (after_workspace, after_kpi)
               AND (only_workspace IS NULL OR k.workspace_id = only_workspace)
             ORDER BY k.workspace_id, k.id LIMIT how_many) AS k
     CROSS JOIN LATERAL sesari.rollup_differences(k.workspace_id, k.id, (
           SELECT w.time_zone FROM public.workspaces AS w WHERE w.id = k.workspace_id)) AS d
      LEFT JOIN LATERAL sesari.last_point_between(k.workspace_id, k.id, '-infinity', 'infinity') AS n ON true
     ORDER BY k.workspace_id, k.id;
END
$$;
COMMENT ON FUNCTION sesari.verify_rollups IS
    'The next so many KPIs after one, of a workspace or of all, each with its days whose rollup is not what the points say, those whose rollup is right and of no day of the zone, and whether its current value is not';

-- One KPI for each call, and so for each transaction: its writers wait that long, and nobody else.
CREATE FUNCTION sesari.rebuild_rollups(only_workspace text, after_workspace text, after_kpi text)
    RETURNS TABLE (workspace_id text, kpi_id text, wrong timestamptz[], moved timestamptz[], current_value boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    one record;
    zone text;
BEGIN
    SELECT * INTO one FROM sesari.verify_rollups(only_workspace, after_workspace, after_kpi, 1);
    IF cardinality(one.wrong || one.moved) > 0 OR one.current_value THEN
        -- As its writers lock it; what they committed meanwhile is seen by the next statement.
        PERFORM FROM public.kpis AS k
          WHERE k.workspace_id = one.workspace_id AND k.id = one.kpi_id FOR NO KEY UPDATE;
        SELECT w.time_zone INTO zone FROM public.workspaces AS w WHERE w.id = one.workspace_id;
        SELECT d.wrong, d.moved INTO one.wrong, one.moved
          FROM sesari.rollup_differences(one.workspace_id, one.kpi_id, zone) AS d;
        PERFORM sesari.roll_up_again(
            one.workspace_id, zone,
            array_fill(one.kpi_id, ARRAY[cardinality(one.wrong || one.moved) + 1]),
            one.wrong || one.moved || NULL::timestamptz);
    END IF;
    RETURN QUERY SELECT one.workspace_id, one.kpi_id, one.wrong, one.moved, one.current_value
                  WHERE one.kpi_id IS NOT NULL;
END
$$;
COMMENT ON FUNCTION sesari.rebuild_rollups IS
    'Mends what verify_rollups finds of the next KPI after one, of a workspace or of all, and says what it was';

RESET ROLE;
