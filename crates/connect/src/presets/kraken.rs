//! Kraken over a WebSocket: version 2, and the older version 1.
//!
//! Facts, from the vendor's documentation and recorded traffic of 2021:
//!
//! - *Version 2*: `{"method":"subscribe","params":{"channel":"trade","symbol":["BTC/USD"],
//!   "snapshot":true},"req_id":1}`, answered for each symbol with `"success":true`, or with
//!   `"success":false,"error":"…"`. Data are `{"channel":"trade","type":"update","data":[…]}`, numbers
//!   with their trailing zeros; the last 50 trades come first. `trade_id` counts the trades of a book.
//! - *Version 1*: `{"event":"subscribe","pair":["XBT/USD"],"subscription":{"name":"trade"}}`, answered
//!   for each pair with a `subscriptionStatus`, or one with `errorMessage`. Data are arrays, `[993,
//!   [["354.11","0.895","1618678142.557535","s","l",""]],"trade","XMR/USD"]`, without ids. Bitcoin is
//!   `XBT`.
//! - A heartbeat each second when nothing else is sent; 5 s without any message mean that the
//!   connection is dead. Too many messages from us: `{"Error":"Exceeded msg rate"}`.
//!
//! Not here: columns and formats of what comes back, which the project declares for its preset.

use std::time::Duration;

use serde_json::{Value, json};
use thalweg_core::error::Result;

use super::exchange::{Ids, Streamed, address, require};
use crate::sources::websocket::WebSocketConfig;

/// Symbols asked for in one message.
const SYMBOLS_A_MESSAGE: usize = 100;
/// Pause between two subscribes.
const SUBSCRIBE_INTERVAL: Duration = Duration::from_millis(250);

/// A channel of Kraken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Each trade.
    Trade,
    /// Best bid and ask, and statistics, at each trade.
    Ticker,
    /// Each trade, over version 1.
    V1Trade,
    /// Best bid and ask, and statistics, over version 1.
    V1Ticker,
}

/// The feed of `channel` for `pairs`, at `url`.
///
/// # Errors
///
/// `Invalid` when there are no pairs, or the address is none of a WebSocket.
pub fn preset(channel: Channel, pairs: &[String], url: &str) -> Result<Streamed> {
    require("Kraken", pairs)?;
    let mut websocket = WebSocketConfig::new(address("Kraken", url)?.as_str());
    websocket.keys = pairs.to_vec();
    websocket.subscribe_interval = SUBSCRIBE_INTERVAL;
    let v2 = |number: usize, name: &str, pairs: &[String]| {
        json!({
            "method": "subscribe", "req_id": number,
            "params": { "channel": name, "symbol": pairs, "snapshot": true },
        })
    };
    let v1 = |number: usize, name: &str, pairs: &[String]| {
        json!({
            "event": "subscribe", "reqid": number, "pair": pairs,
            "subscription": { "name": name },
        })
    };
    let subscribe = |number: usize, pairs: &[String]| -> Value {
        match channel {
            Channel::Trade => v2(number, "trade", pairs),
            Channel::Ticker => v2(number, "ticker", pairs),
            Channel::V1Trade => v1(number, "trade", pairs),
            Channel::V1Ticker => v1(number, "ticker", pairs),
        }
    };
    let messages = (1..).zip(pairs.chunks(SYMBOLS_A_MESSAGE));
    websocket.subscribe =
        messages.map(|(number, pairs)| subscribe(number, pairs).to_string()).collect();
    let alive = match channel {
        Channel::Trade | Channel::Ticker => "$.channel = 'heartbeat'",
        Channel::V1Trade | Channel::V1Ticker => "$.event = 'heartbeat'",
    };
    websocket.alive = vec![alive.parse()?];
    let ids = (channel == Channel::Trade).then(|| Ids::of_key("trade_id", "symbol"));
    Ok(Streamed { websocket, ids })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscribes(channel: Channel, pair: &str) -> Vec<String> {
        let streamed = preset(channel, &[pair.to_owned()], "wss://ws.kraken.com/v2");
        streamed.expect("a preset").websocket.subscribe
    }

    #[test]
    fn each_version_is_asked_in_its_own_words() {
        assert_eq!(
            subscribes(Channel::Trade, "BTC/USD"),
            [
                r#"{"method":"subscribe","params":{"channel":"trade","snapshot":true,"symbol":["BTC/USD"]},"req_id":1}"#
            ]
        );
        assert_eq!(
            subscribes(Channel::V1Ticker, "XBT/USD"),
            [
                r#"{"event":"subscribe","pair":["XBT/USD"],"reqid":1,"subscription":{"name":"ticker"}}"#
            ]
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = preset(Channel::Trade, &[], "wss://h").expect_err("no pairs");
        assert_eq!(error.message, "no symbols to ask Kraken for");
    }
}
