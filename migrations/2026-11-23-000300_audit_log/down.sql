-- Loses the audit log. Take a copy first.
SET LOCAL ROLE sesari_owner;
DROP TRIGGER workspace_users_audit ON public.workspace_users;
DROP TRIGGER workspaces_audit ON public.workspaces;
DROP TRIGGER workspaces_unused_id ON public.workspaces;
DROP FUNCTION sesari.refuse_used_workspace_id();
DROP TABLE sesari.used_workspace_ids;
DROP TABLE public.audit_log;
DROP FUNCTION sesari.refuse_audit_change();
DROP FUNCTION sesari.audit();
DROP FUNCTION sesari.write_audit(text, text, text, text, jsonb);
RESET ROLE;
