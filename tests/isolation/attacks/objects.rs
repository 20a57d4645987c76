//! Views, rules, triggers, defaults, casts, operators: what would run as somebody else.

use super::harness::{Attack, Form::*, Outcome::*};

pub const ATTACKS: &[Attack] = &[
    attack!(
        "a child of kpis",
        Statement,
        Refused("permission denied for schema public"),
        "CREATE TABLE public.child () INHERITS (public.kpis)"
    ),
    attack!(
        "a view",
        Statement,
        Refused("permission denied for schema public"),
        "CREATE VIEW public.peek AS SELECT * FROM public.kpis"
    ),
    attack!(
        "a materialized view",
        Statement,
        Refused("permission denied for schema public"),
        "CREATE MATERIALIZED VIEW public.peek AS SELECT * FROM public.kpis"
    ),
    attack!(
        "a function",
        Statement,
        Refused("permission denied for schema public"),
        "CREATE FUNCTION public.peek() RETURNS SETOF kpis LANGUAGE sql AS 'SELECT * FROM kpis'"
    ),
    attack!(
        "an operator that sees what policies compare",
        Statement,
        Refused("permission denied for schema public"),
        "CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq)"
    ),
    attack!(
        "a trigger",
        Statement,
        Refused("permission denied for table kpis"),
        "CREATE TRIGGER peek BEFORE UPDATE ON kpis FOR EACH ROW
         EXECUTE FUNCTION suppress_redundant_updates_trigger()"
    ),
    attack!(
        "a rule",
        Statement,
        Refused("must be owner"),
        "CREATE RULE peek AS ON SELECT TO kpis DO INSTEAD SELECT * FROM goals"
    ),
    attack!(
        "a policy",
        Statement,
        Refused("must be owner"),
        "CREATE POLICY mine ON kpis USING (true)"
    ),
    attack!(
        "a looser policy",
        Statement,
        Refused("must be owner"),
        "ALTER POLICY kpis_tenant_select ON kpis USING (true)"
    ),
    attack!(
        "no policy",
        Statement,
        Refused("must be owner"),
        "DROP POLICY kpis_tenant_select ON kpis"
    ),
    attack!(
        "no row-level security",
        Statement,
        Refused("must be owner"),
        "ALTER TABLE kpis DISABLE ROW LEVEL SECURITY"
    ),
    attack!(
        "another owner",
        Statement,
        Refused("must be owner"),
        "ALTER TABLE kpis OWNER TO CURRENT_USER"
    ),
    attack!(
        "the verifier replaced",
        Statement,
        Refused("permission denied for schema sesari"),
        "CREATE OR REPLACE FUNCTION sesari.current_workspace_id() RETURNS text
         LANGUAGE sql AS 'SELECT ''{b}'''"
    ),
    attack!(
        "the verifier altered",
        Statement,
        Refused("must be owner"),
        "ALTER FUNCTION sesari.current_workspace_id() RESET search_path"
    ),
    attack!(
        "another default for the workspace",
        Statement,
        Refused("must be owner"),
        "ALTER TABLE kpis ALTER workspace_id SET DEFAULT '{b}'"
    ),
    attack!(
        "the default spelt out",
        Statement,
        Runs,
        "INSERT INTO kpis (workspace_id, id, name) VALUES (DEFAULT, DEFAULT, 'Mine') RETURNING *"
    ),
    attack!(
        "a column that collects",
        Statement,
        Refused("must be owner"),
        "ALTER TABLE kpis ADD COLUMN seen text DEFAULT (current_setting('sesari.context'))"
    ),
    attack!(
        "triggers disabled",
        Statement,
        Refused("must be owner"),
        "ALTER TABLE kpis DISABLE TRIGGER ALL"
    ),
    attack!(
        "an index that computes",
        Statement,
        Refused("must be owner"),
        "CREATE INDEX ON kpis ((name::int))"
    ),
    attack!(
        "extended statistics",
        Statement,
        Refused("must be owner"),
        "CREATE STATISTICS mine ON name, unit FROM kpis"
    ),
    attack!(
        "a cast",
        Statement,
        Refused("must be owner of type"),
        "CREATE CAST (text AS integer) WITH INOUT AS IMPLICIT"
    ),
    attack!(
        "a domain with a check that looks",
        Statement,
        Refused("permission denied for schema public"),
        "CREATE DOMAIN public.looks AS text CHECK (EXISTS (SELECT FROM kpis))"
    ),
    attack!(
        "a type with an input function",
        Statement,
        Refused("permission denied"),
        "CREATE TYPE public.looks AS ENUM ('a')"
    ),
    attack!(
        "an operator class",
        Statement,
        Refused("permission denied for schema public"),
        "CREATE OPERATOR CLASS public.looks FOR TYPE text USING btree AS FUNCTION 1 bttextcmp(text, text)"
    ),
    attack!(
        "an aggregate that collects",
        Statement,
        Refused("permission denied for schema public"),
        "CREATE AGGREGATE public.gather(text) (SFUNC = textcat, STYPE = text)"
    ),
    attack!(
        "a conversion",
        Statement,
        Refused("permission denied"),
        "CREATE CONVERSION public.looks FOR 'UTF8' TO 'LATIN1' FROM utf8_to_iso8859_1"
    ),
    attack!(
        "a function made leakproof",
        Statement,
        Refused("must be owner|only superuser"),
        "ALTER FUNCTION textcat(text, text) LEAKPROOF"
    ),
    attack!(
        "a function made to run as its owner",
        Statement,
        Refused("must be owner"),
        "ALTER FUNCTION sesari.new_id() SECURITY DEFINER"
    ),
    attack!("a table dropped", Statement, Refused("must be owner"), "DROP TABLE goals CASCADE"),
    attack!(
        "a constraint dropped",
        Statement,
        Refused("must be owner"),
        "ALTER TABLE kpis DROP CONSTRAINT kpis_pkey CASCADE"
    ),
    attack!("a comment", Statement, Refused("must be owner"), "COMMENT ON TABLE kpis IS 'mine'"),
    attack!(
        "no force",
        Statement,
        Refused("must be owner"),
        "ALTER TABLE kpis NO FORCE ROW LEVEL SECURITY"
    ),
];
