//! Keys of `[model.X]`.

use super::shape::{Word, planned_word, word};
use super::{Key, Kind, Shape, key};

const CANDIDATES: &[Word] = &[
    word("naive", "the last value; always evaluated"),
    word("strong_naive", "the best simple forecast; always evaluated"),
    word("ridge", "linear regression with a penalty"),
    word("drift", "the last value plus the mean change"),
    word("linear", "linear regression"),
    word("elastic_net", "linear regression that selects features"),
    word("exponential_smoothing", "a weighted mean of the past"),
    word("har", "volatility from its means over several spans"),
    word("random_forest", "a forest of trees"),
    word("gradient_boosting", "boosted trees"),
    word("hybrid", "an elastic net, and boosted trees on what it leaves over"),
    planned_word("onnx", "a model of your own"),
];

const TARGET_KINDS: &[Word] = &[
    word("price", "a price: the strong naive forecast is no change"),
    word("return", "a return: the strong naive forecast is zero"),
    word("volatility", "a volatility: the strong naive forecast is `har`"),
    word("level", "anything else: the strong naive forecast is `exponential_smoothing`"),
];

const METRICS: &[Word] = &[word("rmse", "root of the mean squared error")];

pub(super) const KEYS: &[Key] = &[
    key(
        "model",
        Shape::Table,
        "Forecasts. A naive and a strong naive one are always evaluated and shown (S23).",
    ),
    key(
        "model.*",
        Shape::Table,
        "One forecast. `FROM predict(NAME, features)` adds it to rows; `FROM NAME` is what it \
         has predicted.",
    ),
    key(
        "model.*.features",
        Shape::Name(&[Kind::View, Kind::Table, Kind::Stream, Kind::Source]),
        "A row per key and time; its numeric columns, all of them known at that time, are the \
         features (S21). The target is among them; forecast is its value `horizon` later. Of a \
         source, or a stream whose rows do not change, each row is forecast as it comes; else when \
         somebody asks.",
    )
    .example("bar_features")
    .required(),
    key("model.*.target", Shape::Column, "The column to forecast.")
        .example("log_volume")
        .required(),
    key("model.*.horizon", Shape::Duration, "How far ahead of a row's time.")
        .example("1m")
        .required(),
    key(
        "model.*.time",
        Shape::Column,
        "A row's time; of a window its end, when all of it is known.",
    )
    .example("window_end")
    .required(),
    key(
        "model.*.key",
        Shape::List(&Shape::Column),
        "Columns that tell series apart. Default: one series.",
    )
    .example(r#"["symbol"]"#),
    key(
        "model.*.target_kind",
        Shape::Choice(TARGET_KINDS),
        "What the target measures. Default: by the last word of its name, else by its values.",
    ),
    key(
        "model.*.candidates",
        Shape::List(&Shape::Choice(CANDIDATES)),
        "What competes with the naive forecasts.",
    )
    .default(r#"["ridge"]"#),
    key(
        "model.*.train",
        Shape::Table,
        "A job of its own that trains every candidate. Without it, a task or a person does.",
    ),
    key("model.*.train.schedule", Shape::Schedule, "When.").example("0 3 * * MON").required(),
    key("model.*.train.window", Shape::Duration, "How much of the past to learn from.")
        .default("90d"),
    key(
        "model.*.train.min_rows",
        Shape::Integer { min: 10, max: i64::MAX },
        "Fewest rows to learn from; until they are there, the strong naive forecast serves.",
    )
    .default("2000"),
    key(
        "model.*.evaluate",
        Shape::Table,
        "A job of its own that scores every version and applies the champion rule.",
    ),
    key("model.*.evaluate.schedule", Shape::Schedule, "When.").example("0 4 * * *").required(),
    key("model.*.evaluate.window", Shape::Duration, "How much of the past to score on.")
        .default("7d"),
    key(
        "model.*.evaluate.gap",
        Shape::Delay,
        "Time left out between what was learnt and what is scored. Default: the horizon.",
    )
    .example("5m"),
    key("model.*.champion", Shape::Table, "When a challenger becomes champion (S23)."),
    key("model.*.champion.metric", Shape::Choice(METRICS), "What is compared.").default("rmse"),
    key("model.*.champion.min_gain", Shape::Percent, "By how much the challenger must be better.")
        .default("1%"),
    key(
        "model.*.champion.min_rows",
        Shape::Integer { min: 10, max: i64::MAX },
        "Fewest rows on which it is compared.",
    )
    .default("2000"),
    key(
        "model.*.champion.cost",
        Shape::Percent,
        "What a trade costs, there and back: a champion of a price or return must earn more.",
    )
    .default("0.1%"),
];
