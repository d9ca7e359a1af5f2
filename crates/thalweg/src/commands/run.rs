//! `thalweg run` and `thalweg demo`: a project in the foreground.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use thalweg_core::env::Env;
use thalweg_core::query::Query;
use thalweg_core::{Error, ErrorKind};
use thalweg_project::{Channel, Connector, Project, Secret};
use thalweg_simulator::{Feed, MarketConfig, Running, Simulator, SimulatorConfig, Token};

use super::place::Place;
use super::rows::LEDGER;
use super::{Failure, listen_to_signals, load, load_checked, machine};
use crate::app::{App, DrainRequest, Request};
use crate::cli::{DemoArgs, Format, RunArgs};
use crate::output;
use crate::progress::{self, Count};

/// The address of a feed that stands for the built-in simulator.
pub(super) const BUILT_IN: &str = "simulator:";

/// What the demo runs.
pub(super) const DEMO: &str = include_str!("../../../../examples/market-lambda/thalweg.toml");

pub(super) async fn run(place: &Place, args: RunArgs) -> Result<u8, Failure> {
    let (mut project, checked) = load_checked(load(&place.dir), place.is_colored)?;
    let env = machine(args.clock);
    let signals = listen_to_signals(&env);
    simulate_feeds(&env, &mut project).await?;
    let http =
        (!args.drain || args.http.is_some()).then(|| args.http.unwrap_or(project.server.http));
    let request = Request {
        data: place.data.clone(),
        drain: args.drain.then_some(DrainRequest { idle: args.idle, wait: args.wait }),
        http,
        given: None,
    };
    let app = Arc::new(App::open(project, checked, env, request).await?);
    if args.drain {
        let count = || Some(Count { done: rows_read(&app), total: None });
        let drain = Arc::clone(&app).run();
        let ended = progress::follow(place.is_quiet, "draining", count, drain).await;
        if signals.code() != 0 {
            return Ok(signals.code());
        }
        return finish_drain(&app, ended, place.format.unwrap_or(Format::Table)).await;
    }
    app.run().await?;
    Ok(signals.code())
}

/// Rows that sources have given so far.
fn rows_read(app: &App) -> u64 {
    let sources = app.pipelines.iter().filter(|pipeline| pipeline.is_source());
    sources.map(|pipeline| pipeline.status().read().source.rows_valid).sum()
}

/// Where a simulator is, for one sort of feed.
type Base = Box<dyn Fn(&Running) -> String + Send>;

/// Starts the built-in simulator for each feed that asks for it, and points the feed at it:
/// `simulator:`, with a path where any address is polled, `simulator:/pages/prices`.
pub(super) async fn simulate_feeds(env: &Env, project: &mut Project) -> Result<(), Error> {
    for source in &mut project.sources {
        let mut config = SimulatorConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            ..SimulatorConfig::default()
        };
        let (url, base): (_, Base) = match &mut source.connector {
            Connector::Finnhub(finnhub) => {
                config.token = Token::new(finnhub.token.reveal());
                (&mut finnhub.url, Box::new(Running::finnhub_url))
            }
            Connector::Exchange(exchange) => {
                let channel = exchange.channel;
                let base = move |it: &Running| match channel {
                    Channel::Binance(_) => it.binance_stream_url(),
                    Channel::Coinbase(_) => it.coinbase_url(),
                    Channel::Kraken(channel) => it.kraken_url(!channel.is_v1()),
                };
                (&mut exchange.url, Box::new(base))
            }
            Connector::Binance(binance) => (&mut binance.url, Box::new(Running::binance_url)),
            Connector::Http(http) => {
                (&mut http.url, Box::new(|it: &Running| format!("http://{}", it.address())))
            }
            _ => continue,
        };
        let Some(path) = url.reveal().strip_prefix(BUILT_IN) else { continue };
        let simulator = Simulator::start(env, config).await?;
        *url = Secret::new(format!("{}{path}", base(&simulator)));
    }
    Ok(())
}

/// Prints the ledger, and says what did not balance or commit.
async fn finish_drain(
    app: &App,
    ended: thalweg_core::Result<()>,
    format: Format,
) -> Result<u8, Failure> {
    let rows = app.engine.collect(Query::new(LEDGER)).await?;
    output::print(&rows, format)?;
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

pub(super) async fn demo(
    place: &Place,
    args: DemoArgs,
    data_dir: Option<PathBuf>,
) -> Result<u8, Failure> {
    let env = Env { seed: args.seed, ..machine(args.clock) };
    let signals = listen_to_signals(&env);
    let config = SimulatorConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        feed: Feed::Market(MarketConfig { rate: args.rate, ..MarketConfig::default() }),
        ..SimulatorConfig::default()
    };
    let simulator = Simulator::start(&env, config).await?;
    let url = simulator.finnhub_url();
    let temporary = match &data_dir {
        Some(_) => None,
        None => Some(temporary_folder()?),
    };
    let folder = data_dir.or_else(|| temporary.clone()).unwrap_or_default();
    let files = BTreeMap::from([(PathBuf::from("thalweg.toml"), DEMO.as_bytes().to_vec())]);
    // What the demo leaves out below asks for these; nothing is sent anywhere.
    let secrets = |name: &str| match name {
        "FINNHUB_TOKEN" => Some("demo".to_owned()),
        "DATABASE_URL" => Some("postgres://127.0.0.1/demo".to_owned()),
        "OPS_WEBHOOK" => Some("http://127.0.0.1/ops".to_owned()),
        _ => None,
    };
    let (mut project, checked) =
        load_checked(Project::load_from(&folder, &files, &secrets), place.is_colored)?;
    for source in &mut project.sources {
        if let Connector::Finnhub(finnhub) = &mut source.connector {
            finnhub.url = Secret::new(url.clone());
        }
    }
    project.sinks.retain(|sink| sink.target.database().is_none());
    eprintln!("the demo runs examples/market-lambda against a simulated exchange;");
    eprintln!("its PostgreSQL sink and its webhook are left out. Data: {}", folder.display());
    let request =
        Request { data: folder.join(".thalweg"), drain: None, http: Some(args.http), given: None };
    let app = Arc::new(App::open(project, checked, env, request).await?);
    let ended = app.run().await;
    if let Some(folder) = temporary
        && let Err(error) = std::fs::remove_dir_all(&folder)
    {
        tracing::warn!(%error, folder = %folder.display(), "the demo's folder stays");
    }
    ended?;
    Ok(signals.code())
}

fn temporary_folder() -> Result<PathBuf, Error> {
    let folder = std::env::temp_dir().join(format!("thalweg-demo-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| {
        Error::new(ErrorKind::Unavailable, format!("cannot make {}", folder.display()))
            .with_source(error)
    })?;
    Ok(folder)
}
