//! Presets: what is known of a venue beforehand, as plain data. One file each.
//!
//! A preset turns the few keys a user writes (`finnhub.token`, `finnhub.symbols`) into what they
//! would otherwise have to write out: where to connect, what to say, how its messages decode. It
//! does nothing itself, and every part of it can be replaced by keys of the source.

pub mod binance;
pub mod coinbase;
pub mod exchange;
pub mod finnhub;
pub mod kraken;

use crate::codecs::json::JsonConfig;
use crate::sources::websocket::WebSocketConfig;

/// What a preset of a WebSocket feed brings.
#[derive(Clone, Debug)]
pub struct Preset {
    /// How to reach the feed and what to say to it.
    pub websocket: WebSocketConfig,
    /// How its messages decode, with the columns that stand unless others are declared.
    pub format: JsonConfig,
    /// The source's `key`: its entity.
    pub key: Vec<String>,
    /// The source's `event_time`.
    pub event_time: String,
}
