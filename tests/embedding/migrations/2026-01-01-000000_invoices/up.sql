-- A tenant table beside those of sesari-db: owned by its role, workspace_id at the head of each key,
-- one policy for each verb that is granted.
CREATE TABLE public.invoices (
    workspace_id text NOT NULL DEFAULT sesari.current_workspace_id(),
    number integer NOT NULL,
    kpi_id text NOT NULL,
    cents bigint NOT NULL,
    issued_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    CONSTRAINT invoices_pkey PRIMARY KEY (workspace_id, number),
    CONSTRAINT invoices_kpi_id_fkey FOREIGN KEY (workspace_id, kpi_id)
        REFERENCES public.kpis (workspace_id, id) ON DELETE CASCADE,
    CONSTRAINT invoices_cents_check CHECK (cents >= 0)
);
SELECT sesari.forget_statistics('public.invoices');
ALTER TABLE public.invoices OWNER TO sesari_owner;
ALTER TABLE public.invoices ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.invoices FORCE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, DELETE ON public.invoices TO sesari_tenant;
CREATE POLICY invoices_tenant_select ON public.invoices FOR SELECT TO sesari_tenant
    USING ((SELECT sesari.key_of(sesari.current_workspace_id()))[workspace_id] IS NOT NULL
           AND workspace_id = (SELECT sesari.current_workspace_id()));
CREATE POLICY invoices_tenant_insert ON public.invoices FOR INSERT TO sesari_tenant
    WITH CHECK (workspace_id = (SELECT sesari.current_workspace_id()));
-- Workspace and role in one question.
CREATE POLICY invoices_tenant_delete ON public.invoices FOR DELETE TO sesari_tenant
    USING (workspace_id = (SELECT sesari.workspace_id_as('{owner,admin}')));
