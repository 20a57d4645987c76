//! What is left on the server's connections once everybody is gone.

use diesel::Connection as _;
use diesel::connection::SimpleConnection;
use sesari_db::PgConnection;
use sesari_db::testing::TestDatabase;

use crate::support::World;
use crate::support::bouncer::{Bouncer, SERVERS};
use crate::support::logins::value;

/// Everything that a session can keep. The pooler knows of the five settings left out, and sets them
/// for each client anew.
const KEPT: &str = "SELECT pg_catalog.concat_ws(' | ',
    (SELECT string_agg(name || '=' || setting, ',' ORDER BY name) FROM pg_catalog.pg_settings
      WHERE source = 'session' AND name NOT IN
            ('TimeZone', 'DateStyle', 'client_encoding', 'standard_conforming_strings', 'application_name')),
    (SELECT string_agg(name, ',') FROM pg_catalog.pg_cursors),
    (SELECT string_agg(statement, ',') FROM pg_catalog.pg_prepared_statements),
    (SELECT string_agg(channel, ',') FROM pg_catalog.pg_listening_channels() AS channel),
    (SELECT string_agg(locktype || coalesce(mode, ''), ',') FROM pg_catalog.pg_locks
      WHERE locktype NOT IN ('virtualxid', 'relation') AND pid = pg_catalog.pg_backend_pid()),
    (SELECT string_agg(relname, ',') FROM pg_catalog.pg_class
      WHERE relnamespace = pg_catalog.pg_my_temp_schema()),
    nullif(current_setting('sesari.context', true), ''), nullif(current_setting('mine.note', true), ''),
    nullif(session_user, 'sesari_test_tenant'), nullif(current_user, 'sesari_test_tenant'))";

/// What each server connection of the tenant login keeps: all of them at once, each in a transaction.
pub fn left_behind(bouncer: &Bouncer, test: &TestDatabase) -> Vec<String> {
    let mut clients: Vec<PgConnection> = (0..SERVERS).map(|_| bouncer.connect(test)).collect();
    let mut pids = std::collections::HashSet::new();
    let mut kept = Vec::new();
    for client in &mut clients {
        client.batch_execute("BEGIN").unwrap();
        kept.push(value(client, KEPT));
        assert!(pids.insert(value(client, "pg_backend_pid()")));
    }
    for client in &mut clients {
        client.batch_execute("ROLLBACK").unwrap();
    }
    kept
}

pub fn servers_are_clean(bouncer: &Bouncer, test: &TestDatabase) {
    for kept in left_behind(bouncer, test) {
        assert_eq!(kept, "");
    }
    // From the administrator's side too.
    let mut admin = test.admin().unwrap();
    let locks = "SELECT count(*) FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
                  WHERE l.locktype = 'advisory' AND a.usename LIKE 'sesari_test%'
                    AND a.datname = current_database()";
    assert_eq!(value(&mut admin, locks), "0");
}

/// A guard cleans up after a caller who was lent the connection, with the message that ends its
/// transaction: also where the pooler cleans nothing.
#[test]
fn a_lent_connection_is_clean_without_the_poolers_help() {
    let world = World::new();
    let Some(bouncer) = Bouncer::start(&world.test, &[("server_reset_query_always", "0")]) else {
        return;
    };
    let db = bouncer.builder(&world.test).build().unwrap();
    let a = &world.a;
    for commits in [true, false] {
        let mut guard = db.tenant(&a.owner, &a.workspace).unwrap();
        guard
            .connection()
            .batch_execute(
                "SET work_mem = '1MB'; SET statement_timeout = 1000; SET TIME ZONE 'Asia/Kathmandu';
                 LISTEN left_behind; SELECT pg_advisory_lock(7); SET SESSION ROLE sesari_tenant;
                 PREPARE left_behind AS SELECT 1; DECLARE held CURSOR WITH HOLD FOR SELECT 1;
                 SET mine.note = 'here'",
            )
            .unwrap();
        if commits {
            guard.commit().unwrap();
        } else {
            drop(guard);
        }
        servers_are_clean(&bouncer, &world.test);
    }
}

/// The pooler keeps account of a client's time zone, encoding and name, and gives them back to it,
/// whatever somebody else's cleaning has set them to on the server's connection. The client that the
/// cleaning is for has the name from then on with which that connection was opened.
#[test]
fn other_clients_keep_what_the_pooler_knows_of_them() {
    let world = World::new();
    let changes = [("server_reset_query_always", "0"), ("default_pool_size", "1")];
    let Some(bouncer) = Bouncer::start(&world.test, &changes) else { return };
    let url = bouncer.url(&world.test.tenant_url());
    let mut other = PgConnection::establish(&format!("{url}?application_name=other")).unwrap();
    let mine = "concat_ws(' ', current_setting('TimeZone'), current_setting('client_encoding'),
        current_setting('DateStyle'), current_setting('application_name'))";
    other.batch_execute("SET TIME ZONE 'Asia/Tokyo'; SET DateStyle = 'German, DMY'").unwrap();
    let before = value(&mut other, mine);
    assert_eq!(before, "Asia/Tokyo UTF8 German, DMY other");
    let db = sesari_db::Database::builder(
        format!("{url}?application_name=shop"),
        world.test.context_key().clone(),
    );
    let db = db.behind_transaction_pooler().pool_size(1).build().unwrap();
    let a = &world.a;
    for name in ["shop", "other"] {
        let mut guard = db.tenant(&a.owner, &a.workspace).unwrap();
        assert_eq!(value(guard.connection(), "current_setting('TimeZone')"), "UTC");
        assert_eq!(value(guard.connection(), "current_setting('application_name')"), name);
        guard.connection().batch_execute("SET TIME ZONE 'Asia/Kathmandu'").unwrap();
        guard.commit().unwrap();
        assert_eq!(value(&mut other, mine), before);
    }
}

/// What a caller leaves behind a `COMMIT` of their own may be on another server connection than the one
/// that the guard cleans. `server_reset_query_always` is for that.
#[test]
fn what_is_left_behind_a_commit_of_ones_own_is_the_poolers_to_clean() {
    for (always, stays) in [("0", true), ("1", false)] {
        let world = World::new();
        let changes = [("server_reset_query_always", always)];
        let Some(bouncer) = Bouncer::start(&world.test, &changes) else { return };
        let db = bouncer.builder(&world.test).build().unwrap();
        let (a, b) = (&world.a, &world.b);
        let mut guard = db.tenant(&a.owner, &a.workspace).unwrap();
        guard
            .connection()
            .batch_execute("COMMIT; SET work_mem = '1MB'; PREPARE p AS SELECT 1")
            .unwrap();
        // Somebody else gets that connection next, and the guard's end another one.
        let mut other = bouncer.connect(&world.test);
        other.batch_execute("BEGIN").unwrap();
        let found = value(&mut other, KEPT);
        assert_eq!(
            found.contains("work_mem=1024") && found.contains("PREPARE p"),
            stays,
            "{found}"
        );
        drop(guard);
        other.batch_execute("ROLLBACK").unwrap();
        // It is in nobody's way: a guard brings its own settings, and reads its own rows.
        for tenant in [b, a] {
            let mut guard = db.tenant(&tenant.owner, &tenant.workspace).unwrap();
            assert!(guard.kpis().find(&tenant.kpi).unwrap().is_some());
            assert_eq!(guard.kpis().count(&sesari_db::repo::KpiFilter::default()).unwrap(), 1);
            guard.commit().unwrap();
        }
    }
}
