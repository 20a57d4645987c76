//! What fills memory that all sessions of a server share, so that others cannot work: each attack as the
//! server is, and hardened. On a server of its own, whose lock table is small.

use std::time::{Duration, Instant};

use diesel::Connection;
use diesel::connection::SimpleConnection;
use sesari_db::PgConnection;
use sesari_db::database::{HardeningState, IsolationOptions, IsolationReport};
use sesari_db::id::{UserId, WorkspaceId};
use sesari_db::repo::{KpiFilter, NewKpi, NewUser};
use sesari_db::value::AuthProvider;
use sesari_db::{Database, Error, TenantConnection, migrations};

use super::harness::line;
use crate::support::server::Server;
use crate::support::{create_workspace, service, sign_up, until};

const REVOKE: &str = include_str!("../../../docs/revoke_locks.sql");
const WATCHDOG: &str = include_str!("../../../docs/watchdog.sql");
const REFUSE: &str = include_str!("../../../docs/refuse_ddl.sql");

/// What takes one entry of the lock table until the transaction ends, or the session.
#[derive(Clone, Copy)]
enum Entry {
    /// A call, with `g` counting up.
    Call(&'static str),
    /// A statement in a savepoint that stays open.
    Savepoint(&'static str),
}
use Entry::{Call, Savepoint};

/// Each with whether `docs/revoke_locks.sql` stops it.
const FILLERS: &[(Entry, bool)] = &[
    (Call("pg_advisory_lock(g)"), true),
    (Call("pg_advisory_lock(g, g)"), true),
    (Call("pg_advisory_lock_shared(g)"), true),
    (Call("pg_advisory_lock_shared(g, g)"), true),
    (Call("pg_advisory_xact_lock(g)"), true),
    (Call("pg_advisory_xact_lock(g, g)"), true),
    (Call("pg_advisory_xact_lock_shared(g)"), true),
    (Call("pg_advisory_xact_lock_shared(g, g)"), true),
    (Call("pg_try_advisory_lock(g)"), true),
    (Call("pg_try_advisory_lock(g, g)"), true),
    (Call("pg_try_advisory_lock_shared(g)"), true),
    (Call("pg_try_advisory_lock_shared(g, g)"), true),
    (Call("pg_try_advisory_xact_lock(g)"), true),
    (Call("pg_try_advisory_xact_lock(g, g)"), true),
    (Call("pg_try_advisory_xact_lock_shared(g)"), true),
    (Call("pg_try_advisory_xact_lock_shared(g, g)"), true),
    // Deleting one locks it.
    (Call("lo_unlink(lo_create(0))"), true),
    (Call("lo_unlink(lo_creat(-1))"), true),
    (Call("lo_unlink(lo_from_bytea(0, ''))"), true),
    (Savepoint("SELECT pg_logical_emit_message(true, 'x', 'x')"), true),
    (Savepoint("SELECT pg_logical_emit_message(true, 'x', 'x'::bytea)"), true),
    // Whatever writes a row gives its savepoint a number, and a lock on that. Nothing in a schema
    // prevents it.
    (Savepoint("UPDATE kpis SET unit = unit WHERE name = 'mine'"), false),
    (Savepoint("INSERT INTO kpis (name) VALUES ('x')"), false),
];

/// A server with two tenants and a watchdog that is connected before anything happens.
struct Scene {
    db: Database,
    tenants: [(UserId, WorkspaceId); 2],
    watchdog: PgConnection,
    admin: PgConnection,
    server: Server,
}

impl Scene {
    fn new() -> Self {
        let server = Server::new(&[
            "max_locks_per_transaction=10",
            "max_connections=20",
            "superuser_reserved_connections=0",
            "track_activity_query_size=64kB",
        ]);
        // PostgreSQL 18 takes half of the usual limit to fill its table, and a slow machine all of it.
        let db = server.builder().statement_timeout(Duration::from_mins(10)).build().unwrap();
        let tenants = ["one", "other"].map(|name| {
            let user = sign_up(&db, name);
            let workspace = create_workspace(&db, &user, name);
            let mut tenant = db.tenant(&user, &workspace).unwrap();
            tenant.kpis().create(&NewKpi::new("mine".parse().unwrap())).unwrap();
            tenant.commit().unwrap();
            (user, workspace)
        });
        let mut admin = server.admin();
        admin
            .batch_execute(
                "CREATE ROLE watchdog LOGIN PASSWORD 'secret' IN ROLE pg_read_all_stats, pg_signal_backend",
            )
            .unwrap();
        let url = server.tenant_url().replace("tenant_login", "watchdog");
        let mut watchdog = PgConnection::establish(&url).unwrap();
        // It runs all the time.
        watchdog.batch_execute(&recipe()).unwrap();
        Self { db, tenants, watchdog, admin, server }
    }

    /// Somebody with any SQL. The other tenant has a connection by then: there is no way in later.
    fn attacker(&self) -> TenantConnection {
        let [attacker, _victim] =
            [0, 1].map(|n| self.db.tenant(&self.tenants[n].0, &self.tenants[n].1).unwrap());
        attacker
    }

    /// The work of the other tenant, in savepoints: a few entries are left here and there.
    fn victim(&self) -> Result<(), Error> {
        let (user, workspace) = &self.tenants[1];
        let mut tenant = self.db.tenant(user, workspace)?;
        let work = "SAVEPOINT work; INSERT INTO kpis (name) VALUES ('work');".repeat(20);
        tenant.connection().batch_execute(&work)?;
        tenant.commit()
    }

    fn is_full(&self) -> bool {
        matches!(self.victim(), Err(Error::ServerFull(_)))
    }

    /// Runs the recipe once, after which the other tenant is served.
    fn end_the_attacker(&mut self) {
        self.watchdog.batch_execute(&recipe()).unwrap();
        let start = Instant::now();
        while self.is_full() {
            assert!(start.elapsed() < Duration::from_mins(1), "the session is not ended");
        }
        self.victim().unwrap();
    }
}

/// The recipe, for the logins here and a lock table this small.
fn recipe() -> String {
    let recipe = WATCHDOG.replace("'sesari_app', 'sesari_jobs'", "'tenant_login', 'service_login'");
    recipe.replace("l.locks > 1000", "l.locks > 100")
}

/// Takes entries for as long as there are any, and keeps them.
fn fill(tenant: &mut TenantConnection, entry: Entry) -> Result<(), Error> {
    let sql = match entry {
        // In steps that become smaller: each that fails gives its own back.
        Call(call) => format!(
            "DO $$ DECLARE step int := 1000; n int := 0; BEGIN
                 WHILE step > 0 LOOP
                     BEGIN
                         PERFORM {call} FROM generate_series(n + 1, n + step) AS g;
                         n := n + step;
                     EXCEPTION WHEN out_of_memory THEN step := step / 10; END;
                 END LOOP;
             END $$"
        ),
        // The server takes them until it has no room, which fails the last savepoint alone.
        Savepoint(statement) => format!("SAVEPOINT s; {statement};").repeat(10_000),
    };
    match tenant.connection().batch_execute(&sql).map_err(Error::from) {
        Err(Error::ServerFull(_)) if matches!(entry, Savepoint(_)) => Ok(()),
        done => done,
    }
}

fn text(entry: Entry) -> &'static str {
    match entry {
        Call(text) | Savepoint(text) => text,
    }
}

#[test]
fn what_fills_the_lock_table_is_stopped_or_ended() {
    let mut scene = Scene::new();
    for (entry, _) in FILLERS {
        let name = text(*entry);
        let mut attacker = scene.attacker();
        fill(&mut attacker, *entry).expect(name);
        let work = scene.victim();
        assert!(matches!(work, Err(Error::ServerFull(_))), "{name}: {work:?}");
        if name.starts_with("pg_") {
            // To the last entry: not even an administrator gets in.
            assert!(scene.server.try_admin().is_err(), "{name}");
        }
        drop(attacker);
        // The server gives back what the connection held once it notices that it is gone.
        until(Duration::from_mins(1), name, || scene.victim().is_ok());
    }

    scene.admin.batch_execute(REVOKE).unwrap();
    for (entry, stopped) in FILLERS {
        let name = text(*entry);
        let mut attacker = scene.attacker();
        let filled = fill(&mut attacker, *entry);
        if *stopped {
            assert!(matches!(filled, Err(Error::Denied)), "{name}: {filled:?}");
            scene.victim().expect(name);
        } else {
            filled.expect(name);
            assert!(scene.is_full(), "{name}");
            scene.end_the_attacker();
            assert!(attacker.commit().is_err());
        }
    }
    // The recipe leaves those alone who do their work.
    let mut working = scene.attacker();
    working.kpis().count(&KpiFilter::default()).unwrap();
    scene.watchdog.batch_execute(&recipe()).unwrap();
    working.commit().unwrap();
}

/// On the smallest lock table, and with the functions revoked.
#[test]
fn nothing_of_ours_needs_what_is_revoked_or_a_lock_for_each_row() {
    let scene = Scene::new();
    let Scene { db, mut admin, server, .. } = scene;
    admin.batch_execute(REVOKE).unwrap();
    admin.batch_execute(REFUSE).unwrap();
    let many = "INSERT INTO users (id, email, provider, provider_id) \
                SELECT 'u' || n, 'u' || n || '@example.com', 'google', 'u' || n \
                  FROM generate_series(1, 20000) AS n";
    let mut guard = db.service(&service()).unwrap();
    guard.connection().batch_execute(many).unwrap();
    let held = "SELECT count(*)::text AS line FROM pg_locks WHERE pid = pg_backend_pid()";
    let held: u32 = line(guard.connection(), held).unwrap().parse().unwrap();
    assert!(held < 30, "{held} locks");
    guard.commit().unwrap();
    let account = NewUser::new(
        "new@example.com".parse().unwrap(),
        AuthProvider::Google,
        "new".parse().unwrap(),
    );
    let mut guard = db.service(&service()).unwrap();
    let (first, second) =
        (guard.users().sign_in(&account).unwrap(), guard.users().sign_in(&account).unwrap());
    assert_eq!(first.id, second.id);
    guard.commit().unwrap();

    // A connection that was lent is cleaned and kept, also where a pooler stands between.
    let (user, workspace) = &scene.tenants[0];
    let pooled = server.builder().pool_size(1).behind_transaction_pooler().build().unwrap();
    let direct = server.builder().pool_size(1).build().unwrap();
    for db in [&direct, &pooled] {
        let mut seen = Vec::new();
        for end in [TenantConnection::commit, TenantConnection::rollback] {
            let mut tenant = db.tenant(user, workspace).unwrap();
            let pid = "SELECT pg_backend_pid()::text AS line";
            seen.push(line(tenant.connection(), pid).unwrap());
            tenant.connection().batch_execute("SET SESSION enable_sort = off").unwrap();
            end(tenant).unwrap();
            let mut tenant = db.tenant(user, workspace).unwrap();
            let sort = "SELECT current_setting('enable_sort') AS line";
            assert_eq!(line(tenant.connection(), sort).unwrap(), "on");
            seen.push(line(tenant.connection(), pid).unwrap());
        }
        seen.dedup();
        assert_eq!(seen.len(), 1, "the connection was given up: {seen:?}");
    }

    // Migrations wait for each other as the login that deploys, which has the right from the owner.
    admin
        .batch_execute(
            "CREATE ROLE deployer LOGIN CREATEROLE PASSWORD 'secret'; GRANT sesari_owner TO deployer; \
             ALTER DATABASE postgres OWNER TO deployer",
        )
        .unwrap();
    let url = server.tenant_url().replace("tenant_login", "deployer");
    let mut deployer = PgConnection::establish(&url).unwrap();
    let last = migrations::revert_last(&mut deployer).unwrap().unwrap();
    assert_eq!(migrations::run(&mut deployer).unwrap(), [last]);
}

/// PostgreSQL locks the table first, and then looks whose it is.
#[test]
fn a_definition_that_is_refused_waits_for_no_lock() {
    let mut scene = Scene::new();
    let definitions = [
        "CREATE RULE mine AS ON INSERT TO sesari.context_keys DO ALSO NOTHING",
        "CREATE TRIGGER mine BEFORE INSERT ON sesari.context_keys
             EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    ];
    let attempt = |scene: &mut Scene, definition: &str| {
        let mut attacker = scene.attacker();
        scene
            .admin
            .batch_execute("BEGIN; LOCK TABLE sesari.context_keys IN ROW EXCLUSIVE MODE")
            .unwrap();
        let conn = attacker.connection();
        conn.batch_execute("SET LOCAL lock_timeout = '100ms'").unwrap();
        let refused = conn.batch_execute(definition).map_err(Error::from).unwrap_err();
        scene.admin.batch_execute("COMMIT").unwrap();
        refused
    };
    for definition in definitions {
        let waited = attempt(&mut scene, definition);
        assert!(matches!(waited, Error::LockTimeout), "{definition}: {waited:?}");
    }
    scene.admin.batch_execute(REFUSE).unwrap();
    for definition in definitions {
        let refused = attempt(&mut scene, definition);
        assert!(matches!(refused, Error::Denied), "{definition}: {refused:?}");
    }
    // Whoever is no service's login defines as before.
    scene.admin.batch_execute("CREATE TABLE public.notes (body text)").unwrap();
}

/// Each of its transactions is young.
#[test]
fn the_watchdog_ends_a_statement_that_commits_again_and_again() {
    let mut scene = Scene::new();
    let recipe = recipe().replace("5 minutes", "2 seconds");
    let mut attacker = PgConnection::establish(&scene.server.tenant_url()).unwrap();
    std::thread::scope(|scope| {
        let looping = scope.spawn(move || {
            attacker.batch_execute(
                "DO $$ BEGIN FOR i IN 1 .. 300 LOOP PERFORM pg_sleep(0.1); COMMIT; END LOOP; END $$",
            )
        });
        while !looping.is_finished() {
            scene.watchdog.batch_execute(&recipe).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        assert!(looping.join().unwrap().is_err(), "it went on to its end");
    });
}

#[test]
fn the_size_of_the_lock_table_and_reserved_connections_are_seen_off_and_on() {
    let scene = Scene::new();
    let look = |server: &Server| {
        let report = IsolationReport::check(&server.tenant_url(), &IsolationOptions::tenant());
        let report = report.unwrap();
        ["hardening-lock-table", "hardening-reserved-connections"].map(|measure| {
            report.hardening().iter().find(|found| found.rule == measure).unwrap().state
        })
    };
    let Scene { db, mut admin, watchdog, server, .. } = scene;
    assert_eq!(look(&server), [HardeningState::Off; 2]);
    for setting in ["max_locks_per_transaction = 10000", "superuser_reserved_connections = 2"] {
        admin.batch_execute(&format!("ALTER SYSTEM SET {setting}")).unwrap();
    }
    drop((db, admin, watchdog));
    server.tell("stop");
    server.start();
    assert_eq!(look(&server), [HardeningState::On; 2]);
}
