//! The made-up market behind the protocol.

use std::time::Duration;

use serde_json::Value;
use thalweg_simulator::{Feed, MarketConfig, SimulatorConfig};

use crate::support::{START, Venue, config};

fn at_rate(rate: f64) -> SimulatorConfig {
    let market = MarketConfig { rate, ..MarketConfig::default() };
    SimulatorConfig { feed: Feed::Market(market), ..config() }
}

async fn messages(count: usize) -> Vec<String> {
    let venue = Venue::start(at_rate(20.0)).await;
    let mut client = venue.subscribed(&["AAPL", "MSFT", "BINANCE:BTCUSDT"]).await;
    let mut messages = Vec::new();
    while messages.len() < count {
        messages.push(venue.text(&mut client).await);
    }
    messages
}

#[tokio::test]
async fn the_same_seed_on_the_same_clock_gives_the_same_bytes() {
    assert_eq!(messages(300).await, messages(300).await);
}

#[tokio::test]
async fn what_was_counted_is_what_was_received() {
    let venue = Venue::start(at_rate(500.0)).await;
    let mut client = venue.subscribed(&["AAPL", "MSFT", "BINANCE:BTCUSDT"]).await;
    venue.step_to(Duration::from_secs(10)).await;
    venue.asleep().await;
    venue.env.shutdown.cancel();
    let (received, _) = client.rest().await;
    let trades: usize = received
        .iter()
        .map(|message| serde_json::from_str::<Value>(message.to_text().unwrap()).unwrap())
        .map(|message| message["data"].as_array().unwrap().len())
        .sum();
    assert_eq!(venue.statistics().messages, received.len() as u64);
    assert_eq!(venue.statistics().trades, trades as u64);
    assert!(trades > 1000);
}

#[tokio::test]
async fn a_client_too_slow_for_the_market_misses_trades() {
    let venue = Venue::start(at_rate(50_000.0)).await;
    let mut client = venue.subscribed(&["BINANCE:BTCUSDT", "BINANCE:ETHUSDT"]).await;
    venue.env.clock.step_to(START.plus(Duration::from_secs(9)));
    client.text().await;
    venue.env.clock.step_to(START.plus(Duration::from_secs(99)));
    let mut received = 1;
    while venue.statistics().skips == 0 {
        client.text().await;
        received += 1;
    }
    // Nine seconds would have been 27,000 messages.
    assert!(received < 27_000, "{received}");
    venue.text(&mut client).await;
}
