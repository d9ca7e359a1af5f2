//! Finnhub's words.

use bytes::Bytes;
use serde::Deserialize;
use tokio_tungstenite::tungstenite::Error as WebSocketError;

use super::{Session, Supply};

pub(super) const PING: &[u8] = br#"{"type":"ping"}"#;
pub(super) const INVALID_SYMBOL: &[u8] = br#"{"msg":"Invalid symbol","type":"error"}"#;
pub(super) const TOO_MANY_SYMBOLS: &[u8] =
    br#"{"msg":"Subscribing to too many symbols","type":"error"}"#;

/// What a client asks.
#[derive(Deserialize)]
struct Request {
    #[serde(rename = "type")]
    kind: String,
    symbol: Option<String>,
}

impl Session<'_> {
    /// Subscribes or unsubscribes. Nothing is acknowledged.
    pub(super) async fn obey(&mut self, text: &str) -> Result<(), WebSocketError> {
        let Ok(Request { kind, symbol }) = serde_json::from_str(text) else {
            self.exchange.counters.requests_ignored.add(1);
            return Ok(());
        };
        match kind.as_str() {
            "subscribe" => match symbol.filter(|symbol| self.knows(symbol)) {
                None => self.send_error(Bytes::from_static(INVALID_SYMBOL)).await?,
                Some(symbol) if self.symbols.contains(&symbol) => {}
                Some(_) if self.symbols.len() >= self.exchange.config.symbols_max => {
                    self.send_error(Bytes::from_static(TOO_MANY_SYMBOLS)).await?;
                }
                Some(symbol) => {
                    let now = self.exchange.env.clock.now();
                    match self.supply.as_deref_mut() {
                        Some(Supply::Market(market)) => market.subscribe(&symbol, now),
                        Some(Supply::Replay(replay)) if self.symbols.is_empty() => {
                            replay.resume(now);
                        }
                        Some(Supply::Replay(_)) | None => {}
                    }
                    self.symbols.insert(symbol);
                }
            },
            "unsubscribe" => {
                let Some(symbol) = symbol.filter(|symbol| self.symbols.remove(symbol)) else {
                    return Ok(());
                };
                if let Some(Supply::Market(market)) = self.supply.as_deref_mut() {
                    market.unsubscribe(&symbol);
                }
            }
            _ => self.exchange.counters.requests_ignored.add(1),
        }
        Ok(())
    }

    /// Whether `symbol` may be subscribed to; a replay sends all it has whatever the symbols.
    fn knows(&self, symbol: &str) -> bool {
        match self.supply.as_deref() {
            Some(Supply::Market(market)) => market.knows(symbol),
            Some(Supply::Replay(_)) | None => !symbol.is_empty(),
        }
    }
}
