//! The migrations: what each makes its `down.sql` unmakes, all run or none, and a deployer needs to
//! be no superuser.
//!
//! No migration has been released, so none is frozen yet: with the first release comes a committed
//! list of the files' checksums and a test that compares it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's set-up fails loudly")]

mod dump;

mod data;
mod deployer;
mod together;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_migrations::{FileBasedMigrations, MigrationHarness};
use sesari_db::PgConnection;
use sesari_db::testing::TestDatabase;
use sesari_db::{Error, migrations};

use crate::support::logins::{lines, value};
use dump::{Dump, difference, dump, roles};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations")
}

/// An empty database. The server's template is made first, so that the roles exist and stay while
/// this database's migrations come and go.
fn empty() -> TestDatabase {
    drop(TestDatabase::new().unwrap());
    TestDatabase::empty().unwrap()
}

/// Runs the next pending migration from its file, as the library runs them all.
fn run_next(conn: &mut PgConnection) {
    let files = FileBasedMigrations::from_path(directory()).unwrap();
    conn.transaction::<_, diesel::result::Error, _>(|conn| {
        conn.batch_execute(
            "CREATE SCHEMA IF NOT EXISTS sesari_migrations; \
             SET LOCAL search_path = sesari_migrations; SET LOCAL row_security = off",
        )?;
        conn.run_next_migration(files).expect("the next migration");
        Ok(())
    })
    .unwrap();
}

/// Without what diesel keeps for itself, which comes with the first migration and stays.
fn without_bookkeeping(dump: &Dump) -> Dump {
    dump.iter().filter(|line| !line.contains("sesari_migrations")).cloned().collect()
}

/// Waits for what another session does.
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[track_caller]
fn assert_same(what: &str, before: &Dump, after: &Dump) {
    let difference = difference(before, after);
    assert!(difference.is_empty(), "{what}:\n{difference}");
}

#[test]
fn each_migration_is_undone_by_its_down_and_can_run_again() {
    let test = empty();
    let mut conn = test.admin().unwrap();
    let mut before = without_bookkeeping(&dump(&mut conn));
    for version in migrations::versions().unwrap() {
        run_next(&mut conn);
        let (after, roles_after) = (dump(&mut conn), roles(&mut conn));
        assert_eq!(migrations::revert_last(&mut conn).unwrap().as_ref(), Some(&version));
        let down = without_bookkeeping(&dump(&mut conn));
        assert_same(&format!("down.sql of {version} forgot"), &before, &down);
        run_next(&mut conn);
        assert_same(&format!("{version} run again differs"), &after, &dump(&mut conn));
        assert_same(&format!("{version} changes a role"), &roles_after, &roles(&mut conn));
        before = without_bookkeeping(&after);
    }
    assert_eq!(migrations::run(&mut conn).unwrap(), [""; 0], "all are applied");

    let at_once = empty();
    let mut at_once = at_once.admin().unwrap();
    migrations::run(&mut at_once).unwrap();
    assert_same("one by one differs from all at once", &dump(&mut at_once), &dump(&mut conn));
}

#[test]
fn the_bookkeeping_belongs_to_the_owner_while_there_is_one() {
    let test = empty();
    let mut conn = test.admin().unwrap();
    let owner = "SELECT pg_get_userbyid(relowner) FROM pg_class \
                 WHERE oid = 'sesari_migrations.__diesel_schema_migrations'::regclass";
    migrations::run(&mut conn).unwrap();
    assert_eq!(value(&mut conn, owner), "sesari_owner");
    while migrations::revert_last(&mut conn).unwrap().is_some() {}
    assert_eq!(value(&mut conn, owner), value(&mut conn, "current_user"));
    assert_eq!(migrations::revert_last(&mut conn).unwrap(), None, "nothing left to revert");
}

/// Each of these is something a `down.sql` could forget.
#[test]
fn the_dump_sees_whatever_a_down_could_forget() {
    let test = empty();
    let mut conn = test.admin().unwrap();
    migrations::run(&mut conn).unwrap();
    let (clean, clean_roles) = (dump(&mut conn), roles(&mut conn));
    for forgotten in [
        "CREATE TABLE public.more (a text)",
        "CREATE TABLE sesari.more (a text)",
        "CREATE SCHEMA more",
        "CREATE TYPE public.mood AS ENUM ('good')",
        "CREATE SEQUENCE public.s",
        "CREATE VIEW public.v AS SELECT 1 AS a",
        "CREATE INDEX more ON public.kpis (name)",
        "DROP INDEX public.idx_kpis_workspace_id",
        "ALTER TABLE public.kpis ADD COLUMN more text",
        "ALTER TABLE public.kpis ALTER COLUMN name DROP NOT NULL",
        "ALTER TABLE public.kpis ALTER COLUMN name SET DEFAULT 'x'",
        "ALTER TABLE public.kpis ALTER COLUMN name TYPE varchar(10)",
        "ALTER TABLE public.kpis DROP CONSTRAINT kpis_name_check",
        "ALTER TABLE public.kpis DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE public.kpis NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE public.kpis OWNER TO CURRENT_USER",
        "ALTER TABLE public.kpis SET (fillfactor = 50)",
        "CREATE POLICY more ON public.kpis USING (true)",
        "ALTER POLICY kpis_tenant_select ON public.kpis USING (true)",
        "ALTER POLICY kpis_tenant_select ON public.kpis TO sesari_service",
        "CREATE TRIGGER more BEFORE UPDATE ON public.kpis FOR EACH ROW EXECUTE FUNCTION sesari.keep_times()",
        "ALTER TABLE public.kpis DISABLE TRIGGER kpis_audit",
        "ALTER TABLE public.goal_kpis DISABLE TRIGGER ALL",
        "CREATE RULE more AS ON DELETE TO public.kpis DO INSTEAD NOTHING",
        "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER FUNCTION sesari.new_id() SET work_mem = '1MB'",
        "ALTER FUNCTION sesari.new_id() OWNER TO CURRENT_USER",
        "GRANT EXECUTE ON FUNCTION sesari.new_id() TO PUBLIC",
        "GRANT TRUNCATE ON public.kpis TO sesari_tenant",
        "GRANT SELECT ON public.kpis TO PUBLIC",
        "GRANT SELECT (name) ON public.kpis TO sesari_service",
        "REVOKE USAGE ON SCHEMA public FROM sesari_tenant",
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
        "GRANT CREATE ON SCHEMA sesari TO sesari_tenant",
        "ALTER DEFAULT PRIVILEGES FOR ROLE sesari_owner GRANT SELECT ON TABLES TO sesari_tenant",
        "ALTER DEFAULT PRIVILEGES FOR ROLE sesari_owner GRANT EXECUTE ON FUNCTIONS TO PUBLIC",
        "DO $$ BEGIN EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO PUBLIC', current_database()); END $$",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET row_security = off', current_database()); END $$",
        "COMMENT ON COLUMN public.kpis.name IS 'other'",
        "COMMENT ON FUNCTION sesari.new_id() IS NULL",
    ] {
        let outcome = conn.transaction::<(), diesel::result::Error, _>(|conn| {
            conn.batch_execute(forgotten)?;
            assert_ne!(difference(&clean, &dump(conn)), "", "not seen: {forgotten}");
            Err(diesel::result::Error::RollbackTransaction)
        });
        assert_eq!(outcome, Err(diesel::result::Error::RollbackTransaction), "{forgotten}");
    }
    for change in ["LOGIN", "BYPASSRLS", "NOINHERIT", "SET work_mem = '1MB'"] {
        let _ = conn.transaction::<(), diesel::result::Error, _>(|conn| {
            conn.batch_execute(&format!("ALTER ROLE sesari_service {change}"))?;
            assert_ne!(difference(&clean_roles, &roles(conn)), "", "not seen: {change}");
            Err(diesel::result::Error::RollbackTransaction)
        });
    }
    assert_same("the dump is the same twice", &clean, &dump(&mut conn));
}

#[test]
fn the_embedded_migrations_are_those_of_the_directory() {
    let mut versions: Vec<String> = std::fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|name| name.split('_').next().unwrap().replace('-', ""))
        .collect();
    versions.sort();
    assert_eq!(migrations::versions().unwrap(), versions);
}

/// Whether the first line of a `down.sql` tells of the data that the rest loses.
fn tells_of_loss(sql: &str) -> bool {
    let destroys = ["DROP TABLE", "DROP COLUMN", "DELETE FROM", "TRUNCATE", "UPDATE "];
    let loses = sql.lines().any(|line| {
        !line.starts_with("--") && destroys.iter().any(|word| line.to_uppercase().contains(word))
    });
    !loses || sql.lines().next().is_some_and(|line| line.starts_with("-- Loses "))
}

#[test]
fn a_down_that_loses_data_says_so_in_its_first_line() {
    for entry in std::fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        let down = std::fs::read_to_string(path.join("down.sql")).unwrap();
        assert!(tells_of_loss(&down), "{}", path.display());
        assert!(path.join("up.sql").exists(), "{}", path.display());
    }
    assert!(!tells_of_loss("SET LOCAL ROLE sesari_owner;\nDROP TABLE public.kpis;"));
    assert!(!tells_of_loss("ALTER TABLE t DROP COLUMN a;"));
    assert!(tells_of_loss("-- Loses every a.\nALTER TABLE t DROP COLUMN a;"));
    assert!(tells_of_loss("DROP INDEX public.i;"));
}

#[test]
fn running_twice_does_nothing_the_second_time() {
    let test = empty();
    let mut conn = test.admin().unwrap();
    assert_eq!(migrations::run(&mut conn).unwrap(), migrations::versions().unwrap());
    let before = dump(&mut conn);
    assert_eq!(migrations::run(&mut conn).unwrap(), [""; 0]);
    assert_same("a second run", &before, &dump(&mut conn));
}

#[test]
fn a_run_that_fails_leaves_the_database_as_it_was() {
    for obstacle in [
        // Found at the very beginning, in the middle, and at the end.
        "CREATE SCHEMA sesari",
        "CREATE TABLE public.goals (mine text); INSERT INTO public.goals VALUES ('kept')",
        "CREATE TABLE public.integrations ()",
    ] {
        let test = empty();
        let mut conn = test.admin().unwrap();
        conn.batch_execute(obstacle).unwrap();
        let before = dump(&mut conn);
        let error = migrations::run(&mut conn).unwrap_err();
        assert!(matches!(error, Error::Migration(_)), "{error:?}");
        assert_same("a failed run", &before, &dump(&mut conn));
        if obstacle.contains("goals") {
            assert_eq!(lines(&mut conn, "SELECT mine AS line FROM public.goals"), ["kept"]);
            // Once the obstacle is gone the same connection succeeds.
            conn.batch_execute("DROP TABLE public.goals").unwrap();
            assert_eq!(migrations::run(&mut conn).unwrap(), migrations::versions().unwrap());
        }
    }
}

#[test]
fn a_revert_that_fails_leaves_the_database_as_it_was() {
    let test = empty();
    let mut conn = test.admin().unwrap();
    migrations::run(&mut conn).unwrap();
    conn.batch_execute(
        "CREATE VIEW public.in_the_way AS SELECT sesari.diagnose('', '', '', '', '')",
    )
    .unwrap();
    let before = dump(&mut conn);
    let error = migrations::revert_last(&mut conn).unwrap_err();
    assert!(matches!(error, Error::Migration(_)), "{error:?}");
    assert_same("a failed revert", &before, &dump(&mut conn));
}

#[test]
fn the_roles_stay_while_another_database_needs_them() {
    let other = TestDatabase::new().unwrap();
    let test = TestDatabase::empty().unwrap();
    let mut conn = test.admin().unwrap();
    migrations::run(&mut conn).unwrap();
    let before = roles(&mut conn);
    while migrations::revert_last(&mut conn).unwrap().is_some() {}
    assert_same("roles that another database needs", &before, &roles(&mut conn));
    other.database().unwrap();
}
