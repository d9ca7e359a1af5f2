//! Presets: what a connector brings where the file says nothing.

mod exchanges;

use std::sync::Arc;
use std::time::Duration;

use thalweg_core::problem::Place;
use thalweg_core::schema::{Column, ColumnType, EpochUnit};

use super::{Binance, BinanceEndpoint, Connector, Format, JsonFormat, Notice, Unique};
use crate::spanned::Spanned;

/// How long a program that is run again and again may take.
const QUIET_RUN: Duration = Duration::from_secs(3_600);
/// How long a program that runs on may say nothing.
const QUIET_PROGRAM: Duration = Duration::from_secs(86_400);

/// What a preset brings where the file says nothing.
pub(super) struct Preset {
    pub(super) columns: Vec<Column>,
    pub(super) format: Option<Format>,
    pub(super) key: Vec<String>,
    pub(super) event_time: Option<&'static str>,
    pub(super) stale_after: Duration,
    pub(super) unique: Option<Unique>,
}

impl Preset {
    pub(super) fn of(connector: &Connector) -> Self {
        let nothing = Self {
            columns: Vec::new(),
            format: None,
            key: Vec::new(),
            event_time: None,
            stale_after: Duration::from_secs(120),
            unique: None,
        };
        match connector {
            Connector::File(_) => nothing,
            Connector::Exec(exec) => Self {
                format: Some(Format::Json(JsonFormat::default())),
                stale_after: match exec.every {
                    Some(every) => silence(every, QUIET_RUN),
                    None => QUIET_PROGRAM,
                },
                ..nothing
            },
            // Nobody need post anything.
            Connector::Push | Connector::Topic(_) => Self {
                format: Some(Format::Json(JsonFormat::default())),
                stale_after: QUIET_PROGRAM,
                ..nothing
            },
            Connector::Websocket(_) => {
                Self { format: Some(Format::Json(JsonFormat::default())), ..nothing }
            }
            Connector::Finnhub(_) => Self::finnhub(),
            Connector::Http(http) => Self {
                format: Some(Format::Json(JsonFormat::default())),
                stale_after: silence(http.every, http.timeout),
                ..nothing
            },
            Connector::Binance(binance) => Self::binance(binance),
            Connector::Exchange(exchange) => Self::exchange(exchange),
        }
    }

    /// An object for one symbol, an array for several; bars are an array of arrays, their symbol
    /// written round it.
    fn binance(binance: &Binance) -> Self {
        let rows = match binance.poll {
            BinanceEndpoint::Klines => "$.klines[*]",
            _ if binance.symbols.len() == 1 => "$",
            _ => "$[*]",
        };
        let event_time = match binance.poll {
            BinanceEndpoint::TickerPrice => None,
            BinanceEndpoint::Ticker24Hr => Some("close_time"),
            BinanceEndpoint::Klines => Some("open_time"),
        };
        Self {
            columns: binance_columns(binance.poll),
            format: Some(Format::Json(JsonFormat {
                rows: Some(preset_text(rows)),
                ..JsonFormat::default()
            })),
            key: vec!["symbol".to_owned()],
            event_time,
            stale_after: silence(binance.every, Duration::from_secs(30)),
            unique: None,
        }
    }

    /// `{"data":[{"p":7296.89,"s":"AAPL","t":1575526691134,"v":0.01}],"type":"trade"}`; a ping comes
    /// every one to two minutes when nothing else does.
    fn finnhub() -> Self {
        let column = |name: &str, kind, select: &str| Column {
            name: name.to_owned(),
            kind,
            nullable: false,
            select: Some(select.to_owned()),
            unit: (kind == ColumnType::Timestamp).then_some(EpochUnit::Millis),
            allow_nan: false,
        };
        Self {
            columns: vec![
                column("symbol", ColumnType::Text, "s"),
                column("price", ColumnType::Double, "p"),
                column("volume", ColumnType::Double, "v"),
                column("ts", ColumnType::Timestamp, "t"),
            ],
            format: Some(Format::Json(JsonFormat {
                rows: Some(preset_text("$.data[*]")),
                only_if: Some(preset_text("$.type = 'trade'")),
                notices: vec![Notice {
                    when: preset_text("$.type = 'error'"),
                    message: preset_text("$.msg"),
                }],
                ..JsonFormat::default()
            })),
            key: vec!["symbol".to_owned()],
            event_time: Some("ts"),
            stale_after: Duration::from_secs(300),
            unique: None,
        }
    }
}

/// A text that no file holds.
fn preset_text(text: &str) -> Spanned<String> {
    Spanned { value: text.to_owned(), place: Place { file: Arc::default(), range: 0..0 } }
}

/// Silence after which what is polled is dead.
fn silence(every: Duration, timeout: Duration) -> Duration {
    every.saturating_mul(3).saturating_add(timeout).max(Duration::from_secs(120))
}

/// Prices and amounts are texts of eight decimals, and stay exact; times are milliseconds.
fn binance_columns(poll: BinanceEndpoint) -> Vec<Column> {
    const AMOUNT: ColumnType = ColumnType::Decimal(28, 8);
    const PERCENT: ColumnType = ColumnType::Decimal(18, 3);
    let column = |(name, kind, select): (&str, ColumnType, &str)| Column {
        name: name.to_owned(),
        kind,
        nullable: false,
        select: Some(select.to_owned()),
        unit: (kind == ColumnType::Timestamp).then_some(EpochUnit::Millis),
        allow_nan: false,
    };
    let columns: &[(&str, ColumnType, &str)] = match poll {
        BinanceEndpoint::TickerPrice => {
            &[("symbol", ColumnType::Text, "symbol"), ("price", AMOUNT, "price")]
        }
        BinanceEndpoint::Ticker24Hr => &[
            ("symbol", ColumnType::Text, "symbol"),
            ("price_change", AMOUNT, "priceChange"),
            ("price_change_percent", PERCENT, "priceChangePercent"),
            ("weighted_avg_price", AMOUNT, "weightedAvgPrice"),
            ("prev_close_price", AMOUNT, "prevClosePrice"),
            ("last_price", AMOUNT, "lastPrice"),
            ("last_qty", AMOUNT, "lastQty"),
            ("bid_price", AMOUNT, "bidPrice"),
            ("bid_qty", AMOUNT, "bidQty"),
            ("ask_price", AMOUNT, "askPrice"),
            ("ask_qty", AMOUNT, "askQty"),
            ("open_price", AMOUNT, "openPrice"),
            ("high_price", AMOUNT, "highPrice"),
            ("low_price", AMOUNT, "lowPrice"),
            ("volume", AMOUNT, "volume"),
            ("quote_volume", AMOUNT, "quoteVolume"),
            ("open_time", ColumnType::Timestamp, "openTime"),
            ("close_time", ColumnType::Timestamp, "closeTime"),
            ("first_id", ColumnType::Bigint, "firstId"),
            ("last_id", ColumnType::Bigint, "lastId"),
            ("trades", ColumnType::Bigint, "count"),
        ],
        BinanceEndpoint::Klines => &[
            ("symbol", ColumnType::Text, "$.symbol"),
            ("open_time", ColumnType::Timestamp, "[0]"),
            ("open", AMOUNT, "[1]"),
            ("high", AMOUNT, "[2]"),
            ("low", AMOUNT, "[3]"),
            ("close", AMOUNT, "[4]"),
            ("volume", AMOUNT, "[5]"),
            ("close_time", ColumnType::Timestamp, "[6]"),
            ("quote_volume", AMOUNT, "[7]"),
            ("trades", ColumnType::Bigint, "[8]"),
            ("taker_buy_volume", AMOUNT, "[9]"),
            ("taker_buy_quote_volume", AMOUNT, "[10]"),
        ],
    };
    columns.iter().copied().map(column).collect()
}
