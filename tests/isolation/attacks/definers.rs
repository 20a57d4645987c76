//! Functions that run as their owner.

use super::harness::{Attack, Form::*, Outcome::*};

pub const ATTACKS: &[Attack] = &[
    attack!(
        "a workspace from inside of another",
        Statement,
        Refused("permission denied"),
        "SELECT sesari.create_workspace('wnew', 'mnew', 'New', 'new')"
    ),
    attack!("the credentials of B", Statement, Runs,
        "SELECT * FROM sesari.read_credentials('bintegration')"),
    attack!("the credentials of B, under a context of B", Statement, Runs,
        "WITH taken AS MATERIALIZED (SELECT set_config('sesari.context', '{live}', true) AS c)
         SELECT r.* FROM taken, LATERAL sesari.read_credentials(left('bintegration' || c, 12)) AS r"),
    attack!("the role in B", Statement, Runs,
        "SELECT set_config('sesari.context', '{live}', true), sesari.current_member_role()"),
    attack!("the workspace of any role", Statement, Runs,
        "SELECT sesari.workspace_id_as(ARRAY['owner', 'admin', 'member', 'service', NULL])"),
    attack!("the people of B", Statement, Runs,
        "SELECT set_config('sesari.context', '{live}', true), (SELECT string_agg(email, ',') FROM sesari.member_profiles(ARRAY(SELECT user_id FROM workspace_users)))"),
    attack!("the salt of B", Statement, Runs,
        "SELECT set_config('sesari.context', '{live}', true), sesari.sealing_salt()"),
    attack!("the work of the workers", Statement, Refused("permission denied"),
        "SELECT * FROM sesari.claim_integrations('x', 100, interval '1 hour')"),
    attack!("why there is nothing", Statement, Refused("permission denied"),
        "SELECT sesari.diagnose('{b_user}', '{b}', 'kpis', '{b_kpi}', 'read')"),
    attack!("what is wrong with a context", Statement, Refused("permission denied"),
        "SELECT sesari.diagnose_context('{live}', pg_backend_pid(), now())"),
    attack!("which keys are in use everywhere", Statement, Refused("permission denied"),
        "SELECT * FROM sesari.sealing_key_usage()"),
    attack!("an entry in the audit log, by its writer", Statement, Refused("permission denied|does not exist"),
        "SELECT sesari.write_audit('x', 'x', 'x', 'x', '{}'::jsonb)"),
    attack!("a trigger called by hand", Statement, Refused("permission denied|can only be called as trigger"),
        "SELECT sesari.audit()"),
    attack!("a trigger on a table of the catalogue", Statement, Refused("permission denied"),
        "CREATE TRIGGER t AFTER UPDATE ON sesari.context_keys FOR EACH ROW EXECUTE FUNCTION sesari.audit()"),
    attack!("a definer function under another search_path", Batch, Runs,
        "SET LOCAL search_path = pg_temp, public, sesari; UPDATE kpis SET unit = sesari.current_workspace_id()"),
    attack!("a definer function under other formats", Batch, Runs,
        "SET LOCAL bytea_output = 'escape'; SET LOCAL timezone = 'Asia/Kathmandu';
         SET LOCAL datestyle = 'German'; SET LOCAL intervalstyle = 'sql_standard';
         SET LOCAL extra_float_digits = -15; SELECT * FROM kpis"),
    attack!("a definer function that confuses its names", Statement, Refused("permission denied to set parameter"),
        "SET LOCAL plpgsql.variable_conflict = 'use_column'"),
    attack!("definer functions that take warnings for errors", Batch, Runs,
        "SET plpgsql.extra_errors = 'all'; SELECT sesari.current_workspace_id()"),
    attack!("a definer function that runs out of stack", Batch, Refused("permission denied to set parameter"),
        "SET LOCAL max_stack_depth = '100kB'; DO $$ BEGIN PERFORM * FROM kpis; EXCEPTION WHEN OTHERS THEN NULL; END $$"),
];
