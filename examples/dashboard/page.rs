//! The page: cards with charts, each with the same as a table.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use plotters::prelude::*;
use sesari_db::progress::{PaceStatus, Period};
use sesari_db::repo::{KpiPace, TimeRange};
use sesari_db::series::{Change, GoalMoment, Sample, Statistics, Summary, Zone};
use sesari_db::value::Timestamp;

use crate::Outcome;

/// Whose page it is, and of when.
pub(crate) struct Page {
    pub(crate) name: String,
    pub(crate) zone: Zone,
    pub(crate) year: Period,
    pub(crate) now: Timestamp,
}

impl Page {
    /// The year as its calendar counts it.
    fn year(&self) -> String {
        self.year.first().format("%Y").to_string()
    }

    /// The day that has just passed.
    fn day(&self) -> String {
        let passed = Timestamp::new(self.now.get() - chrono::TimeDelta::milliseconds(1));
        let date = Period::date(self.zone, passed.unwrap_or(self.now));
        date.format("%-d %B").to_string()
    }
}

/// A month of a KPI that is counted by the month.
#[derive(Clone)]
pub(crate) struct Bar {
    pub(crate) range: TimeRange,
    pub(crate) value: Option<f64>,
    pub(crate) target: Option<f64>,
}

/// A KPI as it is shown.
pub(crate) struct Card {
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) current: f64,
    pub(crate) pace: KpiPace,
    pub(crate) bars: Vec<Bar>,
    pub(crate) better_up: bool,
    pub(crate) change: Option<Change>,
    pub(crate) statistics: Option<Statistics>,
    pub(crate) gaps: usize,
    pub(crate) line: Vec<Sample>,
    pub(crate) rows: Vec<Row>,
}

/// A month of a KPI.
pub(crate) struct Row {
    pub(crate) month: String,
    pub(crate) summary: Option<Summary>,
}

/// A goal as it is shown.
pub(crate) struct GoalCard {
    pub(crate) title: String,
    pub(crate) moments: Vec<GoalMoment>,
}

/// What the chart's library draws with, and the variable of the page that takes its place.
const COLOURS: [(RGBColor, &str, &str); 4] = [
    (RGBColor(1, 1, 1), "#010101", "var(--muted)"),
    (RGBColor(2, 2, 2), "#020202", "var(--line)"),
    (RGBColor(3, 3, 3), "#030303", "var(--accent)"),
    (RGBColor(4, 4, 4), "#040404", "var(--target)"),
];

const STYLE: &str = "
:root { color-scheme: light dark; --page: #f5f6f8; --card: #fff; --text: #16202c; --muted: #586575;
  --line: #e3e7ec; --accent: #2257c5; --target: #b4560b; --good: #12703c; --warn: #8a5a00; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --page: #10151c; --card: #19212b; --text: #e9eef4;
  --muted: #a3b1c0; --line: #2d3845; --accent: #7fabff; --target: #f2a65a; --good: #6fd79a; --warn: #f0c05a; --bad: #ff9a92; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif; }
main, header { max-width: 72rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2rem; } header p { margin: .25rem 0 0; color: var(--muted); }
h1 { margin: 0; font-size: 1.75rem; letter-spacing: -.01em; }
h2 { margin: 2rem 0 .75rem; font-size: 1.15rem; }
h3 { margin: 0; font-size: 1rem; font-weight: 600; }
.cards { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); }
article { background: var(--card); border: 1px solid var(--line); border-radius: .75rem; padding: 1.1rem 1.25rem; min-width: 0; }
.figure { display: flex; flex-wrap: wrap; align-items: baseline; gap: .15rem .75rem; margin: .15rem 0 .5rem; }
.figure strong { font-size: 1.9rem; line-height: 1.25; letter-spacing: -.02em; font-variant-numeric: tabular-nums; }
.figure span { color: var(--muted); font-size: .9rem; }
.figure .good { color: var(--good); } .figure .bad { color: var(--bad); }
.pace { margin: 0 0 .5rem; color: var(--muted); font-size: .9rem; } .pace strong { display: inline-block; }
.pace strong::first-letter { text-transform: uppercase; }
.pace .good { color: var(--good); } .pace .warn { color: var(--warn); } .pace .bad { color: var(--bad); }
svg { display: block; width: 100%; height: auto; }
svg text { font-family: inherit; }
details { margin-top: .5rem; } summary { cursor: pointer; color: var(--muted); font-size: .9rem; }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; margin-top: .5rem; }
th, td { padding: .3rem .5rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } th { font-weight: 600; }
caption { text-align: left; color: var(--muted); }
footer { max-width: 72rem; margin: 0 auto; padding: 1.5rem 1.25rem 2.5rem; color: var(--muted); font-size: .875rem; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
";

pub(crate) fn html(of: &Page, goals: &[GoalCard], cards: &[Card]) -> Outcome<String> {
    let mut page = String::new();
    let (year, day, zone) = (of.year(), of.day(), of.zone.name());
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{0}: KPIs and goals of {year}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <header><h1>{0}</h1><p>KPIs and goals of {year} until {day}, in days of {zone}</p></header>\n<main>\n\
         <h2>Goals</h2>\n<div class=\"cards\">\n",
        escape(&of.name)
    )?;
    for (n, goal) in goals.iter().enumerate() {
        push_goal(&mut page, n, of, goal)?;
    }
    page.push_str("</div>\n<h2>KPIs</h2>\n<div class=\"cards\">\n");
    for (n, card) in cards.iter().enumerate() {
        push_card(&mut page, n, of, card)?;
    }
    page.push_str(
        "</div>\n</main>\n<footer>Each line shows the mean of a day, each bar the sum of a month; dashes are what is \
         expected. On track is 90 % of that, at risk 70 %. Changes compare the mean of the last \
         28 days with that of the 28 days before.</footer>\n</body>\n</html>\n",
    );
    Ok(page)
}

fn push_goal(page: &mut String, n: usize, of: &Page, goal: &GoalCard) -> Outcome<()> {
    let samples: Vec<_> = goal
        .moments
        .iter()
        .filter_map(|moment| {
            let value = moment.progress.progress()? * 100.0;
            Some(Sample { at: moment.at.get(), value })
        })
        .collect();
    let last = samples.last().map_or(0.0, |sample| sample.value);
    let first = samples.first().map_or(0.0, |sample| sample.value);
    let title = escape(&goal.title);
    let desc = format!("Progress week by week, from {first:.0} % to {last:.0} %.");
    let (from, to) = (of.year.from().get(), of.year.to().get());
    let dashes = [[(from, 100.0), (to, 100.0)]];
    let chart = chart(of, &samples, &[], &dashes, Some((0.0, 105.0)), "%")?;
    let caption = format!("{title}: progress in {}", of.year());
    let chart = describe(&chart, &format!("goal-{n}"), &caption, &desc);
    let day = of.day();
    write!(
        page,
        "<article><h3>{title}</h3>\n<p class=\"figure\"><strong>{last:.0} %</strong>\
         <span>reached by {day}</span></p>\n{chart}\n<details><summary>As a table</summary>\
         <div class=\"scroll\"><table><caption>Progress at the end of every fourth week</caption>\
         <thead><tr><th scope=\"col\">Until</th><th scope=\"col\">Progress</th></tr></thead><tbody>\n"
    )?;
    for sample in samples.iter().skip(3).step_by(4) {
        let day = sample.at.format("%-d %B");
        writeln!(page, "<tr><td>{day}</td><td>{:.1} %</td></tr>", sample.value)?;
    }
    page.push_str("</tbody></table></div></details></article>\n");
    Ok(())
}

fn push_card(page: &mut String, n: usize, of: &Page, card: &Card) -> Outcome<()> {
    let name = escape(&card.name);
    let show = |value: f64| number(value, &card.unit);
    let change = card.change.and_then(|change| change.relative).map_or(String::new(), |part| {
        let good = (part >= 0.0) == card.better_up;
        let (class, word) = if good { ("good", "better") } else { ("bad", "worse") };
        let arrow = if part >= 0.0 { "▲" } else { "▼" };
        format!(
            "<span class=\"{class}\"><span aria-hidden=\"true\">{arrow}</span> {:+.1} % \
             <span>({word})</span></span>",
            part * 100.0
        )
        .replacen("<span>(", "<span class=\"hint\">(", 1)
    });
    let figures = &card.pace.pace;
    let monthly = !card.bars.is_empty();
    let shown = if monthly { figures.actual } else { Some(card.current) };
    let shown = shown.map_or_else(|| "not measured".to_owned(), show);
    let target = figures.target.map_or(String::new(), |target| {
        let over = if monthly { "a month" } else { "by the end of the year" };
        format!("<span>target {} {over}</span>", show(target))
    });
    let (class, verdict) = match figures.status {
        PaceStatus::OnTrack => ("good", "on track"),
        PaceStatus::AtRisk => ("warn", "at risk"),
        PaceStatus::OffTrack => ("bad", "off track"),
        PaceStatus::NotMeasured => ("hint", "not measured"),
        _ => ("hint", "no target"),
    };
    let mut stands = format!("<p class=\"pace\"><strong class=\"{class}\">{verdict}</strong>");
    if let (Some(expected), Some(ratio)) = (figures.expected, figures.ratio) {
        let day = of.day();
        let (percent, expected) = (ratio * 100.0, show(expected));
        write!(stands, ", {percent:.0} % of the way expected by {day}, which is to {expected}")?;
    }
    stands.push_str("</p>");
    let year = of.year();
    let mut desc = if monthly {
        format!("The sum of each month of {year}. This month it stands at {shown}.")
    } else {
        format!("The mean of each day of {year}. It stands at {shown}.")
    };
    write!(desc, " It is {verdict}.")?;
    if let Some(figures) = &card.statistics {
        write!(
            desc,
            " Over the year from {} to {}, with a median of {}.",
            show(figures.min),
            show(figures.max),
            show(figures.percentiles[0])
        )?;
    }
    if card.gaps > 0 {
        write!(desc, " {} days have no points.", card.gaps)?;
    }
    let dashes = dashes(of, card);
    let line: &[Sample] = if monthly { &[] } else { &card.line };
    let chart = chart(of, line, &card.bars, &dashes, None, &card.unit)?;
    let caption = format!("{name} in {year}");
    let chart = describe(&chart, &format!("kpi-{n}"), &caption, &escape(&desc));
    write!(
        page,
        "<article><h3>{name}</h3>\n<p class=\"figure\"><strong>{shown}</strong>{change}{target}</p>\n{stands}\n{chart}\n\
         <details><summary>As a table</summary><div class=\"scroll\"><table><caption>{name} by month</caption>\
         <thead><tr><th scope=\"col\">Month</th><th scope=\"col\">Least</th><th scope=\"col\">Mean</th>\
         <th scope=\"col\">Greatest</th></tr></thead><tbody>\n"
    )?;
    for row in &card.rows {
        let cells = row.summary.map_or("<td colspan=\"3\">no points</td>".to_owned(), |month| {
            let mean = month.avg().map_or_else(|| "none".to_owned(), show);
            format!("<td>{}</td><td>{mean}</td><td>{}</td>", show(month.min), show(month.max))
        });
        writeln!(page, "<tr><td>{}</td>{cells}</tr>", row.month)?;
    }
    page.push_str("</tbody></table></div></details></article>\n");
    Ok(())
}

type Dash = [(DateTime<Utc>, f64); 2];

/// What is expected: month by month, or over the year from where it began.
fn dashes(of: &Page, card: &Card) -> Vec<Dash> {
    let across =
        |range: &TimeRange, value| [(range.from().get(), value), (range.to().get(), value)];
    let months = card.bars.iter();
    let months: Vec<_> = months.filter_map(|bar| Some(across(&bar.range, bar.target?))).collect();
    match card.pace.pace.target {
        Some(target) if months.is_empty() => {
            let start = card.pace.baseline.unwrap_or(target);
            vec![[(of.year.from().get(), start), (of.year.to().get(), target)]]
        }
        _ => months,
    }
}

/// A line or bars over the year, with what is expected.
fn chart(
    of: &Page,
    samples: &[Sample],
    bars: &[Bar],
    dashes: &[Dash],
    span: Option<(f64, f64)>,
    unit: &str,
) -> Outcome<String> {
    let mut svg = String::new();
    let (from, to) = (of.year.from().get(), of.year.to().get());
    let heights =
        || bars.iter().filter_map(|bar| bar.value).chain((!bars.is_empty()).then_some(0.0));
    let ends = || dashes.iter().flatten().map(|end| end.1);
    let values = || samples.iter().map(|sample| sample.value).chain(heights()).chain(ends());
    if values().next().is_none() {
        return Ok(svg);
    }
    let (low, high) = (values().fold(f64::MAX, f64::min), values().fold(f64::MIN, f64::max));
    let room = ((high - low) * 0.08).max(high.abs() * 0.01);
    let room_below = if bars.is_empty() { room } else { 0.0 };
    let (low, high) = span.unwrap_or((low - room_below, high + room));
    let [muted, grid, accent, goal] = COLOURS.map(|colour| colour.0);
    let label = |at: &DateTime<Utc>| (*at + chrono::TimeDelta::hours(2)).format("%b").to_string();
    {
        let area = SVGBackend::with_string(&mut svg, (640, 220)).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(6)
            .margin_right(18)
            .x_label_area_size(26)
            .y_label_area_size(58)
            .build_cartesian_2d((from..to).monthly(), low..high)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(grid)
            .axis_style(grid)
            .x_labels(12)
            .y_labels(5)
            .x_label_formatter(&label)
            .y_label_formatter(&|value| number(*value, unit))
            .label_style(("sans-serif", 13, &muted))
            .draw()?;
        // A gap of days breaks the line.
        for part in samples.chunk_by(|a, b| (b.at - a.at).num_days() < 7 || samples.len() < 60) {
            let line = || part.iter().map(|sample| (sample.at, sample.value));
            chart.draw_series(AreaSeries::new(line(), low, accent.mix(0.12)))?;
            chart.draw_series(LineSeries::new(line(), accent.stroke_width(2)))?;
        }
        let gap = chrono::TimeDelta::days(3);
        chart.draw_series(bars.iter().filter_map(|bar| {
            let (from, to) = (bar.range.from().get() + gap, bar.range.to().get() - gap);
            Some(Rectangle::new([(from, low), (to, bar.value?)], accent.mix(0.55).filled()))
        }))?;
        for dash in dashes {
            chart.draw_series(DashedLineSeries::new(*dash, 6, 5, goal.stroke_width(2)))?;
        }
        area.present()?;
    }
    Ok(svg)
}

/// Gives a chart its colours by name, a title, a description, and any width.
fn describe(svg: &str, id: &str, title: &str, desc: &str) -> String {
    let mut svg = svg.to_owned();
    for (_, colour, variable) in COLOURS {
        svg = svg.replace(colour, variable);
    }
    let start = svg.find('>').map_or(0, |end| end + 1);
    format!(
        "<svg viewBox=\"0 0 640 220\" role=\"img\" aria-labelledby=\"{id}-title\" aria-describedby=\"{id}-desc\">\
         <title id=\"{id}-title\">{title}</title><desc id=\"{id}-desc\">{desc}</desc>{}",
        &svg[start..]
    )
}

/// A number as people write it, with its unit.
fn number(value: f64, unit: &str) -> String {
    let digits = if value.abs() >= 1000.0 {
        let whole = format!("{:.0}", value.abs());
        let mut grouped = String::new();
        for (i, digit) in whole.chars().enumerate() {
            if i > 0 && (whole.len() - i) % 3 == 0 {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        format!("{}{grouped}", if value < 0.0 { "-" } else { "" })
    } else if value.abs() >= 20.0 {
        format!("{value:.0}")
    } else if value == 0.0 {
        "0".to_owned()
    } else {
        format!("{value:.1}")
    };
    match unit {
        "" | "users" => digits,
        "$" => format!("${digits}"),
        _ => format!("{digits} {unit}"),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
