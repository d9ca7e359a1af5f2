//! What channels of exchanges bring: columns, format, key, event time, ids.
//!
//! Columns that a row cannot do without are `not null`; the others may vanish from the feed (S16).
//! Prices and amounts are decimals, read from the text of the message.

use std::time::Duration;

use thalweg_core::schema::ColumnType::{Bigint, Boolean, Decimal, Double, Text, Timestamp};
use thalweg_core::schema::{Column, ColumnType, EpochUnit};

use super::{Preset, preset_text};
use crate::kinds::source::exchange::{
    BinanceChannel, Channel, CoinbaseChannel, Exchange, KrakenChannel,
};
use crate::kinds::source::{Format, JsonFormat, Notice, Unique};

/// Binance writes eight decimals.
const AMOUNT: ColumnType = Decimal(28, 8);
/// The others have pairs with more.
const FINE: ColumnType = Decimal(28, 10);
const PERCENT: ColumnType = Decimal(18, 3);

/// How long ids of trades are remembered: a connection of Binance lives a day at most, and the
/// first message of a Coinbase product repeats its last trade. Ids without gaps take no room.
const REMEMBERED: Duration = Duration::from_secs(86_400);

/// Binance sends a ping every 20 s.
const BINANCE_SILENCE: Duration = Duration::from_secs(60);
/// Coinbase and Kraken send a heartbeat every second; Kraken says that 5 s of silence are death.
const HEARTBEAT_SILENCE: Duration = Duration::from_secs(10);

/// A column: its name, type and place; one that ends with `!` is never missing.
type Declared = (&'static str, ColumnType, &'static str);

/// What a channel brings, its silence aside.
struct Brought {
    rows: &'static str,
    only_if: String,
    columns: &'static [Declared],
    unit: EpochUnit,
    event_time: Option<&'static str>,
    id: Option<&'static str>,
}

impl Preset {
    /// What the channel of an exchange brings.
    pub(super) fn exchange(exchange: &Exchange) -> Self {
        let (brought, notices, stale_after): (Brought, &[(&str, &str)], _) = match exchange.channel
        {
            Channel::Binance(channel) => {
                let notices =
                    &[("$.msg is not null", "$.msg"), ("$.error.msg is not null", "$.error.msg")];
                (binance(channel, &exchange.symbols), notices, BINANCE_SILENCE)
            }
            Channel::Coinbase(channel) => {
                let is_advanced =
                    !matches!(channel, CoinbaseChannel::Matches | CoinbaseChannel::Ticker);
                let notices = match is_advanced {
                    true => &[("$.type = 'error'", "$.message")],
                    false => &[("$.type = 'error'", "$.reason")],
                };
                (coinbase(channel), notices, HEARTBEAT_SILENCE)
            }
            Channel::Kraken(channel) => {
                let notices = &[
                    ("$.error is not null", "$.error"),
                    ("$.errorMessage is not null", "$.errorMessage"),
                    ("$.Error is not null", "$.Error"),
                ];
                (kraken(channel), notices, HEARTBEAT_SILENCE)
            }
        };
        let notices = notices.iter().map(|(when, message)| Notice {
            when: preset_text(when),
            message: preset_text(message),
        });
        Self {
            columns: columns(brought.columns, brought.unit),
            format: Some(Format::Json(JsonFormat {
                rows: Some(preset_text(brought.rows)),
                only_if: Some(preset_text(&brought.only_if)),
                notices: notices.collect(),
                ..JsonFormat::default()
            })),
            key: vec!["symbol".to_owned()],
            event_time: brought.event_time,
            stale_after,
            unique: brought.id.map(|id| Unique {
                columns: vec!["symbol".to_owned(), id.to_owned()],
                within: REMEMBERED,
            }),
        }
    }
}

fn columns(declared: &[Declared], unit: EpochUnit) -> Vec<Column> {
    let column = |(name, kind, select): &Declared| {
        let (name, nullable) = match name.strip_suffix('!') {
            Some(name) => (name, false),
            None => (*name, true),
        };
        Column {
            name: name.to_owned(),
            kind: *kind,
            nullable,
            select: Some((*select).to_owned()),
            unit: (*kind == Timestamp).then_some(unit),
            allow_nan: false,
        }
    };
    declared.iter().map(column).collect()
}

/// `{"stream":"btcusdt@trade","data":{…}}`: which rows these are is in the name of the stream, since
/// a `bookTicker` says nothing of itself.
fn binance(channel: BinanceChannel, symbols: &[String]) -> Brought {
    let (stream, columns, event_time, id): (_, &[Declared], _, _) = match channel {
        BinanceChannel::Trade => (
            "trade",
            &[
                ("symbol!", Text, "s"),
                ("trade_id!", Bigint, "t"),
                ("price!", AMOUNT, "p"),
                ("qty!", AMOUNT, "q"),
                ("buyer_is_maker", Boolean, "m"),
                ("ts!", Timestamp, "T"),
                ("event_ts", Timestamp, "E"),
            ],
            Some("ts"),
            Some("trade_id"),
        ),
        BinanceChannel::AggTrade => (
            "aggTrade",
            &[
                ("symbol!", Text, "s"),
                ("agg_trade_id!", Bigint, "a"),
                ("price!", AMOUNT, "p"),
                ("qty!", AMOUNT, "q"),
                ("first_trade_id", Bigint, "f"),
                ("last_trade_id", Bigint, "l"),
                ("buyer_is_maker", Boolean, "m"),
                ("ts!", Timestamp, "T"),
                ("event_ts", Timestamp, "E"),
            ],
            Some("ts"),
            Some("agg_trade_id"),
        ),
        BinanceChannel::BookTicker => (
            "bookTicker",
            &[
                ("symbol!", Text, "s"),
                ("update_id", Bigint, "u"),
                ("bid_price!", AMOUNT, "b"),
                ("bid_qty!", AMOUNT, "B"),
                ("ask_price!", AMOUNT, "a"),
                ("ask_qty!", AMOUNT, "A"),
            ],
            None,
            None,
        ),
        BinanceChannel::Ticker => ("ticker", BINANCE_TICKER, Some("ts"), None),
        BinanceChannel::Kline1m => ("kline_1m", BINANCE_KLINE, Some("ts"), None),
    };
    let streams = symbols.iter().map(|symbol| format!("'{}@{stream}'", symbol.to_lowercase()));
    let streams: Vec<String> = streams.collect();
    Brought {
        rows: "$.data",
        only_if: format!("$.stream in ({})", streams.join(", ")),
        columns,
        unit: EpochUnit::Millis,
        event_time,
        id,
    }
}

const BINANCE_TICKER: &[Declared] = &[
    ("symbol!", Text, "s"),
    ("ts!", Timestamp, "E"),
    ("price_change", AMOUNT, "p"),
    ("price_change_percent", PERCENT, "P"),
    ("weighted_avg_price", AMOUNT, "w"),
    ("prev_close_price", AMOUNT, "x"),
    ("last_price!", AMOUNT, "c"),
    ("last_qty", AMOUNT, "Q"),
    ("bid_price", AMOUNT, "b"),
    ("bid_qty", AMOUNT, "B"),
    ("ask_price", AMOUNT, "a"),
    ("ask_qty", AMOUNT, "A"),
    ("open_price", AMOUNT, "o"),
    ("high_price", AMOUNT, "h"),
    ("low_price", AMOUNT, "l"),
    ("volume", AMOUNT, "v"),
    ("quote_volume", AMOUNT, "q"),
    ("open_time", Timestamp, "O"),
    ("close_time", Timestamp, "C"),
    ("first_id", Bigint, "F"),
    ("last_id", Bigint, "L"),
    ("trades", Bigint, "n"),
];

const BINANCE_KLINE: &[Declared] = &[
    ("symbol!", Text, "s"),
    ("open_time!", Timestamp, "k.t"),
    ("open!", AMOUNT, "k.o"),
    ("high!", AMOUNT, "k.h"),
    ("low!", AMOUNT, "k.l"),
    ("close!", AMOUNT, "k.c"),
    ("volume!", AMOUNT, "k.v"),
    ("close_time", Timestamp, "k.T"),
    ("quote_volume", AMOUNT, "k.q"),
    ("trades", Bigint, "k.n"),
    ("taker_buy_volume", AMOUNT, "k.V"),
    ("taker_buy_quote_volume", AMOUNT, "k.Q"),
    ("closed!", Boolean, "k.x"),
    ("ts!", Timestamp, "E"),
];

fn coinbase(channel: CoinbaseChannel) -> Brought {
    let (rows, only_if, columns, id): (_, _, &[Declared], _) = match channel {
        CoinbaseChannel::Matches => (
            "$",
            "$.type in ('match', 'last_match')",
            &[
                ("symbol!", Text, "product_id"),
                ("trade_id!", Bigint, "trade_id"),
                ("price!", FINE, "price"),
                ("qty!", FINE, "size"),
                ("side", Text, "side"),
                ("sequence", Bigint, "sequence"),
                ("ts!", Timestamp, "time"),
            ],
            Some("trade_id"),
        ),
        CoinbaseChannel::Ticker => (
            "$",
            "$.type = 'ticker'",
            &[
                ("symbol!", Text, "product_id"),
                ("price!", FINE, "price"),
                ("open_24h", FINE, "open_24h"),
                ("volume_24h", FINE, "volume_24h"),
                ("low_24h", FINE, "low_24h"),
                ("high_24h", FINE, "high_24h"),
                ("volume_30d", FINE, "volume_30d"),
                ("best_bid", FINE, "best_bid"),
                ("best_ask", FINE, "best_ask"),
                ("side", Text, "side"),
                ("last_qty", FINE, "last_size"),
                ("trade_id", Bigint, "trade_id"),
                ("sequence", Bigint, "sequence"),
                ("ts", Timestamp, "time"),
            ],
            None,
        ),
        CoinbaseChannel::AdvancedMarketTrades => (
            "$.events[*].trades[*]",
            "$.channel = 'market_trades'",
            &[
                ("symbol!", Text, "product_id"),
                ("trade_id!", Bigint, "trade_id"),
                ("price!", FINE, "price"),
                ("qty!", FINE, "size"),
                ("side", Text, "side"),
                ("sequence", Bigint, "$.sequence_num"),
                ("ts!", Timestamp, "time"),
            ],
            Some("trade_id"),
        ),
        CoinbaseChannel::AdvancedTicker => (
            "$.events[*].tickers[*]",
            "$.channel = 'ticker'",
            &[
                ("symbol!", Text, "product_id"),
                ("price!", FINE, "price"),
                ("volume_24h", FINE, "volume_24_h"),
                ("low_24h", FINE, "low_24_h"),
                ("high_24h", FINE, "high_24_h"),
                ("low_52w", FINE, "low_52_w"),
                ("high_52w", FINE, "high_52_w"),
                ("price_change_percent_24h", Double, "price_percent_chg_24_h"),
                ("best_bid", FINE, "best_bid"),
                ("best_bid_qty", FINE, "best_bid_quantity"),
                ("best_ask", FINE, "best_ask"),
                ("best_ask_qty", FINE, "best_ask_quantity"),
                ("sequence", Bigint, "$.sequence_num"),
                ("ts!", Timestamp, "$.timestamp"),
            ],
            None,
        ),
    };
    Brought {
        rows,
        only_if: only_if.to_owned(),
        columns,
        unit: EpochUnit::Millis,
        event_time: Some("ts"),
        id,
    }
}

/// Version 2 speaks in objects; version 1 in arrays, `[993,[["354.1","0.9","1618678142.557535",…]],
/// "trade","XMR/USD"]`, times in seconds.
fn kraken(channel: KrakenChannel) -> Brought {
    let (rows, only_if, columns, event_time, id): (_, _, &[Declared], _, _) = match channel {
        KrakenChannel::Trade => (
            "$.data[*]",
            "$.channel = 'trade'",
            &[
                ("symbol!", Text, "symbol"),
                ("trade_id!", Bigint, "trade_id"),
                ("price!", FINE, "price"),
                ("qty!", FINE, "qty"),
                ("side", Text, "side"),
                ("ord_type", Text, "ord_type"),
                ("ts!", Timestamp, "timestamp"),
            ],
            Some("ts"),
            Some("trade_id"),
        ),
        KrakenChannel::Ticker => (
            "$.data[*]",
            "$.channel = 'ticker'",
            &[
                ("symbol!", Text, "symbol"),
                ("bid", FINE, "bid"),
                ("bid_qty", FINE, "bid_qty"),
                ("ask", FINE, "ask"),
                ("ask_qty", FINE, "ask_qty"),
                ("last!", FINE, "last"),
                ("volume", FINE, "volume"),
                ("vwap", FINE, "vwap"),
                ("low", FINE, "low"),
                ("high", FINE, "high"),
                ("change", FINE, "change"),
                ("change_pct", Double, "change_pct"),
                ("ts", Timestamp, "timestamp"),
            ],
            Some("ts"),
            None,
        ),
        KrakenChannel::V1Trade => (
            "$[1][*]",
            "$[2] = 'trade'",
            &[
                ("symbol!", Text, "$[3]"),
                ("price!", FINE, "[0]"),
                ("qty!", FINE, "[1]"),
                ("side", Text, "[3]"),
                ("ord_type", Text, "[4]"),
                ("ts!", Timestamp, "[2]"),
            ],
            Some("ts"),
            None,
        ),
        KrakenChannel::V1Ticker => (
            "$[1]",
            "$[2] = 'ticker'",
            &[
                ("symbol!", Text, "$[3]"),
                ("bid", FINE, "b[0]"),
                ("bid_qty", FINE, "b[2]"),
                ("ask", FINE, "a[0]"),
                ("ask_qty", FINE, "a[2]"),
                ("last!", FINE, "c[0]"),
                ("last_qty", FINE, "c[1]"),
                ("volume", FINE, "v[1]"),
                ("vwap", FINE, "p[1]"),
                ("low", FINE, "l[1]"),
                ("high", FINE, "h[1]"),
                ("open", FINE, "o[1]"),
                ("trades", Bigint, "t[1]"),
            ],
            None,
            None,
        ),
    };
    Brought { rows, only_if: only_if.to_owned(), columns, unit: EpochUnit::Seconds, event_time, id }
}
