//! Draws a workspace's KPIs and goals as a page of HTML.
//!
//! ```sh
//! cargo run --example dashboard
//! ```
//!
//! Makes a throw-away database with a year of points, reads it as a dashboard would, and writes one
//! file that needs nothing else, into the system's directory for temporary files. It prints where.

#[macro_use]
#[path = "support/print.rs"]
mod print;

#[path = "dashboard/page.rs"]
mod page;
#[path = "dashboard/seed.rs"]
mod seed;

use std::io::Write as _;

use sesari_db::Result;
use sesari_db::id::GoalId;
use sesari_db::page::PageRequest;
use sesari_db::progress::Period;
use sesari_db::repo::{GoalFilter, KpiFilter, PaceQuery, SeriesQuery, TimeRange};
use sesari_db::series::{Aggregate, Fill, GoalMoment, Grid, Step, Unit, downsample};
use sesari_db::testing::TestDatabase;
use sesari_db::value::{Aggregation, TargetPeriod, Timestamp};

use page::{Bar, Card, GoalCard, Page, Row};

type Outcome<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let server = TestDatabase::new()?;
    let db = server.database()?;
    println!("Recording a year of seven KPIs ...");
    let (user, workspace) = seed::furnish(&db)?;

    let mut tenant = db.begin(&sesari_db::Scope::tenant(&user, &workspace).read_only())?;
    let furnished = tenant.workspace().get()?;
    let zone = furnished.time_zone.zone()?;
    let now = seed::at(seed::NOW)?;
    let whole = Period::of(Unit::Year, zone, now).ok_or("a year of this century")?;
    let year = TimeRange::new(whole.from(), now)?;
    let four_weeks = Timestamp::new(now.get() - chrono::TimeDelta::days(28))?;
    let days = Grid::new(year, Step::day(zone))?;
    let weeks = Grid::new(year, Step::week(zone))?;
    let months = Grid::new(year, Step::month(zone))?;
    let recent = Grid::new(TimeRange::new(four_weeks, now)?, Step::day(zone))?;

    // Each question is one statement for all KPIs, but for a pace, which is three.
    let kpis = tenant.kpis().list(&KpiFilter::default(), &PageRequest::first(100)?)?.items;
    let ids: Vec<_> = kpis.iter().map(|kpi| kpi.id.clone()).collect();
    let by_day = tenant.series().read(&ids, &SeriesQuery::new(days))?;
    let by_month = tenant.series().read(&ids, &SeriesQuery::new(months.clone()))?;
    let of_year = PaceQuery::new(TargetPeriod::Year, now);
    let mut paces = tenant.kpi_targets().pace_of_many(&ids, &of_year)?;
    // What is counted by the month, month by month.
    let flows: Vec<_> =
        (0..ids.len()).filter(|i| kpis[*i].aggregation == Aggregation::Sum).collect();
    let flow_ids: Vec<_> = flows.iter().map(|i| ids[*i].clone()).collect();
    let mut bars: Vec<Vec<Bar>> = vec![Vec::new(); ids.len()];
    for pair in months.edges().windows(2) {
        let last = Timestamp::new(pair[1].get() - chrono::TimeDelta::milliseconds(1))?;
        let of_month = PaceQuery::new(TargetPeriod::Month, last);
        for (i, pace) in flows.iter().zip(tenant.kpi_targets().pace_of_many(&flow_ids, &of_month)?)
        {
            let range = pace.period.ok_or("a month")?;
            bars[*i].push(Bar { range, value: pace.pace.actual, target: pace.pace.target });
            paces[*i] = pace;
        }
    }
    let compared = tenant.series().compare(&ids, &SeriesQuery::new(recent))?;
    let statistics = tenant.series().statistics(&ids, year, &[0.5])?;
    let goals = tenant.goals().list(&GoalFilter::default(), &PageRequest::first(100)?)?.items;
    let mut goal_cards = Vec::new();
    for goal in &goals {
        let moments = progress(&mut tenant.series(), &goal.id, &weeks)?;
        goal_cards.push(GoalCard { title: goal.title.to_string(), moments });
    }
    tenant.commit()?;

    let mut cards = Vec::new();
    for (i, kpi) in kpis.iter().enumerate() {
        let rows = by_month[i].buckets.iter().map(|bucket| Row {
            month: (bucket.range.from().get() + chrono::TimeDelta::days(1))
                .format("%B %Y")
                .to_string(),
            summary: bucket.summary,
        });
        // As many samples as a line of this width can show.
        let line = downsample(&by_day[i].samples(Aggregate::Avg), 180)?;
        cards.push(Card {
            name: kpi.name.to_string(),
            unit: kpi.unit.as_ref().map(ToString::to_string).unwrap_or_default(),
            current: kpi.current_value,
            pace: paces[i].clone(),
            bars: bars[i].clone(),
            better_up: seed::better_up(kpi.name.as_ref()),
            change: compared[i].change(Aggregate::Avg),
            statistics: statistics[i].clone(),
            gaps: by_day[i]
                .values(Aggregate::Avg, Fill::Null)
                .iter()
                .filter(|v| v.is_none())
                .count(),
            line,
            rows: rows.collect(),
        });
    }
    let page = Page { name: furnished.name.to_string(), zone, year: whole, now };
    let html = page::html(&page, &goal_cards, &cards)?;
    let path = std::env::temp_dir().join("sesari-dashboard.html");
    std::fs::File::create(&path)?.write_all(html.as_bytes())?;
    println!("{} KPIs and {} goals, {} KB:", cards.len(), goals.len(), html.len() / 1024);
    println!("{}", path.display());
    Ok(())
}

/// A goal's progress at the end of each week.
fn progress(
    series: &mut sesari_db::repo::SeriesRepository<'_>,
    goal: &GoalId,
    weeks: &Grid,
) -> Result<Vec<GoalMoment>> {
    series.goal_progress(goal, weeks)
}
