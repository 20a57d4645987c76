//! Keys, triggers and defaults, and relations beside the tables.

use super::list::{Defect, Reach::*, defects};

pub const DEFECTS: &[Defect] = defects! {
    // Keys that were global hold each id once; what is there twice goes first.
    "a foreign key without the workspace", Leaks, []:
        "DELETE FROM workspaces WHERE id IN ('wleft', 'wright');
         ALTER TABLE kpis ADD CONSTRAINT kpis_id_key UNIQUE (id);
         ALTER TABLE goal_kpis DROP CONSTRAINT goal_kpis_workspace_id_kpi_id_fkey,
             ADD CONSTRAINT goal_kpis_workspace_id_kpi_id_fkey FOREIGN KEY (kpi_id) REFERENCES kpis (id)";
    "a foreign key with its columns in another order", Stays, []:
        "CREATE UNIQUE INDEX kpis_id_workspace_id ON kpis (id, workspace_id);
         ALTER TABLE goal_kpis DROP CONSTRAINT goal_kpis_workspace_id_kpi_id_fkey,
             ADD CONSTRAINT goal_kpis_workspace_id_kpi_id_fkey
             FOREIGN KEY (kpi_id, workspace_id) REFERENCES kpis (id, workspace_id)";
    "a foreign key that no longer cascades", Stays, []:
        "ALTER TABLE goal_kpis DROP CONSTRAINT goal_kpis_workspace_id_kpi_id_fkey,
             ADD CONSTRAINT goal_kpis_workspace_id_kpi_id_fkey
             FOREIGN KEY (workspace_id, kpi_id) REFERENCES kpis (workspace_id, id)";
    "a foreign key dropped", Stays, []:
        "ALTER TABLE kpis DROP CONSTRAINT kpis_workspace_id_fkey";
    "a bare id for a primary key", Leaks, []:
        "DELETE FROM workspaces WHERE id IN ('wleft', 'wright');
         ALTER TABLE goals DROP CONSTRAINT goals_pkey CASCADE, ADD CONSTRAINT goals_pkey PRIMARY KEY (id)";
    "a key of points without the workspace", Leaks, []:
        "DELETE FROM workspaces WHERE id IN ('wleft', 'wright');
         CREATE UNIQUE INDEX points_key ON kpi_data_points (kpi_id, \"timestamp\", source)";
    "ids of integrations unique everywhere", Leaks, []:
        "DELETE FROM workspaces WHERE id IN ('wleft', 'wright');
         ALTER TABLE integrations ADD CONSTRAINT integrations_id_key UNIQUE (id)";
    // Members come by invitation, and whoever accepts one knows where else they are.
    "one workspace a user", Stays, []:
        "CREATE UNIQUE INDEX one_workspace ON workspace_users (user_id)";
    "no default workspace", Stays, []:
        "ALTER TABLE kpis ALTER COLUMN workspace_id DROP DEFAULT";
    "another's workspace for a default", Stays, []:
        "ALTER TABLE goals ALTER COLUMN workspace_id SET DEFAULT 'wboth'";
    "a number that counts all tenants' rows", Leaks, []:
        "CREATE SEQUENCE public.kpi_numbers; GRANT USAGE ON SEQUENCE public.kpi_numbers TO sesari_tenant;
         ALTER TABLE kpis ADD COLUMN number bigint DEFAULT nextval('public.kpi_numbers')";
    "a key that can be changed", Stays, ["kpis"]:
        "DROP TRIGGER kpis_key ON kpis";
    "a current value that can be forged", Stays, []:
        "DROP TRIGGER kpis_current_value_update ON kpis";
    "current values not kept", Stays, []:
        "DROP TRIGGER kpi_data_points_follow_insert ON kpi_data_points";
    "purges not in the audit log", Stays, []:
        "DROP TRIGGER kpis_audit ON kpis";
    "an audit log that can be rewritten", Stays, ["audit_log"]:
        "DROP TRIGGER audit_log_append_only ON audit_log";
    "the last owner may leave", Stays, ["workspace_users"]:
        "DROP TRIGGER workspace_users_last_owner_delete ON workspace_users";
    "a dead workspace's id taken over with its log", Leaks, []:
        "DROP TRIGGER workspaces_unused_id ON workspaces";
    "a trigger disabled", Stays, []:
        "ALTER TABLE goals DISABLE TRIGGER goals_key";
    "a rule that touches all tenants' rows", Leaks, []:
        "SET ROLE sesari_owner;
         CREATE RULE touch AS ON DELETE TO goals DO ALSO UPDATE kpis SET description = 'touched'; RESET ROLE";
    "a view that reads as its owner", Leaks, []:
        "CREATE VIEW public.all_kpis AS SELECT * FROM public.kpis; GRANT SELECT ON public.all_kpis TO sesari_tenant";
    "a view owned by the tables' owner", Leaks, []:
        "SET ROLE sesari_owner; CREATE VIEW public.names AS SELECT workspace_id, name FROM public.kpis;
         GRANT SELECT ON public.names TO sesari_tenant; RESET ROLE";
    "a view with a barrier but not as its invoker", Leaks, []:
        "CREATE VIEW public.goal_titles WITH (security_barrier) AS SELECT title FROM public.goals;
         GRANT SELECT ON public.goal_titles TO sesari_tenant";
    "a materialized view", Leaks, []:
        "CREATE MATERIALIZED VIEW public.totals AS SELECT workspace_id, sum(value) FROM public.kpi_data_points GROUP BY 1;
         GRANT SELECT ON public.totals TO sesari_tenant";
    "a child table with a grant of its own", Leaks, []:
        "CREATE TABLE public.kpis_2025 () INHERITS (public.kpis);
         INSERT INTO public.kpis_2025 SELECT * FROM ONLY public.kpis WHERE workspace_id = 'wboth';
         GRANT SELECT ON public.kpis_2025 TO sesari_tenant";
    "a copy before a repair, with a grant", Leaks, []:
        "CREATE TABLE public.goals_before AS TABLE public.goals; GRANT SELECT ON public.goals_before TO sesari_tenant";
    "a log of its own without policies", Leaks, []:
        "CREATE TABLE public.made (name text); GRANT SELECT, INSERT ON public.made TO sesari_tenant;
         CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO public.made VALUES (NEW.name); RETURN NULL; END $$;
         CREATE TRIGGER note AFTER INSERT ON public.kpis FOR EACH ROW EXECUTE FUNCTION public.note()";
};
