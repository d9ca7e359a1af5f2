//! What the market says: a function of the seed, plausible, as broken as asked for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use thalweg_core::env::{Clock, Env};
use thalweg_core::time::Timestamp;
use thalweg_sim::MemDisk;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Batch, Market, Said};
use crate::config::MarketConfig;

/// A Friday, an hour before New York opens.
const START: Timestamp = Timestamp(1_703_251_800_000_000);

const SYMBOLS: [&str; 5] = ["AAPL", "AMZN", "MSFT", "BINANCE:ETHUSDT", "BINANCE:BTCUSDT"];

fn market(config: MarketConfig, seed: u64, symbols: &[&str]) -> Market {
    let env = Env {
        clock: Clock::stepped(START),
        disk: Arc::new(MemDisk::new(0)),
        shutdown: CancellationToken::new(),
        tasks: TaskTracker::new(),
        seed,
    };
    let mut market = Market::new(config, &env);
    for symbol in symbols {
        market.subscribe(symbol, START);
    }
    market
}

fn rate(rate: f64) -> MarketConfig {
    MarketConfig { rate, ..MarketConfig::default() }
}

/// All that is said over `length`, asked every `step`.
fn listen(market: &mut Market, length: Duration, step: Duration) -> Vec<Batch> {
    let (mut now, mut batches) = (START, Vec::new());
    while now < START.plus(length) {
        now = now.plus(step).min(START.plus(length));
        while let Said::Message(batch) = market.say(now) {
            batches.push(batch);
        }
    }
    batches
}

fn trades(batches: &[Batch]) -> Vec<Value> {
    let message = |batch: &Batch| -> Value { serde_json::from_slice(&batch.text).expect("JSON") };
    let data = |message: Value| message["data"].as_array().expect("trades").clone();
    batches.iter().map(message).flat_map(data).collect()
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_same_seed_says_the_same_however_often_it_is_asked() {
    let minute = Duration::from_secs(60);
    let said = |seed, step| listen(&mut market(rate(50.0), seed, &SYMBOLS), minute, step);
    let batches = said(7, SECOND);
    assert!(batches.len() > 100);
    assert!(batches == said(7, Duration::from_millis(7)));
    assert!(batches == said(7, Duration::from_secs(9)));
    assert!(batches != said(8, SECOND));
}

#[test]
fn a_symbols_trades_do_not_hang_on_what_else_is_subscribed() {
    let minute = Duration::from_secs(60);
    let of_apple = |symbols: &[&str]| -> Vec<Value> {
        let all = trades(&listen(&mut market(rate(50.0), 7, symbols), minute, SECOND));
        all.into_iter().filter(|trade| trade["s"] == "AAPL").collect()
    };
    let (alone, among) = (of_apple(&["AAPL"]), of_apple(&SYMBOLS));
    // The last ones may stand in a message that is not due yet.
    let common = alone.len().min(among.len());
    assert!(common > 30 && alone.len().abs_diff(among.len()) <= 10);
    assert_eq!(alone[..common], among[..common]);
}

#[test]
fn trades_are_as_many_and_as_mixed_as_those_of_the_venue() {
    let config = MarketConfig { daily_shape: false, ..rate(200.0) };
    let batches = listen(&mut market(config, 7, &SYMBOLS), Duration::from_secs(600), SECOND);
    assert!(batches.iter().all(|batch| (1..=10).contains(&batch.trades)));
    let trades = trades(&batches);
    // 88 of 100 parts of the trades are of these symbols; pairs of fills widen the spread.
    let expected = 200.0 * 600.0 * 0.88;
    assert!((trades.len() as f64 / expected - 1.0).abs() < 0.03, "{} trades", trades.len());

    let mut newest: BTreeMap<String, i64> = BTreeMap::new();
    let (mut older, mut equal, mut whole) = (0, 0, 0);
    for (number, trade) in trades.iter().enumerate() {
        let symbol = trade["s"].as_str().expect("a symbol").to_owned();
        let millis = trade["t"].as_i64().expect("a time");
        assert!(millis >= START.millis() - 20);
        let newest = newest.entry(symbol.clone()).or_insert(millis);
        older += u32::from(millis < *newest);
        assert!(millis >= *newest - 20, "at most a little older");
        *newest = millis.max(*newest);
        equal += u32::from(number > 0 && trades[number - 1] == *trade);
        whole += u32::from(trade["p"].is_u64());
        let volume = trade["v"].as_f64().expect("a volume");
        assert!(volume > 0.0);
        match trade["c"].as_array() {
            None => assert!(trade["c"].is_null() && symbol.starts_with("BINANCE:")),
            Some(codes) => {
                assert!(codes.iter().all(Value::is_string) && !symbol.contains(':'));
                assert_eq!(codes.contains(&"12".into()), volume < 100.0, "odd lots");
                assert!(codes.contains(&"24".into()), "before New York opens");
                assert!(trade["v"].is_u64(), "whole shares");
            }
        }
    }
    assert_eq!(newest.len(), SYMBOLS.len());
    assert!(older > 100 && equal > 100 && whole > 100, "{older} {equal} {whole}");
}

#[test]
fn prices_move_in_clusters_and_stay_above_zero() {
    let config = MarketConfig { daily_shape: false, ..rate(40.0) };
    let hours = Duration::from_secs(6 * 3600);
    let said = listen(&mut market(config, 7, &["BINANCE:BTCUSDT"]), hours, SECOND);
    // The last price of each ten seconds.
    let mut prices: BTreeMap<i64, f64> = BTreeMap::new();
    for trade in trades(&said) {
        let price = trade["p"].as_f64().expect("a price");
        assert!(price > 0.0);
        prices.insert(trade["t"].as_i64().expect("a time") / 10_000, price);
    }
    let prices: Vec<f64> = prices.into_values().collect();
    let squares: Vec<f64> =
        prices.windows(2).map(|pair| (pair[1] / pair[0]).ln().powi(2)).collect();
    let mean = squares.iter().sum::<f64>() / squares.len() as f64;
    let covariance =
        |lag: usize| squares.windows(lag + 1).map(|w| (w[0] - mean) * (w[lag] - mean)).sum::<f64>();
    for lag in [1, 2, 3] {
        let correlation = covariance(lag) / covariance(0);
        // Without clusters: 0 with a standard deviation of 0.02.
        assert!(correlation > 0.06, "{correlation} at lag {lag}");
    }
    let fourth = squares.iter().map(|square| square * square).sum::<f64>();
    let kurtosis = fourth / squares.len() as f64 / (mean * mean);
    assert!(kurtosis > 3.2, "tails no heavier than the normal one's: {kurtosis}");
    let volatility = (mean / 10.0).sqrt();
    assert!((4e-5..1.6e-4).contains(&volatility), "{volatility} a second, meant 8e-5");
}

#[test]
fn sizes_have_a_heavy_tail() {
    let said =
        listen(&mut market(rate(200.0), 7, &["BINANCE:BTCUSDT"]), Duration::from_secs(300), SECOND);
    let mut sizes: Vec<f64> =
        trades(&said).iter().map(|trade| trade["v"].as_f64().expect("a volume")).collect();
    sizes.sort_by(f64::total_cmp);
    let (median, largest) = (sizes[sizes.len() / 2], sizes[sizes.len() - 1]);
    assert!((0.0011..0.0015).contains(&median), "{median}");
    assert!(largest > 100.0 * median, "{largest}");
}

#[test]
fn a_market_that_nobody_hears_skips() {
    let mut market = market(rate(20.0), 7, &SYMBOLS);
    let much_later = START.plus(Duration::from_secs(1_000_000));
    assert!(matches!(market.say(much_later), Said::Nothing(Some(at)) if at > much_later));
    assert_eq!(market.skips(), 1);
    let said = listen_from(&mut market, much_later);
    let prices = trades(&said).into_iter().filter(|trade| trade["s"] == "AAPL");
    for price in prices.map(|trade| trade["p"].as_f64().expect("a price")) {
        assert!((130.0..290.0).contains(&price), "{price} after eleven days");
    }
    assert_eq!(market.skips(), 1);
}

fn listen_from(market: &mut Market, from: Timestamp) -> Vec<Batch> {
    let mut batches = Vec::new();
    while let Said::Message(batch) = market.say(from.plus(Duration::from_secs(9))) {
        batches.push(batch);
    }
    batches
}

#[test]
fn stocks_may_rest_and_some_things_never_trade() {
    let night = Timestamp::parse("2023-12-23T06:00:00Z").expect("a night");
    let mut market = market(MarketConfig { stocks_close: true, ..rate(20.0) }, 7, &[]);
    market.subscribe("GBP", night);
    assert_eq!(market.say(night), Said::Nothing(None));
    market.subscribe("AAPL", night);
    let monday = Timestamp::parse("2023-12-25T09:00:00Z").expect("a morning");
    assert!(matches!(market.say(night), Said::Nothing(Some(at)) if at >= monday));
    market.unsubscribe("AAPL");
    assert_eq!(market.say(night), Said::Nothing(None));
}

#[test]
fn a_share_of_messages_is_spoilt_and_counted() {
    let config = MarketConfig { invalid_share: 0.1, ..rate(500.0) };
    let said = listen(&mut market(config, 7, &SYMBOLS), Duration::from_secs(300), SECOND);
    let spoilt = said.iter().filter(|batch| batch.trades_spoilt > 0).count();
    let share = spoilt as f64 / said.len() as f64;
    assert!((0.08..0.12).contains(&share), "{share} of {}", said.len());
    let mut kinds: BTreeMap<&str, u32> = BTreeMap::new();
    for batch in &said {
        let flaws = flaws(batch);
        let counted = match flaws[..] {
            ["cut short" | "unknown type"] => batch.trades,
            _ => flaws.len() as u64,
        };
        assert_eq!(counted, batch.trades_spoilt, "{}", String::from_utf8_lossy(&batch.text));
        flaws.into_iter().for_each(|flaw| *kinds.entry(flaw).or_default() += 1);
    }
    assert_eq!(kinds.len(), 6, "{kinds:?}");
}

/// What is wrong with a message, by reading it.
fn flaws(batch: &Batch) -> Vec<&'static str> {
    let Ok(message) = serde_json::from_slice::<Value>(&batch.text) else {
        return vec!["cut short"];
    };
    if message["type"] != "trade" {
        return vec!["unknown type"];
    }
    let flaw = |trade: &Value| match (&trade["p"], trade["v"].as_f64()) {
        (Value::Null, _) => Some("no price"),
        (Value::String(text), _) if text == "NaN" => Some("NaN"),
        (Value::String(_), _) => Some("price as text"),
        (_, Some(volume)) if volume < 0.0 => Some("negative volume"),
        _ => None,
    };
    message["data"].as_array().expect("trades").iter().filter_map(flaw).collect()
}
