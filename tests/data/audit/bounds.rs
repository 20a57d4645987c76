//! What one transaction may leave in the log, and what its commit costs.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use sesari_db::Error;
use sesari_db::PgConnection;
use sesari_db::audit::{MAX_ENTRIES, MAX_WORKSPACES, Verdict};

use crate::support::World;

/// Rows of `a` that leave an entry when they are deleted, so many of each. Their ids are shorter than others.
fn stock(world: &World, rows: u32) {
    world.tamper(&format!(
        "INSERT INTO kpis (workspace_id, id, name) \
         SELECT '{{ws}}', 'k' || n, 'x' FROM generate_series(1, {rows}) AS n; \
         INSERT INTO goals (workspace_id, id, title) \
         SELECT '{{ws}}', 'g' || n, 'x' FROM generate_series(1, {rows}) AS n; \
         INSERT INTO users (id, email, provider, provider_id) \
         SELECT 'u' || n, 'u' || n || '@example.com', 'google', 'u' || n \
           FROM generate_series(1, {rows}) AS n; \
         INSERT INTO sesari.user_workspaces (workspace_id, user_id) \
         SELECT '{{ws}}', 'u' || n FROM generate_series(1, {rows}) AS n; \
         INSERT INTO workspace_users (workspace_id, id, user_id) \
         SELECT '{{ws}}', 'm' || n, 'u' || n FROM generate_series(1, {rows}) AS n; \
         INSERT INTO integrations (workspace_id, id, provider, credentials) \
         SELECT '{{ws}}', 'i' || n, 'stripe', 'v1.k1.AAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAA' \
           FROM generate_series(1, {rows}) AS n"
    ));
}

fn run(conn: &mut PgConnection, sql: &str) -> Result<(), Error> {
    Ok(conn.batch_execute(sql)?)
}

fn number(conn: &mut PgConnection, expression: &str) -> i64 {
    diesel::select(diesel::dsl::sql::<BigInt>(&format!("({expression})"))).get_result(conn).unwrap()
}

fn assert_too_many(result: Result<(), Error>, case: &str) {
    let Err(error) = result else { panic!("{case}: it was done") };
    assert!(matches!(error, Error::TooManyChanges), "{case}: {error:?}");
    assert!(!error.is_retryable());
    assert_eq!(error.kind(), "too_many_changes");
    assert!(error.to_string().contains(&MAX_ENTRIES.to_string()), "{error}");
}

/// The user of so many memberships, each in a workspace of its own.
fn member_of(world: &World, name: &str, workspaces: u32) {
    world.tamper(&format!(
        "INSERT INTO users (id, email, provider, provider_id) \
         VALUES ('{name}', '{name}@example.com', 'google', '{name}'); \
         INSERT INTO workspaces (id, name, slug) \
         SELECT '{name}' || n, 'x', '{name}-' || n FROM generate_series(1, {workspaces}) AS n; \
         INSERT INTO sesari.user_workspaces (workspace_id, user_id) \
         SELECT '{name}' || n, '{name}' FROM generate_series(1, {workspaces}) AS n; \
         INSERT INTO workspace_users (workspace_id, id, user_id) \
         SELECT '{name}' || n, 'm1', '{name}' FROM generate_series(1, {workspaces}) AS n"
    ));
}

#[test]
fn one_entry_too_many_fails_in_its_statement_and_leaves_nothing() {
    let world = World::new();
    stock(&world, MAX_ENTRIES + 1);
    let before = world.export().len();
    for sql in [
        "DELETE FROM kpis WHERE length(id) < 10",
        "DELETE FROM goals WHERE length(id) < 10",
        "DELETE FROM workspace_users WHERE length(id) < 10",
        "UPDATE workspace_users SET role = 'admin' WHERE length(id) < 10",
        "UPDATE integrations SET is_active = false",
        "DELETE FROM integrations",
    ] {
        let mut tenant = world.owner();
        assert_too_many(run(tenant.connection(), sql), sql);
        assert!(matches!(tenant.commit(), Err(Error::TransactionAborted)), "{sql}");
    }
    assert_eq!(world.ask("SELECT count(*) FROM sesari.audit_pending"), "0");
    assert_eq!(world.export().len(), before);
    assert_eq!(world.ask("SELECT count(*) FROM kpis WHERE length(id) < 10"), "10001");
}

#[test]
fn as_many_as_may_be_are_chained_at_the_commit() {
    let world = World::new();
    stock(&world, MAX_ENTRIES);
    let mut tenant = world.owner();
    run(tenant.connection(), "DELETE FROM kpis WHERE length(id) < 10").unwrap();
    // One more, by whatever way.
    let more = tenant.transaction(|tenant| tenant.workspace().rename("More".parse().unwrap()));
    assert_too_many(more.map(drop), "a repository's change");
    tenant.commit().unwrap();
    let Verdict::Intact(checkpoint) = world.verify(None) else { panic!("the chain is broken") };
    assert!(checkpoint.sequence() > i64::from(MAX_ENTRIES));
}

/// What a member may add with details of the greatest size: the commit's time goes with the bytes.
#[test]
fn one_byte_too_many_fails_in_its_statement_and_the_rest_is_chained() {
    let world = World::shared();
    let before = world.export().len();
    let mut tenant = world.owner();
    let append = |entries: u32| {
        format!(
            "SELECT count(sesari.append_audit('big', '', '', d)) FROM \
             (SELECT jsonb_build_object('x', jsonb_agg(1)) AS d FROM generate_series(1, 6600) OFFSET 0) AS d, \
             generate_series(1, {entries})"
        )
    };
    run(tenant.connection(), "SET LOCAL statement_timeout = 0").unwrap();
    // Each is 79 kB in memory.
    assert_too_many(tenant.transaction(|tenant| run(tenant.connection(), &append(900))), "bytes");
    run(tenant.connection(), &append(300)).unwrap();
    tenant.commit().unwrap();
    assert_eq!(world.export().len(), before + 300);
}

#[test]
fn savepoints_count_when_they_are_kept_and_not_when_they_are_rolled_back() {
    let world = World::new();
    stock(&world, MAX_ENTRIES + 1);
    let half = MAX_ENTRIES / 2;
    let delete = |from, to| {
        format!(
            "DELETE FROM kpis WHERE length(id) < 10 AND substr(id, 2)::int BETWEEN {from} AND {to}"
        )
    };
    let mut tenant = world.owner();
    let conn = tenant.connection();
    for _ in 0..3 {
        run(conn, &format!("SAVEPOINT s; {}; ROLLBACK TO s", delete(1, half))).unwrap();
    }
    run(conn, &format!("SAVEPOINT kept; {}; RELEASE kept", delete(1, half))).unwrap();
    assert_too_many(
        run(conn, &format!("SAVEPOINT s; {}", delete(half + 1, MAX_ENTRIES + 1))),
        "kept",
    );
    run(conn, &format!("ROLLBACK TO s; {}", delete(half + 1, MAX_ENTRIES))).unwrap();
    tenant.commit().unwrap();
    assert!(matches!(world.verify(None), Verdict::Intact(_)));
    assert_eq!(world.ask("SELECT count(*) FROM kpis WHERE length(id) < 10"), "1");
}

/// Two workspaces are two, however often a transaction goes from one to the other.
#[test]
fn workspaces_are_counted_once_each() {
    let world = World::new();
    let mut admin = world.test.admin().unwrap();
    let rows = format!(
        "INSERT INTO kpis (workspace_id, name) \
         SELECT CASE n % 2 WHEN 0 THEN '{}' ELSE '{}' END, 'alternating' FROM generate_series(1, 3000) AS n",
        world.a.workspace, world.b.workspace
    );
    admin.batch_execute(&rows).unwrap();
    admin.batch_execute("DELETE FROM kpis WHERE name = 'alternating'").unwrap();
    assert!(matches!(world.verify(None), Verdict::Intact(_)));
}

#[test]
fn transactions_at_the_same_time_count_for_themselves() {
    let world = World::new();
    stock(&world, 2 * MAX_ENTRIES);
    let (mut one, mut other) = (world.owner(), world.owner());
    for (tenant, rest) in [(&mut one, 0), (&mut other, 1)] {
        let sql =
            format!("DELETE FROM kpis WHERE length(id) < 10 AND substr(id, 2)::int % 2 = {rest}");
        run(tenant.connection(), &sql).unwrap();
    }
    one.commit().unwrap();
    other.commit().unwrap();
    assert!(matches!(world.verify(None), Verdict::Intact(_)));
}

#[test]
fn a_user_of_too_many_workspaces_is_not_deleted_in_one_transaction() {
    let world = World::new();
    member_of(&world, "few", MAX_WORKSPACES);
    member_of(&world, "many", MAX_WORKSPACES + 1);
    member_of(&world, "thousands", 20_000);
    let delete = |name: &str| {
        let mut service = world.service();
        // The repository leaves workspaces in bounded transactions; SQL does not.
        run(service.connection(), &format!("DELETE FROM users WHERE id = '{name}'"))?;
        service.commit()
    };
    assert_too_many(delete("many"), "one workspace too many");
    assert_too_many(delete("thousands"), "20000 memberships");
    assert_eq!(world.ask("SELECT count(*) FROM workspace_users WHERE user_id = 'many'"), "1001");
    delete("few").unwrap();
    let entries =
        "SELECT count(DISTINCT workspace_id) FROM audit_log WHERE action = 'member.remove'";
    assert_eq!(world.ask(entries), MAX_WORKSPACES.to_string());
}

/// Tuples that an index gave out, and functions called: what does not depend on the machine.
#[test]
fn the_work_of_a_commit_grows_with_its_entries_and_no_faster() {
    let world = World::new();
    stock(&world, 3_000);
    let work = |from: u32, to: u32| {
        // Of its own: what a session counted before is still among its figures.
        let mut admin = world.test.admin().unwrap();
        admin
            .batch_execute(&format!(
                "BEGIN; SET LOCAL track_functions = 'all'; \
                 DELETE FROM kpis WHERE length(id) < 10 AND substr(id, 2)::int BETWEEN {from} AND {to}; \
                 SET CONSTRAINTS ALL IMMEDIATE"
            ))
            .unwrap();
        let read = "SELECT sum(pg_stat_get_xact_tuples_returned(oid)) FROM pg_class \
                    WHERE oid IN ('sesari.audit_pending'::regclass, 'sesari.audit_pending_pkey'::regclass)";
        let read = number(&mut admin, &format!("({read})::bigint"));
        let calls =
            number(&mut admin, "pg_stat_get_xact_function_calls('sesari.chain_audit'::regproc)");
        admin.batch_execute("COMMIT").unwrap();
        (read, calls)
    };
    for (entries, from, to) in [(1_000, 1, 1_000), (2_000, 1_001, 3_000)] {
        let (read, calls) = work(from, to);
        assert_eq!(calls, 1, "{entries} entries");
        // Each looks at the one before, and is taken once.
        assert!(read <= 3 * entries, "{entries} entries: {read} tuples");
    }
}

/// What goes down with its workspace is one entry, however much it is.
#[test]
fn a_workspace_with_everything_in_it_goes_in_one_entry() {
    let world = World::new();
    stock(&world, 20_000);
    let mut tenant = world.owner();
    tenant.workspace().delete().unwrap();
    tenant.commit().unwrap();
    let entries = format!(
        "SELECT string_agg(action, ' ') FROM audit_log WHERE workspace_id = '{}' AND transaction_id = \
         (SELECT max(transaction_id) FROM audit_log)",
        world.a.workspace
    );
    assert_eq!(world.ask(&entries), "workspace.delete");
}

/// A cursor that outlives its transaction is read to its end by the COMMIT, where no
/// `statement_timeout` runs: the guard closes all before.
#[test]
fn a_commit_does_not_run_a_cursor_to_its_end() {
    let world = World::new();
    world.arrange(
        "CREATE SEQUENCE public.steps; GRANT USAGE ON SEQUENCE public.steps TO sesari_tenant",
    );
    let mut tenant = world.owner();
    tenant
        .connection()
        .batch_execute(
            "DECLARE held CURSOR WITH HOLD FOR SELECT nextval('public.steps') FROM generate_series(1, 1000)",
        )
        .unwrap();
    tenant.commit().unwrap();
    assert_eq!(world.ask("SELECT is_called FROM public.steps"), "false");
}
