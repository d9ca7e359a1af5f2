//! Coinbase over a WebSocket: Coinbase Exchange, and Advanced Trade.
//!
//! Facts, from the vendor's documentation and recorded traffic of 2021 and 2026:
//!
//! - *Exchange* wants a subscribe within 5 s:
//!   `{"type":"subscribe","product_ids":["BTC-USD"],"channels":["matches","heartbeat"]}`, answered by
//!   `{"type":"subscriptions",…}`. On `matches` comes first the `last_match` of each product, then
//!   each `match`. `trade_id` is without gaps for each product; `sequence` is not, other channels
//!   share it. A `heartbeat` comes each second.
//! - *Advanced Trade* takes one channel a subscribe: `{"type":"subscribe","product_ids":[…],
//!   "channel":"market_trades"}`. Messages come as `{"channel":…,"timestamp":…,"sequence_num":0,
//!   "events":[…]}`; the first, a snapshot with the newest trade first, before the acknowledgement.
//!   `sequence_num` counts the messages of a connection, of all channels. A connection without
//!   messages is closed after 60 to 90 s, so that `heartbeats`, one a second, are asked for.
//! - Errors are `{"type":"error","message":"Failed to subscribe","reason":"…"}`; unknown types are to
//!   be passed over. 100 messages a second from us, 8 on Advanced Trade.
//!
//! Not here: columns and formats of what comes back, which the project declares for its preset.

use std::time::Duration;

use serde_json::json;
use thalweg_core::error::Result;

use super::exchange::{Ids, Streamed, address, require};
use crate::feed::IdScope;
use crate::sources::websocket::WebSocketConfig;

/// Pause between two subscribes: 8 a second are allowed.
const SUBSCRIBE_INTERVAL: Duration = Duration::from_millis(150);

/// A channel of Coinbase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Each trade, of Exchange.
    Matches,
    /// Price and statistics, of Exchange.
    Ticker,
    /// Each trade, of Advanced Trade.
    AdvancedMarketTrades,
    /// Price and statistics, of Advanced Trade.
    AdvancedTicker,
}

/// The feed of `channel` for `products`, at `url`.
///
/// # Errors
///
/// `Invalid` when there are no products, or the address is none of a WebSocket.
pub fn preset(channel: Channel, products: &[String], url: &str) -> Result<Streamed> {
    require("Coinbase", products)?;
    let mut websocket = WebSocketConfig::new(address("Coinbase", url)?.as_str());
    websocket.keys = products.to_vec();
    websocket.subscribe_interval = SUBSCRIBE_INTERVAL;
    let exchange = |channel: &str| {
        let channels = [channel, "heartbeat"];
        vec![json!({"type": "subscribe", "product_ids": products, "channels": channels})]
    };
    let advanced = |channel: &str| {
        let subscribe =
            |channel| json!({"type": "subscribe", "product_ids": products, "channel": channel});
        vec![subscribe(channel), subscribe("heartbeats")]
    };
    let (subscribe, alive, ids) = match channel {
        Channel::Matches => {
            let ids = Ids::of_key("trade_id", "product_id");
            (exchange("matches"), Some("$.type = 'heartbeat'"), Some(ids))
        }
        Channel::Ticker => (exchange("ticker"), Some("$.type = 'heartbeat'"), None),
        Channel::AdvancedMarketTrades => {
            let ids = Ids::of_key("trade_id", "product_id");
            (advanced("market_trades"), Some("$.channel = 'heartbeats'"), Some(ids))
        }
        // Heartbeats have numbers too: they are journaled, or each would be missed.
        Channel::AdvancedTicker => {
            let ids = Ids { id: "$.sequence_num", scope: IdScope::Connection };
            (advanced("ticker"), None, Some(ids))
        }
    };
    websocket.subscribe = subscribe.iter().map(ToString::to_string).collect();
    websocket.alive = alive.map(str::parse).transpose()?.into_iter().collect();
    Ok(Streamed { websocket, ids })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscribes(channel: Channel) -> Vec<String> {
        let products = ["BTC-USD".to_owned(), "ETH-USD".to_owned()];
        let streamed = preset(channel, &products, "wss://ws-feed.exchange.coinbase.com");
        streamed.expect("a preset").websocket.subscribe
    }

    #[test]
    fn exchange_is_asked_at_once_and_advanced_trade_channel_by_channel() {
        assert_eq!(
            subscribes(Channel::Matches),
            [
                r#"{"channels":["matches","heartbeat"],"product_ids":["BTC-USD","ETH-USD"],"type":"subscribe"}"#
            ]
        );
        assert_eq!(
            subscribes(Channel::AdvancedMarketTrades),
            [
                r#"{"channel":"market_trades","product_ids":["BTC-USD","ETH-USD"],"type":"subscribe"}"#,
                r#"{"channel":"heartbeats","product_ids":["BTC-USD","ETH-USD"],"type":"subscribe"}"#
            ]
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = preset(Channel::Ticker, &[], "wss://h").expect_err("no products");
        assert_eq!(error.message, "no symbols to ask Coinbase for");
    }
}
