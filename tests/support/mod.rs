//! Two workspaces with the same cast and the same furniture, in one throw-away database.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "a test's set-up fails loudly")]

pub mod bouncer;
pub mod line;
pub mod logins;
pub mod proxy;
pub mod random;
pub mod server;
pub mod signer;

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use sesari_db::credentials::{SealingKey, SealingKeyRing};
use sesari_db::id::{GoalId, KpiId, UserId, WorkspaceId};
use sesari_db::repo::{
    Membership, NewDataPoint, NewGoal, NewGoalKpi, NewKpi, NewUser, NewWorkspace, OnExisting,
};
use sesari_db::tenancy::ServiceName;
use sesari_db::testing::TestDatabase;
use sesari_db::value::{AuthProvider, Finite, Role};
use sesari_db::{Database, PgConnection};

/// The number that a query answers.
pub fn number(conn: &mut PgConnection, query: &str) -> i64 {
    diesel::select(sql::<BigInt>(&format!("({query})"))).get_result(conn).unwrap()
}

/// Waits until something holds, for so long at most.
pub fn until(within: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < within, "{what}: not so");
        std::thread::sleep(Duration::from_millis(10));
    }
}

const ALONE: &str = "SESARI_ALONE";

/// Runs the test of this full name once more, in a process of its own and so on a server of its own,
/// unless this is that process: then true, and the test goes on. For what shares neither with others.
pub fn alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some_and(|alone| alone == test) {
        return true;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--include-ignored", "--nocapture"])
        .env(ALONE, test)
        .output()
        .unwrap();
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    print!("{out}");
    eprint!("{err}");
    assert!(output.status.success() && out.contains("1 passed"), "{test}: see above");
    false
}

/// Whether the long forms of tests are asked for, by `SESARI_LONG`.
pub fn is_long() -> bool {
    std::env::var_os("SESARI_LONG").is_some()
}

/// Of a list of which each element takes a database of its own: all in the long form, else every so many.
pub fn some_of<T>(all: &[T], every: usize) -> impl Iterator<Item = &T> {
    all.iter().step_by(if is_long() { 1 } else { every })
}

/// One workspace: an owner, an admin, a member, a KPI with three points, and a goal on it.
pub struct Tenant {
    pub workspace: WorkspaceId,
    pub slug: String,
    pub owner: UserId,
    pub admin: UserId,
    pub member: UserId,
    pub kpi: KpiId,
    pub goal: GoalId,
}

/// A migrated database with tenants `a` and `b`, and a user who is in neither.
pub struct World {
    // Dropped first: a database cannot be dropped while the pool is connected without FORCE.
    pub db: Database,
    pub a: Tenant,
    pub b: Tenant,
    pub stranger: UserId,
    pub test: Arc<TestDatabase>,
}

pub fn service() -> ServiceName {
    "test-service".parse().unwrap()
}

/// The keys of every world: one, `k1`.
pub fn sealing_keys() -> SealingKeyRing {
    SealingKey::new("k1".parse().unwrap(), &[1; SealingKey::LEN]).unwrap().into()
}

/// 2026-01-01, and so many hours.
pub fn hour(hours: i64) -> DateTime<Utc> {
    "2026-01-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::hours(hours)
}

pub fn sign_up(db: &Database, name: &str) -> UserId {
    let mut service = db.service(&service()).unwrap();
    let user = service
        .users()
        .sign_in(&NewUser {
            name: Some(name.parse().unwrap()),
            ..NewUser::new(
                format!("{name}@example.com").parse().unwrap(),
                AuthProvider::Google,
                format!("google-{name}").parse().unwrap(),
            )
        })
        .unwrap();
    service.commit().unwrap();
    user.id
}

pub fn create_workspace(db: &Database, owner: &UserId, slug: &str) -> WorkspaceId {
    let mut user = db.user(owner).unwrap();
    let new =
        NewWorkspace::new(format!("Workspace {slug}").parse().unwrap(), slug.parse().unwrap());
    let workspace = user.my_workspaces().create(&new).unwrap();
    user.commit().unwrap();
    workspace.id
}

/// As a service that has the user's consent.
pub fn add_member(db: &Database, workspace: &WorkspaceId, user: &UserId, role: Role) -> Membership {
    let mut service = db.service(&service()).unwrap();
    let membership = service.memberships().add(workspace, user, role).unwrap();
    service.commit().unwrap();
    membership
}

impl Tenant {
    pub fn furnish(db: &Database, slug: &str) -> Self {
        let owner = sign_up(db, &format!("{slug}-owner"));
        let admin = sign_up(db, &format!("{slug}-admin"));
        let member = sign_up(db, &format!("{slug}-member"));
        let workspace = create_workspace(db, &owner, slug);
        add_member(db, &workspace, &admin, Role::Admin);
        add_member(db, &workspace, &member, Role::Member);
        let mut tenant = db.tenant(&owner, &workspace).unwrap();
        let kpi = tenant
            .kpis()
            .create(&NewKpi {
                target_value: Some(Finite::new(100.0).unwrap()),
                ..NewKpi::new("Revenue".parse().unwrap())
            })
            .unwrap();
        let points: Vec<_> = (0..3)
            .map(|i| {
                NewDataPoint::new(kpi.id.clone(), 10.0 * f64::from(i + 1), hour(i.into())).unwrap()
            })
            .collect();
        tenant.data_points().record_many(&points, OnExisting::Fail).unwrap();
        let goal = tenant.goals().create(&NewGoal::new("Grow".parse().unwrap())).unwrap();
        tenant.goal_kpis().link(&NewGoalKpi::new(goal.id.clone(), kpi.id.clone())).unwrap();
        tenant.commit().unwrap();
        Self { workspace, slug: slug.into(), owner, admin, member, kpi: kpi.id, goal: goal.id }
    }
}

impl World {
    /// In a database of its own.
    pub fn new() -> Self {
        let test = TestDatabase::new().unwrap();
        let db = test.builder().sealing_keys(sealing_keys()).build().unwrap();
        Self::on(test, db)
    }

    /// In a database with the worlds of other tests, on one pool: a tenth of the time. For a test that
    /// reaches nothing but the rows of its own workspaces and users, lists nothing as a service, changes
    /// neither the schema nor a connection, and is not about what others do meanwhile.
    pub fn shared() -> Self {
        static SHARED: OnceLock<(Arc<TestDatabase>, Database)> = OnceLock::new();
        static WORLDS: AtomicU32 = AtomicU32::new(0);
        let (test, db) = SHARED.get_or_init(|| {
            let test = TestDatabase::new().unwrap();
            // Each of the tests that run at once may hold as many connections as in a pool of its own.
            let threads = std::thread::available_parallelism().map_or(1, usize::from);
            let connections = u32::try_from(4 * threads.clamp(2, 16)).unwrap();
            let builder = test.builder().pool_size(connections).sealing_keys(sealing_keys());
            let db = builder.build().unwrap();
            (Arc::new(test), db)
        });
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        Self::named(Arc::clone(test), db.clone(), &format!("-{number}"))
    }

    pub fn on(test: TestDatabase, db: Database) -> Self {
        Self::named(Arc::new(test), db, "")
    }

    fn named(test: Arc<TestDatabase>, db: Database, suffix: &str) -> Self {
        let a = Tenant::furnish(&db, &format!("acme{suffix}"));
        let b = Tenant::furnish(&db, &format!("globex{suffix}"));
        let stranger = sign_up(&db, &format!("stranger{suffix}"));
        Self { db, a, b, stranger, test }
    }

    /// Runs SQL as the superuser.
    pub fn arrange(&self, sql: &str) {
        self.test.admin().unwrap().batch_execute(sql).unwrap();
    }

    /// What an SQL expression gives the superuser, as text.
    pub fn ask(&self, expression: &str) -> String {
        logins::value(&mut self.test.admin().unwrap(), expression)
    }
}
