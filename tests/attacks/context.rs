//! Taking another context.

use crate::harness::{Attack, Form::*, Outcome::*};

pub const ATTACKS: &[Attack] = &[
    attack!(
        "a context of B in a CTE",
        Statement,
        Runs,
        "WITH taken AS MATERIALIZED (SELECT set_config('sesari.context', '{live}', true) AS c)
         SELECT kpis.* FROM taken, kpis WHERE taken.c IS NOT NULL"
    ),
    attack!(
        "a context of B in a CTE, for the session",
        Statement,
        Runs,
        "WITH taken AS MATERIALIZED (SELECT set_config('sesari.context', '{live}', false) AS c)
         SELECT kpis.* FROM taken, kpis WHERE taken.c IS NOT NULL"
    ),
    attack!(
        "a context of B in a sub-select",
        Statement,
        Runs,
        "SELECT (SELECT set_config('sesari.context', '{live}', true)) IS NULL, k.* FROM kpis AS k"
    ),
    attack!(
        "a context of B in WHERE",
        Statement,
        Runs,
        "SELECT * FROM kpis WHERE set_config('sesari.context', '{live}', false) IS NOT NULL"
    ),
    attack!(
        "a context of B in ORDER BY, read again by a lateral join",
        Statement,
        Runs,
        "SELECT g.* FROM (SELECT * FROM kpis
                          ORDER BY set_config('sesari.context', '{live}', true)) AS k,
                LATERAL (SELECT goals.title FROM goals WHERE k.id IS NOT NULL) AS g"
    ),
    attack!(
        "a context of B while updating",
        Statement,
        Refused("row-level security"),
        "UPDATE kpis SET name = 'stolen' WHERE set_config('sesari.context', '{live}', true) <> ''"
    ),
    attack!(
        "a context of B for an insert's check",
        Statement,
        Refused("row-level security"),
        "INSERT INTO kpis (workspace_id, name)
         SELECT '{b}', 'planted' WHERE set_config('sesari.context', '{live}', true) <> ''"
    ),
    attack!(
        "SET LOCAL of a live context of B",
        Statement,
        Runs,
        "SET LOCAL sesari.context = '{live}'"
    ),
    attack!(
        "SET of a live context of B, for the session",
        Statement,
        Runs,
        "SET SESSION sesari.context = '{live}'"
    ),
    attack!(
        "an expired context of B for this very backend",
        Statement,
        Runs,
        "SET LOCAL sesari.context = '{old}'"
    ),
    attack!(
        "an expired context, in a statement",
        Statement,
        Runs,
        "WITH taken AS MATERIALIZED (SELECT set_config('sesari.context', '{old}', true) AS c)
         SELECT kpis.* FROM taken, kpis WHERE taken.c IS NOT NULL"
    ),
    attack!(
        "the own context with B's workspace",
        Statement,
        Runs,
        "SELECT set_config('sesari.context',
            replace(current_setting('sesari.context'), '{a}', '{b}'), true)"
    ),
    attack!(
        "the own context with B's user and workspace",
        Statement,
        Runs,
        "SELECT set_config('sesari.context', replace(replace(
            current_setting('sesari.context'), '{a}', '{b}'), '{a_user}', '{b_user}'), true)"
    ),
    attack!(
        "the own context as a service",
        Statement,
        Runs,
        "SELECT set_config('sesari.context',
            replace(current_setting('sesari.context'), '.u.', '.s.'), true)"
    ),
    attack!(
        "the own signature under B's parts",
        Statement,
        Runs,
        "SELECT set_config('sesari.context', left('{live}', -64)
            || right(current_setting('sesari.context'), 64), true)"
    ),
    attack!(
        "B's context with this backend's pid",
        Statement,
        Runs,
        "SELECT set_config('sesari.context',
            replace('{live}', '.{pid}.', '.' || pg_backend_pid() || '.'), true)"
    ),
    attack!(
        "B's context with no backend's pid",
        Statement,
        Runs,
        "SELECT set_config('sesari.context', replace('{live}', '.{pid}.', '.0.'), true)"
    ),
    attack!(
        "a context of nothing but dots",
        Statement,
        Runs,
        "SELECT set_config('sesari.context', '1.......' || repeat('0', 64), true)"
    ),
    attack!(
        "a context too long",
        Statement,
        Runs,
        "SELECT set_config('sesari.context', '1.' || repeat('a.', 100000), true)"
    ),
    attack!(
        "two contexts in one",
        Statement,
        Runs,
        "SELECT set_config('sesari.context',
            current_setting('sesari.context') || '{live}', true)"
    ),
    attack!("RESET of the context", Statement, Runs, "RESET sesari.context"),
    attack!(
        "the context behind another setting's back",
        Statement,
        Refused("invalid configuration parameter name"),
        "SELECT set_config('sesari.context'';x', '{live}', true)"
    ),
    attack!(
        "a context of B in a savepoint",
        Batch,
        Runs,
        "SAVEPOINT s; SET LOCAL sesari.context = '{live}'; UPDATE kpis SET name = 'stolen';
         RELEASE s"
    ),
    attack!(
        "a context of B in a transaction of one's own",
        Batch,
        Runs,
        "COMMIT; BEGIN; SET LOCAL sesari.context = '{live}'; DELETE FROM goals"
    ),
    attack!(
        "a context of B set outside of any transaction",
        Batch,
        Runs,
        "COMMIT; SET sesari.context = '{live}'; BEGIN; DELETE FROM goals"
    ),
    attack!(
        "a plan from before the context changed",
        Batch,
        Runs,
        "PREPARE reads AS UPDATE kpis SET description = 'stolen'; EXECUTE reads;
         SET LOCAL sesari.context = '{live}'; EXECUTE reads; DEALLOCATE reads"
    ),
    attack!(
        "the key table",
        Statement,
        Refused("permission denied for table context_keys"),
        "SELECT * FROM sesari.context_keys"
    ),
    attack!(
        "the key table as XML",
        Statement,
        Refused("permission denied for table context_keys"),
        "SELECT table_to_xml('sesari.context_keys', true, true, '')"
    ),
    attack!(
        "a key of one's own",
        Statement,
        Refused("permission denied for function"),
        "SELECT sesari.install_context_key('mine', decode(repeat('00', 32), 'hex'))"
    ),
    attack!(
        "a key straight into the table",
        Statement,
        Refused("permission denied for table"),
        "INSERT INTO sesari.context_keys VALUES ('mine', decode(repeat('00', 64), 'hex'),
             decode(repeat('00', 64), 'hex'))"
    ),
    attack!(
        "retiring the key",
        Statement,
        Refused("permission denied for function"),
        "SELECT sesari.retire_context_key('test')"
    ),
    attack!(
        "the verifier itself",
        Statement,
        Refused("permission denied for function"),
        "SELECT sesari.verified_context()"
    ),
    attack!(
        "the services' view of the context",
        Statement,
        Refused("permission denied for function"),
        "SELECT sesari.current_service()"
    ),
    attack!(
        "a workspace from inside of another",
        Statement,
        Refused("permission denied"),
        "SELECT sesari.create_workspace('wnew', 'mnew', 'New', 'new')"
    ),
    attack!(
        "a guess at the key",
        Statement,
        Runs,
        "SELECT sesari.has_context_key('test', sha256('guess'))"
    ),
];
