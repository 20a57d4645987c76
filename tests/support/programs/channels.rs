//! By what the worlds may be told apart, and why that stays.
//!
//! A step that a channel covers may answer differently; it is run in a savepoint that is rolled
//! back, so that nothing after it can differ on its account. Channels without covered steps are not
//! generated at all. Each has a witness that shows the difference: one that no longer does is
//! stale, and fails.

use std::any::Any;

use diesel::connection::SimpleConnection;

use super::program::{Actor, Args, LEFT_ONLY_USER, Pick, Program, RIGHT_ONLY_USER, Step, Who};
use super::worlds::{Pair, Side, worker};

/// With which arguments a covered step belongs to the channel.
#[derive(Clone, Copy)]
pub enum When {
    /// It names a workspace, or a slug, that exists in one world only.
    Workspace,
    /// It names a user who exists in one world only.
    User,
    /// At the service scope.
    AsService,
    /// There, and it names the workspace that is no more.
    Deleted,
}

pub enum Witness {
    Call(Who, &'static str, Args),
    Sql(Who, &'static str),
    /// Something that another tenant does in the left world only, and what A then sees of it.
    Scene(fn(&Side) -> Box<dyn Any>, &'static str),
}

pub struct Channel {
    pub name: &'static str,
    pub reason: &'static str,
    /// Steps by name; one that ends with a colon covers all that begin with it.
    pub covers: &'static [&'static str],
    pub when: When,
    pub witness: Witness,
}

const NOTHING: Args = Args {
    kpi: Pick::First,
    goal: Pick::First,
    integration: Pick::First,
    user: 0,
    workspace: Pick::First,
    number: 0,
    text: 0,
};

const ELSEWHERE: Args = Args { workspace: Pick::OnlyLeft, ..NOTHING };
const SOMEBODY: Args = Args { user: LEFT_ONLY_USER, ..NOTHING };
const OWNER: Who = Who::InOwn(Actor::Owner);

pub const CHANNELS: &[Channel] = &[
    Channel {
        name: "slugs",
        reason: "a slug is an address, unique among all workspaces",
        covers: &["workspace.change_slug", "my_workspaces.create", "a slug"],
        when: When::Workspace,
        witness: Witness::Call(OWNER, "workspace.change_slug", ELSEWHERE),
    },
    Channel {
        name: "ids of workspaces",
        reason: "a workspace's id is global and random; whoever makes one under a known id learns \
                 that it is taken",
        covers: &["my_workspaces.create by id"],
        when: When::Workspace,
        witness: Witness::Call(Who::AsUser(Actor::Owner), "my_workspaces.create by id", ELSEWHERE),
    },
    Channel {
        name: "e-mail addresses",
        reason: "an address belongs to one user; only a service creates users",
        covers: &["users.create by address"],
        when: When::User,
        witness: Witness::Call(Who::AsService, "users.create by address", SOMEBODY),
    },
    Channel {
        name: "users and subscriptions at the service scope",
        reason: "they belong to no tenant, and sign-in and billing need all of them",
        covers: &[
            "users.list",
            "users.list searched",
            "users.count",
            "subscriptions.list",
            "subscriptions.count",
            "audit_log.list",
            "audit_log.count",
            "audit_log.list of a row",
            "audit_log.settled_before",
            "audit_log.export",
            "audit_log.checkpoint",
            "audit_log.verify",
            "users:",
            "subscriptions:",
            "audit_log:",
            "accounts that are not granted",
            "a look",
            "tables read from end to end",
            "the login's own rights",
            "the services' role",
            "row security off",
            "a whole schema as XML",
        ],
        when: When::AsService,
        witness: Witness::Call(Who::AsService, "users.list", Args { number: 1, ..NOTHING }),
    },
    Channel {
        name: "the queue of integrations",
        reason: "workers serve all workspaces: they learn which are due and which keys are in use",
        covers: &[
            "integration_queue.key_usage",
            "integration_queue.workspaces_to_reseal",
            "usage of keys",
            "workspaces to reseal",
        ],
        when: When::AsService,
        witness: Witness::Call(Who::AsService, "integration_queue.key_usage", NOTHING),
    },
    Channel {
        name: "logs of deleted workspaces",
        reason: "nobody is a member any more who could read them; a service keeps them",
        covers: &[
            "deleted_workspace_audit_log.export",
            "deleted_workspace_audit_log.checkpoint",
            "deleted_workspace_audit_log.verify",
        ],
        when: When::Deleted,
        witness: Witness::Call(
            Who::AsService,
            "deleted_workspace_audit_log.export",
            Args { workspace: Pick::Gone, ..NOTHING },
        ),
    },
    Channel {
        name: "sizes",
        reason: "catalogues and statistics count the rows of all tenants",
        covers: &[],
        when: When::Workspace,
        witness: Witness::Scene(
            |side| {
                let many = "INSERT INTO public.kpis (id, workspace_id, name)
                    SELECT 'many' || i, 'wboth', 'Many' FROM generate_series(1, 300) AS i";
                side.test.admin().unwrap().batch_execute(many).unwrap();
                Box::new(())
            },
            "SELECT pg_relation_size('public.kpis')::text AS line",
        ),
    },
    Channel {
        name: "places of rows",
        reason: "ctid tells the page of a row, and the rows of all tenants share the pages; where one \
                 statement changes several rows, their entries in the audit log follow that order",
        covers: &[],
        when: When::Workspace,
        witness: Witness::Sql(
            OWNER,
            "SELECT string_agg(ctid::text, ' ' ORDER BY id) AS line FROM public.kpis",
        ),
    },
    Channel {
        name: "numbers of transactions",
        reason: "transactions of all tenants are counted together, and entries of the audit log hold \
                 the number of theirs",
        covers: &[],
        when: When::Workspace,
        witness: Witness::Sql(OWNER, "SELECT pg_current_xact_id()::text AS line"),
    },
    Channel {
        name: "sessions of the login",
        reason: "pg_stat_activity shows a login its own sessions",
        covers: &[],
        when: When::Workspace,
        witness: Witness::Scene(
            |side| Box::new(elsewhere(side)),
            "RESET ROLE; SELECT count(*)::text AS line FROM pg_stat_activity
              WHERE usename = session_user AND state = 'idle in transaction'",
        ),
    },
    Channel {
        name: "locks",
        reason: "arbitrary SQL can lock a table, and others wait",
        covers: &[],
        when: When::Workspace,
        witness: Witness::Scene(
            |side| {
                let mut other = elsewhere(side);
                let lock = "LOCK TABLE public.goals IN SHARE ROW EXCLUSIVE MODE";
                other.connection().batch_execute(lock).unwrap();
                Box::new(other)
            },
            "INSERT INTO public.goals (id, title) VALUES ('gx', 'x') RETURNING id AS line",
        ),
    },
    Channel {
        name: "advisory locks",
        reason: "they are global in PostgreSQL, and two tenants with arbitrary SQL could signal",
        covers: &[],
        when: When::Workspace,
        witness: Witness::Scene(
            |side| {
                let mut other = elsewhere(side);
                let lock = "SELECT pg_advisory_xact_lock(4711)";
                other.connection().batch_execute(lock).unwrap();
                Box::new(other)
            },
            "SELECT pg_try_advisory_xact_lock(4711)::text AS line",
        ),
    },
    Channel {
        name: "large objects",
        reason: "they know no tenant; what makes them can be revoked",
        covers: &[],
        when: When::Workspace,
        witness: Witness::Scene(
            |side| {
                let mut other = elsewhere(side);
                let make = "SELECT lo_from_bytea(4711, 'of another tenant')";
                other.connection().batch_execute(make).unwrap();
                other.commit().unwrap();
                Box::new(())
            },
            "SELECT convert_from(lo_get(oid), 'UTF8') AS line FROM pg_largeobject_metadata",
        ),
    },
];

/// Another tenant's guard, with its transaction open.
fn elsewhere(side: &Side) -> sesari_db::TenantConnection {
    let mut other = side.db.tenant(worker(), &"wboth".parse().unwrap()).unwrap();
    assert!(other.role().unwrap().is_some());
    other
}

/// What changes several rows, in the order in which the server finds them.
const OF_SEVERAL_ROWS: &[&str] = &[" all", " at", " by a join", ".purge", ".delete"];

/// Whether the program's step may answer differently by an accepted channel.
pub fn is_accepted(program: &Program, step: usize) -> bool {
    let (earlier, this) = (&program.steps[..step], &program.steps[step]);
    let name = |step: &Step| step.aim(program.who(step)).map_or("", |aim| aim.name).to_owned();
    let several = |step: &Step| OF_SEVERAL_ROWS.iter().any(|suffix| name(step).ends_with(suffix));
    channel_of(this, program.who(this)).is_some()
        || name(this).starts_with("audit_log") && earlier.iter().any(several)
}

/// The channel by which this step may answer differently, whatever was before it.
fn channel_of(step: &Step, who: Who) -> Option<&'static Channel> {
    let aim = step.aim(who)?;
    CHANNELS.iter().find(|channel| {
        let covered = channel
            .covers
            .iter()
            .any(|name| aim.name == *name || name.ends_with(':') && aim.name.starts_with(name));
        covered
            && match channel.when {
                When::Workspace => aim.args.workspace.differs(),
                When::User => matches!(aim.args.user, LEFT_ONLY_USER | RIGHT_ONLY_USER),
                When::AsService => aim.service,
                When::Deleted => aim.service && aim.args.workspace == Pick::Gone,
            }
    })
}

/// What the witness sees in each world.
pub fn witness(channel: &Channel, pair: &mut Pair) -> (String, String) {
    use super::program::Act;
    use super::run::{ask, call_position, run};
    let n = pair.furnish();
    match &channel.witness {
        Witness::Call(who, name, args) => {
            let act = Act::Call(call_position(*who, name), *args, true);
            let program = Program { sessions: vec![*who], steps: vec![Step { session: 0, act }] };
            let covered = channel_of(&program.steps[0], *who).map(|covered| covered.name);
            assert_eq!(covered, Some(channel.name), "its own witness is not covered");
            let left = run(&mut pair.left, n, &program);
            let right = run(&mut pair.right, n, &program);
            (left.steps.concat(), right.steps.concat())
        }
        Witness::Sql(who, sql) => (ask(&pair.left, *who, n, sql), ask(&pair.right, *who, n, sql)),
        Witness::Scene(scene, sql) => {
            let _held = scene(&pair.left);
            (ask(&pair.left, OWNER, n, sql), ask(&pair.right, OWNER, n, sql))
        }
    }
}
