//! Prepared statements, cursors, and plans that outlive what they were made under.

use super::harness::{Attack, Form::*, Outcome::*};

pub const ATTACKS: &[Attack] = &[
    attack!(
        "a plan from before the context changed",
        Batch,
        Runs,
        "PREPARE reads AS UPDATE kpis SET description = 'stolen'; EXECUTE reads;
         SET LOCAL sesari.context = '{live}'; EXECUTE reads; DEALLOCATE reads"
    ),
    attack!(
        "a cursor as XML",
        Batch,
        Runs,
        "DECLARE c CURSOR FOR SELECT * FROM kpis; SELECT cursor_to_xml('c', 10, true, true, '')"
    ),
    attack!(
        "a cursor moved past its rows",
        Batch,
        Runs,
        "DECLARE c CURSOR FOR SELECT * FROM kpis FOR UPDATE; MOVE 1 IN c;
         UPDATE kpis SET unit = 'x' WHERE CURRENT OF c"
    ),
    attack!(
        "a generic plan",
        Batch,
        Runs,
        "SET LOCAL plan_cache_mode = force_generic_plan; PREPARE r (text) AS UPDATE kpis SET name = 'stolen' WHERE workspace_id = $1; EXECUTE r ('{b}'); EXECUTE r ('{b}'); DEALLOCATE r"
    ),
    attack!(
        "a plan made while row security was off",
        Batch,
        Refused("would be affected by row-level security"),
        "SET LOCAL row_security = off; PREPARE r AS UPDATE kpis SET unit = 'x'; SET LOCAL row_security = on; EXECUTE r; DEALLOCATE r"
    ),
    attack!(
        "a plan run while row security is off",
        Batch,
        Refused("would be affected by row-level security"),
        "PREPARE r AS UPDATE kpis SET unit = 'x'; EXECUTE r; SET LOCAL row_security = off; EXECUTE r"
    ),
    attack!(
        "a plan of the login",
        Batch,
        Runs,
        "RESET ROLE; PREPARE r AS DELETE FROM goals; SET ROLE sesari_tenant; EXECUTE r; DEALLOCATE r"
    ),
    attack!(
        "a plan of a savepoint that was undone",
        Batch,
        Runs,
        "SAVEPOINT s; SET LOCAL sesari.context = '{live}'; PREPARE r AS DELETE FROM goals; EXECUTE r; ROLLBACK TO s; EXECUTE r; DEALLOCATE r"
    ),
    attack!(
        "a plan explained",
        Batch,
        Runs,
        "PREPARE r AS SELECT * FROM kpis WHERE workspace_id = '{b}'; EXPLAIN (ANALYZE) EXECUTE r; DEALLOCATE r"
    ),
    attack!(
        "a cursor from before the context changed",
        Batch,
        Runs,
        "DECLARE c SCROLL CURSOR FOR SELECT * FROM kpis; SET LOCAL sesari.context = '{live}';
         DO $$ DECLARE c refcursor := 'c'; r record; BEGIN LOOP FETCH c INTO r; EXIT WHEN NOT FOUND;
         IF r.workspace_id <> '{a}' THEN RAISE 'globex'; END IF; END LOOP; END $$"
    ),
    attack!(
        "a cursor with hold, filled as the context changes",
        Batch,
        Runs,
        "DECLARE c CURSOR WITH HOLD FOR SELECT name FROM kpis; SET LOCAL sesari.context = '{live}';
         COMMIT; BEGIN; SET LOCAL ROLE sesari_tenant;
         DO $$ DECLARE c refcursor := 'c'; r record; BEGIN LOOP FETCH c INTO r; EXIT WHEN NOT FOUND;
         IF r.name ILIKE '%globex%' THEN RAISE 'globex'; END IF; END LOOP; END $$"
    ),
    attack!(
        "a change where the cursor is, under another context",
        Batch,
        Runs,
        "DECLARE c CURSOR FOR SELECT * FROM kpis FOR UPDATE; MOVE 1 IN c;
         SET LOCAL sesari.context = '{live}'; UPDATE kpis SET name = 'stolen' WHERE CURRENT OF c"
    ),
    attack!(
        "a cursor handed from block to block",
        Batch,
        Runs,
        "DO $$ DECLARE c refcursor := 'shared'; BEGIN OPEN c FOR SELECT * FROM kpis; END $$;
         SET LOCAL sesari.context = '{live}'; FETCH ALL IN shared; CLOSE shared"
    ),
];
