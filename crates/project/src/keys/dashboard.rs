//! Keys of `[dashboard.X]`.

use super::shape::{Word, word};
use super::{Group, Key, Kind, Shape, key};

pub(super) const GROUPS: &[Group] = &[Group {
    path: "dashboard.*.rows",
    keys: &["kpi", "ranking", "candles", "bars", "line", "table", "pivot"],
    is_required: true,
    noun: "a kind of panel",
}];

const FORMATS: &[Word] = &[
    word("number", "a number with separators"),
    word("percent", "a number with a percent sign"),
    word("bytes", "a number of bytes"),
    word("age", "how long ago an instant was"),
    word("time", "an instant"),
];

const PLOTS: &[&str] = &["candles", "line", "bars"];
const LISTS: &[&str] = &["ranking", "table"];

pub(super) const KEYS: &[Key] = &[
    key("dashboard", Shape::Table, "Pages of panels."),
    key("dashboard.*", Shape::Table, "One page, on a grid of twelve columns."),
    key("dashboard.*.title", Shape::Text, "What stands above it. Default: its name.")
        .example("Market"),
    key("dashboard.*.filters", Shape::List(&Shape::Table), "Choices the reader makes."),
    key("dashboard.*.filters.name", Shape::Text, "The parameter: panels read it as `$name`.")
        .example("symbol")
        .required(),
    key("dashboard.*.filters.label", Shape::Text, "What stands before it. Default: its name.")
        .example("Symbol"),
    key("dashboard.*.filters.options", Shape::Sql, "A query whose first column lists the choices.")
        .example("SELECT symbol FROM latest(trades)")
        .required(),
    key(
        "dashboard.*.filters.default",
        Shape::Text,
        "The choice made at first. Default: none, and the parameter is NULL.",
    )
    .example("AAPL"),
    key("dashboard.*.rows", Shape::List(&Shape::List(&Shape::Table)), "Rows of panels.").required(),
];

pub(super) const PANEL_KEYS: &[Key] = &[
    key(
        "dashboard.*.rows.kpi",
        Shape::Sql,
        "One number: the first column of the query's first row.",
    ),
    key("dashboard.*.rows.format", Shape::Choice(FORMATS), "How the number is written.")
        .default("number")
        .with(&["kpi"]),
    key(
        "dashboard.*.rows.ranking",
        Shape::Relation,
        "Rows in order, with cells that flash when they change.",
    )
    .example("latest(changes)")
    .needs(&["order_by"]),
    key("dashboard.*.rows.table", Shape::Relation, "Rows as they are.").example("trades"),
    key("dashboard.*.rows.order_by", Shape::Expression, "In which order.")
        .example("percentage_change desc")
        .with(LISTS),
    key("dashboard.*.rows.limit", Shape::Integer { min: 1, max: 10_000 }, "How many rows.")
        .default("100")
        .with(LISTS),
    key("dashboard.*.rows.flash", Shape::Column, "The column whose cells flash.")
        .example("price")
        .with(LISTS),
    key(
        "dashboard.*.rows.spark",
        Shape::Column,
        "The column whose recent values are drawn as a small line.",
    )
    .example("price")
    .with(&["ranking"]),
    key(
        "dashboard.*.rows.candles",
        Shape::Relation,
        "Open, high, low and close. With `price` they are made from rows; without it the \
         relation has the columns `open`, `high`, `low` and `close`.",
    )
    .example("trades"),
    key("dashboard.*.rows.price", Shape::Column, "The price of a row.")
        .example("price")
        .with(&["candles"])
        .needs(&["bucket"]),
    key("dashboard.*.rows.volume", Shape::Column, "The volume of a row.")
        .example("volume")
        .with(&["candles"]),
    key("dashboard.*.rows.bucket", Shape::Duration, "The length of a candle.")
        .example("1s")
        .with(&["candles"])
        .needs(&["price"]),
    key(
        "dashboard.*.rows.time",
        Shape::Column,
        "The time of a row. Default: the source's event time; `window_start` where candles are \
         not made from rows.",
    )
    .example("ts")
    .with(&["candles"]),
    key("dashboard.*.rows.line", Shape::Relation, "A line for each colour.")
        .example("hourly_volume")
        .needs(&["x", "y"]),
    key("dashboard.*.rows.bars", Shape::Relation, "Bars, stacked by colour.")
        .example("hourly_volume")
        .needs(&["x", "y"]),
    key("dashboard.*.rows.x", Shape::Expression, "Along the bottom.")
        .example("window_start")
        .with(&["line", "bars"]),
    key("dashboard.*.rows.y", Shape::Expression, "Upwards.")
        .example("volume")
        .with(&["line", "bars"]),
    key("dashboard.*.rows.color", Shape::Expression, "What tells lines or bars apart.")
        .example("symbol")
        .with(&["line", "bars"]),
    key(
        "dashboard.*.rows.band",
        Shape::Name(&[Kind::Model]),
        "A model whose predictions are drawn with their interval.",
    )
    .example("next_price")
    .with(&["candles", "line"]),
    key(
        "dashboard.*.rows.points",
        Shape::Integer { min: 1, max: 10_000 },
        "How many of the newest rows are drawn.",
    )
    .default("300")
    .with(PLOTS),
    key(
        "dashboard.*.rows.by",
        Shape::Text,
        "The column that tells series apart; `$symbol` shows only the choice of the filter \
         `symbol`, from the column of that name.",
    )
    .example("$symbol")
    .with(PLOTS),
    key("dashboard.*.rows.pivot", Shape::Relation, "A table of values by two things.")
        .example("hourly_volume")
        .needs(&["rows", "columns", "values"]),
    key("dashboard.*.rows.rows", Shape::Expression, "What its rows are.")
        .example("symbol")
        .with(&["pivot"]),
    key("dashboard.*.rows.columns", Shape::Expression, "What its columns are.")
        .example("hour(window_start)")
        .with(&["pivot"]),
    key("dashboard.*.rows.values", Shape::Expression, "An aggregate for each pair.")
        .example("sum(volume)")
        .with(&["pivot"]),
    key(
        "dashboard.*.rows.label",
        Shape::Text,
        "What stands above the panel. Default: the relation's name.",
    )
    .example("Volume today"),
    key(
        "dashboard.*.rows.sets",
        Shape::Text,
        "The filter that a click on a row sets, to the row's column of that name.",
    )
    .example("symbol"),
    key(
        "dashboard.*.rows.width",
        Shape::Integer { min: 1, max: 12 },
        "Columns of the grid. Default: what is left in its row, shared evenly.",
    ),
];
