//! `sesari.forget_statistics`, which every table that tenants read is made with.

use diesel::connection::SimpleConnection;
use sesari_db::testing::TestDatabase;

use crate::support::logins::{holds, value};

/// A table with rows, an expression in an index, a partition and what ANALYZE sampled of all.
const SAMPLED: &str = "
    CREATE TABLE public.notes (workspace_id text, body text) PARTITION BY LIST (workspace_id);
    CREATE TABLE public.all_notes PARTITION OF public.notes DEFAULT;
    CREATE INDEX ON public.notes (workspace_id, lower(body));
    ALTER TABLE public.notes OWNER TO sesari_owner;
    ALTER TABLE public.all_notes OWNER TO sesari_owner;
    INSERT INTO public.notes SELECT 'w' || n % 3, 'note ' || n FROM generate_series(1, 100) AS n;
    ANALYZE public.notes;
    ANALYZE public.all_notes";

const KNOWN: &str =
    "SELECT count(*) FROM pg_statistic JOIN pg_class ON oid = starelid WHERE relname ~ 'notes'";

#[test]
fn a_table_that_was_sampled_is_forgotten_with_its_partitions_and_their_indexes() {
    let test = TestDatabase::new().unwrap();
    let mut admin = test.admin().unwrap();
    admin.batch_execute(SAMPLED).unwrap();
    admin
        .batch_execute("CREATE STATISTICS public.pairs ON workspace_id, body FROM public.notes")
        .unwrap();
    assert!(holds(&mut admin, &format!("({KNOWN}) >= 5")));
    admin.batch_execute("SELECT sesari.forget_statistics('public.notes')").unwrap();
    assert_eq!(value(&mut admin, KNOWN), "0");
    admin.batch_execute("ANALYZE public.notes; ANALYZE public.all_notes").unwrap();
    assert_eq!(value(&mut admin, KNOWN), "0");
    assert_eq!(value(&mut admin, "SELECT count(*) FROM pg_statistic_ext"), "0");
}

/// Before PostgreSQL 18 only a superuser can clear what was sampled.
#[test]
fn an_owner_who_cannot_clear_what_was_sampled_is_told_so() {
    let test = TestDatabase::new().unwrap();
    let mut admin = test.admin().unwrap();
    admin.batch_execute(SAMPLED).unwrap();
    let forget = "SET ROLE sesari_owner; SELECT sesari.forget_statistics('public.notes')";
    let forgotten = admin.batch_execute(forget);
    admin.batch_execute("RESET ROLE").unwrap();
    if holds(&mut admin, "current_setting('server_version_num')::integer >= 180000") {
        forgotten.unwrap();
        assert_eq!(value(&mut admin, KNOWN), "0");
    } else {
        let error = forgotten.unwrap_err().to_string();
        assert!(error.contains("only a superuser can clear its statistics"), "{error}");
    }
}

#[test]
fn nobody_but_the_owner_has_statistics_forgotten() {
    let test = TestDatabase::new().unwrap();
    let mut admin = test.admin().unwrap();
    for role in ["sesari_tenant", "sesari_service"] {
        let may = format!(
            "has_function_privilege('{role}', 'sesari.forget_statistics(regclass)', 'EXECUTE')"
        );
        assert!(!holds(&mut admin, &may), "{role}");
    }
}
