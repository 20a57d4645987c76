-- Loses the audit log. Take a copy first.
SET LOCAL ROLE sesari_owner;
DROP TRIGGER workspace_users_audit ON public.workspace_users;
DROP TRIGGER workspaces_audit ON public.workspaces;
DROP FUNCTION sesari.deleted_workspace_audit(text, bigint, text, integer);
DROP FUNCTION sesari.audit_head(text);
DROP TRIGGER workspaces_unused_id ON public.workspaces;
DROP FUNCTION sesari.refuse_used_workspace_id();
DROP TABLE sesari.used_workspace_ids;
DROP FUNCTION sesari.prune_audit_log(text, timestamptz, integer);
DROP TABLE public.audit_log;
DROP FUNCTION sesari.refuse_audit_delete();
DROP FUNCTION sesari.refuse_audit_change();
DROP TRIGGER context_keys_audit ON sesari.context_keys;
DROP FUNCTION sesari.audit_context_key();
DROP FUNCTION sesari.append_audit(text, text, text, jsonb);
DROP FUNCTION sesari.record_refusal(text, text, text, text, text, text);
DROP FUNCTION sesari.audit();
DROP FUNCTION sesari.write_audit(text, text, text, text, jsonb);
DROP TABLE sesari.audit_pending;
DROP FUNCTION sesari.chain_audit();
DROP FUNCTION sesari.audit_hash(
    text, text, text, text, text, text, text, text, text, text, text, text, bytea);
DROP TABLE sesari.audit_heads;
RESET ROLE;
