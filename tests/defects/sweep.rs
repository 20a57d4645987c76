//! Short programs that together try each kind of thing once, before random ones are tried.

use crate::programs::program::{Act, Actor, Args, LEFT_ONLY_USER, Pick, Program, Step, Who};
use crate::programs::run::call_position;
use crate::programs::statements::STATEMENTS;

const ARGS: Args = Args {
    kpi: Pick::OnlyLeft,
    goal: Pick::OnlyLeft,
    integration: Pick::OnlyLeft,
    user: 7,
    workspace: Pick::InBoth,
    number: 1,
    text: 0,
};

const OWNER: Who = Who::InOwn(Actor::Owner);
const ELSEWHERE: Who = Who::Elsewhere(Actor::Owner, Pick::InBoth);
const AT_USER_DOOR: Who = Who::AsUser(Actor::Owner);

fn sql(name: &str, args: Args) -> Act {
    Act::Sql(STATEMENTS.position(name), args, true)
}

fn call(who: Who, name: &str, args: Args) -> Act {
    Act::Call(call_position(who, name), args, true)
}

fn named(test: impl Fn(&str) -> bool, args: Args) -> Vec<Act> {
    let names = STATEMENTS.all().iter().map(|statement| statement.name.as_str());
    names.filter(|name| test(name)).map(|name| sql(name, args)).collect()
}

/// These forms of statements, on every table.
fn on_tables(forms: &[&str], args: Args) -> Vec<Act> {
    named(|name| name.split_once(": ").is_some_and(|(_, form)| forms.contains(&form)), args)
}

/// Each act in a transaction of its own.
fn program(who: Who, acts: impl IntoIterator<Item = Act>, end: Act) -> Program {
    let steps = acts.into_iter().flat_map(|act| [act, end]);
    Program { sessions: vec![who], steps: steps.map(|act| Step { session: 0, act }).collect() }
}

pub fn programs() -> Vec<Program> {
    let mut sweep = looks();
    sweep.extend(taken_back());
    sweep.push(taken_keys());
    sweep.push(taken_point());
    let address = Args { user: LEFT_ONLY_USER, ..ARGS };
    sweep.push(program(AT_USER_DOOR, [sql("an e-mail address", address)], Act::RollBack));
    sweep.push(inherited());
    // Other roles and contexts.
    let is_other = |name: &str| name != "a look" && STATEMENTS.at(STATEMENTS.position(name)).undone;
    for others in named(is_other, ARGS).chunks(5) {
        sweep.push(program(OWNER, others.to_vec(), Act::RollBack));
    }
    sweep.push(kept());
    sweep
}

/// A look from everywhere.
fn looks() -> Vec<Program> {
    let from = [
        OWNER,
        Who::InOwn(Actor::Member),
        Who::InOwn(Actor::Removed),
        ELSEWHERE,
        Who::Elsewhere(Actor::Owner, Pick::OnlyLeft),
        AT_USER_DOOR,
    ];
    from.map(|who| program(who, [sql("a look", ARGS)], Act::Commit)).into()
}

/// Every statement on every table, taken back.
fn taken_back() -> [Program; 3] {
    let writes = ["insert at", "insert", "update all", "move all", "delete all"];
    let at_service_pool = ["goals: select", "kpis: select", "the log of workspaces, at any scope"];
    [
        program(OWNER, on_tables(&writes, ARGS), Act::RollBack),
        program(
            ELSEWHERE,
            on_tables(&["update all", "delete all", "select others'"], ARGS),
            Act::RollBack,
        ),
        program(Who::AsService, at_service_pool.map(|name| sql(name, ARGS)), Act::RollBack),
    ]
}

/// Keys that are taken elsewhere, and rows to refer to.
fn taken_keys() -> Program {
    let call = |name, args| call(OWNER, name, args);
    program(
        OWNER,
        [
            call("kpis.create", ARGS),
            call("goals.create", ARGS),
            call("integrations.create", ARGS),
            call("invitations.create", ARGS),
            call("integrations.credentials", ARGS),
            call("integrations.reseal", ARGS),
            sql("a link", Args { goal: Pick::First, ..ARGS }),
            sql("a link", Args { kpi: Pick::First, ..ARGS }),
            sql("a division by another's row", ARGS),
            sql("a forged current value", ARGS),
            sql("when a sync is due", ARGS),
            sql("a sync asked for", ARGS),
        ],
        Act::RollBack,
    )
}

/// A point that another tenant's KPI of this id has.
fn taken_point() -> Program {
    let point = Args { text: 1, ..ARGS };
    let acts = [call(OWNER, "kpis.create", ARGS), call(OWNER, "data_points.record", point)];
    let mut program = program(OWNER, acts, Act::RollBack);
    program.steps.remove(1);
    program
}

/// What has been another's.
fn inherited() -> Program {
    let gone = Args { workspace: Pick::Gone, ..ARGS };
    let create = call(AT_USER_DOOR, "my_workspaces.create by id", gone);
    let mut program = program(AT_USER_DOOR, [create], Act::Commit);
    program.sessions.push(Who::Elsewhere(Actor::Owner, Pick::Gone));
    program.steps.push(Step { session: 1, act: call(OWNER, "audit_log.list", ARGS) });
    program
}

/// What stays: the others' rows must be as they were.
fn kept() -> Program {
    let own = Args { kpi: Pick::First, goal: Pick::First, ..ARGS };
    let gone = Args { kpi: Pick::Deleted, goal: Pick::Deleted, ..ARGS };
    let functions = [
        "write to the log",
        "a new owner elsewhere",
        "retire the key",
        "make a salt",
        "destroy the salt",
        "a sync asked for",
        "goals: delete all",
    ];
    let acts = on_tables(&["insert at"], own)
        .into_iter()
        // Links would hold their goals back.
        .chain([sql("goal_kpis: delete all", ARGS)])
        .chain(on_tables(&["move", "move all", "update all", "truncate"], gone))
        .chain(functions.map(|name| sql(name, ARGS)));
    program(OWNER, acts, Act::Commit)
}
