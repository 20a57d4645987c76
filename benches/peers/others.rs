//! The same requests by other clients.

use std::hint::black_box;

use chrono::{DateTime, Utc};
use diesel::sql_types::{Bool, Text};
use diesel::{
    BoolExpressionMethods as _, ExpressionMethods as _, JoinOnDsl as _, QueryDsl as _, QueryResult,
    SelectableHelper as _,
};
use diesel_async::scoped_futures::ScopedFutureExt as _;
use diesel_async::{
    AsyncConnection as _, AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection,
};
use sesari_db::repo::{DataPoint, Goal, GoalKpi, Kpi};
use sesari_db::schema::{goal_kpis, goals, kpi_data_points as points, kpis};
use tokio::sync::Mutex;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Row, Statement};

use crate::Work;
use crate::world::{Ids, KPIS, LINKED, POINTS};

type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

const KPI: &str = "id, workspace_id, name, description, target_value, current_value, \
     current_value_at, unit, category, is_active, created_at, updated_at, deleted_at";

/// A connection with its statements.
pub(crate) struct TokioPostgres {
    client: Client,
    context: Statement,
    kpi: Statement,
    kpis: Statement,
    points: Statement,
    goal: Statement,
    linked: Statement,
    record: Statement,
}

impl TokioPostgres {
    pub(crate) async fn connect(url: &str) -> Self {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let prepare = async |sql: &str| client.prepare(sql).await.unwrap();
        let of_kpi = KPI.split(", ").map(|column| format!("k.{column}")).collect::<Vec<_>>();
        Self {
            context: prepare("SELECT set_config('app.user', $1, true)").await,
            kpi: prepare(&format!(
                "SELECT {KPI} FROM peers.kpis \
                  WHERE workspace_id = $1 AND id = $2 AND deleted_at IS NULL"
            ))
            .await,
            kpis: prepare(&format!(
                "SELECT {KPI} FROM peers.kpis WHERE workspace_id = $1 AND deleted_at IS NULL \
                  ORDER BY created_at, id LIMIT 51"
            ))
            .await,
            points: prepare(
                "SELECT workspace_id, kpi_id, timestamp, source, value FROM peers.kpi_data_points \
                  WHERE workspace_id = $1 AND kpi_id = $2 AND timestamp >= $3 AND timestamp < $4 \
                  ORDER BY timestamp, source LIMIT 1001",
            )
            .await,
            goal: prepare(
                "SELECT id, workspace_id, title, description, target_date, status, created_at, \
                        updated_at, deleted_at \
                   FROM peers.goals WHERE workspace_id = $1 AND id = $2 AND deleted_at IS NULL",
            )
            .await,
            linked: prepare(&format!(
                "SELECT {}, l.id, l.goal_id, l.weight, l.baseline \
                   FROM peers.goal_kpis AS l \
                   JOIN peers.kpis AS k ON k.workspace_id = l.workspace_id AND k.id = l.kpi_id \
                  WHERE l.workspace_id = $1 AND l.goal_id = $2 AND k.deleted_at IS NULL \
                  ORDER BY k.created_at, k.id",
                of_kpi.join(", ")
            ))
            .await,
            record: prepare(
                "INSERT INTO public.kpi_data_points (workspace_id, kpi_id, timestamp, source, value) \
                 VALUES ($1, $2, $3, '', $4)",
            )
            .await,
            client,
        }
    }

    /// Each waits for the one before.
    pub(crate) async fn one_by_one(&self, work: Work, ids: &Ids) {
        self.client.batch_execute("BEGIN").await.unwrap();
        self.begin_context(ids).await;
        self.ask(work, ids, false).await;
        self.client.batch_execute("COMMIT").await.unwrap();
    }

    /// All are sent, and then waited for. A single insert is a transaction of its own.
    pub(crate) async fn pipelined(&self, work: Work, ids: &Ids, is_guarded: bool) {
        if work == Work::Record {
            return self.ask(work, ids, true).await;
        }
        let context = async {
            if is_guarded {
                self.begin_context(ids).await;
            }
        };
        let (begun, (), (), ended) = tokio::join!(
            biased;
            self.client.batch_execute("BEGIN"),
            context,
            self.ask(work, ids, true),
            self.client.batch_execute("COMMIT")
        );
        begun.and(ended).unwrap();
    }

    async fn begin_context(&self, ids: &Ids) {
        black_box(self.rows(&self.context, &[&ids.user.as_str()]).await);
    }

    async fn rows(&self, statement: &Statement, parameters: Parameters<'_>) -> Vec<Row> {
        self.client.query(statement, parameters).await.unwrap()
    }

    async fn ask(&self, work: Work, ids: &Ids, at_once: bool) {
        let (workspace, kpi, goal) =
            (&ids.workspace.as_str(), &ids.kpi.as_str(), &ids.goal.as_str());
        match work {
            Work::Kpi => {
                let rows = self.rows(&self.kpi, &[workspace, kpi]).await;
                assert_eq!(all(&rows, read_kpi), 1);
            }
            Work::Kpis => {
                let rows = self.rows(&self.kpis, &[workspace]).await;
                assert_eq!(all(&rows, read_kpi), KPIS);
            }
            Work::Points => {
                let (from, to) = (ids.month.from().get(), ids.month.to().get());
                let rows = self.rows(&self.points, &[workspace, kpi, &from, &to]).await;
                assert_eq!(all(&rows, read_point), POINTS);
            }
            Work::Goal => {
                let parameters: Parameters<'_> = &[workspace, goal];
                let first = self.rows(&self.goal, parameters);
                let second = self.rows(&self.linked, parameters);
                let (first, second) = if at_once {
                    tokio::join!(biased; first, second)
                } else {
                    (first.await, second.await)
                };
                assert_eq!(all(&first, read_goal), 1);
                assert_eq!(all(&second, |row| (read_kpi(row), read_link(row))), LINKED);
            }
            Work::Record => {
                let written = &ids.written.as_str();
                self.rows(&self.record, &[workspace, written, &ids.next(), &1.5_f64]).await;
            }
        }
    }
}

/// Reads all rows, and says how many.
fn all<T>(rows: &[Row], read: impl Fn(&Row) -> T) -> usize {
    black_box(rows.iter().map(read).collect::<Vec<_>>()).len()
}

type Time = DateTime<Utc>;

fn read_kpi(row: &Row) -> impl Sized + use<> {
    let texts: (String, String, String, Option<String>) =
        (row.get(0), row.get(1), row.get(2), row.get(3));
    let values: (Option<f64>, f64, Option<Time>) = (row.get(4), row.get(5), row.get(6));
    let kind: (Option<String>, Option<String>, bool) = (row.get(7), row.get(8), row.get(9));
    let times: (Time, Time, Option<Time>) = (row.get(10), row.get(11), row.get(12));
    (texts, values, kind, times)
}

fn read_link(row: &Row) -> (String, String, f64, Option<f64>) {
    (row.get(13), row.get(14), row.get(15), row.get(16))
}

fn read_goal(row: &Row) -> impl Sized + use<> {
    let texts: (String, String, String, Option<String>) =
        (row.get(0), row.get(1), row.get(2), row.get(3));
    let rest: (Option<Time>, String, Time, Time, Option<Time>) =
        (row.get(4), row.get(5), row.get(6), row.get(7), row.get(8));
    (texts, rest)
}

fn read_point(row: &Row) -> (String, String, Time, String, f64) {
    (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4))
}

diesel::define_sql_function! {
    fn set_config(name: Text, value: Text, is_local: Bool) -> Text;
}

pub(crate) struct DieselAsync(Mutex<AsyncPgConnection>);

impl DieselAsync {
    pub(crate) async fn connect(url: &str) -> Self {
        let mut conn = AsyncPgConnection::establish(url).await.unwrap();
        conn.batch_execute("SET search_path = peers, pg_catalog").await.unwrap();
        Self(Mutex::new(conn))
    }

    pub(crate) async fn ask(&self, work: Work, ids: &Ids) {
        let mut conn = self.0.lock().await;
        conn.transaction(|conn| ask(conn, work, ids).scope_boxed()).await.unwrap();
    }
}

async fn ask(conn: &mut AsyncPgConnection, work: Work, ids: &Ids) -> QueryResult<()> {
    let context = diesel::select(set_config("app.user", ids.user.as_str(), true));
    black_box(context.get_result::<String>(conn).await?);
    match work {
        Work::Kpi => {
            let kpi: Kpi = kpis::table
                .filter(kpis::workspace_id.eq(&ids.workspace))
                .filter(kpis::id.eq(&ids.kpi))
                .filter(kpis::deleted_at.is_null())
                .select(Kpi::as_select())
                .first(conn)
                .await?;
            black_box(kpi);
        }
        Work::Kpis => {
            let rows: Vec<Kpi> = kpis::table
                .filter(kpis::workspace_id.eq(&ids.workspace))
                .filter(kpis::deleted_at.is_null())
                .order((kpis::created_at, kpis::id))
                .limit(51)
                .select(Kpi::as_select())
                .load(conn)
                .await?;
            assert_eq!(black_box(rows).len(), KPIS);
        }
        Work::Points => {
            let rows: Vec<DataPoint> = points::table
                .filter(points::workspace_id.eq(&ids.workspace))
                .filter(points::kpi_id.eq(&ids.kpi))
                .filter(points::timestamp.ge(ids.month.from()))
                .filter(points::timestamp.lt(ids.month.to()))
                .order((points::timestamp, points::source))
                .limit(1001)
                .select(DataPoint::as_select())
                .load(conn)
                .await?;
            assert_eq!(black_box(rows).len(), POINTS);
        }
        Work::Goal => {
            let goal: Goal = goals::table
                .filter(goals::workspace_id.eq(&ids.workspace))
                .filter(goals::id.eq(&ids.goal))
                .filter(goals::deleted_at.is_null())
                .select(Goal::as_select())
                .first(conn)
                .await?;
            let rows: Vec<(GoalKpi, Kpi)> = goal_kpis::table
                .inner_join(
                    kpis::table.on(kpis::workspace_id
                        .eq(goal_kpis::workspace_id)
                        .and(kpis::id.eq(goal_kpis::kpi_id))),
                )
                .filter(goal_kpis::workspace_id.eq(&ids.workspace))
                .filter(goal_kpis::goal_id.eq(&ids.goal))
                .filter(kpis::deleted_at.is_null())
                .order((kpis::created_at, kpis::id))
                .select((GoalKpi::as_select(), Kpi::as_select()))
                .load(conn)
                .await?;
            black_box(goal);
            assert_eq!(black_box(rows).len(), LINKED);
        }
        Work::Record => unreachable!("not asked of it"),
    }
    Ok(())
}
