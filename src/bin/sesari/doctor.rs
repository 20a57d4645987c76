//! `sesari doctor`: the isolation check.

use sesari_db::database::{HardeningState, IsolationOptions, IsolationReport, Severity};

use crate::args::Doctor;
use crate::print::{BOLD, CYAN, GREEN, Paint, RED, YELLOW, line};
use crate::upkeep::{SERVICE_URL, TENANT_URL, variable};
use crate::{Found, Outcome};

pub(crate) fn run(command: Doctor) -> Outcome<Found> {
    let url = variable(if command.service { SERVICE_URL } else { TENANT_URL })?;
    let mut options =
        if command.service { IsolationOptions::service() } else { IsolationOptions::tenant() };
    options = command.tenant_table.into_iter().fold(options, IsolationOptions::tenant_table);
    options = command.shared_table.into_iter().fold(options, IsolationOptions::shared_table);
    if let Some(fingerprint) = command.fingerprint {
        options = options.expect_fingerprint(fingerprint);
    }
    let report = IsolationReport::check(&url, &options)?;
    if command.json {
        line!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    Ok(match report.worst() {
        Some(Severity::Critical) => Found::Something,
        Some(Severity::Warning) if command.strict => Found::Something,
        _ => Found::Nothing,
    })
}

fn print(report: &IsolationReport) {
    let paint = Paint::new();
    for finding in report.findings() {
        let colour = match finding.severity {
            Severity::Critical => RED,
            Severity::Warning => YELLOW,
            _ => CYAN,
        };
        let severity = paint.in_colour(colour, &format!("{:<8}", finding.severity.to_string()));
        line!("{severity} {}  {}", paint.in_colour(BOLD, &finding.rule), finding.object);
        line!("         {}", finding.explanation);
        line!("         {}", paint.in_colour(CYAN, &finding.remedy));
    }
    if report.worst() <= Some(Severity::Info) {
        line!("{} tenants are isolated", paint.in_colour(GREEN, "ok      "));
    }
    if !report.hardening().is_empty() {
        line!("\nHardening that an operator can add:");
    }
    for hardening in report.hardening() {
        let (colour, state) = match hardening.state {
            HardeningState::On => (GREEN, "on"),
            HardeningState::Off => (YELLOW, "off"),
            _ => (CYAN, "unknown"),
        };
        let state = paint.in_colour(colour, &format!("{state:<8}"));
        let name = hardening.rule.trim_start_matches("hardening-");
        line!("{state} {name:<18} {}", hardening.detail);
        if hardening.state != HardeningState::On {
            line!("         {}", paint.in_colour(CYAN, &hardening.remedy));
        }
    }
    line!("\nFingerprint: {}", report.fingerprint());
}
