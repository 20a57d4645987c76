//! The diagnosis says why a user sees nothing, exactly: for each table, verb and cause, what it says is
//! what the guard does.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]

use std::cell::RefCell;

use crate::support::{Tenant, World, service, sign_up};
use chrono::{DateTime, TimeDelta, Utc};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sesari_db::PgConnection;
use sesari_db::id::{UserId, WorkspaceId};
use sesari_db::repo::{Cause, ContextCause, Wanted};
use sesari_db::{Error, Result};

use crate::support::logins::{lines, value};
use crate::support::signer::Signer;

/// Each table of workspaces, the column that names its rows, and one that an update can set to itself.
const TABLES: &[(&str, &str, &str)] = &[
    ("audit_log", "id", "action"),
    ("goal_kpis", "id", "weight"),
    ("goals", "id", "title"),
    ("integrations", "id", "is_active"),
    ("invitations", "id", "role"),
    ("kpi_data_points", "kpi_id", "value"),
    ("kpi_history", "id", "weight"),
    ("kpi_packed_points", "kpi_id", "kpi_id"),
    ("kpi_rollups", "kpi_id", "kpi_id"),
    ("kpi_targets", "kpi_id", "value"),
    ("kpis", "id", "name"),
    ("workspace_users", "id", "role"),
    ("workspaces", "id", "name"),
];

struct Case {
    world: World,
    removed: UserId,
}

impl Case {
    fn new() -> Self {
        let world = World::new();
        let removed = sign_up(&world.db, "removed");
        let member = sesari_db::value::Role::Member;
        crate::support::add_member(&world.db, &world.a.workspace, &removed, member);
        let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
        tenant.members().remove(&removed).unwrap();
        tenant.commit().unwrap();
        for tenant in [&world.a, &world.b] {
            let sql = format!(
                "INSERT INTO integrations (workspace_id, id, provider, credentials)
                 VALUES ('{w}', 'i' || left('{w}', 20), 'sheets', 'v1.k1.AAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAA');
                 INSERT INTO invitations (workspace_id, id, email, role, invited_by, expires_at)
                 VALUES ('{w}', 'v' || left('{w}', 20), 'x@example.com', 'member', 'someone', now());
                 INSERT INTO kpi_packed_points (workspace_id, kpi_id, starts_at, ends_at, points, point_offsets, point_values,
                                                point_sources)
                 SELECT '{w}', id, '2025-11-01Z', '2025-11-01 00:00:00.007Z', 8, '{{0,1,2,3,4,5,6,7}}', '{{1,2,3,4,5,6,7,8}}',
                        '{{x}}' FROM kpis WHERE workspace_id = '{w}';
                 INSERT INTO kpis (workspace_id, id, name, deleted_at) VALUES ('{w}', 'gone', 'Gone', now());
                 INSERT INTO goals (workspace_id, id, title, deleted_at) VALUES ('{w}', 'gone', 'Gone', now());
                 INSERT INTO kpi_targets (workspace_id, kpi_id, effective_from, value)
                 SELECT workspace_id, id, '2026-01-01', 1 FROM kpis WHERE workspace_id = '{w}' AND id <> 'gone'",
                w = tenant.workspace
            );
            world.test.admin().unwrap().batch_execute(&sql).unwrap();
        }
        Self { world, removed }
    }

    /// The rows of the table in a workspace, by what names them.
    fn rows(&self, table: &str, column: &str, tenant: &Tenant) -> Vec<String> {
        let own = if table == "workspaces" { "id" } else { "workspace_id" };
        let sql = format!(
            "SELECT DISTINCT {column} AS line FROM public.{table} WHERE {own} = '{}' ORDER BY 1",
            tenant.workspace
        );
        lines(&mut self.world.test.admin().unwrap(), &sql)
    }

    fn ask(
        &self,
        user: &UserId,
        workspace: &WorkspaceId,
        table: &str,
        row: &str,
        wanted: Wanted,
    ) -> Cause {
        let mut scoped =
            self.world.db.begin(&sesari_db::Scope::service(&service()).read_only()).unwrap();
        scoped.diagnosis().row(user, workspace, table, row, wanted).unwrap()
    }

    /// What the guard does: how many rows, or its error.
    fn attempt(
        &self,
        user: &UserId,
        table: &(&str, &str, &str),
        row: &str,
        wanted: Wanted,
    ) -> String {
        let (table, key, column) = table;
        let condition = format!("public.{table} WHERE {key} = '{row}'");
        let sql = match wanted {
            Wanted::Read => format!("SELECT 1 FROM {condition}"),
            Wanted::Update => {
                format!("UPDATE public.{table} SET {column} = {column} WHERE {key} = '{row}'")
            }
            _ => format!("DELETE FROM {condition}"),
        };
        let mut guard = self.world.db.tenant(user, &self.world.a.workspace).unwrap();
        match diesel::sql_query(sql).execute(guard.connection()).map_err(Error::from) {
            Ok(0) | Err(Error::Denied) => "nothing".into(),
            Ok(_) => "reached".into(),
            // A trigger had something to say: the row was reached.
            Err(error) => format!("reached, {error}"),
        }
    }
}

#[test]
fn the_diagnosis_is_what_the_guard_does_for_every_table_verb_and_cause() {
    let case = Case::new();
    let World { a, b, stranger, test, .. } = &case.world;
    let covered: Vec<&str> = TABLES.iter().map(|(name, ..)| *name).collect();
    let live = lines(
        &mut test.admin().unwrap(),
        "SELECT c.relname AS line FROM pg_class AS c
          WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
            AND c.relname NOT IN ('users', 'subscriptions')
            AND c.relname <> 'idempotency_keys' -- an actor's own, which no role opens
          ORDER BY 1",
    );
    assert_eq!(live, covered, "tables that belong to workspaces");

    let mut seen = std::collections::HashSet::new();
    for table in TABLES {
        let own = case.rows(table.0, table.1, a);
        let of_b = case.rows(table.0, table.1, b);
        let foreign = of_b.iter().find(|id| !own.contains(id)).expect(table.0);
        assert!(!own.is_empty(), "{}", table.0);
        for wanted in Wanted::ALL.iter().copied() {
            for user in [&a.owner, &a.admin, &a.member, &b.owner, stranger, &case.removed] {
                let member = [&a.owner, &a.admin, &a.member].contains(&user);
                for row in own.iter().chain([foreign, &"nowhere".to_owned()]) {
                    let reached = case.attempt(user, table, row, wanted);
                    let expected = match () {
                        () if *user == case.removed => Cause::MembershipEnded,
                        () if !member => Cause::NeverMember,
                        () if row == foreign => Cause::Elsewhere,
                        () if row == "nowhere" => Cause::Absent,
                        () if reached == "nothing" => Cause::RoleTooLow,
                        () if row == "gone" && wanted != Wanted::Delete => Cause::SoftDeleted,
                        () => Cause::Visible,
                    };
                    let said = case.ask(user, &a.workspace, table.0, row, wanted);
                    let what = format!("{} {wanted:?} {row} by {user}: {reached}", table.0);
                    assert_eq!(said, expected, "{what}");
                    let there = matches!(said, Cause::Visible | Cause::SoftDeleted);
                    assert_eq!(there, reached != "nothing", "{what}");
                    seen.insert(said);
                }
            }
        }
    }
    let nowhere = "nowhere".parse().unwrap();
    assert_eq!(case.ask(&a.owner, &nowhere, "kpis", "gone", Wanted::Read), Cause::NoWorkspace);
    assert_eq!(seen.len(), 7, "{seen:?}");
}

#[test]
fn what_is_soft_deleted_is_what_repositories_pass_over() {
    let case = Case::new();
    let World { a, db, .. } = &case.world;
    let mut tenant = db.tenant(&a.owner, &a.workspace).unwrap();
    assert!(tenant.kpis().find(&"gone".parse().unwrap()).unwrap().is_none());
    assert!(tenant.goals().find(&"gone".parse().unwrap()).unwrap().is_none());
    assert!(tenant.kpis().find(&a.kpi).unwrap().is_some());
}

#[test]
fn no_tenant_can_ask_and_no_service_without_its_context() {
    let case = Case::new();
    let World { a, b, db, test, .. } = &case.world;
    let ask = format!(
        "SELECT sesari.diagnose('{}', '{}', 'kpis', '{}', 'read')",
        b.owner, b.workspace, b.kpi
    );
    let ask_context = "SELECT sesari.diagnose_context('x', 1, now())";
    for sql in [ask.as_str(), ask_context] {
        let mut guard = db.tenant(&a.owner, &a.workspace).unwrap();
        let answer: Result<()> = guard.connection().batch_execute(sql).map_err(Error::from);
        assert!(matches!(answer, Err(Error::Denied)), "{answer:?}");
        let mut guard = db.user(&a.owner).unwrap();
        let answer: Result<()> = guard.connection().batch_execute(sql).map_err(Error::from);
        assert!(matches!(answer, Err(Error::Denied)), "{answer:?}");
    }
    let mut bare = PgConnection::establish(&test.service_url()).unwrap();
    assert_eq!(value(&mut bare, &ask), "NULL");
    assert_eq!(value(&mut bare, ask_context), "NULL");
}

#[test]
fn an_unknown_table_or_one_of_no_workspace_is_refused() {
    let case = Case::new();
    let World { a, db, .. } = &case.world;
    for table in [
        "users",
        "subscriptions",
        "idempotency_keys",
        "sesari.context_keys",
        "kpis; DROP TABLE kpis",
        "",
    ] {
        let mut scoped = db.service(&service()).unwrap();
        let answer = scoped.diagnosis().row(&a.owner, &a.workspace, table, "x", Wanted::Read);
        assert!(answer.is_err(), "{table}: {answer:?}");
    }
}

/// Whoever holds the key may sign what is none: that is no context either, and no error.
#[test]
fn a_correctly_signed_text_that_is_no_context_is_nobodys_and_malformed() {
    let case = Case::new();
    let World { a, db, test, .. } = &case.world;
    let signer = Signer::of(test);
    let mut guard = db.tenant(&a.owner, &a.workspace).unwrap();
    let token = value(guard.connection(), "current_setting('sesari.context')");
    let pid: i32 = value(guard.connection(), "pg_backend_pid()").parse().unwrap();
    let parts: Vec<&str> = token.split('.').take(7).collect();
    let resigned = signer.sign_text(parts.join("."));
    let mut scoped = db.service(&service()).unwrap();
    let issued = DateTime::<Utc>::from_timestamp_micros(parts[5].parse().unwrap()).unwrap();
    let asked = RefCell::new(|part: usize, text: &str, expected: Option<ContextCause>| {
        let mut parts = parts.clone();
        parts[part] = text;
        let context = signer.sign_text(parts.join("."));
        guard
            .connection()
            .batch_execute(&format!("SET LOCAL sesari.context = '{context}'"))
            .unwrap();
        for function in
            ["current_workspace_id", "current_member_role", "current_user_id", "signed_in_user_id"]
        {
            let found = value(guard.connection(), &format!("sesari.{function}()"));
            assert_eq!(found, "NULL", "{function}: part {part}: {text:?}");
        }
        let told = scoped.diagnosis().context(&context, pid, issued).unwrap();
        assert!(expected.is_none_or(|expected| told == expected), "{text:?}: {told:?}");
        assert_ne!(told, ContextCause::Valid, "{text:?}");
    });
    let odd = [
        "",
        " ",
        "-",
        "-1",
        "+1",
        "1 ",
        " 1",
        "1e3",
        "0x1",
        "1_0",
        "NaN",
        "x",
        "١",
        "99999999999",
        "99999999999999999999",
        "1.5",
        "é",
        "\u{2212}1",
    ];
    for text in odd {
        for part in [5, 6] {
            asked.borrow_mut()(part, text, None);
        }
    }
    for (part, text) in [
        (5, ""),
        (5, "x"),
        (6, ""),
        (6, "x"),
        (6, "99999999999"),
        (2, ""),
        (2, "x"),
        (2, "us"),
        (3, ""),
    ] {
        asked.borrow_mut()(part, text, Some(ContextCause::Malformed));
    }
    TestRunner::new(Config { cases: 128, failure_persistence: None, ..Config::default() })
        .run(&(prop::sample::select(vec![0, 1, 2, 5, 6]), "[^'\\\\\0]{0,12}"), |(part, text)| {
            // A service, and whichever backend, are contexts.
            if parts[part] != text && !["s", "0"].contains(&text.as_str()) {
                asked.borrow_mut()(part, &text, None);
            }
            Ok(())
        })
        .unwrap();
    guard.connection().batch_execute(&format!("SET LOCAL sesari.context = '{resigned}'")).unwrap();
    assert_eq!(value(guard.connection(), "sesari.current_member_role()"), "owner");
}

#[test]
fn a_context_is_diagnosed_as_the_database_would_take_it() {
    let case = Case::new();
    let World { a, db, .. } = &case.world;
    let mut guard = db.tenant(&a.owner, &a.workspace).unwrap();
    let token = value(guard.connection(), "current_setting('sesari.context')");
    let pid: i32 = value(guard.connection(), "pg_backend_pid()").parse().unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let issued = DateTime::<Utc>::from_timestamp_micros(parts[5].parse().unwrap()).unwrap();
    let with = |at: usize, part: &str| {
        let mut parts = parts.clone();
        parts[at] = part;
        parts.join(".")
    };
    let zeros = "0".repeat(64);
    for (context, backend, seconds, cause) in [
        (token.clone(), pid, 0, ContextCause::Valid),
        (token.clone(), pid, 10, ContextCause::Valid),
        (token.clone(), pid, 11, ContextCause::Expired),
        (token.clone(), pid, -2, ContextCause::Valid),
        (token.clone(), pid, -3, ContextCause::Future),
        (token.clone(), pid + 1, 0, ContextCause::OtherBackend),
        (with(7, &zeros), pid, 0, ContextCause::Forged),
        (with(4, "other"), pid, 0, ContextCause::Forged),
        (with(1, "other"), pid, 0, ContextCause::UnknownKey),
        (with(0, "2"), pid, 0, ContextCause::Malformed),
        (String::new(), pid, 0, ContextCause::Malformed),
        ("x".repeat(100), pid, 0, ContextCause::Malformed),
        ("x.".repeat(400), pid, 0, ContextCause::Malformed),
    ] {
        let mut scoped = db.service(&service()).unwrap();
        let at = issued + TimeDelta::seconds(seconds);
        assert_eq!(scoped.diagnosis().context(&context, backend, at).unwrap(), cause, "{context}");
        // The same steps: what is said to be wrong here is wrong there. The clock is the server's.
        if seconds == 0 && backend == pid {
            let set = format!("SET LOCAL sesari.context = '{context}'");
            guard.connection().batch_execute(&set).unwrap();
            let role = value(guard.connection(), "sesari.current_member_role()");
            assert_eq!(role == "owner", cause == ContextCause::Valid, "{context}: {role}");
        }
    }
}
