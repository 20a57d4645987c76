//! Programs of tenant A, as values: what proptest makes, shrinks and prints.

use std::fmt;

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use sesari_db::Result;
use sesari_db::credentials::Secret;
use sesari_db::id::{GoalId, GoalKpiId, IntegrationId, KpiId, UserId, WorkspaceId};
use sesari_db::page::PageRequest;
use sesari_db::repo::{Deleted, PointKey, TimeRange};
use sesari_db::value::{Finite, Role, Source, Timestamp};

use super::calls::{OF_A_SERVICE, OF_A_TENANT, OF_A_USER};
use super::statements::{Aim, STATEMENTS};
use crate::support::hour;

/// Which row is meant. The first are A's own; of others' rows, what exists in which world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    First,
    Second,
    Deleted,
    /// One that the program may make: there are two.
    New(u8),
    InBoth,
    OnlyLeft,
    OnlyRight,
    Nowhere,
    /// What was another tenant's, in both.
    Gone,
}

pub const PICKS: [Pick; 10] = [
    Pick::First,
    Pick::Second,
    Pick::Deleted,
    Pick::New(0),
    Pick::New(1),
    Pick::InBoth,
    Pick::OnlyLeft,
    Pick::OnlyRight,
    Pick::Nowhere,
    Pick::Gone,
];

impl Pick {
    /// The id of the row: the first letter says of which table.
    pub fn id(self, table: char, n: u32) -> String {
        match self {
            Self::First => format!("{table}a{n}"),
            Self::Second => format!("{table}b{n}"),
            Self::Deleted => format!("{table}d{n}"),
            Self::New(i) => format!("{table}n{i}x{n}"),
            Self::InBoth => format!("{table}both"),
            Self::OnlyLeft => format!("{table}left"),
            Self::OnlyRight => format!("{table}right"),
            Self::Nowhere => format!("{table}none{n}"),
            Self::Gone => format!("{table}gone"),
        }
    }

    /// Whether the worlds differ in whether there is such a row of another tenant's.
    pub fn differs(self) -> bool {
        matches!(self, Self::OnlyLeft | Self::OnlyRight)
    }
}

/// A user. The first six are A's; `ubo` owns `wboth`, `ubx` is a member there in the left world.
pub const PEOPLE: [&str; 11] = [
    "uo{n}", "ua{n}", "um{n}", "ur{n}", "us{n}", "un{n}", "ubo", "ubx", "uleft", "uright",
    "unone{n}",
];

pub const LEFT_ONLY_USER: u8 = 8;
pub const RIGHT_ONLY_USER: u8 = 9;

const TEXTS: [&str; 7] = ["Revenue", "Churn", "Été 2026", "x", "", " spaced", "two\nlines"];

/// What a step is asked for. A step takes what it needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Args {
    pub kpi: Pick,
    pub goal: Pick,
    pub integration: Pick,
    pub user: u8,
    pub workspace: Pick,
    pub number: u8,
    pub text: u8,
}

impl fmt::Debug for Args {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kpi, goal, integration, user, workspace, number, text } = self;
        write!(
            f,
            "kpi {kpi:?}, goal {goal:?}, integration {integration:?}, user {}, \
             workspace {workspace:?}, number {number}, text {:?}",
            PEOPLE[usize::from(*user)],
            TEXTS[usize::from(*text)]
        )
    }
}

/// Arguments, and to which A they belong.
#[derive(Clone, Copy)]
pub struct Asked {
    pub args: Args,
    pub n: u32,
}

fn typed<T: std::str::FromStr<Err: fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

impl Asked {
    pub fn kpi(&self) -> KpiId {
        typed(&self.args.kpi.id('k', self.n))
    }

    pub fn goal(&self) -> GoalId {
        typed(&self.args.goal.id('g', self.n))
    }

    pub fn integration(&self) -> IntegrationId {
        typed(&self.args.integration.id('i', self.n))
    }

    pub fn link(&self) -> GoalKpiId {
        typed(&self.args.goal.id('l', self.n))
    }

    pub fn user(&self) -> UserId {
        typed(&self.user_text())
    }

    pub fn user_text(&self) -> String {
        PEOPLE[usize::from(self.args.user)].replace("{n}", &self.n.to_string())
    }

    /// One of A's users, whoever is named.
    pub fn own_user(&self) -> UserId {
        typed(&PEOPLE[usize::from(self.args.user % 6)].replace("{n}", &self.n.to_string()))
    }

    pub fn workspace(&self) -> WorkspaceId {
        typed(&self.args.workspace.id('w', self.n))
    }

    pub fn slug(&self) -> String {
        self.args.workspace.id(' ', self.n).trim().into()
    }

    pub fn text(&self) -> &'static str {
        TEXTS[usize::from(self.args.text)]
    }

    pub fn number(&self) -> Result<Finite> {
        let value = [1.0, 0.0, -3.5, 1e300, f64::NAN][usize::from(self.args.number) % 5];
        Ok(Finite::new(value)?)
    }

    pub fn at(&self) -> DateTime<Utc> {
        hour(i64::from(self.args.number % 4))
    }

    pub fn timestamp(&self) -> Timestamp {
        Timestamp::new(self.at()).unwrap()
    }

    pub fn source(&self) -> Option<Source> {
        [None, Some("stripe"), Some("manual")][usize::from(self.args.text) % 3].map(typed)
    }

    pub fn key(&self) -> PointKey {
        PointKey { kpi_id: self.kpi(), timestamp: self.timestamp(), source: self.source() }
    }

    pub fn range(&self) -> TimeRange {
        let from = Timestamp::new(hour(i64::from(self.args.number % 3) - 1)).unwrap();
        TimeRange::new(from, Timestamp::new(hour(100)).unwrap()).unwrap()
    }

    pub fn page(&self) -> PageRequest {
        PageRequest::first(1 + u32::from(self.args.number % 3) * 10).unwrap()
    }

    pub fn role(&self) -> Role {
        [Role::Member, Role::Admin, Role::Owner][usize::from(self.args.number) % 3].clone()
    }

    pub fn deleted(&self) -> Deleted {
        [Deleted::Exclude, Deleted::Only, Deleted::Include][usize::from(self.args.number) % 3]
    }

    pub fn secret(&self) -> Secret {
        Secret::from(format!("secret {}", self.args.number))
    }
}

/// Somebody of A's, or somebody who tries A's workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    Owner,
    Admin,
    Member,
    Removed,
    Stranger,
    /// The owner of another workspace, which exists in both worlds.
    Outsider,
    /// A background service.
    Service,
}

pub const ACTORS: [Actor; 7] = [
    Actor::Owner,
    Actor::Admin,
    Actor::Member,
    Actor::Service,
    Actor::Removed,
    Actor::Stranger,
    Actor::Outsider,
];

impl Actor {
    pub fn user(self, n: u32) -> UserId {
        let letter = match self {
            Self::Owner | Self::Service => 'o',
            Self::Admin => 'a',
            Self::Member => 'm',
            Self::Removed => 'r',
            Self::Stranger => 's',
            Self::Outsider => return typed("ubo"),
        };
        typed(&format!("u{letter}{n}"))
    }
}

/// Who stands at which scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    InOwn(Actor),
    ReadOnly(Actor),
    /// One of A's users in a workspace of others: never a service, which the key lets in anywhere.
    Elsewhere(Actor, Pick),
    AsUser(Actor),
    AsService,
}

impl Who {
    pub fn scope(self) -> ScopeKind {
        match self {
            Self::InOwn(_) | Self::ReadOnly(_) | Self::Elsewhere(..) => ScopeKind::Tenant,
            Self::AsUser(_) => ScopeKind::User,
            Self::AsService => ScopeKind::Service,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScopeKind {
    Tenant,
    User,
    Service,
}

/// What a session does next. What is counted past the end of a list begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// A repository's method, in a savepoint or not.
    Call(u16, Args, bool),
    /// SQL on the guard's connection, in a savepoint or not.
    Sql(u16, Args, bool),
    Savepoint,
    RollBackTo,
    Release,
    Commit,
    RollBack,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    pub session: u8,
    pub act: Act,
}

/// Some actors, each with a session, who take turns.
#[derive(Clone, PartialEq, Eq)]
pub struct Program {
    pub sessions: Vec<Who>,
    pub steps: Vec<Step>,
}

impl Program {
    pub fn who(&self, step: &Step) -> Who {
        self.sessions[usize::from(step.session) % self.sessions.len()]
    }

    /// What a step does, in words.
    pub fn describe(&self, step: &Step) -> String {
        let who = self.who(step);
        let nested = |nested: bool| if nested { "in a savepoint, " } else { "" };
        let what = match step.act {
            Act::Call(call, args, inside) => {
                format!("{}{}({args:?})", nested(inside), call_name(who.scope(), call))
            }
            Act::Sql(statement, args, inside) => {
                let statement = STATEMENTS.at(statement);
                format!("{}{} ({args:?})", nested(inside), statement.name)
            }
            other => format!("{other:?}"),
        };
        let session = usize::from(step.session) % self.sessions.len();
        format!("session {session}, {who:?}: {what}")
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "program:")?;
        for (i, step) in self.steps.iter().enumerate() {
            writeln!(f, "  {i}: {}", self.describe(step))?;
        }
        Ok(())
    }
}

pub fn call_name(scope: ScopeKind, call: u16) -> &'static str {
    let call = usize::from(call);
    match scope {
        ScopeKind::Tenant => OF_A_TENANT[call % OF_A_TENANT.len()].0,
        ScopeKind::User => OF_A_USER[call % OF_A_USER.len()].0,
        ScopeKind::Service => OF_A_SERVICE[call % OF_A_SERVICE.len()].0,
    }
}

impl Step {
    /// What in this step may tell the worlds apart by an accepted channel.
    pub fn aim(&self, who: Who) -> Option<Aim<'_>> {
        match self.act {
            Act::Call(call, args, _) => {
                let name = call_name(who.scope(), call);
                Some(Aim { name, args, service: who == Who::AsService })
            }
            Act::Sql(statement, args, _) => {
                let name = STATEMENTS.at(statement).name.as_str();
                Some(Aim { name, args, service: who == Who::AsService })
            }
            _ => None,
        }
    }
}

fn picks() -> impl Strategy<Value = Pick> {
    prop_oneof![
        5 => (0..5_usize).prop_map(|i| PICKS[i]),
        4 => (5..10_usize).prop_map(|i| PICKS[i]),
    ]
}

pub fn args() -> impl Strategy<Value = Args> {
    let people = u8::try_from(PEOPLE.len()).unwrap();
    let texts = u8::try_from(TEXTS.len()).unwrap();
    (picks(), picks(), picks(), 0..people, picks(), 0..6_u8, 0..texts).prop_map(
        |(kpi, goal, integration, user, workspace, number, text)| Args {
            kpi,
            goal,
            integration,
            user,
            workspace,
            number,
            text,
        },
    )
}

fn whos() -> impl Strategy<Value = Who> {
    let actors = || (0..ACTORS.len()).prop_map(|i| ACTORS[i]);
    let users = || prop::sample::select(vec![Actor::Owner, Actor::Member, Actor::Removed]);
    let places =
        prop::sample::select(vec![Pick::InBoth, Pick::OnlyLeft, Pick::OnlyRight, Pick::Gone]);
    prop_oneof![
        10 => actors().prop_map(Who::InOwn),
        1 => actors().prop_map(Who::ReadOnly),
        2 => (users(), places).prop_map(|(actor, place)| Who::Elsewhere(actor, place)),
        3 => users().prop_map(Who::AsUser),
        1 => Just(Who::AsService),
    ]
}

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => (0..1000_u16, args(), any::<bool>()).prop_map(|(i, args, n)| Act::Call(i, args, n)),
        12 => (0..1000_u16, args(), prop::bool::weighted(0.8))
            .prop_map(|(i, args, n)| Act::Sql(i, args, n)),
        1 => Just(Act::Savepoint),
        1 => Just(Act::RollBackTo),
        1 => Just(Act::Release),
        3 => Just(Act::Commit),
        1 => Just(Act::RollBack),
    ]
}

/// Programs of fewer than so many steps, in up to so many sessions.
pub fn programs(steps: usize, sessions: u32) -> impl Strategy<Value = Program> {
    let steps = prop::collection::vec(
        (0..3_u8, acts()).prop_map(|(session, act)| Step { session, act }),
        1..steps,
    );
    (prop::collection::vec(whos(), 1..=sessions as usize), steps)
        .prop_map(|(sessions, steps)| Program { sessions, steps })
}
