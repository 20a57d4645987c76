//! What a tenant can have the server count, estimate and list tells no value of others.
//!
//! Row-level security hides rows, not what the executor and the planner did with them. So in two worlds of
//! equal sizes (`equal.rs`) every actor of the tenants' role asks arbitrary conditions on every column that
//! it may read, with values that others have in one world only: by plain and by `ANALYZE`d `EXPLAIN`, in text
//! and in JSON, with every kind of scan switched off in turn, and with sub-selects that run only once a row
//! gets as far. It calls every function that it may. After each question all counters of
//! all tables and indexes must be equal, private ones included, and so must the answer: plan, estimates,
//! counts of rows and loops, and the tenant's own rows.

use sesari_db::PgConnection;

use super::equal::Column;
use super::program::{Actor, Pick, Who};
use super::run::{Question, answers};
use super::worlds::Pair;
use crate::support::logins::lines;
use crate::support::random::Random;

/// Everybody who gets the tenants' role.
pub const ACTORS: [Who; 12] = [
    Who::InOwn(Actor::Member),
    Who::InOwn(Actor::Owner),
    Who::InOwn(Actor::Admin),
    Who::InOwn(Actor::Service),
    Who::InOwn(Actor::Removed),
    Who::InOwn(Actor::Stranger),
    Who::InOwn(Actor::Outsider),
    Who::ReadOnly(Actor::Member),
    Who::Elsewhere(Actor::Owner, Pick::OnlyLeft),
    Who::AsUser(Actor::Owner),
    Who::AsUser(Actor::Removed),
    Who::AsUser(Actor::Stranger),
];

/// How scans are chosen.
const SETTINGS: [&str; 8] = [
    "",
    "SET LOCAL enable_seqscan = off",
    "SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off",
    "SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off",
    "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL random_page_cost = 0",
    "SET LOCAL cpu_operator_cost = 0",
    "SET LOCAL cpu_operator_cost = 100; SET LOCAL enable_nestloop = off; SET LOCAL enable_hashjoin = off",
    FREE,
];

/// What costs nothing, the planner takes as it comes: any index that begins with a column asked for.
const FREE: &str = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL random_page_cost = 0;
    SET LOCAL cpu_tuple_cost = 0; SET LOCAL cpu_index_tuple_cost = 0; SET LOCAL cpu_operator_cost = 0;
    SET LOCAL plan_cache_mode = force_custom_plan";

/// What policies ask before it is known that the caller is a member.
const MEMBERSHIP: [&str; 4] = [
    "SELECT sesari.current_workspace_id()",
    "SELECT sesari.current_member_role()",
    "SELECT sesari.workspace_id_as('{owner,admin,member}')",
    "SELECT a::text FROM sesari.current_actor() AS a",
];

const ANALYZED: &str = "ANALYZE, TIMING OFF, SUMMARY OFF, BUFFERS OFF";

/// The counters of this connection, of all that was touched.
fn counters(admin: &mut PgConnection) -> String {
    // How much of it was in the cache, and how long a function took, are the accepted channel "cache and time".
    let functions = lines(
        admin,
        "SELECT proname AS line FROM pg_proc WHERE proname LIKE 'pg\\_stat\\_get\\_xact\\_%' AND pronargs = 1
            AND proname !~ 'function|blocks_hit' ORDER BY 1",
    );
    assert!(functions.len() > 7, "{functions:?}");
    let calls: Vec<_> = functions.iter().map(|name| format!("{name}(c.oid)")).collect();
    let each = calls.join(", ");
    format!(
        "SELECT n.nspname || '.' || c.relname || ' ' || concat_ws(' ', {each})
           FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
          WHERE n.nspname IN ('public', 'sesari') AND c.relkind IN ('r', 'p', 'i', 'I', 'm', 'S')
            AND greatest({each}) > 0
          ORDER BY 1"
    )
}

fn literal(column: &Column, value: &str) -> String {
    format!("'{}'::{}", value.replace('\'', "''"), column.of_type)
}

/// A condition on a column; `{c}` is it, and `{v}` and `{w}` are values.
const FORMS: [&str; 15] = [
    "{c} = {v}",
    "{c} >= {v} AND {c} <= {w}",
    "{c} < {v}",
    "{c} IN ({v}, {w})",
    "({c} >= {v} AND {c} <= {v} OR {c} = {w})",
    "NOT {c} = {v}",
    "{c} IS NULL",
    "({c} IS NOT NULL OR (SELECT true))",
    "{c} = {v} AND {c} > (SELECT {w})",
    "{c} >= {v} AND workspace_id = (SELECT 'wleft')",
    "{c} >= {v} AND ctid = '(0,7)'",
    "{c} >= {v} AND tableoid > 0::oid AND xmin = '3'::xid",
    "CASE WHEN {c} <= {v} THEN (SELECT true) ELSE true END",
    "CASE WHEN {c} = ANY (ARRAY[{v}]) THEN (SELECT true) ELSE true END",
    "coalesce({c}, {v}) = {v}",
];

const OF_TEXTS: [&str; 2] = ["{c} LIKE left({v}, 3) || '%'", "starts_with({c}, {v})"];
const OF_BOOLEANS: [&str; 2] = ["{c}", "NOT {c} AND ({c} OR (SELECT true))"];

fn condition(column: &Column, random: &mut Random) -> String {
    let form = match (column.of_type.as_str(), random.below(8)) {
        ("text", 0) => *random.pick(&OF_TEXTS),
        ("boolean", 0..4) => *random.pick(&OF_BOOLEANS),
        _ => *random.pick(&FORMS),
    };
    // An order of byte strings and documents is nobody's business.
    let form = if form.contains("workspace_id") && column.table == "public.workspaces" {
        FORMS[0]
    } else {
        form
    };
    with_values(form, column, random)
}

fn with_values(form: &str, column: &Column, random: &mut Random) -> String {
    let only = [&column.only_left, &column.only_right];
    let mut value = || match only[random.below(2)].as_slice() {
        [] => literal(column, if column.of_type == "boolean" { "true" } else { "0" }),
        values => literal(column, &values[random.below(values.len())]),
    };
    let (v, w) = (value(), value());
    form.replace("{c}", &format!("t.{}", column.name)).replace("{v}", &v).replace("{w}", &w)
}

/// `OR`-ed ranges lift a rare value over the rounding of an estimate.
fn many_ranges(column: &Column, random: &mut Random) -> String {
    let range = with_values("{c} >= {v} AND {c} <= {v}", column, random);
    format!("({})", vec![format!("({range})"); 400].join(" OR "))
}

/// A statement about a table under a condition.
const STATEMENTS: [&str; 9] = [
    "SELECT FROM {t} AS t WHERE {c}",
    "SELECT count(*) FROM {t} AS t WHERE {c}",
    "SELECT DISTINCT t.{n} FROM {t} AS t WHERE {c}",
    "SELECT t.{n}, count(*) FROM {t} AS t WHERE {c} GROUP BY t.{n}",
    "SELECT t.{n} FROM {t} AS t WHERE {c} ORDER BY t.{n} LIMIT 1",
    "SELECT FROM {t} AS t TABLESAMPLE SYSTEM (100) WHERE {c}",
    "SELECT FROM {t} AS t LEFT JOIN {u} AS u ON u.{o} = t.{n} WHERE {c}",
    "DELETE FROM {t} AS t WHERE {c}",
    "WITH t AS (SELECT * FROM public.kpis WHERE id = 'ka0') SELECT FROM {t} AS t WHERE {c} AND EXISTS (SELECT FROM t)",
];

fn question(columns: &[Column], column: &Column, condition: &str, random: &mut Random) -> Question {
    let like: Vec<_> = columns.iter().filter(|other| other.of_type == column.of_type).collect();
    let other = random.pick(&like);
    let statement = STATEMENTS[random.below(STATEMENTS.len())]
        .replace("{c}", condition)
        .replace("{t}", &column.table)
        .replace("{n}", &column.name)
        .replace("{u}", &other.table)
        .replace("{o}", &other.name);
    let explain = match random.below(6) {
        0 => "EXPLAIN (FORMAT JSON)".to_owned(),
        1 => "EXPLAIN".to_owned(),
        2 => format!("EXPLAIN ({ANALYZED}, FORMAT JSON)"),
        _ => format!("EXPLAIN ({ANALYZED}, VERBOSE)"),
    };
    let settings = *random.pick(&SETTINGS);
    Question { settings, sql: format!("{explain} {statement}") }
}

/// All columns, with each form of a condition by each kind of scan; the sort of question that one would ask first.
pub fn sweep(columns: &[Column]) -> Vec<Question> {
    let mut random = Random::new(1);
    let mut questions = Vec::new();
    for column in columns {
        // Estimates differ from value to value, and chance may pick one of which nothing is known.
        for value in column.only_left.iter().take(8).chain(column.only_right.iter().take(8)) {
            let condition = format!("t.{} = {}", column.name, literal(column, value));
            let sql = format!("EXPLAIN SELECT FROM {} AS t WHERE {condition}", column.table);
            questions.push(Question { settings: "", sql });
        }
        for (i, form) in
            ["{c} = {v}", "{c} >= {v} AND {c} <= {v}", "{c} IS NULL"].iter().enumerate()
        {
            let condition = with_values(form, column, &mut random);
            let of = |explain: String| {
                format!("{explain} SELECT FROM {} AS t WHERE {condition}", column.table)
            };
            questions.push(Question { settings: "", sql: of("EXPLAIN".into()) });
            for settings in if i == 0 { &SETTINGS[1..3] } else { &SETTINGS[1..5] } {
                questions.push(Question { settings, sql: of(format!("EXPLAIN ({ANALYZED})")) });
            }
        }
    }
    questions
}

/// So many questions by chance, with calls among them.
fn by_chance(
    columns: &[Column],
    calls: &[String],
    count: usize,
    random: &mut Random,
) -> Vec<Question> {
    (0..count)
        .map(|_| match random.below(20) {
            0..3 => Question { settings: "", sql: calls[random.below(calls.len())].clone() },
            3 => {
                let column = random.pick(columns);
                let condition = many_ranges(column, random);
                let sql = format!("EXPLAIN SELECT FROM {} AS t WHERE {condition}", column.table);
                Question { settings: "", sql }
            }
            4 => Question { settings: "", sql: (*random.pick(VIEWS)).to_owned() },
            _ => {
                let column = random.pick(columns);
                let condition = condition(column, random);
                question(columns, column, &condition, random)
            }
        })
        .collect()
}

const VIEWS: &[&str] = &[
    "SELECT t::text FROM pg_stats AS t WHERE schemaname IN ('public', 'sesari') ORDER BY 1",
    "SELECT t::text FROM pg_stats_ext AS t ORDER BY 1",
    "SELECT t::text FROM pg_stats_ext_exprs AS t ORDER BY 1",
    "SELECT stxname || stxkeys::text FROM pg_statistic_ext ORDER BY 1",
    "SELECT concat_ws(' ', relname, relpages, reltuples, relallvisible) FROM pg_class AS c
      WHERE relnamespace IN ('public'::regnamespace, 'sesari'::regnamespace) ORDER BY 1",
];

/// Functions that may be called and whose answer to another's name is an accepted channel.
const GLOBAL_NAMES: &[&str] = &["create_workspace"];

/// Each function that a tenant may call, with a value of others for each of its texts.
fn calls(admin: &mut PgConnection) -> Vec<String> {
    let sql = "
        SELECT format('%s|SELECT f::text FROM %I.%I(%s) AS f', p.proname, n.nspname, p.proname,
               (SELECT string_agg(CASE t.type
                    WHEN 'text'::regtype THEN '{text}' WHEN 'text[]'::regtype THEN '{texts}'
                    WHEN 'timestamptz'::regtype THEN '''2025-08-02''' WHEN 'interval'::regtype THEN '''1 minute'''
                    WHEN 'integer'::regtype THEN '99' WHEN 'bigint'::regtype THEN '99'
                    WHEN 'smallint'::regtype THEN '99::smallint' WHEN 'boolean'::regtype THEN 'true'
                    ELSE 'NULL' END, ', ' ORDER BY t.i)
                  FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS t (type, i))) AS line
          FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
         WHERE n.nspname IN ('public', 'sesari') AND p.prokind = 'f'
           AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
           AND has_schema_privilege('sesari_tenant', n.oid, 'USAGE')
           AND has_function_privilege('sesari_tenant', p.oid, 'EXECUTE')
         ORDER BY 1";
    let names = [
        "uleft",
        "uright",
        "wleft",
        "wright33",
        "kleft101",
        "iright10",
        "left",
        "right-10",
        "left10@example.com",
    ];
    let mut calls = Vec::new();
    for line in lines(admin, sql) {
        let (name, call) = line.split_once('|').unwrap();
        if GLOBAL_NAMES.contains(&name) {
            continue;
        }
        for text in names {
            calls.push(
                call.replace(
                    "{texts}",
                    &format!("ARRAY[''owner'', ''{text}'']").replace("''", "'"),
                )
                .replace("{text}", &format!("'{text}'")),
            );
        }
    }
    calls
}

/// How many questions an actor asks, of those by chance.
pub struct Effort {
    pub actors: usize,
    pub by_chance: usize,
}

/// The first question that tells the worlds apart.
pub fn tell_apart(
    pair: &mut Pair,
    columns: &[Column],
    effort: &Effort,
    seed: u64,
) -> Option<String> {
    let counters = counters(&mut pair.left.admin);
    let calls = calls(&mut pair.left.admin);
    let mut random = Random::new(seed);
    for (i, who) in ACTORS[..effort.actors].iter().enumerate() {
        let mut questions: Vec<_> = MEMBERSHIP
            .iter()
            .map(|sql| Question { settings: FREE, sql: (*sql).to_owned() })
            .collect();
        if i == 0 {
            questions.extend(sweep(columns));
            questions.extend(calls.iter().map(|sql| Question { settings: "", sql: sql.clone() }));
        }
        questions.extend(by_chance(columns, &calls, effort.by_chance, &mut random));
        let (left, right) = (&mut pair.left, &mut pair.right);
        let (left, right) = std::thread::scope(|scope| {
            let left = scope.spawn(|| answers(left, *who, 0, &questions, &counters));
            let right = answers(right, *who, 0, &questions, &counters);
            (left.join().unwrap(), right)
        });
        for ((question, left), right) in questions.iter().zip(&left).zip(&right) {
            if left != right {
                return Some(format!("{who:?}: {}\n{}", short(question), difference(left, right)));
            }
        }
    }
    None
}

fn short(question: &Question) -> String {
    format!("{} {}", question.settings, question.sql.chars().take(600).collect::<String>())
}

fn difference(left: &(String, String), right: &(String, String)) -> String {
    let lines = |text: &(String, String)| {
        text.0.lines().chain(text.1.lines()).map(str::to_owned).collect::<Vec<_>>()
    };
    let (left, right) = (lines(left), lines(right));
    let only = |these: &[String], those: &[String], mark: &str| {
        let these = these.iter().filter(|line| !those.contains(line));
        these.map(|line| format!("  {mark}: {line}")).collect::<Vec<_>>()
    };
    [only(&left, &right, "left "), only(&right, &left, "right")].concat().join("\n")
}
