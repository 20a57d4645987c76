//! The two databases: one schema, one tenant A, and other tenants who hold different things.
//!
//! A is furnished anew for each program, with users and a workspace of its own, so that programs may
//! commit without disturbing each other and nothing has to be reset. What the others hold differs as
//! follows; both worlds have about as many rows in each table, so that sizes alone tell little.
//!
//! | | left | right |
//! |---|---|---|
//! | workspace `wboth` | rows `...both` and `...left` | rows `...both`, with other values, and `...right` |
//! | workspace `wleft`, user `uleft` | there | absent |
//! | workspace `wright`, user `uright` | absent | there |
//! | workspace `wt<n>`, beside A's `wa<n>` | rows with the very ids of A's | empty |
//! | workspace `wmore`, user `umore` | there | absent |
//! | workspace `wgone`, deleted | has a history | has another |
//! | user `ubx` | a member of `wboth` | of no workspace |
//!
//! A second kind of pair has as many rows in as many pages, and other values: see `equal.rs`.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::RunQueryDsl;
use diesel::connection::SimpleConnection;
use diesel::sql_types::Timestamptz;
use sesari_db::Database;
use sesari_db::PgConnection;
use sesari_db::testing::TestDatabase;

use crate::support::logins::{Role, lines};
use crate::support::{sealing_keys, service};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    Left,
    Right,
}

/// What both worlds hold of others.
const COMMON: &str = "
INSERT INTO users (id, email, name, provider, provider_id, created_at) VALUES
    ('ubo', 'ubo@example.com', 'Other Owner', 'google', 'ubo', '2025-01-01'),
    ('ubm', 'ubm@example.com', 'Other Member', 'google', 'ubm', '2025-01-02'),
    ('ubx', 'ubx@example.com', 'Somebody', 'google', 'ubx', '2025-01-03');
INSERT INTO workspaces (id, name, slug, created_at) VALUES ('wboth', 'Both', 'both', '2025-01-01');
INSERT INTO workspace_users (id, user_id, workspace_id, role, joined_at) VALUES
    ('mo', 'ubo', 'wboth', 'owner', '2025-01-01'), ('mm', 'ubm', 'wboth', 'member', '2025-01-02');
";

/// What one of them holds. `{x}` is its name, `{value}` a number that the other world has not.
const OWN: &str = "
INSERT INTO users (id, email, name, provider, provider_id, created_at)
    VALUES ('u{x}', 'u{x}@example.com', 'Only {x}', 'google', 'u{x}', '2025-02-01');
INSERT INTO workspaces (id, name, slug, time_zone, created_at)
    VALUES ('w{x}', 'Only {x}', '{x}', CASE '{x}' WHEN 'left' THEN 'Europe/Rome' ELSE 'Europe/Oslo' END, '2025-02-01');
INSERT INTO workspace_users (id, user_id, workspace_id, role, joined_at)
    VALUES ('m{x}', 'u{x}', 'w{x}', 'owner', '2025-02-01');
INSERT INTO workspaces (id, name, slug) VALUES ('wgone', 'Secret {x}', 'gone');
DELETE FROM workspaces WHERE id = 'wgone';
INSERT INTO kpis (id, workspace_id, name, description, unit, category, created_at, deleted_at)
    SELECT k.id, w, 'Secret {x}', 'Of {x}', '{x}', 'growth', '2025-03-01', k.gone
      FROM unnest(ARRAY['wboth', 'w{x}']) AS w,
           (VALUES ('kboth', NULL::timestamptz), ('k{x}', NULL), ('kgone{x}', '2025-04-01')) AS k (id, gone);
INSERT INTO kpi_data_points (workspace_id, kpi_id, value, \"timestamp\", source)
    SELECT w, k, {value} + t, '2026-01-01 00:00+00'::timestamptz + t * interval '1 hour', 'stripe'
      FROM unnest(ARRAY['wboth', 'w{x}']) AS w, unnest(ARRAY['kboth', 'k{x}']) AS k, generate_series(0, 4) AS t;
INSERT INTO kpi_packed_points (workspace_id, kpi_id, starts_at, ends_at, points, point_offsets, point_values, point_sources)
    SELECT w, k, '2025-11-01 00:00+00', '2025-11-01 07:00+00', 8, '{0,3600000,7200000,10800000,14400000,18000000,21600000,25200000}',
           array_fill({value}::float8, ARRAY[8]), ARRAY['stripe']
      FROM unnest(ARRAY['wboth', 'w{x}']) AS w, unnest(ARRAY['kboth', 'k{x}']) AS k;
INSERT INTO goals (id, workspace_id, title, created_at)
    SELECT g, w, 'Secret {x}', '2025-03-01'
      FROM unnest(ARRAY['wboth', 'w{x}']) AS w, unnest(ARRAY['gboth', 'g{x}']) AS g;
INSERT INTO goal_kpis (id, workspace_id, goal_id, kpi_id, weight)
    SELECT 'l' || substr(g, 2), w, g, 'kboth', {value}
      FROM unnest(ARRAY['wboth', 'w{x}']) AS w, unnest(ARRAY['gboth', 'g{x}']) AS g;
INSERT INTO kpi_targets (workspace_id, kpi_id, effective_from, recorded_at, value)
    SELECT w, k, '2026-01-01', '2025-03-01', {value}
      FROM unnest(ARRAY['wboth', 'w{x}']) AS w, unnest(ARRAY['kboth', 'k{x}']) AS k;
INSERT INTO integrations (id, workspace_id, provider, credentials, error_message)
    SELECT i, w, '{provider}', 'v1.k1.AAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAA', 'Secret {x}'
      FROM unnest(ARRAY['wboth', 'w{x}']) AS w, unnest(ARRAY['iboth', 'i{x}']) AS i;
INSERT INTO invitations (id, workspace_id, email, role, invited_by, expires_at)
    SELECT i, w, 'secret-{x}-' || i || '@example.com', 'member', 'ubo', '2999-01-01'
      FROM unnest(ARRAY['wboth', 'w{x}']) AS w, unnest(ARRAY['vboth', 'v{x}']) AS i;
INSERT INTO sesari.invitation_tokens (workspace_id, invitation_id, token_hash)
    SELECT workspace_id, id, sha256('{x}') FROM invitations WHERE id IN ('vboth', 'v{x}');
INSERT INTO sesari.sealing_salts (workspace_id, salt) VALUES ('wboth', sha256('{x}')), ('w{x}', sha256('{x}'));
INSERT INTO subscriptions (id, user_id, status, plan_type) VALUES
    ('sboth', 'ubo', '{status}', '{plan}'), ('s{x}', 'u{x}', 'active', 'free');
INSERT INTO idempotency_keys (workspace_id, actor_kind, actor_id, membership, key, operation, result)
    SELECT w, 'user', u, coalesce((SELECT m.role || ' ' || m.id FROM workspace_users AS m WHERE m.workspace_id = w AND m.user_id = u), 'member gone'), k, 'Of {x}', CASE k WHEN 'kboth' THEN '{value}' END
      FROM unnest(ARRAY['wboth', 'w{x}']) AS w, unnest(ARRAY['ubo', 'u{x}']) AS u, unnest(ARRAY['kboth', 'k{x}']) AS k;
DELETE FROM kpi_data_points WHERE workspace_id = 'w{x}' AND kpi_id = 'k{x}' AND value > {value} + 3;
UPDATE sesari.sync_queue SET next_sync_at = '2998-01-01'; UPDATE sesari.sync_turns SET turn_at = '2998-01-01';
";

/// Rows that make counts differ.
const ONLY_LEFT: &str = "
INSERT INTO workspace_users (id, user_id, workspace_id, joined_at) VALUES ('mleft', 'ubx', 'wboth', '2025-01-03');
INSERT INTO users (id, email, provider, provider_id) VALUES ('umore', 'umore@example.com', 'google', 'umore');
INSERT INTO workspaces (id, name, slug) VALUES ('wmore', 'More', 'more');
INSERT INTO subscriptions (id, user_id, status, plan_type) VALUES ('smore', 'umore', 'canceled', 'free');
";

/// A's own: an owner, an admin, a member, one who was removed, and two users who are in no workspace.
pub const TENANT: &str = "
INSERT INTO users (id, email, name, provider, provider_id)
    SELECT 'u' || u || '{n}', 'u' || u || '{n}@example.com', 'User ' || u, 'google', 'u' || u || '{n}'
      FROM unnest('{o,a,m,r,s,n}'::text[]) AS u;
INSERT INTO workspaces (id, name, slug) VALUES ('wa{n}', 'Ours', 'a{n}'), ('wt{n}', 'Twin', 't{n}');
INSERT INTO workspace_users (id, user_id, workspace_id, role, joined_at) VALUES
    ('mo{n}', 'uo{n}', 'wa{n}', 'owner', '2025-05-01'), ('ma{n}', 'ua{n}', 'wa{n}', 'admin', '2025-05-02'),
    ('mm{n}', 'um{n}', 'wa{n}', 'member', '2025-05-03'), ('mr{n}', 'ur{n}', 'wa{n}', 'member', '2025-05-04');
DELETE FROM workspace_users WHERE id = 'mr{n}' AND workspace_id = 'wa{n}';
INSERT INTO kpis (id, workspace_id, name, target_value, category, created_at) VALUES
    ('ka{n}', 'wa{n}', 'Revenue', 100, 'growth', '2025-06-01'), ('kb{n}', 'wa{n}', 'Churn', NULL, NULL, '2025-06-02'),
    ('kd{n}', 'wa{n}', 'Gone', 5, NULL, '2025-06-03');
INSERT INTO kpi_data_points (workspace_id, kpi_id, value, \"timestamp\") VALUES
    ('wa{n}', 'ka{n}', 10, '2026-01-01 00:00+00'), ('wa{n}', 'kb{n}', 7, '2026-01-01 00:00+00'),
    ('wa{n}', 'kd{n}', 1, '2026-01-01 00:00+00');
INSERT INTO kpi_data_points (workspace_id, kpi_id, value, \"timestamp\", source)
    VALUES ('wa{n}', 'ka{n}', 20, '2026-01-01 01:00+00', 'stripe');
INSERT INTO kpi_packed_points (workspace_id, kpi_id, starts_at, ends_at, points, point_offsets, point_values, point_sources)
    VALUES ('wa{n}', 'ka{n}', '2025-11-01 00:00+00', '2025-11-01 07:00+00', 8, '{0,3600000,7200000,10800000,14400000,18000000,21600000,25200000}',
            '{1,2,3,4,5,6,7,8}', '{\"\"}');
UPDATE kpis SET deleted_at = '2025-07-01' WHERE id = 'kd{n}' AND workspace_id = 'wa{n}';
INSERT INTO goals (id, workspace_id, title, created_at, deleted_at) VALUES
    ('ga{n}', 'wa{n}', 'Grow', '2025-06-01', NULL), ('gb{n}', 'wa{n}', 'Hold', '2025-06-02', NULL),
    ('gd{n}', 'wa{n}', 'Gone', '2025-06-03', '2025-07-01');
INSERT INTO goal_kpis (id, workspace_id, goal_id, kpi_id) VALUES
    ('la{n}', 'wa{n}', 'ga{n}', 'ka{n}'), ('lb{n}', 'wa{n}', 'gb{n}', 'kd{n}');
INSERT INTO kpi_targets (workspace_id, kpi_id, effective_from, recorded_at, value)
    SELECT 'wa{n}', k || '{n}', '2026-01-01', '2025-06-01', 50 FROM unnest('{ka,kb,kd}'::text[]) AS k;
INSERT INTO integrations (id, workspace_id, provider, credentials)
    VALUES ('ia{n}', 'wa{n}', 'stripe', 'v1.k0.AAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAA'),
           ('ib{n}', 'wa{n}', 'sheets', 'v1.k1.AAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAA');
UPDATE sesari.sync_queue SET next_sync_at = '2998-01-01' WHERE workspace_id = 'wa{n}';
UPDATE sesari.sync_turns SET turn_at = '2998-01-01' WHERE workspace_id = 'wa{n}';
UPDATE sesari.sync_queue SET lease_id = 'lease', leased_until = '2999-01-01' WHERE workspace_id = 'wa{n}' AND integration_id = 'ia{n}';
INSERT INTO idempotency_keys (workspace_id, actor_kind, actor_id, membership, key, operation, result, created_at)
    SELECT 'wa{n}', 'user', u || '{n}', coalesce((SELECT m.role || ' ' || m.id FROM workspace_users AS m WHERE m.workspace_id = 'wa{n}' AND m.user_id = u || '{n}'), 'member gone'), k || '{n}', 'work', CASE k WHEN 'ka' THEN '1' END, '2025-06-01'
      FROM unnest('{uo,ua,um,ur}'::text[]) AS u, unnest('{ka,kb}'::text[]) AS k;
INSERT INTO invitations (id, workspace_id, email, role, invited_by, created_at, expires_at, revoked_at) VALUES
    ('va{n}', 'wa{n}', 'guest-a{n}@example.com', 'member', 'uo{n}', '2025-06-01', '2999-01-01', NULL),
    ('vb{n}', 'wa{n}', 'guest-b{n}@example.com', 'owner', 'uo{n}', '2025-06-02', '2999-01-01', NULL),
    ('vd{n}', 'wa{n}', 'guest-d{n}@example.com', 'admin', 'ua{n}', '2025-06-03', '2999-01-01', '2025-07-01');
INSERT INTO sesari.invitation_tokens (workspace_id, invitation_id, token_hash)
    SELECT workspace_id, id, sha256('{n}') FROM invitations WHERE workspace_id = 'wa{n}';
INSERT INTO subscriptions (id, user_id, status, plan_type, last_event_at) VALUES ('sa{n}', 'uo{n}', 'active', 'pro', '2025-06-01');
";

/// Another tenant's rows under A's ids, where the keys allow it.
pub const TWIN: &str = "
INSERT INTO workspace_users (id, user_id, workspace_id, role) VALUES ('mo{n}', 'ubo', 'wt{n}', 'owner'), ('mm{n}', 'ubm', 'wt{n}', 'member')
    ON CONFLICT DO NOTHING;
INSERT INTO kpis (id, workspace_id, name) SELECT k || '{n}', 'wt{n}', 'Twin' FROM unnest('{ka,kb,kd}'::text[]) AS k
    ON CONFLICT DO NOTHING;
INSERT INTO kpi_data_points (workspace_id, kpi_id, value, \"timestamp\") SELECT 'wt{n}', id, 777, '2026-03-01 00:00+00'
    FROM kpis WHERE workspace_id = 'wt{n}' ON CONFLICT DO NOTHING;
INSERT INTO goals (id, workspace_id, title) SELECT g || '{n}', 'wt{n}', 'Twin' FROM unnest('{ga,gb,gd}'::text[]) AS g
    ON CONFLICT DO NOTHING;
INSERT INTO goal_kpis (id, workspace_id, goal_id, kpi_id) SELECT 'l' || substr(g.id, 2), 'wt{n}', g.id, k.id
    FROM goals AS g JOIN kpis AS k ON k.workspace_id = g.workspace_id AND substr(k.id, 2) = substr(g.id, 2)
   WHERE g.workspace_id = 'wt{n}' ON CONFLICT DO NOTHING;
INSERT INTO kpi_targets (workspace_id, kpi_id, effective_from, recorded_at, value)
    SELECT 'wt{n}', id, '2026-01-01', '2025-06-01', 777 FROM kpis WHERE workspace_id = 'wt{n}' ON CONFLICT DO NOTHING;
INSERT INTO integrations (id, workspace_id, provider, credentials) SELECT i || '{n}', 'wt{n}', 'google_analytics',
    'v1.k1.AAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAA' FROM unnest('{ia,ib}'::text[]) AS i ON CONFLICT DO NOTHING;
UPDATE sesari.sync_queue SET next_sync_at = '2998-01-01' WHERE workspace_id = 'wt{n}';
UPDATE sesari.sync_turns SET turn_at = '2998-01-01' WHERE workspace_id = 'wt{n}';
INSERT INTO idempotency_keys (workspace_id, actor_kind, actor_id, membership, key, operation, result)
    SELECT 'wt{n}', 'user', u || '{n}', 'member gone', k || '{n}', 'Twin', '777'
      FROM unnest('{uo,ua,um,ur}'::text[]) AS u, unnest('{ka,kb}'::text[]) AS k ON CONFLICT DO NOTHING;
";

/// One world.
pub struct Side {
    pub name: Name,
    // Before the database that they are connected to.
    pub db: Database,
    pub admin: PgConnection,
    /// A login of this world's own: what a defect gives to it, no other test's login has.
    pub login: Role,
    pub test: TestDatabase,
    digest: String,
    state: String,
}

impl Side {
    /// `more` is what it holds besides.
    pub fn new(name: Name, sessions: u32, more: &str) -> Self {
        let test = TestDatabase::new().unwrap();
        let mut admin = test.admin().unwrap();
        admin.batch_execute("SET search_path = public, pg_temp").unwrap();
        let login = Role::tenant(&test, "app");
        let db = Database::builder(login.url(), test.context_key().clone())
            .service_url(test.service_url())
            .sealing_keys(sealing_keys())
            .pool_size(sessions)
            // The sessions are of one workspace, and their turns on one thread.
            .workspace_share(1.0)
            .actor_share(1.0)
            // Nobody who waits here will ever get the lock: the sessions take turns on one thread.
            .lock_timeout(Duration::from_millis(25))
            .build()
            .unwrap();
        let (x, value, provider, status, plan) = match name {
            Name::Left => ("left", "4000", "stripe", "active", "pro"),
            Name::Right => ("right", "9000", "sheets", "past_due", "starter"),
        };
        let own = OWN
            .replace("{x}", x)
            .replace("{value}", value)
            .replace("{provider}", provider)
            .replace("{status}", status)
            .replace("{plan}", plan);
        admin.batch_execute(COMMON).unwrap();
        admin.batch_execute(&own).unwrap();
        // Diesel refuses an empty statement.
        if !more.is_empty() {
            admin.batch_execute(more).unwrap();
        }
        let (digest, state) = (digest(&mut admin), state(&mut admin));
        Self { name, db, admin, login, test, digest, state }
    }

    /// Furnishes A number `n`.
    pub fn furnish(&mut self, n: u32) {
        let twin = if self.name == Name::Left { TWIN } else { "" };
        let sql = format!("{TENANT}{twin}").replace("{n}", &n.to_string());
        self.admin.batch_execute(&sql).unwrap();
    }

    /// All that is not A's, in one value.
    pub fn others(&mut self, n: u32) -> String {
        lines(&mut self.admin, &self.digest.replace("{n}", &n.to_string())).concat()
    }

    /// All that is A's, as a superuser reads it: what A's actors left behind, seen by them or not.
    pub fn state(&mut self, n: u32) -> Vec<String> {
        lines(&mut self.admin, &self.state.replace("{n}", &n.to_string()))
    }
}

/// Tables with a column for the workspace, in any schema of ours.
const WITH_WORKSPACE: &str = "
    SELECT format('%I.%I', n.nspname, c.relname) AS line
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
      JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'workspace_id'
     WHERE n.nspname IN ('public', 'sesari') AND c.relkind = 'r' ORDER BY 1";

fn digest(admin: &mut PgConnection) -> String {
    let others = "('wboth', 'wleft', 'wright', 'wgone', 'wmore', 'wt{n}')";
    let users = "('ubo', 'ubm', 'ubx', 'uleft', 'uright', 'umore')";
    let mut parts: Vec<_> = lines(admin, WITH_WORKSPACE)
        .into_iter()
        .map(|table| {
            format!("SELECT t::text AS row FROM {table} AS t WHERE workspace_id IN {others}")
        })
        .collect();
    parts.push(format!("SELECT t::text FROM workspaces AS t WHERE id IN {others}"));
    parts.push(format!("SELECT t::text FROM users AS t WHERE id IN {users}"));
    parts.push(format!("SELECT t::text FROM subscriptions AS t WHERE user_id IN {users}"));
    parts.push("SELECT t::text FROM sesari.context_keys AS t".into());
    format!(
        "SELECT coalesce(string_agg(row, E'\\n' ORDER BY row), '') AS line FROM ({}) AS rows",
        parts.join(" UNION ALL ")
    )
}

fn state(admin: &mut PgConnection) -> String {
    // Randomness that is nobody's business, nonces and salts; and the order of a statement's entries in
    // the audit log, which is that of the rows it found.
    let row = "(to_jsonb(t) - '{credentials,salt,transaction_id,sequence,hash,previous_hash}'::text[])::text";
    let part = |table: &str, rows: &str| {
        format!("SELECT '{table} ' || {row} AS line FROM {table} AS t WHERE {rows}")
    };
    let mut parts: Vec<_> = lines(admin, WITH_WORKSPACE)
        .iter()
        .map(|table| {
            part(
                table,
                "t.workspace_id IN ('wa{n}', 'wnone{n}') OR t.workspace_id ~ '^wn[0-9]x{n}$'",
            )
        })
        .collect();
    let users = "~ '^u[a-z]{n}$'";
    parts.push(part("public.workspaces", "t.id = 'wa{n}' OR t.id ~ '^wn[0-9]x{n}$'"));
    parts.push(part("public.users", &format!("t.id {users}")));
    parts.push(part("public.subscriptions", &format!("t.user_id {users}")));
    parts.join(" UNION ALL ")
}

impl Side {
    /// When a step ended, by the server's clock. Stored times are cut to the millisecond, and the time of
    /// a change may run ahead of the clock by as much: of no step before and of none after are there times
    /// that it could be taken for.
    pub fn step_end(&mut self) -> DateTime<Utc> {
        std::thread::sleep(Duration::from_millis(3));
        let end = diesel::select(diesel::dsl::sql::<Timestamptz>("clock_timestamp()"))
            .get_result(&mut self.admin)
            .unwrap();
        std::thread::sleep(Duration::from_millis(1));
        end
    }
}

/// Both.
pub struct Pair {
    pub left: Side,
    pub right: Side,
    next: u32,
}

impl Pair {
    /// For programs of up to so many sessions.
    pub fn new(sessions: u32) -> Self {
        let left = Side::new(Name::Left, sessions, ONLY_LEFT);
        Self::of(left, Side::new(Name::Right, sessions, ""))
    }

    pub fn of(left: Side, right: Side) -> Self {
        Self { left, right, next: 0 }
    }

    /// Furnishes a tenant A in both, and says which number it has.
    pub fn furnish(&mut self) -> u32 {
        let n = self.next;
        self.next += 1;
        self.left.furnish(n);
        self.right.furnish(n);
        n
    }

    /// Changes both schemas.
    pub fn alter(&mut self, sql: &str) -> diesel::QueryResult<()> {
        if sql.is_empty() {
            return Ok(());
        }
        for side in [&mut self.left, &mut self.right] {
            let sql = sql.replace("{login}", &side.login.name).replace("{db}", side.test.name());
            side.admin.batch_execute(&sql)?;
        }
        Ok(())
    }
}

pub fn worker() -> sesari_db::tenancy::ServiceName {
    service()
}
