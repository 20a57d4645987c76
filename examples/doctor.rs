//! Says whether a database isolates tenants: what breaks it, what to type, and which hardening is on.
//!
//! ```sh
//! cargo run --example doctor -- postgres://app:...@db.internal/sesari
//! cargo run --example doctor -- --service postgres://jobs:...@db.internal/sesari
//! cargo run --example doctor -- --json --tenant-table public.invoices --fingerprint 3f2a... "$URL"
//! ```
//!
//! The login is the one that the service uses, not an administrator's. It needs no keys and writes
//! nothing. Without a URL, as an argument or in `SESARI_TENANT_URL`, it shows itself on a throw-away
//! server. The exit code is 0 where nothing was found, 1 for warnings with `--strict`, 2 for
//! anything critical, and 3 where the check could not be made.

#[macro_use]
#[path = "support/print.rs"]
mod print;

use std::io::IsTerminal;
use std::process::ExitCode;

use diesel::connection::SimpleConnection;
use sesari_db::database::{HardeningState, IsolationOptions, IsolationReport, Severity};
use sesari_db::testing::TestDatabase;

const HELP: &str = "\
doctor [options] [URL]: says whether a database isolates tenants, and what to type where it does not.

URL is that of the login that the service uses; by default SESARI_TENANT_URL, or SESARI_SERVICE_URL
with --service. Without any, doctor shows itself on a throw-away server.

  --service               the login is the services', not the tenants'
  --tenant-table TABLE    a tenants' table of your own; may be repeated
  --shared-table TABLE    a table that all tenants may read; may be repeated
  --fingerprint HEX       the fingerprint that was recorded; another one is critical
  --strict                warnings count: exit code 1
  --json                  the report as JSON
  --help                  this text

Exit codes: 0 nothing that counts, 1 warnings with --strict, 2 something critical, 3 no check was made.";

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

struct Arguments {
    url: Option<String>,
    options: IsolationOptions,
    json: bool,
    strict: bool,
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("doctor: {error}");
            ExitCode::from(3)
        }
    }
}

fn run() -> Outcome<u8> {
    if std::env::args().skip(1).any(|argument| argument == "--help" || argument == "-h") {
        println!("{HELP}");
        return Ok(0);
    }
    let arguments = arguments(std::env::args().skip(1))?;
    let Some(url) = &arguments.url else { return show(&arguments) };
    let report = IsolationReport::check(url, &arguments.options)?;
    print(&report, arguments.json)?;
    Ok(code(&report, arguments.strict))
}

fn arguments(given: impl Iterator<Item = String>) -> Outcome<Arguments> {
    let mut given = given.peekable();
    let (mut url, mut json, mut strict, mut service) = (None, false, false, false);
    let mut declare: Vec<Box<dyn FnOnce(IsolationOptions) -> IsolationOptions>> = Vec::new();
    while let Some(argument) = given.next() {
        let mut value = || given.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--json" => json = true,
            "--strict" => strict = true,
            "--service" => service = true,
            "--tenant-table" => {
                let table = value()?;
                declare.push(Box::new(|options| options.tenant_table(table)));
            }
            "--shared-table" => {
                let table = value()?;
                declare.push(Box::new(|options| options.shared_table(table)));
            }
            "--fingerprint" => {
                let fingerprint = value()?;
                declare.push(Box::new(|options| options.expect_fingerprint(fingerprint)));
            }
            _ if argument.starts_with('-') => {
                return Err(format!("{argument} is not an option; --help lists them").into());
            }
            _ if url.is_some() => return Err("more than one URL; check one login at a time".into()),
            _ => url = Some(argument),
        }
    }
    let variable = if service { "SESARI_SERVICE_URL" } else { "SESARI_TENANT_URL" };
    let start = if service { IsolationOptions::service() } else { IsolationOptions::tenant() };
    let options = declare.into_iter().fold(start, |options, declare| declare(options));
    Ok(Arguments { url: url.or_else(|| std::env::var(variable).ok()), options, json, strict })
}

fn code(report: &IsolationReport, strict: bool) -> u8 {
    match report.worst() {
        Some(Severity::Critical) => 2,
        Some(Severity::Warning) if strict => 1,
        _ => 0,
    }
}

fn print(report: &IsolationReport, json: bool) -> Outcome<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(report)?);
        return Ok(());
    }
    let paint = Paint::new();
    for finding in report.findings() {
        let colour = match finding.severity {
            Severity::Critical => RED,
            Severity::Warning => YELLOW,
            _ => CYAN,
        };
        let severity = paint.in_colour(colour, &format!("{:<8}", finding.severity.to_string()));
        println!("{severity} {}  {}", paint.in_colour(BOLD, &finding.rule), finding.object);
        println!("         {}", finding.explanation);
        println!("         {}", paint.in_colour(CYAN, &finding.remedy));
    }
    if report.worst() <= Some(Severity::Info) {
        println!("{} tenants are isolated", paint.in_colour(GREEN, "ok      "));
    }
    if !report.hardening().is_empty() {
        println!("\nHardening that an operator can add:");
    }
    for hardening in report.hardening() {
        let (colour, state) = match hardening.state {
            HardeningState::On => (GREEN, "on"),
            HardeningState::Off => (YELLOW, "off"),
            _ => (CYAN, "unknown"),
        };
        let name = hardening.rule.trim_start_matches("hardening-");
        println!(
            "{} {name:<18} {}",
            paint.in_colour(colour, &format!("{state:<8}")),
            hardening.detail
        );
        if hardening.state != HardeningState::On {
            println!("         {}", paint.in_colour(CYAN, &hardening.remedy));
        }
    }
    println!("\nFingerprint: {}", report.fingerprint());
    Ok(())
}

const RED: &str = "1;31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const CYAN: &str = "36";
const BOLD: &str = "1";

/// Colours on a terminal, unless `NO_COLOR` is set.
struct Paint(bool);

impl Paint {
    fn new() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self(!refused && std::io::stdout().is_terminal())
    }

    fn in_colour(&self, colour: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn show(arguments: &Arguments) -> Outcome<u8> {
    eprintln!("No URL is given: showing it on a throw-away server.\n");
    let database = TestDatabase::new()?;
    let url = database.tenant_url();
    let clean = IsolationReport::check(&url, &arguments.options)?;
    print(&clean, arguments.json)?;

    let mistake = "ALTER POLICY kpis_tenant_select ON public.kpis USING (true)";
    eprintln!("\nSomebody in a hurry types: {mistake}\n");
    database.admin()?.batch_execute(mistake)?;
    let broken = IsolationReport::check(&url, &arguments.options)?;
    print(&broken, arguments.json)?;
    eprintln!("\nOn a database of yours, the exit code would be {}.", code(&broken, true));
    Ok(code(&clean, arguments.strict))
}
