//! How the repositories' own statements are planned under row-level security, on tables large
//! enough to matter: the workspace is an index condition, the context is asked for once a
//! statement, and no large table is read from end to end.

use std::sync::{Arc, Mutex};

use diesel::connection::{InstrumentationEvent, SimpleConnection};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;
use serde_json::Value;
use sesari_db::id::{GoalId, KpiId, UserId, WorkspaceId};
use sesari_db::page::Page;
use sesari_db::repo::{
    AuditFilter, GoalChanges, GoalFilter, KpiChanges, KpiFilter, MemberFilter, PointKey, TimeRange,
};
use sesari_db::testing::TestDatabase;
use sesari_db::value::{Finite, Role, Timestamp};
use sesari_db::{Database, TenantConnection};

use super::logins;

/// 20 workspaces, each with 50 members, 500 KPIs, 2500 points, 200 goals, 400 links and 500 entries
/// of the audit log; 20 000 users, most of them in no workspace. Ids count up: `w1`, `u1`, `k1`, ...
const SEED: &str = "
SET session_replication_role = replica; -- the triggers and foreign keys would take minutes
INSERT INTO public.workspaces (id, name, slug)
    SELECT 'w' || w, 'Workspace', 'workspace-' || w FROM generate_series(1, 20) AS w;
INSERT INTO public.users (id, email, provider, provider_id)
    SELECT 'u' || u, 'user' || u || '@example.com', 'google', u::text FROM generate_series(1, 20000) AS u;
INSERT INTO public.workspace_users (id, workspace_id, user_id, role, joined_at)
    SELECT 'm' || u, 'w' || (u - 1) % 20 + 1, 'u' || u, 'owner', now() + u * interval '1 second'
      FROM generate_series(1, 1000) AS u;
INSERT INTO public.kpis (id, workspace_id, name, created_at)
    SELECT 'k' || k, 'w' || w, 'KPI ' || k, now() + k * interval '1 second'
      FROM generate_series(1, 20) AS w, generate_series(1, 500) AS k;
INSERT INTO public.kpi_data_points (workspace_id, kpi_id, value, \"timestamp\")
    SELECT 'w' || w, 'k' || k, p, '2026-01-01'::timestamptz + p * interval '1 hour'
      FROM generate_series(1, 20) AS w, generate_series(1, 25) AS k, generate_series(1, 100) AS p;
INSERT INTO public.goals (id, workspace_id, title, created_at)
    SELECT 'g' || g, 'w' || w, 'Goal ' || g, now() + g * interval '1 second'
      FROM generate_series(1, 20) AS w, generate_series(1, 200) AS g;
INSERT INTO public.goal_kpis (id, workspace_id, goal_id, kpi_id)
    SELECT 'l' || g * 10 + l, 'w' || w, 'g' || g, 'k' || g + l * 200
      FROM generate_series(1, 20) AS w, generate_series(1, 200) AS g, generate_series(0, 1) AS l;
INSERT INTO public.audit_log (workspace_id, actor_kind, actor_id, action, table_name, row_id, changes)
    SELECT 'w' || w, 'user', 'u1', 'kpi.purge', 'kpis', 'k' || e, '{}'
      FROM generate_series(1, 20) AS w, generate_series(1, 500) AS e;
RESET session_replication_role;
VACUUM ANALYZE";

/// Tables too large to be read from end to end.
const LARGE: [&str; 7] =
    ["audit_log", "goal_kpis", "goals", "kpi_data_points", "kpis", "users", "workspace_users"];

fn seeded() -> (TestDatabase, Database) {
    let test = TestDatabase::new().unwrap();
    let mut admin = test.admin().unwrap();
    for statement in SEED.split(";\n") {
        admin.batch_execute(statement).expect(statement);
    }
    let database = test.database().unwrap();
    (test, database)
}

/// An owner's guard, and the statements that its repositories have sent since.
fn recording(database: &Database) -> (TenantConnection, Arc<Mutex<Vec<String>>>) {
    let user: UserId = "u1".parse().unwrap();
    let workspace: WorkspaceId = "w1".parse().unwrap();
    let mut guard = database.tenant(&user, &workspace).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    guard.connection().set_instrumentation(move |event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            let text = query.to_string();
            let sql = text.split(" -- binds:").next().unwrap_or_default();
            sink.lock().unwrap().push(sql.to_owned());
        }
    });
    (guard, seen)
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

/// A statement that a repository sent.
struct Statement {
    operation: &'static str,
    sql: String,
    /// The types of its parameters, where diesel prepared it by name: `(text, integer)`.
    types: String,
}

/// The plan that a statement has whatever its parameters are, as JSON.
fn plan(conn: &mut PgConnection, Statement { sql, types, .. }: &Statement) -> Value {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Json, column_name = "QUERY PLAN")]
        plan: Value,
    }
    conn.batch_execute("SET LOCAL plan_cache_mode = force_generic_plan").unwrap();
    conn.batch_execute(&format!("PREPARE probe{types} AS {sql}")).expect(sql);
    let count =
        "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'probe'";
    let count: usize = logins::value(conn, count).parse().unwrap();
    let nulls =
        if count == 0 { String::new() } else { format!("({})", vec!["NULL"; count].join(",")) };
    let explain = format!("EXPLAIN (FORMAT JSON, VERBOSE, COSTS OFF) EXECUTE probe{nulls}");
    let row: Row = diesel::sql_query(explain).get_result(conn).expect(sql);
    conn.batch_execute("DEALLOCATE probe").unwrap();
    row.plan[0]["Plan"].clone()
}

fn text<'a>(node: &'a Value, field: &str) -> &'a str {
    node[field].as_str().unwrap_or_default()
}

/// What is wrong with a plan.
fn faults(node: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let (kind, relation) = (text(node, "Node Type"), text(node, "Relation Name"));
    if kind == "Seq Scan" && LARGE.contains(&relation) {
        faults.push(format!("reads all of {relation}"));
    }
    if kind.starts_with("Index") || kind == "Bitmap Index Scan" {
        let (index, condition) = (text(node, "Index Name"), text(node, "Index Cond"));
        // Users are global, and found by the members' ids. A workspace has too many points.
        let needed: &[&str] = match index.trim_start_matches("idx_") {
            name if name.starts_with("users_") => &["users.id ="],
            name if name.starts_with("kpi_data_points_") => &["workspace_id =", "kpi_id ="],
            _ => &["workspace_id ="],
        };
        if !needed.iter().all(|column| condition.contains(column)) {
            faults.push(format!("{index} by ({condition})"));
        }
    }
    // Whatever an InitPlan holds is run once.
    if text(node, "Parent Relationship") == "InitPlan" {
        return faults;
    }
    if let Some(fields) = node.as_object() {
        for (field, value) in fields {
            let written = if field == "Plans" || field == "One-Time Filter" {
                String::new()
            } else {
                value.to_string()
            };
            // A default is computed for each row that is inserted without one.
            if written.contains("sesari.") && !written.contains("sesari.new_id") {
                faults.push(format!("{field} of {kind} calls outside of an InitPlan: {written}"));
            }
        }
    }
    for child in node["Plans"].as_array().into_iter().flatten() {
        faults.extend(self::faults(child));
    }
    faults
}

/// Runs every operation that reads or writes by a key, and returns the statements sent, each with
/// the name of its operation.
#[allow(clippy::too_many_lines, reason = "one operation after the other")]
fn statements(database: &Database) -> Vec<Statement> {
    let kpi: KpiId = "k7".parse().unwrap();
    let goal: GoalId = "g7".parse().unwrap();
    let user: UserId = "u41".parse().unwrap();
    let hour = |hours| {
        Timestamp::new(
            "2026-01-01T00:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap()
                + chrono::TimeDelta::hours(hours),
        )
        .unwrap()
    };
    let range = TimeRange::new(hour(1), hour(25)).unwrap();
    let key = PointKey { kpi_id: kpi.clone(), timestamp: hour(3), source: None };
    let first = Page::first(10).unwrap();
    let mut all = Vec::new();
    let mut operation = |name: &'static str, run: &mut dyn FnMut(&mut TenantConnection)| {
        let (mut guard, seen) = recording(database);
        run(&mut guard);
        let sent = std::mem::take(&mut *seen.lock().unwrap());
        assert!(!sent.is_empty(), "{name} sent nothing");
        for sql in sent {
            let types: Vec<String> = diesel::sql_query(
                "SELECT '(' || array_to_string(parameter_types, ', ') || ')' AS line \
                 FROM pg_prepared_statements WHERE statement = $1 AND parameter_types <> '{}'",
            )
            .bind::<Text, _>(&sql)
            .load::<Line>(guard.connection())
            .unwrap()
            .into_iter()
            .map(|row| row.line)
            .collect();
            let types = types.into_iter().next().unwrap_or_default();
            all.push(Statement { operation: name, sql, types });
        }
    };
    operation("kpis.find", &mut |g| assert!(g.kpis().find(&kpi).unwrap().is_some()));
    operation("kpis.list", &mut |g| {
        let page = g.kpis().list(&KpiFilter::default(), &first).unwrap();
        let next = first.clone().after(page.next.clone().expect("another page"));
        g.kpis().list(&KpiFilter::default(), &next).unwrap();
    });
    operation("kpis.count", &mut |g| {
        assert_eq!(g.kpis().count(&KpiFilter::default()).unwrap(), 500);
    });
    operation("kpis.update", &mut |g| {
        let changes = KpiChanges { is_active: Some(false), ..KpiChanges::default() };
        g.kpis().update(&kpi, &changes).unwrap();
    });
    operation("kpis.delete", &mut |g| g.kpis().delete(&kpi).unwrap());
    operation("kpis.purge", &mut |g| assert!(g.kpis().purge(&kpi).is_err()));
    operation("data_points.range", &mut |g| {
        let page = g.data_points().range(&kpi, range, &first).unwrap();
        let next = first.clone().after(page.next.clone().expect("another page"));
        g.data_points().range(&kpi, range, &next).unwrap();
    });
    operation("data_points.count", &mut |g| {
        assert_eq!(g.data_points().count(&kpi, range).unwrap(), 24);
    });
    operation("data_points.find", &mut |g| assert!(g.data_points().find(&key).unwrap().is_some()));
    operation("data_points.latest", &mut |g| {
        assert!(g.data_points().latest(&kpi).unwrap().is_some());
    });
    operation("data_points.latest_of_many", &mut |g| {
        let newest = g.data_points().latest_of_many(&[kpi.clone(), "k8".parse().unwrap()]);
        assert_eq!(newest.unwrap().len(), 2);
    });
    operation("data_points.correct", &mut |g| {
        g.data_points().correct(&key, Finite::new(1.5).unwrap()).unwrap();
    });
    operation("data_points.delete", &mut |g| g.data_points().delete(&key).unwrap());
    operation("members.find", &mut |g| assert!(g.members().find(&user).unwrap().is_some()));
    operation("members.list", &mut |g| {
        g.members().list(&MemberFilter::default(), &first).unwrap();
    });
    operation("members.count", &mut |g| {
        assert_eq!(g.members().count(&MemberFilter::default()).unwrap(), 50);
    });
    operation("members.change_role", &mut |g| {
        g.members().change_role(&user, Role::Member).unwrap();
    });
    operation("members.remove", &mut |g| g.members().remove(&user).unwrap());
    operation("goals.find", &mut |g| assert!(g.goals().find(&goal).unwrap().is_some()));
    operation("goals.list", &mut |g| {
        g.goals().list(&GoalFilter::default(), &first).unwrap();
    });
    operation("goals.count", &mut |g| {
        assert_eq!(g.goals().count(&GoalFilter::default()).unwrap(), 200);
    });
    operation("goals.update", &mut |g| {
        let changes = GoalChanges { target_date: Some(Some(hour(9))), ..GoalChanges::default() };
        g.goals().update(&goal, &changes).unwrap();
    });
    operation("goals.progress", &mut |g| {
        g.goals().progress(&goal).unwrap();
    });
    operation("goal_kpis.list", &mut |g| {
        assert_eq!(g.goal_kpis().list(&goal).unwrap().len(), 2);
    });
    operation("audit_log.list", &mut |g| {
        g.audit_log().list(&AuditFilter::default(), &first).unwrap();
    });
    all
}

/// Everything wrong with any of the plans, each as the tenant's role has it.
fn all_faults(database: &Database, statements: &[Statement]) -> Vec<String> {
    let (mut guard, _) = recording(database);
    let mut all = Vec::new();
    for statement in statements {
        let Statement { operation, sql, .. } = statement;
        let faults = faults(&plan(guard.connection(), statement));
        all.extend(faults.into_iter().map(|fault| format!("{operation}: {fault}\n    {sql}")));
    }
    all
}

#[test]
fn every_statement_of_the_repositories_is_planned_by_workspace_and_asks_for_the_context_once() {
    let (test, database) = seeded();
    let statements = statements(&database);
    let faults = all_faults(&database, &statements);
    assert!(faults.is_empty(), "{}", faults.join("\n"));

    // What the same statements look like where something is wrong.
    let mut admin = test.admin().unwrap();
    for (spoil, restore, expected) in [
        (
            // A plain equality would be checked once all the same, as the filter says it too.
            "ALTER POLICY kpis_tenant_select ON public.kpis \
             USING (workspace_id = ANY (ARRAY[sesari.current_workspace_id()]))",
            "ALTER POLICY kpis_tenant_select ON public.kpis \
             USING (workspace_id = (SELECT sesari.current_workspace_id()))",
            "kpis.find: Index Cond of Index Scan calls outside of an InitPlan",
        ),
        (
            "ALTER TABLE public.kpi_data_points DROP CONSTRAINT kpi_data_points_pkey; \
             CREATE INDEX more ON public.kpi_data_points (workspace_id, \"timestamp\")",
            "DROP INDEX public.more; ALTER TABLE public.kpi_data_points \
             ADD CONSTRAINT kpi_data_points_pkey \
             PRIMARY KEY (workspace_id, kpi_id, \"timestamp\", source) INCLUDE (value)",
            "data_points.range: more by",
        ),
        (
            "ALTER TABLE public.goal_kpis DROP CONSTRAINT goal_kpis_workspace_id_goal_id_kpi_id_key, \
             DROP CONSTRAINT goal_kpis_pkey; DROP INDEX public.idx_goal_kpis_workspace_id_kpi_id",
            "SELECT",
            "goal_kpis.list: reads all of goal_kpis",
        ),
    ] {
        admin.batch_execute(spoil).unwrap();
        let faults = all_faults(&database, &statements);
        let seen = faults.iter().any(|fault| fault.starts_with(expected));
        assert!(seen, "{spoil}:\n{}", faults.join("\n"));
        admin.batch_execute(restore).unwrap();
    }
}
