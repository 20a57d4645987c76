//! Short programs that together try each kind of thing once, before random ones are tried.

use crate::program::{Act, Actor, Args, LEFT_ONLY_USER, Pick, Program, Step, Who};
use crate::run::call_position;
use crate::statements::STATEMENTS;

const ARGS: Args = Args {
    kpi: Pick::OnlyLeft,
    goal: Pick::OnlyLeft,
    integration: Pick::OnlyLeft,
    user: 7,
    workspace: Pick::InBoth,
    number: 1,
    text: 0,
};

fn sql(name: &str, args: Args) -> Act {
    Act::Sql(STATEMENTS.position(name), args, true)
}

/// Each act in a transaction of its own.
fn program(who: Who, acts: impl IntoIterator<Item = Act>, end: Act) -> Program {
    let steps = acts.into_iter().flat_map(|act| [act, end]);
    Program { sessions: vec![who], steps: steps.map(|act| Step { session: 0, act }).collect() }
}

pub fn programs() -> Vec<Program> {
    let owner = Who::InOwn(Actor::Owner);
    let names = |test: &dyn Fn(&str) -> bool| -> Vec<String> {
        let all = STATEMENTS.all().iter().map(|statement| statement.name.clone());
        all.filter(|name| test(name)).collect()
    };
    let of_tables = |forms: &[&str]| {
        names(&|name: &str| name.split_once(": ").is_some_and(|(_, form)| forms.contains(&form)))
    };
    let all = |names: Vec<String>, args: Args| -> Vec<Act> {
        names.iter().map(|name| sql(name, args)).collect()
    };
    let a_look = || [sql("a look", ARGS)];
    let elsewhere = Who::Elsewhere(Actor::Owner, Pick::InBoth);
    let mut sweep = vec![
        // A look from everywhere.
        program(owner, a_look(), Act::Commit),
        program(Who::InOwn(Actor::Member), a_look(), Act::Commit),
        program(Who::InOwn(Actor::Removed), a_look(), Act::Commit),
        program(elsewhere, a_look(), Act::Commit),
        program(Who::Elsewhere(Actor::Owner, Pick::OnlyLeft), a_look(), Act::Commit),
        program(Who::AtUserDoor(Actor::Owner), a_look(), Act::Commit),
        // Every statement on every table, taken back.
        program(
            owner,
            all(of_tables(&["insert at", "insert", "update all", "move all", "delete all"]), ARGS),
            Act::RollBack,
        ),
        program(
            elsewhere,
            all(of_tables(&["update all", "delete all", "select others'"]), ARGS),
            Act::RollBack,
        ),
        program(
            Who::AtServiceDoor,
            ["goals: select", "kpis: select", "the log of workspaces, at any door"]
                .map(|name| sql(name, ARGS)),
            Act::RollBack,
        ),
    ];
    // Keys that are taken elsewhere.
    let call = |name, args| Act::Call(call_position(owner, name), args, true);
    let fresh = Args { kpi: Pick::First, ..ARGS };
    sweep.push(program(
        owner,
        [
            call("kpis.create", ARGS),
            call("goals.create", ARGS),
            call("integrations.create", ARGS),
            call("data_points.record", fresh),
            call("members.add", ARGS),
            call("integrations.credentials", ARGS),
            call("integrations.reseal", ARGS),
            sql("a link", Args { goal: Pick::First, ..ARGS }),
            sql("a link", Args { kpi: Pick::First, ..ARGS }),
            sql("a division by another's row", ARGS),
            sql("a forged current value", ARGS),
        ],
        Act::RollBack,
    ));
    let address = Args { user: LEFT_ONLY_USER, ..ARGS };
    let at_user_door = Who::AtUserDoor(Actor::Owner);
    sweep.push(program(at_user_door, [sql("an e-mail address", address)], Act::RollBack));
    // What has been another's.
    let gone = Args { workspace: Pick::Gone, ..ARGS };
    let create = Act::Call(call_position(at_user_door, "my_workspaces.create by id"), gone, false);
    let mut inherited = program(at_user_door, [create], Act::Commit);
    inherited.sessions.push(Who::Elsewhere(Actor::Owner, Pick::Gone));
    let log = Act::Call(call_position(owner, "audit_log.list"), Args { number: 1, ..ARGS }, false);
    inherited.steps.push(Step { session: 1, act: log });
    sweep.push(inherited);
    // Other roles and contexts.
    let others = names(&|name: &str| {
        let statement = STATEMENTS.at(STATEMENTS.position(name));
        statement.undone && name != "a look"
    });
    for others in others.chunks(5) {
        sweep.push(program(owner, all(others.to_vec(), ARGS), Act::RollBack));
    }
    // What is there to stay: the others' rows must be as they were.
    sweep.push(program(
        owner,
        all(of_tables(&["insert at"]), Args { kpi: Pick::First, goal: Pick::First, ..ARGS })
            .into_iter()
            .chain([sql("goal_kpis: delete all", ARGS)])
            .chain(all(
                of_tables(&["move", "move all", "update all", "truncate"]),
                Args { kpi: Pick::Deleted, goal: Pick::Deleted, ..ARGS },
            ))
            .chain(
                [
                    "write to the log",
                    "a new owner elsewhere",
                    "retire the key",
                    "make a salt",
                    "destroy the salt",
                ]
                .map(|name| sql(name, ARGS)),
            )
            .chain([sql("goals: delete all", ARGS)]),
        Act::Commit,
    ));
    sweep
}
