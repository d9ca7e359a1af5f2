//! Finnhub: trades of stocks, crypto and forex over one WebSocket.
//!
//! Facts, from recorded traffic and the vendor's documentation:
//!
//! - The token is a query parameter. A wrong one is refused with HTTP 401. One connection a token:
//!   a second one throws the first one out.
//! - `{"type":"subscribe","symbol":"AAPL"}`, one symbol a message, never acknowledged.
//! - Trades come as `{"data":[{"c":…,"p":…,"s":…,"t":…,"v":…}, …],"type":"trade"}`: 1 to 10 of any
//!   symbols, `t` in milliseconds and not rising, no id and no sequence number, so a gap can
//!   neither be seen in the data nor filled (S15).
//! - `{"type":"ping"}` as a text message every one to two minutes; no answer is wanted.
//! - `{"msg":"…","type":"error"}` for an unknown symbol or too many of them; the connection stays.
//! - It can fall silent without closing, so silence is what is watched (S14).

use std::time::Duration;

use serde_json::json;
use thalweg_core::error::{Error, Result};
use thalweg_core::schema::{Column, ColumnType, EpochUnit};
use url::Url;

use super::Preset;
use crate::codecs::json::{JsonConfig, NoticeRule};
use crate::sources::websocket::WebSocketConfig;

/// Where Finnhub serves trades.
const URL: &str = "wss://ws.finnhub.io";

/// The longest time between two pings.
const PING_INTERVAL: Duration = Duration::from_secs(120);

/// The keys under `finnhub.` of a source.
#[derive(Clone)]
pub struct FinnhubConfig {
    /// Token of the account; secret. No default.
    pub token: String,
    /// Symbols such as `AAPL`, `BINANCE:BTCUSDT` or `OANDA:EUR_USD`, at least one; the free plan
    /// allows about 50. No default.
    pub symbols: Vec<String>,
    /// Another address, such as that of the simulator. Default `wss://ws.finnhub.io`.
    pub url: Option<String>,
}

/// The preset for `config`.
///
/// # Errors
///
/// `Invalid` when the token or the symbols are missing, or the address is no URL.
pub fn preset(config: &FinnhubConfig) -> Result<Preset> {
    let token = config.token.trim();
    if token.is_empty() {
        return Err(Error::invalid("the token of Finnhub is empty")
            .with_hint("A free one is at https://finnhub.io; keep it in the environment."));
    }
    let symbols = symbols(&config.symbols)?;
    let mut url = Url::parse(config.url.as_deref().unwrap_or(URL))
        .map_err(|error| Error::invalid("the address of Finnhub is no URL").with_source(error))?;
    url.query_pairs_mut().append_pair("token", token);

    let mut websocket = WebSocketConfig::new(url.as_str());
    websocket.subscribe = symbols
        .iter()
        .map(|symbol| json!({"type": "subscribe", "symbol": symbol}).to_string())
        .collect();
    websocket.alive = vec!["$.type = 'ping'".parse()?];
    websocket.keys = symbols;
    websocket.stale_after = PING_INTERVAL.mul_f64(2.5);

    let format = JsonConfig {
        columns: columns(),
        rows: Some("$.data[*]".parse()?),
        only_if: Some("$.type = 'trade'".parse()?),
        notices: vec![NoticeRule { when: "$.type = 'error'".parse()?, message: "$.msg".parse()? }],
    };
    Ok(Preset { websocket, format, key: vec!["symbol".to_owned()], event_time: "ts".to_owned() })
}

/// The symbols, each once, in the order written.
fn symbols(written: &[String]) -> Result<Vec<String>> {
    let mut symbols: Vec<String> = Vec::with_capacity(written.len());
    for symbol in written {
        let symbol = symbol.trim();
        if symbol.is_empty() {
            return Err(Error::invalid("a symbol of Finnhub is empty"));
        }
        if !symbols.iter().any(|known| known == symbol) {
            symbols.push(symbol.to_owned());
        }
    }
    if symbols.is_empty() {
        return Err(Error::invalid("no symbols to ask Finnhub for")
            .with_hint("Write them like `finnhub.symbols = [\"AAPL\", \"BINANCE:BTCUSDT\"]`."));
    }
    Ok(symbols)
}

/// Symbol, price, volume and time of a trade.
fn columns() -> Vec<Column> {
    let column = |name: &str, kind, select: &str, unit| Column {
        name: name.to_owned(),
        kind,
        nullable: false,
        select: Some(select.to_owned()),
        unit,
        allow_nan: false,
    };
    vec![
        column("symbol", ColumnType::Text, "s", None),
        column("price", ColumnType::Double, "p", None),
        column("volume", ColumnType::Double, "v", None),
        column("ts", ColumnType::Timestamp, "t", Some(EpochUnit::Millis)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(token: &str, symbols: &[&str], url: Option<&str>) -> FinnhubConfig {
        FinnhubConfig {
            token: token.to_owned(),
            symbols: symbols.iter().map(|symbol| (*symbol).to_owned()).collect(),
            url: url.map(str::to_owned),
        }
    }

    #[test]
    fn a_token_and_symbols_are_all_it_needs() {
        let preset =
            preset(&config("c0ffee", &["AAPL", "IC MARKETS:1", "AAPL"], None)).expect("a preset");
        assert_eq!(preset.websocket.url, "wss://ws.finnhub.io/?token=c0ffee");
        let messages: Vec<serde_json::Value> = preset
            .websocket
            .subscribe
            .iter()
            .map(|message| serde_json::from_str(message).expect("JSON"))
            .collect();
        assert_eq!(
            messages,
            [
                json!({"type": "subscribe", "symbol": "AAPL"}),
                json!({"type": "subscribe", "symbol": "IC MARKETS:1"}),
            ]
        );
        assert_eq!(preset.websocket.keys, ["AAPL", "IC MARKETS:1"]);
        assert_eq!(preset.websocket.stale_after, Duration::from_secs(300));
        assert!(!format!("{preset:?}").contains("c0ffee"));
    }

    #[test]
    fn another_address_keeps_its_own_query() {
        let config = config("a b", &["AAPL"], Some("ws://127.0.0.1:7979/finnhub?seed=7"));
        let preset = preset(&config).expect("a preset");
        assert_eq!(preset.websocket.url, "ws://127.0.0.1:7979/finnhub?seed=7&token=a+b");
    }

    #[test]
    fn what_is_missing_is_named() {
        for (config, message) in [
            (config(" ", &["AAPL"], None), "the token of Finnhub is empty"),
            (config("c0ffee", &[], None), "no symbols to ask Finnhub for"),
            (config("c0ffee", &["AAPL", ""], None), "a symbol of Finnhub is empty"),
            (
                config("c0ffee", &["AAPL"], Some("ws.finnhub.io")),
                "the address of Finnhub is no URL",
            ),
        ] {
            assert_eq!(preset(&config).expect_err(message).message, message);
        }
    }
}
