//! Keys of `[topic.X]` and `[route.X]`, and of the kind this version does not build yet:
//! `[function.X]`.

use super::shape::{Word, word};
use super::{Key, Kind, Shape, key, planned};

const FORMATS: &[Word] = &[word("json", "a JSON object of the columns")];

pub(super) const KEYS: &[Key] = &[
    key(
        "topic",
        Shape::Table,
        "How topics are kept. A live source has its topic `NAME.raw` without one.",
    ),
    key(
        "topic.*",
        Shape::Table,
        "A topic that a sink (`topic.name`) or an arm of a route (`topic`) publishes to: exactly \
         once, key, value, event time, and the headers `op` and `epoch`.",
    ),
    key(
        "topic.*.partitions",
        Shape::Integer { min: 1, max: 1024 },
        "Number of partitions; it cannot change later. A key is always in one of them.",
    )
    .default("1"),
    key(
        "topic.*.key",
        Shape::List(&Shape::Column),
        "Columns that make a record's key: the text of one, a JSON array of several. Default: the \
         key of the source, the GROUP BY columns of the stream.",
    )
    .example(r#"["symbol"]"#),
    key("topic.*.retention", Shape::Table, "What is kept."),
    key("topic.*.retention.age", Shape::Duration, "How long.").default("7d"),
    key("topic.*.retention.size", Shape::Size, "How much in each partition.").default("10GB"),
    planned(
        "topic.*.compact",
        Shape::Boolean,
        "A topic that keeps only the newest record of each key.",
    ),
    key("topic.*.format", Shape::Choice(FORMATS), "How a row becomes a record.").default("json"),
];

pub(super) const ROUTE_KEYS: &[Key] = &[
    key("route", Shape::Table, "Rows sent to the first arm that is true (S11)."),
    key(
        "route.*",
        Shape::Table,
        "One route: each row goes to the first arm whose condition is true; NULL is not. The arms, \
         and the rows that no arm took, add up to the input in the ledger.",
    ),
    key(
        "route.*.from",
        Shape::Name(&[Kind::Source, Kind::Stream]),
        "Whose rows. A stream must give each row at once.",
    )
    .example("customers")
    .required(),
    key(
        "route.*.arms",
        Shape::List(&Shape::Table),
        "The arms, in order. Each is a relation in SQL, as a stream is.",
    )
    .required(),
    key("route.*.arms.name", Shape::Text, "The arm's name in SQL.").example("usa").required(),
    key("route.*.arms.when", Shape::Expression, "Which rows it takes. Default: all that are left.")
        .example("country = 'USA'"),
    key(
        "route.*.arms.topic",
        Shape::Text,
        "The topic its rows are published to; `[topic.X]` says how it is kept.",
    )
    .example("customers-usa"),
];

pub(super) const OTHER_KEYS: &[Key] = &[
    key("function", Shape::Table, "Functions of your own."),
    planned("function.*", Shape::Table, "A scalar function of your own, in SQL."),
    key("function.*.args", Shape::Table, "Types of its arguments, by name."),
    key("function.*.args.*", Shape::ColumnType, "One argument's type.").example("double"),
    key("function.*.returns", Shape::ColumnType, "The type it returns.").example("double"),
    key("function.*.sql", Shape::Expression, "What it computes.").example("100 * (b - a) / a"),
];
