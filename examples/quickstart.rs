//! Two companies in one PostgreSQL, and neither sees the other.
//!
//! ```sh
//! cargo run --example quickstart
//! ```
//!
//! Finds its own server: `DATABASE_URL` if set, else PostgreSQL's installed binaries, else Docker.
//! Works in a throw-away database and leaves nothing behind.

#[macro_use]
#[path = "support/print.rs"]
mod print;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use sesari_db::id::{GoalId, KpiId, UserId, WorkspaceId};
use sesari_db::page::PageRequest;
use sesari_db::progress::Outcome;
use sesari_db::repo::{
    KpiFilter, NewDataPoint, NewGoal, NewGoalKpi, NewKpi, NewUser, NewWorkspace, OnExisting,
    TimeRange,
};
use sesari_db::testing::TestDatabase;
use sesari_db::value::{AuthProvider, Finite, Timestamp, Unit, Weight};
use sesari_db::{Database, Scope};

type Outcomes<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcomes<()> {
    println!("Starting PostgreSQL and running the migrations ...");
    // In a service: `Database::builder(tenant_url, context_keys)`; see the README.
    let server = TestDatabase::new()?;
    let db = server.database()?;

    heading("Two users sign in, and each makes a workspace");
    let ada = sign_in(&db, "ada", "Ada")?;
    let bob = sign_in(&db, "bob", "Bob")?;
    let acme = make_workspace(&db, &ada, "Acme Analytics", "acme")?;
    let globex = make_workspace(&db, &bob, "Globex", "globex")?;
    println!("Ada owns {acme}, Bob owns {globex}.");

    heading("Ada records a month and sets a goal");
    let (goal, revenue) = tell_acmes_story(&db, &ada, &acme)?;
    show_progress(&db, &ada, &acme, &goal)?;

    heading("Bob has KPIs too, in the same tables");
    // A unit of work commits by itself, and is run again when a concurrent one or a failover was in its way.
    db.run("kpi.create", Scope::tenant(&bob, &globex), |tenant| {
        tenant.kpis().create(&NewKpi::new("Doomsday devices".parse()?))
    })?;

    heading("Bob looks for Ada's data");
    bob_looks_around(&db, &bob, &acme, &globex, &revenue)?;

    println!(
        "\nNext: `cargo run --example roles` for who may do what in a workspace,\n\
         `examples/migrate.rs` to set a database of your own up, README.md to embed the crate."
    );
    Ok(())
}

fn sign_in(db: &Database, account: &str, name: &str) -> Outcomes<UserId> {
    let mut service = db.service(&"sign-in".parse()?)?;
    let user = service.users().sign_in(&NewUser {
        name: Some(name.parse()?),
        ..NewUser::new(
            format!("{account}@example.com").parse()?,
            AuthProvider::Google,
            account.parse()?,
        )
    })?;
    service.commit()?;
    Ok(user.id)
}

fn make_workspace(db: &Database, owner: &UserId, name: &str, slug: &str) -> Outcomes<WorkspaceId> {
    let mut user = db.user(owner)?;
    let new = NewWorkspace::new(name.parse()?, slug.parse()?);
    let workspace = user.my_workspaces().create(&new)?;
    user.commit()?;
    Ok(workspace.id)
}

/// One KPI of Ada's: what it measures, where it should get to, and where it started.
struct Plan {
    name: &'static str,
    unit: &'static str,
    from: f64,
    to: f64,
    target: f64,
    weight: f64,
}

const PLANS: [Plan; 3] = [
    Plan { name: "Revenue", unit: "$", from: 8_000.0, to: 14_000.0, target: 16_000.0, weight: 3.0 },
    Plan { name: "Sign-ups", unit: "users", from: 40.0, to: 130.0, target: 120.0, weight: 1.0 },
    // Falling is good: the baseline lies above the target.
    Plan { name: "Churn", unit: "%", from: 5.0, to: 4.1, target: 3.0, weight: 2.0 },
];

fn tell_acmes_story(db: &Database, ada: &UserId, acme: &WorkspaceId) -> Outcomes<(GoalId, KpiId)> {
    let first_day: DateTime<Utc> = "2026-10-01T00:00:00Z".parse()?;
    let mut tenant = db.tenant(ada, acme)?;
    let goal = tenant.goals().create(&NewGoal::new("A strong fourth quarter".parse()?))?;
    let mut revenue = None;
    for plan in PLANS {
        let kpi = tenant.kpis().create(&NewKpi {
            unit: Some(Unit::try_from(plan.unit)?),
            target_value: Some(Finite::new(plan.target)?),
            ..NewKpi::new(plan.name.parse()?)
        })?;
        let points = (0..31)
            .map(|day| {
                let way = f64::from(day) / 30.0;
                let wobble = (f64::from(day) * 1.7).sin() * 0.06 * (plan.to - plan.from);
                let value = plan.from + (plan.to - plan.from) * way + wobble * (1.0 - way);
                NewDataPoint::new(kpi.id.clone(), value, first_day + TimeDelta::days(day.into()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        // One statement for any number of points; a second run would record none twice.
        tenant.data_points().record_many(&points, OnExisting::Keep)?;
        tenant.goal_kpis().link(&NewGoalKpi {
            weight: Weight::new(plan.weight)?,
            baseline: Some(Finite::new(plan.from)?),
            ..NewGoalKpi::new(goal.id.clone(), kpi.id.clone())
        })?;
        revenue.get_or_insert(kpi.id);
    }

    let everything = TimeRange::new(
        Timestamp::new(first_day)?,
        Timestamp::new(first_day + TimeDelta::days(31))?,
    )?;
    for kpi in tenant.kpis().list(&KpiFilter::default(), &PageRequest::default())?.items {
        let points =
            tenant.data_points().range(&kpi.id, everything, &PageRequest::default())?.items;
        let values: Vec<f64> = points.iter().map(|point| point.value).collect();
        let unit = kpi.unit.as_ref().map_or("", Unit::as_str);
        println!(
            "{:<10} {} {:>9.1} {unit}",
            kpi.name.as_str(),
            sparkline(&values),
            kpi.current_value
        );
    }
    tenant.commit()?;
    Ok((goal.id, revenue.ok_or("no KPI")?))
}

fn show_progress(db: &Database, ada: &UserId, acme: &WorkspaceId, goal: &GoalId) -> Outcomes<()> {
    let mut tenant = db.tenant_read_only(ada, acme)?;
    let goal = tenant.goals().find_with_kpis(goal)?.ok_or("no goal")?;
    let progress = goal.progress()?;
    println!();
    for (linked, kpi) in goal.kpis.iter().zip(&progress.kpis) {
        match &kpi.outcome {
            Outcome::Counted(counted) => println!(
                "{:<10} {} {:>4.0} % of the way, counts for {:>2.0} %",
                linked.kpi.name.as_str(),
                bar(counted.progress.clamped),
                100.0 * counted.progress.raw,
                100.0 * counted.share,
            ),
            Outcome::Excluded(reason) => println!("{:<10} left out: {reason:?}", linked.kpi.name),
        }
    }
    if let Some(overall) = progress.progress() {
        println!("{:<10} {} {:>4.0} %", "The goal", bar(overall), 100.0 * overall);
    }
    Ok(())
}

fn bob_looks_around(
    db: &Database,
    bob: &UserId,
    acme: &WorkspaceId,
    globex: &WorkspaceId,
    revenue: &KpiId,
) -> Outcomes<()> {
    // From inside his own workspace, with the id of Ada's KPI.
    let mut tenant = db.tenant(bob, globex)?;
    println!("By her KPI's id:            {:?}", tenant.kpis().find(revenue)?.map(|kpi| kpi.name));
    println!(
        "By deleting it:             {}",
        tenant.kpis().delete(revenue).err().map_or("done".into(), |error| error.to_string())
    );

    // SQL of his own, or SQL that an attacker slipped into his statement: no filter at all.
    let names = diesel::sql_query("SELECT name FROM kpis").load::<Name>(tenant.connection())?;
    println!(
        "SELECT name FROM kpis:      {:?}",
        names.iter().map(|row| &row.name).collect::<Vec<_>>()
    );
    drop(tenant);

    // Through the front scope of a workspace that he does not belong to.
    let mut tenant = db.tenant(bob, acme)?;
    println!("In her workspace, his role: {:?}", tenant.role()?);
    let seen = tenant.kpis().count(&KpiFilter::default())?;
    println!("In her workspace, KPIs:     {seen}");
    let denied = tenant.kpis().create(&NewKpi::new("Sabotage".parse()?));
    println!(
        "In her workspace, a write:  {}",
        denied.map_or_else(|e| e.to_string(), |_| "done".into())
    );
    drop(tenant);

    // Her context, written by himself: he has no key to sign it with.
    let mut tenant = db.tenant(bob, globex)?;
    let seen: i64 = diesel::sql_query(
        "WITH forged AS MATERIALIZED (SELECT set_config('sesari.context', replace(\
         current_setting('sesari.context'), $1, $2), true)) \
         SELECT (SELECT count(*) FROM kpis) AS n FROM forged",
    )
    .bind::<diesel::sql_types::Text, _>(globex.as_str())
    .bind::<diesel::sql_types::Text, _>(acme.as_str())
    .get_result::<Count>(tenant.connection())?
    .n;
    println!("With a forged context:      {seen} rows");
    Ok(())
}

#[derive(QueryableByName)]
struct Name {
    #[diesel(sql_type = diesel::sql_types::Text)]
    name: String,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    n: i64,
}

fn heading(text: &str) {
    println!("\n== {text}");
}

fn sparkline(values: &[f64]) -> String {
    const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let span = if high > low { high - low } else { 1.0 };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 7")]
    let level = |value: f64| LEVELS[((value - low) / span * 7.0).round() as usize];
    values.iter().map(|value| level(*value)).collect()
}

fn bar(share: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 30")]
    let full = (share * 30.0).round() as usize;
    format!("{}{}", "█".repeat(full), "░".repeat(30 - full))
}
