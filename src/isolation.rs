//! The check that login and schema isolate tenants, run before the first guard is handed out.
//!
//! Four parts. General rules look at the login and at every relation and function that it can
//! reach, ours or not. Others compare what PostgreSQL itself, extensions, roles and settings give with what
//! they give in a new database. Tables of the consumer's own that were declared as tenants' are held to what ours
//! are held to. And the schema of this crate must be, to the letter, what its migrations
//! make: `manifest.txt` is the catalogue of a freshly migrated database, one fact a line, and a
//! missing or an additional line is a finding. A test below holds the file against the live
//! catalogue of each server version.

mod catalogue;
mod policy;

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::query_dsl::LoadQuery;
use diesel::sql_types::{Array, Bool, Integer, Nullable, Text};
use ring::digest;

use crate::connection::PgConnection;
use crate::error::{Error, Result};
use crate::hex;
use crate::migrations;
use crate::tables;
use crate::tenancy::transaction::DatabaseRole;

pub use catalogue::{Rule, rule, rules};

const MANIFEST: &str = include_str!("isolation/manifest.txt");
const MANIFEST_SQL: &str = include_str!("isolation/manifest.sql");
const RULES_SQL: &str =
    concat!(include_str!("isolation/reach.sql"), include_str!("isolation/rules.sql"));
const TENANT_SQL: &str =
    concat!(include_str!("isolation/reach.sql"), include_str!("isolation/tenant.sql"));
const SYSTEM_SQL: &str =
    concat!(include_str!("isolation/reach.sql"), include_str!("isolation/system.sql"));
/// The functions that PostgreSQL 15 to 18 mark LEAKPROOF, each with what it calls.
const LEAKPROOF: &str = include_str!("isolation/leakproof.txt");
const POLICIES_SQL: &str =
    concat!(include_str!("isolation/reach.sql"), include_str!("isolation/policies.sql"));
const PLACE_SQL: &str = "SELECT quote_ident(session_user) AS login, quote_ident(current_database()) AS database, \
     EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = session_user AND rolsuper) AS is_superuser";
const SUPERUSER: &str = "login-is-superuser";
const UNRECORDED: &str = "migrations-unrecorded";
const HARDENING_SQL: &str = include_str!("isolation/hardening.sql");

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Severity {
    /// Hardening that an operator can add.
    Info,
    /// Isolation holds, or rests on something that the check cannot judge.
    Warning,
    /// Tenants would not be isolated, or the check cannot tell: no [`Database`](crate::Database) is built.
    Critical,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        })
    }
}

/// One reason why a database would not isolate tenants, or why it might not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// Which rule, such as `login-bypasses-rls`; all are in [`rules`].
    pub rule: String,
    /// What breaks it: a role, a table, a function.
    pub object: String,
    /// What is wrong.
    pub explanation: String,
    /// How much it matters.
    pub severity: Severity,
    /// What to type.
    pub remedy: String,
}

impl Finding {
    fn new(
        rule: impl Into<String>,
        object: impl Into<String>,
        explanation: impl Into<String>,
    ) -> Self {
        let (id, object) = (rule.into(), object.into());
        let known = rule_by(&id);
        Self {
            severity: known.map_or(Severity::Critical, |rule| rule.severity),
            remedy: known.map_or_else(String::new, |rule| rule.remedy.replace("{object}", &object)),
            rule: id,
            object,
            explanation: explanation.into(),
        }
    }
}

fn rule_by(id: &str) -> Option<&'static Rule> {
    catalogue::rule(id)
}

/// Whether hardening is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum HardeningState {
    /// It is.
    On,
    /// It is not.
    Off,
    /// A login cannot see it.
    Unknown,
}

/// One measure that an operator can add to what the check insists on, and whether it is on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[non_exhaustive]
pub struct Hardening {
    /// Which measure, such as `hardening-tls`; all are in [`rules`], as [`Severity::Info`].
    pub rule: String,
    /// For which login.
    pub login: String,
    /// Whether it is on.
    pub state: HardeningState,
    /// What was seen.
    pub detail: String,
    /// What to type to have it.
    pub remedy: String,
}

/// What the check found in a database: every reason why it would not isolate tenants, the hardening
/// that is on, and a fingerprint of what isolation rests on.
#[derive(Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct IsolationReport {
    findings: Vec<Finding>,
    hardening: Vec<Hardening>,
    fingerprint: String,
}

impl IsolationReport {
    /// Checks a database with a login of its service, by one connection, without keys and without
    /// writing anything.
    ///
    /// ```no_run
    /// use sesari_db::database::{IsolationOptions, IsolationReport};
    ///
    /// # fn main() -> sesari_db::Result<()> {
    /// let options = IsolationOptions::tenant().tenant_table("public.invoices");
    /// let report = IsolationReport::check("postgres://app:secret@db.internal/sesari", &options)?;
    /// println!("{report}");
    /// assert!(report.is_safe());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Connect`] when the server cannot be reached or does not let the login in.
    pub fn check(url: &str, options: &IsolationOptions) -> Result<Self> {
        let mut conn = PgConnection::establish(url)
            .map_err(|error| Error::Connect { reason: error.to_string() })?;
        Self::check_connection(&mut conn, options)
    }

    /// Like [`check`](Self::check), by a connection that is open.
    ///
    /// # Errors
    /// Those of a query.
    pub fn check_connection(conn: &mut PgConnection, options: &IsolationOptions) -> Result<Self> {
        check(conn, options)
    }

    /// The findings: the severest first, then by rule and object. Hardening is not among them.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The measures that an operator can add, and whether they are on.
    #[must_use]
    pub fn hardening(&self) -> &[Hardening] {
        &self.hardening
    }

    /// SHA-256, in hex, of what isolation rests on: tables, columns, keys, policies, triggers, functions
    /// and grants, of this crate and of the tables declared. Databases with the same schema have the
    /// same, and any drift changes it.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The fingerprint of a database that this version of the crate has migrated, while no table is
    /// declared.
    #[must_use]
    pub fn expected_fingerprint() -> String {
        fingerprint(&MANIFEST.lines().map(ToOwned::to_owned).collect())
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }

    /// Whether nothing critical was found, so that a [`Database`](crate::Database) is built.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        self.worst() < Some(Severity::Critical)
    }

    /// The worst severity among the findings.
    #[must_use]
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }

    /// Adds another login's. The fingerprint stays the first one's.
    pub fn extend(&mut self, other: Self) {
        self.findings.extend(other.findings);
        self.sort();
        self.hardening.extend(other.hardening);
        self.hardening.sort();
        self.hardening.dedup();
        if self.fingerprint.is_empty() {
            self.fingerprint = other.fingerprint;
        }
    }

    /// Compares the fingerprint with one that was recorded.
    pub(crate) fn expect_fingerprint(&mut self, expected: &str) {
        if self.fingerprint != expected {
            let explanation =
                format!("has the fingerprint {}; expected {expected}", self.fingerprint);
            self.findings.push(Finding::new("fingerprint-changed", "schema", explanation));
            self.sort();
        }
    }

    /// What matters most first. A superuser's other findings may all be of its making.
    fn sort(&mut self) {
        let key = |f: &Finding| (f.rule != SUPERUSER, Reverse(f.severity));
        self.findings.sort_by(|a, b| key(a).cmp(&key(b)).then_with(|| a.cmp(b)));
        self.findings.dedup();
    }

    /// The report in an [`Error::Unsafe`].
    #[must_use]
    pub fn in_error(error: &Error) -> Option<&Self> {
        match error {
            Error::Unsafe(report) => report.downcast_ref(),
            _ => None,
        }
    }

    /// Whether some finding is of this rule.
    #[must_use]
    pub fn has(&self, rule: &str) -> bool {
        self.findings.iter().any(|finding| finding.rule == rule)
    }
}

/// Without the hardening, which would bury the findings of a failed start.
impl fmt::Debug for IsolationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IsolationReport")
            .field("findings", &self.findings)
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for IsolationReport {}

impl From<IsolationReport> for Error {
    fn from(report: IsolationReport) -> Self {
        Self::Unsafe(Box::new(report))
    }
}

impl fmt::Display for IsolationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, finding) in self.findings.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "- {}: {}: {}", finding.rule, finding.object, finding.explanation)?;
            if finding.severity < Severity::Critical {
                write!(f, " ({})", finding.severity)?;
            }
            write!(f, "\n  {}", finding.remedy)?;
        }
        Ok(())
    }
}

/// Which login is checked, and what was declared.
#[derive(Debug, Clone)]
pub struct IsolationOptions {
    role: DatabaseRole,
    tables: Declared,
    fingerprint: Option<String>,
}

/// Tables of the consumer's own, as schema.name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Declared {
    pub(crate) tenant: Vec<String>,
    pub(crate) shared: Vec<String>,
}

impl Declared {
    /// A name without a schema is one in `public`.
    pub(crate) fn name(table: String) -> String {
        if table.contains('.') { table } else { format!("public.{table}") }
    }
}

impl IsolationOptions {
    /// For the tenants' login.
    #[must_use]
    pub fn tenant() -> Self {
        Self::new(DatabaseRole::Tenant, Declared::default())
    }

    /// For the services' login.
    #[must_use]
    pub fn service() -> Self {
        Self::new(DatabaseRole::Service, Declared::default())
    }

    pub(crate) fn new(role: DatabaseRole, tables: Declared) -> Self {
        Self { role, tables, fingerprint: None }
    }

    /// Declares a tenants' table of your own, such as `public.invoices`; see
    /// [`DatabaseBuilder::tenant_table`](crate::DatabaseBuilder::tenant_table).
    #[must_use]
    pub fn tenant_table(mut self, table: impl Into<String>) -> Self {
        self.tables.tenant.push(Declared::name(table.into()));
        self
    }

    /// Declares a table that all tenants may read; see
    /// [`DatabaseBuilder::shared_table`](crate::DatabaseBuilder::shared_table).
    #[must_use]
    pub fn shared_table(mut self, table: impl Into<String>) -> Self {
        self.tables.shared.push(Declared::name(table.into()));
        self
    }

    /// The fingerprint that was recorded; another one is a finding.
    #[must_use]
    pub fn expect_fingerprint(mut self, fingerprint: impl Into<String>) -> Self {
        self.fingerprint = Some(fingerprint.into());
        self
    }
}

#[derive(QueryableByName)]
struct FindingRow {
    #[diesel(sql_type = Text)]
    rule: String,
    #[diesel(sql_type = Text)]
    object: String,
    #[diesel(sql_type = Text)]
    explanation: String,
}

#[derive(QueryableByName)]
struct SystemRow {
    #[diesel(embed)]
    found: FindingRow,
    #[diesel(sql_type = Text)]
    remedy: String,
}

/// Whose session it is, and where, each quoted where SQL needs it.
#[derive(QueryableByName)]
struct Place {
    #[diesel(sql_type = Text)]
    login: String,
    #[diesel(sql_type = Text)]
    database: String,
    #[diesel(sql_type = Bool)]
    is_superuser: bool,
}

#[derive(QueryableByName)]
struct PolicyRow {
    #[diesel(sql_type = Text)]
    object: String,
    #[diesel(sql_type = Text)]
    verb: String,
    #[diesel(sql_type = Nullable<Text>)]
    reads: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    writes: Option<String>,
}

#[derive(QueryableByName)]
struct HardeningRow {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Text)]
    login: String,
    #[diesel(sql_type = Nullable<Bool>)]
    is_on: Option<bool>,
    #[diesel(sql_type = Text)]
    detail: String,
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

/// Looks at everything, and reports everything found.
fn check(conn: &mut PgConnection, options: &IsolationOptions) -> Result<IsolationReport> {
    conn.transaction(|conn| {
        normalize(conn)?;
        let place: Place = diesel::sql_query(PLACE_SQL).get_result(conn)?;
        let mut findings = Vec::new();
        findings.extend(old_server(conn)?);
        // A superuser may do everything, and each rule would say so once more.
        if place.is_superuser {
            findings.push(Finding::new(
                SUPERUSER,
                &place.login,
                "a superuser is not bound by row-level security",
            ));
        } else {
            findings.extend(rule_findings(conn, RULES_SQL, options)?);
            findings.extend(system_findings(conn, options)?);
        }
        if !options.tables.tenant.is_empty() {
            findings.extend(rule_findings(conn, TENANT_SQL, options)?);
            findings.extend(policy_findings(conn, options)?);
        }
        let migrations = migration_findings(conn)?;
        let own = live_manifest(conn, &[])?;
        // A schema of another version differs in many lines, and all say the same as this.
        if migrations.iter().all(|finding| finding.rule == UNRECORDED) {
            findings.extend(manifest_findings(&own));
        }
        findings.extend(migrations);
        for finding in &mut findings {
            finding.remedy = finding
                .remedy
                .replace("<login>", &place.login)
                .replace("<database>", &place.database);
        }
        // Nor is there a login to harden.
        let hardening = if place.is_superuser { Vec::new() } else { hardening(conn)? };
        let fingerprint = if options.tables.tenant.is_empty() {
            fingerprint(&own)
        } else {
            fingerprint(&live_manifest(conn, &options.tables.tenant)?)
        };
        let mut report = IsolationReport { findings, hardening, fingerprint };
        report.sort();
        if let Some(expected) = &options.fingerprint {
            report.expect_fingerprint(expected);
        }
        Ok(report)
    })
}

/// The fingerprint alone, which is quicker.
pub(crate) fn live_fingerprint(conn: &mut PgConnection, tables: &Declared) -> Result<String> {
    conn.transaction(|conn| {
        normalize(conn)?;
        Ok(fingerprint(&live_manifest(conn, &tables.tenant)?))
    })
}

/// How the catalogue writes an expression depends on these, and the login's own defaults may be anything.
/// Compiling the check's statements takes longer than they do.
fn normalize(conn: &mut PgConnection) -> QueryResult<()> {
    conn.batch_execute(
        "SET LOCAL ROLE NONE; SET LOCAL row_security = on; SET LOCAL statement_timeout = '30s'; \
         SET LOCAL search_path = public, pg_temp; SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL quote_all_identifiers = off; \
         SET LOCAL standard_conforming_strings = on; SET LOCAL bytea_output = hex; \
         SET LOCAL IntervalStyle = postgres; SET LOCAL extra_float_digits = 1; SET LOCAL jit = off",
    )
}

fn rule_findings(
    conn: &mut PgConnection,
    sql: &str,
    options: &IsolationOptions,
) -> QueryResult<Vec<Finding>> {
    let rows: Vec<FindingRow> = diesel::sql_query(sql)
        .bind::<Text, _>(options.role.name())
        .bind::<Array<Text>, _>(&options.tables.tenant)
        .bind::<Array<Text>, _>(&options.tables.shared)
        .bind::<Array<Text>, _>(tables::names().collect::<Vec<_>>())
        .load(conn)?;
    Ok(rows.into_iter().map(|row| Finding::new(row.rule, row.object, row.explanation)).collect())
}

fn system_findings(
    conn: &mut PgConnection,
    options: &IsolationOptions,
) -> QueryResult<Vec<Finding>> {
    let rows: Vec<SystemRow> = diesel::sql_query(SYSTEM_SQL)
        .bind::<Text, _>(options.role.name())
        .bind::<Array<Text>, _>(&options.tables.tenant)
        .bind::<Array<Text>, _>(&options.tables.shared)
        .bind::<Array<Text>, _>(tables::names().collect::<Vec<_>>())
        .bind::<Array<Text>, _>(LEAKPROOF.lines().collect::<Vec<_>>())
        .load(conn)?;
    let finding = |SystemRow { found, remedy }: SystemRow| Finding {
        remedy,
        ..Finding::new(found.rule, found.object, found.explanation)
    };
    Ok(rows.into_iter().map(finding).collect())
}

fn policy_findings(
    conn: &mut PgConnection,
    options: &IsolationOptions,
) -> QueryResult<Vec<Finding>> {
    let rows: Vec<PolicyRow> = diesel::sql_query(POLICIES_SQL)
        .bind::<Text, _>(options.role.name())
        .bind::<Array<Text>, _>(&options.tables.tenant)
        .bind::<Array<Text>, _>(&options.tables.shared)
        .bind::<Array<Text>, _>(tables::names().collect::<Vec<_>>())
        .load(conn)?;
    let finding = |row: PolicyRow| {
        if policy::is_late(&row.verb, row.reads.as_deref()) {
            let explanation = "does not look the workspace up before it compares it, so that conditions of a \
                               statement's own may be asked of other tenants' rows first";
            return Some(Finding::new("tenant-policy-late", row.object, explanation));
        }
        let fault = policy::fault(&row.verb, row.reads.as_deref(), row.writes.as_deref())?;
        Some(Finding::new("tenant-policy", row.object, fault))
    };
    Ok(rows.into_iter().filter_map(finding).collect())
}

fn hardening(conn: &mut PgConnection) -> QueryResult<Vec<Hardening>> {
    let rows: Vec<HardeningRow> = diesel::sql_query(HARDENING_SQL).load(conn)?;
    let measure = |row: HardeningRow| Hardening {
        remedy: rule_by(&row.id)
            .map_or_else(String::new, |rule| rule.remedy.replace("<login>", &row.login)),
        state: match row.is_on {
            Some(true) => HardeningState::On,
            Some(false) => HardeningState::Off,
            None => HardeningState::Unknown,
        },
        rule: row.id,
        login: row.login,
        detail: row.detail,
    };
    Ok(rows.into_iter().map(measure).collect())
}

fn fingerprint(manifest: &BTreeSet<String>) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for line in manifest.iter().filter(|line| !is_additional_index(line)) {
        context.update(line.as_bytes());
        context.update(b"\n");
    }
    hex::encode(context.finish().as_ref())
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
    // Asked of the catalogue: for a login without rights to the schema, a call would fail here before the rules
    // could say so.
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
        Some(true) => {
            let applied = recorded(conn)?;
            if applied.is_empty() {
                return Ok(vec![Finding::new(
                    UNRECORDED,
                    "sesari_migrations",
                    "the schema is there and no migration is recorded, as after a dump without data",
                )]);
            }
            applied
        }
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

/// The migrations on record: none, too, where the record itself is missing.
fn recorded(conn: &mut PgConnection) -> Result<BTreeSet<String>> {
    let is_there: bool = diesel::select(diesel::dsl::sql::<Bool>(
        "EXISTS (SELECT FROM pg_catalog.pg_class AS c \
                   JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
                  WHERE n.nspname = 'sesari_migrations' AND c.relname = '__diesel_schema_migrations')",
    ))
    .get_result(conn)?;
    if !is_there {
        return Ok(BTreeSet::new());
    }
    lines(diesel::sql_query("SELECT v AS line FROM sesari.applied_migrations() AS v"), conn)
}

/// The live catalogue in the form of the manifest.
fn live_manifest(conn: &mut PgConnection, more: &[String]) -> Result<BTreeSet<String>> {
    let more = more.iter().map(String::as_str);
    let tables: Vec<&str> = tables::names().map(|name: &str| name).chain(more).collect();
    lines(diesel::sql_query(MANIFEST_SQL).bind::<Array<Text>, _>(tables), conn)
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
        let rule = if is_additional_index(line) {
            "index-additional".to_owned()
        } else {
            format!("{what}-changed")
        };
        Finding::new(rule, &rest[..end], format!("{problem}: {line}"))
    };
    let missing =
        expected.difference(live).map(|line| finding(line, "missing or changed, expected"));
    let strange =
        live.difference(&expected).map(|line| finding(line, "not of this crate's making"));
    missing.chain(strange).collect()
}

/// Whether the line is an index that this crate did not make and that breaks no rule: it refuses no
/// row, has no expression of which statistics are kept, and tenants either cannot read its table or
/// find only rows of their workspace in it.
fn is_additional_index(line: &str) -> bool {
    let Some((table, index)) =
        line.strip_prefix("index ").and_then(|rest| rest.split_once(" CREATE INDEX "))
    else {
        return false;
    };
    let ours = tables::names().any(|ours| ours == table) || table.starts_with("sesari.");
    if !ours || MANIFEST.lines().any(|expected| expected == line) {
        return false;
    }
    let selects =
        |grant: &str| grant.starts_with(['.', ' ']) && grant.contains(" SELECT to sesari_tenant");
    let grants = format!("grant {table}");
    if !MANIFEST.lines().filter_map(|line| line.strip_prefix(&grants)).any(selects) {
        return true;
    }
    let head = if table == "public.workspaces" { "id" } else { "workspace_id" };
    index.split_once(" USING btree (").is_some_and(|(_, columns)| {
        let columns = columns.replacen(" INCLUDE (", " ", 1);
        columns.strip_prefix(head).is_some_and(|rest| rest.starts_with([',', ')', ' ']))
            && !columns.contains(['(', '"'])
            && ![" WHERE ", " COLLATE ", "_ops"].iter().any(|part| columns.contains(part))
    })
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
        let live: Vec<String> = live_manifest(&mut conn, &[]).unwrap().into_iter().collect();
        let text = live.join("\n") + "\n";
        if std::env::var_os("SESARI_UPDATE").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/isolation/manifest.txt");
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
