//! How the repositories' own statements are planned under row-level security, on tables large
//! enough to matter: the workspace is an index condition, the context is asked for once a
//! statement, and no large table is read from end to end.

use std::sync::{Arc, Mutex};

use diesel::connection::{InstrumentationEvent, SimpleConnection};
use diesel::prelude::*;
use diesel::sql_types::Text;
use serde_json::Value;
use sesari_db::PgConnection;
use sesari_db::id::{GoalId, KpiId, UserId, WorkspaceId};
use sesari_db::import::{CsvOptions, ImportOptions};
use sesari_db::page::PageRequest;
use sesari_db::repo::{
    AuditFilter, GoalChanges, GoalFilter, GoalKpiChanges, InvitationFilter, InvitationState,
    KpiChanges, KpiFilter, MemberFilter, NewAuditEntry, NewDataPoint, NewGoal, NewGoalKpi,
    NewInvitation, NewKpi, NewKpiTarget, OnExisting, PaceQuery, PointKey, SeriesQuery, TimeRange,
    WorkspaceChanges,
};
use sesari_db::series::{Grid, Step, Unit, Zone};
use sesari_db::testing::TestDatabase;
use sesari_db::value::{Finite, Role, TargetPeriod, Timestamp, Weight};
use sesari_db::{Database, TenantConnection};

use crate::support::logins;

/// 20 workspaces, each with 1000 idempotency keys of two owners, 50 members, 500 KPIs, 200 goals, 400 links and 500 entries of the audit
/// log; 225 000 points in the first, nine tenths of all; 20 000 users, most of them in no workspace. Ids count up: `w1`, `u1`, `k1`, ...
const SEED: &str = "
SET session_replication_role = replica; -- the triggers and foreign keys would take minutes
INSERT INTO public.workspaces (id, name, slug)
    SELECT 'w' || w, 'Workspace', 'workspace-' || w FROM generate_series(1, 20) AS w;
INSERT INTO public.users (id, email, provider, provider_id)
    SELECT 'u' || u, 'user' || u || '@example.com', 'google', u::text FROM generate_series(1, 20000) AS u;
INSERT INTO public.workspace_users (id, workspace_id, user_id, role, joined_at)
    SELECT 'm' || u, 'w' || (u - 1) % 20 + 1, 'u' || u, 'owner', now() + u * interval '1 second'
      FROM generate_series(1, 1000) AS u;
INSERT INTO sesari.user_workspaces (user_id, workspace_id)
    SELECT user_id, workspace_id FROM public.workspace_users;
INSERT INTO sesari.memberships (member, membership_id, role)
    SELECT workspace_id || '.' || user_id, id, role FROM public.workspace_users;
INSERT INTO public.kpis (id, workspace_id, name, created_at)
    SELECT 'k' || k, 'w' || w, 'KPI ' || k, now() + k * interval '1 second'
      FROM generate_series(1, 20) AS w, generate_series(1, 500) AS k;
INSERT INTO public.kpi_data_points (workspace_id, kpi_id, value, \"timestamp\")
    SELECT 'w' || w, 'k' || k, p, '2026-01-01 00:00Z'::timestamptz + p * interval '1 hour'
      FROM generate_series(1, 20) AS w, generate_series(1, 25) AS k,
           generate_series(1, CASE w WHEN 1 THEN 9000 ELSE 50 END) AS p;
INSERT INTO public.kpi_rollups (workspace_id, kpi_id, day, day_end, points, sum, min, max, first, last)
    SELECT workspace_id, kpi_id, date_bin('24 hours', \"timestamp\", '2000-01-01 00:00Z') AS day,
           date_bin('24 hours', \"timestamp\", '2000-01-01 00:00Z') + interval '24 hours',
           count(*), sum(value), min(value), max(value), min(value), max(value)
      FROM public.kpi_data_points GROUP BY workspace_id, kpi_id, day;
INSERT INTO public.kpi_packed_points
       (workspace_id, kpi_id, starts_at, ends_at, points, point_offsets, point_values, point_sources)
    SELECT workspace_id, id, p.at, p.at + interval '7 milliseconds', 8, '{0,1,2,3,4,5,6,7}', '{1,2,3,4,5,6,7,8}', '{\"\"}'
      FROM public.kpis, LATERAL (SELECT '2025-01-01 00:00Z'::timestamptz + p * interval '1 hour' AS at FROM generate_series(1, 3) AS p) AS p;
INSERT INTO public.goals (id, workspace_id, title, created_at)
    SELECT 'g' || g, 'w' || w, 'Goal ' || g, now() + g * interval '1 second'
      FROM generate_series(1, 20) AS w, generate_series(1, 200) AS g;
INSERT INTO public.goal_kpis (id, workspace_id, goal_id, kpi_id)
    SELECT 'l' || g * 10 + l, 'w' || w, 'g' || g, 'k' || g + l * 200
      FROM generate_series(1, 20) AS w, generate_series(1, 200) AS g, generate_series(0, 1) AS l;
INSERT INTO public.kpi_targets (workspace_id, kpi_id, period, effective_from, recorded_at, value)
    SELECT 'w' || w, 'k' || k, 'month', '2024-01-01'::date + t * interval '1 month', '2024-01-01 00:00Z'::timestamptz + t * interval '1 hour', t
      FROM generate_series(1, 20) AS w, generate_series(1, 100) AS k, generate_series(1, 20) AS t;
INSERT INTO public.kpi_history (id, workspace_id, kpi_id, goal_id, changed_at, target_value, weight)
    SELECT 'h' || row_number() OVER (), l.workspace_id, l.kpi_id, CASE g WHEN 0 THEN l.goal_id END,
           '2025-01-01 00:00Z'::timestamptz + h * interval '1 hour', h, 1 + h
      FROM public.goal_kpis AS l, generate_series(0, 1) AS g, generate_series(1, 5) AS h;
INSERT INTO public.audit_log (id, workspace_id, sequence, occurred_at, actor_kind, actor_id, scope, action, table_name,
                              row_id, changes, transaction_id, previous_hash, hash)
    SELECT 'a' || e, 'w' || w, e, now() + e * interval '1 second', 'user', 'u1', 'tenant', 'kpi.purge', 'kpis',
           'k' || e, '{}', 1, sha256(''), sha256('')
      FROM generate_series(1, 20) AS w, generate_series(1, 500) AS e;
INSERT INTO public.invitations (id, workspace_id, email, role, invited_by, created_at, expires_at)
    SELECT 'i' || i, 'w' || w, 'invited' || i || '@example.com', 'member', 'u' || w,
           now() + i * interval '1 second', now() + interval '1 day'
      FROM generate_series(1, 20) AS w, generate_series(1, 500) AS i;
INSERT INTO public.idempotency_keys (workspace_id, actor_kind, actor_id, membership, key, operation, result)
    SELECT 'w' || w, 'user', 'u' || w + 20 * (k % 2), 'owner m' || w + 20 * (k % 2), 'k' || k, 'work', '{}'
      FROM generate_series(1, 20) AS w, generate_series(1, 1000) AS k;
RESET session_replication_role;
VACUUM ANALYZE";

/// Tables too large to be read from end to end.
const LARGE: [&str; 13] = [
    "audit_log",
    "goal_kpis",
    "goals",
    "idempotency_keys",
    "invitations",
    "kpi_data_points",
    "kpi_history",
    "kpi_packed_points",
    "kpi_rollups",
    "kpi_targets",
    "kpis",
    "users",
    "workspace_users",
];

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
            // That of `once`, which is not planned.
            if !sql.contains("SAVEPOINT") {
                sink.lock().unwrap().push(sql.to_owned());
            }
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
        // A workspace has too many points.
        let needed: &[&str] = match index.trim_start_matches("idx_") {
            name if ["kpi_data_points_", "kpi_packed_points_", "kpi_rollups_"]
                .iter()
                .any(|table| name.starts_with(table)) =>
            {
                &["workspace_id =", "kpi_id ="]
            }
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
            // A function's rows are made once, whatever is joined to them.
            let once = kind == "Result" && written.contains("sesari.append_audit(")
                || kind == "Function Scan"
                    && (written.contains("sesari.audit_head(")
                        || written.contains("sesari.create_invitation(")
                        || written.contains("sesari.member_profiles(")
                        || written.contains("sesari.unpack_"));
            // A default is computed for each row that is inserted without one.
            if written.contains("sesari.") && !written.contains("sesari.new_id") && !once {
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
    let first = PageRequest::first(10).unwrap();
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
    for order in ["-created_at", "updated_at", "-updated_at", "name", "-category"] {
        operation("kpis.list", &mut |g| {
            let filter = KpiFilter { order: order.parse().unwrap(), ..KpiFilter::default() };
            let page = g.kpis().list(&filter, &first).unwrap();
            let next = first.clone().after(page.next.clone().expect("another page"));
            g.kpis().list(&filter, &next).unwrap();
        });
    }
    operation("kpis.create_many", &mut |g| {
        g.kpis().create_many(&[NewKpi::new("New".parse().unwrap())]).unwrap();
    });
    operation("kpis.update_many", &mut |g| {
        for changes in
            [KpiChanges::default(), KpiChanges { is_active: Some(true), ..KpiChanges::default() }]
        {
            g.kpis().update_many(&[kpi.clone(), "k8".parse().unwrap()], &changes).unwrap();
        }
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
    operation("kpis.create", &mut |g| {
        g.kpis().create(&NewKpi::new("New".parse().unwrap())).unwrap();
    });
    operation("kpis.activate", &mut |g| drop(g.kpis().activate(&kpi).unwrap()));
    operation("kpis.deactivate", &mut |g| drop(g.kpis().deactivate(&kpi).unwrap()));
    operation("kpis.restore", &mut |g| assert!(g.kpis().restore(&kpi).is_err()));
    operation("data_points.range", &mut |g| {
        let page = g.data_points().range(&kpi, range, &first).unwrap();
        let next = first.clone().after(page.next.clone().expect("another page"));
        g.data_points().range(&kpi, range, &next).unwrap();
    });
    operation("data_points.iter", &mut |g| {
        let all = TimeRange::new(hour(0), hour(8_000)).unwrap();
        assert_eq!(g.data_points().iter(&kpi, all).count(), 7_999);
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
    let new = NewDataPoint::new(kpi.clone(), 1.0, hour(10_000).get()).unwrap();
    operation("data_points.record", &mut |g| drop(g.data_points().record(&new).unwrap()));
    operation("data_points.record_many", &mut |g| {
        for existing in [OnExisting::Keep, OnExisting::Replace] {
            g.data_points().record_many(std::slice::from_ref(&new), existing).unwrap();
        }
    });
    operation("data_points.import", &mut |g| {
        for existing in [OnExisting::Keep, OnExisting::Replace] {
            let options = ImportOptions::new(existing);
            g.data_points().import([Ok(new.clone())], &options, |_, _| ()).unwrap();
        }
    });
    operation("data_points.import_csv", &mut |g| {
        let csv = "timestamp,value\n2030-01-01T00:00:00Z,1\n".as_bytes();
        let options = ImportOptions::new(OnExisting::Keep);
        let imported = g
            .data_points()
            .import_csv(csv, &CsvOptions::of_kpi(kpi.clone()), &options, |_, _| ())
            .unwrap();
        assert_eq!(imported.inserted, 1);
    });
    operation("data_points.delete_before", &mut |g| {
        for kpi in [Some(&kpi), None] {
            assert_eq!(g.data_points().delete_before(kpi, hour(2_000), 100).unwrap(), 95);
        }
    });
    // Two whole days from the rollups, and the hours around them from the points.
    let grid =
        Grid::new(TimeRange::new(hour(1), hour(73)).unwrap(), Step::week(Zone::UTC)).unwrap();
    let query = SeriesQuery::new(grid.clone());
    let kpis = [kpi.clone(), "k8".parse().unwrap()];
    operation("series.grid", &mut |g| drop(g.series().grid(range, Unit::Day).unwrap()));
    operation("series.whole_grid", &mut |g| drop(g.series().whole_grid(range, Unit::Day).unwrap()));
    operation("series.read", &mut |g| {
        let series = g.series().read(&kpis, &query).unwrap();
        assert_eq!(series[1].total().unwrap().points, 72);
    });
    operation("series.compare", &mut |g| drop(g.series().compare(&kpis, &query).unwrap()));
    operation("series.statistics", &mut |g| {
        let figures = g.series().statistics(&kpis, range, &[0.5]).unwrap();
        assert_eq!(figures[1].as_ref().unwrap().points, 24);
    });
    operation("series.goal_progress", &mut |g| {
        assert_eq!(g.series().goal_progress(&goal, &grid).unwrap().len(), grid.len());
    });
    operation("data_points.delete", &mut |g| g.data_points().delete(&key).unwrap());
    operation("members.find", &mut |g| assert!(g.members().find(&user).unwrap().is_some()));
    operation("members.list", &mut |g| {
        g.members().list(&MemberFilter::default(), &first).unwrap();
    });
    for order in ["-joined_at", "name", "-name"] {
        operation("members.list", &mut |g| {
            let order = order.parse().unwrap();
            let filter =
                MemberFilter { name_contains: Some("U".into()), order, ..MemberFilter::default() };
            assert_eq!(g.members().count(&filter).unwrap(), 50);
            let page = g.members().list(&filter, &first).unwrap();
            let next = first.clone().after(page.next.clone().expect("another page"));
            g.members().list(&filter, &next).unwrap();
        });
    }
    operation("members.count", &mut |g| {
        assert_eq!(g.members().count(&MemberFilter::default()).unwrap(), 50);
    });
    operation("members.change_role", &mut |g| {
        g.members().change_role(&user, Role::Member).unwrap();
    });
    operation("invitations.find", &mut |g| {
        let id = "i7".parse().unwrap();
        assert!(g.invitations().find(&id).unwrap().is_some());
    });
    for state in [None, Some(InvitationState::Open), Some(InvitationState::Accepted)] {
        operation("invitations.list", &mut |g| {
            g.invitations().list(&InvitationFilter { state }, &first).unwrap();
        });
    }
    operation("invitations.count", &mut |g| {
        assert_eq!(g.invitations().count(&InvitationFilter::default()).unwrap(), 500);
    });
    operation("invitations.create", &mut |g| {
        let new = NewInvitation::new("new@example.com".parse().unwrap(), Role::Member);
        g.invitations().create(&new).unwrap();
    });
    operation("members.leave", &mut |g| g.members().leave().unwrap());
    operation("members.remove", &mut |g| g.members().remove(&user).unwrap());
    operation("goals.find", &mut |g| assert!(g.goals().find(&goal).unwrap().is_some()));
    operation("goals.find_with_kpis", &mut |g| {
        assert_eq!(g.goals().find_with_kpis(&goal).unwrap().unwrap().kpis.len(), 2);
    });
    operation("goals.list", &mut |g| {
        g.goals().list(&GoalFilter::default(), &first).unwrap();
    });
    for order in ["-created_at", "updated_at", "title", "-target_date"] {
        operation("goals.list", &mut |g| {
            let order = order.parse().unwrap();
            let title_contains = Some("GOAL".into());
            g.goals()
                .list(&GoalFilter { order, title_contains, ..GoalFilter::default() }, &first)
                .unwrap();
        });
    }
    operation("goals.count", &mut |g| {
        assert_eq!(g.goals().count(&GoalFilter::default()).unwrap(), 200);
    });
    operation("goals.update", &mut |g| {
        let changes = GoalChanges { target_date: Some(Some(hour(9))), ..GoalChanges::default() };
        g.goals().update(&goal, &changes).unwrap();
    });
    operation("goals.create", &mut |g| {
        g.goals().create(&NewGoal::new("New".parse().unwrap())).unwrap();
    });
    operation("goals.complete", &mut |g| drop(g.goals().complete(&goal).unwrap()));
    operation("goals.pause", &mut |g| drop(g.goals().pause(&goal).unwrap()));
    operation("goals.resume", &mut |g| drop(g.goals().resume(&goal).unwrap()));
    operation("goals.restore", &mut |g| assert!(g.goals().restore(&goal).is_err()));
    operation("goals.purge", &mut |g| assert!(g.goals().purge(&goal).is_err()));
    operation("goals.delete", &mut |g| g.goals().delete(&goal).unwrap());
    operation("goals.progress_of_many", &mut |g| {
        let goals = [goal.clone(), "g8".parse().unwrap()];
        assert_eq!(g.goals().progress_of_many(&goals).unwrap().len(), 2);
    });
    operation("goals.progress", &mut |g| {
        g.goals().progress(&goal).unwrap();
    });
    operation("goals.progress_as_of", &mut |g| {
        assert_eq!(g.goals().progress_as_of(&goal, hour(30)).unwrap().inputs.len(), 2);
    });
    let in_january = PaceQuery::new(TargetPeriod::Month, hour(500));
    operation("kpi_targets.set", &mut |g| {
        let day = "2026-01-01".parse().unwrap();
        let value = Finite::new(1.0).unwrap();
        let new = NewKpiTarget::new(kpi.clone(), TargetPeriod::Month, day, value);
        g.kpi_targets().set(&new).unwrap();
    });
    operation("kpi_targets.list", &mut |g| {
        let page = g.kpi_targets().list(&kpi, &first).unwrap();
        let next = first.clone().after(page.next.clone().expect("another page"));
        g.kpi_targets().list(&kpi, &next).unwrap();
    });
    operation("kpi_targets.count", &mut |g| {
        assert_eq!(g.kpi_targets().count(&kpi).unwrap(), 20);
    });
    operation("kpi_targets.pace", &mut |g| {
        let pace = g.kpi_targets().pace(&kpi, &in_january).unwrap();
        assert_eq!((pace.pace.target, pace.pace.actual.is_some()), (Some(20.0), true));
    });
    operation("kpi_targets.pace_of_many", &mut |g| {
        let then = in_january.clone().targets_known_at(hour(1));
        assert_eq!(g.kpi_targets().pace_of_many(&kpis, &then).unwrap().len(), 2);
    });
    operation("goal_kpis.list", &mut |g| {
        assert_eq!(g.goal_kpis().list(&goal).unwrap().len(), 2);
    });
    operation("goal_kpis.find", &mut |g| {
        assert!(g.goal_kpis().find(&goal, &kpi).unwrap().is_some());
    });
    operation("goal_kpis.count", &mut |g| assert_eq!(g.goal_kpis().count(&goal).unwrap(), 2));
    operation("goal_kpis.link", &mut |g| {
        g.goal_kpis().link(&NewGoalKpi::new(goal.clone(), "k8".parse().unwrap())).unwrap();
    });
    operation("goal_kpis.update", &mut |g| {
        let changes = GoalKpiChanges { baseline: Some(None), weight: None };
        g.goal_kpis().update(&goal, &kpi, &changes).unwrap();
    });
    operation("goal_kpis.reweigh", &mut |g| {
        g.goal_kpis().reweigh(&goal, &kpi, Weight::default()).unwrap();
    });
    operation("goal_kpis.unlink", &mut |g| g.goal_kpis().unlink(&goal, &kpi).unwrap());
    operation("workspace.find", &mut |g| assert!(g.workspace().find().unwrap().is_some()));
    operation("workspace.rename", &mut |g| {
        g.workspace().rename("New".parse().unwrap()).unwrap();
    });
    operation("workspace.change_slug", &mut |g| {
        g.workspace().change_slug("new-slug".parse().unwrap()).unwrap();
    });
    operation("workspace.change_time_zone", &mut |g| {
        g.workspace().change_time_zone("Europe/Berlin".parse().unwrap()).unwrap();
    });
    operation("workspace.update", &mut |g| {
        let changes = WorkspaceChanges { name: Some("New".parse().unwrap()), ..Default::default() };
        g.workspace().update(&changes).unwrap();
    });
    operation("once", &mut |g| {
        let mut done = false;
        let mut once = |key: &str| {
            g.once("work", &key.parse().unwrap(), |_| {
                done = true;
                Ok::<_, sesari_db::Error>(serde_json::json!({}))
            })
            .unwrap();
            std::mem::take(&mut done)
        };
        assert_eq!(
            [once("new"), once("new"), once("k1000"), once("k999")],
            [true, false, false, true]
        );
    });
    operation("audit_log.count", &mut |g| {
        g.audit_log().count(&AuditFilter::default()).unwrap();
    });
    operation("audit_log.append", &mut |g| {
        g.audit_log().append(&NewAuditEntry::new("note")).unwrap();
    });
    operation("audit_log.settled_before", &mut |g| {
        assert_eq!(g.audit_log().settled_before().unwrap(), None);
    });
    operation("audit_log.export", &mut |g| {
        assert_eq!(g.audit_log().export(10, 100).unwrap().len(), 100);
    });
    operation("audit_log.checkpoint", &mut |g| {
        g.audit_log().checkpoint().unwrap();
    });
    operation("audit_log.verify", &mut |g| {
        // Its hashes are made up.
        assert!(!g.audit_log().verify(None).unwrap().is_intact());
    });
    operation("audit_log.list", &mut |g| {
        g.audit_log().list(&AuditFilter::default(), &first).unwrap();
    });
    all
}

/// Repositories of a workspace's rows, by their files. Those of integrations are not among them: a
/// workspace has a handful, and what opens and seals them is asked for by each call.
const REPOSITORIES: [(&str, &str); 8] = [
    ("audit_log", include_str!("../../../src/repo/audit_log.rs")),
    ("data_points", include_str!("../../../src/repo/data_points.rs")),
    ("goal_kpis", include_str!("../../../src/repo/goal_kpis.rs")),
    ("goals", include_str!("../../../src/repo/goals.rs")),
    ("kpis", include_str!("../../../src/repo/kpis.rs")),
    ("members", include_str!("../../../src/repo/members.rs")),
    ("series", include_str!("../../../src/repo/series.rs")),
    ("workspace", include_str!("../../../src/repo/workspaces.rs")),
];

/// What no statement is explained of, and why.
const NOT_EXPLAINED: [(&str, &str); 1] =
    [("workspace.delete", "takes all of its rows, by their keys, whatever the plan")];

/// The methods that ask the server. A `get` sends what `find` does.
fn methods(source: &str) -> Vec<String> {
    // The first repository of a file is the tenant's; those of other guards stand behind it.
    let tenants = source
        .split("\nimpl")
        .find(|block| block.split('{').next().is_some_and(|head| head.contains("Repository<")));
    tenants
        .unwrap_or_default()
        .split("\n    pub fn ")
        .skip(1)
        .filter(|rest| rest.split(')').next().is_some_and(|head| head.contains("&mut self")))
        .filter_map(|rest| rest.split(['(', '<']).next().map(str::to_owned))
        .filter(|name| name != "get")
        .collect()
}

#[test]
fn every_method_of_a_workspaces_repositories_has_its_plan_looked_at() {
    let (_test, database) = seeded();
    let looked_at: Vec<_> = statements(&database).iter().map(|sent| sent.operation).collect();
    let mut all = 0;
    for (repository, source) in REPOSITORIES {
        for method in methods(source) {
            let name = format!("{repository}.{method}");
            let excused = NOT_EXPLAINED.iter().any(|(operation, _)| *operation == name);
            assert!(looked_at.contains(&name.as_str()) != excused, "{name}");
            all += 1;
        }
    }
    assert!(all > 50, "{all}");
}

/// Of 500 in the workspace.
#[test]
fn a_page_of_kpis_costs_what_it_shows() {
    let (_test, database) = seeded();
    let (mut guard, _) = recording(&database);
    let visited = |guard: &mut TenantConnection| {
        let sum = "SELECT sum(pg_stat_get_xact_tuples_returned(indexrelid)) FROM pg_index
                    WHERE indrelid = 'kpis'::regclass";
        logins::value(guard.connection(), sum).parse::<i64>().unwrap()
    };
    let before = visited(&mut guard);
    let page = guard.kpis().list(&KpiFilter::default(), &PageRequest::first(10).unwrap()).unwrap();
    assert_eq!((page.items.len(), visited(&mut guard) - before), (10, 11));
}

/// Everything wrong with any of the plans, each as the tenant's role has it.
fn all_faults(database: &Database, statements: &[&Statement]) -> Vec<String> {
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
    let faults = all_faults(&database, &statements.iter().collect::<Vec<_>>());
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
             CREATE INDEX kpi_data_points_more ON public.kpi_data_points (workspace_id, \"timestamp\")",
            "DROP INDEX public.kpi_data_points_more; ALTER TABLE public.kpi_data_points \
             ADD CONSTRAINT kpi_data_points_pkey \
             PRIMARY KEY (workspace_id, kpi_id, \"timestamp\", source) INCLUDE (value)",
            "data_points.range: kpi_data_points_more by",
        ),
        (
            "ALTER TABLE public.goal_kpis DROP CONSTRAINT goal_kpis_workspace_id_goal_id_kpi_id_key, \
             DROP CONSTRAINT goal_kpis_pkey; DROP INDEX public.idx_goal_kpis_workspace_id_kpi_id",
            "SELECT",
            "goal_kpis.list: reads all of goal_kpis",
        ),
    ] {
        admin.batch_execute(spoil).unwrap();
        // The others may not even be planned.
        let spoilt = |sent: &&Statement| expected.starts_with(&format!("{}: ", sent.operation));
        let spoilt: Vec<_> = statements.iter().filter(spoilt).collect();
        let faults = all_faults(&database, &spoilt);
        let seen = faults.iter().any(|fault| fault.starts_with(expected));
        assert!(seen, "{spoil}:\n{}", faults.join("\n"));
        admin.batch_execute(restore).unwrap();
    }
}
