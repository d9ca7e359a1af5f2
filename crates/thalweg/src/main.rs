//! The `thalweg` binary: the command line, and the wiring of every part.
//!
//! stdout is data, stderr is people. Exit codes: 0 ok, 1 the thing failed, 2 usage, 3 server not
//! reachable, 4 not confirmed, 130 interrupted.

mod app;
mod check;
mod cli;
mod client;
mod commands;
mod output;
mod progress;
mod trial;

use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use crate::cli::Cli;

// The allocator of glibc keeps what threads freed: the more rows, the more memory, without a leak.
// How this one is set stands in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("THALWEG_LOG").unwrap_or_else(|_| {
        EnvFilter::new(match (cli.globals.quiet, cli.globals.verbose) {
            (true, _) => "error",
            (false, 0) => "warn",
            (false, 1) => "info",
            (false, _) => "debug",
        })
    });
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        logs.with_target(false).init();
    } else {
        logs.json().init();
    }
    // Two providers of TLS are in the tree; one is chosen, or rustls panics.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::from(1);
        }
    };
    let code = match runtime.block_on(commands::run(cli)) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("error: {}", failure.error.chain());
            failure.code
        }
    };
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    ExitCode::from(code)
}
