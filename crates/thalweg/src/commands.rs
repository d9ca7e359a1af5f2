//! One file a verb, or a family of verbs; here what they share.

mod actions;
mod add;
mod card;
mod check;
mod dev;
mod doctor;
mod graph;
mod init;
mod logs;
mod open;
mod place;
mod plan;
mod reset;
mod rows;
mod run;
mod simulate;
mod test;
mod topics;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use thalweg_core::Error;
use thalweg_core::env::{Clock, Env};
use thalweg_core::problem::{Problem, Severity};
use thalweg_log::OsDisk;
use thalweg_project::{Loaded, Project};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::init::templates;
use self::place::Place;
use crate::cli::{Cli, ClockArg, Dir, Export, Verb};

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
    let globals = cli.globals;
    let at = |dir: Dir| Place::new(&globals, dir);
    let here = || Place::new(&globals, Dir::default());
    match cli.verb {
        Verb::Init(args) => init::run(&args, &here()),
        Verb::Check(dir) => check::run(&at(dir)),
        Verb::Run(args) => run::run(&at(args.dir.clone()), args).await,
        Verb::Demo(args) => run::demo(&here(), args, globals.data_dir.clone()).await,
        Verb::Dev(args) => dev::run(&at(args.dir.clone()), &args).await,
        Verb::Plan(dir) => plan::run(&at(dir)).await,
        Verb::Sql(args) => rows::sql(&at(args.dir.clone()), &args).await,
        Verb::Ledger(dir) => rows::print(&at(dir), rows::LEDGER).await,
        Verb::Status(dir) => rows::print(&at(dir), rows::STATUS).await,
        Verb::Quality(dir) => rows::print(&at(dir), rows::QUALITY).await,
        Verb::Quarantine(verb) => rows::quarantine(verb, at).await,
        Verb::Jobs(verb) => actions::jobs(verb, at).await,
        Verb::Backfill(args) => actions::backfill(&here(), &args).await,
        Verb::Models(verb) => actions::models(verb, at).await,
        Verb::Late(dir) => rows::print(&at(dir), rows::LATE).await,
        Verb::Gaps(dir) => rows::print(&at(dir), rows::GAPS).await,
        Verb::Tables(verb) => actions::tables(verb, at).await,
        Verb::Topics(verb) => topics::run(verb, at).await,
        Verb::Sources(verb) => actions::sources(verb, at).await,
        Verb::Streams(verb) => actions::streams(verb, at).await,
        Verb::Sinks(verb) => actions::sinks(verb, at).await,
        Verb::Add(args) => add::run(&globals, args).await,
        Verb::Test(args) => test::run(&globals, args).await,
        Verb::Simulate(args) => simulate::run(args).await,
        Verb::Open(dir) => open::run(&at(dir)),
        Verb::Graph(dir) => graph::run(&at(dir)).await,
        Verb::Reset(dir) => reset::run(&at(dir)).await,
        Verb::Doctor(dir) => doctor::run(&at(dir)).await,
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

/// What the machine gives: its clock unless another is asked for, its files.
pub(crate) fn machine(clock: Option<ClockArg>) -> Env {
    Env {
        clock: clock.map_or_else(Clock::system, ClockArg::start),
        disk: Arc::new(OsDisk),
        shutdown: CancellationToken::new(),
        tasks: TaskTracker::new(),
        // Back-off must differ between processes that restart together.
        seed: u64::from(std::process::id()),
    }
}

/// Which signal ended the process.
pub(crate) struct Signals {
    interrupted: Arc<AtomicBool>,
}

impl Signals {
    /// The code to end with: 130 when a person interrupted it.
    pub(crate) fn code(&self) -> u8 {
        if self.interrupted.load(Ordering::Relaxed) { 130 } else { 0 }
    }
}

/// Ends the process when it is asked to, once; asked again, at once.
pub(crate) fn listen_to_signals(env: &Env) -> Signals {
    use tokio::signal::unix::{SignalKind, signal};
    let shutdown = env.shutdown.clone();
    let signals = Signals { interrupted: Arc::default() };
    let interrupted = Arc::clone(&signals.interrupted);
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::warn!("signals cannot be listened to");
        return signals;
    };
    let wait = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => interrupted.store(true, Ordering::Relaxed),
        }
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
    signals
}

/// Loads a project with the environment's secrets.
pub(crate) fn load(dir: &Path) -> Loaded {
    Project::load(dir, &|name| std::env::var(name).ok())
}

/// Types a project; its problems are printed, and those that keep it from running end the command.
pub(crate) fn load_checked(
    loaded: Loaded,
    is_colored: bool,
) -> Result<(Project, crate::check::Checked), Failure> {
    checked(loaded, is_colored, |_| true)
}

/// As [`load_checked`], without the warnings: who reads has been told when it was started.
pub(crate) fn load_to_read(
    loaded: Loaded,
    is_colored: bool,
) -> Result<(Project, crate::check::Checked), Failure> {
    checked(loaded, is_colored, |problem| problem.severity == Severity::Error)
}

fn checked(
    mut loaded: Loaded,
    is_colored: bool,
    is_told: impl Fn(&Problem) -> bool,
) -> Result<(Project, crate::check::Checked), Failure> {
    let checked = crate::check::check(&mut loaded);
    loaded.problems.retain(is_told);
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
