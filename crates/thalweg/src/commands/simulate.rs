//! `thalweg simulate`: the exchange simulator alone.

use thalweg_core::env::Env;
use thalweg_simulator::{
    Feed, MarketConfig, ReplayConfig, Simulator, SimulatorConfig, Speed, Token,
};

use super::{Failure, listen_to_signals, machine};
use crate::cli::SimulateArgs;

pub(super) async fn run(args: SimulateArgs) -> Result<u8, Failure> {
    let env = Env { seed: args.seed, ..machine(args.clock) };
    let signals = listen_to_signals(&env);
    let feed = if args.replay.is_empty() {
        Feed::Market(MarketConfig { rate: args.rate, ..MarketConfig::default() })
    } else {
        let mut replay = ReplayConfig::new(args.replay);
        replay.speed = args.speed.parse::<Speed>()?;
        replay.max_pause = args.max_pause;
        Feed::Replay(replay)
    };
    let config = SimulatorConfig {
        listen: args.listen,
        token: Token::new(args.token),
        faults: args.faults.parse()?,
        feed,
        ..SimulatorConfig::default()
    };
    let simulator = Simulator::start(&env, config).await?;
    eprintln!("listening on {}", simulator.address());
    println!("{}", simulator.finnhub_url());
    println!("{}", simulator.binance_url());
    println!("{}", simulator.prices_url());
    println!("{}", simulator.binance_stream_url());
    println!("{}", simulator.coinbase_url());
    println!("{}", simulator.kraken_url(true));
    println!("{}", simulator.kraken_url(false));
    env.shutdown.cancelled().await;
    let statistics = simulator.statistics();
    eprintln!("{statistics:?}");
    Ok(signals.code())
}
