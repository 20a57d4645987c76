//! Both layouts in one database, with the same points, and a connection to each.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use sesari_db::Database;
use sesari_db::PgConnection;
use sesari_db::id::{KpiId, UserId, WorkspaceId};
use sesari_db::maintenance::{rebuild_rollups, verify_rollups};
use sesari_db::repo::{NewKpi, NewUser, NewWorkspace, TimeRange};
use sesari_db::testing::TestDatabase;
use sesari_db::value::{AuthProvider, Timestamp};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

/// KPIs of each workspace: a dashboard's worth.
pub(crate) const KPIS: usize = 20;
/// Hours of each KPI, where there are points enough for one workspace of them.
const HOURS: usize = 10_000;
/// Hours written by one statement.
const CHUNK: usize = 100;

diesel::table! {
    reference.kpi_data_points (id) {
        id -> Text,
        kpi_id -> Text,
        value -> Double,
        timestamp -> Timestamptz,
        source -> Nullable<Text>,
    }
}

/// The reference document's layout, in a schema that no policy knows.
const REFERENCE: &str = "
    CREATE SCHEMA reference;
    CREATE TABLE reference.kpis (id text PRIMARY KEY);
    CREATE TABLE reference.kpi_data_points (
        id text PRIMARY KEY,
        kpi_id text NOT NULL REFERENCES reference.kpis ON DELETE CASCADE,
        value double precision NOT NULL,
        \"timestamp\" timestamptz NOT NULL DEFAULT now(),
        source text
    );
    CREATE INDEX idx_kpi_data_points_kpi_timestamp
        ON reference.kpi_data_points (kpi_id, \"timestamp\" DESC);
    CREATE TABLE reference.numbered AS
        SELECT workspace_id, id, row_number() OVER () AS n FROM public.kpis;
    INSERT INTO reference.kpis SELECT id FROM reference.numbered";

pub(crate) struct World {
    pub(crate) points: usize,
    /// A superuser's, for the reference layout and whatever is beside the repositories.
    pub(crate) plain: PgConnection,
    pub(crate) db: Database,
    pub(crate) user: UserId,
    pub(crate) workspace: WorkspaceId,
    pub(crate) kpis: Vec<KpiId>,
    pub(crate) writing: Writing,
    // Dropped last: the database goes with it.
    test: TestDatabase,
}

/// Where those who write are: each writes moments that nobody has written yet.
pub(crate) struct Writing {
    /// A superuser's as well, in a session where this crate's triggers are off and the foreign key's
    /// are on.
    pub(crate) bare: PgConnection,
    pub(crate) copying: Copying,
    hours: i64,
    late: i64,
}

/// Another such session, of a client that copies.
pub(crate) struct Copying {
    pub(crate) runtime: Runtime,
    pub(crate) client: Client,
}

impl Copying {
    fn new(test: &TestDatabase) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(async {
            let (client, connection) =
                tokio_postgres::connect(&test.admin_url(), NoTls).await.unwrap();
            tokio::spawn(connection);
            client.batch_execute("SET session_replication_role = replica").await.unwrap();
            client
        });
        Self { runtime, client }
    }
}

impl Writing {
    /// The first of so many hours after all that have points.
    pub(crate) fn next(&mut self, hours: i64) -> DateTime<Utc> {
        let at = start() + TimeDelta::hours(self.hours);
        self.hours += hours;
        at
    }

    /// A moment on a day in the past that has points.
    pub(crate) fn late(&mut self) -> DateTime<Utc> {
        self.late += 1;
        start() + TimeDelta::hours(24 * (self.late % 30)) + TimeDelta::seconds(self.late)
    }
}

/// When the first points are.
fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_735_689_600, 0).unwrap()
}

/// So many days from the start.
pub(crate) fn days(days: i64) -> TimeRange {
    let at = |days| Timestamp::new(start() + TimeDelta::days(days)).unwrap();
    TimeRange::new(at(0), at(days)).unwrap()
}

#[derive(QueryableByName)]
struct Bytes {
    #[diesel(sql_type = BigInt)]
    bytes: i64,
}

impl World {
    /// As many workspaces as these points fill, with the points in both layouts, in the order in
    /// which they arrive: hour by hour, every KPI.
    pub(crate) fn new(points: usize) -> Self {
        let test = TestDatabase::new().unwrap();
        let db = test.builder().pool_size(1).build().unwrap();
        let workspaces = (points / (KPIS * HOURS)).max(1);
        let hours = points / (KPIS * workspaces);
        let user = sign_up(&db);
        let all: Vec<_> = (0..workspaces).map(|n| furnish(&db, &user, n)).collect();
        let (workspace, kpis) = all.into_iter().nth(workspaces / 2).unwrap();
        let mut plain = test.admin().unwrap();
        plain.batch_execute(REFERENCE).unwrap();
        let writing = Writing {
            bare: bare(&test),
            copying: Copying::new(&test),
            hours: i64::try_from(hours).unwrap(),
            late: 0,
        };
        let points = hours * KPIS * workspaces;
        let mut world = Self { points, plain, db, user, workspace, kpis, writing, test };
        world.load(hours);
        world
    }

    fn load(&mut self, hours: usize) {
        let started = std::time::Instant::now();
        let mut loader = self.test.admin().unwrap();
        // Our triggers off, as a superuser may: what they keep is made afterwards, by the same call
        // that an operator has.
        loader.batch_execute("SET session_replication_role = replica").unwrap();
        // Nothing that is measured reads by it.
        loader
            .batch_execute(
                "ALTER TABLE reference.kpi_data_points DROP CONSTRAINT kpi_data_points_pkey",
            )
            .unwrap();
        for from in (0..hours).step_by(CHUNK) {
            let rows = format!(
                "FROM (SELECT h, k.*, '{}'::timestamptz + h * interval '1 hour' AS at, \
                              (hashint8(h * 1000003 + k.n) & 65535) / 100.0 AS value \
                         FROM generate_series({from}::bigint, {}) AS h, reference.numbered AS k \
                        ORDER BY h, k.n) AS p",
                start(),
                (from + CHUNK).min(hours) - 1,
            );
            let load = format!(
                "INSERT INTO public.kpi_data_points (workspace_id, kpi_id, \"timestamp\", value) \
                 SELECT workspace_id, id, at, value {rows}; \
                 INSERT INTO reference.kpi_data_points (id, kpi_id, \"timestamp\", value) \
                 SELECT 'c' || substr(md5(h::text || id), 1, 23), id, at, value {rows}"
            );
            loader.batch_execute(&load).unwrap();
        }
        loader.batch_execute("ALTER TABLE reference.kpi_data_points ADD PRIMARY KEY (id)").unwrap();
        let writing = started.elapsed();
        // Whatever is read has to be visible to all, as a table soon is that autovacuum looks after.
        self.plain.batch_execute("VACUUM ANALYZE").unwrap();
        let started = std::time::Instant::now();
        let report = rebuild_rollups(&mut self.plain, None).unwrap();
        assert!(usize::try_from(report.count).unwrap() >= hours / 24 * KPIS);
        let rebuilding = started.elapsed();
        let started = std::time::Instant::now();
        assert!(verify_rollups(&mut self.plain, None).unwrap().is_clean());
        let verifying = started.elapsed();
        self.plain.batch_execute("VACUUM ANALYZE kpi_rollups, kpis").unwrap();
        self.plain.batch_execute("CHECKPOINT").unwrap();
        println!(
            "\n{} points of {} KPIs: loaded in {:.1?}, rollups rebuilt in {:.1?}, verified in {:.1?}",
            self.points, report.kpis, writing, rebuilding, verifying,
        );
    }

    /// The bytes of a point in a relation and all that belongs to it.
    #[expect(clippy::cast_precision_loss, reason = "sizes of tables")]
    pub(crate) fn bytes_a_point(&mut self, size_of: &str) -> f64 {
        let query = format!("SELECT {size_of}::bigint AS bytes");
        let size: Bytes = diesel::sql_query(query).get_result(&mut self.plain).unwrap();
        size.bytes as f64 / self.points as f64
    }

    /// Switches the trigger that keeps rollups and current values, for everybody.
    pub(crate) fn keep_rollups(&mut self, kept: bool) {
        let verb = if kept { "ENABLE" } else { "DISABLE" };
        let sql = format!(
            "ALTER TABLE public.kpi_data_points {verb} TRIGGER kpi_data_points_follow_insert"
        );
        self.plain.batch_execute(&sql).unwrap();
    }
}

/// A session in which the foreign key of the points is checked and nothing else is done: our
/// triggers are not run in the role of a replica, and its own are told to be.
fn bare(test: &TestDatabase) -> PgConnection {
    let mut conn = test.admin().unwrap();
    conn.batch_execute(
        "DO $$ DECLARE name text; BEGIN \
           FOR name IN SELECT tgname FROM pg_trigger WHERE tgisinternal \
                          AND tgrelid = 'public.kpi_data_points'::regclass \
           LOOP EXECUTE format('ALTER TABLE public.kpi_data_points ENABLE ALWAYS TRIGGER %I', name); \
           END LOOP; \
         END $$; \
         SET session_replication_role = replica",
    )
    .unwrap();
    conn
}

/// The server's version, and what matters of its settings.
pub(crate) fn server(conn: &mut PgConnection) -> String {
    #[derive(QueryableByName)]
    struct Line {
        #[diesel(sql_type = Text)]
        line: String,
    }
    let query = "SELECT format('PostgreSQL %s, shared_buffers %s, fsync %s', \
                 current_setting('server_version'), current_setting('shared_buffers'), \
                 current_setting('fsync')) AS line";
    diesel::sql_query(query).get_result::<Line>(conn).unwrap().line
}

fn sign_up(db: &Database) -> UserId {
    let mut service = db.service(&"benches".parse().unwrap()).unwrap();
    let new = NewUser::new(
        "ada@example.com".parse().unwrap(),
        AuthProvider::Google,
        "google-ada".parse().unwrap(),
    );
    let user = service.users().sign_in(&new).unwrap();
    service.commit().unwrap();
    user.id
}

fn furnish(db: &Database, user: &UserId, number: usize) -> (WorkspaceId, Vec<KpiId>) {
    let mut guard = db.user(user).unwrap();
    let new = NewWorkspace::new(
        format!("Workspace {number}").parse().unwrap(),
        format!("workspace-{number}").parse().unwrap(),
    );
    let workspace = guard.my_workspaces().create(&new).unwrap().id;
    guard.commit().unwrap();
    let mut tenant = db.tenant(user, &workspace).unwrap();
    let create = |n| {
        let new = NewKpi::new(format!("KPI {n}").parse().unwrap());
        tenant.kpis().create(&new).unwrap().id
    };
    let kpis = (0..KPIS).map(create).collect();
    tenant.commit().unwrap();
    (workspace, kpis)
}
