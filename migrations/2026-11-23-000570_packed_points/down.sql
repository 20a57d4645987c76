-- Loses the points that are packed. Unpack them before, with sesari.unpack_range, or take a copy.
SET LOCAL ROLE sesari_owner;
DROP VIEW public.kpi_points;
DROP FUNCTION sesari.pack_points(text, timestamptz, integer, text, text, timestamptz);
DROP FUNCTION sesari.unpack_range(text, timestamptz, timestamptz, integer);
DROP FUNCTION sesari.unpack_points(text[], timestamptz[]);
DROP FUNCTION sesari.unpack_spans(text, text[], timestamptz[]);
DROP FUNCTION sesari.spans_at(text, text[], timestamptz[]);
DROP FUNCTION sesari.is_packed_around(text, text[], timestamptz[], timestamptz[]);
DROP FUNCTION sesari.first_point_between(text, text, timestamptz, timestamptz);
DROP FUNCTION sesari.last_point_between(text, text, timestamptz, timestamptz);
DROP FUNCTION sesari.points_between(text, text, timestamptz, timestamptz);
DROP FUNCTION sesari.points_of_span(timestamptz, integer[], double precision[], text[]);
DROP POLICY kpi_data_points_owner_insert ON public.kpi_data_points;
DROP POLICY kpi_data_points_owner_delete ON public.kpi_data_points;
DROP TABLE public.kpi_packed_points;
RESET ROLE;
