-- Connections to the services that KPIs come from.
SET LOCAL ROLE sesari_owner;

CREATE TABLE public.integrations (
    id text NOT NULL DEFAULT sesari.new_id(),
    workspace_id text NOT NULL DEFAULT sesari.current_workspace_id(),
    provider text NOT NULL,
    is_active boolean NOT NULL DEFAULT true,
    credentials text NOT NULL,
    last_sync_at timestamptz,
    sync_status text NOT NULL DEFAULT 'pending',
    error_message text,
    created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    CONSTRAINT integrations_pkey PRIMARY KEY (workspace_id, id),
    CONSTRAINT integrations_workspace_id_fkey FOREIGN KEY (workspace_id)
        REFERENCES public.workspaces (id) ON DELETE CASCADE,
    CONSTRAINT integrations_id_check CHECK (id ~ '^[a-z][a-z0-9]{1,31}$'),
    CONSTRAINT integrations_provider_check CHECK (provider IN ('stripe', 'google_analytics', 'sheets')),
    CONSTRAINT integrations_credentials_check CHECK (
        credentials ~ '^v1\.[a-z0-9][a-z0-9_-]{0,31}\.[A-Za-z0-9_-]{16}\.[A-Za-z0-9_-]{22,}$'
        AND octet_length(credentials) <= 100000),
    CONSTRAINT integrations_sync_status_check CHECK (sync_status IN ('pending', 'success', 'error')),
    CONSTRAINT integrations_error_message_check CHECK (char_length(error_message) <= 1000),
    CONSTRAINT integrations_last_sync_at_check CHECK (
        last_sync_at >= '0001-01-01 00:00:00+00' AND last_sync_at < '10000-01-01 00:00:00+00'),
    CONSTRAINT integrations_created_at_check CHECK (
        created_at >= '0001-01-01 00:00:00+00' AND created_at < '10000-01-01 00:00:00+00'),
    CONSTRAINT integrations_updated_at_check CHECK (
        updated_at >= '0001-01-01 00:00:00+00' AND updated_at < '10000-01-01 00:00:00+00')
);
COMMENT ON TABLE public.integrations IS 'Connections of a workspace to outside services';
COMMENT ON COLUMN public.integrations.id IS 'CUID, unique within the workspace';
COMMENT ON COLUMN public.integrations.workspace_id IS 'The workspace; by default the one of the context';
COMMENT ON COLUMN public.integrations.provider IS 'stripe, google_analytics or sheets';
COMMENT ON COLUMN public.integrations.is_active IS 'Whether it is synchronised';
COMMENT ON COLUMN public.integrations.credentials IS
    'Sealed envelope: version, key id, nonce and ciphertext, in base64url without padding, separated by dots';
COMMENT ON COLUMN public.integrations.last_sync_at IS 'When it was last synchronised';
COMMENT ON COLUMN public.integrations.sync_status IS 'pending, success or error';
COMMENT ON COLUMN public.integrations.error_message IS 'Why the last synchronisation failed';
COMMENT ON COLUMN public.integrations.created_at IS 'When the row was made';
COMMENT ON COLUMN public.integrations.updated_at IS 'When the row last changed; kept by a trigger';
CREATE INDEX idx_integrations_workspace_id ON public.integrations (workspace_id, created_at, id);

CREATE TRIGGER integrations_updated_at BEFORE UPDATE ON public.integrations
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION sesari.touch_updated_at();
CREATE TRIGGER integrations_key BEFORE UPDATE ON public.integrations
    FOR EACH ROW WHEN (OLD.workspace_id IS DISTINCT FROM NEW.workspace_id
        OR OLD.id IS DISTINCT FROM NEW.id OR OLD.provider IS DISTINCT FROM NEW.provider)
    EXECUTE FUNCTION sesari.refuse_change('integrations', 'integrations_key_immutable');
CREATE TRIGGER integrations_audit AFTER INSERT OR UPDATE OR DELETE ON public.integrations
    FOR EACH ROW EXECUTE FUNCTION sesari.audit(
        'integrations', 'integration.create', 'integration.update', 'integration.delete',
        'updated_at,last_sync_at,sync_status,error_message', 'credentials');

ALTER TABLE public.integrations ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.integrations FORCE ROW LEVEL SECURITY;
-- Every member sees the integrations; nobody reads the credentials as a column.
GRANT SELECT (id, workspace_id, provider, is_active, last_sync_at, sync_status, error_message,
              created_at, updated_at) ON public.integrations TO sesari_tenant;
GRANT INSERT, UPDATE, DELETE ON public.integrations TO sesari_tenant;
CREATE POLICY integrations_tenant_select ON public.integrations FOR SELECT TO sesari_tenant
    USING (workspace_id = (SELECT sesari.current_workspace_id()));
CREATE POLICY integrations_tenant_insert ON public.integrations FOR INSERT TO sesari_tenant
    WITH CHECK (workspace_id = (SELECT sesari.current_workspace_id())
           AND (SELECT sesari.current_member_role()) IN ('owner', 'admin'));
CREATE POLICY integrations_tenant_update ON public.integrations FOR UPDATE TO sesari_tenant
    USING (workspace_id = (SELECT sesari.current_workspace_id())
           AND (SELECT sesari.current_member_role()) IN ('owner', 'admin', 'service'))
    WITH CHECK (workspace_id = (SELECT sesari.current_workspace_id())
           AND (SELECT sesari.current_member_role()) IN ('owner', 'admin', 'service'));
CREATE POLICY integrations_tenant_delete ON public.integrations FOR DELETE TO sesari_tenant
    USING (workspace_id = (SELECT sesari.current_workspace_id())
           AND (SELECT sesari.current_member_role()) IN ('owner', 'admin'));

RESET ROLE;
