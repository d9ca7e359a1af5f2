//! The command line: verbs, options, examples.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Live feeds to tables, forecasts and dashboards that can be trusted.
#[derive(Parser)]
#[command(name = "thalweg", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
    /// When to use colours.
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto)]
    pub color: ColorChoice,
    /// Say only what went wrong.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Say more; twice for everything.
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// When to use colours.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Find every problem of a project, without network.
    #[command(
        after_help = "Examples:\n  thalweg check\n  thalweg check examples/market-lambda --format json"
    )]
    Check(CheckArgs),
    /// Run a project in the foreground.
    #[command(
        after_help = "Examples:\n  thalweg run\n  thalweg run --drain --idle 10s\n  thalweg run . --data-dir /var/lib/thalweg"
    )]
    Run(RunArgs),
    /// Run the market-lambda example against the built-in simulator; nothing to configure.
    #[command(after_help = "Examples:\n  thalweg demo\n  thalweg demo --rate 1000")]
    Demo(DemoArgs),
    /// Ask a question in SQL: of the running server, else of the project's data.
    #[command(
        after_help = "Examples:\n  thalweg sql -c 'SELECT * FROM hourly_volume'\n  thalweg sql -c 'SELECT * FROM system.ledger' --format csv"
    )]
    Sql(SqlArgs),
    /// Show what went in and what came out, and whether it balances.
    Ledger(ProjectArgs),
    /// Show what runs.
    Status(ProjectArgs),
    /// Show counts of valid and refused rows by source and check.
    Quality(ProjectArgs),
    /// Look at refused rows.
    #[command(subcommand)]
    Quarantine(QuarantineVerb),
    /// Look at jobs and run them.
    #[command(subcommand)]
    Jobs(JobsVerb),
    /// Run a job for each of several days.
    #[command(
        after_help = "Examples:\n  thalweg backfill nightly --from 2023-12-22 --to 2023-12-24 --preview"
    )]
    Backfill(BackfillArgs),
    /// Look at models, train, evaluate and choose them.
    #[command(subcommand)]
    Models(ModelsVerb),
    /// Look at what came too late for its window.
    Late(ProjectArgs),
    /// Look at stretches that a feed missed.
    Gaps(ProjectArgs),
    /// Look at tables of the lake.
    Tables(ProjectArgs),
    /// Look at topics of the log.
    Topics(ProjectArgs),
    /// Look at sources, pause and resume them.
    #[command(subcommand)]
    Sources(SourcesVerb),
    /// The exchange simulator alone.
    #[command(
        after_help = "Examples:\n  thalweg simulate\n  thalweg simulate --replay trades.ndjson --speed 1000"
    )]
    Simulate(SimulateArgs),
    /// Explain the code of a problem.
    #[command(after_help = "Examples:\n  thalweg explain T0302")]
    Explain {
        /// The code, such as T0302.
        code: String,
    },
    /// Write the OpenAPI document or the schema of the project file to standard output.
    Export {
        /// Which of the two.
        #[arg(value_enum)]
        what: Export,
    },
    /// Write completions for a shell to standard output.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// What can be exported.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Export {
    /// The OpenAPI document of the HTTP API.
    Openapi,
    /// The JSON Schema of the project file.
    Schema,
    /// The reference of the project file, as Markdown.
    Reference,
}

/// Which project.
#[derive(Args)]
pub(crate) struct ProjectArgs {
    /// The project's folder.
    #[arg(default_value = ".")]
    pub dir: PathBuf,
    /// The data folder; default `.thalweg` in the project's.
    #[arg(long, env = "THALWEG_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address of the server; default what the data folder says.
    #[arg(long, env = "THALWEG_SERVER")]
    pub server: Option<String>,
    /// How rows are printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

/// How rows are printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns.
    Table,
    /// Comma-separated values.
    Csv,
    /// One JSON array.
    Json,
    /// A JSON object a line.
    Jsonl,
    /// An Arrow IPC stream.
    Arrow,
}

/// Options of `check`.
#[derive(Args)]
pub(crate) struct CheckArgs {
    /// The project's folder.
    #[arg(default_value = ".")]
    pub dir: PathBuf,
    /// How problems are printed.
    #[arg(long, value_enum, default_value_t = CheckFormat::Text)]
    pub format: CheckFormat,
}

/// How problems are printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckFormat {
    /// For people.
    Text,
    /// One JSON array.
    Json,
}

/// Options of `run`.
#[derive(Args)]
pub(crate) struct RunArgs {
    /// The project's folder.
    #[arg(default_value = ".")]
    pub dir: PathBuf,
    /// The data folder; default `.thalweg` in the project's.
    #[arg(long, env = "THALWEG_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Read what there is, print the ledger, and end.
    #[arg(long)]
    pub drain: bool,
    /// With `--drain`: silence after which a live feed counts as drained.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub idle: std::time::Duration,
    /// With `--drain`: how long sinks may take to commit the rest.
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub wait: std::time::Duration,
    /// Where HTTP listens; default what the project says, else 127.0.0.1:7070.
    #[arg(long, env = "THALWEG_HTTP")]
    pub http: Option<SocketAddr>,
    /// The clock: an instant it begins at, and how fast it runs, as `2023-12-22T15:00:00Z@60`.
    #[arg(long, value_parser = clock)]
    pub clock: Option<ClockArg>,
}

/// Options of `demo`.
#[derive(Args)]
pub(crate) struct DemoArgs {
    /// Trades a second.
    #[arg(long, default_value_t = 20.0)]
    pub rate: f64,
    /// The data folder; default a temporary one, removed at the end.
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
    /// Where HTTP listens.
    #[arg(long, default_value = "127.0.0.1:7070")]
    pub http: SocketAddr,
    /// Seed of the made-up prices.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Options of `sql`.
#[derive(Args)]
pub(crate) struct SqlArgs {
    /// Which project.
    #[command(flatten)]
    pub project: ProjectArgs,
    /// The statement.
    #[arg(short = 'c', long, conflicts_with = "file")]
    pub command: Option<String>,
    /// A file with the statement; `-` for standard input.
    #[arg(short = 'f', long)]
    pub file: Option<PathBuf>,
}

/// What to do with refused rows.
#[derive(Subcommand)]
pub(crate) enum QuarantineVerb {
    /// List them, newest last.
    List(ProjectArgs),
    /// Show one whole, by source and offset.
    Show {
        /// The source or stream.
        name: String,
        /// Offset of the record.
        offset: i64,
        /// Which project.
        #[command(flatten)]
        project: ProjectArgs,
    },
}

/// What to do with jobs.
#[derive(Subcommand)]
pub(crate) enum JobsVerb {
    /// List them with their next runs.
    List(ProjectArgs),
    /// Start a run.
    Run {
        /// The job.
        job: String,
        /// The day; default the period that just ended.
        #[arg(long)]
        date: Option<String>,
        /// Which project.
        #[command(flatten)]
        project: ProjectArgs,
    },
    /// List the runs of a job, newest first.
    History {
        /// The job.
        job: String,
        /// Which project.
        #[command(flatten)]
        project: ProjectArgs,
    },
    /// Show the tasks of a run with what they said.
    Logs {
        /// The run.
        run: String,
        /// Which project.
        #[command(flatten)]
        project: ProjectArgs,
    },
    /// Cancel a run.
    Cancel {
        /// The run.
        run: String,
        /// Which project.
        #[command(flatten)]
        project: ProjectArgs,
    },
    /// Run the failed tasks of a run again.
    Retry {
        /// The run.
        run: String,
        /// Which project.
        #[command(flatten)]
        project: ProjectArgs,
    },
}

/// What to do with models.
#[derive(Subcommand)]
pub(crate) enum ModelsVerb {
    /// List them with who serves.
    List(ProjectArgs),
    /// Show the newest scores of every version, the baselines' too.
    Scores(ProjectArgs),
    /// Train every candidate now.
    Train(OneModel),
    /// Score the versions and apply the champion rule now.
    Evaluate(OneModel),
    /// Make a version champion by hand.
    Promote {
        /// Number of the version.
        #[arg(long)]
        version: u64,
        /// Which model.
        #[command(flatten)]
        model: OneModel,
    },
    /// Bring back the champion before this one.
    Rollback(OneModel),
}

/// One model of a project.
#[derive(Args)]
pub(crate) struct OneModel {
    /// The model.
    pub model: String,
    /// Which project.
    #[command(flatten)]
    pub project: ProjectArgs,
}

/// What to do with sources.
#[derive(Subcommand)]
pub(crate) enum SourcesVerb {
    /// List them with what they have received.
    List(ProjectArgs),
    /// Close a live source's connection until it is resumed.
    Pause {
        /// The source.
        source: String,
        /// Which project.
        #[command(flatten)]
        project: ProjectArgs,
    },
    /// Connect a paused source again.
    Resume {
        /// The source.
        source: String,
        /// Which project.
        #[command(flatten)]
        project: ProjectArgs,
    },
}

/// Options of `backfill`.
#[derive(Args)]
pub(crate) struct BackfillArgs {
    /// The job.
    pub job: String,
    /// First day.
    #[arg(long)]
    pub from: String,
    /// Last day.
    #[arg(long)]
    pub to: String,
    /// Only list the days.
    #[arg(long)]
    pub preview: bool,
    /// Which project.
    #[arg(long, default_value = ".")]
    pub dir: PathBuf,
    /// The data folder; default `.thalweg` in the project's.
    #[arg(long, env = "THALWEG_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address of the server; default what the data folder says.
    #[arg(long, env = "THALWEG_SERVER")]
    pub server: Option<String>,
}

/// Options of `simulate`.
#[derive(Args)]
pub(crate) struct SimulateArgs {
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:7979")]
    pub listen: SocketAddr,
    /// Seed of the made-up prices.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Trades a second.
    #[arg(long, default_value_t = 20.0)]
    pub rate: f64,
    /// How fast a replay goes: a factor, or `max`.
    #[arg(long, default_value = "1")]
    pub speed: String,
    /// Longest pause of a replay.
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub max_pause: std::time::Duration,
    /// Recorded messages to send instead of made-up ones, one a line.
    #[arg(long)]
    pub replay: Vec<PathBuf>,
    /// Faults by plan, such as `stall@10s:60s,close@25s`.
    #[arg(long, default_value = "")]
    pub faults: String,
    /// The token that is accepted.
    #[arg(long, default_value = "demo")]
    pub token: String,
}

/// A clock with an origin and a rate.
#[derive(Clone, Copy)]
pub(crate) struct ClockArg {
    /// What it reads at the start.
    pub origin: thalweg_core::time::Timestamp,
    /// How many times as fast as the machine's it runs.
    pub rate: f64,
}

fn duration(text: &str) -> Result<std::time::Duration, String> {
    thalweg_core::time::parse_duration(text)
        .ok_or_else(|| "expected a length of time, such as 500ms, 10s or 5m".to_owned())
}

fn clock(text: &str) -> Result<ClockArg, String> {
    let (origin, rate) = text.split_once('@').unwrap_or((text, "1"));
    let origin = thalweg_core::time::Timestamp::parse(origin)
        .ok_or("expected an instant, such as 2023-12-22T15:00:00Z")?;
    if rate == "max" {
        return Err("`@max` is not built yet; give a number".to_owned());
    }
    let rate: f64 = rate.parse().map_err(|_| "expected a number after `@`".to_owned())?;
    if rate > 0.0 && rate.is_finite() {
        Ok(ClockArg { origin, rate })
    } else {
        Err("the rate of a clock is above zero".to_owned())
    }
}
