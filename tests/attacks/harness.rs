//! Runs an attack as a tenant, and looks at everything that must not have happened.

use std::fmt::Write as _;

use diesel::connection::SimpleConnection;
use diesel::deserialize::{self, QueryableByName};
use diesel::pg::{Pg, PgConnection};
use diesel::result::Error;
use diesel::row::{Field as _, NamedRow, Row};
use diesel::sql_types::{BigInt, Integer, Text};
use diesel::{QueryResult, RunQueryDsl};
use sesari_db::repo::NewKpi;
use sesari_db::{Database, TenantConnection};

use crate::signer::Signer;
use crate::support::World;

/// Stands in every free text of the other workspace's rows, in its slug, and in the names and
/// addresses of its people, and nowhere else.
const MARKER: &[u8] = b"globex";
/// Stands in every number there.
const NUMBER: i32 = 424_242;

pub struct Attack {
    pub name: &'static str,
    pub form: Form,
    /// `{a}` and `{b}` are the workspaces, `{b_kpi}` a KPI of B's; `{pid}` is a backend in which B
    /// has a transaction open, `{live}` the context there, and `{old}` one of B's for the attacked
    /// backend that has expired.
    pub sql: &'static str,
    pub outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One statement: by the extended protocol, and again by the simple one.
    Statement,
    /// Several statements in one message.
    Batch,
    /// As a batch that is rolled back: its effect would outlive the test's database.
    Undone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server's error contains this, or one of these where `|` parts them: servers differ.
    Refused(&'static str),
    /// No error; what it brought is for the general checks.
    Runs,
    /// Sent as one statement, its result contains this.
    Shows(&'static str),
}

/// A row of any shape, as the bytes that arrived.
struct Raw(Vec<u8>);

impl QueryableByName<Pg> for Raw {
    fn build<'a>(row: &impl NamedRow<'a, Pg>) -> deserialize::Result<Self> {
        let mut bytes = Vec::new();
        for column in 0..row.field_count() {
            if let Some(field) = Row::get(row, column) {
                if let Some(value) = field.value() {
                    bytes.extend_from_slice(value.as_bytes());
                }
                bytes.push(b'\n');
            }
        }
        Ok(Self(bytes))
    }
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

#[derive(QueryableByName)]
pub struct Backend {
    #[diesel(sql_type = Integer)]
    pub pid: i32,
    /// Microseconds since 1970.
    #[diesel(sql_type = BigInt)]
    pub now: i64,
}

pub fn line(conn: &mut PgConnection, sql: &str) -> QueryResult<String> {
    Ok(diesel::sql_query(sql).get_result::<Line>(conn)?.line)
}

pub fn backend(conn: &mut PgConnection) -> Backend {
    diesel::sql_query(
        "SELECT pg_catalog.pg_backend_pid() AS pid,
                (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::bigint AS now",
    )
    .get_result(conn)
    .unwrap()
}

/// All that an error says.
fn text_of(error: &Error) -> String {
    let mut text = error.to_string();
    if let Error::DatabaseError(_, info) = error {
        for more in [info.details(), info.hint(), info.constraint_name()].into_iter().flatten() {
            let _ = write!(text, " | {more}");
        }
    }
    text
}

/// What was learnt that must not be: a marker in text, or the number in any form.
pub fn secret_in(bytes: &[u8]) -> Option<&'static str> {
    let has = |what: &[u8]| bytes.windows(what.len()).any(|w| w.eq_ignore_ascii_case(what));
    if has(MARKER) {
        Some("a text")
    } else if has(NUMBER.to_string().as_bytes()) || has(&f64::from(NUMBER).to_be_bytes()) {
        Some("a number")
    } else {
        None
    }
}

/// What a session keeps from one transaction to the next.
const KEPT: &str = "SELECT pg_catalog.concat_ws(' | ',
    (SELECT string_agg(name || '=' || setting, ',' ORDER BY name) FROM pg_catalog.pg_settings
      WHERE source IN ('session', 'client', 'user', 'database', 'database user')),
    (SELECT string_agg(name, ',') FROM pg_catalog.pg_cursors WHERE is_holdable),
    (SELECT string_agg(name, ',') FROM pg_catalog.pg_prepared_statements
      WHERE statement ~ 'poison'),
    (SELECT string_agg(channel, ',') FROM pg_catalog.pg_listening_channels() AS channel),
    (SELECT count(*) FROM pg_catalog.pg_locks
      WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid()),
    session_user, current_user) AS line";

/// Tenant A attacks through a pool of one connection, which B uses before and after.
pub struct Range {
    pub world: World,
    /// Where the attacks run.
    pub narrow: Database,
    /// Where B has a transaction open meanwhile.
    wide: Database,
    pub admin: PgConnection,
    signer: Signer,
    /// Every row and column that a tenant may read, as text.
    pub view: String,
    /// All of B's rows, as the administrator sees them.
    rows_of_b: String,
    digest: String,
    /// What B reads, and what its session keeps.
    expected: (String, String),
}

impl Range {
    pub fn new() -> Self {
        let world = World::new();
        let mut admin = world.test.admin().unwrap();
        admin.batch_execute(&marks(&world)).unwrap();
        let view = line(&mut admin, VIEW).unwrap();
        let rows_of_b = rows_of(&world);
        let digest = line(&mut admin, &rows_of_b).unwrap();
        let narrow = world.test.builder().pool_size(1).build().unwrap();
        let wide = world.test.builder().pool_size(1).build().unwrap();
        let signer = Signer::of(&world.test);
        let expected = Default::default();
        let mut range =
            Self { world, narrow, wide, admin, signer, view, rows_of_b, digest, expected };
        range.expected = range.next_transaction_of_b().unwrap();
        assert_eq!(secret_in(range.expected.0.as_bytes()), Some("a text"));
        range
    }

    /// Runs every attack and fails with all that went wrong.
    pub fn withstands(&mut self, attacks: &[Attack]) {
        let findings: Vec<_> = attacks.iter().flat_map(|attack| self.attack(attack)).collect();
        assert!(findings.is_empty(), "{}", findings.join("\n"));
    }

    /// What a statement of A's brings, as text, undone.
    pub fn answer_to(&mut self, sql: &str) -> Result<String, String> {
        let a = &self.world.a;
        let mut guard = self.narrow.tenant(&a.owner, &a.workspace).unwrap();
        let rows = diesel::sql_query(sql).load::<Raw>(guard.connection());
        let answer = rows.map_err(|error| text_of(&error)).map(|rows| {
            let bytes: Vec<u8> = rows.into_iter().flat_map(|row| row.0).collect();
            String::from_utf8_lossy(&bytes).into_owned()
        });
        guard.rollback().unwrap();
        answer
    }

    /// What went wrong.
    pub fn attack(&mut self, attack: &Attack) -> Vec<String> {
        match attack.form {
            Form::Statement => {
                let mut findings = self.attempt(attack, true);
                findings.extend(self.attempt(attack, false));
                findings
            }
            Form::Batch | Form::Undone => self.attempt(attack, false),
        }
    }

    fn attempt(&mut self, attack: &Attack, extended: bool) -> Vec<String> {
        let mut findings = Vec::new();
        let (a, b) = (&self.world.a, &self.world.b);
        let mut found = |text: String| {
            let protocol = if extended { "extended" } else { "simple" };
            findings.push(format!("{} ({protocol}): {text}", attack.name));
        };

        // An attack on an empty workspace would prove nothing; an earlier one may have emptied it.
        self.admin.batch_execute(&stock(&self.world)).unwrap();
        let mut victim = self.wide.tenant(&b.owner, &b.workspace).unwrap();
        let pid = backend(victim.connection()).pid;
        let current = "SELECT current_setting('sesari.context') AS line";
        let live = line(victim.connection(), current).unwrap();
        let mut attacker = self.narrow.tenant(&a.owner, &a.workspace).unwrap();
        let sql = self.fill(attack.sql, &mut attacker, pid, &live);

        let answer = if extended {
            let rows = diesel::sql_query(&sql).load::<Raw>(attacker.connection());
            rows.map(|rows| rows.into_iter().flat_map(|row| row.0).collect())
        } else {
            attacker.connection().batch_execute(&sql).map(|()| Vec::new())
        };
        let answer: Result<Vec<u8>, String> = answer.map_err(|error| text_of(&error));
        match (&answer, attack.outcome) {
            (Err(error), Outcome::Refused(why))
                if why.split('|').any(|why| error.contains(why)) => {}
            (Ok(_), Outcome::Runs) => {}
            (Ok(bytes), Outcome::Shows(what)) => {
                let shown = String::from_utf8_lossy(bytes);
                if extended && !shown.contains(what) {
                    found(format!("expected {what:?}, got {shown:?}"));
                }
            }
            (answer, expected) => {
                let answer = answer.as_ref().map(|bytes| String::from_utf8_lossy(bytes));
                found(format!("expected {expected:?}, got {answer:?}"));
            }
        }
        let bytes = answer.unwrap_or_else(String::into_bytes);
        // Whatever the attack changed, the same transaction sees no more than before. One that has
        // failed sees nothing.
        let then = diesel::sql_query(&self.view).load::<Raw>(attacker.connection());
        let then = then.map_or_else(
            |error| text_of(&error).into_bytes(),
            |rows| rows.into_iter().flat_map(|row| row.0).collect(),
        );
        for (when, bytes) in [("at once", bytes), ("afterwards", then)] {
            if let Some(what) = secret_in(&bytes) {
                found(format!("B was read {when}: {what} in {}", String::from_utf8_lossy(&bytes)));
            }
        }
        let _ = match attack.form {
            Form::Undone => attacker.rollback(),
            Form::Statement | Form::Batch => attacker.commit(),
        };

        match line(victim.connection(), &self.view) {
            Ok(seen) if seen == self.expected.0 => {}
            other => found(format!("B's open transaction reads {other:?}")),
        }
        drop(victim);
        match self.next_transaction_of_b() {
            Ok(seen) if seen == self.expected => {}
            Ok((rows, kept)) if rows == self.expected.0 => {
                found(format!("kept for B's next transaction: {kept}\nnot {}", self.expected.1));
            }
            other => found(format!("B's next transaction reads {other:?}")),
        }
        let digest = line(&mut self.admin, &self.rows_of_b).unwrap();
        if digest != self.digest {
            found("B's rows have changed".into());
            self.digest = digest;
        }
        findings
    }

    fn fill(&self, sql: &str, attacker: &mut TenantConnection, pid: i32, live: &str) -> String {
        let (a, b) = (&self.world.a, &self.world.b);
        let here = backend(attacker.connection());
        let old = self.signer.sign(
            'u',
            b.owner.as_str(),
            b.workspace.as_str(),
            here.now - 11_000_000,
            here.pid,
        );
        sql.replace("{a}", a.workspace.as_str())
            .replace("{b}", b.workspace.as_str())
            .replace("{b_kpi}", b.kpi.as_str())
            .replace("{a_user}", a.owner.as_str())
            .replace("{b_user}", b.owner.as_str())
            .replace("{pid}", &pid.to_string())
            .replace("{live}", live)
            .replace("{old}", &old)
            .replace("{number}", &NUMBER.to_string())
    }

    /// B at work on the pool that was attacked: what it reads, and what its session kept.
    fn next_transaction_of_b(&mut self) -> Result<(String, String), String> {
        let b = &self.world.b;
        let seen = || -> sesari_db::Result<(String, String)> {
            let mut guard = self.narrow.tenant(&b.owner, &b.workspace)?;
            // Statements that diesel caches, a read and a write. Undone, so that the next time
            // there is the same to be seen.
            let kpi = NewKpi::new("Globex lives".parse().unwrap());
            guard.kpis().create(&kpi)?;
            guard.kpis().find(&b.kpi)?;
            guard.rollback()?;
            let mut guard = self.narrow.tenant(&b.owner, &b.workspace)?;
            let kept = line(guard.connection(), KEPT)?;
            Ok((line(guard.connection(), &self.view)?, kept))
        };
        seen().map_err(|error| format!("{error:?}"))
    }
}

/// Marks B's rows, fills the tables that the world leaves empty, and gathers statistics.
fn marks(world: &World) -> String {
    let (a, b) = (&world.a, &world.b);
    let (workspace, owner) = (&b.workspace, &b.owner);
    format!(
        "UPDATE kpis SET name = 'Globex revenue', description = 'globex', unit = 'globex',
                category = 'globex', target_value = {NUMBER} WHERE workspace_id = '{workspace}';
         UPDATE kpi_data_points SET value = {NUMBER}, source = 'globex'
          WHERE workspace_id = '{workspace}';
         UPDATE goals SET title = 'Globex grows', description = 'globex'
          WHERE workspace_id = '{workspace}';
         UPDATE goal_kpis SET weight = {NUMBER}, baseline = {NUMBER}
          WHERE workspace_id = '{workspace}';
         INSERT INTO integrations (workspace_id, provider, credentials, error_message)
         VALUES ('{workspace}', 'stripe', 'v1.globex.AAAAAAAAAAAAAAAA.globexAAAAAAAAAAAAAAAAAA',
                 'globex');
         INSERT INTO integrations (workspace_id, provider, credentials)
         VALUES ('{}', 'stripe', 'v1.k1.AAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAA');
         INSERT INTO subscriptions (user_id, status, plan_type) VALUES ('{owner}', 'active', 'pro');
         ANALYZE",
        a.workspace
    )
}

/// Gives A back what it may have deleted.
fn stock(world: &World) -> String {
    let a = &world.a;
    let (workspace, kpi, goal) = (&a.workspace, &a.kpi, &a.goal);
    format!(
        "INSERT INTO kpis (workspace_id, id, name) VALUES ('{workspace}', '{kpi}', 'Revenue')
         ON CONFLICT DO NOTHING;
         INSERT INTO goals (workspace_id, id, title) VALUES ('{workspace}', '{goal}', 'Grow')
         ON CONFLICT DO NOTHING;
         INSERT INTO goal_kpis (workspace_id, id, goal_id, kpi_id)
         VALUES ('{workspace}', 'alink', '{goal}', '{kpi}') ON CONFLICT DO NOTHING;
         INSERT INTO kpi_data_points (workspace_id, id, kpi_id, value, timestamp)
         VALUES ('{workspace}', 'apoint', '{kpi}', 7, '2026-01-09'),
                ('{workspace}', 'bpoint', '{kpi}', 8, '2026-01-10') ON CONFLICT DO NOTHING"
    )
}

fn rows_of(world: &World) -> String {
    let b = &world.b;
    let people = [&b.owner, &b.admin, &b.member].map(|user| format!("'{user}'")).join(",");
    let mut arms = vec![
        format!("SELECT t::text FROM users AS t WHERE id IN ({people})"),
        format!("SELECT t::text FROM subscriptions AS t WHERE user_id IN ({people})"),
        format!("SELECT t::text FROM workspaces AS t WHERE id = '{}'", b.workspace),
    ];
    for table in [
        "workspace_users",
        "kpis",
        "kpi_data_points",
        "goals",
        "goal_kpis",
        "integrations",
        "audit_log",
    ] {
        arms.push(format!(
            "SELECT t::text FROM {table} AS t WHERE workspace_id = '{}'",
            b.workspace
        ));
    }
    format!(
        "SELECT md5(string_agg(t, E'\\n' ORDER BY t)) AS line FROM ({}) AS rows (t)",
        arms.join(" UNION ALL ")
    )
}

/// Writes the query that reads everything a tenant has a grant to read.
const VIEW: &str = "
    SELECT 'SELECT coalesce(string_agg(line, E''\\n'' ORDER BY line), '''') AS line FROM ('
           || string_agg(format('SELECT %L || ROW(%s)::text AS line FROM public.%I',
                                relname, columns, relname), ' UNION ALL ')
           || ') AS lines' AS line
      FROM (SELECT c.relname, string_agg(quote_ident(a.attname), ',' ORDER BY a.attnum) AS columns
              FROM pg_class AS c
              JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
             WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
               AND has_column_privilege('sesari_tenant', c.oid, a.attnum, 'SELECT')
             GROUP BY c.relname) AS tables";
