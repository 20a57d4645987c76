//! A context that was captured, used again.

use super::harness::{Attack, Form::*, Outcome::*};

pub const ATTACKS: &[Attack] = &[
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
        "a context from the future",
        Statement,
        Runs,
        "WITH taken AS MATERIALIZED (SELECT set_config('sesari.context', '{future}', true) AS c) SELECT kpis.* FROM taken, kpis WHERE taken.c <> ''"
    ),
    attack!(
        "a context of another key under the same name",
        Statement,
        Runs,
        "SELECT set_config('sesari.context', '{other_key}', true)"
    ),
    attack!(
        "a context of a key that was retired",
        Statement,
        Runs,
        "SELECT set_config('sesari.context', '{no_key}', true)"
    ),
    attack!(
        "the own user in B, signed",
        Statement,
        Runs,
        "SELECT set_config('sesari.context', '{not_member}', true)"
    ),
    attack!(
        "an expired context in a transaction of its own age",
        Batch,
        Runs,
        "COMMIT; BEGIN; SET LOCAL ROLE sesari_tenant; SET LOCAL sesari.context = '{old}'; DELETE FROM goals"
    ),
    attack!(
        "a live context at every level",
        Batch,
        Runs,
        "SET sesari.context = '{live}'; SAVEPOINT s; SET LOCAL sesari.context = '{live}'; DELETE FROM goals; COMMIT"
    ),
    attack!(
        "the own context after its transaction",
        Batch,
        Runs,
        "DO $$ BEGIN PERFORM set_config('mine.copy', current_setting('sesari.context'), false); END $$; COMMIT; BEGIN; SET LOCAL ROLE sesari_tenant; SELECT set_config('sesari.context', current_setting('mine.copy'), true); UPDATE kpis SET unit = 'x'"
    ),
    attack!(
        "a live context for a service",
        Statement,
        Runs,
        "SELECT set_config('sesari.context', regexp_replace('{live}', '[.]u[.][^.]*[.]', '.s.jobs.'), true)"
    ),
];
