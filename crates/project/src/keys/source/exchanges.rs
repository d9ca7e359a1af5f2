//! Keys of exchanges that stream over a WebSocket: one channel a source.

use super::TEXTS;
use crate::keys::shape::{Word, word};
use crate::keys::{Key, Shape, key, planned};

const BINANCE_CHANNELS: &[Word] = &[
    word(
        "trade",
        "each trade: `symbol`, `trade_id`, `price`, `qty`, `buyer_is_maker`, `ts`, `event_ts`; a \
         missing `trade_id` is a gap, a repeated one a duplicate",
    ),
    word(
        "agg_trade",
        "the fills of one order at one price as one trade: `symbol`, `agg_trade_id`, `price`, \
         `qty`, `first_trade_id`, `last_trade_id`, `buyer_is_maker`, `ts`, `event_ts`; gaps and \
         duplicates by `agg_trade_id`",
    ),
    word(
        "book_ticker",
        "best bid and ask at each change: `symbol`, `update_id`, `bid_price`, `bid_qty`, \
         `ask_price`, `ask_qty`; it has no time of its own",
    ),
    word(
        "ticker",
        "statistics of the last 24 hours, each second: the columns of `poll = \"ticker/24hr\"`, \
         and `ts`",
    ),
    word(
        "kline_1m",
        "the bar of the minute every two seconds, and once more when it is `closed`: `symbol`, \
         `open_time`, `open`, `high`, `low`, `close`, `volume`, `close_time`, `quote_volume`, \
         `trades`, `taker_buy_volume`, `taker_buy_quote_volume`, `closed`, `ts`",
    ),
];

const COINBASE_CHANNELS: &[Word] = &[
    word(
        "matches",
        "each trade, of Coinbase Exchange: `symbol`, `trade_id`, `price`, `qty`, `side` of the \
         maker, `sequence`, `ts`; a missing `trade_id` is a gap, a repeated one a duplicate",
    ),
    word(
        "ticker",
        "price and statistics at each trade, of Coinbase Exchange: `symbol`, `price`, `open_24h`, \
         `volume_24h`, `low_24h`, `high_24h`, `volume_30d`, `best_bid`, `best_ask`, `side` of the \
         taker, `last_qty`, `trade_id`, `sequence`, `ts`",
    ),
    word(
        "advanced/market_trades",
        "each trade, of Advanced Trade: `symbol`, `trade_id`, `price`, `qty`, `side`, `sequence`, \
         `ts`; gaps and duplicates by `trade_id`",
    ),
    word(
        "advanced/ticker",
        "price and statistics, of Advanced Trade: `symbol`, `price`, `volume_24h`, `low_24h`, \
         `high_24h`, `low_52w`, `high_52w`, `price_change_percent_24h`, `best_bid`, \
         `best_bid_qty`, `best_ask`, `best_ask_qty`, `sequence`, `ts`; a missing `sequence` of the \
         connection is a gap",
    ),
];

const KRAKEN_CHANNELS: &[Word] = &[
    word(
        "trade",
        "each trade: `symbol`, `trade_id`, `price`, `qty`, `side`, `ord_type`, `ts`; a missing \
         `trade_id` is a gap, a repeated one a duplicate",
    ),
    word(
        "ticker",
        "best bid and ask, and statistics of 24 hours, at each trade: `symbol`, `bid`, `bid_qty`, \
         `ask`, `ask_qty`, `last`, `volume`, `vwap`, `low`, `high`, `change`, `change_pct`, `ts`",
    ),
    word(
        "v1/trade",
        "each trade, over the older protocol, where Bitcoin is `XBT`: `symbol`, `price`, `qty`, \
         `side` (`b` or `s`), `ord_type` (`l` or `m`), `ts`; there are no ids",
    ),
    word(
        "v1/ticker",
        "over the older protocol: `symbol`, `bid`, `bid_qty`, `ask`, `ask_qty`, `last`, \
         `last_qty`, `volume`, `vwap`, `low`, `high`, `open`, `trades`; it has no time of its own",
    ),
];

pub(in crate::keys) const KEYS: &[Key] = &[
    key(
        "source.*.binance.channel",
        Shape::Choice(BINANCE_CHANNELS),
        "What to stream. Numbers are exact.",
    ),
    key(
        "source.*.coinbase",
        Shape::Table,
        "Coinbase's market data as a stream: a preset that brings format, columns, `key`, \
         `event_time` and `unique`.",
    ),
    key(
        "source.*.coinbase.channel",
        Shape::Choice(COINBASE_CHANNELS),
        "What to stream. Numbers are exact.",
    )
    .required(),
    key("source.*.coinbase.symbols", TEXTS, "Products.").example(r#"["BTC-USD"]"#).required(),
    key(
        "source.*.coinbase.url",
        Shape::Secret,
        "Its address; that of `thalweg simulate`, say, or `simulator:` for the one that is \
         built in. Default: \
         `wss://ws-feed.exchange.coinbase.com`, for Advanced Trade \
         `wss://advanced-trade-ws.coinbase.com`.",
    )
    .example("ws://127.0.0.1:7979/coinbase"),
    planned(
        "source.*.coinbase.history",
        Shape::Duration,
        "How much of the past to fetch on first start.",
    )
    .example("30d"),
    key(
        "source.*.kraken",
        Shape::Table,
        "Kraken's market data as a stream: a preset that brings format, columns, `key`, \
         `event_time` and `unique`.",
    ),
    key(
        "source.*.kraken.channel",
        Shape::Choice(KRAKEN_CHANNELS),
        "What to stream. Numbers are exact.",
    )
    .required(),
    key("source.*.kraken.symbols", TEXTS, "Pairs.").example(r#"["BTC/USD"]"#).required(),
    key(
        "source.*.kraken.url",
        Shape::Secret,
        "Its address; that of `thalweg simulate`, say, or `simulator:` for the one that is \
         built in. Default: `wss://ws.kraken.com/v2`, for the \
         older protocol `wss://ws.kraken.com`.",
    )
    .example("ws://127.0.0.1:7979/kraken/v2"),
    planned(
        "source.*.kraken.history",
        Shape::Duration,
        "How much of the past to fetch on first start.",
    )
    .example("30d"),
];
