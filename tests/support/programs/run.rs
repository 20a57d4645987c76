//! Runs a program in one world, and writes down what A sees.

use chrono::{DateTime, Utc};
use diesel::connection::SimpleConnection;
use diesel::deserialize;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::row::{Field as _, NamedRow, Row};
use diesel::sql_types::{BigInt, Integer, Text};
use sesari_db::PgConnection;
use sesari_db::tenancy::{ServiceConnection, TenantConnection, UserConnection};
use sesari_db::{Error, Result};

use super::calls::{Call, OF_A_SERVICE, OF_A_TENANT, OF_A_USER, learnt, server_text};
use super::channels::is_accepted;
use super::normal::{normal, order};
use super::program::{Act, Actor, Asked, Program, Step, Who};
use super::statements::{Forgery, Last, STATEMENTS, Statement, fill};
use super::worlds::{Pair, Side, worker};
use crate::support::signer::Signer;

/// What a step gave, or that it is taken back.
enum Undo {
    Failed(String),
    Done(String),
}

impl From<Error> for Undo {
    fn from(error: Error) -> Self {
        Self::Failed(learnt(&error))
    }
}

/// A guard of any scope.
trait Guard: Sized {
    fn within(
        &mut self,
        body: impl FnOnce(&mut Self) -> Result<String, Undo>,
    ) -> Result<String, Undo>;
    fn lent(&mut self) -> &mut PgConnection;
    fn end(self, commit: bool) -> Result<()>;
}

macro_rules! guards {
    ($($guard:ident),*) => {$(
        impl Guard for $guard {
            fn within(
                &mut self,
                body: impl FnOnce(&mut Self) -> Result<String, Undo>,
            ) -> Result<String, Undo> {
                self.transaction(body)
            }

            fn lent(&mut self) -> &mut PgConnection {
                self.connection()
            }

            fn end(self, commit: bool) -> Result<()> {
                if commit { self.commit() } else { self.rollback() }
            }
        }
    )*};
}
guards!(TenantConnection, UserConnection, ServiceConnection);

enum Open {
    Tenant(TenantConnection),
    User(UserConnection),
    Service(ServiceConnection),
}

macro_rules! any_guard {
    ($open:expr, |$guard:ident, $calls:ident| $body:expr) => {
        match $open {
            Open::Tenant($guard) => {
                let $calls = OF_A_TENANT;
                $body
            }
            Open::User($guard) => {
                let $calls = OF_A_USER;
                $body
            }
            Open::Service($guard) => {
                let $calls = OF_A_SERVICE;
                $body
            }
        }
    };
}

fn open(side: &Side, who: Who, n: u32) -> Result<Open> {
    let own = format!("wa{n}").parse().map_err(Error::from)?;
    let tenant = |actor: Actor, read_only: bool| match (actor, read_only) {
        (Actor::Service, false) => side.db.tenant(worker(), &own),
        (Actor::Service, true) => {
            side.db.begin(&sesari_db::Scope::tenant(worker(), &own).read_only())
        }
        (actor, false) => side.db.tenant(actor.user(n), &own),
        (actor, true) => side.db.begin(&sesari_db::Scope::tenant(actor.user(n), &own).read_only()),
    };
    Ok(match who {
        Who::InOwn(actor) => Open::Tenant(tenant(actor, false)?),
        Who::ReadOnly(actor) => Open::Tenant(tenant(actor, true)?),
        Who::Elsewhere(actor, place) => {
            let place = place.id('w', n).parse().map_err(Error::from)?;
            Open::Tenant(side.db.tenant(actor.user(n), &place)?)
        }
        Who::AsUser(actor) => Open::User(side.db.user(&actor.user(n))?),
        Who::AsService => Open::Service(side.db.service(&worker())?),
    })
}

fn call<G: Guard>(
    guard: &mut G,
    calls: &[Call<G>],
    call: u16,
    a: &Asked,
    nested: bool,
    undone: bool,
) -> String {
    let (_, run) = calls[usize::from(call) % calls.len()];
    if !nested && !undone {
        return run(guard, a).unwrap_or_else(|error| learnt(&error));
    }
    in_savepoint(guard, undone, |guard| run(guard, a).map_err(Undo::from))
}

fn in_savepoint<G: Guard>(
    guard: &mut G,
    undone: bool,
    body: impl FnOnce(&mut G) -> Result<String, Undo>,
) -> String {
    let result = guard.within(|guard| {
        let answer = body(guard)?;
        if undone { Err(Undo::Done(answer)) } else { Ok(answer) }
    });
    match result {
        Ok(answer) | Err(Undo::Done(answer) | Undo::Failed(answer)) => answer,
    }
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

fn rows(conn: &mut PgConnection, sql: &str) -> Result<String, Undo> {
    let rows: Vec<Line> = diesel::sql_query(sql).load(conn).map_err(failed)?;
    let mut lines: Vec<_> = rows.into_iter().map(|row| row.line).collect();
    if !sql.contains("ORDER BY") {
        lines.sort_by_cached_key(|line| order(line));
    }
    Ok(format!("{} rows: {}", lines.len(), lines.join(" ; ")))
}

#[allow(clippy::needless_pass_by_value, reason = "handed to map_err")]
fn failed(error: diesel::result::Error) -> Undo {
    Undo::Failed(server_text(&error))
}

fn statement(
    conn: &mut PgConnection,
    side: &Statement,
    signer: &Signer,
    a: &Asked,
) -> Result<String, Undo> {
    for sql in &side.setup {
        conn.batch_execute(&fill(sql, a)).map_err(failed)?;
    }
    match &side.last {
        Last::Rows(sql) => rows(conn, &fill(sql, a)),
        Last::Count(sql) => {
            let touched = diesel::sql_query(fill(sql, a)).execute(conn).map_err(failed)?;
            Ok(format!("{touched} touched"))
        }
        Last::Typed(run) => run(conn, a).map_err(failed),
        Last::Look => look(conn),
        Last::Replay(forgery) => {
            let token = forged(conn, signer, *forgery, a)?;
            let set = format!("SET LOCAL sesari.context = '{token}'");
            conn.batch_execute(&set).map_err(failed)?;
            look(conn)
        }
    }
}

fn forged(
    conn: &mut PgConnection,
    signer: &Signer,
    forgery: Forgery,
    a: &Asked,
) -> Result<String, Undo> {
    #[derive(QueryableByName)]
    struct Moment {
        #[diesel(sql_type = BigInt)]
        now: i64,
        #[diesel(sql_type = Integer)]
        pid: i32,
        #[diesel(sql_type = Text)]
        own: String,
    }
    let Moment { now, pid, own } = diesel::sql_query(
        "SELECT (extract(epoch FROM now()) * 1000000)::bigint AS now, pg_backend_pid() AS pid, \
                coalesce(current_setting('sesari.context', true), '') AS own",
    )
    .get_result(conn)
    .map_err(failed)?;
    let second = 1_000_000;
    let sign = |signer: &Signer, issued, pid| signer.sign('u', "ubo", "wboth", issued, pid);
    let part = |i: usize| own.split('.').nth(i).unwrap_or("none").to_owned();
    Ok(match forgery {
        Forgery::Expired => sign(signer, now - 11 * second, pid),
        Forgery::Future => sign(signer, now + 60 * second, pid),
        Forgery::OtherBackend => sign(signer, now, pid + 1),
        Forgery::WrongSecret => sign(&signer.with_secret(&[7; 32]), now, pid),
        Forgery::OtherName => sign(&signer.renamed("other"), now, pid),
        Forgery::OtherWorkspace => {
            own.replace(&format!(".{}.", part(4)), &format!(".{}.", a.workspace()))
        }
        Forgery::OtherUser => own
            .replace(&format!(".{}.", part(3)), ".ubo.")
            .replace(&format!(".{}.", part(4)), ".wboth."),
    })
}

/// Each relation that can be read, and each function that can be called, with what comes of it.
/// Found in the catalogue, so that a new one is looked at too.
const RELATIONS: &str = "
SELECT format('SELECT %L || concat_ws(''|'', %s) AS line FROM %I.%I AS t', c.relname || ' ',
              string_agg(format('t.%I', a.attname), ', ' ORDER BY a.attnum), n.nspname, c.relname) AS line
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
   AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND a.attname NOT IN ('transaction_id', 'sequence', 'hash', 'previous_hash')
   AND has_schema_privilege(n.oid, 'USAGE') AND has_column_privilege(c.oid, a.attnum, 'SELECT')
 GROUP BY n.nspname, c.relname ORDER BY c.relname COLLATE \"C\"";

const FUNCTIONS: &str = "
SELECT format('SELECT %L || coalesce(f::text, ''-'') AS line
                 FROM unnest(ARRAY[''kboth'', ''wboth'', ''iboth'']) AS id, LATERAL %I.%I(%s) AS f',
              p.proname || ' ', n.nspname, p.proname,
              (SELECT string_agg(CASE t.type
                                 WHEN 'text'::regtype THEN 'id'
                                 WHEN 'text[]'::regtype THEN '''{owner,admin,member,service,uleft,ubx}'''
                                 WHEN 'interval'::regtype THEN '''1 minute'''
                                 WHEN 'integer'::regtype THEN '99'
                                 WHEN 'bigint'::regtype THEN '99'
                                 ELSE 'NULL' END, ', ' ORDER BY t.i)
                 FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS t (type, i))) AS line
  FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
 WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND p.prokind = 'f'
   AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
   AND has_schema_privilege(n.oid, 'USAGE') AND has_function_privilege(p.oid, 'EXECUTE')
UNION ALL
SELECT format('SELECT %L || count(*) AS line FROM public.kpis WHERE %I.%I(name)', p.proname || ' ', n.nspname, p.proname)
  FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
 WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
   AND p.proargtypes = ARRAY['text'::regtype]::oidvector AND p.prorettype = 'boolean'::regtype
   AND has_schema_privilege(n.oid, 'USAGE') AND has_function_privilege(p.oid, 'EXECUTE')
ORDER BY 1";

fn look(conn: &mut PgConnection) -> Result<String, Undo> {
    let list = |conn: &mut PgConnection, of: &str| -> Result<Vec<String>, Undo> {
        let rows: Vec<Line> = diesel::sql_query(of).load(conn).map_err(failed)?;
        Ok(rows.into_iter().map(|row| row.line).collect())
    };
    let relations = list(conn, RELATIONS)?;
    let mut seen = Vec::new();
    // All at once, unless one of them fails.
    match taken_back(conn, &relations.join(" UNION ALL ")) {
        Ok(text) => seen.push(text),
        Err(_) => seen.extend(relations.iter().map(|sql| either(taken_back(conn, sql)))),
    }
    for sql in list(conn, FUNCTIONS)? {
        seen.push(either(taken_back(conn, &sql)));
    }
    Ok(seen.join("\n      "))
}

fn either(result: Result<String, String>) -> String {
    result.unwrap_or_else(|error| error)
}

/// What a query answers, in a savepoint that is rolled back.
fn taken_back(conn: &mut PgConnection, sql: &str) -> Result<String, String> {
    let undone = conn.transaction::<(), TakenBack, _>(|conn| match rows(conn, sql) {
        Ok(text) => Err(TakenBack(Ok(text))),
        Err(Undo::Failed(text) | Undo::Done(text)) => Err(TakenBack(Err(text))),
    });
    undone.err().map_or_else(|| Err("kept".into()), |TakenBack(answer)| answer)
}

struct TakenBack(Result<String, String>);

impl From<diesel::result::Error> for TakenBack {
    fn from(error: diesel::result::Error) -> Self {
        Self(Err(server_text(&error)))
    }
}

/// What one world showed.
pub struct Seen {
    /// Step by step.
    pub steps: Vec<String>,
    /// What became of A's rows.
    state: Vec<String>,
    /// Whether what the others hold has changed.
    disturbed: Option<String>,
}

pub fn run(side: &mut Side, n: u32, program: &Program) -> Seen {
    let before = side.others(n);
    let signer = Signer::of(&side.test);
    let mut ends = vec![side.step_end()];
    let steps = take_steps(side, n, program, &signer, &mut ends);
    let after = side.others(n);
    let disturbed = (before != after).then(|| difference(&before, &after));
    let mut state = side.state(n);
    state.sort_by_cached_key(|row| order(row));
    let (steps, state) = name(program, &steps, &state, side.test.name(), &ends);
    Seen { steps, state, disturbed }
}

fn difference(before: &str, after: &str) -> String {
    let lost = before.lines().filter(|row| !after.lines().any(|other| other == *row));
    let new = after.lines().filter(|row| !before.lines().any(|other| other == *row));
    lost.map(|row| format!("- {row}\n")).chain(new.map(|row| format!("+ {row}\n"))).collect()
}

fn take_steps(
    side: &mut Side,
    n: u32,
    program: &Program,
    signer: &Signer,
    ends: &mut Vec<DateTime<Utc>>,
) -> Vec<String> {
    let mut sessions: Vec<Option<Open>> = program.sessions.iter().map(|_| None).collect();
    let mut seen = Vec::new();
    for (i, step) in program.steps.iter().enumerate() {
        let who = program.who(step);
        let session = usize::from(step.session) % sessions.len();
        let undone = is_accepted(program, i);
        let guard = match sessions[session].take() {
            Some(guard) => guard,
            None => match open(side, who, n) {
                Ok(guard) => guard,
                Err(error) => {
                    seen.push(learnt(&error));
                    ends.push(side.step_end());
                    continue;
                }
            },
        };
        let (answer, guard) = take(guard, step, n, undone, signer);
        sessions[session] = guard;
        seen.push(answer);
        ends.push(side.step_end());
    }
    seen
}

fn take(
    mut open: Open,
    step: &Step,
    n: u32,
    undone: bool,
    signer: &Signer,
) -> (String, Option<Open>) {
    let control = |open: &mut Open, sql: &str| {
        any_guard!(open, |guard, _calls| match guard.lent().batch_execute(sql) {
            Ok(()) => "done".to_owned(),
            Err(error) => server_text(&error),
        })
    };
    let answer = match step.act {
        Act::Commit | Act::RollBack => {
            let commit = step.act == Act::Commit;
            let ended = any_guard!(open, |guard, _calls| guard.end(commit));
            return (ended.map_or_else(|error| learnt(&error), |()| "ended".to_owned()), None);
        }
        Act::Call(i, args, nested) => {
            let a = Asked { args, n };
            any_guard!(&mut open, |guard, calls| call(guard, calls, i, &a, nested, undone))
        }
        Act::Sql(i, args, nested) => {
            let (a, sql) = (Asked { args, n }, STATEMENTS.at(i));
            let undone = undone || sql.undone;
            any_guard!(&mut open, |guard, _calls| if nested || undone {
                in_savepoint(guard, undone, |guard| statement(guard.lent(), sql, signer, &a))
            } else {
                match statement(guard.lent(), sql, signer, &a) {
                    Ok(text) | Err(Undo::Failed(text) | Undo::Done(text)) => text,
                }
            })
        }
        Act::Savepoint => control(&mut open, "SAVEPOINT mine"),
        Act::RollBackTo => control(&mut open, "ROLLBACK TO SAVEPOINT mine"),
        Act::Release => control(&mut open, "RELEASE SAVEPOINT mine"),
    };
    (answer, Some(open))
}

/// Names what is random. A step whose answer may differ by an accepted channel is named by itself: it
/// may show more in one world than in the other.
fn name(
    program: &Program,
    steps: &[String],
    state: &[String],
    database: &str,
    ends: &[DateTime<Utc>],
) -> (Vec<String>, Vec<String>) {
    let accepted = |i: usize| is_accepted(program, i);
    let common: Vec<&str> = steps
        .iter()
        .enumerate()
        .filter(|(i, _)| !accepted(*i))
        .map(|(_, text)| text.as_str())
        .chain(state.iter().map(String::as_str))
        .collect();
    let mut named = normal(common.into_iter(), database, ends).into_iter();
    let steps = steps
        .iter()
        .enumerate()
        .map(|(i, text)| {
            if accepted(i) {
                normal(std::iter::once(text.as_str()), database, ends).remove(0)
            } else {
                named.next().unwrap()
            }
        })
        .collect();
    (steps, named.collect())
}

/// How a program tells the worlds apart.
#[derive(Debug)]
pub struct Told(pub String);

/// The part of a text that is not as the other.
fn excerpt(text: &str, other: &str) -> String {
    let same = text.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
    let start = same.saturating_sub(80);
    let dots = if start > 0 { "..." } else { "" };
    let rest = if text.chars().count() > same + 300 { "..." } else { "" };
    let part: String = text.chars().skip(start).take(same - start + 300).collect();
    format!("{dots}{part}{rest}")
}

/// Runs a program in both worlds, as a tenant that nobody has used before.
pub fn compare(pair: &mut Pair, program: &Program) -> Result<(), Told> {
    let n = pair.furnish();
    let (left, right) = (&mut pair.left, &mut pair.right);
    let (left, right) = std::thread::scope(|scope| {
        let left = scope.spawn(|| run(left, n, program));
        let right = run(right, n, program);
        (left.join().unwrap(), right)
    });
    for (i, step) in program.steps.iter().enumerate() {
        if left.steps[i] != right.steps[i] && !is_accepted(program, i) {
            return Err(Told(format!(
                "step {i} tells the worlds apart: {}\n  left:  {}\n  right: {}",
                program.describe(step),
                excerpt(&left.steps[i], &right.steps[i]),
                excerpt(&right.steps[i], &left.steps[i])
            )));
        }
    }
    for (side, seen) in [("left", &left), ("right", &right)] {
        if let Some(changes) = &seen.disturbed {
            return Err(Told(format!("in the {side} world others' rows have changed:\n{changes}")));
        }
    }
    if left.state != right.state {
        let apart = left.state.iter().zip(&right.state).find(|(left, right)| left != right);
        let (left, right) = (&left.state, &right.state);
        return Err(Told(match apart {
            Some((left, right)) => {
                let (left, right) = (excerpt(left, right), excerpt(right, left));
                format!("A's rows end up different\n  left:  {left}\n  right: {right}")
            }
            None => format!("A has {} rows on the left, {} on the right", left.len(), right.len()),
        }));
    }
    Ok(())
}

/// What one query of A's answers, nothing renamed. What is to be run before it ends with a semicolon.
pub fn ask(side: &Side, who: Who, n: u32, sql: &str) -> String {
    let mut guard = open(side, who, n).unwrap();
    let (before, sql) = sql.rsplit_once(';').unwrap_or(("", sql));
    any_guard!(&mut guard, |guard, _calls| match setup(guard.lent(), before, sql) {
        Ok(text) | Err(Undo::Failed(text) | Undo::Done(text)) => text,
    })
}

fn setup(conn: &mut PgConnection, before: &str, sql: &str) -> Result<String, Undo> {
    if !before.is_empty() {
        conn.batch_execute(before).map_err(failed)?;
    }
    rows(conn, sql)
}

/// A question, and what is set before it.
#[derive(Debug, Clone)]
pub struct Question {
    pub settings: &'static str,
    pub sql: String,
}

/// What the server answers to each question of one actor, each taken back, and what the session has
/// counted by then, as `counters` shows it.
pub fn answers(
    side: &mut Side,
    who: Who,
    n: u32,
    questions: &[Question],
    counters: &str,
) -> Vec<(String, String)> {
    flush(side, who, n, counters);
    let mut guard = open(side, who, n).unwrap();
    any_guard!(&mut guard, |guard, _calls| {
        let conn = guard.lent();
        conn.batch_execute("SAVEPOINT question").unwrap();
        let ask = |question: &Question| {
            let set = format!("ROLLBACK TO question; {}", question.settings);
            conn.batch_execute(&set).unwrap();
            let answer = either(texts(conn, &question.sql));
            conn.batch_execute("ROLLBACK TO question").unwrap();
            (answer, either(texts(conn, counters)))
        };
        questions.iter().map(ask).collect()
    })
}

/// The counters hold what the session has not yet reported, and the clock decides when it does: what came
/// before would count in one world only. So would the look at the context key that the pool takes once a
/// minute.
fn flush(side: &mut Side, who: Who, n: u32, counters: &str) {
    let is_flushed = |_| {
        let mut guard = open(side, who, n).unwrap();
        any_guard!(&mut guard, |guard, _calls| {
            let conn = guard.lent();
            let is_flushed = texts(conn, counters).unwrap().is_empty();
            conn.batch_execute("SELECT pg_stat_force_next_flush()").unwrap();
            is_flushed
        })
    };
    assert!((0..10).any(is_flushed), "{who:?}: a guard alone is counted");
}

/// Rows of one column of any name and type, as text; what is random or of the clock is left out.
fn texts(conn: &mut PgConnection, sql: &str) -> Result<String, String> {
    let rows: Vec<Value> =
        diesel::sql_query(sql).load(conn).map_err(|error| server_text(&error))?;
    let lines: Vec<_> = rows.into_iter().map(|row| order(&row.0).0).collect();
    Ok(lines.join("\n"))
}

struct Value(String);

impl QueryableByName<Pg> for Value {
    fn build<'a>(row: &impl NamedRow<'a, Pg>) -> deserialize::Result<Self> {
        let value = Row::get(row, 0).and_then(|field| {
            field.value().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        });
        Ok(Self(value.unwrap_or_else(|| "null".into())))
    }
}

/// Where a method stands in its scope's list.
pub fn call_position(who: Who, name: &str) -> u16 {
    (0..1000)
        .find(|i| super::program::call_name(who.scope(), *i) == name)
        .unwrap_or_else(|| panic!("no call {name}"))
}
