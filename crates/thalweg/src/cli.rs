//! The command line: verbs, options, examples.
//!
//! Options that every verb knows are in [`Globals`]; a flag goes before `THALWEG_*`, that before the
//! project file, that before the default. What a verb does is in `commands/`.

mod values;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

pub(crate) use self::values::{ClockArg, ColorChoice, Export, Format, Outcome};
use self::values::{clock, duration};

/// Live feeds to tables, forecasts and dashboards that can be trusted.
#[derive(Parser)]
#[command(
    name = "thalweg",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 ok, 1 it failed, 2 usage, 3 no server, 4 not confirmed, 130 interrupted.\n\
                  Begin with: thalweg demo"
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
    /// What every verb knows.
    #[command(flatten)]
    pub globals: Globals,
}

/// What every verb knows.
#[derive(Args, Clone)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Globals {
    /// The project's folder; default the current one.
    #[arg(long, global = true, env = "THALWEG_PROJECT", value_name = "DIR", alias = "dir")]
    pub project: Option<PathBuf>,
    /// The data folder; default `.thalweg` in the project's.
    #[arg(long, global = true, env = "THALWEG_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address of the server; default what the data folder says.
    #[arg(long, global = true, env = "THALWEG_SERVER", value_name = "URL")]
    pub server: Option<String>,
    /// How the answer is printed.
    #[arg(long, global = true, env = "THALWEG_FORMAT", value_enum)]
    pub format: Option<Format>,
    /// When to use colours.
    #[arg(long, global = true, env = "THALWEG_COLOR", value_enum, default_value_t = ColorChoice::Auto)]
    pub color: ColorChoice,
    /// Say only what went wrong.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Say more; twice for everything.
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Do what destroys something without asking.
    #[arg(long, short, global = true)]
    pub yes: bool,
}

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Make a project that runs at once, offline.
    #[command(
        after_help = "Examples:\n  thalweg init shop\n  thalweg init shop --template empty\n  thalweg run shop"
    )]
    Init(InitArgs),
    /// Find every problem of a project, without network.
    #[command(
        after_help = "Examples:\n  thalweg check\n  thalweg check examples/market-lambda --format json"
    )]
    Check(Dir),
    /// Run a project in the foreground.
    #[command(
        after_help = "Examples:\n  thalweg run\n  thalweg run --drain --idle 10s\n  thalweg run . --data-dir /var/lib/thalweg\n  thalweg run --clock 2023-12-22@max"
    )]
    Run(RunArgs),
    /// Run the market-lambda example against the built-in simulator; nothing to configure.
    #[command(
        after_help = "Examples:\n  thalweg demo\n  thalweg demo --rate 1000\n  thalweg demo --rate 0.01 --clock 2023-12-22@max"
    )]
    Demo(DemoArgs),
    /// Run a project, and run it anew whenever one of its files is saved.
    #[command(after_help = "Examples:\n  thalweg dev\n  thalweg dev shop --http 127.0.0.1:0")]
    Dev(DevArgs),
    /// Show what an edit would keep, rebuild and back-fill.
    #[command(after_help = "Examples:\n  thalweg plan\n  thalweg plan shop --format json")]
    Plan(Dir),
    /// Look at a file, an address or a preset, and declare it as a source of the project.
    #[command(
        after_help = "Examples:\n  thalweg add customers data/customers.csv\n  thalweg add coins https://example.com/price\n  thalweg add ticks wss://example.com/ws --subscribe '{\"op\":\"subscribe\"}' --for 30s\n  thalweg add prices binance:ticker/price:BTCUSDT,ETHUSDT"
    )]
    Add(AddArgs),
    /// Run the project's tests, in process and without network; show what differs.
    #[command(
        after_help = "Examples:\n  thalweg test\n  thalweg test shop rise_is_positive\n  thalweg test --update"
    )]
    Test(TestArgs),
    /// Ask a question in SQL: of the running server, else of the project's data.
    #[command(
        after_help = "Examples:\n  thalweg sql -c 'SELECT * FROM hourly_volume'\n  thalweg sql -c 'SELECT * FROM system.ledger' --format csv\n  echo 'SELECT 1' | thalweg sql"
    )]
    Sql(SqlArgs),
    /// Show what went in and what came out, and whether it balances.
    #[command(after_help = "Examples:\n  thalweg ledger\n  thalweg ledger --format csv")]
    Ledger(Dir),
    /// Show what runs.
    #[command(after_help = "Examples:\n  thalweg status\n  thalweg status --format json")]
    Status(Dir),
    /// Show counts of valid and refused rows by source and check.
    #[command(after_help = "Examples:\n  thalweg quality")]
    Quality(Dir),
    /// Look at refused rows.
    #[command(
        subcommand,
        after_help = "Examples:\n  thalweg quarantine list\n  thalweg quarantine show trades 4711"
    )]
    Quarantine(QuarantineVerb),
    /// Look at jobs and run them.
    #[command(
        subcommand,
        after_help = "Examples:\n  thalweg jobs list\n  thalweg jobs run nightly --date 2023-12-22\n  thalweg jobs retry nightly@2023-12-22.manual --from hourly"
    )]
    Jobs(JobsVerb),
    /// Run a job for each of several days.
    #[command(
        after_help = "Examples:\n  thalweg backfill nightly --from 2023-12-22 --to 2023-12-24 --preview"
    )]
    Backfill(BackfillArgs),
    /// Look at models, train, evaluate and choose them.
    #[command(
        subcommand,
        after_help = "Examples:\n  thalweg models list\n  thalweg models train next_price"
    )]
    Models(ModelsVerb),
    /// Look at what came too late for its window.
    #[command(after_help = "Examples:\n  thalweg late")]
    Late(Dir),
    /// Look at stretches that a feed missed.
    #[command(after_help = "Examples:\n  thalweg gaps")]
    Gaps(Dir),
    /// Look at tables of the lake, and keep them small.
    #[command(
        subcommand,
        after_help = "Examples:\n  thalweg tables list\n  thalweg tables history trades_history\n  thalweg tables vacuum trades_history --keep-days 30"
    )]
    Tables(TablesVerb),
    /// Look at topics of the log.
    #[command(
        subcommand,
        after_help = "Examples:\n  thalweg topics list\n  thalweg topics tail customers-usa --from beginning -n 5\n  thalweg topics tail customers-usa --raw --follow"
    )]
    Topics(TopicsVerb),
    /// Look at sources, pause and resume them.
    #[command(
        subcommand,
        after_help = "Examples:\n  thalweg sources list\n  thalweg sources pause trades"
    )]
    Sources(SourcesVerb),
    /// Look at streams, pause and resume them.
    #[command(
        subcommand,
        after_help = "Examples:\n  thalweg streams list\n  thalweg streams pause hourly"
    )]
    Streams(StreamsVerb),
    /// Look at sinks; take over or empty the target of one that has stopped.
    #[command(
        subcommand,
        after_help = "Examples:\n  thalweg sinks list\n  thalweg sinks adopt speed_table\n  thalweg sinks reset speed_table --yes"
    )]
    Sinks(SinksVerb),
    /// The exchange simulator alone.
    #[command(
        after_help = "Examples:\n  thalweg simulate\n  thalweg simulate --replay trades.ndjson --speed 1000"
    )]
    Simulate(SimulateArgs),
    /// Open the running server's pages in a browser.
    #[command(after_help = "Examples:\n  thalweg open")]
    Open(Dir),
    /// Draw what feeds what.
    #[command(
        after_help = "Examples:\n  thalweg graph\n  thalweg graph --format mermaid\n  thalweg graph --format svg > graph.svg"
    )]
    Graph(Dir),
    /// Remove everything the project has stored in its data folder.
    #[command(after_help = "Examples:\n  thalweg reset\n  thalweg reset --yes")]
    Reset(Dir),
    /// Name the broken link: configuration, environment, disk, ports, server, feeds, sinks, clock.
    #[command(after_help = "Examples:\n  thalweg doctor\n  thalweg doctor --format json")]
    Doctor(Dir),
    /// Explain the code of a problem.
    #[command(after_help = "Examples:\n  thalweg explain T0302")]
    Explain {
        /// The code, such as T0302.
        code: String,
    },
    /// Write the OpenAPI document or the schema of the project file to standard output.
    #[command(after_help = "Examples:\n  thalweg export schema > schema.json")]
    Export {
        /// Which of them.
        #[arg(value_enum)]
        what: Export,
    },
    /// Write completions for a shell to standard output.
    #[command(
        after_help = "Examples:\n  thalweg completions bash > /etc/bash_completion.d/thalweg"
    )]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Which project.
#[derive(Args, Clone, Default)]
pub(crate) struct Dir {
    /// The project's folder; as `--project`.
    pub dir: Option<PathBuf>,
}

/// Options of `init`.
#[derive(Args)]
pub(crate) struct InitArgs {
    /// The folder to make; default the current one.
    pub dir: Option<PathBuf>,
    /// What to begin with; see `thalweg init --help`.
    #[arg(long, default_value = "market-lambda", value_parser = crate::commands::templates())]
    pub template: String,
}

/// Options of `run`.
#[derive(Args)]
pub(crate) struct RunArgs {
    /// Which project.
    #[command(flatten)]
    pub dir: Dir,
    /// Read what there is, print the ledger, and end.
    #[arg(long)]
    pub drain: bool,
    /// With `--drain`: silence after which a live feed counts as drained.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub idle: Duration,
    /// With `--drain`: how long sinks may take to commit the rest.
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub wait: Duration,
    /// Where HTTP listens; default what the project says, else 127.0.0.1:7070.
    #[arg(long, env = "THALWEG_HTTP")]
    pub http: Option<SocketAddr>,
    /// The clock: where it begins and how fast it runs, as `2023-12-22T15:00:00Z@60`; `@max` leaps
    /// over the time in which nothing is due.
    #[arg(long, value_parser = clock, value_name = "FROM[@RATE|@max]")]
    pub clock: Option<ClockArg>,
}

/// Options of `dev`.
#[derive(Args)]
pub(crate) struct DevArgs {
    /// Which project.
    #[command(flatten)]
    pub dir: Dir,
    /// Where HTTP listens; default what the project says, else 127.0.0.1:7070.
    #[arg(long, env = "THALWEG_HTTP")]
    pub http: Option<SocketAddr>,
}

/// Options of `demo`.
#[derive(Args)]
pub(crate) struct DemoArgs {
    /// Trades a second.
    #[arg(long, default_value_t = 20.0)]
    pub rate: f64,
    /// Where HTTP listens.
    #[arg(long, default_value = "127.0.0.1:7070")]
    pub http: SocketAddr,
    /// Seed of the made-up prices.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The clock of exchange and project: where it begins and how fast it runs, as for `run`.
    #[arg(long, value_parser = clock, value_name = "FROM[@RATE|@max]")]
    pub clock: Option<ClockArg>,
}

/// Options of `add`.
#[derive(Args)]
pub(crate) struct AddArgs {
    /// The name of the source.
    pub name: String,
    /// A file, an address, or a preset such as `finnhub:AAPL` or `binance:ticker/price:BTCUSDT`.
    #[arg(value_name = "URL|FILE|PRESET")]
    pub what: String,
    /// How long to listen to a feed.
    #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub wait: Duration,
    /// A message to send to a WebSocket after connecting; several in order.
    #[arg(long, value_name = "MESSAGE")]
    pub subscribe: Vec<String>,
    /// Another address for a preset, such as that of `thalweg simulate`.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
}

/// Options of `test`.
#[derive(Args)]
pub(crate) struct TestArgs {
    /// The project's folder, if the first word is a folder, and names of tests; default all.
    #[arg(value_name = "DIR|NAME")]
    pub names: Vec<String>,
    /// Write what is there in the place of what is expected.
    #[arg(long)]
    pub update: bool,
}

/// Options of `sql`.
#[derive(Args)]
pub(crate) struct SqlArgs {
    /// Which project.
    #[command(flatten)]
    pub dir: Dir,
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
    List(Dir),
    /// Show one whole, by source and offset.
    Show {
        /// The source or stream.
        name: String,
        /// Offset of the record.
        offset: i64,
        /// Which project.
        #[command(flatten)]
        dir: Dir,
    },
}

/// A name, and which project it is in.
#[derive(Args)]
pub(crate) struct Named {
    /// Its name.
    pub name: String,
    /// Which project.
    #[command(flatten)]
    pub dir: Dir,
}

/// What to do with jobs.
#[derive(Subcommand)]
pub(crate) enum JobsVerb {
    /// List them with their next runs.
    List(Dir),
    /// Start a run.
    Run {
        /// The job.
        #[command(flatten)]
        job: Named,
        /// The day; default the period that just ended.
        #[arg(long)]
        date: Option<String>,
    },
    /// Hold the schedule of a job; what runs goes on.
    Pause(Named),
    /// Let the schedule of a job go on.
    Resume(Named),
    /// List the runs of a job, newest first.
    History(Named),
    /// Show what the tasks of a run have said.
    Logs {
        /// The run.
        run: String,
        /// One task of it; all, when absent.
        task: Option<String>,
        /// Which attempt of the task; the newest, when absent.
        #[arg(long, value_name = "NUMBER", requires = "task")]
        attempt: Option<u32>,
        /// Which project.
        #[command(flatten)]
        dir: Dir,
    },
    /// Cancel a run.
    Cancel(Named),
    /// Run the failed tasks of a run again.
    Retry {
        /// The run.
        #[command(flatten)]
        run: Named,
        /// Also this task and all that come after it, even if they succeeded.
        #[arg(long, value_name = "TASK")]
        from: Option<String>,
    },
    /// Say how a task of a run ended.
    Mark {
        /// The run.
        run: String,
        /// The task.
        task: String,
        /// How it ended.
        #[arg(value_enum)]
        outcome: Outcome,
        /// Which project.
        #[command(flatten)]
        dir: Dir,
    },
}

/// What to do with models.
#[derive(Subcommand)]
pub(crate) enum ModelsVerb {
    /// List them with who serves.
    List(Dir),
    /// Show the newest scores of every version, the baselines' too.
    Scores(Dir),
    /// Print all that a version is to be judged by, as Markdown.
    Card {
        /// Number of the version. Default: the champion, or else the newest.
        #[arg(long)]
        number: Option<u64>,
        /// The model.
        #[command(flatten)]
        model: Named,
    },
    /// Print the newest forecasts, of every series.
    Predict {
        /// How many.
        #[arg(short = 'n', long, default_value_t = 20)]
        count: u32,
        /// The model.
        #[command(flatten)]
        model: Named,
    },
    /// Train every candidate now.
    Train(Named),
    /// Score the versions and apply the champion rule now.
    Evaluate(Named),
    /// Make a version champion by hand.
    Promote {
        /// Number of the version.
        #[arg(long)]
        number: u64,
        /// The model.
        #[command(flatten)]
        model: Named,
    },
    /// Bring back the champion before this one.
    Rollback(Named),
}

/// What to do with tables.
#[derive(Subcommand)]
pub(crate) enum TablesVerb {
    /// List them with version, files and rows.
    List(Dir),
    /// Show one: columns, who feeds it, where it lies.
    Show(Named),
    /// List the data files of one.
    Files(Named),
    /// List the commits of one, newest first.
    History(Named),
    /// Merge the small files of one.
    Compact(Named),
    /// Remove files that no version of the last days needs.
    Vacuum {
        /// The table.
        #[command(flatten)]
        table: Named,
        /// Versions younger than this stay readable.
        #[arg(long, default_value_t = 7)]
        keep_days: u32,
    },
}

/// What to do with sources.
#[derive(Subcommand)]
pub(crate) enum SourcesVerb {
    /// List them with what they have received.
    List(Dir),
    /// Show all that is known of one.
    Show(Named),
    /// Stop reading one until it is resumed, over restarts too.
    Pause(Named),
    /// Read a paused one again.
    Resume(Named),
}

/// What to do with streams.
#[derive(Subcommand)]
pub(crate) enum StreamsVerb {
    /// List them with what went in and out.
    List(Dir),
    /// Show all that is known of one.
    Show(Named),
    /// Stop one at the end of an epoch until it is resumed, over restarts too.
    Pause(Named),
    /// Let a paused one go on.
    Resume(Named),
}

/// What to do with sinks.
#[derive(Subcommand)]
pub(crate) enum SinksVerb {
    /// List them with what they have written.
    List(Dir),
    /// Go on from what the target holds: its rows count as all that was handed over so far.
    Adopt(Named),
    /// Empty the target and write it anew from the first row that was handed over.
    Reset(Named),
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
}

/// What to do with topics.
#[derive(Subcommand)]
pub(crate) enum TopicsVerb {
    /// List them with their offsets and sizes.
    List(Dir),
    /// Show one, partition by partition.
    Show {
        /// The topic.
        #[command(flatten)]
        topic: Named,
    },
    /// Print records: of the running server, else of the project's data.
    Tail(TailArgs),
}

/// Options of `topics tail`.
#[derive(Args)]
pub(crate) struct TailArgs {
    /// The topic.
    #[command(flatten)]
    pub topic: Named,
    /// Where to begin: `beginning`, `-N` for the newest N, an offset, or an instant.
    #[arg(long, default_value = "-10", allow_hyphen_values = true)]
    pub from: String,
    /// Most records.
    #[arg(short = 'n', long, value_name = "N")]
    pub limit: Option<usize>,
    /// One partition only.
    #[arg(long)]
    pub partition: Option<u32>,
    /// Print values alone, a line each, byte for byte.
    #[arg(long)]
    pub raw: bool,
    /// Go on with what comes; needs a running server.
    #[arg(short = 'f', long)]
    pub follow: bool,
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
    pub max_pause: Duration,
    /// Recorded messages to send instead of made-up ones, one a line.
    #[arg(long)]
    pub replay: Vec<PathBuf>,
    /// Faults by plan, such as `stall@10s:60s,close@25s`.
    #[arg(long, default_value = "")]
    pub faults: String,
    /// The clock: where it begins and how fast it runs, as for `run`. Two processes that leap do
    /// not leap together: `demo --clock` has both in one.
    #[arg(long, value_parser = clock, value_name = "FROM[@RATE|@max]")]
    pub clock: Option<ClockArg>,
    /// The token that is accepted.
    #[arg(long, default_value = "demo")]
    pub token: String,
}
