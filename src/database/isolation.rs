//! The check that login and schema isolate tenants, run before the first guard is handed out.
//!
//! Two halves. General rules look at the login and at every relation and function that it can
//! reach, ours or not. And the schema of this crate must be, to the letter, what its migrations
//! make: `manifest.txt` is the catalogue of a freshly migrated database, one fact a line, and a
//! missing or an additional line is a finding. A test below holds the file against the live
//! catalogue of each server version.

use std::collections::BTreeSet;
use std::fmt;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::query_dsl::LoadQuery;
use diesel::sql_types::{Array, Bool, Integer, Nullable, Text};

use crate::error::Result;
use crate::migrations;
use crate::tenancy::transaction::DatabaseRole;

/// The tables of this crate outside of its private schema.
const TABLES: [&str; 11] = [
    "public.audit_log",
    "public.goal_kpis",
    "public.goals",
    "public.integrations",
    "public.kpi_data_points",
    "public.kpi_rollups",
    "public.kpis",
    "public.subscriptions",
    "public.users",
    "public.workspace_users",
    "public.workspaces",
];

const MANIFEST: &str = include_str!("isolation/manifest.txt");
const MANIFEST_SQL: &str = include_str!("isolation/manifest.sql");
const RULES_SQL: &str = include_str!("isolation/rules.sql");

/// One reason why a database would not isolate tenants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, QueryableByName, serde::Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// Which rule, such as `login-bypasses-rls`.
    #[diesel(sql_type = Text)]
    pub rule: String,
    /// What breaks it: a role, a table, a function.
    #[diesel(sql_type = Text)]
    pub object: String,
    /// What is wrong and what to do about it.
    #[diesel(sql_type = Text)]
    pub explanation: String,
}

impl Finding {
    fn new(
        rule: impl Into<String>,
        object: impl Into<String>,
        explanation: impl Into<String>,
    ) -> Self {
        Self { rule: rule.into(), object: object.into(), explanation: explanation.into() }
    }
}

/// Every reason why a database would not isolate tenants; empty when there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct IsolationReport {
    findings: Vec<Finding>,
}

impl IsolationReport {
    /// The findings, by rule and object.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.findings.extend(other.findings);
        self.findings.sort();
        self.findings.dedup();
    }

    /// Whether some finding is of this rule.
    #[must_use]
    pub fn has(&self, rule: &str) -> bool {
        self.findings.iter().any(|finding| finding.rule == rule)
    }
}

impl fmt::Display for IsolationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, finding) in self.findings.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "- {}: {}: {}", finding.rule, finding.object, finding.explanation)?;
        }
        Ok(())
    }
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

/// Looks at everything, and reports everything found.
pub(crate) fn check(conn: &mut PgConnection, role: DatabaseRole) -> Result<IsolationReport> {
    conn.transaction(|conn| {
        // How the catalogue writes an expression depends on these.
        conn.batch_execute(
            "SET LOCAL search_path = public, pg_temp; SET LOCAL TimeZone = 'UTC'; \
             SET LOCAL DateStyle = 'ISO, YMD'",
        )?;
        let mut findings = Vec::new();
        findings.extend(old_server(conn)?);
        findings.extend(
            diesel::sql_query(RULES_SQL).bind::<Text, _>(role.name()).load::<Finding>(conn)?,
        );
        let migrations = migration_findings(conn)?;
        if migrations.is_empty() {
            findings.extend(manifest_findings(&live_manifest(conn)?));
        }
        // A schema of another version differs in many lines, and all say the same as this.
        findings.extend(migrations);
        findings.sort();
        Ok(IsolationReport { findings })
    })
}

/// Minor versions that close known holes in row-level security: CVE-2024-10976 (policies forgotten
/// below sub-queries) and CVE-2025-8713 (statistics that show hidden rows).
fn old_server(conn: &mut PgConnection) -> Result<Option<Finding>> {
    let version: i32 = diesel::select(diesel::dsl::sql::<Integer>(
        "pg_catalog.current_setting('server_version_num')::integer",
    ))
    .get_result(conn)?;
    Ok(needed_version(version).map(|needed| {
        let show = |version| format!("{}.{}", version / 10_000, version % 10_000);
        Finding::new(
            "server-too-old",
            show(version),
            format!("has known holes in row-level security; use at least {}", show(needed)),
        )
    }))
}

fn needed_version(version: i32) -> Option<i32> {
    let needed = match version / 10_000 {
        ..=15 => 150_014,
        16 => 160_010,
        17 => 170_006,
        _ => return None,
    };
    (version < needed).then_some(needed)
}

fn migration_findings(conn: &mut PgConnection) -> Result<Vec<Finding>> {
    // Looked up without naming it: a login without any right to the schema must be told so, by the
    // rules, and not stumble here.
    let may_ask: Option<bool> = diesel::select(diesel::dsl::sql::<Nullable<Bool>>(
        "(SELECT pg_catalog.has_schema_privilege(session_user, n.oid, 'USAGE') \
                 AND pg_catalog.has_function_privilege(session_user, p.oid, 'EXECUTE') \
            FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace \
           WHERE n.nspname = 'sesari' AND p.proname = 'applied_migrations')",
    ))
    .get_result(conn)?;
    let applied = match may_ask {
        None => BTreeSet::new(),
        Some(false) => return Ok(Vec::new()),
        Some(true) => lines(
            diesel::sql_query("SELECT v AS line FROM sesari.applied_migrations() AS v"),
            conn,
        )?,
    };
    let embedded: BTreeSet<String> = migrations::versions()?.into_iter().collect();
    let pending = embedded.difference(&applied).map(|version| {
        Finding::new("migration-pending", version, "not applied; run the migrations first")
    });
    let unknown = applied.difference(&embedded).map(|version| {
        Finding::new("migration-unknown", version, "of a newer version of this crate; upgrade it")
    });
    Ok(pending.chain(unknown).collect())
}

/// The live catalogue in the form of the manifest.
fn live_manifest(conn: &mut PgConnection) -> Result<BTreeSet<String>> {
    lines(diesel::sql_query(MANIFEST_SQL).bind::<Array<Text>, _>(&TABLES[..]), conn)
}

fn manifest_findings(live: &BTreeSet<String>) -> Vec<Finding> {
    let expected: BTreeSet<String> = MANIFEST.lines().map(ToOwned::to_owned).collect();
    let finding = |line: &str, problem: &str| {
        let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
        // A function is named with its arguments.
        let end = match (rest.find(' '), rest.find('('), rest.find(')')) {
            (Some(blank), Some(open), Some(close)) if open < blank => close + 1,
            (Some(blank), ..) => blank,
            _ => rest.len(),
        };
        let object = &rest[..end];
        Finding::new(format!("{what}-changed"), object, format!("{problem}: {line}"))
    };
    let missing =
        expected.difference(live).map(|line| finding(line, "missing or changed, expected"));
    let strange =
        live.difference(&expected).map(|line| finding(line, "not of this crate's making"));
    missing.chain(strange).collect()
}

fn lines<'q, Q>(query: Q, conn: &mut PgConnection) -> Result<BTreeSet<String>>
where
    Q: RunQueryDsl<PgConnection> + LoadQuery<'q, PgConnection, Line>,
{
    Ok(query.load::<Line>(conn)?.into_iter().map(|row| row.line).collect())
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;
    use crate::testing::TestDatabase;

    /// `SESARI_UPDATE=1 cargo test` writes the file anew, after a migration.
    #[test]
    fn the_manifest_is_the_catalogue_of_a_migrated_database() {
        let database = TestDatabase::new().unwrap();
        let mut conn = PgConnection::establish(&database.tenant_url()).unwrap();
        conn.batch_execute("SET search_path = public, pg_temp").unwrap();
        let live: Vec<String> = live_manifest(&mut conn).unwrap().into_iter().collect();
        let text = live.join("\n") + "\n";
        if std::env::var_os("SESARI_UPDATE").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/database/isolation/manifest.txt");
            std::fs::write(path, text).unwrap();
        } else {
            assert_eq!(manifest_findings(&live.into_iter().collect()), []);
        }
    }

    #[test]
    fn a_server_with_known_holes_is_too_old() {
        for old in [90_600, 140_022, 150_013, 160_009, 170_005] {
            assert!(needed_version(old).is_some(), "{old}");
        }
        for good in [150_014, 160_010, 170_006, 180_000, 190_001] {
            assert_eq!(needed_version(good), None);
        }
    }
}
