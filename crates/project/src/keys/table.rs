//! Keys of `[table.X]`.

use super::shape::{Word, planned_word, word};
use super::{Group, Key, Kind, Shape, key, planned};

pub(super) const GROUPS: &[Group] = &[
    Group {
        path: "table.*",
        keys: &["from", "batch_of", "sql", "sql_file"],
        is_required: false,
        noun: "what fills it",
    },
    Group {
        path: "table.*",
        keys: &["delta", "parquet", "avro", "csv", "json"],
        is_required: true,
        noun: "a format",
    },
];

const MODES: &[Word] = &[
    word("append", "every row is added"),
    planned_word("upsert", "the newest row of each key in a table"),
    planned_word("changelog", "a table of every change with `_op` and `_epoch`"),
];

pub(super) const KEYS: &[Key] = &[
    key("table", Shape::Table, "Tables of the lake."),
    key(
        "table.*",
        Shape::Table,
        "One table: fed by a source or stream (`from`), rebuilt by a job (`batch_of`), or with \
         neither a lookup that is only read.",
    ),
    key(
        "table.*.from",
        Shape::Name(&[Kind::Source, Kind::Stream]),
        "Whose rows it takes, exactly once (S9).",
    ),
    key("table.*.delta", Shape::Table, "A Delta table."),
    key("table.*.delta.path", Shape::Path, "Its folder, relative to the project folder.")
        .example("lake/trades")
        .required(),
    key("table.*.partition_by", Shape::Table, "Columns that split the table into folders."),
    key(
        "table.*.partition_by.*",
        Shape::Expression,
        "A column to add and how it is computed; or one that is there, by its name.",
    )
    .example("date(ts)"),
    key(
        "table.*.batch_of",
        Shape::Name(&[Kind::Stream]),
        "The stream whose SQL a job runs as a batch over the history of its sources.",
    )
    .example("hourly")
    .needs(&["replace"]),
    key("table.*.over", Shape::Table, "Which table is a source's history, where it has several.")
        .with(&["batch_of"]),
    key("table.*.over.*", Shape::Name(&[Kind::Table]), "The history of the source of this name.")
        .example("trades_history"),
    key(
        "table.*.replace",
        Shape::Expression,
        "The day of a row: a refresh of a day replaces the rows of that day (S18a).",
    )
    .example("date(window_start)")
    .with(&["batch_of"]),
    key("table.*.mode", Shape::Choice(MODES), "What a row does to the table.").default("append"),
    planned(
        "table.*.key",
        Shape::List(&Shape::Column),
        "The columns by which a table is upserted.",
    )
    .example(r#"["symbol"]"#),
    planned("table.*.sql", Shape::Sql, "A table rebuilt from a query of its own."),
    planned(
        "table.*.sql_file",
        Shape::SqlFile,
        "A table rebuilt from a query of its own, in a file.",
    ),
    planned("table.*.parquet", Shape::Table, "Parquet files."),
    key("table.*.parquet.path", Shape::Path, "Their folder."),
    planned("table.*.avro", Shape::Table, "Avro files."),
    key("table.*.avro.path", Shape::Path, "Their folder."),
    planned("table.*.csv", Shape::Table, "CSV files."),
    key("table.*.csv.path", Shape::Path, "Their folder, or one file to look up in."),
    key("table.*.csv.delimiter", Shape::Character, "What separates fields.").default(","),
    planned("table.*.json", Shape::Table, "JSON lines."),
    key("table.*.json.path", Shape::Path, "Their folder."),
    planned("table.*.roll", Shape::Table, "When a new file is begun."),
    key("table.*.roll.every", Shape::Duration, "After this time."),
    key("table.*.roll.size", Shape::Size, "At this size."),
];
