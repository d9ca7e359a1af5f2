//! Keys of what is polled: any address, and Binance's market data.

use super::TEXTS;
use crate::keys::shape::{Word, word};
use crate::keys::{Group, Key, Shape, key};

const POLL_EMIT: &[Word] = &[
    word("all", "every answer is a frame"),
    word(
        "changed",
        "an answer that is what the one before was is none; where the site gives `ETag` or \
         `Last-Modified`, only changes are asked for",
    ),
];

const BINANCE_POLLS: &[Word] = &[
    word("ticker/price", "the last price of each symbol: `symbol`, `price`"),
    word(
        "ticker/24hr",
        "statistics of the last 24 hours: prices, changes, bid and ask, volumes, `open_time`, \
         `close_time`, `first_id`, `last_id`, `trades`",
    ),
    word(
        "klines",
        "bars, each once and only when it is closed, whatever was missed fetched later: `symbol`, \
         `open_time`, `open`, `high`, `low`, `close`, `volume`, `close_time`, `quote_volume`, \
         `trades`, `taker_buy_volume`, `taker_buy_quote_volume`",
    ),
];

const INTERVALS: &[Word] = &[
    word("1s", "a second"),
    word("1m", "a minute"),
    word("3m", "3 minutes"),
    word("5m", "5 minutes"),
    word("15m", "15 minutes"),
    word("30m", "30 minutes"),
    word("1h", "an hour"),
    word("2h", "2 hours"),
    word("4h", "4 hours"),
    word("6h", "6 hours"),
    word("8h", "8 hours"),
    word("12h", "12 hours"),
    word("1d", "a day"),
    word("3d", "3 days"),
    word("1w", "a week"),
    word("1M", "a month"),
];

pub(in crate::keys) const GROUPS: &[Group] = &[
    Group {
        path: "source.*.http.pages",
        keys: &["link", "next", "number"],
        is_required: true,
        noun: "a way to the next page",
    },
    Group {
        path: "source.*.binance",
        keys: &["poll", "channel"],
        is_required: true,
        noun: "what is asked for",
    },
];

pub(in crate::keys) const KEYS: &[Key] = &[
    key(
        "source.*.http",
        Shape::Table,
        "An address that is polled; the body of an answer, up to 10 MB, is a frame. The format is \
         JSON unless `format` says otherwise. What fails is tried again; `Retry-After` is kept to.",
    ),
    key("source.*.http.url", Shape::Secret, "Its address, `http://` or `https://`.")
        .example("https://example.com/prices")
        .required(),
    key(
        "source.*.http.every",
        Shape::Duration,
        "Time between two polls, which does not drift; a poll that the one before has outlasted \
         is left out.",
    )
    .example("5m")
    .required(),
    key(
        "source.*.http.jitter",
        Shape::Delay,
        "Each poll is late by a random time up to this; the ones behind it are not.",
    )
    .default("0s"),
    key(
        "source.*.http.headers",
        Shape::Table,
        "Headers of the request; other hosts do not get them.",
    ),
    key("source.*.http.headers.*", Shape::Secret, "One header.").example("Bearer ${FEED_KEY}"),
    key("source.*.http.emit", Shape::Choice(POLL_EMIT), "Which answers are frames.").default("all"),
    key(
        "source.*.http.timeout",
        Shape::Duration,
        "Longest time for one request, its redirects and its body.",
    )
    .default("30s"),
    key(
        "source.*.http.redirects",
        Shape::Integer { min: 0, max: 20 },
        "How many redirects in a row are followed.",
    )
    .default("5"),
    key(
        "source.*.http.pages",
        Shape::Table,
        "How the further pages of an answer are found; each page is a frame. They are on the host \
         that names them.",
    ),
    key(
        "source.*.http.pages.link",
        Shape::Boolean,
        "The header `Link` with `rel=\"next\"` names the next page.",
    ),
    key(
        "source.*.http.pages.next",
        Shape::Text,
        "Where in the JSON the address of the next page is, or with `param` the value of that \
         parameter; nothing there: that was the last.",
    )
    .example("$.next"),
    key("source.*.http.pages.param", Shape::Text, "The parameter of the query that takes it.")
        .example("cursor")
        .with(&["next"]),
    key(
        "source.*.http.pages.number",
        Shape::Text,
        "The parameter of the query that counts pages, until one has no rows.",
    )
    .example("page")
    .needs(&["rows"]),
    key(
        "source.*.http.pages.first",
        Shape::Integer { min: 0, max: 1_000_000 },
        "Number of the first page.",
    )
    .default("1"),
    key("source.*.http.pages.rows", Shape::Text, "Where in the JSON the list of rows is.")
        .example("$.items")
        .with(&["number"]),
    key(
        "source.*.http.pages.max",
        Shape::Integer { min: 1, max: 1_000 },
        "Most pages of one poll.",
    )
    .default("100"),
    key(
        "source.*.binance",
        Shape::Table,
        "Binance's market data, polled or as a stream: a preset that brings format, columns, `key`, \
         `event_time` and `unique`, and stays within the venue's limits.",
    ),
    key("source.*.binance.poll", Shape::Choice(BINANCE_POLLS), "What to poll."),
    key("source.*.binance.every", Shape::Duration, "Time between two polls.")
        .default("5s")
        .with(&["poll"]),
    key("source.*.binance.symbols", TEXTS, "Symbols.").example(r#"["BTCUSDT"]"#).required(),
    key("source.*.binance.interval", Shape::Choice(INTERVALS), "Length of a bar.")
        .default("1m")
        .with(&["poll"]),
    key(
        "source.*.binance.history",
        Shape::Duration,
        "How much of the past to fetch on first start, of bars.",
    )
    .example("30d")
    .with(&["poll"]),
    key(
        "source.*.binance.url",
        Shape::Secret,
        "Its address; that of `thalweg simulate`, say. Default: `https://api.binance.com`, for a \
         channel `wss://stream.binance.com:9443`.",
    )
    .example("wss://data-stream.binance.vision"),
];
