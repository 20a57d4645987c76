//! The command line. URLs and keys come from the environment alone: an argument shows in the list of
//! processes.
#![allow(clippy::doc_markdown, reason = "shown as plain text")]

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use sesari_db::credentials::SealingKeyId;
use sesari_db::id::{KpiId, UserId, WorkspaceId};
use sesari_db::maintenance::DEFAULT_PACKING_BATCH;
use sesari_db::series::Zone;
use sesari_db::tenancy::ServiceName;

/// Looks after a Sesari database.
///
/// URLs and keys are read from the environment:
///
///   SESARI_ADMIN_URL     the login that runs the migrations (else DATABASE_URL)
///   SESARI_TENANT_URL    the tenants' login
///   SESARI_SERVICE_URL   the services' login
///   SESARI_CONTEXT_KEYS  context keys, the one to sign with first, with commas between
///   SESARI_SEALING_KEYS  sealing keys, likewise
///
/// Exit codes: 0 all is well, 1 something was found or refused, 2 wrong usage, 3 the command could not be
/// carried out.
#[derive(Debug, Parser)]
#[command(name = "sesari", version, verbatim_doc_comment, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Doctor(Doctor),
    Migrate(Migrate),
    #[command(subcommand)]
    Keys(Keys),
    Retire(Retire),
    Import(Box<Import>),
    #[command(subcommand)]
    Verify(Verify),
    Rotate(Rotate),
    Rezone(Rezone),
    Pack(Pack),
    /// Prints a completion script.
    Completions {
        /// For this shell.
        shell: Shell,
    },
}

/// Says whether the database isolates tenants, and what to type where it does not.
///
/// Checks as the login that the service uses, in SESARI_TENANT_URL, or SESARI_SERVICE_URL with --service. It
/// needs no keys and writes nothing. Exit code 1: something critical, or with --strict a warning.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Check the services' login instead of the tenants'.
    #[arg(long)]
    pub(crate) service: bool,
    /// A tenants' table of your own, such as public.invoices; may be repeated.
    #[arg(long, value_name = "TABLE")]
    pub(crate) tenant_table: Vec<String>,
    /// A table that all tenants may read; may be repeated.
    #[arg(long, value_name = "TABLE")]
    pub(crate) shared_table: Vec<String>,
    /// The fingerprint that was recorded; another one is critical.
    #[arg(long, value_name = "HEX")]
    pub(crate) fingerprint: Option<String>,
    /// Warnings count.
    #[arg(long)]
    pub(crate) strict: bool,
    /// Print the report as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs the pending migrations, and installs the context keys of SESARI_CONTEXT_KEYS if that is set.
///
/// Run it as often as you like, from as many machines at once: what is done stays done.
#[derive(Debug, Args)]
pub(crate) struct Migrate {
    /// Record the migrations as run, in a schema that was restored without its data.
    #[arg(long)]
    pub(crate) record: bool,
}

/// Makes keys, installs context keys, and says which sealing keys are in use.
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Prints a new context key, to be kept in a secret store.
    NewContext {
        /// Its id: up to 32 lower-case letters, digits, hyphens and underscores.
        id: String,
    },
    /// Prints a new sealing key, to be kept in a secret store.
    NewSealing {
        /// Its id, likewise.
        id: SealingKeyId,
    },
    /// Installs the context keys of SESARI_CONTEXT_KEYS.
    Install,
    /// Lists the sealing keys that stored credentials need, asked as a service.
    Usage(AsService),
}

/// Retires a context key: what is signed with it is worth nothing from the next statement on.
///
/// A minute after the last service signs with another one. Exit code 1: it was not installed.
#[derive(Debug, Args)]
pub(crate) struct Retire {
    /// The key's id.
    pub(crate) id: String,
}

/// Imports data points from a CSV file, and says what became of each bad row.
///
/// Commits after each batch unless told otherwise. Without --preset the file is read as its first rows
/// propose, which is printed. Exit code 1: rows were refused.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The file, or - for standard input.
    pub(crate) file: PathBuf,
    /// The workspace of the KPI.
    #[arg(long)]
    pub(crate) workspace: WorkspaceId,
    /// The KPI that the points are of.
    #[arg(long)]
    pub(crate) kpi: KpiId,
    /// Import as this user, a member of the workspace.
    #[arg(long, conflicts_with = "service", required_unless_present = "service")]
    pub(crate) user: Option<UserId>,
    /// Import as this background service.
    #[arg(long)]
    pub(crate) service: Option<ServiceName>,
    /// How the file is laid out.
    #[arg(long, value_enum)]
    pub(crate) preset: Option<Preset>,
    /// The column that holds the values, where the preset names none.
    #[arg(long, value_name = "NAME", required_if_eq_any = [
        ("preset", "google-analytics"), ("preset", "sheets"), ("preset", "sheets-european"),
    ])]
    pub(crate) column: Option<String>,
    /// The zone of times that say none, such as Europe/Berlin.
    #[arg(long, default_value = "UTC")]
    pub(crate) zone: Zone,
    /// What to do with points that are there already.
    #[arg(long, value_enum, default_value = "keep")]
    pub(crate) existing: Existing,
    /// Add up rows of one time instead of keeping one of them.
    #[arg(long)]
    pub(crate) add_up: bool,
    /// End once more rows than this were refused.
    #[arg(long, value_name = "ROWS")]
    pub(crate) errors_allowed: Option<u64>,
    /// Write nothing unless every row can be written.
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) all_or_nothing: bool,
    /// Check everything, and write nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Preset {
    /// Columns timestamp and value, and where wanted source.
    Plain,
    /// A report of Google Analytics 4; --column names the metric.
    GoogleAnalytics,
    /// Payments exported from Stripe.
    Stripe,
    /// A sheet, saved as CSV; --column names the column.
    Sheets,
    /// The same from a locale with a comma in numbers and a semicolon between fields.
    SheetsEuropean,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Existing {
    Keep,
    Replace,
    Fail,
}

/// Compares what is stored with what it was made from.
#[derive(Debug, Subcommand)]
pub(crate) enum Verify {
    /// Rollups and current values, with what the points say. Exit code 1: some differ.
    Rollups {
        /// Only of this workspace.
        #[arg(long)]
        workspace: Option<WorkspaceId>,
        /// Mend what differs, while others write.
        #[arg(long)]
        rebuild: bool,
    },
    /// Rules of time zones, the server's with the crate's. Exit code 1: some differ, so that series of these
    /// zones read more points; no answer is wrong.
    Zones {
        /// These zones, such as Europe/Berlin; without any, all, which takes a minute.
        zones: Vec<Zone>,
    },
    /// A workspace's audit log, with its chain of hashes. Exit code 1: it was changed.
    Audit {
        /// The workspace.
        #[arg(long)]
        workspace: WorkspaceId,
        /// Read the log as this owner or admin of the workspace.
        #[arg(long)]
        user: UserId,
    },
}

/// Moves every sealed credential to the first of SESARI_SEALING_KEYS, while services go on.
///
/// Interrupted, it may be started again. Exit code 1: some do not open, and were left as they are.
#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// Credentials moved in one transaction.
    #[arg(long, default_value = "100", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) batch: u16,
    #[command(flatten)]
    pub(crate) as_service: AsService,
}

/// Makes the rollups of a workspace anew after a change of its time zone, while services go on.
///
/// Series are right before it has been there, and slower. Interrupted, it may be started again.
#[derive(Debug, Args)]
pub(crate) struct Rezone {
    /// The workspace.
    #[arg(long)]
    pub(crate) workspace: WorkspaceId,
    /// Rollups made anew in one transaction.
    #[arg(long, default_value = "1000", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) batch: u32,
    #[command(flatten)]
    pub(crate) as_service: AsService,
}

/// Packs closed history, while services go on: about a hundred points in a row, a twentieth of the space.
///
/// Repositories read packed points as any others. Interrupted, it may be started again.
#[derive(Debug, Args)]
pub(crate) struct Pack {
    /// Points at least so many days old.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(7..=36_500))]
    pub(crate) older_than: u32,
    /// Only of this workspace.
    #[arg(long)]
    pub(crate) workspace: Option<WorkspaceId>,
    /// Points packed in one transaction.
    #[arg(long, default_value_t = DEFAULT_PACKING_BATCH, value_parser = clap::value_parser!(u32).range(1000..=1_000_000))]
    pub(crate) batch: u32,
}

#[derive(Debug, Args)]
pub(crate) struct AsService {
    /// The name that the audit log shows.
    #[arg(long = "as", value_name = "SERVICE", default_value = "operator")]
    pub(crate) name: ServiceName,
}
