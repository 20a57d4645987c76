//! Defects of the code. A build cannot be altered while it runs, so each is the statement that the code
//! would send: a repository's own without its filter, with the policy behind it open; or what a guard
//! would do to its connection. With the wall standing, none of them shows a difference.

use diesel::connection::SimpleConnection;
use sesari_db::PgConnection;

use super::list::{Defect, Reach::*};
use crate::programs::program::{Actor, Who};
use crate::programs::run::ask;
use crate::programs::worlds::Side;
use crate::support::logins::{lines, value};
use crate::support::signer::Signer;

const MEMBER: Who = Who::InOwn(Actor::Member);

macro_rules! unfiltered {
    ($($name:literal, $policy:literal on $table:literal: $sql:literal;)*) => {
        [$(Defect {
            name: concat!($name, " without its filter, and the policy open"),
            reach: Leaks,
            matrix: &[],
            sql: concat!("ALTER POLICY ", $policy, " ON ", $table, " USING (true)"),
            code: Some(|side, n| {
                let answer = ask(side, MEMBER, n, $sql);
                assert!(answer.contains(" rows: "), "{answer}");
                answer
            }),
        }),*]
    };
}

const UNFILTERED: [Defect; 6] = unfiltered! {
    "kpis.find", "kpis_tenant_select" on "kpis":
        "SELECT concat_ws('|', workspace_id, name) AS line FROM kpis WHERE id = 'kboth'";
    "kpis.list", "kpis_tenant_select" on "kpis":
        "SELECT id AS line FROM kpis WHERE deleted_at IS NULL AND id IN ('kleft', 'kright')";
    "data_points.latest", "kpi_data_points_tenant_select" on "kpi_data_points":
        "SELECT value::text AS line FROM kpi_data_points WHERE kpi_id = 'kboth'
         ORDER BY \"timestamp\" DESC, source DESC, value LIMIT 1";
    "goals.find", "goals_tenant_select" on "goals":
        "SELECT title AS line FROM goals WHERE id = 'gboth'";
    "integrations.count", "integrations_tenant_select" on "integrations":
        "SELECT count(*)::text AS line FROM integrations WHERE error_message = 'Secret left'";
    "members.list", "workspace_users_tenant_select" on "workspace_users":
        "SELECT concat_ws('|', user_id, role) AS line FROM workspace_users WHERE user_id IN ('ubx', 'uleft')";
};

/// A plain connection of the login, on which another tenant's guard was a moment ago.
fn after_another(side: &mut Side, set: &str, between: &str) -> String {
    let mut conn: PgConnection = side.login.connect();
    let now = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    let now = value(&mut conn, now).parse().unwrap();
    let pid = value(&mut conn, "pg_backend_pid()").parse().unwrap();
    let token = Signer::of(&side.test).sign('u', "ubo", "wboth", now, pid);
    conn.batch_execute(&format!(
        "BEGIN; SET LOCAL ROLE sesari_tenant; {set} sesari.context = '{token}'; {between}"
    ))
    .unwrap();
    lines(&mut conn, "SELECT name AS line FROM kpis ORDER BY id, name").join(" ; ")
}

const CONNECTIONS: [Defect; 2] = [
    Defect {
        name: "the context set for the session, and not by the next guard",
        reach: Leaks,
        matrix: &[],
        sql: "",
        code: Some(|side, _| {
            after_another(side, "SET", "COMMIT; BEGIN; SET LOCAL ROLE sesari_tenant")
        }),
    },
    Defect {
        name: "a transaction handed on to the next guard",
        reach: Leaks,
        matrix: &[],
        sql: "",
        code: Some(|side, _| after_another(side, "SET LOCAL", "")),
    },
];

pub fn defects() -> impl Iterator<Item = &'static Defect> {
    UNFILTERED_REF.iter().chain(CONNECTIONS_REF)
}

const UNFILTERED_REF: &[Defect] = &UNFILTERED;
const CONNECTIONS_REF: &[Defect] = &CONNECTIONS;

/// What a connection shows that was handed on as it should be: nothing, in both worlds.
pub fn well_handed_on(side: &mut Side) -> String {
    after_another(side, "SET LOCAL", "COMMIT; BEGIN; SET LOCAL ROLE sesari_tenant")
}
