//! Taking another context.

use super::harness::{Attack, Form::*, Outcome::*};

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
        "a context of B in the arguments of an aggregate",
        Statement,
        Runs,
        "SELECT max(set_config('sesari.context', '{live}', true)), string_agg(name, ',') FROM kpis"
    ),
    attack!(
        "a context of B in a window",
        Statement,
        Runs,
        "SELECT name, first_value(set_config('sesari.context', '{live}', true)) OVER (ORDER BY id) FROM kpis"
    ),
    attack!(
        "a context of B in HAVING",
        Statement,
        Runs,
        "SELECT k.name FROM kpis AS k, goals AS g GROUP BY 1 HAVING max(set_config('sesari.context', '{live}', true)) <> ''"
    ),
    attack!(
        "a context of B in RETURNING",
        Statement,
        Runs,
        "UPDATE kpis SET unit = 'x' RETURNING set_config('sesari.context', '{live}', true), (SELECT string_agg(name, ',') FROM goals AS g (a, b, name))"
    ),
    attack!(
        "a context of B in LIMIT",
        Statement,
        Runs,
        "SELECT * FROM kpis LIMIT length(set_config('sesari.context', '{live}', true))"
    ),
    attack!(
        "a context of B in a recursion",
        Statement,
        Runs,
        "WITH RECURSIVE r AS (SELECT 1 AS n, set_config('sesari.context', '{live}', true) AS c
         UNION ALL SELECT n + 1, (SELECT string_agg(name, ',') FROM kpis) FROM r WHERE n < 3)
         SELECT * FROM r"
    ),
    attack!(
        "a context of B in COALESCE around a sub-select",
        Statement,
        Runs,
        "SELECT coalesce(nullif(set_config('sesari.context', '{live}', true), '{live}'), (SELECT string_agg(name, ',') FROM kpis))"
    ),
    attack!(
        "a context of B in an exception handler",
        Batch,
        Runs,
        "DO $$ BEGIN
         PERFORM set_config('sesari.context', '{live}', true); PERFORM 1 / 0;
         EXCEPTION WHEN division_by_zero THEN
         IF EXISTS (SELECT FROM kpis WHERE workspace_id = '{b}') THEN RAISE 'globex'; END IF;
         END $$"
    ),
    attack!(
        "a context kept past a savepoint that is undone",
        Batch,
        Runs,
        "SAVEPOINT s; SELECT set_config('sesari.context', '{live}', false); ROLLBACK TO s;
         UPDATE kpis SET unit = 'x' WHERE workspace_id = '{b}'"
    ),
    attack!(
        "a context under another case of its name",
        Statement,
        Runs,
        "SELECT set_config('SESARI.CONTEXT', '{live}', true), (SELECT string_agg(name, ',') FROM kpis)"
    ),
    attack!(
        "a context with blanks around it",
        Statement,
        Runs,
        "SELECT set_config('sesari.context', ' {live} ', true)"
    ),
    attack!(
        "a context with its signature in capitals",
        Statement,
        Runs,
        "SELECT set_config('sesari.context', left('{live}', -64) || upper(right('{live}', 64)), true)"
    ),
];
