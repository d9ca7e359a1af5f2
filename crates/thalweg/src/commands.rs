//! One file a verb; here what they share.

mod check;
mod jobs;
mod rows;
mod run;
mod simulate;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thalweg_core::Error;
use thalweg_core::env::{Clock, Env};
use thalweg_log::OsDisk;
use thalweg_project::{Color, Loaded, Project};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cli::{Cli, ColorChoice, Export, Verb};

/// Why a command ended, and the code it ends with.
pub(crate) struct Failure {
    pub error: Error,
    pub code: u8,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, code: 1 }
    }
}

/// A server that could not be reached.
pub(crate) fn unreachable_server(error: Error) -> Failure {
    Failure { error, code: 3 }
}

pub(crate) async fn run(cli: Cli) -> Result<u8, Failure> {
    let is_colored = is_colored(cli.color);
    match cli.verb {
        Verb::Check(args) => check::run(&args, is_colored),
        Verb::Run(args) => run::run(args, is_colored).await,
        Verb::Demo(args) => run::demo(args, is_colored).await,
        Verb::Sql(args) => rows::sql(args, is_colored).await,
        Verb::Ledger(args) => {
            rows::print(args, "SELECT part, name, count, value, balanced FROM system.ledger ORDER BY part, name, count", is_colored).await
        }
        Verb::Status(args) => {
            rows::print(args, "SELECT name, 'source' AS kind, state, rows_valid AS rows, lag_records, watermark, reason FROM system.sources \
                UNION ALL SELECT name, 'stream', state, rows_out, lag_records, watermark, reason FROM system.streams \
                UNION ALL SELECT name, 'sink', state, rows_written, rows_waiting, NULL, reason FROM system.sinks \
                UNION ALL SELECT name, 'table', state, rows, NULL, NULL, NULL FROM system.tables", is_colored).await
        }
        Verb::Quality(args) => {
            rows::print(args, "SELECT name, \"check\", count(*) AS refused, max(received_at) AS newest FROM system.quarantine \
                GROUP BY name, \"check\" ORDER BY name, \"check\"", is_colored).await
        }
        Verb::Quarantine(verb) => rows::quarantine(verb, is_colored).await,
        Verb::Jobs(verb) => jobs::run(verb, is_colored).await,
        Verb::Backfill(args) => jobs::backfill(args).await,
        Verb::Models(verb) => jobs::models(verb, is_colored).await,
        Verb::Late(args) => {
            rows::print(args, "SELECT stream, window_start, \"partition\", \"offset\", \"row\", columns FROM system.late ORDER BY stream, \"offset\"", is_colored).await
        }
        Verb::Gaps(args) => {
            rows::print(args, "SELECT source, key, \"from\", \"to\", state, reason FROM system.gaps ORDER BY \"from\" DESC", is_colored).await
        }
        Verb::Tables(args) => {
            rows::print(args, "SELECT name, fed_by, version, files, rows, bytes, path FROM system.tables ORDER BY name", is_colored).await
        }
        Verb::Topics(args) => {
            rows::print(args, "SELECT name, \"partition\", log_start, high_watermark, bytes FROM system.topics ORDER BY name", is_colored).await
        }
        Verb::Sources(verb) => jobs::sources(verb, is_colored).await,
        Verb::Simulate(args) => simulate::run(args).await,
        Verb::Explain { code } => explain(&code),
        Verb::Export { what } => {
            let text = match what {
                Export::Openapi => thalweg_serve::openapi_json(),
                Export::Schema => format!("{:#}", thalweg_project::schema()),
                Export::Reference => thalweg_project::reference(),
            };
            println!("{text}");
            Ok(0)
        }
        Verb::Completions { shell } => {
            let mut command = <Cli as clap::CommandFactory>::command();
            clap_complete::generate(shell, &mut command, "thalweg", &mut std::io::stdout());
            Ok(0)
        }
    }
}

fn explain(code: &str) -> Result<u8, Failure> {
    match thalweg_project::explain(code) {
        Some(page) => {
            println!("{page}");
            Ok(0)
        }
        None => {
            let all: Vec<&str> = thalweg_project::codes().collect();
            Err(Error::invalid(format!("no code `{code}`"))
                .with_hint(format!("There are: {}.", all.join(", ")))
                .into())
        }
    }
}

fn is_colored(choice: ColorChoice) -> bool {
    let color = match choice {
        ColorChoice::Auto => Color::Auto,
        ColorChoice::Always => Color::Always,
        ColorChoice::Never => Color::Never,
    };
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    color.is_on(std::io::IsTerminal::is_terminal(&std::io::stderr()), no_color)
}

/// What the machine gives: its clock unless another is asked for, its files.
pub(crate) fn machine(clock: Option<Clock>) -> Env {
    Env {
        clock: clock.unwrap_or_else(Clock::system),
        disk: Arc::new(OsDisk),
        shutdown: CancellationToken::new(),
        tasks: TaskTracker::new(),
        // Back-off must differ between processes that restart together.
        seed: u64::from(std::process::id()),
    }
}

/// Ends the process when it is asked to, once; asked again, at once.
pub(crate) fn listen_to_signals(env: &Env) {
    use tokio::signal::unix::{SignalKind, signal};
    let shutdown = env.shutdown.clone();
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::warn!("signals cannot be listened to");
        return;
    };
    let wait = async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        shutdown.cancel();
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        std::process::exit(130);
    };
    // Not one of the tasks the process waits for: it waits for the process.
    #[expect(
        clippy::disallowed_methods,
        reason = "ends with the process, which must not wait for it"
    )]
    tokio::spawn(wait);
}

/// Loads a project with the environment's secrets.
pub(crate) fn load(dir: &Path) -> Loaded {
    Project::load(dir, &|name| std::env::var(name).ok())
}

/// Loads and types a project; its problems are printed, and the first thing that keeps it from
/// running ends the command.
pub(crate) fn load_checked(
    mut loaded: Loaded,
    is_colored: bool,
) -> Result<(Project, crate::check::Checked), Failure> {
    let checked = crate::check::check(&mut loaded);
    if !loaded.problems.is_empty() {
        eprint!("{}", thalweg_project::render(&loaded.problems, &loaded.sources, is_colored));
    }
    if loaded.has_errors() {
        let count = loaded.problems.len();
        return Err(Error::invalid(format!("the project has {count} problems")).into());
    }
    match (loaded.project, checked) {
        (Some(project), Some(checked)) => Ok((project, checked)),
        _ => Err(Error::invalid("there is no project here")
            .with_hint("A project is a folder with a thalweg.toml.")
            .into()),
    }
}

/// The data folder of a project.
pub(crate) fn data_dir(dir: &Path, given: Option<&PathBuf>) -> PathBuf {
    given.cloned().unwrap_or_else(|| dir.join(".thalweg"))
}

/// Bind parameters of nothing.
pub(crate) fn no_params() -> BTreeMap<String, serde_json::Value> {
    BTreeMap::new()
}
