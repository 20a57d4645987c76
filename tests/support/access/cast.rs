//! Who asks: every way to stand before the database, rightful or not.

use diesel::connection::SimpleConnection;
use sesari_db::id::UserId;
use sesari_db::testing::TestDatabase;
use sesari_db::value::Role;

use crate::support::signer::Signer;
use crate::support::{World, add_member, sealing_keys, sign_up};

/// The world of the other tests, with more people in it and a row in every table.
pub struct Stage {
    pub world: World,
    pub signer: Signer,
    pub co_owner: UserId,
    pub removed: UserId,
    /// A member of both workspaces.
    pub both: UserId,
}

impl Stage {
    pub fn new() -> Self {
        let test = TestDatabase::new().unwrap();
        let db = test.builder().pool_size(1).sealing_keys(sealing_keys()).build().unwrap();
        let world = World::on(test, db);
        let co_owner = sign_up(&world.db, "co-owner");
        let removed = sign_up(&world.db, "removed");
        let both = sign_up(&world.db, "both");
        add_member(&world.db, &world.a.workspace, &co_owner, Role::Owner);
        add_member(&world.db, &world.a.workspace, &removed, Role::Member);
        let mut a = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
        a.members().remove(&removed).unwrap();
        a.commit().unwrap();
        add_member(&world.db, &world.a.workspace, &both, Role::Member);
        add_member(&world.db, &world.b.workspace, &both, Role::Member);
        let mut admin = world.test.admin().unwrap();
        for tenant in [&world.a, &world.b] {
            let (workspace, owner) = (&tenant.workspace, &tenant.owner);
            let (admin_of_it, member) = (&tenant.admin, &tenant.member);
            admin
                .batch_execute(&format!(
                    "INSERT INTO public.kpis (id, workspace_id, name)
                     VALUES ('spare', '{workspace}', 'Spare');
                     INSERT INTO public.kpi_targets (workspace_id, kpi_id, effective_from, value)
                     VALUES ('{workspace}', 'spare', '2026-01-01', 1);
                     INSERT INTO public.kpi_packed_points (workspace_id, kpi_id, starts_at, ends_at, points,
                                                           point_offsets, point_values, point_sources)
                     VALUES ('{workspace}', 'spare', '2025-11-01Z', '2025-11-01 00:00:00.007Z', 8,
                             '{{0,1,2,3,4,5,6,7}}', '{{1,2,3,4,5,6,7,8}}', '{{\"\"}}');
                     INSERT INTO public.integrations (workspace_id, provider, credentials)
                     VALUES ('{workspace}', 'stripe',
                             'v1.k1.AAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAA');
                     INSERT INTO public.invitations (workspace_id, email, role, invited_by, expires_at)
                     VALUES ('{workspace}', 'invited@example.com', 'member', '{owner}', now() + interval '1 day');
                     INSERT INTO public.subscriptions (user_id, status, plan_type)
                     VALUES ('{owner}', 'active', 'pro');
                     INSERT INTO public.idempotency_keys (workspace_id, actor_kind, actor_id, membership, key, operation)
                     SELECT '{workspace}', kind, id, CASE kind WHEN 'service' THEN kind ELSE coalesce((
                                SELECT m.role || ' ' || m.id FROM public.workspace_users AS m
                                 WHERE m.workspace_id = '{workspace}' AND m.user_id = v.id), 'member gone') END,
                            'taken', 'work'
                       FROM (VALUES ('user', '{owner}'), ('user', '{admin_of_it}'), ('user', '{member}'),
                                    ('user', '{removed}'), ('user', '{both}'), ('service', 'sync')) AS v (kind, id)"
                ))
                .unwrap();
        }
        let signer = Signer::of(&world.test);
        Self { world, signer, co_owner, removed, both }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Login {
    Tenant,
    Service,
}

/// What an actor may hope for, whatever the committed table says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing of anybody.
    Outside,
    /// Rows of the own workspace.
    Inside,
    /// Users and subscriptions, and nothing of a workspace.
    ServiceDoor,
}

/// What a context is made from: the moment on the server's clock in microseconds, and the pid of
/// the backend that will read it.
pub struct Moment {
    pub now: i64,
    pub pid: i32,
}

pub struct Actor {
    pub name: &'static str,
    pub login: Login,
    pub standing: Standing,
    /// The context to set, or none to set.
    pub context: Option<fn(&Stage, &Moment) -> String>,
}

const SECOND: i64 = 1_000_000;

fn owner_of_a(stage: &Stage, signer: &Signer, issued: i64, pid: i32) -> String {
    let a = &stage.world.a;
    signer.sign('u', a.owner.as_str(), a.workspace.as_str(), issued, pid)
}

fn user_in_a(stage: &Stage, user: &UserId, at: &Moment) -> String {
    let workspace = stage.world.a.workspace.as_str();
    stage.signer.sign('u', user.as_str(), workspace, at.now, at.pid)
}

fn tampered(stage: &Stage, at: &Moment) -> String {
    let (a, b) = (&stage.world.a, &stage.world.b);
    let token = stage.signer.sign('u', a.owner.as_str(), b.workspace.as_str(), at.now, at.pid);
    token.replace(b.workspace.as_str(), a.workspace.as_str())
}

macro_rules! actor {
    ($name:literal, $login:ident, $standing:ident, $context:expr $(,)?) => {
        Actor {
            name: $name,
            login: Login::$login,
            standing: Standing::$standing,
            context: $context,
        }
    };
}

/// Wherever a context is no good, it claims to be the workspace's owner.
pub const ACTORS: &[Actor] = &[
    actor!("no context", Tenant, Outside, None),
    actor!("empty context", Tenant, Outside, Some(|_, _| String::new())),
    actor!("garbage context", Tenant, Outside, Some(|_, _| "1.test.u.a.b.0.0.garbage".into())),
    actor!(
        "expired",
        Tenant,
        Outside,
        Some(|s, at| owner_of_a(s, &s.signer, at.now - 11 * SECOND, at.pid))
    ),
    actor!(
        "from the future",
        Tenant,
        Outside,
        Some(|s, at| owner_of_a(s, &s.signer, at.now + 60 * SECOND, at.pid))
    ),
    actor!(
        "forged, wrong key",
        Tenant,
        Outside,
        Some(|s, at| owner_of_a(s, &s.signer.with_secret(&[7; 32]), at.now, at.pid))
    ),
    actor!(
        "forged key id",
        Tenant,
        Outside,
        Some(|s, at| owner_of_a(s, &s.signer.renamed("other"), at.now, at.pid))
    ),
    actor!("workspace replaced", Tenant, Outside, Some(tampered)),
    actor!(
        "other backend",
        Tenant,
        Outside,
        Some(|s, at| owner_of_a(s, &s.signer, at.now, at.pid + 1))
    ),
    actor!("non-member", Tenant, Outside, Some(|s, at| user_in_a(s, &s.world.stranger, at))),
    actor!("other's owner", Tenant, Outside, Some(|s, at| user_in_a(s, &s.world.b.owner, at))),
    actor!("removed member", Tenant, Outside, Some(|s, at| user_in_a(s, &s.removed, at))),
    actor!("member", Tenant, Inside, Some(|s, at| user_in_a(s, &s.world.a.member, at))),
    actor!("member of both", Tenant, Inside, Some(|s, at| user_in_a(s, &s.both, at))),
    actor!("admin", Tenant, Inside, Some(|s, at| user_in_a(s, &s.world.a.admin, at))),
    actor!("owner", Tenant, Inside, Some(|s, at| user_in_a(s, &s.world.a.owner, at))),
    actor!(
        "background service",
        Tenant,
        Inside,
        Some(|s, at| s.signer.sign('s', "sync", s.world.a.workspace.as_str(), at.now, at.pid))
    ),
    actor!(
        "user scope",
        Tenant,
        Inside,
        Some(|s, at| s.signer.sign('u', s.world.a.owner.as_str(), "", at.now, at.pid))
    ),
    actor!(
        "service scope",
        Service,
        ServiceDoor,
        Some(|s, at| s.signer.sign('s', "billing", "", at.now, at.pid))
    ),
    actor!(
        "service's, tenant login",
        Tenant,
        Outside,
        Some(|s, at| s.signer.sign('s', "billing", "", at.now, at.pid))
    ),
    actor!(
        "owner's, service login",
        Service,
        Outside,
        Some(|s, at| user_in_a(s, &s.world.a.owner, at))
    ),
    actor!("none, service login", Service, Outside, None),
    // Once more on connections that have carried every other context.
    actor!("no context, again", Tenant, Outside, None),
];
