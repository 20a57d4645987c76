//! Two worlds whose tables and indexes are of equal sizes, and hold other values of others.
//!
//! What the server counts, and what it estimates, tells how many rows all tenants have: the accepted channel
//! "sizes". In these worlds the sizes are equal, so that whatever still differs tells a value. Every column
//! that a tenant may read holds values of others that the other world has not; what a tenant may read,
//! the catalogue says, so that a new column without such values fails.

use std::collections::BTreeSet;

use diesel::connection::SimpleConnection;
use sesari_db::PgConnection;

use super::worlds::{Name, Pair, Side, TENANT, TWIN};
use crate::support::logins::lines;

/// Enough rows that an index pays, and enough equal values that statistics would list them.
const CROWD: &str = "
INSERT INTO users (id, email, name, image, provider, provider_id)
    SELECT 'u{x}' || i, '{x}' || i || '@example.com', 'Crowd {x}', 'https://example.com/{x}', 'google', 'u{x}' || i
      FROM generate_series(10, 33) AS i;
INSERT INTO workspaces (id, name, slug, time_zone)
    SELECT 'w{x}' || i, 'Crowd {x}', '{x}-' || i, CASE '{x}' WHEN 'left' THEN 'Europe/Rome' ELSE 'Europe/Oslo' END
      FROM generate_series(10, 33) AS i;
INSERT INTO workspace_users (id, user_id, workspace_id, role)
    SELECT 'm{x}' || i, 'u{x}' || i, 'w{x}' || i, 'owner' FROM generate_series(10, 33) AS i;
INSERT INTO workspace_users (id, user_id, workspace_id, role)
    SELECT 'n{x}' || i, 'u{x}33', 'w{x}' || i, CASE WHEN i < {few} THEN 'admin' ELSE 'member' END
      FROM generate_series(10, 32) AS i;
INSERT INTO kpis (id, workspace_id, name, description, unit, category, aggregation, target_value, is_active, deleted_at)
    SELECT 'k{x}' || i || k, 'w{x}' || i, '{x} ' || i, 'Of {x}' || repeat('.', 4 * (5 - length('{x}'))),
           '{x}' || repeat('.', 5 - length('{x}')), '{x} ' || repeat('.', 5 - length('{x}')) || k, CASE '{x}' WHEN 'left' THEN 'last' ELSE 'mean' END, {value} + i, i < {few},
           CASE WHEN k = 2 THEN '{day}'::timestamptz END
      FROM generate_series(10, 33) AS i, generate_series(1, 2) AS k;
INSERT INTO kpi_data_points (workspace_id, kpi_id, value, \"timestamp\", source)
    SELECT 'w{x}' || i, 'k{x}' || i || '1', {value} + t, '{day}'::timestamptz + t * interval '1 hour' + CASE WHEN t > {split} THEN interval '1 day' ELSE '0' END, '{x}'
      FROM generate_series(10, 33) AS i, generate_series(1, 4) AS t;
INSERT INTO kpi_packed_points (workspace_id, kpi_id, starts_at, ends_at, points, point_offsets, point_values, point_sources)
    SELECT 'w{x}' || i, 'k{x}' || i || '1', '{day}'::timestamptz - interval '300 days',
           '{day}'::timestamptz - interval '300 days' + p.points * interval '{split} minutes', p.points + 1,
           ARRAY(SELECT n * {split} * 60000 FROM generate_series(0, p.points) AS n),
           array_fill({value}::float8 + i, ARRAY[p.points + 1]), ARRAY['{x}']
      FROM generate_series(10, 33) AS i CROSS JOIN LATERAL (SELECT CASE '{x}' WHEN 'left' THEN 8 ELSE 9 END + i % 2 AS points) AS p;
INSERT INTO goals (id, workspace_id, title, description, status, target_date, deleted_at)
    SELECT 'g{x}' || i, 'w{x}' || i, '{x} ' || i, 'Of {x}', CASE WHEN i < {few} THEN 'paused' ELSE 'active' END,
           '{day}', CASE WHEN i % 2 = 0 THEN '{day}'::timestamptz END
      FROM generate_series(10, 33) AS i;
INSERT INTO goal_kpis (id, workspace_id, goal_id, kpi_id, weight, baseline)
    SELECT 'l{x}' || i, 'w{x}' || i, 'g{x}' || i, 'k{x}' || i || '1', {value} + i, {value} - i
      FROM generate_series(10, 33) AS i;
INSERT INTO kpi_targets (workspace_id, kpi_id, period, effective_from, recorded_at, value, baseline)
    SELECT 'w{x}' || i, 'k{x}' || i || '1', CASE '{x}' WHEN 'left' THEN 'year' ELSE 'month' END,
           CASE '{x}' WHEN 'left' THEN '2024-01-01' ELSE '2025-01-01' END::date, '{day}', {value} + i, {value} - i
      FROM generate_series(10, 33) AS i;
INSERT INTO integrations (id, workspace_id, provider, credentials, is_active, error_message, last_sync_at, sync_status)
    SELECT 'i{x}' || i, 'w{x}' || i, '{provider}', 'v1.k1.AAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAA', (i < 22) = ('{x}' = 'left'),
           'Crowd {x}', '{day}', '{sync}'
      FROM generate_series(10, 33) AS i;
INSERT INTO subscriptions (id, user_id, status, plan_type, current_period_end, last_event_at, cancel_at_period_end)
    SELECT 's{x}' || i, 'u{x}' || i, '{status}', '{plan}', '{day}', '{day}', i < {few} FROM generate_series(10, 33) AS i;
INSERT INTO idempotency_keys (workspace_id, actor_kind, actor_id, membership, key, operation, fingerprint, result)
    SELECT 'w{x}' || i, CASE WHEN i < {few} THEN 'service' ELSE 'user' END, 'u{x}' || i, 'owner m{x}' || i, 'k{x}' || i, 'Of {x}',
           sha256('{x}'), '{value}'
      FROM generate_series(10, 33) AS i;
INSERT INTO invitations (id, workspace_id, email, role, invited_by, expires_at, resent_at, revoked_at, declined_at, accepted_at, accepted_by)
    SELECT 'v{x}' || i, 'w{x}' || i, 'guest-{x}' || i || '@example.com', CASE WHEN i < {few} THEN 'admin' ELSE 'member' END,
           'u{x}' || i, '{day}', '{day}', CASE i % 4 WHEN 0 THEN '{day}'::timestamptz END,
           CASE i % 4 WHEN 1 THEN '{day}'::timestamptz END, CASE i % 4 WHEN 2 THEN '{day}'::timestamptz END,
           CASE i % 4 WHEN 2 THEN 'u{x}' || i END
      FROM generate_series(10, 33) AS i;
";

/// Whose row it is, by table: a condition that is true of the only tenant's.
const OWN: &str = "
    CASE WHEN EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'workspace_id')
              THEN $$workspace_id = 'wa0'$$
         WHEN c.relname = 'workspaces' THEN $$id = 'wa0'$$
         WHEN c.relname = 'users' THEN $$id ~ '^u[a-z]0$'$$
         WHEN EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'user_id')
              THEN $$user_id ~ '^u[a-z]0$'$$
         ELSE 'false' END";

/// What is of chance or of the clock is made the tenant's in both worlds alike, and others' in each otherwise. The
/// tenant's rows lie first, in the same places: where others' make them lie is an accepted channel.
const FREEZE: &str = "
SET session_replication_role = replica;
-- Room for another version of a row in its page: whether others leave it is an accepted channel too.
ALTER TABLE kpis SET (fillfactor = 50);
DO $do$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT format('%I.%I', n.nspname, c.relname) AS t, format('%I', a.attname) AS col, {own} AS own
          FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
          JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
         WHERE n.nspname = 'public' AND c.relkind = 'r' AND a.atttypid = 'timestamptz'::regtype
    LOOP
        EXECUTE format('UPDATE %s SET %s = CASE WHEN %s THEN %L ELSE %L END::timestamptz
                         WHERE isfinite(%2$s) AND %2$s > now() - interval ''1 hour''',
                       found.t, found.col, found.own, '2025-07-07', '{day}');
    END LOOP;
END
$do$;
UPDATE kpi_history SET id = 'h' || kpi_id || coalesce(goal_id, '') WHERE workspace_id = 'wa0';
UPDATE audit_log
   -- As long with the workspace's id in both worlds, so that an index of the two has as many pages.
   SET id = CASE WHEN workspace_id = 'wa0' THEN 'e' || sequence
                 ELSE rpad(left('{x}', 1) || sequence, 24 - (length('{x}') - 4) * 8, '-') END,
       changes = jsonb_build_object('id', CASE WHEN workspace_id = 'wa0' THEN 'e' ELSE '{x}' END || sequence),
       transaction_id = sequence + CASE WHEN workspace_id = 'wa0' THEN 0 ELSE {value} END,
       previous_hash = sha256(convert_to(CASE WHEN workspace_id = 'wa0' THEN 'e' ELSE '{x}' END || sequence - 1, 'UTF8')),
       hash = sha256(convert_to(CASE WHEN workspace_id = 'wa0' THEN 'e' ELSE '{x}' END || sequence, 'UTF8'));
UPDATE audit_log
   SET sequence = sequence + {value}, actor_kind = 'of {x}', actor_id = 'u{x}', scope = '{x}', action = '{x}.update', table_name = '{x}'
 WHERE workspace_id <> 'wa0';
DO $do$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT format('%I.%I', n.nspname, c.relname) AS t, {own} AS own,
               (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
                  FROM pg_attribute AS a
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '') AS columns
          FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
         WHERE n.nspname = 'public' AND c.relkind = 'r'
    LOOP
        EXECUTE format('CREATE TEMPORARY TABLE sorted AS TABLE %s', found.t);
        EXECUTE format('DELETE FROM %s', found.t);
        EXECUTE format('INSERT INTO %1$s (%2$s) SELECT %2$s FROM sorted AS t ORDER BY NOT (%3$s), t::text', found.t, found.columns, found.own);
        DROP TABLE sorted;
    END LOOP;
END
$do$;
RESET session_replication_role;
";

type Words = [(&'static str, &'static str); 9];

const LEFT: Words = [
    ("{x}", "left"),
    ("{value}", "4000"),
    ("{day}", "2025-08-01"),
    ("{few}", "20"),
    ("{split}", "3"),
    ("{provider}", "stripe"),
    ("{sync}", "success"),
    ("{status}", "active"),
    ("{plan}", "pro"),
];
const RIGHT: Words = [
    ("{x}", "right"),
    ("{value}", "9000"),
    ("{day}", "2025-09-01"),
    ("{few}", "25"),
    ("{split}", "1"),
    ("{provider}", "sheets"),
    ("{sync}", "error"),
    ("{status}", "past_due"),
    ("{plan}", "starter"),
];

fn side(name: Name, sessions: u32) -> Side {
    let words = match name {
        Name::Left => LEFT,
        Name::Right => RIGHT,
    };
    let fill = |sql: &str| {
        let sql = sql.replace("{own}", OWN);
        words.iter().fold(sql, |sql, (word, value)| sql.replace(word, value))
    };
    let mut side = Side::new(name, sessions, &fill(CROWD));
    // The tenant's ids stand in another workspace too, in the right world as many others.
    let twin = match name {
        Name::Left => TWIN.to_owned(),
        Name::Right => TWIN
            .replace("|| '{n}'", "|| '{n}x'")
            .replace("'mo{n}'", "'mo{n}x'")
            .replace("'mm{n}'", "'mm{n}x'"),
    };
    side.admin.batch_execute(&format!("{TENANT}{twin}").replace("{n}", "0")).unwrap();
    side.admin.batch_execute(&fill(FREEZE)).unwrap();
    side
}

/// As small as they can be. A connection that is just being opened can keep dead rows alive.
fn pack(side: &mut Side) -> Vec<String> {
    for table in lines(&mut side.admin, TABLES) {
        side.admin.batch_execute(&format!("VACUUM (FULL, ANALYZE) {table}")).unwrap();
        // The map of what all may see, which FULL leaves empty.
        side.admin.batch_execute(&format!("VACUUM {table}")).unwrap();
    }
    lines(&mut side.admin, SIZES)
}

const TABLES: &str = "
    SELECT format('%I.%I', n.nspname, c.relname) AS line
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE n.nspname IN ('public', 'sesari') AND c.relkind = 'r' ORDER BY 1";

const SIZES: &str = "
    SELECT concat_ws(' ', n.nspname, c.relname, c.reltuples, pg_relation_size(c.oid)) AS line
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE n.nspname IN ('public', 'sesari') AND c.relkind IN ('r', 'i') ORDER BY 1";

/// A column that a tenant may read, and values that others have in it, in one world only.
#[derive(Debug)]
pub struct Column {
    pub table: String,
    pub name: String,
    pub of_type: String,
    pub only_left: Vec<String>,
    pub only_right: Vec<String>,
}

const READABLE: &str = "
    SELECT concat_ws('|', format('%I.%I', n.nspname, c.relname), format('%I', a.attname),
                     format_type(a.atttypid, NULL), {own}) AS line
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
      JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
     WHERE n.nspname IN ('public', 'sesari') AND c.relkind IN ('r', 'p')
       AND has_column_privilege('sesari_tenant', c.oid, a.attnum, 'SELECT') ORDER BY 1";

/// What others hold in a column, in the order of the rows' places.
fn values(admin: &mut PgConnection, table: &str, column: &str, own: &str) -> Vec<String> {
    let of_others = format!(
        "SELECT coalesce({column}::text, 'null') AS line FROM {table} WHERE NOT ({own}) ORDER BY ctid"
    );
    lines(admin, &of_others)
}

fn only(these: &[String], others: &[String]) -> Vec<String> {
    let known: BTreeSet<_> = others.iter().map(String::as_str).chain(["null"]).collect();
    these
        .iter()
        .filter(|value| !known.contains(value.as_str()))
        .cloned()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

/// Says in what the two are not as this file promises.
fn columns(left: &mut Side, right: &mut Side) -> Vec<Column> {
    let readable = lines(&mut left.admin, &READABLE.replace("{own}", OWN));
    let (mut columns, mut alike) = (Vec::new(), Vec::new());
    for line in readable {
        let parts: Vec<_> = line.splitn(4, '|').collect();
        let [table, name, of_type, own] = parts[..] else { panic!("{line}") };
        let [on_left, on_right] =
            [&mut *left, &mut *right].map(|side| values(&mut side.admin, table, name, own));
        if on_left == on_right {
            alike.push(format!("{table}.{name}"));
        }
        let mine = format!(
            "SELECT coalesce({name}::text, '') AS line FROM {table} WHERE {own} ORDER BY 1"
        );
        let [ours, ours_too] = [&mut *left, &mut *right].map(|side| lines(&mut side.admin, &mine));
        assert_eq!(ours, ours_too, "{table}.{name} of the tenant's own rows");
        columns.push(Column {
            table: table.into(),
            name: name.into(),
            of_type: of_type.into(),
            only_left: only(&on_left, &on_right),
            only_right: only(&on_right, &on_left),
        });
    }
    assert!(
        alike.is_empty(),
        "others hold the same in both worlds in {alike:?}: give them other values in CROWD"
    );
    columns
}

impl Pair {
    /// With one tenant, number 0.
    pub fn of_equal_sizes(sessions: u32) -> (Self, Vec<Column>) {
        let (mut left, mut right) = std::thread::scope(|scope| {
            let left = scope.spawn(|| side(Name::Left, sessions));
            let right = side(Name::Right, sessions);
            (left.join().unwrap(), right)
        });
        let mut sizes = (pack(&mut left), pack(&mut right));
        for _ in 0..9 {
            if sizes.0 == sizes.1 {
                break;
            }
            sizes = (pack(&mut left), pack(&mut right));
        }
        let other: Vec<_> = sizes.0.iter().filter(|line| !sizes.1.contains(line)).collect();
        let there: Vec<_> = sizes.1.iter().filter(|line| !sizes.0.contains(line)).collect();
        assert!(other.is_empty(), "left: {other:?}, right: {there:?}");
        let mut pair = Self::of(left, right);
        let columns = pair.columns();
        (pair, columns)
    }

    /// What a tenant may read of others.
    pub fn columns(&mut self) -> Vec<Column> {
        columns(&mut self.left, &mut self.right)
    }
}
