//! Keys of `[topic.X]`, and of the kinds this version does not build yet: `[route.X]`,
//! `[function.X]`.

use super::{Key, Kind, Shape, key, planned};

pub(super) const KEYS: &[Key] = &[
    key(
        "topic",
        Shape::Table,
        "Published topics. A live source has its topic `NAME.raw` without one.",
    ),
    planned("topic.*", Shape::Table, "A topic of your own for Kafka clients."),
    key("topic.*.partitions", Shape::Integer { min: 1, max: 1024 }, "Number of partitions.")
        .default("1"),
    key("topic.*.key", Shape::List(&Shape::Column), "Columns that make a record's key.")
        .example(r#"["symbol"]"#),
    key("topic.*.retention", Shape::Table, "What is kept."),
    key("topic.*.retention.age", Shape::Duration, "How long.").default("7d"),
    key("topic.*.retention.size", Shape::Size, "How much in each partition.").default("10GB"),
    key("topic.*.compact", Shape::Boolean, "Whether only the newest record of each key is kept.")
        .default("false"),
    key("topic.*.format", Shape::Text, "How a row becomes a record.").default("json"),
];

pub(super) const OTHER_KEYS: &[Key] = &[
    key("route", Shape::Table, "Rows sent to the first arm that is true (S11)."),
    planned("route.*", Shape::Table, "Sending each row to the first arm that is true."),
    key("route.*.from", Shape::Name(&[Kind::Source, Kind::Stream]), "Whose rows."),
    key("route.*.arms", Shape::List(&Shape::Table), "The arms, in order."),
    key("route.*.arms.name", Shape::Text, "The arm's name in SQL.").example("usa"),
    key("route.*.arms.when", Shape::Expression, "Which rows it takes. Default: all that are left."),
    key("route.*.arms.topic", Shape::Text, "The topic its rows go to.").example("customers-usa"),
    key("function", Shape::Table, "Functions of your own."),
    planned("function.*", Shape::Table, "A scalar function of your own, in SQL."),
    key("function.*.args", Shape::Table, "Types of its arguments, by name."),
    key("function.*.args.*", Shape::ColumnType, "One argument's type.").example("double"),
    key("function.*.returns", Shape::ColumnType, "The type it returns.").example("double"),
    key("function.*.sql", Shape::Expression, "What it computes.").example("100 * (b - a) / a"),
];
