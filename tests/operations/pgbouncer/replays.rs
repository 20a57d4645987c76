//! What a captured context is worth behind a transaction pooler, where no backend binds it: its
//! workspace, from any connection of the same login, for ten seconds. And that nobody is shown one.

use std::time::Duration;

use diesel::Connection as _;
use diesel::connection::SimpleConnection;
use sesari_db::PgConnection;
use sesari_db::maintenance;

use crate::support::World;
use crate::support::bouncer::Bouncer;
use crate::support::logins::value;
use crate::support::signer::Signer;

/// What somebody reads who sets the captured context in a transaction of their own.
fn replayed(conn: &mut PgConnection, token: &str) -> String {
    conn.batch_execute(&format!(
        "BEGIN; SET LOCAL ROLE sesari_tenant; SET LOCAL sesari.context = '{token}'"
    ))
    .unwrap();
    let seen = value(conn, "SELECT string_agg(DISTINCT workspace_id, ' ') FROM kpis");
    conn.batch_execute("ROLLBACK").unwrap();
    seen
}

fn token_of(world: &World, db: &sesari_db::Database) -> String {
    let b = &world.b;
    let mut guard = db.tenant(&b.owner, &b.workspace).unwrap();
    value(guard.connection(), "current_setting('sesari.context')")
}

#[test]
fn a_captured_context_opens_its_workspace_for_ten_seconds_and_no_longer() {
    let world = World::new();
    let Some(bouncer) = Bouncer::start(&world.test, &[]) else { return };
    let db = bouncer.builder(&world.test).build().unwrap();
    let b = world.b.workspace.as_str();
    let token = token_of(&world, &db);
    assert_eq!(token.split('.').nth(6), Some("0"));
    // After its transaction has ended, on any server connection, by way of the pooler and past it.
    let mut pooled: Vec<_> = (0..3).map(|_| bouncer.connect(&world.test)).collect();
    for conn in &mut pooled {
        conn.batch_execute("BEGIN").unwrap();
        conn.batch_execute("ROLLBACK").unwrap();
        assert_eq!(replayed(conn, &token), b);
    }
    let mut direct = PgConnection::establish(&world.test.tenant_url()).unwrap();
    assert_eq!(replayed(&mut direct, &token), b);
    // Not for another workspace, user or kind of actor.
    for (from, to) in [
        (b, world.a.workspace.as_str()),
        (world.b.owner.as_str(), world.a.owner.as_str()),
        (".u.", ".s."),
    ] {
        assert_eq!(replayed(&mut direct, &token.replace(from, to)), "NULL");
    }
    // Time is part of what is signed; this is the same context, eleven seconds later.
    let signer = Signer::of(&world.test);
    let aged = |seconds: i64| {
        let now: i64 = token.split('.').nth(5).unwrap().parse().unwrap();
        signer.sign('u', world.b.owner.as_str(), b, now - seconds * 1_000_000, 0)
    };
    assert_eq!(aged(0), token);
    assert_eq!(replayed(&mut direct, &aged(11)), "NULL");
    // A transaction that began in time goes on, and so does what it was begun for.
    direct
        .batch_execute(&format!(
            "BEGIN; SET LOCAL ROLE sesari_tenant; SET LOCAL sesari.context = '{}'",
            aged(8)
        ))
        .unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(value(&mut direct, "SELECT min(workspace_id) FROM kpis"), b);
    direct.batch_execute("ROLLBACK").unwrap();
    // Revoked with its user, and with its key.
    let token = token_of(&world, &db);
    let mut guard = world.db.tenant(&world.b.admin, &world.b.workspace).unwrap();
    guard.members().remove(&world.b.member).unwrap();
    guard.commit().unwrap();
    let now: i64 = token.split('.').nth(5).unwrap().parse().unwrap();
    let removed = signer.sign('u', world.b.member.as_str(), b, now, 0);
    assert_eq!(replayed(&mut direct, &removed), "NULL");
    assert_eq!(replayed(&mut direct, &token), b);
    maintenance::retire_context_key(&mut world.test.admin().unwrap(), "test").unwrap();
    assert_eq!(replayed(&mut direct, &token), "NULL");
}

#[test]
fn no_other_session_is_shown_the_context() {
    let world = World::new();
    let Some(bouncer) = Bouncer::start(&world.test, &[]) else { return };
    let db = bouncer.builder(&world.test).build().unwrap();
    let b = &world.b;
    // In two parts: behind the pooler this question is shown too, to whoever asks next.
    let shown = "SELECT count(*) FROM pg_stat_activity
                  WHERE datname = current_database() AND query LIKE '%sesari' || '.context%'
                    AND pid <> pg_backend_pid()";
    for mut attacker in [
        bouncer.connect(&world.test),
        PgConnection::establish(&world.test.tenant_url()).unwrap(),
        world.test.admin().unwrap(),
    ] {
        let mut guard = db.tenant(&b.owner, &b.workspace).unwrap();
        assert!(guard.role().unwrap().is_some());
        let opened = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND state = 'idle in transaction'";
        assert_ne!(value(&mut attacker, opened), "0");
        assert_eq!(value(&mut attacker, shown), "0");
        guard.commit().unwrap();
        assert_eq!(value(&mut attacker, shown), "0");
    }
}
