//! SQL that A's service could send on a guard's connection, typed and text.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::sync::LazyLock;

use diesel::prelude::*;
use sesari_db::PgConnection;
use sesari_db::schema::{goals, kpi_data_points, kpis, users, workspace_users, workspaces};

use super::program::{Args, Asked};

/// What a step aims at, for the list of accepted channels.
pub struct Aim<'a> {
    pub name: &'a str,
    pub args: Args,
    pub service: bool,
}

type Typed = fn(&mut PgConnection, &Asked) -> QueryResult<String>;

/// How a statement is run, and what of its answer is kept.
#[derive(Clone)]
pub enum Last {
    /// The rows, each with one column named `line`. Sorted, unless the statement sorts them.
    Rows(String),
    /// How many rows it touched.
    Count(String),
    Typed(Typed),
    /// All that the login can then read, and all that it can call.
    Look,
    /// A context that is not the guard's, and then a look.
    Replay(Forgery),
}

/// Contexts that A may have got hold of, or made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgery {
    /// Of `wboth`'s owner, signed 11 seconds before the transaction.
    Expired,
    /// The same, from a clock that is ahead.
    Future,
    /// The same, fresh, of another backend.
    OtherBackend,
    /// Signed with another secret.
    WrongSecret,
    /// Signed with the right secret under another name.
    OtherName,
    /// The own one, for another workspace.
    OtherWorkspace,
    /// The own one, for another user.
    OtherUser,
}

#[derive(Clone)]
pub struct Statement {
    pub name: String,
    pub setup: Vec<String>,
    pub last: Last,
    /// Taken back in any case: what comes after it is not to run under another role or context.
    pub undone: bool,
}

pub struct Statements(Vec<Statement>);

impl Statements {
    /// Counted past the end, they begin anew.
    pub fn at(&self, i: u16) -> &Statement {
        &self.0[usize::from(i) % self.0.len()]
    }

    pub fn all(&self) -> &[Statement] {
        &self.0
    }

    pub fn position(&self, name: &str) -> u16 {
        let found = self.0.iter().position(|statement| statement.name == name).expect(name);
        u16::try_from(found).unwrap()
    }
}

pub static STATEMENTS: LazyLock<Statements> = LazyLock::new(|| Statements(all()));

/// How to read and write a table.
struct Table {
    name: &'static str,
    row: &'static str,
    workspace: &'static str,
    /// The condition for one row, or for few.
    one: &'static str,
    /// Columns and values of a new row, but for the workspace.
    new: (&'static str, &'static str),
    set: &'static str,
    key: &'static str,
}

const TABLES: &[Table] = &[
    Table {
        name: "kpis",
        row: "t::text",
        workspace: "workspace_id",
        one: "id = '{k}'",
        new: ("id, name, target_value", "'{k}', {text}, {number}"),
        set: "name = {text}, unit = 'x'",
        key: "workspace_id, id",
    },
    Table {
        name: "kpi_data_points",
        row: "t::text",
        workspace: "workspace_id",
        one: "kpi_id = '{k}'",
        new: ("kpi_id, value, \"timestamp\"", "'{k}', {number}, '{at}'"),
        set: "value = {number}",
        key: "workspace_id, kpi_id, \"timestamp\", source",
    },
    Table {
        name: "kpi_rollups",
        row: "t::text",
        workspace: "workspace_id",
        one: "kpi_id = '{k}'",
        new: ("kpi_id, day, day_end", "'{k}', '{at}', '{at}'"),
        set: "day = '{at}'",
        key: "workspace_id, kpi_id, day",
    },
    Table {
        name: "kpi_targets",
        row: "t::text",
        workspace: "workspace_id",
        one: "kpi_id = '{k}'",
        new: ("kpi_id, effective_from, value", "'{k}', '2026-01-01', {number}"),
        set: "value = {number}",
        key: "workspace_id, kpi_id, recorded_at",
    },
    Table {
        name: "kpi_history",
        row: "concat_ws('|', t.workspace_id, t.kpi_id, t.goal_id, t.target_value, t.weight, t.baseline)",
        workspace: "workspace_id",
        one: "kpi_id = '{k}'",
        new: ("kpi_id, changed_at", "'{k}', '{at}'"),
        set: "weight = {number}",
        key: "workspace_id, id",
    },
    Table {
        name: "kpi_packed_points",
        row: "t::text",
        workspace: "workspace_id",
        one: "kpi_id = '{k}'",
        new: ("kpi_id, starts_at, ends_at", "'{k}', '{at}', '{at}'"),
        set: "starts_at = '{at}'",
        key: "workspace_id, kpi_id, starts_at",
    },
    Table {
        name: "goals",
        row: "t::text",
        workspace: "workspace_id",
        one: "id = '{g}'",
        new: ("id, title", "'{g}', {text}"),
        set: "title = {text}, status = 'paused'",
        key: "workspace_id, id",
    },
    Table {
        name: "goal_kpis",
        row: "t::text",
        workspace: "workspace_id",
        one: "id = '{l}'",
        new: ("id, goal_id, kpi_id, weight", "'{l}', '{g}', '{k}', 2"),
        set: "weight = 3",
        key: "workspace_id, id",
    },
    Table {
        name: "integrations",
        row: "concat_ws('|', t.id, t.workspace_id, t.provider, t.is_active, t.sync_status, \
              t.error_message)",
        workspace: "workspace_id",
        one: "id = '{i}'",
        new: (
            "id, provider, credentials",
            "'{i}', 'stripe', 'v1.k1.AAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAA'",
        ),
        set: "is_active = false",
        key: "workspace_id, id",
    },
    Table {
        name: "idempotency_keys",
        row: "t::text",
        workspace: "workspace_id",
        one: "key = '{k}'",
        new: ("actor_kind, actor_id, key, operation", "'user', '{u}', '{k}', 'x'"),
        set: "result = {text}",
        key: "workspace_id, actor_kind, actor_id, key",
    },
    Table {
        name: "workspace_users",
        row: "t::text",
        workspace: "workspace_id",
        one: "id = '{m}'",
        new: ("id, user_id, role", "'{m}', '{u}', 'member'"),
        set: "role = 'member'",
        key: "workspace_id, user_id",
    },
    Table {
        name: "workspaces",
        row: "t::text",
        workspace: "id",
        one: "id = '{w}'",
        new: ("name, slug", "'New', 'new-{n}'"),
        set: "name = {text}",
        key: "id",
    },
    Table {
        name: "users",
        row: "concat_ws('|', t.id, t.email, t.name, t.image, t.created_at)",
        workspace: "id",
        one: "id = '{u}'",
        new: ("email, provider, provider_id", "'x{n}@example.com', 'google', 'x{n}'"),
        set: "name = 'Changed'",
        key: "id",
    },
    Table {
        name: "subscriptions",
        row: "t::text",
        workspace: "user_id",
        one: "id = '{s}'",
        new: ("id, status, plan_type", "'{s}', 'active', 'pro'"),
        set: "plan_type = 'free'",
        key: "user_id",
    },
    Table {
        name: "audit_log",
        row: "concat_ws('|', t.workspace_id, t.occurred_at, t.actor_kind, t.actor_id, t.action, \
              t.table_name, t.row_id, t.changes)",
        workspace: "workspace_id",
        one: "id = '{k}'",
        new: (
            "id, actor_kind, actor_id, action, table_name, row_id, changes",
            "'{k}', 'user', 'x', 'kpi.purge', 'kpis', 'x', '{}'",
        ),
        set: "action = 'x'",
        key: "workspace_id, id",
    },
];

fn of_table(t: &Table, all: &mut Vec<Statement>) {
    let Table { name, row, workspace, one, new: (columns, values), set, key } = t;
    let read = format!("SELECT {row} AS line FROM public.{name} AS t");
    let insert = format!(
        "INSERT INTO public.{name} AS t ({columns}, {workspace}) VALUES ({values}, '{{w}}')"
    );
    let mut rows =
        |what: &str, sql: String| all.push(plain(format!("{name}: {what}"), Last::Rows(sql)));
    rows("select", read.clone());
    rows("select at", format!("{read} WHERE {workspace} = '{{w}}'"));
    rows("select by id", format!("{read} WHERE {one}"));
    rows("select others'", format!("{read} WHERE {workspace} <> '{{wa}}' ORDER BY 1"));
    rows("count", format!("SELECT count(*)::text AS line FROM public.{name}"));
    rows("exists", format!("SELECT EXISTS (SELECT FROM public.{name} WHERE {one})::text AS line"));
    rows("lock", format!("{read} WHERE {one} FOR UPDATE"));
    rows("insert returning", format!("{insert} RETURNING {row} AS line"));
    rows(
        "update by id returning",
        format!("UPDATE public.{name} AS t SET {set} WHERE {one} RETURNING {row} AS line"),
    );
    rows(
        "delete by id returning",
        format!("DELETE FROM public.{name} AS t WHERE {one} RETURNING {row} AS line"),
    );
    let mut count =
        |what: &str, sql: String| all.push(plain(format!("{name}: {what}"), Last::Count(sql)));
    count("insert at", insert.clone());
    if *workspace == "workspace_id" {
        count("insert", format!("INSERT INTO public.{name} ({columns}) VALUES ({values})"));
    }
    count("insert or nothing", format!("{insert} ON CONFLICT DO NOTHING"));
    count("upsert", format!("{insert} ON CONFLICT ({key}) DO UPDATE SET {set}"));
    count("update all", format!("UPDATE public.{name} SET {set}"));
    count("update at", format!("UPDATE public.{name} SET {set} WHERE {workspace} = '{{w}}'"));
    count("move", format!("UPDATE public.{name} SET {workspace} = '{{w}}' WHERE {one}"));
    count("move all", format!("UPDATE public.{name} SET {workspace} = '{{w}}'"));
    count("delete all", format!("DELETE FROM public.{name}"));
    count("delete at", format!("DELETE FROM public.{name} WHERE {workspace} = '{{w}}'"));
    count("truncate", format!("TRUNCATE public.{name} CASCADE"));
    count("lock table", format!("LOCK TABLE public.{name} IN SHARE ROW EXCLUSIVE MODE"));
}

fn plain(name: String, last: Last) -> Statement {
    Statement { name, setup: Vec::new(), last, undone: false }
}

const ROWS: &[(&str, &str)] = &[
    ("members with names", "SELECT concat_ws('|', m.user_id, m.role, u.email) AS line
        FROM workspace_users AS m JOIN users AS u ON u.id = m.user_id"),
    ("links without the workspace", "SELECT concat_ws('|', l.id, k.workspace_id, k.name, g.title) AS line
        FROM goal_kpis AS l JOIN kpis AS k ON k.id = l.kpi_id LEFT JOIN goals AS g ON g.id = l.goal_id"),
    ("points without the workspace", "SELECT concat_ws('|', k.id, p.value) AS line
        FROM kpis AS k LEFT JOIN kpi_data_points AS p ON p.kpi_id = k.id"),
    ("every pair", "SELECT count(*)::text AS line FROM kpis CROSS JOIN goals CROSS JOIN workspaces"),
    ("points counted", "SELECT concat_ws('|', k.id, (SELECT count(*) FROM kpi_data_points AS p WHERE p.kpi_id = k.id)) AS line
        FROM kpis AS k"),
    ("kpis of who shares one", "SELECT id AS line FROM kpis WHERE workspace_id IN
        (SELECT workspace_id FROM workspace_users WHERE user_id = '{u}')"),
    ("a deletion in a CTE", "WITH gone AS (DELETE FROM kpi_data_points WHERE kpi_id = '{k}' RETURNING kpi_id)
        SELECT count(*)::text AS line FROM gone"),
    ("an insertion in a CTE", "WITH new AS (INSERT INTO kpis (id, name) VALUES ('{k}', {text}) RETURNING id, workspace_id)
        SELECT concat_ws('|', id, workspace_id) AS line FROM new"),
    ("an update from another table", "UPDATE kpis AS k SET description = g.title FROM goals AS g
        WHERE g.id = '{g}' RETURNING concat_ws('|', k.id, k.description) AS line"),
    ("a union", "SELECT id AS line FROM kpis UNION SELECT id FROM goals UNION SELECT id FROM workspaces ORDER BY 1"),
    ("a window", "SELECT concat_ws('|', id, rank() OVER (ORDER BY created_at, id)) AS line FROM kpis ORDER BY 1"),
    ("aggregates", "SELECT concat_ws('|', min(value), max(value), sum(value), count(DISTINCT kpi_id)) AS line FROM kpi_data_points"),
    ("a division by another's row", "SELECT id AS line FROM kpis WHERE 1 / (length(name) - length('Secret left')) > -9
        AND 1 / (length(name) - length('Secret right')) > -9"),
    ("a cast of another's row", "SELECT id AS line FROM goals WHERE id = '{g}' AND workspace_id <> '{wa}' AND title::integer > 0"),
    ("a lateral", "SELECT concat_ws('|', k.id, p.value) AS line FROM kpis AS k
        CROSS JOIN LATERAL (SELECT value FROM kpi_data_points WHERE kpi_id = k.id ORDER BY \"timestamp\", value LIMIT 1) AS p
        ORDER BY 1"),
    ("a values list", "SELECT concat_ws('|', v, (SELECT count(*) FROM kpis WHERE id = v)) AS line
        FROM unnest(ARRAY['kboth', 'kleft', 'kright', 'ka{n}']) AS v"),
    ("columns that are not granted", "SELECT credentials AS line FROM integrations"),
    ("accounts that are not granted", "SELECT provider_id AS line FROM users"),
    ("context keys", "SELECT key_id AS line FROM sesari.context_keys"),
    ("salts", "SELECT workspace_id AS line FROM sesari.sealing_salts"),
    ("used ids", "SELECT workspace_id AS line FROM sesari.used_workspace_ids"),
    ("statistics of columns", "SELECT concat_ws('|', tablename, attname, most_common_vals::text) AS line FROM pg_stats
        WHERE schemaname IN ('public', 'sesari')"),
    ("own workspace", "SELECT coalesce(sesari.current_workspace_id(), '-') AS line"),
    ("own role", "SELECT coalesce(sesari.current_member_role(), '-') AS line"),
    ("workspace as", "SELECT coalesce(sesari.workspace_id_as('{owner,admin,member,service}'), '-') AS line"),
    (
        "own rollups made anew",
        "SELECT r::text AS line FROM sesari.rezone_rollups('', '-infinity', 100) AS r",
    ),
    ("packed points one by one", "SELECT h::text AS line FROM kpi_points AS h"),
    ("points of a range", "SELECT p::text AS line FROM sesari.points_between('wboth', 'kboth', '-infinity', 'infinity') AS p"),
    ("the last point", "SELECT p::text AS line FROM sesari.last_point_between('wboth', 'kboth', '-infinity', 'infinity') AS p"),
    ("the first point", "SELECT p::text AS line FROM sesari.first_point_between('wboth', 'kboth', '-infinity', 'infinity') AS p"),
    ("points unpacked", "SELECT sesari.unpack_points('{{k}}', '{2025-11-01 03:00+00}')::text AS line"),
    ("a range unpacked", "SELECT sesari.unpack_range('{k}', '-infinity', 'infinity', 100)::text AS line"),
    ("a span unpacked", "SELECT sesari.unpack_spans('{w}', '{{k}}', '{2025-11-01 00:00+00}')::text AS line"),
    ("points packed", "SELECT sesari.pack_points(NULL, '2025-12-01', 1000, '', '', NULL)::text AS line"),
    ("own workspaces", "SELECT id || role AS line FROM sesari.my_workspaces(NULL) ORDER BY 1"),
    ("members' profiles", "SELECT p.user_id || p.email AS line FROM workspace_users AS m,
        sesari.member_profiles(ARRAY[m.user_id]) AS p ORDER BY 1"),
    ("read credentials", "SELECT provider AS line FROM sesari.read_credentials('{i}')"),
    ("credentials to reseal", "SELECT concat_ws('|', id, provider) AS line FROM sesari.credentials_to_reseal('k9', '', 99)"),
    ("destroy the salt", "SELECT sesari.destroy_sealing_salt()::text AS line"),
    ("make a salt", "SELECT (sesari.sealing_salt() IS NULL)::text AS line"),
    ("claim", "SELECT id AS line FROM sesari.claim_integrations('claim', 9, interval '1 minute')"),
    ("a sync asked for", "SELECT sesari.schedule_sync('{i}', '2026-01-01')::text AS line"),
    ("a sync finished", "SELECT sesari.finish_sync('{i}', 'lease', '2026-01-01')::text AS line"),
    ("a lease extended", "SELECT (sesari.extend_sync('{i}', 'lease', '1 hour') IS NULL)::text AS line"),
    ("when a sync is due", "SELECT (next_sync_at IS NULL)::text AS line FROM sesari.sync_schedule('{i}')"),
    ("usage of keys", "SELECT concat_ws('|', key_id, envelopes) AS line FROM sesari.sealing_key_usage()"),
    ("workspaces to reseal", "SELECT w AS line FROM sesari.workspaces_to_reseal('k9', '', 99) AS w"),
    ("the log of workspaces, at any scope", "SELECT concat_ws('|', workspace_id, action, row_id) AS line
        FROM audit_log WHERE workspace_id NOT IN ('', '{wa}')"),
    ("write to the log", "SELECT sesari.write_audit('{w}', 'x', 'kpis', 'x', '{}')::text AS line"),
    ("install a key", "SELECT sesari.install_context_key('mine', sha256('x'))::text AS line"),
    ("retire the key", "SELECT sesari.retire_context_key('test')::text AS line"),
    ("take the context apart", "SELECT v AS line FROM unnest(sesari.verified_context()) AS v"),
    ("a free advisory lock", "SELECT pg_try_advisory_xact_lock(42)::text AS line"),
    ("dead ends", "SELECT format('%s|%s', current_setting('row_security'), current_user) AS line"),
    ("what rules there are", "SELECT concat_ws('|', tablename, policyname, qual) AS line FROM pg_policies"),
    ("what comes of a dynamic query", "SELECT query_to_xml('SELECT id, name FROM public.kpis ORDER BY id', true, false, '')::text AS line"),
    ("a whole schema as XML", "SELECT table_to_xml('public.goals', true, false, '')::text AS line"),
];

const COUNTS: &[(&str, &str)] = &[
    ("a point of a kpi", "INSERT INTO kpi_data_points (kpi_id, value, \"timestamp\") VALUES ('{k}', {number}, '{at}')"),
    ("points copied", "INSERT INTO kpi_data_points (kpi_id, value, \"timestamp\", source)
        SELECT kpi_id, value, \"timestamp\", 'copied' FROM kpi_data_points"),
    ("a point put right", "INSERT INTO kpi_data_points (kpi_id, value, \"timestamp\") VALUES ('{k}', 3, '{at}')
        ON CONFLICT (workspace_id, kpi_id, \"timestamp\", source) DO UPDATE SET value = excluded.value"),
    ("a point moved to another kpi", "UPDATE kpi_data_points SET kpi_id = '{k}' WHERE kpi_id = 'kb{n}'"),
    ("a link", "INSERT INTO goal_kpis (id, goal_id, kpi_id) VALUES ('{l}', '{g}', '{k}')"),
    ("a link moved", "UPDATE goal_kpis SET kpi_id = '{k}', goal_id = '{g}'"),
    ("a row under a made id", "INSERT INTO kpis (name) VALUES ({text})"),
    ("a soft deletion", "UPDATE kpis SET deleted_at = '2026-02-02' WHERE id = '{k}'"),
    ("a forged current value", "UPDATE kpis SET current_value = {number}"),
    ("an id changed", "UPDATE kpis SET id = '{k}' WHERE id = 'kb{n}'"),
    ("kpis deleted by a join", "DELETE FROM kpis AS k USING kpi_data_points AS p WHERE p.kpi_id = k.id AND p.value > 1000"),
    ("a block that swallows", "DO $$ BEGIN INSERT INTO public.kpis (id, name) VALUES ('{k}', 'x');
        EXCEPTION WHEN unique_violation THEN PERFORM 1; END $$"),
    ("a promotion", "UPDATE workspace_users SET role = 'owner' WHERE user_id = '{u}'"),
    ("a departure", "DELETE FROM workspace_users WHERE user_id = '{u}'"),
    ("a new member", "INSERT INTO workspace_users (id, user_id) VALUES ('{m}', '{u}')"),
    ("a new owner elsewhere", "INSERT INTO workspace_users (id, user_id, workspace_id, role) VALUES ('{m}', '{u}', '{w}', 'owner')"),
    ("a slug", "UPDATE workspaces SET slug = '{slug}'"),
    ("a workspace by hand", "INSERT INTO workspaces (id, name, slug) VALUES ('{w}', 'x', 'by-hand-{n}')"),
    ("an e-mail address", "UPDATE users SET email = '{u}@example.com'"),
    ("an integration borrowed", "UPDATE sesari.sync_queue SET lease_id = 'mine', leased_until = '2999-01-01' WHERE integration_id = '{i}'"),
    ("a table made", "CREATE TABLE public.mine (x text)"),
    ("a temporary table made", "CREATE TEMPORARY TABLE kpis (x text)"),
    ("a view made", "CREATE VIEW public.mine AS SELECT * FROM public.kpis"),
    ("a function made", "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'"),
    ("a trigger made", "CREATE TRIGGER mine BEFORE UPDATE ON public.kpis FOR EACH ROW
        EXECUTE FUNCTION suppress_redundant_updates_trigger()"),
    ("a policy made", "CREATE POLICY mine ON public.kpis USING (true)"),
    ("a policy dropped", "DROP POLICY kpis_tenant_select ON public.kpis"),
    ("the wall switched off", "ALTER TABLE public.kpis DISABLE ROW LEVEL SECURITY"),
    ("a key written", "INSERT INTO sesari.context_keys (key_id, inner_pad, outer_pad)
        VALUES ('mine', decode(repeat('00', 64), 'hex'), decode(repeat('00', 64), 'hex'))"),
    ("ids freed", "DELETE FROM sesari.used_workspace_ids"),
];

/// What changes who one is, and then a look.
const LOOKS: &[(&str, &[&str])] = &[
    ("a look", &[]),
    ("tables read from end to end", &[
        "SET LOCAL enable_indexscan = off",
        "SET LOCAL enable_indexonlyscan = off",
        "SET LOCAL enable_bitmapscan = off",
    ]),
    ("the login's own rights", &["RESET ROLE"]),
    ("the owner's role", &["SET LOCAL ROLE sesari_owner"]),
    ("the services' role", &["SET LOCAL ROLE sesari_service"]),
    ("row security off", &["SET LOCAL row_security = off"]),
    ("row security off, own rights", &["RESET ROLE", "SET LOCAL row_security = off"]),
    ("triggers off", &["SET LOCAL session_replication_role = replica"]),
    ("no context", &["SET LOCAL sesari.context = ''"]),
    ("no context, own rights", &["RESET ROLE", "RESET sesari.context"]),
    ("garbage for a context", &["SET LOCAL sesari.context = '1.test.u.ubo.wboth.0.0.x'"]),
    ("a table of one's own in front", &[
        "CREATE TEMPORARY TABLE workspace_users (user_id text, workspace_id text, role text)",
        "INSERT INTO pg_temp.workspace_users VALUES ('{u}', '{w}', 'owner')",
        "SET LOCAL search_path = pg_temp, public",
    ]),
    ("functions of one's own in front", &[
        "CREATE FUNCTION public.string_to_array(text, text) RETURNS text[] LANGUAGE sql AS
             $$ SELECT ARRAY['1', 'test', 'u', 'ubo', 'wboth', trunc(extract(epoch FROM now()) * 1000000)::text, '0', '00'] $$",
        "CREATE FUNCTION public.sha256(bytea) RETURNS bytea LANGUAGE sql AS $$ SELECT '\\x00'::bytea $$",
        "SET LOCAL search_path = public, pg_catalog",
    ]),
    ("the wall switched off with the login's own rights", &[
        "RESET ROLE",
        "ALTER TABLE public.kpis DISABLE ROW LEVEL SECURITY",
    ]),
    ("a context signed with a key that was read", &[
        "RESET ROLE",
        "SELECT set_config('sesari.context', t || '.' || encode(sha256(outer_pad || sha256(inner_pad || convert_to(t, 'UTF8'))), 'hex'), true)
           FROM sesari.context_keys,
                LATERAL (SELECT format('1.%s.u.ubo.wboth.%s.%s', key_id, trunc(extract(epoch FROM now()) * 1000000), pg_backend_pid()) AS t) AS t",
    ]),
    ("a context signed with a key that was written", &[
        "RESET ROLE",
        "INSERT INTO sesari.context_keys (key_id, inner_pad, outer_pad)
             VALUES ('own', decode(repeat('36', 64), 'hex'), decode(repeat('5c', 64), 'hex'))",
        "SELECT set_config('sesari.context', t || '.' || encode(sha256(decode(repeat('5c', 64), 'hex')
                    || sha256(decode(repeat('36', 64), 'hex') || convert_to(t, 'UTF8'))), 'hex'), true)
           FROM (SELECT format('1.own.u.ubo.wboth.%s.%s', trunc(extract(epoch FROM now()) * 1000000), pg_backend_pid()) AS t) AS t",
    ]),
];

const FORGERIES: [(&str, Forgery); 7] = [
    ("an expired context of another's", Forgery::Expired),
    ("a context from the future", Forgery::Future),
    ("a context of another backend", Forgery::OtherBackend),
    ("a context under a guessed secret", Forgery::WrongSecret),
    ("a context under another key's name", Forgery::OtherName),
    ("the own context, for another workspace", Forgery::OtherWorkspace),
    ("the own context, for another user", Forgery::OtherUser),
];

macro_rules! typed {
    ($($name:literal: |$conn:ident, $a:ident| $call:expr;)*) => {
        [$(($name, (|$conn: &mut PgConnection, $a: &Asked| {
            let _ = $a;
            Ok(format!("{:?}", $call?))
        }) as Typed)),*]
    };
}

fn typed_queries() -> Vec<(&'static str, Typed)> {
    typed! {
        "typed: names": |conn, a| kpis::table.select((kpis::id, kpis::name))
            .order((kpis::workspace_id, kpis::id)).load::<(String, String)>(conn);
        "typed: of a workspace": |conn, a| kpis::table.filter(kpis::workspace_id.eq(a.workspace()))
            .order(kpis::id).select(kpis::name).load::<String>(conn);
        "typed: a goal": |conn, a| goals::table.filter(goals::id.eq(a.goal()))
            .order(goals::workspace_id).select((goals::workspace_id, goals::title))
            .load::<(String, String)>(conn);
        "typed: rename": |conn, a| diesel::update(kpis::table.filter(kpis::id.eq(a.kpi())))
            .set(kpis::name.eq("Typed")).execute(conn);
        "typed: rename all": |conn, a| diesel::update(goals::table).set(goals::title.eq("Typed"))
            .execute(conn);
        "typed: insert": |conn, a| diesel::insert_into(goals::table)
            .values((goals::id.eq(a.goal()), goals::workspace_id.eq(a.workspace()), goals::title.eq("Typed")))
            .on_conflict_do_nothing().execute(conn);
        "typed: delete": |conn, a| diesel::delete(kpi_data_points::table
            .filter(kpi_data_points::kpi_id.eq(a.kpi()))).execute(conn);
        "typed: members": |conn, a| workspace_users::table
            .inner_join(users::table.on(users::id.eq(workspace_users::user_id)))
            .order((workspace_users::workspace_id, users::id)).select((users::id, users::email))
            .load::<(String, String)>(conn);
        "typed: workspaces": |conn, a| workspaces::table.order(workspaces::id)
            .select((workspaces::id, workspaces::slug)).load::<(String, String)>(conn);
        "typed: count": |conn, a| kpi_data_points::table.count().get_result::<i64>(conn);
    }
    .to_vec()
}

fn all() -> Vec<Statement> {
    let mut all = Vec::new();
    for table in TABLES {
        of_table(table, &mut all);
    }
    all.extend(ROWS.iter().map(|(name, sql)| plain((*name).into(), Last::Rows((*sql).into()))));
    all.extend(COUNTS.iter().map(|(name, sql)| plain((*name).into(), Last::Count((*sql).into()))));
    all.extend(typed_queries().into_iter().map(|(name, run)| plain(name.into(), Last::Typed(run))));
    all.push(Statement {
        name: "a prepared statement".into(),
        setup: vec![
            "DEALLOCATE ALL".into(),
            "PREPARE mine AS SELECT name AS line FROM kpis WHERE id = $1".into(),
        ],
        last: Last::Rows("EXECUTE mine('{k}')".into()),
        undone: true,
    });
    all.push(Statement {
        name: "a cursor".into(),
        setup: vec!["DECLARE mine CURSOR FOR SELECT id AS line FROM kpis ORDER BY id".into()],
        last: Last::Rows("FETCH ALL FROM mine".into()),
        undone: true,
    });
    all.extend(LOOKS.iter().map(|(name, setup)| Statement {
        name: (*name).into(),
        setup: setup.iter().map(|sql| (*sql).into()).collect(),
        last: Last::Look,
        undone: true,
    }));
    all.extend(FORGERIES.map(|(name, forgery)| Statement {
        name: name.into(),
        setup: Vec::new(),
        last: Last::Replay(forgery),
        undone: true,
    }));
    all
}

/// A statement's text with what it is asked for.
pub fn fill(sql: &str, a: &Asked) -> String {
    let quoted = a.text().replace('\'', "''");
    let number = a.number().map_or_else(|_| "'NaN'".into(), |number| number.get().to_string());
    sql.replace("{k}", a.kpi().as_str())
        .replace("{g}", a.goal().as_str())
        .replace("{i}", a.integration().as_str())
        .replace("{l}", a.link().as_str())
        .replace("{m}", &a.args.goal.id('m', a.n))
        .replace("{s}", &a.args.goal.id('s', a.n))
        .replace("{u}", &a.user_text())
        .replace("{w}", a.workspace().as_str())
        .replace("{wa}", &format!("wa{}", a.n))
        .replace("{slug}", &a.slug())
        .replace("{at}", &a.at().to_rfc3339())
        .replace("{text}", &format!("'{quoted}'"))
        .replace("{number}", &number)
        .replace("{n}", &a.n.to_string())
}
