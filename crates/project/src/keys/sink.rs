//! Keys of `[sink.X]`.

use super::shape::{Word, word};
use super::{Group, Key, Kind, Shape, key, planned};

pub(super) const GROUPS: &[Group] = &[Group {
    path: "sink.*",
    keys: &["postgres", "mysql", "console", "topic", "webhook", "parquet", "avro", "csv", "json"],
    is_required: true,
    noun: "a target",
}];

const MODES: &[Word] = &[
    word("append", "every row is added"),
    word("upsert", "the newest row of each key"),
    word("changelog", "every change, with `_op` and `_epoch`"),
];

pub(super) const KEYS: &[Key] = &[
    key("sink", Shape::Table, "Where rows go outside."),
    key(
        "sink.*",
        Shape::Table,
        "One target. `check` says how often a row can have an effect in it (S9).",
    ),
    key("sink.*.from", Shape::Name(&[Kind::Source, Kind::Stream]), "Whose rows.").required(),
    key(
        "sink.*.postgres",
        Shape::Table,
        "A table of a PostgreSQL database, made from the schema if it is not there. Exactly \
         once.",
    ),
    key("sink.*.postgres.url", Shape::Secret, "The database.")
        .example("${DATABASE_URL}")
        .required(),
    key(
        "sink.*.postgres.table",
        Shape::Text,
        "The table, with its schema if that is not `public`.",
    )
    .example("speed_table")
    .required(),
    key(
        "sink.*.mysql",
        Shape::Table,
        "A table of a MySQL or MariaDB database, made from the schema if it is not there. Exactly \
         once.",
    ),
    key(
        "sink.*.mysql.url",
        Shape::Secret,
        "The database; with `?ssl-mode=VERIFY_IDENTITY` over TLS that is checked.",
    )
    .example("${MYSQL_URL}")
    .required(),
    key(
        "sink.*.mysql.table",
        Shape::Text,
        "The table, with its database if that is not the one of the URL.",
    )
    .example("by_state")
    .required(),
    key("sink.*.console", Shape::Table, "Lines on standard output. At least once."),
    key(
        "sink.*.console.every",
        Shape::Duration,
        "Time between two prints; what came in between is printed together.",
    )
    .default("1s"),
    key(
        "sink.*.topic",
        Shape::Table,
        "A topic of the log, a record a row. Exactly once. `[topic.X]` says how it is kept.",
    ),
    key(
        "sink.*.topic.name",
        Shape::Text,
        "Its name: letters, digits, `.`, `_` and `-`. No other sink or arm writes to it.",
    )
    .example("by-state")
    .required(),
    key(
        "sink.*.mode",
        Shape::Choice(MODES),
        "What a row does to the target. Default: `append` for what only grows; for what is \
         revised, `upsert`, and on the console `changelog`.",
    )
    .example("upsert"),
    key(
        "sink.*.key",
        Shape::List(&Shape::Column),
        "The columns that tell rows apart in `upsert`. Default: the key of the source, the \
         GROUP BY columns of the stream.",
    )
    .example(r#"["symbol"]"#),
    key(
        "sink.*.webhook",
        Shape::Table,
        "Rows as JSON in `POST` requests over HTTP. At least once, with an `Idempotency-Key` that is \
         the same when the same rows are sent again.",
    ),
    key("sink.*.webhook.url", Shape::Secret, "Its address.").example("${HOOK_URL}").required(),
    key("sink.*.webhook.headers", Shape::Table, "Headers of the requests."),
    key("sink.*.webhook.headers.*", Shape::Secret, "One header.").example("Bearer ${HOOK_KEY}"),
    key(
        "sink.*.webhook.rows",
        Shape::Integer { min: 1, max: 10_000 },
        "Most rows of a request: 1 for an object in each, more for an array.",
    )
    .default("1"),
    planned("sink.*.parquet", Shape::Table, "Parquet files."),
    key("sink.*.parquet.path", Shape::Path, "Their folder."),
    planned("sink.*.avro", Shape::Table, "Avro files."),
    key("sink.*.avro.path", Shape::Path, "Their folder."),
    planned("sink.*.csv", Shape::Table, "CSV files."),
    key("sink.*.csv.path", Shape::Path, "Their folder."),
    planned("sink.*.json", Shape::Table, "JSON lines."),
    key("sink.*.json.path", Shape::Path, "Their folder."),
    planned("sink.*.roll", Shape::Table, "When a new file is begun."),
    key("sink.*.roll.every", Shape::Duration, "After this time."),
    key("sink.*.roll.size", Shape::Size, "At this size."),
];
