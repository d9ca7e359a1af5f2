//! Exchanges that stream over a WebSocket: Binance, Coinbase, Kraken. One channel a source.
//!
//! Not here: what a channel brings (`preset`), and how venues are spoken to (crate `connect`).

use super::Connector;
use super::http::lower_binance;
use crate::codes::{self, Telling};
use crate::entry::{Entry, FromValue, from_text};
use crate::secret::Secret;
use crate::spanned::Spanned;

/// Binance's streams.
const BINANCE_URL: &str = "wss://stream.binance.com:9443";
/// Coinbase Exchange.
const COINBASE_URL: &str = "wss://ws-feed.exchange.coinbase.com";
/// Coinbase Advanced Trade.
const COINBASE_ADVANCED_URL: &str = "wss://advanced-trade-ws.coinbase.com";
/// Kraken, version 2.
const KRAKEN_URL: &str = "wss://ws.kraken.com/v2";
/// Kraken, version 1.
const KRAKEN_V1_URL: &str = "wss://ws.kraken.com";

/// An exchange's market data, streamed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// What is streamed.
    pub channel: Channel,
    /// Symbols, products or pairs, as the venue writes them; at least one.
    pub symbols: Vec<String>,
    /// Address. Default the venue's.
    pub url: Secret,
}

/// A channel of a venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Of Binance.
    Binance(BinanceChannel),
    /// Of Coinbase.
    Coinbase(CoinbaseChannel),
    /// Of Kraken.
    Kraken(KrakenChannel),
}

impl Channel {
    /// The venue, as its table of keys is called.
    pub fn venue(self) -> &'static str {
        match self {
            Self::Binance(_) => "binance",
            Self::Coinbase(_) => "coinbase",
            Self::Kraken(_) => "kraken",
        }
    }

    /// Where the venue serves it.
    fn default_url(self) -> &'static str {
        match self {
            Self::Binance(_) => BINANCE_URL,
            Self::Coinbase(CoinbaseChannel::Matches | CoinbaseChannel::Ticker) => COINBASE_URL,
            Self::Coinbase(_) => COINBASE_ADVANCED_URL,
            Self::Kraken(KrakenChannel::Trade | KrakenChannel::Ticker) => KRAKEN_URL,
            Self::Kraken(_) => KRAKEN_V1_URL,
        }
    }

    /// A symbol as the venue writes it.
    fn example(self) -> &'static str {
        match self {
            Self::Binance(_) => "BTCUSDT",
            Self::Coinbase(_) => "BTC-USD",
            Self::Kraken(KrakenChannel::Trade | KrakenChannel::Ticker) => "BTC/USD",
            Self::Kraken(_) => "XBT/USD",
        }
    }

    /// What is wrong with a symbol, if it cannot be one of the venue.
    fn refusal(self, symbol: &str) -> Option<&'static str> {
        let has_parts = |by: char| {
            let parts = symbol.split_once(by);
            parts.is_some_and(|(base, quote)| !base.is_empty() && !quote.is_empty())
        };
        let is_clean = |c: char| !c.is_whitespace() && !c.is_control() && !"'\"\\@".contains(c);
        match self {
            _ if symbol.is_empty() || !symbol.chars().all(is_clean) => Some("no symbol"),
            Self::Binance(_) if symbol.contains(['-', '/', ':']) => Some("no symbol of Binance"),
            Self::Coinbase(_) if !has_parts('-') => Some("no product of Coinbase"),
            Self::Kraken(_) if !has_parts('/') => Some("no pair of Kraken"),
            _ => None,
        }
    }
}

/// A stream of Binance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinanceChannel {
    /// Each trade.
    Trade,
    /// The fills of one order at one price as one trade.
    AggTrade,
    /// Best bid and ask.
    BookTicker,
    /// Statistics of 24 hours.
    Ticker,
    /// The bar of the minute.
    Kline1m,
}

/// A channel of Coinbase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoinbaseChannel {
    /// Each trade of Coinbase Exchange.
    Matches,
    /// Price and statistics of Coinbase Exchange.
    Ticker,
    /// Each trade of Advanced Trade.
    AdvancedMarketTrades,
    /// Price and statistics of Advanced Trade.
    AdvancedTicker,
}

/// A channel of Kraken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KrakenChannel {
    /// Each trade.
    Trade,
    /// Best bid and ask, and statistics.
    Ticker,
    /// Each trade, over version 1.
    V1Trade,
    /// Best bid and ask, and statistics, over version 1.
    V1Ticker,
}

impl KrakenChannel {
    /// Whether it is of the older protocol.
    pub fn is_v1(self) -> bool {
        matches!(self, Self::V1Trade | Self::V1Ticker)
    }
}

from_text! {
    BinanceChannel: |text| match text {
        "trade" => Some(Self::Trade),
        "agg_trade" => Some(Self::AggTrade),
        "book_ticker" => Some(Self::BookTicker),
        "ticker" => Some(Self::Ticker),
        "kline_1m" => Some(Self::Kline1m),
        _ => None,
    };
    CoinbaseChannel: |text| match text {
        "matches" => Some(Self::Matches),
        "ticker" => Some(Self::Ticker),
        "advanced/market_trades" => Some(Self::AdvancedMarketTrades),
        "advanced/ticker" => Some(Self::AdvancedTicker),
        _ => None,
    };
    KrakenChannel: |text| match text {
        "trade" => Some(Self::Trade),
        "ticker" => Some(Self::Ticker),
        "v1/trade" => Some(Self::V1Trade),
        "v1/ticker" => Some(Self::V1Ticker),
        _ => None,
    };
}

/// The exchange that a source names, if it names one; the inner none when it is wrong.
pub(super) fn lower_venues(entry: Entry<'_>) -> Option<Option<Connector>> {
    let binance =
        entry.child("binance").written().map(|binance| match binance.child("channel").written() {
            Some(_) => lower_exchange(binance, Channel::Binance).map(Connector::Exchange),
            None => lower_binance(binance).map(Connector::Binance),
        });
    let coinbase = entry.child("coinbase").written();
    let coinbase = coinbase.map(|coinbase| lower_exchange(coinbase, Channel::Coinbase));
    let kraken = entry.child("kraken").written();
    let kraken = kraken.map(|kraken| lower_exchange(kraken, Channel::Kraken));
    let streamed = coinbase.or(kraken).map(|exchange| exchange.map(Connector::Exchange));
    binance.or(streamed)
}

/// Reads the table of keys of a venue; `channel_of` makes a channel of the venue's own.
fn lower_exchange<T: FromValue>(
    entry: Entry<'_>,
    channel_of: fn(T) -> Channel,
) -> Option<Exchange> {
    let channel = entry.get("channel").map(channel_of);
    let symbols: Vec<Spanned<String>> = entry.list("symbols");
    let written = entry.child("url").written();
    let url = written.map(Entry::read_secret);
    let channel = channel?;
    let is_written = entry.child("symbols").written().is_some();
    if symbols.is_empty() && is_written {
        let place = entry.child("symbols").place();
        let problem = codes::problem(codes::MALFORMED, "`symbols` is empty", place);
        entry.report(problem.label(format!("such as `[\"{}\"]`", channel.example())));
    }
    let mut are_right = !symbols.is_empty();
    for symbol in &symbols {
        if let Some(refusal) = channel.refusal(symbol) {
            let message = format!("`{}` is {refusal}", symbol.value);
            let problem = codes::problem(codes::MALFORMED, message, symbol.place.clone());
            entry.report(problem.label(format!("such as `{}`", channel.example())));
            are_right = false;
        }
    }
    if !are_right {
        return None;
    }
    let mut named: Vec<String> = Vec::with_capacity(symbols.len());
    for symbol in symbols {
        if !named.contains(&symbol.value) {
            named.push(symbol.value);
        }
    }
    let url = match url {
        Some(url) => url?,
        None => Secret::new(channel.default_url().to_owned()),
    };
    Some(Exchange { channel, symbols: named, url })
}
