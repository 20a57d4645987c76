//! Runs an attack as a tenant, and looks at everything that must not have happened.

use std::fmt::Write as _;

use diesel::connection::SimpleConnection;
use diesel::deserialize::{self, QueryableByName};
use diesel::pg::Pg;
use diesel::result::Error;
use diesel::row::{Field as _, NamedRow, Row};
use diesel::sql_types::{BigInt, Integer, Text};
use diesel::{QueryResult, RunQueryDsl};
use sesari_db::PgConnection;
use sesari_db::repo::NewKpi;
use sesari_db::{Database, TenantConnection};

use super::scene::{VIEW, WORK_OF_B, marks, rows_of, stock};
use crate::support::World;
use crate::support::signer::Signer;

/// Stands in every free text of the other workspace's rows, in its slug, and in the names and
/// addresses of its people, and nowhere else.
const MARKER: &[u8] = b"globex";
/// Stands in every number there.
pub const NUMBER: i32 = 424_242;

pub struct Attack {
    pub name: &'static str,
    pub form: Form,
    /// `{a}` and `{b}` are the workspaces, `{b_kpi}` a KPI of B's; `{pid}` is a backend in which B
    /// has a transaction open, `{live}` the context there, and `{old}` one of B's for the attacked
    /// backend that has expired. For that backend as well are `{future}`, `{other_key}` and `{no_key}`, which
    /// were not signed in time or by a key that is installed, and `{not_member}`, A's user in B.
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
    /// As a batch, and B waits for its end.
    Blocks,
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
    pub fn withstands(&mut self, families: &[&[Attack]]) {
        let attacks = families.iter().copied().flatten();
        let findings: Vec<_> = attacks.flat_map(|attack| self.attack(attack)).collect();
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
            Form::Batch | Form::Undone | Form::Blocks => self.attempt(attack, false),
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
        let refused = answer.is_err();
        let bytes = answer.unwrap_or_else(String::into_bytes);
        let waits = match victim.connection().batch_execute(WORK_OF_B) {
            Ok(()) => false,
            Err(error) => {
                let _ = victim.connection().batch_execute("ROLLBACK TO SAVEPOINT work");
                if !text_of(&error).contains("lock timeout") {
                    found(format!("B cannot work: {}", text_of(&error)));
                }
                true
            }
        };
        if waits != (attack.form == Form::Blocks) {
            found(format!("B waits for the attack's transaction: {waits}"));
        }
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
            Form::Statement | Form::Batch | Form::Blocks => attacker.commit(),
        };

        match line(victim.connection(), &self.view) {
            Ok(seen) if seen == self.expected.0 => {}
            other => found(format!("B's open transaction reads {other:?}")),
        }
        drop(victim);
        if refused && attack.form == Form::Statement && !extended {
            // The same refusal as a moment ago. What it left behind all the same, the next attack's
            // checks find.
            return findings;
        }
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
        let context = |signer: &Signer, user: &str, age: i64| {
            signer.sign('u', user, b.workspace.as_str(), here.now - age * 1_000_000, here.pid)
        };
        let signer = &self.signer;
        let (of_b, of_a) = (b.owner.as_str(), a.owner.as_str());
        sql.replace("{a}", a.workspace.as_str())
            .replace("{b}", b.workspace.as_str())
            .replace("{b_kpi}", b.kpi.as_str())
            .replace("{a_user}", a.owner.as_str())
            .replace("{b_user}", b.owner.as_str())
            .replace("{pid}", &pid.to_string())
            .replace("{live}", live)
            .replace("{old}", &context(signer, of_b, 11))
            .replace("{future}", &context(signer, of_b, -5))
            .replace("{other_key}", &context(&signer.with_secret(&[7; 32]), of_b, 0))
            .replace("{no_key}", &context(&signer.renamed("retired"), of_b, 0))
            .replace("{not_member}", &context(signer, of_a, 0))
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
