//! Binance over REST: prices, statistics of a day, and bars, by polling.
//!
//! Facts, from the vendor's documentation and recorded answers:
//!
//! - `GET /api/v3/ticker/price` and `/ticker/24hr` answer with an object for `symbol=`, with an array
//!   for `symbols=["A","B"]`; both together are an error. Prices are texts of eight decimals.
//! - `GET /api/v3/klines` answers with arrays, oldest first, at most 1,000: open time, open, high,
//!   low, close, volume, close time, … in milliseconds. `startTime` and `endTime` bound the open
//!   time. The last bar may still be open; a bar is final when its interval is over. The symbol is
//!   not in the answer, so it is written round it.
//! - Every answer carries the weight its address has used in the minute, `x-mbx-used-weight-1m`. Over
//!   the limit the answer is 429, going on at it 418, a ban; both with `Retry-After` in seconds. The
//!   limit is in `rateLimits` of `/api/v3/exchangeInfo`: 1,200 in 2021, 6,000 since 2023.
//! - Errors are `{"code":-1121,"msg":"Invalid symbol."}` behind a 4xx; 403 comes from a firewall
//!   with a page of HTML; 5xx says nothing of what happened.

use std::time::Duration;

use serde_json::json;
use thalweg_core::error::{Error, Result};
use url::Url;

use crate::sources::http::{CursorRule, HttpConfig, Paging, Request, Tag, WeightRule};

/// Bars of a full page.
const PAGE_BARS: usize = 1_000;
/// How long after its close a bar is asked for, for clocks that differ.
const SETTLE: Duration = Duration::from_secs(2);
/// The header that has the weight used in the minute.
const WEIGHT_HEADER: &str = "x-mbx-used-weight-1m";
/// Weight of the heaviest request made here: statistics of all symbols that fit a query.
const REQUEST_WEIGHT: u64 = 80;
/// Below this nobody need care: it is less than half of every limit there has been.
const CAREFREE_WEIGHT: u64 = 500;

/// The keys under `binance.` of a source that polls.
#[derive(Clone, Debug)]
pub struct BinancePoll {
    /// What to ask for. No default.
    pub endpoint: Endpoint,
    /// Symbols such as `BTCUSDT`, at least one. No default.
    pub symbols: Vec<String>,
    /// Time between two polls. No default.
    pub every: Duration,
    /// Address of the venue. Default `https://api.binance.com`.
    pub url: String,
}

/// What to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The last price of each symbol.
    TickerPrice,
    /// The statistics of the last 24 hours of each symbol.
    Ticker24Hr,
    /// Bars that are closed, each once.
    Klines {
        /// Their length.
        interval: Interval,
        /// How much of the past to fetch on first start.
        history: Duration,
    },
}

/// The length of a bar, as Binance writes it: capitals matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    text: &'static str,
    length: Duration,
}

impl Interval {
    /// Every length, with how long a bar lasts at most.
    const ALL: [(&'static str, u64); 16] = [
        ("1s", 1),
        ("1m", 60),
        ("3m", 180),
        ("5m", 300),
        ("15m", 900),
        ("30m", 1_800),
        ("1h", 3_600),
        ("2h", 7_200),
        ("4h", 14_400),
        ("6h", 21_600),
        ("8h", 28_800),
        ("12h", 43_200),
        ("1d", 86_400),
        ("3d", 259_200),
        ("1w", 604_800),
        ("1M", 2_678_400),
    ];

    /// The interval of this text.
    pub fn parse(text: &str) -> Option<Self> {
        let (text, seconds) = Self::ALL.into_iter().find(|(known, _)| *known == text)?;
        Some(Self { text, length: Duration::from_secs(seconds) })
    }

    /// How long a bar lasts at most.
    pub fn length(self) -> Duration {
        self.length
    }
}

/// The polls that `config` asks for.
///
/// # Errors
///
/// `Invalid` when there are no symbols, one is empty, or the address is no URL.
pub fn preset(config: &BinancePoll) -> Result<HttpConfig> {
    let symbols = symbols(&config.symbols)?;
    let base = Url::parse(&config.url)
        .map_err(|error| Error::invalid("the address of Binance is no URL").with_source(error))?;
    let endpoint = |path: &str, query: &[(&str, &str)]| {
        let mut url = base.clone();
        url.set_path(&format!("{}/api/v3/{path}", base.path().trim_end_matches('/')));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url.to_string()
    };
    let of_symbols = |path: &str| {
        let query = match symbols.as_slice() {
            [only] => ("symbol", only.clone()),
            several => ("symbols", json!(several).to_string()),
        };
        vec![Request { url: endpoint(path, &[(query.0, query.1.as_str())]), tag: None }]
    };

    let mut http = HttpConfig::new("", config.every);
    http.weights = Some(WeightRule {
        header: WEIGHT_HEADER.to_owned(),
        window: Duration::from_secs(60),
        request_weight: REQUEST_WEIGHT,
        limits_url: endpoint("exchangeInfo", &[("symbol", symbols[0].as_str())]),
        carefree_weight: CAREFREE_WEIGHT,
    });
    http.requests = match config.endpoint {
        Endpoint::TickerPrice => of_symbols("ticker/price"),
        Endpoint::Ticker24Hr => of_symbols("ticker/24hr"),
        Endpoint::Klines { interval, history } => {
            http.paging = Paging::Cursor(CursorRule {
                start_param: "startTime".to_owned(),
                end_param: "endTime".to_owned(),
                time: "[0]".parse()?,
                page_rows: PAGE_BARS,
                length: interval.length,
                settle: SETTLE,
                history,
            });
            let bars = |symbol: &String| {
                let limit = PAGE_BARS.to_string();
                let query =
                    [("symbol", symbol.as_str()), ("interval", interval.text), ("limit", &limit)];
                let tag = Tag {
                    name: "symbol".to_owned(),
                    value: symbol.clone(),
                    body: "klines".to_owned(),
                };
                Request { url: endpoint("klines", &query), tag: Some(tag) }
            };
            symbols.iter().map(bars).collect()
        }
    };
    http.keys = match config.endpoint {
        // Whatever was missed is fetched later.
        Endpoint::Klines { .. } => Vec::new(),
        Endpoint::TickerPrice | Endpoint::Ticker24Hr => symbols,
    };
    Ok(http)
}

/// The symbols, each once, in the order written.
fn symbols(written: &[String]) -> Result<Vec<String>> {
    let mut symbols: Vec<String> = Vec::with_capacity(written.len());
    for symbol in written.iter().map(|symbol| symbol.trim()) {
        if symbol.is_empty() {
            return Err(Error::invalid("a symbol of Binance is empty"));
        }
        if !symbols.iter().any(|known| known == symbol) {
            symbols.push(symbol.to_owned());
        }
    }
    if symbols.is_empty() {
        return Err(Error::invalid("no symbols to ask Binance for")
            .with_hint("Write them like `binance.symbols = [\"BTCUSDT\"]`."));
    }
    Ok(symbols)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(endpoint: Endpoint, symbols: &[&str]) -> BinancePoll {
        BinancePoll {
            endpoint,
            symbols: symbols.iter().map(|symbol| (*symbol).to_owned()).collect(),
            every: Duration::from_secs(5),
            url: "https://api.binance.com".to_owned(),
        }
    }

    fn urls(config: &BinancePoll) -> Vec<String> {
        preset(config).expect("a preset").requests.into_iter().map(|request| request.url).collect()
    }

    #[test]
    fn one_symbol_and_several_are_asked_for_differently() {
        assert_eq!(
            urls(&config(Endpoint::TickerPrice, &["BTCUSDT", "BTCUSDT"])),
            ["https://api.binance.com/api/v3/ticker/price?symbol=BTCUSDT"]
        );
        assert_eq!(
            urls(&config(Endpoint::Ticker24Hr, &["BTCUSDT", "123456"])),
            [
                "https://api.binance.com/api/v3/ticker/24hr?symbols=%5B%22BTCUSDT%22%2C%22123456%22%5D"
            ]
        );
        let mut mirror = config(Endpoint::TickerPrice, &["BTCUSDT"]);
        mirror.url = "http://127.0.0.1:7979/binance/".to_owned();
        assert_eq!(
            urls(&mirror),
            ["http://127.0.0.1:7979/binance/api/v3/ticker/price?symbol=BTCUSDT"]
        );
    }

    #[test]
    fn bars_are_asked_for_symbol_by_symbol_and_leave_no_gaps() {
        let interval = Interval::parse("1m").expect("an interval");
        let endpoint = Endpoint::Klines { interval, history: Duration::ZERO };
        let http = preset(&config(endpoint, &["BTCUSDT", "ETHUSDT"])).expect("a preset");
        assert_eq!(http.requests.len(), 2);
        assert_eq!(http.requests[1].tag.as_ref().map(|tag| &*tag.value), Some("ETHUSDT"));
        assert!(http.keys.is_empty());
        assert!(Interval::parse("1M").is_some_and(|month| month.length() > interval.length()));
        assert_eq!(Interval::parse("2m"), None);
    }

    #[test]
    fn what_is_missing_is_named() {
        for (symbols, message) in [
            (&[][..], "no symbols to ask Binance for"),
            (&["BTCUSDT", " "][..], "a symbol of Binance is empty"),
        ] {
            let error = preset(&config(Endpoint::TickerPrice, symbols)).expect_err(message);
            assert_eq!(error.message, message);
        }
    }
}
