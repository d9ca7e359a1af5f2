//! `thalweg run` and `thalweg demo`: a project in the foreground.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use thalweg_core::env::{Clock, Env};
use thalweg_core::query::Query;
use thalweg_core::{Error, ErrorKind};
use thalweg_project::{Connector, Project, Target};
use thalweg_simulator::{Feed, MarketConfig, Simulator, SimulatorConfig};

use super::{Failure, data_dir, listen_to_signals, load, load_checked, machine};
use crate::app::{App, DrainRequest, Request};
use crate::cli::{DemoArgs, Format, RunArgs};
use crate::output;

const DEMO: &str = include_str!("../../../../examples/market-lambda/thalweg.toml");

pub(super) async fn run(args: RunArgs, is_colored: bool) -> Result<u8, Failure> {
    let (project, checked) = load_checked(load(&args.dir), is_colored)?;
    let env = machine(args.clock.map(|clock| Clock::scaled(clock.origin, clock.rate)));
    listen_to_signals(&env);
    let http =
        (!args.drain || args.http.is_some()).then(|| args.http.unwrap_or(project.server.http));
    let request = Request {
        data: data_dir(&args.dir, args.data_dir.as_ref()),
        drain: args.drain.then_some(DrainRequest { idle: args.idle, wait: args.wait }),
        http,
    };
    let app = Arc::new(App::open(project, checked, env, request).await?);
    let ended = Arc::clone(&app).run().await;
    if args.drain {
        return finish_drain(&app, ended, is_colored).await;
    }
    ended?;
    Ok(0)
}

/// Prints the ledger, and says what did not balance or commit.
async fn finish_drain(
    app: &App,
    ended: thalweg_core::Result<()>,
    is_colored: bool,
) -> Result<u8, Failure> {
    let query = Query::new(
        "SELECT part, name, count, value, balanced FROM system.ledger ORDER BY part, name, count",
    );
    let rows = app.engine.collect(query).await?;
    output::print(&rows, Format::Table, is_colored)?;
    let query =
        Query::new("SELECT DISTINCT part, name, problem FROM system.ledger WHERE NOT balanced");
    let broken = app.engine.collect(query).await?;
    let broken_count: usize = broken.iter().map(|batch| batch.num_rows()).sum();
    if broken_count > 0 {
        eprintln!("error: the ledger does not balance");
        output::print_to_stderr(&broken)?;
        return Ok(1);
    }
    ended?;
    Ok(0)
}

pub(super) async fn demo(args: DemoArgs, is_colored: bool) -> Result<u8, Failure> {
    let env = Env { seed: args.seed, ..machine(None) };
    listen_to_signals(&env);
    let config = SimulatorConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        feed: Feed::Market(MarketConfig { rate: args.rate, ..MarketConfig::default() }),
        ..SimulatorConfig::default()
    };
    let simulator = Simulator::start(&env, config).await?;
    let url = simulator.finnhub_url();
    let temporary = match &args.data_dir {
        Some(_) => None,
        None => Some(temporary_folder()?),
    };
    let folder = args.data_dir.clone().or_else(|| temporary.clone()).unwrap_or_default();
    let files = BTreeMap::from([(PathBuf::from("thalweg.toml"), DEMO.as_bytes().to_vec())]);
    // What the demo leaves out below asks for these; nothing is sent anywhere.
    let secrets = |name: &str| match name {
        "FINNHUB_TOKEN" => Some("demo".to_owned()),
        "DATABASE_URL" => Some("postgres://127.0.0.1/demo".to_owned()),
        "OPS_WEBHOOK" => Some("http://127.0.0.1/ops".to_owned()),
        _ => None,
    };
    let (mut project, checked) =
        load_checked(Project::load_from(&folder, &files, &secrets), is_colored)?;
    for source in &mut project.sources {
        if let Connector::Finnhub(finnhub) = &mut source.connector {
            finnhub.url = thalweg_project::Secret::new(url.clone());
        }
    }
    project.sinks.retain(|sink| !matches!(sink.target, Target::Postgres(_)));
    eprintln!("the demo runs examples/market-lambda against a simulated exchange;");
    eprintln!("its PostgreSQL sink and its webhook are left out. Data: {}", folder.display());
    let request = Request { data: folder.join(".thalweg"), drain: None, http: Some(args.http) };
    let app = Arc::new(App::open(project, checked, env, request).await?);
    let ended = app.run().await;
    if let Some(folder) = temporary
        && let Err(error) = std::fs::remove_dir_all(&folder)
    {
        tracing::warn!(%error, folder = %folder.display(), "the demo's folder stays");
    }
    ended?;
    Ok(0)
}

fn temporary_folder() -> Result<PathBuf, Error> {
    let folder = std::env::temp_dir().join(format!("thalweg-demo-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| {
        Error::new(ErrorKind::Unavailable, format!("cannot make {}", folder.display()))
            .with_source(error)
    })?;
    Ok(folder)
}
