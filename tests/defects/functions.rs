//! The functions that policies stand on, and others that read as somebody else.

use super::list::{Defect, Reach::*, defects, edit};

pub const DEFECTS: &[Defect] = defects! {
    "signatures not compared", Leaks, ["kpis"]:
        edit!("verified_context", "hashtextextended(expected, 0) AND parts[8] = expected", "hashtextextended(parts[8], 0)");
    "contexts that do not expire", Leaks, ["kpis"]:
        edit!("verified_context", "interval '10 seconds'", "interval '10 years'");
    "contexts made ahead of time", Leaks, ["kpis"]:
        edit!("verified_context", "interval '-2 seconds'", "interval '-1 year'");
    "contexts good on every backend", Leaks, ["kpis"]:
        edit!("verified_context", "parts[7] IN ('0', pg_backend_pid()::text)", "true");
    "any key taken for the one named", Leaks, ["kpis"]:
        edit!("verified_context", "WHERE key_id = named_key", "LIMIT 1");
    "membership not looked up", Leaks, ["kpis"]:
        edit!("current_workspace_id", "CASE WHEN FOUND THEN context[5] END", "context[5]");
    "membership in any workspace", Leaks, ["kpis"]:
        edit!("current_workspace_id", "member = asker", "member LIKE '%.' || context[4]");
    "membership not looked up where a role is asked", Leaks, ["workspaces"]:
        edit!("workspace_id_as", "PERFORM FROM", "RETURN context[5]; PERFORM FROM");
    "any role for the one asked", Stays, ["kpis"]:
        edit!("workspace_id_as", "role = ANY (roles)", "true");
    "all workspaces for one's own", Leaks, ["workspaces"]:
        edit!("my_workspaces", "c.member = l.workspace_id || '.' || me", "c.member ^@ (l.workspace_id || '.')");
    "any workspace's points unpacked", Stays, []:
        edit!("spans_at", "s.workspace_id = workspace AND", "workspace IS NOT NULL AND");
    "history read as its owner", Leaks, []:
        "ALTER VIEW public.kpi_points RESET (security_invoker)";
    "all users for the fellow members", Leaks, []:
        edit!("member_profiles", "m.workspace_id = workspace AND", "workspace IS NOT NULL AND");
    "signed in, whatever the workspace", Stays, []:
        edit!("signed_in_user_id", "AND context[5] = ''", "");
    "members seal and open", Stays, ["integrations"]:
        edit!("sealing_workspace_id", "sesari.workspace_id_as('{owner,admin,service}')", "sesari.current_workspace_id()");
    "credentials of any workspace", Leaks, []:
        edit!("read_credentials", "i.workspace_id = workspace AND", "workspace IS NOT NULL AND");
    "credentials of any workspace to seal anew", Leaks, []:
        edit!("credentials_to_reseal", "i.workspace_id = workspace AND", "workspace IS NOT NULL AND");
    "schedules of any workspace", Leaks, []:
        edit!("sync_schedule", "q.workspace_id = workspace AND", "workspace IS NOT NULL AND");
    "syncs asked for in any workspace", Leaks, []:
        edit!("schedule_sync", "q.workspace_id = workspace AND", "workspace IS NOT NULL AND");
    "everybody's salts destroyed", Leaks, []:
        edit!("destroy_sealing_salt", "WHERE workspace_id = workspace", "WHERE workspace IS NOT NULL");
    "the audit log without a context", Stays, []:
        edit!("write_audit", "IF context IS NULL AND", "IF false AND");
    "workspaces for anybody", Stays, []:
        edit!("create_workspace", "IF creator IS NULL THEN", "IF false THEN");
    "a pinned search_path dropped", Stays, []:
        "ALTER FUNCTION sesari.current_workspace_id() RESET search_path";
    "a pinned search_path dropped, and a schema to write in", Leaks, []:
        "ALTER FUNCTION sesari.current_workspace_id() RESET search_path;
         GRANT CREATE ON SCHEMA public TO sesari_tenant";
    "a function of another owner", Stays, []:
        "ALTER FUNCTION sesari.current_user_id() OWNER TO {login}";
    "a function that no longer runs as its owner", Stays, []:
        "ALTER FUNCTION sesari.member_profiles(text[]) SECURITY INVOKER";
    "a function called once a row", Stays, []:
        "ALTER FUNCTION sesari.current_workspace_id() VOLATILE";
    "writing to the log open to tenants", Leaks, []:
        "GRANT EXECUTE ON FUNCTION sesari.write_audit(text, text, text, text, jsonb) TO sesari_tenant";
    // The audit of keys refuses it: the context is worth nothing without its key.
    "keys retired by tenants", Stays, []:
        "ALTER FUNCTION sesari.retire_context_key(text) SECURITY DEFINER;
         GRANT EXECUTE ON FUNCTION sesari.retire_context_key(text) TO PUBLIC";
    "the context's parts open to everybody", Stays, []:
        "GRANT EXECUTE ON FUNCTION sesari.verified_context() TO PUBLIC";
    "a count that reads as its owner", Leaks, []:
        "CREATE FUNCTION public.kpi_count() RETURNS bigint LANGUAGE sql SECURITY DEFINER
             SET search_path = pg_catalog, pg_temp AS 'SELECT count(*) FROM public.kpis WHERE workspace_id = ''wleft'''";
    "a search that reads as its owner, unpinned", Leaks, []:
        "CREATE FUNCTION public.names_like(text) RETURNS SETOF text LANGUAGE sql SECURITY DEFINER
             AS 'SELECT name FROM public.kpis WHERE id = $1'";
    // The policy's look-up costs the planner less than any function, and comes first.
    "a talkative function marked leakproof", Stays, []:
        "CREATE FUNCTION public.is_short(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE LEAKPROOF COST 0.0001 AS
             $$ BEGIN IF length($1) > 11 THEN RAISE 'too long: %', $1; END IF; RETURN true; END $$";
};
