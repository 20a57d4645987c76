//! The rows, in our tables and in those of the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use diesel::Connection as _;
use diesel::connection::SimpleConnection as _;
use sesari_db::id::{GoalId, KpiId, UserId, WorkspaceId};
use sesari_db::repo::{
    NewDataPoint, NewGoal, NewGoalKpi, NewKpi, NewUser, NewWorkspace, OnExisting, TimeRange,
};
use sesari_db::testing::TestDatabase;
use sesari_db::value::{AuthProvider, Timestamp};
use sesari_db::{Database, PgConnection};

use crate::line::far;

/// KPIs of each workspace, points of one of them, and KPIs of its goal.
pub(crate) const KPIS: usize = 50;
pub(crate) const POINTS: usize = 720;
pub(crate) const LINKED: usize = 5;

/// The same rows in a schema of the others', with the indexes and the policy of the document that this
/// crate implements: of the workspaces of which the user is a member.
const OTHERS: &str = "
    CREATE SCHEMA peers;
    GRANT USAGE ON SCHEMA peers TO PUBLIC;
    CREATE TABLE peers.workspace_users AS SELECT id, user_id, workspace_id, role FROM public.workspace_users;
    ALTER TABLE peers.workspace_users ADD PRIMARY KEY (id), ADD UNIQUE (user_id, workspace_id);
    CREATE INDEX ON peers.workspace_users (user_id);
    GRANT SELECT ON peers.workspace_users TO PUBLIC;
    DO $$ DECLARE name text; BEGIN
        FOREACH name IN ARRAY ARRAY['kpis', 'kpi_data_points', 'goals', 'goal_kpis'] LOOP
            EXECUTE format('CREATE TABLE peers.%1$I AS SELECT * FROM public.%1$I;
                ALTER TABLE peers.%1$I ENABLE ROW LEVEL SECURITY;
                CREATE POLICY tenant ON peers.%1$I USING (workspace_id IN (
                    SELECT m.workspace_id FROM peers.workspace_users AS m
                     WHERE m.user_id = current_setting(''app.user'')));
                GRANT SELECT ON peers.%1$I TO PUBLIC', name);
        END LOOP;
    END $$;
    ALTER TABLE peers.kpis ADD PRIMARY KEY (id);
    ALTER TABLE peers.goals ADD PRIMARY KEY (id);
    ALTER TABLE peers.goal_kpis ADD PRIMARY KEY (id), ADD UNIQUE (goal_id, kpi_id);
    CREATE INDEX ON peers.kpis (workspace_id);
    CREATE INDEX ON peers.goals (workspace_id);
    CREATE INDEX ON peers.kpi_data_points (kpi_id, timestamp DESC)";

/// What is asked for, and by whom.
#[derive(Clone)]
pub(crate) struct Ids {
    pub(crate) user: UserId,
    pub(crate) workspace: WorkspaceId,
    /// With points.
    pub(crate) kpi: KpiId,
    pub(crate) goal: GoalId,
    /// Whose points are written.
    pub(crate) written: KpiId,
    pub(crate) month: TimeRange,
    hours: Arc<AtomicI64>,
}

impl Ids {
    /// A moment of which nobody has written yet.
    pub(crate) fn next(&self) -> DateTime<Utc> {
        hour(self.hours.fetch_add(1, Ordering::Relaxed))
    }
}

pub(crate) struct World {
    pub(crate) db: Database,
    /// The same at the end of a long line.
    pub(crate) far: Database,
    pub(crate) ids: Ids,
    pub(crate) test: TestDatabase,
}

/// 2025-01-01, and so many hours.
fn hour(hours: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_735_689_600, 0).unwrap() + TimeDelta::hours(hours)
}

impl World {
    pub(crate) fn new(neighbours: usize, pool: usize) -> Self {
        let test = TestDatabase::new().unwrap();
        // All the callers are one user in one workspace.
        let db = test
            .builder()
            .pool_size(u32::try_from(pool).unwrap())
            .workspace_share(1.0)
            .actor_share(1.0)
            .build()
            .unwrap();
        let far = Database::builder(far(&test.tenant_url()), test.context_key().clone())
            .pool_size(1)
            .build()
            .unwrap();
        let user = sign_up(&db);
        let ids = furnish(&db, &user, 0);
        for neighbour in 1..=neighbours {
            furnish(&db, &user, neighbour);
        }
        let mut admin = test.admin().unwrap();
        admin.batch_execute(OTHERS).unwrap();
        admin.batch_execute("VACUUM ANALYZE").unwrap();
        Self { db, far, ids, test }
    }

    /// A superuser's connection at the end of the long line.
    pub(crate) fn far_admin(&self) -> PgConnection {
        PgConnection::establish(&far(&self.test.admin_url())).unwrap()
    }
}

fn sign_up(db: &Database) -> UserId {
    let new = NewUser::new(
        "ada@example.com".parse().unwrap(),
        AuthProvider::Google,
        "google-ada".parse().unwrap(),
    );
    let mut service = db.service(&"benches".parse().unwrap()).unwrap();
    let user = service.users().sign_in(&new).unwrap();
    service.commit().unwrap();
    user.id
}

fn furnish(db: &Database, user: &UserId, number: usize) -> Ids {
    let mut guard = db.user(user).unwrap();
    let new = NewWorkspace::new(
        format!("Workspace {number}").parse().unwrap(),
        format!("workspace-{number}").parse().unwrap(),
    );
    let workspace = guard.my_workspaces().create(&new).unwrap().id;
    guard.commit().unwrap();
    let mut tenant = db.tenant(user, &workspace).unwrap();
    let kpis: Vec<_> = (0..KPIS)
        .map(|n| {
            tenant.kpis().create(&NewKpi::new(format!("KPI {n}").parse().unwrap())).unwrap().id
        })
        .collect();
    let goal = tenant.goals().create(&NewGoal::new("Grow".parse().unwrap())).unwrap().id;
    for kpi in &kpis[..LINKED] {
        tenant.goal_kpis().link(&NewGoalKpi::new(goal.clone(), kpi.clone())).unwrap();
    }
    let (kpi, written) = (kpis[KPIS / 2].clone(), kpis[KPIS / 2 + 1].clone());
    let end = i64::try_from(POINTS).unwrap();
    let point = |n| NewDataPoint::new(kpi.clone(), 1.5, hour(n)).unwrap();
    let points: Vec<_> = (0..end).map(point).collect();
    tenant.data_points().record_many(&points, OnExisting::Fail).unwrap();
    tenant.commit().unwrap();
    let at = |hours| Timestamp::new(hour(hours)).unwrap();
    let month = TimeRange::new(at(0), at(end)).unwrap();
    let hours = Arc::new(AtomicI64::new(0));
    Ids { user: user.clone(), workspace, kpi, goal, written, month, hours }
}
