//! A consumer's own tables beside ours: declared, they are held to the same rules; undeclared, they are
//! refused.

use super::{BTreeSet, Connection, PgConnection, TestDatabase, assert_rules, findings_for};
use crate::support::logins::{lines, value};
use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};

use sesari_db::Error;
use sesari_db::database::{IsolationOptions, IsolationReport, Severity};

/// As the documentation asks for: one table that points at ours, one that points at it.
const NOTES: &str = "
    CREATE TABLE public.notes (
        workspace_id text NOT NULL DEFAULT sesari.current_workspace_id(),
        id text NOT NULL DEFAULT sesari.new_id(),
        kpi_id text,
        body text,
        CONSTRAINT notes_pkey PRIMARY KEY (workspace_id, id),
        CONSTRAINT notes_workspace_id_kpi_id_fkey FOREIGN KEY (workspace_id, kpi_id)
            REFERENCES public.kpis (workspace_id, id) ON DELETE CASCADE
    );
    SELECT sesari.forget_statistics('public.notes');
    ALTER TABLE public.notes OWNER TO sesari_owner;
    ALTER TABLE public.notes ENABLE ROW LEVEL SECURITY;
    ALTER TABLE public.notes FORCE ROW LEVEL SECURITY;
    GRANT SELECT, INSERT, UPDATE, DELETE ON public.notes TO sesari_tenant;
    CREATE POLICY notes_tenant_select ON public.notes FOR SELECT TO sesari_tenant
        USING ((SELECT sesari.key_of(sesari.current_workspace_id()))[workspace_id] IS NOT NULL
               AND workspace_id = (SELECT sesari.current_workspace_id()));
    CREATE POLICY notes_tenant_insert ON public.notes FOR INSERT TO sesari_tenant
        WITH CHECK (workspace_id = (SELECT sesari.current_workspace_id()) AND length(body) < 1000);
    CREATE POLICY notes_tenant_update ON public.notes FOR UPDATE TO sesari_tenant
        USING (workspace_id = (SELECT sesari.current_workspace_id()))
        WITH CHECK (workspace_id = (SELECT sesari.current_workspace_id()));
    CREATE POLICY notes_tenant_delete ON public.notes FOR DELETE TO sesari_tenant
        USING (workspace_id = (SELECT sesari.workspace_id_as('{owner,admin,service}')));
    CREATE VIEW public.note_bodies WITH (security_invoker = true) AS SELECT body FROM public.notes;
    GRANT SELECT ON public.note_bodies TO sesari_tenant;
    CREATE FUNCTION public.mark() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
        AS 'BEGIN RETURN NEW; END';
    CREATE TRIGGER notes_mark BEFORE INSERT ON public.notes FOR EACH ROW EXECUTE FUNCTION public.mark();
    -- Not for the service's logins, and so none of their business.
    CREATE TABLE public.operators_own (secret text)";

fn check(test: &TestDatabase) -> IsolationReport {
    let options = IsolationOptions::tenant().tenant_table("notes");
    IsolationReport::check(&test.tenant_url(), &options).unwrap()
}

#[test]
fn a_well_made_table_is_accepted_once_it_is_declared_and_isolates() {
    let test = TestDatabase::new().unwrap();
    test.admin().unwrap().batch_execute(NOTES).unwrap();
    assert_rules(&findings_for(&test, &test.tenant_url()), &["table-undeclared"]);
    assert_rules(&check(&test), &[]);
    let database = test.builder().tenant_table("public.notes").build().unwrap();
    let service: sesari_db::tenancy::ServiceName = "notes".parse().unwrap();
    let (a, b) = ("wa".parse().unwrap(), "wb".parse().unwrap());
    let mut guard = database.tenant(&service, &a).unwrap();
    guard.connection().batch_execute("INSERT INTO public.notes (body) VALUES ('of a')").unwrap();
    guard.commit().unwrap();
    let bodies = |workspace| {
        let mut guard = database.tenant(&service, workspace).unwrap();
        lines(guard.connection(), "SELECT body AS line FROM public.note_bodies")
    };
    assert_eq!(bodies(&a), ["of a"]);
    assert_eq!(bodies(&b), [""; 0]);
}

/// Each table but one thing, and exactly the rules that see it.
const SPOILT: &[(&str, &[&str])] = &[
    ("ALTER TABLE notes DISABLE ROW LEVEL SECURITY", &["table-without-rls"]),
    (
        "ALTER TABLE notes DISABLE ROW LEVEL SECURITY; REVOKE ALL ON notes FROM sesari_tenant;
             REVOKE ALL ON note_bodies FROM sesari_tenant",
        &["table-without-rls"],
    ),
    ("ALTER TABLE notes NO FORCE ROW LEVEL SECURITY", &["table-not-forced"]),
    ("DROP POLICY notes_tenant_delete ON notes", &["table-without-policy"]),
    ("ALTER POLICY notes_tenant_insert ON notes TO sesari_service", &["table-without-policy"]),
    ("GRANT TRUNCATE ON notes TO sesari_tenant", &["stray-grant"]),
    ("GRANT REFERENCES (id) ON notes TO PUBLIC", &["stray-grant"]),
    ("GRANT SELECT ON notes TO sesari_tenant WITH GRANT OPTION", &["tenant-grant-option"]),
    ("GRANT UPDATE (body) ON notes TO sesari_tenant WITH GRANT OPTION", &["tenant-grant-option"]),
    ("ALTER VIEW note_bodies RESET (security_invoker)", &["view-without-invoker"]),
    (
        "CREATE MATERIALIZED VIEW all_notes AS SELECT * FROM notes;
             GRANT SELECT ON all_notes TO sesari_tenant",
        &["relation-outside-rls"],
    ),
    ("GRANT SELECT ON operators_own TO PUBLIC", &["table-without-rls"]),
    ("CREATE POLICY floor ON notes AS RESTRICTIVE USING (true)", &["policy-restrictive"]),
    (
        "CREATE POLICY more ON notes FOR SELECT TO sesari_tenant
                 USING (workspace_id = (SELECT sesari.current_workspace_id()))",
        &["tenant-policy-late", "tenant-policy-overlap"],
    ),
    (
        "CREATE POLICY more ON notes FOR SELECT USING (true)",
        &["tenant-policy", "tenant-policy-overlap"],
    ),
    ("ALTER POLICY notes_tenant_update ON notes WITH CHECK (true)", &["tenant-policy"]),
    (
        "DROP POLICY notes_tenant_update ON notes;
             CREATE POLICY notes_tenant_update ON notes FOR UPDATE TO sesari_tenant
                 USING (workspace_id = (SELECT sesari.current_workspace_id()))",
        &["tenant-policy"],
    ),
    ("ALTER TABLE notes OWNER TO CURRENT_USER", &["tenant-owner"]),
    (
        "ALTER TABLE notes ADD COLUMN tag text UNIQUE",
        &["index-across-tenants", "statistics-across-tenants", "tenant-key"],
    ),
    (
        "ALTER TABLE notes DROP CONSTRAINT notes_pkey, ADD CONSTRAINT notes_pkey PRIMARY KEY (id)",
        &["index-across-tenants", "tenant-key"],
    ),
    (
        "CREATE UNIQUE INDEX ON notes ((workspace_id || id))",
        &["index-across-tenants", "statistics-across-tenants", "tenant-key"],
    ),
    ("CREATE UNIQUE INDEX ON notes (id, workspace_id)", &["index-across-tenants", "tenant-key"]),
    (
        "ALTER TABLE notes ADD EXCLUDE USING btree (body WITH =)",
        &["index-across-tenants", "tenant-key"],
    ),
    ("CREATE INDEX ON notes (body)", &["index-across-tenants"]),
    ("CREATE INDEX ON notes (body) WHERE workspace_id > ''", &["index-across-tenants"]),
    ("CREATE INDEX ON notes (body) INCLUDE (workspace_id)", &["index-across-tenants"]),
    (
        "CREATE INDEX broken ON notes (body);
             UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'broken'::regclass",
        &["index-across-tenants"],
    ),
    // The policy's condition is no condition of theirs: one of the caller's stands alone.
    ("CREATE INDEX ON notes (workspace_id COLLATE \"C\", body)", &["index-across-tenants"]),
    ("CREATE INDEX ON notes USING hash (workspace_id)", &["index-across-tenants"]),
    ("CREATE INDEX ON notes USING brin (workspace_id, body)", &["index-across-tenants"]),
    (
        "CREATE INDEX ON notes (lower(workspace_id), body)",
        &["index-across-tenants", "statistics-across-tenants"],
    ),
    ("CREATE INDEX ON notes (workspace_id, lower(body))", &["statistics-across-tenants"]),
    ("CREATE INDEX ON notes (workspace_id, body) INCLUDE (id) WHERE body <> ''", &[]),
    ("ALTER TABLE notes ALTER COLUMN body SET STATISTICS 100", &["statistics-across-tenants"]),
    (
        "ALTER TABLE notes ALTER COLUMN workspace_id SET STATISTICS -1",
        &["statistics-across-tenants"],
    ),
    ("ALTER TABLE notes ADD COLUMN tag text", &["statistics-across-tenants"]),
    ("ALTER TABLE notes ADD COLUMN tag text; SELECT sesari.forget_statistics('notes')", &[]),
    ("CREATE STATISTICS pairs ON kpi_id, body FROM notes", &["statistics-extended"]),
    (
        "CREATE STATISTICS pairs ON kpi_id, body FROM notes;
             CREATE INDEX ON notes (workspace_id, lower(body));
             SELECT sesari.forget_statistics('notes')",
        &[],
    ),
    (
        "ALTER TABLE notes ADD COLUMN author text REFERENCES users (id)",
        &["statistics-across-tenants", "tenant-foreign-key"],
    ),
    (
        "ALTER TABLE notes ADD CONSTRAINT crossed FOREIGN KEY (id, workspace_id)
                 REFERENCES kpis (workspace_id, id)",
        &["tenant-foreign-key"],
    ),
    (
        "CREATE TABLE groups (workspace_id text, id text, PRIMARY KEY (workspace_id, id));
             ALTER TABLE notes ADD COLUMN group_id text, ADD FOREIGN KEY (workspace_id, group_id)
                 REFERENCES groups (workspace_id, id)",
        &["statistics-across-tenants", "tenant-foreign-key"],
    ),
    (
        "ALTER TABLE notes ADD FOREIGN KEY (workspace_id) REFERENCES workspaces (id) NOT VALID",
        &["tenant-foreign-key"],
    ),
    ("ALTER TABLE notes DISABLE TRIGGER ALL", &["tenant-key-unenforced"]),
    (
        "ALTER TABLE notes DROP CONSTRAINT notes_pkey; ALTER TABLE notes ALTER workspace_id DROP NOT NULL",
        &["tenant-workspace-column"],
    ),
    (
        "CREATE FUNCTION peek() RETURNS text LANGUAGE sql SECURITY DEFINER
                 SET search_path = pg_catalog, pg_temp AS 'SELECT ''x'' ';
             REVOKE EXECUTE ON FUNCTION peek FROM PUBLIC;
             ALTER TABLE notes ADD COLUMN peeked text DEFAULT peek()",
        &["statistics-across-tenants", "tenant-default"],
    ),
    (
        "ALTER TABLE notes ADD COLUMN number bigserial",
        &["statistics-across-tenants", "tenant-sequence"],
    ),
    (
        "ALTER TABLE notes ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY",
        &["statistics-across-tenants", "tenant-sequence"],
    ),
    (
        "CREATE SEQUENCE numbers; GRANT USAGE ON SEQUENCE numbers TO sesari_tenant",
        &["sequence-granted"],
    ),
    ("ALTER FUNCTION mark() SECURITY DEFINER", &["tenant-trigger-definer"]),
    (
        "ALTER FUNCTION mark() SECURITY DEFINER; ALTER FUNCTION mark() RESET search_path",
        &["function-unpinned", "tenant-trigger-definer", "tenant-trigger-unpinned"],
    ),
    ("ALTER FUNCTION mark() RESET search_path", &["tenant-trigger-unpinned"]),
    (
        "CREATE FUNCTION count_all() RETURNS bigint LANGUAGE sql SECURITY DEFINER
                 SET search_path = pg_catalog, pg_temp AS 'SELECT count(*) FROM public.notes'",
        &["definer-function"],
    ),
    (
        "CREATE RULE copy AS ON INSERT TO notes DO ALSO INSERT INTO operators_own VALUES (NEW.body)",
        &["tenant-rule"],
    ),
    (
        "CREATE TABLE old_notes () INHERITS (notes)",
        &["statistics-across-tenants", "tenant-inheritance"],
    ),
    (
        "CREATE TABLE old_notes () INHERITS (notes); CREATE INDEX ON old_notes (body);
             SELECT sesari.forget_statistics('notes')",
        &["index-across-tenants", "tenant-inheritance"],
    ),
    (
        "CREATE FUNCTION spy(text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
             ALTER POLICY notes_tenant_select ON notes
                 USING ((SELECT sesari.key_of(sesari.current_workspace_id()))[workspace_id] IS NOT NULL
                        AND workspace_id = (SELECT sesari.current_workspace_id()) AND spy(body))",
        &["tenant-policy-function"],
    ),
    (
        "ALTER POLICY notes_tenant_select ON notes
             USING (workspace_id = (SELECT sesari.current_workspace_id()))",
        &["tenant-policy-late"],
    ),
];

/// Conditions for reading that do not hold a row to the workspace, or not in a form that is recognized.
const LOOSE: &[&str] = &[
    "true",
    "{ASK} OR kpi_id IS NULL",
    "kpi_id IS NULL OR {ASK}",
    "({ASK}) IS NOT TRUE",
    "NOT ({ASK})",
    "coalesce({ASK}, true)",
    "body IS NULL AND {ASK}",
    "workspace_id = sesari.current_workspace_id()",
    "workspace_id = current_setting('app.workspace', true)",
    "workspace_id = (SELECT sesari.current_user_id())",
    "workspace_id IN (SELECT w.workspace_id FROM workspace_users AS w)",
    "workspace_id >= (SELECT sesari.current_workspace_id())",
    "id = (SELECT sesari.current_workspace_id())",
    "workspace_id = (SELECT sesari.workspace_id_as(ARRAY[body]))",
    "(SELECT sesari.key_of(sesari.current_workspace_id()))[workspace_id] IS NOT NULL",
    "(SELECT sesari.key_of(sesari.current_workspace_id()))[id] IS NOT NULL AND {ASK}",
];

#[test]
fn a_declared_table_is_held_to_the_rules() {
    let loose = LOOSE.iter().map(|condition| {
        let condition =
            condition.replace("{ASK}", "workspace_id = (SELECT sesari.current_workspace_id())");
        let sql = format!("ALTER POLICY notes_tenant_select ON notes USING ({condition})");
        (sql, &["tenant-policy"] as &[&str])
    });
    let spoilt = SPOILT.iter().map(|(sql, rules)| ((*sql).to_owned(), *rules));
    let test = TestDatabase::new().unwrap();
    let mut admin = test.admin().unwrap();
    admin.batch_execute(NOTES).unwrap();
    let login = value(&mut PgConnection::establish(&test.tenant_url()).unwrap(), "session_user");
    let options = IsolationOptions::tenant().tenant_table("notes");
    for (spoil, rules) in spoilt.chain(loose) {
        // Seen as the login sees it, and then undone.
        AnsiTransactionManager::begin_transaction(&mut admin).unwrap();
        admin.batch_execute(&spoil).expect(&spoil);
        admin.batch_execute(&format!("SET LOCAL SESSION AUTHORIZATION {login}")).unwrap();
        let report = IsolationReport::check_connection(&mut admin, &options).unwrap();
        let found: BTreeSet<&str> = report.findings().iter().map(|f| f.rule.as_str()).collect();
        assert_eq!(found, rules.iter().copied().collect(), "{spoil}\n{report}");
        AnsiTransactionManager::rollback_transaction(&mut admin).unwrap();
    }
    assert_rules(&check(&test), &[]);
}

#[test]
fn what_is_critical_is_refused_and_a_warning_is_not() {
    for (spoil, refused) in [
        ("ALTER FUNCTION mark() SECURITY DEFINER", false),
        ("CREATE INDEX ON notes (body)", true),
        ("ALTER POLICY notes_tenant_select ON notes USING (true)", true),
    ] {
        let test = TestDatabase::new().unwrap();
        test.admin().unwrap().batch_execute(&format!("{NOTES}; {spoil}")).unwrap();
        let severity = if refused { Severity::Critical } else { Severity::Warning };
        assert_eq!(check(&test).worst(), Some(severity));
        let built = test.builder().tenant_table("notes").build();
        assert_eq!(built.is_err(), refused, "{built:?}");
    }
}

#[test]
fn a_declared_table_that_is_not_there_is_refused() {
    let test = TestDatabase::new().unwrap();
    assert_rules(&check(&test), &["tenant-table-missing"]);
}

#[test]
fn a_shared_table_can_be_read_and_nothing_else() {
    let test = TestDatabase::new().unwrap();
    let mut admin = test.admin().unwrap();
    admin
        .batch_execute(
            "CREATE TABLE countries (code text PRIMARY KEY);
             ALTER TABLE countries ENABLE ROW LEVEL SECURITY;
             ALTER TABLE countries FORCE ROW LEVEL SECURITY;
             CREATE POLICY countries_tenant_select ON countries FOR SELECT TO sesari_tenant USING (true);
             CREATE POLICY countries_tenant_insert ON countries FOR INSERT TO sesari_tenant WITH CHECK (true);
             GRANT SELECT ON countries TO sesari_tenant",
        )
        .unwrap();
    let build = || test.builder().shared_table("public.countries").build();
    build().unwrap();
    admin.batch_execute("GRANT INSERT ON countries TO sesari_tenant").unwrap();
    let refused = build().unwrap_err();
    assert_rules(IsolationReport::in_error(&refused).unwrap(), &["table-undeclared"]);
}

#[test]
fn the_fingerprint_follows_declared_tables_and_what_they_call() {
    let test = TestDatabase::new().unwrap();
    let mut admin = test.admin().unwrap();
    admin.batch_execute(NOTES).unwrap();
    let print = || check(&test).fingerprint().to_owned();
    let mut seen = BTreeSet::from([print()]);
    for drift in [
        "ALTER TABLE notes ADD COLUMN more text",
        "ALTER POLICY notes_tenant_delete ON notes USING (workspace_id = (SELECT sesari.workspace_id_as('{owner}')))",
        "REVOKE DELETE ON notes FROM sesari_tenant",
        "CREATE OR REPLACE FUNCTION mark() RETURNS trigger LANGUAGE plpgsql
             SET search_path = pg_catalog, pg_temp AS 'BEGIN NEW.body := 1; RETURN NEW; END'",
        "ALTER TABLE notes DISABLE TRIGGER notes_mark",
        "CREATE INDEX ON notes (workspace_id, kpi_id)",
    ] {
        admin.batch_execute(drift).unwrap();
        assert!(seen.insert(print()), "{drift}");
    }
    // What has nothing to do with it changes nothing.
    admin.batch_execute("ALTER TABLE operators_own ADD COLUMN more text").unwrap();
    assert!(!seen.insert(print()));
}

#[test]
fn the_template_of_the_documentation_passes() {
    let docs = include_str!("../../../docs/tenancy.md");
    let template = docs
        .split("```sql\n")
        .filter_map(|block| block.split("```").next())
        .find(|block| block.starts_with("CREATE TABLE public.invoices"))
        .unwrap();
    let test = TestDatabase::new().unwrap();
    test.admin().unwrap().batch_execute(template).unwrap();
    let options = IsolationOptions::tenant().tenant_table("public.invoices");
    assert_rules(&IsolationReport::check(&test.tenant_url(), &options).unwrap(), &[]);
    test.builder().tenant_table("public.invoices").build().unwrap();
}

#[test]
fn a_table_protected_by_one_call_is_accepted_and_isolates() {
    let test = TestDatabase::new().unwrap();
    let mut admin = test.admin().unwrap();
    for (arguments, policies) in [
        ("", 4),
        (", may_delete => '{owner,admin}'", 4),
        (", may_select => '{owner}', may_insert => '{admin}', may_update => NULL", 3),
        (", may_insert => NULL, may_update => NULL, may_delete => NULL, readable => '{id}'", 1),
    ] {
        admin
            .batch_execute(&format!(
                "DROP TABLE IF EXISTS public.notes;
                 CREATE TABLE public.notes (
                     workspace_id text NOT NULL DEFAULT sesari.current_workspace_id(),
                     id text NOT NULL DEFAULT sesari.new_id(), body text,
                     CONSTRAINT notes_pkey PRIMARY KEY (workspace_id, id));
                 SELECT sesari.protect_table('public.notes'{arguments})"
            ))
            .unwrap();
        assert_rules(&check(&test), &[]);
        let counted = "SELECT count(*)::text AS value FROM pg_policies WHERE tablename = 'notes'";
        assert_eq!(value(&mut admin, counted), policies.to_string(), "{arguments}");
    }
    admin
        .batch_execute(
            "DROP TABLE public.notes;
             CREATE TABLE public.notes (
                 workspace_id text NOT NULL DEFAULT sesari.current_workspace_id(),
                 id text NOT NULL, secret text, CONSTRAINT notes_pkey PRIMARY KEY (workspace_id, id));
             SELECT sesari.protect_table('public.notes');
             CREATE TRIGGER notes_audit AFTER INSERT OR UPDATE OR DELETE ON public.notes
                 FOR EACH ROW EXECUTE FUNCTION sesari.audit(
                     'notes', 'note.create', 'note.update', 'note.delete', '', 'secret')",
        )
        .unwrap();
    assert_rules(&check(&test), &[]);
    let database = test.builder().tenant_table("notes").build().unwrap();
    let service: sesari_db::tenancy::ServiceName = "notes".parse().unwrap();
    let (a, b) = ("wa".parse().unwrap(), "wb".parse().unwrap());
    let mut guard = database.tenant(&service, &a).unwrap();
    let note = "INSERT INTO public.notes (id, secret) VALUES ('n', 's')";
    guard.connection().batch_execute(note).unwrap();
    guard.commit().unwrap();
    let told = "SELECT concat_ws(' ', workspace_id, actor_id, action, row_id, changes - 'workspace_id') AS value
                  FROM public.audit_log WHERE table_name = 'notes'";
    assert_eq!(
        value(&mut admin, told),
        r#"wa notes note.create n {"id": {"new": "n"}, "secret": {}}"#
    );
    let mut guard = database.tenant(&service, &a).unwrap();
    let moved = guard.connection().batch_execute("UPDATE public.notes SET id = 'm'");
    assert_eq!(Error::from(moved.unwrap_err()).kind(), "invalid");
    drop(guard);
    let mut guard = database.tenant(&service, &b).unwrap();
    assert!(lines(guard.connection(), "SELECT id AS line FROM public.notes").is_empty());
}
