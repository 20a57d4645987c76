//! What somebody tries who can put any SQL into a tenant's transaction: to read or change another
//! workspace's rows, to take another context, to reach past the tables, or to leave something
//! behind for the next tenant of the connection.
//!
//! Each attack is a piece of data, with the outcome it has. After each one the other workspace's
//! rows are unread and unchanged, and its next transaction on the same connection sees exactly them.

#![allow(clippy::unwrap_used, reason = "a test's set-up fails loudly")]
#![allow(unreachable_pub, reason = "a test binary exports nothing")]
#![allow(clippy::wildcard_imports, clippy::enum_glob_use, reason = "the lists read as tables")]

macro_rules! attack {
    ($name:literal, $form:ident, $outcome:expr, $sql:expr $(,)?) => {
        Attack { name: $name, form: $form, outcome: $outcome, sql: $sql }
    };
}

mod catalogue;
mod context;
mod definers;
mod files;
mod harness;
mod keys;
mod leftovers;
mod limits;
mod locks;
mod messages;
mod objects;
mod oracles;
mod outward;
mod prepared;
mod races;
mod recent;
mod replays;
mod roles;
mod rows;
mod sabotage;
mod scene;
mod secrets;
mod shadowing;
mod shared_memory;
mod upkeep;

use std::collections::HashSet;

use crate::support::signer::Signer;
use diesel::Connection;
use diesel::connection::SimpleConnection;
use harness::{Attack, Range, backend, line, secret_in};
use sesari_db::PgConnection;

/// What somebody may try, by family. Each has at least five entries.
const FAMILIES: &[(&str, &[Attack])] = &[
    ("taking another context", context::ATTACKS),
    ("escalating the role", roles::ATTACKS),
    ("reading keys or other sessions", keys::ATTACKS),
    ("shadowing", shadowing::ATTACKS),
    ("definer functions", definers::ATTACKS),
    ("views, rules, triggers, defaults, casts and operators", objects::ATTACKS),
    ("prepared statements and cursors", prepared::ATTACKS),
    ("COPY, large objects and files", files::ATTACKS),
    ("advisory locks and notifications", messages::ATTACKS),
    ("catalogue, statistics and plans", catalogue::ATTACKS),
    ("errors and constraints as oracles", oracles::ATTACKS),
    ("timeouts and locks", locks::ATTACKS),
    ("time of check, time of use", races::ATTACKS),
    ("contexts captured", replays::ATTACKS),
    ("rows by a detour", rows::ATTACKS),
    ("ways out of the database", outward::ATTACKS),
    ("what administrators do", upkeep::ATTACKS),
    ("audit log and credentials", secrets::ATTACKS),
    ("what is left on a connection", leftovers::ATTACKS),
    ("limits of the guarantee", limits::ATTACKS),
];

#[test]
fn no_family_is_thin_and_no_attack_is_there_twice() {
    let recent = recent::SINCE.iter().map(|(_, attacks)| *attacks);
    let mut names = HashSet::new();
    for (family, attacks) in FAMILIES {
        assert!(attacks.len() >= 5, "{family}: {}", attacks.len());
    }
    for attack in FAMILIES.iter().map(|(_, attacks)| *attacks).chain(recent).flatten() {
        assert!(names.insert(attack.name), "{}", attack.name);
    }
    assert!(names.len() >= 440, "{}", names.len());
}

#[test]
fn a_tenant_cannot_take_another_context() {
    Range::new().withstands(&[context::ATTACKS, replays::ATTACKS, races::ATTACKS]);
}

#[test]
fn a_tenant_cannot_reach_past_its_grants() {
    Range::new().withstands(&[roles::ATTACKS, keys::ATTACKS, secrets::ATTACKS, definers::ATTACKS]);
}

#[test]
fn a_tenant_cannot_put_anything_in_the_way_of_others() {
    Range::new().withstands(&[
        shadowing::ATTACKS,
        objects::ATTACKS,
        prepared::ATTACKS,
        locks::ATTACKS,
    ]);
}

#[test]
fn a_tenant_cannot_leave_its_database() {
    Range::new().withstands(&[
        files::ATTACKS,
        outward::ATTACKS,
        upkeep::ATTACKS,
        messages::ATTACKS,
    ]);
}

#[test]
fn a_tenant_cannot_read_or_change_the_rows_of_another() {
    Range::new().withstands(&[rows::ATTACKS, oracles::ATTACKS, catalogue::ATTACKS]);
}

#[test]
fn a_tenant_leaves_nothing_behind_for_the_next() {
    Range::new().withstands(&[leftovers::ATTACKS]);
}

#[test]
fn what_a_tenant_can_do_after_all_reads_and_changes_nothing_of_another() {
    Range::new().withstands(&[limits::ATTACKS]);
}

#[test]
fn newer_servers_give_a_tenant_no_new_way() {
    let mut range = Range::new();
    let version = "SELECT current_setting('server_version_num') AS line";
    let version: i32 = line(&mut range.admin, version).unwrap().parse().unwrap();
    for (since, attacks) in recent::SINCE {
        if version >= *since {
            range.withstands(&[attacks]);
        }
    }
}

#[test]
fn an_id_of_another_workspace_reads_like_an_id_of_nobody() {
    let mut range = Range::new();
    let (a, b) = (&range.world.a, &range.world.b);
    let ids = [
        ("b", b.workspace.to_string()),
        ("b_kpi", b.kpi.to_string()),
        ("b_goal", b.goal.to_string()),
        ("b_user", b.owner.to_string()),
    ];
    let (b, a_user) = (b.workspace.to_string(), a.owner.to_string());
    for (kind, sql) in limits::ORACLES {
        let sql = sql.replace("{b}", &b).replace("{a_user}", &a_user);
        let theirs = &ids.iter().find(|(name, _)| name == kind).unwrap().1;
        let nobodys = "x".repeat(theirs.len());
        let [one, other] = [theirs, &nobodys].map(|id| {
            let answer = range.answer_to(&sql.replace("{id}", id));
            answer.map(|text| text.replace(id, "ID")).map_err(|text| text.replace(id, "ID"))
        });
        assert_eq!(one, other, "{sql}");
    }
}

/// What a trigger records is read from the context at the end of the statement; the statement may
/// have thrown the context away by then.
#[test]
fn a_change_cannot_be_kept_out_of_the_audit_log_or_made_nobodys() {
    for sql in [
        "DELETE FROM kpis RETURNING set_config('sesari.context', '', true)",
        "DELETE FROM goals RETURNING set_config('sesari.context', 'none', true)",
        "UPDATE workspaces SET name = 'Renamed'
         RETURNING set_config('sesari.context', '', true)",
        "UPDATE integrations SET is_active = false
         RETURNING set_config('sesari.context', '', true)",
        "DELETE FROM workspace_users WHERE role = 'member'
         RETURNING set_config('sesari.context', '', true)",
        "WITH gone AS (DELETE FROM integrations RETURNING id)
         SELECT set_config('sesari.context', '', true) FROM gone",
    ] {
        let mut range = Range::new();
        let a = &range.world.a;
        let entries = format!(
            "SELECT count(*) FILTER (WHERE actor_id = '{}') || ' of the owner, '
                    || count(*) FILTER (WHERE actor_id NOT IN ('{0}', 'test-service')) || ' of others' AS line
             FROM audit_log WHERE workspace_id = '{}' AND action <> 'integration.create'",
            a.owner, a.workspace
        );
        let before = line(&mut range.admin, &entries).unwrap();
        let mut guard = range.narrow.tenant(&a.owner, &a.workspace).unwrap();
        let done = guard.connection().batch_execute(sql);
        let committed = guard.commit();
        let after = line(&mut range.admin, &entries).unwrap();
        if done.is_ok() && committed.is_ok() {
            assert_ne!(before, after, "no entry: {sql}");
        }
        assert!(after.ends_with(" 0 of others"), "{after}: {sql}");
    }
}

/// `DROP OWNED` drops the policies of a role for whoever is a member of it, and so every tenant's access.
#[test]
fn nobody_drops_the_policies_of_a_role() {
    let mut range = Range::new();
    let policies = "SELECT count(*)::text AS line FROM pg_policies";
    let before = line(&mut range.admin, policies).unwrap();
    for sql in [
        "DROP OWNED BY CURRENT_USER CASCADE",
        "RESET ROLE; DROP OWNED BY sesari_service CASCADE",
        "RESET ROLE; DROP OWNED BY sesari_tenant, sesari_service CASCADE",
    ] {
        let mut service = range.world.db.service(&crate::support::service()).unwrap();
        let refused = service.connection().batch_execute(sql).unwrap_err().to_string();
        assert!(refused.contains("permission denied"), "{sql}: {refused}");
    }
    assert_eq!(line(&mut range.admin, policies).unwrap(), before);
    // Where a role holds whole tables alone it is not refused: the grants by columns are the wall.
    range
        .admin
        .batch_execute("REVOKE ALL ON audit_log FROM sesari_service; GRANT SELECT ON audit_log TO sesari_service")
        .unwrap();
    let mut service = range.world.db.service(&crate::support::service()).unwrap();
    service.connection().batch_execute("DROP OWNED BY CURRENT_USER CASCADE").unwrap();
    service.commit().unwrap();
    assert_ne!(line(&mut range.admin, policies).unwrap(), before);
}

/// Slugs are unique among all workspaces, so whether one is taken cannot stay hidden; whose it is
/// does.
#[test]
fn a_slug_that_is_taken_says_so_and_no_more() {
    let mut range = Range::new();
    let error = range.answer_to("UPDATE workspaces SET slug = 'globex'").unwrap_err();
    assert!(error.contains("workspaces_slug_key"), "{error}");
    assert!(!error.contains(range.world.b.workspace.as_str()), "{error}");
    assert!(!error.contains("Globex"), "{error}");
}

/// Both are the same login to PostgreSQL: one can end the other, as it could by using up all
/// connections. Nothing is read or half done.
#[test]
fn a_session_that_another_tenant_ends_is_replaced() {
    let range = Range::new();
    let (a, b) = (&range.world.a, &range.world.b);
    let victims = range.world.test.builder().pool_size(1).build().unwrap();
    let mut victim = victims.tenant(&b.owner, &b.workspace).unwrap();
    let pid = backend(victim.connection()).pid;
    victim.kpis().deactivate(&b.kpi).unwrap();
    let mut attacker = range.narrow.tenant(&a.owner, &a.workspace).unwrap();
    let end = format!("RESET ROLE; SELECT pg_terminate_backend({pid}, 5000)");
    attacker.connection().batch_execute(&end).unwrap();
    assert!(victim.commit().is_err());
    let mut again = victims.tenant(&b.owner, &b.workspace).unwrap();
    assert!(again.kpis().find(&b.kpi).unwrap().unwrap().is_active);
}

/// What binds a context is its backend and its age, not its transaction: see the next test. So no
/// other session may read what a transaction was begun with.
#[test]
fn a_context_cannot_be_read_from_another_session() {
    let range = Range::new();
    let b = &range.world.b;
    let mut admin = range.world.test.admin().unwrap();
    let before = sessions(&mut admin);
    let wide = range.world.test.builder().pool_size(1).build().unwrap();
    let mut victim = wide.tenant(&b.owner, &b.workspace).unwrap();
    // The login itself, which every tenant's statement can go back to by RESET ROLE.
    let mut attacker = PgConnection::establish(&range.world.test.tenant_url()).unwrap();
    let seen = line(
        &mut attacker,
        &format!(
            "SELECT coalesce(string_agg(query, ' | '), '') AS line FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()
               AND pid <> ALL ('{{{before}}}')"
        ),
    )
    .unwrap();
    assert!(!seen.contains("sesari.context"), "{seen}");
    assert!(victim.role().unwrap().is_some());
}

/// Another limit: whoever knows a live context, and gets its backend within seconds, is taken for
/// its user. After ten seconds, and on every other backend, it is worthless: see `ATTACKS`.
#[test]
fn a_context_that_became_known_opens_its_workspace_on_its_backend_for_seconds() {
    let range = Range::new();
    let signer = Signer::of(&range.world.test);
    let (a, b) = (&range.world.a, &range.world.b);
    let mut attacker = range.narrow.tenant(&a.owner, &a.workspace).unwrap();
    let mut reads_with = |age: i64| {
        let here = backend(attacker.connection());
        let (owner, workspace) = (b.owner.as_str(), b.workspace.as_str());
        let token = signer.sign('u', owner, workspace, here.now - age * 1_000_000, here.pid);
        let replay = format!("SET LOCAL sesari.context = '{token}'");
        attacker.connection().batch_execute(&replay).unwrap();
        let seen = line(attacker.connection(), &range.view).unwrap();
        secret_in(seen.as_bytes()).is_some()
    };
    assert!(reads_with(0));
    assert!(!reads_with(11));
}

fn sessions(admin: &mut PgConnection) -> String {
    let pids = "SELECT coalesce(string_agg(pid::text, ','), '') AS line FROM pg_stat_activity";
    line(admin, pids).unwrap()
}

/// A test that cannot fail guards nothing: with a hole in the wall, the same attacks are found out.
/// Every fourth hole; all with `SESARI_LONG`.
#[test]
fn every_hole_in_the_wall_is_seen() {
    for hole in crate::support::some_of(sabotage::HOLES, 4) {
        let mut range = Range::new();
        range.admin.batch_execute(hole.sql).unwrap();
        let findings = range.attack(&hole.attack);
        assert!(
            findings.iter().any(|finding| finding.contains(hole.seen)),
            "{}: expected {:?} among {findings:#?}",
            hole.what,
            hole.seen
        );
    }
}
