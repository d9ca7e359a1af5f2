//! Binance over a WebSocket: combined streams, asked for by message.
//!
//! Facts, from the vendor's documentation, recorded traffic and reports of users:
//!
//! - `/stream` wraps every event: `{"stream":"btcusdt@trade","data":{…}}`. Names of streams are in
//!   lower case, symbols in events in upper case.
//! - `{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1}` is answered by
//!   `{"result":null,"id":1}`. A stream that does not exist is accepted, and never says anything. What
//!   is refused is told as `{"code":2,"msg":"…"}` or `{"error":{"code":4,"msg":"…"},"id":1}`.
//! - At most 5 messages a second from us, pongs among them, else it closes with 1008 and, repeated,
//!   bans the address; 1,024 streams a connection.
//! - A ping frame every 20 s, its pong due within a minute with the same payload.
//! - A connection lives 24 hours at most. Before maintenance comes
//!   `{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":…}}`, raw without the wrapping:
//!   connect anew at once.
//! - The ids of trades, and those of aggregate trades, are without gaps for each symbol. A
//!   `bookTicker` has neither time nor such an id.
//!
//! Not here: columns and formats of what comes back, which the project declares for its preset.

use std::time::Duration;

use serde_json::json;
use thalweg_core::error::{Error, Result};

use crate::presets::exchange::{Ids, Streamed, address, require};
use crate::sources::websocket::WebSocketConfig;

/// Streams of a connection.
const STREAMS_MAX: usize = 1_024;
/// Streams asked for in one message.
const STREAMS_A_MESSAGE: usize = 200;
/// Four messages a second leave one for a pong.
const SUBSCRIBE_INTERVAL: Duration = Duration::from_millis(250);

/// A stream of a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Each trade.
    Trade,
    /// The fills of one order at one price as one trade.
    AggTrade,
    /// Best bid and ask at each change.
    BookTicker,
    /// Statistics of 24 hours, each second.
    Ticker,
    /// The bar of the minute, every two seconds.
    Kline1m,
}

impl Stream {
    /// What stands behind the `@`.
    fn name(self) -> &'static str {
        match self {
            Self::Trade => "trade",
            Self::AggTrade => "aggTrade",
            Self::BookTicker => "bookTicker",
            Self::Ticker => "ticker",
            Self::Kline1m => "kline_1m",
        }
    }

    fn ids(self) -> Option<Ids> {
        match self {
            Self::Trade => Some(Ids::of_key("t", "s")),
            Self::AggTrade => Some(Ids::of_key("a", "s")),
            Self::BookTicker | Self::Ticker | Self::Kline1m => None,
        }
    }
}

/// The feed of `stream` for each of `symbols`, at `url` such as `wss://stream.binance.com:9443`.
///
/// # Errors
///
/// `Invalid` when there are no symbols or too many, or the address is none of a WebSocket.
pub fn preset(stream: Stream, symbols: &[String], url: &str) -> Result<Streamed> {
    require("Binance", symbols)?;
    if symbols.len() > STREAMS_MAX {
        return Err(Error::invalid(format!("{} symbols are too many", symbols.len()))
            .with_hint(format!("A connection to Binance has {STREAMS_MAX} streams at most.")));
    }
    let mut url = address("Binance", url)?;
    let path = format!("{}/stream", url.path().trim_end_matches('/'));
    url.set_path(&path);
    let streams: Vec<String> = symbols
        .iter()
        .map(|symbol| format!("{}@{}", symbol.to_lowercase(), stream.name()))
        .collect();

    let mut websocket = WebSocketConfig::new(url.as_str());
    websocket.subscribe = (1..)
        .zip(streams.chunks(STREAMS_A_MESSAGE))
        .map(|(id, streams)| {
            json!({"method": "SUBSCRIBE", "params": streams, "id": id}).to_string()
        })
        .collect();
    websocket.subscribe_interval = SUBSCRIBE_INTERVAL;
    websocket.leave =
        vec!["$.data.e = 'serverShutdown'".parse()?, "$.e = 'serverShutdown'".parse()?];
    websocket.keys = symbols.to_vec();
    Ok(Streamed { websocket, ids: stream.ids() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("C{number}USDT")).collect()
    }

    #[test]
    fn streams_are_asked_for_by_message() {
        let symbols = ["BTCUSDT".to_owned(), "123456".to_owned()];
        let streamed = preset(Stream::AggTrade, &symbols, "wss://stream.binance.com:9443");
        let websocket = streamed.expect("a preset").websocket;
        assert_eq!(websocket.url, "wss://stream.binance.com:9443/stream");
        assert_eq!(
            websocket.subscribe,
            [r#"{"id":1,"method":"SUBSCRIBE","params":["btcusdt@aggTrade","123456@aggTrade"]}"#]
        );
        assert_eq!(websocket.keys, symbols);
        let at = "ws://127.0.0.1:7979/binance/?timeUnit=MILLISECOND";
        let websocket = preset(Stream::Trade, &symbols, at).expect("a preset").websocket;
        assert_eq!(websocket.url, "ws://127.0.0.1:7979/binance/stream?timeUnit=MILLISECOND");
    }

    #[test]
    fn many_streams_go_in_several_messages_and_too_many_in_none() {
        let websocket =
            preset(Stream::Trade, &named(1_024), "wss://h").expect("a preset").websocket;
        assert_eq!(websocket.subscribe.len(), 6);
        assert!(websocket.subscribe_interval >= Duration::from_millis(200));
        assert!(preset(Stream::Trade, &named(1_025), "wss://h").is_err());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (symbols, url, message) in [
            (0, "wss://h", "no symbols to ask Binance for"),
            (1, "stream.binance.com", "the address of Binance is no URL"),
            (1, "https://api.binance.com", "the address of Binance is not of a WebSocket"),
        ] {
            let error = preset(Stream::Trade, &named(symbols), url).expect_err(message);
            assert_eq!(error.message, message);
        }
    }
}
