//! A company's year, made up.

use chrono::{DateTime, TimeDelta, Utc};
use sesari_db::id::{UserId, WorkspaceId};
use sesari_db::repo::{
    NewDataPoint, NewGoal, NewGoalKpi, NewKpi, NewKpiTarget, NewUser, NewWorkspace, OnExisting,
};
use sesari_db::value::{Aggregation, AuthProvider, Finite, TargetPeriod, Timestamp, Weight};
use sesari_db::{Database, TenantConnection};

use crate::Outcome;

/// Name, unit, target, first value, last value, how much weeks and chance move it.
const KPIS: [(&str, &str, f64, f64, f64, f64, f64); 6] = [
    ("Monthly recurring revenue", "$", 80_000.0, 41_000.0, 76_500.0, 0.0, 0.012),
    ("Weekly active users", "users", 12_000.0, 5_200.0, 11_400.0, 0.09, 0.03),
    ("Conversion", "%", 4.5, 2.6, 4.1, 0.05, 0.06),
    ("Churn", "%", 2.0, 5.8, 2.7, 0.0, 0.04),
    ("First response", "min", 30.0, 95.0, 38.0, 0.16, 0.07),
    ("Customer satisfaction", "%", 95.0, 82.0, 92.5, 0.0, 0.012),
];

/// Goals, each with the places of its KPIs and how much they count.
const GOALS: [(&str, &[(usize, f64)]); 2] = [
    ("Grow sustainably", &[(0, 3.0), (1, 2.0), (3, 1.0)]),
    ("Answer before they ask twice", &[(4, 2.0), (5, 1.0)]),
];

/// When the page is drawn: midnight in Berlin.
pub(crate) const NOW: &str = "2025-12-20T23:00:00Z";

/// Points every four hours, until then.
const POINTS: i32 = 365 * 6;
const POINTS_SO_FAR: i32 = 354 * 6;

pub(crate) fn at(text: &str) -> Outcome<Timestamp> {
    Ok(Timestamp::new(text.parse::<DateTime<Utc>>()?)?)
}

/// Whether a rise is good news.
pub(crate) fn better_up(name: &str) -> bool {
    KPIS.iter().find(|kpi| kpi.0 == name).is_none_or(|kpi| kpi.2 > kpi.3)
}

/// The same numbers for everybody, -1 to 1.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let high = u32::try_from(self.0 >> 33).unwrap_or_default();
        f64::from(high) / f64::from(1_u32 << 30) - 1.0
    }
}

/// What was sold on each day, and what is to be sold in a month, which was raised twice.
fn sales(tenant: &mut TenantConnection) -> Outcome<()> {
    let kpi = tenant.kpis().create(&NewKpi {
        unit: Some("$".parse()?),
        aggregation: Aggregation::Sum,
        ..NewKpi::new("New business".parse()?)
    })?;
    for (from, target) in
        [("2025-01-01", 60_000.0), ("2025-05-01", 80_000.0), ("2025-10-01", 110_000.0)]
    {
        tenant.kpi_targets().set(&NewKpiTarget::new(
            kpi.id.clone(),
            TargetPeriod::Month,
            from.parse()?,
            Finite::new(target)?,
        ))?;
    }
    let (start, now) = (at("2025-01-01T11:00:00Z")?.get(), at(NOW)?.get());
    let mut chance = Chance(99);
    let points =
        (0..365).map(|day| (day, start + TimeDelta::days(day))).take_while(|day| day.1 < now);
    let points = points.map(|(day, noon)| {
        let growing = 2_000.0 + f64::from(i32::try_from(day).unwrap_or_default()) * 4.6;
        NewDataPoint::new(kpi.id.clone(), growing * (1.0 + 0.35 * chance.next()), noon)
    });
    let points = points.collect::<Result<Vec<_>, _>>()?;
    tenant.data_points().record_many(&points, OnExisting::Fail)?;
    Ok(())
}

pub(crate) fn furnish(db: &Database) -> Outcome<(UserId, WorkspaceId)> {
    let mut service = db.service(&"sign-in".parse()?)?;
    let account = NewUser::new("ada@example.com".parse()?, AuthProvider::Google, "ada".parse()?);
    let user = service.users().sign_in(&account)?.id;
    service.commit()?;
    let mut guard = db.user(&user)?;
    let new = NewWorkspace {
        time_zone: "Europe/Berlin".parse()?,
        ..NewWorkspace::new("Northwind Analytics".parse()?, "northwind".parse()?)
    };
    let workspace = guard.my_workspaces().create(&new)?.id;
    guard.commit()?;

    let start = at("2024-12-31T23:00:00Z")?.get();
    let mut tenant = db.tenant(&user, &workspace)?;
    let mut ids = Vec::new();
    for (n, (name, unit, target, first, last, weekly, noise)) in KPIS.into_iter().enumerate() {
        let kpi = tenant.kpis().create(&NewKpi {
            target_value: Some(Finite::new(target)?),
            unit: Some(unit.parse()?),
            ..NewKpi::new(name.parse()?)
        })?;
        let mut chance = Chance(n as u64 + 7);
        let mut drift = 0.0;
        let mut points = Vec::new();
        for i in 0..POINTS_SO_FAR {
            let share = f64::from(i) / f64::from(POINTS);
            drift = drift * 0.985 + chance.next() * noise * 0.2;
            let week = (f64::from(i) / 42.0 * std::f64::consts::TAU).sin();
            let season = (share * 9.0).sin() * 0.02;
            let base = first + (last - first) * (share * share * (3.0 - 2.0 * share));
            let value = base * (1.0 + drift + weekly * week + season + chance.next() * noise / 4.0);
            // A week in August when nobody looked.
            if n == 4 && (0.61..0.63).contains(&share) {
                continue;
            }
            let moment = start + TimeDelta::hours(4 * i64::from(i));
            points.push(NewDataPoint::new(kpi.id.clone(), value, moment)?);
        }
        tenant.data_points().record_many(&points, OnExisting::Fail)?;
        // From where it stood as the year began, to the target as it ends.
        tenant.kpi_targets().set(&NewKpiTarget {
            baseline: Some(Finite::new(first)?),
            ..NewKpiTarget::new(
                kpi.id.clone(),
                TargetPeriod::Year,
                "2025-01-01".parse()?,
                Finite::new(target)?,
            )
        })?;
        ids.push((kpi.id, first));
    }
    sales(&mut tenant)?;
    for (title, kpis) in GOALS {
        let goal = tenant.goals().create(&NewGoal::new(title.parse()?))?;
        for (place, weight) in kpis {
            let (kpi, first) = &ids[*place];
            tenant.goal_kpis().link(&NewGoalKpi {
                weight: Weight::new(*weight)?,
                baseline: Some(Finite::new(*first)?),
                ..NewGoalKpi::new(goal.id.clone(), kpi.clone())
            })?;
        }
    }
    tenant.commit()?;
    Ok((user, workspace))
}
