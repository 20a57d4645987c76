-- A tenant table beside those of sesari-db: workspace_id leads each key.
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
-- Nobody changes an invoice; owners and admins delete one.
SELECT sesari.protect_table('public.invoices', may_update => NULL, may_delete => '{owner,admin}');
