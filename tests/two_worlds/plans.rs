//! The plans of the repositories' statements are the same in both worlds.
//!
//! Compared is the generic plan, `EXPLAIN (VERBOSE, COSTS OFF)`, of each statement that a repository
//! sends at the tenant's scope. Neither world has been analyzed and no table has ten pages, so that the
//! planner estimates the same in both: what it could still tell them apart by would be the rows. With
//! other sizes plans may differ, which is the accepted channel "sizes"; the second test shows it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use diesel::connection::{InstrumentationEvent, SimpleConnection};
use diesel::prelude::*;
use diesel::sql_types::Text;
use sesari_db::Error;
use sesari_db::PgConnection;

use crate::programs::calls::OF_A_TENANT;
use crate::programs::program::{Actor, Args, Asked, Pick};
use crate::programs::worlds::{Pair, Side};
use crate::support::logins::value;

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text, column_name = "QUERY PLAN")]
    line: String,
}

const ARGS: Args = Args {
    kpi: Pick::First,
    goal: Pick::First,
    integration: Pick::Second,
    user: 2,
    workspace: Pick::First,
    number: 1,
    text: 0,
};

/// Each statement that the calls send, with its plan.
fn plans(side: &Side, n: u32) -> BTreeMap<String, String> {
    let workspace = format!("wa{n}").parse().unwrap();
    let mut plans = BTreeMap::new();
    for (_, call) in OF_A_TENANT {
        let mut guard = side.db.tenant(Actor::Owner.user(n), &workspace).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        guard.connection().set_instrumentation(move |event: InstrumentationEvent<'_>| {
            if let InstrumentationEvent::StartQuery { query, .. } = event {
                let text = query.to_string();
                let sql = text.split(" -- binds:").next().unwrap_or_default().to_owned();
                sink.lock().unwrap().push(sql);
            }
        });
        // What comes of it is the business of the programs.
        let _: Result<String, Error> =
            guard.transaction(|guard| call(guard, &Asked { args: ARGS, n }));
        guard.connection().set_instrumentation(|_: InstrumentationEvent<'_>| {});
        let sent = std::mem::take(&mut *seen.lock().unwrap());
        let control = ["SAVEPOINT", "RELEASE", "ROLLBACK"];
        for sql in sent.into_iter().filter(|sql| !control.iter().any(|word| sql.starts_with(word)))
        {
            let plan = plan(guard.connection(), &sql);
            plans.insert(sql, plan);
        }
    }
    plans
}

fn plan(conn: &mut PgConnection, sql: &str) -> String {
    let quoted = sql.replace('\'', "''");
    let types = value(
        conn,
        &format!(
            "SELECT '(' || array_to_string(parameter_types, ', ') || ')' FROM pg_prepared_statements
              WHERE statement = '{quoted}' AND parameter_types <> '{{}}' LIMIT 1"
        ),
    );
    let types = if types == "NULL" { "" } else { &types };
    conn.batch_execute("SET LOCAL plan_cache_mode = force_generic_plan").unwrap();
    conn.batch_execute(&format!("PREPARE probe{types} AS {sql}")).expect(sql);
    let count = value(
        conn,
        "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'probe'",
    );
    let nulls = vec!["NULL"; count.parse().unwrap()].join(", ");
    let nulls = if nulls.is_empty() { nulls } else { format!("({nulls})") };
    let explain = format!("EXPLAIN (VERBOSE, COSTS OFF) EXECUTE probe{nulls}");
    let lines: Vec<Line> = diesel::sql_query(explain).load(conn).expect(sql);
    conn.batch_execute("DEALLOCATE probe").unwrap();
    lines.into_iter().map(|row| row.line).collect::<Vec<_>>().join("\n")
}

fn apart(pair: &mut Pair) -> Vec<String> {
    let n = pair.furnish();
    let (left, right) = (plans(&pair.left, n), plans(&pair.right, n));
    assert!(left.len() > 60, "only {} statements were seen", left.len());
    assert_eq!(left.keys().collect::<Vec<_>>(), right.keys().collect::<Vec<_>>());
    let differs = left.iter().filter(|(sql, plan)| right[*sql] != **plan);
    differs.map(|(sql, plan)| format!("{sql}\nleft:\n{plan}\nright:\n{}", right[sql])).collect()
}

#[test]
fn the_repositories_statements_are_planned_alike() {
    let mut pair = Pair::new(1);
    let apart = apart(&mut pair);
    assert!(apart.is_empty(), "{}", apart.join("\n\n"));
}

#[test]
fn with_other_sizes_plans_differ() {
    let mut pair = Pair::new(1);
    let many = "INSERT INTO kpis (id, workspace_id, name)
                SELECT 'many' || i, 'wboth', 'Many' FROM generate_series(1, 2000) AS i; ANALYZE kpis";
    pair.left.admin.batch_execute(many).unwrap();
    pair.right.admin.batch_execute("ANALYZE kpis").unwrap();
    assert!(!apart(&mut pair).is_empty());
}
