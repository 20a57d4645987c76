//! Two companies in one database, and the feed that makes their charts move.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sesari_db::id::{KpiId, WorkspaceId};
use sesari_db::repo::{
    NewDataPoint, NewGoal, NewGoalKpi, NewKpi, NewUser, NewWorkspace, OnExisting,
};
use sesari_db::tenancy::ServiceName;
use sesari_db::value::{AuthProvider, Finite};
use sesari_db::{Database, Error, Scope};

use crate::app::App;

/// How much history a company starts with.
const HISTORY: u32 = 120;
const EVERY: Duration = Duration::from_secs(1);

pub struct Company {
    workspace: WorkspaceId,
    kpis: Vec<(KpiId, Wave)>,
}

/// What a KPI's values look like.
#[derive(Clone, Copy)]
struct Wave {
    level: f64,
    swing: f64,
    /// Seconds from crest to crest.
    period: f64,
}

impl Wave {
    fn at(self, time: DateTime<Utc>) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "seconds of this century fit")]
        let angle = time.timestamp() as f64 / self.period * std::f64::consts::TAU;
        let value = self.level + self.swing * (angle.sin() + 0.3 * (3.7 * angle).sin());
        (value * 100.0).round() / 100.0
    }
}

/// What the people of a company measure: name, unit, target, level, swing, period.
type Plan = [(&'static str, &'static str, f64, f64, f64, f64); 2];

pub fn found(db: &Database) -> Result<Vec<Company>, Error> {
    const ACME: Plan = [
        ("Revenue", "kEUR", 100.0, 84.0, 9.0, 60.0),
        ("Active users", "users", 500.0, 430.0, 35.0, 45.0),
    ];
    const GLOBEX: Plan = [
        ("Doomsday devices", "devices", 12.0, 7.0, 3.0, 90.0),
        ("Ransoms", "MUSD", 50.0, 21.0, 14.0, 30.0),
    ];
    Ok(vec![
        start(db, "ada@acme.example", "Ada", ("Acme", "acme"), ACME)?,
        start(db, "hank@globex.example", "Hank", ("Globex", "globex"), GLOBEX)?,
    ])
}

fn start(
    db: &Database,
    email: &str,
    person: &str,
    (name, slug): (&str, &str),
    plan: Plan,
) -> Result<Company, Error> {
    let account = NewUser {
        name: Some(person.parse()?),
        ..NewUser::new(email.parse()?, AuthProvider::Google, email.parse()?)
    };
    let service = Scope::service(&"sign-in".parse()?);
    let owner = db.run("user.sign_in", service, |guard| guard.users().sign_in(&account))?.id;
    let new = NewWorkspace::new(name.parse()?, slug.parse()?);
    let workspace = db
        .run("workspace.create", Scope::user(&owner), |guard| guard.my_workspaces().create(&new))?
        .id;

    // One transaction: a company is there with all that it has, or not at all.
    let now = now();
    let kpis = db.run("company.start", Scope::tenant(&owner, &workspace), |tenant| {
        let goal = tenant.goals().create(&NewGoal::new("This quarter".parse()?))?.id;
        let mut kpis = Vec::new();
        for (name, unit, target, level, swing, period) in plan {
            let new = NewKpi {
                unit: Some(unit.parse()?),
                target_value: Some(Finite::new(target)?),
                ..NewKpi::new(name.parse()?)
            };
            let (kpi, wave) = (tenant.kpis().create(&new)?.id, Wave { level, swing, period });
            let history = (1..=HISTORY).rev().map(|back| {
                let time = now - TimeDelta::seconds(back.into());
                Ok(NewDataPoint::new(kpi.clone(), wave.at(time), time)?)
            });
            let history = history.collect::<Result<Vec<_>, Error>>()?;
            tenant.data_points().record_many(&history, OnExisting::Fail)?;
            tenant.goal_kpis().link(&NewGoalKpi::new(goal.clone(), kpi.clone()))?;
            kpis.push((kpi, wave));
        }
        Ok::<_, Error>(kpis)
    })?;
    Ok(Company { workspace, kpis })
}

/// Records a point for every KPI, for ever: not as one of a company's people but as a service in each
/// workspace.
pub async fn feed(app: Arc<App>, companies: Vec<Company>) {
    let Ok(feed) = "feed".parse::<ServiceName>() else { return };
    let mut clock = tokio::time::interval(EVERY);
    loop {
        clock.tick().await;
        let now = now();
        for company in &companies {
            let points = company
                .kpis
                .iter()
                .map(|(kpi, wave)| Ok(NewDataPoint::new(kpi.clone(), wave.at(now), now)?));
            let Ok(points) = points.collect::<Result<Vec<_>, Error>>() else { continue };
            let scope = Scope::tenant(&feed, &company.workspace).within(EVERY);
            let recorded = app.db.run("feed.record", scope, move |tenant| {
                tenant.data_points().record_many(&points, OnExisting::Keep)
            });
            if let Err(error) = recorded.await {
                tracing::warn!("error.type" = error.kind(), "the feed left a second out: {error}");
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the feed is of the present; no test sets it")]
fn now() -> DateTime<Utc> {
    Utc::now()
}
