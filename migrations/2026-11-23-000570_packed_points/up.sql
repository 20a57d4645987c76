-- Closed history of the KPIs: runs of points in a row each, in a twentieth of the space.
SET LOCAL ROLE sesari_owner;
-- The bodies below read under policies, which the migrations' own setting refuses to be put under.
SET LOCAL check_function_bodies = off;

-- A span holds the points of a KPI from one moment to another, in the order of their key. Spans do not
-- overlap, no point of kpi_data_points lies within one, and the newest point of a KPI is in none: what is
-- written day by day never meets them.
CREATE TABLE public.kpi_packed_points (
    starts_at timestamptz(3) NOT NULL,
    ends_at timestamptz(3) NOT NULL,
    points integer NOT NULL,
    workspace_id text NOT NULL DEFAULT sesari.current_workspace_id(),
    kpi_id text NOT NULL,
    point_offsets integer[] NOT NULL,
    point_values double precision[] NOT NULL,
    point_sources text[] COLLATE "C" NOT NULL,
    CONSTRAINT kpi_packed_points_pkey PRIMARY KEY (workspace_id, kpi_id, starts_at),
    CONSTRAINT kpi_packed_points_workspace_id_kpi_id_fkey FOREIGN KEY (workspace_id, kpi_id)
        REFERENCES public.kpis (workspace_id, id) ON DELETE CASCADE,
    -- An offset is an integer of milliseconds. Whoever looks for the spans that reach into a time begins so
    -- much before it.
    CONSTRAINT kpi_packed_points_starts_at_ends_at_check CHECK (
        starts_at <= ends_at AND ends_at - starts_at < interval '24 days'),
    CONSTRAINT kpi_packed_points_points_check CHECK (points >= 8 AND points <= 1000),
    CONSTRAINT kpi_packed_points_points_point_offsets_starts_at_ends_at_check CHECK (
        points = cardinality(point_offsets) AND array_position(point_offsets, NULL) IS NULL
        AND point_offsets[1] = 0 AND starts_at + point_offsets[points] * interval '1 millisecond' = ends_at),
    CONSTRAINT kpi_packed_points_points_point_values_check CHECK (points = cardinality(point_values)),
    CONSTRAINT kpi_packed_points_point_values_check CHECK (
        array_position(point_values, NULL) IS NULL AND '-Infinity' < ALL (point_values)
        AND 'Infinity' > ALL (point_values)),
    CONSTRAINT kpi_packed_points_points_point_sources_check CHECK (
        points = cardinality(point_sources) OR cardinality(point_sources) = 1),
    CONSTRAINT kpi_packed_points_point_sources_check CHECK (array_position(point_sources, NULL) IS NULL)
);
COMMENT ON TABLE public.kpi_packed_points IS
    'Closed history of the KPIs, packed by sesari.pack_points; kpi_points shows its points one by one';
COMMENT ON COLUMN public.kpi_packed_points.starts_at IS 'When the first of the points was measured';
COMMENT ON COLUMN public.kpi_packed_points.ends_at IS 'When the last of the points was measured';
COMMENT ON COLUMN public.kpi_packed_points.points IS 'How many points, from 8 to 1000';
COMMENT ON COLUMN public.kpi_packed_points.workspace_id IS 'The workspace';
COMMENT ON COLUMN public.kpi_packed_points.kpi_id IS 'The KPI measured';
COMMENT ON COLUMN public.kpi_packed_points.point_offsets IS
    'When each was measured, in milliseconds from starts_at, ascending';
COMMENT ON COLUMN public.kpi_packed_points.point_values IS 'Its value, in the KPI''s unit';
COMMENT ON COLUMN public.kpi_packed_points.point_sources IS
    'Where it came from, empty for none; one entry where that is the same for all';

-- By columns alone, as kpi_rollups.
SELECT sesari.protect_table('public.kpi_packed_points', may_insert => NULL, may_update => NULL, may_delete => NULL,
    readable => '{starts_at,ends_at,points,workspace_id,kpi_id,point_offsets,point_values,point_sources}');
CREATE POLICY kpi_packed_points_owner_select ON public.kpi_packed_points FOR SELECT TO sesari_owner USING (true);
CREATE POLICY kpi_packed_points_owner_insert ON public.kpi_packed_points FOR INSERT TO sesari_owner
    WITH CHECK (true);
CREATE POLICY kpi_packed_points_owner_delete ON public.kpi_packed_points FOR DELETE TO sesari_owner
    USING (true);
-- Packing moves points from one table to the other, unpacking back.
CREATE POLICY kpi_data_points_owner_insert ON public.kpi_data_points FOR INSERT TO sesari_owner
    WITH CHECK (true);
CREATE POLICY kpi_data_points_owner_delete ON public.kpi_data_points FOR DELETE TO sesari_owner USING (true);


-- Reading --------------------------------------------------------------------------------------

CREATE FUNCTION sesari.points_of_span(
    starts_at timestamptz, point_offsets integer[], point_values double precision[], point_sources text[])
    RETURNS TABLE ("timestamp" timestamptz, source text, value double precision)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    -- An element of a long array takes reading the array: so none is asked for by its number.
    SELECT starts_at + u.at * interval '1 millisecond', coalesce(u.source, point_sources[1]), u.value
      FROM unnest(point_offsets, point_values,
                  CASE WHEN cardinality(point_sources) > 1 THEN point_sources END) AS u (at, value, source)
$$;
COMMENT ON FUNCTION sesari.points_of_span IS 'The points of a row of kpi_packed_points';
GRANT EXECUTE ON FUNCTION sesari.points_of_span TO sesari_tenant;

-- These become part of the statement that calls them, and read what its login may. Whoever orders by the
-- source says COLLATE "C", which the columns of a function cannot.
CREATE FUNCTION sesari.points_between(workspace text, kpi text, "from" timestamptz, "to" timestamptz)
    RETURNS TABLE ("timestamp" timestamptz, source text, value double precision)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT p."timestamp", p.source, p.value FROM public.kpi_data_points AS p
     WHERE p.workspace_id = workspace AND p.kpi_id = kpi AND p."timestamp" >= "from" AND p."timestamp" < "to"
    UNION ALL
    SELECT u."timestamp", u.source, u.value
      FROM public.kpi_packed_points AS s
     CROSS JOIN LATERAL sesari.points_of_span(s.starts_at, s.point_offsets, s.point_values, s.point_sources) AS u
     WHERE s.workspace_id = workspace AND s.kpi_id = kpi
       AND s.starts_at > "from" - interval '24 days' AND s.starts_at < "to" AND s.ends_at >= "from"
       AND u."timestamp" >= "from" AND u."timestamp" < "to"
$$;
COMMENT ON FUNCTION sesari.points_between IS
    'The points of a KPI from one moment until before another, packed or not, in no order';
GRANT EXECUTE ON FUNCTION sesari.points_between TO sesari_tenant;

-- The last span that starts before the end has a point before the end, its first. Where none of its points
-- is in the range, those of earlier spans are not either.
CREATE FUNCTION sesari.last_point_between(workspace text, kpi text, "from" timestamptz, "to" timestamptz)
    RETURNS TABLE ("timestamp" timestamptz, source text, value double precision)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT l."timestamp", l.source, l.value
      FROM ((SELECT p."timestamp", p.source, p.value FROM public.kpi_data_points AS p
              WHERE p.workspace_id = workspace AND p.kpi_id = kpi AND p."timestamp" >= "from" AND p."timestamp" < "to"
              ORDER BY p."timestamp" DESC, p.source DESC LIMIT 1)
            UNION ALL
            SELECT u."timestamp", u.source, u.value
              FROM (SELECT * FROM public.kpi_packed_points AS s
                     WHERE s.workspace_id = workspace AND s.kpi_id = kpi AND s.starts_at < "to"
                     ORDER BY s.starts_at DESC LIMIT 1) AS s
             CROSS JOIN LATERAL sesari.points_of_span(s.starts_at, s.point_offsets, s.point_values, s.point_sources) AS u
             WHERE u."timestamp" >= "from" AND u."timestamp" < "to") AS l
     ORDER BY l."timestamp" DESC, l.source COLLATE "C" DESC LIMIT 1
$$;
COMMENT ON FUNCTION sesari.last_point_between IS
    'The last point of a KPI, by time and then source, from one moment until before another, packed or not';
GRANT EXECUTE ON FUNCTION sesari.last_point_between TO sesari_tenant;

-- As above, from the other end: the first span that ends at the start or later.
CREATE FUNCTION sesari.first_point_between(workspace text, kpi text, "from" timestamptz, "to" timestamptz)
    RETURNS TABLE ("timestamp" timestamptz, source text, value double precision)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT f."timestamp", f.source, f.value
      FROM ((SELECT p."timestamp", p.source, p.value FROM public.kpi_data_points AS p
              WHERE p.workspace_id = workspace AND p.kpi_id = kpi AND p."timestamp" >= "from" AND p."timestamp" < "to"
              ORDER BY p."timestamp", p.source LIMIT 1)
            UNION ALL
            SELECT u."timestamp", u.source, u.value
              FROM (SELECT * FROM public.kpi_packed_points AS s
                     WHERE s.workspace_id = workspace AND s.kpi_id = kpi
                       AND s.starts_at > "from" - interval '24 days' AND s.ends_at >= "from"
                     ORDER BY s.starts_at LIMIT 1) AS s
             CROSS JOIN LATERAL sesari.points_of_span(s.starts_at, s.point_offsets, s.point_values, s.point_sources) AS u
             WHERE u."timestamp" >= "from" AND u."timestamp" < "to") AS f
     ORDER BY f."timestamp", f.source COLLATE "C" LIMIT 1
$$;
COMMENT ON FUNCTION sesari.first_point_between IS
    'The first point of a KPI, by time and then source, from one moment until before another, packed or not';
GRANT EXECUTE ON FUNCTION sesari.first_point_between TO sesari_tenant;

CREATE VIEW public.kpi_points WITH (security_invoker = true) AS
    SELECT p.workspace_id, p.kpi_id, p."timestamp", p.source, p.value,
           p."timestamp" AS starts_at, p."timestamp" AS ends_at
      FROM public.kpi_data_points AS p
    UNION ALL
    SELECT s.workspace_id, s.kpi_id, u."timestamp"::timestamptz(3), u.source COLLATE "C", u.value, s.starts_at, s.ends_at
      FROM public.kpi_packed_points AS s
     CROSS JOIN LATERAL sesari.points_of_span(s.starts_at, s.point_offsets, s.point_values, s.point_sources) AS u;
COMMENT ON VIEW public.kpi_points IS
    'All points of the KPIs, packed or not. A condition on starts_at and ends_at, of the span, spares the spans outside of it';
COMMENT ON COLUMN public.kpi_points.workspace_id IS 'The workspace';
COMMENT ON COLUMN public.kpi_points.kpi_id IS 'The KPI measured';
COMMENT ON COLUMN public.kpi_points."timestamp" IS 'When it was measured';
COMMENT ON COLUMN public.kpi_points.source IS 'Where it came from, empty for none';
COMMENT ON COLUMN public.kpi_points.value IS 'Value, in the KPI''s unit';
COMMENT ON COLUMN public.kpi_points.starts_at IS 'When the span starts in which it is packed; its own time where it is not';
COMMENT ON COLUMN public.kpi_points.ends_at IS 'When the span ends in which it is packed; its own time where it is not';
GRANT SELECT ON public.kpi_points TO sesari_tenant;


-- Unpacking ------------------------------------------------------------------------------------

-- Spans around all times of each KPI, as there mostly are none: asked before those at each time.
CREATE FUNCTION sesari.is_packed_around(workspace text, kpis text[], oldest timestamptz[], newest timestamptz[])
    RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM (SELECT t.kpi_id, min(t.oldest) AS oldest, max(t.newest) AS newest
                       FROM unnest(kpis, oldest, newest) AS t (kpi_id, oldest, newest) GROUP BY t.kpi_id) AS t
         CROSS JOIN LATERAL (
               SELECT FROM public.kpi_packed_points AS s
                WHERE s.workspace_id = workspace AND s.kpi_id = t.kpi_id
                  AND s.starts_at > t.oldest - interval '24 days' AND s.starts_at <= t.newest
                  AND s.ends_at >= t.oldest LIMIT 1) AS s);
END
$$;
COMMENT ON FUNCTION sesari.is_packed_around IS
    'Whether a span reaches in between the oldest and the newest time of a KPI';

CREATE FUNCTION sesari.spans_at(workspace text, kpis text[], times timestamptz[])
    RETURNS TABLE (kpi_id text, starts_at timestamptz)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
BEGIN
    RETURN QUERY
    SELECT DISTINCT s.kpi_id, s.starts_at::timestamptz
      FROM unnest(kpis, times) AS t (kpi_id, at)
     CROSS JOIN LATERAL (
           SELECT s.kpi_id, s.starts_at, s.ends_at FROM public.kpi_packed_points AS s
            WHERE s.workspace_id = workspace AND s.kpi_id = t.kpi_id AND s.starts_at <= t.at
            ORDER BY s.starts_at DESC LIMIT 1) AS s
     WHERE s.ends_at >= t.at;
END
$$;
COMMENT ON FUNCTION sesari.spans_at IS 'The spans in which points of these KPIs and times lie or would lie';

-- While it is set, and only for the owner, the points' triggers are silent: what moves was there before.
CREATE FUNCTION sesari.unpack_spans(workspace text, kpis text[], starts timestamptz[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    unpacked bigint;
BEGIN
    -- In one order, so that two who unpack the same queue.
    PERFORM FROM public.kpi_packed_points AS s
      WHERE s.workspace_id = workspace
        AND (s.kpi_id, s.starts_at) IN (SELECT * FROM unnest(kpis, starts))
      ORDER BY s.kpi_id, s.starts_at FOR UPDATE;
    PERFORM set_config('sesari.repacking', 'on', true);
    WITH span AS (
             DELETE FROM public.kpi_packed_points AS s
              WHERE s.workspace_id = workspace
                AND (s.kpi_id, s.starts_at) IN (SELECT * FROM unnest(kpis, starts))
             RETURNING s.*),
         point AS (
             INSERT INTO public.kpi_data_points (workspace_id, kpi_id, "timestamp", source, value)
             SELECT s.workspace_id, s.kpi_id, u."timestamp", u.source, u.value
               FROM span AS s
              CROSS JOIN LATERAL sesari.points_of_span(s.starts_at, s.point_offsets, s.point_values, s.point_sources) AS u
             RETURNING true)
    SELECT count(*) INTO unpacked FROM point;
    PERFORM set_config('sesari.repacking', '', true);
    RETURN unpacked;
END
$$;
COMMENT ON FUNCTION sesari.unpack_spans IS
    'Makes rows of kpi_data_points of these spans again; says how many points they had';

-- For whoever writes points of these times, before: a point can neither be found nor doubled where it is
-- packed.
CREATE FUNCTION sesari.unpack_points(kpis text[], times timestamptz[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    workspace text := sesari.current_workspace_id();
    kpis_of_spans text[];
    starts timestamptz[];
BEGIN
    IF NOT sesari.is_packed_around(workspace, kpis, times, times) THEN
        RETURN 0;
    END IF;
    SELECT array_agg(s.kpi_id), array_agg(s.starts_at) INTO kpis_of_spans, starts
      FROM sesari.spans_at(workspace, kpis, times) AS s;
    IF starts IS NULL THEN
        RETURN 0;
    END IF;
    RETURN sesari.unpack_spans(workspace, kpis_of_spans, starts);
END
$$;
COMMENT ON FUNCTION sesari.unpack_points IS
    'Unpacks the spans of the current workspace in which points of these KPIs and times lie or would lie; says how many points they had';
GRANT EXECUTE ON FUNCTION sesari.unpack_points TO sesari_tenant;

CREATE FUNCTION sesari.unpack_range(kpi text, "from" timestamptz, "to" timestamptz, how_many integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
DECLARE
    workspace text := sesari.current_workspace_id();
    starts timestamptz[];
BEGIN
    IF coalesce(how_many NOT BETWEEN 1 AND 1000000, true) THEN
        RAISE invalid_parameter_value USING MESSAGE = 'expected 1 to 1000000 points';
    END IF;
    SELECT array_agg(s.starts_at) INTO starts
      FROM (SELECT s.starts_at, sum(s.points) OVER (ORDER BY s.starts_at) - s.points AS before
              FROM (SELECT s.starts_at, s.points FROM public.kpi_packed_points AS s
                     WHERE s.workspace_id = workspace AND s.kpi_id = kpi
                       AND s.starts_at > "from" - interval '24 days' AND s.starts_at < "to" AND s.ends_at >= "from"
                     ORDER BY s.starts_at LIMIT how_many) AS s) AS s
     WHERE s.before < how_many;
    IF starts IS NULL THEN
        RETURN 0;
    END IF;
    RETURN sesari.unpack_spans(workspace, array_fill(kpi, ARRAY[cardinality(starts)]), starts);
END
$$;
COMMENT ON FUNCTION sesari.unpack_range IS
    'Unpacks the first spans of a KPI of the current workspace that reach into a range, until they have so many points; says how many they had';
GRANT EXECUTE ON FUNCTION sesari.unpack_range TO sesari_tenant;


-- Packing --------------------------------------------------------------------------------------

-- What follows is for whoever administers the schema: nobody else may execute it.

-- Of the next KPI after one that has enough points to pack, the oldest, up to so many: one KPI for each
-- call, and so for each transaction.
CREATE FUNCTION sesari.pack_points(
    only_workspace text, before timestamptz, how_many integer,
    INOUT after_workspace text, INOUT after_kpi text, INOUT after_time timestamptz,
    OUT packed bigint, OUT spans bigint, OUT busy boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET lock_timeout = '500ms'
AS $$
DECLARE
    -- Five such rows fill a page, with ids of the usual length.
    most constant integer := 116;
    -- Fewer save little. The table holds no less, on which pages of points rely.
    least_points constant integer := 8;
    -- Points of one moment are not taken apart: of as many as that, nothing is packed.
    most_points constant integer := 1000;
    -- Offsets reach so far, and a span from 1970 on to a multiple of it at most.
    longest constant bigint := 2000000000;
    kpi record;
    looked_at integer := 0;
    is_due boolean := false;
    existing timestamptz[];
    starts timestamptz[];
    ends timestamptz[];
    closed double precision;
BEGIN
    packed := 0;
    spans := 0;
    busy := false;
    IF coalesce(how_many NOT BETWEEN 1000 AND 1000000, true) THEN
        RAISE invalid_parameter_value USING MESSAGE = 'expected 1000 to 1000000 points';
    END IF;
    -- Writers of younger points do not even ask for packed ones.
    IF coalesce(before > clock_timestamp() - interval '7 days' OR NOT isfinite(before), true) THEN
        RAISE invalid_parameter_value USING MESSAGE = 'expected a moment at least seven days ago';
    END IF;
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE invalid_transaction_state USING
            MESSAGE = 'points are packed under READ COMMITTED: what was committed meanwhile must be seen';
    END IF;
    FOR kpi IN
        SELECT k.workspace_id, k.id, least(before, k.current_value_at) AS before,
               CASE WHEN (k.workspace_id, k.id) = (after_workspace, after_kpi) THEN after_time ELSE '-infinity' END AS after
          FROM public.kpis AS k
         WHERE (k.workspace_id, k.id) >= (after_workspace, after_kpi)
           AND (only_workspace IS NULL OR k.workspace_id = only_workspace)
         ORDER BY k.workspace_id, k.id LIMIT 1000
    LOOP
        looked_at := looked_at + 1;
        is_due := EXISTS (
            SELECT FROM public.kpi_data_points AS p
             WHERE p.workspace_id = kpi.workspace_id AND p.kpi_id = kpi.id
               AND p."timestamp" > kpi.after AND p."timestamp" < kpi.before OFFSET least_points - 1);
        EXIT WHEN is_due;
    END LOOP;
    after_workspace := CASE WHEN is_due OR looked_at = 1000 THEN kpi.workspace_id END;
    after_kpi := CASE WHEN is_due OR looked_at = 1000 THEN kpi.id END;
    -- Of a KPI that is done nothing more.
    after_time := '9999-12-31 23:59:59Z';
    IF NOT is_due THEN
        RETURN;
    END IF;
    BEGIN
        -- Before the points, other than writers, who would wait for each other's locks in a circle with this:
        -- it waits for no point for longer than lock_timeout. Whoever has written points and not yet the KPI
        -- finds the spans when it goes on; what is committed is seen by the next statement. The newest point
        -- stays: deleted meanwhile, it was so before, and its deletion unpacks what is newest then.
        SELECT least(before, k.current_value_at) INTO kpi.before FROM public.kpis AS k
         WHERE k.workspace_id = kpi.workspace_id AND k.id = kpi.id FOR NO KEY UPDATE;
        -- Buckets of time that are over are packed whole, in spans of the same size; of the last one full spans
        -- alone, lest each call should leave a small one.
        closed := floor(date_part('epoch', kpi.before) * 1000 / longest);
        SELECT coalesce(array_agg(s.starts_at ORDER BY s.starts_at), '{}') INTO existing
          FROM public.kpi_packed_points AS s
         WHERE s.workspace_id = kpi.workspace_id AND s.kpi_id = kpi.id AND s.starts_at > kpi.after;
        -- Neither over a span that is there nor apart at one moment.
        WITH point AS MATERIALIZED (
                 SELECT p."timestamp" AS at, floor(date_part('epoch', p."timestamp") * 1000 / longest) AS bucket,
                        width_bucket(p."timestamp", existing) AS gap
                   FROM (SELECT p."timestamp" FROM public.kpi_data_points AS p
                          WHERE p.workspace_id = kpi.workspace_id AND p.kpi_id = kpi.id
                            AND p."timestamp" > kpi.after AND p."timestamp" < kpi.before
                          ORDER BY p."timestamp" LIMIT how_many) AS p),
             -- Of its last moment a full batch may have a part. A moment that fills it has too many.
             batch AS (
                 SELECT CASE WHEN count(*) = how_many THEN max(p.at) ELSE 'infinity' END AS cut,
                        count(*) = how_many AND min(p.at) = max(p.at) AS is_moment
                   FROM point AS p),
             -- The last bucket of a full batch waits for the next, unless it is the only one.
             reached AS (
                 SELECT max(p.at) AS at, CASE WHEN b.cut < 'infinity' AND min(p.bucket) < max(p.bucket) THEN max(p.bucket) END AS bucket
                   FROM point AS p CROSS JOIN batch AS b
                  WHERE p.at < b.cut OR b.is_moment
                  GROUP BY b.cut),
             run AS (
                 SELECT min(p.at) AS starts_at, max(p.at) AS ends_at
                   FROM (SELECT p.*, count(*) OVER (PARTITION BY p.bucket, p.gap) AS n,
                                rank() OVER (PARTITION BY p.bucket, p.gap ORDER BY p.at) - 1 AS place
                           FROM point AS p
                          WHERE p.at < (SELECT b.cut FROM batch AS b)
                            AND p.bucket < coalesce((SELECT r.bucket FROM reached AS r), 'Infinity')) AS p
                  GROUP BY p.bucket, p.gap,
                           CASE WHEN p.bucket < closed THEN p.place * ((p.n + most - 1) / most) / p.n ELSE p.place / most END
                 HAVING count(*) BETWEEN CASE WHEN p.bucket < closed THEN least_points ELSE most END AND most_points)
        SELECT (SELECT CASE WHEN r.bucket IS NULL THEN r.at
                            ELSE to_timestamp(r.bucket * longest / 1000) - interval '1 millisecond' END FROM reached AS r),
               array_agg(r.starts_at ORDER BY r.starts_at), array_agg(r.ends_at ORDER BY r.starts_at)
          INTO after_time, starts, ends FROM run AS r;
        IF starts IS NULL THEN
            RETURN;
        END IF;
        -- A new version of the row, by which writers under REPEATABLE READ fail whose snapshot has no spans yet.
        UPDATE public.kpis AS k SET current_value = k.current_value
         WHERE k.workspace_id = kpi.workspace_id AND k.id = kpi.id;
        PERFORM set_config('sesari.repacking', 'on', true);
        WITH point AS (
                 DELETE FROM public.kpi_data_points AS p
                  WHERE p.workspace_id = kpi.workspace_id AND p.kpi_id = kpi.id
                    AND p."timestamp" >= starts[1] AND p."timestamp" <= ends[cardinality(ends)]
                    AND p."timestamp" <= ends[width_bucket(p."timestamp", starts)]
                 RETURNING p."timestamp" AS at, p.source, p.value),
             span AS (
                 INSERT INTO public.kpi_packed_points
                        (workspace_id, kpi_id, starts_at, ends_at, points, point_offsets, point_values, point_sources)
                 SELECT kpi.workspace_id, kpi.id, s.times[1], s.times[s.points], s.points,
                        ARRAY(SELECT (date_part('epoch', t - s.times[1]) * 1000)::integer FROM unnest(s.times) AS t),
                        s.point_values, s.sources
                   FROM (SELECT count(*)::integer AS points, array_agg(p.at) AS times, array_agg(p.value) AS point_values,
                                CASE WHEN min(p.source) = max(p.source) THEN ARRAY[min(p.source)]
                                     ELSE array_agg(p.source) END AS sources
                           FROM (SELECT p.*, width_bucket(p.at, starts) AS span FROM point AS p
                                  ORDER BY span, p.at, p.source) AS p
                          GROUP BY p.span) AS s
                 RETURNING points)
        SELECT coalesce(sum(s.points), 0), count(*) INTO packed, spans FROM span AS s;
        PERFORM set_config('sesari.repacking', '', true);
    EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
        after_time := '9999-12-31 23:59:59Z';
        busy := true;
    END;
END
$$;
COMMENT ON FUNCTION sesari.pack_points IS
    'Packs points from before a moment of the next KPI after one, or of that one from a time on, of a workspace or of all; says how many in how many spans, whether its writers were busy for too long, and where to go on: null for nowhere';

SET LOCAL check_function_bodies = on;
RESET ROLE;
