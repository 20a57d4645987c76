//! Holes made on purpose, and the attack that each lets through.

use super::harness::{Attack, Form::*, Outcome::*};

pub struct Hole {
    pub what: &'static str,
    pub sql: &'static str,
    pub attack: Attack,
    /// What the finding says.
    pub seen: &'static str,
}

pub const HOLES: &[Hole] = &[
    Hole {
        what: "a reading policy without a condition",
        sql: "ALTER POLICY kpis_tenant_select ON kpis USING (true)",
        attack: attack!("everything", Statement, Runs, "SELECT * FROM kpis"),
        seen: "B was read at once: a text",
    },
    Hole {
        what: "numbers alone are a leak, too",
        sql: "ALTER POLICY kpi_data_points_tenant_select ON kpi_data_points USING (true)",
        attack: attack!("values", Statement, Runs, "SELECT value FROM kpi_data_points"),
        seen: "B was read at once: a number",
    },
    Hole {
        what: "an error that says what B's rows contain",
        sql: "ALTER POLICY kpis_tenant_select ON kpis USING (true)",
        attack: attack!(
            "a cast",
            Statement,
            Runs,
            "SELECT id FROM kpis WHERE workspace_id = '{b}' AND name::int > 0"
        ),
        seen: "B was read at once: a text",
    },
    Hole {
        what: "an error that depends on B's rows",
        sql: "ALTER POLICY kpis_tenant_select ON kpis USING (true)",
        attack: attack!(
            "division by zero on B's numbers",
            Statement,
            Runs,
            "SELECT 1 FROM kpis WHERE 1 / (CASE WHEN target_value = {number} THEN 0 ELSE 1 END) = 1"
        ),
        seen: "division by zero",
    },
    Hole {
        what: "a function that reads as its owner",
        sql: "CREATE FUNCTION public.peek() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER
              AS 'SELECT name FROM public.kpis'",
        attack: attack!("the function", Statement, Runs, "SELECT peek()"),
        seen: "B was read at once: a text",
    },
    Hole {
        what: "a view that reads as its owner",
        sql: "CREATE VIEW public.peek AS SELECT * FROM public.goals;
              GRANT SELECT ON public.peek TO sesari_tenant",
        attack: attack!("the view", Statement, Runs, "SELECT title FROM peek"),
        seen: "B was read at once: a text",
    },
    Hole {
        what: "a changing policy without a condition",
        sql: "ALTER POLICY goals_tenant_update ON goals USING (true) WITH CHECK (true)",
        attack: attack!("an update of everything", Statement, Runs, "UPDATE goals SET title = 'x'"),
        seen: "B's rows have changed",
    },
    Hole {
        what: "TRUNCATE granted",
        sql: "GRANT TRUNCATE ON goal_kpis TO sesari_tenant",
        attack: attack!("emptying a table", Batch, Runs, "TRUNCATE goal_kpis"),
        seen: "B's rows have changed",
    },
    Hole {
        what: "contexts good on every backend",
        sql: "DO $do$ BEGIN EXECUTE replace(
                  pg_get_functiondef('sesari.verified_context'::regproc),
                  $$parts[7] IN ('0', pg_backend_pid()::text)$$, 'true'); END $do$",
        attack: attack!(
            "a live context of B",
            Statement,
            Runs,
            "SET LOCAL sesari.context = '{live}'"
        ),
        seen: "B was read afterwards",
    },
    Hole {
        what: "contexts that do not expire",
        sql: "DO $do$ BEGIN EXECUTE replace(
                  pg_get_functiondef('sesari.verified_context'::regproc),
                  $$interval '10 seconds'$$, $$interval '1 hour'$$); END $do$",
        attack: attack!(
            "an old context of B",
            Statement,
            Runs,
            "SET LOCAL sesari.context = '{old}'"
        ),
        seen: "B was read afterwards",
    },
    Hole {
        what: "temporary tables allowed",
        sql: "DO $$ BEGIN EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO PUBLIC',
                  current_database()); END $$",
        attack: attack!(
            "a temporary table",
            Statement,
            Refused("permission denied"),
            "CREATE TEMP TABLE kpis (x text)"
        ),
        seen: "expected Refused",
    },
    Hole {
        what: "the next transaction of B reads something else",
        sql: "ALTER POLICY workspace_users_tenant_update ON workspace_users
              USING (true) WITH CHECK (true)",
        attack: attack!(
            "everybody made an owner",
            Statement,
            Runs,
            "UPDATE workspace_users SET role = 'owner'"
        ),
        seen: "B's next transaction reads",
    },
    Hole {
        what: "a lock that is not among the limits",
        sql: "SELECT 1",
        attack: attack!("a table locked", Batch, Runs, "LOCK TABLE goals IN SHARE MODE"),
        seen: "B waits for the attack's transaction: true",
    },
    Hole {
        what: "what lies beyond the guarantee, closed",
        sql: "REVOKE UPDATE, DELETE, INSERT ON goals FROM sesari_tenant",
        attack: attack!(
            "a table locked",
            Blocks,
            Refused("permission denied"),
            "LOCK TABLE goals IN SHARE MODE"
        ),
        seen: "B cannot work",
    },
    // No hole, but the one right over the server that a role cannot be denied; confined here to
    // the test's database.
    Hole {
        what: "the login's defaults changed for connections to come",
        sql: "SELECT 1",
        attack: attack!(
            "a default for the login",
            Batch,
            Refused("terminating connection|server closed the connection"),
            "RESET ROLE;
             DO $$ BEGIN EXECUTE format('ALTER ROLE CURRENT_USER IN DATABASE %I SET geqo = off',
                 current_database()); END $$;
             COMMIT; SELECT pg_terminate_backend(pg_backend_pid())"
        ),
        seen: "kept for B's next transaction",
    },
];
