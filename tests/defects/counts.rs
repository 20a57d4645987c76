//! What shows nothing of others' rows, and has the server count or estimate them.

use super::list::{Defect, Reach::*, defects, edit};
use crate::programs::program::{Actor, Who};
use crate::programs::run::{Question, answers};
use crate::programs::worlds::Side;

/// Enough rows that an estimate tells, of one value: in a workspace of both worlds, and as long in both.
macro_rules! crowded {
    ($more:literal) => {
        concat!(
            "INSERT INTO kpis (id, workspace_id, name, category)
             SELECT 'crowd' || i, 'wboth', 'Crowd ' || i,
                    CASE WHEN EXISTS (SELECT FROM workspaces WHERE id = 'wleft') THEN 'aleft' ELSE 'right' END
               FROM generate_series(1000, 2999) AS i; ",
            $more,
            "; ANALYZE kpis"
        )
    };
}

const BY_QUESTIONS: &[Defect] = defects! {
    "an index that a column leads", Counts, []:
        "CREATE INDEX idx_kpis_name ON kpis (name)";
    "statistics on a column", Counts, []:
        crowded!("ALTER TABLE kpis ALTER COLUMN category SET STATISTICS 100");
    // The server computes none while no column has any.
    "extended statistics", Stays, []:
        crowded!("CREATE STATISTICS public.lower_category ON lower(category) FROM kpis;
                  ALTER STATISTICS public.lower_category SET STATISTICS 100");
    "users with their addresses, to the members", Counts, ["users"]:
        "GRANT SELECT (id, email) ON users TO sesari_tenant;
         CREATE POLICY users_tenant_select ON users FOR SELECT TO sesari_tenant
         USING (id = ANY (ARRAY(SELECT m.user_id FROM workspace_users AS m)))";
    "users looked up before they are known to be members", Counts, []:
        edit!("member_profiles", "unnest(wanted_ids) AS asked (user_id)",
              "(SELECT u.id FROM unnest(wanted_ids) AS w (id), public.users AS u WHERE u.id = w.id OFFSET 0) AS asked (user_id)");
};

const BY_ONE: [Defect; 2] = [
    Defect {
        name: "extended statistics, and those of a column",
        reach: Counts,
        matrix: &[],
        sql: crowded!(
            "CREATE STATISTICS public.lower_category ON lower(category) FROM kpis;
             ALTER STATISTICS public.lower_category SET STATISTICS 100;
             ALTER TABLE kpis ALTER COLUMN unit SET STATISTICS 1"
        ),
        code: Some(|side, n| {
            explain(side, n, "EXPLAIN SELECT FROM kpis WHERE lower(category) = 'aleft'")
        }),
    },
    // Half as dear as the policy's comparison, so asked first: the sub-select runs once a row has the value.
    Defect {
        name: "reading kpis: no look-up before the comparison",
        reach: Counts,
        matrix: &["kpis"],
        sql: "ALTER POLICY kpis_tenant_select ON kpis
              USING (workspace_id = (SELECT sesari.current_workspace_id()))",
        code: Some(|side, n| {
            explain(
                side,
                n,
                "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT FROM kpis
                  WHERE CASE WHEN name = ANY (ARRAY['left 10']) THEN (SELECT true) ELSE true END",
            )
        }),
    },
];

fn explain(side: &mut Side, n: u32, sql: &str) -> String {
    let settings = "SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off";
    let question = Question { settings, sql: sql.to_owned() };
    let member = Who::InOwn(Actor::Member);
    answers(side, member, n, &[question], "SELECT 'uncounted' WHERE false").remove(0).0
}

pub fn defects() -> impl Iterator<Item = &'static Defect> {
    BY_QUESTIONS.iter().chain(BY_ONE_REF)
}

const BY_ONE_REF: &[Defect] = &BY_ONE;

/// The rows that these add, and nothing wrong.
pub const CROWDED: &str = crowded!("SELECT");
